"""Sparse linear systems whose unknowns lie in levels that couple only to their neighbours: solved directly.

Columns of a grid are such levels, and so is an interface between two grids with what lives on it. With m unknowns in
the largest of L levels a block factorisation takes some 3 L m^3 operations and 3 L m^2 numbers, where a dense one takes
(L m)^3 and (L m)^2. Pivots are sought within a level, and one step of iterative refinement follows. Rows are scaled
to the same size first.

The matrix is a sum of constant sparse matrices with coefficients, A = sum_k c_k A_k, so that assembly happens once on
the host. Derivatives by coefficients and right sides follow from A dx = db - dA x with the same factors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sparse
from jax import Array
from jax.scipy.linalg import lu_factor, lu_solve

from .checks import relative

# Pivots that are smaller than this, relative to the largest of their level, are zeros that rounding has hidden.
SMALLEST_PIVOT = 1e-14
# Residual to which a solution counts as one, relative to |A| |x| + |b|; rounding leaves 1e-16 to 1e-14.
LARGEST_RESIDUAL = 1e-11


@dataclass(frozen=True, eq=False)
class Levels:
    """Constant matrices and the level of each unknown, as `levels_of` makes them.

    Args:
        rows, columns: `(entries,)` of the sum of all matrices.
        data: `(terms, entries)`, the entries of each matrix.
        place: `(unknowns,)`, of each in the levels laid one after another, all as long as the largest.
        shape: number of levels, and unknowns in the largest.
    """

    rows: np.ndarray
    columns: np.ndarray
    data: np.ndarray
    place: np.ndarray
    shape: tuple[int, int]

    @property
    def unknowns(self) -> int:
        return len(self.place)


class Solution(NamedTuple):
    """Values `(unknowns,)`; the residual relative to |A| |x| + |b|; whether the pivots and the residual are sound."""

    values: Array
    residual: Array
    sound: Array


def levels_of(terms: Sequence[sparse.sparray], level: np.ndarray) -> Levels:
    """Matrices `(unknowns, unknowns)` made ready for `solve`, `level` `(unknowns,)` counting from 0."""
    terms = [sparse.coo_array(term) for term in terms]
    count = len(level)
    keys, inverse = np.unique(
        np.concatenate([term.row.astype(np.int64) * count + term.col for term in terms]), return_inverse=True
    )
    data, start = np.zeros((len(terms), len(keys))), 0
    for number, term in enumerate(terms):
        np.add.at(data[number], inverse[start : start + term.nnz], term.data)
        start += term.nnz
    order = np.argsort(level, kind="stable")
    sizes = np.bincount(level)
    within = np.empty(count, int)
    within[order] = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows, columns = keys // count, keys % count
    assert np.all(abs(level[rows] - level[columns]) <= 1), "unknowns couple across more than one level"
    return Levels(rows, columns, data, level * int(sizes.max()) + within, (len(sizes), int(sizes.max())))


class _Factors(NamedTuple):
    """Of each level: entries towards the level before, the inverse of what is left, its product with those after."""

    before: Array
    inverse: Array
    after: Array
    sound: Array


def times(matrix: sparse.sparray, x: Array) -> Array:
    """A constant sparse matrix times a vector that is being traced."""
    entries = sparse.coo_array(matrix)
    return jnp.zeros(matrix.shape[0]).at[entries.row].add(entries.data * x[entries.col])


def solve(system: Levels, coefficients: Array, right: Array) -> Solution:
    """Solves sum_k coefficients[k] A_k x = right, traceable, differentiable by both.

    Args:
        coefficients: `(terms,)`. right: `(unknowns,)`.
    """
    entries = coefficients @ system.data
    # rows of equal size, so that pivots of equations of different scale can be compared
    largest = jnp.zeros_like(right).at[system.rows].max(jnp.abs(jax.lax.stop_gradient(entries)))
    entries, right = entries / largest[system.rows], right / largest
    factors = _factors(system, jax.lax.stop_gradient(entries))

    def product(x, values=entries):
        return jnp.zeros_like(x).at[system.rows].add(values * x[system.columns])

    def transposed_product(x):
        return jnp.zeros_like(x).at[system.columns].add(jax.lax.stop_gradient(entries) * x[system.rows])

    def refined(substitute, matrix):
        def refine(_, x, b):
            return x + _by_level(system, factors, b - matrix(x), substitute)

        def solver(_, b):
            # in a loop, so that it is compiled once
            return jax.lax.fori_loop(0, 2, partial(refine, b=b), jnp.zeros_like(b))

        return solver

    x = jax.lax.custom_linear_solve(
        product,
        right,
        refined(_substitute, product),
        transpose_solve=refined(_substitute_transposed, transposed_product),
    )
    size = product(jnp.abs(x), jnp.abs(entries)) + jnp.abs(right)
    residual = jax.lax.stop_gradient(relative(jnp.max(jnp.abs(product(x) - right)), jnp.max(size)))
    # false of what is not a number
    return Solution(x, residual, factors.sound & (residual <= LARGEST_RESIDUAL))


def _factors(system: Levels, entries: Array) -> _Factors:
    (count, size), place = system.shape, system.place
    level, within = place // size, place % size
    blocks = []
    for offset in (-1, 0, 1):
        chosen = np.flatnonzero(level[system.columns] - level[system.rows] == offset)
        at = level[system.rows[chosen]], within[system.rows[chosen]], within[system.columns[chosen]]
        blocks.append(jnp.zeros((count, size, size)).at[at].add(entries[chosen]))
    # places that levels shorter than the longest leave empty
    empty = np.setdiff1d(np.arange(count * size), place)
    before, here, after = blocks
    here = here.at[empty // size, empty % size, empty % size].set(1.0)

    def eliminate(carried, blocks):
        before, here, after = blocks
        lu, pivots = lu_factor(here - before @ carried)
        inverse = lu_solve((lu, pivots), jnp.eye(size))
        pivots = jnp.abs(jnp.diag(lu))
        solved = inverse @ after
        return solved, (inverse, solved, jnp.min(pivots) > SMALLEST_PIVOT * jnp.max(pivots))

    start = jnp.zeros((size, size))
    _, (inverse, solved, sound) = jax.lax.scan(eliminate, start, (before, here, after))
    return _Factors(before, inverse, solved, jnp.all(sound))


def _by_level(system: Levels, factors: _Factors, b: Array, substitute) -> Array:
    count, size = system.shape
    laid_out = jnp.zeros(count * size).at[system.place].set(b).reshape(count, size)
    return substitute(factors, laid_out).ravel()[system.place]


def _substitute(factors: _Factors, b: Array) -> Array:
    def forward(previous, level):
        before, inverse, right = level
        solved = inverse @ (right - before @ previous)
        return solved, solved

    def backward(following, level):
        after, right = level
        solved = right - after @ following
        return solved, solved

    start = jnp.zeros(b.shape[1])
    _, partly = jax.lax.scan(forward, start, (factors.before, factors.inverse, b))
    return jax.lax.scan(backward, start, (factors.after, partly), reverse=True)[1]


def _substitute_transposed(factors: _Factors, b: Array) -> Array:
    def forward(passed, level):
        after, right = level
        solved = right - passed
        return after.T @ solved, solved

    def backward(passed, level):
        before, inverse, right = level
        solved = inverse.T @ (right - passed)
        return before.T @ solved, solved

    start = jnp.zeros(b.shape[1])
    _, partly = jax.lax.scan(forward, start, (factors.after, b))
    return jax.lax.scan(backward, start, (factors.before, factors.inverse, partly), reverse=True)[1]
