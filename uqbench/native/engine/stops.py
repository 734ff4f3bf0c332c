"""Times at which something happens, known before the solve: doses, switches, and conditions on time alone."""

from ..language import Indices, ceil, fill, floor, isfinite, native
from .records import Work

# Switch times that one periodic condition may have.
MOST_PERIODS = 100000


@native
def gather_switches(work: Work, count_only: int, offset: int) -> int:
    """Adds the times at which conditions on time switch, from the model's own comparisons, to the stops."""
    model = work.model
    p = work.p
    pairs = work.kernel_out
    model.switch_times(work.x, pairs, work.scratch)
    if p > 0 and count_only == 0:
        model.switch_variation(work.x, work.buffer, work.scratch)
    count = 0
    for j in range(model.switches):
        first = pairs[2 * j]
        period = pairs[2 * j + 1]
        repeats = 1
        k0 = 0.0
        if period > 0.0 and isfinite(first):
            k0 = ceil((work.start - first) / period)
            repeats = min(MOST_PERIODS, int(max(0.0, floor((work.end - first) / period) - k0 + 1.0)))
        if not isfinite(first):
            repeats = 0
        for r in range(repeats):
            k = k0 + float(r)
            time = first + k * period
            if time > work.start and time < work.end:
                if count_only == 0:
                    index = offset + count
                    work.stop_times[index] = time
                    work.stop_doses[index] = -1
                    dots = work.stop_dots[index * p :]
                    fill(dots, 0.0, p)
                    if p > 0:
                        for e in range(model.switch_count):
                            if model.switch_rows[e] == 2 * j:
                                dots[model.switch_columns[e]] = dots[model.switch_columns[e]] + work.buffer[e]
                            if model.switch_rows[e] == 2 * j + 1:
                                dots[model.switch_columns[e]] = dots[model.switch_columns[e]] + k * work.buffer[e]
                count += 1
    return count


@native
def sort_stops(work: Work) -> None:
    """Order of the stops by time; those that move states come before those that do not at equal times."""
    count = work.stop_count
    order: Indices = work.stop_order
    gap = 1
    while gap < count:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, count):
            item = order[i]
            j = i
            while j >= gap and comes_before(work, item, order[j - gap]) == 1:
                order[j] = order[j - gap]
                j = j - gap
            order[j] = item
        gap = gap // 3


@native(inline=True)
def comes_before(work: Work, a: int, b: int) -> int:
    first = work.stop_times[a]
    second = work.stop_times[b]
    if first < second:
        return 1
    if first > second:
        return 0
    return 1 if a < b else 0


@native
def next_stop(work: Work) -> float:
    """Time of the next stop, infinite where there is none."""
    if work.stop_next >= work.stop_count:
        return 1e308
    return work.stop_times[work.stop_order[work.stop_next]]
