"""The polynomial system that the Taylor coefficients of measured outputs impose on parameters and states.

States are power series whose coefficients x_0, x_1, ... are unknowns. The right-hand sides, run over such series, give
one polynomial equation for every coefficient, and the outputs one for every coefficient that was measured; products of
series are sparse in the coefficients, whereas parameters substituted for them would explode (H. Hong, A. Ovchinnikov,
G. Pogudin, C. Yap, "Global identifiability of differential models", Comm. Pure Appl. Math. 73, 2020,
doi:10.1002/cpa.21921). A coefficient is made when something asks for it, so nothing is differentiated further than the
measured orders need.

A right-hand side is kept as one fraction. Divisors that change in time multiply the equation (d x' = n), those that do
not get an unknown for their inverse; every divisor is also said to be different from zero at the start.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from flint import Ordering, nmod_mpoly_ctx

from ...symbols import TIME, Program, Recorder
from ...symbols.program import arguments
from ..budget import Budget


class Full(Exception):
    """More unknowns than were provided for."""


@dataclass(frozen=True)
class JetSystem:
    """Polynomial equations modulo a prime.

    Args:
        names: of the variables, the largest in the order first: "x 3" is the third Taylor coefficient of the state x.
        equations: exponents -> coefficient, see `groebner`.
        prime: the coefficients are modulo this.
        known: the values that follow at once (of parameters and of states at the start).
    """

    names: tuple[str, ...]
    equations: tuple[dict, ...]
    prime: int
    known: dict[str, int]


class Divided:
    """A numerator and divisors, position of the factor -> power."""

    __slots__ = ("divisors", "numerator")

    def __init__(self, numerator, divisors: dict[int, int]):
        self.numerator = numerator
        self.divisors = divisors


class Fractions:
    """The algebra of fractions that are not reduced, written down by a recorder without divisions.

    Args:
        recorder: where numerators and divisors are written.
        steady: whether what stands at a position does not change in time; a steady divisor becomes an inverse.
    """

    def __init__(self, recorder: Recorder, steady: Callable[[int], bool]):
        self.recorder = recorder
        self.steady = steady
        self.inverses: dict[str, int] = {}
        self.factors: dict[int, None] = {}

    def constant(self, value: Fraction) -> Divided:
        return Divided(value, {})

    def symbol(self, name: str) -> Divided:
        return Divided(self.recorder.symbol(name), {})

    def add(self, x, y):
        divisors = {k: max(x.divisors.get(k, 0), y.divisors.get(k, 0)) for k in {**x.divisors, **y.divisors}}
        return Divided(self.recorder.add(self._raised(x, divisors), self._raised(y, divisors)), divisors)

    def sub(self, x, y):
        return self.add(x, self.neg(y))

    def neg(self, x):
        return Divided(self.recorder.neg(x.numerator), x.divisors)

    def mul(self, x, y):
        divisors = {k: x.divisors.get(k, 0) + y.divisors.get(k, 0) for k in {**x.divisors, **y.divisors}}
        return Divided(self.recorder.mul(x.numerator, y.numerator), divisors)

    def div(self, x, y):
        numerator, divisors = x.numerator, dict(x.divisors)
        for position, power in y.divisors.items():
            cancelled = min(power, divisors.get(position, 0))
            divisors[position] = divisors.get(position, 0) - cancelled
            for _ in range(power - cancelled):
                numerator = self.recorder.mul(numerator, self._node(position))
        if isinstance(y.numerator, Fraction):
            numerator = self.recorder.div(numerator, y.numerator)
        else:
            for position, power in self._split(y.numerator.index):
                if self.steady(position):
                    for _ in range(power):
                        numerator = self.recorder.mul(numerator, self._inverse(position))
                else:
                    self.factors[position] = None
                    divisors[position] = divisors.get(position, 0) + power
        return Divided(numerator, {k: power for k, power in divisors.items() if power})

    def integer_power(self, x, n: int):
        if n < 0:
            return self.div(self.constant(Fraction(1)), self.integer_power(x, -n))
        return Divided(self.recorder.integer_power(x.numerator, n), {k: n * power for k, power in x.divisors.items()})

    def _inverse(self, position: int):
        name = f"1/{position}"
        self.inverses[name] = position
        return self.recorder.symbol(name)

    def _split(self, position: int) -> list[tuple[int, int]]:
        """The factors of a product with their powers."""
        operation = self.recorder.operations[position]
        match operation[0]:
            case "mul":
                return [pair for index in operation[1:] for pair in self._split(index)]
            case "integer_power":
                return [(index, power * operation[2]) for index, power in self._split(operation[1])]
            case _:
                return [(position, 1)]

    def _node(self, position: int):
        return self.recorder._nodes[position]

    def _raised(self, x: Divided, divisors: Mapping[int, int]):
        numerator = x.numerator
        for position, power in divisors.items():
            for _ in range(power - x.divisors.get(position, 0)):
                numerator = self.recorder.mul(numerator, self._node(position))
        return numerator


class Lazy:
    """A power series whose coefficients are worked out when asked for; 0 (an int) where they vanish."""

    __slots__ = ("compute", "known")

    def __init__(self, compute: Callable[[int], object]):
        self.compute = compute
        self.known: list = []

    def at(self, k: int):
        while len(self.known) <= k:
            self.known.append(self.compute(len(self.known)))
        return self.known[k]


class LazySeries:
    """The algebra of lazy series over polynomials modulo `prime` (python-flint) and plain integers.

    Args:
        prime: the modulus. budget: time limit. words: of the exponents of a monomial; products take as much longer.
    """

    def __init__(self, prime: int, budget: Budget, words: int):
        self.prime, self.budget, self.words = prime, budget, words

    def reduced(self, value):
        return value % self.prime if isinstance(value, int) else value

    def constant(self, value: Fraction) -> Lazy:
        number = value.numerator * pow(value.denominator, -1, self.prime) % self.prime
        return Lazy(lambda k: 0 if k else number)

    def add(self, x, y):
        return Lazy(lambda k: self.reduced(x.at(k) + y.at(k)))

    def sub(self, x, y):
        return Lazy(lambda k: self.reduced(x.at(k) - y.at(k)))

    def neg(self, x):
        return Lazy(lambda k: self.reduced(-x.at(k)))

    def mul(self, x, y):
        return Lazy(lambda k: self.convolved(x, y, k))

    def integer_power(self, x, n: int):
        out = None
        while n:
            if n & 1:
                out = x if out is None else self.mul(out, x)
            x, n = self.mul(x, x) if n > 1 else x, n >> 1
        return out

    def convolved(self, x: Lazy, y: Lazy, k: int):
        """Coefficient k of a product.

        Raises:
            Undecided: there is no time for it.
        """
        total = 0
        for i in range(k + 1):
            left = x.at(i)
            if isinstance(left, int) and left == 0:
                continue
            right = y.at(k - i)
            if isinstance(right, int) and right == 0:
                continue
            self.budget.check(self.words * _terms(left) * _terms(right))
            total = total + left * right
            if isinstance(total, int):
                total %= self.prime
        return total


def _terms(value) -> int:
    return 1 if isinstance(value, int) else len(value)


class Prolongation:
    """Writes the system down.

    Args:
        program: rational (no functions).
        prime: of the field.
        unknowns: parameters, and states at the start, that are unknown.
        numbers: value of every other parameter and of the start of every other state.
        series: known series of inputs, of time and of states that are measured themselves; name -> coefficients.
        room: number of variables provided for.
        budget: time limit.
    """

    def __init__(
        self, program: Program, prime: int, unknowns: Sequence[str], numbers: Mapping[str, int],
        series: Mapping[str, Callable[[int], int]], room: int, budget: Budget
    ):  # fmt: skip
        self.program, self.prime = program, prime
        self.context = nmod_mpoly_ctx.get([f"v{k}" for k in range(room)], modulus=prime, ordering=Ordering.degrevlex)
        self.generators = self.context.gens()
        self.names: list[str] = []
        self.equations: list = []
        self.series, self.numbers, self.unknowns = series, numbers, set(unknowns)
        self._written: dict[str, int] = {}
        self.recorder = Recorder()
        # exponents are packed, eight or so to a machine word
        self.budget, self.words = budget, -(-room // 8)
        self.algebra = LazySeries(prime, budget, self.words)
        self._fractions = Fractions(self.recorder, self._is_steady)
        self._values: dict[int, Lazy] = {}
        names = [*program.parameters, *program.inputs, *program.states, TIME]
        roots = [*program.rhs.values(), *program.observe.values(), *program.initial.values()]
        self._divided = program.run(
            self._fractions, {name: self._fractions.symbol(name) for name in names}, program.cone(roots)
        )
        self._states = {name: Lazy(lambda k, name=name: self._state(name, k)) for name in program.states}
        self._started: set[str] = set()

    def _is_steady(self, position: int) -> bool:
        """Whether what stands at a position of the recorder does not change in time."""
        stack, visited = [position], set()
        moving = {*self.program.states, *self.series}
        while stack:
            index = stack.pop()
            operation = self.recorder.operations[index]
            if operation[0] == "symbol" and operation[1] in moving:
                return False
            if index not in visited:
                visited.add(index)
                stack.extend(arguments(operation))
        return True

    def variable(self, name: str):
        """A new unknown."""
        if len(self.names) == len(self.generators):
            raise Full
        self.names.append(name)
        return self.generators[len(self.names) - 1]

    def lazy(self, entry) -> Lazy:
        """The series of an entry of the recorder."""
        if isinstance(entry, Fraction):
            return self.algebra.constant(entry)
        position = entry.index
        if position not in self._values:
            kind, *given = self.recorder.operations[position]
            match kind:
                case "symbol":
                    out = self._symbol(given[0])
                case "constant":
                    out = self.algebra.constant(given[0])
                case "integer_power":
                    out = self.algebra.integer_power(self.lazy(self.recorder._nodes[given[0]]), given[1])
                case _:
                    out = getattr(self.algebra, kind)(*(self.lazy(self.recorder._nodes[index]) for index in given))
            self._values[position] = out
        return self._values[position]

    def _symbol(self, name: str) -> Lazy:
        if name in self._states:
            return self._states[name]
        if name in self.series:
            return Lazy(self.series[name])
        if name in self._fractions.inverses:
            divisor = self.lazy(self.recorder._nodes[self._fractions.inverses[name]]).at(0)
            if isinstance(divisor, int):
                value = pow(divisor, -1, self.prime)
            else:
                value = self.variable(name)
                self.equations.append(value * divisor - 1)
        elif name in self.unknowns:
            value = self.variable(name)
        else:
            value = self.numbers[name]
        return Lazy(lambda k: 0 if k else value)

    def _state(self, name: str, k: int):
        if name in self.series:
            return self.series[name](k)
        if k == 0:
            return self.variable(name) if name in self.unknowns else self.numbers[name]
        self.budget.check()
        value = self.variable(f"{name} {k}")
        self._states[name].known.append(value)  # its own equation asks for it
        self._prolong(name, k)
        return self._states[name].known.pop()

    def _prolong(self, name: str, k: int):
        """Writes down the equation for coefficient `k` of a state."""
        if self._written.get(name, 0) >= k:
            return
        if k > 1:
            self._prolong(name, k - 1)
        self._written[name] = k
        divided = self._divided[self.program.rhs[name]]
        left = self._slope(name, divided.divisors, k - 1)
        self.equations.append(left - self.lazy(divided.numerator).at(k - 1))

    def _slope(self, name: str, divisors: Mapping[int, int], k: int):
        """Coefficient k of divisor times derivative."""
        slope = Lazy(lambda i: self.algebra.reduced((i + 1) * self._states[name].at(i + 1)))
        for position, power in divisors.items():
            factor = self.lazy(self.recorder._nodes[position])
            for _ in range(power):
                slope = self.algebra.mul(factor, slope)
        return slope.at(k)

    def measure(self, output: str, values: Sequence[int]):
        """Equations for the coefficients of an output that were measured."""
        index = self.program.observe[output]
        operation = self.program.operations[index]
        if operation[0] == "symbol" and operation[1] in self.series and operation[1] in self._states:
            if len(values) > 1:
                self._prolong(operation[1], len(values) - 1)
            return
        divided = self._divided[index]
        top = self.lazy(divided.numerator)
        bottom = self.algebra.constant(Fraction(1))
        for position, power in divided.divisors.items():
            bottom = self.algebra.mul(
                bottom, self.algebra.integer_power(self.lazy(self.recorder._nodes[position]), power)
            )
        given = Lazy(lambda k: values[k])
        for k in range(len(values)):
            self.equations.append(self.algebra.convolved(bottom, given, k) - top.at(k))

    def starts(self, names: Sequence[str], shifts: Mapping[str, int]):
        """Equations for the starts of states that the model gives by formulas."""
        for name in names:
            divided = self._divided[self.program.initial[name]]
            bottom = 1
            for position, power in divided.divisors.items():
                bottom = bottom * self.lazy(self.recorder._nodes[position]).at(0) ** power
            start = self._states[name].at(0) - shifts.get(name, 0)
            self.equations.append(bottom * start - self.lazy(divided.numerator).at(0))

    def admit(self):
        """Says that no divisor that is in use vanishes at the start."""
        for position in self._fractions.factors:
            if position in self._values:
                divisor = self._values[position].at(0)
                if not isinstance(divisor, int):
                    self.equations.append(self.variable(f"1/{position}") * divisor - 1)
