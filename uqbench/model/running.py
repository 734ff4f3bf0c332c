"""One run, or many: the only place where a model is compiled.

`evaluate` and `evaluate_many` are compiled once per model, design shape and mode. New values of parameters, times and
inputs reuse the compiled solve, so they travel as arrays, never as Python floats. Likelihoods, sensitivities and
bands trace `simulate`.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from ..design import Design
from ..errors import InputError, SeparationWarning
from ..numerics.compiled import Task, solve_adjoint, solve_compiled, task_of
from ..numerics.odes import NO_EQUILIBRIUM, NOT_DIFFERENTIABLE, Solution, solve, solve_many
from ..numerics.slow_fast import SMALL, grid_times, pace, reduction
from ..numerics.steady_state import steady_state
from ..numerics.stepping import BLOW_UP
from ..space import Theta
from ..system import Ode
from .description import Model, Run
from .findings import output_findings

MODES = ("value", "forward", "reverse")


def simulate(
    model: Model,
    theta: Theta,
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
    if model.system is None:
        outputs, nothing = model.simulate(theta, design, key), jnp.zeros((), int)
        return _run_of(model, outputs, Ran(nothing, nothing, nothing), design.times.shape)
    task = native_task(model, design)
    if task is None:
        solution = solve(model.system, theta, _passing(design), method=method, reverse=reverse, sharper=sharper)
        return _observed(model, theta, design, _settled(model.system, theta, design, solution))
    if design.settles:
        rows = (solve_adjoint if reverse else solve_compiled)(task, theta, _passing(design), method)
        solution = Solution(dict(zip(task.outputs, rows.values.T, strict=True)), *rows[1:])
        return _observed(model, theta, design, _settled(model.system, theta, design, solution))
    values, ran = _native_rows(model, task, theta, design, method, reverse)
    return Run({name: values[:, k] for k, name in enumerate(task.outputs)}, *ran)


def _native_rows(model: Model, task: Task, theta: Theta, design: Design, method: str, reverse: bool = False):
    """Outputs `(times, outputs)` in one array, since each operation on each of them would be compiled apart; `Ran`."""
    rows = (solve_adjoint if reverse else solve_compiled)(task, theta, design, method)
    result = _result_of(model, jnp.all(jnp.isfinite(rows.values)), rows.result)
    return jnp.where(result == 0, rows.values, jnp.nan), Ran(result, rows.steps, rows.implicit_steps)


class Ran(NamedTuple):
    """How a solve went: code, steps, accepted implicit steps."""

    result: Array
    steps: Array
    implicit_steps: Array


def native_task(model: Model, design: Design) -> Task | None:
    """What the engine solves for this model; None where the solver in JAX has to (see `numerics.compiled`)."""
    if model.system is None or hasattr(model.system.algebraic, "stable"):
        return None  # a quasi-steady state chooses among equilibria and says where it has none
    shapes = tuple((name, value.shape) for name, value in design.inputs.items())
    # a steady state is put in among the states, and observed with them
    observe, outputs = (None, ()) if design.settles else (model.observed, model.outputs)
    return task_of(model.system, observe, outputs, model.space.names, shapes)


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
    return Solution(states, result, solution.steps + rest.steps, solution.implicit_steps)


def _observed(model: Model, theta: Theta, design: Design, solution: Solution) -> Run:
    def observed(time, states):
        return model.observed(time, states, theta, design.inputs)

    outputs = jax.vmap(observed)(design.times, solution.states)
    ran = Ran(solution.result, solution.steps, solution.implicit_steps)
    return _run_of(model, outputs, ran, design.times.shape)


def _run_of(model: Model, outputs: dict, ran: Ran, shape) -> Run:
    outputs = {name: jnp.broadcast_to(outputs[name], shape) for name in model.outputs}
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(values)) for values in outputs.values()]))
    result = _result_of(model, finite, ran.result)
    outputs = {name: jnp.where(result == 0, values, jnp.nan) for name, values in outputs.items()}
    return Run(outputs, result, ran.steps, ran.implicit_steps)


def _result_of(model: Model, finite: Array, code: Array) -> Array:
    """The code of a run, of which it is known whether all outputs are numbers."""
    algebraic = model.system is not None and model.system.algebraic is not None
    return jnp.where((code == 0) & ~finite, NO_EQUILIBRIUM if algebraic else BLOW_UP, code)


# Sensitivities are carried as vectors over the parameters: whole vector registers are faster than a remainder.
REGISTER = 4
# The second tolerance, as a part of the first, and how far slopes may differ between them, relative to the largest.
SHARPER, RESOLVED = 0.03, 1e-3


def _agree(slopes) -> Array:
    """Whether slopes `(levels, times, parameters)` are numbers, and the same at all levels."""
    size = jnp.max(jnp.abs(slopes[-1]), axis=0, keepdims=True)
    close = jnp.abs(slopes[0] - slopes[-1]) <= RESOLVED * size + 1e-290
    return jnp.all(jnp.isfinite(slopes)) & jnp.all(close)


def with_sensitivities(model: Model, method: str, active: tuple[str, ...] | None = None) -> Callable:
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

        def push(sharper, direction):
            def outputs(part):
                done = simulate(model, {**theta, **part}, design, method=method, sharper=sharper)
                return done.outputs, done

            step = dict(zip(moved, direction, strict=True))
            return jax.jvp(outputs, ({name: theta[name] for name in moved},), (step,), has_aux=True)[1:]

        members = REGISTER * -(-len(moved) // REGISTER)
        each = jax.vmap(push, in_axes=(None, 0), out_axes=(-1, None))
        levels = jnp.array([1.0, SHARPER] if model.system is not None else [1.0])
        slopes, done = jax.vmap(each, in_axes=(0, None))(levels, jnp.eye(members, len(moved)))
        finest, done = jax.tree.map(lambda leaf: leaf[-1], (slopes, done))
        resolved = jnp.all(jnp.stack([_agree(by) for by in slopes.values()]))
        result = jnp.where((done.result == 0) & ~resolved, NOT_DIFFERENTIABLE, done.result)
        done = Run({name: jnp.where(result == 0, values, jnp.nan) for name, values in done.outputs.items()},
                   result, done.steps, done.implicit_steps)  # fmt: skip
        change = {
            output: sum(
                (jnp.where(result == 0, by[..., k], 0.0) * tangents[0][name] for k, name in enumerate(moved)),
                jnp.zeros(by.shape[:-1]),
            )
            for output, by in finest.items()
        }
        none = np.zeros((), jax.dtypes.float0)
        return done, Run(change, none, none, none)

    def differentiable(theta, design):
        # the engine keeps sensitivities by itself
        native = native_task(model, design) is not None
        return simulate(model, theta, design, method=method) if native else run(theta, design)

    return differentiable


def simulate_stacked(
    model: Model, theta: Theta, design: Design, method: str, active: tuple[str, ...] | None = None
) -> Float[Array, "times outputs"]:
    """Outputs of one run in one array, in the order of the model; differentiable like `with_sensitivities`.

    Many outputs cost no more operations than one, which a likelihood of many would have to trace and compile.
    """
    task = native_task(model, design)
    if task is not None and not design.settles:
        return _native_rows(model, task, theta, design, method)[0]
    run = with_sensitivities(model, method, active)(theta, design)
    return jnp.stack([jnp.asarray(run.outputs[name], float) for name in model.outputs], axis=-1)


@partial(jax.jit, static_argnames=("model", "method", "mode"))
def _run(model, theta, design, key, method, mode):
    if mode == "forward" and model.system is not None:
        return with_sensitivities(model, method)(theta, design)
    return simulate(model, theta, design, key, method=method, reverse=mode == "reverse")


@partial(jax.jit, static_argnames=("model", "method"))
def _run_packed(model, values, design, key, method):
    return _packed(model, dict(zip(model.space.names, values, strict=True)), design, key, method)


def _packed(model: Model, theta: Theta, design: Design, key, method: str) -> tuple[Array, Ran]:
    """Outputs `(outputs, times)` in the order of the model, to be taken apart on the host, and how the solve went."""
    task = native_task(model, design)
    if task is not None and not design.settles:
        values, ran = _native_rows(model, task, theta, design, method)
        return values.T, ran
    return _pack(model, simulate(model, theta, design, key, method=method))


def _pack(model: Model, run: Run) -> tuple[Array, Ran]:
    values = jnp.stack([run.outputs[name] for name in model.outputs], axis=-2)
    return values, Ran(run.result, run.steps, run.implicit_steps)


def _unpack(model: Model, values, ran: Ran) -> Run:
    host = np.asarray(values)
    return Run({name: jnp.asarray(host[..., k, :]) for k, name in enumerate(model.outputs)}, *ran)


@partial(jax.jit, static_argnames=("model", "method", "shared"))
def _run_many(model, values, design, keys, method, shared):
    thetas = dict(zip(model.space.names, values.T, strict=True))
    if model.system is None:
        axes = (0, None if shared else 0, None if keys is None else 0)
        return _pack(model, jax.vmap(partial(simulate, model), in_axes=axes)(thetas, design, keys))
    if shared:
        design = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(values), *leaf.shape)), design)
    one = jax.tree.map(lambda leaf: leaf[0], design)
    if native_task(model, one) is not None:
        return jax.vmap(lambda theta, design: _packed(model, theta, design, None, method))(thetas, design)
    solutions = solve_many(model.system, thetas, _passing(design), method=method)
    solutions = jax.vmap(partial(_settled, model.system))(thetas, design, solutions)
    return _pack(model, jax.vmap(partial(_observed, model))(thetas, design, solutions))


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
    values = np.array([*theta.values()], dtype=float)
    if reduction(model.system) is not None:
        _warn_of_time_scales(model, values[None], design)
    return _unpack(model, *_run_packed(model, values, design, key, method))


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
    if reduction(model.system) is not None and not traced:
        _warn_of_time_scales(model, values, design)
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
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(run)):
        return Run({name: run[0][..., k, :] for k, name in enumerate(model.outputs)}, *run[1])
    return _unpack(model, *run)


def _ordered(model: Model, run: Run) -> Run:
    # compiled functions return dicts in the order of the alphabet
    return Run({name: run.outputs[name] for name in model.outputs}, run.result, run.steps, run.implicit_steps)


def method_for(model: Model, design: Design) -> str:
    """The method with which a run is asked for ("" for a plain simulator)."""
    if model.system is None:
        return ""
    if native_task(model, design if design.times.ndim == 1 else jax.tree.map(lambda leaf: leaf[0], design)):
        return model.system.method
    # the solver in JAX has to be told before it starts, and this one is right wherever it has a step
    return "implicit" if model.system.method == "auto" else model.system.method


def _check_run(model: Model, design: Design, key, findings: list[str]) -> None:
    if design.times.size == 0:
        findings.append("the design has no times.")
    if model.stochastic and key is None:
        findings.append("the model is stochastic; pass key=jax.random.key(seed).")
    if not findings:
        findings = output_findings(model, design)
    if findings:
        raise InputError(f"evaluate {model.name!r}", findings)


# Times, and runs of a batch, at which the time scales of a reduced model are looked at.
PACES, PACED_RUNS = 5, 16


def _warn_of_time_scales(model: Model, values: np.ndarray, design: Design) -> None:
    """Says where the full system behind a reduced one has no quasi-steady state to go by.

    Once for each kind of design all of it is looked at, at the medians (`numerics.slow_fast.separation`); in every call
    the time scales at the values themselves; what that costs is in tests/benchmarks/test_time_scales.py.

    Args:
        values: `(runs, parameters)`.
    """
    shared = design.times.ndim == 1
    _warn_at_medians(model, design if shared else jax.tree.map(lambda leaf: leaf[0], design))
    # one shape for every design and batch
    few = np.linspace(0, len(values) - 1, PACED_RUNS if len(values) > 1 else 1).astype(int)
    thetas = dict(zip(model.space.names, values[few].T, strict=True))
    grids = _paced(model, design, few if not shared else None, len(few))
    if grids is None:
        return
    with jax.ensure_compile_time_eval():
        epsilon, layer = _paces(model.system, thetas, grids)
    worst = np.maximum(np.asarray(epsilon), np.asarray(layer))
    if (doubtful := worst > SMALL).any():
        told = f"{doubtful.sum()} of the {len(few)} runs looked at" if len(values) > 1 else "these values"
        warnings.warn(
            f"model {model.name!r}: absent separation of time scales at {told}: what is slow moves at up to "
            f"{worst.max():.2g} of the rate at which the fast states relax. Keep the fast states.",
            SeparationWarning,
            stacklevel=4,
        )


def _paced(model: Model, design: Design, few, count: int) -> Design | None:
    """Designs to look at, stacked: that of each of the `few` lanes, or `count` times the same, made only once."""
    key = None
    if few is None:
        key = (count, *(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(design)))
        if key in model.__dict__.setdefault("_paced", {}):
            return model.__dict__["_paced"][key]
    designs = [design] if few is None else [jax.tree.map(lambda leaf, k=k: leaf[k], design) for k in few]
    grids = []
    with jax.ensure_compile_time_eval():
        for one in designs:
            start, times = float(one.start), np.asarray(one.times)
            end = times[np.isfinite(times)].max(initial=start)
            if end <= start:
                return None
            grids.append(one.at(grid_times(start, end, times, PACES)))
        grids = grids * count if few is None else grids
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *grids)
    if key is not None:
        model.__dict__["_paced"][key] = stacked
    return stacked


@partial(jax.jit, static_argnums=0)
def _paces(system, thetas, design):
    return jax.vmap(lambda theta, design: pace(system, theta, design))(thetas, design)


def _warn_at_medians(model: Model, design: Design) -> None:
    key = (float(design.times.max()), *(np.asarray(value).tobytes() for value in design.inputs.values()))
    judged = model.__dict__.setdefault("_separations", set())
    if key in judged:
        return
    judged.add(key)
    from ..numerics.slow_fast import separation  # loads xarray, which a run needs for nothing else

    reduced = reduction(model.system)
    with jax.ensure_compile_time_eval():
        found = separation(reduced.full, reduced.fast, model.space.nominal(), design).attrs
    if found["warning"]:
        warnings.warn(f"model {model.name!r}, at its medians: {found['warning']}", SeparationWarning, stacklevel=5)
