"""Equations with jumps in time: one program for each stretch between jumps.

A comparison, a maximum or a rounding of what depends on time, inputs and parameters alone has one outcome in each
stretch of time between jumps, and with that outcome the right-hand side is one formula there. What depends on states is
decided by no clock, and what depends on parameters without time holds for some of their values only; both are refused
as before.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import jax.numpy as jnp
import numpy as np

from ..names import TIME
from .program import Program, Recorder, arguments

# Times that are looked at beside the known ones, and stretches of different equations that are told apart.
SAMPLES, MOST = 256, 6

# operation -> which of its possible results holds, a whole number
OUTCOMES: dict[str, Callable] = {
    "lt": lambda x, y: x < y, "le": lambda x, y: x <= y, "gt": lambda x, y: x > y, "ge": lambda x, y: x >= y,
    "eq": lambda x, y: x == y, "ne": lambda x, y: x != y,
    "max": lambda x, y: y > x, "min": lambda x, y: y < x, "abs": lambda x: x < 0,
    "sign": lambda x: (x > 0) - (x < 0), "clamp": lambda low, x, high: 0 if x < low else 2 if x > high else 1,
    "floor": math.floor, "ceil": math.ceil, "round": round, "rem": lambda x, y: math.trunc(x / y),
}  # fmt: skip


def chosen(recorder: Recorder, name: str, outcome: int, given: Sequence):
    """The formula that an operation is where it has this outcome."""
    match name:
        case "max" | "min" | "clamp":
            return given[outcome]
        case "abs":
            return recorder.neg(given[0]) if outcome else given[0]
        case "rem":
            return recorder.sub(given[0], recorder.mul(Fraction(outcome), given[1]))
        case _:
            return Fraction(outcome)


class Numbers:
    """The algebra of floats; what has no value is nan."""

    def constant(self, value: Fraction) -> float:
        return float(value)

    def add(self, x, y):
        return x + y

    def sub(self, x, y):
        return x - y

    def mul(self, x, y):
        return x * y

    def div(self, x, y):
        return x / y if y else math.nan

    def neg(self, x):
        return -x

    def integer_power(self, x, n: int):
        return self.power(x, n)

    def power(self, x, y):
        try:
            value = x**y
        except (ZeroDivisionError, OverflowError):
            return math.nan
        return math.nan if isinstance(value, complex) else value

    def function(self, name: str, x):
        try:
            return getattr(math, name)(x)
        except (ValueError, OverflowError):
            return math.nan


class Moment:
    """Decides, at one time, what depends on time, inputs and parameters alone.

    Args:
        recorder: in which the entries stand.
        values: parameter, input entry -> its number, and those of time. inputs: names of what decides without time.

    Attributes:
        decisions: (operation, entries) -> outcome, of everything that was asked.
    """

    def __init__(self, recorder: Recorder, values: dict[str, float], inputs: frozenset[str]):
        self.recorder, self.values, self.inputs = recorder, values, inputs
        self.decisions: dict[tuple, int] = {}
        self._recorded = Program((), (), (), {}, {}, {})

    def outcome(self, name: str, given: Sequence) -> int | None:
        """Which result holds; None where states decide it, or parameters without time."""
        symbols = set().union(*(self._symbols(entry) for entry in given))
        if not symbols <= set(self.values) or not (TIME in symbols or symbols <= self.inputs):
            return None
        found = self.at(name, given, self.values[TIME])
        if found is not None:
            self.decisions[name, *given] = found
        return found

    def at(self, name: str, given: Sequence, time: float) -> int | None:
        """The same at another time."""
        numbers = [self.number(entry, time) for entry in given]
        if not all(map(math.isfinite, numbers)) or (name == "rem" and not numbers[1]):
            return None
        return int(OUTCOMES[name](*numbers))

    def number(self, entry, time: float) -> float:
        if isinstance(entry, Fraction):
            return float(entry)
        program = self._program(entry.index)
        return program.run(Numbers(), self.values | {TIME: time}, program.cone([entry.index]))[entry.index]

    def _program(self, index: int) -> Program:
        """All that was recorded, written down anew only where an entry is not among it yet."""
        if index >= len(self._recorded.operations):
            self._recorded = Program(tuple(self.recorder.operations), (), (), {}, {}, {})
        return self._recorded

    def roots(self, first: float, last: float) -> list[float]:
        """Times between at which decisions that are affine in time change; of others, none."""
        out = []
        for name, *given in self.decisions:
            if name in ("floor", "ceil", "round", "rem"):
                continue
            sides = [*given, Fraction(0)] if name in ("abs", "sign") else given
            for x, y in pairwise(sides):
                low, middle, high = (
                    self.number(x, time) - self.number(y, time) for time in (first, (first + last) / 2, last)
                )
                if high != low and abs(low + high - 2 * middle) <= 1e-9 * (abs(low) + abs(high)):
                    out.append(first - low * (last - first) / (high - low))
        return [time for time in out if first < time < last]

    @property
    def parameters(self) -> set[str]:
        """The symbols other than time and inputs on which decisions rest."""
        found = set().union(*(self._symbols(entry) for _, *given in self.decisions for entry in given))
        return found - self.inputs - {TIME}

    def _symbols(self, entry) -> set[str]:
        if isinstance(entry, Fraction):
            return set()
        stack, found, visited = [entry.index], set(), set()
        while stack:
            index = stack.pop()
            if index not in visited:
                visited.add(index)
                operation = self.recorder.operations[index]
                if operation[0] == "symbol":
                    found.add(operation[1])
                stack.extend(arguments(operation))
        return found


@dataclass(frozen=True)
class Stretch:
    """The equations between two jumps.

    Args:
        time: from which on they hold, for the first time.
        program: the equations.
        parameters: on which the times of the jumps depend.
    """

    time: float
    program: Program
    parameters: frozenset[str]


def stretches(read: Callable[[float], tuple[Program, Moment]], first: float, last: float, known) -> list[Stretch]:
    """The different equations that hold one after another, in the order of time.

    Args:
        read: time -> the program that holds there and what was decided.
        first, last: the time that is looked at.
        known: further times at which something jumps.
    """
    edges = {first, last, *(float(time) for time in known if first < time < last)}
    edges |= set(np.linspace(first, last, SAMPLES + 1).tolist())
    found: dict[tuple, Stretch] = {}
    moments: dict[tuple, Moment] = {}
    rows = sorted(edges)
    position = 0
    while position < len(rows) - 1 and len(found) < MOST:
        begins, middle = rows[position], (rows[position] + rows[position + 1]) / 2
        position += 1
        if any(_holds(moment, middle) for moment in moments.values()):
            continue
        program, moment = read(middle)
        key = (program.operations, *(tuple(part.items()) for part in (program.initial, program.rhs, program.observe)))
        moments[(middle,)] = moment
        found.setdefault(key, Stretch(begins, program, frozenset(moment.parameters)))
        # what was compared here may change at a time that no sample separates
        if more := [time for time in moment.roots(first, last) if time not in edges]:
            edges.update(more)
            rows, position = sorted(edges), 0
    return sorted(found.values(), key=lambda stretch: stretch.time)


def _holds(moment: Moment, time: float) -> bool:
    """Whether everything that was decided there has the same outcome at this time."""
    return all(moment.at(name, given, time) == outcome for (name, *given), outcome in moment.decisions.items())


def numbers_of(names: Sequence[str], arrays) -> dict[str, float]:
    """Names of single entries, `name_0` ..., with their numbers."""
    return {
        "_".join([name, *map(str, index)]): float(jnp.asarray(arrays[name])[index])
        for name in names
        for index in np.ndindex(np.shape(arrays[name]))
    }
