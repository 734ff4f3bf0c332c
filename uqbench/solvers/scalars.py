"""Straight-line scalar code: what a time loop has to be made of so that XLA compiles it to one native function.

A `while` whose body holds no scatter, sort, FFT or custom call (no LAPACK) becomes one native function on the CPU, so
that a step costs its arithmetic instead of a dispatch for each operation.
"""

from collections.abc import Callable, Sequence

import jax
from jax import lax

Scalars = Sequence[jax.Array]
Rhs = Callable[[jax.Array, Scalars], Scalars]

# Fusion copies a value into each of its users, which for an elimination grows like a power of its depth; behind a
# barrier it is computed once.
once = lax.optimization_barrier


def combine(coefficients: Sequence[float], vectors: Sequence[Scalars], k: int) -> jax.Array:
    """The k-th component of sum_j coefficients[j] vectors[j]."""
    total = None
    for c, vector in zip(coefficients, vectors, strict=True):
        if c:
            term = vector[k] if c == 1.0 else c * vector[k]
            total = term if total is None else total + term
    assert total is not None, "all coefficients are zero"
    return total
