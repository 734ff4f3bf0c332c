"""The record of a solve from which its adjoint goes back: accepted steps and jumps, in the order of their times.

An entry is a row of numbers that ends with its kind, so that the tape is read from its end. A step is kept as what it
began with (its stages are found again by taking it again), a jump as what its linear map on the sensitivities is made
of. A solve without a tape pays one comparison for each of them.
"""

from ..language import Vector, allocate, copy, is_null, native, release
from . import rodas5p, tsit5
from .codes import NOT_DIFFERENTIABLE
from .evaluation import at, finite, inside_step, sign_of_ends
from .records import Tape, Work

STEP, SHIFT, KICK, JUMP = 1, 2, 3, 4
# What a jump's time depends on, where it is not that of a stop: the start, the crossing itself, nothing.
START, CROSSING = -1, -2
# Numbers of a step before its state: t, h, implicit, least_time, cap, live, first row.
STEP_HEAD = 7


@native
def room(tape: Tape, count: int) -> int:
    """1 where the tape takes `count` more numbers, having grown if need be."""
    if tape.failed == 1:
        return 0
    if tape.used + count <= tape.capacity:
        return 1
    capacity = max(2 * tape.capacity, tape.used + count)
    values = allocate(capacity)
    if is_null(values):
        tape.failed = 1
        return 0
    if tape.used > 0:
        copy(values, tape.values, tape.used)
        release(tape.values)
    tape.values = values
    tape.capacity = capacity
    return 1


@native
def check_slopes(work: Work) -> None:
    """A solve that an adjoint will follow ends where slopes of the right-hand side are no numbers (x^.8 at 0).

    All stages are looked at: the adjoint goes through them. `calls.solve_checked` then asks the sensitivities. The
    adjoint does not know delays either.
    """
    model = work.model
    n = work.n
    count = model.jacobian_count + model.forcing_count
    if work.differentiates == 0 or work.p > 0 or count == 0:
        return
    if model.delays > 0:
        work.code = NOT_DIFFERENTIABLE
        return
    stages = rodas5p.STAGES if work.step_implicit == 1 else tsit5.STAGES
    for i in range(stages):
        node = rodas5p.ALPHA[i] if work.step_implicit == 1 else tsit5.NODES[min(i, tsit5.STAGES - 1)]
        at(work, inside_step(work, work.t + node * work.h), work.arguments[i * n :])
        model.variation(work.x, work.buffer, work.scratch)
        if finite(work.buffer, count) == 0:
            # as the adjoint treats them
            work.keep_sign = 1
            sign_of_ends(work)
            work.keep_sign = 0
            model.variation(work.x, work.buffer, work.scratch)
            if finite(work.buffer, count) == 0:
                work.code = NOT_DIFFERENTIABLE
                return


@native
def check_change_slopes(work: Work) -> None:
    """The same of what an event does, at the state before it."""
    model = work.model
    if work.differentiates == 0 or work.p > 0 or model.events == 0:
        return
    at(work, work.t, work.y)
    model.change_variation(work.x, work.buffer, work.scratch)
    if finite(work.buffer, model.events * work.n + model.change_count) == 0:
        work.code = NOT_DIFFERENTIABLE


@native
def check_output_slopes(work: Work) -> None:
    """The same of the outputs, at the point where they have just been found."""
    model = work.model
    if work.differentiates == 0 or model.observe_count == 0 or not is_null(work.tape):
        return
    model.observe_variation(work.x, work.buffer, work.scratch)
    if finite(work.buffer, model.observe_count) == 0:
        work.code = NOT_DIFFERENTIABLE


@native
def note_step(work: Work, h: float) -> None:
    """A step that is accepted, before anything has moved on."""
    tape = work.tape
    if is_null(tape):
        check_slopes(work)
        return
    n = work.n
    c = work.model.conditions
    size = STEP_HEAD + 2 * n + c + 1
    if room(tape, size) == 0:
        return
    out = tape.values[tape.used :]
    out[0] = work.t
    out[1] = h
    out[2] = float(work.step_implicit)
    out[3] = work.least_time
    out[4] = work.cap
    out[5] = float(work.live)
    out[6] = float(work.written)
    copy(out[STEP_HEAD:], work.y, n)
    # signs may have been set right since the stages
    copy(out[STEP_HEAD + n :], work.new, n)
    copy(out[STEP_HEAD + 2 * n :], work.x[1 + n + work.model.parameters :], c)
    out[size - 1] = float(STEP)
    tape.used = tape.used + size
    tape.longest = max(tape.longest, h)


@native
def note_start(work: Work, rates: Vector) -> None:
    """A start that moves: S -= f start'."""
    tape = work.tape
    if is_null(tape) or room(tape, work.n + 2) == 0:
        return
    out = tape.values[tape.used :]
    out[0] = float(START)
    for i in range(work.n):
        out[1 + i] = -rates[i]
    out[work.n + 1] = float(SHIFT)
    tape.used = tape.used + work.n + 2


@native
def note_shift(work: Work, stop: int, before: Vector, after: Vector) -> None:
    """S += (f- - f+) tau' at a stop."""
    tape = work.tape
    if is_null(tape) or room(tape, work.n + 2) == 0:
        return
    out = tape.values[tape.used :]
    out[0] = float(stop)
    for i in range(work.n):
        out[1 + i] = before[i] - after[i]
    out[work.n + 1] = float(SHIFT)
    tape.used = tape.used + work.n + 2


@native
def note_dose(work: Work, dose: int) -> None:
    """The dose of that number is added to the state."""
    tape = work.tape
    if is_null(tape) or room(tape, 2) == 0:
        return
    tape.values[tape.used] = float(dose)
    tape.values[tape.used + 1] = float(KICK)
    tape.used = tape.used + 2


@native
def note_jump(work: Work, j: int, stop: int, rates: Vector) -> None:
    """Root `j` crosses, at a stop or by itself: what is known before; `note_after` completes it."""
    tape = work.tape
    n = work.n
    c = work.model.conditions
    size = 3 + 3 * n + c + 1
    if is_null(tape):
        if j < work.model.events:
            check_change_slopes(work)
        return
    if room(tape, size) == 0:
        return
    out = tape.values[tape.used :]
    out[0] = float(j)
    out[1] = float(stop)
    out[2] = work.t
    copy(out[3:], work.y, n)
    copy(out[3 + n :], rates, n)
    copy(out[3 + 3 * n :], work.x[1 + n + work.model.parameters :], c)
    out[size - 1] = float(JUMP)
    tape.used = tape.used + size


@native
def note_after(work: Work, rates: Vector) -> None:
    """The rates after the jump that was noted last."""
    tape = work.tape
    if is_null(tape):
        return
    if tape.failed == 0:
        copy(tape.values[tape.used - 1 - work.model.conditions - work.n :], rates, work.n)
