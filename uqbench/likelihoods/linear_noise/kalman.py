"""The Kalman filter of one time series under linear noise, and the joint normal distribution of its measurements.

The filter is that of Komorowski et al. (2009, doi:10.1186/1471-2105-10-343) where the equations are linearised around
the rate equations from the start of the run. Restarted, they are linearised at each observation around the filtered
mean (Fearnhead, Giagos & Sherlock 2014, doi:10.1111/biom.12152), so that a cell that has left the path of the rate
equations, as each does sooner or later, is followed along its own. Where propensities are linear both have the same
means and differ in the variance of what is to come, which the restarted one takes from where the cell is.

Measurements at one time are taken one after another; their standard deviations are those at the predicted means, or on
the path of the rate equations where that is what is linearised around. The density of a series is thus a product of
normal densities given what was measured before, and values can be drawn from that same product; without restarts it is
the joint normal density of linear noise.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ...annotations import AnyArray, Values
from ...design import Design
from ...space import Theta
from .flows import Flows, State

# mean, slope and standard deviation of what would be measured: (time, means, columns) -> `(places,)` and so on
Measure = Callable[[Array, Array, Sequence[Values]], tuple[Array, Array, Array]]


class Steps(NamedTuple):
    """What a series has at each of its times.

    Args:
        times: rising.
        present: which places have a measurement.
        columns: for each place column of the table -> values.
    """

    times: Float[AnyArray, " times"]
    present: Bool[AnyArray, "times places"]
    columns: Sequence[Values]


class Filtered(NamedTuple):
    """Log density of each measurement given those before, -inf where it has none; values; the code of the solves."""

    terms: Float[Array, "times places"]
    values: Float[Array, "times places"]
    code: Int[Array, ""]


class Joint(NamedTuple):
    """Mean and covariance of all measurements of a series, in the order of times, then places; and the code.

    Where nothing is measured: those of independent standard normal numbers.
    """

    mean: Float[Array, " entries"]
    covariance: Float[Array, "entries entries"]
    code: Int[Array, ""]


class _Path(NamedTuple):
    """Of the filter: where the cell is, and where the rate equations from the start are; the time; the code so far."""

    cell: State
    path: Float[Array, " n"]
    time: Float[Array, ""]
    code: Int[Array, ""]


def filtered(
    flows: Flows,
    theta: Theta,
    design: Design,
    steps: Steps,
    measure: Measure,
    given: Float[Array, "times places"],
    *,
    restart: bool,
    draw: bool = False,
) -> Filtered:
    """Runs the filter over a series.

    Args:
        given: the values; or standard normal numbers, from which values are made (`draw`).
        restart: whether to linearise around the filtered mean.
    """

    def step(state: _Path, now):
        (time, present, columns), given = now
        # no molecules are fewer than none; what the filtered mean lacks is followed to first order
        point = jnp.maximum(state.cell.mean, 0.0) if restart else state.path
        flow = flows.over(theta, design, point, state.time, time[None])
        mean, propagator, spread = (each[0] for each in flow[:3])
        cell = State(
            mean + propagator @ (state.cell.mean - point),
            propagator @ state.cell.covariance @ propagator.T + spread,
        )
        around = jnp.maximum(cell.mean, 0.0) if restart else mean
        cell, terms, values = _measured(cell, around, measure(time, around, columns), present, given, draw)
        code = jnp.where(state.code == 0, flow.code, state.code)
        return _Path(cell, mean, time, code), (terms, values)

    start = flows.start(theta, design)
    first = _Path(start, start.mean, design.start, jnp.zeros((), int))
    last, (terms, values) = jax.lax.scan(step, first, (steps, given))
    return Filtered(jnp.where(last.code == 0, terms, -jnp.inf), values, last.code)


def _measured(cell: State, around: Array, found: tuple[Array, Array, Array], present, given, draw: bool):
    """The state after the measurements at one time; the log density and the value of each.

    Args:
        around: the means at which what would be measured was `found`.
    """
    (mu, slope, sigma), terms, values = found, [], []
    for k in range(len(mu)):
        centre = mu[k] + slope[k] @ (cell.mean - around)
        across = cell.covariance @ slope[k]
        variance = slope[k] @ across + sigma[k] ** 2
        possible = (variance > 0) & (sigma[k] > 0)
        safe = jnp.where(possible, variance, 1.0)
        value = centre + jnp.sqrt(safe) * given[k] if draw else given[k]
        residual = value - centre
        density = -0.5 * (residual**2 / safe + jnp.log(2 * jnp.pi * safe))
        terms.append(jnp.where(present[k], jnp.where(possible, density, -jnp.inf), 0.0))
        values.append(jnp.where(possible, value, jnp.nan))
        gain = jnp.where(present[k] & possible, across / safe, 0.0)
        # a place without a measurement may hold anything
        moved = jnp.where(present[k], residual, 0.0)
        cell = State(cell.mean + gain * moved, cell.covariance - safe * jnp.outer(gain, gain))
    return cell, jnp.stack(terms), jnp.stack(values)


def joint(flows: Flows, theta: Theta, design: Design, steps: Steps, measure: Measure) -> Joint:
    """The joint normal distribution of a series, linearised around the rate equations from its start."""
    count, places = steps.present.shape

    def step(state, now):
        (cell, time, code, across), (number, (until, _, columns)) = state, now
        flow = flows.over(theta, design, cell.mean, time, until[None])
        mean, propagator, spread = (each[0] for each in flow[:3])
        cell = State(mean, propagator @ cell.covariance @ propagator.T + spread)
        mu, slope, sigma = measure(until, mean, columns)
        # covariances of the species now with what is measured up to now, `(n, times, places)`
        across = jnp.einsum("ij,jtp->itp", propagator, across)
        across = across.at[:, number].set(cell.covariance @ slope.T)
        rows = jnp.einsum("qi,itp->qtp", slope, across)
        rows = rows.at[jnp.arange(places), number, jnp.arange(places)].add(sigma**2)
        return (cell, until, jnp.where(code == 0, flow.code, code), across), (mu, rows)

    start = flows.start(theta, design)
    first = (start, design.start, jnp.zeros((), int), jnp.zeros((len(start.mean), count, places)))
    (_, _, code, _), (mean, rows) = jax.lax.scan(step, first, (jnp.arange(count), steps))
    size, present = count * places, steps.present.reshape(-1)
    lower = jnp.tril(rows.reshape(size, size))
    covariance = lower + jnp.tril(lower, -1).T
    both = present[:, None] & present
    return Joint(jnp.where(present, mean.reshape(-1), 0.0), jnp.where(both, covariance, jnp.eye(size)), code)
