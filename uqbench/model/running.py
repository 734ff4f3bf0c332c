"""One run, or many: the only place where a model is compiled.

`evaluate` and `evaluate_many` are compiled once per model, design shape and mode. New values of parameters, times and
inputs reuse the compiled solve, so they travel as arrays, never as Python floats. Likelihoods, sensitivities and
bands trace `simulate`.
"""

import os
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from ..annotations import Values, ValuesOrLists
from ..design import Design
from ..errors import InputError, Result
from ..systems import Outcome, Run
from ..systems.protocol import from_columns, in_columns
from .findings import output_findings
from .increments import column_names, from_start, increments_of, increments_of_columns

if TYPE_CHECKING:
    from .description import Model

MODES = ("value", "forward", "reverse")
# Random runs are shared out to the cores in parts of no fewer.
CORES, FEWEST = os.cpu_count() or 1, 64


def simulate(
    model: "Model",
    theta: Values,
    design: Design,
    key: Array | None = None,
    *,
    method: str = "",
    reverse: bool = False,
    sharper: float | Array = 1.0,
) -> Run:
    """One run, traceable and without checks: what `evaluate` compiles and the likelihood differentiates.

    Args:
        method: "auto", "explicit" or "implicit".
        reverse: differentiable in reverse mode alone, at a price that does not grow with the parameters.
        sharper: factor of the tolerances where the solver in JAX has to serve.
    """
    if model.increments:
        more = {"method": method, "reverse": reverse, "sharper": sharper}
        run = simulate(model.accumulated, theta, from_start(design), key, **more)
        return Run(increments_of(model, run.outputs), run.result, run.steps, run.implicit_steps)
    return model.dynamics.run(model, theta, design, key, method, reverse=reverse, sharper=sharper)


# Sensitivities are carried as vectors over the parameters: whole vector registers are faster than a remainder.
REGISTER = 4
# The second tolerance, as a part of the first, and how far slopes may differ between them, relative to the largest.
SHARPER, RESOLVED = 0.03, 1e-3


def _agree(slopes) -> Array:
    """Whether slopes `(levels, ..., parameters)` are numbers, and the same at all levels."""
    slopes = slopes.reshape(len(slopes), -1, slopes.shape[-1])
    size = jnp.max(jnp.abs(slopes[-1]), axis=0, keepdims=True)
    close = jnp.abs(slopes[0] - slopes[-1]) <= RESOLVED * size + 1e-290
    return jnp.all(jnp.isfinite(slopes)) & jnp.all(close)


def with_sensitivities(model: "Model", method: str, active: tuple[str, ...] | None = None) -> Callable:
    """`run(theta, design)` whose derivative is the forward sensitivity with respect to the `active` parameters.

    For the few parameters of a mechanistic model this costs less than an adjoint; as the tangent is linear in the
    stored sensitivities it can be transposed, so reverse mode needs no second solve. A failed solve is NaN with a zero
    derivative: a sampler rejects the point, and no NaN reaches the gradient of the others.

    The engine has sensitivities in its error control. The solver in JAX has not; there they are found at two
    tolerances, and where these do not agree the run has a code.
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
        none = np.zeros((), jax.dtypes.float0)
        if not moved:
            done = run(theta, design)
            return done, Run(jax.tree.map(jnp.zeros_like, done.outputs), none, none, none)

        def push(sharper, direction):
            def outputs(part):
                done = simulate(model, {**theta, **part}, design, method=method, sharper=sharper)
                return done.outputs, done

            step = dict(zip(moved, direction, strict=True))
            return jax.jvp(outputs, ({name: theta[name] for name in moved},), (step,), has_aux=True)[1:]

        members = REGISTER * -(-len(moved) // REGISTER)
        each = jax.vmap(push, in_axes=(None, 0), out_axes=(-1, None))
        levels = jnp.array([1.0, SHARPER] if "tolerance" in model.dynamics.capabilities else [1.0])
        slopes, done = jax.vmap(each, in_axes=(0, None))(levels, jnp.eye(members, len(moved)))
        finest, done = jax.tree.map(lambda leaf: leaf[-1], (slopes, done))
        # of a run that failed no slope is a number
        resolved = {output: _agree(by) for output, by in slopes.items()}
        lost = ~jnp.all(jnp.stack([*resolved.values()]))
        result = jnp.where((done.result == 0) & lost, Result.NOT_DIFFERENTIABLE, done.result)
        done = Run({output: jnp.where(resolved[output], values, jnp.nan) for output, values in done.outputs.items()},
                   result, done.steps, done.implicit_steps)  # fmt: skip
        change = {
            output: sum(
                (jnp.where(resolved[output], by[..., k], 0.0) * tangents[0][name] for k, name in enumerate(moved)),
                jnp.zeros(by.shape[:-1]),
            )
            for output, by in finest.items()
        }
        return done, Run(change, none, none, none)

    def differentiable(theta, design):
        if model.dynamics.keeps_sensitivities(model, design):
            return simulate(model, theta, design, method=method)
        return run(theta, design)

    return differentiable


def simulate_stacked(
    model: "Model", theta: Values, design: Design, method: str, active: tuple[str, ...] | None = None
) -> Float[Array, "times outputs"]:
    """The `series` of one run in one array, in their order; differentiable like `with_sensitivities`.

    Many outputs cost no more operations than one, which a likelihood of many would have to trace and compile.
    """
    if model.increments:
        stacked = simulate_stacked(model.accumulated, theta, from_start(design), method, active)
        return increments_of_columns(model, model.series, stacked)
    stacked = model.dynamics.stacked(model, theta, design, method)
    if stacked is not None and len(model.series) == len(model.outputs):
        return stacked[0]
    if stacked is not None:
        outputs = from_columns(model, design, stacked[0])
    else:
        outputs = with_sensitivities(model, method, active)(theta, design).outputs
    return jnp.stack([*over_time(model, outputs, design).values()], axis=-1)


def over_time(model: "Model", outputs: dict[str, Array], design: Design) -> dict[str, Float[Array, "*batch times"]]:
    """The outputs that are one number at each time; those of one number for a run are the same at every time."""
    count, dims = design.times.shape[-1], model.output_dims
    return {
        name: jnp.asarray(outputs[name], float)
        if dims[name]
        else jnp.broadcast_to(jnp.asarray(outputs[name], float)[..., None], (*jnp.shape(outputs[name]), count))
        for name in model.series
    }


@partial(jax.jit, static_argnames=("model", "method", "mode"))
def _run(model, theta, design, key, method, mode):
    if mode == "forward" and "tolerance" in model.dynamics.capabilities:
        return with_sensitivities(model, method)(theta, design)
    return simulate(model, theta, design, key, method=method, reverse=mode == "reverse")


@partial(jax.jit, static_argnames=("model", "method"))
def _run_packed(model, values, design, key, method):
    return _packed(model, dict(zip(model.space.names, values, strict=True)), design, key, method)


def _packed(model: "Model", theta: Values, design: Design, key, method: str) -> tuple[Array, Outcome]:
    """Outputs `(times, columns)` in the order of the model, to be taken apart on the host, and how the solve went."""
    if model.increments:
        values, ran = _packed(model.accumulated, theta, from_start(design), key, method)
        return increments_of_columns(model, column_names(model, design), values), ran
    stacked = model.dynamics.stacked(model, theta, design, method)
    if stacked is not None:
        return stacked
    return in_columns(model, design, simulate(model, theta, design, key, method=method))


def _unpack(model: "Model", design: Design, values, ran: Outcome) -> Run:
    outputs = from_columns(model, design, np.asarray(values))
    return Run({name: jnp.asarray(each) for name, each in outputs.items()}, *ran)


@partial(jax.jit, static_argnames=("model", "method", "shared", "constants"))
def _run_many(model, values, design, keys, method, shared, constants):
    thetas = dict(zip(model.space.names, values.T, strict=True))
    thetas |= {name: jnp.full(len(values), float(model.space[name].dist)) for name in constants}
    if model.increments:
        start = from_start(design)
        values, ran = model.dynamics.run_many(model.accumulated, thetas, start, keys, method, shared)
        return increments_of_columns(model, column_names(model, design), values), ran
    return model.dynamics.run_many(model, thetas, design, keys, method, shared)


def evaluate(model: "Model", theta: Values, design: Design, key: Array | None = None, mode: str = "value") -> Run:
    """Runs the model once.

    Args:
        theta: value of every free parameter, scalars.
        design: times and inputs.
        key: a JAX key, needed by stochastic models.
        mode: "value" is differentiable by `jax.jvp` and `jax.jacfwd`; "forward" by these and `jax.grad`, from
            sensitivities to all parameters, found in one pass; "reverse" by `jax.grad`, at a price that does not grow
            with the parameters: for a hundred of them.

    Returns:
        outputs `(times,)`, or of the shape that their `dims` in the model say; NaN with `result` != 0 where the solve
        failed (see `RESULTS`).

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
    check_run(model, design, key, findings)
    method = method_for(model, design)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((theta, design))):
        return _ordered(model, _run(model, theta, design, key, method, mode))
    # one array is handed over faster than many
    values = np.array([*theta.values()], dtype=float)
    return _unpack(model, design, *_run_packed(model, values, design, key, method))


def evaluate_many(
    model: "Model", thetas: ValuesOrLists, design: Design, keys: Array | None = None, *, chunk: int = 1024
) -> Run:
    """Runs the model for a batch of parameter values.

    Args:
        thetas: every free parameter, `(batch,)` each (scalars are shared).
        design: one for all, or stacked: times `(batch, times)`.
        keys: `(batch,)` JAX keys, needed by stochastic models.
        chunk: batch members solved together; a batch is padded to full chunks so that its length does not recompile.

    Returns:
        outputs `(batch, times)`, or the batch before the axes that their `dims` say. A failed member is NaN with its
        code in `result`; the others are unaffected.
    """
    thetas = model.space.complete(thetas)
    shared = design.times.ndim == 1
    check_run(model, design, keys, [])
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
    # what the engine does for all cores is done here: neither trajectories nor runs one after another use more than one
    shared_out = (model.stochastic or model.dynamics.one_by_one) and not traced
    if shared_out:
        size = max(size // CORES, min(size, 1 if model.dynamics.one_by_one else FEWEST))

    constants = _constants(model, values) if model.stochastic and not traced else ()

    def part(start: int) -> tuple:
        rows = np.minimum(np.arange(start, start + size), n - 1)
        own = design if shared else jax.tree.map(lambda leaf: leaf[rows], design)
        run = _run_many(model, values[rows], own, None if keys is None else keys[rows], method, shared, constants)
        used = min(size, n - start)
        return run if used == size else jax.tree.map(lambda leaf: leaf[:used], run)

    starts = range(0, n, size)
    if shared_out:
        compiled = model, method, size, shared, constants
        runs = over_cores(lambda start: jax.block_until_ready(part(start)), starts, compiled)
    else:
        runs = [part(start) for start in starts]
    run = runs[0] if len(runs) == 1 else jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *runs)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(run)):
        return Run(from_columns(model, design, run[0]), *run[1])
    return _unpack(model, design, *run)


def _constants(model: "Model", values: np.ndarray) -> tuple[str, ...]:
    """Fixed parameters that have their value in all runs: known to the compiler, which makes a square of a power."""
    fixed = ((k, name) for k, name in enumerate(model.space.names) if name in model.space.fixed)
    return tuple(name for k, name in fixed if np.all(values[:, k] == float(model.space[name].dist)))


def over_cores(part: Callable, starts: Sequence[int], compiled: Hashable) -> list:
    """`part(start)` of each, on all cores at once; but the first alone where nothing is compiled for them yet.

    Args:
        compiled: for what `part` is compiled.
    """
    begun = _begun(compiled)
    runs = [] if begun else [part(starts[0])]
    begun.append(True)
    with ThreadPoolExecutor(CORES) as pool:
        return [*runs, *pool.map(part, starts[len(runs) :])]


@lru_cache(maxsize=256)
def _begun(compiled: Hashable) -> list[bool]:
    """Not empty where a batch of this kind has been run."""
    return []


def _ordered(model: "Model", run: Run) -> Run:
    # compiled functions return dicts in the order of the alphabet
    return Run({name: run.outputs[name] for name in model.outputs}, run.result, run.steps, run.implicit_steps)


def method_for(model: "Model", design: Design) -> str:
    """The method with which a run is asked for ("" for a plain simulator)."""
    return model.dynamics.plan(model, design)


def check_run(model: "Model", design: Design, key, findings: list[str]) -> None:
    """Raises an `InputError` with `findings` and with what else is wrong with a run."""
    if design.times.size == 0:
        findings.append("the design has no times.")
    if model.stochastic and key is None:
        findings.append("the model is stochastic; pass key=jax.random.key(seed).")
    if not findings:
        findings = output_findings(model, design)
    if findings:
        raise InputError(f"evaluate {model.name!r}", findings)
