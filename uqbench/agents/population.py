"""Agents in arrays of a fixed capacity: where they are, what is in them, and which of the slots are alive."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ..annotations import AnyArray
from ..errors import InputError
from .kernel import inside, reflected, scatter

# Slots for which random numbers are drawn together; living agents fill the first ones, so that of a capacity that is
# far from reached most blocks are empty.
BLOCK = 4096


class Population(NamedTuple):
    """Agents; slots that are not alive have no content.

    Args:
        places: `(capacity, axes)`. content: `(capacity,)`, amount in each. alive: `(capacity,)`.
        refused: divisions for which there was no slot. outside: the most that were found outside of the box at once.
    """

    places: Float[Array, "capacity axes"]
    content: Float[Array, " capacity"]
    alive: Bool[Array, " capacity"]
    refused: Array
    outside: Array

    @property
    def living(self) -> Array:
        """How many are alive."""
        return jnp.sum(self.alive)


def placed(
    places: Float[AnyArray, "..."], capacity: int, extent: Sequence[float], content: float | Array = 0.0
) -> Population:
    """A population that starts at these places.

    Args:
        places: in the box; what is outside of it, and known only while the model runs, is counted in `outside`.
        capacity: slots, at least as many. extent: of the box. content: of each agent.

    Raises:
        InputError: with every finding: more agents than slots, places outside of the box, no or too few axes.

    Example:
        >>> int(placed(jnp.array([[0.2], [0.4]]), 8, (1.0,)).living)
        2
    """
    findings = []
    if jnp.ndim(places) != 2 or places.shape[1] != len(extent):
        findings.append(
            f"places have the shape {jnp.shape(places)} in a box of {len(extent)} axes; give (agents, axes)."
        )
    elif not isinstance(places, jax.core.Tracer):
        with jax.ensure_compile_time_eval():
            beyond = np.flatnonzero(~inside(jnp.asarray(places, float), extent))
        if beyond.size:
            first = ", ".join(f"{float(along):g}" for along in np.asarray(places)[beyond[0]])
            outside = f"{beyond.size} of {len(places)} agents are outside of the box of {tuple(extent)}"
            findings.append(f"{outside}, the first at ({first}).")
    if len(places) > capacity:
        findings.append(f"{len(places)} agents are more than the capacity of {capacity}; give a larger one.")
    if findings:
        raise InputError("agents", findings)
    places = jnp.asarray(places, float)
    free = capacity - len(places)
    amounts = jnp.broadcast_to(jnp.asarray(content, float), (len(places),))
    return Population(
        # free slots lie where others do: in sums over agents, where they count nothing, those of one cell are slow
        jnp.resize(places, (capacity, places.shape[1])) if len(places) else jnp.zeros((capacity, places.shape[1])),
        jnp.pad(amounts, (0, free)),
        jnp.arange(capacity) < len(places),
        jnp.zeros((), int),
        jnp.sum(~inside(places, extent)),
    )


def drawn(draw: Callable, key: PRNGKeyArray, alive: Bool[Array, " capacity"], *axes: int) -> Array:
    """Random numbers `(capacity, *axes)` of the slots, 0 in blocks of them in which none is alive.

    Args:
        draw: `draw(key, shape)`, such as `jax.random.normal`.
    """
    size = min(BLOCK, alive.size)
    count = -(-alive.size // size)
    populated = jnp.any(jnp.pad(alive, (0, count * size - alive.size)).reshape(count, size), axis=1)

    def block(_, item):
        number, any_alive = item
        numbers = lax.cond(
            any_alive,
            lambda: draw(jax.random.fold_in(key, number), (size, *axes)),
            lambda: jnp.zeros((size, *axes)),
        )
        return None, numbers

    _, numbers = lax.scan(block, None, (jnp.arange(count), populated))
    return numbers.reshape(count * size, *axes)[: alive.size]


def moved(
    agents: Population, key: PRNGKeyArray, diffusivity: float | Array, time: float | Array, extent: Sequence[float]
) -> Population:
    """Brownian motion over a time, reflected at the walls; exact in law away from them, whatever the time."""
    normal = drawn(jax.random.normal, key, agents.alive, agents.places.shape[1])
    steps = jnp.sqrt(2 * diffusivity * time) * normal
    places = jnp.where(agents.alive[:, None], reflected(agents.places + steps, extent), agents.places)
    # of those that something else has moved, or steps that are no numbers
    outside = jnp.sum(agents.alive & ~(inside(agents.places, extent) & inside(places, extent)))
    return agents._replace(places=places, outside=jnp.maximum(agents.outside, outside))


def divided(agents: Population, key: PRNGKeyArray, probability: float | Float[Array, " capacity"]) -> Population:
    """Each living agent divides with a probability; a daughter takes half of the content and starts at the same place.

    Where slots run out the agents that come last do not divide, which is counted in `refused`: nothing is lost.
    """
    wants = agents.alive & (drawn(jax.random.uniform, key, agents.alive) < probability)
    slots = jnp.arange(agents.alive.size, dtype=jnp.int32)
    turn = jnp.cumsum(wants, dtype=jnp.int32) - 1
    free = slots - jnp.cumsum(agents.alive, dtype=jnp.int32)
    # the n-th that divides puts its daughter into the n-th free slot
    born = ~agents.alive & (free <= turn[-1])
    divides = wants & (turn <= free[-1])
    mothers = jnp.zeros_like(slots).at[jnp.where(divides, turn, slots.size)].set(slots, mode="drop")
    mother = jnp.where(born, mothers[free], slots)
    content = jnp.where(divides, agents.content / 2, agents.content)
    return Population(
        agents.places[mother],
        content[mother],
        agents.alive | born,
        agents.refused + jnp.sum(wants & ~divides),
        agents.outside,
    )


def died(
    agents: Population,
    field: Float[Array, "*grid"],
    key: PRNGKeyArray,
    probability: float | Float[Array, " capacity"],
    extent: Sequence[float],
) -> tuple[Population, Float[Array, "*grid"]]:
    """Each living agent dies with a probability, and what was in it is released into the field where it was.

    Args:
        field: amounts in the cells of the grid, not concentrations.
    """
    dies = agents.alive & (drawn(jax.random.uniform, key, agents.alive) < probability)
    released = jnp.where(dies, agents.content, 0.0)
    left = agents._replace(content=agents.content - released, alive=agents.alive & ~dies)
    return left, field + scatter(released, agents.places, field.shape, extent)
