"""A program as a rational system modulo a prime."""

from dataclasses import replace
from fractions import Fraction

from flint import nmod_mpoly

from ...symbols import TIME
from ..budget import Undecided
from ..taylor import Question
from .polynomials import Ring
from .series import System


class Quotients:
    """The algebra of rational functions modulo a prime: pairs (numerator, denominator) without common factors.

    It has the operations of `uqbench.symbols.Algebra`.
    """

    def __init__(self, ring: Ring):
        self.ring = ring

    def symbol(self, name: str):
        return self.ring.generator(name), self.ring.constant(1)

    def constant(self, value: Fraction):
        value = Fraction(value)
        return self.ring.constant(value.numerator * pow(value.denominator, -1, self.ring.prime)), self.ring.constant(1)

    def add(self, x, y):
        a, b, c, d = self.ring.join(*x, *y)
        if b == d:
            return self._reduced(a + c, b)
        return self._reduced(a * d + c * b, b * d)

    def neg(self, x):
        return -x[0], x[1]

    def sub(self, x, y):
        return self.add(x, self.neg(y))

    def mul(self, x, y):
        a, b, c, d = self.ring.join(*x, *y)
        return self._reduced(a * c, b * d)

    def div(self, x, y):
        if not len(y[0]):
            raise Undecided("a division by something that is zero whatever the values")
        return self.mul(x, y[::-1])

    def integer_power(self, x, n: int):
        above, below = x if n >= 0 else x[::-1]
        return above ** abs(n), below ** abs(n)

    def power(self, x, y):
        raise Undecided("a power that is no integer")

    def function(self, name: str, x):
        raise Undecided(f"the function {name}")

    def _reduced(self, above: nmod_mpoly, below: nmod_mpoly):
        if not len(above):
            return self.ring.constant(0), self.ring.constant(1)
        if not below.is_constant():
            common = above.gcd(below)
            if not common.is_constant():
                above, below = above / common, below / common
        if below.is_constant():
            above, below = above * pow(int(below.leading_coefficient()), -1, self.ring.prime), self.ring.constant(1)
        return self.ring.trim(above), self.ring.trim(below)


def from_question(question: Question, prime: int) -> System:
    """The system of a question; its states start anywhere, and constant inputs count as parameters.

    Raises:
        Undecided: there are other operations than those of a field, or time enters explicitly.
    """
    program, outputs = question.program, question.outputs
    moving = question.moving
    constant = (*program.parameters, *(name for name in program.inputs if name not in moving))
    ring = Ring([*program.states, *moving, *constant], prime)
    algebra = Quotients(ring)
    roots = {("rhs", name): k for name, k in program.rhs.items()}
    roots |= {("y", name): program.observe[name] for name in outputs}
    symbols = program.symbols(roots.values())
    if TIME in symbols:
        raise Undecided("time enters the equations explicitly")
    values = {name: algebra.symbol(name) for name in symbols if name in ring.position}
    if len(values) < len(symbols):
        raise Undecided("exp, log or a power that is no integer")
    done = program.run(algebra, values, program.cone(roots.values()))
    parts = {key: done[k] for key, k in roots.items()}
    return System(
        ring, tuple(program.states), constant, moving,
        {name: parts["rhs", name] for name in program.rhs}, {name: parts["y", name] for name in outputs},
    )  # fmt: skip


def constants_as_parameters(system: System) -> System:
    """The system with states that never change counted as parameters.

    That is what they are in one experiment. As states they may differ between experiments, so that several experiments
    can tell more.
    """
    constant = tuple(name for name in system.states if not len(system.rhs[name][0]))
    moving = tuple(name for name in system.states if name not in constant)
    rhs = {name: system.rhs[name] for name in moving}
    return replace(system, states=moving, parameters=(*system.parameters, *constant), rhs=rhs)
