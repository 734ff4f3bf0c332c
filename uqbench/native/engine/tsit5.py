"""Steps of the explicit pair of Tsitouras, their sensitivities, and what lies inside a step.

Order 5 with an embedded order 4 and an interpolant of order 4 (Tsitouras 2011, doi:10.1016/j.camwa.2011.06.002). The
sensitivities are those of the same step: the method applied to the variational equations.
"""

from ..language import Vector, copy, fill, native, sqrt
from . import tsit5_tableau as tableau
from .evaluation import at, inside_step, rate_at, sign_of_ends
from .records import Work
from .sparse import add_products, add_scaled

STAGES = 7
NODES = tableau.NODES
ERROR = tableau.ERROR
A = tuple(tuple(row) + (0.0,) * (STAGES - len(row)) for row in tableau.A)
DENSE = tableau.DENSE


@native
def step(work: Work, h: float) -> None:
    """A step of length `h` from `t`: `new`, `error`, `stages` (slopes), `arguments`."""
    n = work.n
    k = work.stages
    for i in range(STAGES):
        argument = work.arguments[i * n :]
        copy(argument, work.y, n)
        for j in range(i):
            if A[i][j] != 0.0:
                add_scaled(argument, h * A[i][j], k[j * n :], n)
        rate_at(work, inside_step(work, work.t + NODES[i] * h), argument, k[i * n :])
    last = work.arguments[6 * n :]
    copy(work.new, last, n)
    fill(work.error, 0.0, n)
    for j in range(STAGES):
        add_scaled(work.error, h * ERROR[j], k[j * n :], n)


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
    model = work.model
    n = work.n
    p = work.p
    size = n * p
    u = work.s_stages
    argument = work.s_argument
    values = work.buffer
    z = work.past_d
    for i in range(STAGES):
        stage = u[i * size :]
        copy(argument, work.s, size)
        for j in range(i):
            if A[i][j] != 0.0:
                add_scaled(argument, h * A[i][j], u[j * size :], size)
        fill(stage, 0.0, size)
        at(work, inside_step(work, work.t + NODES[i] * h), work.arguments[i * n :])
        sign_of_ends(work)
        model.variation(work.x, values, work.scratch)
        add_products(
            stage, values, model.jacobian_rows, model.jacobian_columns, model.jacobian_count, n, argument, p, z
        )
        add_products(
            stage,
            values[model.jacobian_count :],
            model.forcing_rows,
            model.forcing_columns,
            model.forcing_count,
            n,
            argument,
            p,
            z,
        )
    copy(work.s_new, argument, size)
    fill(work.s_error, 0.0, size)
    for j in range(STAGES):
        add_scaled(work.s_error, h * ERROR[j], u[j * size :], size)


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
