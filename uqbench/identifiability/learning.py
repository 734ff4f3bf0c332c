"""What input-output equations tell, together with the Lie derivatives of the outputs where states may start anywhere.

The coefficients of the equations are known from the outputs; whether one experiment is enough for that is told by a
Wronskian. With the derivatives of the outputs up to the orders of the equations they generate all identifiable
functions, of states too, so that the points which no output tells from a random one are the solutions of a few explicit
equations.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .budget import Budget, Undecided
from .elimination.coefficients import Coefficients
from .elimination.derivatives import Quotient, lie_derivatives
from .elimination.equations import Elimination, generic_components
from .elimination.reading import constants_as_parameters, from_question
from .elimination.series import System
from .elimination.wronskian import certificate
from .fibres.alternatives import alternatives
from .fibres.coefficient_fibre import Function, fibre_identifiability, fibre_sample
from .fibres.quotient import Sample
from .fibres.taylor_fibre import Knowledge, Plan, random_prime
from .field import Field
from .taylor import Point, Question, random_point

# Functions handed on: terms in all of them, for the fibre, for a proof that needs all, and as help for a Taylor system.
FIBRE_TERMS, ALL_TERMS, HELP_TERMS, HELP_FUNCTIONS = 20_000, 200_000, 4_000, 60
# a term that is read into arrays and weighed there takes as long as so many products (two microseconds)
READ = 100


@dataclass(frozen=True)
class Explicit:
    """Generators of all identifiable functions, modulo a prime.

    Args:
        prime: the modulus. unknowns: names, in the order of the positions in functions.
        given: values of constant inputs.
        coefficients: of the input-output equations, which one experiment tells.
        derivatives: of the outputs, up to the orders of the equations.
    """

    prime: int
    unknowns: tuple[str, ...]
    given: Mapping[str, int]
    coefficients: tuple[Function, ...]
    derivatives: tuple[Quotient, ...]

    def functions(self, rng: np.random.Generator) -> list[Function]:
        """All functions, for random inputs."""
        place = {name: k for k, name in enumerate(self.unknowns)}
        numbers = dict(self.given)
        out = list(self.coefficients)
        for pair in self.derivatives:
            for part in pair:
                for name in part.context().names():
                    if name not in place and name not in numbers:
                        numbers[name] = int(rng.integers(1, self.prime))
            function = Function(*(_sparse(part, place, numbers, self.prime) for part in pair))
            if any(function.numerator):
                out.append(function)
        return out

    def sample(
        self, rng: np.random.Generator, budget: Budget, *, known: Sequence[str] = (), fixed: Sequence[str] = ()
    ) -> Sample:  # fmt: skip
        """A random point and all points that the functions do not tell from it.

        Args:
            rng: of point and inputs. budget: time limit.
            known: unknowns that are known to have one value. fixed: those to be fixed first, see `fibre_sample`.
        """
        values = rng.integers(1, self.prime, len(self.unknowns)).tolist()
        truth = dict(zip(self.unknowns, values, strict=True))
        return fibre_sample(self.functions(rng), truth, self.prime, budget, known=known, fixed=fixed)

    def shortened(self, sample: Sample, rng: np.random.Generator, budget: Budget, **names: Sequence[str]) -> "Explicit":
        """With as few coefficients as leave no more points than in a sample, and so tell as much as all."""
        count = 4
        while count < len(self.coefficients):
            shorter = replace(self, coefficients=self.coefficients[:count])
            other = shorter.sample(rng, budget, **names)
            if (len(other.null), other.degree) == (len(sample.null), sample.degree):
                return shorter
            count *= 2
        return self


def _sparse(f, place: Mapping[str, int], numbers: Mapping[str, int], prime: int) -> dict:
    names, out = f.context().names(), {}
    for powers, coefficient in f.to_dict().items():
        number, monomial = int(coefficient), []
        for name, power in zip(names, map(int, powers), strict=True):
            if power and name in place:
                monomial.append((place[name], power))
            elif power:
                number = number * pow(numbers[name], power, prime) % prime
        key = tuple(sorted(monomial))
        out[key] = (out.get(key, 0) + number) % prime
    return {monomial: number for monomial, number in out.items() if number}


@dataclass(frozen=True)
class Learned:
    """What the equations tell.

    Args:
        verdicts: of parameters, where `explicit` is there of all unknowns; words: about those with several values.
        knowledge: to be handed on. single: whether one experiment tells it.
        size: sum of the degrees of the functions that were used. degree: number of points of the fibre, 0 if unknown.
        tables: the coefficients. explicit: generators of all identifiable functions, where states may start anywhere.
    """

    verdicts: dict[str, str]
    knowledge: Knowledge
    single: bool
    size: int
    tables: tuple[Coefficients, ...]
    words: dict[str, str] = field(default_factory=dict)
    degree: int = 0
    explicit: Explicit | None = None


def learn(
    question: Question, steps: Plan, rng: np.random.Generator, budget: Budget, single: bool | None = None,
    draw: Callable[[], Point] | None = None
) -> Learned:  # fmt: skip
    """Input-output equations modulo a random prime, and what they fix.

    Args:
        question: rational. steps: from `plan`. rng: of prime and points. budget: time limit.
        single: whether one experiment gives all coefficients, where that is known.
        draw: a point of the model, with its field, where starts are given and not just any is one.

    Raises:
        Undecided: there are none in time, or the equations are not rational.
    """
    point = draw() if draw else None
    prime = point.field.prime if point else random_prime(rng)
    system = from_question(question, prime)
    if question.initial == "unknown":
        system = constants_as_parameters(system)
    elimination = Elimination(system, rng, budget)
    equations = elimination.run()
    components = generic_components(elimination)
    tables = []
    for equation in sorted(equations.values(), key=lambda equation: len(equation.polynomial)):
        budget.check(READ * len(equation.polynomial))
        tables.append(Coefficients.of(equation.polynomial, system.parameters, system.ring))
    if single is None:
        single = _single(question, system, rng, budget, tables, point)
    inputs = question.program.inputs
    given = dict(zip(inputs, rng.integers(1, prime, len(inputs)).tolist(), strict=True))
    functions, complete = coefficient_functions(tables, question.unknowns, given)
    truth = dict(zip(question.unknowns, rng.integers(1, prime, len(question.unknowns)).tolist(), strict=True))
    exhaustive = complete and components == 1 and question.initial == "unknown"
    answer = fibre_identifiability(functions, truth, prime, budget, all_of_them=exhaustive)
    verdicts = {name: answer.verdicts[name] for name in question.unknowns if name in system.parameters}
    unique = tuple(name for name, verdict in verdicts.items() if verdict == "global")
    size = sum(function.size[0] for function in functions[: answer.used])
    learned = Learned(verdicts, Knowledge(prime, given, unique, helpful(functions)), single, size, tuple(tables))
    if not single or question.initial != "unknown":
        return learned
    try:
        orders = {name: equation.order for name, equation in equations.items()}
        derivatives = tuple(pair for _, pair in lie_derivatives(system, rng, orders, budget))
    except Undecided:
        budget.check()
        return learned
    return _with_states(learned, question.unknowns, derivatives, steps, rng, budget)


def _with_states(learned: Learned, unknowns, derivatives: tuple[Quotient, ...], steps: Plan, rng, budget) -> Learned:
    """The verdicts of all unknowns, from the points that no output tells from a random one."""
    prime, given = learned.knowledge.prime, learned.knowledge.given
    names = {"known": [name for name in learned.knowledge.unique if name in steps.identifiable], "fixed": steps.fixed}
    for terms in (FIBRE_TERMS, ALL_TERMS):
        functions, complete = coefficient_functions(learned.tables, unknowns, given, terms)
        explicit = Explicit(prime, unknowns, given, tuple(functions), derivatives)
        try:
            at = explicit.sample(rng, budget, **names)
        except Undecided:
            budget.check()
            return learned
        several = {name: at.matrices[name] for name in steps.identifiable
                   if at.matrices[name] != at.identity(at.truth[name])}  # fmt: skip
        sufficient = len(at.null) == len(steps.fixed) and (
            complete or at.degree == 1 or all(constant(table, at, given) for table in learned.tables)
        )
        if sufficient:
            break
    found = {name: "global" for name in steps.identifiable if name not in several}
    if not sufficient:
        return replace(learned, verdicts=found)
    return replace(
        learned, verdicts=found | dict.fromkeys(several, "local"), words=alternatives(several, at.truth, prime),
        degree=at.degree, explicit=explicit.shortened(at, rng, budget, **names),
    )  # fmt: skip


def _single(
    question: Question, system: System, rng, budget: Budget, tables: Sequence[Coefficients], point: Point | None
) -> bool:  # fmt: skip
    """Whether one experiment, from the starts that are asked about, gives the coefficients of all equations."""
    field, start = Field(system.ring.prime, 1), None
    if question.initial != "unknown":

        def start() -> dict[str, int]:
            at = point or random_point(question, rng, field)
            return {**at.values, **at.states}

    return all(certificate(system, rng, table, budget, start).single for table in tables)


def coefficient_functions(
    tables: Sequence[Coefficients], unknowns: Sequence[str], given: Mapping[str, int], terms: int = FIBRE_TERMS
) -> tuple[list[Function], bool]:
    """The coefficients of each equation over its simplest one, simple ones first, and whether these are all."""
    position = {name: k for k, name in enumerate(unknowns)}
    candidates = []
    for index, table in enumerate(tables):
        simplest, *others = table.simplest()
        candidates += [(int(table.terms[k]), index, k, simplest) for k in others]
    candidates.sort()
    functions, total = [], 0
    for length, index, k, simplest in candidates:
        total += length
        if total > terms and len(functions) > len(unknowns):
            break
        table = tables[index]
        functions.append(Function(*(table.polynomial(i, position, given) for i in (k, simplest))))
    return functions, len(functions) == len(candidates)


def constant(table: Coefficients, sample: Sample, given: Mapping[str, int]) -> bool:
    """Whether the quotients of all coefficients of an equation have one value on the points of a sample."""
    prime, size = sample.prime, sample.degree
    matrices = {name: np.array(matrix.tolist(), dtype=np.int64) for name, matrix in sample.matrices.items()}
    matrices |= {name: np.eye(size, dtype=np.int64) * number for name, number in given.items()}
    images = table.at_points({name: matrices[name] for name in table.names})
    truth = table.values(sample.truth | dict(given))
    reference = next(table.simplest())
    return not np.any((images * truth[reference] - truth[:, None] * images[reference]) % prime)


def helpful(functions: Sequence[Function]) -> tuple[Function, ...]:
    """The simplest functions, as many as make a Taylor system easier and not longer."""
    out, total = [], 0
    for function in sorted(functions, key=lambda function: function.size):
        total += function.size[1]
        if len(out) == HELP_FUNCTIONS or (total > HELP_TERMS and out):
            break
        out.append(function)
    return tuple(out)
