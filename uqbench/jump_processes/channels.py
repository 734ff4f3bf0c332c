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

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from ..errors import InputError, Result
from .paths import Paths, Rates, any_anywhere, checked, depends_on_time, possible, propensities
from .streams import Streams, exponential, random_bits, substreams


def channel_streams(streams: Streams, reactions: int) -> Streams:
    """A stream for each reaction of each trajectory: words and keys (trajectories, reactions)."""
    return substreams(Streams(*(words[:, None] for words in streams)), jnp.arange(reactions))


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
    rates: Rates, changes: ArrayLike, start: ArrayLike, times: ArrayLike, streams: Streams, *, max_events: int
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
    changes, start, times = checked(rates, changes, start, times, heads, max_events)
    findings = []
    if streams.word.shape != (len(start), len(changes)):
        findings.append(f"streams have the shape {streams.word.shape}; give {(len(start), len(changes))}.")
    if depends_on_time(rates, changes.shape[1]):
        findings.append("a propensity depends on time; channels are simulated at constant propensities between events.")
    if findings:
        raise InputError("simulation by channels", findings)
    trajectories, species = start.shape
    spacing = jnp.append(jnp.diff(times), jnp.inf)
    own = [Streams(streams.word[:, reaction], streams.key[:, reaction]) for reaction in range(len(changes))]
    zeros = jnp.zeros(trajectories, jnp.uint32)

    def step(state: _State) -> _State:
        return _next_event(rates, changes, state, own, spacing, max_events)

    first = _State(
        counts=tuple(start.T),
        left=tuple(exponential(random_bits(stream, zeros)) for stream in own),
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
    rates: Rates, changes: np.ndarray, state: _State, own: Sequence[Streams], spacing: Array, max_events: int
) -> _State:
    """One event of each trajectory, or, if that comes first, the next time of the grid."""
    each = propensities(rates, state.remaining, state.counts)
    running = state.code == RUNNING
    sound = possible(state.counts, each)
    waits = jnp.stack([jnp.where(a > 0.0, d / a, jnp.inf) for a, d in zip(each, state.left, strict=True)])
    first = jnp.argmin(waits, axis=0)
    wait = jnp.min(waits, axis=0)
    arrived = running & sound & (state.remaining < wait)
    fires = running & sound & ~arrived
    passed = jnp.where(arrived, state.remaining, jnp.where(fires, wait, 0.0))
    left, fired = [], []
    for reaction, (a, d, number) in enumerate(zip(each, state.left, state.fired, strict=True)):
        now = fires & (first == reaction)
        number = number + now.astype(jnp.uint32)
        fresh = exponential(random_bits(own[reaction], number))
        left.append(jnp.where(now, fresh, jnp.maximum(d - jnp.where(passed > 0.0, a * passed, 0.0), 0.0)))
        fired.append(number)
    change = jnp.where(fires, jnp.asarray(changes.T, jnp.float64)[:, first], 0.0)
    target = jnp.where(arrived, jnp.arange(len(arrived)), len(arrived))
    recorded = state.recorded.at[target, state.grid].set(jnp.stack(state.counts, axis=-1), mode="drop")
    grid = state.grid + arrived
    events = state.events + fires
    code = jnp.where(grid == len(spacing), int(Result.SUCCESS), RUNNING)
    code = jnp.where((code == RUNNING) & (events > max_events), int(Result.EVENT_LIMIT), code)
    code = jnp.where(sound, code, int(Result.BAD_PROPENSITY))
    return _State(
        counts=tuple(count + change[number] for number, count in enumerate(state.counts)),
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
