"""How the time derivatives of the outputs depend on the unknowns: the Jacobian of Sedoglavic's test, at one random point.

The outputs determine their Taylor coefficients in time and conversely. So an unknown is locally identifiable exactly if
no direction that moves it leaves all coefficients in place, to first order, at a generic point (A. Sedoglavic, J. Symb.
Comput. 33, 2002, doi:10.1006/jsco.2002.0532). The point is random in a random prime field.

Along the trajectory, as a power series, dx' = A dx + B dp. A row (r, s) that measures a variation, r dx + s dp, has the time
derivative (r' + r A) dx + (s' + s B) dp. Starting from the gradient of an output this gives, order by order, the gradient
of each of its time derivatives; only the start of these series is kept. A few outputs and sparse A, B make this much
cheaper than carrying all variations forward.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from flint import nmod_mat, nmod_poly

from ..symbols import TIME, Program
from .constants import NoRoot, Start
from .field import ERF_SCALE, IMAGINARY, QUARTER_TURN, Field, NotAnalytic, Series, Variations, Varied

INITIALS = ("given", "known", "unknown")
ATTEMPTS = 4096


@dataclass(frozen=True)
class Question:
    """What is asked of a program.

    Args:
        program: in elementary operations (`Elementary`).
        unknowns: names of the parameters, and in the case "unknown" the states, that are asked for.
        outputs: the measured ones.
        initial: "given": states start where the model says; "known": at other, generic, known values; "unknown".
        start: the time at which they start, in the case "given"; generic otherwise.
    """

    program: Program
    unknowns: tuple[str, ...]
    outputs: tuple[str, ...]
    initial: str
    start: Fraction

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
        prime: the modulus.
    """

    rows: list[list[list[int]]]
    values: tuple[int, ...]
    prime: int

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
    """One random point: values of everything known and unknown, and what exp and log are there."""

    def __init__(self, question: Question, field: Field, rng: np.random.Generator):
        self.question, self.field = question, field
        program = question.program
        names = [*program.parameters, *program.inputs, ERF_SCALE, QUARTER_TURN]
        self.values = {name: field.random_element(rng) for name in names}
        if field.cofactor == 4:
            self.values[IMAGINARY] = field.imaginary(rng)
        generic = question.initial != "given"
        self.time = field.random_element(rng) if generic else field.of(question.start)
        self.states = {name: field.random_element(rng) for name in program.states} if generic else {}
        self.constants: Mapping[tuple[str, int], int] = {}
        if field.cofactor > 1:
            self.constants = self._constants(rng)
        if not generic:
            initial = self._run(Series(field, self.constants), {}, program.initial)
            self.states = {name: int(value[0]) for name, value in initial.items()}

    def _constants(self, rng: np.random.Generator) -> Mapping[tuple[str, int], int]:
        """Runs everything once at the start, in symbols and numbers."""
        program, start = self.question.program, Start(self.field, rng)
        given = self.question.initial == "given"
        values = {name: start.symbol(name, value) for name, value in self.values.items()}
        values[TIME] = start.constant(self.question.start) if given else start.symbol(TIME, self.time)
        if given:
            out = program.run(start, values, program.cone(program.initial.values()))
            values |= {name: out[index] for name, index in program.initial.items()}
        else:
            values |= {name: start.symbol(name, value) for name, value in self.states.items()}
        roots = [program.rhs[name] for name in program.states]
        roots += [program.observe[name] for name in self.question.outputs]
        functions = [index for index in program.cone(roots) if program.operations[index][0] == "function"]
        program.run(start, values, program.cone(functions))
        return start.table

    def _run(self, series: Series, trajectory: Mapping[str, nmod_poly], roots: Mapping[str, int]):
        values = {name: series.number(value) for name, value in self.values.items()}
        values[TIME] = nmod_poly([self.time, 1], self.field.prime).truncate(series.length)
        out = self.question.program.run(series, values | trajectory, self.question.program.cone(roots.values()))
        return {name: out[index] for name, index in roots.items()}

    def trajectory(self, order: int) -> dict[str, nmod_poly]:
        """The states as series with `order` + 1 terms; each pass of Picard's iteration settles one more."""
        series = Series(self.field, self.constants)
        starts = {name: series.number(value) for name, value in self.states.items()}
        trajectory = starts
        for series.length in range(1, order + 1):
            slopes = self._run(series, trajectory, self.question.program.rhs)
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
        return Jacobian(blocks, tuple(values[name] for name in question.unknowns), self.field.prime)

    def _vary(self, series: Series, varied: Mapping[str, Varied], roots: Mapping[str, int]):
        """First variations of `roots`: name -> symbol -> series."""
        values = {name: series.number(value) for name, value in self.values.items()}
        values[TIME] = nmod_poly([self.time, 1], self.field.prime).truncate(series.length)
        unknowns = self.question.unknowns
        symbols = {name: Varied(x, {name: series.one} if name in unknowns else {}) for name, x in values.items()}
        program = self.question.program
        out = program.run(Variations(series), symbols | varied, program.cone(roots.values()))
        return {name: out[index].parts for name, index in roots.items()}

    def _start_variations(self) -> dict[str, dict[str, int]]:
        """State -> unknown -> derivative of the state's start."""
        match self.question.initial:
            case "unknown":
                return {name: {name: 1} for name in self.states}
            case "known":
                return {name: {} for name in self.states}
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


def random_point(question: Question, rng: np.random.Generator, field: Field | None = None) -> Point:
    """A point at which every fractional power exists; in a fresh field unless one is given.

    Raises:
        NotAnalytic: the functions cannot be expanded at the start.
    """
    for _ in range(ATTEMPTS):
        try:
            return Point(question, field or Field.random(rng, question.cofactor), rng)
        except NoRoot:
            continue
    raise NotAnalytic
