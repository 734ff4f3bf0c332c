"""How a root moves with what is given: the implicit function theorem, the one derivative rule of every root.

From residual(x, given) = 0 follows dx = -(d residual / dx)^-1 d residual, whatever the iterations that found x: they
stay out of the derivative, which costs one linear solve, is exact, and is there in both modes, as often as wanted.

What differs between roots is only how the two derivatives are had: `by_jvp` of a residual that is a formula,
`by_matrix` of one that holds a loop, whose derivative cannot be transposed for reverse mode, while a matrix can. Or a
caller has them from elsewhere, such as the engine, and passes a function of its own. Everything a root depends on,
tracers too, comes through `given`; what is to hold still goes in with its gradient stopped.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

Residual = Callable[[Array, Any], Array]
# (x, given, change of given) -> slopes of the residual by x, a matrix `(n, n)` or what else `solve` takes, and change
# of the residual `(n,)`; of what does not change, the change is a SymbolicZero
Linearised = Callable[[Array, Any, Any], tuple[Any, Array]]


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def implicit(linearised: Linearised, solve: Callable[[Any, Array], Array], given, x):
    """The root x `(n,)` as a function of `given`, any pytree; both linear functions are hashable and hold no tracers.

    Args:
        linearised: the two derivatives, see `by_jvp` and `by_matrix`.
        solve: `solve(matrix, vector)`.

    Example:
        >>> from uqbench.solvers.roots import solve
        >>> square = by_jvp(lambda x, a: x**2 - a)
        >>> float(jax.grad(lambda a: implicit(square, solve, a, jnp.array([3.0]))[0])(9.0))
        0.16666666666666666
    """
    return x


@partial(implicit.defjvp, symbolic_zeros=True)
def _(linearised, solve, primals, tangents):
    given, x = primals
    # its own derivative by this rule again, for derivatives of any order
    x = implicit(linearised, solve, given, x)
    slopes, change = linearised(x, given, tangents[0])
    return x, -solve(slopes, change)


def by_jvp(residual: Residual) -> Linearised:
    """Both derivatives of a residual that JAX can differentiate in either mode."""
    return partial(_by_jvp, residual)


def by_matrix(residual: Residual) -> Linearised:
    """The same of a residual with loops inside: slopes by everything that moves at once, as one matrix."""
    return partial(_by_matrix, residual)


def _by_jvp(residual: Residual, x, given, change):
    values, changes, rebuilt = moving(given, change)
    _, pushed = jax.jvp(lambda values: residual(x, rebuilt(values)), (values,), (changes,))
    return jax.jacfwd(residual)(x, given), pushed


def _by_matrix(residual: Residual, x, given, change):
    values, changes, rebuilt = moving(given, change)
    at, unravel = ravel_pytree(values)
    direction, _ = ravel_pytree(changes)
    size = len(x)
    slopes = jax.jacfwd(lambda both: residual(both[:size], rebuilt(unravel(both[size:]))))(jnp.concatenate([x, at]))
    return slopes[:, :size], slopes[:, size:] @ direction


def moving(given, change) -> tuple[list, list, Callable[[list], Any]]:
    """The leaves of `given` that change, their changes, and `given` as a function of them."""
    leaves, tree = jax.tree.flatten(given)
    changes = jax.tree.leaves(change, is_leaf=lambda part: isinstance(part, SymbolicZero))
    moved = [k for k, part in enumerate(changes) if not isinstance(part, SymbolicZero)]

    def rebuilt(values: list):
        replaced = dict(zip(moved, values, strict=True))
        return jax.tree.unflatten(tree, [replaced.get(k, leaf) for k, leaf in enumerate(leaves)])

    return [leaves[k] for k in moved], [changes[k] for k in moved], rebuilt
