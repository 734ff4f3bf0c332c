"""Two processes that fire together as often as they can, for derivatives of expectations by finite differences.

In the split coupling (Anderson 2012, doi:10.1137/110849079) each reaction is three: one that fires in both processes,
with the lesser of the two propensities, and one in each alone, with what is left. Each process by itself has its law
unchanged, but the difference of the two varies far less than with independent ones, or with the same numbers for both.
The pair is a jump process again, so whatever simulates one simulates it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from .exact import simulate
from .paths import Paths, Rates
from .streams import Streams


def coupled(one: Rates, other: Rates, changes: ArrayLike) -> tuple[Rates, np.ndarray]:
    """The pair of two processes with the same changes, (reactions, species).

    Returns:
        Its propensities, of the counts of the first process followed by those of the second: of all reactions in both,
        then in the first alone, then in the second alone; and its changes (3 reactions, 2 species).
    """
    changes = np.asarray(changes)
    species = changes.shape[1]

    def rates(t, y):
        pairs = [
            (jnp.asarray(a, jnp.float64), jnp.asarray(b, jnp.float64))
            for a, b in zip(one(t, y[:species]), other(t, y[species:]), strict=True)
        ]
        # propensities that fail in one process must not hide behind the other's: the differences tell
        both = [jnp.minimum(a, b) for a, b in pairs]
        return (
            *both,
            *(a - c for (a, _), c in zip(pairs, both, strict=True)),
            *(b - c for (_, b), c in zip(pairs, both, strict=True)),
        )

    none = np.zeros_like(changes)
    return rates, np.block([[changes, changes], [changes, none], [none, changes]])


class Derivative(NamedTuple):
    """The derivative of an expectation, (...) like the measure's rest.

    Attributes:
        value: estimate; its expectation is the central difference, right to second order in the step.
        error: standard error.
        paths: the pairs of trajectories, species of the lower process first.
    """

    value: Array
    error: Array
    paths: Paths


def coupled_difference(
    rates: Callable[[ArrayLike], Rates],
    value: ArrayLike,
    changes: ArrayLike,
    start: ArrayLike,
    times: ArrayLike,
    streams: Streams,
    measure: Callable[[Array], Array],
    *,
    step: ArrayLike,
    max_events: int,
) -> Derivative:
    """d E[measure] / d parameter, by a central difference of coupled pairs of trajectories.

    The variance of the estimate grows like 1 / step, its bias like step^2; the standard error knows of the first only.

    Args:
        rates: the parameter's value -> propensities `(t, y)`.
        value: the parameter, a number.
        start: (trajectories, species), the same for both processes of a pair.
        measure: counts (trajectories, times, species) -> (trajectories, ...).
        step: the processes differ by this much, half of it to either side.
        changes, times, streams, max_events: as in `exact.simulate`; max_events counts those of the pair.
    """
    pair, pair_changes = coupled(rates(value - 0.5 * step), rates(value + 0.5 * step), changes)
    start = jnp.asarray(start, jnp.float64)
    both = jnp.concatenate([start, start], axis=1)
    paths = simulate(pair, pair_changes, both, times, streams, max_events=max_events)
    low, high = jnp.split(paths.counts, 2, axis=-1)
    slopes = (jnp.asarray(measure(high), jnp.float64) - jnp.asarray(measure(low), jnp.float64)) / step
    return Derivative(slopes.mean(0), slopes.std(0) / len(slopes) ** 0.5, paths)
