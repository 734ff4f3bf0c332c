"""What counts as rounding in a balance, and what as a leak: one threshold for all models that conserve something.

A sum of n amounts in double precision errs by up to n units of 1.1e-16 of their size, by sqrt(n) as a rule. Over
1e4 steps that is 1e-12 at most; measured are 1e-13 for plain sums of fluxes and 1e-15 for compensated ones. A residual
above 1e-12 of what it balances is therefore no rounding, and one below changes no result that anybody could see.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from .annotations import Numbers

# Share of what is balanced up to which a residual is rounding.
ROUNDING = 1e-12


def share(residual: Numbers, size: Numbers) -> Array:
    """|residual| / size; 0 of nothing, and infinite where something is missing of nothing.

    Example:
        >>> share(jnp.array([-0.02, 0.0]), jnp.array([2.0, 0.0])).tolist()
        [0.01, 0.0]
    """
    residual, size = jnp.abs(jnp.asarray(residual, float)), jnp.asarray(size, float)
    nothing = size == 0
    missing = jnp.where(residual == 0, 0.0, jnp.inf)
    return jnp.where(nothing, jax.lax.stop_gradient(missing), residual / jnp.where(nothing, 1.0, size))


def is_rounding(residual: Numbers, size: Numbers) -> Bool[Array, "..."]:
    """Whether a residual is what rounding leaves of a balance of this size; false of what is not a number.

    Args:
        residual: change - (in - out + sources). size: the largest amount that was added up, positive.

    Example:
        >>> is_rounding(jnp.array([-1e-15, 0.02]), 2.0).tolist()
        [True, False]
    """
    return share(residual, size) <= ROUNDING


def imbalance(residual: Numbers, size: Numbers) -> Array:
    """How far a balance is from being closed, |residual| / size, as an output of a model.

    What is below 1e-12 is rounding, which differs from run to run and has no derivative, and is given as 1e-12.

    Example:
        >>> imbalance(jnp.array([-1e-15, 0.02]), jnp.array([2.0, 2.0])).tolist()
        [1e-12, 0.01]
    """
    return jnp.maximum(share(residual, size), ROUNDING)


def leaked(residual: Numbers, size: Numbers) -> Array:
    """The residual with its sign and unit where it is no rounding, else 0, as an output of a model.

    Example:
        >>> leaked(jnp.array([-1e-15, 0.02]), 2.0).tolist()
        [0.0, 0.02]
    """
    return jnp.where(is_rounding(residual, size), 0.0, jnp.asarray(residual, float))
