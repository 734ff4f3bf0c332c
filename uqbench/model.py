"""The forward model: parameters in, outputs over time out.

`evaluate` and `evaluate_many` are compiled once per model, design shape and mode. New values of parameters, times and
inputs reuse the compiled solve, so they travel as arrays, never as Python floats. Likelihoods, sensitivities and
bands trace `simulate`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float, Int

from .design import Design
from .distributions import Distribution
from .errors import InputError, nearest
from .numerics import odes
from .numerics.odes import Solution, solve, solve_many
from .numerics.steady_state import NO_STEADY_STATE, NO_STEADY_STATE_TEXT, steady_state
from .numerics.stiffness import STIFF_STEPS, stability_profile
from .space import Space, Theta
from .system import Ode
from .units import unit_finding

RESULTS = {**odes.RESULTS, NO_STEADY_STATE: NO_STEADY_STATE_TEXT}
MODES = ("value", "forward", "reverse")
GRADIENTS = ("exact", "statistical", "surrogate", "none")


class Run(eqx.Module):
    """Outputs name -> `(times,)`, the code of `RESULTS`, and the steps taken; a batch has a leading axis on each."""

    outputs: dict[str, Float[Array, "*batch times"]]
    result: Int[Array, "*batch"]
    steps: Int[Array, "*batch"]


@dataclass(frozen=True, eq=False)
class Model:
    """A mechanistic model with everything a modeller says about it.

    Args:
        space: its parameters.
        system: the dynamics (`Ode`), or None for a plain simulator (`Model.from_function`).
        observe: `observe(y, p)` -> dict of outputs; written for one instant, applied to whole trajectories.
        units: output -> unit; its keys are the outputs.
        noise: output -> distribution of a measurement, whose arguments are numbers, parameters or outputs; outputs
            without an entry are not measured.
        name: for reports.
        gradient: "exact", "statistical", "surrogate" or "none", printed with every model.
        time_unit: unit of the times in designs and data.

    Raises:
        InputError: with every unit that does not parse and every name that does not exist.
    """

    space: Space
    system: Ode | None
    observe: Callable | None
    units: Mapping[str, str]
    noise: Mapping[str, Distribution] = field(default_factory=dict)
    name: str = ""
    gradient: str = "exact"
    simulate: Callable | None = None
    stochastic: bool = False
    time_unit: str = ""

    def __post_init__(self):
        findings = [f"output {name!r}: {f}" for name, unit in self.units.items() if (f := unit_finding(unit))]
        findings += [f"time: {f}" for f in [unit_finding(self.time_unit)] if f]
        known = (*self.space.names, *self.units)
        for output, distribution in self.noise.items():
            if output not in self.units:
                findings.append(f"noise is given for {output!r}, which has no unit; {nearest(output, [*self.units])}")
            if not set(distribution.names) & set(self.units):
                findings.append(f"the noise of {output!r} names no output, so the data would not depend on the model.")
            findings += [
                f"the noise of {output!r} names {other!r}, neither a parameter nor an output; {nearest(other, known)}"
                for other in distribution.names
                if other not in known
            ]
        findings += [f"{name!r} is both a parameter and an output." for name in self.units if name in self.space]
        if self.gradient not in GRADIENTS:
            findings.append(f"gradient status {self.gradient!r}; known are {', '.join(GRADIENTS)}.")
        if findings:
            raise InputError(f"model {self.name!r}" if self.name else "model", findings)

    @classmethod
    def from_function(
        cls,
        space: Space,
        simulate: Callable,
        units: Mapping[str, str],
        noise: Mapping[str, Distribution] | None = None,
        stochastic: bool = False,
        name: str = "",
        gradient: str = "exact",
        time_unit: str = "",
    ) -> Self:
        """A model from any JAX function `simulate(theta, design, key)` -> dict of outputs `(times,)`."""
        return cls(space, None, None, units, noise or {}, name, gradient, simulate, stochastic, time_unit)

    def reparametrised(self, combinations: Mapping[str, str], **settings) -> "Model":
        """The same outputs from combinations of parameters that can be known.

        Args:
            combinations: new name -> combination of old parameters, such as {"kg": "k*g"};
                `structural_identifiability` suggests some.
            settings: priors, design and seed, see `uqbench.identifiability.reparametrised`.
        """
        # an engine of its own, with the algebra that it needs, is loaded only when it is asked for
        from .identifiability import reparametrised

        return reparametrised(self, combinations, **settings)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in the order of `units`."""
        return tuple(self.units)

    def __repr__(self) -> str:
        return f"Model({self.name or 'unnamed'}: outputs {', '.join(self.outputs)}; gradient {self.gradient})"


def simulate(
    model: Model, theta: Theta, design: Design, key: Array | None = None, *, method: str = "", reverse: bool = False
) -> Run:
    """One run, traceable and without checks: what `evaluate` compiles and the likelihood differentiates."""
    if model.system is None:
        outputs, nothing = model.simulate(theta, design, key), jnp.zeros((), int)
        return _run_of(model, outputs, nothing, nothing, design.times.shape)
    solution = solve(model.system, theta, _passing(design), method=method, reverse=reverse)
    return _observed(model, theta, _settled(model.system, theta, design, solution))


def _passing(design: Design) -> Design:
    """The design with the steady state's time replaced by the last finite one: what is integrated."""
    if not design.settles:
        return design
    times = jnp.where(jnp.isfinite(design.times), design.times, -jnp.inf)
    last = jnp.maximum(times.max(axis=-1, keepdims=True), design.start[..., None])
    times = jnp.where(jnp.isfinite(design.times), design.times, last)
    return eqx.tree_at(lambda design: design.times, design, times)


def _settled(system: Ode, theta: Theta, design: Design, solution: Solution) -> Solution:
    """The solution with the steady state at its infinite times."""
    if not design.settles:
        return solution
    rest = steady_state(system, theta, design.inputs)
    result = jnp.where(solution.result == 0, rest.result, solution.result)
    states = {
        name: jnp.where(result == 0, jnp.where(jnp.isinf(design.times), rest.states[name], values), jnp.nan)
        for name, values in solution.states.items()
    }
    return Solution(states, result, solution.steps + rest.steps)


def _observed(model: Model, theta: Theta, solution: Solution) -> Run:
    (shape,) = {values.shape for values in solution.states.values()}
    return _run_of(model, model.observe(solution.states, theta), solution.result, solution.steps, shape)


def _run_of(model: Model, outputs: dict, result, steps, shape) -> Run:
    outputs = {name: jnp.broadcast_to(outputs[name], shape) for name in model.outputs}
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(values)) for values in outputs.values()]))
    result = jnp.where((result == 0) & ~finite, 2, result)
    outputs = {name: jnp.where(result == 0, values, jnp.nan) for name, values in outputs.items()}
    return Run(outputs, result, steps)


# Sensitivities are carried as vectors over the parameters: whole vector registers are faster than a remainder.
REGISTER = 4


def with_sensitivities(model: Model, method: str, active: tuple[str, ...] | None = None) -> Callable:
    """`run(theta, design)` whose derivative is the forward sensitivity with respect to the `active` parameters.

    For the few parameters of a mechanistic model this costs less than an adjoint; as the tangent is linear in the
    stored sensitivities it can be transposed, so reverse mode needs no second solve. A failed solve is NaN with a zero
    derivative: a sampler rejects the point, and no NaN reaches the gradient of the others.
    """

    @jax.custom_jvp
    def run(theta, design):
        return simulate(model, theta, design, method=method)

    @partial(run.defjvp, symbolic_zeros=True)
    def forward(primals, tangents):
        theta, design = primals

        def still(leaf):
            return isinstance(leaf, SymbolicZero)

        if not all(map(still, jax.tree.leaves(tangents[1], is_leaf=still))):
            raise TypeError("sensitivities are kept for parameters only; for those of a design use mode='value'.")
        moved = [name for name in (active or theta) if not still(tangents[0][name])]

        def push(direction):
            def outputs(part):
                done = simulate(model, {**theta, **part}, design, method=method)
                return done.outputs, done

            step = dict(zip(moved, direction, strict=True))
            return jax.jvp(outputs, ({name: theta[name] for name in moved},), (step,), has_aux=True)[1:]

        lanes = REGISTER * -(-len(moved) // REGISTER)
        slopes, done = jax.vmap(push, out_axes=(-1, None))(jnp.eye(lanes, len(moved)))
        change = {
            output: sum(
                (
                    jnp.where(jnp.isfinite(by[..., k]), by[..., k], 0.0) * tangents[0][name]
                    for k, name in enumerate(moved)
                ),
                jnp.zeros(by.shape[:-1]),
            )
            for output, by in slopes.items()
        }
        none = np.zeros((), jax.dtypes.float0)
        return done, Run(change, none, none)

    return run


@partial(jax.jit, static_argnames=("model", "method", "mode"))
def _run(model, theta, design, key, method, mode):
    if mode == "forward" and model.system is not None:
        return with_sensitivities(model, method)(theta, design)
    return simulate(model, theta, design, key, method=method, reverse=mode == "reverse")


@partial(jax.jit, static_argnames=("model", "method"))
def _run_packed(model, values, design, key, method):
    return simulate(model, dict(zip(model.space.names, values, strict=True)), design, key, method=method)


@partial(jax.jit, static_argnames=("model", "method", "shared"))
def _run_many(model, values, design, keys, method, shared):
    thetas = dict(zip(model.space.names, values.T, strict=True))
    if model.system is None:
        axes = (0, None if shared else 0, None if keys is None else 0)
        return jax.vmap(partial(simulate, model), in_axes=axes)(thetas, design, keys)
    if shared:
        design = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(values), *leaf.shape)), design)
    solutions = solve_many(model.system, thetas, _passing(design), method=method)
    solutions = jax.vmap(partial(_settled, model.system))(thetas, design, solutions)
    return jax.vmap(partial(_observed, model))(thetas, solutions)


def evaluate(model: Model, theta: Theta, design: Design, key: Array | None = None, mode: str = "value") -> Run:
    """Runs the model once.

    Args:
        theta: value of every free parameter, scalars.
        design: times and inputs.
        key: a JAX key, needed by stochastic models.
        mode: "value" is differentiable by `jax.jvp` and `jax.jacfwd`; "forward" by these and `jax.grad`, from
            sensitivities to all parameters, found in one pass; "reverse" by `jax.grad`, at a price that does not grow
            with the parameters: for a hundred of them.

    Returns:
        outputs `(times,)`; NaN with `result` != 0 where the solve failed (see `RESULTS`).

    Raises:
        InputError: unknown or missing parameters, outputs that do not match the units, no times, no key.

    Example:
        >>> from forward_models.receptor_tf import model
        >>> run = evaluate(model, model.space.nominal() | {"eps": 0.1}, Design([5.0]))
        >>> round(float(run.outputs["y"][0]), 6)
        1.222032
    """
    theta = model.space.complete(theta)
    findings = [f"mode {mode!r}; known are {', '.join(MODES)}."] if mode not in MODES else []
    _check_run(model, design, key, findings)
    method = method_for(model, design)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((theta, design))):
        return _ordered(model, _run(model, theta, design, key, method, mode))
    # one array is handed over faster than many
    return _ordered(model, _run_packed(model, np.array([*theta.values()], dtype=float), design, key, method))


def evaluate_many(model: Model, thetas: Theta, design: Design, keys: Array | None = None, *, chunk: int = 1024) -> Run:
    """Runs the model for a batch of parameter values.

    Args:
        thetas: every free parameter, `(batch,)` each (scalars are shared).
        design: one for all, or stacked: times `(batch, times)`.
        keys: `(batch,)` JAX keys, needed by stochastic models.
        chunk: lanes solved together; a batch is padded to full chunks so that its length does not recompile.

    Returns:
        outputs `(batch, times)`. A failed lane is NaN with its code in `result`; the others are unaffected.
    """
    thetas = model.space.complete(thetas)
    shared = design.times.ndim == 1
    _check_run(model, design, keys, [])
    lengths = {name: value.shape for name, value in thetas.items() if value.ndim} | (
        {} if shared else {"the design": design.times.shape[:1]}
    )
    if len(set(lengths.values())) > 1 or any(len(shape) != 1 for shape in lengths.values()):
        raise InputError("evaluate_many", [f"batches must be single rows of one length; given are {lengths}."])
    n = max((length for (length,) in lengths.values()), default=1)
    if keys is not None and len(keys) != n:
        raise InputError("evaluate_many", [f"{len(keys)} keys for {n} runs; give one for each."])
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((thetas, design)))
    # one array of numpy is handed over and padded faster than many of a device
    xp = jnp if traced else np
    values = xp.stack([xp.broadcast_to(xp.asarray(value), (n,)) for value in thetas.values()], axis=1)
    method = method_for(model, design)
    # Powers of two bound the number of compiled sizes by the logarithm of the chunk.
    size = min(chunk, 1 << (n - 1).bit_length())
    runs = []
    for start in range(0, n, size):
        rows = np.minimum(np.arange(start, start + size), n - 1)
        own = design if shared else jax.tree.map(lambda leaf, rows=rows: leaf[rows], design)
        run = _run_many(model, values[rows], own, None if keys is None else keys[rows], method, shared)
        used = min(size, n - start)
        runs.append(run if used == size else jax.tree.map(lambda leaf, used=used: leaf[:used], run))
    run = runs[0] if len(runs) == 1 else jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *runs)
    return _ordered(model, run)


def _ordered(model: Model, run: Run) -> Run:
    # compiled functions return dicts in the order of the alphabet
    return Run({name: run.outputs[name] for name in model.outputs}, run.result, run.steps)


def method_for(model: Model, design: Design) -> str:
    """The solver for this model and time span, from its nominal parameters ("" for a plain simulator)."""
    if model.system is None:
        return ""
    if model.system.method != "auto":
        return model.system.method
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(design)):
        return "implicit"  # a span that is not known yet may be long
    # these are numbers, whatever is being traced around
    with jax.ensure_compile_time_eval():
        design = _passing(design)
        times = np.asarray(design.times)
        if times.ndim > 1:
            longest = int(np.argmax(times.max(axis=1)))
            design = jax.tree.map(lambda leaf: leaf[longest], design)
        key = (float(design.start), *(np.asarray(value).tobytes() for value in design.inputs.values()))
        profiles = model.__dict__.setdefault("_profiles", {})
        if key not in profiles or not profiles[key].covers(times.max()):
            profiles[key] = stability_profile(model.system, model.space.nominal(), design)
    return "implicit" if profiles[key].steps(times.max()) > STIFF_STEPS else "explicit"


def _check_run(model: Model, design: Design, key, findings: list[str]) -> None:
    if design.times.size == 0:
        findings.append("the design has no times.")
    if model.stochastic and key is None:
        findings.append("the model is stochastic; pass key=jax.random.key(seed).")
    if not findings:
        findings = output_findings(model, design)
    if findings:
        raise InputError(f"evaluate {model.name!r}", findings)


def output_findings(model: Model, design: Design) -> list[str]:
    """What is wrong with the shapes and names that the author's functions return (traced once per design shape)."""
    shape = (design.times.shape, tuple(sorted((name, value.shape) for name, value in design.inputs.items())))
    known = model.__dict__.get("_findings", {})
    if shape not in known:
        known = {**known, shape: _trace_outputs(model, design)}
        object.__setattr__(model, "_findings", known)
    return known[shape]


def _trace_outputs(model: Model, design: Design) -> list[str]:
    design = design if design.times.ndim == 1 else jax.tree.map(lambda leaf: leaf[0], design)
    theta = model.space.nominal()
    try:
        if model.system is None:
            key = jax.random.key(0)
            outputs = jax.eval_shape(lambda theta: model.simulate(theta, design, key), theta)
        else:
            state = jax.eval_shape(lambda theta: model.system.initial(theta, design.inputs), theta)
            slope = jax.eval_shape(
                lambda y, theta: jax.tree.map(
                    jnp.asarray, dict(model.system.rhs(design.start, y, theta, design.inputs))
                ),
                state,
                theta,
            )
            findings = _state_findings(state, slope) or _start_findings(model, design)
            if findings := findings + _stop_findings(model.system, theta, design, state):
                return findings
            outputs = jax.eval_shape(model.observe, state, theta)
    except KeyError as error:
        known = (*model.space.names, *design.inputs)
        return [
            f"the model reads {error.args[0]!r}, which is neither a parameter, a state nor an input of this design; "
            f"{nearest(error.args[0], known)}"
        ]
    findings = [f"output {name!r} has no unit; add it to `units`." for name in outputs if name not in model.units]
    findings += [
        f"`units` has {name!r}, which is not among the outputs; {nearest(name, [*outputs])}"
        for name in model.units
        if name not in outputs
    ]
    return findings


def _state_findings(state: dict, slope: dict) -> list[str]:
    findings = [f"`rhs` returns no derivative for the state {name!r}." for name in state if name not in slope]
    findings += [
        f"`rhs` returns {name!r}, which `initial` does not start; {nearest(name, [*state])}"
        for name in slope
        if name not in state
    ]
    findings += [
        f"the state {name!r} has shape {value.shape}; states are scalars."
        for name, value in state.items()
        if value.shape != ()
    ]
    findings += [
        f"`rhs` returns the shape {slope[name].shape} for {name!r}, whose state has the shape {value.shape}."
        for name, value in state.items()
        if name in slope and slope[name].shape != value.shape
    ]
    return findings


def _start_findings(model: Model, design: Design) -> list[str]:
    with jax.ensure_compile_time_eval():
        start = model.system.initial(model.space.nominal(), design.inputs)
    return [
        f"the initial state {name!r} is {float(value):g} at the medians of the parameters; it must be finite."
        for name, value in start.items()
        if not np.isfinite(float(value))
    ]


def _stop_findings(system: Ode, theta: Theta, design: Design, state: dict) -> list[str]:
    findings = []
    if system.switches is not None:
        switches = jax.eval_shape(lambda theta: jnp.asarray(system.switches(theta, design.inputs)), theta)
        if len(switches.shape) > 1:
            findings.append(f"`switches` returns shape {switches.shape}; it must be one row of times.")
    if system.doses is not None:
        doses = jax.eval_shape(lambda theta: jax.tree.map(jnp.asarray, dict(system.doses(theta, design.inputs))), theta)
        for name, row in doses.items():
            if name not in state:
                findings.append(f"`doses` names the state {name!r}, which does not exist; {nearest(name, [*state])}")
            if not (isinstance(row, tuple) and len(row) == 2):
                findings.append(f"`doses` of {name!r} must be a pair (times, amounts).")
            elif row[1].shape not in ((), row[0].shape) or len(row[0].shape) > 1:
                findings.append(
                    f"`doses` of {name!r} has times {row[0].shape} and amounts {row[1].shape}; give one row of each."
                )
    return findings


def digest(model: Model, design: Design) -> str:
    """Hash of what the model computes: its parameters, units, noise and traced functions, not its source text."""
    theta = model.space.nominal()
    if model.system is None:
        functions = [jax.make_jaxpr(lambda theta: model.simulate(theta, design, jax.random.key(0)))(theta)]
    else:
        state = model.system.initial(theta, design.inputs)
        functions = [
            jax.make_jaxpr(lambda theta: model.system.initial(theta, design.inputs))(theta),
            jax.make_jaxpr(lambda y, theta: model.system.rhs(design.start, y, theta, design.inputs))(state, theta),
            jax.make_jaxpr(model.observe)(state, theta),
            *(jax.make_jaxpr(lambda theta, f=f: f(theta, design.inputs))(theta) for f in model.system.stops),
        ]
    text = [repr(model.space), repr(dict(model.units)), repr(dict(model.noise)), model.time_unit]
    if model.system is not None:
        text.append(repr((model.system.rtol, model.system.atol, model.system.method, model.system.max_steps)))
    hasher = sha256()
    for function in functions:
        # addresses of Python objects are not content
        text.append(re.sub(r"0x[0-9a-f]+", "", str(function)))
        for constant in function.consts:
            hasher.update(np.asarray(constant).tobytes())
    hasher.update("\n".join(text).encode())
    return hasher.hexdigest()[:16]
