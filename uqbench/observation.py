"""From outputs to data: the log-likelihood of a study, simulated data, and which runs the data need.

All runs that the data need (one for each unit under each experiment) form one batch with padded times, so a
likelihood is a single vectorised solve however the table is laid out. Outputs whose noise is of one family are
evaluated together (`NoiseGroup`): the number of operations that are traced and compiled, and with it the time that
this takes, does not grow with the number of outputs.

An output carries the error of its solve. An argument of a noise distribution that lies outside its domain by no more
than that error (a number of infected people of -1e-10) is at the edge of the domain; `noise_values` puts it there for
every use of the noise: likelihood, simulated data, predictions, information.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.scipy.special import ndtr
from jaxtyping import Array, Float

from .design import Design
from .distributions import Distribution
from .errors import InputError
from .model import Model, Run, method_for, simulate, simulate_stacked
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
    method, active = method_for(study.model, stacked), study.model.dynamics.parameters_used(study.model, designs[0])
    return Observations(stacked, index, rows, method, active)


class NoiseGroup(NamedTuple):
    """Rows of all outputs whose noise is of one family with the same kinds of arguments; evaluated at once.

    Args:
        noise: the family. Its arguments are numbers, where these are common to all, or names of arguments: its own,
            or that of an earlier argument that has the same value.
        aliases: output -> name in its own noise -> name in `noise`.
        rows: output -> its rows among those of the group.
        run, when, value: of each row, `(rows,)`.
        outputs: name -> index of the output that it stands for at each row, `(rows,)`.
        parameters: name -> parameters, and the index among them at each row, `(rows,)`.
        constants: name -> numbers, `(rows,)`.
        bounded: those of `outputs` whose domain has an edge.
    """

    noise: Distribution
    aliases: dict[str, dict[str, str]]
    rows: dict[str, slice]
    run: np.ndarray
    when: np.ndarray
    value: np.ndarray
    outputs: dict[str, np.ndarray]
    parameters: dict[str, tuple[tuple[str, ...], np.ndarray]]
    constants: dict[str, np.ndarray]
    bounded: tuple[str, ...]


@lru_cache(maxsize=16)
def noise_groups(study: Study, seen: Observations) -> tuple[NoiseGroup, ...]:
    """The rows of the table in groups that are evaluated at once; built on the host, once for each study."""
    members: dict[tuple, list[str]] = {}
    for output in seen.rows:
        noise = study.model.noise[output]
        values = list(noise.arguments.values())
        kinds = tuple(
            # the first argument that is the same name: both are one value, which is moved inside both domains
            (argument, _kind(study.model, value), values.index(value) if isinstance(value, str) else -1)
            for argument, value in noise.arguments.items()
        )
        members.setdefault((type(noise), kinds), []).append(output)
    return tuple(_noise_group(study.model, seen, outputs) for outputs in members.values())


def _kind(model: Model, argument: float | str) -> str:
    if not isinstance(argument, str):
        return "number"
    return "output" if argument in model.units else "parameter"


def _noise_group(model: Model, seen: Observations, members: list[str]) -> NoiseGroup:
    run, when, value = (np.concatenate(parts) for parts in zip(*(seen.rows[name] for name in members), strict=True))
    lengths = [len(seen.rows[name][0]) for name in members]
    ends = np.cumsum(lengths)
    rows = {name: slice(int(end) - length, int(end)) for name, length, end in zip(members, lengths, ends, strict=True)}
    noises = [model.noise[name] for name in members]
    first, domains = noises[0].arguments, noises[0].domains
    arguments: dict[str, float | str] = {}
    outputs, parameters, constants, bounded = {}, {}, {}, []
    position = {name: index for index, name in enumerate(model.outputs)}
    for argument, given in first.items():
        values, kind = [noise.arguments[argument] for noise in noises], _kind(model, given)
        if kind == "number":
            common = len(set(values)) == 1
            arguments[argument] = given if common else argument
            if not common:
                constants[argument] = np.repeat(values, lengths)
            continue
        name = arguments[argument] = next(earlier for earlier, value in first.items() if value == given)
        domain = domains[argument]
        has_edge = domain.whole or np.isfinite([domain.lower, domain.upper]).any() or argument in ("lower", "upper")
        if kind == "output":
            outputs[name] = np.repeat([position[value] for value in values], lengths)
            bounded += [name] if has_edge and name not in bounded else []
        else:
            distinct = list(dict.fromkeys(values))
            parameters[name] = tuple(distinct), np.repeat([distinct.index(value) for value in values], lengths)
    named = {argument: name for argument, name in arguments.items() if isinstance(first[argument], str)}
    aliases = {
        member: {noise.arguments[argument]: name for argument, name in named.items()}
        for member, noise in zip(members, noises, strict=True)
    }
    shared = type(noises[0])(**arguments)
    return NoiseGroup(shared, aliases, rows, run, when, value, outputs, parameters, constants, tuple(bounded))


def _check_shapes(study: Study, theta: Theta) -> None:
    units = len(study.units)
    wrong = [
        f"{name} has shape {jnp.shape(theta[name])}; it must be a number or one for each of the {units} units."
        for name in study.model.space.names
        if jnp.shape(theta[name]) not in ((), (units,))
    ]
    if wrong:
        raise InputError("theta", wrong)


def per_run(study: Study, seen: Observations, theta: Theta) -> Theta:
    """Parameters of each run, `(runs,)`: its unit's aleatory values `(units,)`, the shared ones repeated."""
    _check_shapes(study, theta)
    return {name: _of_runs(seen, theta[name]) for name in study.model.space.names}


def _of_runs(seen: Observations, value: Array) -> Float[Array, " runs"]:
    return value[seen.unit] if jnp.ndim(value) else jnp.broadcast_to(value, (len(seen.unit),))


def _each_run(study: Study, seen: Observations, theta: Theta, function: Callable, *more):
    """`function(theta, design, *more)` for every run, `more` having a leading axis of runs.

    Shared parameters are not repeated for each run: that would be an operation, and its derivative, for each of them.
    """
    _check_shapes(study, theta)
    by_run = {
        name: theta[name][seen.unit] if jnp.ndim(theta[name]) else theta[name] for name in study.model.space.names
    }
    axes = {name: 0 if jnp.ndim(value) else None for name, value in by_run.items()}
    return jax.vmap(function, in_axes=(axes, *(0 for _ in (seen.design, *more))))(by_run, seen.design, *more)


def predict(study: Study, seen: Observations, theta: Theta) -> dict[str, Float[Array, "runs times"]]:
    """Outputs of every run, NaN where a solve failed; differentiable both ways through forward sensitivities."""
    values = _predicted(study, seen, theta)
    return {name: values[..., k] for k, name in enumerate(study.model.outputs)}


def _predicted(study: Study, seen: Observations, theta: Theta) -> Float[Array, "runs times outputs"]:
    run = partial(simulate_stacked, study.model, method=seen.method, active=seen.active)
    return _each_run(study, seen, theta, run)


def run_all(study: Study, seen: Observations, theta: Theta) -> Run:
    """The same runs with their result codes."""
    return _each_run(study, seen, theta, partial(simulate, study.model, method=seen.method))


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
    values = jnp.stack([jnp.asarray(column, float) for column in outputs.values()], axis=-1)
    errors = _stacked_errors(model, theta, design, values, names=tuple(outputs))
    return {name: errors[k] for k, name in enumerate(outputs)}


def _stacked_errors(
    model: Model, theta: Theta, design: Design, values: Float[Array, "times outputs"], names: tuple[str, ...]
) -> Float[Array, " outputs"]:
    theta, design, values = jax.lax.stop_gradient((theta, design, values))
    return SOLVE_ERROR * model.dynamics.errors(model, theta, design, values, names)


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
    known, reached = {}, {}
    for group, (values, ok) in zip(noise_groups(study, seen), _evaluated(study, seen, theta), strict=True):
        for output, rows in group.rows.items():
            known[output] = {name: values[alias][rows] for name, alias in group.aliases[output].items()}
            reached[output] = ok[rows]
    return {output: known[output] for output in seen.rows}, {output: reached[output] for output in seen.rows}


def _evaluated(study: Study, seen: Observations, theta: Theta) -> list[tuple[dict[str, Array], Array]]:
    """For each group what its noise refers to, name -> `(rows,)`, and whether the solves succeeded; see `at_rows`."""
    values = _predicted(study, seen, theta)
    ok = jnp.all(jnp.isfinite(values), axis=(1, 2))
    safe = jnp.where(ok[:, None, None], values, 1.0)
    groups, errors = noise_groups(study, seen), None
    if any(group.bounded for group in groups):
        of_run = partial(_stacked_errors, study.model, names=study.model.outputs)
        errors = _each_run(study, seen, theta, of_run, safe)
    found = []
    for group in groups:
        known = {name: safe[group.run, group.when, index] for name, index in group.outputs.items()}
        for name, (parameters, index) in group.parameters.items():
            columns = [jnp.asarray(theta[parameter], float) for parameter in parameters]
            if any(jnp.ndim(column) for column in columns):
                known[name] = jnp.stack([_of_runs(seen, column) for column in columns])[index, group.run]
            else:
                known[name] = jnp.stack(columns)[index]
        known |= {name: jnp.asarray(numbers) for name, numbers in group.constants.items()}
        uncertain = {name: errors[group.run, group.outputs[name]] for name in group.bounded}
        found.append((group.noise.moved_inside(known, uncertain), ok[group.run]))
    return found


_at_rows = jax.jit(at_rows, static_argnames=("study", "seen"))


def pointwise_log_likelihood(study: Study, seen: Observations, theta: Theta) -> dict[str, Float[Array, " rows"]]:
    """Log density of each row of the table, by output; -inf where the solve behind it failed."""
    return _by_output(study, seen, _log_densities(study, seen, theta))


def _log_densities(study: Study, seen: Observations, theta: Theta) -> list[Float[Array, " rows"]]:
    """The same for each group."""
    return [
        jnp.where(ok, group.noise.logpdf(group.value, known), -jnp.inf)
        for group, (known, ok) in zip(noise_groups(study, seen), _evaluated(study, seen, theta), strict=True)
    ]


def _by_output(study: Study, seen: Observations, each: list[Array]) -> dict[str, Array]:
    """Arrays `(rows, ...)` of the groups by output, in the order of the table."""
    found = {
        output: values[rows]
        for group, values in zip(noise_groups(study, seen), each, strict=True)
        for output, rows in group.rows.items()
    }
    return {output: found[output] for output in seen.rows}


def log_likelihood(study: Study) -> Callable[[Theta], Array]:
    """The log-likelihood of a study's data as a function of theta (aleatory parameters `(units,)`).

    Returns:
        a traceable function; -inf with a zero gradient where a solve fails.
    """
    seen = observations(study)

    @jax.jit
    def function(theta: Theta) -> Array:
        terms = _log_densities(study, seen, study.model.space.complete(theta))
        return sum((jnp.sum(values) for values in terms), jnp.zeros(()))

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
            return jax.jvp(lambda z: _arguments(study, seen, at(z)), (zeros,), (tangent,))[1]

        tangents = jax.vmap(along)(directions)
        weights = _information(study, seen, at(zeros))
        total = jnp.zeros((len(study.units), len(directions), len(directions)))
        for group, slopes, weight in zip(noise_groups(study, seen), tangents, weights, strict=True):
            terms = jnp.einsum("irk,rkl,jrl->rij", slopes, weight, slopes)
            total = total.at[seen.unit[group.run]].add(terms)
        return total

    return information()


def noise_arguments(study: Study, seen: Observations, theta: Theta) -> dict[str, Float[Array, "rows arguments"]]:
    """Arguments of the noise distribution at each row of the table, by output; NaN where a solve failed."""
    return _by_output(study, seen, _arguments(study, seen, theta))


def _arguments(study: Study, seen: Observations, theta: Theta) -> list[Float[Array, "rows arguments"]]:
    """The same for each group."""
    stacked = []
    for group, (known, ok) in zip(noise_groups(study, seen), _evaluated(study, seen, theta), strict=True):
        columns = [jnp.broadcast_to(value, (len(group.run),)) for value in group.noise.resolve(known).values()]
        stacked.append(jnp.where(ok[:, None], jnp.stack(columns, axis=1), jnp.nan))
    return stacked


def noise_information(study: Study, seen: Observations, theta: Theta) -> dict[str, Float[Array, "rows k k"]]:
    """Fisher information of one measurement on the arguments of its noise, by row; zero where it is not defined."""
    return _by_output(study, seen, _information(study, seen, theta))


def _information(study: Study, seen: Observations, theta: Theta) -> list[Float[Array, "rows k k"]]:
    """The same for each group."""
    groups, found = noise_groups(study, seen), _evaluated(study, seen, theta)
    matrices = [group.noise.fisher_information(known) for group, (known, _) in zip(groups, found, strict=True)]
    return [jnp.where(jnp.isfinite(matrix), matrix, 0.0) for matrix in matrices]


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
