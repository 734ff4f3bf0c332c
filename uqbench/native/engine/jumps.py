"""What happens where a trajectory is not smooth: at stops, whose times are known (`stops`), and at `crossings`.

At a jump at the time tau(theta) from y- to y+ = c(tau, y-), with the right-hand side f- before and f+ after it, the
sensitivities go from S- to

    S+ = c_y S- + c_theta + (c_t + c_y f- - f+) tau',

and a crossing g(tau, y) = 0 moves with tau' = -(g_y S- + g_theta) / (g_t + g_y f-) (Rozenvasser 1967; Barton and Lee
2002, doi:10.1145/643120.643122).
"""

from ..language import Vector, copy, fill, native
from .codes import ENDLESS_EVENTS, NOT_DIFFERENTIABLE
from .crossings import crosses, moment, probe_point, refresh_roots, watched
from .evaluation import at, inside_step, rate_at, same_time
from .records import Work
from .sparse import add_scaled
from .stops import next_stop
from .tape import CROSSING, START, note_after, note_dose, note_jump, note_shift
from .tolerance import NEVER

# Events within rounding of one time, after which they count as endless, and as sliding along a condition.
ENDLESS, SLIDING = 24, 12
# Part of the time within which one event after the other counts as one instant.
INSTANT = 1e-9


@native
def jump(work: Work, before: Vector, after: Vector, with_dots: int) -> None:
    """S += (f- - f+) tau' of a jump that leaves the sensitivities otherwise as they are."""
    if with_dots == 0:
        return
    p = work.p
    for i in range(work.n):
        change = before[i] - after[i]
        if change != 0.0:
            add_scaled(work.s[i * p :], change, work.tau_dot, p)


@native
def cross_stops(work: Work) -> None:
    """All stops within rounding of the next one: doses in the order of their times, then what only switches."""
    n = work.n
    p = work.p
    first = work.stop_next
    low = next_stop(work)
    high = low
    last = first
    while last < work.stop_count and work.stop_times[work.stop_order[last]] <= high + same_time(work, high):
        high = work.stop_times[work.stop_order[last]]
        last = last + 1
    before_time = low - same_time(work, low)
    after_time = high + same_time(work, high)
    f_minus = work.change
    f_plus = work.f
    if work.differentiates == 1:
        rate_at(work, before_time, work.y, f_minus)
    # those with dose_amounts
    for position in range(first, last):
        stop = work.stop_order[position]
        dose = work.stop_doses[stop]
        if dose >= 0:
            add_scaled(work.y, 1.0, work.dose_amounts[dose * n :], n)
            note_dose(work, dose)
            if work.differentiates == 1:
                add_scaled(work.s, 1.0, work.dose_dots[dose * n * p :], n * p)
                copy(work.tau_dot, work.stop_dots[stop * p :], p)
                rate_at(work, before_time, work.y, f_plus)
                jump(work, f_minus, f_plus, 1)
                note_shift(work, stop, f_minus, f_plus)
                copy(f_minus, f_plus, n)
    work.t = high
    work.least_time = after_time
    work.cap = 1e308
    work.stop_next = last
    if work.model.events > 0:
        fire_what_jumped(work, work.stop_order[first])
    fill(work.root_marks, 0.0, work.model.events + work.model.conditions)
    after_jump(work)
    if work.differentiates == 1:
        # what switches there: the jump belongs to the last of the stops without a dose, or to the last of all
        chosen = work.stop_order[last - 1]
        for position in range(first, last):
            stop = work.stop_order[position]
            if work.stop_doses[stop] < 0 and (work.stop_doses[chosen] >= 0 or stop > chosen):
                chosen = stop
        copy(work.tau_dot, work.stop_dots[chosen * p :], p)
        rate_at(work, after_time, work.y, f_plus)
        jump(work, f_minus, f_plus, 1)
        note_shift(work, chosen, f_minus, f_plus)


@native
def fire_what_jumped(work: Work, stop: int) -> None:
    """Events whose root a dose has carried across zero happen at the time of the dose."""
    model = work.model
    p = work.p
    at(work, inside_step(work, work.t), work.y)
    model.roots(work.x, work.root_values, work.scratch)
    rates = work.f
    for j in range(model.events):
        if crosses(work, j, work.root_values[j]) == 1:
            rate_at(work, inside_step(work, work.t), work.y, rates)
            if work.differentiates == 1:
                copy(work.tau_dot, work.stop_dots[stop * p :], p)
                # from the rate before, with which the sensitivities have come here
                jump(work, work.change, rates, 1)
                note_shift(work, stop, work.change, rates)
            fire_now(work, j, stop, rates)
            copy(work.change, rates, work.n)


@native
def fire_now(work: Work, j: int, stop: int, rates: Vector) -> None:
    """Event `j` happens, its time moving with a stop or the start; `rates` are those before it, then those after it."""
    p = work.p
    note_jump(work, j, stop, rates)
    fire(work, j, rates)
    if work.differentiates == 1:
        rate_at(work, inside_step(work, work.t), work.y, rates)
        for i in range(work.n):
            add_scaled(work.s[i * p :], -rates[i], work.tau_dot, p)
        note_after(work, rates)


@native
def after_jump(work: Work) -> None:
    """What holds anew after states or rates have jumped: conditions, signs of the roots, the step."""
    work.fresh = 0
    work.rejections = 0
    work.stretch_steps = 0
    work.log_error = -9.2
    for k in range(work.n):
        work.scale[k] = max(work.scale[k], abs(work.y[k]))
        work.zero_since[k] = work.t if work.y[k] == 0.0 else NEVER
    if work.model.events + work.model.conditions > 0:
        refresh_roots(work)


@native
def cross_at_start(work: Work) -> None:
    """Events of a given direction whose root starts at zero and leaves it in that direction."""
    model = work.model
    copy(work.tau_dot, work.start_dots, work.p)
    at(work, work.t, work.y)
    model.roots(work.x, work.root_values, work.scratch)
    fired = 0
    for j in range(model.events):
        direction = float(model.event_directions[j])
        if work.root_values[j] == 0.0 and direction * work.root_signs[j] > 0.0:
            rate_at(work, inside_step(work, work.t), work.y, work.f)
            fire_now(work, j, START, work.f)
            fired = 1
    if fired == 1:
        after_jump(work)


@native
def crossing_slopes(work: Work, j: int, rates: Vector) -> int:
    """tau' of the crossing of root `j` at the present point; 0 where the crossing is not transversal."""
    model = work.model
    n = work.n
    p = work.p
    directions = model.directions
    total = model.events + model.conditions
    at(work, work.t, work.y)
    model.roots_variation(work.x, work.buffer, work.scratch)
    along = work.buffer[j]
    size = abs(along)
    fill(work.tau_dot, 0.0, p)
    for e in range(model.roots_count):
        if model.roots_rows[e] == j:
            value = work.buffer[total + e]
            column = model.roots_columns[e]
            if column < n:
                along = along + value * rates[column]
                size = size + abs(value * rates[column])
                add_scaled(work.tau_dot, value, work.s[column * p :], p)
            elif column >= n + directions:
                add_scaled(work.tau_dot, value, work.past_d[(column - n - directions) * p :], p)
            else:
                work.tau_dot[column - n] = work.tau_dot[column - n] + value
    if not abs(along) > 1e-9 * size:
        return 0
    for c in range(p):
        work.tau_dot[c] = -work.tau_dot[c] / along
    return 1


@native
def fire(work: Work, j: int, rates: Vector) -> None:
    """The change that event `j` makes, with its sensitivities up to - f+ tau'; `rates` are f-."""
    model = work.model
    n = work.n
    p = work.p
    at(work, work.t, work.y)
    model.change(work.x, work.kernel_out, work.scratch)
    if p > 0:
        values = work.buffer
        model.change_variation(work.x, values, work.scratch)
        # the event's own rows come first in `s_point`
        target = work.s_point
        fill(target, 0.0, n * p)
        along = work.point
        fill(along, 0.0, n)
        for i in range(n):
            along[i] = values[j * n + i]
        for e in range(model.change_count):
            row = model.change_rows[e] - j * n
            if row >= 0 and row < n:
                value = values[model.events * n + e]
                column = model.change_columns[e]
                if column < n:
                    add_scaled(target[row * p :], value, work.s[column * p :], p)
                    along[row] = along[row] + value * rates[column]
                else:
                    target[row * p + column - n] = target[row * p + column - n] + value
        for i in range(n):
            add_scaled(target[i * p :], along[i], work.tau_dot, p)
        copy(work.s, target, n * p)
    copy(work.y, work.kernel_out[j * n :], n)


@native
def cross_roots(work: Work) -> None:
    """Everything that crosses at the present time and state: events in their order, then conditions."""
    model = work.model
    n = work.n
    p = work.p
    total = model.events + model.conditions
    modes = work.x[1 + n + model.parameters :]
    delta = moment(work)
    rates = work.change
    rate_at(work, inside_step(work, work.t), work.y, rates)
    at(work, work.t, work.y)
    model.roots(work.x, work.root_before, work.scratch)
    probe_point(work, delta, rates, work.point)
    at(work, work.t + delta, work.point)
    model.roots(work.x, work.root_values, work.scratch)
    for j in range(total):
        work.root_marks[j] = float(watched(work, j) * crosses(work, j, work.root_values[j]))
    if work.chosen >= 0:
        work.root_marks[work.chosen] = 1.0
    if work.t - work.fired_time <= INSTANT * max(abs(work.t), abs(work.start)) + same_time(work, work.t):
        work.fired_count = work.fired_count + 1
    else:
        work.fired_count = 0
    work.fired_time = work.t
    flips = 0
    for j in range(total):
        if work.root_marks[j] > 0.5:
            if work.differentiates == 1 and crossing_slopes(work, j, rates) == 0:
                work.code = NOT_DIFFERENTIABLE
            note_jump(work, j, CROSSING, rates)
            if j < model.events:
                fire(work, j, rates)
            else:
                flips = 1
                modes[j - model.events] = 1.0 - modes[j - model.events]
                if p > 0:
                    add_rates(work, rates)
            if work.differentiates == 1:
                # - f+ tau', and f+ is f- of whatever else happens here
                rate_at(work, inside_step(work, work.t), work.y, rates)
                for i in range(n):
                    add_scaled(work.s[i * p :], -rates[i], work.tau_dot, p)
                note_after(work, rates)
    if work.fired_count > SLIDING and flips == 1 and work.live == 0:
        # the states slide along the surface of a condition: it is decided at each evaluation from here on
        work.live = 1
        if work.differentiates == 1:
            work.code = NOT_DIFFERENTIABLE
    if work.fired_count > ENDLESS:
        work.code = ENDLESS_EVENTS
    # what stops within rounding of it lies ahead: no look back across the event
    work.least_time = max(work.least_time, work.t)
    after_jump(work)
    fill(work.root_marks, 0.0, total)


@native
def add_rates(work: Work, rates: Vector) -> None:
    """S += f- tau', the part of a jump before it."""
    for i in range(work.n):
        add_scaled(work.s[i * work.p :], rates[i], work.tau_dot, work.p)
