"""Limit cycles: the period of a stable oscillation, exactly differentiable, and how fast disturbances die out.

A system that oscillates by itself forgets its start, so its period is a function of the parameters alone. It is found
in two stages. The trajectory is followed past its transient; where it then moves slowest, a plane across it is the
section, and the first return to the section gives a first period (`first_return`). Newton's method then solves for the
point u on the section and the period T (shooting),

    flow(T, u) = u,      normal . (u - first point) = 0,

and the implicit function theorem gives their derivatives at the price of one linear solve: they do not pass through
the iterations, nor through the transient. The derivative of the flow at the cycle, the monodromy matrix, has the
Floquet multipliers as its eigenvalues: one is 1 (along the cycle), the others say by which factor a disturbance is
smaller after one period. Where totals are conserved, each adds a multiplier 1, and the cycle is that of the totals of
the start.

Shooting with the monodromy matrix: Seydel, Practical Bifurcation and Stability Analysis, chapter 7.
"""

from dataclasses import replace
from functools import partial
from numbers import Real

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Complex, Float, Int

from ..annotations import Values
from ..design import Design
from ..errors import InputError, Result, nearest
from ..initial_value.array_states import in_scalars
from ..initial_value.given import checked, stacked
from ..solvers.implicit import by_matrix, implicit
from ..solvers.roots import newton_steps, solve
from ..solvers.sparse_lu import structure
from ..system import Inputs, Ode, State
from .conservation import conservation_laws
from .equilibrium import Flow, Given
from .first_return import NEAR, Section, first_return

# Tolerance of the solves between which Newton's method tells differences, and the steps that every solve may take.
TIGHT, MOST_STEPS = 1e-12, 200_000
# Newton's steps, and the size of the last of them, in units of the range of the states and of the period.
NEWTON_STEPS, NEWTON_TOLERANCE = 12, 1e-9
# A multiplier this close to 1 is not stable.
LEAST_DAMPING = 1e-6


class LimitCycle(eqx.Module):
    """A stable periodic solution; NaN where `result` is not 0. A batch has a leading axis.

    Args:
        period: in the time unit of the system.
        point: state -> value at one point of the cycle; which one is arbitrary, and its derivatives are those within a
            section that is held fixed.
        multipliers: Floquet multipliers `(states,)`: first those that are 1 (along the cycle, and one for each
            conserved total), then the others, the largest first. They carry no derivative.
        result: 0, or a code of `RESULTS` that says why there is none.
    """

    period: Float[Array, "*batch"]
    point: dict[str, Float[Array, "*batch"]]
    multipliers: Complex[Array, "*batch states"]
    result: Int[Array, "*batch"]

    @property
    def converged(self) -> Bool[Array, "*batch"]:
        """Whether a stable cycle was found."""
        return self.result == Result.SUCCESS


def limit_cycle(
    system: Ode, theta: Values, inputs: Inputs, *, transient, longest=None, guess: State | None = None
) -> LimitCycle:
    """The limit cycle that the trajectory from `system.initial`, or from a guess, approaches; traceable, never raises
    while running.

    Period and point are differentiable with respect to parameters and inputs, in both modes. A batch is `jax.vmap`.

    Args:
        theta: every parameter, scalars.
        inputs: what the experimenter sets.
        transient: time after which the trajectory has come to the cycle, to within a tenth of its size; scalar, in the
            time unit of the system.
        longest: the longest period to look for, by default `transient`; much more than the period costs time only.
        guess: a state to start from in place of the initial one; conserved totals are still those of the start.

    Returns:
        the cycle; NaN where the trajectory comes to rest, grows, does not return in time, or where its returns are
        not those of an isolated stable cycle (a conservative oscillation has none). `result` says which, by a code of
        `RESULTS`.

    Raises:
        InputError: while tracing, with everything that is wrong: parameters missing or no scalars; then a right-hand
            side that uses time, a schedule of doses or switches, one state alone, a guess with other names than the
            states, a time that is not positive.

    Example:
        >>> from forward_models.relaxation_oscillator import model
        >>> theta = model.space.nominal() | {"eps": 0.01, "tau": 1.0}
        >>> round(float(limit_cycle(model.system, theta, {}, transient=4.0).period), 6)
        1.907837
    """
    system = in_scalars(system, tuple(theta))
    theta, inputs, names = checked("limit_cycle", system, theta, inputs)
    longest = transient if longest is None else longest
    _check(system, names, theta, inputs, guess, {"transient": transient, "longest": longest})
    laws = tuple(map(tuple, conservation_laws(system, names, theta, inputs).tolist()))
    tight = min(TIGHT, system.rtol)
    system = replace(
        system, rtol=tight, atol=tight * system.least_atol / system.rtol, max_steps=max(MOST_STEPS, system.max_steps)
    )
    with jax.ensure_compile_time_eval():
        design = jax.tree.structure(Design([0.0], dict.fromkeys(inputs, 0.0)))
    given = (theta, inputs)
    flow = Flow(system, names, laws, design)
    first = None if guess is None else stacked(guess, names)
    return _cycle(flow, given, first, jnp.asarray(transient, float), jnp.asarray(longest, float))


def _check(system: Ode, names, theta: Values, inputs: Inputs, guess: State | None, times: dict) -> None:
    def rhs(t, y):
        rates = system.rhs(t, dict(zip(names, y, strict=True)), theta, inputs)
        return [jnp.asarray(rates[name], float) for name in names]

    findings = []
    if system.scheduled_events:
        findings.append("the system has a schedule; a limit cycle is that of constant conditions. Leave it out.")
    if structure(rhs, len(names)).uses_time:
        findings.append("the right-hand side uses the time, so the period is that of what drives it.")
    if len(names) < 2:
        findings.append(f"{names[0]!r} is the only state; one state alone cannot oscillate.")
    for name, value in times.items():
        # a traced time is known only when it runs, and leads to NaN then
        if np.shape(value) or not isinstance(value, Real | jax.Array):
            findings.append(f"{name} is {value!r}; it must be one time.")
        elif not isinstance(value, jax.core.Tracer) and not 0 < float(value) < np.inf:
            findings.append(f"{name} is {float(value):g}; it must be positive and finite.")
    if guess is not None:
        findings += [f"the guess has no value for the state {name!r}." for name in names if name not in guess]
        findings += [f"the guess names {name!r}; {nearest(name, names)}" for name in guess if name not in names]
        findings += [
            f"the guess of {name!r} is {value!r}; give one number."
            for name, value in guess.items()
            if np.shape(value) or not isinstance(value, Real | jax.Array)
        ]
    if findings:
        raise InputError("limit_cycle", findings)


@partial(jax.jit, static_argnums=0)
def _cycle(flow: Flow, given: Given, first: Array | None, transient, longest) -> LimitCycle:
    held = lax.stop_gradient(given)
    first, transient, longest = lax.stop_gradient((first, transient, longest))
    section = lax.stop_gradient(first_return(flow, held, first, transient, longest))
    unknowns, slopes, converged = lax.stop_gradient(_newton(flow, held, section))
    multipliers = _multipliers(flow, section, slopes)
    stable = jnp.all(jnp.abs(multipliers[1 + len(flow.laws) :]) < 1.0 - LEAST_DAMPING)
    result = jnp.where(converged, jnp.where(stable, Result.SUCCESS, Result.UNSTABLE_CYCLE), Result.NO_CYCLE)
    result = jnp.where(section.code == Result.SUCCESS, result, section.code)
    result = jnp.where((transient > 0) & (longest > 0), result, Result.NO_TIME).astype(int)
    converged = result == Result.SUCCESS
    # the section holds still
    unknowns = implicit(by_matrix(partial(_residual, flow)), solve, (given, section), unknowns) * section.scale
    unknowns = jnp.where(converged, unknowns, jnp.nan)
    point = dict(zip(flow.names, unknowns[:-1], strict=True))
    return LimitCycle(unknowns[-1], point, jnp.where(converged, multipliers, jnp.nan), result)


def _residual(flow: Flow, unknowns, given_and_section: tuple[Given, Section]) -> Array:
    """`(states + 1,)`: what is missing to a return after the period, and the height above the section.

    A return keeps what is conserved anyway, so those directions ask instead for the totals of the start.
    """
    given, section = given_and_section
    u, period = unknowns[:-1], unknowns[-1] * section.scale[-1]
    scale = section.scale[:-1]
    end, code, _ = flow.travel(given, period, u * scale)
    missing = end / scale - u
    if flow.laws:
        # what is there beyond the totals of the start
        missing = missing + _mending(flow, scale) @ (u - flow.start(given) / scale)
    missing = jnp.where(code == Result.SUCCESS, missing, jnp.nan)
    return jnp.append(missing, section.normal @ (u - section.point))


def _mending(flow: Flow, scale) -> Array:
    """The projection `(states, states)` on the directions in which a state moves only if a conserved total does."""
    laws = flow.weights() * scale
    if not flow.laws:
        return jnp.zeros((len(scale), len(scale)))
    across = laws @ laws.T
    return laws.T @ jnp.stack([solve(across, column) for column in laws.T], axis=-1)


def _newton(flow: Flow, given: Given, section: Section) -> tuple[Array, Array, Array]:
    """The root of `_residual`, the slopes there, and whether the steps came to rest near the start."""
    size = len(section.start)

    def with_value(unknowns):
        value = _residual(flow, unknowns, (given, section))
        return value, value

    def near(unknowns):
        return jnp.all(jnp.abs(unknowns - section.start) <= NEAR)

    def step(unknowns, _, count):
        slopes, value = jax.jacfwd(with_value, has_aux=True)(unknowns)
        move = -solve(slopes, value)
        length = jnp.max(jnp.abs(move))
        return move, ~(length > NEWTON_TOLERANCE) | ~near(unknowns + move), (slopes, length)

    # no step is taken where there is no section
    limit = jnp.where(section.code == Result.SUCCESS, NEWTON_STEPS, 0)
    nothing = (jnp.zeros((size, size)), jnp.zeros(()))
    unknowns, (slopes, length), _, _ = newton_steps(step, section.start, nothing, limit)
    return unknowns, slopes, (length <= NEWTON_TOLERANCE) & near(unknowns)


def _multipliers(flow: Flow, section: Section, slopes) -> Array:
    """Eigenvalues of the monodromy matrix, those nearest 1 first: one, and one for each conserved total."""
    monodromy = slopes[:-1, :-1] + jnp.eye(len(flow.names)) - _mending(flow, section.scale[:-1])
    values = jnp.linalg.eigvals(jnp.where(jnp.all(jnp.isfinite(monodromy)), monodromy, 0.0))
    values = values[jnp.argsort(jnp.abs(values - 1.0))]
    others = values[1 + len(flow.laws) :]
    return jnp.concatenate([values[: 1 + len(flow.laws)], others[jnp.argsort(-jnp.abs(others))]])
