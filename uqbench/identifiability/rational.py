"""exp, log and powers in a model, written as further unknowns of a rational one.

w = exp(u) obeys w' = u' w and w = log(u) obeys w' = u'/u, so a function becomes a state of its own with an unknown
start, or a parameter where nothing in it moves (a**n: 1/x x' n a**n). Left out is only what ties its start to the other
unknowns. Where the functions are algebraically independent (Ax, Ann. Math. 93, 1971, doi:10.2307/1970774), solutions of
the model lie dense in those of the rational one, so what is global there is global. What is not there stays undecided,
after one more source of knowledge has run dry: exp and log are one-to-one for real numbers, so knowing the value of one
tells its argument and conversely.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import sympy

from ..symbols import TIME, Program, Recorder
from .budget import Budget, Undecided
from .constants import NoRoot
from .fibres.quotient import Sample
from .fibres.taylor_fibre import Answer, plan, sample
from .field import SMALL_BITS, Field, Series
from .learning import learn
from .rank import Rank, rank_test
from .taylor import ATTEMPTS, Point, Question, random_point

RELATION = "relation "
MORE_VALUES = "other values are possible only if the laws of exp and log allow them, which is not decided"


@dataclass(frozen=True)
class Auxiliary:
    """A function that became an unknown: its name, and the outputs that show its value and its argument."""

    name: str
    function: str
    value: str
    argument: str


@dataclass(frozen=True)
class Rational:
    """A rational question and what links it to the original one.

    Args:
        question: with the auxiliaries among its unknowns.
        original: the question with functions.
        auxiliaries: in the order in which they depend on each other.
        positions: name of an auxiliary -> position of its function in the original program.
    """

    question: Question
    original: Question
    auxiliaries: tuple[Auxiliary, ...]
    positions: Mapping[str, int]

    def point(self, rng: np.random.Generator) -> Point:
        """A random point of the rational question that is one of the original."""
        exact = self._exact(rng)
        series = Series(exact.field, exact.constants)
        states = {name: series.number(value) for name, value in exact.states.items()}
        program = self.original.program
        values = program.run(series, exact.known(series) | states, program.cone(self.positions.values()))
        point = random_point(self.question, rng, Field(exact.field.prime, 1))
        point.values |= {name: value for name, value in exact.values.items() if name in point.values}
        point.time, point.shifts = exact.time, dict(exact.shifts)
        for name, position in self.positions.items():
            value = int(values[position][0])
            if name in self.question.program.states:
                point.states[name] = value
                point.values[f"{name} start"] = value
            else:
                point.values[name] = value
        point.states |= exact.states
        return point

    def _exact(self, rng: np.random.Generator) -> Point:
        cofactor = self.original.cofactor
        for _ in range(ATTEMPTS):
            # a root of a given number may need another field, not only another point
            with suppress(NoRoot):
                return Point(self.original, Field.random(rng, cofactor, SMALL_BITS), rng)
        raise Undecided("no point at which all roots exist")


class Values(Recorder):
    """Records a program with a symbol in place of every function; arguments are kept."""

    def __init__(self):
        super().__init__()
        self.arguments: dict[str, tuple[str, object]] = {}

    def function(self, name: str, x):
        key = f"{name} {self.index(x)}"
        self.arguments[key] = (name, x)
        return self.symbol(key)


class Slopes:
    """The algebra of pairs (value, time derivative)."""

    def __init__(self, values: Values):
        self.r = values

    def constant(self, value: Fraction):
        return value, Fraction(0)

    def add(self, x, y):
        return self.r.add(x[0], y[0]), self.r.add(x[1], y[1])

    def sub(self, x, y):
        return self.r.sub(x[0], y[0]), self.r.sub(x[1], y[1])

    def neg(self, x):
        return self.r.neg(x[0]), self.r.neg(x[1])

    def mul(self, x, y):
        return self.r.mul(x[0], y[0]), self.r.add(self.r.mul(x[1], y[0]), self.r.mul(x[0], y[1]))

    def div(self, x, y):
        value = self.r.div(x[0], y[0])
        return value, self.r.div(self.r.sub(x[1], self.r.mul(value, y[1])), y[0])

    def integer_power(self, x, n: int):
        slope = self.r.mul(self.r.mul(Fraction(n), self.r.integer_power(x[0], n - 1)), x[1])
        return self.r.integer_power(x[0], n), slope

    def function(self, name: str, x):
        value = self.r.function(name, x[0])
        return value, self.r.mul(x[1], value) if name == "exp" else self.r.div(x[1], x[0])


def rationalised(question: Question, rng: np.random.Generator) -> Rational:
    """The rational question.

    Raises:
        Undecided: functions that depend on each other, sine and cosine, inputs that change in time.
    """
    program = question.program
    if question.cofactor == 4:
        raise Undecided("sine, cosine or their inverses")
    if question.moving:
        raise Undecided("functions of inputs that change in time")
    roots = [*program.rhs.values(), *(program.observe[name] for name in question.outputs)]
    cone = program.cone(roots)
    functions = [k for k in cone if program.operations[k][0] == "function"]
    if any(program.operations[k][1] == "erf" for k in functions):
        raise Undecided("erf")
    record = Values()
    names = (*program.parameters, *program.inputs, *program.states)
    symbols = {name: record.symbol(name) for name in (*names, TIME)}
    free = {operation[1]: record.symbol(operation[1]) for operation in program.operations
            if operation[0] == "symbol" and operation[1] not in symbols}  # fmt: skip
    plain = program.run(record, symbols | free, cone)
    slopes = {name: (node, Fraction(0)) for name, node in (symbols | free).items()}
    slopes[TIME] = (symbols[TIME], Fraction(1))
    slopes |= {name: (symbols[name], plain[program.rhs[name]]) for name in program.states}
    paired = program.run(Slopes(record), slopes, cone)
    positions = {}
    for k in functions:
        positions.setdefault(_symbol_name(record, paired[k][0]), k)
    rooted = _relations(record, positions)
    _independent(question, [k for name, k in positions.items() if name not in rooted], rng)
    moving = {name: paired[k][1] for name, k in positions.items() if paired[k][1] != Fraction(0)}
    parameters = [name for name in positions if name not in moving]
    index = record.index
    starts = {name: record.symbol(f"{name} start") for name in moving}
    initial = program.run(record, symbols | free, program.cone(program.initial.values()))
    observe = {name: index(plain[program.observe[name]]) for name in question.outputs}
    auxiliaries = []
    for name in positions:
        function, argument = record.arguments[name]
        auxiliaries.append(Auxiliary(name, function, f"value of {name}", f"argument of {name}"))
        observe |= {f"value of {name}": index(record.symbol(name)), f"argument of {name}": index(argument)}
    relations = _relations(record, positions)
    observe |= {f"{RELATION}{name}": index(relation) for name, relation in relations.items()}
    for i, left in enumerate(auxiliaries):
        for right in auxiliaries[:i]:
            (_, x), (_, y) = record.arguments[left.name], record.arguments[right.name]
            observe[f"{left.argument} - {right.argument}"] = index(record.sub(x, y))
    begin = {name: index(initial[k]) for name, k in program.initial.items()} | {n: index(s) for n, s in starts.items()}
    rates = {name: index(plain[k]) for name, k in program.rhs.items()} | {n: index(s) for n, s in moving.items()}
    names = (*program.parameters, *parameters, *(f"{name} start" for name in moving))
    out = Program(tuple(record.operations), names, program.inputs, begin, rates, observe)
    if question.initial == "unknown":
        unknowns = (*question.unknowns, *positions)
    else:
        # the start of a function is unknown where its argument at the start is
        unsure = [
            f"{name} start" for name in moving if _start_symbols(question, positions[name]) & set(question.unknowns)
        ]
        unknowns = (*question.unknowns, *parameters, *unsure)
    outputs = (*question.outputs, *(f"{RELATION}{name}" for name in relations))
    asked = replace(question, program=out, unknowns=unknowns, outputs=outputs)
    return Rational(asked, question, tuple(auxiliaries), positions)


def _relations(record: Values, names) -> dict[str, object]:
    """What vanishes for a power with a rational exponent: w^q - a^p for w = a^(p/q)."""
    out = {}
    for name in names:
        function, argument = record.arguments[name]
        operation = record.operations[record.index(argument)]
        if function == "exp" and operation[0] == "mul":
            left, right = (record.operations[position] for position in operation[1:])
            constant, symbol = (left, right) if left[0] == "constant" else (right, left)
            if constant[0] == "constant" and symbol[0] == "symbol" and symbol[1] in record.arguments:
                base, exponent = record.arguments[symbol[1]][1], constant[1]
                root = record.integer_power(record.symbol(name), exponent.denominator)
                power = record.integer_power(base, abs(exponent.numerator))
                if exponent > 0:
                    out[name] = record.sub(root, power)
                else:
                    out[name] = record.sub(record.mul(root, power), Fraction(1))
    return out


def _start_symbols(question: Question, position: int) -> set[str]:
    """What the value of a position at the start depends on."""
    program = question.program
    symbols = program.symbols([position])
    begun = program.symbols([program.initial[name] for name in symbols & set(program.states)])
    return (symbols - set(program.states)) | begun


def _symbol_name(record: Recorder, node) -> str:
    return record.operations[node.index][1]


def _independent(question: Question, functions: list[int], rng: np.random.Generator):
    """Refuses functions between which there are algebraic relations."""
    generic = replace(question, initial="unknown") if question.initial == "given" else question
    point = random_point(generic, rng)
    start, values = point.start(rng)
    out = generic.program.run(start, values, generic.program.cone(functions))
    columns: dict[sympy.Expr, int] = {}
    rows = []
    for k in functions:
        expression = sympy.sympify(out[k][0])
        if question.program.operations[k][1] == "exp":
            powers = [factor.as_base_exp() for factor in sympy.Mul.make_args(expression)]
        else:
            powers = [term.as_coeff_Mul()[::-1] for term in sympy.Add.make_args(sympy.expand(expression))]
        atoms = {base: weight for base, weight in powers
                 if base.is_Symbol and base.name.startswith("atom ") and weight.is_Rational}  # fmt: skip
        rows.append({columns.setdefault(base, len(columns)): weight for base, weight in atoms.items()})
    matrix = sympy.Matrix(len(rows), max(len(columns), 1), lambda i, j: rows[i].get(j, 0))
    if matrix.rank() < len(rows):
        raise Undecided("powers with a rational exponent, or functions that depend on each other")


def global_with_functions(
    question: Question, outcome: Rank, rng: np.random.Generator, budget: Budget, *, repeats: int = 2
) -> Answer:  # fmt: skip
    """`global_identifiability` for a question with exp, log or real powers: "global" or "undecided", never "local".

    Args:
        question, outcome: of the local test. rng, budget, repeats: as there.
    """
    steps = plan(question, outcome)
    verdicts = {name: "undecided" if name in steps.identifiable else "none" for name in question.unknowns}
    try:
        known, reason = _closure(rationalised(question, rng), rng, budget, repeats)
    except Undecided as problem:
        return Answer(verdicts, str(problem), {}, steps)
    verdicts |= {name: "global" for name in steps.identifiable if name in known}
    return Answer(verdicts, reason if "undecided" in verdicts.values() else "", {}, steps, repeats=repeats)


def _follows(question: Question, name: str, known: set[str]) -> bool:
    """Whether a function of time is known from its start and its rate."""
    program = question.program
    if question.initial == "unknown" or name not in program.rhs:
        return False
    needed = program.symbols([program.rhs[name]]) - {name} | {f"{name} start"}
    return not (needed & {*question.unknowns, *program.states}) - known


def _closure(
    rational: Rational, rng: np.random.Generator, budget: Budget, repeats: int
) -> tuple[set[str], str]:  # fmt: skip
    """What is global in the rational question, values and arguments of functions telling each other; why not more."""
    asked, known = rational.question, set()
    while True:
        steps = plan(asked, rank_test(asked, rng))
        budget.check()
        current = replace(rational, question=asked)
        known |= _by_equations(current, steps, rng, budget.part(budget.left / 4), repeats)
        found, reason = [], MORE_VALUES
        if not known >= set(steps.identifiable) or _exponentials(current):
            limit = budget.part(budget.left / 2)
            try:
                found = [
                    sample(asked, steps, lambda current=current: current.point(rng), limit) for _ in range(repeats)
                ]
            except Undecided as problem:
                reason = str(problem)
            else:
                one = (name for name in steps.identifiable if all(at.identifiable(sympy.Symbol(name)) for at in found))
                known.update(one)
        more = [name for name in _further_outputs(rational, asked, known, found) if name not in asked.outputs]
        if not more:
            return known, reason
        asked = replace(asked, outputs=(*asked.outputs, *more))


def _samples(rational: Rational, steps, rng: np.random.Generator, budget: Budget, repeats: int) -> list[Sample]:
    return [sample(rational.question, steps, lambda: rational.point(rng), budget) for _ in range(repeats)]


def _by_equations(rational: Rational, steps, rng: np.random.Generator, budget: Budget, repeats: int) -> set[str]:
    """What input-output equations tell; nothing where an output is known to be zero, as on no random solution."""
    question = rational.question
    if any(name.startswith(RELATION) for name in question.outputs):
        return set()
    draw = None if question.initial == "unknown" else lambda: rational.point(rng)
    try:
        rounds = [learn(question, steps, rng, budget, draw=draw) for _ in range(repeats)]
    except Undecided:
        return set()
    if not all(learned.single for learned in rounds):
        return set()
    tables = [learned.verdicts for learned in rounds]
    return {name for name in steps.identifiable if all(table.get(name) == "global" for table in tables)}


def _further_outputs(rational: Rational, asked: Question, known: set[str], found: list[Sample]) -> list[str]:
    """Values of functions whose arguments are known, and conversely."""
    more = []
    for auxiliary in rational.auxiliaries:
        symbols = asked.program.symbols([asked.program.observe[auxiliary.argument]])
        if auxiliary.name in known or _follows(asked, auxiliary.name, known):
            more.append(auxiliary.argument)
        if not (symbols & set(asked.unknowns)) - known:
            more.append(auxiliary.value)
    for left, right in _exponentials(replace(rational, question=asked)):
        ratio = sympy.Symbol(left.name) / sympy.Symbol(right.name)
        if {left.name, right.name} <= known or (found and all(at.identifiable(ratio) for at in found)):
            more.append(f"{left.argument} - {right.argument}")
    return more


def _exponentials(rational: Rational) -> list[tuple[Auxiliary, Auxiliary]]:
    """Pairs of exponentials that are unknown and have not been compared."""
    unknowns, outputs = rational.question.unknowns, rational.question.outputs
    asked = [each for each in rational.auxiliaries if each.function == "exp" and each.name in unknowns]
    pairs = ((left, right) for i, left in enumerate(asked) for right in asked[:i])
    return [(left, right) for left, right in pairs if f"{left.argument} - {right.argument}" not in outputs]
