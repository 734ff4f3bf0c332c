"""Exact simulation where propensities depend on time.

Between events the counts y are constant. The next event comes when the integrated hazard, int a(s, y) ds with a the sum
of the propensities, has grown by an exponential number of mean 1; which reaction it is, the propensities at that
instant say. No bound on propensities is needed. The hazard is integrated in steps, as a polynomial through five
points, whose integral is Boole's rule; a step is taken where that and Simpson's rule agree to `TOLERANCE`, which is
then about the error of the distribution of a waiting time. At a jump of a propensity steps become short until what the
jump adds is below that, and grow again.

Steps end at the times of the grid and are no longer than `LONGEST` of an interval: a pulse shorter than a quarter of
a step may be passed over. Put its beginning and end into `times`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ..errors import Result
from .paths import Paths, Rates, any_anywhere, possible, running_sums
from .streams import Streams, exponential, random_bits, uniform

# Error of the integrated hazard in a step, which is the error of a probability.
TOLERANCE = 1e-9
# Steps, as shares of an interval of the grid.
LONGEST, SHORTEST = 1 / 8, 1e-13
# A step's size may change by these factors, and aims at this share of what the tolerance allows.
LEAST_FACTOR, MOST_FACTOR, SAFETY = 0.1, 4.0, 0.8
# Steps allowed for each allowed event and each time of the grid.
STEPS_FOR_EVENT, STEPS_FOR_TIME = 20, 10_000
POINTS = np.arange(5) / 4
BOOLE = np.array([7.0, 32.0, 12.0, 32.0, 7.0]) / 90
SIMPSON = np.array([1.0, 0.0, 4.0, 0.0, 1.0]) / 6
# Values at the points -> coefficients of x, x^2, ... of the integral up to the share x of a step.
INTEGRAL = np.linalg.inv(np.vander(POINTS, increasing=True)) / np.arange(1, 6)[:, None]
BISECTIONS = 50
RUNNING = -1


class _Place(NamedTuple):
    """One trajectory: `since` is the time since the last time of the grid, `hazard` what is left until an event."""

    counts: tuple[Array, ...]
    events: Array
    grid: Array
    since: Array
    hazard: Array
    step: Array
    steps: Array
    code: Array


def simulate(
    rates: Rates, changes: np.ndarray, start: Array, times: Array, streams: Streams, *, max_events: int
) -> Paths:
    """Trajectories as from `exact.simulate`, which calls this with arguments that it has checked."""
    trajectories, species = start.shape
    grid_times = jnp.concatenate([jnp.zeros(1), times])
    step = jax.vmap(lambda place, stream: _step(rates, changes, place, stream, grid_times, max_events))
    rows = jnp.arange(trajectories)

    def one_step(state):
        places, recorded = state
        places, arrived = step(places, streams)
        target = jnp.where(arrived, rows, trajectories)
        recorded = recorded.at[target, places.grid - 1].set(jnp.stack(places.counts, axis=-1), mode="drop")
        return places, recorded

    zeros = jnp.zeros(trajectories, jnp.int64)
    first = _Place(
        counts=tuple(start.T),
        events=zeros,
        grid=zeros,
        since=jnp.zeros(trajectories),
        hazard=exponential(random_bits(streams, np.uint32(0))),
        step=jnp.full(trajectories, jnp.inf),
        steps=zeros,
        code=jnp.full(trajectories, RUNNING, jnp.int32),
    )
    empty = jnp.full((trajectories, len(times), species), jnp.nan)
    places, recorded = lax.while_loop(lambda state: any_anywhere(state[0].code == RUNNING), one_step, (first, empty))
    return Paths(recorded, places.code, places.events)


def _step(rates: Rates, changes: np.ndarray, place: _Place, stream: Streams, grid_times: Array, max_events: int):
    """One step of one trajectory, to an event, to a time of the grid, or refused; and whether that time is reached."""
    begin = grid_times[place.grid] + place.since
    interval = grid_times[place.grid + 1] - grid_times[place.grid]
    left = interval - place.since
    shortest = SHORTEST * interval
    step = jnp.minimum(place.step, LONGEST * interval)
    # a rest too short for a step of its own belongs to this one
    last = left - step <= shortest
    step = jnp.where(last, left, step)

    at_points = [_propensities(rates, begin + share * step, place.counts) for share in POINTS]
    sums = jnp.stack([running_sums(each)[-1] for each in at_points])
    sound = jnp.stack([possible(place.counts, each) for each in at_points])
    whole = step * (BOOLE @ sums)
    error = jnp.abs(whole - step * (SIMPSON @ sums))
    fails = ~sound[0] | (~jnp.all(sound) & (step <= shortest))
    taken = jnp.all(sound) & ((error <= TOLERANCE) | (step <= shortest))
    fires = taken & (whole > place.hazard)
    arrived = taken & ~fires & last

    share = jnp.where(fires, _share(sums, place.hazard / jnp.where(step > 0.0, step, 1.0)), 1.0)
    factor = jnp.clip(SAFETY * (TOLERANCE / jnp.maximum(error, 1e-300)) ** 0.2, LEAST_FACTOR, MOST_FACTOR)
    factor = jnp.where(jnp.all(sound), factor, LEAST_FACTOR)
    # the number that gave this waiting time also says which reaction
    bits = random_bits(stream, place.events.astype(jnp.uint32))
    each = jnp.stack(_propensities(rates, begin + share * step, place.counts))
    reaction = jnp.sum(uniform(bits) * jnp.sum(each) >= jnp.cumsum(each)[:-1])
    change = jnp.where(fires & (jnp.sum(each) > 0.0), jnp.asarray(changes, jnp.float64)[reaction], 0.0)
    events = place.events + fires
    fresh = exponential(random_bits(stream, events.astype(jnp.uint32)))
    grid = place.grid + arrived
    steps = place.steps + 1
    code = jnp.where(grid == len(grid_times) - 1, int(Result.SUCCESS), RUNNING)
    code = jnp.where((code == RUNNING) & (events > max_events), int(Result.EVENT_LIMIT), code)
    most = STEPS_FOR_EVENT * max_events + STEPS_FOR_TIME * len(grid_times)
    code = jnp.where((code == RUNNING) & (steps > most), int(Result.NO_STEP), code)
    after = _Place(
        counts=tuple(count + change[number] for number, count in enumerate(place.counts)),
        events=events,
        grid=grid,
        since=jnp.where(arrived, 0.0, place.since + jnp.where(taken, share * step, 0.0)),
        hazard=jnp.where(fires, fresh, place.hazard - jnp.where(taken, whole, 0.0)),
        step=jnp.maximum(factor * step, shortest),
        steps=steps,
        code=jnp.where(fails, int(Result.BAD_PROPENSITY), code).astype(jnp.int32),
    )
    running = place.code == RUNNING
    return jax.tree.map(lambda new, old: jnp.where(running, new, old), after, place), arrived & running & ~fails


def _propensities(rates: Rates, time: Array, counts: tuple[Array, ...]) -> list[Array]:
    return [lax.stop_gradient(jnp.asarray(rate, jnp.float64)) for rate in rates(time, counts)]


def _share(sums: Array, hazard: Array) -> Array:
    """The share of a step after which the integral of the polynomial through `sums` is `hazard`, by bisection."""
    coefficients = INTEGRAL @ sums

    def halve(_, bracket):
        low, high = bracket
        middle = 0.5 * (low + high)
        integral = jnp.zeros_like(hazard)
        for coefficient in coefficients[::-1]:
            integral = (integral + coefficient) * middle
        beyond = integral > hazard
        return jnp.where(beyond, low, middle), jnp.where(beyond, middle, high)

    return lax.fori_loop(0, BISECTIONS, halve, (jnp.zeros_like(hazard), jnp.ones_like(hazard)))[1]
