"""Why a parameter has several values: what the other values are, in words.

At a random point the other values of a parameter are the roots of the characteristic polynomial of its multiplication
matrix. One that equals the true value of another parameter which has this one's in turn is an exchange of the two; one
that equals a product of powers of others, such as CL/V, is known by a formula; minus itself leaves the sign open.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from flint import nmod_mat, nmod_poly

SIGN = "sign: only its square is known; being positive it has one value"
NEGATIVE = "; negative and complex ones count"


def alternatives(matrices: Mapping[str, nmod_mat], truth: Mapping[str, int], prime: int) -> dict[str, str]:
    """Unknown with several values -> words about them.

    Args:
        matrices: of the unknowns with several values.
        truth: the random values of all unknowns.
        prime: of the field.
    """
    values = {name: Values.of(matrix) for name, matrix in matrices.items()}
    return {name: _words(name, values, truth, prime) for name in matrices}


@dataclass(frozen=True)
class Values:
    """How many values a variable takes on the fibre, those in the field, and whether all have one power in common."""

    count: int
    roots: frozenset[int]
    power: bool

    @classmethod
    def of(cls, matrix: nmod_mat) -> "Values":
        factors = [factor for factor, _ in matrix.charpoly().factor()[1]]
        roots = frozenset(int(-factor[0] / factor[1]) for factor in factors if factor.degree() == 1)
        product = prod(factors, start=nmod_poly([1], matrix.modulus()))
        binomial = not any(int(coefficient) for coefficient in product.coeffs()[1:-1])
        return cls(product.degree(), roots, binomial)


def _words(name: str, values: Mapping[str, Values], truth: Mapping[str, int], prime: int) -> str:
    own = values[name]
    others = own.roots - {truth[name]}
    if own.power:
        return SIGN if own.count == 2 else f"root: only its power {own.count} is known; being positive it has one value"
    several = f"{own.count} values give the same outputs{NEGATIVE}"
    if not others:
        return several
    swapped = [other for other, theirs in values.items() if truth[other] in others and truth[name] in theirs.roots]
    if swapped:
        return f"swap: exchanged with {' or '.join(swapped)}, the outputs are the same"
    formulas = sorted(filter(None, (_formula(number, truth, prime) for number in others)), key=len)
    if formulas:
        return f"swap: with {formulas[0]} in its place (and others adjusted), the outputs are the same"
    return several


def _formula(number: int, truth: Mapping[str, int], prime: int) -> str:
    """The product of up to three unknowns or their inverses that is this number; empty if there is none."""
    powers = [(name, 1, number) for name, number in truth.items()]
    powers += [(name, -1, pow(number, -1, prime)) for name, number in truth.items() if number]
    both = [(left, right) for left in powers for right in powers if left[0] < right[0] or left is right]
    pairs = {a * b % prime: ((n, p), (m, q)) for (n, p, a), (m, q, b) in both}
    if number in pairs:
        return _written(pairs[number])
    for name, power, value in powers:
        rest = number * pow(value, -1, prime) % prime
        if rest in pairs:
            return _written((*pairs[rest], (name, power)))
    return ""


def _written(factors) -> str:
    above, below = ([name for name, power in factors if power == sign] for sign in (1, -1))
    divisor = f"({'*'.join(sorted(below))})" if len(below) > 1 else "".join(below)
    return "*".join(sorted(above)) + f"/{divisor}" if above and below else "*".join(sorted(above)) or f"1/{divisor}"
