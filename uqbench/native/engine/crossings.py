"""Crossings of zero, found on the way: roots of events and of conditions on states."""

from ..language import Vector, copy, fill, native
from .evaluation import at, finite, inside_step, same_time
from .records import Work
from .sparse import add_scaled
from .steps import attempt, state_inside

# Fractions of a step at which crossings are looked for.
PROBES = 4
# Points in a step at which the speed of the roots in time is looked at.
SPEEDS = 7
REFINEMENTS = 6
EPSILON = 2.220446049250313e-16


@native
def probe_point(work: Work, delta: float, rates: Vector, out: Vector) -> None:
    """The state a moment `delta` ahead."""
    copy(out, work.y, work.n)
    add_scaled(out, delta, rates, work.n)


@native
def moment(work: Work) -> float:
    """How far ahead one has to look to tell on which side of zero a root that is zero now will be."""
    return 64.0 * EPSILON * abs(work.t) + 1e-10 * abs(work.h) + 4.0 * same_time(work, work.t)


@native
def refresh_roots(work: Work) -> None:
    """Modes and signs for what comes next; of a root that is zero now, or was just crossed, a moment ahead decides."""
    model = work.model
    n = work.n
    total = model.events + model.conditions
    modes = work.x[1 + n + model.parameters :]
    at(work, inside_step(work, work.t), work.y)
    if model.conditions > 0:
        model.modes(work.x, work.kernel_out, work.scratch)
        for j in range(model.conditions):
            if work.root_marks[model.events + j] < 0.5:
                modes[j] = work.kernel_out[j]
    model.roots(work.x, work.root_values, work.scratch)
    model.rate(work.x, work.f, work.scratch)
    delta = moment(work)
    probe_point(work, delta, work.f, work.point)
    at(work, inside_step(work, work.t) + delta, work.point)
    model.roots(work.x, work.root_new, work.scratch)
    if model.conditions > 0:
        model.modes(work.x, work.kernel_out, work.scratch)
    for j in range(total):
        chosen = work.root_values[j]
        # a change may have moved the root itself to one side
        moved = j < model.events and chosen != work.root_before[j]
        if chosen == 0.0 or (work.root_marks[j] > 0.5 and not moved):
            chosen = work.root_new[j]
            if j >= model.events:
                modes[j - model.events] = work.kernel_out[j - model.events]
        sign = 0.0
        if chosen > 0.0:
            sign = 1.0
        elif chosen < 0.0:
            sign = -1.0
        work.root_signs[j] = sign


@native
def watched(work: Work, j: int) -> int:
    """1 where a crossing of root `j` means something."""
    if j < work.model.events:
        return 1
    return 1 - work.live


@native
def crosses(work: Work, j: int, value: float) -> int:
    """1 where the root, now at `value`, has crossed zero in a direction that counts."""
    sign = work.root_signs[j]
    if value * sign >= 0.0 or sign == 0.0:
        return 0
    if j >= work.model.events:
        return 1
    direction = work.model.event_directions[j]
    if direction == 0:
        return 1
    return 1 if float(direction) * value > 0.0 else 0


@native
def limit_by_roots(work: Work, h: float) -> float:
    """A step in which roots that depend on time by themselves do not cross twice unseen: they move by their size.

    Where everything rests, no error tells that a condition on sin(t) has changed twice meanwhile.
    """
    model = work.model
    total = model.events + model.conditions
    delta = 1e-6 * h + 64.0 * EPSILON * abs(work.t)
    fill(work.root_marks, 0.0, total)
    fill(work.root_before, 0.0, total)
    for i in range(SPEEDS):
        # no regular grid, that a period could hide in
        time = work.t + h * (float(i) + 0.37 * float((i * i) % 5) / 4.0) / SPEEDS
        at(work, time, work.y)
        model.roots(work.x, work.root_values, work.scratch)
        at(work, time + delta, work.y)
        model.roots(work.x, work.root_new, work.scratch)
        for j in range(total):
            work.root_marks[j] = max(work.root_marks[j], abs(work.root_values[j]))
            work.root_before[j] = max(work.root_before[j], abs(work.root_new[j] - work.root_values[j]) / delta)
    limit = h
    for j in range(total):
        # what moves evenly crosses once: its size grows with the step
        if work.root_before[j] * h > 4.0 * work.root_marks[j]:
            limit = min(limit, 1.5 * work.root_marks[j] / work.root_before[j])
    fill(work.root_marks, 0.0, total)
    return max(limit, 1e-3 * h)


@native
def root_inside(work: Work, j: int, theta: float) -> float:
    state_inside(work, theta, work.point)
    at(work, work.t + theta * work.h, work.point)
    work.model.roots(work.x, work.root_new, work.scratch)
    return work.root_new[j]


@native
def first_crossing(work: Work) -> float:
    """Fraction of the step at which the first root crosses, 2 where none does; forgets crossings that do not count."""
    total = work.model.events + work.model.conditions
    for probe in range(1, PROBES + 1):
        theta = float(probe) / PROBES
        state_inside(work, theta, work.point)
        at(work, work.t + theta * work.h, work.point)
        work.model.roots(work.x, work.root_values, work.scratch)
        found = 2.0
        for j in range(total):
            if watched(work, j) == 1 and crosses(work, j, work.root_values[j]) == 1:
                found = min(found, locate(work, j, float(probe - 1) / PROBES, theta))
        if found < 2.0:
            return found
        for j in range(total):
            value = work.root_values[j]
            if value != 0.0:
                work.root_signs[j] = 1.0 if value > 0.0 else -1.0
    return 2.0


@native
def locate(work: Work, j: int, low: float, high: float) -> float:
    """The crossing between two fractions of the step, on the interpolant, by bisection and secants (Illinois)."""
    sign = work.root_signs[j]
    g_low = root_inside(work, j, low) * sign
    g_high = root_inside(work, j, high) * sign
    if g_low <= 0.0:
        g_low = 1e-300
    for trial in range(60):
        theta = high - g_high * (high - low) / (g_high - g_low)
        if not (theta > low and theta < high) or trial % 4 == 3:
            theta = 0.5 * (low + high)
        value = root_inside(work, j, theta) * sign
        if value > 0.0:
            low = theta
            g_low = value
            g_high = 0.5 * g_high
        else:
            high = theta
            g_high = value
            g_low = 0.5 * g_low
        if high - low <= 1e-14 or value == 0.0:
            return high
    return high


@native
def land(work: Work, theta: float) -> int:
    """Takes the step again so that it ends at the crossing, which is made exact by secants; 0 where a step fails."""
    model = work.model
    full = work.h
    total = model.events + model.conditions
    chosen = -1
    # the root that is nearest to zero there, of those that cross
    state_inside(work, theta, work.point)
    at(work, work.t + theta * full, work.point)
    model.roots(work.x, work.root_new, work.scratch)
    state_inside(work, min(1.0, theta * (1.0 + 1e-6) + 1e-9), work.point)
    at(work, work.t + min(1.0, theta * (1.0 + 1e-6) + 1e-9) * full, work.point)
    model.roots(work.x, work.root_values, work.scratch)
    best = 1e308
    for j in range(total):
        if watched(work, j) == 1 and work.root_signs[j] != 0.0:
            slope = abs(work.root_values[j] - work.root_new[j])
            distance = abs(work.root_new[j]) / (slope + 1e-300)
            beyond = work.root_values[j] * work.root_signs[j] <= 0.0
            if beyond and crosses(work, j, work.root_values[j]) == 1 and distance < best:
                best = distance
                chosen = j
    length = theta * full
    work.chosen = chosen
    if chosen < 0:
        chosen = 0
        best = -1.0
    slope = (work.root_values[chosen] - work.root_new[chosen]) / (full * (theta * 1e-6 + 1e-9))
    for _ in range(REFINEMENTS):
        work.h = length
        attempt(work, length)
        if finite(work.new, work.n) == 0:
            return 0
        at(work, work.t + length, work.new)
        model.roots(work.x, work.root_new, work.scratch)
        if best < 0.0 or slope == 0.0:
            return 1
        correction = -work.root_new[chosen] / slope
        if abs(correction) <= 2.0 * EPSILON * abs(work.t + length) or abs(correction) > 0.1 * length + 1e-9 * full:
            return 1
        length = length + correction
        if not length > 0.0:
            work.h = 4.0 * EPSILON * abs(work.t)
            return 1
    return 1
