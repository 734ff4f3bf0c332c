"""The process with a source of randomness of its own for each reaction, and what each source contributes.

In the random time change representation (Ethier & Kurtz 1986) reaction j fires when the integral of its propensity
passes the next point of a unit Poisson process Y_j, and the Y_j are independent:
X(t) = X(0) + sum_j nu_j Y_j(int_0^t a_j(X(s)) ds). With the streams that make the Y_j as its inputs the trajectory is
a function of them, so its variance can be split among reactions as among parameters (Le Maitre, Knio & Moraes 2015,
doi:10.1063/1.4935926): the first order index of a reaction is what its Y_j explains alone, the total index what is left
when all others are known. Simulated by the modified next reaction method (Anderson 2007, doi:10.1063/1.2799998).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from ..errors import InputError, Result
from .paths import Paths, Rates, any_anywhere, changed, checked, depends_on_time, possible, propensities
from .streams import Streams, exponential, philox, random_bits, substreams


def channel_streams(streams: Streams, reactions: int) -> Streams:
    """A stream for each reaction of each trajectory: words and keys (trajectories, reactions)."""
    return substreams(Streams(*(words[:, None] for words in streams)), jnp.arange(reactions))


def numbered_streams(key: ArrayLike, numbers: ArrayLike) -> Streams:
    """The streams of channels of which each trajectory has one of its own choice.

    Args:
        key: two words of uint32.
        numbers: (trajectories, reactions), uint32: equal numbers of a reaction are the same stream.
    """
    numbers = jnp.asarray(numbers, jnp.uint32)
    high, low = jnp.asarray(key, jnp.uint32)
    return substreams(Streams(*philox((numbers, high), low)), jnp.arange(numbers.shape[1]))


def exchanged(streams: Streams, others: Streams, reactions: Sequence[int]) -> Streams:
    """Streams of channels, with those of some reactions taken from other streams of channels."""
    taken = np.asarray(reactions, int)
    return Streams(*(mine.at[:, taken].set(theirs[:, taken]) for mine, theirs in zip(streams, others, strict=True)))


class _State(NamedTuple):
    """Arrays (trajectories,), those of reactions (reactions, trajectories)."""

    counts: tuple[Array, ...]
    # what is left of the integral of each propensity until it fires, and how often it has fired
    left: tuple[Array, ...]
    fired: tuple[Array, ...]
    grid: Array
    remaining: Array
    code: Array
    events: Array
    recorded: Array


RUNNING = -1


def simulate_channels(
    rates: Rates,
    changes: ArrayLike,
    start: ArrayLike,
    times: ArrayLike,
    streams: Streams,
    *,
    max_events: int,
    own: tuple = (),
) -> Paths:
    """Trajectories as a function of a stream for each reaction: exact, as `exact.simulate`, but slower.

    Args:
        streams: of `channel_streams`, (trajectories, reactions); all other arguments as in `exact.simulate`, but
            propensities must not depend on time.

    Returns:
        Counts at `times`, a code and the number of events for each trajectory.

    Raises:
        InputError: see `paths.checked`; or a propensity depends on time.
    """
    heads = Streams(*(words[:, 0] for words in streams))

    def rates_of_first(t, y):
        return rates(t, y, *jax.tree.map(lambda values: values[0], own))

    changes, start, times = checked(rates_of_first, changes, start, times, heads, max_events)
    findings = []
    if streams.word.shape != (len(start), len(changes)):
        findings.append(f"streams have the shape {streams.word.shape}; give {(len(start), len(changes))}.")
    if depends_on_time(rates_of_first, changes.shape[1]):
        findings.append("a propensity depends on time; channels are simulated at constant propensities between events.")
    if findings:
        raise InputError("simulation by channels", findings)
    trajectories, species = start.shape
    spacing = jnp.append(jnp.diff(times), jnp.inf)
    channels = [Streams(streams.word[:, reaction], streams.key[:, reaction]) for reaction in range(len(changes))]
    zeros = jnp.zeros(trajectories, jnp.uint32)

    def step(state: _State) -> _State:
        return _next_event(rates, changes, state, channels, own, spacing, max_events)

    first = _State(
        counts=tuple(start.T),
        left=tuple(exponential(random_bits(stream, zeros)) for stream in channels),
        fired=(zeros,) * len(changes),
        grid=jnp.zeros(trajectories, jnp.int32),
        remaining=jnp.full(trajectories, times[0]),
        code=jnp.full(trajectories, RUNNING, jnp.int32),
        events=jnp.zeros(trajectories, jnp.int64),
        recorded=jnp.full((trajectories, len(times), species), jnp.nan),
    )
    last = lax.while_loop(lambda state: any_anywhere(state.code == RUNNING), step, first)
    return Paths(last.recorded, last.code, last.events)


def _next_event(
    rates: Rates,
    changes: np.ndarray,
    state: _State,
    channels: Sequence[Streams],
    own: tuple,
    spacing: Array,
    max_events: int,
) -> _State:
    """One event of each trajectory, or, if that comes first, the next time of the grid."""
    each = propensities(rates, state.remaining, state.counts, own)
    running = state.code == RUNNING
    sound = possible(state.counts, each)
    wait, first = jnp.full_like(state.remaining, jnp.inf), jnp.zeros_like(state.grid)
    for reaction, (a, d) in enumerate(zip(each, state.left, strict=True)):
        own_wait = jnp.where(a > 0.0, d / a, jnp.inf)
        wait, first = jnp.minimum(wait, own_wait), jnp.where(own_wait < wait, reaction, first)
    arrived = running & sound & (state.remaining < wait)
    fires = running & sound & ~arrived
    # without barriers all would be computed anew for each of the arrays that depend on it
    wait, first, arrived, fires = lax.optimization_barrier((wait, first, arrived, fires))
    passed = jnp.where(arrived, state.remaining, jnp.where(fires, wait, 0.0))
    now = [fires & (first == reaction) for reaction in range(len(changes))]
    fired = [number + fires_now.astype(jnp.uint32) for number, fires_now in zip(state.fired, now, strict=True)]
    # one channel fires, and it alone needs a number
    stream = Streams(*(_selected(now, words) for words in zip(*channels, strict=True)))
    fresh = lax.optimization_barrier(exponential(random_bits(stream, _selected(now, fired))))
    left = [
        jnp.where(fires_now, fresh, jnp.maximum(d - jnp.where(passed > 0.0, a * passed, 0.0), 0.0))
        for a, d, fires_now in zip(each, state.left, now, strict=True)
    ]
    target = jnp.where(arrived, jnp.arange(len(arrived)), len(arrived))
    recorded = lax.cond(
        any_anywhere(arrived),
        lambda recorded: recorded.at[target, state.grid].set(jnp.stack(state.counts, axis=-1), mode="drop"),
        lambda recorded: recorded,
        state.recorded,
    )
    grid = state.grid + arrived
    events = state.events + fires
    code = jnp.where(grid == len(spacing), int(Result.SUCCESS), RUNNING)
    code = jnp.where((code == RUNNING) & (events > max_events), int(Result.EVENT_LIMIT), code)
    code = jnp.where(sound, code, int(Result.BAD_PROPENSITY))
    return _State(
        counts=changed(state.counts, jnp.where(fires, first, len(changes)), changes),
        left=tuple(left),
        fired=tuple(fired),
        grid=grid,
        remaining=jnp.where(
            arrived, jnp.take(spacing, state.grid, mode="clip"), state.remaining - jnp.where(fires, wait, 0.0)
        ),
        code=jnp.where(running, code, state.code).astype(jnp.int32),
        events=events,
        recorded=recorded,
    )


def _selected(flags: Sequence[Array], values: Sequence[Array]) -> Array:
    """Of each trajectory the value whose flag is set, 0 where none is."""
    chosen = jnp.zeros_like(values[0])
    for flag, value in zip(flags, values, strict=True):
        chosen = jnp.where(flag, value, chosen)
    return chosen


class ChannelIndices(NamedTuple):
    """Shares of the variance of a measure by reaction, with standard errors; (reactions, ...) like the measure's rest.

    Attributes:
        first: what a reaction's source of randomness explains alone.
        total: what is left of the variance when all other sources are known.
        first_error, total_error: their standard errors.
        variance: of the measure.
        paths: all trajectories: of sample A, of sample B, then of A with one reaction after the other from B.
    """

    first: Array
    first_error: Array
    total: Array
    total_error: Array
    variance: Array
    paths: Paths


def channel_indices(
    rates: Rates,
    changes: ArrayLike,
    start: ArrayLike,
    times: ArrayLike,
    streams: Streams,
    measure: Callable[[Array], Array],
    *,
    max_events: int,
) -> ChannelIndices:
    """Sobol indices of the reactions' sources of randomness, by exchanging the stream of one reaction at a time.

    First order from f(B) and f(A, this reaction from B), total from f(A) and the same (Jansen's estimator). What the
    start differs in between trajectories stays with the trajectory of A.

    Args:
        start: (species,), of all trajectories.
        streams: an even number of them; the first half makes sample A, the second sample B.
        measure: counts (trajectories, times, species) -> (trajectories, ...).
        rates, changes, times, max_events: as in `simulate_channels`.

    Raises:
        InputError: as `simulate_channels`, or an odd number of streams.
    """
    number = len(streams.word)
    if number % 2 or number < 4:
        raise InputError("channel_indices", [f"there are {number} streams; give an even number, 4 or more."])
    changes = np.asarray(changes)
    reactions, half = len(changes), number // 2
    all_streams = channel_streams(streams, reactions)
    a, b = (Streams(*(words[part] for words in all_streams)) for part in (slice(half), slice(half, None)))
    sets = [a, b, *(exchanged(a, b, [reaction]) for reaction in range(reactions))]
    together = Streams(*(jnp.concatenate(words) for words in zip(*sets, strict=True)))
    begin = jnp.broadcast_to(jnp.asarray(start, jnp.float64), (len(together.word), changes.shape[1]))
    paths = simulate_channels(rates, changes, begin, times, together, max_events=max_events)
    values = jnp.asarray(measure(paths.counts), jnp.float64)
    values = values.reshape(len(sets), half, *values.shape[1:])
    values = values - jnp.mean(values[:2], axis=(0, 1))
    of_a, of_b, mixed = values[0], values[1], values[2:]
    variance = jnp.mean(values[:2] ** 2, axis=(0, 1))

    def ratio(products, squares):
        """mean(products) / mean(squares) over trajectories, and its standard error by the delta method."""
        estimate = products.mean(1) / squares.mean(1)
        residual = (products - estimate[:, None] * squares) / squares.mean(1)[:, None]
        return estimate, residual.std(1) / half**0.5

    first, first_error = ratio(of_b * mixed, 0.5 * (of_b**2 + mixed**2))
    total, total_error = ratio(0.5 * (of_a - mixed) ** 2, 0.5 * (of_a**2 + mixed**2))
    return ChannelIndices(first, first_error, total, total_error, variance, paths)
