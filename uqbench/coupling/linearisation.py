"""What one window does to errors, from derivatives of it: the growth of errors, and the rate of strong iterations.

Both are eigenvalues of derivatives that JAX takes of a window: of its map of the states, and of what parts see of one
another as a function of what they have seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .acceleration import QuasiNewton, Relaxation, fixed_point
from .equations import Equations, Given
from .parts import Exchange, Part
from .schedules import Schedule, Strong

# Growth by rounding, and of the equations' own growth how much more a step may have.
NEUTRAL, OF_ITS_OWN = 1e-6, 1.5
# Solves after which an accelerated iteration counts as one that does not converge.
MOST_SOLVES = 50
GOLDEN = (np.sqrt(5.0) - 1) / 2


class Described(Protocol):
    """What is looked at: parts and exchanges, compiled once for each object."""

    parts: Mapping[str, Part]
    exchanges: Mapping[str, Exchange]


@dataclass(frozen=True)
class Prediction:
    """What is predicted of one schedule.

    Args:
        schedule: that was looked at.
        growth: factor by which an error of the states grows in a window, at most.
        exact_growth: the same of the equations themselves, in which nothing is split.
        rate: factor by which the error of a strong iteration shrinks in a solve; 0 where nothing is iterated.
        plain_rate: that without acceleration, the Gauss-Seidel or Jacobi factor.
        relaxation: constant factor that makes relaxation converge fastest, and `relaxed_rate`, how fast.
    """

    schedule: Schedule
    growth: float
    exact_growth: float
    rate: float
    plain_rate: float
    relaxation: float
    relaxed_rate: float

    @property
    def converges(self) -> bool:
        return self.rate < 1

    @property
    def stable(self) -> bool:
        """Whether the iteration converges and errors grow no faster than the equations let them."""
        own = OF_ITS_OWN * np.log(max(self.exact_growth, 1.0))
        return bool(self.converges and np.isfinite(self.growth) and np.log(max(self.growth, 1e-300)) <= own + NEUTRAL)

    @property
    def sentence(self) -> str:
        if not self.converges:
            return f"its iteration multiplies errors by {self.rate:.4g} in each solve, so that it does not converge"
        if not self.stable:
            return f"it multiplies errors by {self.growth:.4g} in each window, the equations by {self.exact_growth:.4g}"
        return f"it is stable: errors are multiplied by {self.growth:.4g} in each window, by {self.rate:.4g} in a solve"


def predict(system: Described, schedule: Schedule, given: Given, points) -> Prediction:
    """What becomes of a schedule, the worst of several points (times and flat states) of a solution."""
    each = [at_point(system, schedule, given, t, flat) for t, flat in zip(*points, strict=True)]
    worst = max(each, key=lambda one: one.plain_rate)
    growth, exact = max((one.growth / max(one.exact_growth, 1.0), one.growth, one.exact_growth) for one in each)[1:]
    return replace(worst, growth=growth, exact_growth=exact, rate=max(one.rate for one in each))


def at_point(system: Described, schedule: Schedule, given: Given, t, flat) -> Prediction:
    step, rates, iteration, first, reached = _linearised(system, _robust(schedule), given, t, flat)
    growth = _radius(np.asarray(step))
    with np.errstate(over="ignore"):
        exact = float(np.exp(schedule.step * np.max(np.linalg.eigvals(np.asarray(rates)).real, initial=-np.inf)))
    if not isinstance(schedule, Strong) or not iteration.size:
        return Prediction(schedule, growth, exact, 0.0, 0.0, 1.0, 0.0)
    if not np.all(np.isfinite(np.asarray(iteration))):
        return Prediction(schedule, growth, exact, np.inf, np.inf, np.nan, np.inf)
    factors = np.linalg.eigvals(np.asarray(iteration))
    relaxation, relaxed = best_relaxation(factors)
    how = schedule.acceleration
    if isinstance(how, Relaxation):
        rate = _relaxed(factors, how.factor)
    else:
        found, begun = _accelerated(how, iteration, reached, first - reached, schedule.tolerance)
        shrunk = float(found.residual) / max(float(begun), 1e-300)
        rate = shrunk ** (1 / max(int(found.solves) - 1, 1)) if found.converged else np.inf
        rate = min(rate, 1 - 1e-12) if found.converged else rate
    return Prediction(schedule, growth, exact, rate, _radius(np.asarray(iteration)), relaxation, relaxed)


def _robust(schedule: Schedule) -> Schedule:
    """The same schedule with an iteration that reaches its fixed point where the own one may not."""
    return replace(schedule, acceleration=QuasiNewton()) if isinstance(schedule, Strong) else schedule


@partial(jax.jit, static_argnames=("system", "schedule"))
def _linearised(system: Described, schedule: Schedule, given: Given, t, flat):
    """Derivatives of a window by the states, of the rates, and of what is seen; what is seen first and in the end."""
    equations, h = Equations.of(system.parts, system.exchanges, given, t), jnp.asarray(schedule.step, float)
    z = equations.start(given, t)
    z, unravel = ravel_pytree(z)[1](flat), ravel_pytree(z["states"])[1]
    memory, states = schedule.memory(equations, t, z, given), ravel_pytree(z["states"])[0]

    def after(states):
        change = schedule.advance(equations, t, h, {**z, "states": unravel(states)}, memory, given).change
        return states + ravel_pytree(change["states"])[0]

    def rates(states):
        field = equations.joint((*equations.parts,), (*equations.exchanges,))
        return ravel_pytree(field(t, {**z, "states": unravel(states)}, given)["states"])[0]

    step, slopes = jax.jacfwd(after)(states), jax.jacfwd(rates)(states)
    if not isinstance(schedule, Strong):
        nothing = jnp.zeros(0)
        return step, slopes, jnp.zeros((0, 0)), nothing, nothing
    seen = schedule.seen(equations, t, h, z, memory, given)
    return step, slopes, jax.jacfwd(seen.again)(seen.reached.x), seen.first, seen.reached.x


@partial(jax.jit, static_argnames=("how",))
def _accelerated(how, matrix, reached, error, tolerance):
    """An accelerated iteration on the linearised window, and the size of its first residual."""
    sizes = jnp.broadcast_to(jnp.maximum(jnp.max(jnp.abs(reached)), jnp.max(jnp.abs(error))), reached.shape)
    # where the start is the answer any error shows how others would shrink
    sizes = jnp.where(sizes > 0, sizes, 1.0)
    error = jnp.where(jnp.any(error != 0), error, jnp.ones_like(error))
    memory = how.memory(reached.size)
    found = fixed_point(lambda x: matrix @ x, error, how, memory, tolerance, MOST_SOLVES, lambda x: sizes)
    return found, jnp.max(jnp.abs(matrix @ error - error) / sizes)


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
