"""Steps of Rodas5P, their sensitivities, and what lies inside a step.

A Rosenbrock-Wanner method solves eight linear systems with one matrix W = I / (gamma h) - J per step and never
iterates: order 5, stiffly accurate, L-stable (Steinebach 2023, doi:10.1007/s10543-023-00967-x). Stage i solves

    W u_i = f(t + alpha_i h, y + sum_j a_ij u_j) + sum_j C_ij u_j / h + h gamma_i f_t.

The derivative of a step with respect to a parameter is the same method applied to the variational equations, so it
needs the same factors and one product with d(J u_i) for each stage.
"""

from ..language import Vector, copy, fill, isfinite, native
from . import rodas5p_tableau as tableau
from .evaluation import at, finite, inside_step, linearise_at, rate_at, sign_of_ends
from .records import Work
from .sparse import add_products, add_scaled, factorize, substitute, substitute_columns

GAMMA = tableau.GAMMA
ALPHA = tableau.ALPHA
GAMMA_SUMS = tableau.GAMMA_SUMS
STAGES = 8


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
    u = work.stages
    if work.fresh == 0:
        linearise_at(work, inside_step(work, work.t), work.y)
        if finite(work.jacobian, model.jacobian_count) == 0 or finite(work.f, n) == 0:
            return 0
        if model.uses_time == 1 and finite(work.slope_time, n) == 0:
            return 0
        work.fresh = 1
    w = work.factors
    fill(w, 0.0, model.factor_size)
    shift = 1.0 / (GAMMA * h)
    for k in range(n):
        w[k] = shift
    for e in range(model.jacobian_count):
        place = model.jacobian_places[e]
        w[place] = w[place] - work.jacobian[e]
    factorize(model, w)
    for i in range(STAGES):
        argument = work.arguments[i * n :]
        stage = u[i * n :]
        copy(argument, work.y, n)
        for j in range(i):
            if A[i][j] != 0.0:
                add_scaled(argument, A[i][j], u[j * n :], n)
        if i == 0:
            copy(stage, work.f, n)
        else:
            rate_at(work, inside_step(work, work.t + ALPHA[i] * h), argument, stage)
        for j in range(i):
            add_scaled(stage, C[i][j] / h, u[j * n :], n)
        if model.uses_time == 1 and GAMMA_SUMS[i] != 0.0:
            add_scaled(stage, h * GAMMA_SUMS[i], work.slope_time, n)
        substitute(model, w, stage)
    last = u[7 * n :]
    for k in range(n):
        work.new[k] = work.arguments[7 * n + k] + last[k]
        work.error[k] = last[k]
    return 1


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
    uy = 1 + n + model.parameters + model.conditions
    for i in range(STAGES):
        stage = u[i * size :]
        copy(argument, work.s, size)
        for j in range(i):
            if A[i][j] != 0.0:
                add_scaled(argument, A[i][j], u[j * size :], size)
        fill(stage, 0.0, size)
        at(work, inside_step(work, work.t + ALPHA[i] * h), work.arguments[i * n :])
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
        for j in range(i):
            add_scaled(stage, C[i][j] / h, u[j * size :], size)
        if model.curvature_count > 0:
            # d(J u_i + h gamma_i f_t) at the start of the step
            at(work, inside_step(work, work.t), work.y)
            copy(work.x[uy:], work.stages[i * n :], n)
            work.x[uy + n] = h * GAMMA_SUMS[i]
            model.curvature(work.x, values, work.scratch)
            for e in range(model.curvature_count):
                # of x^1.5 at zero: what stays there has none, and what leaves it is left to the error control
                if not isfinite(values[e]):
                    values[e] = 0.0
            add_products(
                stage, values, model.curvature_rows, model.curvature_columns, model.curvature_count, n, work.s, p, z
            )
        substitute_columns(model, work.factors, stage, p)
    last = u[7 * size :]
    for k in range(size):
        # `argument` is that of the last stage
        work.s_new[k] = argument[k] + last[k]
        work.s_error[k] = last[k]


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
