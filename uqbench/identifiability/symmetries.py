"""From null spaces modulo a prime to symmetries and combinations over the integers.

At each point the null space of the Jacobian changes, but what holds at all points does not. A direction in logarithms
that lies in the null space everywhere is a scaling symmetry, e.g. (s, k) -> (c s, c k). A vector of exponents that is
orthogonal to the null spaces of all points is a monomial that no invisible direction moves, e.g. s/k: it is
identifiable. The same with plain in place of logarithmic derivatives gives identifiable sums, e.g. a + b.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import lcm

from flint import fmpz, fmpz_mat, nmod_mat

# Larger exponents than this do not come from a formula that somebody wrote.
LARGEST_EXPONENT = 1000


def null_space(matrix: nmod_mat) -> list[list[int]]:
    """A basis of the null space, one vector per row, in reduced echelon form."""
    columns, nullity = matrix.nullspace()
    basis = [[int(columns[i, j]) for i in range(columns.nrows())] for j in range(nullity)]
    return echelon(basis, matrix.modulus())


def echelon(rows: list[list[int]], prime: int) -> list[list[int]]:
    """The nonzero rows of the reduced echelon form."""
    if not rows:
        return []
    reduced, rank = _matrix(rows, prime).rref()
    return [[int(reduced[i, j]) for j in range(reduced.ncols())] for i in range(rank)]


def stacked(matrices: Sequence[nmod_mat]) -> nmod_mat:
    """Matrices with equal columns below each other."""
    rows = [[int(entry) for entry in row] for matrix in matrices for row in matrix.tolist()]
    return _matrix(rows, matrices[0].modulus())


def orthogonal(rows: list[list[int]], prime: int) -> list[list[int]]:
    """A basis of the vectors whose product with every row is zero."""
    return null_space(_matrix(rows, prime))


def integer_basis(rows: list[list[int]], prime: int) -> list[list[int]]:
    """Short integer vectors that span the same space as `rows`; empty if the space is not rational.

    Args:
        rows: modulo `prime`, in reduced echelon form, so that the entries are the smallest rationals there are.
    """
    rationals = [[rational(entry, prime) for entry in row] for row in rows]
    if not rows or any(entry is None for row in rationals for entry in row):
        return []
    denominators = [lcm(*(entry.denominator for entry in row)) for row in rationals]
    basis = [[int(entry * d) for entry in row] for row, d in zip(rationals, denominators, strict=True)]
    for factor, _ in fmpz(lcm(*denominators)).factor():
        basis = _refined(basis, int(factor))
    shortest = [_signed([int(entry) for entry in row]) for row in fmpz_mat(basis).lll().tolist()]
    return sorted(shortest, key=lambda row: (sum(map(abs, row)), [-abs(entry) for entry in row]))


def _refined(basis: list[list[int]], factor: int) -> list[list[int]]:
    """The lattice with every integer vector in it of which it holds the multiple by a power of the prime `factor`."""
    while True:
        relation = null_space(_matrix([*map(list, zip(*basis, strict=True))], factor))
        if not relation:
            return basis
        weights = relation[0]
        total = [sum(w * row[k] for w, row in zip(weights, basis, strict=True)) // factor for k in range(len(basis[0]))]
        replaced = next(i for i, weight in enumerate(weights) if weight)
        basis = [total if i == replaced else row for i, row in enumerate(basis)]


def _signed(row: list[int]) -> list[int]:
    """The row with its first entry positive."""
    return row if next(entry for entry in row if entry) > 0 else [-entry for entry in row]


def rational(entry: int, prime: int) -> Fraction | None:
    """The fraction with small numerator and denominator that `entry` stands for, if there is one (Wang 1981)."""
    previous, current, weights = prime, entry % prime, (0, 1)
    while current > LARGEST_EXPONENT:
        quotient = previous // current
        previous, current = current, previous - quotient * current
        weights = weights[1], weights[0] - quotient * weights[1]
    denominator = weights[1]
    if denominator == 0 or abs(denominator) > LARGEST_EXPONENT:
        return None
    return Fraction(current, denominator)


def monomial(exponents: Iterable[int], names: Sequence[str]) -> str:
    """A product of powers in words.

    Example:
        >>> monomial([1, -2, 0], ["s", "k", "q"])
        's/k**2'
    """
    above, below = [], []
    for name, exponent in zip(names, exponents, strict=True):
        if exponent:
            power = name if abs(exponent) == 1 else f"{name}**{abs(exponent)}"
            (above if exponent > 0 else below).append(power)
    if not below:
        return "*".join(above)
    divisor = below[0] if len(below) == 1 else f"({'*'.join(below)})"
    return f"{'*'.join(above) or '1'}/{divisor}"


def linear(coefficients: Iterable[int], names: Sequence[str]) -> str:
    """A sum with integer coefficients in words.

    Example:
        >>> linear([1, -2, 0], ["a", "b", "c"])
        'a - 2*b'
    """
    text = ""
    for name, coefficient in zip(names, coefficients, strict=True):
        if coefficient:
            term = name if abs(coefficient) == 1 else f"{abs(coefficient)}*{name}"
            sign = "-" if coefficient < 0 else "+"
            text += f" {sign} {term}" if text else (f"-{term}" if coefficient < 0 else term)
    return text


def _matrix(rows: list[list[int]], prime: int) -> nmod_mat:
    return nmod_mat(len(rows), len(rows[0]), [entry for row in rows for entry in row], prime)
