"""The density of a map of one input, by change of variables, also where the map is many-to-one.

Where the map g is known and has one input, Y = g(X) has the density f_Y(y) = sum over all x with g(x) = y of
f_X(x) / abs(g'(x)) (Federer 1969, the area formula, doi:10.1007/978-3-642-62010-2). The preimages are found between
neighbours of a grid of quantiles. At a fold, where g' changes its sign, two preimages meet and the density has a pole;
the grid is split there, so that g is monotone in every cell and none of a pair is missed.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ...distributions.base import Distribution
from ...errors import InputError

# Bisections that take a cell of the grid, at most some units wide, to the rounding of a double.
BISECTIONS = 60
EDGE_EXPONENT = 52
BATCH = 64
# A slope that is smaller than this, relative to its cell, belongs to a fold and not to a kink.
FLAT = 1e-7
TINY = np.finfo(float).tiny


def pushforward_density(
    function: Callable,
    dist: Distribution,
    y,
    values: Mapping[str, float] | None = None,
    *,
    cells: int = 1024,
) -> xr.Dataset:
    """Density of function(X) at `y`, for a scalar X with the distribution `dist`, by change of variables.

    For derivatives by `y` or `values`, use `change_of_variables`, which returns JAX arrays.

    Args:
        function: the map from a number to a number, differentiable by JAX. A module-level function compiles once.
        dist: distribution of X, not discrete.
        y: `(...)`, where the density is asked for, in units of the map; a DataArray keeps its labels, a list becomes
            the coordinate `y`.
        values: what names in `dist` stand for; numbers.
        cells: of the grid, equal in probability; in the tails further cells halve it down to 2^-52. Two folds within
            one cell are missed.

    Returns:
        `density` in 1 / unit of the map, zero where nothing is mapped and infinite at a fold, and `preimages`, their
        number; both of the shape of `y`. The attribute `flat_probability` is that of the cells on which the map does
        not change in double precision: it is missing from the density.

    Raises:
        InputError: with every finding: a discrete or unresolved distribution, a map that is not finite, bad settings.

    Example:
        >>> from uqbench import Normal
        >>> round(float(pushforward_density(jnp.square, Normal(0.0, 1.0), 1.0).density), 10)
        0.2419707245
    """
    values = dict(values or {})
    findings = _map_findings(function, dist, y, values, cells)
    if findings:
        raise InputError("pushforward_density", findings)
    where = y if isinstance(y, xr.DataArray) else _labelled(np.asarray(y, float))
    # Whole batches, so that another number of values is seldom compiled again.
    padded = np.pad(where.values.astype(float).ravel(), (0, -where.size % BATCH), constant_values=np.nan)
    *columns, flat = change_of_variables(function, dist, padded, values, cells=cells)
    density, preimages = (np.asarray(column)[: where.size].reshape(where.shape) for column in columns)
    data = {"density": (where.dims, density), "preimages": (where.dims, preimages)}
    attrs = {"estimator": "change of variables", "cells": cells, "flat_probability": float(flat)}
    return xr.Dataset(data, where.coords, attrs=attrs).assign_coords(y=(where.dims, where.values))


@jax.jit(static_argnames=("function", "dist", "cells"))
def change_of_variables(function, dist, y, values=None, *, cells=1024):
    """The arrays behind `pushforward_density`: density, number of preimages, and the probability of flat cells.

    Args:
        function, dist, y, values, cells: as there, but nothing is checked.

    Returns:
        density and preimages `(...)` and one number. First derivatives of the density by `y` and `values` are exact:
        the bisection is not differentiated, a Newton step from its end is (implicit differentiation).

    Example:
        >>> from uqbench import Normal
        >>> float(change_of_variables(jnp.square, Normal(0.0, 1.0), 4.0)[1])
        2.0
    """
    values = values or {}
    f, slope = jnp.vectorize(function), jnp.vectorize(jax.grad(function))
    nodes, flat = jax.lax.stop_gradient(_monotone_cells(f, slope, dist, values, cells))
    images, slopes = f(nodes), jnp.abs(slope(nodes))
    rise = jnp.abs(jnp.diff(images))
    secant = rise / jnp.where(jnp.diff(nodes) > 0, jnp.diff(nodes), 1.0)
    around = jnp.maximum(jnp.append(secant, 0.0), jnp.append(0.0, secant))
    pole = slopes <= FLAT * around
    # An image is known to its own rounding, and to that of a square where the fold is.
    blur = jnp.finfo(float).eps * jnp.maximum(jnp.abs(images), jnp.maximum(jnp.append(rise, 0), jnp.append(0, rise)))

    def at(y):
        below = images <= y
        touched = pole & (jnp.abs(images - y) <= blur)
        found = (below[:-1] != below[1:]) & ~touched[:-1] & ~touched[1:]
        root = _bisected(lambda x: (f(x) <= y) == below[:-1], nodes[:-1], nodes[1:])
        root = jax.lax.stop_gradient(jnp.where(found, root, nodes[1:]))
        steep = jnp.where(found, slope(root), 1.0)
        step = jnp.where(found, (y - f(root)) / jnp.where(steep == 0, 1.0, steep), 0.0)
        root = root + step - jax.lax.stop_gradient(step)
        share = jnp.exp(dist.logpdf(root, values)) / jnp.where(found, jnp.abs(slope(root)), 1.0)
        total = jnp.where(touched.any(), jnp.inf, jnp.sum(jnp.where(found, share, 0.0)))
        return jnp.where(jnp.isnan(y), jnp.nan, total), found.sum() + touched[0] + jnp.sum(touched[1:] & ~touched[:-1])

    # whole batches only: what is left over would be compiled a second time
    y = jnp.asarray(y, float)
    width = min(BATCH, max(y.size, 1))
    batches = jnp.pad(y.ravel(), (0, -y.size % width), constant_values=jnp.nan).reshape(-1, width)
    density, preimages = (each.ravel()[: y.size].reshape(y.shape) for each in jax.lax.map(jax.vmap(at), batches))
    return density, preimages, flat


def _monotone_cells(f, slope, dist, values, cells: int):
    """Nodes between which `f` is monotone, and the probability of the cells where it does not change at all.

    Every cell of the grid of quantiles becomes two, whose common node is the fold or, without one, the left end.
    """
    tail = 2.0 ** -jnp.arange(EDGE_EXPONENT, np.log2(cells), -1.0)
    levels = jnp.concatenate([tail, jnp.linspace(0.0, 1.0, cells + 1)[1:-1], 1 - tail[::-1]])
    grid = dist.ppf(levels, values)
    for end, bound in zip((0, -1), dist.support(values), strict=True):
        usable = jnp.isfinite(bound)
        there = jnp.where(usable, bound, grid[end])
        grid = grid.at[end].set(jnp.where(jnp.isfinite(f(there)) & ~jnp.isnan(slope(there)), there, grid[end]))
    sign, image = jnp.sign(slope(grid)), f(grid)
    folded = sign[:-1] * sign[1:] < 0
    fold = _bisected(lambda x: jnp.sign(slope(x)) == sign[:-1], grid[:-1], grid[1:])
    split = jnp.where(folded, fold, grid[:-1])
    nodes = jnp.append(jnp.stack([grid[:-1], split], axis=1).ravel(), grid[-1])
    middle = slope(grid[:-1] / 2 + grid[1:] / 2)
    still = (image[:-1] == image[1:]) & (sign[:-1] == 0) & (sign[1:] == 0) & (middle == 0)
    return nodes, jnp.sum(jnp.where(still, jnp.diff(levels), 0.0))


def _bisected(like_left, left, right):
    """Where the predicate, true at `left`, turns false."""

    def halve(_, bracket):
        left, right = bracket
        middle = left / 2 + right / 2
        same = like_left(middle)
        return jnp.where(same, middle, left), jnp.where(same, right, middle)

    left, right = jax.lax.fori_loop(0, BISECTIONS, halve, (left, right))
    return left / 2 + right / 2


def _labelled(y: np.ndarray) -> xr.DataArray:
    dims = ("y",) if y.ndim == 1 else tuple(f"y_{i}" for i in range(y.ndim))
    return xr.DataArray(y, dims=dims)


def _map_findings(function, dist, y, values, cells) -> list[str]:
    findings = []
    if int(cells) != cells or cells < 2:
        findings.append(f"cells is {cells}; give a whole number, at least 2, better 1024.")
    if np.asarray(y).dtype.kind not in "fiub":
        findings.append(f"y holds {np.asarray(y).dtype}; give real numbers.")
    if not isinstance(dist, Distribution):
        return [*findings, f"dist is {dist!r}; give a uqbench distribution, e.g. Normal(0.0, 1.0)."]
    if dist.discrete:
        return [*findings, f"{dist!r} is discrete and has no density; map its values and keep their probabilities."]
    missing = [name for name in dist.names if name not in values]
    if missing:
        return [*findings, f"{dist!r} needs a value for {', '.join(map(repr, missing))}; give it in `values`."]
    shaped = [name for name in dist.names if np.ndim(values[name])]
    if shaped:
        return [*findings, f"values of {', '.join(map(repr, shaped))} are arrays; give one number and map over them."]
    middle = np.asarray(dist.ppf(jnp.linspace(0.01, 0.99, 99), values))
    if not np.isfinite(middle).all():
        return [*findings, f"{dist!r} is impossible with {values}; give arguments in their domain."]
    shape = jax.eval_shape(function, jnp.asarray(0.0)).shape
    if shape != ():
        return [*findings, f"function returns shape {shape} for a number; it must return one number."]
    wrong = middle[~np.isfinite(np.asarray(jax.vmap(function)(jnp.asarray(middle)), float))]
    if wrong.size:
        findings.append(
            f"function is not finite at {wrong.size} of 99 quantiles of {dist!r}, e.g. at {wrong[0]:.6g}; give it a "
            "distribution on which it is defined."
        )
    return findings
