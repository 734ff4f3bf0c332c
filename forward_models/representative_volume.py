"""From which size on a window represents a random medium, and up to which: fluctuations average out, a trend comes in.

The medium has the correlation length l_c with a separable exponential covariance, and a coefficient of variation cv at
a point; its mean varies over L_g. With a = L / l_c a cube of edge L has the relative standard deviation
cv (2/a^2 (a - 1 + e^-a))^(3/2) and the bias (L/L_g)^2 / 24. Windows from `L_min` to `L_max` keep each of these below
the tolerance; where L_min > L_max there is no REV. At a boundary where c'' D = k c the concentration falls over
sqrt(D/k), in which averages mean something only if it is many times l_c: `layers`, to be more than 5. A power-law
covariance r^-b with b < 1 has fluctuations that fall with L^(-b/2) only, `power_law_sd`, and no plateau.
"""

import jax
import jax.numpy as jnp

from uqbench import LogNormal, Model, Space, epistemic, fixed
from uqbench.representative_volume import trend_bias, variance_ratio

# Edges of windows, mm.
WINDOWS = jnp.array([0.2, 0.5, 1.0, 2.0])
# Bisections of the logarithm of a / l_c over all sizes that matter, to the rounding of a double.
BISECTIONS = 60

space = Space(
    l_c=epistemic(LogNormal(median=0.2, sigma=0.3), "mm", "correlation length"),
    L_g=epistemic(LogNormal(median=5.0, sigma=0.3), "mm", "length over which the mean varies"),
    cv=epistemic(LogNormal(median=0.3, sigma=0.3), "", "coefficient of variation at a point"),
    D=epistemic(LogNormal(median=1e-3, sigma=0.3), "mm^2/s", "diffusivity"),
    k=epistemic(LogNormal(median=1e-3, sigma=0.3), "1/s", "consumption"),
    tolerance=fixed(0.05, "", "relative error that a window may have"),
)


def relative_sd(window, l_c, cv):
    """Standard deviation of means over cubes, relative to the mean."""
    return cv * jnp.sqrt(variance_ratio(window / l_c, 3))


def power_law_sd(window, r0, b, cv):
    """The same along a line for the covariance (r/r0)^-b, b < 1: cv sqrt(2/((1-b)(2-b))) (window/r0)^(-b/2)."""
    return cv * jnp.sqrt(2 / ((1 - b) * (2 - b))) * (window / r0) ** (-b / 2)


def smallest_window(l_c, cv, tolerance):
    """Where `relative_sd` falls to the tolerance; zero where a point is within it. Differentiable."""

    def excess(log_ratio):
        return jnp.log(cv / tolerance) + 1.5 * jnp.log(variance_ratio(jnp.exp(log_ratio)))

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        above = excess(middle) > 0
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    low, high = jax.lax.fori_loop(0, BISECTIONS, halve, (jnp.array(-20.0), jnp.array(20.0)))
    root = jax.lax.stop_gradient((low + high) / 2)
    # Newton's steps carry derivatives: one the first, two the second as well
    for _ in range(2):
        root = root - excess(root) / jax.grad(excess)(root)
    return jnp.where(cv > tolerance, l_c * jnp.exp(root), 0.0)


def simulate(theta, design, key):
    l_c, cv, tolerance = theta["l_c"], theta["cv"], theta["tolerance"]
    return {
        "relative_sd": relative_sd(WINDOWS, l_c, cv),
        "bias": trend_bias(WINDOWS, theta["L_g"]),
        "L_min": smallest_window(l_c, cv, tolerance),
        "L_max": theta["L_g"] * jnp.sqrt(24 * tolerance),
        "layers": jnp.sqrt(theta["D"] / theta["k"]) / l_c,
    }


model = Model.from_function(
    space,
    simulate,
    units={"relative_sd": "", "bias": "", "L_min": "mm", "L_max": "mm", "layers": ""},
    name="representative_volume",
    dims={"relative_sd": ("window",), "bias": ("window",), "L_min": (), "L_max": (), "layers": ()},
    coords={"window": WINDOWS.tolist()},
)
