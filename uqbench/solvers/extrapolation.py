"""The end of a trajectory with its derivative, in little code: for the rare cases that need it.

Linearly implicit Euler steps of length h/1, h/2, ... h/7, extrapolated to order 7 (Deuflhard, Hairer and Zugck 1987,
doi:10.1007/BF01400352). Everything is a loop over arrays, so that it compiles within a second or two for any number of
states and parameters, where the native loop of `stepping` with its derivative takes ten; a step costs a hundred times
as much.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

ORDER = 7
COUNTS = np.arange(1, ORDER + 1)
# Least number of steps: where the state stands still no error bounds them, and its derivative may still move.
LEAST_STEPS, MOST_STEPS = 16, 2000
SAFETY, SHRINK, GROW = 0.8, 0.1, 8.0


def _weights(counts: np.ndarray) -> np.ndarray:
    """Combination of the results of `counts` steps in which the powers 1, 2, ... of the step vanish (Neville)."""
    return np.array([np.prod([n / (n - other) for other in counts if other != n]) for n in counts])


def follow(
    slope: Callable[[Array], Array], start: Float[Array, " states"], span, *, rtol: float, atol
) -> Float[Array, " states"]:
    """The state after `span`, differentiable any number of times in forward mode; NaN where it was not reached.

    Args:
        slope: `slope(y)`, the right-hand side `(states,)`; it may close over what is differentiated.
        start: the initial state.
        rtol, atol: local error per step, relative and absolute; `atol` for all states or for each.
    """
    high, low = _weights(COUNTS), np.append(0.0, _weights(COUNTS[1:]))
    one = jnp.eye(len(start))

    def euler(y, h, count):
        def part(_, y):
            return y + jnp.linalg.solve(count / h * one - jax.jacfwd(slope)(y), slope(y))

        return lax.fori_loop(0, count, part, y)

    def step(carry):
        y, done, h, taken = carry
        h = jnp.minimum(h, jnp.minimum(span - done, span / LEAST_STEPS))
        results = lax.map(lambda count: euler(y, h, count), jnp.asarray(COUNTS))
        new = high @ results
        frozen = lax.stop_gradient(results)
        error = jnp.max(jnp.abs((high - low) @ frozen) / (atol + rtol * jnp.abs(frozen[-1])))
        error = jnp.where(jnp.isfinite(error), jnp.maximum(error, 1e-12), jnp.inf)
        accepted = error <= 1.0
        factor = jnp.clip(SAFETY * error ** (-1.0 / ORDER), SHRINK, GROW)
        return jnp.where(accepted, new, y), jnp.where(accepted, done + h, done), h * factor, taken + 1

    def unfinished(carry):
        return (carry[1] < span) & (carry[3] < MOST_STEPS)

    scale = jnp.min((jnp.abs(start) + atol / rtol) / jnp.maximum(jnp.abs(slope(start)), 1e-200))
    first = lax.stop_gradient(jnp.minimum(0.01 * scale, span))
    y, done, _, _ = lax.while_loop(unfinished, step, (start, 0.0 * first, first, 0))
    return jnp.where(done >= span, y, jnp.nan)
