"""Which method a system needs, found on the host before anything is compiled.

A rough run (LSODA; Petzold 1983, doi:10.1137/0904010) shows where the trajectory goes; the eigenvalues of the Jacobian
along it say how many steps stability alone would force on an explicit method. Only decay counts: an undamped
oscillation has to be resolved by any method.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

from ...design import Design
from ...system import Ode, Theta
from ..odes import problem_of

# An explicit fifth-order step is stable up to about 3.3 / |lambda|.
STABLE = 3.3
# Stability steps beyond which implicit steps, each some three to five times as dear, cost less.
STIFF_STEPS = 300
# Evaluations after which the rough run is given up; such a system is taken for stiff.
MOST_EVALUATIONS = 20000


class Profile(NamedTuple):
    """Steps to which stability holds an explicit method up to each time, at the parameters given."""

    time: np.ndarray
    total: np.ndarray

    def covers(self, end: float) -> bool:
        """Whether the profile reaches the time `end`."""
        return end <= self.time[-1]

    def steps(self, end: float) -> float:
        """Stability steps from the start to `end`."""
        return float(np.interp(end, self.time, self.total))


@partial(jax.jit, static_argnames=("system", "names"))
def slope_at(system, names, theta, design, t, y):
    return jnp.stack(problem_of(system, names, (theta, design)).rhs(t, [y[k] for k in range(len(names))]))


jacobian_at = jax.jit(jax.jacfwd(slope_at, argnums=5), static_argnames=("system", "names"))


def stability_profile(system: Ode, theta: Theta, design: Design) -> Profile:
    """Follows the trajectory of one design roughly; infinitely many steps where that fails."""
    names = tuple(system.initial(theta, design.inputs))
    problem = problem_of(system, names, (theta, design))
    slope = partial(slope_at, system, names, theta, design)
    jacobian = partial(jacobian_at, system, names, theta, design)
    start = float(design.start)
    end = float(np.max(np.asarray(design.times), initial=start))
    stops, kicks = np.array([]), np.zeros((len(names), 0))
    if problem.stops is not None:
        stops, kicks = np.asarray(problem.stops), np.asarray(problem.kicks)
    inside = np.unique(stops[(stops > start) & (stops < end)])
    y = np.array([float(value) for value in problem.initial])
    atol = max(system.least_atol, 1e-6 * np.abs(y).max(initial=0.0))
    time, rate, calls = [start], [0.0], 0
    failed = Profile(np.array([start, end]), np.full(2, np.inf))

    def counted(t, y):
        nonlocal calls
        calls += 1
        if calls > MOST_EVALUATIONS:
            raise TimeoutError
        return np.asarray(slope(t, y))

    for t0, t1 in zip([start, *inside], [*inside, end], strict=True):
        y = y + kicks[:, stops == t0].sum(axis=1)
        if not (t1 > t0 and np.all(np.isfinite(y))):
            return failed if t1 > t0 else Profile(np.array([start]), np.zeros(1))
        try:
            with np.errstate(all="ignore"):
                rough = solve_ivp(
                    counted, (t0, t1), y, "LSODA", jac=lambda t, y: np.asarray(jacobian(t, y)), rtol=1e-3, atol=atol
                )
        except (TimeoutError, ValueError):
            return failed
        matrices = np.stack([np.asarray(jacobian(t, y)) for t, y in zip(rough.t, rough.y.T, strict=True)])
        if not rough.success or not np.all(np.isfinite(matrices)):
            return failed
        time += [*rough.t]
        rate += [*np.maximum(-np.linalg.eigvals(matrices).real.min(axis=1), 0.0)]
        y = rough.y[:, -1]
    steps = np.diff(time) * (np.array(rate[1:]) + rate[:-1]) / 2 / STABLE
    return Profile(np.array(time), np.concatenate([[0.0], np.cumsum(steps)]))
