"""Solutions in closed form: a few compartments between which everything flows at constant rates.

Where the rates are y' = A y + b with constants A and b, the state a time h later is exp(h M) (y, 1) with M the matrix
of A and b, and its sensitivities follow from the derivatives of the exponential. No step is too long, and there is no
error but that of rounding. That one is small in every single state, however little is left in it, where no state draws
on another (A has no negative element off its diagonal, and b none at all): with m the fastest outflow, M + m I has no
negative element either, and neither its series nor the squares of that cancel anything (Xue & Ye 2008,
doi:10.1007/s00211-008-0161-6). Other systems are left to steps, and so are many states, of which steps cost less.

The exponential is that of a 2^k-th of the interval, by the series to degree 12, squared k times (Moler & Van Loan
2003, doi:10.1137/S00361445024180). A matrix with its derivatives is one row: `(m, m)` values, then `(m, m, width)`
derivatives, with the directions filled up to whole vector registers.
"""

from math import factorial

from ..language import (
    Record,
    Vector,
    allocate,
    allocate_indices,
    allocate_record,
    copy,
    exp,
    fill,
    is_null,
    isfinite,
    isnan,
    native,
    release,
)
from . import jumps, output, stops, tolerance
from .codes import BLOW_UP, SUCCESS
from .evaluation import EPSILON, ROUNDINGS, same_time
from .member import RUNNING
from .memory import take
from .records import AUTO, Work

# The largest sum of a row of which the series is taken: then what it leaves out is less than rounding. Sums are in such
# units of the states as make them small, which so many products find.
SUMMED, PRODUCTS = 0.3, 6
SERIES = tuple(1.0 / factorial(k) for k in range(13))
# What squaring may make of a rounding, as a part of the relative tolerance, and roundings in each product.
OF_TOLERANCE, ROUNDINGS_OF_PRODUCT = 0.01, 16.0
# A longest step from which on none is asked for.
NO_LIMIT = 1e300
# Directions in one vector register.
REGISTER = 4


class Flows(Record):
    """The matrix M of a problem and its exponential."""

    # rows of the matrices, one more than the states where b is not zero; directions, and the same filled up
    m: int
    directions: int
    width: int
    # the fastest outflow; the largest sum of a row of M with that added to its diagonal, see `largest_sum`
    outflow: float
    largest: float
    matrix: Vector
    exponential: Vector
    # the interval that `exponential` is of, 0 where there is none yet
    interval: float
    scaled: Vector
    square: Vector
    cube: Vector
    other: Vector
    memory: Vector


@native
def solve(work: Work) -> None:
    """Solves a problem from its start to its end, if it is one of compartments; otherwise leaves it as it is."""
    asked = work.method == AUTO and work.max_step >= NO_LIMIT
    if work.code != RUNNING or is_null(work.model.coefficients) or not asked or not is_null(work.tape):
        return
    flows = read_flows(work)
    if are_compartments(work, flows):
        while work.code == RUNNING:
            go_on(work, flows)
    release(flows.memory)
    release(flows)


@native
def read_flows(work: Work) -> Flows:
    """The matrix and its derivatives from the model's kernels."""
    model = work.model
    n = work.n
    flows = allocate_record(Flows)
    flows.directions = model.directions if work.p > 0 else 0
    flows.width = REGISTER * ((flows.directions + REGISTER - 1) // REGISTER)
    values = work.buffer
    model.coefficients(work.x, values, work.scratch)
    flows.m = n
    for i in range(n):
        if values[i] != 0.0:
            flows.m = n + 1
    for e in range(model.coefficients_count):
        if flows.directions > 0 and model.coefficients_rows[e] < n:
            flows.m = n + 1
    m = flows.m
    size = m * m * (1 + flows.width)
    flows.memory = allocate(6 * (size + 8))
    used = allocate_indices(1)
    flows.matrix = take(flows.memory, used, size)
    flows.exponential = take(flows.memory, used, size)
    flows.scaled = take(flows.memory, used, size)
    flows.square = take(flows.memory, used, size)
    flows.cube = take(flows.memory, used, size)
    flows.other = take(flows.memory, used, size)
    release(used)
    for i in range(n):
        if m > n:
            flows.matrix[i * m + n] = values[i]
    for e in range(model.jacobian_count):
        flows.matrix[model.jacobian_rows[e] * m + model.jacobian_columns[e]] = values[n + e]
    if flows.directions > 0:
        model.coefficients_variation(work.x, values, work.scratch)
        slopes = flows.matrix[m * m :]
        for e in range(model.coefficients_count):
            row = model.coefficients_rows[e]
            place = row * m + n
            if row >= n:
                place = model.jacobian_rows[row - n] * m + model.jacobian_columns[row - n]
            slopes[place * flows.width + model.coefficients_columns[e]] = values[e]
    return flows


@native
def are_compartments(work: Work, flows: Flows) -> bool:
    """Whether no state draws on another, and rounding stays far below the tolerance over the whole time."""
    m = flows.m
    for i in range(m * m * (1 + flows.width)):
        if not isfinite(flows.matrix[i]):
            return False
    # at a time that is no number nothing would ever be reached
    for k in range(work.time_count):
        if isnan(work.times[k]):
            return False
    for k in range(work.stop_count):
        if isnan(work.stop_times[k]):
            return False
    for i in range(m):
        flows.outflow = max(flows.outflow, -flows.matrix[i * m + i])
        for j in range(m):
            if i != j and flows.matrix[i * m + j] < 0.0:
                return False
    span = work.end - work.start
    flows.largest = largest_sum(flows, 1.0 / span)
    return ROUNDINGS_OF_PRODUCT * EPSILON * (1.0 + flows.largest * span) <= OF_TOLERANCE * work.rtol


@native
def largest_sum(flows: Flows, slowest: float) -> float:
    """The largest sum of a row of B = M + outflow I, which has no negative element, in units v of the states.

    Whatever v is, max (B v)_i / v_i is a norm of B in these units, and no less than its largest eigenvalue (Collatz
    1942, doi:10.1007/BF01180013), to which that of products v = (B + r I)^k 1 falls.
    """
    m = flows.m
    sizes = flows.scaled
    products = flows.square
    fill(sizes, 1.0, m)
    largest = 0.0
    for _ in range(PRODUCTS):
        largest = 0.0
        for i in range(m):
            total = flows.outflow * sizes[i]
            for j in range(m):
                total = total + flows.matrix[i * m + j] * sizes[j]
            products[i] = total + max(flows.outflow, slowest) * sizes[i]
            largest = max(largest, total / sizes[i])
        copy(sizes, products, m)
    return largest


@native
def go_on(work: Work, flows: Flows) -> None:
    """To the next observation or the next stop, whichever comes first, and across it."""
    n = work.n
    p = work.p
    stop = stops.next_stop(work)
    end = min(stop, work.times[work.written])
    if end > work.t:
        # what rounding makes of equal intervals is no other one
        rounding = ROUNDINGS * EPSILON * max(abs(end), abs(work.t))
        if work.steps == 0 or not abs(end - work.t - flows.interval) <= rounding:
            exponentiate(flows, end - work.t)
        advance(work, flows)
        work.steps = work.steps + 1
        work.explicit_steps = work.explicit_steps + 1
        copy(work.y, work.new, n)
        copy(work.s, work.s_new, n * p)
        work.t = end
        total = 0.0
        for k in range(n):
            total = total + abs(work.y[k])
        for k in range(n * p):
            total = total + 0.0 * work.s[k]
        if not total <= work.size_limit:
            work.code = BLOW_UP
            return
        tolerance.remember(work)
    # an observation within rounding of a stop sees the state before it
    reach = end + same_time(work, end)
    while work.written < work.time_count and work.times[work.written] <= reach:
        output.write_row(work, work.written, work.times[work.written], work.y, work.s)
        work.written = work.written + 1
    if work.code == RUNNING and work.written >= work.time_count:
        work.code = SUCCESS
    if work.code == RUNNING and stop <= reach:
        jumps.cross_stops(work)


@native
def advance(work: Work, flows: Flows) -> None:
    """State and sensitivities an interval later: `new`, `s_new`."""
    n = work.n
    p = work.p
    m = flows.m
    values = flows.exponential
    slopes = values[m * m :]
    fill(work.s_new, 0.0, n * p)
    for i in range(n):
        total = values[i * m + n] if m > n else 0.0
        target = work.s_new[i * p :]
        for k in range(n):
            value = values[i * m + k]
            total = total + value * work.y[k]
            for c in range(p):
                target[c] = target[c] + value * work.s[k * p + c]
        work.new[i] = total
        for k in range(m):
            amount = work.y[k] if k < n else 1.0
            entry = slopes[(i * m + k) * flows.width :]
            for c in range(flows.directions):
                target[c] = target[c] + amount * entry[c]


@native
def exponentiate(flows: Flows, h: float) -> None:
    """exp(h M) and its derivatives, into `exponential`."""
    m = flows.m
    width = flows.width
    size = m * m * (1 + width)
    part = h
    squares = 0
    while part * flows.largest > SUMMED:
        part = 0.5 * part
        squares = squares + 1
    scaled = flows.scaled
    for k in range(size):
        scaled[k] = part * flows.matrix[k]
    for i in range(m):
        scaled[i * m + i] = part * (flows.matrix[i * m + i] + flows.outflow)
    multiply(flows.square, scaled, scaled, m, width)
    multiply(flows.cube, flows.square, scaled, m, width)
    # the series by powers of the cube (Paterson & Stockmeyer 1973, doi:10.1137/0202007)
    found = flows.exponential
    spare = flows.other
    for k in range(size):
        found[k] = SERIES[12] * flows.cube[k]
    add_powers(flows, found, 9)
    for back in range(3):
        multiply(spare, found, flows.cube, m, width)
        add_powers(flows, spare, 6 - 3 * back)
        found = spare
        spare = flows.exponential if back % 2 == 0 else flows.other
    shrunk = exp(-part * flows.outflow)
    for k in range(size):
        found[k] = shrunk * found[k]
    for _ in range(squares):
        multiply(spare, found, found, m, width)
        kept = found
        found = spare
        spare = kept
    flows.exponential = found
    flows.other = spare
    flows.interval = h


@native(inline=True)
def add_powers(flows: Flows, target: Vector, first: int) -> None:
    """Adds the terms of degrees `first` to `first` + 2 of the series, divided by the cube to the power `first` / 3."""
    m = flows.m
    one = SERIES[first + 1]
    two = SERIES[first + 2]
    for k in range(m * m * (1 + flows.width)):
        target[k] = target[k] + one * flows.scaled[k] + two * flows.square[k]
    for i in range(m):
        target[i * m + i] = target[i * m + i] + SERIES[first]


@native
def multiply(target: Vector, first: Vector, second: Vector, m: int, width: int) -> None:
    """The product of two matrices and its derivatives."""
    first_slopes = first[m * m :]
    second_slopes = second[m * m :]
    slopes = target[m * m :]
    fill(slopes, 0.0, m * m * width)
    for i in range(m):
        for j in range(m):
            total = 0.0
            entry = slopes[(i * m + j) * width :]
            for k in range(m):
                left = first[i * m + k]
                right = second[k * m + j]
                total = total + left * right
                add_both(
                    entry, left, second_slopes[(k * m + j) * width :], right, first_slopes[(i * m + k) * width :], width
                )
            target[i * m + j] = total


@native(inline=True, noalias=("target",))
def add_both(target: Vector, left: float, first: Vector, right: float, second: Vector, width: int) -> None:
    """target += left * first + right * second, by whole vector registers."""
    for block in range(width // REGISTER):
        place = REGISTER * block
        for c in range(REGISTER):
            value = target[place + c] + left * first[place + c]
            target[place + c] = value + right * second[place + c]
