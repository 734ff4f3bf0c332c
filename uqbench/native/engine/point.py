"""What Newton's method and implicit functions need at single points: derivatives as dense matrices, and inverses."""

from .. import foreign_call
from ..foreign_call import Call, operand, result
from ..language import allocate, allocate_indices, copy, fill, native, release
from .records import Model
from .sparse import add_scaled


@native
def linearise_member(model: Model, call: Call, b: int) -> None:
    """Member `b` of a call from compiled JAX.

    Operands: parameters and inputs `(m,)`, states `(n,)`, settings, of which only the first, the time, is read.
    Results: right-hand side `(n,)`, Jacobian `(n, n)`, and, where the model has active directions, `(n, p)` slopes with
    respect to them.
    """
    n = model.states
    m = model.parameters
    p = model.directions
    settings = operand(call, 2, b)
    row = 1 + n + m + model.conditions
    # kernels write both rates and slopes, or slopes in two kinds of directions
    entries = model.jacobian_count + model.forcing_count + 2 * n
    x = allocate(row + n + 1)
    scratch = allocate(model.scratch + 1)
    out = allocate(entries + model.conditions + 1)
    x[0] = settings[0]
    copy(x[1:], operand(call, 1, b), n)
    copy(x[1 + n :], operand(call, 0, b), m)
    if model.conditions > 0:
        model.modes(x, out, scratch)
        copy(x[1 + n + m :], out, model.conditions)
    model.linearise(x, out, scratch)
    copy(result(call, 0, b), out, n)
    jacobian = result(call, 1, b)
    fill(jacobian, 0.0, n * n)
    for e in range(model.jacobian_count):
        jacobian[model.jacobian_rows[e] * n + model.jacobian_columns[e]] = out[n + e]
    if p > 0:
        slopes = result(call, 2, b)
        fill(slopes, 0.0, n * p)
        if model.forcing_count > 0:
            model.variation(x, out, scratch)
            for e in range(model.forcing_count):
                # directions are counted after the states
                place = model.forcing_rows[e] * p + model.forcing_columns[e] - n
                slopes[place] = out[model.jacobian_count + e]
    release(x)
    release(scratch)
    release(out)


@native
def invert_member(model: foreign_call.Model, call: Call, b: int) -> None:
    """Member `b` of a call: the inverse of a matrix, infinite or NaN where it has none.

    Gauss-Jordan elimination in place with pivots of the whole column. Operands: the matrix `(n, n)`, its size `(1,)`.
    """
    n = int(operand(call, 1, b)[0])
    a = result(call, 0, b)
    copy(a, operand(call, 0, b), n * n)
    swaps = allocate_indices(n + 1)
    for k in range(n):
        pivot = k
        for i in range(k + 1, n):
            if abs(a[i * n + k]) > abs(a[pivot * n + k]):
                pivot = i
        swaps[k] = pivot
        if pivot != k:
            for j in range(n):
                kept = a[k * n + j]
                a[k * n + j] = a[pivot * n + j]
                a[pivot * n + j] = kept
        inverse = 1.0 / a[k * n + k]
        a[k * n + k] = 1.0
        for j in range(n):
            a[k * n + j] = a[k * n + j] * inverse
        for i in range(n):
            if i != k:
                factor = a[i * n + k]
                a[i * n + k] = 0.0
                if factor != 0.0:
                    add_scaled(a[i * n :], -factor, a[k * n :], n)
    for back in range(n):
        k = n - 1 - back
        pivot = swaps[k]
        if pivot != k:
            for i in range(n):
                kept = a[i * n + k]
                a[i * n + k] = a[i * n + pivot]
                a[i * n + pivot] = kept
    release(swaps)
