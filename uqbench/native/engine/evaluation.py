"""The model's kernels at a point of the solve: time and state go into the row `x` that every kernel reads."""

from ..language import Vector, as_record, copy, is_wide, isfinite, native
from .past import look_back
from .records import Step, Work

EPSILON = 2.220446049250313e-16
# Of a time, which a difference of times may carry.
ROUNDINGS = 4.0


@native
def at(step: Step, t: float, y: Vector) -> None:
    """Puts time and state into `x`; where conditions are not frozen they are decided here."""
    copy(step.x[1:], y, step.n)
    put_time(step, t)


@native(inline=True)
def put_time(step: Step, t: float) -> None:
    """Puts the time into `x`, and what follows from it and the state there."""
    if not is_wide() and step.model.delays > 0:
        look_back(as_record(Work, step), t)
    step.x[0] = t
    if not is_wide() and step.live == 1:
        decide(as_record(Work, step))


@native
def decide(work: Work) -> None:
    """Puts the conditions at time and state of `x` into `x`."""
    work.model.modes(work.x, work.kernel_out, work.scratch)
    copy(work.x[1 + work.n + work.model.parameters :], work.kernel_out, work.model.conditions)


@native(inline=True)
def inside_step(work: Work, t: float) -> float:
    """A time of the present step as the right-hand side is to see it: after the stop before, before the stop after."""
    return between(t, work.least_time, work.cap)


@native(inline=True)
def between(t: float, first: float, last: float) -> float:
    """The time, or the end of the interval that it lies beyond."""
    return max(first, min(t, last))


@native(inline=True)
def same_time(work: Work, t: float) -> float:
    """Times that are no further than this from `t` are one time.

    What rounding makes of a sum of many intervals is in proportion to the time passed since the start, which may be a
    large number itself (seconds since 1970); what it makes of a difference, to the times of which it is one.
    """
    largest = max(abs(t), max(abs(work.start), work.first_gap))
    return work.same_time * abs(t - work.start) + ROUNDINGS * EPSILON * largest


@native
def rate_at(step: Step, t: float, y: Vector, out: Vector) -> None:
    """The right-hand side `(n,)`."""
    copy(step.x[1:], y, step.n)
    rate_at_argument(step, t, out)


@native
def rate_at_argument(step: Step, t: float, out: Vector) -> None:
    """The right-hand side `(n,)` at the state that is in `x` already."""
    put_time(step, t)
    step.model.rate(step.x, out, step.scratch)


@native(inline=True)
def same_sign(a: float, b: float) -> bool:
    """Whether both are positive or both negative. Not their product: that of small numbers is zero."""
    return (a > 0.0 and b > 0.0) or (a < 0.0 and b < 0.0)


@native
def sign_of_ends(work: Work) -> None:
    """Puts states of a stage in `x` to zero that have a sign there which they have at neither end of the step."""
    if work.keep_sign == 0:
        return
    for k in range(work.n):
        value = work.x[1 + k]
        if not same_sign(value, work.y[k]) and not same_sign(value, work.new[k]):
            work.x[1 + k] = 0.0


@native
def linearise_at(step: Step, t: float, y: Vector) -> None:
    """Right-hand side, Jacobian and time derivative into `f`, `jacobian`, `slope_time`, which are one row."""
    at(step, t, y)
    step.model.linearise(step.x, step.f, step.scratch)


@native
def finite(values: Vector, count: int) -> int:
    """1 where all are numbers."""
    for k in range(count):
        if not isfinite(values[k]):
            return 0
    return 1


@native
def measure_noise(work: Work) -> None:
    """Sizes of the terms that add up to each rate: their rounding is what a rate is not known better than.

    The rounding of the time counts where rates follow it fast: (t - 5)^2 just after 5. `slope_time` is that of the
    present point.
    """
    model = work.model
    work.noise_is_new = 1
    at(work, inside_step(work, work.t), work.y)
    model.rounding(work.x, work.noise, work.scratch)
    for k in range(work.n):
        if model.uses_time == 1:
            work.noise[k] = work.noise[k] + abs(work.slope_time[k] * work.t)
        if not isfinite(work.noise[k]):
            work.noise[k] = 0.0
