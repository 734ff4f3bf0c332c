"""Media made of a Gaussian field: lognormal coefficients, and two phases by a level.

All are functions of a field of mean 0 and variance 1 and of their parameters, so that with the field kept a gradient by
a parameter is that of one realisation. The phase of a level cut jumps from cell to cell as the level moves: it has no
such gradient. `level_cut` refuses to be differentiated by what moves its level; `smooth_cut` is the surrogate, another
medium with an interface of finite width whose mean fraction is the same.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from ..errors import InputError
from .fractions import Scalar, is_known, volume_fraction


def lognormal(field: Float[Array, "*grid"], median: Scalar, sd: Scalar) -> Float[Array, "*grid"]:
    """median * exp(sd * field): positive, with sd the standard deviation of its logarithm.

    Raises:
        InputError: a median that is not positive, a negative sd. NaN where they are traced.

    Example:
        >>> lognormal(jnp.zeros(2), 3.0, 0.5).tolist()
        [3.0, 3.0]
    """
    findings = _below(median, "median", "positive", strictly=True) + _below(sd, "sd", "zero or positive")
    if findings:
        raise InputError("lognormal medium", findings)
    return jnp.where((median > 0) & (sd >= 0), median, jnp.nan) * jnp.exp(sd * field)


def level_cut(field: Float[Array, "*grid"], fraction: Scalar, *, exact: bool = False) -> Float[Array, "*grid"]:
    """1 in the phase where the field is above a level, 0 elsewhere.

    Args:
        field: mean 0 and variance 1. fraction: volume fraction of the phase, in the mean over realisations.
        exact: whether each realisation has the fraction, to within a cell (the level is then a quantile of the field
            itself, and realisations vary less than windows of a larger medium do).

    Raises:
        InputError: when differentiated by the field, by what it is made of, or by the fraction: the derivative of a
            jump is no number in any cell. NaN where a traced fraction is not between 0 and 1.

    Example:
        >>> level_cut(jnp.array([-1.0, 1.0]), 0.5).tolist()
        [0.0, 1.0]
    """
    below = 1.0 - volume_fraction(fraction, "level cut")
    level = jnp.quantile(field, below) if exact else ndtri(below)
    return _above(field, level)


def smooth_cut(field: Float[Array, "*grid"], fraction: Scalar, width: Scalar) -> Float[Array, "*grid"]:
    """The surrogate of `level_cut` that has a gradient: Phi((field - level) / width), between 0 and 1.

    The level is sqrt(1 + width^2) times the normal quantile, which makes the mean over realisations the fraction at
    any width. The interface is about width / |grad field| thick, so that the medium is another one, and a gradient its
    own; let the width go to 0 to see by how much.

    Args:
        field: mean 0 and variance 1. fraction: mean volume fraction. width: in standard deviations of the field.

    Raises:
        InputError: a fraction outside 0 to 1, a width that is not positive. NaN where they are traced.

    Example:
        >>> smooth_cut(jnp.zeros(1), 0.5, 0.1).tolist()
        [0.5]
    """
    if findings := _below(width, "width", "positive", strictly=True):
        raise InputError("smooth cut", findings)
    width = jnp.where(jnp.asarray(width) > 0, width, jnp.nan)
    level = jnp.sqrt(1.0 + jnp.square(width)) * ndtri(1.0 - volume_fraction(fraction, "smooth cut"))
    return norm.cdf((field - level) / width)


def two_phase(phase: Float[Array, "*grid"], inside: Scalar, outside: Scalar) -> Float[Array, "*grid"]:
    """The coefficient that is `inside` where the phase is 1 and `outside` where it is 0, linear between.

    A phase of 0 does not conduct; cell problems ask for a small positive number instead.

    Raises:
        InputError: with each coefficient that is negative. NaN where one is traced.
    """
    findings = _below(inside, "inside", "zero or positive") + _below(outside, "outside", "zero or positive")
    if findings:
        raise InputError("two phases", findings)
    inside, outside = (jnp.where(jnp.asarray(each) >= 0, each, jnp.nan) for each in (inside, outside))
    return outside + (inside - outside) * phase


def _below(value: Scalar, name: str, allowed: str, *, strictly: bool = False) -> list[str]:
    """A finding where a number that is known is negative, or zero where it has to be positive."""
    if not is_known(value) or float(value) > 0 or (float(value) == 0 and not strictly):
        return []
    return [f"{name} is {value}; give a number that is {allowed}."]


@jax.custom_jvp
def _above(field: Array, level: Array) -> Array:
    # a field or level that is not known has no phase either
    return jnp.where(jnp.isnan(field) | jnp.isnan(level), jnp.nan, (field > level).astype(field.dtype))


@_above.defjvp
def _no_slope(primals, tangents):
    raise InputError(
        "level cut",
        [
            "a level cut has no derivative by its field, correlation lengths or volume fraction: cells change their "
            "phase by jumps. Take `smooth_cut`, a surrogate with an interface of finite width, or differences of means "
            "over many realisations."
        ],
    )
