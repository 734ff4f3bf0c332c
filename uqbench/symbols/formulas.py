"""Functions that are computed by cases or with pivots but mean one formula, known by their names.

The quasi-steady state of linear fast equations and of a quadratic one (`systems.reduced`) choose their way by the
numbers, which symbols cannot follow; what they find is the same function everywhere.
"""

from fractions import Fraction

import numpy as np

from .program import DivisionByZero, Recorder

HALF = Fraction(1, 2)


def linear_root(recorder: Recorder, slopes: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """The root `(n,)` of rates + slopes x, by elimination over entries that are not known to vanish.

    Raises:
        DivisionByZero: where no pivot is left.
    """
    sub, mul, div = recorder.sub, recorder.mul, recorder.div
    losses = [[recorder.neg(entry) for entry in row] for row in slopes]
    right, left = list(rates), list(range(len(rates)))
    order: list[tuple[int, int]] = []
    for column in range(len(rates)):
        pivot = next((row for row in left if not _vanishes(losses[row][column])), None)
        if pivot is None:
            raise DivisionByZero
        left.remove(pivot)
        order.append((pivot, column))
        for row in left:
            if not _vanishes(losses[row][column]):
                share = div(losses[row][column], losses[pivot][column])
                right[row] = sub(right[row], mul(share, right[pivot]))
                for other in range(column, len(rates)):
                    losses[row][other] = sub(losses[row][other], mul(share, losses[pivot][other]))
    x: dict[int, object] = {}
    for pivot, column in reversed(order):
        value = right[pivot]
        for other in x:
            value = sub(value, mul(losses[pivot][other], x[other]))
        x[column] = div(value, losses[pivot][column])
    out = np.empty(len(rates), dtype=object)
    out[:] = [x[k] for k in range(len(rates))]
    return out


def stable_root(recorder: Recorder, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The root of a x^2 + b x + c with a negative slope: 2 c / (sqrt(b^2 - 4 a c) - b).

    Where c vanishes, as in a logistic equation, it is -b / a while b is positive; of the other root, nothing, there is
    nothing to be read.
    """
    a, b, c = a[()], b[()], c[()]
    mul = recorder.mul
    product = mul(Fraction(4), mul(a, c))
    steepness = recorder.power(recorder.sub(recorder.integer_power(b, 2), product), HALF)
    out = np.empty((), dtype=object)
    if _vanishes(c):
        out[()] = recorder.div(recorder.neg(b), a)
        return out
    out[()] = recorder.div(mul(Fraction(2), c), recorder.sub(steepness, b))
    return out


def _vanishes(entry) -> bool:
    return isinstance(entry, Fraction) and entry == 0


FORMULAS = {"linear_root": linear_root, "stable_root": stable_root}
