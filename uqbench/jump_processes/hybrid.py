"""Piecewise deterministic Markov processes (Davis 1984): some species jump, the others flow between the jumps.

A reaction that changes a discrete species jumps; all others make the flow dx/dt = sum_j nu_j a_j(t, x) of the
continuous species. The next jump comes when the hazard, the sum of the propensities of the jumps, has been integrated
along the flow to an exponential number of mean 1. The hazard is one more state of the differential equation (Alfonsi et
al. 2005, doi:10.1051/proc:2005001), so it follows the continuous species within a step and shares their control of
errors; the jump is found on the dense output of the step. Steps are those of Rodas5P, L-stable, so that fast loss of a
continuous species costs nothing; after a jump the first step is estimated anew.

A continuous species may have fewer molecules left than a reaction takes: a propensity that is negative there, as that
of a pair, y (y - 1), below one molecule, is then none.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from ..errors import InputError, Result
from ..solvers.rosenbrock import implicit_method
from ..solvers.stepping import GROW, SAFETY, SHRINK, Method, Problem, first_step, weighted_norm
from .paths import Paths, Rates, any_anywhere, checked, depends_on_time
from .streams import Streams, exponential, random_bits, uniform

# Absolute errors, of the relative tolerance: of a count in molecules; the integrated hazard is a probability.
SMALLEST_COUNT = 1e-3
# Counts below zero by so many tolerances are an error of the steps.
UNDERSHOOT = 10.0
# Steps, as shares of an interval of the grid; where propensities depend on time, no pulse within the longest is seen.
LONGEST, SHORTEST = 1 / 8, 1e-13
BISECTIONS = 50
LEAST_RTOL, MOST_RTOL = 1e-12, 1e-2
LARGEST_COUNT = 1e100
RUNNING = -1


class Flow(NamedTuple):
    """The process in pieces: which reactions jump and which species flow.

    Args:
        rates: propensities of one trajectory.
        changes: (reactions, species).
        discrete: (species,), whether each is.
        longest: step, as a share of an interval of the grid.
        rtol: local error of a step.
    """

    rates: Rates
    changes: np.ndarray
    discrete: np.ndarray
    longest: float
    rtol: float

    @property
    def jumps(self) -> np.ndarray:
        """(reactions,), whether each changes a discrete species."""
        return np.any(self.changes[:, self.discrete] != 0, axis=1)

    @property
    def continuous(self) -> list[int]:
        """The species that flow."""
        return [int(k) for k in np.flatnonzero(~self.discrete)]

    @property
    def floors(self) -> list[Array]:
        """Absolute tolerances of the continuous species and of the integrated hazard."""
        counts = [jnp.asarray(SMALLEST_COUNT * self.rtol)] * len(self.continuous)
        return [*counts, jnp.asarray(self.rtol)]

    def propensities(self, time: Array, counts: Sequence[Array]) -> list[Array]:
        """Of all reactions, at counts that errors of the steps may have taken below zero."""
        given = [
            jnp.asarray(rate, jnp.float64) for rate in self.rates(time, tuple(jnp.maximum(c, 0.0) for c in counts))
        ]
        result = []
        for rate, change in zip(given, self.changes, strict=True):
            taken = [k for k in self.continuous if change[k] < 0]
            short = [counts[k] < -float(change[k]) for k in taken]
            result.append(jnp.where(jnp.any(jnp.stack(short)), jnp.maximum(rate, 0.0), rate) if short else rate)
        return result

    def slopes(self, time: Array, counts: Sequence[Array]) -> list[Array]:
        """Of the continuous species and of the integrated hazard."""
        each = self.propensities(time, counts)
        flows, jumps = np.flatnonzero(~self.jumps), np.flatnonzero(self.jumps)
        moved = [[float(self.changes[j, k]) * each[j] for j in flows if self.changes[j, k]] for k in self.continuous]
        return [sum(terms, jnp.zeros(())) for terms in (*moved, [each[j] for j in jumps])]

    def with_flowing(self, counts: Sequence[Array], y: Sequence[Array]) -> tuple[Array, ...]:
        """Counts with the continuous ones from a state of the differential equation."""
        flowing = dict(zip(self.continuous, y, strict=False))
        return tuple(flowing.get(k, count) for k, count in enumerate(counts))

    def rhs(self, counts: Sequence[Array]):
        """`(t, y)` -> slopes, at these counts of the discrete species."""
        return lambda t, y: self.slopes(t, self.with_flowing(counts, y))

    def state(self, counts: Sequence[Array]) -> list[Array]:
        """The state of the differential equation, with no hazard integrated yet."""
        return [*(counts[k] for k in self.continuous), jnp.zeros(())]

    def sound(self, time: Array, counts: Sequence[Array]) -> Array:
        """Whether no count and no propensity is negative, but for errors of the steps, all are finite, and discrete
        counts are whole."""
        each, stacked = jnp.stack(self.propensities(time, counts)), jnp.stack(list(counts))
        whole = jnp.all(jnp.where(self.discrete, stacked == jnp.round(stacked), True))
        largest = jnp.max(jnp.abs(stacked))
        allowed = UNDERSHOOT * self.rtol * (1.0 + largest)
        return whole & jnp.all(each >= 0.0) & jnp.all(jnp.isfinite(each)) & jnp.all(stacked >= -allowed)

    def first_step(self, time: Array, interval: Array, counts: Sequence[Array]) -> Array:
        """A step of about the tolerated error, from two derivatives."""
        times = jnp.stack([time + interval])
        problem = Problem(self.rhs(counts), time, self.state(counts), times, None, None, self.rtol, self.floors)
        return first_step(problem)


class _Place(NamedTuple):
    """One trajectory: `since` is the time since the last time of the grid, `hazard` what is left until a jump."""

    counts: tuple[Array, ...]
    events: Array
    grid: Array
    since: Array
    hazard: Array
    step: Array
    # since the last jump or time of the grid, and in all
    stretch: Array
    steps: Array
    code: Array


class _Limits(NamedTuple):
    """How much is allowed of a trajectory, and the grid with time 0 before it."""

    times: Array
    events: int
    steps: int


def simulate(
    rates: Rates, changes: ArrayLike, discrete: ArrayLike, start: ArrayLike, times: ArrayLike, streams: Streams, *,
    max_events: int, max_steps: int = 100_000, rtol: float = 1e-6,
) -> tuple[Paths, Array]:  # fmt: skip
    """Trajectories of a piecewise deterministic process from time 0.

    Compiles, and vectorises over what `rates` is closed over. It has no derivatives.

    Args:
        rates: propensities of one trajectory, differentiable, as in `exact.simulate`.
        changes: (reactions, species), whole numbers.
        discrete: (species,), which of them jump; at least one, and not all.
        start: (trajectories, species), counts at time 0; whole numbers are not asked for.
        times: (times,), rising, 0 or later. Steps end there, and where a propensity depends on time they are no longer
            than an eighth of an interval: a shorter pulse may be passed over.
        streams: of `trajectory_streams`; a trajectory depends on its own alone.
        max_events: jumps of one trajectory after which it is given up.
        max_steps: between two jumps or times.
        rtol: local error of a step relative to the counts, and of the probability of a jump within it.

    Returns:
        Counts at `times`, codes (where a trajectory fails BAD_PROPENSITY, BLOW_UP, NO_STEP, STEP_LIMIT, EVENT_LIMIT)
        and numbers of jumps; and the steps (trajectories,).

    Raises:
        InputError: see `paths.checked`; or `discrete` names none, all, or another number of species.
    """
    start = lax.stop_gradient(jnp.asarray(start, jnp.float64))
    # only the discrete species have to start at whole numbers
    changes, _, times = checked(rates, changes, jnp.floor(start), times, streams, max_events)
    flags = np.asarray(discrete, bool)
    _check(flags, changes.shape[1], start, max_steps, rtol)
    longest = LONGEST if depends_on_time(rates, changes.shape[1]) else 1.0
    flow = Flow(rates, changes, flags, longest, rtol)
    example = tuple(start[0])
    method = implicit_method(flow.rhs(example), len(flow.floors))
    limits = _Limits(jnp.concatenate([jnp.zeros(1), times]), max_events, max_steps)
    step = jax.vmap(lambda place, stream: _step(flow, method, limits, place, stream))
    trajectories, species = start.shape
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
        step=jax.vmap(lambda *counts: flow.first_step(jnp.zeros(()), times[-1], counts))(*start.T),
        stretch=zeros,
        steps=zeros,
        code=jnp.full(trajectories, RUNNING, jnp.int32),
    )
    empty = jnp.full((trajectories, len(times), species), jnp.nan)
    places, recorded = lax.while_loop(lambda state: any_anywhere(state[0].code == RUNNING), one_step, (first, empty))
    return Paths(lax.stop_gradient(recorded), places.code, places.events), places.steps


def _check(discrete: np.ndarray, species: int, start: Array, max_steps: int, rtol: float) -> None:
    findings = []
    if discrete.shape != (species,) or discrete.all() or not discrete.any():
        findings.append(f"discrete is {discrete.tolist()}; give one flag for each of {species} species, not all alike.")
    elif not isinstance(start, jax.core.Tracer):
        known = np.asarray(start)[:, discrete]
        if np.any(known != np.round(known)):
            findings.append("a discrete species starts at a count that is not whole.")
    if not max_steps > 0:
        findings.append(f"max_steps is {max_steps}; it must be at least 1.")
    if not LEAST_RTOL <= rtol <= MOST_RTOL:
        findings.append(f"rtol is {rtol}; give a number from {LEAST_RTOL:g} to {MOST_RTOL:g}.")
    if findings:
        raise InputError("simulation of a hybrid process", findings)


def _step(flow: Flow, method: Method, limits: _Limits, place: _Place, stream: Streams) -> tuple[_Place, Array]:
    """One step of one trajectory, to a jump, to a time of the grid, or refused; and whether that time is reached."""
    begin = limits.times[place.grid] + place.since
    interval = limits.times[place.grid + 1] - limits.times[place.grid]
    left, shortest = interval - place.since, SHORTEST * interval
    h = jnp.minimum(place.step, flow.longest * interval)
    # a rest too short for a step of its own belongs to this one
    last = left - h <= shortest
    h = jnp.where(last, left, h)
    # at a time of the grid that is the start nothing has to be passed
    at_once = left <= 0.0
    length = jnp.where(at_once, 1.0, h)

    y = flow.state(place.counts)
    new, error, stages = method.step(flow.rhs(place.counts), begin, length, y)
    norm = weighted_norm(error, y, new, flow.rtol, flow.floors)
    taken = (norm <= 1.0) & ~at_once
    coefficients = method.dense(length, stages)
    fires = taken & (new[-1] > place.hazard)
    share = jnp.where(fires, _share(method, new[-1], coefficients[-1], place.hazard), 1.0)
    inside = [method.interpolate(share, a, b, row) for a, b, row in zip(y, new, coefficients, strict=True)]
    reached = [jnp.where(taken, jnp.where(fires, i, b), a) for a, b, i in zip(y, new, inside, strict=True)]
    time = begin + jnp.where(taken, share * h, 0.0)
    counts, event = _jumped(flow, time, flow.with_flowing(place.counts, reached), fires, place, stream)

    events = place.events + fires
    arrived = (taken & ~fires & last) | at_once
    factor = jnp.clip(SAFETY * jnp.where(jnp.isfinite(norm), jnp.maximum(norm, 1e-10), 1e10) ** -0.2, SHRINK, GROW)
    # a step cut short by a time of the grid says little about the next, and a jump begins anew
    step = jnp.where(arrived, jnp.maximum(factor * h, place.step), factor * h)
    step = jnp.where(fires, flow.first_step(time, interval, counts), step)
    grid = place.grid + arrived
    stretch = jnp.where(fires | arrived, 0, place.stretch + 1)
    stuck = ~taken & ~at_once & (h <= shortest)
    sound = flow.sound(begin, place.counts) & flow.sound(time, counts)
    after = _Place(
        counts=counts,
        events=events,
        grid=grid,
        since=jnp.where(arrived, 0.0, place.since + jnp.where(taken, share * h, 0.0)),
        hazard=jnp.where(fires, event, place.hazard - reached[-1]),
        step=jnp.maximum(step, shortest),
        stretch=stretch,
        steps=place.steps + 1,
        code=_code(limits, grid, events, stretch, stuck, new, sound),
    )
    running = place.code == RUNNING
    arrived = arrived & running & sound
    return jax.tree.map(lambda new, old: jnp.where(running, new, old), after, place), arrived


def _jumped(flow: Flow, time, counts: tuple[Array, ...], fires, place: _Place, stream: Streams):
    """Counts after the jump where there is one, chosen by the propensities of the moment; the hazard until the next."""
    jumps = np.flatnonzero(flow.jumps)
    if not len(jumps):
        return counts, place.hazard
    each = flow.propensities(time, counts)
    rates = jnp.stack([each[j] for j in jumps])
    # the number that gave this waiting time also says which reaction
    target = uniform(random_bits(stream, place.events.astype(jnp.uint32))) * jnp.sum(rates)
    reaction = jnp.sum(target >= jnp.cumsum(rates)[:-1])
    change = jnp.where(fires & (jnp.sum(rates) > 0.0), jnp.asarray(flow.changes[jumps], jnp.float64)[reaction], 0.0)
    fresh = exponential(random_bits(stream, (place.events + 1).astype(jnp.uint32)))
    return tuple(count + change[k] for k, count in enumerate(counts)), fresh


def _code(limits: _Limits, grid, events, stretch, stuck, new, sound) -> Array:
    """How the trajectory ended, or that it runs; of several reasons the one that came first."""
    beyond = ~jnp.all(jnp.abs(jnp.stack(new)) < LARGEST_COUNT)
    code = jnp.where(stretch > limits.steps, int(Result.STEP_LIMIT), RUNNING)
    code = jnp.where(events > limits.events, int(Result.EVENT_LIMIT), code)
    code = jnp.where(grid == len(limits.times) - 1, int(Result.SUCCESS), code)
    code = jnp.where(stuck, jnp.where(beyond, int(Result.BLOW_UP), int(Result.NO_STEP)), code)
    return jnp.where(sound, code, int(Result.BAD_PROPENSITY)).astype(jnp.int32)


def _share(method: Method, whole: Array, coefficients, hazard: Array) -> Array:
    """The share of a step after which the integrated hazard is `hazard`, on the dense output, by bisection."""

    def halve(_, bracket):
        low, high = bracket
        middle = 0.5 * (low + high)
        beyond = method.interpolate(middle, 0.0, whole, coefficients) > hazard
        return jnp.where(beyond, low, middle), jnp.where(beyond, middle, high)

    return lax.fori_loop(0, BISECTIONS, halve, (jnp.zeros_like(hazard), jnp.ones_like(hazard)))[1]
