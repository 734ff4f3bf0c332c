"""What becomes of a distribution under a map: the change of variables, also where the map is many-to-one.

Y = g(X) has the density f_Y(y) = sum over all x with g(x) = y of f_X(x) / abs(g'(x)). For X ~ Normal(0, 1): Y = e^X has
one preimage, f_Y(1) = 1/sqrt(2 pi) = .3989; Y = X^2 has two, f_Y(1) = e^(-1/2)/sqrt(2 pi) = .2420, and an infinite
density at the fold y = 0. `model` is the pair of maps, `density` the formula, `exponential` and `square` the maps.
"""

import jax
import jax.numpy as jnp

from uqbench import Model, Normal, Space, epistemic

space = Space(X=epistemic(Normal(0.0, 1.0), "", "the input"))
# Bisections that take a cell of the grid, at most some units wide, to the rounding of a double.
BISECTIONS = 60


def exponential(x):
    return jnp.exp(x)


def square(x):
    return x**2


def mapped(theta, design, key):
    return {"exponential": exponential(theta["X"]), "square": square(theta["X"])}


@jax.jit(static_argnames=("function", "dist", "cells"))
def density(function, dist, y, values=None, *, cells=1024):
    """Density of function(X) at `y`, for X with the distribution `dist`.

    Preimages are bracketed between neighbours of a grid of quantiles and found by bisection; one Newton step then
    makes them differentiable by implicit differentiation. Two preimages in one cell are missed, which happens only
    beside a fold of the map, where the density has a pole.

    Args:
        function: the map, differentiable, elementwise. dist: distribution of X. y: `(...)`, where the density is asked
            for, in units of the map. values: what names in `dist` stand for. cells: of the grid, equal in probability
            but for the outermost, which reach to the last quantiles that a double tells from 0 and 1.

    Returns:
        `(...)` in 1 / unit of the map; zero where nothing is mapped, without bound towards a fold. Its derivatives by
        `y` and `values` are exact.

    Example:
        >>> round(float(density(square, Normal(0.0, 1.0), 1.0)), 10)
        0.2419707245
    """
    values = values or {}
    edge = jnp.finfo(float).eps
    levels = jnp.linspace(0.0, 1.0, cells + 1).at[jnp.array([0, -1])].set(jnp.array([edge, 1 - edge]))
    grid = jax.lax.stop_gradient(dist.ppf(levels, values))
    slope = jnp.vectorize(jax.grad(function))

    def at(y):
        below = function(grid) <= y
        found = below[:-1] != below[1:]

        def halve(_, bracket):
            left, right = bracket
            middle = left / 2 + right / 2
            same = (function(middle) <= y) == below[:-1]
            return jnp.where(same, middle, left), jnp.where(same, right, middle)

        left, right = jax.lax.fori_loop(0, BISECTIONS, halve, (grid[:-1], grid[1:]))
        root = jax.lax.stop_gradient(jnp.where(found, left / 2 + right / 2, grid[1:]))
        steep = jnp.where(found, slope(root), 1.0)
        step = (y - function(root)) / jnp.where(steep == 0, 1.0, steep)
        root = root + jnp.where(found, step, 0.0)
        mass = jnp.exp(dist.logpdf(root, values))
        return jnp.sum(jnp.where(found, mass / jnp.where(found, jnp.abs(slope(root)), 1.0), 0.0))

    return jnp.vectorize(at)(jnp.asarray(y, float))


model = Model.from_function(
    space,
    mapped,
    units={"exponential": "", "square": ""},
    name="pushforward",
    dims={"exponential": (), "square": ()},
)
