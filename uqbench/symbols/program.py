"""Straight-line programs: the author's functions as a list of exact field operations.

A right-hand side is, once arrays and calls are unrolled, a sequence of additions, products, quotients, powers and named
functions of its symbols. Written down once as such a list it can be run over anything that has these operations: SymPy
expressions for the equations of a report, truncated power series modulo a prime for identifiability. Whatever offers
them is called an *algebra* here.

Numbers in a program are exact. A decimal in the author's source means that decimal, so 0.1 is 1/10, and arithmetic
among known numbers is done at once in rationals; only what depends on a symbol becomes an operation.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

from ..names import TIME

# A shortest decimal with more digits than this is the rounded result of a division, not what somebody wrote.
WRITTEN_DIGITS = 15
LARGEST_DENOMINATOR = 1000


class Algebra(Protocol):
    """The operations that a program needs; elements are whatever the algebra makes them."""

    def constant(self, value: Fraction) -> Any: ...
    def add(self, x, y) -> Any: ...
    def sub(self, x, y) -> Any: ...
    def mul(self, x, y) -> Any: ...
    def div(self, x, y) -> Any: ...
    def neg(self, x) -> Any: ...
    def integer_power(self, x, n: int) -> Any: ...
    def power(self, x, y) -> Any: ...
    def function(self, name: str, x) -> Any: ...


def exact(value) -> Fraction | float:
    """The rational that a written number means: its shortest decimal.

    1/3 has no finite decimal, so a float that needs all its digits and equals a fraction with a denominator up to 1000
    is read as that fraction. Values that are not finite are returned as they are.

    Example:
        >>> exact(0.1), exact(2.0 / 3.0)
        (Fraction(1, 10), Fraction(2, 3))
    """
    if isinstance(value, int | Fraction):
        return Fraction(value)
    if not math.isfinite(value):
        return float(value)
    decimal = Fraction(str(value))
    simple = decimal.limit_denominator(LARGEST_DENOMINATOR)
    digits = len(str(value).split("e")[0].replace(".", "").strip("-0"))
    return simple if digits > WRITTEN_DIGITS and type(value)(float(simple)) == value else decimal


class Node:
    """An entry of a program under construction; equal only to itself."""

    __slots__ = ("index",)

    def __init__(self, index: int):
        self.index = index


class DivisionByZero(ArithmeticError):
    """A divisor is zero whatever the values of the symbols."""


class Recorder:
    """The algebra that writes a program down. Its elements are `Fraction` (known) or `Node`.

    Equal operations are recorded once, and rules that hold in every field (x*0, x*1, x+0, x-x, constants among
    themselves) are applied at once, so zeros of a stoichiometric matrix cost nothing later.
    """

    def __init__(self):
        self.operations: list[tuple] = []
        self._nodes: list[Node] = []
        self._known: dict[tuple, Node] = {}

    def symbol(self, name: str) -> Node:
        return self._record("symbol", name)

    def constant(self, value: Fraction) -> Fraction:
        return value

    def add(self, x, y):
        if _known(x, y):
            return x + y
        if _is(x, 0) or _is(y, 0):
            return y if _is(x, 0) else x
        return self._record("add", *self._sorted(x, y))

    def sub(self, x, y):
        if _known(x, y):
            return x - y
        if x is y:
            return Fraction(0)
        if _is(y, 0):
            return x
        return self.neg(y) if _is(x, 0) else self._record("sub", self.index(x), self.index(y))

    def mul(self, x, y):
        if _known(x, y):
            return x * y
        x, y = (x, y) if isinstance(x, Fraction) else (y, x)
        if _is(x, 0):
            return Fraction(0)
        if _is(x, 1):
            return y
        return self.neg(y) if _is(x, -1) else self._record("mul", *self._sorted(x, y))

    def div(self, x, y):
        if _is(y, 0):
            raise DivisionByZero
        if isinstance(y, Fraction):
            return self.mul(x, 1 / y)
        if x is y:
            return Fraction(1)
        return Fraction(0) if _is(x, 0) else self._record("div", self.index(x), self.index(y))

    def neg(self, x):
        if isinstance(x, Fraction):
            return -x
        match self.operations[x.index]:
            case ("neg", index):
                return self._nodes[index]
            case ("sub", above, below):
                return self.sub(self._nodes[below], self._nodes[above])
            case ("div", above, below):
                return self.div(self.neg(self._nodes[above]), self._nodes[below])
        return self._record("neg", x.index)

    def integer_power(self, x, n: int):
        if n == 0:
            return Fraction(1)
        if isinstance(x, Fraction):
            if x == 0 and n < 0:
                raise DivisionByZero
            return x**n
        return x if n == 1 else self._record("integer_power", x.index, n)

    def power(self, x, y):
        if isinstance(y, Fraction) and y.denominator == 1:
            return self.integer_power(x, int(y))
        return Fraction(1) if _is(x, 1) else self._record("power", self.index(x), self.index(y))

    def function(self, name: str, x):
        if isinstance(x, Fraction) and (name, x) in VALUES:
            return VALUES[name, x]
        return self._record("function", name, self.index(x))

    def index(self, x) -> int:
        """The position of an element in the program."""
        if isinstance(x, Fraction):
            x = self._record("constant", x)
        return x.index

    def _sorted(self, x, y) -> tuple[int, int]:
        first, second = sorted((self.index(x), self.index(y)))
        return first, second

    def _record(self, *operation) -> Node:
        if operation not in self._known:
            self._known[operation] = Node(len(self.operations))
            self._nodes.append(self._known[operation])
            self.operations.append(operation)
        return self._known[operation]


ODD_FUNCTIONS = ("sin", "tan", "sinh", "tanh", "asin", "atan", "asinh", "atanh", "erf")
VALUES = {(name, Fraction(0)): Fraction(0) for name in ODD_FUNCTIONS}
VALUES |= {(name, Fraction(0)): Fraction(1) for name in ("exp", "cos", "cosh")}
VALUES |= {(name, Fraction(1)): Fraction(0) for name in ("log", "acosh")}


def _known(*elements) -> bool:
    return all(isinstance(element, Fraction) for element in elements)


def _is(element, value: int) -> bool:
    return isinstance(element, Fraction) and element == value


@dataclass(frozen=True)
class Program:
    """The initial state, the right-hand side and the outputs of a model as one straight-line program.

    Args:
        operations: ("symbol", name), ("constant", Fraction), ("add" | "sub" | "mul" | "div" | "power", i, j),
            ("neg", i), ("integer_power", i, n) or ("function", name, i); i and j are earlier positions.
        parameters, inputs: names of the symbols that are constant in time; the states and time are symbols too.
        initial, rhs, observe: state or output -> position of its value.
    """

    operations: tuple[tuple, ...]
    parameters: tuple[str, ...]
    inputs: tuple[str, ...]
    initial: Mapping[str, int]
    rhs: Mapping[str, int]
    observe: Mapping[str, int]

    @property
    def states(self) -> tuple[str, ...]:
        return tuple(self.initial)

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(self.observe)

    def cone(self, roots: Iterable[int]) -> list[int]:
        """Positions of everything that `roots` depend on, in the order of evaluation."""
        needed, stack = set(), list(roots)
        while stack:
            position = stack.pop()
            if position not in needed:
                needed.add(position)
                stack.extend(arguments(self.operations[position]))
        return sorted(needed)

    def symbols(self, roots: Iterable[int]) -> set[str]:
        """Names of the symbols that `roots` depend on."""
        operations = (self.operations[position] for position in self.cone(roots))
        return {operation[1] for operation in operations if operation[0] == "symbol"}

    def run(self, algebra: Algebra, values: Mapping[str, Any], cone: Iterable[int]) -> dict[int, Any]:
        """Evaluates the positions in `cone` (from `Program.cone`) with the symbols at `values`."""
        out: dict[int, Any] = {}
        for position in cone:
            kind, *given = self.operations[position]
            match kind:
                case "symbol":
                    out[position] = values[given[0]]
                case "constant":
                    out[position] = algebra.constant(given[0])
                case "function":
                    out[position] = algebra.function(given[0], out[given[1]])
                case "integer_power":
                    out[position] = algebra.integer_power(out[given[0]], given[1])
                case _:
                    out[position] = getattr(algebra, kind)(*(out[index] for index in given))
        return out

    def rewrite(self, recorder: Recorder, known: Mapping[str, Fraction] | None = None) -> "Program":
        """The same functions recorded afresh: with some symbols known, or by a recorder with other operations."""
        known = known or {}
        names = (*self.parameters, *self.inputs, *self.initial, TIME)
        elements = {name: known[name] if name in known else recorder.symbol(name) for name in names}
        roots = (self.initial, self.rhs, self.observe)
        out = self.run(recorder, elements, self.cone(index for part in roots for index in part.values()))
        initial, rhs, observe = ({name: recorder.index(out[index]) for name, index in part.items()} for part in roots)
        parameters, inputs = (
            tuple(name for name in names if name not in known) for names in (self.parameters, self.inputs)
        )
        return Program(tuple(recorder.operations), parameters, inputs, initial, rhs, observe)


def arguments(operation: tuple) -> tuple[int, ...]:
    """The earlier positions that an operation reads."""
    match operation:
        case ("symbol" | "constant", _):
            return ()
        case ("function", _, index) | ("integer_power", index, _):
            return (index,)
        case _:
            return operation[1:]
