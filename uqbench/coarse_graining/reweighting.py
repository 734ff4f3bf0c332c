"""Averages under another potential than the one that was sampled, and their derivatives.

Samples of exp(-beta U0) with the weights w ~ exp(-beta (U - U0)) are samples of exp(-beta U). Differentiated by the
parameters of U this gives gradients of observables without a derivative of the sampler (Thaler & Zavadlav 2021,
doi:10.1038/s41467-021-27241-4):

    d<O>/da = <dO/da> - beta (<O dU/da> - <O> <dU/da>).

The weights are worth 1 / sum(w^2) samples (Kish); where that is few, U is too far from what was sampled.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..annotations import AnyArray
from .averages import mean_with_error

# Fewer weighted samples than this say nothing of another potential.
LEAST_WEIGHTED = 50.0


class Reweighted(NamedTuple):
    """An average under another potential: value, standard error, and what weights and correlation leave of samples.

    Args:
        value: NaN where fewer than 50 weighted samples are left. error: NaN also where correlation leaves too few.
        weighted: 1 / sum(w^2). effective: independent samples that the estimate is worth.
    """

    value: Float[Array, ""]
    error: Float[Array, ""]
    weighted: Float[Array, ""]
    effective: Float[Array, ""]


class Gradient(NamedTuple):
    """d<O>/da by parameter, with standard errors; NaN as in `Reweighted`."""

    average: Reweighted
    value: dict[str, Array]
    error: dict[str, Array]


def weights_of(change: Float[AnyArray, "chains draws"], beta: float | Array = 1.0) -> Float[Array, "chains draws"]:
    """Weights of samples, of sum 1, for a change U - U0 of the potential of each."""
    change = jnp.asarray(change, float)
    return jax.nn.softmax(-beta * change.ravel()).reshape(change.shape)


def reweighted(
    observable: Float[AnyArray, "chains draws"], change: Float[AnyArray, "chains draws"], beta: float | Array = 1.0
) -> Reweighted:
    """The average of an observable under another potential, differentiable by both arguments.

    Args:
        observable: its value at each sample. change: U - U0 at each sample, in units of 1/beta. beta: inverse
            temperature of both.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (4, 2000))
        >>> found = reweighted(x**2, 0.1 * x**2)
        >>> bool(abs(found.value - 1 / 1.2) < 4 * found.error)
        True
    """
    observable = jnp.asarray(observable, float)
    weights = weights_of(change, beta)
    weighted = 1.0 / jnp.sum(weights**2)
    value = jnp.sum(weights * observable)
    average = mean_with_error(weights.size * weights * (observable - value))
    known = weighted >= LEAST_WEIGHTED
    return Reweighted(
        jnp.where(known, value, jnp.nan), jnp.where(known, average.error, jnp.nan), weighted,
        jnp.minimum(weighted, average.effective),
    )  # fmt: skip


def reweighted_gradient(
    observable: Callable[[Array, Mapping[str, Array]], Array],
    potential: Callable[[Array, Mapping[str, Array]], Array],
    places: Float[AnyArray, "chains draws axes"],
    sampled: Mapping[str, float | Array],
    theta: Mapping[str, float | Array],
    beta: float | Array = 1.0,
) -> Gradient:
    """An average and its derivatives by the parameters of the potential.

    Args:
        observable: O(place, theta). potential: U(place, theta). places: samples of exp(-beta U(., sampled)).
        sampled: parameters under which they were drawn. theta: where average and derivatives are asked for.
        beta: inverse temperature.

    Returns:
        average and gradient, each with the standard error of the samples.
    """
    theta = {name: jnp.asarray(value, float) for name, value in theta.items()}
    sampled = {name: jnp.asarray(value, float) for name, value in sampled.items()}
    flat = jnp.asarray(places, float).reshape(-1, jnp.shape(places)[-1])
    shape = jnp.shape(places)[:2]

    def over(function, at):
        return jax.tree.map(lambda each: each.reshape(shape), jax.vmap(lambda place: function(place, at))(flat))

    values, slopes = over(observable, theta), over(jax.grad(observable, 1), theta)
    energies = over(jax.grad(potential, 1), theta)
    change = over(potential, theta) - over(potential, sampled)
    average = reweighted(values, change, beta)
    weights = weights_of(change, beta)
    gradient, errors = {}, {}
    for name in theta:
        apart = energies[name] - jnp.sum(weights * energies[name])
        terms = slopes[name] - beta * (values - jnp.sum(weights * values)) * apart
        total = jnp.sum(weights * terms)
        found = mean_with_error(weights.size * weights * (terms - total))
        gradient[name] = jnp.where(jnp.isnan(average.value), jnp.nan, total)
        errors[name] = jnp.where(jnp.isnan(average.value), jnp.nan, found.error)
    return Gradient(average, gradient, errors)
