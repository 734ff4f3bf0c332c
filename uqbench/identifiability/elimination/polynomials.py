"""Polynomials modulo a prime for elimination: python-flint's `nmod_mpoly`, always in as few variables as they have.

FLINT packs the exponents of all variables of a context into every term, so a polynomial that lives in the smallest
context is divided and multiplied fastest. Here every polynomial is kept `trimmed` to the variables that occur in it;
operations on several first bring them together (`Ring.join`); the variables have one fixed order.

Whatever is decided at random points errs with a probability of about degree/prime.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from flint import Ordering, nmod_mpoly, nmod_mpoly_ctx, nmod_poly
from flint.utils.flint_exceptions import DomainError

LINES = 8


class Ring:
    """Names in their order, and the contexts for subsets of them.

    Args:
        names: in the order of the monomials, largest first; more may be added later (`add`).
        prime: the modulus.
    """

    def __init__(self, names: Iterable[str], prime: int):
        self.prime = prime
        self.position: dict[str, int] = {}
        self.add(names)

    def add(self, names: Iterable[str]) -> None:
        for name in names:
            self.position.setdefault(name, len(self.position))

    def context(self, names: Iterable[str]) -> nmod_mpoly_ctx:
        ordered = sorted(set(names), key=self.position.__getitem__)
        return nmod_mpoly_ctx.get(ordered, self.prime, Ordering.lex)

    def generator(self, name: str) -> nmod_mpoly:
        return self.context([name]).gen(0)

    def constant(self, value: int) -> nmod_mpoly:
        return self.context([]).constant(value % self.prime)

    def join(self, *polynomials: nmod_mpoly) -> list[nmod_mpoly]:
        """The same polynomials in one context."""
        contexts = {f.context() for f in polynomials}
        if len(contexts) == 1:
            return list(polynomials)
        common = self.context(name for context in contexts for name in context.names())
        return [f if f.context() is common else f.project_to_context(common) for f in polynomials]

    def trim(self, f: nmod_mpoly) -> nmod_mpoly:
        """The same polynomial without the variables that do not occur."""
        names = f.context().names()
        used = occurring(f)
        return f if len(used) == len(names) else f.project_to_context(self.context(used))

    def product(self, factors: Iterable[nmod_mpoly]) -> nmod_mpoly:
        out = self.constant(1)
        for factor in factors:
            a, b = self.join(out, factor)
            out = a * b
        return out


def occurring(f: nmod_mpoly) -> list[str]:
    """Names of the variables that occur in f."""
    return [name for name, degree in zip(f.context().names(), f.degrees(), strict=True) if degree > 0]


def degree(f: nmod_mpoly, name: str) -> int:
    """The degree of f in a variable (0 also for the zero polynomial)."""
    names = f.context().names()
    return max(f.degrees()[names.index(name)], 0) if name in names else 0


def evaluate(f: nmod_mpoly, point: Mapping[str, int]) -> int:
    """The value at a point that has all variables of f."""
    names = f.context().names()
    return int(f(*[point[name] for name in names])) if names else int(f.leading_coefficient()) if len(f) else 0


def coefficients(f: nmod_mpoly, name: str) -> list[nmod_mpoly]:
    """The coefficients of f by powers of one variable, lowest first, in the context of f."""
    out, rest, factorial = [], f, 1
    for k in range(degree(f, name) + 1):
        lowest = rest.subs({name: 0}) if degree(rest, name) else rest
        out.append(lowest * pow(factorial, -1, f.context().modulus()))
        rest, factorial = rest.derivative(name) if name in f.context().names() else rest, factorial * (k + 1)
    return out


def leading(f: nmod_mpoly, name: str) -> nmod_mpoly:
    """The coefficient of the highest power of one variable."""
    d, factorial = degree(f, name), 1
    for k in range(d):
        f, factorial = f.derivative(name), factorial * (k + 1)
    return f * pow(factorial, -1, f.context().modulus())


def divide(f: nmod_mpoly, g: nmod_mpoly) -> nmod_mpoly | None:
    """f/g where the division is exact, in one context."""
    try:
        return f / g
    except DomainError:
        return None


def on_line(ring: Ring, f: nmod_mpoly, base: Mapping[str, int], slope: Mapping[str, int]) -> nmod_poly:
    """f along the line base + t slope, as a polynomial of t."""
    names = f.context().names()
    steps = range(f.total_degree() + 1)
    values = [evaluate(f, {name: (base[name] + t * slope[name]) % ring.prime for name in names}) for t in steps]
    return interpolate(values, ring.prime)


def interpolate(values: Sequence[int], prime: int) -> nmod_poly:
    """The polynomial with these values at 0, 1, 2, ... (Newton's forward differences)."""
    differences, out, basis, factorial = list(values), nmod_poly([0], prime), nmod_poly([1], prime), 1
    for k in range(len(values)):
        out += basis * (differences[0] * pow(factorial, -1, prime) % prime)
        differences = [(b - a) % prime for a, b in pairwise(differences)]
        basis, factorial = basis * nmod_poly([-k % prime, 1], prime), factorial * (k + 1) % prime
    return out


def random_line(ring: Ring, rng: np.random.Generator, names: Iterable[str]) -> tuple[dict, dict]:
    """Base and direction of a random line."""
    names = list(names)
    draw = rng.integers(1, ring.prime, (2, len(names))).tolist()
    return dict(zip(names, draw[0], strict=True)), dict(zip(names, draw[1], strict=True))


def unhurried(products: int = 0) -> None:
    """The check of the time where there is no limit (see `Budget.check`)."""


def times(f: nmod_mpoly, g: nmod_mpoly, check: Callable[..., None]) -> nmod_mpoly:
    """f g, unless that would take too long."""
    check(len(f) * len(g))
    return f * g


def content(f: nmod_mpoly, name: str, check: Callable[..., None] = unhurried) -> nmod_mpoly:
    """The common factor of the coefficients of f in one variable."""
    parts = sorted((part for part in coefficients(f, name) if len(part)), key=len)
    common = parts[0]
    for part in parts[1:]:
        if common.is_constant():
            break
        check()
        common = common.gcd(part)
    return common


def size(f: nmod_mpoly, main: str) -> tuple[int, int]:
    """The degree of f in `main`, and the largest total degree in all other variables of a coefficient."""
    parts = coefficients(f, main)
    return len(parts) - 1, max(part.total_degree() for part in parts)


def image_size(
    f: nmod_mpoly, g: nmod_mpoly, name: str, main: str, base: Mapping[str, int], slope: Mapping[str, int]
) -> tuple[int, int] | None:
    """The `size` of the irreducible factor of res(f, g; name) that vanishes at `base`, without computing either.

    An irreducible polynomial keeps its size and stays irreducible on almost every plane in the direction of `main` and
    along a line (Hilbert, Bertini; E. Kaltofen, J. Comput. Syst. Sci. 50, 1995, doi:10.1006/jcss.1995.1023). So two
    small polynomials are eliminated and factored there. None where the image is degenerate.
    """
    prime = f.context().modulus()
    context = nmod_mpoly_ctx.get(["x", "s", "t"], prime, Ordering.lex)
    x, s, t = context.gens()

    def image(part: nmod_mpoly) -> nmod_mpoly:
        names = part.context().names()
        return part.compose(
            *(x if n == name else s if n == main else slope[n] * t + base[n] for n in names), ctx=context
        )

    f, g = sorted(map(image, (f, g)), key=lambda part: degree(part, "x"))
    if not degree(g, "x"):
        return None
    result = substitute(g, f, "x") if degree(f, "x") == 1 else f if not degree(f, "x") else f.resultant(g, "x")
    at = {"x": 0, "s": base[main], "t": 0}
    found = [factor for factor, _ in result.factor()[1] if evaluate(factor, at) == 0]
    return (degree(found[0], "s"), degree(found[0], "t")) if len(found) == 1 else None


def substitute(f: nmod_mpoly, g: nmod_mpoly, name: str, check: Callable[..., None] = unhurried) -> nmod_mpoly:
    """f with `name` replaced by the root of g, which is linear in it, times as little as makes it a polynomial."""
    below, above = coefficients(g, name)
    parts = coefficients(f, name)
    while len(parts) > 1:
        top = parts.pop()
        if not len(top):
            continue
        check()
        common = top.gcd(above)
        top, factor = top / common, above / common
        parts = [times(part, factor, check) for part in parts]
        parts[-1] = parts[-1] - times(top, below, check)
    return parts[0]


def bezout(f: nmod_mpoly, g: nmod_mpoly, name: str, check: Callable[..., None] = unhurried) -> list[list[nmod_mpoly]]:
    """The Bezout matrix of f and g in one variable; its determinant is their resultant up to powers of an initial.

    Entry (i, j) is the coefficient of x^i y^j in (f(x) g(y) - f(y) g(x))/(x - y).
    """
    n = max(degree(f, name), degree(g, name))
    zero = f.context().constant(0)
    a, b = (part + [zero] * (n + 1 - len(part)) for part in (coefficients(f, name), coefficients(g, name)))
    matrix = [[zero] * n for _ in range(n)]
    for i in range(n):
        for j in range(i, n):
            entry = zero
            for k in range(min(i, n - 1 - j) + 1):
                entry = entry + (times(a[j + k + 1], b[i - k], check) - times(b[j + k + 1], a[i - k], check))
            matrix[i][j] = matrix[j][i] = entry
    return matrix


def without_common_factors(matrix: list[list[nmod_mpoly]], check: Callable[..., None] = unhurried) -> list[nmod_mpoly]:
    """Divides rows and then columns by the gcd of their entries, in place; returns these."""
    n, removed = len(matrix), []
    for cells in [[(i, j) for j in range(n)] for i in range(n)] + [[(i, j) for i in range(n)] for j in range(n)]:
        common = None
        for i, j in sorted(cells, key=lambda cell: len(matrix[cell[0]][cell[1]])):
            entry = matrix[i][j]
            check()
            if len(entry):
                common = entry if common is None else common.gcd(entry)
            if common is not None and common.is_constant():
                break
        if common is not None and not common.is_constant():
            removed.append(common)
            for i, j in cells:
                matrix[i][j] = matrix[i][j] / common
    return removed


def determinant(matrix: list[list[nmod_mpoly]], check: Callable[..., None] = unhurried) -> nmod_mpoly:
    """By expansion along the rows, sparsest first, with every minor computed once."""
    order = sorted(range(len(matrix)), key=lambda i: sum(map(len, matrix[i])))
    rows = [matrix[i] for i in order]
    # minors of the last rows, by their columns
    known: dict[tuple, nmod_mpoly] = {}

    def minor(first: int, columns: tuple) -> nmod_mpoly:
        if len(columns) == 1:
            return rows[first][columns[0]]
        if columns not in known:
            total = None
            for k, column in enumerate(columns):
                entry = rows[first][column]
                if not len(entry):
                    continue
                rest = minor(first + 1, columns[:k] + columns[k + 1 :])
                term = times(entry, rest, check)
                total = (term if k % 2 == 0 else -term) if total is None else total - term if k % 2 else total + term
            known[columns] = total if total is not None else matrix[0][0].context().constant(0)
        return known[columns]

    return minor(0, tuple(range(len(rows))))


@dataclass
class Factor:
    """An irreducible polynomial with a point at which it vanishes (None: none was found)."""

    polynomial: nmod_mpoly
    zero: dict[str, int] | None

    @classmethod
    def of(cls, ring: Ring, rng: np.random.Generator, f: nmod_mpoly) -> "Factor":
        """With a zero on a random line."""
        names = occurring(f)
        for _ in range(LINES):
            base, slope = random_line(ring, rng, names)
            image = on_line(ring, f, base, slope)
            for root in (int(-g[0] / g[1]) for g, _ in image.factor()[1] if g.degree() == 1):
                return cls(f, {name: (base[name] + root * slope[name]) % ring.prime for name in names})
        return cls(f, None)

    def may_divide(self, f: nmod_mpoly, elsewhere: Mapping[str, int]) -> bool:
        """False where f does not vanish at a zero of this factor, with all other variables `elsewhere`."""
        return self.zero is None or evaluate(f, {**elsewhere, **self.zero}) == 0


class Pool:
    """Irreducible factors that may turn up again, none of which vanishes on the solutions of the system."""

    def __init__(self, ring: Ring, rng: np.random.Generator, check: Callable[..., None] = unhurried):
        self.ring, self.rng, self.factors, self.check = ring, rng, [], check
        self._visited: set[str] = set()

    def add(self, f: nmod_mpoly, solution: Mapping[str, int]) -> None:
        """Adds the irreducible factors of f."""
        f = self.strip(self.ring.trim(f))
        if f.is_constant():
            return
        for factor, _ in f.factor()[1]:
            self.add_irreducible(self.ring.trim(factor), solution)

    def add_irreducible(self, f: nmod_mpoly, solution: Mapping[str, int]) -> None:
        if f.is_constant() or evaluate(f, solution) == 0:
            return
        if str(f) not in self._visited:
            self._visited.add(str(f))
            self.factors.append(Factor.of(self.ring, self.rng, f))

    def keep(self, solution: Mapping[str, int]) -> None:
        """Drops the factors that vanish on the solutions, after a change of variables."""
        self.factors = [factor for factor in self.factors if evaluate(factor.polynomial, solution)]

    def strip(self, f: nmod_mpoly, main: str | None = None) -> nmod_mpoly:
        """f without any factor from the pool (none of which contains `main`)."""
        elsewhere = random_line(self.ring, self.rng, self.ring.position)[0]
        parts = coefficients(f, main) if main else [f]
        smallest = min((part for part in parts if len(part)), key=len)
        for factor in sorted(self.factors, key=lambda factor: len(factor.polynomial)):
            if not set(occurring(factor.polynomial)) <= set(f.context().names()):
                continue
            if main and not factor.may_divide(smallest, elsewhere):
                continue
            divisor = factor.polynomial.project_to_context(f.context())
            while factor.may_divide(f, elsewhere):
                self.check()
                quotient = divide(f, divisor)
                if quotient is None:
                    break
                f = quotient
        return f
