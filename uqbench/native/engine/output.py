"""What a solve writes: outputs, and their sensitivities, at the times that a step has passed."""

from ..language import Vector, copy, fill, is_null, native
from .codes import NOT_DIFFERENTIABLE
from .evaluation import at, finite, same_time
from .records import Work
from .sparse import add_products
from .steps import sensitivities_inside, state_inside
from .tape import check_output_slopes


@native
def take_asked(work: Work, index: int, source: Vector) -> None:
    """The columns of `source (outputs, p)` that were asked for become row `index` of the sensitivities."""
    asked = work.model.directions
    target = work.s_rows[index * work.outputs * asked :]
    for k in range(work.outputs):
        copy(target[k * asked :], source[k * work.p :], asked)


@native
def write_row(work: Work, index: int, time: float, y: Vector, s: Vector) -> None:
    """Outputs at one time from the state `(n,)` and the sensitivities `(n, p)`."""
    model = work.model
    n = work.n
    p = work.p
    o = work.outputs
    row = work.rows[index * o :]
    if not is_null(work.state_rows):
        copy(work.state_rows[index * n :], y, n)
    if model.observes == 0:
        copy(row, y, n)
        if p > 0:
            take_asked(work, index, s)
        return
    at(work, time, y)
    model.observe(work.x, row, work.scratch)
    if p == 0:
        check_output_slopes(work)
    else:
        target = work.s_row
        fill(target, 0.0, o * p)
        entries = work.buffer
        model.observe_variation(work.x, entries, work.scratch)
        count = model.observe_count
        columns = model.observe_columns
        z = work.past_d
        add_products(target, entries, model.observe_rows, columns, count, n, s, p, z, model.directions)
        take_asked(work, index, target)
        if finite(target, o * p) == 0:
            work.code = NOT_DIFFERENTIABLE


@native
def reads_inside(work: Work, end: float) -> int:
    """1 where an output time lies inside the step to `end`."""
    if work.written < work.time_count and work.times[work.written] < end - same_time(work, end):
        return 1
    return 0


@native
def write_until(work: Work, end: float) -> None:
    """The rows of the times up to `end` that the step just taken holds; a time beyond it by rounding is its end."""
    while work.written < work.time_count:
        time = work.times[work.written]
        if time > end:
            return
        theta = (time - work.t) / work.h
        if theta > 1.0 - 1e-14:
            theta = 1.0
        state_inside(work, theta, work.point)
        if work.p > 0:
            sensitivities_inside(work, theta, work.s_point)
        write_row(work, work.written, time, work.point, work.s_point)
        work.written = work.written + 1


@native
def write_start(work: Work) -> None:
    """The rows of the times up to the start, where the states are those of `initial`."""
    while work.written < work.time_count:
        time = work.times[work.written]
        if time > work.start + same_time(work, work.start):
            return
        write_row(work, work.written, time, work.y, work.s)
        work.written = work.written + 1
