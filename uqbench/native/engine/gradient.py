"""The gradient of a call by the adjoint of a solve that has been recorded."""

from ..language import Vector, allocate, allocate_indices, allocate_record, copy, fill, isfinite, native, release
from . import adjoint
from .adjoint import COLUMNS, Adjoint
from .codes import NOT_DIFFERENTIABLE
from .given import Given
from .memory import take
from .records import Work


@native
def pull_back(work: Work, given: Given) -> None:
    """The adjoint of a solve that has just been recorded, into `cotangents`."""
    n = work.n
    p = work.model.directions
    tape = work.tape
    if tape.failed == 1:
        work.code = NOT_DIFFERENTIABLE
        return
    bars = allocate_record(Adjoint)
    pool = allocate(COLUMNS * (n * (5 + adjoint.STAGES) + p + work.stop_count) + p + 128)
    used = allocate_indices(1)
    out = given.cotangents
    bars.p = p
    bars.rows = given.rows_bar
    bars.directions = out
    bars.initial = out[COLUMNS * p :]
    bars.start = out[COLUMNS * (p + n) :]
    bars.dose_amounts = out[COLUMNS * (p + n + 1 + given.stop_count) :]
    bars.stops = take(pool, used, COLUMNS * work.stop_count)
    bars.state = take(pool, used, COLUMNS * n)
    bars.before = take(pool, used, COLUMNS * n)
    bars.after = take(pool, used, COLUMNS * n)
    bars.argument = take(pool, used, COLUMNS * max(n, 1))
    bars.other = take(pool, used, COLUMNS * n)
    bars.stages = take(pool, used, COLUMNS * adjoint.STAGES * n)
    bars.added = take(pool, used, COLUMNS * p)
    bars.sizes = take(pool, used, p)
    fill(out, 0.0, COLUMNS * (p + n + 1 + given.stop_count * (1 + n)))
    adjoint.go_back(work, bars, given.initial)
    copy(out[COLUMNS * (p + n + 1) :], bars.stops, COLUMNS * given.stop_count)
    goal = min(adjoint.AIM * pow(given.accuracy, adjoint.POWER), adjoint.TRUSTED)
    given.distrust = adjoint.distrust(work, bars, given.initial, given.accuracy, goal)
    given.worst_distrust = adjoint.distrust(work, bars, given.initial, given.accuracy, adjoint.TRUSTED)
    if given.has_few == 1:
        wrong = start_difference(work, given, out)
        given.distrust = max(given.distrust, wrong / goal)
        given.worst_distrust = max(given.worst_distrust, wrong / adjoint.TRUSTED)
    given.worst_distrust = max(given.worst_distrust, adjoint.ill_posed(work, bars, given.accuracy))
    release(pool)
    release(used)
    release(bars)


@native
def start_difference(work: Work, given: Given, pairs: Vector) -> float:
    """Largest relative difference of the two gradients in what comes from initial state, start, stops and dose_amounts.

    Each direction by itself, relative to the sizes of what it is summed from: a parameter may be zero, and so may the
    state that it moves.
    """
    n = work.n
    p = work.model.directions
    few = given.few
    stops = given.stop_count
    initial = pairs[COLUMNS * p :]
    start = initial[COLUMNS * n :]
    at_stops = start[COLUMNS:]
    dose_amounts = at_stops[COLUMNS * stops :]
    worst = 0.0
    for c in range(few):
        place = COLUMNS * int(given.places[c])
        first = 0.0
        second = 0.0
        size = abs(pairs[place])
        for k in range(n):
            slope = given.initial_few[k * few + c]
            first = first + slope * initial[COLUMNS * k]
            second = second + slope * initial[COLUMNS * k + 1]
            size = size + abs(slope * initial[COLUMNS * k])
        slope = given.start_few[c]
        first = first + slope * start[0]
        second = second + slope * start[1]
        size = size + abs(slope * start[0])
        for k in range(stops):
            slope = given.stops_few[k * few + c]
            first = first + slope * at_stops[COLUMNS * k]
            second = second + slope * at_stops[COLUMNS * k + 1]
            size = size + abs(slope * at_stops[COLUMNS * k])
        for k in range(stops * n):
            slope = given.dose_amounts_few[k * few + c]
            first = first + slope * dose_amounts[COLUMNS * k]
            second = second + slope * dose_amounts[COLUMNS * k + 1]
            size = size + abs(slope * dose_amounts[COLUMNS * k])
        if size > 0.0:
            ratio = abs(first - second) / size
            worst = max(worst, ratio if isfinite(ratio) else adjoint.UNKNOWN)
    return worst
