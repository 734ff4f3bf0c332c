"""Simulation by leaps in which many reactions fire at once: an approximation for large counts.

A leap tau is so short that no propensity is expected to change by more than the share `epsilon`; within it each
reaction fires a Poisson number of times at the propensity of its beginning (Cao, Gillespie & Petzold 2006,
doi:10.1063/1.2159468). Reactions that could empty a species within `CRITICAL` firings fire one at a time, and a leap
that takes more of a species than there is is repeated at half its length, so that no count becomes negative. Where a
leap would hold fewer than `WORTHWHILE` events, a single event is simulated exactly.

How strongly a propensity depends on a species is not read from the stoichiometry but from its derivatives,
sum_i |x_i da/dx_i| / a: for mass action that is the order of the reaction (2 + 1/(x - 1) for a pair of the same
species, as in the paper), and it holds for other rate laws too.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from ..errors import InputError, Result
from .channels import channel_streams
from .paths import Paths, Rates, any_anywhere, checked, depends_on_time
from .poisson import ATTEMPTS, poisson
from .streams import Streams, exponential, random_bits, uniform

CRITICAL = 10
WORTHWHILE = 10
RUNNING = -1
# Numbers of a stream are counted in 32 bits.
MOST_STEPS = 2**32 // ATTEMPTS


class _State(NamedTuple):
    """Counts (trajectories, species), all else (trajectories,), but for the results so far and the number of steps."""

    counts: Array
    events: Array
    grid: Array
    remaining: Array
    # no leap longer than this, after one that took too much
    longest: Array
    code: Array
    steps: Array
    recorded: Array


def simulate(
    rates: Rates,
    changes: ArrayLike,
    start: ArrayLike,
    times: ArrayLike,
    streams: Streams,
    *,
    max_events: int,
    epsilon: float = 0.03,
) -> Paths:
    """Trajectories by tau-leaping.

    Args:
        epsilon: share by which a propensity may change within a leap. The error of means and variances is about in
            proportion to it and not estimated: compare with half of it, or with `exact.simulate`.
        max_events: leaps and single events of one trajectory after which it is given up.
        rates, changes, start, times, streams: as in `exact.simulate`, but propensities must not depend on time.

    Returns:
        Counts at `times`, a code and the number of events for each trajectory.

    Raises:
        InputError: see `paths.checked`; or a propensity depends on time, or epsilon is not between 0 and 1.
    """
    changes, start, times = checked(rates, changes, start, times, streams, max_events)
    findings = []
    if depends_on_time(rates, changes.shape[1]):
        findings.append("a propensity depends on time, which leaps take no account of; simulate exactly.")
    if not 0.0 < epsilon < 1.0:
        findings.append(f"epsilon is {epsilon}; give a number between 0 and 1.")
    if findings:
        raise InputError("tau-leaping", findings)
    trajectories, species = start.shape
    own = channel_streams(streams, len(changes))

    def step(state: _State) -> _State:
        return _step(rates, changes, state, streams, own, times, min(max_events, MOST_STEPS), epsilon)

    first = _State(
        counts=start,
        events=jnp.zeros(trajectories),
        grid=jnp.zeros(trajectories, jnp.int32),
        remaining=jnp.full(trajectories, times[0]),
        longest=jnp.full(trajectories, jnp.inf),
        code=jnp.full(trajectories, RUNNING, jnp.int32),
        steps=jnp.zeros((), jnp.int64),
        recorded=jnp.full((trajectories, len(times), species), jnp.nan),
    )
    last = lax.while_loop(lambda state: any_anywhere(state.code == RUNNING), step, first)
    return Paths(last.recorded, last.code, last.events.astype(jnp.int64))


def _step(
    rates: Rates,
    changes: np.ndarray,
    state: _State,
    streams: Streams,
    own: Streams,
    times: Array,
    most: int,
    epsilon: float,
) -> _State:
    """A leap of each trajectory, or a single event, or as far as the next time of the grid."""
    each, slopes = _propensities(rates, state.counts)
    total = each.sum(1)
    sound = jnp.all(each >= 0.0, axis=1) & jnp.all(state.counts >= 0.0, axis=1) & (total < jnp.inf)
    running = (state.code == RUNNING) & sound
    critical = _critical(each, state.counts, changes)
    tau = jnp.minimum(_leap(each, slopes, state.counts, critical, changes, epsilon), state.longest)
    # where a leap is not worth while all reactions are fired one at a time
    alone = critical | (tau < WORTHWHILE / total)[:, None]
    leaping = jnp.where(alone, 0.0, each)
    tau = jnp.where(jnp.all(alone, axis=1), jnp.inf, tau)
    bits = random_bits(streams, state.steps.astype(jnp.uint32))
    sums = jnp.cumsum(jnp.where(alone, each, 0.0), axis=1)
    wait = jnp.where(sums[:, -1] > 0.0, exponential(bits) / sums[:, -1], jnp.inf)
    passed = jnp.minimum(jnp.minimum(tau, wait), state.remaining)
    passed = jnp.where(running, passed, 0.0)
    one = running & (wait <= tau) & (wait < state.remaining)

    fired = poisson(own, state.steps, leaping * passed[:, None])
    which = jnp.sum((uniform(bits) * sums[:, -1])[:, None] >= sums[:, :-1], axis=1)
    fired += (one[:, None] & (jnp.arange(len(changes)) == which[:, None])).astype(float)
    counts = state.counts + fired @ changes.astype(float)
    taken = running & jnp.all(counts >= 0.0, axis=1)
    # an event that is simulated by itself takes too much only if its propensity allows what it must not
    emptied = one & ~taken & jnp.all(leaping == 0.0, axis=1)
    return _arrive(state, counts, taken, passed, fired, sound & ~emptied, times, most)


def _arrive(state: _State, counts, taken, passed, fired, sound, times, most: int) -> _State:
    """The state after a step that is taken or refused, with what is recorded at a time of the grid."""
    running = state.code == RUNNING
    spacing = jnp.append(jnp.diff(times), jnp.inf)
    counts = jnp.where(taken[:, None], counts, state.counts)
    remaining = jnp.where(taken, state.remaining - passed, state.remaining)
    arrived = taken & (remaining <= 0.0)
    target = jnp.where(arrived, jnp.arange(len(counts)), len(counts))
    grid = state.grid + arrived
    code = jnp.where(grid == len(times), int(Result.SUCCESS), RUNNING)
    code = jnp.where((code == RUNNING) & (state.steps + 1 >= most), int(Result.EVENT_LIMIT), code)
    code = jnp.where(sound, code, int(Result.BAD_PROPENSITY))
    return _State(
        counts=counts,
        events=state.events + jnp.where(taken, fired.sum(1), 0.0),
        grid=grid,
        remaining=jnp.where(arrived, jnp.take(spacing, state.grid, mode="clip"), remaining),
        longest=jnp.where(taken, jnp.inf, 0.5 * passed),
        code=jnp.where(running, code, state.code).astype(jnp.int32),
        steps=state.steps + 1,
        recorded=state.recorded.at[target, state.grid].set(counts, mode="drop"),
    )


def _propensities(rates: Rates, counts: Array) -> tuple[Array, Array]:
    """Propensities (trajectories, reactions) and their derivatives by counts (trajectories, reactions, species)."""

    def of_one(y):
        values: Sequence[ArrayLike] = rates(jnp.zeros(()), tuple(y))
        each = jnp.stack([jnp.asarray(rate, jnp.float64) for rate in values])
        return each, each

    slopes, each = jax.vmap(jax.jacfwd(of_one, has_aux=True))(counts)
    return lax.stop_gradient(each), lax.stop_gradient(slopes)


def _critical(each: Array, counts: Array, changes: np.ndarray) -> Array:
    """Whether a reaction can empty one of its species within a few firings; (trajectories, reactions)."""
    taken = np.maximum(-changes, 0)
    firings = jnp.where(taken > 0, jnp.floor(counts[:, None, :] / np.maximum(taken, 1)), jnp.inf)
    return (each > 0.0) & (jnp.min(firings, axis=-1) < CRITICAL)


def _leap(each: Array, slopes: Array, counts: Array, critical: Array, changes: np.ndarray, epsilon: float) -> Array:
    """The longest leap within which no propensity is expected to change by more than a share epsilon, (trajectories,).

    Counts move by their mean and their spread, both of reactions that are not critical; each may move as far as the
    propensities that depend on it allow, and by one in any case.
    """
    leaping = jnp.where(critical, 0.0, each)
    drift = jnp.abs(leaping @ changes.astype(float))
    spread = leaping @ (changes.astype(float) ** 2)
    depends = slopes != 0.0
    shares = jnp.sum(jnp.abs(slopes) * counts[:, None, :], axis=-1) / jnp.where(each > 0.0, each, 1.0)
    order = jnp.max(jnp.where(depends & (each > 0.0)[:, :, None], shares[:, :, None], 1.0), axis=1)
    allowed = jnp.maximum(epsilon * counts / jnp.maximum(order, 1.0), 1.0)
    by_drift = jnp.where(drift > 0.0, allowed / jnp.where(drift > 0.0, drift, 1.0), jnp.inf)
    by_spread = jnp.where(spread > 0.0, allowed**2 / jnp.where(spread > 0.0, spread, 1.0), jnp.inf)
    matters = jnp.any(depends, axis=1)
    return jnp.min(jnp.where(matters, jnp.minimum(by_drift, by_spread), jnp.inf), axis=1)
