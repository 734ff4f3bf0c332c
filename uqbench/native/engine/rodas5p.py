"""Steps of Rodas5P, their sensitivities, and what lies inside a step.

A Rosenbrock-Wanner method solves eight linear systems with one matrix W = I / (gamma h) - J per step and never
iterates: order 5, stiffly accurate, L-stable (Steinebach 2023, doi:10.1007/s10543-023-00967-x). Stage i solves

    W u_i = f(t + alpha_i h, y + sum_j a_ij u_j) + sum_j C_ij u_j / h + h gamma_i f_t.

The derivative of a step with respect to a parameter is the same method applied to the variational equations, so it
needs the same factors and one product with d(J u_i) for each stage.
"""

from ..language import Indices, Vector, copy, fill, is_null, is_wide, isfinite, native
from . import rodas5p_tableau as tableau
from .evaluation import at, between, finite, inside_step, linearise_at, rate_at_argument
from .records import Step, Work
from .sparse import add_combined, add_products, add_scaled, combine, factorize, substitute, substitute_columns
from .tolerance import keep_signs_of_argument
from .variational import slopes_of_stage

GAMMA = tableau.GAMMA
ALPHA = tableau.ALPHA
GAMMA_SUMS = tableau.GAMMA_SUMS
STAGES = 8
# Those of the first stages that the slope in time enters.
STAGES_OF_TIME = sum(factor != 0.0 for factor in GAMMA_SUMS)


def _square(rows) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) + (0.0,) * (STAGES - len(row)) for row in rows)


# Stages 7 and 8 start from the argument of the stage before plus its increment, and so does the result.
_LAST = tableau.A[5]
A = _square([*tableau.A, (*_LAST, 1.0), (*_LAST, 1.0, 1.0)])
C = _square(tableau.C)
DENSE = tableau.DENSE


@native
def step(work: Work, h: float) -> int:
    """A step of length `h` from `t`: `new`, `error`, `stages`, `arguments`; 0 where the slopes are no numbers."""
    model = work.model
    n = work.n
    if work.fresh != 1:
        linearise_at(work, inside_step(work, work.t), work.y)
        if finite(work.jacobian, model.jacobian_count) == 0 or finite(work.f, n) == 0:
            return 0
        if model.uses_time == 1 and finite(work.slope_time, n) == 0:
            return 0
        work.fresh = 1
    advance(work, work.t, h, work.least_time, work.cap)
    return 1


@native
def advance(step: Step, t: float, h: float, first: float, last: float) -> None:
    """The step from `f`, `jacobian` and `slope_time`; the right-hand side is evaluated between `first` and `last`."""
    model = step.model
    n = step.n
    w = step.factors
    shift = 1.0 / (GAMMA * h)
    if is_wide() and not is_null(model.factors):
        step.linear[0] = shift
        model.factors(step.linear, w, step.scratch)
    else:
        fill(w, 0.0, model.factor_size)
        for k in range(n):
            w[k] = shift
        for e in range(model.jacobian_count):
            place = model.jacobian_places[e]
            w[place] = w[place] - step.jacobian[e]
        factorize(model, w)
    copy(step.arguments, step.y, n)
    copy(step.stages, step.f, n)
    finish_stage(step, h, 0)
    stage(step, t, h, first, last, 1)
    stage(step, t, h, first, last, 2)
    stage(step, t, h, first, last, 3)
    stage(step, t, h, first, last, 4)
    stage(step, t, h, first, last, 5)
    stage(step, t, h, first, last, 6)
    stage(step, t, h, first, last, 7)
    increment = step.stages[7 * n :]
    for k in range(n):
        step.new[k] = step.x[1 + k] + increment[k]
        step.error[k] = increment[k]


@native(inline=True)
def stage(step: Step, t: float, h: float, first: float, last: float, i: int) -> None:
    """Increments of stage `i`, a constant."""
    n = step.n
    argument = step.x[1:]
    target = step.stages[i * n :]
    combine(argument, step.y, 1.0, A[i], step.stages, i, n)
    keep_signs_of_argument(step, h)
    if step.keeps_arguments == 1:
        copy(step.arguments[i * n :], argument, n)
    rate_at_argument(step, between(t + ALPHA[i] * h, first, last), target)
    add_combined(target, 1.0 / h, C[i], step.stages, i, n)
    finish_stage(step, h, i)


@native
def finish_stage(step: Step, h: float, i: int) -> None:
    """The linear system of a stage."""
    target = step.stages[i * step.n :]
    if step.model.uses_time == 1 and i < STAGES_OF_TIME:
        add_scaled(target, h * GAMMA_SUMS[i], step.slope_time, step.n)
    substitute(step.model, step.factors, target)


@native
def step_sensitivities(work: Work, h: float) -> None:
    """The derivative of the step that was just taken: `s_new`, `s_error`, `s_stages`."""
    size = work.n * work.p
    copy(work.s_argument, work.s, size)
    slopes_of_stage(work, work.t, 0)
    finish_sensitivities(work, h, 0)
    stage_sensitivities(work, h, 1)
    stage_sensitivities(work, h, 2)
    stage_sensitivities(work, h, 3)
    stage_sensitivities(work, h, 4)
    stage_sensitivities(work, h, 5)
    stage_sensitivities(work, h, 6)
    stage_sensitivities(work, h, 7)
    last = work.s_stages[7 * size :]
    for k in range(size):
        # `s_argument` is that of the last stage
        work.s_new[k] = work.s_argument[k] + last[k]
        work.s_error[k] = last[k]


@native(inline=True)
def stage_sensitivities(work: Work, h: float, i: int) -> None:
    """Increments of the sensitivities of stage `i`, a constant."""
    size = work.n * work.p
    combine(work.s_argument, work.s, 1.0, A[i], work.s_stages, i, size)
    slopes_of_stage(work, work.t + ALPHA[i] * h, i)
    add_combined(work.s_stages[i * size :], 1.0 / h, C[i], work.s_stages, i, size)
    finish_sensitivities(work, h, i)


@native
def finish_sensitivities(work: Work, h: float, i: int) -> None:
    """What the moving Jacobian adds to a stage, d(J u_i + h gamma_i f_t) at the start of the step; its system."""
    model = work.model
    n = work.n
    p = work.p
    target = work.s_stages[i * n * p :]
    values = work.buffer
    if model.curvature_count > 0:
        direction = 1 + n + model.parameters + model.conditions
        at(work, inside_step(work, work.t), work.y)
        copy(work.x[direction:], work.stages[i * n :], n)
        work.x[direction + n] = h * GAMMA_SUMS[i]
        model.curvature(work.x, values, work.scratch)
        count = model.curvature_count
        for e in range(count):
            # of x^1.5 at zero: what stays there has none, and what leaves it is left to the error control
            if not isfinite(values[e]):
                values[e] = 0.0
        rows: Indices = model.curvature_rows
        add_products(target, values, rows, model.curvature_columns, count, n, work.s, p, work.past_d, model.directions)
    substitute_columns(model, work.factors, target, p)


@native
def inside(theta: float, before: Vector, after: Vector, stages: Vector, size: int, out: Vector) -> None:
    """States or sensitivities `(size,)` at the fraction `theta` of the step, to order 4."""
    rest = 1.0 - theta
    for k in range(size):
        k1 = 0.0
        k2 = 0.0
        k3 = 0.0
        for i in range(STAGES):
            value = stages[i * size + k]
            k1 = k1 + DENSE[0][i] * value
            k2 = k2 + DENSE[1][i] * value
            k3 = k3 + DENSE[2][i] * value
        out[k] = rest * before[k] + theta * (after[k] + rest * (k1 + theta * (k2 + theta * k3)))


@native
def slope_inside(theta: float, before: Vector, after: Vector, stages: Vector, size: int, out: Vector) -> None:
    """Derivative of `inside` with respect to `theta`."""
    rest = 1.0 - theta
    for k in range(size):
        k1 = 0.0
        k2 = 0.0
        k3 = 0.0
        for i in range(STAGES):
            value = stages[i * size + k]
            k1 = k1 + DENSE[0][i] * value
            k2 = k2 + DENSE[1][i] * value
            k3 = k3 + DENSE[2][i] * value
        inner = k1 + theta * (k2 + theta * k3)
        out[k] = after[k] - before[k] + (rest - theta) * inner + theta * rest * (k2 + 2.0 * theta * k3)
