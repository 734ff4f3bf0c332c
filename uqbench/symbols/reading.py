"""The equations of a model as SymPy expressions, read from the functions that are simulated.

Nothing is written twice, so the equations in a report cannot drift from the numbers beside them. Expressions keep the
shape in which the author wrote them; nothing is expanded or simplified.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import sympy

from ..design import Design
from ..names import TIME
from .tracing import trace

DIGITS = 30


class SympyAlgebra:
    """Straight-line programs over SymPy expressions."""

    def constant(self, value: Fraction) -> sympy.Expr:
        return sympy.Rational(value.numerator, value.denominator)

    def add(self, x, y):
        return x + y

    def sub(self, x, y):
        return x - y

    def mul(self, x, y):
        return x * y

    def div(self, x, y):
        return x / y

    def neg(self, x):
        return -x

    def integer_power(self, x, n: int):
        return x**n

    def power(self, x, y):
        return x**y

    def function(self, name: str, x):
        return getattr(sympy, name)(x)


@dataclass(frozen=True)
class SymbolicModel:
    """The dynamics of a model in symbols; numbers are exact rationals.

    Args:
        time: the symbol of time.
        states, parameters, inputs, outputs: names, in the author's order. An input array `dose` is `dose_0`, ...
        initial: state -> its value at the start, in parameters and inputs.
        rhs: state -> its time derivative, in time, states, parameters and inputs.
        observe: output -> expression in states and parameters.
        symbols: name -> symbol, of every parameter, state and input.
    """

    time: sympy.Symbol
    states: tuple[str, ...]
    parameters: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    initial: Mapping[str, sympy.Expr]
    rhs: Mapping[str, sympy.Expr]
    observe: Mapping[str, sympy.Expr]
    symbols: Mapping[str, sympy.Symbol]

    def evaluate(self, part: str, values: Mapping[str, float]) -> dict[str, float]:
        """Numbers of one part, computed from the symbols with 30 digits and then rounded; NaN where none is real.

        Args:
            part: "initial", "rhs" or "observe".
            values: value of every symbol that occurs, time as "t".

        Example:
            >>> from forward_models.secretion import model
            >>> read(model).evaluate("rhs", {"s": 1.0, "q": 10.0, "k": 0.5, "C": 4.0})
            {'C': 8.0}
        """
        symbols = {**self.symbols, TIME: self.time}
        point = {symbols[name]: sympy.Rational(float(value)) for name, value in values.items()}
        expressions = {"initial": self.initial, "rhs": self.rhs, "observe": self.observe}[part]
        exact = {name: expression.xreplace(point).evalf(DIGITS) for name, expression in expressions.items()}
        return {name: float(value) if value.is_extended_real else float("nan") for name, value in exact.items()}

    def equations(self) -> list[sympy.Eq]:
        """One equation per state, initial value and output, for `sympy.latex`: dC/dt = ..., C(start) = ..., y = ...

        An output that is just the state of the same name is left out.
        """
        dynamics = [
            _equation(sympy.Derivative(self.symbols[name], self.time), right) for name, right in self.rhs.items()
        ]
        start = [_equation(sympy.Function(name)(0), right) for name, right in self.initial.items()]
        outputs = []
        for name, right in self.observe.items():
            if name not in self.symbols:
                outputs.append(_equation(sympy.Symbol(name), right))
            elif right != self.symbols[name]:
                outputs.append(_equation(sympy.Symbol(f"{name}_observed"), right))
        return [*dynamics, *start, *outputs]


def _equation(left, right) -> sympy.Eq:
    return sympy.Eq(left, right, evaluate=False)


def read(model, design: Design | None = None) -> SymbolicModel:
    """The symbolic form of a model's dynamics.

    Args:
        model: a model with an `Ode` system.
        design: names and shapes of the inputs; without one, every input that is read counts as one number.

    Returns:
        expressions equal to the author's functions, with exact rationals.

    Raises:
        InputError: naming every operation without an exact algebraic meaning, in all functions, and what to write
            instead; or that the model has no system.

    Example:
        >>> from forward_models.secretion import model
        >>> read(model).rhs["C"]
        -C*k + q*s
    """
    program = trace(model, design)
    names = (*program.parameters, *program.states, *program.inputs)
    symbols = {name: sympy.Symbol(name) for name in names}
    parts = (program.initial, program.rhs, program.observe)
    cone = program.cone(index for part in parts for index in part.values())
    time = sympy.Symbol(TIME)
    values = program.run(SympyAlgebra(), {**symbols, TIME: time}, cone)
    initial, rhs, observe = ({name: sympy.sympify(values[index]) for name, index in part.items()} for part in parts)
    states, parameters, inputs, outputs = program.states, program.parameters, program.inputs, program.outputs
    return SymbolicModel(time, states, parameters, inputs, outputs, initial, rhs, observe, symbols)
