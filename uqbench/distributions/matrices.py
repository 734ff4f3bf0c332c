"""Small matrices of elementwise results: information, and derivatives of some arguments in others.

Every formula here works element by element on arrays of any shape, so a matrix of them has its two axes at the end.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


def matrix(rows: list[list[ArrayLike]]) -> Array:
    """Stack elementwise entries into (..., k, k)."""
    entries = jnp.broadcast_arrays(*(jnp.asarray(entry, dtype=float) for row in rows for entry in row))
    return jnp.stack(entries, axis=-1).reshape(*entries[0].shape, len(rows), len(rows))


def elementwise_jacobian(function: Callable, arguments: dict[str, Array]) -> Array:
    """Derivatives of elementwise functions: (function, ..., argument), one forward pass for each argument."""
    names = tuple(arguments)

    def of_values(*values):
        return function(dict(zip(names, values, strict=True)))

    columns = []
    for moving in names:
        directions = tuple(jnp.full_like(arguments[name], float(name == moving)) for name in names)
        columns.append(jnp.stack(jax.jvp(of_values, tuple(arguments.values()), directions)[1]))
    return jnp.stack(columns, axis=-1)
