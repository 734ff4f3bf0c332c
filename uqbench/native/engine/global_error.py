"""How much of the sensitivities is error by now: what the steps have left, carried along by the linearised dynamics.

A step bounds the error that it makes, not what becomes of it. A relaxation oscillation multiplies all small changes by
1e8 in each jump and divides them by as much after it; an error of 1e-8 made in between is then as large as the
sensitivity itself. So the local errors of all columns go, in one sum, into a last column of the sensitivities, which
the variational equations carry on like the others (linear propagation of local errors, Skeel 1986,
doi:10.1137/0907003): one column more, whatever their number.
"""

from ..language import native
from .records import Work

# Global error, relative to the largest sensitivity of a state, above which sensitivities are not resolved; the estimate
# is that of the embedded method, 20 to 150 times what is found.
UNRESOLVED = 2e-3
# A state counts with this share where nothing moves it.
INSENSITIVE = 1e-6
TINY = 1e-290


@native(inline=True)
def weight(work: Work, c: int) -> float:
    """|parameter| of direction `c`, so that all columns are in units of their state; what is zero has no unit."""
    return 1.0 / work.s_floor[c] if work.s_floor[c] > 0.0 else 0.0


@native
def add_local_errors(work: Work) -> None:
    """The errors of the step that was just taken go to the last column of `s_new`."""
    asked = work.model.directions
    for i in range(work.n):
        place = i * work.p
        total = work.s_new[place + asked]
        for c in range(asked):
            # in a fixed pattern of signs, so that what is shared by all columns does not cancel in their differences
            sign = 1.0 if (c * c + c // 2) % 3 == 0 else -1.0
            total = total + sign * weight(work, c) * work.s_error[place + c]
        work.s_new[place + asked] = total


@native
def compare(work: Work) -> None:
    """At an output: the largest global error so far, relative to the largest sensitivity of its state at outputs.

    Where the relative tolerance, taken as a change of a parameter, moves a state beyond its own size (chaos), neither
    state nor sensitivity is determined by the problem as it is posed.
    """
    asked = work.model.directions
    for i in range(work.n):
        s = work.s_new[i * work.p :]
        largest = 0.0
        for c in range(asked):
            largest = max(largest, weight(work, c) * abs(s[c]))
        work.s_sizes[i] = max(work.s_sizes[i], largest)
        size = max(work.scale[i], abs(work.new[i]))
        allowed = work.s_sizes[i] + INSENSITIVE * size + TINY
        work.global_error = max(work.global_error, abs(s[asked]) / allowed)
        # what rests at zero because its rates cancel has the size that they would have given it
        size = size + work.noise[i] * abs(work.t - work.start)
        work.global_error = max(work.global_error, work.rtol * largest / (size + TINY))
