"""Solutions of linear systems as functions of what is in them, by the implicit function theorem."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import PyTree

from .conjugate_gradients import conjugate_gradients

# `apply(parameters, x)`: A(parameters) x, and an approximate inverse of A(parameters)
Apply = Callable[[PyTree, Array], Array]
Inverse = Callable[[PyTree], Callable[[Array], Array]]


class Settled(NamedTuple):
    """A function with its first arguments, the same one as any other with the same; these have to be hashable."""

    function: Callable
    settings: tuple

    def __call__(self, *more):
        return self.function(*self.settings, *more)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def differentiable(
    apply: Apply, inverse: Inverse, max_iterations: int, parameters, right, reduction, solution
) -> Array:
    """The solution of apply(parameters, x) = right, of known values, as a function of parameters and right side.

    Derivatives, in both modes, solve A dx = d(right) - dA x by conjugate gradients, NaN where these do not end.

    Args:
        apply: symmetric and positive definite in x on the range of `inverse(parameters)`. Both are hashable, and the
            same ones at each call, or everything is compiled again.
        reduction: of the squared residual, in the norm of the preconditioner, in the solves of derivatives.
        solution: the values.
    """
    return solution


@differentiable.defjvp
def _tangent(apply, inverse, max_iterations, primals, tangents):
    parameters, _, reduction, solution = primals
    solution = differentiable(apply, inverse, max_iterations, *primals)
    _, change = jax.jvp(lambda each: apply(each, solution), (parameters,), (tangents[0],))
    precondition = inverse(jax.lax.stop_gradient(parameters))

    def solve(operator, load):
        limit = reduction * jnp.vdot(load, precondition(load))
        end = conjugate_gradients(operator, precondition, load, limit=limit, max_iterations=max_iterations)
        return jnp.where(end.weight <= limit, end.solution, jnp.nan)

    at = partial(apply, parameters)
    return solution, jax.lax.custom_linear_solve(at, tangents[1] - change, solve, symmetric=True)
