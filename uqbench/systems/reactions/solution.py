"""The master equation of a network in a box, at the times of a design and, at the time inf, at rest."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ...annotations import Values
from ...design import Design
from ...master_equation.stationary import stationary_distribution
from ...master_equation.transient import distribution
from .states import States


class Solution(NamedTuple):
    """Probabilities of the states of a box at each time.

    Args:
        lost: what has left the box; at rest, where nothing leaves it, what is in the states from which it would.
        code: of `master_equation.Ending`.
        products: with the generator.
    """

    probability: Float[Array, "times states"]
    lost: Float[Array, " times"]
    code: Int[Array, ""]
    products: Int[Array, ""]


def solution(
    states: States,
    theta: Values,
    design: Design,
    start: Float[Array, " independent"],
    shape: tuple[int, ...],
    **settings,
) -> Solution:
    """Traceable.

    Args:
        start: counts of the independent species.
        settings: of `master_equation.distribution`.
    """
    rates, times = states.rates_from(theta, design), jnp.asarray(design.times) - design.start
    ends = jnp.isinf(times)
    # what is integrated goes on to the last finite time
    finite = jnp.where(ends, jnp.max(jnp.where(ends, 0.0, times)), times) if design.settles else times
    found = distribution(rates, states.changes, start, finite, shape, **settings)
    probability = found.probability.reshape(len(times), -1)
    if not design.settles:
        return Solution(probability, found.leaked, found.code, found.products)
    rest = stationary_distribution(rates, states.changes, shape)
    probability = jnp.where(ends[:, None], rest.probability.reshape(1, -1), probability)
    lost = jnp.where(ends, rest.edge, found.leaked)
    return Solution(probability, lost, jnp.where(found.code == 0, rest.code, found.code), found.products)
