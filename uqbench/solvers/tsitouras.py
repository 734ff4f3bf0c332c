"""One step of the explicit pair of Tsitouras with its dense output, as straight-line scalar code.

Order 5 with an embedded order 4 and an interpolant of order 4: Tsitouras 2011, doi:10.1016/j.camwa.2011.06.002.
"""

from ..native.engine.tsit5_tableau import DENSE, ERROR, NODES, A
from .scalars import Rhs, Scalars, combine, once


def step(rhs: Rhs, t, h, y: Scalars):
    """One step: the new state, the error estimate and the slopes of the stages."""
    size = range(len(y))
    slopes: list[Scalars] = []
    argument = y
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
