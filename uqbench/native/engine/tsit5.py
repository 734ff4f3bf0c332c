"""Steps of the explicit pair of Tsitouras, their sensitivities, and what lies inside a step.

Order 5 with an embedded order 4 and an interpolant of order 4 (Tsitouras 2011, doi:10.1016/j.camwa.2011.06.002). The
sensitivities are those of the same step: the method applied to the variational equations.
"""

from ..language import Vector, copy, fill, native, sqrt
from . import tsit5_tableau as tableau
from .evaluation import between, inside_step, rate_at, rate_at_argument
from .records import Step, Work
from .sparse import add_combined, add_scaled, combine
from .tolerance import keep_signs_of_argument
from .variational import slopes_of_stage

STAGES = 7
NODES = tableau.NODES
ERROR = tableau.ERROR
A = tuple(tuple(row) + (0.0,) * (STAGES - len(row)) for row in tableau.A)
DENSE = tableau.DENSE
# Where the slope at the start of a step is known from before (`Work.fresh`): in the first stage after a refused step,
# in the last one after an accepted step.
FIRST_STAGE, LAST_STAGE = 2, 3


@native
def step(work: Work, h: float) -> None:
    """A step of length `h` from `t`: `new`, `error`, `stages` (slopes), `arguments`."""
    first_slope(work)
    advance(work, work.t, h, work.least_time, work.cap)


@native
def first_slope(work: Work) -> None:
    """The slope at the start of the step, where it is not known."""
    k = work.stages
    if work.fresh == LAST_STAGE:
        copy(k, k[6 * work.n :], work.n)
    elif work.fresh != FIRST_STAGE:
        rate_at(work, inside_step(work, work.t), work.y, k)
    work.fresh = FIRST_STAGE


@native
def advance(step: Step, t: float, h: float, first: float, last: float) -> None:
    """The step from its first slope; the right-hand side is evaluated between `first` and `last`."""
    n = step.n
    copy(step.arguments, step.y, n)
    stage(step, t, h, first, last, 1)
    stage(step, t, h, first, last, 2)
    stage(step, t, h, first, last, 3)
    stage(step, t, h, first, last, 4)
    stage(step, t, h, first, last, 5)
    stage(step, t, h, first, last, 6)
    for i in range(n):
        step.new[i] = step.arguments[6 * n + i]
        step.error[i] = 0.0
    add_combined(step.error, h, ERROR, step.stages, STAGES, n)


@native(inline=True)
def stage(step: Step, t: float, h: float, first: float, last: float, i: int) -> None:
    """Slopes of stage `i`, a constant."""
    n = step.n
    argument = step.x[1:]
    combine(argument, step.y, h, A[i], step.stages, i, n)
    keep_signs_of_argument(step, h)
    if step.keeps_arguments == 1 or i >= STAGES - 2:
        copy(step.arguments[i * n :], argument, n)
    rate_at_argument(step, between(t + NODES[i] * h, first, last), step.stages[i * n :])


@native
def stiffness(step: Step) -> float:
    """Estimate of the fastest rate from the last two stages, which stand at the same time."""
    n = step.n
    num = 0.0
    den = 0.0
    for k in range(n):
        # relative to the size of the state, so that no unit is preferred
        inverse = 1.0 / (max(step.scale[k], abs(step.new[k])) + 1e-290)
        slope = (step.stages[6 * n + k] - step.stages[5 * n + k]) * inverse
        change = (step.arguments[6 * n + k] - step.arguments[5 * n + k]) * inverse
        num = num + slope * slope
        den = den + change * change
    return sqrt(num / den) if den > 0.0 else 0.0


@native
def step_sensitivities(work: Work, h: float) -> None:
    """The derivative of the step that was just taken: `s_new`, `s_error`, `s_stages`."""
    size = work.n * work.p
    copy(work.s_argument, work.s, size)
    slopes_of_stage(work, work.t, 0)
    stage_sensitivities(work, h, 1)
    stage_sensitivities(work, h, 2)
    stage_sensitivities(work, h, 3)
    stage_sensitivities(work, h, 4)
    stage_sensitivities(work, h, 5)
    stage_sensitivities(work, h, 6)
    copy(work.s_new, work.s_argument, size)
    fill(work.s_error, 0.0, size)
    add_combined(work.s_error, h, ERROR, work.s_stages, STAGES, size)


@native(inline=True)
def stage_sensitivities(work: Work, h: float, i: int) -> None:
    """Slopes of the sensitivities of stage `i`, a constant."""
    combine(work.s_argument, work.s, h, A[i], work.s_stages, i, work.n * work.p)
    slopes_of_stage(work, work.t + NODES[i] * h, i)


@native
def inside(theta: float, h: float, before: Vector, stages: Vector, size: int, out: Vector) -> None:
    """States or sensitivities `(size,)` at the fraction `theta` of the step, to order 4."""
    copy(out, before, size)
    for i in range(STAGES):
        weight = DENSE[0][i] + theta * (DENSE[1][i] + theta * (DENSE[2][i] + theta * DENSE[3][i]))
        add_scaled(out, h * theta * weight, stages[i * size :], size)


@native
def slope_inside(theta: float, h: float, stages: Vector, size: int, out: Vector) -> None:
    """Derivative of `inside` with respect to `theta`."""
    fill(out, 0.0, size)
    for i in range(STAGES):
        weight = DENSE[0][i] + theta * (2.0 * DENSE[1][i] + theta * (3.0 * DENSE[2][i] + theta * 4.0 * DENSE[3][i]))
        add_scaled(out, h * weight, stages[i * size :], size)
