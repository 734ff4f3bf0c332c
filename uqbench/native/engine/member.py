"""One initial value problem from start to end: the adaptive loop.

A step is kept where the errors of the states and, where they are asked for, of their sensitivities are within their
tolerances; where the right-hand side depends on time, also only if the interpolant solves the equation between the
stages. Steps end at stops and crossings; output inside them is read from the interpolant.
"""

from ..language import copy, fill, is_null, isfinite, isnan, native
from . import crossings, global_error, growth, jumps, output, past, steps, stops, tape, tolerance, tsit5, vanished
from .codes import BAD_START, BLOW_UP, NO_STEP, NOT_DIFFERENTIABLE, STEP_LIMIT, SUCCESS, UNSTABLE_BRANCH
from .control import SAFETY, SHRINK, first_step, next_factor
from .evaluation import finite, inside_step, linearise_at, measure_noise, rate_at, same_time
from .records import Work
from .sparse import add_scaled
from .variational import let_go

# A step that comes this close to where it may go at most goes there; what a step leaves of the longest one before it.
NEARLY_THERE, FORGOTTEN = 1.001, 0.9
# Steps between two measurements of what rounding leaves undetermined.
STEPS_OF_NOISE = 8
MAX_REJECTIONS = 30
# Refused steps without numbers after which conditions are no longer frozen: their branch may end at its border.
THAW = 6
# Growth beyond the scale of the start after which a solution counts as blown up.
GROWTH, SURELY_FINE, LARGEST = 1e20, 1e20, 1e100
# What the interpolant, of lower order than the steps, may miss of the equation, in tolerances: where output is read
# from it, and where it only tells whether the stages have missed something.
READ_RESIDUAL, UNREAD_RESIDUAL = 50.0, 1e4
RUNNING = -1
# After so many steps each time a solve waits for the sizes of states that still grow from zero (`sizes`).
PATIENCE, WAITING = 256, -2
# The limit of steps holds between two events or observations; so many times that for all events together, of which
# nobody knows beforehand how many there are.
STRETCHES_OF_EVENTS = 100
EPSILON = 2.220446049250313e-16


@native
def emergence_time(work: Work, first: float) -> float:
    """The time after which what grows from zero is followed like everything else: a first step, or the next output."""
    if work.written < work.time_count:
        return min(first, max(work.times[work.written] - work.t, 1e-6 * first))
    return first


@native
def restart(work: Work) -> None:
    """The step after a jump: no longer than the one before it, nor than a first one."""
    first = first_step(work)
    measure_noise(work)
    work.emergence_time = emergence_time(work, first)
    work.restart_time = work.t
    growth.forget(work)
    work.h = min(work.h, max(first, 1e-12 * (work.end - work.start)))


@native
def gap_around(work: Work) -> float:
    """Distance between the observations around the present time."""
    before = work.start
    if work.written > 0:
        before = max(before, work.times[work.written - 1])
    after = work.end
    if work.written < work.time_count:
        after = min(after, work.times[work.written])
    return max(after - before, after - work.t)


@native
def reject(work: Work, h: float, factor: float) -> None:
    """A step is tried again, shorter."""
    work.rejections = work.rejections + 1
    work.h = h * factor
    if work.rejections >= MAX_REJECTIONS or not work.t + work.h > work.t:
        work.code = NO_STEP
        if finite(work.new, work.n) == 0:
            work.code = BLOW_UP


@native(inline=True)
def most_steps(work: Work) -> int:
    """Steps of all stretches together."""
    return (STRETCHES_OF_EVENTS + work.time_count + work.stop_count) * work.max_steps


@native
def try_step(work: Work) -> None:
    """One iteration of the loop."""
    plan(work)
    if work.code == RUNNING:
        steps.attempt(work, work.h)
        judge(work)


@native
def plan(work: Work) -> None:
    """How long the next step is, and where it has to end."""
    model = work.model
    if work.wants_sizes == 1 and work.steps % PATIENCE == 0 and work.steps > 0 and tolerance.still_emerges(work):
        work.wants_sizes = 0
        work.code = WAITING
        return
    work.steps = work.steps + 1
    work.stretch_steps = work.stretch_steps + 1
    if work.stretch_steps > work.max_steps or work.steps > most_steps(work):
        work.code = STEP_LIMIT
        return
    stop = stops.next_stop(work)
    limit = work.end
    work.cap = 1e308
    if stop < work.end:
        limit = stop
    if not is_null(work.tape) and work.written < work.time_count:
        # the interpolant has no error estimate for the adjoint, so steps end where something is observed
        limit = min(limit, max(work.times[work.written], work.t + same_time(work, work.t)))
    if stop <= work.end + same_time(work, work.end):
        # the last stages stand at the stop itself, where the right-hand side has its value from the other side
        work.cap = stop - same_time(work, stop)
    h = min(work.h, work.max_step)
    if model.uses_time == 1:
        h = min(h, gap_around(work))
    if model.events + model.conditions > 0:
        h = crossings.limit_by_roots(work, min(h, limit - work.t))
    remaining = limit - work.t
    work.lands = 0
    if h * NEARLY_THERE >= remaining:
        h = remaining
        work.lands = 1
    work.planned = work.h
    work.h = h
    work.time_share = tolerance.share_of_time(work, h) if work.keep_stage_signs == 1 else 0.0
    work.limit = limit
    work.stop = stop


@native
def judge(work: Work) -> None:
    """Keeps the step that was taken, or has it taken again."""
    if within_tolerance(work) == 1:
        keep(work)


@native(inline=True)
def end_of_step(work: Work) -> float:
    """The time at which the step ends."""
    return work.limit if work.lands == 1 else work.t + work.h


@native
def within_tolerance(work: Work) -> int:
    """1 where the errors of the states allow the step; otherwise it is rejected."""
    model = work.model
    h = work.h
    end = end_of_step(work)
    fill(work.degrees, 0.0, work.n)
    error = work.state_error if work.measured == 1 else tolerance.state_error(work, end, h)
    if not error <= 1.0:
        work.time_share = tolerance.share_of_time(work, h)
    if not isfinite(error) and work.keep_stage_signs == 0:
        # a stage may leave the domain of a power or logarithm that the states never leave
        work.keep_stage_signs = 1
        steps.attempt(work, h)
        error = tolerance.state_error(work, end, h)
    if error > 1.0 and (tolerance.measure_degrees(work, end, h) == 1 or work.time_share > 0.0):
        if work.stages_place >= 0:
            steps.gather(work.error, work.group.error[work.stages_place :], work.n)
        error = tolerance.state_error(work, end, h)
    if not error <= 1.0:
        if not isfinite(error) and model.conditions > 0 and work.rejections >= THAW:
            work.live = 1
            if work.step_implicit == 1:
                work.fresh = 0
        reject(work, h, next_factor(work, error, 0))
        return 0
    work.state_error = error
    work.reads = output.reads_inside(work, end)
    return 1


@native
def needs_residual(work: Work) -> bool:
    """Whether the interpolant of a step is checked before it is kept."""
    return work.model.uses_time == 1 or work.reads == 1


@native
def keep(work: Work) -> None:
    """Keeps a step whose errors are within their tolerances if that holds between its ends, too, and of derivatives."""
    model = work.model
    p = work.p
    h = work.h
    lands = work.lands
    end = end_of_step(work)
    error = work.state_error
    if needs_residual(work):
        residual = work.residual if work.has_residual == 1 else steps.interpolation_error(work, h)
        allowed = READ_RESIDUAL if work.reads == 1 else UNREAD_RESIDUAL
        if residual > allowed and tolerance.measure_degrees(work, end, h) == 1:
            residual = steps.interpolation_error(work, h)
        if not residual <= allowed:
            reject(work, h, max(SHRINK, SAFETY * pow(allowed / residual, 0.25)) if isfinite(residual) else 0.3)
            return
    tolerance.keep_signs(work, end, h)
    crossed = 0
    if model.events + model.conditions > 0:
        theta = crossings.first_crossing(work)
        if theta <= 1.0:
            crossed = 1
            lands = 0
            if crossings.land(work, theta) == 0:
                reject(work, h, 0.3)
                return
            h = work.h
            end = work.t + h
    if p > 0:
        steps.step_sensitivities(work, h)
        s_error = tolerance.sensitivity_error(work, end, h)
        if not isfinite(s_error):
            # a stage may leave the domain of a power or logarithm that the states never leave
            work.keep_sign = 1
            let_go(work)
            steps.step_sensitivities(work, h)
            work.keep_sign = 0
            s_error = tolerance.sensitivity_error(work, end, h)
        if s_error > 1.0:
            work.time_share = tolerance.share_of_time(work, h)
        if s_error > 1.0 and (tolerance.measure_degrees(work, end, h) == 1 or work.time_share > 0.0):
            s_error = tolerance.sensitivity_error(work, end, h)
        if not s_error <= 1.0:
            if not isfinite(s_error) and work.rejections >= THAW:
                work.code = NOT_DIFFERENTIABLE
                return
            reject(work, h, next_factor(work, s_error, 0))
            return
        error = max(error, s_error)
    accept(work, h, end, error, lands, crossed)


@native
def accept(work: Work, h: float, end: float, error: float, lands: int, crossed: int) -> None:
    """Writes what the step passed, moves on, and crosses what it ended at."""
    n = work.n
    p = work.p
    at_stop = 0
    if lands == 1 and work.stop <= work.end + same_time(work, work.end) and end >= work.stop:
        at_stop = 1
    reach = end
    if at_stop == 1 or end >= work.end:
        # an observation within rounding of a stop sees the state before it
        reach = end + same_time(work, end)
    tape.note_step(work, h)
    if p > 0:
        global_error.add_local_errors(work)
    if work.model.delays > 0:
        past.note(work)
    written = work.written
    output.write_until(work, reach)
    if p > 0 and work.written > written:
        global_error.compare(work)
    factor = next_factor(work, error, 1)
    steps.choose_method(work, h)
    if work.step_implicit == 1:
        work.implicit_steps = work.implicit_steps + 1
    else:
        work.explicit_steps = work.explicit_steps + 1
        growth.forget_unfollowed(work)
    copy(work.y, work.new, n)
    copy(work.s, work.s_new, n * p)
    work.t = end
    work.recent_step = max(h, FORGOTTEN * work.recent_step)
    work.rejections = 0
    # the last stage of an explicit step is the first of the next, unless a sign was put right since
    work.fresh = 0 if work.step_implicit == 1 or work.signs_moved == 1 else tsit5.LAST_STAGE
    # a step cut short says little about the length of the next
    following = h * factor
    if lands == 1 or crossed == 1:
        following = max(following, min(work.planned, 1e300))
    work.h = following
    total = 0.0
    for k in range(n):
        total = total + abs(work.y[k])
    if not total <= work.size_limit:
        work.code = BLOW_UP
        return
    tolerance.remember(work)
    at_end = work.written >= work.time_count or end >= work.end
    vanished.watch(work, h, at_end)
    if (work.steps % STEPS_OF_NOISE) == 0:
        if work.model.uses_time == 1:
            linearise_at(work, inside_step(work, work.t), work.y)
        measure_noise(work)
    if work.code != RUNNING:
        return
    due = growth.is_due(work, work.steps) or (at_end and work.growth_rate > 0.0)
    if due and growth.watch(work, h) == 1:
        work.code = UNSTABLE_BRANCH
        return
    if at_end:
        work.code = SUCCESS
        return
    if at_stop == 1:
        jumps.cross_stops(work)
        vanished.forget(work)
        restart(work)
    elif crossed == 1:
        jumps.cross_roots(work)
        work.growth = work.growth + growth.OF_CROSSING
        restart(work)
    elif work.written > written:
        # the limit of steps holds between observations
        work.stretch_steps = 0


@native
def begin(work: Work) -> None:
    """Everything before the first step: start values, stops in order, modes, the first step."""
    model = work.model
    n = work.n
    p = work.p
    work.code = RUNNING
    for k in range(n):
        work.scale[k] = abs(work.y[k])
        work.zero_since[k] = work.start if work.y[k] == 0.0 else tolerance.NEVER
        work.troughs[k] = vanished.LARGEST
    for k in range(n * p):
        work.s_scale[k] = abs(work.s[k])
        work.s_zero_since[k] = work.start if work.s[k] == 0.0 else tolerance.NEVER
    for c in range(model.directions if p > 0 else 0):
        value = abs(work.s_floor[c])
        work.s_floor[c] = 1.0 / value if value > 1e-300 else 0.0
    stops.sort_stops(work)
    output.write_start(work)
    if finite(work.y, n) == 0 or not isfinite(work.start) or not isfinite(work.end):
        work.code = BAD_START
        return
    for k in range(work.given_stops):
        # one that never happens is infinite
        if isnan(work.stop_times[k]):
            work.code = BAD_START
            return
    if work.code != RUNNING:
        return
    if work.written >= work.time_count:
        work.code = SUCCESS
        return
    if (p > 0 and finite(work.s, n * p) == 0) or (work.differentiates == 1 and model.unlocated == 1):
        work.code = NOT_DIFFERENTIABLE
        return
    while work.stop_next < work.stop_count and stops.next_stop(work) < work.start - same_time(work, work.start):
        work.stop_next = work.stop_next + 1
    if model.events + model.conditions > 0:
        crossings.refresh_roots(work)
    if work.differentiates == 1:
        # a start that moves
        rate_at(work, work.t, work.y, work.f)
        tape.note_start(work, work.f)
        for i in range(n):
            if work.f[i] != 0.0:
                add_scaled(work.s[i * p :], -work.f[i], work.start_dots, p)
    if stops.next_stop(work) <= work.start + same_time(work, work.start):
        jumps.cross_stops(work)
    if model.events > 0:
        jumps.cross_at_start(work)
    work.h = first_step(work)
    measure_noise(work)
    work.emergence_time = emergence_time(work, work.h)
    work.restart_time = work.t
    size = 0.0
    for k in range(n):
        size = size + abs(work.y[k])
        if isfinite(work.f[k]):
            size = size + (work.end - work.start) * abs(work.f[k])
    for k in range(work.stop_count):
        if work.stop_doses[k] >= 0:
            for i in range(n):
                size = size + abs(work.dose_amounts[work.stop_doses[k] * n + i])
    work.size_limit = min(max(GROWTH * size, SURELY_FINE), LARGEST)


@native
def integrate(work: Work) -> None:
    """Runs the loop to its end; rows that were not reached are no numbers."""
    while work.code == RUNNING:
        try_step(work)
