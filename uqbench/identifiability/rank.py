"""The rank of the Jacobian of all output derivatives, and how far to differentiate until it is all there.

At a generic start one still stand is final: if the gradients of order k + 1 depend on those before, so do all later
ones. A start that the model gives may be special: a state that begins at zero shows late, or never. There the rank is
compared with that of a start shifted by generic known amounts, which it cannot exceed. Where it falls short, the order
goes far beyond states + unknowns, and a remaining gap is reported as a property of this start.
"""

from dataclasses import dataclass, replace

import numpy as np

from .taylor import Jacobian, Question, random_point

REPEATS = 2
# Beyond states + unknowns; series of this length still take less than a second for some hundred operations.
LARGEST_ORDER = 64


@dataclass(frozen=True)
class Rank:
    """The outcome of the rank test.

    Args:
        jacobians: one per point of different fields, the highest rank first.
        rank: of the Jacobian.
        order: derivative at which the rank was reached.
        failure_probability: bound on the probability that the rank is wrong.
        generic: for a special start, the outcome at generic ones, whose rank is higher.
    """

    jacobians: tuple[Jacobian, ...]
    rank: int
    order: int
    failure_probability: float
    generic: "Rank | None" = None


def rank_test(question: Question, rng: np.random.Generator) -> Rank:
    """The rank for a question, from random points in random prime fields."""
    if question.initial != "given":
        return _repeated(question, rng, None)
    generic = _repeated(replace(question, initial="shifted"), rng, None)
    given = _repeated(question, rng, generic)
    return given if given.rank == generic.rank else replace(given, generic=generic)


def _repeated(question: Question, rng: np.random.Generator, generic: Rank | None) -> Rank:
    order = generic.order if generic else 1 + -(-len(question.unknowns) // len(question.outputs))
    outcomes = []
    for _ in range(REPEATS):
        point = random_point(question, rng)
        while True:
            jacobian = point.jacobian(order)
            rank = jacobian.matrix().rank()
            reached_at = _first_order(jacobian, rank)
            enough = _enough(question, rank, order, reached_at, generic)
            if order >= enough:
                break
            order = enough
        outcomes.append((rank, reached_at, jacobian))
    outcomes.sort(key=lambda outcome: -outcome[0])
    rank, reached_at, jacobian = outcomes[0]
    probability = min(1.0, _failure(question, order, jacobian.prime)) ** REPEATS
    return Rank(tuple(outcome[2] for outcome in outcomes), rank, reached_at, probability)


def _enough(question: Question, rank: int, order: int, reached_at: int, generic: Rank | None) -> int:
    """The order at which the rank can be trusted."""
    if rank == (generic.rank if generic else len(question.unknowns)):
        return order
    if generic is None:
        return order if reached_at < order else 2 * order
    # A state that leaves zero like t enters a term of degree d like t^d.
    least = len(question.unknowns) + len(question.program.states)
    slow = len(question.unknowns) + len(question.program.states) * max(_degrees(question))
    return max(least, min(max(slow, 2 * reached_at + 2), LARGEST_ORDER))


def _first_order(jacobian: Jacobian, rank: int) -> int:
    """The lowest order at which the rank is reached, by bisection."""
    low, high = 0, len(jacobian.rows) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if jacobian.matrix(middle).rank() == rank else (middle + 1, high)
    return low


class Degrees:
    """The algebra of degrees (numerator, denominator) in the random values; exp and log count as one more of these."""

    def constant(self, value):
        return 0, 0

    def add(self, x, y):
        return max(x[0] + y[1], y[0] + x[1]), x[1] + y[1]

    sub = add

    def mul(self, x, y):
        return x[0] + y[0], x[1] + y[1]

    def div(self, x, y):
        return x[0] + y[1], x[1] + y[0]

    def neg(self, x):
        return x

    def integer_power(self, x, n: int):
        return (x[0] * n, x[1] * n) if n > 0 else (x[1] * -n, x[0] * -n)

    def function(self, name: str, x):
        return 1 + x[0], 1 + x[1]


def _degrees(question: Question) -> list[int]:
    """Degree, numerator and denominator together, of every right-hand side and output."""
    program = question.program
    roots = [*program.rhs.values(), *program.initial.values(), *(program.observe[name] for name in question.outputs)]
    out = program.run(Degrees(), dict.fromkeys(program.symbols(roots), (1, 0)), program.cone(roots))
    return [sum(out[index]) for index in roots]


def _failure(question: Question, order: int, prime: int) -> float:
    """Bound on the probability that a maximal minor vanishes at a random point.

    With numerators and the common denominator of degree d, a derivative of order k has a numerator of degree
    d (2 k + 1), its gradient at most twice that, and a minor the sum over its rows, of which there are at most as many
    as unknowns; a polynomial of degree D vanishes at a random point with probability at most D / prime (Schwartz 1980,
    doi:10.1145/322217.322225).
    """
    return 2.0 * len(question.unknowns) * max(sum(_degrees(question)), 1) * (2 * order + 1) / prime
