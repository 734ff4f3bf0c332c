"""Volume fractions: numbers between 0 and 1."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..errors import InputError

# One number, which may be traced.
Scalar = float | Array


def is_known(value: Scalar) -> bool:
    """Whether a number has a value already, so that it can be refused in a sentence."""
    return not isinstance(value, jax.core.Tracer)


def volume_fraction(fraction: Scalar, subject: str) -> Array:
    """The fraction as an array; NaN where it is outside 0 to 1 and traced.

    Raises:
        InputError: outside 0 to 1 and not traced.
    """
    if is_known(fraction) and not 0.0 < float(fraction) < 1.0:
        raise InputError(subject, [f"the volume fraction is {fraction}; give a number between 0 and 1."])
    value = jnp.asarray(fraction, float)
    return jnp.where((value > 0) & (value < 1), value, jnp.nan)
