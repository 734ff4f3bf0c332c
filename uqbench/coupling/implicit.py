"""How a fixed point of what parts see of one another moves with what is given: never through its iterations.

From x = g(x, given) follows dx = (1 - dg/dx)^-1 dg. Where parts see few numbers of one another, dg/dx is had as a matrix;
of many it is known by its products alone, and the system is solved by GMRES (Saad & Schultz 1986, doi:10.1137/0907058).
What is not solved is NaN.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import gmres
from jaxtyping import Array

from ..solvers.implicit import by_jvp, implicit, moving
from .chebyshev import Loop
from .integrators import linear_solve

# Numbers seen up to which the derivative is had as a matrix.
FEW = 48
# Of the residual, relative to the right-hand side: what GMRES goes for, and what is not solved.
TOLERANCE, NOT_SOLVED = 1e-12, 1e-8
RESTART, RESTARTS = 20, 5

# g(x, given): what is seen next
Again = Callable[[Array, Any], Array]


def as_fixed_point(again: Again, given, x, kind: Loop) -> Array:
    """The fixed point x `(n,)` of `again(x, given)` as a function of `given`.

    Args:
        kind: of loops: "lax" for derivatives in forward mode, "checkpointed" for those in reverse mode.
    """
    if kind == "checkpointed":
        return _reversible(again, given, x)
    if len(x) <= FEW:
        return implicit(by_jvp(lambda x, given: x - again(x, given)), linear_solve, given, x)
    return implicit(partial(_by_products, again), _solve_products, given, x)


def _by_products(again: Again, x, given, change):
    values, changes, rebuilt = moving(given, change)
    _, pushed = jax.jvp(lambda values: x - again(x, rebuilt(values)), (values,), (changes,))
    return lambda v: v - jax.jvp(lambda x: again(x, given), (x,), (v,))[1], pushed


def _solve_products(product, vector) -> Array:
    found, _ = gmres(product, vector, tol=TOLERANCE, restart=RESTART, maxiter=RESTARTS, solve_method="incremental")
    left = jnp.linalg.norm(product(found) - vector)
    return jnp.where(left <= NOT_SOLVED * jnp.linalg.norm(vector), found, jnp.nan)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _reversible(again: Again, given, x) -> Array:
    return x


def _keep(again: Again, given, x):
    return x, (given, x)


def _pull(again: Again, saved, x_bar):
    given, x = saved
    _, pull = jax.vjp(again, x, given)
    weight = _solve_products(lambda v: v - pull(v)[0], x_bar)
    return pull(weight)[1], jnp.zeros_like(x)


_reversible.defvjp(_keep, _pull)
