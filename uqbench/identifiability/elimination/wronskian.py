"""Whether the coefficients of an input-output equation follow from one experiment: the rank of a Wronskian.

An equation sum_i c_i T_i = 0 with coefficients c_i of the parameters and functions T_i of the jets determines the
quotients of the c_i from one trajectory exactly if the T_i, on a generic trajectory, satisfy no other linear relation
with constant coefficients (R. Dong et al. 2023, doi:10.1137/22M1469067, section 4). With power series modulo a prime
that is the rank of the matrix of their Taylor coefficients. It is a proof where the rank is full (less one), because a
rank can only fall modulo a prime and at a special point; a lower rank says that several experiments are needed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from flint import nmod_mat, nmod_poly

from ..budget import Budget
from .coefficients import Coefficients
from .series import System, jet, random_solution

POINTS = 3
FIRST, SPARE, HASHES = 64, 16, 3
# so many independent coefficients are found, and their Wronskian taken, in a fraction of a second
FEW = 256


@dataclass(frozen=True)
class Certificate:
    """The number of independent functions of the jets and the rank of their Wronskian."""

    functions: int
    rank: int

    @property
    def single(self) -> bool:
        """Whether one experiment gives all coefficients."""
        return self.rank == self.functions - 1


def certificate(
    system: System, rng: np.random.Generator, coefficients: Coefficients, budget: Budget,
    draw: Callable[[], dict[str, int]] | None = None
) -> Certificate:  # fmt: skip
    """The Wronskian of one equation.

    Args:
        system: modulo a prime. rng: of the trajectory. coefficients: of the equation. budget: time limit.
        draw: values of parameters and initial states, where they are not just any (see `random_solution`).
    """
    # merging dependent coefficients pays if few are left; otherwise it is needed only where the rank is low
    functions = independent(rng, coefficients, FEW)
    if functions is not None:
        return Certificate(count(functions), wronskian(system, rng, coefficients, functions, budget, draw).rank())
    functions = proportional(system, rng, coefficients)
    rank = wronskian(system, rng, coefficients, functions, budget, draw).rank()
    if rank < count(functions) - 1:
        budget.check()
        functions = independent(rng, coefficients)
        rank = wronskian(system, rng, coefficients, functions, budget, draw).rank()
    return Certificate(count(functions), rank)


def proportional(system: System, rng: np.random.Generator, coefficients: Coefficients) -> list[dict[tuple, int]]:
    """Functions of the jets, as exponents -> number, one for all monomials whose coefficients are proportional."""
    prime, groups = system.ring.prime, {}
    values = [coefficients.values(point).tolist() for point in _points(system, rng, POINTS)]
    for key, first, *others in zip(coefficients.keys, *values, strict=True):
        ratio = tuple(other * pow(first, -1, prime) % prime for other in others) if first else key
        groups.setdefault(ratio, {})[key] = first
    return list(groups.values())


def independent(
    rng: np.random.Generator, coefficients: Coefficients, most: int | None = None
) -> nmod_mat | None:  # fmt: skip
    """The same for a basis of the space of coefficients over the constants, as a matrix with a column per monomial.

    None where the basis has more than `most` elements.

    The coefficients are vectors over the monomials of the parameters. Only sketches of these vectors are reduced: every
    monomial goes with random weights to a few of some more columns than the basis has elements. (With a single column
    for each monomial, columns stay empty and the space looks smaller than it is.)
    """
    size, prime = len(coefficients), coefficients.prime
    labels = coefficients.labels(rng)
    owner = np.repeat(np.arange(size), coefficients.terms)
    columns = min(FIRST, size)
    while True:
        width = columns + SPARE
        table = np.zeros((width, size), dtype=np.int64)
        kinds = int(labels.max()) + 1
        for _ in range(HASHES):
            rows = rng.integers(0, width, kinds)[labels]
            weights = rng.integers(1, prime, kinds)[labels]
            np.add.at(table, (rows, owner), weights * coefficients.numbers % prime)
        reduced, rank = nmod_mat(width, size, (table % prime).ravel().tolist(), prime).rref()
        if rank < columns or columns >= size:
            break
        columns = min(4 * columns, size)
        if most is not None and columns > most:
            return None
    return nmod_mat(rank, size, reduced.entries()[: rank * size], prime)


def count(functions: list | nmod_mat) -> int:
    return functions.nrows() if isinstance(functions, nmod_mat) else len(functions)


def _points(system: System, rng: np.random.Generator, count: int) -> list[dict[str, int]]:
    names = system.parameters
    draw = rng.integers(1, system.ring.prime, (count, len(names))).tolist()
    return [dict(zip(names, row, strict=True)) for row in draw]


def wronskian(
    system: System, rng: np.random.Generator, coefficients: Coefficients, functions, budget: Budget,
    draw: Callable[[], dict[str, int]] | None = None
) -> nmod_mat:  # fmt: skip
    """The Taylor coefficients of functions of the jets on one random trajectory, as many as there are functions."""
    prime, length, jets = system.ring.prime, count(functions), coefficients.jets
    order = 1 + max((int(name.rpartition("'")[2]) for name in jets), default=0)
    _, series = random_solution(system, rng, length + order, draw)
    table = {}
    for name in (*system.outputs, *system.inputs):
        current = series[name]
        for k in range(order):
            table[jet(name, k)] = current.truncate(length)
            current = current.derivative()
    monomials = {(0,) * len(jets): nmod_poly([1], prime)}

    def monomial(key: tuple) -> nmod_poly:
        if key not in monomials:
            budget.check()
            k = next(k for k, e in enumerate(key) if e)
            smaller = (*key[:k], key[k] - 1, *key[k + 1 :])
            monomials[key] = (monomial(smaller) * table[jets[k]]).truncate(length)
        return monomials[key]

    if isinstance(functions, nmod_mat):
        return functions * _matrix([monomial(key) for key in coefficients.keys], length, prime)
    zero = nmod_poly([0], prime)
    rows = [sum((monomial(key) * number for key, number in group.items()), zero) for group in functions]
    return _matrix(rows, length, prime)


def _matrix(rows: Sequence[nmod_poly], length: int, prime: int) -> nmod_mat:
    entries = []
    for row in rows:
        values = row.coeffs()
        entries += values
        entries += [0] * (length - len(values))
    return nmod_mat(len(rows), length, entries, prime)
