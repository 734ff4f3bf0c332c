"""Truncated power series modulo a prime, with first variations.

Identifiability is a question about ranks of exact Jacobians. Over the rationals their entries explode; modulo a large
random prime they stay one machine word, and a rank is wrong only with the probability that a nonzero number happens to
vanish there. Series and matrices are python-flint's.

Only the field operations, exp, log and erf are known here: `Elementary` writes every other function in these, which
also makes their dependences (sin^2 + cos^2 = 1, tanh by exp) hold of themselves.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from flint import fmpz, nmod_poly

from ..symbols import Recorder

IMAGINARY, QUARTER_TURN, ERF_SCALE = "sqrt(-1)", "pi/2", "2/sqrt(pi)"
BITS = 61
# products of residues fit 64 bits, and msolve takes such primes
SMALL_BITS = 31


class NotAnalytic(ArithmeticError):
    """A division by zero, or log or a fractional power of zero, at the point of expansion."""


class Elementary(Recorder):
    """Records every function by field operations, exp, log and erf; powers that are not integer by exp and log."""

    def power(self, x, y):
        if isinstance(y, Fraction) and y.denominator == 1:
            return self.integer_power(x, int(y))
        return super().function("exp", self.mul(y, super().function("log", x)))

    def function(self, name: str, x):
        one, two = Fraction(1), Fraction(2)
        match name:
            case "exp" | "log":
                return super().function(name, x)
            case "erf":
                return self.mul(self.symbol(ERF_SCALE), super().function("erf", x))
            case "tanh":
                square = super().function("exp", self.mul(two, x))
                return self.div(self.sub(square, one), self.add(square, one))
            case "sinh" | "cosh":
                return self._halves(super().function("exp", x), two, name == "sinh")
            case "sin" | "cos":
                turned = super().function("exp", self.mul(self.symbol(IMAGINARY), x))
                return self._halves(
                    turned, self.mul(two, self.symbol(IMAGINARY)) if name == "sin" else two, name == "sin"
                )
            case "tan":
                return self.div(self.function("sin", x), self.function("cos", x))
            case _:
                return self._inverse(name, x)

    def _halves(self, e, scale, odd: bool):
        return self.div((self.sub if odd else self.add)(e, self.div(Fraction(1), e)), scale)

    def _inverse(self, name: str, x):
        one, half, i = Fraction(1), Fraction(1, 2), self.symbol(IMAGINARY)
        log = super().function
        match name:
            case "asinh" | "acosh":
                shifted = (self.add if name == "asinh" else self.sub)(self.mul(x, x), one)
                return log("log", self.add(x, self.power(shifted, half)))
            case "atanh":
                return self.mul(half, self.sub(log("log", self.add(one, x)), log("log", self.sub(one, x))))
            case "atan":
                turned = self.function("atanh", self.mul(i, x))
                return self.neg(self.mul(i, turned))
            case "asin":
                root = self.power(self.sub(one, self.mul(x, x)), half)
                return self.neg(self.mul(i, log("log", self.add(self.mul(i, x), root))))
            case "acos":
                return self.sub(self.symbol(QUARTER_TURN), self.function("asin", x))
        raise NotImplementedError(name)


@dataclass(frozen=True)
class Field:
    """The integers modulo `prime` = `cofactor` * `order` + 1 with `order` prime.

    In the subgroup of that order every element has exactly one d-th root, for every d: what rational powers need.
    """

    prime: int
    cofactor: int

    @classmethod
    def random(cls, rng: np.random.Generator, cofactor: int, bits: int = BITS) -> "Field":
        """A random field of less than 2^`bits` elements; `cofactor` 1 asks for nothing but a prime."""
        while True:
            order = int(rng.integers(1 << (bits - 1), 1 << bits)) // cofactor | 1
            prime = order if cofactor == 1 else cofactor * order + 1
            if prime >> bits == 0 and fmpz(prime).is_prime() and (cofactor == 1 or fmpz(order).is_prime()):
                return cls(prime, cofactor)

    def random_element(self, rng: np.random.Generator) -> int:
        return int(rng.integers(1, self.prime))

    def random_power(self, rng: np.random.Generator) -> int:
        """An element with roots of every order."""
        return pow(self.random_element(rng), self.cofactor, self.prime)

    def of(self, value: Fraction) -> int:
        """The rational number in this field."""
        return value.numerator * pow(value.denominator, -1, self.prime) % self.prime

    def power(self, base: int, exponent: Fraction) -> int | None:
        """`base`^`exponent`, or None where the root is not in the field."""
        n, d = exponent.numerator, exponent.denominator
        if d == 1:
            return pow(base, n, self.prime)
        if d % 2:
            return pow(base, n * pow(d, -1, self.prime - 1), self.prime)
        order = (self.prime - 1) // self.cofactor
        if pow(base, order, self.prime) != 1:
            return None
        return pow(base, n * pow(d, -1, order) % order, self.prime)

    def imaginary(self, rng: np.random.Generator) -> int:
        """A square root of -1 (the cofactor must be 4)."""
        while True:
            root = pow(self.random_element(rng), (self.prime - 1) // 4, self.prime)
            if root * root % self.prime == self.prime - 1:
                return root


@dataclass
class Series:
    """The algebra of power series truncated after `length` terms.

    Args:
        field: the field of the coefficients.
        constants: (function, value of its argument at the point of expansion) -> its value there.
        length: number of terms that are kept; may be raised between runs.
    """

    field: Field
    constants: Mapping[tuple[str, int], int]
    length: int = 1
    one: nmod_poly = dataclasses.field(init=False)

    def __post_init__(self):
        self.one = nmod_poly([1], self.field.prime)

    def number(self, value: int) -> nmod_poly:
        return nmod_poly([value], self.field.prime)

    def constant(self, value: Fraction) -> nmod_poly:
        return self.number(self.field.of(value))

    def add(self, x, y):
        return x + y

    def sub(self, x, y):
        return x - y

    def neg(self, x):
        return -x

    def mul(self, x, y):
        return (x * y).truncate(self.length)

    def div(self, x, y):
        return self.mul(x, self.inverse(y))

    def inverse(self, x):
        if int(x[0]) == 0:
            raise NotAnalytic
        return x.inverse_series_trunc(self.length)

    def integer_power(self, x, n: int):
        if n < 0:
            x, n = self.inverse(x), -n
        out = self.one
        while n:
            if n & 1:
                out = self.mul(out, x)
            x, n = self.mul(x, x) if n > 1 else x, n >> 1
        return out

    def function(self, name: str, x):
        start = int(x[0])
        value = self.number(self.constants[name, start])
        match name:
            case "exp":
                return value * self._exponential(x - self.number(start))
            case "log":
                return value + self.mul(x.derivative(), self.inverse(x)).truncate(self.length - 1).integral()
            case "erf":
                bell = self.function("exp", -self.mul(x, x))
                return value + self.mul(x.derivative(), bell).truncate(self.length - 1).integral()
        raise NotImplementedError(name)

    def _exponential(self, x):
        """exp of a series without constant term, by Newton's iteration on log g = x."""
        g, length = self.one, 1
        while length < self.length:
            length = min(2 * length, self.length)
            logarithm = (g.derivative() * g.inverse_series_trunc(length)).truncate(length - 1).integral()
            g = (g + g * (x - logarithm).truncate(length)).truncate(length)
        return g


class Varied:
    """A series and its first variations: symbol -> series."""

    __slots__ = ("parts", "value")

    def __init__(self, value: nmod_poly, parts: dict[str, nmod_poly]):
        self.value = value
        self.parts = parts


@dataclass
class Variations:
    """The algebra of series with first variations; only the symbols that an element depends on are carried."""

    series: Series

    def constant(self, value: Fraction) -> Varied:
        return Varied(self.series.constant(value), {})

    def add(self, x, y):
        return Varied(x.value + y.value, _sum(x.parts, y.parts))

    def sub(self, x, y):
        return self.add(x, self.neg(y))

    def neg(self, x):
        return Varied(-x.value, {name: -part for name, part in x.parts.items()})

    def mul(self, x, y):
        parts = _sum(self._scaled(x.parts, y.value), self._scaled(y.parts, x.value))
        return Varied(self.series.mul(x.value, y.value), parts)

    def div(self, x, y):
        inverse = self.series.inverse(y.value)
        value = self.series.mul(x.value, inverse)
        varied = _sum(x.parts, self._scaled(y.parts, -value))
        return Varied(value, self._scaled(varied, inverse))

    def integer_power(self, x, n: int):
        slope = self.series.integer_power(x.value, n - 1) * n
        return Varied(self.series.integer_power(x.value, n), self._scaled(x.parts, slope))

    def function(self, name: str, x):
        value = self.series.function(name, x.value)
        match name:
            case "exp":
                slope = value
            case "log":
                slope = self.series.inverse(x.value)
            case "erf":
                slope = self.series.function("exp", -self.series.mul(x.value, x.value))
        return Varied(value, self._scaled(x.parts, slope))

    def _scaled(self, parts, factor):
        return {name: self.series.mul(part, factor) for name, part in parts.items()}


def _sum(left: dict, right: dict) -> dict:
    out = dict(left)
    for name, part in right.items():
        out[name] = out[name] + part if name in out else part
    return out
