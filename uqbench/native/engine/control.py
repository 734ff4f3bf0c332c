"""How long a step is: the first one from slopes, the others from the errors of those before.

Gustafsson 1991, doi:10.1145/210232.210242.
"""

from math import log

from ..language import exponent, fill, floor, isfinite, native, power_of_two, significand
from . import tolerance
from .evaluation import finite, inside_step, linearise_at
from .records import Work
from .sparse import add_scaled

SAFETY, SHRINK, GROW = 0.9, 0.2, 6.0
PROPORTIONAL, INTEGRAL = 0.3 / 5.0, 0.7 / 5.0
LEAST_LOG_ERROR = -9.2
LOG_OF_TWO, ROOT_OF_TWO = log(2.0), 2.0**0.5


@native
def first_step(work: Work) -> float:
    """The step whose local error is about the tolerance if the derivatives keep growing as the first two do.

    With |y'| = d1 and |y''| = d2 in units of the tolerance, y^(5) is taken as d1 (d2/d1)^4; no unit of time enters. A
    state that is zero has no size yet: there the ratio of its own derivatives counts.
    """
    model = work.model
    n = work.n
    span = work.end - work.t
    linearise_at(work, inside_step(work, work.t), work.y)
    curvature = work.point
    fill(curvature, 0.0, n)
    for e in range(model.jacobian_count):
        row = model.jacobian_rows[e]
        curvature[row] = curvature[row] + work.jacobian[e] * work.f[model.jacobian_columns[e]]
    if model.uses_time == 1:
        add_scaled(curvature, 1.0, work.slope_time, n)
    d1 = tolerance.weighted_size(work, work.f)
    d2 = tolerance.weighted_size(work, curvature)
    h = span
    if d1 > 0.0 and d2 > 0.0:
        rate = d2 / d1
        h = 0.5 * pow(100.0 / max(d1 * rate**4, 1e-290), 0.2)
    elif d1 > 0.0:
        h = span
    for k in range(n):
        if work.y[k] == 0.0 and work.f[k] != 0.0 and work.atol[k] == 0.0:
            rate = abs(curvature[k] / work.f[k])
            if rate > 0.0:
                h = min(h, 0.5 * pow(100.0 * work.rtol, 0.25) / rate)
    if finite(work.jacobian, model.jacobian_count) == 0 or not isfinite(h) or not h > 0.0:
        h = 1e-6 * span
    return min(h, span)


@native(inline=True)
def log_of_error(error: float) -> float:
    """The logarithm of an error, within limits, to seven digits: a series in (m - sqrt(2)) / (m + sqrt(2))."""
    size = min(max(error, 1e-10), 1e10)
    m = significand(size)
    z = (m - ROOT_OF_TWO) / (m + ROOT_OF_TWO)
    q = z * z
    return (exponent(size) + 0.5) * LOG_OF_TWO + 2.0 * z * (1.0 + q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0))))


@native(inline=True)
def exponential(x: float) -> float:
    """exp(x) to seven digits: what is left of a power of two by Taylor's series."""
    e = floor(x * (1.0 / LOG_OF_TWO) + 0.5)
    r = x - e * LOG_OF_TWO
    tail = 1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0))
    return power_of_two(e) * (1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * tail))))


@native(inline=True)
def exponent_after(before: float, now: float) -> float:
    """Logarithm of the factor after an accepted step from those of the errors of the last two."""
    return PROPORTIONAL * before - (PROPORTIONAL + INTEGRAL) * now


@native
def next_factor(work: Work, error: float, accepted: int) -> float:
    """Factor of the next step."""
    log_error = log_of_error(error if isfinite(error) else 1e10)
    exponent_of_factor = -0.2 * log_error
    if accepted == 1:
        exponent_of_factor = exponent_after(work.log_error, log_error)
    factor = SAFETY * exponential(exponent_of_factor)
    if accepted == 1:
        if work.rejections > 0:
            # the step before a rejection was too long, so its error is no guide to a longer one
            factor = min(factor, 1.0)
        work.log_error = max(log_error, LEAST_LOG_ERROR)
    return min(max(factor, SHRINK), GROW)
