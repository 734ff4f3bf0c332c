"""Conjugate gradients whose solution is differentiable by the implicit function theorem."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..homogenisation.conjugate_gradients import conjugate_gradients


class Solution(NamedTuple):
    """`values`, NaN where `converged` is false; `iterations`, and the squared residual in the norm of the
    preconditioner."""

    values: Array
    iterations: Array
    residual: Array
    converged: Array


def linear_solve(
    operator: Callable[[Array], Array],
    precondition: Callable[[Array], Array],
    right: Array,
    tolerance: Array,
    max_iterations: int,
) -> Solution:
    """Solves operator(x) = right; derivatives, in both modes, solve again to the same tolerance.

    Args:
        operator: symmetric and positive definite on the range of `precondition`.
        tolerance: of the residual in the norm of the preconditioner, relative to that of `right`.
    """

    def solve(operator, right):
        limit = tolerance**2 * jnp.vdot(right, precondition(right))
        end = conjugate_gradients(operator, precondition, right, limit=limit, max_iterations=max_iterations)
        converged = end.weight <= limit
        return jnp.where(converged, end.solution, jnp.nan), (end.steps, end.weight, converged)

    values, report = jax.lax.custom_linear_solve(operator, right, solve, symmetric=True, has_aux=True)
    return Solution(values, *report)
