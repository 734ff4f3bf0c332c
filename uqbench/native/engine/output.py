"""What a solve writes: outputs, and their sensitivities, at the times that a step has passed."""

from ..language import Vector, copy, fill, native
from .codes import NOT_DIFFERENTIABLE
from .evaluation import at, finite
from .records import Work
from .sparse import add_products
from .steps import sensitivities_inside, state_inside
from .tape import check_output_slopes


@native
def write_row(work: Work, index: int, time: float, y: Vector, s: Vector) -> None:
    """Outputs at one time from the state `(n,)` and the sensitivities `(n, p)`."""
    model = work.model
    n = work.n
    p = work.p
    o = work.outputs
    row = work.rows[index * o :]
    if model.observes == 0:
        copy(row, y, n)
        if p > 0:
            copy(work.s_rows[index * n * p :], s, n * p)
        return
    at(work, time, y)
    model.observe(work.x, row, work.scratch)
    if p == 0:
        check_output_slopes(work)
    else:
        target = work.s_rows[index * o * p :]
        fill(target, 0.0, o * p)
        model.observe_variation(work.x, work.buffer, work.scratch)
        add_products(
            target, work.buffer, model.observe_rows, model.observe_columns, model.observe_count, n, s, p, work.past_d
        )
        if finite(target, o * p) == 0:
            work.code = NOT_DIFFERENTIABLE


@native
def reads_inside(work: Work, end: float) -> int:
    """1 where an output time lies inside the step to `end`."""
    if work.written < work.time_count and work.times[work.written] < end - work.time_tolerance:
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
        if time > work.start + work.time_tolerance:
            return
        write_row(work, work.written, time, work.y, work.s)
        work.written = work.written + 1
