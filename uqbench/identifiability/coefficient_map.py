"""What a list of identifiable functions says of each parameter: the fibre of the coefficient map.

Given c_1(theta), ..., c_m(theta), rational and known from the data, theta is known up to the solutions of
c(theta) = c(theta*). Locally their number is decided by the rank of the Jacobian of c; globally by a Groebner basis of
the equations at a random point modulo a prime, saturated by the denominators and by the parameters themselves (none of
them is zero). The solutions as formulas in theta* come from elimination of whatever occurs linearly; each one is
verified in the equations, and their number is compared with that of the Groebner basis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import sympy
import xarray as xr
from flint import nmod_mat
from sympy.polys.polyerrors import PolynomialError

from .symmetries import echelon, null_space

METHOD = "coefficients of the transfer functions; Groebner basis of their fibre at random points modulo a prime"
# The largest prime that fits 31 bits: SymPy's arithmetic modulo a prime is fast for machine integers.
PRIME = 2**31 - 1
REPEATS = 2
# Beyond these SymPy's Groebner bases and the search for a smallest set take minutes.
LARGEST_UNKNOWNS = 8
LARGEST_SEARCH = 2000
LARGEST_SOLUTION = 400


class Unlucky(ArithmeticError):
    """A denominator vanishes at a random point; another point will do."""


@dataclass(frozen=True)
class Point:
    """The equations c(theta) = c(theta*) at one random theta* modulo the prime.

    Args:
        gradients: of the coefficients, one row each. value: theta*. equations: they and the saturation.
    """

    gradients: tuple[tuple[int, ...], ...]
    value: tuple[int, ...]
    equations: tuple[sympy.Poly, ...]


@dataclass(frozen=True)
class Fibre:
    """The parameters that give the same coefficients as theta*.

    Args:
        single: places of the parameters that have one value. values: how many each has. count: of the solutions.
    """

    single: frozenset[int]
    values: tuple[int, ...]
    count: int


@dataclass(frozen=True)
class CoefficientMap:
    """Identifiable functions of named parameters.

    Args:
        coefficients: name -> rational function.
        parameters: names of the unknowns.
        known: symbols in the coefficients that stand for known numbers.
    """

    coefficients: Mapping[str, sympy.Expr]
    parameters: tuple[str, ...]
    known: tuple[sympy.Symbol, ...] = ()

    @property
    def symbols(self) -> tuple[sympy.Symbol, ...]:
        return tuple(sympy.Symbol(name) for name in self.parameters)

    def verdicts(self, seed: int = 0) -> xr.Dataset:
        """Verdict, number of values, smallest set of coefficients, alternatives and reason, by `parameter`.

        Attributes: `failure_probability` bounds that of a rank too low (Schwartz 1980, doi:10.1145/322217.322225);
        that both points agree by chance on a wrong number of solutions has no useful bound.
        """
        rng = np.random.default_rng(seed)
        points = [self._point(rng) for _ in range(REPEATS)]
        free, moved = self._free(points)
        held = [next(k for k, entry in enumerate(row) if entry) for row in echelon(free, PRIME)]
        fibres = [self._fibre(point, held) for point in points]
        agree = fibres[0] is not None and fibres[0] == fibres[1]
        solutions, complete = self._solutions(held, fibres[0].count) if agree else ([], False)
        others = solutions if complete else []
        rows = [self._row(k, k in moved, fibres[0] if agree else None, others) for k in range(len(self.parameters))]
        names = ("verdict", "values", "alternatives", "reason")
        columns = zip(*rows, strict=True) if rows else [()] * len(names)
        fixed_by = np.zeros((len(self.parameters), len(self.coefficients)), dtype=bool)
        for k, chosen in self._fixing(points[0], moved).items():
            fixed_by[k, chosen] = True
        degree = sum(sympy.Poly(p, *self.symbols).total_degree() for p in self._parts()) if self.parameters else 0
        return xr.Dataset(
            {
                **{name: ("parameter", list(column)) for name, column in zip(names, columns, strict=True)},
                "fixed_by": (("parameter", "coefficient"), fixed_by),
                "expression": ("coefficient", [str(value) for value in self.coefficients.values()]),
            },
            {"parameter": list(self.parameters), "coefficient": list(self.coefficients)},
            {
                "rank": len(self.parameters) - len(free),
                "unknowns": len(self.parameters),
                "solutions": [_as_text(s) for s in solutions] if complete else [],
                "held": [self.parameters[k] for k in held],
                "failure_probability": float((2 * (degree + 1) / PRIME) ** REPEATS),
                "method": METHOD,
            },
        )

    def fixed_by(self, seed: int = 0) -> dict[str, list[str]]:
        """Parameter -> the fewest coefficients that leave it finitely many values, without counting these: a fraction
        of the time of `verdicts`."""
        rng = np.random.default_rng(seed)
        points = [self._point(rng) for _ in range(REPEATS)]
        names = list(self.coefficients)
        found = self._fixing(points[0], self._free(points)[1])
        return {self.parameters[k]: [names[i] for i in chosen] for k, chosen in found.items()}

    def _free(self, points: Sequence[Point]) -> tuple[list[list[int]], set[int]]:
        """The null space of the gradients, and which parameters it moves."""
        free = min((null_space(_matrix(point.gradients, len(self.parameters))) for point in points), key=len)
        return free, {k for k in range(len(self.parameters)) if any(row[k] for row in free)}

    def _fixing(self, point: Point, moved: set[int]) -> dict[int, list[int]]:
        """Place of a parameter that does not move -> those of the fewest coefficients that fix it."""
        return {k: self._smallest(k, point) for k in range(len(self.parameters)) if k not in moved}

    def _row(self, k: int, moved: bool, fibre: Fibre | None, solutions: list) -> tuple:
        name = self.parameters[k]
        if moved:
            holders = [str(c) for c in self.coefficients.values() if c.has(self.symbols[k])]
            reason = (f"seen only together with others, in {', '.join(holders)}" if holders
                      else "never seen: no coefficient depends on it")  # fmt: skip
            return "none", 0, "", reason
        if fibre is None:
            return "undecided", 0, "", "finitely many values; how many is more than this method can say"
        if k in fibre.single:
            return "global", 1, "", "one value gives these coefficients"
        others = list(dict.fromkeys(str(s[name]) for s in solutions if str(s[name]) != name))
        alternatives = f": besides {name} also {', '.join(others)}" if others else ""
        return "local", fibre.values[k], ", ".join(others), f"{fibre.values[k]} values fit{alternatives}"

    def _parts(self):
        for c in self.coefficients.values():
            yield from sympy.fraction(sympy.together(c))

    def _point(self, rng: np.random.Generator) -> Point:
        while True:
            try:
                return self._at(rng)
            except Unlucky:
                continue

    def _at(self, rng: np.random.Generator) -> Point:
        inputs = {symbol: int(rng.integers(2, PRIME)) for symbol in self.known}
        value = tuple(int(rng.integers(2, PRIME)) for _ in self.parameters)
        gradients, equations = [], []
        divisors = {sympy.Poly(x, *self.symbols, modulus=PRIME) for x in self.symbols}
        for c in self.coefficients.values():
            above, below = (part.xreplace(inputs) for part in sympy.fraction(sympy.together(c)))
            n, d = (self._modulo(part) for part in (above, below))
            at_n, at_d = (int(part(*value)) for part in (n, d))
            if at_d % PRIME == 0:
                raise Unlucky
            inverse = pow(at_d, -2, PRIME)
            slopes = ((int(n.diff(x)(*value)) * at_d - at_n * int(d.diff(x)(*value))) * inverse for x in self.symbols)
            gradients.append(tuple(slope % PRIME for slope in slopes))
            equations.append(n * at_d - d * at_n)
            divisors |= {self._modulo(factor) for factor, _ in sympy.factor_list(below)[1]}
        return Point(tuple(gradients), value, (*equations, self._saturation(divisors)))

    def _modulo(self, expression: sympy.Expr) -> sympy.Poly:
        """A polynomial modulo the prime, of rational coefficients too: a start of 0.3 is a fraction in binary."""
        common, whole = sympy.Poly(expression, *self.symbols, domain=sympy.QQ).clear_denoms(convert=True)
        return whole.set_modulus(PRIME) * pow(int(common), -1, PRIME)

    def _saturation(self, divisors: set[sympy.Poly]) -> sympy.Poly:
        """1 - w * (product of what is not zero), with `w` one more unknown."""
        product = sympy.Integer(1)
        for divisor in sorted(divisors, key=lambda p: str(p.as_expr())):
            product *= divisor.as_expr()
        return sympy.Poly(1 - _SLACK * product, _SLACK, *self.symbols, modulus=PRIME)

    def _fibre(self, point: Point, held: Sequence[int]) -> Fibre | None:
        """The solutions at one point; those `held`, which may have any value, are counted at their true ones only."""
        if len(self.parameters) > LARGEST_UNKNOWNS or not self.parameters:
            return None
        basis = self._basis(point.equations)
        single = {k for k, x in enumerate(self.symbols) if _remainder(basis, x - point.value[k]).is_zero}
        if held:
            fixed = [sympy.Poly(self.symbols[k] - point.value[k], *self.symbols, modulus=PRIME) for k in held]
            basis = self._basis((*point.equations, *fixed))
        if not basis.is_zero_dimensional:
            return None
        return Fibre(frozenset(single), tuple(_degree(basis, x) for x in self.symbols), _dimension(basis))

    def _basis(self, polynomials: Sequence[sympy.Poly]):
        expressions = [polynomial.as_expr() for polynomial in polynomials]
        return sympy.groebner(expressions, _SLACK, *self.symbols, order="grevlex", modulus=PRIME)

    def _smallest(self, k: int, point: Point) -> list[int]:
        """The fewest coefficients whose gradients span the direction of parameter `k`."""
        rows, width = point.gradients, len(self.parameters)
        unit = tuple(int(i == k) for i in range(width))
        for size in range(1, len(rows) + 1):
            if comb(len(rows), size) > LARGEST_SEARCH:
                break
            for chosen in combinations(range(len(rows)), size):
                picked = [rows[i] for i in chosen]
                if _matrix(picked, width).rank() == _matrix([*picked, unit], width).rank():
                    return list(chosen)
        return list(range(len(rows)))

    def _solutions(self, held: Sequence[int], count: int) -> tuple[list[dict[str, sympy.Expr]], bool]:
        """All solutions by formula, the true one first, and whether they are all that there are."""
        stars = {x: sympy.Dummy(f"{x}*") for x in self.symbols}
        equations = []
        for c in self.coefficients.values():
            n, d = sympy.fraction(sympy.together(c))
            equations.append(n * d.xreplace(stars) - d * n.xreplace(stars))
        start = {self.symbols[k]: stars[self.symbols[k]] for k in held}
        unknown = [x for x in self.symbols if x not in start]
        back = {star: x for x, star in stars.items()}
        found: dict[tuple, dict[str, sympy.Expr]] = {}
        for raw in _eliminate([e.xreplace(start) for e in equations], unknown, {**start}):
            solution = {x: sympy.factor(sympy.cancel(raw[x])) for x in self.symbols}
            if any(sympy.cancel(e.xreplace(solution)) != 0 for e in equations if not _singular(e, solution)):
                continue
            named = {str(x): value.xreplace(back) for x, value in solution.items()}
            found[tuple(map(str, named.values()))] = named
        true = tuple(self.parameters)
        ordered = sorted(found.items(), key=lambda item: (item[0] != true, item[0]))
        return [named for _, named in ordered], len(found) == count


_SLACK = sympy.Dummy("w")


def _singular(equation, solution) -> bool:
    return sympy.denom(sympy.together(equation.xreplace(solution))) == 0


def _as_text(solution: Mapping[str, sympy.Expr]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in solution.items())


def _matrix(rows: Sequence[Sequence[int]], width: int) -> nmod_mat:
    return nmod_mat(len(rows), width, [entry % PRIME for row in rows for entry in row], PRIME)


def _remainder(basis, expression) -> sympy.Poly:
    return sympy.Poly(basis.reduce(expression)[1], *basis.gens, modulus=PRIME)


def _leading(basis) -> list[tuple[int, ...]]:
    return [polynomial.monoms(order=basis.order)[0] for polynomial in basis.polys]


def _dimension(basis) -> int:
    """Number of solutions with multiplicity: monomials that no leading monomial divides."""
    leading = _leading(basis)
    count, visited, stack = 0, set(), [(0,) * len(basis.gens)]
    while stack:
        monomial = stack.pop()
        if monomial in visited or any(all(a >= b for a, b in zip(monomial, m, strict=True)) for m in leading):
            continue
        visited.add(monomial)
        count += 1
        stack += [tuple(e + (i == k) for i, e in enumerate(monomial)) for k in range(len(monomial))]
    return count


def _degree(basis, symbol) -> int:
    """Number of values of `symbol`: the degree of its minimal polynomial modulo the basis."""
    powers, current = [], sympy.Integer(1)
    while True:
        remainder = _remainder(basis, current)
        powers.append(dict(remainder.terms()))
        monomials = sorted({m for power in powers for m in power})
        rows = [[int(power.get(m, 0)) for m in monomials] for power in powers]
        if _matrix(rows, len(monomials)).rank() < len(powers):
            return len(powers) - 1
        current = remainder.as_expr() * symbol


def _eliminate(equations, unknown, solved):
    """Solutions found by substituting what occurs linearly; branches at every factor."""
    equations = [factors for e in equations if (factors := _factors(e, unknown)) is not None]
    if any(not factors for factors in equations):
        return  # an equation that cannot be satisfied
    if not equations:
        if not unknown:
            yield solved
        return
    equations.sort(key=lambda factors: (len(factors), sum(_size(f, unknown) for f in factors)))
    branching = next((factors for factors in equations if len(factors) > 1), None)
    single = [factors[0] for factors in equations if len(factors) == 1]
    if choice := _linear(single, unknown):
        equation, x, value = choice
        rest = [sympy.prod(f) for f in equations if f != [equation]]
        rest = [sympy.numer(sympy.together(e.xreplace({x: value}))) for e in rest]
        if max((sympy.count_ops(e) for e in rest), default=0) > LARGEST_SOLUTION * 10:
            return
        for solution in _eliminate(rest, [u for u in unknown if u != x], solved):
            yield {**solution, x: value.xreplace(solution)}
    elif branching:
        rest = [sympy.prod(f) for f in equations if f is not branching]
        for factor in branching:
            yield from _eliminate([factor, *rest], unknown, solved)


def _factors(equation, unknown) -> list[sympy.Expr] | None:
    """The irreducible factors that may vanish; None for an equation that always holds."""
    equation = sympy.expand(equation)
    if equation == 0:
        return None
    try:
        factors = [factor for factor, _ in sympy.factor_list(equation)[1]]
    except PolynomialError:
        return [equation]
    return [factor for factor in factors if factor.free_symbols & set(unknown) and factor not in unknown]


def _size(expression, unknown) -> tuple[int, int]:
    return 100 * len(expression.free_symbols & set(unknown)) + int(sympy.count_ops(expression))


def _linear(equations, unknown):
    """The simplest (equation, unknown, its value) in which an unknown occurs linearly."""
    best = None
    for equation in equations:
        for x in unknown:
            if not equation.has(x):
                continue
            polynomial = sympy.Poly(equation, x)
            if polynomial.degree() != 1:
                continue
            a, b = polynomial.all_coeffs()
            # a coefficient without unknowns, or one that is a product of them, cannot vanish
            safe = not (_factors(a, unknown) or [])
            cost = (not safe, _size(equation, unknown), _size(a, unknown))
            if best is None or cost < best[0]:
                best = (cost, (equation, x, -b / a))
    return best[1] if best else None
