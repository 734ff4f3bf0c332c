"""Central differences, of fourth order so that their own error stays below what is asked for."""

import jax
import jax.numpy as jnp
import numpy as np

STEP = 1e-3


def relative_errors(function, at: dict) -> dict[str, float]:
    """Name -> error of the derivative in forward and in reverse mode, relative to its size.

    Args:
        function: of values by name, to a number. at: where.
    """
    at = {name: jnp.asarray(value, float) for name, value in at.items()}
    function = jax.jit(function)
    forward, reverse = jax.jacfwd(function)(at), jax.grad(function)(at)
    errors = {}
    for name, value in at.items():
        h = STEP * float(value)
        moved = [float(function({**at, name: value + step * h})) for step in (-2, -1, 1, 2)]
        numeric = np.dot(moved, [1, -8, 8, -1]) / (12 * h)
        errors[name] = max(abs(float(found[name]) / numeric - 1) for found in (forward, reverse))
    return errors
