"""When a step is good enough: the largest error of a state, and of a sensitivity, in units of what it may be.

The tolerance of a state is relative to its value. Below that stands, where the author gave no absolute tolerance,

- a minute part of the largest value that this state has had so far, so that no unit is preferred: what has decayed is
  still known to all its digits (its logarithm may be measured), but not for ever;
- what rounding leaves undetermined: a difference of large rates has no relative accuracy of its own;
- what the rounding of the time leaves undetermined, where steps are so short that it counts (`time_share`): a tank
  that runs empty has steps in proportion to the time that is left;
- while a state grows like t^d from an exact zero, rtol (T / t)^d up to the time T in which the system changes: of
  t^1.8 or t^9 no first step has a relative accuracy, and what goes wrong at t << T is soon a small part of x.
"""

from ..language import Vector, as_record, fill, is_wide, isfinite, native
from .evaluation import ROUNDINGS, inside_step, rate_at
from .records import Step, Work

# Part of the relative tolerance which the largest value so far keeps as an absolute one.
FLOOR = 1e-12
# The same of a sensitivity: where its state is below its own; in units of state / parameter.
FLOOR_OF_LOST = 1e-3
SENSITIVITY_FLOOR = 0.1
EPSILON = 2.220446049250313e-16
TINY, LARGEST = 1e-290, 1e300
# Steps of so many roundings of the time are short.
SHORT = 1e3
# Part of the time since a state was zero in which it has just left it.
EARLY = 1e-3
LEAST_NORMAL = 2.2250738585072014e-308
NOT_A_NUMBER = float("nan")
# Growth t^d of what was zero is followed from there with degrees up to this one.
LARGEST_DEGREE = 20.0
LONGEST_SHARE = 0.2
ON_THE_WAY = 0.1
# The time since which a value has been zero, where it never was.
NEVER = -1e308


@native
def measure_degrees(work: Work, end: float, h: float) -> int:
    """Degrees d = t x'/x of states that grow like t^d from an exact zero; 0 where there are none."""
    found = 0
    rates = work.buffer
    for k in range(work.n):
        work.degrees[k] = 0.0
        passed = end - work.zero_since[k]
        if passed < emergence_time(work, work.zero_since[k]):
            if found == 0:
                rate_at(work, inside_step(work, end), work.new, rates)
            found = 1
            size = abs(work.new[k])
            work.degrees[k] = LARGEST_DEGREE
            if size > 0.0 and isfinite(rates[k]):
                work.degrees[k] = min(LARGEST_DEGREE, passed * abs(rates[k]) / size)
    return found


@native
def still_emerges(work: Work) -> bool:
    """Whether a state that was zero at the start, larger now than ever, grows faster than t^`LARGEST_DEGREE`."""
    rates = work.buffer
    rate_at(work, inside_step(work, work.t), work.y, rates)
    passed = work.t - work.start
    for k in range(work.n):
        size = abs(work.y[k])
        if work.zero_since[k] > NEVER and size == work.scale[k] and passed * abs(rates[k]) > LARGEST_DEGREE * size:
            return True
    return False


@native(inline=True)
def emergence_time(work: Work, since: float) -> float:
    """The time T in which the system changes: of what leaves zero on the way, a part of the steps before it did."""
    if since <= work.restart_time:
        return work.emergence_time
    longest = min(work.emergence_time, ON_THE_WAY * work.recent_step)
    if work.written < work.time_count:
        longest = min(longest, ON_THE_WAY * max(0.0, work.times[work.written] - since))
    return longest


@native(inline=True)
def emergence(work: Work, degree: float, since: float, end: float, h: float) -> float:
    """Relative error allowed in a step `h` to `end` of what was zero at `since` and grows like t^degree.

    Only the first step from zero has a large one; later ones are short against the time passed, so that it falls.
    """
    if degree <= 0.0:
        return work.rtol
    passed = end - since
    longest = emergence_time(work, since)
    first = passed <= 1.000001 * h
    short = h <= LONGEST_SHARE * passed and since <= work.restart_time
    if passed >= longest or not (first or short):
        return work.rtol
    return work.rtol * pow(longest / passed, degree)


@native(inline=True)
def share_of_time(work: Work, h: float) -> float:
    """Part of a short step's length by which the time is rounded, 0 where that is a small one."""
    rounding = ROUNDINGS * EPSILON * max(abs(work.t), abs(work.start))
    return rounding / h if h < SHORT * rounding or work.floor == 0.0 else 0.0


@native
def tolerance(work: Work, k: int, before: float, after: float, end: float, h: float) -> float:
    """What the local error of state `k` may be."""
    larger = max(abs(before), abs(after))
    relative = emergence(work, work.degrees[k], work.zero_since[k], end, h)
    moved = abs(after - before)
    if h < EARLY * (end - work.zero_since[k]):
        # what grows in such steps, and has not just left zero, has a pole ahead
        moved = max(0.0, abs(before) - abs(after))
    return allowed(work, k, larger, work.rtol, relative, work.floor, h) + work.time_share * moved


@native(inline=True)
def allowed(step: Step, k: int, larger: float, rtol: float, relative: float, share: float, h: float) -> float:
    """What the local error of state `k` may be, which is no larger than `larger` at the ends of the step."""
    given = step.atol[k]
    floor = share * rtol * max(step.scale[k], larger) if given == 0.0 else abs(given)
    automatic = relative * larger + floor + 4.0 * EPSILON * h * step.noise[k] + TINY
    # at rest at zero, or fed through more states than a step has stages: nothing is there yet to be wrong
    automatic = LARGEST if larger == 0.0 else automatic
    return given + rtol * larger if given > 0.0 else automatic


@native
def plain_error(step: Step, rtol: float, h: float) -> float:
    """As `state_error` where nothing grows from zero."""
    worst = 0.0
    # zero times what is no number is none
    sound = 0.0
    for k in range(step.n):
        larger = max(abs(step.y[k]), abs(step.new[k]))
        ratio = abs(step.error[k]) / allowed(step, k, larger, rtol, rtol, FLOOR, h)
        sound = sound + 0.0 * ratio
        sound = sound + 0.0 * step.new[k]
        worst = max(worst, ratio)
    return worst + sound


@native
def state_error(work: Work, end: float, h: float) -> float:
    """Largest error of the states in units of their tolerances; NaN where something is no number."""
    worst = 0.0
    for k in range(work.n):
        ratio = abs(work.error[k]) / tolerance(work, k, work.y[k], work.new[k], end, h)
        if not (isfinite(ratio) and isfinite(work.new[k])):
            return NOT_A_NUMBER
        worst = max(worst, ratio)
    return worst


@native(inline=True)
def left_sign(before: float, after: float) -> bool:
    """Whether a step has led to the other side of zero; what was zero is taken to be what cannot be negative."""
    return (after < 0.0 and before >= 0.0) or (after > 0.0 and before < 0.0)


@native
def keep_signs(work: Work, end: float, h: float) -> None:
    """Puts to zero what a step has carried across it by less than its error: powers and logarithms end there."""
    work.signs_moved = 0
    # what is allowed to a growth from zero is no licence to put anything back to zero
    fill(work.degrees, 0.0, work.n)
    for k in range(work.n):
        before = work.y[k]
        after = work.new[k]
        if left_sign(before, after) and abs(after) <= tolerance(work, k, before, after, end, h):
            work.new[k] = 0.0
            work.signs_moved = 1
            if before != 0.0 and work.atol[k] == 0.0:
                work.troughs[k] = 0.0


@native(inline=True)
def keep_signs_of_argument(step: Step, h: float) -> None:
    """The same of the argument of a stage, which is in `x`: what is nearly gone would hold all steps in its domain."""
    if not is_wide():
        work = as_record(Work, step)
        if work.keep_stage_signs == 1:
            for k in range(work.n):
                before = work.y[k]
                argument = work.x[1 + k]
                limit = allowed(step, k, abs(before), work.rtol, work.rtol, work.floor, h)
                limit = limit + work.time_share * abs(argument - before)
                # numbers below the normal ones are zero to a comparison, but not to a power
                if abs(argument) < LEAST_NORMAL or (left_sign(before, argument) and abs(argument) <= limit):
                    work.x[1 + k] = 0.0


@native
def sensitivity_error(work: Work, end: float, h: float) -> float:
    """Largest error of the sensitivities in units of their tolerances."""
    n = work.n
    p = work.p
    worst = 0.0
    q = work.s_floor
    for i in range(n):
        given = abs(work.atol[i])
        size = max(abs(work.y[i]), abs(work.new[i]))
        rounding = 4.0 * EPSILON * h * work.noise[i]
        floor = work.floor
        if size <= floor * work.rtol * work.scale[i]:
            # no digit of the state itself is known any more
            floor = FLOOR_OF_LOST
        before = work.s[i * p :]
        after = work.s_new[i * p :]
        errors = work.s_error[i * p :]
        largest = work.s_scale[i * p :]
        since = work.s_zero_since[i * p :]
        for c in range(work.model.directions):
            larger = max(abs(before[c]), abs(after[c]))
            share = emergence(work, work.degrees[i], since[c], end, h)
            allowed = share * larger + floor * work.rtol * max(largest[c], larger) + TINY
            # q is 1 / |parameter|, or 0 where the parameter is
            allowed = allowed + work.time_share * abs(after[c] - before[c])
            allowed = allowed + q[c] * (SENSITIVITY_FLOOR * work.rtol * size + rounding + given)
            ratio = abs(errors[c]) / allowed
            if larger == 0.0 and size == 0.0:
                # fed through more states than a step has stages, like the state itself
                ratio = 0.0
            if not (isfinite(ratio) and isfinite(after[c])):
                return NOT_A_NUMBER
            worst = max(worst, ratio)
    return worst


@native
def remember(work: Work) -> None:
    """Takes the sizes of the states and sensitivities into the scales."""
    for k in range(work.n):
        size = abs(work.y[k])
        work.scale[k] = max(work.scale[k], size)
        if size == 0.0:
            work.zero_since[k] = work.t
    for k in range(work.n * work.p):
        size = abs(work.s[k])
        work.s_scale[k] = max(work.s_scale[k], size)
        if size == 0.0:
            work.s_zero_since[k] = work.t


@native
def weighted_size(work: Work, values: Vector) -> float:
    """Largest of `values (n,)` in units of the tolerances at the state where the solve is."""
    worst = 0.0
    for k in range(work.n):
        given = abs(work.atol[k])
        size = given + work.rtol * max(abs(work.y[k]), FLOOR * work.scale[k])
        if size > 0.0:
            worst = max(worst, abs(values[k]) / size)
    return worst
