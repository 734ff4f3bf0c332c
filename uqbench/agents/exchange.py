"""Uptake and secretion: what leaves the field enters the agents, and the other way round, to rounding."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from .kernel import gather, scatter
from .population import Population


def taken_up(
    agents: Population,
    field: Float[Array, "*grid"],
    clearance: float | Float[Array, " capacity"],
    time: float | Array,
    extent: Sequence[float],
) -> tuple[Population, Float[Array, "*grid"]]:
    """Agents clear the field around them over a time, at the rate clearance times concentration.

    In each cell of the grid agents compete: together they leave exp(-time sum of clearances / volume) of what is there,
    and each gets its part of the rest. So the field never becomes negative, and with agents that rest in a field that
    does not diffuse no time is too long.

    Args:
        field: amounts in the cells of the grid, not concentrations. clearance: volume cleared per time by an agent.
    """
    volume = jnp.prod(jnp.asarray(extent, float)) / field.size
    strength = jnp.where(agents.alive, clearance, 0.0)
    cleared = scatter(strength, agents.places, field.shape, extent)
    taken = -field * jnp.expm1(-cleared * time / volume)
    # what one unit of clearance got in each cell
    each = taken / jnp.where(cleared > 0, cleared, 1.0)
    return agents._replace(content=agents.content + strength * gather(each, agents.places, extent)), field - taken


def secreted(
    agents: Population,
    field: Float[Array, "*grid"],
    amount: Float[Array, " capacity"],
    extent: Sequence[float],
) -> tuple[Population, Float[Array, "*grid"]]:
    """Living agents put an amount each into the field around them, no more than they have."""
    given = jnp.where(agents.alive, jnp.minimum(amount, agents.content), 0.0)
    left = agents._replace(content=agents.content - given)
    return left, field + scatter(given, agents.places, field.shape, extent)


def density(agents: Population, shape: Sequence[int], extent: Sequence[float]) -> Float[Array, "*grid"]:
    """Living agents per volume, by the kernel."""
    counted = scatter(agents.alive.astype(float), agents.places, shape, extent)
    return counted * counted.size / jnp.prod(jnp.asarray(extent, float))
