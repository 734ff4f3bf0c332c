"""One initial value problem from the arrays of a call: work space before its first step, the report after its last."""

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
    release,
)
from . import compartments, growth, member, past, spectrum
from .codes import BAD_DELAY, NOT_DIFFERENTIABLE, SUCCESS
from .evaluation import finite
from .given import Given
from .gradient import pull_back
from .memory import take
from .records import REPORT, Model, Work
from .stops import gather_switches


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
    # null where the tolerances are those that are given (`sizes`)
    own_atol: Vector


@native
def widen(source: Vector, target: Vector, rows: int, p: int) -> None:
    """`source (rows, p)` goes to `target (rows, p + 1)`, whose last column stays as it is."""
    for row in range(rows):
        copy(target[row * (p + 1) :], source[row * p :], p)


@native
def open_problem(model: Model, given: Given) -> Problem:
    """Work space for one problem, and everything before its first step; all of it where none is needed."""
    problem = allocate_record(Problem)
    work = allocate_record(Work)
    problem.given = given
    problem.work = work
    work.model = model
    work.n = model.states
    # the directions, and one column for their errors
    work.p = given.p + 1 if given.p > 0 else 0
    set_up(work, given)
    lay_out(problem)
    set_start(work, given)
    sound = 1
    if model.delays > 0:
        sound = past.prepare(work)
    gather_stops(problem, sound)
    if sound == 1:
        member.begin(work)
        compartments.solve(work)
    else:
        work.code = BAD_DELAY
    return problem


@native
def set_up(work: Work, given: Given) -> None:
    """What is asked for, and where the arrays of the call are."""
    work.outputs = work.model.outputs
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
    work.state_rows = given.states
    work.atol = given.atol
    work.dose_amounts = given.dose_amounts
    work.differentiates = given.differentiates
    work.tape = given.tape
    work.rough = given.rough
    if given.rough == 0 and given.without_sizes == 0 and given.floor > 0.0:
        for k in range(work.n):
            if given.initial[k] == 0.0 and given.atol[k] == 0.0:
                work.wants_sizes = 1
    work.keeps_arguments = 1 if work.p > 0 or given.differentiates == 1 else 0


@native
def lay_out(problem: Problem) -> None:
    """One piece of memory for all arrays of a solve."""
    work = problem.work
    model = work.model
    n = work.n
    p = work.p
    size = n * p
    dose_amounts = problem.given.stop_count * n
    total = model.events + model.conditions
    sparse = n + model.jacobian_count + n + model.forcing_count + model.curvature_count
    sparse = sparse + model.observe_count + model.outputs + total + model.roots_count
    sparse = sparse + model.events * n + model.change_count + model.switch_count + n + model.coefficients_count
    wide = n + total + model.events * n + 2 * model.switches + 8
    row = 1 + n + model.parameters + model.conditions + n + 1
    pool = allocate(
        8 * 72
        + row
        + model.scratch
        + n * (18 + 8 + 8)
        + 2 * model.jacobian_count
        + model.factor_size
        + sparse
        + wide
        + spectrum.room(n)
        + size * (9 + 8)
        + p * (5 + model.outputs + dose_amounts)
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
    work.growth_space = take(pool, used, spectrum.room(n))
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
    work.dose_dots = take(pool, used, dose_amounts * p)
    problem.pool = pool
    problem.used = used


@native
def set_start(work: Work, given: Given) -> None:
    """States, sensitivities and counters before anything has happened."""
    n = work.n
    copy(work.x[1 + n :], given.q, work.model.parameters)
    copy(work.y, given.initial, n)
    work.t = work.start
    work.h = work.end - work.start
    work.fired_time = -1e308
    work.least_time = -1e308
    work.cap = 1e308
    work.log_error = -9.2
    work.stages_place = -1
    work.factors_place = -1
    work.chosen = -1
    if work.p > 0:
        widen(given.initial_d, work.s, n, given.p)
        widen(given.start_d, work.start_dots, 1, given.p)
        widen(given.dose_amounts_d, work.dose_dots, given.stop_count * n, given.p)
        for c in range(given.p):
            work.s_floor[c] = given.q[work.model.direction_parameters[c]]


@native(inline=True)
def directions_of_stops(work: Work) -> int:
    """Derivatives that stops have: an adjoint, and a solve that one will follow, have those of their switches too."""
    return work.model.directions if work.differentiates == 1 and work.p == 0 else work.p


@native
def gather_stops(problem: Problem, sound: int) -> None:
    """Stops of the schedule, of the model's own switches, and, where delays are `sound`, what these feel of them."""
    given = problem.given
    work = problem.work
    model = work.model
    p = work.p
    added = 0
    if model.switches > 0:
        added = gather_switches(work, 1, 0)
    stops = given.stop_count + added
    work.stop_count = stops
    work.given_stops = given.stop_count
    directions = directions_of_stops(work)
    # one delay or several later everything that happens is felt again
    room = stops + (past.sums(model.delays) * (stops + 1) if model.delays > 0 else 0)
    problem.stop_pool = allocate(room * (1 + directions) + 1)
    problem.stop_indices = allocate_indices(2 * room + 1)
    work.stop_times = problem.stop_pool
    work.stop_dots = problem.stop_pool[room:]
    work.stop_order = problem.stop_indices
    work.stop_doses = problem.stop_indices[room:]
    for k in range(given.stop_count):
        work.stop_times[k] = given.stops[k]
        work.stop_doses[k] = k
        if p > 0:
            copy(work.stop_dots[k * p :], given.stops_d[k * given.p :], given.p)
    if model.switches > 0:
        work.p = directions
        gather_switches(work, 0, given.stop_count)
        work.p = p
    if model.delays > 0 and sound == 1:
        work.stop_count = stops + past.add_stops(work, stops)
    for k in range(work.stop_count):
        work.stop_order[k] = k
    problem.added = added


@native
def close_problem(problem: Problem) -> None:
    """What follows the last step: an adjoint, rows that were not reached, the report."""
    given = problem.given
    work = problem.work
    p = work.p
    directions = directions_of_stops(work)
    if work.code == SUCCESS and work.differentiates == 1 and p == 0:
        found = work.stop_dots[given.stop_count * directions :]
        if finite(found, problem.added * directions) == 0:
            work.code = NOT_DIFFERENTIABLE
        elif not is_null(work.tape):
            pull_back(work, given)
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
    copy(given.report[REPORT:], work.y, work.n)
    given.global_error = work.global_error
    given.regrown = work.regrown
    given.magnified = growth.is_magnified(work, given.initial)
    if not is_null(given.scales):
        copy(given.scales, work.scale, work.n)
    release(problem.pool)
    release(problem.used)
    release(problem.stop_pool)
    release(problem.stop_indices)
    if not is_null(problem.own_atol):
        release(problem.own_atol)
    past.forget(work)
    release(work)
    release(problem)
