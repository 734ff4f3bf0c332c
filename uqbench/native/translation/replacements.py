"""Operations of Python that are functions in the language itself."""

import math
from math import copysign, floor

from ..language import Indices, Vector, native


@native(inline=True)
def fill_vector(target: Vector, value: float, n: int) -> None:
    for k in range(n):
        target[k] = value


@native(inline=True)
def fill_indices(target: Indices, value: int, n: int) -> None:
    for k in range(n):
        target[k] = value


@native(inline=True)
def float_mod(a: float, b: float) -> float:
    """Python's a % b, with the sign of b."""
    rest = math.fmod(a, b)
    if rest != 0.0:
        if (rest < 0.0) != (b < 0.0):
            rest += b
    else:
        rest = copysign(0.0, b)
    return rest


@native(inline=True)
def float_floor_division(a: float, b: float) -> float:
    """Python's a // b: the quotient after the remainder is taken off, rounded to a whole number."""
    rest = math.fmod(a, b)
    quotient = (a - rest) / b
    if rest != 0.0 and (rest < 0.0) != (b < 0.0):
        quotient -= 1.0
    if quotient == 0.0:
        return copysign(0.0, a / b)
    whole = floor(quotient)
    return whole + 1.0 if quotient - whole > 0.5 else whole
