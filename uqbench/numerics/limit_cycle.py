"""Limit cycles: the period of a stable oscillation, exactly differentiable, and how fast disturbances die out.

A system that oscillates by itself forgets its start, so its period is a function of the parameters alone. It is found
in two stages. The trajectory is followed past its transient; where it then moves slowest, a plane across it is the
section, and the first return to the section gives a first period. Newton's method then solves for the point u on the
section and the period T (shooting),

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
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Complex, Float

from ..design import Design
from ..errors import InputError, nearest
from ..system import Inputs, Ode, State, Theta
from . import odes
from .conservation import conservation_laws
from .equilibrium import START, Flow, Given, continued
from .roots import solve
from .sparse_lu import structure
from .stepping import SUCCESS

# Tolerance of the solves between which Newton's method tells differences, and the steps they may take.
TIGHT, MOST_STEPS = 1e-12, 100_000
# Points at which the trajectory is looked at, over two of the longest periods.
SAMPLES = 4096
# A return is a passage of the section that is this near, in units of the range of each state.
NEAR = 0.1
# Newton's steps, and the size of the last of them, in units of the range of the states and of the period.
NEWTON_STEPS, SETTLED = 12, 1e-9
# A range below this share of the states' sizes is rest, and a multiplier this close to 1 is not stable.
LEAST_RANGE, LEAST_DAMPING = 1e-6, 1e-6


class LimitCycle(eqx.Module):
    """A stable periodic solution; NaN where `converged` is False. A batch has a leading axis.

    Args:
        period: in the time unit of the system.
        point: state -> value at one point of the cycle; which one is arbitrary, and its derivatives are those within a
            section that is held fixed.
        multipliers: Floquet multipliers `(states,)`: first those that are 1 (along the cycle, and one for each
            conserved total), then the others, the largest first. They carry no derivative.
        converged: whether a stable cycle was found.
    """

    period: Float[Array, "*batch"]
    point: dict[str, Float[Array, "*batch"]]
    multipliers: Complex[Array, "*batch states"]
    converged: Bool[Array, "*batch"]


class Section(NamedTuple):
    """Where the search stands, all of it held fixed when derivatives are taken.

    Args:
        point, normal: of the plane, in units of `scale`.
        scale: range of each state over the cycle; that of the period, its first value.
        start: the unknowns at the first return, in units of `scale`: the point, and 1 for the period.
        found: whether the trajectory returned at all.
    """

    point: Float[Array, " states"]
    normal: Float[Array, " states"]
    scale: Float[Array, " unknowns"]
    start: Float[Array, " unknowns"]
    found: Bool[Array, ""]


def limit_cycle(
    system: Ode, theta: Theta, inputs: Inputs, *, transient, longest=None, guess: State | None = None
) -> LimitCycle:
    """The limit cycle that the trajectory from `system.initial`, or from a guess, approaches; traceable, never raises
    while running.

    Period and point are differentiable with respect to parameters and inputs, in both modes. A batch is `jax.vmap`.

    Args:
        theta: every parameter, scalars.
        inputs: what the experimenter sets.
        transient: time after which the trajectory has come to the cycle, to within a tenth of its size; scalar, in the
            time unit of the system.
        longest: the longest period to look for, by default `transient`. The trajectory is sampled 2048 times over it.
        guess: a state to start from in place of the initial one; conserved totals are still those of the start.

    Returns:
        the cycle; NaN and `converged` False where the trajectory comes to rest, grows, does not return in time, or
        where its returns are not those of an isolated stable cycle (a conservative oscillation has none).

    Raises:
        InputError: while tracing, with everything that is wrong: a right-hand side that uses time, a schedule of doses
            or switches, one state alone, a guess with other names than the states, a time that is not positive.

    Example:
        >>> from forward_models.relaxation_oscillator import model
        >>> theta = model.space.nominal() | {"eps": 0.01, "tau": 1.0}
        >>> round(float(limit_cycle(model.system, theta, {}, transient=4.0).period), 6)
        1.907837
    """
    theta, inputs = ({name: jnp.asarray(value, float) for name, value in part.items()} for part in (theta, inputs))
    names = tuple(system.initial(theta, inputs))
    longest = transient if longest is None else longest
    _check(system, names, theta, inputs, guess, {"transient": transient, "longest": longest})
    laws = tuple(map(tuple, conservation_laws(system, names, theta, inputs).tolist()))
    tight = min(TIGHT, system.rtol)
    system = replace(
        system, rtol=tight, atol=tight * system.atol / system.rtol, max_steps=max(MOST_STEPS, system.max_steps)
    )
    with jax.ensure_compile_time_eval():
        design = jax.tree.structure(Design([0.0], dict.fromkeys(inputs, 0.0)))
    given = (theta, inputs)
    flow = Flow(system, names, laws, design)
    first = None if guess is None else jnp.stack([jnp.asarray(guess[name], float) for name in names])
    return _cycle(flow, given, first, jnp.asarray(transient, float), jnp.asarray(longest, float))


def _check(system: Ode, names, theta: Theta, inputs: Inputs, guess: State | None, times: dict) -> None:
    def rhs(t, y):
        rates = system.rhs(t, dict(zip(names, y, strict=True)), theta, inputs)
        return [jnp.asarray(rates[name], float) for name in names]

    findings = []
    if system.stops:
        findings.append("the system has a schedule; a limit cycle is that of constant conditions. Leave it out.")
    if structure(rhs, len(names)).uses_time:
        findings.append("the right-hand side uses the time, so the period is that of what drives it.")
    if len(names) < 2:
        findings.append(f"{names[0]!r} is the only state; one state alone cannot oscillate.")
    for name, value in times.items():
        # a traced time is known only when it runs, and leads to NaN then
        if np.ndim(value):
            findings.append(f"{name} has the shape {np.shape(value)}; it must be one time.")
        elif not isinstance(value, jax.core.Tracer) and not value > 0:
            findings.append(f"{name} is {float(value):g}; it must be positive.")
    if guess is not None:
        findings += [f"the guess has no value for the state {name!r}." for name in names if name not in guess]
        findings += [f"the guess names {name!r}; {nearest(name, names)}" for name in guess if name not in names]
    if findings:
        raise InputError("limit_cycle", findings)


@partial(jax.jit, static_argnums=0)
def _cycle(flow: Flow, given: Given, first: Array | None, transient, longest) -> LimitCycle:
    held = lax.stop_gradient(given)
    section = _first_return(flow, held, *lax.stop_gradient((first, transient, longest)))
    unknowns, slopes, settled = _newton(flow, held, section)
    multipliers = _multipliers(flow, section, slopes)
    stable = jnp.all(jnp.abs(multipliers[1 + len(flow.laws) :]) < 1.0 - LEAST_DAMPING)
    converged = section.found & settled & stable
    unknowns = _place(flow, given, section, lax.stop_gradient(unknowns)) * section.scale
    unknowns = jnp.where(converged, unknowns, jnp.nan)
    point = dict(zip(flow.names, unknowns[:-1], strict=True))
    return LimitCycle(unknowns[-1], point, jnp.where(converged, multipliers, jnp.nan), converged)


def _first_return(flow: Flow, given: Given, first, transient, longest) -> Section:
    """The section where the sampled trajectory is slowest, and the first return to it."""
    theta, inputs = given
    system, times = flow.system, jnp.linspace(0.0, 2 * longest, SAMPLES)
    if first is not None:
        system = continued(system, flow.names)
        theta = theta | {START + name: value for name, value in zip(flow.names, first, strict=True)}
    leaves = jax.tree.leaves((transient + times, inputs, jnp.zeros(())))
    rows = odes.solve(system, theta, jax.tree.unflatten(flow.design, leaves), method="implicit").states
    y = jnp.stack([rows[name] for name in flow.names], axis=-1)
    slopes = jax.vmap(lambda y: flow.slope(y, given))(y)
    width = jnp.max(y, axis=0) - jnp.min(y, axis=0)
    size = jnp.max(jnp.abs(y), axis=0) + system.atol / system.rtol
    moving = width > LEAST_RANGE * size
    scale = jnp.where(moving, width, size)
    half = SAMPLES // 2
    at = jnp.argmin(jnp.max(jnp.abs(slopes[:half]) / scale, axis=1))
    normal = slopes[at] / scale
    normal = normal / jnp.sqrt(jnp.sum(jnp.square(normal)))
    away = (y - y[at]) / scale
    height = away @ normal
    passes = (height[:-1] < 0) & (height[1:] >= 0) & (jnp.max(jnp.abs(away[1:]), axis=1) <= NEAR)
    passes = passes & (times[1:] > times[at]) & (times[1:] <= times[at] + longest)
    back = jnp.argmax(passes)
    share = height[back] / (height[back] - height[back + 1])
    period = times[back] + share * (times[back + 1] - times[back]) - times[at]
    found = jnp.any(passes) & jnp.any(moving) & jnp.all(jnp.isfinite(y))
    period = jnp.where(found, period, 1.0)
    point = y[at] / scale
    # in a batch, nothing is to be integrated for lanes without a return
    return Section(point, normal, jnp.append(scale, period), jnp.append(point, jnp.where(found, 1.0, 0.0)), found)


def _residual(flow: Flow, given: Given, section: Section, unknowns) -> Array:
    """`(states + 1,)`: what is missing to a return after the period, and the height above the section.

    A return keeps what is conserved anyway, so those directions ask instead for the totals of the start.
    """
    u, period = unknowns[:-1], unknowns[-1] * section.scale[-1]
    scale = section.scale[:-1]
    end, code, _ = flow.travel(given, period, u * scale)
    missing = end / scale - u
    if flow.laws:
        # what is there beyond the totals of the start
        missing = missing + _mending(flow, scale) @ (u - flow.start(given) / scale)
    missing = jnp.where(code == SUCCESS, missing, jnp.nan)
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
        value = _residual(flow, given, section, unknowns)
        return value, value

    def near(unknowns):
        return jnp.all(jnp.abs(unknowns - section.start) <= NEAR)

    def body(state):
        unknowns, _, _, count = state
        slopes, value = jax.jacfwd(with_value, has_aux=True)(unknowns)
        move = -solve(slopes, value)
        return unknowns + move, slopes, jnp.max(jnp.abs(move)), count + 1

    def going(state):
        return (state[2] > SETTLED) & (state[3] < NEWTON_STEPS) & near(state[0])

    first = jnp.where(section.found, jnp.inf, 0.0)
    unknowns, slopes, last, _ = lax.while_loop(
        going, body, (section.start, jnp.zeros((size, size)), first, jnp.asarray(0))
    )
    return unknowns, slopes, (last <= SETTLED) & near(unknowns)


def _multipliers(flow: Flow, section: Section, slopes) -> Array:
    """Eigenvalues of the monodromy matrix, those nearest 1 first: one, and one for each conserved total."""
    monodromy = slopes[:-1, :-1] + jnp.eye(len(flow.names)) - _mending(flow, section.scale[:-1])
    values = jnp.linalg.eigvals(jnp.where(jnp.all(jnp.isfinite(monodromy)), monodromy, 0.0))
    values = values[jnp.argsort(jnp.abs(values - 1.0))]
    others = values[1 + len(flow.laws) :]
    return jnp.concatenate([values[: 1 + len(flow.laws)], others[jnp.argsort(-jnp.abs(others))]])


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _place(flow: Flow, given: Any, section: Section, unknowns: Array) -> Array:
    """The point and the period as a function of what is given."""
    return unknowns


@_place.defjvp
def _(flow, primals, tangents):
    given, section, unknowns = primals
    unknowns = _place(flow, given, section, unknowns)
    at, unravel = ravel_pytree(given)
    direction, _ = ravel_pytree(tangents[0])

    def residual(both):
        return _residual(flow, unravel(both[len(unknowns) :]), section, both[: len(unknowns)])

    # A matrix, since the derivative of a loop cannot be transposed for reverse mode, but a matrix can.
    slopes = jax.jacfwd(residual)(jnp.concatenate([unknowns, at]))
    return unknowns, -solve(slopes[:, : len(unknowns)], slopes[:, len(unknowns) :] @ direction)
