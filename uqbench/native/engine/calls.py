"""What a call asks for: a solve, resolved sensitivities, a trusted adjoint; and what takes their place."""

from ..foreign_call import Call, operand, result
from ..language import Vector, allocate, allocate_indices, allocate_record, fill, is_null, native, release
from . import adjoint, global_error, sizes, tolerance
from .adjoint import COLUMNS
from .attempts import FINEST, MORE_STEPS, close_tolerances, open_tolerances, rescale, solve_once, solve_without_floor
from .codes import NOT_DIFFERENTIABLE, SUCCESS, UNRESOLVED
from .confirming import COARSER, forget_states, judge_confirming, keep_states, set_aside, wants_confirming
from .evaluation import finite
from .given import Given, same_problem
from .memory import take
from .records import REPORT, Model, Tape

# Solves by which an adjoint may be tried, at finer tolerances and with steps that are shorter each time: by what the
# order says of the error of the gradient, within limits.
TRIALS, FINER = 5, 0.03
SHORTENING, LEAST_SHORTENING, MOST_SHORTENING = 0.8, 0.5, 0.03
# Sensitivities may take this many times the steps that the states are allowed.
WITH_SENSITIVITIES = 4.0
# Solves by which sensitivities may be resolved; the global error that a finer one aims at, in proportion to its
# tolerances, by factors within limits.
RESOLVING, RESOLVED = 4, 2e-4
LEAST_RESOLVING, MOST_RESOLVING = 0.1, 1e-3


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
def spread(given: Given, source: Vector, target: Vector, rows: int, p: int) -> None:
    """`source (rows, few)` goes to its places in `target (rows, p)`."""
    fill(target, 0.0, rows * p)
    for row in range(rows):
        for k in range(given.few):
            target[row * p + int(given.places[k])] = source[row * given.few + k]


@native
def solve_resolved(model: Model, given: Given) -> None:
    """A solve with sensitivities, at finer tolerances where their global error asks for them."""
    first = open_tolerances(model, given)
    settings = given.settings
    # sensitivities take more steps than states, and what can be solved is to have derivatives
    settings[3] = WITH_SENSITIVITIES * settings[3]
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
        rescale(model, given, factor)
        settings[3] = min(MORE_STEPS * first.settings[3], 2.0 * pow(factor, -0.2) * settings[3])
    close_tolerances(given, first)


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
    wide = same_problem(given)
    values = given.time_count * model.outputs
    pool = allocate(p * (n + 1 + stops * (1 + n) + values) + 5 * 8)
    if is_null(pool):
        given.report[0] = float(NOT_DIFFERENTIABLE)
        release(wide)
        return
    used = allocate_indices(1)
    wide.p = p
    wide.initial_d = take(pool, used, n * p)
    wide.start_d = take(pool, used, p)
    wide.stops_d = take(pool, used, stops * p)
    wide.dose_amounts_d = take(pool, used, stops * n * p)
    wide.rows_d = take(pool, used, values * p)
    spread(given, given.initial_few, wide.initial_d, n, p)
    spread(given, given.start_few, wide.start_d, 1, p)
    spread(given, given.stops_few, wide.stops_d, stops, p)
    spread(given, given.dose_amounts_few, wide.dose_amounts_d, stops * n, p)
    wide.settings = given.settings
    wide.rows = given.rows
    wide.report = given.report
    wide.differentiates = 1
    first = open_tolerances(model, wide)
    wide.settings[3] = factor * wide.settings[3]
    solve_resolved(model, wide)
    close_tolerances(wide, first)
    if not is_null(given.cotangents):
        fill(given.cotangents, 0.0, COLUMNS * (p + n + 1 + stops * (1 + n)))
        for k in range(values):
            if given.rows_bar[k] != 0.0:
                for c in range(p):
                    change = given.rows_bar[k] * wide.rows_d[k * p + c]
                    given.cotangents[COLUMNS * c] = given.cotangents[COLUMNS * c] + change
    release(used)
    release(pool)
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
    first = open_tolerances(model, given)
    settings = given.settings
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
    close_tolerances(given, first)
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
