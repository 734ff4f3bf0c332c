"""Exact simulation of jump processes (Gillespie 1977, doi:10.1021/j100540a008), many trajectories side by side.

Trajectories fire one event each in every step of a loop, in arrays with an element for each of `LANES` places. A loop
of `BLOCK` such steps notes times and reactions; after it the counts at the times of the grid that were passed are made
from these notes, places whose trajectory has ended take the next one, and what a place did beyond the end is dropped.
So neither the grid nor the end costs anything within the loop, and no trajectory waits at a time of the grid for the
others.

Time is measured from the beginning of each block, and the next time of the grid as what remains to it: the digits of a
waiting time are lost neither late nor on long grids. Waiting times have the accuracy that `streams.exponential` states;
a reaction is chosen with its probability to 2^-52.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from ..errors import InputError, Result
from . import time_dependent
from .paths import Paths, Rates, any_anywhere, changed, checked, depends_on_time, possible, propensities, running_sums
from .streams import Streams, exponential, random_bits, uniform

# Trajectories side by side, and events between two looks at the grid: what they note fits into a small cache.
LANES = 1024
BLOCK = 32


class _Places(NamedTuple):
    """What goes on in each place (places,), and the results so far."""

    counts: tuple[Array, ...]
    # number of the trajectory, that of all trajectories where there is none; events that it has fired
    trajectory: Array
    events: Array
    # next time of the grid, and what remains until then
    grid: Array
    remaining: Array
    code: Array
    # what else the propensities of the trajectory depend on
    own: tuple
    # the first trajectory that no place has taken yet
    waiting: Array
    paths: Paths


def simulate(
    rates: Rates,
    changes: ArrayLike,
    start: ArrayLike,
    times: ArrayLike,
    streams: Streams,
    *,
    max_events: int,
    own: tuple = (),
) -> Paths:
    """Trajectories of a jump process from time 0, exactly.

    Compiles, and vectorises over what `rates` is closed over. It has no derivatives: tangents are dropped. Where a
    propensity depends on time, `time_dependent.simulate` does it.

    Args:
        rates: `rates(t, y)`: time and a tuple of counts, scalars, of one trajectory -> a propensity for each reaction.
        changes: (reactions, species), whole numbers.
        start: (trajectories, species), counts at time 0.
        times: (times,), rising, 0 or later.
        streams: of `trajectory_streams`; a trajectory depends on its own alone.
        max_events: events of one trajectory after which it is given up, rounded up to whole blocks.
        own: further arguments of `rates` that are each trajectory's own, such as parameters: trees of arrays
            (trajectories, ...). Propensities must not depend on time then.

    Returns:
        Counts at `times`, a code and the number of events for each trajectory.

    Raises:
        InputError: see `paths.checked`; or a propensity depends on time beside `own`.

    Example:
        >>> import jax
        >>> from uqbench.jump_processes.streams import trajectory_streams
        >>> streams = trajectory_streams(jax.random.key_data(jax.random.key(0)), 1000)
        >>> start = jnp.zeros((1000, 1))
        >>> paths = simulate(lambda t, y: (10.0, y[0]), [[1], [-1]], start, [1.0], streams, max_events=1000)
        >>> bool(abs(paths.counts.mean() - 10 * (1 - np.exp(-1))) < 0.3)
        True
    """

    def rates_of_first(t, y):
        return rates(t, y, *jax.tree.map(lambda values: values[0], own))

    changes, start, times = checked(rates_of_first, changes, start, times, streams, max_events)
    if depends_on_time(rates_of_first, changes.shape[1]):
        if own:
            raise InputError("exact simulation", ["a propensity depends on time; give `rates` without `own`."])
        return time_dependent.simulate(rates, changes, start, times, streams, max_events=max_events)
    trajectories, species = start.shape
    spacing = jnp.append(jnp.diff(times), jnp.inf)

    def one_block(places: _Places) -> _Places:
        last, fired, reached = _fire(rates, changes, places, streams)
        places = _record(rates, changes, places, last, fired, reached, spacing)
        ended = (places.grid == len(times)) | (places.events >= max_events)
        # in most blocks no trajectory ends
        return lax.cond(
            any_anywhere(ended),
            lambda places: _next_trajectories(places, ended, start, times, own),
            lambda places: places,
            places,
        )

    empty = Paths(
        jnp.full((trajectories, len(times), species), jnp.nan),
        jnp.full(trajectories, int(Result.EVENT_LIMIT), jnp.int32),
        jnp.zeros(trajectories, jnp.int64),
    )
    lanes = min(trajectories, LANES)
    first = _Places(
        tuple(start[:lanes].T),
        jnp.arange(lanes, dtype=jnp.int32),
        jnp.zeros(lanes, jnp.int64),
        jnp.zeros(lanes, jnp.int32),
        jnp.full(lanes, times[0]),
        jnp.zeros(lanes, jnp.int32),
        jax.tree.map(lambda values: jnp.asarray(values)[:lanes], own),
        jnp.asarray(lanes, jnp.int32),
        empty,
    )
    return lax.while_loop(lambda places: any_anywhere(places.trajectory < trajectories), one_block, first).paths


def _fire(rates: Rates, changes: np.ndarray, places: _Places, streams: Streams):
    """The next `BLOCK` events of each place: the last counts, and for each event the reaction and its time.

    Times (events, places) are counted from the beginning of the block. Where nothing can happen any more, or a count or
    propensity is not possible, the next event is at infinity and the counts stay.
    """
    numbers = (places.events + jnp.arange(BLOCK)[:, None]).astype(jnp.uint32)
    own = Streams(*(jnp.take(words, places.trajectory, mode="clip") for words in streams))
    # Without barriers all would be computed anew for each of the arrays that depend on it.
    bits = lax.optimization_barrier(random_bits(own, numbers))
    none = len(changes)
    small = jnp.int8 if none < np.iinfo(np.int8).max else jnp.int32

    def event(carry, bits):
        counts, time = carry
        each = propensities(rates, time, counts, places.own)
        sums = running_sums(each)
        target = uniform(bits) * sums[-1]
        reaction = sum((target >= below).astype(small) for below in sums[:-1]) + jnp.zeros_like(time, small)
        reaction = jnp.where(sums[-1] > 0.0, reaction, none)
        reaction = jnp.where(possible(counts, each), reaction, none + 1).astype(small)
        reaction, total = lax.optimization_barrier((reaction, sums[-1]))
        # a sum of nothing may be -0.0, which no waiting time may be divided by
        after = jnp.where(reaction < none, time + exponential(bits) / total, jnp.inf)
        return (changed(counts, reaction, changes), after), (reaction, after)

    (last, _), (fired, reached) = lax.scan(event, (places.counts, jnp.zeros_like(places.remaining)), bits)
    return last, fired, reached


def _record(
    rates: Rates, changes: np.ndarray, places: _Places, last, fired: Array, reached: Array, spacing: Array
) -> _Places:
    """Write the counts at all times of the grid that lie within the block, one for each place in every step."""
    each = propensities(rates, places.remaining, last, places.own)
    # Of a state that lasts for ever.
    impossible = ~possible(last, each)
    end = reached[-1]
    rows, order = jnp.arange(len(end)), jnp.arange(BLOCK)[:, None]

    def write(state):
        grid, remaining, code, events, counts = state
        within = remaining < end
        passed = jnp.sum(reached <= remaining, axis=0, dtype=jnp.int32)
        at = jnp.minimum(passed, BLOCK - 1)
        failed = within & impossible & jnp.isinf(reached[at, rows])
        row = _counts_after(places.counts, jnp.where(order < passed, fired, len(changes)), changes)
        row = jnp.where(failed[:, None], jnp.nan, row)
        target = jnp.where(within, places.trajectory, counts.shape[0])
        counts = counts.at[target, grid].set(row, mode="drop")
        code = jnp.where(failed, int(Result.BAD_PROPENSITY), code)
        events = jnp.where(within, places.events + passed, events)
        remaining = jnp.where(within, remaining + jnp.take(spacing, grid, mode="clip"), remaining)
        return grid + within.astype(jnp.int32), remaining, code, events, counts

    grid, remaining, code, events, counts = lax.while_loop(
        lambda state: any_anywhere(state[1] < end),
        write,
        (places.grid, places.remaining, places.code, places.events, places.paths.counts),
    )
    ended = grid == len(spacing)
    return places._replace(
        counts=last,
        events=jnp.where(ended, events, places.events + BLOCK),
        grid=grid,
        remaining=remaining - end,
        code=code,
        paths=places.paths._replace(counts=counts),
    )


def _counts_after(counts: tuple[Array, ...], fired: Array, changes: np.ndarray) -> Array:
    """Counts (places, species) after the reactions of a block (events, places)."""
    times = [jnp.sum(fired == reaction, axis=0, dtype=fired.dtype) for reaction in range(len(changes))]
    result = list(counts)
    for reaction, species in zip(*np.nonzero(changes), strict=True):
        result[species] += float(changes[reaction, species]) * times[reaction]
    return jnp.stack(result, axis=-1)


def _next_trajectories(places: _Places, ended: Array, start: Array, times: Array, own: tuple) -> _Places:
    """Note how trajectories ended, and put the next ones into their places."""
    trajectories = len(start)
    arrived = places.grid == len(times)
    target = jnp.where(ended, places.trajectory, trajectories)
    code = jnp.where(arrived, places.code, int(Result.EVENT_LIMIT))
    paths = places.paths._replace(
        code=places.paths.code.at[target].set(code, mode="drop"),
        events=places.paths.events.at[target].set(places.events, mode="drop"),
    )
    taken = places.waiting - 1 + jnp.cumsum(ended, dtype=jnp.int32)
    trajectory = jnp.where(ended, jnp.minimum(taken, trajectories), places.trajectory)
    fresh = jnp.take(start, trajectory, axis=0, mode="clip")

    def of_next(values, before):
        now = jnp.take(values, trajectory, axis=0, mode="clip")
        return jnp.where(ended.reshape(-1, *[1] * (now.ndim - 1)), now, before)

    return _Places(
        counts=tuple(jnp.where(ended, new, old) for new, old in zip(fresh.T, places.counts, strict=True)),
        trajectory=trajectory,
        events=jnp.where(ended, 0, places.events),
        grid=jnp.where(ended, 0, places.grid),
        remaining=jnp.where(ended, jnp.where(trajectory < trajectories, times[0], jnp.inf), places.remaining),
        code=jnp.where(ended, 0, places.code),
        own=jax.tree.map(of_next, own, places.own),
        waiting=jnp.minimum(places.waiting + jnp.sum(ended, dtype=jnp.int32), trajectories),
        paths=paths,
    )
