"""Input-output equations of a rational system by successive elimination of its states, modulo a prime.

An input-output equation relates an output, its time derivatives and those of the inputs (the *jets*), without states.
Its coefficients, normalised, are what can be learnt of the parameters from (several) experiments. Here, as in the
projections of R. Dong, C. Goodbrake, H. Harrington and G. Pogudin (SIAM J. Appl. Algebra Geom. 7, 2023,
doi:10.1137/22M1469067), every output has one equation; it is differentiated along the system, a state is eliminated
between the two, and so on until no equation has states. Other than there the equations that were used up are kept as a
*chain*: the derivative of an equation is taken with the right-hand sides as they were given, and the states of the
chain are then eliminated from it one after the other. So the right-hand sides never grow.

Eliminating introduces extraneous factors; unless they are divided out at once they decide the time. Those that come
from earlier leading coefficients wait in a pool; the others are found as the content in the highest derivative. What
must never be divided out is the factor that vanishes on the solutions, so each is first tested on a random one.
"""

from dataclasses import dataclass, field

import numpy as np
from flint import Ordering, nmod_mpoly, nmod_mpoly_ctx

from ..budget import Budget, Undecided
from .polynomials import (
    Pool,
    Ring,
    bezout,
    coefficients,
    content,
    degree,
    determinant,
    divide,
    evaluate,
    image_size,
    leading,
    occurring,
    random_line,
    size,
    substitute,
    times,
    without_common_factors,
)  # fmt: skip
from .series import System, jet, jet_point

# an equation with more terms than this takes gigabytes
LARGEST_EQUATION = 2_000_000
# a term that is rewritten for another set of variables takes as long as so many products (some microsecond)
PROJECTION = 50


@dataclass(frozen=True)
class Link:
    """An equation that was used up: it determines `state` from later ones and jets, up to finitely many values."""

    state: str
    equation: nmod_mpoly


@dataclass(frozen=True)
class Change:
    """The change of variables that writes a state as (state - below)/slope."""

    ring: Ring
    state: str
    slope: nmod_mpoly
    below: nmod_mpoly

    def __call__(self, f: nmod_mpoly) -> nmod_mpoly:
        """f in the new variable, times slope to the degree of f."""
        if not degree(f, self.state):
            return f
        f, slope, below, x = self.ring.join(f, self.slope, self.below, self.ring.generator(self.state))
        total, power = None, f.context().constant(1)
        for part in reversed(coefficients(f, self.state)):
            total = part if total is None else total * (x - below) + part * power
            power = power * slope
        return self.ring.trim(total)

    def quotient(self, pair: tuple[nmod_mpoly, nmod_mpoly]) -> tuple[nmod_mpoly, nmod_mpoly]:
        """The same of a rational function, exactly."""
        degrees = [degree(part, self.state) for part in pair]
        if not any(degrees):
            return pair
        above, below, slope = self.ring.join(*map(self, pair), self.slope)
        above, below = above * slope ** degrees[1], below * slope ** degrees[0]
        common = above.gcd(below)
        return self.ring.trim(above / common), self.ring.trim(below / common)


@dataclass
class Equation:
    """The equation of one output; it contains no derivative of order `order` or higher of another output."""

    output: str
    order: int
    polynomial: nmod_mpoly

    @property
    def main(self) -> str:
        return jet(self.output, self.order)


@dataclass
class Elimination:
    """The state of the computation. Read `equations` after `run`.

    Args:
        system: modulo a prime.
        rng: of random points.
        budget: time limit, looked at between operations on polynomials.
    """

    system: System
    rng: np.random.Generator
    budget: Budget
    equations: dict[str, Equation] = field(init=False)
    chain: list[Link] = field(init=False)

    def __post_init__(self):
        system, ring = self.system, self.system.ring
        order = len(system.states) + 1
        names = [jet(name, k) for k in range(order, -1, -1) for name in system.outputs]
        names += [*system.states, *(jet(name, k) for k in range(order, -1, -1) for name in system.inputs)]
        ring.position = {}
        ring.add([*names, *system.inputs, *system.parameters])
        self.next = {jet(name, k): jet(name, k + 1) for name in (*system.outputs, *system.inputs) for k in range(order)}
        self.point = jet_point(system, self.rng, order)
        self.slope = random_line(ring, self.rng, self.point)[1]
        self.pool = Pool(ring, self.rng, self.budget.check)
        self.rhs = {name: tuple(map(self.with_jets, pair)) for name, pair in system.rhs.items()}
        self.chain, self.equations = [], {}
        for name, pair in system.observe.items():
            above, below, y = ring.join(*map(self.with_jets, pair), ring.generator(jet(name, 0)))
            self.equations[name] = Equation(name, 0, ring.trim(below * y - above))
            self.pool.add(below, self.point)
        for _, below in self.rhs.values():
            self.pool.add(below, self.point)

    def with_jets(self, f: nmod_mpoly) -> nmod_mpoly:
        """f with each input named as its derivative of order zero."""
        names = f.context().names()
        if not set(names) & set(self.system.inputs):
            return f
        mapping = {name: jet(name, 0) if name in self.system.inputs else name for name in names}
        return f.project_to_context(self.system.ring.context(mapping.values()), mapping=mapping)

    def run(self) -> dict[str, Equation]:
        """Eliminates all states.

        Raises:
            Undecided: the time is over, or an equation has too many terms.
        """
        while (output := self.choose_output()) is not None:
            self.step(output)
        return self.equations

    def choose_output(self) -> str | None:
        """The output whose equation is cheapest to use up; None when no equation has states left."""
        scores = []
        for name, equation in self.equations.items():
            degrees = [d for d in (degree(equation.polynomial, x) for x in self.system.states) if d]
            if degrees:
                low = min(degrees)
                scores.append((low * len(equation.polynomial), low, -degrees.count(low), name))
        return min(scores)[-1] if scores else None

    def choose_state(self, used: nmod_mpoly, derived: nmod_mpoly) -> str:
        """The state to eliminate next: of lowest degree, with the simplest leading coefficient."""
        return min(
            (degree(used, x), len(leading(used, x)) * max(1, degree(derived, x)), degree(derived, x), x)
            for x in self.system.states if degree(used, x)
        )[-1]  # fmt: skip

    def step(self, output: str) -> None:
        """Differentiates the equation of one output and eliminates one more state from all equations."""
        equation = self.equations[output]
        derived = Equation(output, equation.order + 1, self.derivative(equation.polynomial))
        for link in self.chain:
            derived.polynomial = self.eliminate(derived.polynomial, link.equation, link.state, derived.main)
        for other in self.equations.values():
            if other is not equation:
                derived.polynomial = self.eliminate(derived.polynomial, other.polynomial, other.main, derived.main)
        state = self.choose_state(equation.polynomial, derived.polynomial)
        if degree(equation.polynomial, state) == 1:
            derived.polynomial = self.straighten(leading(equation.polynomial, state), derived.polynomial)
        link = Link(state, equation.polynomial)
        self.pool.add(leading(link.equation, state), self.point)
        derived.polynomial = self.eliminate(derived.polynomial, link.equation, state, derived.main, last=True)
        for name, other in self.equations.items():
            if name != output:
                polynomial = self.eliminate(other.polynomial, link.equation, state, other.main, last=True)
                self.equations[name] = Equation(name, other.order, polynomial)
        self.equations[output] = derived
        self.chain.append(link)

    def straighten(self, initial: nmod_mpoly, derived: nmod_mpoly) -> nmod_mpoly:
        """Takes the initial of an equation as a state, instead of a state in which it is linear; returns `derived` so.

        The initial then is a single variable, and the powers of it that elimination brings in are divided out as such.
        """
        ring, states = self.system.ring, self.system.states
        initial = ring.trim(initial)
        for name in states:
            if degree(initial, name) != 1:
                continue
            below, slope = coefficients(initial, name)
            if any(degree(part, other) for part in (below, slope) for other in states):
                continue
            if not len(below):
                continue
            change = Change(ring, name, slope, below)
            rate = self.derivative_quotient(initial)
            rhs = {**self.rhs, name: rate}
            self.rhs = {key: change.quotient(pair) for key, pair in rhs.items()}
            self.point[name] = evaluate(initial, self.point)
            self.pool.keep(self.point)
            self.pool.add(slope, self.point)
            self.chain = [Link(link.state, self.clean(change(link.equation), link.state, None)) for link in self.chain]
            for equation in self.equations.values():
                equation.polynomial = self.clean(change(equation.polynomial), equation.main, None)
            return change(derived)
        return derived

    def derivative(self, f: nmod_mpoly) -> nmod_mpoly:
        """The numerator of the time derivative of f; states by the right-hand sides, jets by the next jet."""
        return self.derivative_quotient(f)[0]

    def derivative_quotient(self, f: nmod_mpoly) -> tuple[nmod_mpoly, nmod_mpoly]:
        """The time derivative of f, as numerator and denominator."""
        ring, parts = self.system.ring, []
        one = ring.constant(1)
        for name in occurring(f):
            if name in self.rhs:
                parts.append((f.derivative(name), *self.rhs[name]))
            elif name in self.next:
                parts.append((f.derivative(name), ring.generator(self.next[name]), one))
        common = one
        for _, _, below in parts:
            a, b = ring.join(common, below)
            common = a * (b / a.gcd(b))
        total, check = ring.constant(0), self.budget.check
        for slope, above, below in parts:
            a, b = ring.join(common, below)
            factor = ring.trim(a / b)
            check(PROJECTION * (len(total) + len(slope)))
            total, a, b, c = ring.join(total, slope, above, factor)
            total = total + times(a, times(b, c, check), check)
        check(PROJECTION * len(total))
        return ring.trim(total), common

    def eliminate(self, f: nmod_mpoly, g: nmod_mpoly, name: str, main: str, last: bool = False) -> nmod_mpoly:
        """The factor of the resultant of f and g in `name` that vanishes on the solutions; `main` occurs in it."""
        if not degree(f, name):
            return f
        self.budget.check()
        f, g = self.system.ring.join(f, g)
        expected = image_size(f, g, name, main, self.point, self.slope) if last else None
        f, g = reduce_pair(f, g, name)
        if degree(f, name) > degree(g, name):
            f, g = g, f
        # f has the lower degree now
        if degree(f, name) == 0:
            result = f
        elif degree(f, name) == 1:
            result = substitute(g, f, name, self.budget.check)
        else:
            result = self.resultant(*deflate(f, g, name), name)
        if len(result) > LARGEST_EQUATION:
            raise Undecided(f"an input-output equation with more than {LARGEST_EQUATION} terms on the way")
        self.budget.check()
        return self.clean(result, main, expected)

    def resultant(self, f: nmod_mpoly, g: nmod_mpoly, name: str) -> nmod_mpoly:
        """The determinant of the Bezout matrix without the common factors of rows and columns; they are put aside."""
        check = self.budget.check
        matrix = bezout(f, g, name, check)
        for factor in without_common_factors(matrix, check):
            if evaluate(factor, self.point) == 0:
                return factor
            self.pool.add(factor, self.point)
        return determinant(matrix, check)

    def clean(self, f: nmod_mpoly, main: str, expected: tuple[int, int] | None) -> nmod_mpoly:
        """f without factors from the pool; of the `expected` size, if given: without any extraneous factor."""
        ring = self.system.ring
        self.budget.check(PROJECTION * len(f))
        f = without_monomials(ring.trim(f))
        if expected is not None and size(f, main) == expected:
            return ring.trim(f)
        f = self.pool.strip(f, main if degree(f, main) else None)
        if not degree(f, main):
            return self.factored(f)
        if expected is None or size(f, main) == expected:
            return f
        extraneous = content(f, main, self.budget.check)
        if not extraneous.is_constant():
            self.pool.add(extraneous, self.point)
            f = ring.trim(f / extraneous)
        return f if size(f, main) == expected else self.factored(f)

    def factored(self, f: nmod_mpoly) -> nmod_mpoly:
        """As `clean`, by factoring in full."""
        self.budget.check()
        right = None
        for factor, _ in f.factor()[1]:
            factor = self.system.ring.trim(factor)
            if evaluate(factor, self.point) == 0:
                right = factor
            else:
                self.pool.add_irreducible(factor, self.point)
        if right is None:
            raise Undecided("no factor of an equation vanishes on the solutions: the random point was a special one")
        return right


def without_monomials(f: nmod_mpoly) -> nmod_mpoly:
    """f without the powers of single variables that divide it."""
    return f / f.term_content()


def reduce_pair(f: nmod_mpoly, g: nmod_mpoly, name: str) -> tuple[nmod_mpoly, nmod_mpoly]:
    """The pair with degrees in `name` lowered wherever one leading coefficient divides the other."""
    x = f.context().gen(f.context().names().index(name))
    while True:
        df, dg = degree(f, name), degree(g, name)
        if not df or not dg:
            return f, g
        if df < dg:
            f, g, df, dg = g, f, dg, df
        quotient = divide(leading(f, name), leading(g, name))
        if quotient is None and df == dg:
            f, g = g, f
            quotient = divide(leading(f, name), leading(g, name))
        if quotient is None:
            return f, g
        f = f - quotient * x ** (df - dg) * g


def deflate(f: nmod_mpoly, g: nmod_mpoly, name: str) -> tuple[nmod_mpoly, nmod_mpoly]:
    """Both in z instead of z^k where only powers of that occur in both."""
    names = f.context().names()
    k = names.index(name)
    common = int(np.gcd.reduce([monomial[k] for part in (f, g) for monomial in part.monoms()]))
    if common < 2:
        return f, g

    def divided(part):
        terms = {tuple(e // common if i == k else e for i, e in enumerate(m)): int(c) for m, c in part.terms()}
        return f.context().from_dict(terms)

    return divided(f), divided(g)


def generic_components(elimination: Elimination) -> int:
    """The number of generic components of the equations; 1 if their coefficients are all that can be known.

    Each equation contains the highest derivative of its own output only, so the generic solutions are a tensor product
    of field extensions, one for each equation that is not linear in it: a field, that is one component, if their
    compositum has the product of the degrees. Tested on a random line, where a random sum of the highest derivatives
    generates the compositum.
    """
    ring, rng = elimination.system.ring, elimination.rng
    nonlinear = [e for e in elimination.equations.values() if degree(e.polynomial, e.main) > 1]
    if len(nonlinear) < 2:
        return 1
    base, slope = random_line(ring, rng, {name for e in nonlinear for name in occurring(e.polynomial)})
    context = nmod_mpoly_ctx.get(["s", "z", "t"], ring.prime, Ordering.lex)
    s, z, t = context.gens()
    total = None
    for equation in nonlinear:
        names = equation.polynomial.context().names()
        images = (z if name == equation.main else slope[name] * t + base[name] for name in names)
        f = equation.polynomial.compose(*images, ctx=context)
        if total is None:
            total = f.compose(z, s, t, ctx=context)
            continue
        # s is the sum of those before and of z
        total = total.compose(s - int(rng.integers(1, ring.prime)) * z, z, t, ctx=context).resultant(f, "z")
    return sum(1 for factor, _ in total.factor()[1] if factor.degrees()[0] > 0)
