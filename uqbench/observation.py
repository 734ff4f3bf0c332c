"""From outputs to data: the log-likelihood of a study, simulated data, and which runs the data need.

All runs that the data need (one for each unit under each experiment) form one batch with padded times, so a
likelihood is a single vectorised solve however the table is laid out.

An output carries the error of its solve. An argument of a noise distribution that lies outside its domain by no more
than that error (a number of infected people of -1e-10) is at the edge of the domain; `noise_values` puts it there for
every use of the noise: likelihood, simulated data, predictions, information.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.scipy.special import ndtr
from jaxtyping import Array, Float

from .design import Design
from .errors import InputError
from .model import Model, Run, method_for, simulate, with_sensitivities
from .space import Theta
from .study import Study

# The error of a solve in units of its tolerance. The tolerance bounds the error of one step; those of all steps add up,
# and a solve takes of the order of a hundred, over which a stable system does not let them grow.
SOLVE_ERROR = 100.0


@dataclass(frozen=True, eq=False)
class Observations:
    """The data of a study as arrays.

    Args:
        design: stacked, times `(runs, times)` padded by repeating the last one.
        unit: `(runs,)` index of each run's unit.
        rows: output -> (run, time) indices and values, `(rows,)` each, in the order of the table.
        method: the solver, chosen on the host before a likelihood is traced.
        active: the parameters that a run depends on.
    """

    design: Design
    unit: np.ndarray
    rows: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
    method: str
    active: tuple[str, ...]


@lru_cache(maxsize=16)
def observations(study: Study) -> Observations:
    """Lays the table out as one batch of runs; one object per study, so that compiled functions are found again.

    Raises:
        InputError: where no output is measured.
    """
    data = study.table
    findings = [] if len(data) else ["no output has noise, so nothing is measured; give the model `noise`."]
    if study.model.stochastic:
        findings.append("the model is stochastic, so one run gives no likelihood; use a deterministic form of it.")
    if findings:
        raise InputError(f"study {study.name!r}", findings)
    units = {label: index for index, label in enumerate(study.units)}
    pairs = list(dict.fromkeys(zip(data["experiment"], data[study.unit_column], strict=True)))
    run_of = {pair: index for index, pair in enumerate(pairs)}
    run = np.array([run_of[pair] for pair in zip(data["experiment"], data[study.unit_column], strict=True)])
    times = [np.unique(data["time"][run == index]) for index in range(len(pairs))]
    longest = max(len(row) for row in times)
    padded = np.stack([np.append(row, np.full(longest - len(row), row[-1])) for row in times])
    when = np.array([np.searchsorted(times[r], t) for r, t in zip(run, data["time"], strict=True)])
    designs = [study.experiments[experiment].at(row) for (experiment, _), row in zip(pairs, padded, strict=True)]
    rows = {}
    for output in pd.unique(data["output"]):
        of = np.asarray(data["output"] == output)
        rows[output] = (run[of], when[of], data["value"].to_numpy()[of])
    # one that is followed to rest makes all of a batch be followed there, or they would be of different kinds
    kind = jax.tree.structure(max(designs, key=lambda design: design.settles))
    designs = [jax.tree.unflatten(kind, jax.tree.leaves(design)) for design in designs]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *designs)
    index = np.array([units[unit] for _, unit in pairs])
    # the longest span decides, so that no run of the batch is too stiff for its method
    method, active = method_for(study.model, stacked), simulated_parameters(study.model, designs[0])
    return Observations(stacked, index, rows, method, active)


def per_run(study: Study, seen: Observations, theta: Theta) -> Theta:
    """Parameters of each run, `(runs,)`: its unit's aleatory values `(units,)`, the shared ones repeated."""
    runs, units = len(seen.unit), len(study.units)
    wrong = [
        f"{name} has shape {jnp.shape(theta[name])}; it must be a number or one for each of the {units} units."
        for name in study.model.space.names
        if jnp.shape(theta[name]) not in ((), (units,))
    ]
    if wrong:
        raise InputError("theta", wrong)
    return {
        name: theta[name][seen.unit] if jnp.ndim(theta[name]) else jnp.broadcast_to(theta[name], (runs,))
        for name in study.model.space.names
    }


def predict(study: Study, seen: Observations, theta: Theta) -> dict[str, Float[Array, "runs times"]]:
    """Outputs of every run, NaN where a solve failed; differentiable both ways through forward sensitivities."""
    run = with_sensitivities(study.model, seen.method, seen.active)
    return jax.vmap(run)(per_run(study, seen, theta), seen.design).outputs


def run_all(study: Study, seen: Observations, theta: Theta) -> Run:
    """The same runs with their result codes."""
    run = partial(simulate, study.model, method=seen.method)
    return jax.vmap(run)(per_run(study, seen, theta), seen.design)


def simulated_parameters(model: Model, design: Design) -> tuple[str, ...]:
    """The parameters that a run depends on; the others enter only priors and noise."""
    if model.system is None:
        theta = model.space.nominal()
        closed = jax.make_jaxpr(lambda theta: model.simulate(theta, design, jax.random.key(0)))(theta)
        return _used(closed, model.space.names)
    theta = model.space.nominal()
    state = model.system.initial(theta, design.inputs)
    used: set[str] = set()
    for function in (
        lambda theta: model.system.initial(theta, design.inputs),
        lambda theta: model.system.rhs(design.start, state, theta, design.inputs),
        lambda theta: model.observed(design.start, state, theta, design.inputs),
        *(lambda theta, stop=stop: stop(theta, design.inputs) for stop in model.system.stops),
    ):
        used |= set(_used(jax.make_jaxpr(function)(theta), model.space.names))
    return tuple(name for name in model.space.names if name in used)


def _used(closed, names: tuple[str, ...]) -> tuple[str, ...]:
    needed = {id(v) for v in closed.jaxpr.outvars}
    for equation in reversed(closed.jaxpr.eqns):
        if any(id(v) in needed for v in equation.outvars):
            needed |= {id(v) for v in equation.invars}
    # a dict of scalars is flattened in the order of its sorted keys
    return tuple(name for name, v in zip(sorted(names), closed.jaxpr.invars, strict=True) if id(v) in needed)


def output_errors(
    model: Model, theta: Theta, design: Design, outputs: dict[str, Float[Array, " times"]]
) -> dict[str, Float[Array, ""]]:
    """How far the outputs of one run may be from the exact ones, in the unit of each output.

    `SOLVE_ERROR` times the tolerance of the solve: its relative one times the largest absolute value of the output at
    the run's times and at the start, plus its absolute one where a single number is given. A model without a system
    has errors of rounding alone.

    Args:
        theta: value of every parameter, scalars.
        outputs: of the run, by name.

    Returns:
        output -> its error, without derivative; NaN where the solve failed.
    """
    theta, design, outputs = jax.lax.stop_gradient((theta, design, outputs))
    sizes = {name: jnp.max(jnp.abs(values)) for name, values in outputs.items()}
    system = model.system
    if system is None:
        return {name: SOLVE_ERROR * np.finfo(float).eps * size for name, size in sizes.items()}
    # What decays from the start on is solved to an error in proportion to the start, even if observed only later.
    state = system.initial(theta, design.inputs)
    observed = dict(model.observed(design.start, state, theta, design.inputs))
    start = jax.tree.map(lambda value: jnp.abs(jnp.asarray(value, float)), observed)
    absolute = system.atol if isinstance(system.atol, int | float) else 0.0
    errors = {}
    for name, size in sizes.items():
        first = jnp.max(jnp.where(jnp.isfinite(start[name]), start[name], 0.0))
        errors[name] = SOLVE_ERROR * (system.rtol * jnp.maximum(size, first) + absolute)
    return errors


def noise_values(
    model: Model,
    output: str,
    outputs: dict[str, Array],
    parameters: Theta,
    errors: dict[str, Array],
) -> dict[str, Array]:
    """What the noise of `output` refers to: its names with their values, those of outputs inside their domains.

    Args:
        outputs: output -> values, any shape. parameters: name -> values, and errors: output -> error of its values, see
            `output_errors`; both broadcasting with them.
    """
    noise = model.noise[output]
    known = {name: outputs[name] if name in outputs else parameters[name] for name in noise.names}
    return noise.moved_inside(known, {name: errors[name] for name in noise.names if name in outputs})


def at_rows(study: Study, seen: Observations, theta: Theta) -> tuple[dict[str, Theta], dict[str, Array]]:
    """What the noise of each row refers to: output -> name -> `(rows,)`, and output -> whether its solve succeeded.

    Where a solve failed the values are 1, so that a `where` around what is computed from them keeps a finite gradient.
    Outputs outside the domain of an argument by no more than the error of the solve are at its edge.
    """
    outputs, parameters = predict(study, seen, theta), per_run(study, seen, theta)
    ok = jnp.all(jnp.stack([jnp.all(jnp.isfinite(values), axis=1) for values in outputs.values()]), axis=0)
    safe = {name: jnp.where(ok[:, None], values, 1.0) for name, values in outputs.items()}
    errors = jax.vmap(partial(output_errors, study.model))(parameters, seen.design, safe)
    known = {}
    for output, (run, when, _) in seen.rows.items():
        known[output] = noise_values(
            study.model,
            output,
            {name: values[run, when] for name, values in safe.items()},
            {name: values[run] for name, values in parameters.items()},
            {name: error[run] for name, error in errors.items()},
        )
    return known, {output: ok[run] for output, (run, _, _) in seen.rows.items()}


_at_rows = jax.jit(at_rows, static_argnames=("study", "seen"))


def pointwise_log_likelihood(study: Study, seen: Observations, theta: Theta) -> dict[str, Float[Array, " rows"]]:
    """Log density of each row of the table, by output; -inf where the solve behind it failed."""
    known, ok = at_rows(study, seen, theta)
    noise = study.model.noise
    return {
        output: jnp.where(ok[output], noise[output].logpdf(value, known[output]), -jnp.inf)
        for output, (_, _, value) in seen.rows.items()
    }


def log_likelihood(study: Study) -> Callable[[Theta], Array]:
    """The log-likelihood of a study's data as a function of theta (aleatory parameters `(units,)`).

    Returns:
        a traceable function; -inf with a zero gradient where a solve fails.
    """
    seen = observations(study)

    @jax.jit
    def function(theta: Theta) -> Array:
        terms = pointwise_log_likelihood(study, seen, study.model.space.complete(theta))
        return sum((jnp.sum(values) for values in terms.values()), jnp.zeros(()))

    return function


def latent_information(study: Study, seen: Observations) -> Float[Array, "units aleatory aleatory"]:
    """Fisher information of each unit's data on its standardised aleatory parameters, at the prior medians.

    The standardised latent z of a parameter is the standard normal with the same quantile: x = ppf(Phi(z)).
    """
    space = study.model.space
    theta = space.nominal()
    zeros = jnp.zeros((len(study.units), len(space.aleatory)))

    def at(z):
        values = dict(theta)
        for index, name in enumerate(space.aleatory):
            values[name] = space[name].dist.ppf(ndtr(z[:, index]), values)
        return values

    @jax.jit
    def information():
        # A run depends on the latents of its own unit alone, so one direction serves all units at once.
        directions = jnp.eye(len(space.aleatory))

        def along(direction):
            tangent = jnp.broadcast_to(direction, zeros.shape)
            return jax.jvp(lambda z: noise_arguments(study, seen, at(z)), (zeros,), (tangent,))[1]

        tangents = jax.vmap(along)(directions)
        weights = noise_information(study, seen, at(zeros))
        total = jnp.zeros((len(study.units), len(directions), len(directions)))
        for output, (run, _, _) in seen.rows.items():
            terms = jnp.einsum("irk,rkl,jrl->rij", tangents[output], weights[output], tangents[output])
            total = total.at[seen.unit[run]].add(terms)
        return total

    return information()


def noise_arguments(study: Study, seen: Observations, theta: Theta) -> dict[str, Float[Array, "rows arguments"]]:
    """Arguments of the noise distribution at each row of the table, by output; NaN where a solve failed."""
    known, ok = at_rows(study, seen, theta)
    stacked = {}
    for output, (run, _, _) in seen.rows.items():
        resolved = study.model.noise[output].resolve(known[output])
        columns = [jnp.broadcast_to(value, (len(run),)) for value in resolved.values()]
        stacked[output] = jnp.where(ok[output][:, None], jnp.stack(columns, axis=1), jnp.nan)
    return stacked


def noise_information(study: Study, seen: Observations, theta: Theta) -> dict[str, Float[Array, "rows k k"]]:
    """Fisher information of one measurement on the arguments of its noise, by row; zero where it is not defined."""
    known, _ = at_rows(study, seen, theta)
    matrices = {output: study.model.noise[output].fisher_information(known[output]) for output in seen.rows}
    return {output: jnp.where(jnp.isfinite(matrix), matrix, 0.0) for output, matrix in matrices.items()}


def simulate_data(study: Study, theta: Theta, key: Array) -> pd.DataFrame:
    """A table like the study's own with values drawn from the model at `theta` (aleatory parameters `(units,)`)."""
    seen = observations(study)
    known, ok = _at_rows(study, seen, study.model.space.complete(theta))
    data = study.table.copy()
    for output in seen.rows:
        key, now = jax.random.split(key)
        values = jnp.where(ok[output], study.model.noise[output].sample(now, (), known[output]), jnp.nan)
        data.loc[data["output"] == output, "value"] = np.asarray(values)
    return data
