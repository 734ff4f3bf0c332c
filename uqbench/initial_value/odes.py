"""Initial value problems: one solve, its derivatives, and the reason where it failed.

Two methods in one loop (`stepping`): the explicit pair of Tsitouras (`tsitouras`) and, where the fastest time scale
would hold that to tiny steps, the L-stable Rodas5P (`rosenbrock`). The choice is made on the host before anything is
compiled (`stiffness`). A solve never raises: it returns a code.
"""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from ..annotations import Parameters
from ..design import Design
from ..errors import InputError, Result
from ..solvers import stepping, tsitouras
from ..solvers.adjoint import integrate_reversible
from ..solvers.rosenbrock import implicit_method
from ..solvers.sparse_lu import structure
from ..solvers.stepping import Method, Problem
from ..system import Ode
from .schedule import absolute_tolerances, schedule

# Part of the time span by which to look ahead for the reason of a failure.
AHEAD = 1e-6

EXPLICIT = Method(tsitouras.step, tsitouras.dense, tsitouras.interpolate)


class Solution(eqx.Module):
    """States at the design's times, a code of `RESULTS` and the number of steps taken; a batch has a leading axis."""

    states: dict[str, Float[Array, "*batch times"]]
    result: Int[Array, "*batch"]
    steps: Int[Array, "*batch"]
    implicit_steps: Int[Array, "*batch"]


def solve(
    system: Ode, theta: Parameters, design: Design, *, method: str, reverse: bool = False, sharper: float | Array = 1.0
) -> Solution:
    """Solves the system over the design's times in JAX alone; traceable, never raises while running.

    Args:
        method: "explicit" or "implicit".
        reverse: record what reverse-mode differentiation needs; otherwise only forward mode works, at no extra cost.
        sharper: factor of the tolerances.

    Returns:
        states `(times,)` each; NaN everywhere where `result` is not 0.

    Raises:
        InputError: the system has events, which only the engine of `compiled` can find.
    """
    names, stepper, define = _prepare(system, theta, design, method, sharper)
    if reverse:
        rows, code, steps = integrate_reversible(stepper, define, (theta, design), system.max_steps)
        states = dict(zip(names, rows, strict=True))
        return _solution(names, rows, unless_it_leaves(system, (theta, design), states, code), steps, method)
    carry = stepping.integrate(stepper, define((theta, design)), system.max_steps)
    code = _code(system, names, (theta, design), carry)
    return _solution(names, carry["rows"], code, carry["steps"], method)


def rows_of(
    system: Ode, observe: Callable | None, outputs: tuple[str, ...], theta: Parameters, design: Design
) -> Array:
    """Outputs, or states, `(times, outputs)` in the order of `outputs`, differentiable any number of times forward."""
    solution = solve(system, theta, design, method="implicit")
    values = solution.states
    if observe is not None:
        values = jax.vmap(lambda t, y: dict(observe(t, y, theta, design.inputs)))(design.times, values)
    return jnp.stack([jnp.broadcast_to(values[name], design.times.shape) for name in outputs], axis=-1)


@partial(jax.jit, static_argnums=0)
def solve_once(system: Ode, theta: Parameters, design: Design) -> Solution:
    """The solution by the implicit method, compiled once for each system; for callers on the host."""
    return solve(system, theta, design, method="implicit")


def solve_many(system: Ode, thetas: Parameters, designs: Design, *, method: str) -> Solution:
    """The same for a batch: every leaf has a leading axis. Members that are done make room for waiting ones."""
    first = jax.tree.map(lambda leaf: leaf[0], (thetas, designs))
    names, stepper, define = _prepare(system, *first, method)
    carry = stepping.integrate_batch(stepper, define, (thetas, designs), system.max_steps)
    code = jax.vmap(partial(_code, system, names))((thetas, designs), carry)
    return _solution(names, carry["rows"], code, carry["steps"], method)


def _code(system: Ode, names, given: tuple[Parameters, Design], carry) -> Array:
    """The code of a solve that has ended."""
    if system.algebraic is None:
        return carry["code"]
    states, rows = (dict(zip(names, carry[part], strict=True)) for part in ("y", "rows"))
    return unless_it_leaves(system, given, rows, failure(system, given, carry["t"], states, carry["code"]))


def failure(system: Ode, given: tuple[Parameters, Design], time, states: dict[str, Array], code) -> Array:
    """The code of a solve that ended at `time` in `states`; its own where what is algebraic has no value any more.

    Args:
        states: name -> scalar.
    """
    theta, design = given
    span = AHEAD * (design.times[-1] - design.start)
    rates = system.rhs(time, states, theta, design.inputs)
    ahead = {name: y + span * jnp.where(jnp.isfinite(rates[name]), rates[name], 0.0) for name, y in states.items()}
    found = [*system.algebraic(time, states, theta, design.inputs).values()]
    found += [*system.algebraic(time + span, ahead, theta, design.inputs).values()]
    missing = ~jnp.all(jnp.isfinite(jnp.stack(found))) & (code != Result.SUCCESS)
    return jnp.where(missing, Result.NO_EQUILIBRIUM, code)


def unless_it_leaves(system: Ode, given: tuple[Parameters, Design], states: dict[str, Array], code) -> Array:
    """The code, or that the quasi-steady state which a system takes is not one at which it would stay.

    Args:
        states: name -> `(times,)`.
    """
    stable = getattr(system.algebraic, "stable", None)
    if stable is None:
        return code
    (theta, design), states = lax.stop_gradient((given, states))
    stays = jax.vmap(lambda t, y: stable(t, y, theta, design.inputs))(design.times, states)
    return jnp.where((code == Result.SUCCESS) & ~jnp.all(stays), Result.NO_EQUILIBRIUM, code)


def _solution(names, rows, code, steps, method: str) -> Solution:
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(row), axis=-1) for row in rows]), axis=0)
    result = jnp.where((code == Result.SUCCESS) & ~finite, Result.BLOW_UP, code)
    good = (result == Result.SUCCESS)[..., None]
    states = {name: jnp.where(good, row, jnp.nan) for name, row in zip(names, rows, strict=True)}
    return Solution(states, result, steps, steps if method == "implicit" else jnp.zeros_like(steps))


def _prepare(
    system: Ode, theta: Parameters, design: Design, method: str, sharper=1.0
) -> tuple[tuple[str, ...], Method, Callable]:
    """Names of the states, the stepper, and `define((theta, design))`, the problem as the loop wants it."""
    if system.events:
        raise InputError(
            "Ode",
            [
                "events are found by the native engine only, and this right-hand side cannot become a kernel for it "
                "(`check_model` says why); write it without what stands in the way, or without events."
            ],
        )
    refuse_delays(system)
    names = tuple(system.initial(theta, design.inputs))
    rhs = problem_of(system, names, (theta, design)).rhs
    define = partial(problem_of, system, names, sharper=sharper, uses_time=structure(rhs, len(names)).uses_time)
    return names, EXPLICIT if method == "explicit" else implicit_method(rhs, len(names)), define


def refuse_delays(system: Ode) -> None:
    """Raises InputError for a system that the solver in JAX has no method for."""
    if system.delays:
        raise InputError(
            "Ode",
            [
                "delays are solved by the native engine only: not on accelerators, with loops or callbacks in the "
                "functions, or for second derivatives and derivatives by times."
            ],
        )


def problem_of(
    system: Ode, names: tuple[str, ...], given: tuple[Parameters, Design], *, sharper=1.0, uses_time: bool = False
) -> Problem:
    """The initial value problem as the loop wants it: scalars, with the event times in one row."""
    theta, design = given

    @jax.jit  # traced and differentiated once for all stages, inlined afterwards
    def traced_once(t, *y):
        slope = system.rhs(t, dict(zip(names, y, strict=True)), theta, design.inputs)
        return tuple(jnp.asarray(slope[name], float) for name in names)

    initial = system.initial(theta, design.inputs)
    event_times, dose_amounts = (
        schedule(system, names, theta, design.inputs) if system.scheduled_events else (None, None)
    )
    start = design.start if system.start is None else jnp.asarray(system.start(theta, design.inputs), float)
    return Problem(
        lambda t, y: traced_once(t, *y),
        start,
        [jnp.asarray(initial[name], float) for name in names],
        design.times,
        event_times,
        None if dose_amounts is None else list(dose_amounts.T),
        system.rtol * sharper,
        list(absolute_tolerances(system, names) * sharper),
        jnp.inf if system.max_step is None else system.max_step,
        uses_time,
    )
