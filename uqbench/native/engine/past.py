"""States at earlier times: the record of accepted steps, and what of it the right-hand side sees.

For every delay the kernels read two inputs, the delayed state z(t) = y(t - delay) and its rate z'(t), which implicit
methods need beside df/dt. Each accepted step leaves the polynomial of its interpolant. Before the start the history
counts. With the delay a function of the parameters,

    dz/dtheta = S(t - delay) - y'(t - delay) delay',

and the same for z' with one derivative in time more (Bellen and Zennaro 2003, chapter 4,
doi:10.1093/acprof:oso/9780198506546.001.0001). What is not smooth at one time is not smooth one delay later, one order
higher: these times are stops.
"""

from ..language import (
    Vector,
    allocate,
    allocate_record,
    copy,
    fill,
    is_null,
    isfinite,
    native,
    release,
)
from . import rodas5p_tableau, tsit5_tableau
from .codes import STEP_LIMIT
from .records import Past, Work

# Sums of so many delays after a jump are stops: then it is beyond the order of the methods.
ORDERS, ORDERS_OF_FEW, FEW = 6, 3, 2
MOST_SUMS = 4
COEFFICIENTS = 5
RODAS, TSITOURAS = rodas5p_tableau.DENSE, tsit5_tableau.DENSE
TSITOURAS_STAGES, RODAS_STAGES = 7, 8


@native
def prepare(work: Work) -> int:
    """Delays and room for the record; 0 where a delay is not positive or the history before it is no number."""
    model = work.model
    n = work.n
    p = work.p
    d = model.delays
    past = allocate_record(Past)
    work.past = past
    past.width = 2 + COEFFICIENTS * d * (1 + p)
    past.present = allocate(n)
    past.lengths = allocate(
        d * (1 + p) + n * (1 + p) + 2 * d * (1 + p) + 3 * d + model.history_count + model.delay_count
    )
    past.lengths_d = past.lengths[d:]
    past.initial = past.lengths[d * (1 + p) :]
    past.initial_d = past.initial[n:]
    past.values = past.initial_d[n * p :]
    work.past_d = past.values[2 * d :]
    past.buffer = work.past_d[2 * d * p :]
    copy(past.initial, work.y, n)
    if p > 0:
        copy(past.initial_d, work.s, n * p)
    model.delay_times(work.x, past.lengths, work.scratch)
    if p > 0:
        model.delay_variation(work.x, past.buffer, work.scratch)
        for k in range(model.delay_count):
            place = model.delay_rows[k] * p + model.delay_columns[k] - n
            past.lengths_d[place] = past.buffer[k]
    for e in range(d):
        if not (isfinite(past.lengths[e]) and past.lengths[e] > 0.0):
            return 0
        work.max_step = min(work.max_step, past.lengths[e])
    look_back(work, work.start)
    for e in range(d):
        if not isfinite(past.values[e]):
            return 0
    return 1


@native
def forget(work: Work) -> None:
    """Gives the memory back."""
    if not is_null(work.past):
        release(work.past.present)
        release(work.past.lengths)
        release(work.past.record)
        release(work.past)


@native
def note(work: Work) -> None:
    """Takes up the step that has just been accepted, before anything has moved on."""
    past = work.past
    d = work.model.delays
    p = work.p
    if past.used == past.capacity:
        capacity = 2 * past.capacity + 64
        longer = allocate(capacity * past.width)
        if is_null(longer):
            work.code = STEP_LIMIT
            return
        copy(longer, past.record, past.used * past.width)
        release(past.record)
        past.record = longer
        past.capacity = capacity
    out = past.record[past.used * past.width :]
    out[0] = work.t
    out[1] = work.h
    for e in range(d):
        state = work.model.delayed_states[e]
        polynomial(work, work.y, work.new, work.stages, work.n, state, out[2 + COEFFICIENTS * e :])
        for c in range(p):
            polynomial(
                work,
                work.s,
                work.s_new,
                work.s_stages,
                work.n * p,
                state * p + c,
                out[2 + COEFFICIENTS * (d + e * p + c) :],
            )
    past.used = past.used + 1


@native
def polynomial(work: Work, before: Vector, after: Vector, stages: Vector, size: int, k: int, out: Vector) -> None:
    """Coefficients of the interpolant of entry `k` in the fraction of the step (`tsit5.inside`, `rodas5p.inside`)."""
    fill(out, 0.0, COEFFICIENTS)
    out[0] = before[k]
    if work.step_implicit == 1:
        k1 = 0.0
        k2 = 0.0
        k3 = 0.0
        for i in range(RODAS_STAGES):
            value = stages[i * size + k]
            k1 = k1 + RODAS[0][i] * value
            k2 = k2 + RODAS[1][i] * value
            k3 = k3 + RODAS[2][i] * value
        out[1] = after[k] - before[k] + k1
        out[2] = k2 - k1
        out[3] = k3 - k2
        out[4] = -k3
        return
    for i in range(TSITOURAS_STAGES):
        value = work.h * stages[i * size + k]
        out[1] = out[1] + TSITOURAS[0][i] * value
        out[2] = out[2] + TSITOURAS[1][i] * value
        out[3] = out[3] + TSITOURAS[2][i] * value
        out[4] = out[4] + TSITOURAS[3][i] * value


@native
def step_of(past: Past, t: float) -> int:
    """Number of the last step that does not begin after `t`."""
    low = 0
    high = past.used
    while high - low > 1:
        middle = (low + high) // 2
        if past.record[middle * past.width] <= t:
            low = middle
        else:
            high = middle
    return low


@native
def look_back(work: Work, t: float) -> None:
    """Delayed states and their rates at the time `t` into `x`, their sensitivities `(2 d, p)` into `past_d`."""
    past = work.past
    model = work.model
    d = model.delays
    p = work.p
    copy(past.present, work.x[1:], work.n)
    for e in range(d):
        at = t - past.lengths[e]
        if at < work.start or past.used == 0:
            from_history(work, e, at)
        else:
            step = past.record[step_of(past, at) * past.width :]
            theta = (at - step[0]) / step[1]
            row = step[2 + COEFFICIENTS * e :]
            rate = slope(row, theta) / step[1]
            bend = second(row, theta) / (step[1] * step[1])
            past.values[e] = height(row, theta)
            past.values[d + e] = rate
            for c in range(p):
                row = step[2 + COEFFICIENTS * (d + e * p + c) :]
                shift = past.lengths_d[e * p + c]
                work.past_d[e * p + c] = height(row, theta) - rate * shift
                work.past_d[(d + e) * p + c] = slope(row, theta) / step[1] - bend * shift
    copy(work.x[1 + work.n + model.parameters - 2 * d :], past.values, 2 * d)
    copy(work.x[1:], past.present, work.n)


@native(inline=True)
def height(c: Vector, theta: float) -> float:
    return c[0] + theta * (c[1] + theta * (c[2] + theta * (c[3] + theta * c[4])))


@native(inline=True)
def slope(c: Vector, theta: float) -> float:
    return c[1] + theta * (2.0 * c[2] + theta * (3.0 * c[3] + theta * 4.0 * c[4]))


@native(inline=True)
def second(c: Vector, theta: float) -> float:
    return 2.0 * c[2] + theta * (6.0 * c[3] + theta * 12.0 * c[4])


@native
def from_history(work: Work, e: int, at: float) -> None:
    """Delay `e` where it reaches back before the start; uses the row `x` for it."""
    past = work.past
    model = work.model
    n = work.n
    p = work.p
    d = model.delays
    work.x[0] = at
    copy(work.x[1:], past.initial, n)
    model.history(work.x, past.buffer, work.scratch)
    past.values[e] = past.buffer[e]
    past.values[d + e] = past.buffer[d + e]
    if p == 0:
        return
    # first the rates in time of both, then the rest
    model.history_variation(work.x, past.buffer, work.scratch)
    for order in range(2):
        row = order * d + e
        target = work.past_d[row * p :]
        for c in range(p):
            target[c] = -past.buffer[row] * past.lengths_d[e * p + c]
        for k in range(model.history_count):
            if model.history_rows[k] == row:
                value = past.buffer[2 * d + k]
                column = model.history_columns[k]
                if column < n:
                    for c in range(p):
                        target[c] = target[c] + value * past.initial_d[column * p + c]
                else:
                    target[column - n] = target[column - n] + value


@native
def orders_of(d: int) -> int:
    """The most delays in one sum."""
    if d > MOST_SUMS:
        return 1
    return ORDERS if d <= FEW else ORDERS_OF_FEW


@native
def sums(d: int) -> int:
    """How many numbers the sums of delays have: each is the row of how often each delay is in it, as digits."""
    if d > MOST_SUMS:
        return d
    count = 1
    for _ in range(d):
        count = count * (orders_of(d) + 1)
    return count


@native
def times_in(d: int, number: int, e: int) -> int:
    """How often delay `e` is in sum number `number`."""
    if d > MOST_SUMS:
        return 1 if e == number else 0
    for _ in range(e):
        number = number // (orders_of(d) + 1)
    return number % (orders_of(d) + 1)


@native
def add_stops(work: Work, count: int) -> int:
    """Adds the times that are sums of delays after the start and after the first `count` stops; how many.

    Of stops at one time the last that is added counts as the one that moves: rates jump one delay after a dose, or
    after a start that does not continue the history, while sums of several delays are smoother.
    """
    added = 0
    for rank in range(3):
        for number in range(sums(work.model.delays)):
            for k in range(-1, count):
                # 0: several delays; 1: one delay after the start or a switch; 2: one delay after a dose
                wanted = 1
                if k >= 0 and work.stop_doses[k] >= 0:
                    wanted = 2
                if rank == 0 or rank == wanted:
                    added = added + add_stop(work, number, k, count + added, rank)
    return added


@native
def add_stop(work: Work, number: int, k: int, place: int, rank: int) -> int:
    """Adds sum number `number` of delays after stop `k`, the start if that is -1; 0 where it is none of this rank."""
    past = work.past
    d = work.model.delays
    p = work.p
    total = 0
    later = 0.0
    for e in range(d):
        count = times_in(d, number, e)
        total = total + count
        later = later + float(count) * past.lengths[e]
    if total == 0 or total > orders_of(d) or (rank == 0) == (total == 1):
        return 0
    time = work.start + later
    if k >= 0:
        time = work.stop_times[k] + later
    if not (time > work.start and time < work.end):
        return 0
    work.stop_times[place] = time
    work.stop_doses[place] = -1
    if p > 0:
        dots = work.stop_dots[place * p :]
        if k >= 0:
            copy(dots, work.stop_dots[k * p :], p)
        else:
            copy(dots, work.tau_dot, p)
        for e in range(d):
            for c in range(p):
                dots[c] = dots[c] + float(times_in(d, number, e)) * past.lengths_d[e * p + c]
    return 1
