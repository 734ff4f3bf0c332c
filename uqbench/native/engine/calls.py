"""What a call asks for: a solve, resolved sensitivities, a trusted adjoint; and what takes their place."""

from ..foreign_call import Call, operand, result
from ..language import Vector, allocate, allocate_indices, allocate_record, copy, fill, is_null, isnan, native, release
from . import adjoint, global_error, sizes, tolerance
from .adjoint import COLUMNS
from .codes import NOT_DIFFERENTIABLE, SUCCESS, UNDETERMINED, UNRESOLVED
from .evaluation import finite
from .problem import Given, Setting, close_problem, open_problem, take
from .records import REPORT, SETTINGS, Model, Tape

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
# Values are confirmed by a coarser solve, or else by so many finer ones; by how much two may differ, relative to the
# largest value of an output, and in relative tolerances; how many times that from the coarser one.
COARSER, COARSEST, CONFIRMING, FINER_AGAIN = 10.0, 1e-2, 3, 0.1
CONFIRMED, CONFIRMED_SHARE, OF_COARSER = 2e-3, 30.0, 5.0


@native
def solve(model: Model, given: Given) -> None:
    """Solves one problem; where it fails the rows from there on are NaN and the report has a code."""
    given.floor = tolerance.FLOOR
    keep_states(model, given)
    solve_once(model, given)
    finish(model, given)


@native
def finish(model: Model, given: Given) -> None:
    """What a first solve has shown to be necessary."""
    if sizes.missed(model, given):
        given.without_sizes = 1
        solve_once(model, given)
        given.without_sizes = 0
    if given.regrown == 1:
        solve_without_floor(model, given)
    if wants_confirming(given):
        set_aside(model, given, COARSER)
        solve_once(model, given)
        judge_confirming(model, given)
    forget_states(given)


@native
def keep_states(model: Model, given: Given) -> None:
    """Room for the states at all times, where values may have to be confirmed."""
    if given.p == 0 and is_null(given.tape):
        given.states = allocate((given.time_count + 1) * model.states)
        given.scales = given.states[given.time_count * model.states :]


@native
def forget_states(given: Given) -> None:
    """Gives that room back."""
    if not is_null(given.states):
        release(given.states)
        given.states = None
        given.scales = None


@native
def wants_confirming(given: Given) -> bool:
    """Whether the values that a solve has found are to be confirmed by another one."""
    return given.magnified == 1 and not is_null(given.states) and int(given.report[0]) == SUCCESS


@native
def set_aside(model: Model, given: Given, factor: float) -> None:
    """What a solve has found waits for what another one finds, at tolerances times `factor`."""
    n = model.states
    first = allocate_record(Setting)
    first.settings = given.settings
    first.atol = given.atol
    first.rows = given.rows
    first.report = given.report
    first.states = given.states
    first.scales = given.scales
    given.first = first
    given.settings = allocate(SETTINGS)
    copy(given.settings, first.settings, SETTINGS)
    given.settings[1] = min(max(factor * first.settings[1], FINEST), max(COARSEST, first.settings[1]))
    if factor < 1.0 or given.floor == 0.0:
        given.settings[3] = MORE_STEPS * first.settings[3]
    given.atol = allocate(n)
    for k in range(n):
        given.atol[k] = factor * first.atol[k]
    given.rows = allocate(given.time_count * model.outputs)
    given.report = allocate(REPORT + n + 2)
    given.states = None
    given.scales = None
    keep_states(model, given)
    given.confirming = 1


@native
def take_back(given: Given) -> None:
    """What was set aside is in its place again."""
    first = given.first
    release(given.settings)
    release(given.atol)
    release(given.rows)
    release(given.report)
    forget_states(given)
    given.settings = first.settings
    given.atol = first.atol
    given.rows = first.rows
    given.report = first.report
    given.states = first.states
    given.scales = first.scales
    release(first)
    given.confirming = 0


@native
def judge_confirming(model: Model, given: Given) -> None:
    """After the coarser solve: the finer one stands if they agree; otherwise still finer ones decide."""
    agreed = 0
    if int(given.report[0]) == SUCCESS and given.regrown == 0:
        # the difference is nearly all of it the coarser one's error
        agreed = rows_that_agree(model, given, OF_COARSER)
    take_back(given)
    if agreed == given.time_count:
        return
    factor = FINER_AGAIN
    for _ in range(CONFIRMING):
        if given.settings[1] * factor < FINEST:
            break
        set_aside(model, given, factor)
        solve_once(model, given)
        found = int(given.report[0]) == SUCCESS
        if found:
            agreed = rows_that_agree(model, given, 1.0)
            first = given.first
            copy(first.rows, given.rows, given.time_count * model.outputs)
            copy(first.report, given.report, REPORT + model.states)
            copy(first.states, given.states, (given.time_count + 1) * model.states)
        take_back(given)
        if not found:
            break
        if agreed == given.time_count:
            return
        factor = factor * FINER_AGAIN
    width = model.outputs
    given.report[0] = float(UNDETERMINED)
    fill(given.rows[agreed * width :], float("nan"), (given.time_count - agreed) * width)


@native
def rows_that_agree(model: Model, given: Given, share: float) -> int:
    """How many rows of two solves agree: their outputs, relative to the largest of each column, or else all states.

    An output may be what rounding leaves of a balance; then it is no sign of anything if the states agree.
    """
    first = given.first
    count = given.time_count
    width = model.outputs
    n = model.states
    allowed = share * max(CONFIRMED, CONFIRMED_SHARE * first.settings[1])
    agreed = count
    for j in range(width):
        largest = 0.0
        for k in range(count):
            largest = max(largest, abs(first.rows[k * width + j]))
        for k in range(agreed):
            one = first.rows[k * width + j]
            other = given.rows[k * width + j]
            # an output that is no number is none by either
            same = one == other or (isnan(one) and isnan(other)) or abs(one - other) <= allowed * largest
            if not same and not states_agree(first.states[k * n :], given.states[k * n :], first.scales, n, allowed):
                agreed = k
                break
    return agreed


@native
def states_agree(first: Vector, second: Vector, scales: Vector, n: int, allowed: float) -> bool:
    """Whether states agree, each relative to itself, as far as they are resolved at all."""
    for k in range(n):
        size = max(abs(first[k]), abs(second[k]))
        if size > tolerance.UNRESOLVED_SHARE * scales[k] and not abs(first[k] - second[k]) <= allowed * size:
            return False
    return True


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
    sizes.advance(model, problem)
    close_problem(problem)


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
    nothing is left for initial state, start, stops and dose_amounts.
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
    wide.dose_amounts = given.dose_amounts
    wide.initial_d = take(pool, used, n * p)
    wide.start_d = take(pool, used, p)
    wide.stops_d = take(pool, used, stops * p)
    wide.dose_amounts_d = take(pool, used, stops * n * p)
    wide.rows_d = take(pool, used, values * p)
    spread(given, given.initial_few, wide.initial_d, n, p)
    spread(given, given.start_few, wide.start_d, 1, p)
    spread(given, given.stops_few, wide.stops_d, stops, p)
    spread(given, given.dose_amounts_few, wide.dose_amounts_d, stops * n, p)
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
        sound = sound + finite(given.dose_amounts_few, given.stop_count * n * few)
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
        given.report[REPORT + model.states] = float(trial + 1)
        if trial == 0:
            first_code = given.report[0]
        # what is no number stays so
        if given.report[0] != 0.0 or given.distrust <= 1.0 or given.distrust >= adjoint.UNKNOWN:
            break
        shorter = SHORTENING * pow(given.distrust, -0.25)
        settings[1] = min(settings[1], max(FINER * settings[1], FINEST))
        settings[2] = tape.longest * min(max(shorter, MOST_SHORTENING), LEAST_SHORTENING)
    given.report[REPORT + model.states + 1] = given.worst_distrust
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
    given.dose_amounts = operand(call, 5, b)
    if last > 6 and not reverses(call):
        given.differentiates = 1
        given.p = call.operand_sizes[6] // n
        given.initial_d = operand(call, 6, b)
        given.start_d = operand(call, 7, b)
        given.stops_d = operand(call, 8, b)
        given.dose_amounts_d = operand(call, 9, b)
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
    given.dose_amounts_few = operand(call, 11, b)
    # cotangents of the rows, or nothing: then only whether there is a gradient
    if call.count_results > 2:
        given.rows_bar = operand(call, 6, b)
        given.cotangents = result(call, 2, b)
        solve_adjoint(model, given)
    else:
        solve_checked(model, given)
    release(given)
