"""Global identifiability from the Taylor coefficients of the outputs at one random point (SIAN).

The outputs of a model with unknown generic starts generate a field; an order past the one at which the rank of the
Jacobian stands still, its generators are complete. A parameter lies in that field exactly if it takes one value on the
fibre of a generic point: the solutions (parameters, starts) with the same output coefficients. That is asked of a
Groebner basis modulo a random prime (H. Hong, A. Ovchinnikov, G. Pogudin, C. Yap, doi:10.1002/cpa.21921). What is not
identifiable is fixed first, at random values, so that the fibre is finite; for the rest that changes nothing, because a
field is algebraically closed in a purely transcendental extension of it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from flint import nmod_mat

from ...symbols import TIME
from ..budget import Budget, NoSolver, Undecided
from ..field import SMALL_BITS, Field, Series
from ..rank import Rank
from ..taylor import Point, Question, random_point
from .alternatives import alternatives
from .coefficient_fibre import Function, constant_sample, value
from .groebner import groebner_basis
from .jets import Full, JetSystem, Prolongation
from .quotient import Quotient, Sample, quotient

LARGEST_ROOM = 60_000
# Equations beyond those that are needed make the basis easier to find; measured on the published systems.
EXTRA = 2
# Products of terms that take as long as reading a word of exponents, and as looking at a term (measured).
EXPONENTS, TERM = 30, 50


def random_prime(rng: np.random.Generator) -> int:
    """A prime that msolve can use."""
    return Field.random(rng, 1, SMALL_BITS).prime


@dataclass(frozen=True)
class Plan:
    """What to solve for and how far to differentiate.

    Args:
        solved: unknowns that the system is solved for; fixed: those set to their values.
        orders: output -> number of Taylor coefficients that are measured.
        identifiable: the unknowns that are locally identifiable.
    """

    solved: tuple[str, ...]
    fixed: tuple[str, ...]
    orders: dict[str, int]
    identifiable: tuple[str, ...]


def plan(question: Question, outcome: Rank) -> Plan:
    """The transcendence basis and the orders, from the Jacobian of the local test."""
    jacobian = outcome.jacobians[0]
    names, prime = list(question.unknowns), jacobian.prime
    matrix = jacobian.matrix()
    # parameters are given up before starts: then there are fewer products left (measured)
    columns = sorted(range(len(names)), key=lambda k: (names[k] not in question.program.states, k))
    solved = sorted(_pivots(matrix, columns))
    free = null_columns(matrix)
    rows = [[[row[k] for k in solved] for row in block] for block in jacobian.rows]
    orders, chosen, rank = dict.fromkeys(question.outputs, 0), [], 0
    growing = dict(enumerate(question.outputs))
    for block in rows:
        for i, output in list(growing.items()):
            orders[output] += 1
            trial = [*chosen, block[i]]
            if solved and _rank(trial, prime) > rank:
                chosen, rank = trial, rank + 1
            else:
                del growing[i]
    if question.initial != "unknown":
        # from a start that is given, any coefficient may be the one that tells: `global_identifiability` goes on
        orders = dict.fromkeys(question.outputs, outcome.order + 2)
        growing = {}
    for output in growing.values():
        orders[output] += 1  # the Jacobian ended with full rank: the next coefficient depends on those before
    return Plan(
        tuple(names[k] for k in solved),
        tuple(name for k, name in enumerate(names) if k not in solved),
        orders,
        tuple(name for k, name in enumerate(names) if k not in free),
    )


def null_columns(matrix: nmod_mat) -> set[int]:
    """The columns that some vector of the null space moves."""
    columns, nullity = matrix.nullspace()
    return {i for i in range(columns.nrows()) for j in range(nullity) if int(columns[i, j])}


def _rank(rows, prime: int) -> int:
    return nmod_mat(len(rows), len(rows[0]), [entry for row in rows for entry in row], prime).rank()


def _pivots(matrix: nmod_mat, columns: Sequence[int]) -> list[int]:
    entries = [int(matrix[i, k]) for i in range(matrix.nrows()) for k in columns]
    reduced, rank = nmod_mat(matrix.nrows(), len(columns), entries, matrix.modulus()).rref()
    out = []
    for i in range(rank):
        out.append(columns[next(j for j in range(len(columns)) if int(reduced[i, j]))])
    return out


@dataclass(frozen=True)
class Knowledge:
    """What another method has found out, modulo a prime.

    Args:
        prime: the modulus.
        given: values of the constant inputs to which the functions belong.
        unique: unknowns with one value.
        functions: rational functions of the unknowns, by position, that the outputs determine.
    """

    prime: int
    given: Mapping[str, int]
    unique: tuple[str, ...] = ()
    functions: tuple[Function, ...] = ()


@dataclass(frozen=True)
class Fibre:
    """The system of one random point.

    Args:
        system: its equations; truth: value of every unknown there; point: the point itself.
    """

    system: JetSystem
    truth: dict[str, int]
    point: Point


def fibre(
    question: Question, steps: Plan, draw: Callable[[], Point], budget: Budget, *, extra: int = EXTRA,
    functions: Sequence[Function] = ()
) -> Fibre:  # fmt: skip
    """The polynomial system at a random point.

    Args:
        question: rational. steps: from `plan`.
        draw: makes the random point.
        budget: time limit.
        extra: coefficients of every output beyond those that are needed.
        functions: of the unknowns, known to be identifiable (coefficients of input-output equations, say); their
            values are added to the system, which makes it much easier.

    Raises:
        Undecided: exp or log in the equations, too large a system, or no time for it.
    """
    if question.cofactor != 1:
        raise Undecided("exp, log or a power that is no integer")
    point = draw()
    prime, program = point.field.prime, question.program
    orders = {name: order + extra for name, order in steps.orders.items()}
    length = max(orders.values()) + 1
    trajectory = point.trajectory(length)
    outputs = point.run(Series(point.field, {}, length), trajectory, {n: program.observe[n] for n in question.outputs})
    numbers = {**point.values, **point.states}
    truth = {name: numbers[name] for name in question.unknowns}

    known = {TIME: lambda k: (point.time, 1)[k] if k < 2 else 0}
    known |= {name: lambda k, name=name: _input(point, name, k) for name in point.inputs}
    for name in question.outputs:
        operation = program.operations[program.observe[name]]
        if operation[0] == "symbol" and operation[1] in trajectory:
            known[operation[1]] = lambda k, coefficients=trajectory[operation[1]]: int(coefficients[k])
    started = _started(question, steps)
    room = 256
    while True:
        try:
            prolongation = Prolongation(program, prime, (*steps.solved, *started), numbers, known, room, budget)
            prolongation.starts(started, point.shifts)
            for output in question.outputs:
                prolongation.measure(output, [int(outputs[output][k]) for k in range(orders[output])])
            prolongation.admit()
            break
        except Full:
            room *= 2
            if room > LARGEST_ROOM:
                raise Undecided("too many unknowns") from None
    given = {state: numbers[state] for state in known if state in program.states}
    given |= {name: numbers[name] for name in steps.fixed}
    further = [_known_function(function, truth, prime) for function in functions]
    return Fibre(_system(prolongation, question, given, further), truth, point)


def sample(
    question: Question, steps: Plan, draw: Callable[[], Point], budget: Budget, *, extra: int = EXTRA,
    functions: Sequence[Function] = (), single: bool = False
) -> Sample:  # fmt: skip
    """A random point and all points that the outputs do not tell from it.

    Args:
        question, steps, draw, extra, functions: see `fibre`. budget: time limit.
        single: whether there are known to be no others, at any point; then no basis is needed.

    Raises:
        Undecided: there is no basis in time.
    """
    if single:
        budget.check()
        point = draw()
        numbers = {**point.values, **point.states}
        truth = {name: numbers[name] for name in question.unknowns}
        return constant_sample(truth, point.field.prime, _null(point, steps), steps.fixed)
    at = fibre(question, steps, draw, budget, extra=extra, functions=functions)
    null = _null(at.point, steps)
    algebra, matrices = _values(at, budget)
    shown = {name: matrices[name] for name in at.truth}
    return Sample(at.system.prime, algebra.degree, at.truth, shown, null, steps.fixed)


def _null(point: Point, steps: Plan) -> list[list[int]]:
    """Directions that leave the outputs as they are."""
    columns, nullity = point.jacobian(max(steps.orders.values())).natural().nullspace()
    if nullity != len(steps.fixed):
        raise Undecided("the random point was a special one")
    return [[int(columns[i, j]) for i in range(columns.nrows())] for j in range(nullity)]


def _values(at: Fibre, budget: Budget) -> tuple[Quotient, dict[str, nmod_mat]]:
    """The algebra of the fibre, and the matrices of the unknowns in it."""
    system = at.system
    algebra = Quotient(system.prime, 1, {})
    if system.equations:
        basis = groebner_basis(system.equations, len(system.names), system.prime, seconds=budget.left)
        if basis.contradictory:
            raise Undecided("the random point was a special one")
        algebra = quotient(basis, [k for k, name in enumerate(system.names) if name in at.truth])
    matrices = {name: algebra.number(number) for name, number in system.known.items() if name in at.truth}
    matrices |= {system.names[k]: matrix for k, matrix in algebra.matrices.items() if system.names[k] in at.truth}
    return algebra, matrices


def sampler(
    question: Question, steps: Plan, rng: np.random.Generator, budget: Budget, *, knowledge: Knowledge | None = None,
    single: bool = False
) -> Callable[[], Sample]:  # fmt: skip
    """A function that draws samples in one field, with the number of equations that is fastest here.

    Args:
        question, steps, rng, budget, knowledge: see `global_identifiability`.
        single: whether the fibre of a random point is known to have no other point.
    """
    knowledge = knowledge or Knowledge(random_prime(rng), {})
    draw, best = drawn(question, rng, knowledge), []

    def found(extra: int) -> Sample:
        return sample(question, steps, draw, budget, extra=extra, functions=knowledge.functions, single=single)

    def next_sample() -> Sample:
        if single or best:
            return found(best[0] if best else 0)
        tried: list[tuple[Sample, int, float]] = []
        for extra in (EXTRA, 0):
            began = time.monotonic()
            try:
                tried.append((found(extra), extra, time.monotonic() - began))
            except Undecided:
                if extra == 0 and not tried:
                    raise
        tried.sort(key=lambda entry: entry[2])
        best.append(tried[0][1])
        return tried[0][0]

    return next_sample


def drawn(question: Question, rng: np.random.Generator, knowledge: Knowledge) -> Callable[[], Point]:
    """Random points in the field, and with the inputs, of what is known."""
    field = Field(knowledge.prime, 1)
    return lambda: random_point(question, rng, field, knowledge.given)


def _started(question: Question, steps: Plan) -> list[str]:
    """The states whose start the model gives by a formula in unknowns that are solved for."""
    if question.initial == "unknown":
        return []
    program = question.program
    return [name for name, index in program.initial.items() if program.symbols([index]) & set(steps.solved)]


def _input(point: Point, name: str, k: int) -> int:
    terms = point.inputs[name]
    while len(terms) <= k:
        terms.append(point.field.random_element(point._rng))
    return terms[k]


def _known_function(function: Function, truth: Mapping[str, int], prime: int) -> dict:
    """numerator - value * denominator, as names of unknowns with powers -> coefficient."""
    names, values = list(truth), list(truth.values())
    top, bottom = (value(part, values, prime) for part in (function.numerator, function.denominator))
    at = top * pow(bottom, -1, prime)
    out = dict(function.numerator)
    for monomial, coefficient in function.denominator.items():
        out[monomial] = (out.get(monomial, 0) - at * coefficient) % prime
    return {tuple((names[k], power) for k, power in monomial): c for monomial, c in out.items() if c}


def _system(
    prolongation: Prolongation, question: Question, known: dict[str, int], further: Sequence[dict] = ()
) -> JetSystem:
    """Sparse equations, those with one unknown solved."""
    prime, names = prolongation.prime, list(prolongation.names)
    polynomials = []
    for equation in further:
        polynomial: dict = {}
        for monomial, coefficient in equation.items():
            rest = []
            for name, power in monomial:
                if name in known:
                    coefficient = coefficient * pow(known[name], power, prime) % prime
                    continue
                if name not in names:
                    names.append(name)
                rest.append((names.index(name), power))
            key = tuple(sorted(rest))
            polynomial[key] = (polynomial.get(key, 0) + coefficient) % prime
        polynomials.append({monomial: c for monomial, c in polynomial.items() if c})
    for equation in prolongation.equations:
        # each term is written with the exponents of all variables
        prolongation.budget.check(EXPONENTS * prolongation.words * (1 if isinstance(equation, int) else len(equation)))
        if isinstance(equation, int):
            if equation % prime:
                raise Undecided("the random point was a special one")
            continue
        polynomial = {tuple((i, int(e)) for i, e in enumerate(exponents) if e): int(c)
                      for exponents, c in equation.to_dict().items()}  # fmt: skip
        polynomials.append(polynomial)
    polynomials, values = substituted(polynomials, prime, prolongation.budget)
    known = known | {names[k]: value for k, value in values.items()}
    used = sorted({k for polynomial in polynomials for monomial in polynomial for k, _ in monomial})
    used.sort(key=lambda k: _place(names[k], question))
    place = {k: i for i, k in enumerate(used)}
    equations = tuple(
        {tuple(sorted((place[k], e) for k, e in monomial)): c for monomial, c in polynomial.items()}
        for polynomial in polynomials
    )
    return JetSystem(tuple(names[k] for k in used), equations, prime, known)


def substituted(polynomials: list[dict], prime: int, budget: Budget) -> tuple[list[dict], dict[int, int]]:
    """Solves equations with one unknown of degree one, as long as there are any; the rest, and the values."""
    values: dict[int, int] = {}
    polynomials = [dict(polynomial) for polynomial in polynomials]
    while True:
        found = {}
        budget.check(TERM * sum(map(len, polynomials)))
        for polynomial in polynomials:
            monomials = [m for m in polynomial if m]
            if len(monomials) == 1 and len(monomials[0]) == 1 and monomials[0][0][1] == 1:
                k = monomials[0][0][0]
                found[k] = -polynomial.get((), 0) * pow(polynomial[monomials[0]], -1, prime) % prime
        if not found:
            return [polynomial for polynomial in polynomials if polynomial], values
        values |= found
        polynomials = [_at(polynomial, found, prime) for polynomial in polynomials]


def _at(polynomial: dict, values: Mapping[int, int], prime: int) -> dict:
    if not any(k in values for monomial in polynomial for k, _ in monomial):
        return polynomial
    out: dict = {}
    for monomial, coefficient in polynomial.items():
        rest = []
        for k, e in monomial:
            if k in values:
                coefficient = coefficient * pow(values[k], e, prime) % prime
            else:
                rest.append((k, e))
        key = tuple(rest)
        out[key] = (out.get(key, 0) + coefficient) % prime
    return {monomial: c for monomial, c in out.items() if c}


def _place(name: str, question: Question) -> tuple:
    """Place in the order: high derivatives first, then starts, parameters, inverses."""
    base, *order = name.split(" ")
    if base in question.program.states:
        return (0, -int(order[0]) if order else 0, base)
    return (1 if base in question.program.parameters else 2, 0, base)


@dataclass(frozen=True)
class Answer:
    """Global verdicts.

    Args:
        verdicts: unknown -> "global", "local", "none" or "undecided"; reason: why undecided.
        words: unknown with several values -> how they are related.
        steps: the plan with the orders that were enough.
        degree: number of points of the generic fibre, 0 if unknown. size: sum of the degrees of the equations.
        repeats: random points that agree. final: whether more time could not decide what is open.
    """

    verdicts: dict[str, str]
    reason: str
    words: dict[str, str]
    steps: Plan
    degree: int = 0
    size: int = 0
    repeats: int = 0
    final: bool = False


@dataclass(frozen=True)
class Resolved:
    """What one point says: the unknowns with one value, words about the others, number of points, size, plan."""

    fixed: frozenset[str]
    words: dict[str, str]
    degree: int
    size: int
    steps: Plan


def global_identifiability(
    question: Question, outcome: Rank, rng: np.random.Generator, budget: Budget, *,
    knowledge: Knowledge | None = None, repeats: int = 2
) -> Answer:  # fmt: skip
    """Which of the locally identifiable unknowns have one value only.

    Args:
        question, outcome: of the local test (`pose`, `rank_test`).
        rng: of the points and primes.
        budget: time limit.
        knowledge: what is known already; then all points are in its field.
        repeats: how many points have to agree.
    """
    steps = plan(question, outcome)
    unique = knowledge.unique if knowledge else ()
    left = tuple(name for name in steps.solved if name not in unique)
    steps = replace(steps, solved=left, fixed=(*steps.fixed, *unique))
    verdicts = {name: "undecided" if name in steps.identifiable else "none" for name in question.unknowns}
    verdicts |= dict.fromkeys(unique, "global")
    found: list[Resolved] = []
    try:
        for _ in range(repeats):
            known = knowledge or Knowledge(random_prime(rng), {})
            found.append(_resolved(question, replace(steps, orders=found[0].steps.orders) if found else steps, rng,
                                  known, budget))  # fmt: skip
    except Undecided as problem:
        return Answer(verdicts, str(problem), {}, steps, final=isinstance(problem, NoSolver))
    for name in steps.identifiable:
        answers = {name in one.fixed for one in found}
        verdicts[name] = "undecided" if len(answers) > 1 else "global" if answers == {True} else "local"
    first = found[0]
    words = {name: text for name, text in first.words.items() if all(one.words.get(name) == text for one in found)}
    reason = "the random points disagree" if "undecided" in verdicts.values() else ""
    return Answer(verdicts, reason, words, first.steps, first.degree, first.size, repeats)


def _resolved(
    question: Question, steps: Plan, rng: np.random.Generator, knowledge: Knowledge, budget: Budget
) -> Resolved:
    """The unknowns with one value on the fibre, and words about the others.

    From unknown starts the orders of the plan are enough. From given ones no order is, so more coefficients are added
    until those for twice as long have changed nothing.
    """
    draw = drawn(question, rng, knowledge)

    def look(steps: Plan) -> Resolved:
        budget.check()
        return _look(fibre(question, steps, draw, budget, functions=knowledge.functions), steps, budget)

    found = look(steps)
    while question.initial != "unknown" and len(found.fixed) < len(steps.identifiable):
        further = {name: order + len(question.program.states) + 1 for name, order in found.steps.orders.items()}
        before, found = found, look(replace(steps, orders=further))
        if (found.fixed, found.degree) == (before.fixed, before.degree):
            break
    return found


def _look(at: Fibre, steps: Plan, budget: Budget) -> Resolved:
    """The identifiable unknowns that have one value on the fibre, which must be the true one."""
    algebra, matrices = _values(at, budget)
    fixed, several = set(), {}
    for name in steps.identifiable:
        if matrices[name] == algebra.number(int(matrices[name][0, 0])):
            if int(matrices[name][0, 0]) != at.truth[name]:
                raise Undecided("a value that is not the true one")
            fixed.add(name)
        else:
            several[name] = matrices[name]
    words = alternatives(several, at.truth, at.system.prime)
    size = sum(max(sum(power for _, power in monomial) for monomial in each) for each in at.system.equations)
    return Resolved(frozenset(fixed), words, algebra.degree, size, steps)
