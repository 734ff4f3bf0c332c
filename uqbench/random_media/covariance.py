"""Correlation functions of stationary fields: what two places of a random medium have in common, by their distance.

All are functions of the scaled distance r = sqrt(sum_i (h_i / l_i)^2) with one length l_i for each axis:

    exponential  exp(-r)
    Gaussian     exp(-r^2 / 2)
    Matern       2^(1-nu) / Gamma(nu) (sqrt(2 nu) r)^nu K_nu(sqrt(2 nu) r),  which is the exponential for nu = 1/2 and
                 the Gaussian for nu -> infinity

The smoothness nu is 1/2, 3/2, 5/2, ..., where the Bessel function is a polynomial times an exponential (Rasmussen &
Williams 2006, Gaussian Processes for Machine Learning, eq. 4.16), so that derivatives by the lengths are exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial, sqrt

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..annotations import AnyArray
from ..errors import InputError, nearest

FAMILIES = ("exponential", "gaussian", "matern")
# Far beyond, a polynomial of this degree loses its digits.
SMOOTHEST = 20.5


@dataclass(frozen=True)
class Correlation:
    """A family of correlation functions.

    Args:
        family: "exponential", "gaussian" or "matern".
        smoothness: nu of "matern", half of an odd number up to 20.5; not given for the others.

    Raises:
        InputError: family unknown, smoothness missing, superfluous, or of another kind.

    Example:
        >>> round(float(Correlation("matern", 0.5)(jnp.array(1.0))), 6)
        0.367879
    """

    family: str
    smoothness: float | None = None

    def __post_init__(self):
        findings = []
        if self.family not in FAMILIES:
            findings.append(f"the family is {self.family!r}; {nearest(self.family, FAMILIES)}")
        elif self.family == "matern" and not _is_half_odd(self.smoothness):
            findings.append(
                f"the smoothness of 'matern' is {self.smoothness!r}; give .5, 1.5, 2.5, ... up to {SMOOTHEST}, where "
                "its Bessel function is elementary."
            )
        elif self.family != "matern" and self.smoothness is not None:
            findings.append(f"smoothness is {self.smoothness!r}, which the family {self.family!r} does not have.")
        if findings:
            raise InputError("correlation", findings)

    def __call__(self, r: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        """Correlation at the scaled distances `r`, 1 at zero."""
        if self.family == "gaussian":
            return jnp.exp(-0.5 * r**2)
        order = round((self.smoothness or 0.5) - 0.5)
        return _half_integer_matern(order, sqrt(2 * order + 1) * r)


def scaled_distance(lags: Sequence[AnyArray], lengths: Float[Array, " axes"]) -> Array:
    """sqrt(sum_i (h_i / l_i)^2) of lags that broadcast against one another; its slope by the lengths is 0 at lag 0."""
    square = jnp.asarray(sum((lag / length) ** 2 for lag, length in zip(lags, lengths, strict=True)))
    away = square > 0
    return jnp.where(away, jnp.sqrt(jnp.where(away, square, 1.0)), 0.0)


def _half_integer_matern(order: int, z: Array) -> Array:
    """exp(-z) order!/(2 order)! sum_i (order+i)!/(i! (order-i)!) (2 z)^(order-i)."""
    # (order + i)! / (order - i)! / i!, of the powers from the highest to the constant
    weights = [factorial(order + i) / factorial(i) / factorial(order - i) for i in range(order + 1)]
    total = jnp.zeros_like(z)
    for weight in weights:
        total = total * (2 * z) + weight * (factorial(order) / factorial(2 * order))
    return jnp.exp(-z) * total


def _is_half_odd(smoothness: float | None) -> bool:
    return smoothness is not None and 0 < smoothness <= SMOOTHEST and (2 * smoothness) % 2 == 1
