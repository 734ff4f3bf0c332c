"""Samples of exp(-beta V) by overdamped Langevin dynamics, without the error of its steps.

A step of the dynamics, x - h dV/dx + sqrt(2 h/beta) xi, is a proposal that is accepted by Metropolis' rule (Roberts &
Tweedie 1996, doi:10.2307/3318418), so that the samples have the distribution itself at any step.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..annotations import AnyArray
from ..errors import InputError


class Draws(NamedTuple):
    """Places of every chain, and the share of proposals that was accepted."""

    places: Float[Array, "chains draws axes"]
    acceptance: Float[Array, ""]


def langevin(
    potential: Callable[[Array], Array],
    start: Float[AnyArray, "chains axes"],
    key: PRNGKeyArray,
    *,
    step: float,
    draws: int,
    beta: float | Array = 1.0,
    warmup: int = 200,
    thin: int = 1,
) -> Draws:
    """Chains of samples.

    Args:
        potential: V of a place (axes,), differentiable. start: where each chain begins; take places in every well.
        key: of the run, the same key the same samples. step: h, of which an acceptance near .6 is best.
        draws: kept for each chain. beta: inverse temperature. warmup: steps before the first. thin: steps for each.

    Raises:
        InputError: with every number that is not positive, and fewer than two chains, which could not be compared.

    Example:
        >>> key = jax.random.key(0)
        >>> langevin(lambda x: 0.5 * x @ x, jnp.zeros((4, 1)), key, step=1.0, draws=100).places.shape
        (4, 100, 1)
    """
    start = jnp.asarray(start, float)
    positive = {"step": step, "draws": draws, "thin": thin}
    findings = [f"{name} is {value}; give a positive number." for name, value in positive.items() if not value > 0]
    if warmup < 0:
        findings.append(f"warmup is {warmup}; give 0 or more.")
    if start.ndim != 2 or len(start) < 2:
        findings.append(f"start has the shape {start.shape}; give (chains, axes) with two chains or more.")
    if findings:
        raise InputError("Langevin dynamics", findings)
    keys = jax.random.split(key, len(start))
    beta = jnp.asarray(beta, float)
    run = partial(_chain, potential, float(step), beta, draws, warmup, thin)
    places, accepted = jax.vmap(run)(start, keys)
    return Draws(places, jnp.mean(accepted))


def _chain(potential, step: float, beta, draws: int, warmup: int, thin: int, start, key):
    slope = jax.value_and_grad(potential)

    def log_proposal(to, at, gradient):
        return -beta * jnp.sum((to - at + step * gradient) ** 2) / (4 * step)

    def move(state, key):
        place, energy, gradient = state
        noise, uniform = jax.random.split(key)
        to = place - step * gradient + jnp.sqrt(2 * step / beta) * jax.random.normal(noise, place.shape)
        energy_to, gradient_to = slope(to)
        ratio = -beta * (energy_to - energy) + log_proposal(place, to, gradient_to) - log_proposal(to, place, gradient)
        # a place without a finite energy is refused, as the comparison with NaN is false
        taken = jnp.log(jax.random.uniform(uniform)) < ratio
        new = (
            jnp.where(taken, to, place),
            jnp.where(taken, energy_to, energy),
            jnp.where(taken, gradient_to, gradient),
        )
        return new, taken

    def kept(state, key):
        state, taken = jax.lax.scan(move, state, jax.random.split(key, thin))
        return state, (state[0], jnp.mean(taken))

    first, later = jax.random.split(key)
    state, _ = jax.lax.scan(move, (start, *slope(start)), jax.random.split(first, warmup))
    _, (places, accepted) = jax.lax.scan(kept, state, jax.random.split(later, draws))
    return places, jnp.mean(accepted)
