"""The stationary distribution of a master equation in a box, and its derivatives by the implicit function theorem.

Reactions that would leave the box are left out, so that the chain in it is closed. The null vector of its generator is
found by inverse iteration with a sparse factorisation on the host: exact to rounding, whatever the time scales.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int
from scipy.sparse import csc_matrix, identity
from scipy.sparse.linalg import splu

from ..annotations import AnyArray
from .box import Box, Rates, box_of, rates_of_states, sound
from .codes import Ending
from .uniformisation import generator, total_rate

# Shift of the inverse iteration in units of the largest rate: far above rounding, far below the slowest change.
SHIFT = 1e-13
ITERATIONS = 4
# Two iterations from different starts end this near to one another, where there is one distribution.
UNIQUE = 1e-7


class Stationary(NamedTuple):
    """The stationary distribution of the chain that is closed in the box.

    Args:
        probability: `shape`; NaN where the code is not zero.
        residual: sum of the absolute values of its slopes, over the largest rate.
        flux: probability per time that would leave the box from it. Zero means that nothing was cut off; else see
            `conditional_error`.
        edge: probability of the states from which a reaction would leave the box.
        code: of `Ending`.
    """

    probability: Float[Array, "..."]
    residual: Float[Array, ""]
    flux: Float[Array, ""]
    edge: Float[Array, ""]
    code: Int[Array, ""]


def stationary_distribution(rates: Rates, changes: AnyArray, shape: tuple[int, ...]) -> Stationary:
    """The distribution that no longer changes; traceable, differentiable in both modes.

    Args:
        rates, changes, shape: as for `distribution`; the rates at time zero are taken.

    Example:
        >>> import jax.numpy as jnp
        >>> found = stationary_distribution(lambda t, y: (3.0, 1.0 * y[0]), [[1], [-1]], (40,))
        >>> round(float(jnp.sum(found.probability * jnp.arange(40))), 9)
        3.0
    """
    changes = np.asarray(changes)
    box = box_of(changes, shape)
    values, bad = sound(rates_of_states(rates, jnp.zeros(()), box.counts(), len(changes)))
    values = box.grouped(values)
    # its own scale of time, so that rounding has the same meaning in every unit
    largest = lax.stop_gradient(total_rate(values))
    scaled = jnp.where(box.inside, values, 0.0) / jnp.maximum(largest, 1e-300)
    probability, unique = _null_vector(box, scaled)
    residual = jnp.sum(jnp.abs(generator(box, scaled, probability)))
    flux = jnp.sum(jnp.where(box.inside, 0.0, values) * probability)
    edge = jnp.sum(jnp.where(jnp.any(~box.inside & (values > 0), axis=0), probability, 0.0))
    code = jnp.where(unique, Ending.SUCCESS, Ending.NOT_UNIQUE)
    code = jnp.where(jnp.any(bad & (probability > 0)), Ending.BAD_RATE, code)
    return Stationary(jnp.where(code == 0, probability, jnp.nan).reshape(shape), residual, flux, edge, code)


def _null_vector(box: Box, rates: Float[Array, "groups states"]) -> tuple[Array, Array]:
    """The distribution with A p = 0, and whether it is the only one."""
    held = lax.stop_gradient(rates)
    shape = jax.ShapeDtypeStruct((box.states,), held.dtype), jax.ShapeDtypeStruct((), bool)
    found, unique = jax.pure_callback(_on_host(box, _inverse_iteration), shape, held, vmap_method="expand_dims")

    def matrix(x):
        # A with a rank-one term that makes it regular and leaves the sums of changes zero
        return generator(box, held, x) - found * jnp.sum(x)

    def solve(_, b):
        total = jnp.sum(b)
        return _host_solve(box, held, b - found * total, found, False) - found * total

    def transpose_solve(_, c):
        mean = found @ c
        x = _host_solve(box, held, c - mean, found, True)
        return x - found @ x - mean

    # zero in value: where the rates move, so does the null vector, by - A^-1 dA p
    slope = generator(box, rates, found) - generator(box, held, found)
    return found - lax.custom_linear_solve(matrix, slope, solve, transpose_solve), unique


def _host_solve(box: Box, rates, b, found, transposed: bool) -> Array:
    """A x = b, or A' x = b, of a b in the range; x up to the null vector, of which it holds little."""
    shape = jax.ShapeDtypeStruct((box.states,), b.dtype)
    host = _on_host(box, _solve_transposed if transposed else _solve)
    return jax.pure_callback(host, shape, rates, b, found, vmap_method="expand_dims")


def _on_host(box: Box, function: Callable) -> Callable:
    """A function of rates and vectors for batches: where the rates are not batched, one factorisation serves all."""

    def batched(rates, *vectors):
        rates, vectors = np.asarray(rates), tuple(map(np.asarray, vectors))
        if rates.ndim == 2:
            return function(_Factors(box, rates), *vectors)
        shared = _Factors(box, rates[0]) if len(rates) == 1 else None
        size = max(len(each) for each in (rates, *vectors))
        found = [
            function(shared or _Factors(box, rates[k]), *(each[k % len(each)] for each in vectors)) for k in range(size)
        ]
        return jax.tree.map(lambda *each: np.stack(each), *found)

    return batched


class _Factors:
    """A generator as a sparse matrix, and the factors of it less a small multiple of the identity."""

    def __init__(self, box: Box, rates: np.ndarray):
        self.matrix = sparse_generator(box, rates)
        self.factors = splu((self.matrix - SHIFT * identity(box.states)).tocsc())


def sparse_generator(box: Box, rates: np.ndarray) -> csc_matrix:
    """A, with p' = A p."""
    states = np.arange(box.states)
    source = [states[stays] for stays in box.inside]
    target = [each + by for each, by in zip(source, box.shifts, strict=True)]
    entries = [rate[each] for rate, each in zip(rates, source, strict=True)]
    values = np.concatenate([*entries, -np.sum(rates, axis=0)])
    places = np.concatenate([*target, states]), np.concatenate([*source, states])
    return csc_matrix((values, places), shape=(box.states, box.states))


def _inverse_iteration(factors: _Factors) -> tuple[np.ndarray, np.ndarray]:
    # states without any reaction hold nothing, such as counts that conserved sums forbid
    entries = abs(factors.matrix)
    linked = np.ravel(entries.sum(axis=0)) + np.ravel(entries.sum(axis=1)) > 0
    starts = 1.0 * linked, linked * np.random.default_rng(0).exponential(size=len(linked)) ** 4
    found = []
    for x in starts:
        for _ in range(ITERATIONS):
            x = factors.factors.solve(x)
            x = x / np.sum(x)
        x = np.maximum(x, 0.0)
        found.append(x / np.sum(x))
    unique = np.all(np.isfinite(found)) and np.sum(np.abs(found[0] - found[1])) < UNIQUE
    return found[0], np.asarray(unique)


def _solve(factors: _Factors, b: np.ndarray, found: np.ndarray) -> np.ndarray:
    x = np.zeros_like(b)
    for _ in range(ITERATIONS):
        # refined, because the factors are those of a shifted matrix
        x = x + factors.factors.solve(b - factors.matrix @ x)
        x = x - found * np.sum(x)
    return x


def _solve_transposed(factors: _Factors, b: np.ndarray, found: np.ndarray) -> np.ndarray:
    x = np.zeros_like(b)
    for _ in range(ITERATIONS):
        x = x + factors.factors.solve(b - factors.matrix.T @ x, trans="T")
        x = x - found @ x
    return x


def conditional_error(rates: Rates, changes: AnyArray, shape: tuple[int, ...], probability: AnyArray) -> float:
    """A bound of the error of a stationary distribution, given that the counts are in the box; on the host.

    Whatever the chain does outside, it comes back at one of the states that a reaction can enter from there, and its
    distribution in the box is a mean of those that belong to one such state each (Courtois and Semal 1984,
    doi:10.1145/1634.1637). The bound is the largest distance (sum of absolute differences) from one of them; how much
    probability there is outside is not part of it.
    """
    changes = np.asarray(changes)
    box = box_of(changes, shape)
    values, _ = sound(rates_of_states(rates, jnp.zeros(()), box.counts(), len(changes)))
    host = np.asarray(box.grouped(values))
    factors = splu(sparse_generator(box, host / max(float(host.sum(axis=0).max()), 1e-300)))
    flat, largest = np.asarray(probability).reshape(-1), 0.0
    for state in _entrances(rates, changes, shape):
        start = np.zeros(box.states)
        start[state] = 1.0
        visits = np.abs(factors.solve(start))
        largest = max(largest, float(np.sum(np.abs(visits / visits.sum() - flat))))
    return largest


def _entrances(rates: Rates, changes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The flat places of the states that a reaction can enter from outside the box."""
    counts = np.indices(shape).reshape(len(shape), -1)
    entered = np.zeros(counts.shape[1], dtype=bool)
    for reaction, change in enumerate(changes):
        before = counts - change[:, None]
        outside = np.all(before >= 0, axis=0) & np.any(before >= np.array(shape)[:, None], axis=0)
        if outside.any():
            values = rates_of_states(rates, jnp.zeros(()), tuple(before[:, outside].astype(float)), len(changes))
            entered[np.flatnonzero(outside)[np.asarray(values[reaction]) > 0]] = True
    return np.flatnonzero(entered)
