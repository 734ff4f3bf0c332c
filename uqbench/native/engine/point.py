"""The right-hand side and its derivatives at single points, for what is not a solve: Newton's method, implicit functions.

The kernels write their entries in a list; here they are put in their places in dense matrices.
"""

from ..foreign_call import Call, operand, result
from ..language import allocate, copy, fill, native, release
from .records import Model


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
