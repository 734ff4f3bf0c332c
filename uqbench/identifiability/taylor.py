"""How the time derivatives of the outputs depend on the unknowns: Sedoglavic's Jacobian, at one random point.

The outputs determine their Taylor coefficients in time and conversely. So an unknown is locally identifiable exactly if
no direction that moves it leaves all coefficients in place, to first order, at a generic point (A. Sedoglavic, J. Symb.
Comput. 33, 2002, doi:10.1006/jsco.2002.0532). The point is random in a random prime field.

Along the trajectory, as a power series, dx' = A dx + B dp. A row (r, s) that measures a variation, r dx + s dp, has the
time derivative (r' + r A) dx + (s' + s B) dp. Starting from the gradient of an output this gives, order by order, the
gradient of each of its time derivatives; only the start of these series is kept. A few outputs and sparse A, B make
this much cheaper than carrying all variations forward.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from flint import nmod_mat, nmod_poly

from ..symbols import TIME, Program
from .constants import NoRoot, Start
from .field import ERF_SCALE, IMAGINARY, QUARTER_TURN, Field, NotAnalytic, Series, Variations, Varied

INITIALS = ("given", "shifted", "unknown")
ATTEMPTS = 4096


@dataclass(frozen=True)
class Question:
    """What is asked of a program.

    Args:
        program: in elementary operations (`Elementary`).
        unknowns: names of the parameters, and in the case "unknown" the states, that are asked for.
        outputs: the measured ones.
        initial: "given": states start where the model says; "shifted": each a generic known amount away from there;
            "unknown": anywhere.
        start: the time at which they start, in the case "given"; generic otherwise.
        varying: whether the known inputs are generic functions of time, not constants.
        driven: inputs that are such functions in any case.
        simpler: the same with known functions of time as inputs, where there are any.
    """

    program: Program
    unknowns: tuple[str, ...]
    outputs: tuple[str, ...]
    initial: str
    start: Fraction
    varying: bool = False
    driven: tuple[str, ...] = ()
    simpler: "Question | None" = None

    @property
    def moving(self) -> tuple[str, ...]:
        """The inputs that are generic functions of time."""
        return self.program.inputs if self.varying else self.driven

    @property
    def generic(self) -> bool:
        """Whether the states start anywhere, not where the model says."""
        return self.initial != "given"

    @property
    def cofactor(self) -> int:
        """What the field must offer: any prime (1), roots (2), or roots and a square root of -1 (4)."""
        if not any(operation[0] == "function" for operation in self.program.operations):
            return 1
        return 4 if ("symbol", IMAGINARY) in self.program.operations else 2


@dataclass(frozen=True)
class Jacobian:
    """Gradients of the output derivatives at one point.

    Args:
        rows: by order of the derivative, then output; one column per unknown, times the value of the unknown, so that
            a direction in the null space is one in logarithms.
        values: of the unknowns at the point.
        field: the prime field of the point.
    """

    rows: list[list[list[int]]]
    values: tuple[int, ...]
    field: Field

    @property
    def prime(self) -> int:
        return self.field.prime

    def matrix(self, order: int | None = None) -> nmod_mat:
        """The rows up to `order` (all if None)."""
        rows = [row for block in self.rows[: None if order is None else order + 1] for row in block]
        return nmod_mat(len(rows), len(self.values), [entry for row in rows for entry in row], self.prime)

    def natural(self) -> nmod_mat:
        """All rows with plain derivatives."""
        matrix = self.matrix()
        inverses = [pow(value, -1, self.prime) for value in self.values]
        entries = [int(entry) * inverses[k % len(inverses)] for k, entry in enumerate(matrix.entries())]
        return nmod_mat(matrix.nrows(), matrix.ncols(), entries, self.prime)


class Point:
    """One random point: values of everything known and unknown, and what exp and log are there.

    Args:
        question, field, rng: what is asked, and where.
        given: values, of inputs say, that are not drawn.
    """

    def __init__(
        self, question: Question, field: Field, rng: np.random.Generator, given: Mapping[str, int] | None = None
    ):
        self.question, self.field = question, field
        program = question.program
        names = [*program.parameters, *program.inputs, ERF_SCALE, QUARTER_TURN]
        self.values = {name: field.random_element(rng) for name in names} | dict(given or {})
        if field.cofactor == 4:
            self.values[IMAGINARY] = field.imaginary(rng)
        self.time = field.random_element(rng) if question.generic else field.of(question.start)
        self.inputs = {name: [self.values[name]] for name in question.moving}
        self._rng = rng
        # what is added to the states that the model gives, or the states themselves where they are unknown
        self.shifts = {name: field.random_element(rng) for name in program.states} if question.generic else {}
        self.constants: Mapping[tuple[str, int], int] = {}
        if field.cofactor > 1:
            start, values = self.start(rng)
            roots = [*program.rhs.values(), *(program.observe[name] for name in question.outputs)]
            functions = [index for index in program.cone(roots) if program.operations[index][0] == "function"]
            program.run(start, values, program.cone(functions))
            self.constants = start.table
        self.states = dict(self.shifts)
        if question.initial != "unknown":
            initial = self.run(Series(field, self.constants), {}, program.initial)
            self.states = {name: int(value[0]) + self.shifts.get(name, 0) for name, value in initial.items()}

    def start(self, rng: np.random.Generator) -> tuple[Start, dict]:
        """The symbols of the program, states included, in the algebra of the start."""
        question, start = self.question, Start(self.field, rng)
        values = {name: start.symbol(name, value) for name, value in self.values.items()}
        values[TIME] = start.symbol(TIME, self.time) if question.generic else start.constant(question.start)
        states = {name: start.symbol(name, shift) for name, shift in self.shifts.items()}
        if question.initial != "unknown":
            out = question.program.run(start, values, question.program.cone(question.program.initial.values()))
            given = {name: out[index] for name, index in question.program.initial.items()}
            states = {name: start.add(pair, states[name]) if states else pair for name, pair in given.items()}
        return start, values | states

    def known(self, series: Series) -> dict[str, nmod_poly]:
        """All symbols but the states as series."""
        values = {name: series.number(value) for name, value in self.values.items()}
        values[TIME] = nmod_poly([self.time, 1], self.field.prime).truncate(series.length)
        for name, terms in self.inputs.items():
            while len(terms) < series.length:
                terms.append(self.field.random_element(self._rng))
            values[name] = nmod_poly(terms[: series.length], self.field.prime)
        return values

    def run(self, series: Series, trajectory: Mapping[str, nmod_poly], roots: Mapping[str, int]):
        values = self.known(series)
        out = self.question.program.run(series, values | trajectory, self.question.program.cone(roots.values()))
        return {name: out[index] for name, index in roots.items()}

    def trajectory(self, order: int) -> dict[str, nmod_poly]:
        """The states as series with `order` + 1 terms; each pass of Picard's iteration settles one more."""
        series = Series(self.field, self.constants)
        starts = {name: series.number(value) for name, value in self.states.items()}
        trajectory = starts
        for series.length in range(1, order + 1):
            slopes = self.run(series, trajectory, self.question.program.rhs)
            trajectory = {name: starts[name] + slopes[name].integral() for name in starts}
        return trajectory

    def jacobian(self, order: int) -> Jacobian:
        """Gradients of all output derivatives up to `order`."""
        question, program = self.question, self.question.program
        series = Series(self.field, self.constants, order + 1)
        varied = {name: Varied(value, {name: series.one}) for name, value in self.trajectory(order).items()}
        outputs = {name: program.observe[name] for name in question.outputs}
        slopes, rows = (self._vary(series, varied, roots) for roots in (program.rhs, outputs))
        start = self._start_variations()
        blocks = []
        for length in range(order, -1, -1):
            blocks.append([self._row(parts, start) for parts in rows.values()])
            rows = {name: _differentiate(parts, slopes, length) for name, parts in rows.items()}
        values = {**self.values, **self.states}
        return Jacobian(blocks, tuple(values[name] for name in question.unknowns), self.field)

    def _vary(self, series: Series, varied: Mapping[str, Varied], roots: Mapping[str, int]):
        """First variations of `roots`: name -> symbol -> series."""
        unknowns = set(self.question.unknowns)
        symbols = {
            name: Varied(x, {name: series.one} if name in unknowns else {}) for name, x in self.known(series).items()
        }
        program = self.question.program
        out = program.run(Variations(series), symbols | varied, program.cone(roots.values()))
        return {name: out[index].parts for name, index in roots.items()}

    def _start_variations(self) -> dict[str, dict[str, int]]:
        """State -> unknown -> derivative of the state's start."""
        if self.question.initial == "unknown":
            return {name: {name: 1} for name in self.states}
        varied = self._vary(Series(self.field, self.constants), {}, self.question.program.initial)
        return {name: {symbol: int(part[0]) for symbol, part in parts.items()} for name, parts in varied.items()}

    def _row(self, parts: Mapping[str, nmod_poly], start: Mapping[str, Mapping[str, int]]) -> list[int]:
        """One gradient at the start, in the logarithms of the unknowns."""
        gradient = dict.fromkeys(self.question.unknowns, 0)
        for symbol, series in parts.items():
            slope = int(series[0])
            for name, weight in start.get(symbol, {symbol: 1}).items():
                gradient[name] += slope * weight
        values = self.values | self.states
        return [slope * values[name] % self.field.prime for name, slope in gradient.items()]


def _differentiate(parts: dict[str, nmod_poly], slopes: Mapping[str, Mapping[str, nmod_poly]], length: int):
    """The time derivative of a row along the trajectory, `length` terms of it."""
    out = {name: part.derivative() for name, part in parts.items()}
    for state, weight in parts.items():
        for name, slope in slopes.get(state, {}).items():
            term = (weight * slope).truncate(length)
            out[name] = out[name] + term if name in out else term
    return out


def random_point(
    question: Question, rng: np.random.Generator, field: Field | None = None, given: Mapping[str, int] | None = None
) -> Point:
    """A point at which every fractional power exists; in a fresh field unless one is given.

    Raises:
        NotAnalytic: the functions cannot be expanded at the start.
    """
    for _ in range(ATTEMPTS):
        try:
            return Point(question, field or Field.random(rng, question.cofactor), rng, given)
        except NoRoot:
            continue
    raise NotAnalytic


def singular_parts(question: Question, rng: np.random.Generator) -> list[str]:
    """The functions of a model that have no Taylor series at the given start, by name."""
    program = question.program
    named = {f"rhs of {name!r}": index for name, index in program.rhs.items()}
    named |= {f"output {name!r}": program.observe[name] for name in question.outputs}
    shifted = replace(question, initial="shifted")
    for _ in range(ATTEMPTS):
        try:
            point = Point(shifted, Field.random(rng, 4), rng)
            point.question, point.shifts = question, {}
            start, values = point.start(rng)
            return [name for name, index in named.items() if _is_singular(program, start, values, index)]
        except NoRoot:
            continue
        except NotAnalytic:
            break
    return ["the initial state, or a fractional power,"]


def _is_singular(program: Program, start: Start, values: Mapping, index: int) -> bool:
    try:
        program.run(start, values, program.cone([index]))
    except NotAnalytic:
        return True
    return False
