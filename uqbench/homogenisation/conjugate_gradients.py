"""Preconditioned conjugate gradients for arrays of any shape, compiled (Hestenes & Stiefel 1952,
doi:10.6028/jres.049.044)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Iteration(NamedTuple):
    """Where the iteration stands: `weight` is the squared residual in the norm of the preconditioner."""

    solution: Array
    residual: Array
    direction: Array
    weight: Array
    steps: Array


def conjugate_gradients(
    operator: Callable[[Array], Array],
    precondition: Callable[[Array], Array],
    right: Array,
    *,
    limit: Array,
    max_iterations: int,
) -> Iteration:
    """Solves operator(x) = right from x = 0, traceable.

    Args:
        operator: symmetric and positive definite on the range of `precondition`. precondition: approximate inverse of
            it. right: of the shape of the unknowns. limit: to which the squared residual, in the norm of the
            preconditioner, has to fall.

    Returns:
        The last iterate, whether or not it converged; `steps` is `max_iterations` where it may not have.
    """
    first = precondition(right)
    weight = jnp.vdot(right, first)

    def unfinished(at: Iteration):
        return (at.weight > limit) & (at.steps < max_iterations)

    def step(at: Iteration) -> Iteration:
        image = operator(at.direction)
        length = at.weight / jnp.vdot(at.direction, image)
        residual = at.residual - length * image
        improved = precondition(residual)
        weight = jnp.vdot(residual, improved)
        direction = improved + weight / at.weight * at.direction
        return Iteration(at.solution + length * at.direction, residual, direction, weight, at.steps + 1)

    start = Iteration(jnp.zeros_like(right), right, first, weight, jnp.zeros((), int))
    return jax.lax.while_loop(unfinished, step, start)
