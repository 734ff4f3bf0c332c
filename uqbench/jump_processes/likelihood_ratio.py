"""Exact simulation that carries the score: the derivative of the log density of each trajectory by the parameters.

With a_j the propensities, a_0 their sum and t_i the times at which reactions j_i fire, the density of a trajectory up
to time t is the product of the a_{j_i} just before t_i, times exp(-int_0^t a_0 ds). Its score is

    S(t) = sum_i d log a_{j_i}(t_i) / d theta - int_0^t d a_0(s) / d theta ds,

and d E[f(X_t)] / d theta = E[f(X_t) S(t)] for any bounded f, those that jump included, such as indicators (Glynn 1990,
doi:10.1145/84537.84552; Plyasunov & Arkin 2007, doi:10.1016/j.jcp.2006.06.047). The variance of S grows with time.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from ..errors import InputError, Result
from .paths import Paths, any_anywhere, checked, depends_on_time, possible, running_sums
from .streams import Streams, exponential, random_bits, uniform

# (time, counts of each species, parameters) -> a propensity for each reaction.
ParametricRates = Callable[[Array, tuple[Array, ...], Array], Sequence[ArrayLike]]
RUNNING = -1


class _Place(NamedTuple):
    """One trajectory; `number` counts the numbers that it has taken from its stream."""

    counts: tuple[Array, ...]
    score: Array
    number: Array
    events: Array
    grid: Array
    remaining: Array
    code: Array


def simulate_with_score(
    rates: ParametricRates,
    parameters: ArrayLike,
    changes: ArrayLike,
    start: ArrayLike,
    times: ArrayLike,
    streams: Streams,
    *,
    max_events: int,
) -> tuple[Paths, Array]:
    """Trajectories with their scores: exact, as `exact.simulate`, but slower.

    Args:
        rates: `rates(t, y, parameters)`, differentiable by the parameters; it must not depend on time.
        parameters: (parameters,), the same for all trajectories. The start must not depend on them.
        changes, start, times, streams, max_events: as in `exact.simulate`.

    Returns:
        Paths, and the score of each up to each of the `times`, (trajectories, times, parameters); NaN where a
        trajectory did not arrive.

    Raises:
        InputError: see `paths.checked`; or a propensity depends on time.
    """
    values = jnp.asarray(parameters, jnp.float64)

    def at_values(t, y):
        return rates(t, y, values)

    changes, start, times = checked(at_values, changes, start, times, streams, max_events)
    if depends_on_time(at_values, changes.shape[1]):
        raise InputError("likelihood ratio", ["a propensity depends on time, which scores take no account of."])
    trajectories, species = start.shape
    spacing = jnp.append(jnp.diff(times), jnp.inf)
    rows = jnp.arange(trajectories)
    one_step = jax.vmap(lambda place, stream: _step(rates, values, changes, place, stream, spacing, max_events))

    def step(state):
        places, counts, scores = state
        before = places.grid
        places, arrived = one_step(places, streams)
        target = jnp.where(arrived, rows, trajectories)
        counts = counts.at[target, before].set(jnp.stack(places.counts, axis=-1), mode="drop")
        return places, counts, scores.at[target, before].set(places.score, mode="drop")

    zeros = jnp.zeros(trajectories, jnp.int64)
    first = _Place(
        counts=tuple(start.T),
        score=jnp.zeros((trajectories, len(values))),
        number=jnp.zeros(trajectories, jnp.uint32),
        events=zeros,
        grid=zeros,
        remaining=jnp.full(trajectories, times[0]),
        code=jnp.full(trajectories, RUNNING, jnp.int32),
    )
    counts, scores = (jnp.full((trajectories, len(times), width), jnp.nan) for width in (species, len(values)))
    last = lax.while_loop(lambda state: any_anywhere(state[0].code == RUNNING), step, (first, counts, scores))
    places, counts, scores = last
    return Paths(counts, places.code, places.events), scores


def _step(
    rates: ParametricRates, values: Array, changes: np.ndarray, place: _Place, stream: Streams, spacing, max_events
) -> tuple[_Place, Array]:
    """The next event of one trajectory, or the next time of the grid if that comes first; and whether it is reached."""

    def stacked(values):
        each = jnp.stack([jnp.asarray(a, jnp.float64) for a in rates(jnp.zeros(()), place.counts, values)])
        return each, each

    slopes, each = jax.jacfwd(stacked, has_aux=True)(values)
    slopes, each = lax.stop_gradient((slopes, each))
    sums = jnp.stack(running_sums([*each]))
    sound = possible(place.counts, [*each])
    bits = random_bits(stream, place.number)
    wait = jnp.where(sums[-1] > 0.0, exponential(bits) / jnp.where(sums[-1] > 0.0, sums[-1], 1.0), jnp.inf)
    running = (place.code == RUNNING) & sound
    # waiting times have no memory: after a time of the grid a new one begins
    arrived = running & (place.remaining < wait)
    fires = running & ~arrived
    reaction = jnp.sum(uniform(bits) * sums[-1] >= sums[:-1])
    passed = jnp.minimum(place.remaining, wait)
    fired = jnp.where(fires, slopes[reaction] / jnp.where(fires, each[reaction], 1.0), 0.0)
    score = place.score + jnp.where(running, fired - passed * slopes.sum(0), 0.0)
    change = jnp.where(fires, jnp.asarray(changes, jnp.float64)[reaction], 0.0)
    grid, events = place.grid + arrived, place.events + fires
    code = jnp.where(grid == len(spacing), int(Result.SUCCESS), RUNNING)
    code = jnp.where((code == RUNNING) & (events > max_events), int(Result.EVENT_LIMIT), code)
    code = jnp.where(sound, code, int(Result.BAD_PROPENSITY))
    after = _Place(
        counts=tuple(count + change[k] for k, count in enumerate(place.counts)),
        score=score,
        number=place.number + running.astype(jnp.uint32),
        events=events,
        grid=grid,
        remaining=jnp.where(arrived, jnp.take(spacing, place.grid, mode="clip"), place.remaining - passed),
        code=jnp.where(place.code == RUNNING, code, place.code).astype(jnp.int32),
    )
    return after, arrived
