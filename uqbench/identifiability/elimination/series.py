"""Random power-series solutions of a rational system modulo a prime.

With all coefficients up to order k of states and inputs, those of the right-hand side follow by convolution, and with
them order k + 1 of the states: no iteration is repeated. The convolutions of all products of one depth are one numpy
operation; residues have at most 31 bits, so that their products fit 64.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from flint import nmod_mpoly, nmod_poly

from ..budget import Undecided
from .polynomials import Ring

ATTEMPTS = 20


@dataclass(frozen=True)
class System:
    """x' = rhs(x, u, theta), y = observe(x, u, theta): states and outputs -> (numerator, denominator)."""

    ring: Ring
    states: tuple[str, ...]
    parameters: tuple[str, ...]
    inputs: tuple[str, ...]
    rhs: Mapping[str, tuple[nmod_mpoly, nmod_mpoly]]
    observe: Mapping[str, tuple[nmod_mpoly, nmod_mpoly]]

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(self.observe)


class Singular(ArithmeticError):
    """A denominator vanishes at the random start: draw again."""


class _Products:
    """Series by name and by monomial, extended one order at a time."""

    def __init__(self, names: list[str], length: int, prime: int):
        self.prime, self.length = prime, length
        self.index = {name: k for k, name in enumerate(names)}
        self.depth = [0] * len(names)
        self.factors: list[tuple[int, int]] = [(0, 0)] * len(names)
        self._monomials: dict[tuple, int] = {}

    def monomial(self, powers: tuple[tuple[str, int], ...]) -> int:
        """The row of a monomial, given as (name, exponent > 0), at least one of them."""
        if len(powers) == 1 and powers[0][1] == 1:
            return self.index[powers[0][0]]
        if powers not in self._monomials:
            name, exponent = powers[-1]
            if len(powers) > 1:
                left, right = self.monomial(powers[:-1]), self.monomial(powers[-1:])
            else:
                left = self.monomial(((name, exponent // 2),))
                right = self.monomial(((name, exponent - exponent // 2),))
            self._monomials[powers] = self.multiply(left, right)
        return self._monomials[powers]

    def multiply(self, left: int, right: int) -> int:
        self.factors.append((left, right))
        self.depth.append(1 + max(self.depth[left], self.depth[right]))
        return len(self.depth) - 1


def solve(system: System, values: Mapping[str, int], inputs: Mapping[str, list[int]], length: int) -> dict:
    """The Taylor coefficients of states and inputs: name -> array of `length` residues.

    Args:
        system: the equations, modulo a prime of at most 31 bits.
        values: of the parameters, and of the states at the start.
        inputs: Taylor coefficients of the inputs.
        length: number of terms.

    Raises:
        Singular: a denominator vanishes at the start.
    """
    prime, states = system.ring.prime, system.states
    names = [*states, *system.inputs]
    products = _Products(names, length, prime)
    forms = {}
    for name in states:
        pair = (specialise(part, values, system.parameters) for part in system.rhs[name])
        forms[name] = [(c0, [(c, products.monomial(m)) for m, c in terms]) for c0, terms in pair]
    table = np.zeros((len(products.depth), length), np.int64)
    for name in system.inputs:
        table[products.index[name]] = inputs[name][:length]
    for name in states:
        table[products.index[name], 0] = values[name]
    by_level = [
        [row for row, depth in enumerate(products.depth) if depth == level and row >= len(names)]
        for level in range(1, max(products.depth, default=0) + 1)
    ]
    levels = [(np.array(rows), *np.array([products.factors[row] for row in rows]).T) for rows in by_level if rows]
    linear = {name: [_linear(form, len(table)) for form in forms[name]] for name in states}
    # one matrix for all numerators, one for all denominators
    numerator, denominator = (np.array([linear[name][k][1] for name in states]) for k in (0, 1))
    n0, d0 = (np.array([linear[name][k][0] for name in states]) for k in (0, 1))
    used_n, used_d = (np.flatnonzero(matrix.any(axis=0)) for matrix in (numerator, denominator))
    trivial = not len(used_d)
    below = np.zeros((len(states), length), np.int64)
    slope = np.zeros((len(states), length), np.int64)
    inverse = None
    for k in range(length - 1):
        for rows, left, right in levels:
            table[rows, k] = (table[left, : k + 1] * table[right, k::-1] % prime).sum(axis=1) % prime
        above = (numerator[:, used_n] * table[used_n, k] % prime).sum(axis=1) + (n0 if k == 0 else 0)
        below[:, k] = ((denominator[:, used_d] * table[used_d, k] % prime).sum(axis=1) + (d0 if k == 0 else 0)) % prime
        if k == 0:
            if not below[:, 0].all():
                raise Singular
            inverse = np.array([pow(int(b), -1, prime) for b in below[:, 0]], np.int64)
        if k and not trivial:
            above = above - (slope[:, :k] * below[:, k:0:-1] % prime).sum(axis=1)
        slope[:, k] = above % prime * inverse % prime
        table[: len(states), k + 1] = slope[:, k] * pow(k + 1, -1, prime) % prime
    return {name: table[row] for name, row in products.index.items()}


def specialise(f: nmod_mpoly, values: Mapping[str, int], names) -> tuple[int, list]:
    """f with some variables at their values: its constant, and (monomial, coefficient) for the others."""
    image = f.subs({name: values[name] for name in names if name in f.context().names()})
    constant, out = 0, []
    for monomial, coefficient in image.terms():
        powers = tuple((name, e) for name, e in zip(image.context().names(), monomial, strict=True) if e)
        if powers:
            out.append((powers, int(coefficient)))
        else:
            constant = int(coefficient)
    return constant, out


def _linear(form: tuple[int, list], width: int) -> tuple[int, np.ndarray]:
    constant, terms = form
    row = np.zeros(width, np.int64)
    for coefficient, index in terms:
        row[index] = coefficient
    return constant, row


def random_solution(
    system: System, rng: np.random.Generator, length: int, draw: Callable[[], dict[str, int]] | None = None
) -> tuple[dict[str, int], dict]:
    """Random values of parameters and initial states, and the series of states, inputs and outputs (as `nmod_poly`).

    Args:
        system: modulo a prime. rng: of the values. length: number of terms.
        draw: makes values of parameters and initial states that are not just any.
    """
    prime = system.ring.prime
    for _ in range(ATTEMPTS):
        names = [*system.parameters, *system.states]
        values = draw() if draw else dict(zip(names, rng.integers(1, prime, len(names)).tolist(), strict=True))
        inputs = {name: rng.integers(1, prime, length).tolist() for name in system.inputs}
        try:
            table = solve(system, values, inputs, length)
        except Singular:
            continue
        out = {name: nmod_poly(row.tolist(), prime) for name, row in table.items()}
        for name, (above, below) in system.observe.items():
            above, below = (evaluate_series(part, values, system.parameters, out, length) for part in (above, below))
            if int(below[0]) == 0:
                break
            out[name] = (above * below.inverse_series_trunc(length)).truncate(length)
        else:
            return values, out
    raise Undecided("a denominator vanishes at the start")


def evaluate_series(f: nmod_mpoly, values, parameters, series, length: int):
    """f with parameters at values and the other variables at power series."""
    prime = f.context().modulus()
    constant, terms = specialise(f, values, parameters)
    total = nmod_poly([constant], prime)
    for powers, coefficient in terms:
        term = nmod_poly([coefficient], prime)
        for name, exponent in powers:
            for _ in range(exponent):
                term = (term * series[name]).truncate(length)
        total += term
    return total


def jet(name: str, order: int) -> str:
    """The name of the derivative of an output or input."""
    return f"{name}'{order}"


def jet_point(system: System, rng: np.random.Generator, order: int) -> dict[str, int]:
    """All parameters, states, and jets up to `order` at the start of one random solution."""
    values, series = random_solution(system, rng, order + 1)
    point, factorial = dict(values), 1
    for k in range(order + 1):
        factorial = factorial * max(k, 1) % system.ring.prime
        for name in (*system.outputs, *system.inputs):
            point[jet(name, k)] = int(series[name][k]) * factorial % system.ring.prime
    return point
