"""Conjugate gradients whose solution is differentiable by the implicit function theorem."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import PyTree

from ..homogenisation.conjugate_gradients import conjugate_gradients
from ..homogenisation.implicit import differentiable


class Solution(NamedTuple):
    """`values`, NaN where `converged` is false; `iterations`, and the squared residual in the norm of the
    preconditioner."""

    values: Array
    iterations: Array
    residual: Array
    converged: Array


def linear_solve(
    operator: Callable[[PyTree, Array], Array],
    inverse: Callable[[PyTree], Callable[[Array], Array]],
    parameters: PyTree,
    right: Array,
    tolerance: Array,
    max_iterations: int,
) -> Solution:
    """Solves operator(parameters, x) = right; derivatives, in both modes, solve again to the same tolerance.

    Args:
        operator: symmetric and positive definite in x on the range of `inverse(parameters)`, the preconditioner.
        tolerance: of the residual in the norm of the preconditioner, relative to that of `right`.
    """
    fixed, load = jax.lax.stop_gradient((parameters, right))
    precondition = inverse(fixed)
    limit = tolerance**2 * jnp.vdot(load, precondition(load))
    end = conjugate_gradients(partial(operator, fixed), precondition, load, limit=limit, max_iterations=max_iterations)
    converged = end.weight <= limit
    values = jnp.where(converged, end.solution, jnp.nan)
    values = differentiable(operator, inverse, max_iterations, parameters, right, tolerance**2, values)
    return Solution(values, end.steps, end.weight, converged)
