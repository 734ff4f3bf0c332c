"""Several members of a batch side by side: each has its own times, steps and decisions, stages are computed together.

A group has `WIDTH` places. In each round every member plans its next step as it would alone. Those that are to take a
step of the same method have it taken at once, in vector registers, from arrays in which the numbers of all places stand
side by side; then each of them keeps or rejects it, together with the others where nothing else is to be done
(`kept_together`). A member that ends gives its place to the next one of the batch, so
that none waits for the slowest. The functions that take a step are the same as for one problem (`wide` in `language`),
and so are all bits of the results.
"""

from ..foreign_call import Call, count_as_finished, next_member
from ..language import WIDTH, address, as_record, copy, is_null, isfinite, native, release, wide
from . import member, rodas5p, steps, tolerance, tsit5
from .calls import finish, read_call
from .confirming import COARSER, forget_states, judge_confirming, keep_states, set_aside, wants_confirming
from .evaluation import between, linearise_at
from .kept_together import bring_back, keep_quiet, take_in
from .member import RUNNING, WAITING
from .places import ALONE, EMPTY, EXPLICIT_STEP, IMPLICIT_STEP, Group, new_group
from .problem import Problem, close_problem, open_problem
from .records import Model, Work
from .sizes import give_sizes
from .steps import gather, scatter

# Steps of one method that are worth a wide one.
FEW = 2
# Operands of a call without derivatives.
OPERANDS_OF_VALUES = 7


@native
def suits_group(model: Model, call: Call) -> bool:
    """Whether the members of a call are solved side by side.

    Sensitivities cost the most where there are any, and have columns enough to fill vector registers; delays look back
    at the record of one member.
    """
    return call.count_operands <= OPERANDS_OF_VALUES and model.delays == 0


@native
def solve_group(model: Model, call: Call) -> None:
    """Members of a call, until none is left."""
    group = new_group(model)
    while fill_places(model, group, call) > 0:
        step_alone(group)
        if count_kind(group, IMPLICIT_STEP) > 0:
            give_kind(group, IMPLICIT_STEP)
            wide(take_implicit_step)(group)
            judge_kind(group, IMPLICIT_STEP)
        if count_kind(group, EXPLICIT_STEP) > 0:
            give_kind(group, EXPLICIT_STEP)
            wide(take_explicit_step)(group)
            judge_kind(group, EXPLICIT_STEP)
    release(group.memory)
    release(group.problems)
    release(group)


@native
def fill_places(model: Model, group: Group, call: Call) -> int:
    """Every place gets a member with a planned step as long as there are any; how many have one."""
    count = 0
    for place in range(WIDTH):
        if group.kinds[place] != EMPTY:
            count += 1
            continue
        while True:
            if group.problems[place] == 0 and start_next(model, group, call, place) == 0:
                break
            problem = as_record(Problem, group.problems[place])
            work = problem.work
            if work.code == RUNNING:
                member.plan(work)
            if work.code == WAITING:
                give_sizes(model, problem)
                enter(model, group, place)
                member.plan(work)
            if work.code == RUNNING:
                count += 1
                group.kinds[place] = kind_of_step(work)
                group.given[place] = 0
                break
            given = problem.given
            close_problem(problem)
            group.problems[place] = 0
            if given.confirming == 1:
                judge_confirming(model, given)
            elif given.regrown == 1 or not is_null(given.rough_outputs):
                finish(model, given)
            elif wants_confirming(given):
                set_aside(model, given, COARSER)
                group.problems[place] = address(open_problem(model, given))
                enter(model, group, place)
                continue
            forget_states(given)
            release(given)
            count_as_finished(call)
    return count


@native
def start_next(model: Model, group: Group, call: Call, place: int) -> int:
    """The next member of the batch takes a place; 0 where none is left."""
    b = next_member(call)
    if b >= call.members:
        return 0
    given = read_call(model, call, b)
    keep_states(model, given)
    group.problems[place] = address(open_problem(model, given))
    enter(model, group, place)
    return 1


@native
def enter(model: Model, group: Group, place: int) -> None:
    """What stays the same in a problem goes into the arrays of the group."""
    problem = as_record(Problem, group.problems[place])
    n = model.states
    scatter(group.x[WIDTH * (1 + n) + place :], problem.work.x[1 + n :], model.parameters)
    scatter(group.atol[place:], problem.work.atol, n)
    group.rtol[place] = problem.work.rtol


@native
def kind_of_step(work: Work) -> int:
    """How a planned step is to be taken."""
    if work.live == 1 or work.keep_stage_signs == 1:
        return ALONE
    return IMPLICIT_STEP if work.implicit == 1 else EXPLICIT_STEP


@native
def step_alone(group: Group) -> None:
    """Steps that are not worth a wide one: of few members, and of those whose conditions are not frozen."""
    for kind in range(ALONE, IMPLICIT_STEP + 1):
        if kind == ALONE or count_kind(group, kind) < FEW:
            for place in range(WIDTH):
                if group.kinds[place] == kind:
                    group.kinds[place] = EMPTY
                    work = as_record(Problem, group.problems[place]).work
                    bring_back(group, place, work)
                    steps.attempt(work, work.h)
                    member.judge(work)


@native
def give_kind(group: Group, kind: int) -> None:
    """What the planned steps of one kind start from goes into the arrays of the group."""
    for place in range(WIDTH):
        if group.kinds[place] == kind and group.given[place] == 0:
            group.given[place] = 1
            give(group, place, as_record(Problem, group.problems[place]).work)


@native
def give(group: Group, place: int, work: Work) -> None:
    """What a planned step starts from goes into the arrays of the group."""
    n = work.n
    model = work.model
    if work.implicit == 0:
        tsit5.first_slope(work)
        scatter(group.slope[place:], work.stages, n)
    group.t[place] = work.t
    group.h[place] = work.h
    group.first[place] = work.least_time
    group.last[place] = work.cap
    scatter(group.y[place:], work.y, n)
    scatter(group.scale[place:], work.scale, n)
    if work.noise_is_new == 1:
        scatter(group.noise[place:], work.noise, n)
        work.noise_is_new = 0
    if model.conditions > 0:
        modes = 1 + n + model.parameters
        scatter(group.x[WIDTH * modes + place :], work.x[modes:], model.conditions)
    if group.keeps_together == 1:
        take_in(group, place, work)


@native
def judge_kind(group: Group, kind: int) -> None:
    """Every member of a kind keeps its step or rejects it, together where they can."""
    for place in range(WIDTH):
        group.heard[place] = 1 if group.kinds[place] == kind else 0
    if group.keeps_together == 1:
        keep_quiet(group, kind)
    reading = 0
    for place in range(WIDTH):
        group.probes[place] = 0
        if group.heard[place] == 1:
            work = as_record(Problem, group.problems[place]).work
            bring_back(group, place, work)
            group.kinds[place] = EMPTY
            if kind == EXPLICIT_STEP or group.sound[place] == 0.0:
                take_over(group, place, work)
            else:
                steps.attempt(work, work.h)
            if member.within_tolerance(work) == 0:
                group.heard[place] = 0
            elif work.stages_place >= 0 and member.needs_residual(work):
                # the step is still the one of the group
                group.probes[place] = steps.count_probes(work)
                reading += 1
    if reading >= FEW:
        compare(group, kind)
    for place in range(WIDTH):
        if group.heard[place] == 1:
            member.keep(as_record(Problem, group.problems[place]).work)


@native
def compare(group: Group, kind: int) -> None:
    """Residuals of the interpolants of all places that have `probes`."""
    most = 0
    for place in range(WIDTH):
        most = max(most, group.probes[place])
        if group.probes[place] > 0:
            work = as_record(Problem, group.problems[place]).work
            work.has_residual = 1
            work.residual = 0.0
    for probe in range(most):
        for place in range(WIDTH):
            if probe < group.probes[place]:
                group.theta[place] = steps.place_of_probe(probe, group.probes[place])
        if kind == IMPLICIT_STEP:
            wide(compare_implicit)(group)
        else:
            wide(compare_explicit)(group)
        for place in range(WIDTH):
            if probe < group.probes[place]:
                work = as_record(Problem, group.problems[place]).work
                residual = work.kernel_out
                gather(residual, group.error[place:], work.n)
                size = steps.size_of_residual(work, residual, work.h)
                work.residual = max(work.residual, size)
                if not isfinite(size):
                    work.residual = float("nan")
                    group.probes[place] = 0


@native
def count_kind(group: Group, kind: int) -> int:
    """How many places are for `kind`."""
    count = 0
    for place in range(WIDTH):
        if group.kinds[place] == kind:
            count += 1
    return count


@native
def take_over(group: Group, place: int, work: Work) -> None:
    """The step of one place, as far as it is judged by it; the rest waits (`steps.bring`)."""
    gather(work.new, group.new[place:], work.n)
    work.step_implicit = work.implicit
    work.group = group
    work.stages_place = place
    work.factors_place = place if work.implicit == 1 else -1
    work.has_residual = 0
    work.measured = 1
    work.state_error = group.state_error[place]
    work.fastest = group.fastest[place]
    work.fresh = 0
    if work.implicit == 0:
        gather(work.stages[6 * work.n :], group.stages[WIDTH * 6 * work.n + place :], work.n)
        work.fresh = tsit5.FIRST_STAGE


@native
def take_implicit_step(group: Group) -> None:
    """A step of Rodas5P in all places."""
    t = group.t[0]
    h = group.h[0]
    first = group.first[0]
    last = group.last[0]
    linearise_at(group, between(t, first, last), group.y)
    # zero times what is no number is none
    sound = 0.0
    for k in range(group.n):
        sound = sound + 0.0 * group.f[k]
        if group.model.uses_time == 1:
            sound = sound + 0.0 * group.slope_time[k]
    for e in range(group.model.jacobian_count):
        sound = sound + 0.0 * group.jacobian[e]
    group.sound[0] = sound
    rodas5p.advance(group, t, h, first, last)
    group.fastest[0] = steps.fastest_rate(group)
    group.state_error[0] = tolerance.plain_error(group, group.rtol[0], h)


@native
def take_explicit_step(group: Group) -> None:
    """A step of Tsitouras' method in all places."""
    copy(group.stages, group.slope, group.n)
    tsit5.advance(group, group.t[0], group.h[0], group.first[0], group.last[0])
    group.fastest[0] = tsit5.stiffness(group)
    group.state_error[0] = tolerance.plain_error(group, group.rtol[0], group.h[0])


@native
def compare_implicit(group: Group) -> None:
    """Residuals at `theta`, into `error`."""
    theta = group.theta[0]
    steps.residual_inside(group, 1, theta, group.t[0], group.h[0], group.first[0], group.last[0], group.error)


@native
def compare_explicit(group: Group) -> None:
    """The same of explicit steps."""
    theta = group.theta[0]
    steps.residual_inside(group, 0, theta, group.t[0], group.h[0], group.first[0], group.last[0], group.error)
