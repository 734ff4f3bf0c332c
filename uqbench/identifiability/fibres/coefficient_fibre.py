"""Which parameters a list of known functions of them fixes: the fibre of a map at one random point.

The coefficients c_i(theta) of input-output equations (or any generators of identifiable functions) are known from the
outputs. A parameter is a rational function of them exactly if it takes one value on {theta: c(theta) = c(theta*)} for a
generic theta*, the points where a denominator vanishes taken away. A subset of the functions that fixes a parameter is
a proof; to show that it is not fixed needs them all. (A. Ovchinnikov, A. Pillay, G. Pogudin, T. Scanlon 2021,
doi:10.1016/j.sysconle.2021.105030, on coefficients as generators.)
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

import sympy
from flint import nmod_mat

from ..budget import Budget, Undecided
from .groebner import Monomial, Polynomial, groebner_basis
from .quotient import Quotient, Sample, quotient


@dataclass(frozen=True)
class Function:
    """A rational function; exponents -> coefficient (modulo the prime, or integers), variables by position."""

    numerator: Polynomial
    denominator: Polynomial

    @cached_property
    def size(self) -> tuple[int, int]:
        """Total degree, and number of terms: what a Groebner basis minds."""
        both = [*self.numerator, *self.denominator]
        return max(sum(power for _, power in monomial) for monomial in both), len(both)


@dataclass(frozen=True)
class FibreAnswer:
    """What a list of functions fixes.

    Args:
        verdicts: variable -> "global", "local", "none" or "undecided"; reason: why undecided.
        used: how many functions the last basis took.
    """

    verdicts: dict[str, str]
    reason: str
    used: int


def fibre_identifiability(
    functions: Sequence[Function], truth: Mapping[str, int], prime: int, budget: Budget, *, all_of_them: bool = True
) -> FibreAnswer:
    """The verdict of every variable, given that the functions are known and nothing else.

    Args:
        functions: generators; constant ones are skipped.
        truth: name -> random value modulo `prime`, in the order of the variables' positions.
        prime: below 2^31, random.
        budget: time limit.
        all_of_them: whether nothing else is known; otherwise no verdict is "local" or "none".

    Example:
        >>> x, y = ((0, 1),), ((1, 1),)
        >>> total = Function({x: 1, y: 1}, {(): 1})
        >>> product = Function({((0, 1), (1, 1)): 1}, {(): 1})
        >>> fibre_identifiability([total, product], {"a": 5, "b": 7}, 65521, Budget(5.0)).verdicts
        {'a': 'local', 'b': 'local'}
    """
    names = list(truth)
    functions = sorted(functions, key=lambda function: function.size)
    gradients = [slopes(function, list(truth.values()), prime) for function in functions] or [[0] * len(names)]
    solved, moved = _solved(gradients, prime, len(names))
    verdicts = {name: "none" if k in moved and all_of_them else "undecided" for k, name in enumerate(names)}
    asked = [name for k, name in enumerate(names) if k not in moved]
    reason, used = "", 0
    if not asked:
        return FibreAnswer(verdicts, reason, used)
    for used in _subsets(gradients, prime, len(solved)):
        try:
            equations, variables = _equations(functions[:used], names, truth, prime, set(solved))
            basis = groebner_basis(equations, len(variables), prime, seconds=budget.left)
        except Undecided as problem:
            reason = str(problem)
            break
        fixed = {variables[k] for k in basis.values}
        verdicts |= {name: "global" for name in asked if name in fixed}
        if all(verdicts[name] == "global" for name in asked):
            break
        if used == len(functions) and all_of_them:
            verdicts |= {name: "local" for name in asked if name not in fixed}
    return FibreAnswer(verdicts, reason, used)


def fibre_sample(
    functions: Sequence[Function], truth: Mapping[str, int], prime: int, budget: Budget, *,
    known: Collection[str] = (), fixed: Collection[str] = ()
) -> Sample:  # fmt: skip
    """The points that all functions do not tell from the true one, as a `Sample`.

    Args:
        functions, truth, prime, budget: see `fibre_identifiability`.
        known: names of which the functions, or more of them, have been found to determine the value.
        fixed: names that are fixed before any others where the functions leave a choice. The number of points depends
            on what is fixed (of a*b and a + b + c with c fixed there are two, with a fixed one).

    Raises:
        Undecided: the basis takes too long or has too many points.
    """
    names = list(truth)
    gradients = [slopes(function, list(truth.values()), prime) for function in functions]
    gradients += [[int(name == each) for name in names] for each in known]
    solved, _ = _solved(gradients, prime, len(names), [k for k, name in enumerate(names) if name in fixed])
    null = _null(_matrix(gradients, prime, len(names)))
    left = tuple(name for k, name in enumerate(names) if k not in solved)
    solved = [k for k in solved if names[k] not in known]
    if not solved:
        return constant_sample(truth, prime, null, left)
    equations, variables = _equations(functions, names, truth, prime, set(solved))
    basis = groebner_basis(equations, len(variables), prime, seconds=budget.left)
    wanted = [k for k, name in enumerate(variables) if name in truth]
    algebra = quotient(basis, wanted)
    matrices = {name: algebra.number(value) for name, value in truth.items()}
    matrices |= {variables[k]: algebra.matrices[k] for k in wanted}
    return Sample(prime, algebra.degree, dict(truth), matrices, null, left)


def constant_sample(truth: Mapping[str, int], prime: int, null: list[list[int]], fixed: tuple[str, ...]) -> Sample:
    """The sample where everything is one number."""
    algebra = Quotient(prime, 1, {})
    return Sample(prime, 1, dict(truth), {name: algebra.number(value) for name, value in truth.items()}, null, fixed)


def from_sympy(expression: sympy.Expr, names: Sequence[str], prime: int) -> Function:
    """A rational SymPy expression as a `Function`."""
    parts = (
        {monomial: c.numerator * pow(c.denominator, -1, prime) % prime for monomial, c in part}
        for part in _terms(expression, tuple(names))
    )
    return Function(*parts)


@lru_cache(maxsize=1024)
def _terms(expression: sympy.Expr, names: tuple[str, ...]) -> list[list[tuple[Monomial, Fraction]]]:
    """Monomials with rational coefficients of numerator and denominator."""
    symbols = [sympy.Symbol(name) for name in names]
    return [
        [
            (tuple((k, int(power)) for k, power in enumerate(powers) if power), Fraction(int(c.p), int(c.q)))
            for powers, c in sympy.Poly(part, *symbols).terms()
        ]
        for part in sympy.fraction(sympy.together(expression))
    ]


def slopes(function: Function, values: Sequence[int], prime: int) -> list[int]:
    """The gradient of a rational function at a point."""
    inverses = [pow(number, -1, prime) for number in values]
    (top, tops), (bottom, bottoms) = (
        _expanded(part, values, inverses, prime) for part in (function.numerator, function.denominator)
    )
    scale = pow(bottom, -2, prime)
    return [(a * bottom - top * b) * scale % prime for a, b in zip(tops, bottoms, strict=True)]


def value(polynomial: Polynomial, values: Sequence[int], prime: int) -> int:
    """A polynomial at a point."""
    total = 0
    for monomial, term in polynomial.items():
        for k, power in monomial:
            term = term * (values[k] if power == 1 else pow(values[k], power, prime)) % prime
        total += term
    return total % prime


def _expanded(polynomial: Polynomial, values: Sequence[int], inverses: Sequence[int], prime: int):
    """A polynomial and its gradient at a point."""
    total, gradient = 0, [0] * len(values)
    for monomial, term in polynomial.items():
        for k, power in monomial:
            term = term * (values[k] if power == 1 else pow(values[k], power, prime)) % prime
        total += term
        for k, power in monomial:
            gradient[k] += power * term
    return total % prime, [slope * inverse % prime for slope, inverse in zip(gradient, inverses, strict=True)]


def _matrix(rows, prime: int, columns: int) -> nmod_mat:
    return nmod_mat(len(rows), columns, [entry for row in rows for entry in row], prime)


def _null(matrix: nmod_mat) -> list[list[int]]:
    columns, nullity = matrix.nullspace()
    return [[int(columns[i, j]) for i in range(columns.nrows())] for j in range(nullity)]


def _solved(gradients, prime: int, count: int, last: Sequence[int] = ()) -> tuple[list[int], set[int]]:
    """Variables to solve for, those of `last` only where the others do not do, and those that are not identifiable.

    The variables that are not solved for are fixed at their values.
    """
    order = [*(k for k in range(count) if k not in last), *last]
    reduced, rank = _matrix([[row[k] for k in order] for row in gradients], prime, count).rref()
    pivots = [order[next(j for j in range(count) if int(reduced[i, j]))] for i in range(rank)]
    return pivots, {k for row in _null(_matrix(gradients, prime, count)) for k, entry in enumerate(row) if entry}


def _subsets(gradients, prime: int, rank: int):
    """Growing numbers of functions, from the first that suffice locally up to all."""
    count = len(gradients)
    first = next((n for n in range(1, count + 1) if _matrix(gradients[:n], prime, len(gradients[0])).rank() == rank), 0)
    sizes = {min(count, size) for size in (first, first + 1, first + 3, 2 * first, 4 * first, count) if first}
    return sorted(sizes)


def _equations(functions, names, truth, prime: int, solved: set[int]) -> tuple[list[dict], list[str]]:
    """c(theta) = c(theta*) without denominators, which must not vanish, in the variables that are solved for."""
    values = list(truth.values())
    order = sorted(solved)
    place = {k: i for i, k in enumerate(order)}
    variables = [names[k] for k in order]
    equations, divisors = [], {}
    for function in functions:
        at = value(function.numerator, values, prime) * pow(value(function.denominator, values, prime), -1, prime)
        difference = dict(function.numerator)
        for monomial, coefficient in function.denominator.items():
            difference[monomial] = (difference.get(monomial, 0) - at * coefficient) % prime
        equations.append(_restricted(difference, values, place, prime))
        divisor = _restricted(function.denominator, values, place, prime)
        if any(divisor):
            divisors[frozenset(divisor.items())] = divisor
    for divisor in divisors.values():
        variables.append(f"1/{len(variables)}")
        inverse = len(variables) - 1
        equations.append({(*monomial, (inverse, 1)): c for monomial, c in divisor.items()} | {(): prime - 1})
    return [equation for equation in equations if equation], variables


def _restricted(polynomial, values, place: Mapping[int, int], prime: int) -> dict:
    out: dict = {}
    for monomial, term in polynomial.items():
        rest = []
        for k, power in monomial:
            if k in place:
                rest.append((place[k], power))
            else:
                term = term * pow(values[k], power, prime) % prime
        key = tuple(rest)
        out[key] = (out.get(key, 0) + term) % prime
    return {monomial: c for monomial, c in out.items() if c}
