"""The adaptive loop: any one-step method, output at given times, steps to event times, independent batch members.

One iteration is a pure function from carry to carry, so the same code runs as one native loop (`integrate`), as a batch
in which finished members make room for waiting ones (`integrate_batch`), and backwards (`adjoint`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..errors import Result
from .scalars import Rhs, Scalars, once

SAFETY, SHRINK, GROW = 0.9, 0.2, 6.0
PROPORTIONAL, INTEGRAL = 0.3 / 5, 0.7 / 5
LEAST_LOG_ERROR = -9.2
MAX_REJECTIONS = 25
# Growth beyond the scale of the start after which a solution counts as blown up: an exponential would else be followed
# for hundreds of steps to the largest number. Nothing below `SURELY_FINE` in absolute terms is called so.
GROWTH, SURELY_FINE = 1e20, 1e20
# Part of a time within which times are one: what rounding makes of a sum of many intervals; and of the span, of a
# difference.
SAME_TIME, SAME_SPAN = 1e-12, 1e-15
# Absolute tolerances that nobody gave: part of the relative one for the largest value of the state so far, and for a
# state that is still small, part of the largest of all states.
FLOOR, TRACE = 1e-4, 1e-6
# Batch members that step together: enough to fill vector units, few enough that little waits for the slowest.
MEMBERS = 64

Carry = dict[str, Any]


class Method(NamedTuple):
    """A one-step method of order 5 with an embedded order 4.

    Args:
        step: `step(rhs, t, h, y)` -> new state, error estimate, stages.
        dense: `dense(h, stages)` -> coefficients of the dense output for each state.
        interpolate: `interpolate(s, before, after, coefficients)`: the state at the fraction `s` of the step.
    """

    step: Callable
    dense: Callable
    interpolate: Callable


class Problem(NamedTuple):
    """An initial value problem with what is wanted of it.

    Args:
        rhs: `rhs(t, y)`: d scalars -> d scalars.
        start: time of `initial`.
        initial: d scalars.
        times: `(n,)` not decreasing, none before `start`.
        event_times: `(m,)` times to step to exactly, in any order; the right-hand side may jump there.
        dose_amounts: d rows `(m,)`, added to the states at the event times; one before `start` is passed over.
        rtol: local error per step, relative.
        atol: d numbers, the same, absolute; 0 is found from the sizes that the states have had so far.
        max_step: longest step.
        uses_time: steps are then no longer than the distance of the times around them, so that no pulse between two
            observations is passed over.
    """

    rhs: Rhs
    start: Float[Array, ""]
    initial: Scalars
    times: Float[Array, " n"]
    event_times: Float[Array, " m"] | None
    dose_amounts: Scalars | None
    rtol: float
    atol: Scalars
    max_step: float = jnp.inf
    uses_time: bool = False

    def same_time(self, t) -> Array:
        """Times that are no further than this from `t` are one time."""
        t, start, end = lax.stop_gradient((t, self.start, self.times[-1]))
        return SAME_TIME * jnp.maximum(jnp.abs(t), jnp.abs(start)) + SAME_SPAN * (end - start)


class Passage(NamedTuple):
    """A step from `t` to `end`, from which the states inside it follow."""

    t: Array
    h: Array
    end: Array
    before: Scalars
    new: Scalars
    stages: Any


class Attempt(NamedTuple):
    """A step before it is accepted or refused: where it leads (beyond an event time), and its error."""

    passage: Passage
    lands: Array
    after: Array
    state: Scalars
    error: Scalars


def weighted_norm(values: Scalars, before: Scalars, after: Scalars, rtol, atol: Scalars) -> Array:
    """Root mean square of the values in units of the tolerance."""
    values, before, after, atol = lax.stop_gradient((list(values), list(before), list(after), list(atol)))
    total = 0.0
    for value, a, b, floor in zip(values, before, after, atol, strict=True):
        total = total + jnp.square(value / (floor + rtol * jnp.maximum(jnp.abs(a), jnp.abs(b))))
    return jnp.sqrt(total / len(values))


def absolute(problem: Problem, scale: Scalars) -> list:
    """Absolute tolerances of the states, whose largest values so far are `scale`."""
    largest = TRACE * jnp.max(jnp.stack(list(scale)))
    return [
        jnp.where(given > 0, given, FLOOR * problem.rtol * jnp.maximum(size, largest) + 1e-290)
        for given, size in zip(problem.atol, scale, strict=True)
    ]


def first_step(problem: Problem) -> Array:
    """The step whose local error is about the tolerance if the derivatives keep growing as the first two do.

    With |y'| = d1 and |y''| = d2 in the error norm, y^(5) is taken as d1 (d2/d1)^4; no unit of time enters.
    """
    t, y, rtol = problem.start, problem.initial, problem.rtol
    atol = absolute(problem, lax.stop_gradient([jnp.abs(value) for value in y]))
    span = problem.times[-1] - t
    slope = problem.rhs(t, y)
    _, curvature = jax.jvp(lambda t, *y: tuple(problem.rhs(t, y)), (t, *y), (jnp.ones(()), *slope))
    d1, d2 = weighted_norm(slope, y, y, rtol, atol), weighted_norm(curvature, y, y, rtol, atol)
    tiny = 1e-200
    rate = d2 / jnp.maximum(d1, tiny)
    h = 0.5 * (100.0 / jnp.maximum(d1 * rate**4, tiny)) ** 0.2
    return lax.stop_gradient(jnp.minimum(jnp.where(jnp.isfinite(h) & (h > 0), h, 1e-6 * span), span))


def begin(problem: Problem) -> Carry:
    """The carry before the first step."""
    t, y = problem.start, [jnp.asarray(value, float) for value in problem.initial]
    end = problem.times[-1]
    rows = [jnp.where(problem.times <= t, value, jnp.nan) for value in y]
    finite = jnp.all(jnp.stack([jnp.isfinite(value) for value in y])) & jnp.isfinite(t) & jnp.isfinite(end)
    h = first_step(problem)
    scale = _size(y) + (end - problem.start) * _size(problem.rhs(t, y))
    if problem.event_times is not None:
        scale = scale + _size([jnp.sum(jnp.abs(amount)) for amount in problem.dose_amounts])
        y = _dosed(problem, problem.start, y)
        t = _after(t, problem)
    return {
        "t": t,
        "h": h,
        "y": y,
        "log_error": jnp.asarray(LEAST_LOG_ERROR),
        "rejections": jnp.asarray(0),
        "rows": rows,
        "steps": jnp.asarray(0),
        "stretch": jnp.asarray(0),
        "scale": lax.stop_gradient([jnp.abs(value) for value in y]),
        "limit": jnp.minimum(jnp.maximum(GROWTH * scale, SURELY_FINE), 1e100),
        "code": jnp.where(finite, jnp.where(end <= problem.start, Result.SUCCESS, Result.STEP_LIMIT), Result.BAD_START),
        "running": finite & (end > problem.start),
    }


def _dosed(problem: Problem, at, y: Scalars) -> list:
    near = jnp.abs(problem.event_times - at) <= problem.same_time(at)
    return [
        value + jnp.sum(jnp.where(near, amount, 0.0)) for value, amount in zip(y, problem.dose_amounts, strict=True)
    ]


def _after(t, problem: Problem):
    """A time just after `t`, so that a condition on time sees the other side of an event; moves as `t` does."""
    return t + problem.same_time(t)


def attempt(method: Method, problem: Problem, t, h, y: Scalars) -> Attempt:
    """A step of length `h`, or to the next event or the last time where this is nearer."""
    end = problem.times[-1]
    rhs = problem.rhs
    if problem.event_times is not None:
        end = jnp.minimum(
            end, jnp.min(jnp.where(problem.event_times > t, problem.event_times, jnp.inf), initial=jnp.inf)
        )
        # the last stages stand at the event itself, where the right-hand side has its value from the other side
        limit = lax.stop_gradient(end - problem.same_time(end))

        def rhs(at, y):
            return problem.rhs(jnp.where(at < limit, at, limit), y)

    h = jnp.minimum(h, problem.max_step)
    if problem.uses_time:
        times = lax.stop_gradient(problem.times)
        ahead = jnp.min(jnp.where(times > t, times, end))
        behind = jnp.max(jnp.where(times <= t, times, problem.start))
        h = jnp.minimum(h, jnp.maximum(ahead - jnp.maximum(behind, problem.start), ahead - t))
    remaining = end - t
    lands = h * 1.001 >= remaining
    h = jnp.where(lands, remaining, h)
    new, error, stages = method.step(rhs, t, h, y)
    t_new = jnp.where(lands, end, t + h)
    passage, after, state = Passage(t, h, t_new, y, new, stages), t_new, new
    if problem.event_times is not None:
        state = [jnp.where(lands, dosed, b) for dosed, b in zip(_dosed(problem, end, new), new, strict=True)]
        after = jnp.where(lands, _after(end, problem), t_new)
    return Attempt(passage, lands, after, state, error)


def inside(method: Method, passage: Passage, times) -> list:
    """The states at times inside the step, each of the shape of `times`."""
    s = (times - passage.t) / passage.h
    coefficients = once([tuple(row) for row in method.dense(passage.h, passage.stages)])
    return [
        method.interpolate(s, a, b, row) for a, b, row in zip(passage.before, passage.new, coefficients, strict=True)
    ]


def write(method: Method, problem: Problem, passage: Passage, rows: Scalars) -> list:
    """The rows with the states at those times that lie in the step."""
    here = (problem.times > passage.t) & (problem.times <= passage.end + problem.same_time(passage.end))
    found = inside(method, passage, problem.times)
    return [jnp.where(here, value, row) for row, value in zip(rows, found, strict=True)]


def controlled_step(method: Method, problem: Problem, carry: Carry, max_steps: int) -> tuple[Carry, Passage, Array]:
    """A step, kept or refused: the new carry without its output, the step, and whether it was kept."""
    t, y = carry["t"], carry["y"]
    tried = attempt(method, problem, t, carry["h"], y)
    end = tried.passage.end
    scale = [
        jnp.maximum(size, jnp.abs(b)) for size, b in zip(carry["scale"], lax.stop_gradient(tried.state), strict=True)
    ]
    norm = weighted_norm(tried.error, y, tried.state, problem.rtol, absolute(problem, scale))
    accepted = norm <= 1.0
    rejections = jnp.where(accepted, 0, carry["rejections"] + 1)
    factor, log_error = _next_step(norm, accepted, carry["log_error"], carry["rejections"])
    h = tried.passage.h * factor
    if problem.event_times is not None:
        # a step cut short by an event says little about the length of the next
        h = jnp.where(tried.lands & accepted, jnp.maximum(h, carry["h"]), h)
    # the limit is for a stretch between events and observations
    fresh = accepted & (tried.lands | jnp.any((problem.times > t) & (problem.times <= end)))
    stretch = jnp.where(fresh, 0, carry["stretch"] + 1)
    done = accepted & (end >= problem.times[-1])
    stuck = (rejections >= MAX_REJECTIONS) | (end == t) | (accepted & (_size(tried.state) > carry["limit"]))
    new = {
        "t": jnp.where(accepted, tried.after, t),
        "h": lax.stop_gradient(h),
        "y": [jnp.where(accepted, b, a) for a, b in zip(y, tried.state, strict=True)],
        "log_error": log_error,
        "rejections": rejections,
        "steps": carry["steps"] + 1,
        "stretch": stretch,
        "scale": [jnp.where(accepted, a, b) for a, b in zip(scale, carry["scale"], strict=True)],
        "code": jnp.where(done, Result.SUCCESS, jnp.where(stuck, Result.BLOW_UP, Result.STEP_LIMIT)),
        "running": ~(done | stuck | (stretch >= max_steps)),
    }
    return {**carry, **new}, tried.passage, accepted


def advance(method: Method, problem: Problem, carry: Carry, max_steps: int) -> Carry:
    """One iteration with its output."""
    new, passage, accepted = controlled_step(method, problem, carry, max_steps)
    # few steps meet a time, so the others do not pay for the dense output
    here = accepted & jnp.any(
        (problem.times > passage.t) & (problem.times <= passage.end + problem.same_time(passage.end))
    )
    rows = lax.cond(here, lambda rows: write(method, problem, passage, rows), lambda rows: rows, carry["rows"])
    return {**new, "rows": rows}


def _size(y: Scalars):
    return sum((jnp.abs(value) for value in lax.stop_gradient(list(y))), jnp.zeros(()))


def _next_step(norm, accepted, log_before, rejections):
    """Factor of the next step (Gustafsson 1991, doi:10.1145/210232.210242) and the logarithm of the last good error."""
    log_error = jnp.log(jnp.clip(jnp.where(jnp.isfinite(norm), norm, 1e10), 1e-10, 1e10))
    smooth = SAFETY * jnp.exp(PROPORTIONAL * log_before - (PROPORTIONAL + INTEGRAL) * log_error)
    # the step before a rejection was too long, so its error is no guide to a longer one
    smooth = jnp.where(rejections > 0, jnp.minimum(smooth, 1.0), smooth)
    retry = SAFETY * jnp.exp(-0.2 * log_error)
    factor = jnp.clip(jnp.where(accepted, smooth, retry), SHRINK, GROW)
    return factor, jnp.where(accepted, jnp.maximum(log_error, LEAST_LOG_ERROR), log_before)


def integrate(method: Method, problem: Problem, max_steps: int) -> Carry:
    """Steps until the last time or a failure; traceable, never raises.

    Forward-mode derivatives are those of the steps taken, at fixed step sizes; where event times depend on parameters
    they include the motion of these times.
    """
    return lax.while_loop(
        lambda carry: carry["running"], lambda carry: advance(method, problem, carry, max_steps), begin(problem)
    )


def integrate_batch(method: Method, define: Callable[[Any], Problem], members: Any, max_steps: int) -> Carry:
    """The same for a batch: `define(member)` gives the problem of one member, `members` has a leading axis.

    `MEMBERS` of them step together; as soon as half of these are done, waiting ones take their places, those with the
    fewest steps first. So a member that is slow or fails late keeps few others waiting, whatever their order.
    """

    def one(member, carry):
        new, passage, accepted = controlled_step(method, define(member), carry, max_steps)
        kept = jax.tree.map(lambda a, b: jnp.where(carry["running"], a, b), new, carry)
        return kept, passage, accepted & carry["running"]

    def several(picked, part):
        new, passages, accepted = jax.vmap(one)(picked, part)
        return _write_members(method, jax.vmap(lambda member: define(member).times)(picked), passages, accepted, new)

    def some(carry):
        running, steps = carry["running"], carry["steps"]
        chosen = jnp.argsort(jnp.where(running, steps, max_steps))[:width]
        enough = jnp.where(jnp.sum(running) > width, width // 2, 0)
        picked = jax.tree.map(lambda leaf: leaf[chosen], members)
        part = lax.while_loop(
            lambda part: jnp.sum(part["running"]) > enough,
            lambda part: several(picked, part),
            jax.tree.map(lambda leaf: leaf[chosen], carry),
        )
        return jax.tree.map(lambda whole, part: whole.at[chosen].set(part), carry, part)

    def first(member):
        problem = define(member)
        return {**begin(problem), "written": jnp.sum(problem.times <= problem.start)}

    start = jax.vmap(first)(members)
    width = min(MEMBERS, start["running"].shape[0])
    return lax.while_loop(lambda carry: jnp.any(carry["running"]), some, start)


def _write_members(method: Method, times, passages: Passage, accepted, carry: Carry) -> Carry:
    """Output of members, one time of each in turn: to test all times of all members costs more than the steps."""
    index = jnp.arange(times.shape[1])

    def due(written):
        following = jnp.take_along_axis(times, jnp.minimum(written, len(index) - 1)[:, None], axis=1)[:, 0]
        return following, accepted & (written < len(index)) & (following <= passages.end)

    def body(state):
        written, rows = state
        following, hit = due(written)
        found = jax.vmap(lambda passage, time: inside(method, passage, time))(passages, following)
        slot = (index == written[:, None]) & hit[:, None]
        return written + hit, [jnp.where(slot, value[:, None], row) for row, value in zip(rows, found, strict=True)]

    state = lax.while_loop(lambda state: jnp.any(due(state[0])[1]), body, (carry["written"], carry["rows"]))
    return {**carry, "written": state[0], "rows": state[1]}
