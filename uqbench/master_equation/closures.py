"""A function of one number with everything it closes over as arguments."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.core import Tracer


def with_arguments(function: Callable, example) -> tuple[Callable, list]:
    """`f(x, *arguments)` and the arguments, which are all real numbers that `function(x)` closes over.

    As `jax.closure_convert`, which leaves in the function what is not differentiated but batched, such as the inputs
    of a design.
    """
    closed, shape = jax.make_jaxpr(function, return_shape=True)(example)
    free = [isinstance(c, Tracer) and jnp.issubdtype(c.dtype, jnp.inexact) for c in closed.consts]

    def of_arguments(x, *arguments):
        left = iter(arguments)
        consts = [next(left) if each else c for each, c in zip(free, closed.consts, strict=True)]
        found = jax.core.eval_jaxpr(closed.jaxpr, consts, x)
        return jax.tree.unflatten(jax.tree.structure(shape), found)

    return of_arguments, [c for each, c in zip(free, closed.consts, strict=True) if each]
