"""One step of the explicit pair of Tsitouras with its dense output, as straight-line scalar code.

Order 5 with an embedded order 4 and an interpolant of order 4: Tsitouras 2011, doi:10.1016/j.camwa.2011.06.002.
"""

from .scalars import Rhs, Scalars, combine, once

NODES = (0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0)
# The last row is the solution itself.
A = (
    (),
    (0.161,),
    (-0.008480655492356989, 0.335480655492357),
    (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
    (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
    (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383),
    (
        0.09646076681806523,
        0.01,
        0.4798896504144996,
        1.379008574103742,
        -3.290069515436081,
        2.324710524099774,
    ),
)
ERROR = (
    -0.00178001105222577714,
    -0.0008164344596567469,
    0.007880878010261995,
    -0.1447110071732629,
    0.5823571654525552,
    -0.45808210592918697,
    1.0 / 66.0,
)


def _interpolant():
    """Coefficients of s, s^2, s^3, s^4 in the weight of each stage, from the factored form that is published."""

    def quadratic(scale, r1, r2):
        return (0.0, scale * r1 * r2, -scale * (r1 + r2), scale)

    c, r, (p, q) = -1.0530884977290216, 1.3299890189751412, (-1.4364028541716351, 0.7139816917074209)
    first = (-c * r * q, c * (q - r * p), c * (p - r), c)
    second = (0.0, 0.1017 * 1.2949852507374631, -0.1017 * 2.1966568338249754, 0.1017)
    a, b, e = 2.490627285651252793, 2.38535645472061657, 1.57803468208092486
    third = (0.0, a * e, -a * b, a)
    return (
        first,
        second,
        third,
        quadratic(-16.54810288924490272, 1.21712927295533244, 0.61620406037800089),
        quadratic(47.37952196281928122, 1.203071208372362603, 0.658047292653547382),
        quadratic(-34.87065786149660974, 1.2, 2.0 / 3.0),
        quadratic(2.5, 1.0, 0.6),
    )


DENSE = tuple(zip(*_interpolant(), strict=True))


def step(rhs: Rhs, t, h, y: Scalars):
    """One step: the new state, the error estimate and the slopes of the stages."""
    size = range(len(y))
    slopes, argument = [], y
    for node, row in zip(NODES, A, strict=True):
        if row:
            argument = [y[k] + h * combine(row, slopes, k) for k in size]
        slopes.append(once(tuple(rhs(t + node * h, argument))))
    error = [h * combine(ERROR, slopes, k) for k in size]
    return argument, error, slopes


def dense(h, slopes: list[Scalars]):
    """Coefficients of s, s^2, s^3, s^4 for each state."""
    return [[h * combine(row, slopes, k) for row in DENSE] for k in range(len(slopes[0]))]


def interpolate(s, before, after, coefficients):
    """The state at the fraction `s` of the step."""
    c1, c2, c3, c4 = coefficients
    return before + s * (c1 + s * (c2 + s * (c3 + s * c4)))
