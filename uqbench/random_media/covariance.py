"""Correlation functions of stationary fields: what two places of a random medium have in common, by their distance.

All are functions of the scaled distance r = sqrt(sum_i (h_i / l_i)^2) with one length l_i for each axis:

    exponential  exp(-r)
    Gaussian     exp(-r^2 / 2)
    Matern       2^(1-nu) / Gamma(nu) (sqrt(2 nu) r)^nu K_nu(sqrt(2 nu) r),  which is the exponential for nu = 1/2 and
                 the Gaussian for nu -> infinity

For a smoothness nu of 1/2, 3/2, 5/2, ... the Bessel function is a polynomial times an exponential (Rasmussen &
Williams 2006, Gaussian Processes for Machine Learning, eq. 4.16); for others it is an integral (DLMF 10.32.9),

    K_nu(z) = int_0^inf exp(-z cosh t) cosh(nu t) dt,

which the trapezoidal rule has to rounding, as the integrand is analytic and falls faster than exponentially.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import factorial, gamma, sqrt

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..annotations import AnyArray
from ..errors import InputError, nearest

FAMILIES = ("exponential", "gaussian", "matern")
# Far beyond, a polynomial of this degree loses its digits; far below, neighbours have nothing in common.
SMOOTHEST, ROUGHEST = 20.5, 0.05
# Nodes of the integral, and the exponent from which on its integrand is zero.
NODES, DECAY = 160, 740.0


@dataclass(frozen=True)
class Correlation:
    """A family of correlation functions.

    Args:
        family: "exponential", "gaussian" or "matern".
        smoothness: nu of "matern", .05 to 20.5; not given for the others. Half of an odd number is the quickest.

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
        elif self.family == "matern" and not (self.smoothness is not None and ROUGHEST <= self.smoothness <= SMOOTHEST):
            findings.append(
                f"the smoothness of 'matern' is {self.smoothness!r}; give a number from {ROUGHEST} to {SMOOTHEST}, or "
                "take 'gaussian', which is smoother than all."
            )
        elif self.family != "matern" and self.smoothness is not None:
            findings.append(f"smoothness is {self.smoothness!r}, which the family {self.family!r} does not have.")
        if findings:
            raise InputError("correlation", findings)

    def __call__(self, r: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        """Correlation at the scaled distances `r`, 1 at zero."""
        if self.family == "gaussian":
            return jnp.exp(-0.5 * r**2)
        nu = 0.5 if self.smoothness is None else float(self.smoothness)
        z = sqrt(2 * nu) * r
        if (2 * nu) % 2 == 1:
            return _half_integer_matern(round(nu - 0.5), z)
        away = z > 0
        return jnp.where(away, 2 ** (1 - nu) / gamma(nu) * _power_bessel(jnp.where(away, z, 1.0), nu, nu), 1.0)


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


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _power_bessel(z: Array, power: float, order: float) -> Array:
    """z^power K_order(z) for z > 0."""
    # beyond, z cosh t is so large that the integrand is zero
    end = jnp.arccosh(1.0 + DECAY / z)
    step, rise = end / NODES, power * jnp.log(z)

    def node(index):
        t = index * step
        grow = abs(order) * t
        # cosh(order t), whose second exponential matters near 0 only
        return 0.5 * (1.0 + jnp.exp(-2.0 * grow)) * jnp.exp(grow + rise - z * jnp.cosh(t))

    return step * jax.lax.fori_loop(1, NODES, lambda index, total: total + node(index), 0.5 * node(0))


@_power_bessel.defjvp
def _power_bessel_slope(power, order, primals, tangents):
    # K_order' = -K_(order-1) - order/z K_order
    (z,), (change,) = primals, tangents
    slope = -_power_bessel(z, power, order - 1)
    if power != order:
        slope = slope + (power - order) * _power_bessel(z, power - 1, order)
    return _power_bessel(z, power, order), slope * change
