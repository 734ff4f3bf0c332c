"""What one window does to errors, from derivatives of it: the growth of errors, and the rate of strong iterations.

Both are eigenvalues of derivatives that JAX takes of a window: of its map of the states, and of what parts see of one
another as a function of what they have seen. Those of many states are found from products of the derivatives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from .acceleration import FixedPoint, QuasiNewton, Relaxation
from .equations import Equations, Given
from .parts import Exchange, Part
from .schedules import Schedule, Strong
from .spectra import TOLERANCE, largest

# Growth by rounding, that which eigenvalues from products do not tell from none (the accuracy asked of them), and how
# much more than the equations' own growth a step may have.
NEUTRAL, OF_PRODUCTS, OF_ITS_OWN = 1e-6, TOLERANCE, 1.5
# Of the solves that a schedule allows, the share with which its iteration counts as one that converges: other windows
# of the same solution take more than those that were looked at, with Aitken's factors twice as many in one of 1600.
ENOUGH = 0.45
# States above which eigenvalues are found from products of derivatives, not from matrices.
MANY = 150
# States above which no matrix is had at all: products find eigenvalues that lie close together badly.
MANY_COLUMNS = 1000
# Growth in a window that is no longer followed, and that from which on there is no number for it.
MOST_GROWTH, NUMBERED = 2.0, 1e300
GOLDEN = (np.sqrt(5.0) - 1) / 2


class Described(Protocol):
    """What is looked at: parts and exchanges, compiled once for each object."""

    @property
    def parts(self) -> Mapping[str, Part]: ...

    @property
    def exchanges(self) -> Mapping[str, Exchange]: ...


@dataclass(frozen=True)
class _Unscheduled:
    """The same objects under any schedule and tolerance: they are equal, so that programs serve them all."""

    named_parts: tuple[tuple[str, Part], ...]
    named_exchanges: tuple[tuple[str, Exchange], ...]

    @property
    def parts(self) -> Mapping[str, Part]:
        return dict(self.named_parts)

    @property
    def exchanges(self) -> Mapping[str, Exchange]:
        return dict(self.named_exchanges)


@dataclass(frozen=True)
class Prediction:
    """What is predicted of one schedule.

    Args:
        schedule: that was looked at.
        growth: factor by which an error of the states grows in a window, at most; NaN where the rates have no finite
            derivatives, so that nothing is known.
        exact_growth: the same of the equations themselves, in which nothing is split.
        rate: factor by which the error of a strong iteration shrinks in a solve; 0 where nothing is iterated.
        plain_rate: that without acceleration, the Gauss-Seidel or Jacobi factor.
        relaxation: constant factor that makes relaxation converge fastest, and `relaxed_rate`, how fast.
        solves: of a window, at most; 0 where it does not converge within a share of those that the schedule allows.
        accuracy: of the logarithm of the growth.
    """

    schedule: Schedule
    growth: float
    exact_growth: float
    rate: float = 0.0
    plain_rate: float = 0.0
    relaxation: float = 1.0
    relaxed_rate: float = 0.0
    solves: int = 1
    accuracy: float = NEUTRAL

    @property
    def converges(self) -> bool:
        return self.solves > 0

    @property
    def known(self) -> bool:
        """Whether there are derivatives to predict from."""
        return not np.isnan(self.growth)

    @property
    def stable(self) -> bool:
        """Whether the iteration converges and errors grow no faster than the equations let them.

        Equations whose own errors grow manyfold in a window are not followed by any schedule of that step.
        """
        own = min(OF_ITS_OWN * np.log(max(self.exact_growth, 1.0)), np.log(MOST_GROWTH))
        return bool(
            self.converges and np.isfinite(self.growth) and np.log(max(self.growth, 1e-300)) <= own + self.accuracy
        )

    @property
    def sentence(self) -> str:
        if not self.known:
            return "the rates have no finite derivatives there, so that nothing is known of it"
        if not self.converges:
            ends = "is given up before it converges" if self.rate < 1 else "does not converge"
            return f"its iteration multiplies errors by {_factor(self.rate)} in each solve and {ends}"
        if not self.stable:
            ours, own = _factor(self.growth), _factor(self.exact_growth)
            return f"it multiplies errors by {ours} in each window, the equations by {own}"
        iterated = f", by {self.rate:.4g} in a solve" if self.plain_rate > 0 else ""
        return f"it is stable: errors are multiplied by {self.growth:.4g} in each window{iterated}"


def _factor(value: float) -> str:
    return f"{value:.4g}" if value <= NUMBERED else f"more than {NUMBERED:.0e}"


def predict(system: Described, schedule: Schedule, given: Given, times, states) -> Prediction:
    """What becomes of a schedule, the worst of what is predicted at several points.

    Args:
        times: `(points,)`. states: `(points, n)`, of a solution.
    """
    return worst_of(predictions(system, schedule, given, times, states))


def worst_of(each: Sequence[Prediction]) -> Prediction:
    """What is predicted of one schedule at several points as one prediction, from those of which something is known."""
    each = [one for one in each if one.known] or each
    worst = max(each, key=lambda one: one.plain_rate)
    excess = max(each, key=lambda one: one.growth / max(one.exact_growth, 1.0))
    solves = max(one.solves for one in each) if all(one.solves for one in each) else 0
    rate = max(one.rate for one in each)
    return replace(worst, growth=excess.growth, exact_growth=excess.exact_growth, rate=rate, solves=solves)


def first_stable(system: Described, schedules: Mapping[str, Schedule], given: Given, times, states) -> str:
    """The name of the first that is stable, "" where none is; those after it are not looked at."""
    return next((name for name, each in schedules.items() if predict(system, each, given, times, states).stable), "")


def predictions(system: Described, schedule: Schedule, given: Given, times, states) -> list[Prediction]:
    """What is predicted at each point; arguments as of `predict`.

    Points are looked at one by one, so that a program serves any number of them.
    """
    look = _by_products if states.shape[1] > MANY else _by_matrices
    system = _Unscheduled(tuple(system.parts.items()), tuple(system.exchanges.items()))
    return [look(system, schedule, given, t, flat) for t, flat in zip(times, states, strict=True)]


def _by_matrices(system: Described, schedule: Schedule, given: Given, t, flat) -> Prediction:
    """What is predicted at one point of a system of few states."""
    exponent = _abscissa(np.asarray(_slopes_of_rates(system, given, t, flat)))
    if not isinstance(schedule, Strong):
        return _growing(schedule, _radius(np.asarray(_plain_window(system, schedule, given, t, flat))), exponent)
    step, iteration, *reached = map(np.asarray, _iterated_window(system, _robust(schedule), given, t, flat))
    found = _growing(schedule, _radius(step), exponent)
    if not iteration.size:
        return found
    if schedule != _robust(schedule):
        reached = [*map(np.asarray, _reached(system, schedule, given, t, flat)[1:])]
    factors = np.linalg.eigvals(iteration) if np.all(np.isfinite(iteration)) else np.array([np.nan])
    return _iterating(schedule, found, factors, *reached)


def _growing(schedule: Schedule, growth: float, exponent: float, accuracy=NEUTRAL) -> Prediction:
    """What is predicted of errors that grow by a factor, and of equations whose errors do by an exponent of time.

    Of an exponent that is no number nothing is known; infinite growth is that of windows that overflow.
    """
    if np.isnan(exponent):
        growth = np.nan
    with np.errstate(over="ignore"):
        return Prediction(schedule, growth, float(np.exp(schedule.step * exponent)), accuracy=accuracy)


def _by_products(system: Described, schedule: Schedule, given: Given, t, flat) -> Prediction:
    """What is predicted at one point of a system of many states, which see few numbers of one another."""
    point = (system, schedule, given, t, flat)
    count = count_states(system, given, t)
    accuracy = OF_PRODUCTS if count > MANY_COLUMNS else NEUTRAL
    exponent = _largest(lambda v: _moved_rates(system, given, t, flat, v), count, "LR")
    if not isinstance(schedule, Strong):
        return _growing(schedule, _largest(lambda v: _moved(*point, v), count, "LM"), exponent, accuracy)
    point = (system, _robust(schedule), given, t, flat)
    x, *reached = _reached(*point)
    if not len(x):
        growth = _largest(lambda v: _moved_iterated(*point, x, np.eye(0), v), count, "LM")
        return _growing(schedule, growth, exponent, accuracy)
    if schedule != _robust(schedule):
        _, *reached = _reached(system, schedule, given, t, flat)
    slopes = np.asarray(_slopes_of_seen(*point, x))
    if not np.all(np.isfinite(slopes)):
        return _iterating(schedule, _growing(schedule, np.inf, exponent), np.array([np.nan]), *map(np.asarray, reached))
    inverse = np.linalg.inv(np.eye(len(x)) - slopes)
    growth = _largest(lambda v: _moved_iterated(*point, x, inverse, v), count, "LM")
    found = _growing(schedule, growth, exponent, accuracy)
    return _iterating(schedule, found, np.linalg.eigvals(slopes), *map(np.asarray, reached))


def _largest(product, count: int, which: str) -> float:
    """The largest eigenvalue, of fewer states from the matrix, whose columns are had together."""
    if count > MANY_COLUMNS:
        return largest(product, count, which)
    matrix = np.asarray(jax.vmap(product, out_axes=1)(jnp.eye(count)))
    return _radius(matrix) if which == "LM" else _abscissa(matrix)


def _iterating(schedule: Strong, found: Prediction, factors, converged, solves, rate) -> Prediction:
    """The same with what its iteration does.

    Args:
        factors: eigenvalues of the derivative of what is seen by what was.
    """
    if not np.all(np.isfinite(factors)):
        return replace(found, rate=np.inf, plain_rate=np.inf, relaxation=np.nan, relaxed_rate=np.inf, solves=0)
    how = schedule.acceleration
    relaxation, relaxed = best_relaxation(factors)
    rate = _relaxed(factors, how.factor) if isinstance(how, Relaxation) else float(rate)
    converges = bool(converged) and rate < 1 and solves <= ENOUGH * schedule.max_iterations
    return replace(
        found, rate=rate, plain_rate=float(np.max(np.abs(factors))), relaxation=relaxation, relaxed_rate=relaxed,
        solves=int(solves) if converges else 0,
    )  # fmt: skip


def _robust(schedule: Strong) -> Strong:
    """The same with an iteration that converges as a rule; what is iterated to does not depend on which."""
    return replace(schedule, acceleration=QuasiNewton())


@partial(jax.jit, static_argnames="system")
def _slopes_of_rates(system: Described, given: Given, t, flat):
    """Derivatives of the rates by the states, one program for all schedules."""
    *_, states, _, rates = _at(system, given, t, flat)
    return jax.jacfwd(rates)(states)


@partial(jax.jit, static_argnames=("system", "schedule"))
def _plain_window(system: Described, schedule: Schedule, given: Given, t, flat):
    """Derivatives of a window by the states."""
    equations, z, states, at, _ = _at(system, given, t, flat)
    return jax.jacfwd(_after(schedule, equations, t, z, at, given))(states)


@partial(jax.jit, static_argnames=("system", "schedule"))
def _iterated_window(system: Described, schedule: Strong, given: Given, t, flat):
    """Derivatives of an iterated window by the states, and of what is seen in it by what was.

    The first by the implicit function theorem from one derivative of a plain window. Also, of the iteration, whether it
    converges, after how many solves, and its mean rate.
    """
    equations, z, *_ = _at(system, given, t, flat)
    reached = _seen(schedule, equations, t, z, given)
    states, window = _seen_window(system, schedule, given, t, flat)
    size = len(reached.x)
    both = jnp.concatenate([reached.x, states])
    again, after = jax.jacfwd(lambda both: window(both[:size], both[size:]))(both)
    moved = jnp.linalg.solve(jnp.eye(size) - again[:, :size], again[:, size:]) if size else again[:, size:]
    ends = reached.converged, reached.solves, reached.rate
    return after[:, size:] + after[:, :size] @ moved, again[:, :size], *ends


def _at(system: Described, given: Given, t, flat):
    """Equations, the coupled state of a point, its states `(n,)`, that of other states, and the rates of these."""
    equations = Equations.of(system.parts, system.exchanges, given, t)
    z = ravel_pytree(equations.start(given, t))[1](flat)
    states, unravel = ravel_pytree(z["states"])

    def at(states):
        return {**z, "states": unravel(states)}

    def rates(states):
        field = equations.joint((*equations.parts,), (*equations.exchanges,))
        return ravel_pytree(field(t, at(states), given)["states"])[0]

    return equations, z, states, at, rates


def count_states(system: Described, given: Given, t) -> int:
    """Numbers that all parts together have for states; nothing is computed for it."""
    starts = jax.eval_shape(lambda: Equations.of(system.parts, system.exchanges, given, t).start(given, t)["states"])
    return sum(leaf.size for leaf in jax.tree.leaves(starts))


def _after(schedule: Schedule, equations: Equations, t, z, at, given: Given):
    """States at the end of a window as a function of those at its start."""
    h, memory = jnp.asarray(schedule.step, float), schedule.memory(equations, t, z, given)
    return lambda states: states + _change(schedule.advance(equations, t, h, at(states), memory, given).change)


def _seen(schedule: Strong, equations: Equations, t, z, given: Given) -> FixedPoint:
    """What parts see of one another in the end of the iteration of a window."""
    memory = schedule.memory(equations, t, z, given)
    return schedule.seen(equations, t, jnp.asarray(schedule.step, float), z, memory, given).reached


@partial(jax.jit, static_argnames=("system", "schedule"))
def _moved(system: Described, schedule: Schedule, given: Given, t, flat, v):
    """Where a change v of the states goes in a window."""
    equations, z, states, at, _ = _at(system, given, t, flat)
    return jax.jvp(_after(schedule, equations, t, z, at, given), (states,), (v,))[1]


@partial(jax.jit, static_argnames="system")
def _moved_rates(system: Described, given: Given, t, flat, v):
    *_, states, _, rates = _at(system, given, t, flat)
    return jax.jvp(rates, (states,), (v,))[1]


@partial(jax.jit, static_argnames=("system", "schedule"))
def _reached(system: Described, schedule: Strong, given: Given, t, flat):
    """What parts see in the end, and of the iteration whether it converges, its solves and its mean rate."""
    equations, z, *_ = _at(system, given, t, flat)
    reached = _seen(schedule, equations, t, z, given)
    return reached.x, reached.converged, reached.solves, reached.rate


def _seen_window(system: Described, schedule: Strong, given: Given, t, flat):
    """States, and a window as a function of what is seen and of them: what is seen next, and the states at its end."""
    equations, z, states, at, _ = _at(system, given, t, flat)
    h, counts, layout = jnp.asarray(schedule.step, float), schedule.counts(equations), schedule.layout()
    unravel = ravel_pytree(equations.frozen(t, z, h, given, layout))[1]

    def window(x, states):
        found = equations.window(unravel(x), t, at(states), h, given, counts, layout)
        return ravel_pytree(found.found)[0], states + _change(found.change)

    return states, window


@partial(jax.jit, static_argnames=("system", "schedule"))
def _slopes_of_seen(system: Described, schedule: Strong, given: Given, t, flat, x):
    states, window = _seen_window(system, schedule, given, t, flat)
    return jax.jacfwd(lambda x: window(x, states)[0])(x)


@partial(jax.jit, static_argnames=("system", "schedule"))
def _moved_iterated(system: Described, schedule: Strong, given: Given, t, flat, x, inverse, v):
    """Where a change v of the states goes in a window that is iterated, with the inverse of 1 - the slopes of x."""
    states, window = _seen_window(system, schedule, given, t, flat)
    still = jnp.zeros_like(x)
    (seen, _) = jax.jvp(window, (x, states), (still, v))[1]
    return jax.jvp(window, (x, states), (inverse @ seen, v))[1][1]


def _change(change) -> Array:
    return ravel_pytree(change["states"])[0]


def best_relaxation(factors) -> tuple[float, float]:
    """The constant relaxation of x -> g(x) that converges fastest, and its rate.

    Args:
        factors: eigenvalues of the derivative of g. One of -ratio, as of Dirichlet-Neumann coupling, is taken back by
            1/(1 + ratio) at once.

    Example:
        >>> best_relaxation([-3.0])
        (0.25, 0.0)
    """
    gaps = 1 - np.asarray(factors, complex)
    if np.ptp(np.abs(gaps)) == 0 and np.all(gaps == gaps[0]) and gaps[0].imag == 0 and gaps[0]:
        return float(1 / gaps[0].real), 0.0
    low, high = -2 / np.min(np.abs(gaps)), 2 / np.min(np.abs(gaps))
    # the largest of absolute values of linear functions has one minimum
    for _ in range(200):
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        if _relaxed(factors, left) <= _relaxed(factors, right):
            high = right
        else:
            low = left
    return (low + high) / 2, _relaxed(factors, (low + high) / 2)


def _relaxed(factors, factor: float) -> float:
    return float(np.max(np.abs(1 - factor * (1 - np.asarray(factors)))))


def _radius(matrix) -> float:
    if not np.all(np.isfinite(matrix)):
        return np.inf
    return float(np.max(np.abs(np.linalg.eigvals(matrix)), initial=0.0))


def _abscissa(matrix) -> float:
    """The largest real part of the eigenvalues; NaN of what is not finite."""
    if not np.all(np.isfinite(matrix)):
        return np.nan
    return float(np.max(np.linalg.eigvals(matrix).real, initial=-np.inf))
