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
    native,
    nextafter,
    release,
)
from . import adjoint, member, past
from .adjoint import COLUMNS, Adjoint
from .codes import BAD_DELAY, NOT_DIFFERENTIABLE, SUCCESS
from .records import REPORT, SETTINGS, Model, Tape, Work

# Solves by which an adjoint may be tried, at finer tolerances and with steps that are shorter each time: by what the
# order says of the error of the gradient, within limits.
TRIALS, FINER, FINEST = 5, 0.03, 1e-13
SHORTENING, LEAST_SHORTENING, MOST_SHORTENING = 0.8, 0.5, 0.03


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
    # difference of the two in units of what is aimed at, and of what is trusted at most; the relative tolerance that
    # was asked for
    distrust: float
    worst_distrust: float
    accuracy: float


@native
def take(pool: Vector, used: Indices, count: int) -> Vector:
    """The next `count` numbers of the pool."""
    start = used[0]
    # rows start at whole cache lines, eight numbers each
    used[0] = start + 8 * ((count + 7) // 8)
    return pool[start:]


@native
def solve(model: Model, given: Given) -> None:
    """Solves one problem; where it fails the rows from there on are NaN and the report has a code."""
    n = model.states
    p = given.p
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
    work.time_tolerance = given.settings[5] * abs(work.end - work.start)
    work.time_tolerance = work.time_tolerance + 64.0 * (
        nextafter(max(abs(work.start), abs(work.end)), 1e308) - max(abs(work.start), abs(work.end))
    )
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
        8 * 64
        + row
        + model.scratch
        + n * (17 + 8 + 8)
        + 2 * model.jacobian_count
        + model.factor_size
        + sparse
        + wide
        + size * (9 + 8)
        + 4 * p
        + 4 * total
    )
    used = allocate_indices(1)
    work.x = take(pool, used, row)
    work.scratch = take(pool, used, model.scratch)
    work.y = take(pool, used, n)
    work.new = take(pool, used, n)
    work.error = take(pool, used, n)
    work.f = take(pool, used, n)
    work.scale = take(pool, used, n)
    work.zero_since = take(pool, used, n)
    work.degrees = take(pool, used, n)
    work.noise = take(pool, used, n)
    work.point = take(pool, used, n)
    work.slope_time = take(pool, used, n)
    work.change = take(pool, used, n)
    work.stages = take(pool, used, 8 * n)
    work.arguments = take(pool, used, 8 * n)
    work.jacobian = take(pool, used, model.jacobian_count)
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
    copy(work.x[1 + n :], given.q, m)
    copy(work.y, given.initial, n)
    work.t = work.start
    work.h = work.end - work.start
    work.fired_time = -1e308
    work.least_time = -1e308
    work.cap = 1e308
    work.log_error = -9.2
    work.chosen = -1
    if p > 0:
        copy(work.s, given.initial_d, size)
        work.start_dots = given.start_d
        for c in range(p):
            work.s_floor[c] = given.q[model.direction_parameters[c]]
    sound = 1
    if model.delays > 0:
        sound = past.prepare(work, given.initial, given.initial_d)
    added = 0
    if model.switches > 0:
        added = member.gather_switches(work, 1, 0)
    stops = given.stop_count + added
    work.stop_count = stops
    work.given_stops = given.stop_count
    # an adjoint has no sensitivities, but the derivatives of its switches
    directions = p if is_null(work.tape) else model.directions
    # one delay or several later everything that happens is felt again
    room = stops + (past.sums(model.delays) * (stops + 1) if model.delays > 0 else 0)
    stop_pool = allocate(room * (1 + directions) + 1)
    stop_indices = allocate_indices(2 * room + 1)
    work.stop_times = stop_pool
    work.stop_dots = stop_pool[room:]
    work.stop_order = stop_indices
    work.stop_kicks = stop_indices[room:]
    work.kicks = given.kicks
    work.kick_dots = given.kicks_d
    for k in range(given.stop_count):
        work.stop_times[k] = given.stops[k]
        work.stop_kicks[k] = k
        if p > 0:
            copy(work.stop_dots[k * p :], given.stops_d[k * p :], p)
    if model.switches > 0:
        work.p = directions
        member.gather_switches(work, 0, given.stop_count)
        work.p = p
    if model.delays > 0 and sound == 1:
        work.stop_count = stops + past.add_stops(work, stops)
    for k in range(work.stop_count):
        work.stop_order[k] = k
    if sound == 1:
        member.integrate(work)
    else:
        work.code = BAD_DELAY
    if work.code == SUCCESS and not is_null(work.tape):
        take_back(work, given)
    width = work.outputs
    if work.code != SUCCESS:
        for k in range(work.written, work.time_count):
            fill(work.rows[k * width :], float("nan"), width)
            if p > 0:
                fill(work.s_rows[k * width * p :], float("nan"), width * p)
    given.report[0] = float(work.code)
    given.report[1] = float(work.steps)
    given.report[2] = float(work.explicit_steps)
    given.report[3] = float(work.implicit_steps)
    given.report[4] = work.t
    release(pool)
    release(used)
    release(stop_pool)
    release(stop_indices)
    past.forget(work)
    release(work)


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
    release(pool)
    release(used)
    release(bars)


@native
def solve_adjoint(model: Model, given: Given) -> None:
    """A solve with its adjoint: steps that suit the states but do not resolve the gradient are shortened.

    Where that does not help the code says that there is no gradient.
    """
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
        if given.report[0] != 0.0 or given.distrust <= 1.0:
            break
        shorter = SHORTENING * pow(given.distrust, -0.25)
        settings[1] = min(settings[1], max(FINER * settings[1], FINEST))
        settings[2] = tape.longest * min(max(shorter, MOST_SHORTENING), LEAST_SHORTENING)
    given.report[REPORT + 1] = given.worst_distrust
    # what a shorter solve could not better stands, where it is good enough
    given.report[0] = first_code
    if first_code == 0.0 and not given.worst_distrust <= 1.0:
        given.report[0] = float(NOT_DIFFERENTIABLE)
    release(tape.values)
    release(tape)
    release(settings)


@native
def solve_member(model: Model, call: Call, b: int) -> None:
    """Member `b` of a call from compiled JAX; the order of operands and results is that of `Given`."""
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
    if last > 7:
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
    if last == 7:
        # the operand before the settings holds cotangents of the rows, or nothing: then only whether there are slopes
        given.differentiates = 1
        if call.count_results > 2:
            given.rows_bar = operand(call, 6, b)
            given.cotangents = result(call, 2, b)
            solve_adjoint(model, given)
            release(given)
            return
    solve(model, given)
    release(given)
