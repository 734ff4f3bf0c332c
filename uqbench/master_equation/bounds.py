"""How large a box of counts has to be, found on the host by solving in boxes that grow."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..annotations import AnyArray
from ..errors import InputError
from .box import Box, Rates, box_of, rates_of_states, sound
from .codes import SENTENCES
from .transient import MAX_PRODUCTS, Distribution, distribution

# Counts more, at least and in parts of those there are, for a species whose limit loses probability; it does where it
# loses this part of what the worst one loses.
FEWEST, MORE, PART = 4, 0.4, 0.01
# Times between two outputs at which the loss through each face is looked at.
BETWEEN = 8


class Bounds(NamedTuple):
    """A box that holds enough of the probability, or the largest that was allowed.

    Args:
        shape: states of each species.
        leaked: what leaves it until the last time.
        wanted: the shape that would have come next where the limit of states was met, else `shape`.
        enough: whether `leaked` is within the tolerance.
    """

    shape: tuple[int, ...]
    leaked: float
    wanted: tuple[int, ...]
    enough: bool


def bounds_for(
    rates: Rates,
    changes: AnyArray,
    start: AnyArray,
    times: AnyArray,
    tolerance: float = 1e-8,
    *,
    start_time: float = 0.0,
    largest: tuple[float, ...] | None = None,
    breaks: AnyArray | Sequence[float] = (),
    max_states: int = 1_000_000,
    max_products: int = MAX_PRODUCTS,
) -> Bounds:
    """Grow a box until what leaves it until the last time is below the tolerance.

    Each species grows for itself, by the share of the loss through its own face.

    Args:
        rates, changes, start, times, start_time, breaks, max_products: as for `distribution`; `start` as counts.
        tolerance: probability that may leave.
        largest: counts that no species can exceed, from conservation laws (`Independent.largest`).
        max_states: limit of the number of states.

    Raises:
        InputError: where the solution in a box fails; the sentence of its code says why.
    """
    changes, start = np.asarray(changes), np.asarray(start)
    limits = np.array(largest if largest is not None else [np.inf] * len(start))
    grid = _refined(start_time, np.asarray(times, float))
    upper = np.minimum(start + 2 * FEWEST + np.ceil(3 * np.sqrt(start)), limits).astype(int)

    while True:
        shape = tuple(int(each) + 1 for each in upper)
        solve = jax.jit(
            lambda shape=shape: distribution(
                *(rates, changes, start, grid, shape),
                start_time=start_time,
                tolerance=tolerance / 100,
                breaks=breaks,
                max_products=max_products,
            )
        )
        found = solve()
        if int(found.code):
            raise InputError(f"box of {shape} states", [SENTENCES[int(found.code)]])
        leaked = float(found.leaked[-1])
        if leaked <= tolerance:
            return Bounds(shape, leaked, shape, True)
        following = _grown(upper, limits, _losses(rates, changes, box_of(changes, shape), found, grid))
        wanted = tuple(int(each) + 1 for each in following)
        if math.prod(wanted) > max_states:
            return Bounds(shape, leaked, wanted, False)
        upper = following


def _refined(start_time: float, times: np.ndarray) -> np.ndarray:
    ends = np.concatenate([[start_time], times])
    inner = [np.linspace(a, b, BETWEEN + 1)[1:] for a, b in pairwise(ends)]
    return np.concatenate(inner)


def _losses(rates: Rates, changes: np.ndarray, box: Box, found: Distribution, grid: np.ndarray) -> np.ndarray:
    """Probability that leaves through the upper limit of each species `(species,)`, by a sum over the grid."""
    counts = np.stack(box.counts())
    upper = np.array(box.shape)[:, None]
    through = np.stack([counts + change[:, None] >= upper for change in changes.astype(float)], axis=1)

    def flux(t, row: Float[Array, " states"]):
        values, _ = sound(rates_of_states(rates, t, tuple(counts), len(changes)))
        return jnp.sum(through * values * row, axis=(1, 2))

    rows = found.probability.reshape(len(grid), -1)
    fluxes = jax.jit(jax.vmap(flux))(jnp.asarray(grid), rows)
    return np.asarray(fluxes).T @ np.diff(grid, prepend=grid[0] - (grid[-1] - grid[0]) / len(grid))


def _grown(upper: np.ndarray, limits: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Limits for the next box: species grow whose own face loses a part of the largest loss."""
    # a loss that no face shows (all of it between two times of the grid) lets all of them grow
    grows = (losses >= PART * losses.max()) & (upper < limits)
    extent = np.maximum(FEWEST, np.ceil(MORE * upper))
    return np.minimum(np.where(grows, upper + extent, upper), limits).astype(int)
