"""Values of exp and log at the point of expansion, consistent with their laws.

Modulo a prime there is no exponential function. But exp(u) at the point of expansion is, for the rank, only a number
that satisfies no relation beyond exp(u + v) = exp(u) exp(v) (for functions this is Ax's theorem, Ann. Math. 93, 1971,
doi:10.2307/1970774). So its argument is read in symbols and expanded into rational multiples of monomials; each
monomial M gets one random number for exp(M), from which exp(2 M), exp(M/3) and all products follow. In the same way log
of a product is the sum of one random number per irreducible factor, and exp(q log f) = f^q.
"""

from fractions import Fraction
from functools import lru_cache

import numpy as np
import sympy

from .field import IMAGINARY, Field, NotAnalytic


class NoRoot(ArithmeticError):
    """A fractional power is not in the field at this point; another point has it."""


class Start:
    """The algebra of pairs (SymPy expression, value modulo the prime) at the point of expansion.

    Running a program over it fills `table`: (function, value of the argument) -> value.
    """

    def __init__(self, field: Field, rng: np.random.Generator):
        self.field = field
        self.rng = rng
        self.table: dict[tuple[str, int], int] = {}
        self._values: dict[sympy.Basic, int] = {}
        self._exponentials: dict[sympy.Expr, sympy.Symbol] = {}
        self._logarithms: dict[sympy.Expr, sympy.Symbol] = {}

    def symbol(self, name: str, value: int):
        """The pair of a symbol of the program."""
        symbol = sympy.I if name == IMAGINARY else sympy.Symbol(name)
        self._values[symbol] = value
        return symbol, value

    def constant(self, value: Fraction):
        return sympy.Rational(value.numerator, value.denominator), self.field.of(value)

    def add(self, x, y):
        return x[0] + y[0], (x[1] + y[1]) % self.field.prime

    def sub(self, x, y):
        return x[0] - y[0], (x[1] - y[1]) % self.field.prime

    def mul(self, x, y):
        return x[0] * y[0], x[1] * y[1] % self.field.prime

    def neg(self, x):
        return -x[0], -x[1] % self.field.prime

    def div(self, x, y):
        if y[1] == 0:
            raise NotAnalytic
        return x[0] / y[0], x[1] * pow(y[1], -1, self.field.prime) % self.field.prime

    def integer_power(self, x, n: int):
        if x[1] == 0 and n < 0:
            raise NotAnalytic
        return x[0] ** n, pow(x[1], n, self.field.prime)

    def function(self, name: str, x):
        expression, start = x
        match name:
            case "exp":
                out = self._exp(expression)
            case "log":
                if start == 0:
                    raise NotAnalytic
                out = self._log(expression)
            case "erf":
                out = self._atom(("erf", sympy.expand(expression)), self._logarithms, self.field.random_element)
                self.function("exp", self.neg(self.mul(x, x)))
        value = self._evaluate(out)
        self.table[name, start] = value
        return out, value

    def _exp(self, expression: sympy.Expr) -> sympy.Expr:
        product = sympy.Integer(1)
        factors = {symbol: factor for factor, symbol in self._logarithms.items()}
        for monomial, coefficient in _multiples(expression).items():
            base = factors.get(monomial)
            if base is None:
                base = self._atom(monomial, self._exponentials, self.field.random_power)
            product *= base**coefficient
        return product

    def _log(self, expression: sympy.Expr) -> sympy.Expr:
        arguments = {symbol: argument for argument, symbol in self._exponentials.items()}
        total = sympy.Integer(0)
        for factor, multiplicity in _factors(expression):
            base, exponent = factor.as_base_exp()
            base, exponent = (base, exponent) if exponent.is_Rational else (factor, sympy.Integer(1))
            logarithm = arguments.get(base)
            if logarithm is None:
                logarithm = self._atom(base, self._logarithms, self.field.random_element)
            total += multiplicity * exponent * logarithm
        return total

    def _atom(self, key, known: dict, draw) -> sympy.Symbol:
        """The one symbol that stands for exp or log of `key`."""
        if key not in known:
            known[key] = sympy.Symbol(f"atom {len(self._values)}")
            self._values[known[key]] = draw(self.rng)
        return known[key]

    def _evaluate(self, expression: sympy.Expr) -> int:
        """An expression of symbols, rationals and rational powers in the field."""
        if expression.is_Rational:
            return self.field.of(Fraction(int(expression.p), int(expression.q)))
        if expression.is_Pow:
            base, exponent = self._evaluate(expression.base), expression.exp
            if base == 0 and exponent < 0:
                raise NotAnalytic
            value = self.field.power(base, Fraction(int(exponent.p), int(exponent.q)))
            if value is None:
                raise NoRoot
            return value
        if expression.is_Add or expression.is_Mul:
            total = 0 if expression.is_Add else 1
            for argument in expression.args:
                value = self._evaluate(argument)
                total = (total + value if expression.is_Add else total * value) % self.field.prime
            return total
        return self._values[expression]


# The symbolic work is the same at every point; only the numbers differ.
@lru_cache(maxsize=1024)
def _multiples(expression: sympy.Expr) -> dict[sympy.Expr, sympy.Rational]:
    """An expression as rational multiples of monomials over one denominator."""
    expanded = sympy.expand(expression)
    denominator = sympy.fraction(sympy.together(expanded))[1]
    if denominator.has(sympy.Add):
        numerator, denominator = sympy.fraction(sympy.cancel(expanded))
        expanded = sympy.expand(numerator)
    else:
        denominator = sympy.Integer(1)
    out: dict[sympy.Expr, sympy.Rational] = {}
    for term in sympy.Add.make_args(expanded):
        coefficient, monomial = (term / denominator).as_coeff_Mul(rational=True)
        if coefficient != 0:
            out[monomial] = out.get(monomial, 0) + coefficient
    return out


@lru_cache(maxsize=1024)
def _factors(expression: sympy.Expr) -> list[tuple[sympy.Expr, int]]:
    """Irreducible factors of a rational function, primes among them, with multiplicities; a sign goes into a factor."""
    numerator, denominator = sympy.fraction(sympy.together(expression))
    unit, out = sympy.Integer(1), []
    for part, direction in ((numerator, 1), (denominator, -1)):
        number, factors = sympy.factor_list(part)
        size = abs(number) if abs(number).is_Rational else sympy.Integer(1)
        unit *= (number / size) ** direction
        out += [(sympy.Integer(prime), direction * power) for prime, power in sympy.factorrat(size).items()]
        out += [(factor, direction * power) for factor, power in factors]
    if unit == 1:
        return out
    for k, (factor, power) in enumerate(out):
        if not factor.is_number and (abs(power) == 1 or (unit == -1 and power % 2)):
            out[k] = (sympy.expand(factor * unit**power), power)
            return out
    if unit == -1:
        raise NotAnalytic
    return [*out, (unit, 1)]
