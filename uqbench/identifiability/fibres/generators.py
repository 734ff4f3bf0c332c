"""The simplest functions that generate all identifiable ones.

A rational function of the unknowns is identifiable exactly if no invisible direction moves it and all points of the
generic fibre agree on it; both are linear in a function with unknown coefficients. So candidates are tried from the
simplest on: single unknowns, monomials that the scaling symmetries leave alone, then sums of monomials (Laurent, of low
degree) from the null space of these conditions at several random points. A candidate is kept if it is not already a
function of those before it; the list is complete when its own fibre has as many dimensions and points as that of the
outputs. (For generators from coefficients of Groebner bases: J. Mueller-Quade, R. Steinwandt 1999,
doi:10.1006/jsco.1998.0246; A. Demin, G. Pogudin, arXiv:2404.19719.)
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import sympy
from flint import nmod_mat

from ..budget import Budget, Undecided
from ..symmetries import echelon, integer_basis, orthogonal
from .coefficient_fibre import fibre_sample, from_sympy
from .quotient import Sample

Exponents = tuple[int, ...]

LARGEST_ANSATZ = 500
LARGEST_POWER = 8
# of the time that is left, for one attempt
SHARE = 0.4
# A sum in the null space is taken only if its integer coefficients are as small as somebody would write them.
LARGEST_COEFFICIENT = 100


@dataclass(frozen=True)
class Generators:
    """Generators of the identifiable functions.

    Args:
        expressions: simplest first. complete: whether they generate all; reason: if not, what is missing.
    """

    expressions: tuple[sympy.Expr, ...]
    complete: bool
    reason: str


class Search:
    """Collects generators.

    Args:
        draw: a fresh sample in the same field.
        budget: time limit.
    """

    def __init__(self, draw: Callable[[], Sample], budget: Budget):
        self.budget, self._draw = budget, draw
        began = time.monotonic()
        self.samples = [draw(), draw()]
        self.seconds = (time.monotonic() - began) / 2
        first = self.samples[0]
        self.names = list(first.truth)
        self.single = [name for name in self.names if self.identifiable(sympy.Symbol(name))]
        self.rest = [name for name in self.names if name not in self.single]
        self.found: list[sympy.Expr] = []
        self._own: Sample | None = None
        self.lattice, self.scalings = self._symmetries()

    def sample(self, k: int) -> Sample:
        """Sample number k; a new one while there is time."""
        while len(self.samples) <= k:
            self.budget.check()
            self.samples.append(self._draw())
        return self.samples[k]

    def identifiable(self, expression: sympy.Expr) -> bool:
        """Whether the outputs determine it, at two points."""
        return all(sample.identifiable(expression) for sample in self.samples[:2])

    @property
    def complete(self) -> bool:
        """Whether the functions found generate everything that is identifiable."""
        self.budget.check()
        first = self.samples[0]
        own = self._field()
        if own is None:
            return len(first.null) == len(self.rest) and first.degree == 1
        return len(own.null) == len(first.null) and own.degree == first.degree

    def offer(self, expression: sympy.Expr) -> bool:
        """Keeps an identifiable function that those before it do not generate; whether it was kept."""
        self.budget.check()
        own = self._field()
        if own is not None and own.identifiable(expression):
            return False
        self.found.append(expression)
        self._own = None
        return True

    def _field(self) -> Sample | None:
        """The fibre of the functions found, with what is known by itself at its value."""
        if self._own is None and self.found:
            first = self.samples[0]
            truth = {name: first.truth[name] for name in self.rest}
            known = {sympy.Symbol(name): first.truth[name] for name in self.single}
            functions = [from_sympy(expression.xreplace(known), self.rest, first.prime) for expression in self.found]
            own = fibre_sample(functions, truth, first.prime, self.budget, fixed=first.fixed)
            numbers = {name: own.identity(first.truth[name]) for name in self.single}
            values = {name: first.truth[name] for name in self.single}
            null = [[*row, *(0 for _ in self.single)] for row in own.null]
            self._own = replace(own, truth=own.truth | values, matrices=own.matrices | numbers, null=null)
        return self._own

    def _symmetries(self) -> tuple[list[list[int]], list[list[int]]]:
        """Exponents of monomials of `rest` that no invisible direction moves, and the scaling symmetries."""
        where = [self.names.index(name) for name in self.rest]
        if not where:
            return [], []
        prime, span, k, common = self.samples[0].prime, [], 0, None
        while True:
            sample = self.sample(k)
            rows = [
                [row[i] * pow(sample.truth[self.names[i]], -1, prime) % prime for i in where] for row in sample.null
            ]
            common = rows if common is None else _meet(common, rows, prime)
            larger = echelon(span + rows, prime) if rows else span
            if k > 0 and len(larger) == len(span):
                break
            span, k = larger, k + 1
        lattice = (
            orthogonal(span, prime) if span else [[int(i == j) for j in range(len(where))] for i in range(len(where))]
        )
        return integer_basis(echelon(lattice, prime), prime), integer_basis(echelon(common, prime), prime)

    def monomials(self):
        """Monomials without invisible direction, short ones first."""
        vectors = set()
        for row in self.lattice:
            vectors |= {tuple(n * entry for entry in row) for n in range(1, LARGEST_POWER + 1)}
        for left, right in itertools.combinations(self.lattice, 2):
            for a, b in itertools.product((1, 2), (-2, -1, 1, 2)):
                vectors.add(_positive(tuple(a * x + b * y for x, y in zip(left, right, strict=True))))
        for triple in itertools.combinations(self.lattice, 3) if len(self.lattice) < 9 else ():
            for signs in itertools.product((-1, 1), repeat=2):
                vectors.add(_positive(tuple(x + signs[0] * y + signs[1] * z for x, y, z in zip(*triple, strict=True))))
        symbols = [sympy.Symbol(name) for name in self.rest]
        ordered = sorted(vectors, key=lambda v: (sum(map(abs, v)), -sum(v), [-abs(entry) for entry in v]))
        for vector in ordered:
            self.budget.check()
            if all(self._agreed(sample, vector) for sample in self.samples[:2]):
                yield sympy.Mul(*(symbol**entry for symbol, entry in zip(symbols, vector, strict=True)))

    def _agreed(self, sample: Sample, vector: Sequence[int]) -> bool:
        """Whether a monomial of `rest` has one value on the fibre."""
        if sample.degree == 1:
            return True
        above, below = sample.identity(), sample.identity()
        for name, power in zip(self.rest, vector, strict=True):
            if power > 0:
                above = above * sample.matrices[name] ** power
            elif power < 0:
                below = below * sample.matrices[name] ** -power
        value = 1
        for name, power in zip(self.rest, vector, strict=True):
            value = value * pow(sample.truth[name], power, sample.prime) % sample.prime
        return above == below * value

    def ansatz(self, degree: int, negative: int, known: int) -> list[Exponents]:
        """Exponents of Laurent monomials that the scalings leave alone: of `rest`, then of `single`.

        Args:
            degree: largest sum of positive exponents of `rest`; negative: largest sum of negative ones;
            known: largest sum of exponents of `single`.
        """
        count = len(self.rest)
        tops = [vector for d in range(degree + 1) for vector in _powers(count, d)]
        bottoms = [vector for d in range(negative + 1) for vector in _powers(count, d)]
        factors = [vector for d in range(known + 1) for vector in _powers(len(self.single), d)]
        if len(tops) * len(bottoms) > 100_000:
            return []
        out = set()
        for step, (top, bottom) in enumerate(itertools.product(tops, bottoms)):
            if step % 1000 == 0:
                self.budget.check()
            if any(a and b for a, b in zip(top, bottom, strict=True)):
                continue
            vector = tuple(a - b for a, b in zip(top, bottom, strict=True))
            if any(vector) and all(sum(a * b for a, b in zip(vector, s, strict=True)) == 0 for s in self.scalings):
                out |= {vector + factor for factor in factors}
            if len(out) > LARGEST_ANSATZ:
                return []
        return sorted(out, key=lambda v: (sum(map(abs, v)), [-entry for entry in v]))

    def affordable(self, exponents: Sequence[Exponents]) -> bool:
        """Whether there is time for as many samples as their sums take, and for other attempts."""
        first = self.samples[0]
        conditions = len(first.null) + (first.degree > 1) * (first.degree - 1)
        needed = len(exponents) / max(conditions, 1) - len(self.samples)
        return needed * self.seconds < self.budget.left * SHARE

    def suggested(self, shapes: Iterable[Sequence[Exponents]]) -> Iterator[list[Exponents]]:
        """Lists of monomials as an ansatz: without what is known by itself, and then with it."""
        order = [self.names.index(name) for name in (*self.rest, *self.single)]
        for shape in shapes:
            full = [tuple(exponents[k] for k in order) for exponents in shape]
            parts: dict[Exponents, set[Exponents]] = {}
            for vector in full:
                top, factor = vector[: len(self.rest)], vector[len(self.rest) :]
                parts.setdefault(factor, set()).add(top + (0,) * len(factor))
            yield from sorted((sorted(part) for part in parts.values() if len(part) > 1), key=len)
            if len(parts) > 1:
                yield full

    def sums(self, exponents: Sequence[Exponents]) -> list[sympy.Expr]:
        """A basis of the identifiable sums of these monomials with rational coefficients."""
        if not 1 < len(exponents) <= LARGEST_ANSATZ:
            return []
        prime, rows, k, before = self.samples[0].prime, [], 0, None
        while True:
            rows = echelon(rows + self._conditions(self.sample(k), exponents), prime)
            size = len(exponents) - len(rows)
            # the first point past the one at which the conditions stand still is the proof
            if size == 0 or (before == size and k > 1):
                break
            before, k = size, k + 1
        if size == 0:
            return []
        kept = orthogonal(rows, prime) if rows else [[int(i == j) for j in range(len(exponents))]
                                                     for i in range(len(exponents))]  # fmt: skip
        out = [
            (sum(1 for entry in row if entry), sum(map(abs, row)), self._sum(row, exponents))
            for row in integer_basis(kept, prime)
            if max(map(abs, row)) <= LARGEST_COEFFICIENT
        ]
        return [expression for _, _, expression in sorted(out, key=lambda item: (item[0], item[1], str(item[2])))]

    def _sum(self, coefficients: Sequence[int], exponents: Sequence[Exponents]) -> sympy.Expr:
        """A sum without the common factor that is known by itself, its first term positive."""
        terms = [(c, vector) for c, vector in zip(coefficients, exponents, strict=True) if c]
        common = [min(powers) for powers in zip(*(vector for _, vector in terms), strict=True)]
        common[: len(self.rest)] = [0] * len(self.rest)
        symbols = [sympy.Symbol(name) for name in (*self.rest, *self.single)]
        total = sympy.Add(*(
            c * sympy.Mul(*(s ** (e - least) for s, e, least in zip(symbols, vector, common, strict=True)))
            for c, vector in terms
        ))  # fmt: skip
        return -total if total.as_ordered_terms()[0].could_extract_minus_sign() else total

    def _conditions(self, sample: Sample, exponents) -> list[list[int]]:
        """Equations for the coefficients: no invisible direction moves the sum, and it has one value on the fibre."""
        prime, names = sample.prime, [*self.rest, *self.single]
        where = [self.names.index(name) for name in names]
        # exponents of what is known by itself may be negative too; only those that are need an inverse
        inverse = {
            name: sample.matrices[name].inv()
            for k, name in enumerate(names)
            if sample.degree > 1 and any(vector[k] < 0 for vector in exponents)
        }
        unit = nmod_mat(sample.degree, 1, [1] + [0] * (sample.degree - 1), prime)
        columns = []
        cache: dict[tuple[int, ...], nmod_mat] = {}
        for vector in exponents:
            self.budget.check()
            value = 1
            for name, power in zip(names, vector, strict=True):
                value = value * pow(sample.truth[name], power, prime) % prime
            column = []
            for row in sample.null:
                slope = sum(row[i] * power * pow(sample.truth[name], -1, prime)
                            for i, name, power in zip(where, names, vector, strict=True))  # fmt: skip
                column.append(slope * value % prime)
            if sample.degree > 1:
                image = self._image(sample, vector, inverse, unit, cache)
                column += [int(entry) for entry in (image - unit * value).entries()]
            columns.append(column)
        return [list(row) for row in zip(*columns, strict=True)]

    def _image(self, sample, vector, inverse, unit, cache):
        """A monomial applied to one."""
        if vector in cache:
            return cache[vector]
        if not any(vector):
            return unit
        i = next(i for i, entry in enumerate(vector) if entry)
        step = 1 if vector[i] > 0 else -1
        smaller = tuple(entry - step * (j == i) for j, entry in enumerate(vector))
        name = (*self.rest, *self.single)[i]
        matrix = sample.matrices[name] if step > 0 else inverse[name]
        cache[vector] = matrix * self._image(sample, smaller, inverse, unit, cache)
        return cache[vector]


def _positive(vector: tuple[int, ...]) -> tuple[int, ...]:
    """The vector with more in the numerator than in the denominator."""
    first = next((entry for entry in vector if entry), 0)
    return vector if (sum(vector), first) > (0, 0) else tuple(-entry for entry in vector)


def _powers(count: int, degree: int):
    for chosen in itertools.combinations_with_replacement(range(count), degree):
        yield tuple(chosen.count(k) for k in range(count))


def _meet(left: list[list[int]], right: list[list[int]], prime: int) -> list[list[int]]:
    """A basis of the common part of two row spaces."""
    if not left or not right:
        return []
    outside = [*orthogonal(left, prime), *orthogonal(right, prime)]
    return orthogonal(outside, prime) if outside else left


# degrees of the sums that are tried, in this order: positive, negative, in what is known by itself
SHORT = ((1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1))
MEDIUM = ((2, 0, 1), (2, 1, 0), (1, 1, 1), (3, 0, 0))
LONG = ((2, 1, 1), (1, 0, 2), (2, 2, 0), (3, 1, 0), (2, 0, 2), (3, 0, 1), (2, 2, 1))


def identifiable_generators(
    draw: Callable[[], Sample], budget: Budget, *, coefficients: Iterable[Sequence[Exponents]] = (),
    derivatives: Iterable[Sequence[Exponents]] = (), given: Sequence[sympy.Expr] = ()
) -> Generators:  # fmt: skip
    """Generators of the field of identifiable functions, simplest first.

    Args:
        draw: a fresh random sample, all in one field.
        coefficients, derivatives: exponents of monomials, by the order of the unknowns, of which an identifiable
            function is perhaps a sum; asked for when shorter sums do not suffice.
        given: functions that are known to generate it (coefficients of input-output equations); used where the
            search leaves a gap.
        budget: time limit.
    """
    try:
        search = Search(draw, budget)
    except Undecided as problem:
        return Generators((), False, str(problem))
    reason = ""
    try:
        _gather(search, coefficients, derivatives, given)
    except Undecided as problem:
        reason = str(problem)
    except ZeroDivisionError:
        reason = "an unknown vanishes at another point of the fibre"
    singles = [sympy.Symbol(name) for name in search.single]
    found = _pruned(search)
    try:
        complete = search.complete
    except Undecided as problem:
        complete, reason = False, str(problem)
    if not complete and not reason:
        reason = "no sum or monomial of low degree generates the rest"
    return Generators((*singles, *found), complete, reason)


def _gather(search: Search, coefficients, derivatives, given: Sequence[sympy.Expr]):
    if search.complete:
        return
    for monomial in search.monomials():
        if search.offer(monomial) and search.complete:
            return
    tried: set[Exponents] = set()
    reserve = search.budget.left / 2 if given else 0.0
    short, medium, long = (map(search.ansatz, *zip(*degrees, strict=True)) for degrees in (SHORT, MEDIUM, LONG))
    suggested = search.suggested(coefficients), search.suggested(derivatives)
    for exponents in itertools.chain(short, suggested[0], medium, suggested[1], long):
        if set(exponents) <= tried or search.budget.left < reserve or not search.affordable(exponents):
            continue
        tried |= set(exponents)
        for expression in search.sums(exponents):
            if search.budget.left < reserve:
                break
            if search.identifiable(expression) and search.offer(expression) and search.complete:
                return
    for expression in given:
        if search.offer(expression) and search.complete:
            return


def _pruned(search: Search) -> list[sympy.Expr]:
    """Without those that the others, later ones included, generate; long ones go first."""
    for expression in sorted(search.found, key=lambda e: -sympy.count_ops(e)):
        before, search.found = search.found, [other for other in search.found if other != expression]
        search._own = None
        try:
            dispensable = bool(search.found) and search._field().identifiable(expression)
        except Undecided:
            dispensable = False
        if not dispensable:
            search.found = before
    search._own = None
    return sorted(search.found, key=lambda e: (sympy.count_ops(e), str(e)))
