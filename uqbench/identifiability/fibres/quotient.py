"""The finite algebra of functions on finitely many points that are known only by their Groebner basis.

Multiplication by a variable is a matrix on the monomials that no leading monomial divides (J.-C. Faugere, P. Gianni,
D. Lazard, T. Mora 1993, doi:10.1006/jsco.1993.1051). A rational function of these matrices is that function on the
points: it takes one value at all of them exactly if its matrix is a multiple of the identity.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sympy
from flint import nmod_mat

from ..budget import Undecided
from .groebner import Basis, Monomial

LARGEST_DEGREE = 400


@dataclass(frozen=True)
class Quotient:
    """Multiplication matrices.

    Args:
        prime: of the field; degree: number of points, with multiplicity.
        matrices: variable -> matrix whose column j is the variable times standard monomial j.
    """

    prime: int
    degree: int
    matrices: dict[int, nmod_mat]

    def number(self, value: int) -> nmod_mat:
        entries = [0] * self.degree**2
        entries[:: self.degree + 1] = [value % self.prime] * self.degree
        return nmod_mat(self.degree, self.degree, entries, self.prime)


def quotient(basis: Basis, wanted: Sequence[int]) -> Quotient:
    """The algebra of a zero-dimensional ideal with the matrices of the `wanted` variables.

    Raises:
        Undecided: there are infinitely many points, or more than `LARGEST_DEGREE`.
    """
    if not basis.finite or basis.contradictory:
        raise Undecided("no finite set of solutions")
    tails = {next(iter(element)): element for element in basis.elements}
    # a variable that is itself a leading monomial occurs in no standard monomial
    linear = {leading[0][0] for leading in tails if len(leading) == 1 and leading[0][1] == 1}
    free = [k for k in range(basis.variables) if k not in linear]
    monomials = _standard(free, [dict(leading) for leading in tails])
    matrices = _free_matrices(free, monomials, tails, basis.prime)
    out = Quotient(basis.prime, len(monomials), matrices)
    for k in wanted:
        if k in linear:
            total = out.number(0)
            for monomial, coefficient in list(tails[((k, 1),)].items())[1:]:
                product = out.number(-coefficient)
                for variable, power in monomial:
                    for _ in range(power):
                        product = product * matrices[variable]
                total += product
            matrices[k] = total
    return out


def _standard(free: Sequence[int], leading: Sequence[Mapping[int, int]]) -> list[Monomial]:
    """The monomials that no leading monomial divides, by degree."""
    out: list[Monomial] = []
    layer: list[Monomial] = [()]
    while layer:
        out += layer
        if len(out) > LARGEST_DEGREE:
            raise Undecided(f"more than {LARGEST_DEGREE} solutions")
        grown = {_times(monomial, k) for monomial in layer for k in free}
        layer = sorted(monomial for monomial in grown if not _divided(dict(monomial), leading))
    return out


def _divided(powers: Mapping[int, int], leading: Sequence[Mapping[int, int]]) -> bool:
    return any(all(powers.get(k, 0) >= power for k, power in lead.items()) for lead in leading)


def _times(monomial: Monomial, k: int) -> Monomial:
    powers = dict(monomial)
    powers[k] = powers.get(k, 0) + 1
    return tuple(sorted(powers.items()))


def _free_matrices(free, monomials: list[Monomial], tails: Mapping, prime: int) -> dict[int, nmod_mat]:
    place = {monomial: i for i, monomial in enumerate(monomials)}
    known: dict[Monomial, dict[Monomial, int]] = {monomial: {monomial: 1} for monomial in monomials}
    known |= {lead: {m: -c % prime for m, c in tail.items() if m != lead} for lead, tail in tails.items()}

    def normal(monomial: Monomial) -> dict[Monomial, int]:
        """The normal form of a variable times a standard monomial."""
        if monomial not in known:
            # without one of its variables it is still no standard monomial, and smaller
            k, rest = next((k, rest) for k, rest in _parts(monomial) if rest not in place)
            out: dict[Monomial, int] = {}
            for m, c in normal(rest).items():
                for m2, c2 in normal(_times(m, k)).items():
                    out[m2] = (out.get(m2, 0) + c * c2) % prime
            known[monomial] = {m: c for m, c in out.items() if c}
        return known[monomial]

    size, out = len(monomials), {}
    for k in free:
        entries = [0] * size**2
        for j, monomial in enumerate(monomials):
            for m, c in normal(_times(monomial, k)).items():
                entries[place[m] * size + j] = c
        out[k] = nmod_mat(size, size, entries, prime)
    return out


def _parts(monomial: Monomial):
    for k, _ in monomial:
        yield k, tuple((i, power - (i == k)) for i, power in monomial if power > (i == k))


@dataclass(frozen=True)
class Sample:
    """One random point of the model and all points that the outputs do not tell from it.

    Args:
        prime: of the field. degree: number of those points after fixing what is not identifiable.
        truth: value of every unknown at the random point.
        matrices: unknown -> matrix of its values at the points.
        null: directions that leave the outputs as they are, one entry per unknown in the order of `truth`.
        fixed: unknowns that are not identifiable and were fixed, so that there are finitely many points.
    """

    prime: int
    degree: int
    truth: dict[str, int]
    matrices: dict[str, nmod_mat]
    null: list[list[int]]
    fixed: tuple[str, ...]

    def identity(self, value: int = 1) -> nmod_mat:
        return Quotient(self.prime, self.degree, {}).number(value)

    def value(self, expression: sympy.Expr) -> int:
        """A rational function at the random point."""
        return evaluate(expression, self.truth, self.prime, lambda number: number, _inverse(self.prime))

    def matrix(self, expression: sympy.Expr) -> nmod_mat:
        """A rational function on the points."""
        return evaluate(expression, self.matrices, self.prime, self.identity, lambda matrix: matrix.inv())

    def gradient(self, expression: sympy.Expr) -> list[int]:
        """The derivatives of a rational function at the random point."""
        symbols = {symbol.name: symbol for symbol in expression.free_symbols}
        return [self.value(sympy.diff(expression, symbols[name])) if name in symbols else 0 for name in self.truth]

    def identifiable(self, expression: sympy.Expr) -> bool:
        """Whether the outputs determine a rational function: no direction moves it, and all points agree on it."""
        slopes = self.gradient(expression)
        if any(sum(a * b for a, b in zip(row, slopes, strict=True)) % self.prime for row in self.null):
            return False
        return self.matrix(expression) == self.identity(self.value(expression))


def _inverse(prime: int):
    return lambda value: pow(value, -1, prime)


def evaluate(expression: sympy.Expr, values: Mapping[str, object], prime: int, number, inverse):
    """A rational SymPy expression over numbers or matrices modulo a prime.

    Raises:
        ZeroDivisionError, ValueError: a divisor vanishes.
    """
    if expression.is_Rational:
        return number(int(expression.p) * pow(int(expression.q), -1, prime) % prime)
    if expression.is_Symbol:
        return values[expression.name]
    if expression.is_Pow and expression.exp.is_Integer:
        base = evaluate(expression.base, values, prime, number, inverse)
        base, power = (base, int(expression.exp)) if expression.exp > 0 else (inverse(base), -int(expression.exp))
        return pow(base, power, prime) if isinstance(base, int) else base**power
    if expression.is_Add or expression.is_Mul:
        parts = [evaluate(part, values, prime, number, inverse) for part in expression.args]
        total = parts[0]
        for part in parts[1:]:
            total = total + part if expression.is_Add else total * part
            total = total % prime if isinstance(total, int) else total
        return total
    raise ValueError(f"{expression} is not rational")
