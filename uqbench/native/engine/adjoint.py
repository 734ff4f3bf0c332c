"""Reverse mode: the derivative of the discrete solution, found by going back over the steps and jumps of a solve.

With the cotangent l of the state after a step y+ = F(y, q), that of the state before is F_y^T l, and q receives
F_q^T l (Sandu 2006, doi:10.1007/11758549_10). The maps are the transposes of those by which `rodas5p`, `tsit5`,
`output` and `jumps` move sensitivities, so both modes have the same derivative where they take the same steps; what a
step costs depends on the number of directions through the kernels only.

The steps are those of the states' error control, which does not look at sensitivities. Whether they are resolved too
is seen from a second cotangent, carried beside the first, of the method of order 4 that is embedded in each step: it
shares all kernels and factors, and the difference of the two gradients is an estimate of their error. Every cotangent
is thus a row of two: order 5, order 4.
"""

from ..language import Record, Vector, copy, fill, isfinite, native
from . import rodas5p, tsit5
from .evaluation import at, finite, inside_step, sign_of_ends
from .global_error import UNRESOLVED
from .records import Work
from .sparse import add_scaled, add_transposed, substitute_transposed
from .steps import attempt, state_inside
from .tape import CROSSING, KICK, SHIFT, START, STEP, STEP_HEAD

COLUMNS = 2
STAGES = 8
# Difference of the two gradients, relative to the largest entry: what is aimed at, AIM rtol^POWER (the error of order 4
# of steps that are controlled at order 5; at a kink the difference is a thirtieth of the error), and up to where a
# gradient is given at all.
AIM, POWER, TRUSTED = 0.5, 0.8, 1e-3
UNKNOWN = 1e300
TINY = 1e-290


class Adjoint(Record):
    """Cotangents, rows of two; `p` directions."""

    p: int
    # (times, outputs), given
    rows: Vector
    # found: (p,), (n,), (1,), (stops,), (stops, n)
    directions: Vector
    initial: Vector
    start: Vector
    stops: Vector
    dose_amounts: Vector
    # (n,) of the present state; (n,) before the step, of its end, of one argument, of another state; (8, n) of stages
    state: Vector
    before: Vector
    after: Vector
    argument: Vector
    other: Vector
    stages: Vector
    # (p,) what the present step adds, and the sum of its sizes over all steps, not in pairs
    added: Vector
    sizes: Vector
    # sum of the sizes of outputs * cotangents: what a gradient by logarithms is measured against where it vanishes
    outputs: float


@native(inline=True)
def add_pair(target: Vector, factor: float, source: Vector, count: int) -> None:
    """target += factor * source for `count` rows of two."""
    add_scaled(target, factor, source, COLUMNS * count)


@native
def take_row_back(work: Work, adjoint: Adjoint, index: int, y: Vector, target: Vector) -> None:
    """The cotangents of one row of outputs go to those of the state `y (n,)`, in `target`, and of the directions."""
    model = work.model
    n = work.n
    o = work.outputs
    given = adjoint.rows[index * o :]
    fill(target, 0.0, COLUMNS * n)
    if model.observes == 0:
        for i in range(n):
            target[COLUMNS * i] = given[i]
            target[COLUMNS * i + 1] = given[i]
        return
    if model.observe_count == 0:
        return
    at(work, work.times[index], y)
    values = work.buffer
    model.observe_variation(work.x, values, work.scratch)
    for e in range(model.observe_count):
        product = given[model.observe_rows[e]] * values[e]
        column = model.observe_columns[e]
        # an output that nobody asks about may have an infinite slope
        if given[model.observe_rows[e]] != 0.0:
            place = target[COLUMNS * column :]
            if column >= n:
                place = adjoint.added[COLUMNS * (column - n) :]
            place[0] = place[0] + product
            place[1] = place[1] + product


@native
def take_rows_back(work: Work, adjoint: Adjoint, first: int, last: int, h: float) -> None:
    """The rows that were written in a step of length `h`, through its interpolant."""
    n = work.n
    found = adjoint.other
    for index in range(first, last):
        theta = (work.times[index] - work.t) / h
        if theta > 1.0 - 1e-14:
            theta = 1.0
        state_inside(work, theta, work.point)
        take_row_back(work, adjoint, index, work.point, found)
        if theta >= 1.0:
            add_pair(adjoint.after, 1.0, found, n)
        elif work.step_implicit == 1:
            rest = 1.0 - theta
            add_pair(adjoint.before, rest, found, n)
            add_pair(adjoint.after, theta, found, n)
            for i in range(STAGES):
                weight = rodas5p.DENSE[0][i] + theta * (rodas5p.DENSE[1][i] + theta * rodas5p.DENSE[2][i])
                add_pair(adjoint.stages[COLUMNS * i * n :], theta * rest * weight, found, n)
        else:
            add_pair(adjoint.before, 1.0, found, n)
            for i in range(tsit5.STAGES):
                weight = tsit5.DENSE[2][i] + theta * tsit5.DENSE[3][i]
                weight = tsit5.DENSE[0][i] + theta * (tsit5.DENSE[1][i] + theta * weight)
                add_pair(adjoint.stages[COLUMNS * i * n :], h * theta * weight, found, n)


@native
def take_slopes_back(work: Work, adjoint: Adjoint, t: float, y: Vector, v: Vector) -> None:
    """`argument` += J^T v and the directions receive f_q^T v, at one evaluation of the right-hand side."""
    model = work.model
    n = work.n
    j = model.jacobian_count
    if j + model.forcing_count == 0:
        return
    at(work, inside_step(work, t), y)
    values = work.buffer
    model.variation(work.x, values, work.scratch)
    if finite(values, j + model.forcing_count) == 0:
        # a stage may leave the domain of a power or logarithm that the states never leave
        work.keep_sign = 1
        sign_of_ends(work)
        work.keep_sign = 0
        model.variation(work.x, values, work.scratch)
    rows = model.jacobian_rows
    add_transposed(adjoint.argument, adjoint.added, values, rows, model.jacobian_columns, j, n, v, COLUMNS)
    add_transposed(
        adjoint.argument,
        adjoint.added,
        values[j:],
        model.forcing_rows,
        model.forcing_columns,
        model.forcing_count,
        n,
        v,
        COLUMNS,
    )


@native
def take_implicit_back(work: Work, adjoint: Adjoint, h: float) -> None:
    """A step of Rodas5P: `after` and `stages` go to `before`."""
    model = work.model
    n = work.n
    uy = 1 + n + model.parameters + model.conditions
    last = adjoint.stages[COLUMNS * 7 * n :]
    for k in range(n):
        # the embedded method ends at the argument of the last stage
        last[COLUMNS * k] = last[COLUMNS * k] + adjoint.after[COLUMNS * k]
    for back in range(STAGES):
        i = STAGES - 1 - back
        v = adjoint.stages[COLUMNS * i * n :]
        substitute_transposed(model, work.factors, v, COLUMNS)
        fill(adjoint.argument, 0.0, COLUMNS * n)
        if i == STAGES - 1:
            copy(adjoint.argument, adjoint.after, COLUMNS * n)
        take_slopes_back(work, adjoint, work.t + rodas5p.ALPHA[i] * h, work.arguments[i * n :], v)
        add_pair(adjoint.before, 1.0, adjoint.argument, n)
        if model.curvature_count > 0:
            at(work, inside_step(work, work.t), work.y)
            copy(work.x[uy:], work.stages[i * n :], n)
            work.x[uy + n] = h * rodas5p.GAMMA_SUMS[i]
            model.curvature(work.x, work.buffer, work.scratch)
            for e in range(model.curvature_count):
                # of x^1.5 at zero, as in `rodas5p.step_sensitivities`
                if not isfinite(work.buffer[e]):
                    work.buffer[e] = 0.0
            add_transposed(
                adjoint.before,
                adjoint.added,
                work.buffer,
                model.curvature_rows,
                model.curvature_columns,
                model.curvature_count,
                n,
                v,
                COLUMNS,
            )
        for j in range(i):
            target = adjoint.stages[COLUMNS * j * n :]
            add_pair(target, rodas5p.C[i][j] / h, v, n)
            if rodas5p.A[i][j] != 0.0:
                add_pair(target, rodas5p.A[i][j], adjoint.argument, n)


@native
def take_explicit_back(work: Work, adjoint: Adjoint, h: float) -> None:
    """A step of Tsitouras' pair: `after` and `stages` go to `before`."""
    n = work.n
    for i in range(tsit5.STAGES):
        stage = adjoint.stages[COLUMNS * i * n :]
        for k in range(n):
            change = h * tsit5.ERROR[i] * adjoint.after[COLUMNS * k + 1]
            stage[COLUMNS * k + 1] = stage[COLUMNS * k + 1] - change
    for back in range(tsit5.STAGES):
        i = tsit5.STAGES - 1 - back
        v = adjoint.stages[COLUMNS * i * n :]
        fill(adjoint.argument, 0.0, COLUMNS * n)
        if i == tsit5.STAGES - 1:
            copy(adjoint.argument, adjoint.after, COLUMNS * n)
        take_slopes_back(work, adjoint, work.t + tsit5.NODES[i] * h, work.arguments[i * n :], v)
        add_pair(adjoint.before, 1.0, adjoint.argument, n)
        for j in range(i):
            if tsit5.A[i][j] != 0.0:
                add_pair(adjoint.stages[COLUMNS * j * n :], h * tsit5.A[i][j], adjoint.argument, n)


@native
def take_step_back(work: Work, adjoint: Adjoint, entry: Vector, rows_end: int) -> int:
    """A step and the rows in it; returns the first of them."""
    n = work.n
    h = entry[1]
    first = int(entry[6])
    work.t = entry[0]
    work.h = h
    work.implicit = int(entry[2])
    work.least_time = entry[3]
    work.cap = entry[4]
    work.live = int(entry[5])
    copy(work.y, entry[STEP_HEAD:], n)
    copy(work.x[1 + n + work.model.parameters :], entry[STEP_HEAD + 2 * n :], work.model.conditions)
    work.fresh = 0
    attempt(work, h)
    copy(work.new, entry[STEP_HEAD + n :], n)
    fill(adjoint.before, 0.0, COLUMNS * n)
    fill(adjoint.stages, 0.0, COLUMNS * STAGES * n)
    copy(adjoint.after, adjoint.state, COLUMNS * n)
    take_rows_back(work, adjoint, first, rows_end, h)
    if work.step_implicit == 1:
        take_implicit_back(work, adjoint, h)
    else:
        take_explicit_back(work, adjoint, h)
    copy(adjoint.state, adjoint.before, COLUMNS * n)
    return first


@native
def take_shift_back(work: Work, adjoint: Adjoint, entry: Vector) -> None:
    """S += d tau'."""
    stop = int(entry[0])
    target = adjoint.start
    if stop != START:
        target = adjoint.stops[COLUMNS * stop :]
    for i in range(work.n):
        add_pair(target, entry[1 + i], adjoint.state[COLUMNS * i :], 1)


@native
def take_jump_back(work: Work, adjoint: Adjoint, entry: Vector) -> None:
    """An event or the flip of a condition: S+ = c_y S- + c_q + (c_t + c_y f- - f+) tau'."""
    model = work.model
    n = work.n
    j = int(entry[0])
    stop = int(entry[1])
    rates = entry[3 + n :]
    rates_after = entry[3 + 2 * n :]
    copy(work.x[1 + n + model.parameters :], entry[3 + 3 * n :], model.conditions)
    work.live = 0
    at(work, entry[2], entry[3:])
    values = work.buffer
    along = work.point
    found = adjoint.other
    moved = adjoint.argument
    fill(moved, 0.0, COLUMNS)
    if j < model.events:
        model.change_variation(work.x, values, work.scratch)
        copy(along, values[j * n :], n)
        fill(found, 0.0, COLUMNS * n)
        for e in range(model.change_count):
            row = model.change_rows[e] - j * n
            if row >= 0 and row < n:
                value = values[model.events * n + e]
                column = model.change_columns[e]
                if column < n:
                    along[row] = along[row] + value * rates[column]
                    add_pair(found[COLUMNS * column :], value, adjoint.state[COLUMNS * row :], 1)
                else:
                    add_pair(adjoint.added[COLUMNS * (column - n) :], value, adjoint.state[COLUMNS * row :], 1)
    else:
        copy(along, rates, n)
        copy(found, adjoint.state, COLUMNS * n)
    for i in range(n):
        add_pair(moved, along[i] - rates_after[i], adjoint.state[COLUMNS * i :], 1)
    copy(adjoint.state, found, COLUMNS * n)
    if stop >= 0:
        add_pair(adjoint.stops[COLUMNS * stop :], 1.0, moved, 1)
    elif stop == START:
        add_pair(adjoint.start, 1.0, moved, 1)
    elif stop == CROSSING:
        # tau' = -(g_y S- + g_q) / (g_t + g_y f-)
        total = model.events + model.conditions
        model.roots_variation(work.x, values, work.scratch)
        slope = values[j]
        for e in range(model.roots_count):
            if model.roots_rows[e] == j and model.roots_columns[e] < n:
                slope = slope + values[total + e] * rates[model.roots_columns[e]]
        for e in range(model.roots_count):
            if model.roots_rows[e] == j:
                factor = -values[total + e] / slope
                column = model.roots_columns[e]
                if column < n:
                    add_pair(adjoint.state[COLUMNS * column :], factor, moved, 1)
                else:
                    add_pair(adjoint.added[COLUMNS * (column - n) :], factor, moved, 1)


@native
def collect(adjoint: Adjoint) -> None:
    """What one entry has added goes to the directions; the sizes by which their error is judged grow."""
    for c in range(adjoint.p):
        adjoint.sizes[c] = adjoint.sizes[c] + abs(adjoint.added[COLUMNS * c])
    add_pair(adjoint.directions, 1.0, adjoint.added, adjoint.p)
    fill(adjoint.added, 0.0, COLUMNS * adjoint.p)


@native
def go_back(work: Work, adjoint: Adjoint, initial: Vector) -> None:
    """From the end of the tape to the start of the solve, whose state is `initial (n,)`."""
    tape = work.tape
    n = work.n
    c = work.model.conditions
    m = adjoint.p
    end = tape.used
    rows_end = work.written
    for k in range(work.time_count * work.outputs):
        adjoint.outputs = adjoint.outputs + abs(work.rows[k] * adjoint.rows[k])
    while end > 0:
        kind = int(tape.values[end - 1])
        if kind == STEP:
            end = end - (STEP_HEAD + 2 * n + c + 1)
            rows_end = take_step_back(work, adjoint, tape.values[end:], rows_end)
            collect(adjoint)
        elif kind == SHIFT:
            end = end - (n + 2)
            take_shift_back(work, adjoint, tape.values[end:])
        elif kind == KICK:
            end = end - 2
            add_pair(adjoint.dose_amounts[COLUMNS * n * int(tape.values[end]) :], 1.0, adjoint.state, n)
        else:
            end = end - (3 + 3 * n + c + 1)
            take_jump_back(work, adjoint, tape.values[end:])
            collect(adjoint)
    for index in range(rows_end):
        take_row_back(work, adjoint, index, initial, adjoint.other)
        add_pair(adjoint.state, 1.0, adjoint.other, n)
    collect(adjoint)
    copy(adjoint.initial, adjoint.state, COLUMNS * n)
    # switches of the right-hand side at times that the engine has found: their derivatives are in `stop_dots`
    for stop in range(work.given_stops, work.stop_count):
        for k in range(m):
            add_pair(
                adjoint.directions[COLUMNS * k :], work.stop_dots[stop * m + k], adjoint.stops[COLUMNS * stop :], 1
            )


@native
def distrust(work: Work, adjoint: Adjoint, initial: Vector, accuracy: float, goal: float) -> float:
    """Difference of the two gradients in units of what it may be; `goal` is that relative to the largest entry.

    An entry is the derivative by the logarithm of its parameter, so that no unit is preferred. It is compared with the
    largest of the sums of the sizes of what the steps have added, since a gradient may be zero (a fit at its optimum),
    and with what the relative `accuracy` leaves of the outputs, since all of it may be (the sum of what is conserved).
    """
    largest = 0.0
    worst = 0.0
    for c in range(adjoint.p):
        value = abs(work.x[1 + work.n + work.model.direction_parameters[c]])
        weight = value if value > 1e-300 else 1.0
        pair = adjoint.directions[COLUMNS * c :]
        if not isfinite(pair[0]) or not isfinite(pair[1]):
            return UNKNOWN
        largest = max(largest, weight * adjoint.sizes[c])
        worst = max(worst, weight * abs(pair[0] - pair[1]))
    allowed = goal * largest + accuracy * adjoint.outputs + TINY
    ratio = worst / allowed
    allowed = goal * max(largest, adjoint.outputs) + TINY
    for k in range(work.n):
        pair = adjoint.initial[COLUMNS * k :]
        if not isfinite(pair[0]) or not isfinite(pair[1]):
            return UNKNOWN
        ratio = max(ratio, abs(initial[k]) * abs(pair[0] - pair[1]) / allowed)
    return ratio if isfinite(ratio) else UNKNOWN


@native
def ill_posed(work: Work, adjoint: Adjoint, accuracy: float) -> float:
    """1 where the relative `accuracy`, taken as a change of a parameter, moves the outputs beyond their own size.

    As in `global_error.compare`; an output has the size of its largest value.
    """
    width = work.outputs
    allowed = 0.0
    for k in range(width):
        largest = 0.0
        asked = 0.0
        for index in range(work.time_count):
            largest = max(largest, abs(work.rows[index * width + k]))
            asked = max(asked, abs(adjoint.rows[index * width + k]))
        allowed = allowed + largest * asked
    moved = 0.0
    for c in range(adjoint.p):
        moved = max(moved, abs(work.x[1 + work.n + work.model.direction_parameters[c]]) * adjoint.sizes[c])
    if allowed == 0.0:
        # outputs at rest at zero have no size
        return 0.0
    return accuracy * moved / (UNRESOLVED * allowed)
