"""Values confirmed by a second solve, where the problem may have magnified errors to the size of the solution."""

from ..language import Vector, allocate, copy, fill, is_null, isnan, native, release
from .attempts import FINEST, MORE_STEPS, close_tolerances, open_tolerances, rescale, solve_once
from .codes import SUCCESS, UNDETERMINED
from .given import Given
from .records import REPORT, Model
from .vanished import UNRESOLVED_SHARE

# Values are confirmed by a coarser solve, or else by so many finer ones; by how much two may differ, relative to the
# largest value of an output, and in relative tolerances; how many times that from the coarser one.
COARSER, CONFIRMING, FINER_AGAIN = 10.0, 3, 0.1
CONFIRMED, CONFIRMED_SHARE, OF_COARSER = 2e-3, 30.0, 5.0


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
    first = open_tolerances(model, given)
    rescale(model, given, factor)
    if factor < 1.0 or given.floor == 0.0:
        given.settings[3] = MORE_STEPS * given.settings[3]
    first.rows = given.rows
    first.report = given.report
    first.states = given.states
    first.scales = given.scales
    given.first = first
    given.rows = allocate(given.time_count * model.outputs)
    given.report = allocate(REPORT + model.states + 2)
    given.states = None
    given.scales = None
    keep_states(model, given)
    given.confirming = 1


@native
def take_back(given: Given) -> None:
    """What was set aside is in its place again."""
    first = given.first
    release(given.rows)
    release(given.report)
    forget_states(given)
    given.rows = first.rows
    given.report = first.report
    given.states = first.states
    given.scales = first.scales
    close_tolerances(given, first)
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
        if size > UNRESOLVED_SHARE * scales[k] and not abs(first[k] - second[k]) <= allowed * size:
            return False
    return True
