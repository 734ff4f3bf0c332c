"""The right-hand side and its Jacobian at single points, compiled once for each system."""

from functools import partial

import jax
import jax.numpy as jnp

from ...initial_value.odes import problem_of


@partial(jax.jit, static_argnames=("system", "names"))
def slope_at(system, names, theta, design, t, y):
    return jnp.stack(problem_of(system, names, (theta, design)).rhs(t, [y[k] for k in range(len(names))]))


jacobian_at = jax.jit(jax.jacfwd(slope_at, argnums=5), static_argnames=("system", "names"))
