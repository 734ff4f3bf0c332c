"""How a run with agents ended: what can only be known while it runs has a code, whose results are then no results."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array

from ..errors import FIRST_OWN, Code
from .kernel import inside
from .population import Population


class Ending(Code):
    """How a run with agents ended."""

    SUCCESS = 0, "successful"
    CROWDED = (
        FIRST_OWN + 60,
        "more agents than slots: divisions were refused, though nothing was lost. Give a larger capacity, or a "
        "narrower prior of what makes agents many.",
    )
    OUTSIDE = (
        FIRST_OWN + 63,
        "agents were outside of the box, or at places that are no numbers, where there is no field to exchange with. "
        "Check where they start and what moves them; `moved` reflects them at the walls.",
    )


SENTENCES = {int(ending): ending.sentence for ending in Ending if ending}


def ending(agents: Population, extent: Sequence[float]) -> Array:
    """The code of a run that ends with these agents: 0, or one of `SENTENCES`.

    Example:
        >>> from uqbench.agents import placed
        >>> int(ending(placed(jnp.array([[0.2], [0.4]]), 8, (1.0,)), (1.0,)))
        0
    """
    outside = (agents.outside > 0) | jnp.any(agents.alive & ~inside(agents.places, extent))
    return jnp.where(outside, Ending.OUTSIDE, jnp.where(agents.refused > 0, Ending.CROWDED, Ending.SUCCESS))
