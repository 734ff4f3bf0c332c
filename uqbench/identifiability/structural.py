"""Local structural identifiability: what the equations and the outputs allow to be known, whatever the data.

The question is asked of one unit with noise-free outputs: can its parameters be found, up to finitely many values, from
the measured outputs alone? The answer is the rank of the Jacobian of the output derivatives (`taylor`), exact but for a
stated probability. Parameters that enter no equation follow from their place in the hierarchy: those of a distribution
between units are known from many units, those of the noise from replicates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import xarray as xr

from ..design import Design
from ..errors import InputError
from ..symbols import Program, exact, trace
from .field import Elementary, NotAnalytic
from .symmetries import echelon, integer_basis, linear, monomial, null_space, orthogonal, rational, stacked
from .taylor import INITIALS, Jacobian, Question, random_point

METHOD = "rank of the Taylor coefficients modulo a prime (Sedoglavic 2002, doi:10.1006/jsco.2002.0532)"
REPEATS = 2
LOCAL = "finitely many values give the same outputs"
POPULATION = "population: known from many units if the individual parameter is identifiable"
NOISE = "noise: from replicates or residuals, not from the mean"


@dataclass(frozen=True)
class Rank:
    """The outcome of the rank test.

    Args:
        jacobians: one per point; the first of them decide the rank, all are used for what holds everywhere.
        rank: of the Jacobian.
        order: derivative at which the rank was reached.
        failure_probability: bound on the probability that the rank, or a verdict from it, is wrong.
    """

    jacobians: tuple[Jacobian, ...]
    rank: int
    order: int
    failure_probability: float


@dataclass(frozen=True)
class Finding:
    """What was found of one unknown."""

    verdict: str
    reason: str
    combination: str = ""


def structural_identifiability(
    model, *, design: Design | None = None, initial: str = "given", seed: int = 0
) -> xr.Dataset:
    """Which parameters the measured outputs determine locally, and which combinations of the others.

    Args:
        model: a model with an `Ode` system; the outputs with noise count as measured (all, if none has any).
        design: shapes of the inputs and the start time. Inputs are known, at generic constant values; they need
            no design if they are single numbers.
        initial: "given": the states start as the model says; "known": at other, generic, known values;
            "unknown": the initial states are asked for too.
        seed: of the random points and primes.

    Returns:
        by `parameter` (the free ones): `verdict` "local" or "none", `reason` in words, `combination` the identifiable
        monomials or sums that contain it; by `state` (initial="unknown") the same as `state_verdict`,
        `state_reason`; `direction` (`null_direction`, `unknown`): changes of the logarithms that leave all outputs
        as they are, integers where they are the same everywhere, NaN where they depend on the values. Attributes:
        `rank` of so many `unknowns`, `order` of the derivative that completed it, `failure_probability`, `method`.

    Raises:
        InputError: operations without an algebraic meaning; a start at which the equations have no Taylor series.

    Example:
        >>> from forward_models.secretion import model
        >>> structural_identifiability(model).combination.sel(parameter="s").item()
        's*q'
    """
    subject = f"structural identifiability of {model.name!r}" if model.name else "structural identifiability"
    if initial not in INITIALS:
        raise InputError(subject, [f"initial={initial!r}; known are {', '.join(map(repr, INITIALS))}."])
    question = pose(model, design, initial)
    rng = np.random.default_rng(seed)
    try:
        outcome = rank_test(question, rng)
    except NotAnalytic:
        raise InputError(subject, _start_findings(question, rng)) from None
    names = question.unknowns
    findings = dict(zip(names, _findings(question, outcome, rng), strict=True))
    findings |= _hierarchy(model, question, findings)
    return _dataset(model, question, outcome, findings)


def pose(model, design: Design | None, initial: str) -> Question:
    """The question that a model raises: fixed parameters are known, the free ones in its equations unknown."""
    known = {name: exact(float(model.space[name].dist)) for name in model.space.fixed}
    program = trace(model, design).rewrite(Elementary(), known)
    outputs = tuple(name for name in program.outputs if name in model.noise) or program.outputs
    roots = [*program.rhs.values(), *(program.observe[name] for name in outputs)]
    entering = program.symbols(roots if initial == "unknown" else [*roots, *program.initial.values()])
    unknowns = tuple(name for name in model.space.free if name in entering)
    unknowns += program.states if initial == "unknown" else ()
    start = exact(float(design.start)) if design is not None else Fraction(0)
    return Question(program, unknowns, outputs, initial, start)


def rank_test(question: Question, rng: np.random.Generator) -> Rank:
    """The rank at several random points of several random prime fields.

    The order of differentiation is raised until the rank is full or stands still. At a generic start one still stand is
    final: if the gradients of order k + 1 depend on those before, so do all later ones. A given start may be special
    (a state that begins at zero), so there the order goes at least to states + unknowns and to twice the order that
    last added something.
    """
    order = 1 + -(-len(question.unknowns) // len(question.outputs)) if question.unknowns else 0
    jacobians, settled, best = [], 0, 0
    for _ in range(REPEATS):
        point = random_point(question, rng)
        while True:
            jacobian = point.jacobian(order)
            rank = jacobian.matrix().rank()
            settled = _first_order(jacobian, rank)
            enough = _enough(question, rank, order, settled)
            if order >= enough:
                break
            order = enough
        jacobians.append(jacobian)
        best = max(best, rank)
    jacobians.sort(key=lambda jacobian: -jacobian.matrix().rank())
    probability = min(1.0, _failure(question, best, order, jacobians[0].prime)) ** REPEATS
    return Rank(tuple(jacobians), best, settled, probability)


def _enough(question: Question, rank: int, order: int, settled: int) -> int:
    """The order at which the rank can be trusted."""
    if rank == len(question.unknowns):
        return order
    if question.initial != "given":
        return order if settled < order else 2 * order
    return max(len(question.unknowns) + len(question.program.states), 2 * settled + 2)


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


def _failure(question: Question, rank: int, order: int, prime: int) -> float:
    """Bound on the probability that a maximal minor vanishes at a random point (Schwartz 1980, doi:10.1145/322217.322225).

    With numerators and the common denominator of degree d, a derivative of order k has a numerator of degree
    d (2 k + 1), its gradient at most twice that, and a minor of `rank` rows the sum over its rows.
    """
    program = question.program
    roots = [*program.rhs.values(), *program.initial.values(), *(program.observe[name] for name in question.outputs)]
    names = {name: (1, 0) for name in program.symbols(roots)}
    out = program.run(Degrees(), names, program.cone(roots))
    degree = max(out[index][0] for index in roots) + sum(out[index][1] for index in roots)
    return 2.0 * rank * max(degree, 1) * (2 * order + 1) / prime


def _findings(question: Question, outcome: Rank, rng: np.random.Generator) -> list[Finding]:
    """A verdict for every unknown of the question."""
    names, jacobian = question.unknowns, outcome.jacobians[0]
    free = null_space(jacobian.matrix()) if names else []
    moved = [k for k in range(len(names)) if any(row[k] for row in free)]
    if not moved:
        return [Finding("local", LOCAL)] * len(names)
    points = _more_points(question, outcome, len(moved), rng)
    combinations = _combinations(points, moved, names)
    out = []
    for k, name in enumerate(names):
        if k not in moved:
            out.append(Finding("local", LOCAL))
            continue
        found = [text for members, text in combinations if k in members]
        alone = any(row[k] and sum(map(bool, row)) == 1 for row in free)
        out.append(Finding("none", _why(name, names, k, free, found, alone), ", ".join(found)))
    return out


def _why(name: str, names: Sequence[str], k: int, free, found: Sequence[str], alone: bool) -> str:
    if alone:
        return "never seen: no measured output depends on it"
    if found:
        return f"only in combination: {', '.join(found)}"
    others = sorted({i for row in free if row[k] for i, entry in enumerate(row) if entry} - {k})
    return f"a change of it is undone by {', '.join(names[i] for i in others)}"


def _more_points(question: Question, outcome: Rank, moved: int, rng: np.random.Generator) -> list[Jacobian]:
    """Points of one field, as many as show anything new about the null space."""
    first = outcome.jacobians[0]
    points, span = [first], null_space(first.matrix())
    field = random_point(question, rng).field
    points, span = [], []
    while True:
        point = random_point(question, rng, field).jacobian(len(first.rows) - 1)
        if point.matrix().rank() < outcome.rank:
            continue
        larger = echelon(span + null_space(point.matrix()), field.prime)
        points.append(point)
        if len(points) > 1 and len(larger) == len(span) or len(larger) == moved and len(points) > 1:
            return points
        span = larger


def _combinations(points: list[Jacobian], moved: list[int], names: Sequence[str]) -> list[tuple[set[int], str]]:
    """Identifiable monomials of the moved unknowns; sums for those that occur in no monomial."""
    prime, found = points[0].prime, []
    covered: set[int] = set()
    for matrices, text in (([p.matrix() for p in points], monomial), ([p.natural() for p in points], linear)):
        span = echelon([row for matrix in matrices for row in null_space(matrix)], prime)
        span = [[row[k] for k in moved] for row in span]
        for row in integer_basis(orthogonal(span, prime), prime):
            members = {k for k, entry in zip(moved, row, strict=True) if entry}
            if not members <= covered:
                found.append((members, text(row, [names[k] for k in moved])))
        covered = {k for members, _ in found for k in members}
    return found
