"""Steps of a group that are kept together: what most steps of most members ask for, in vector registers.

After most steps nothing is to be done but to go on: the error is within its tolerance, no output and no stop lies in
the step, no state changes its sign or comes back from where it was not resolved, and the method stays. Such a step is
quiet. Its member is not asked; its state, the step control and the plan of its next step are in the arrays of the
group, until something happens and `bring_back` takes them to the record of the member. Everything here is what `member`
does in this case, operation by operation.
"""

from ..language import WIDTH, as_record, isfinite, native, wide
from . import control, growth, member, steps, tsit5, vanished
from .evaluation import at, between
from .places import EXPLICIT_STEP, IMPLICIT_STEP, Group
from .problem import Problem
from .records import AUTO, Work
from .steps import gather, scatter

# What has no next output.
NEVER = 1e308


@native
def take_in(group: Group, place: int, work: Work) -> None:
    """What is needed to keep steps of a member in its place, besides what is needed to take them."""
    n = work.n
    scatter(group.zero_since[place:], work.zero_since, n)
    scatter(group.troughs[place:], work.troughs, n)
    group.limit[place] = work.limit
    group.lands[place] = float(work.lands)
    group.planned[place] = work.planned
    group.max_step[place] = work.max_step
    group.next_output[place] = work.times[work.written] if work.written < work.time_count else NEVER
    group.log_error[place] = work.log_error
    group.rejected[place] = 1.0 if work.rejections > 0 else 0.0
    group.recent_step[place] = work.recent_step
    group.smooth_count[place] = float(work.smooth_count)
    group.size_limit[place] = work.size_limit
    group.automatic[place] = 1.0 if work.method == AUTO else 0.0
    group.moved[place] = 0
    left = min(work.max_steps - work.stretch_steps, member.most_steps(work) - work.steps)
    if work.wants_sizes == 1:
        left = min(left, member.PATIENCE - work.steps % member.PATIENCE)
    if work.method == AUTO and work.implicit == 0:
        # the next look at the Jacobian
        look = steps.LOOK - 1 - work.explicit_steps % steps.LOOK
        left = 0 if work.stay_explicit > 0 else min(left, look)
    group.left[place] = left


@native
def bring_back(group: Group, place: int, work: Work) -> None:
    """What was kept in the arrays of the group becomes that of the member again."""
    moved = group.moved[place]
    if moved == 0:
        return
    group.moved[place] = 0
    n = work.n
    gather(work.y, group.y[place:], n)
    gather(work.scale, group.scale[place:], n)
    gather(work.zero_since, group.zero_since[place:], n)
    gather(work.troughs, group.troughs[place:], n)
    gather(work.noise, group.noise[place:], n)
    work.t = group.t[place]
    work.h = group.h[place]
    work.planned = group.planned[place]
    work.lands = 1 if group.lands[place] == 1.0 else 0
    work.log_error = group.log_error[place]
    work.recent_step = group.recent_step[place]
    work.rejections = 0
    work.signs_moved = 0
    work.fresh = 0
    work.steps = work.steps + moved
    work.stretch_steps = work.stretch_steps + moved
    work.step_implicit = work.implicit
    if work.implicit == 1:
        work.implicit_steps = work.implicit_steps + moved
        work.smooth_count = int(group.smooth_count[place])
    else:
        work.explicit_steps = work.explicit_steps + moved
        gather(work.stages, group.slope[place:], n)
        work.fresh = tsit5.FIRST_STAGE


@native
def keep_quiet(group: Group, kind: int) -> None:
    """Keeps the quiet steps of one kind and plans the next ones; all others stay `heard`."""
    wide(look)(group, kind)
    moving = 0
    measuring = 0
    for place in range(WIDTH):
        group.moves[place] = 0.0
        group.measures[place] = 0.0
        if group.heard[place] == 1 and group.quiet[place] == 1.0 and group.moved[place] < group.left[place]:
            work = as_record(Problem, group.problems[place]).work
            now = work.steps + group.moved[place]
            if not growth.is_due(work, now) and (
                group.lost[place] == 0.0 or not is_looked_for(work, now, group.h[place])
            ):
                group.heard[place] = 0
                group.moves[place] = 1.0
                group.moved[place] = group.moved[place] + 1
                moving += 1
                if now % member.STEPS_OF_NOISE == 0:
                    group.measures[place] = 1.0
                    measuring += 1
    if moving > 0:
        wide(move)(group, kind)
    if measuring > 0:
        wide(measure_noise)(group)


@native(inline=True)
def is_looked_for(work: Work, steps: int, h: float) -> bool:
    """Whether what was put to zero is looked for after so many steps."""
    return steps % vanished.LOOKS == 0 or vanished.is_long(work, h)


@native
def look(group: Group, kind: int) -> None:
    """Which steps are quiet."""
    h = group.h[0]
    quiet = 1.0 if group.state_error[0] <= 1.0 and group.lands[0] == 0.0 else 0.0
    quiet = quiet if group.next_output[0] > group.t[0] + h else 0.0
    bound = group.fastest[0] * h
    if kind == IMPLICIT_STEP:
        smooth = group.smooth_count[0] + group.automatic[0] if bound < steps.SMOOTH else 0.0
        quiet = quiet if smooth < float(steps.SMOOTH_STEPS) and group.sound[0] == 0.0 else 0.0
    else:
        quiet = quiet if bound <= steps.SUSPECT or group.automatic[0] == 0.0 else 0.0
    total = 0.0
    lost = 0.0
    for k in range(group.n):
        before = group.y[k]
        after = group.new[k]
        size = abs(after)
        total = total + size
        # `tolerance.left_sign`, in a form that can be decided for several at once
        quiet = 0.0 if (after < 0.0 and before >= 0.0) or (after > 0.0 and before < 0.0) else quiet
        unresolved = vanished.UNRESOLVED_SHARE * max(group.scale[k], size)
        trough = min(group.troughs[k], size) if size < unresolved else group.troughs[k]
        back = size if size > unresolved and group.atol[k] == 0.0 else 0.0
        quiet = 0.0 if back > vanished.REGROWTH * trough else quiet
        lost = 1.0 if trough == 0.0 and size == 0.0 else lost
    group.quiet[0] = quiet if total <= group.size_limit[0] else 0.0
    group.lost[0] = lost


@native
def move(group: Group, kind: int) -> None:
    """The states after the steps, and the next steps, where `moves` says so."""
    moves = group.moves[0]
    h = group.h[0]
    end = group.t[0] + h
    for k in range(group.n):
        after = group.new[k]
        size = abs(after)
        larger = max(group.scale[k], size)
        trough = min(group.troughs[k], size) if size < vanished.UNRESOLVED_SHARE * larger else group.troughs[k]
        group.troughs[k] = trough if moves == 1.0 and group.atol[k] == 0.0 else group.troughs[k]
        group.zero_since[k] = end if size == 0.0 and moves == 1.0 else group.zero_since[k]
        group.scale[k] = larger if moves == 1.0 else group.scale[k]
        group.y[k] = after if moves == 1.0 else group.y[k]
    if kind == EXPLICIT_STEP:
        last = group.stages[(tsit5.STAGES - 1) * group.n :]
        for k in range(group.n):
            group.slope[k] = last[k] if moves == 1.0 else group.slope[k]
    else:
        smooth = group.smooth_count[0] + group.automatic[0] if group.fastest[0] * h < steps.SMOOTH else 0.0
        group.smooth_count[0] = smooth if moves == 1.0 else group.smooth_count[0]
    log_error = control.log_of_error(group.state_error[0])
    factor = control.SAFETY * control.exponential(control.exponent_after(group.log_error[0], log_error))
    factor = min(factor, 1.0) if group.rejected[0] == 1.0 else factor
    planned = h * min(max(factor, control.SHRINK), control.GROW)
    remaining = group.limit[0] - end
    following = min(planned, group.max_step[0])
    lands = 1.0 if following * member.NEARLY_THERE >= remaining else 0.0
    following = remaining if lands == 1.0 else following
    recent = max(h, member.FORGOTTEN * group.recent_step[0])
    group.log_error[0] = max(log_error, control.LEAST_LOG_ERROR) if moves == 1.0 else group.log_error[0]
    group.rejected[0] = 0.0 if moves == 1.0 else group.rejected[0]
    group.recent_step[0] = recent if moves == 1.0 else group.recent_step[0]
    group.t[0] = end if moves == 1.0 else group.t[0]
    group.h[0] = following if moves == 1.0 else h
    group.planned[0] = planned if moves == 1.0 else group.planned[0]
    group.lands[0] = lands if moves == 1.0 else group.lands[0]


@native
def measure_noise(group: Group) -> None:
    """As `evaluation.measure_noise`, where `measures` says so, of right-hand sides without time."""
    at(group, between(group.t[0], group.first[0], group.last[0]), group.y)
    found = group.buffer
    group.model.rounding(group.x, found, group.scratch)
    for k in range(group.n):
        noise = found[k] if isfinite(found[k]) else 0.0
        group.noise[k] = noise if group.measures[0] == 1.0 else group.noise[k]
