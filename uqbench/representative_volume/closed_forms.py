"""What averages over windows do in closed form: fluctuations of short range decay, a trend comes in."""

import jax.numpy as jnp
from jax import Array

from ..annotations import Numbers

# Below this, where terms of the closed form cancel, its series is exact to rounding.
SMALL = 0.05


def variance_ratio(ratio: Numbers, d: int = 1) -> Array:
    """Variance of the mean over a window relative to that of a point, for a separable exponential covariance.

    Args:
        ratio: edge of the window over the correlation length, not negative. d: dimensions of the window, a cube.

    Returns:
        (2/a^2 (a - 1 + e^-a))^d, differentiable; about (2/a)^d for large windows.

    Example:
        >>> round(float(variance_ratio(5.0)), 10), round(float(variance_ratio(5.0, 3)), 10)
        (0.3205390358, 0.0329338709)
    """
    a = jnp.asarray(ratio, float)
    large = jnp.where(a < SMALL, 1.0, a)
    closed = 2 / large**2 * (large + jnp.expm1(-large))
    series = 1 - a / 3 * (1 - a / 4 * (1 - a / 5 * (1 - a / 6 * (1 - a / 7 * (1 - a / 8)))))
    return jnp.where(a < SMALL, series, closed) ** d


def trend_bias(window: Numbers, length: Numbers) -> Array:
    """Relative bias of the mean over a window, against the value at its centre, under a curved trend f.

    Args:
        window: edge of the window. length: sqrt(f / f''), in the same unit.

    Returns:
        (window/length)^2 / 24, the first term of the mean of a parabola about its centre.
    """
    return (jnp.asarray(window, float) / length) ** 2 / 24
