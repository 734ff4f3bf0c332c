"""Conjugate gradients whose solution is differentiable by the implicit function theorem."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import PyTree

from ..homogenisation.conjugate_gradients import conjugate_gradients


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
    values = _implicit(operator, inverse, max_iterations, parameters, right, tolerance, values)
    return Solution(values, end.steps, end.weight, converged)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _implicit(operator, inverse, max_iterations: int, parameters: PyTree, right, tolerance, solution) -> Array:
    """The solution as a function of the parameters and the right side; `solution` are its values."""
    return solution


@_implicit.defjvp
def _implicit_tangent(operator, inverse, max_iterations, primals, tangents):
    parameters, _, tolerance, solution = primals
    solution = _implicit(operator, inverse, max_iterations, *primals)
    _, change = jax.jvp(lambda each: operator(each, solution), (parameters,), (tangents[0],))
    precondition = inverse(jax.lax.stop_gradient(parameters))

    def solve(operator, load):
        limit = tolerance**2 * jnp.vdot(load, precondition(load))
        end = conjugate_gradients(operator, precondition, load, limit=limit, max_iterations=max_iterations)
        return jnp.where(end.weight <= limit, end.solution, jnp.nan)

    at = partial(operator, parameters)
    return solution, jax.lax.custom_linear_solve(at, tangents[1] - change, solve, symmetric=True)
