"""One initial value problem from the arrays of a call: work space is laid out, the loop runs, the report is written."""

from ..foreign_call import Call, operand, result
from ..language import (
    Indices,
    Record,
    Vector,
    allocate,
    allocate_indices,
    allocate_record,
    copy,
    fill,
    is_null,
    isfinite,
    native,
    release,
)
from . import adjoint, global_error, member, past, tolerance
from .adjoint import COLUMNS, Adjoint
from .codes import BAD_DELAY, NOT_DIFFERENTIABLE, SUCCESS, UNRESOLVED
from .evaluation import finite
from .records import REPORT, SETTINGS, Model, Tape, Work

# Solves by which an adjoint may be tried, at finer tolerances and with steps that are shorter each time: by what the
# order says of the error of the gradient, within limits.
TRIALS, FINER, FINEST = 5, 0.03, 1e-13
SHORTENING, LEAST_SHORTENING, MOST_SHORTENING = 0.8, 0.5, 0.03
# Sensitivities in place of an adjoint may take this many times the steps that the states are allowed.
MORE_STEPS = 10.0
WITH_SENSITIVITIES = 4.0
# Solves by which sensitivities may be resolved; the global error that a finer one aims at, in proportion to its
# tolerances, by factors within limits.
RESOLVING, RESOLVED = 4, 2e-4
LEAST_RESOLVING, MOST_RESOLVING = 0.1, 1e-3


class Given(Record):
    """The arrays of one problem; `d` marks derivatives in the `p` directions, absent where p is 0."""

    p: int
    # (m,) parameters and inputs; (n,) initial state; (n,) absolute tolerances, 0 where automatic
    q: Vector
    initial: Vector
    atol: Vector
    # (times,)
    times: Vector
    time_count: int
    # (stops,), (stops, n)
    stops: Vector
    stop_count: int
    kicks: Vector
    # (n, p), (p,), (stops, p), (stops, n, p)
    initial_d: Vector
    start_d: Vector
    stops_d: Vector
    kicks_d: Vector
    # (SETTINGS,)
    settings: Vector
    # (times, outputs), (REPORT,), (times, outputs, p)
    rows: Vector
    report: Vector
    rows_d: Vector
    # 1 where there have to be derivatives; what an adjoint is for, null where there is none
    differentiates: int
    tape: Tape
    # (times, outputs), (cotangents, 2): by directions, initial state, start, stops and kicks, of order 5 and 4
    rows_bar: Vector
    cotangents: Vector
    # for sensitivities where an adjoint is not enough: whether what follows is given; those directions (few,) on which
    # the start and the schedule depend, and the derivatives in them, (n, few), (few,), (stops, few), (stops, n, few)
    has_few: int
    few: int
    places: Vector
    initial_few: Vector
    start_few: Vector
    stops_few: Vector
    kicks_few: Vector
    # difference of the two in units of what is aimed at, and of what is trusted at most; the relative tolerance that
    # was asked for
    distrust: float
    worst_distrust: float
    accuracy: float
    # of the sensitivities, relative to the largest of each state
    global_error: float
    # see `Work`
    floor: float
    regrown: int


@native
def take(pool: Vector, used: Indices, count: int) -> Vector:
    """The next `count` numbers of the pool."""
    start = used[0]
    # rows start at whole cache lines, eight numbers each
    used[0] = start + 8 * ((count + 7) // 8)
    return pool[start:]


@native
def widen(source: Vector, target: Vector, rows: int, p: int) -> None:
    """`source (rows, p)` goes to `target (rows, p + 1)`, whose last column stays as it is."""
    for row in range(rows):
        copy(target[row * (p + 1) :], source[row * p :], p)


class Problem(Record):
    """A problem that is being solved, and the memory to be given back."""

    given: Given
    work: Work
    # how many stops come from the model's own switches
    added: int
    pool: Vector
    used: Indices
    stop_pool: Vector
    stop_indices: Indices


@native
def solve(model: Model, given: Given) -> None:
    """Solves one problem; where it fails the rows from there on are NaN and the report has a code."""
    given.floor = tolerance.FLOOR
    solve_once(model, given)
    if given.regrown == 1:
        solve_without_floor(model, given)


@native
def solve_without_floor(model: Model, given: Given) -> None:
    """Solves again where a state has come back, by itself, from below what its tolerance resolves."""
    if not is_null(given.tape):
        given.tape.used = 0
        given.tape.longest = 0.0
    settings = given.settings
    more = allocate(SETTINGS)
    copy(more, settings, SETTINGS)
    more[3] = MORE_STEPS * more[3]
    given.settings = more
    given.floor = 0.0
    solve_once(model, given)
    given.settings = settings
    release(more)


@native
def solve_once(model: Model, given: Given) -> None:
    """One solve, with the floor that is given."""
    problem = open_problem(model, given)
    member.integrate(problem.work)
    close_problem(problem)


@native
def open_problem(model: Model, given: Given) -> Problem:
    """Work space for one problem, and everything before its first step."""
    n = model.states
    # the directions, and one column for their errors
    p = given.p + 1 if given.p > 0 else 0
    m = model.parameters
    size = n * p
    total = model.events + model.conditions
    work = allocate_record(Work)
    work.model = model
    work.n = n
    work.p = p
    work.outputs = model.outputs
    work.start = given.settings[0]
    work.rtol = given.settings[1]
    work.max_step = given.settings[2]
    work.max_steps = int(given.settings[3])
    work.method = int(given.settings[4])
    work.implicit = 1 if work.method == 2 else 0
    work.times = given.times
    work.time_count = given.time_count
    work.end = work.start
    if given.time_count > 0:
        work.end = given.times[given.time_count - 1]
    work.same_time = given.settings[5]
    for k in range(given.time_count):
        if work.first_gap == 0.0 and given.times[k] > work.start:
            work.first_gap = given.times[k] - work.start
    work.floor = given.floor
    work.rows = given.rows
    work.s_rows = given.rows_d
    work.atol = given.atol
    work.differentiates = given.differentiates
    work.tape = given.tape
    sparse = n + model.jacobian_count + n + model.forcing_count + model.curvature_count
    sparse = sparse + model.observe_count + model.outputs + total + model.roots_count
    sparse = sparse + model.events * n + model.change_count + model.switch_count + n
    wide = n + total + model.events * n + 2 * model.switches + 8
    row = 1 + n + m + model.conditions + n + 1
    pool = allocate(
        8 * 72
        + row
        + model.scratch
        + n * (18 + 8 + 8)
        + 2 * model.jacobian_count
        + model.factor_size
        + sparse
        + wide
        + size * (9 + 8)
        + p * (5 + model.outputs + given.stop_count * n)
        + n
        + 4 * total
    )
    used = allocate_indices(1)
    work.x = take(pool, used, row)
    work.scratch = take(pool, used, model.scratch)
    work.y = take(pool, used, n)
    work.new = take(pool, used, n)
    work.error = take(pool, used, n)
    work.f = take(pool, used, n + model.jacobian_count + n)
    work.jacobian = work.f[n:]
    work.slope_time = work.jacobian[model.jacobian_count :]
    work.scale = take(pool, used, n)
    work.zero_since = take(pool, used, n)
    work.troughs = take(pool, used, n)
    work.degrees = take(pool, used, n)
    work.noise = take(pool, used, n)
    work.point = take(pool, used, n)
    work.change = take(pool, used, n)
    work.stages = take(pool, used, 8 * n)
    work.arguments = take(pool, used, 8 * n)
    work.factors = take(pool, used, model.factor_size)
    work.buffer = take(pool, used, sparse)
    work.kernel_out = take(pool, used, wide)
    work.root_values = take(pool, used, total)
    work.root_signs = take(pool, used, total)
    work.root_new = take(pool, used, total)
    work.root_marks = take(pool, used, total)
    work.root_before = take(pool, used, total)
    work.s = take(pool, used, size)
    work.s_new = take(pool, used, size)
    work.s_error = take(pool, used, size)
    work.s_scale = take(pool, used, size)
    work.s_zero_since = take(pool, used, size)
    work.s_argument = take(pool, used, size)
    work.s_point = take(pool, used, size)
    work.s_stages = take(pool, used, 8 * size)
    work.tau_dot = take(pool, used, p)
    work.s_floor = take(pool, used, p)
    work.s_row = take(pool, used, model.outputs * p)
    work.s_sizes = take(pool, used, n)
    work.start_dots = take(pool, used, p)
    work.kick_dots = take(pool, used, given.stop_count * n * p)
    copy(work.x[1 + n :], given.q, m)
    copy(work.y, given.initial, n)
    work.t = work.start
    work.h = work.end - work.start
    work.fired_time = -1e308
    work.least_time = -1e308
    work.cap = 1e308
    work.log_error = -9.2
    work.stages_place = -1
    work.factors_place = -1
    work.keeps_arguments = 1 if p > 0 or given.differentiates == 1 else 0
    work.chosen = -1
    if p > 0:
        widen(given.initial_d, work.s, n, given.p)
        widen(given.start_d, work.start_dots, 1, given.p)
        widen(given.kicks_d, work.kick_dots, given.stop_count * n, given.p)
        for c in range(given.p):
            work.s_floor[c] = given.q[model.direction_parameters[c]]
    sound = 1
    if model.delays > 0:
        sound = past.prepare(work)
    added = 0
    if model.switches > 0:
        added = member.gather_switches(work, 1, 0)
    stops = given.stop_count + added
    work.stop_count = stops
    work.given_stops = given.stop_count
    # an adjoint, and a solve that one will follow, have no sensitivities, but the derivatives of their switches
    directions = model.directions if work.differentiates == 1 and p == 0 else p
    # one delay or several later everything that happens is felt again
    room = stops + (past.sums(model.delays) * (stops + 1) if model.delays > 0 else 0)
    stop_pool = allocate(room * (1 + directions) + 1)
    stop_indices = allocate_indices(2 * room + 1)
    work.stop_times = stop_pool
    work.stop_dots = stop_pool[room:]
    work.stop_order = stop_indices
    work.stop_kicks = stop_indices[room:]
    work.kicks = given.kicks
    for k in range(given.stop_count):
        work.stop_times[k] = given.stops[k]
        work.stop_kicks[k] = k
        if p > 0:
            copy(work.stop_dots[k * p :], given.stops_d[k * given.p :], given.p)
    if model.switches > 0:
        work.p = directions
        member.gather_switches(work, 0, given.stop_count)
        work.p = p
    if model.delays > 0 and sound == 1:
        work.stop_count = stops + past.add_stops(work, stops)
    for k in range(work.stop_count):
        work.stop_order[k] = k
    if sound == 1:
        member.begin(work)
    else:
        work.code = BAD_DELAY
    problem = allocate_record(Problem)
    problem.given = given
    problem.work = work
    problem.added = added
    problem.pool = pool
    problem.used = used
    problem.stop_pool = stop_pool
    problem.stop_indices = stop_indices
    return problem


@native
def close_problem(problem: Problem) -> None:
    """What follows the last step: an adjoint, rows that were not reached, the report."""
    given = problem.given
    work = problem.work
    p = work.p
    directions = work.model.directions if work.differentiates == 1 and p == 0 else p
    if work.code == SUCCESS and work.differentiates == 1 and p == 0:
        found = work.stop_dots[given.stop_count * directions :]
        if finite(found, problem.added * directions) == 0:
            work.code = NOT_DIFFERENTIABLE
        elif not is_null(work.tape):
            take_back(work, given)
    width = work.outputs
    if work.code != SUCCESS:
        for k in range(work.written, work.time_count):
            fill(work.rows[k * width :], float("nan"), width)
            if p > 0:
                fill(work.s_rows[k * width * given.p :], float("nan"), width * given.p)
    given.report[0] = float(work.code)
    given.report[1] = float(work.steps)
    given.report[2] = float(work.explicit_steps)
    given.report[3] = float(work.implicit_steps)
    given.report[4] = work.t
    given.global_error = work.global_error
    given.regrown = work.regrown
    release(problem.pool)
    release(problem.used)
    release(problem.stop_pool)
    release(problem.stop_indices)
    past.forget(work)
    release(work)
    release(problem)


@native
def take_back(work: Work, given: Given) -> None:
    """The adjoint of a solve that has just been recorded, into `cotangents`."""
    n = work.n
    p = work.model.directions
    tape = work.tape
    if tape.failed == 1:
        work.code = NOT_DIFFERENTIABLE
        return
    bars = allocate_record(Adjoint)
    pool = allocate(COLUMNS * (n * (5 + adjoint.STAGES) + p + work.stop_count) + p + 128)
    used = allocate_indices(1)
    out = given.cotangents
    bars.p = p
    bars.rows = given.rows_bar
    bars.directions = out
    bars.initial = out[COLUMNS * p :]
    bars.start = out[COLUMNS * (p + n) :]
    bars.kicks = out[COLUMNS * (p + n + 1 + given.stop_count) :]
    bars.stops = take(pool, used, COLUMNS * work.stop_count)
    bars.state = take(pool, used, COLUMNS * n)
    bars.before = take(pool, used, COLUMNS * n)
    bars.after = take(pool, used, COLUMNS * n)
    bars.argument = take(pool, used, COLUMNS * max(n, 1))
    bars.other = take(pool, used, COLUMNS * n)
    bars.stages = take(pool, used, COLUMNS * adjoint.STAGES * n)
    bars.added = take(pool, used, COLUMNS * p)
    bars.sizes = take(pool, used, p)
    fill(out, 0.0, COLUMNS * (p + n + 1 + given.stop_count * (1 + n)))
    adjoint.go_back(work, bars, given.initial)
    copy(out[COLUMNS * (p + n + 1) :], bars.stops, COLUMNS * given.stop_count)
    goal = min(adjoint.AIM * pow(given.accuracy, adjoint.POWER), adjoint.TRUSTED)
    given.distrust = adjoint.distrust(work, bars, given.initial, given.accuracy, goal)
    given.worst_distrust = adjoint.distrust(work, bars, given.initial, given.accuracy, adjoint.TRUSTED)
    if given.has_few == 1:
        wrong = start_difference(work, given, out)
        given.distrust = max(given.distrust, wrong / goal)
        given.worst_distrust = max(given.worst_distrust, wrong / adjoint.TRUSTED)
    given.worst_distrust = max(given.worst_distrust, adjoint.ill_posed(work, bars, given.accuracy))
    release(pool)
    release(used)
    release(bars)


@native
def start_difference(work: Work, given: Given, pairs: Vector) -> float:
    """Largest relative difference of the two gradients in what comes from initial state, start, stops and kicks.

    Each direction by itself, relative to the sizes of what it is summed from: a parameter may be zero, and so may the
    state that it moves.
    """
    n = work.n
    p = work.model.directions
    few = given.few
    stops = given.stop_count
    initial = pairs[COLUMNS * p :]
    start = initial[COLUMNS * n :]
    at_stops = start[COLUMNS:]
    kicks = at_stops[COLUMNS * stops :]
    worst = 0.0
    for c in range(few):
        place = COLUMNS * int(given.places[c])
        first = 0.0
        second = 0.0
        size = abs(pairs[place])
        for k in range(n):
            slope = given.initial_few[k * few + c]
            first = first + slope * initial[COLUMNS * k]
            second = second + slope * initial[COLUMNS * k + 1]
            size = size + abs(slope * initial[COLUMNS * k])
        slope = given.start_few[c]
        first = first + slope * start[0]
        second = second + slope * start[1]
        size = size + abs(slope * start[0])
        for k in range(stops):
            slope = given.stops_few[k * few + c]
            first = first + slope * at_stops[COLUMNS * k]
            second = second + slope * at_stops[COLUMNS * k + 1]
            size = size + abs(slope * at_stops[COLUMNS * k])
        for k in range(stops * n):
            slope = given.kicks_few[k * few + c]
            first = first + slope * kicks[COLUMNS * k]
            second = second + slope * kicks[COLUMNS * k + 1]
            size = size + abs(slope * kicks[COLUMNS * k])
        if size > 0.0:
            ratio = abs(first - second) / size
            worst = max(worst, ratio if isfinite(ratio) else adjoint.UNKNOWN)
    return worst


@native
def spread(given: Given, source: Vector, target: Vector, rows: int, p: int) -> None:
    """`source (rows, few)` goes to its places in `target (rows, p)`."""
    fill(target, 0.0, rows * p)
    for row in range(rows):
        for k in range(given.few):
            target[row * p + int(given.places[k])] = source[row * given.few + k]


@native
def solve_resolved(model: Model, given: Given) -> None:
    """A solve with sensitivities, at finer tolerances where their global error asks for them."""
    original = given.settings
    original_atol = given.atol
    n = model.states
    settings = allocate(SETTINGS)
    atol = allocate(n)
    copy(settings, original, SETTINGS)
    # sensitivities take more steps than states, and what can be solved is to have derivatives
    settings[3] = WITH_SENSITIVITIES * settings[3]
    copy(atol, original_atol, n)
    given.settings = settings
    given.atol = atol
    for trial in range(RESOLVING):
        solve(model, given)
        error = given.global_error
        if trial > 0 and int(given.report[0]) != SUCCESS:
            # by too many steps, or at the end of what rounding allows
            given.report[0] = float(UNRESOLVED)
            break
        if int(given.report[0]) != SUCCESS or error <= global_error.UNRESOLVED:
            break
        factor = min(max(RESOLVED / error, MOST_RESOLVING), LEAST_RESOLVING)
        if trial == RESOLVING - 1 or settings[1] * factor < FINEST:
            given.report[0] = float(UNRESOLVED)
            break
        settings[1] = settings[1] * factor
        settings[3] = min(MORE_STEPS * original[3], 2.0 * pow(factor, -0.2) * settings[3])
        for k in range(n):
            atol[k] = factor * atol[k]
    given.settings = original
    given.atol = original_atol
    release(settings)
    release(atol)


@native
def solve_forward(model: Model, given: Given, factor: float) -> None:
    """The problem again, with sensitivities under error control; `factor` times as many steps are allowed.

    Rows and report are those of this solve; its sensitivities, times the cotangents of the rows, are the gradient, and
    nothing is left for initial state, start, stops and kicks.
    """
    if given.has_few == 0:
        given.report[0] = float(NOT_DIFFERENTIABLE)
        return
    n = model.states
    p = model.directions
    stops = given.stop_count
    wide = allocate_record(Given)
    settings = allocate(SETTINGS)
    copy(settings, given.settings, SETTINGS)
    settings[3] = factor * settings[3]
    values = given.time_count * model.outputs
    pool = allocate(p * (n + 1 + stops * (1 + n) + values) + 5 * 8)
    if is_null(pool):
        given.report[0] = float(NOT_DIFFERENTIABLE)
        release(settings)
        release(wide)
        return
    used = allocate_indices(1)
    wide.p = p
    wide.q = given.q
    wide.initial = given.initial
    wide.atol = given.atol
    wide.times = given.times
    wide.time_count = given.time_count
    wide.stops = given.stops
    wide.stop_count = stops
    wide.kicks = given.kicks
    wide.initial_d = take(pool, used, n * p)
    wide.start_d = take(pool, used, p)
    wide.stops_d = take(pool, used, stops * p)
    wide.kicks_d = take(pool, used, stops * n * p)
    wide.rows_d = take(pool, used, values * p)
    spread(given, given.initial_few, wide.initial_d, n, p)
    spread(given, given.start_few, wide.start_d, 1, p)
    spread(given, given.stops_few, wide.stops_d, stops, p)
    spread(given, given.kicks_few, wide.kicks_d, stops * n, p)
    wide.settings = settings
    wide.rows = given.rows
    wide.report = given.report
    wide.differentiates = 1
    solve_resolved(model, wide)
    if not is_null(given.cotangents):
        fill(given.cotangents, 0.0, COLUMNS * (p + n + 1 + stops * (1 + n)))
        for k in range(values):
            if given.rows_bar[k] != 0.0:
                for c in range(p):
                    change = given.rows_bar[k] * wide.rows_d[k * p + c]
                    given.cotangents[COLUMNS * c] = given.cotangents[COLUMNS * c] + change
    release(used)
    release(pool)
    release(settings)
    release(wide)


@native
def solve_checked(model: Model, given: Given) -> None:
    """A solve that an adjoint will follow: its code says whether there is a gradient.

    Where slopes are no numbers the adjoint is none either, and whether sensitivities are is seen by solving for them.
    """
    given.differentiates = 1
    solve(model, given)
    code = int(given.report[0])
    few = given.few
    n = model.states
    if code == SUCCESS and given.has_few == 1:
        sound = finite(given.initial_few, n * few) + finite(given.start_few, few)
        sound = sound + finite(given.stops_few, given.stop_count * few)
        sound = sound + finite(given.kicks_few, given.stop_count * n * few)
        if sound < 4:
            code = NOT_DIFFERENTIABLE
    if code == NOT_DIFFERENTIABLE:
        solve_forward(model, given, 1.0)


@native
def solve_adjoint(model: Model, given: Given) -> None:
    """A solve with its adjoint: steps that suit the states but do not resolve the gradient are shortened.

    Where that does not help, or slopes are no numbers, the gradient is that of sensitivities.
    """
    values = given.time_count * model.outputs
    asked = 0
    for k in range(values):
        if given.rows_bar[k] != 0.0:
            asked = 1
    if asked == 0 or finite(given.rows_bar, values) == 0:
        # zero times a gradient, or no number times it
        fill(given.cotangents, 0.0, COLUMNS * (model.directions + model.states + 1))
        rest = given.cotangents[COLUMNS * (model.directions + model.states + 1) :]
        fill(rest, 0.0, COLUMNS * given.stop_count * (1 + model.states))
        given.report[0] = float(SUCCESS if asked == 0 else NOT_DIFFERENTIABLE)
        return
    original = given.settings
    settings = allocate(SETTINGS)
    copy(settings, given.settings, SETTINGS)
    given.settings = settings
    given.accuracy = settings[1]
    tape = allocate_record(Tape)
    given.tape = tape
    given.differentiates = 1
    given.worst_distrust = adjoint.UNKNOWN
    first_code = 0.0
    for trial in range(TRIALS):
        tape.used = 0
        tape.longest = 0.0
        given.distrust = adjoint.UNKNOWN
        solve(model, given)
        given.report[REPORT] = float(trial + 1)
        if trial == 0:
            first_code = given.report[0]
        # what is no number stays so
        if given.report[0] != 0.0 or given.distrust <= 1.0 or given.distrust >= adjoint.UNKNOWN:
            break
        shorter = SHORTENING * pow(given.distrust, -0.25)
        settings[1] = min(settings[1], max(FINER * settings[1], FINEST))
        settings[2] = tape.longest * min(max(shorter, MOST_SHORTENING), LEAST_SHORTENING)
    given.report[REPORT + 1] = given.worst_distrust
    # what a shorter solve could not better stands, where it is good enough
    given.report[0] = first_code
    release(tape.values)
    release(tape)
    release(settings)
    given.settings = original
    if int(first_code) == NOT_DIFFERENTIABLE or (first_code == 0.0 and not given.worst_distrust <= 1.0):
        solve_forward(model, given, MORE_STEPS)


@native(inline=True)
def reverses(call: Call) -> bool:
    """Whether a call is for a gradient by an adjoint."""
    return call.count_operands > 11


@native
def read_call(model: Model, call: Call, b: int) -> Given:
    """What member `b` of a call from compiled JAX asks for, less what only an adjoint needs."""
    given = allocate_record(Given)
    n = model.states
    last = call.count_operands - 1
    given.p = 0
    given.q = operand(call, 0, b)
    given.initial = operand(call, 1, b)
    given.atol = operand(call, 2, b)
    given.times = operand(call, 3, b)
    given.time_count = call.operand_sizes[3]
    given.stops = operand(call, 4, b)
    given.stop_count = call.operand_sizes[4]
    given.kicks = operand(call, 5, b)
    if last > 6 and not reverses(call):
        given.differentiates = 1
        given.p = call.operand_sizes[6] // n
        given.initial_d = operand(call, 6, b)
        given.start_d = operand(call, 7, b)
        given.stops_d = operand(call, 8, b)
        given.kicks_d = operand(call, 9, b)
        given.rows_d = result(call, 2, b)
    given.settings = operand(call, last, b)
    given.rows = result(call, 0, b)
    given.report = result(call, 1, b)
    given.floor = tolerance.FLOOR
    return given


@native
def solve_member(model: Model, call: Call, b: int) -> None:
    """Member `b` of a call from compiled JAX; the order of operands and results is that of `Given`."""
    given = read_call(model, call, b)
    if not reverses(call):
        if given.p > 0:
            solve_resolved(model, given)
        else:
            solve(model, given)
        release(given)
        return
    # whether there are derivatives, and their places
    given.few = call.operand_sizes[7] - 1
    given.has_few = int(operand(call, 7, b)[0])
    given.places = operand(call, 7, b)[1:]
    given.initial_few = operand(call, 8, b)
    given.start_few = operand(call, 9, b)
    given.stops_few = operand(call, 10, b)
    given.kicks_few = operand(call, 11, b)
    # cotangents of the rows, or nothing: then only whether there is a gradient
    if call.count_results > 2:
        given.rows_bar = operand(call, 6, b)
        given.cotangents = result(call, 2, b)
        solve_adjoint(model, given)
    else:
        solve_checked(model, given)
    release(given)
