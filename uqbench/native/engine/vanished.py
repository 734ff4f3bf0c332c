"""States that have all but vanished, and whether they come back by themselves: that multiplies the error they had."""

from ..language import copy, fill, isfinite, log, native
from .codes import UNDETERMINED
from .evaluation import inside_step, linearise_at, rate_at
from .records import Work

# A state this small, as a part of its largest value so far, has a relative error of 1e-5 from the floor of its
# tolerance; by what factor it has to grow to count as back, and what part of it has to come from others then.
UNRESOLVED_SHARE, REGROWTH, FED = 1e-15, 1e3, 0.1
# Of a state that has not vanished.
LARGEST = 1e300
# Steps between looks at what was put to zero, and steps in which its growth shows.
LOOKS, GROWING = 4, 40
# So many of them are looked at as one matrix, by so many squarings of it.
MOST_LOST, SQUARINGS = 12, 30
# Part of the whole time that is a long step.
LONG = 1.0 / 64.0


@native
def would_grow(work: Work) -> bool:
    """Whether states that were put to zero, and are there still, would grow by themselves if they had been left.

    Growth of a direction among them under the Jacobian, by steps of Euler's method.
    """
    model = work.model
    n = work.n
    lost = 0
    for k in range(n):
        if work.troughs[k] == 0.0 and work.y[k] == 0.0:
            lost = lost + 1
    if lost == 0:
        return False
    linearise_at(work, inside_step(work, work.t), work.y)
    fastest = 0.0
    for e in range(model.jacobian_count):
        k = model.jacobian_rows[e]
        if k == model.jacobian_columns[e] and work.troughs[k] == 0.0 and isfinite(work.jacobian[e]):
            fastest = max(fastest, abs(work.jacobian[e]))
    if not fastest > 0.0:
        return False
    vector = work.point
    product = work.kernel_out
    for k in range(n):
        vector[k] = 1.0 if work.troughs[k] == 0.0 and work.y[k] == 0.0 else 0.0
    growth = 0.0
    for _ in range(GROWING):
        fill(product, 0.0, n)
        for e in range(model.jacobian_count):
            row = model.jacobian_rows[e]
            product[row] = product[row] + work.jacobian[e] * vector[model.jacobian_columns[e]]
        before = 0.0
        after = 0.0
        for k in range(n):
            if work.troughs[k] == 0.0 and work.y[k] == 0.0:
                before = max(before, abs(vector[k]))
                vector[k] = vector[k] + 0.5 / fastest * product[k]
                after = max(after, abs(vector[k]))
        if not (after > 0.0 and isfinite(after)):
            return False
        growth = after / before
        for k in range(n):
            vector[k] = vector[k] / after
    if growth > 1.0 + 1e-9 and lost <= MOST_LOST:
        return grows_at_last(work, fastest)
    return growth > 1.0 + 1e-9


@native
def grows_at_last(work: Work, fastest: float) -> bool:
    """Whether `would_grow` is right about what it has seen: one may have fed another for a while, and both decay.

    The matrix 1 + J / (2 `fastest`) of what was put to zero, squared until it stands for 2^30 steps of Euler's method.
    """
    model = work.model
    matrix = work.growth_space
    square = matrix[MOST_LOST * MOST_LOST :]
    place = work.point
    count = 0
    for k in range(work.n):
        place[k] = -1.0
        if work.troughs[k] == 0.0 and work.y[k] == 0.0:
            place[k] = float(count)
            count = count + 1
    fill(matrix, 0.0, count * count)
    for k in range(count):
        matrix[k * count + k] = 1.0
    for e in range(model.jacobian_count):
        row = int(place[model.jacobian_rows[e]])
        column = int(place[model.jacobian_columns[e]])
        if row >= 0 and column >= 0:
            at = row * count + column
            matrix[at] = matrix[at] + 0.5 / fastest * work.jacobian[e]
    # logarithm of the matrix' size, and of that before the last squaring
    size = 0.0
    before = 0.0
    for _ in range(SQUARINGS):
        largest = 0.0
        for row in range(count):
            for column in range(count):
                total = 0.0
                for k in range(count):
                    total = total + matrix[row * count + k] * matrix[k * count + column]
                square[row * count + column] = total
                largest = max(largest, abs(total))
        if not (largest > 0.0 and isfinite(largest)):
            return False
        for k in range(count * count):
            matrix[k] = square[k] / largest
        before = size
        size = 2.0 * size + log(largest)
    return size - before > 0.5


@native
def forget(work: Work) -> None:
    """After doses: what they have raised did not come back by itself. An event may multiply what is there."""
    for k in range(work.n):
        if abs(work.y[k]) > UNRESOLVED_SHARE * work.scale[k]:
            work.troughs[k] = LARGEST


@native(inline=True)
def is_long(work: Work, h: float) -> bool:
    """Whether so few steps of this length make a solve that each of them is looked at."""
    return h > LONG * (work.end - work.start)


@native
def watch(work: Work, h: float, at_end: bool) -> None:
    """Notes states that grow again, by themselves, from below what their tolerance resolves.

    What is fed by others has forgotten the error it had there; an epidemic or a colony multiplies it.
    """
    if work.floor == 0.0:
        # there is no tolerance below which anything could be, but the least of all numbers
        for k in range(work.n):
            if work.y[k] == 0.0 and work.scale[k] > 0.0 and work.atol[k] == 0.0:
                work.troughs[k] = 0.0
    if (work.steps % LOOKS == 0 or is_long(work, h) or at_end) and would_grow(work):
        if work.floor == 0.0:
            work.code = UNDETERMINED
        work.regrown = 1
    if work.floor == 0.0:
        return
    grown = 0
    for k in range(work.n):
        if work.atol[k] != 0.0:
            continue
        size = abs(work.y[k])
        if size < UNRESOLVED_SHARE * work.scale[k]:
            work.troughs[k] = min(work.troughs[k], size)
        if size > REGROWTH * work.troughs[k] and size > UNRESOLVED_SHARE * work.scale[k]:
            grown = 1
    if grown == 0:
        return
    # the rates without all that has been that small
    rates = work.buffer
    state = work.point
    copy(state, work.y, work.n)
    for k in range(work.n):
        if work.troughs[k] < LARGEST:
            state[k] = 0.0
    rate_at(work, inside_step(work, work.t), state, rates)
    for k in range(work.n):
        if work.troughs[k] < LARGEST and abs(work.y[k]) > REGROWTH * work.troughs[k]:
            passed = work.t - work.restart_time
            if not abs(rates[k]) * passed > FED * abs(work.y[k]):
                work.regrown = 1
            work.troughs[k] = LARGEST
