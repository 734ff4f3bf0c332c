"""Coarse potentials on a basis, U(x; c) = sum_k c_k phi_k(x), by force matching and by relative entropy.

Force matching makes the mean square of dV/dx - dU/dx least (Noid et al. 2008, doi:10.1063/1.2938860): linear equations
of the slopes of the basis. Relative entropy makes KL(p || p_U) least (Shell 2008, doi:10.1063/1.2992060), with p the
density of the coarse coordinates and p_U ~ exp(-beta U): the means of the basis become those under p, and the problem
is convex. Where the basis holds the potential of mean force both find it; on a restricted basis they differ, and the
divergence of each says what it costs.

Both take a set of points with weights (the nodes of a quadrature) or samples of chains; of samples they give the
covariance of the coefficients.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..annotations import AnyArray
from .averages import mean_covariance
from .quadrature import Box, log_integral

# phi(x) of one place (axes,) -> (terms,), without a constant.
Basis = Callable[[Array], Array]
NEWTON_STEPS = 100
# Condition of the scaled matrix beyond which terms of a basis cannot be told apart.
LARGEST_CONDITION = 1e12
# Share of p_U that may lie at the faces of the box, about, before U is taken for one that does not confine.
LARGEST_ERROR = 1e-6


class Fit(NamedTuple):
    """Coefficients, in units of energy over those of the terms, and their covariance (0 from quadrature).

    All NaN where there is no answer: terms that depend on one another, a minimum that was not reached, a coarse
    potential that does not confine to the box, too few effective samples (then the covariance alone).
    """

    coefficients: Float[Array, " terms"]
    covariance: Float[Array, "terms terms"]


class Divergence(NamedTuple):
    """KL(p || p_U) in nats, its standard error from that of the coefficients, and what their errors add to it on
    average; NaN where U does not confine to the box."""

    value: Float[Array, ""]
    error: Float[Array, ""]
    excess: Float[Array, ""]


def match_forces(
    basis: Basis, x: Float[AnyArray, "... axes"], slopes: Float[AnyArray, "... axes"], weights=None
) -> Fit:
    """Force matching.

    Args:
        basis: phi(x). x: coarse places, (points, axes) with weights or (chains, draws, axes).
        slopes: dV/dx there, of the fine potential at each sample, or of the potential of mean force (the same means).
        weights: probability of each point; None: samples.

    Example:
        >>> x = jnp.linspace(-1.0, 1.0, 9)[:, None]
        >>> match_forces(lambda x: x**2, x, 6 * x, jnp.ones(9) / 9).coefficients.round(6).tolist()
        [3.0]
    """
    x, slopes = jnp.asarray(x, float), jnp.asarray(slopes, float)
    jacobians = _over(jax.jacfwd(basis), x)
    products = jacobians @ slopes[..., None]
    squares = jacobians @ jnp.swapaxes(jacobians, -1, -2)
    matrix, target = _mean(squares, weights, 2), _mean(products[..., 0], weights, 1)
    coefficients = _solved(matrix, target)
    if weights is not None:
        return Fit(coefficients, jnp.zeros_like(matrix))
    residuals = products[..., 0] - squares @ coefficients
    return Fit(coefficients, _sandwich(matrix, mean_covariance(residuals)))


def minimise_relative_entropy(
    basis: Basis, x: Float[AnyArray, "... axes"], rule: Box, beta: float | Array = 1.0, weights=None
) -> Fit:
    """Relative entropy.

    Args:
        basis: phi(x). x: coarse places, (points, axes) with weights or (chains, draws, axes). rule: the box over which
            p_U is integrated. beta: inverse temperature. weights: probability of each point; None: samples.

    Returns:
        the coefficients, differentiable by x, weights and beta (by the implicit function theorem).

    Example:
        >>> from uqbench.coarse_graining import box
        >>> rule = box([(-8.0, 8.0)])
        >>> density = jnp.exp(-rule.places[:, 0] ** 2) * rule.volumes
        >>> weights = density / density.sum()
        >>> minimise_relative_entropy(lambda x: x**2, rule.places, rule, 1.0, weights).coefficients.round(6).tolist()
        [1.0]
    """
    values = _over(basis, jnp.asarray(x, float))
    target = _mean(values, weights, 1)
    at_nodes = _over(basis, jnp.asarray(rule.places))
    coefficients = _matching_means(at_nodes, target, rule, beta)
    matrix = _spread(at_nodes, coefficients, rule, beta)[1] * beta
    if weights is not None:
        return Fit(coefficients, jnp.zeros_like(matrix))
    return Fit(coefficients, _sandwich(matrix, mean_covariance(values)))


def divergence(
    fit: Fit, basis: Basis, mean_force: Float[AnyArray, " nodes"], rule: Box, beta: float | Array = 1.0
) -> Divergence:
    """KL(p || p_U) of a fit, by quadrature.

    Args:
        fit: of coefficients. basis: phi(x). mean_force: F at the nodes of `rule`. rule: the box. beta: inverse
            temperature.
    """
    at_nodes = _over(basis, jnp.asarray(rule.places))
    log_p = -beta * jnp.asarray(mean_force)
    log_p = log_p - log_integral(log_p, rule)[0]
    coarse = -beta * (at_nodes @ fit.coefficients)
    log_norm, outside = log_integral(coarse, rule)
    p = rule.volumes * jnp.exp(log_p)
    value = jnp.sum(p * (log_p - coarse + log_norm))
    mean, spread = _spread(at_nodes, fit.coefficients, rule, beta)
    slope = beta * (p @ at_nodes - mean)
    curved = beta**2 * spread @ fit.covariance
    error = jnp.sqrt(slope @ fit.covariance @ slope + 0.5 * jnp.trace(curved @ curved))
    found = Divergence(value, error, 0.5 * jnp.trace(curved))
    return jax.tree.map(lambda each: jnp.where(outside <= LARGEST_ERROR, each, jnp.nan), found)


def _matching_means(at_nodes: Array, target: Array, rule: Box, beta) -> Array:
    """Coefficients under which the basis has the means `target`: Newton's method, with the best of halved steps."""
    still = jax.lax.stop_gradient((target, jnp.asarray(beta, float)))

    def objective(c):
        target, beta = still
        return beta * c @ target + log_integral(-beta * (at_nodes @ c), rule)[0]

    def newton(c, target, beta):
        mean, spread = _spread(at_nodes, c, rule, beta)
        return _solved(spread * beta, mean - target)

    def unfinished(state):
        _, change, count = state
        return (change > 1e-13) & (count < NEWTON_STEPS)

    def step(state):
        c, _, count = state
        full = newton(c, *still)
        shares = 0.5 ** jnp.arange(20)
        values = jax.vmap(lambda share: objective(c + share * full))(shares)
        share = shares[jnp.nanargmin(jnp.where(jnp.isfinite(values), values, jnp.inf))]
        change = jnp.max(jnp.abs(full) / (1.0 + jnp.abs(c)))
        # close to the minimum its values are all the same to rounding
        share = jnp.where(change < 1e-4, 1.0, share)
        return c + share * full, change, count + 1

    start = (jnp.zeros_like(target), jnp.array(jnp.inf), jnp.zeros((), int))
    c, change, _ = jax.lax.while_loop(unfinished, step, start)
    c = jax.lax.stop_gradient(c)
    # one step more changes nothing but the derivative
    c = c + newton(c, target, beta)
    outside = log_integral(-still[1] * (at_nodes @ c), rule)[1]
    return jnp.where((change <= 1e-10) & (outside <= LARGEST_ERROR), c, jnp.nan)


def _spread(at_nodes: Array, coefficients: Array, rule: Box, beta) -> tuple[Array, Array]:
    """Means and covariance of the basis under p_U."""
    logarithm = -beta * (at_nodes @ coefficients)
    p = jnp.exp(logarithm - log_integral(logarithm, rule)[0]) * jnp.asarray(rule.volumes)
    mean = p @ at_nodes
    apart = at_nodes - mean
    return mean, (p[:, None] * apart).T @ apart


def _over(function: Callable, x: Array) -> Array:
    """A function of one place, at an array of places."""
    flat = jax.vmap(function)(x.reshape(-1, x.shape[-1]))
    return flat.reshape(*x.shape[:-1], *flat.shape[1:])


def _mean(values: Array, weights, trailing: int) -> Array:
    if weights is None:
        return jnp.mean(values, axis=tuple(range(values.ndim - trailing)))
    return jnp.tensordot(jnp.asarray(weights), values, axes=1)


def _solved(matrix: Array, target: Array) -> Array:
    """Solution of a symmetric system in scaled unknowns; NaN where terms depend on one another."""
    scale = jnp.sqrt(jnp.diag(matrix))
    scaled = matrix / jnp.outer(scale, scale)
    condition = jnp.linalg.cond(jax.lax.stop_gradient(scaled))
    solution = jnp.linalg.solve(scaled, target / scale) / scale
    return jnp.where(condition < LARGEST_CONDITION, solution, jnp.nan)


def _sandwich(matrix: Array, middle: Array) -> Array:
    inverse = jnp.linalg.inv(matrix)
    return inverse @ middle @ inverse.T
