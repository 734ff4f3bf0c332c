"""Steps of the explicit pair of Tsitouras, their sensitivities, and what lies inside a step.

Order 5 with an embedded order 4 and an interpolant of order 4 (Tsitouras 2011, doi:10.1016/j.camwa.2011.06.002). The
sensitivities are those of the same step: the method applied to the variational equations.
"""

from ..language import Vector, copy, fill, native, sqrt
from . import tsit5_tableau as tableau
from .evaluation import inside_step, rate_at
from .records import Work
from .sparse import add_combined, add_scaled, combine
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
    n = work.n
    k = work.stages
    copy(work.arguments, work.y, n)
    if work.fresh == LAST_STAGE:
        copy(k, k[6 * n :], n)
    elif work.fresh != FIRST_STAGE:
        rate_at(work, inside_step(work, work.t), work.y, k)
    work.fresh = FIRST_STAGE
    stage(work, h, 1)
    stage(work, h, 2)
    stage(work, h, 3)
    stage(work, h, 4)
    stage(work, h, 5)
    stage(work, h, 6)
    for i in range(n):
        work.new[i] = work.arguments[6 * n + i]
        work.error[i] = 0.0
    add_combined(work.error, h, ERROR, k, STAGES, n)


@native(inline=True)
def stage(work: Work, h: float, i: int) -> None:
    """Slopes of stage `i`, a constant."""
    n = work.n
    argument = work.arguments[i * n :]
    combine(argument, work.y, h, A[i], work.stages, i, n)
    rate_at(work, inside_step(work, work.t + NODES[i] * h), argument, work.stages[i * n :])


@native
def stiffness(work: Work) -> float:
    """Estimate of the fastest rate from the last two stages, which stand at the same time."""
    n = work.n
    num = 0.0
    den = 0.0
    for k in range(n):
        # relative to the size of the state, so that no unit is preferred
        size = max(work.scale[k], abs(work.new[k])) + 1e-290
        slope = (work.stages[6 * n + k] - work.stages[5 * n + k]) / size
        change = (work.arguments[6 * n + k] - work.arguments[5 * n + k]) / size
        num = num + slope * slope
        den = den + change * change
    if not den > 0.0:
        return 0.0
    return sqrt(num / den)


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
