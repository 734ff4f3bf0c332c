"""The primer's demonstration: what stiffness costs explicit methods, in steps and evaluations.

The system is linear and its three modes decay by themselves, so n steps of size h of a method multiply each by the n-th
power of the method's stability function R at h times its eigenvalue. Steps are counted with these powers, and the
counts are confirmed by taking the steps in a compiled loop. Errors are absolute; the states start at two and three.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.time_scales.stiffness import stiffness_report

from ..initial_value.stiff_problems import DECAYS, INVERSE_MODES, LINEAR, MODES

pytestmark = pytest.mark.bench

END = 50.0
TARGET = 1e-6
GRID = np.linspace(1.0, END, 50)
RATES = np.array([*DECAYS.values()])
FASTEST = RATES.max()
# In the order of tolerances from loose to tight, the first that is good enough counts.
TOLERANCES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)


class Scheme(NamedTuple):
    """A one-step method with fixed steps: its stability function, a step of z' = J z, and its evaluations per step."""

    stability: Callable
    step: Callable
    evaluations: int


def forward_euler(matrix, h, z):
    return z + h * (matrix @ z)


def runge_kutta(matrix, h, z):
    k1 = matrix @ z
    k2 = matrix @ (z + h / 2 * k1)
    k3 = matrix @ (z + h / 2 * k2)
    k4 = matrix @ (z + h * k3)
    return z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def backward_euler(matrix, h, z):
    return jnp.linalg.solve(jnp.eye(3) - h * matrix, z)


SCHEMES = {
    "forward Euler": Scheme(lambda x: 1 + x, forward_euler, 1),
    "RK4": Scheme(lambda x: 1 + x + x**2 / 2 + x**3 / 6 + x**4 / 24, runge_kutta, 4),
    # one linear solve per step, with the same matrix each time
    "backward Euler": Scheme(lambda x: 1 / (1 - x), backward_euler, 1),
}


def states(factors) -> np.ndarray:
    """The states from the factor by which each mode has changed, `(..., 3)`; each starts at 1."""
    return np.asarray(factors) @ np.array(MODES).T


def error(scheme: Scheme, n: int, times: np.ndarray) -> float:
    """Largest error at the times, of n equal steps to the end; not a number where a mode grew beyond all numbers."""
    h = END / n
    steps = np.rint(times / h)
    assert np.allclose(steps * h, times), "each time has to be reached by whole steps"
    with np.errstate(over="ignore", invalid="ignore"):
        difference = np.power(scheme.stability(-h * RATES), steps[:, None]) - np.exp(-np.outer(times, RATES))
        return float(np.max(np.abs(states(difference))))


def steps_needed(scheme: Scheme, times: np.ndarray) -> int:
    """The fewest steps, a multiple of the number of times, with an error below the target."""
    unit = len(times)

    def good(multiple):
        return error(scheme, unit * multiple, times) <= TARGET

    below, above = 0, 1
    while not good(above):
        below, above = above, 2 * above
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if good(middle) else (middle, above)
    return unit * above


def steps_taken(scheme: Scheme, n: int) -> np.ndarray:
    """The state at the end after really taking n steps."""
    matrix = jnp.array(np.array(MODES) @ np.diag(-RATES) @ np.array(INVERSE_MODES))
    start, h = jnp.array(LINEAR.initial()), jnp.asarray(END / n)
    run = jax.jit(lambda z, h: jax.lax.fori_loop(0, n, lambda _, z: scheme.step(matrix, h, z), z))
    return np.asarray(run(start, h))


def uqbench_needs(times: np.ndarray) -> tuple[float, uq.Run]:
    """The loosest of the tolerances at which the default reaches the target, and its run."""
    exact = states(np.exp(-np.outer(times, RATES)))
    for rtol in TOLERANCES:
        run = uq.evaluate(LINEAR.at(rtol), LINEAR.theta, uq.Design(times))
        if np.abs(LINEAR.rows(run) - exact).max() <= TARGET:
            return rtol, run
    raise AssertionError("no tolerance reached the target")


def test_stability_limits():
    """The step at which |R| = 1 for the fastest mode: forward Euler 2e-4, RK4 2.785293563e-4, backward Euler none."""
    h = 2.1e-4
    assert abs(SCHEMES["forward Euler"].stability(-h * FASTEST)) == pytest.approx(1.1)
    limits = {}
    for name in ("forward Euler", "RK4"):
        stability, low, high = SCHEMES[name].stability, 1e-4, 4e-4
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if abs(stability(-middle * FASTEST)) < 1 else (low, middle)
        limits[name] = low
    assert limits["forward Euler"] == pytest.approx(2e-4, rel=1e-12)
    assert limits["RK4"] == pytest.approx(2.785293563e-4, rel=1e-9)
    backward = SCHEMES["backward Euler"].stability
    assert np.all(np.abs(backward(-np.geomspace(1e-6, 1e6, 100) * FASTEST)) < 1)
    assert backward(-RATES) == pytest.approx([9.9990001e-5, 0.0909091, 0.9090909], abs=5e-8)


def test_the_steps_that_the_powers_count_are_the_steps_that_are_taken():
    """A thousand real steps of each method against the powers of its stability function, stable or not."""
    matrix = np.array(MODES) @ np.diag(-RATES) @ np.array(INVERSE_MODES)
    for name, scheme in SCHEMES.items():
        for h in (1e-4, 2.1e-4):
            z = jnp.array(LINEAR.initial())
            z = jax.lax.fori_loop(0, 1000, lambda _, z, step=scheme.step, h=h: step(jnp.array(matrix), h, z), z)
            expected = states(scheme.stability(-h * RATES) ** 1000)
            # rounding alone excites an unstable mode in every state
            np.testing.assert_allclose(z, expected, atol=1e-9 * np.abs(expected).max(), err_msg=f"{name} at {h}")


@pytest.mark.parametrize("times", [np.array([END]), GRID], ids=["at the end", "at fifty times"])
def test_steps_and_evaluations_to_an_error_of_a_millionth(times, capsys):
    needed = {name: steps_needed(scheme, times) for name, scheme in SCHEMES.items()}
    rtol, run = uqbench_needs(times)
    steps = int(run.steps)
    where = "at t = 50" if len(times) == 1 else "at 50 times from 1 to 50"
    lines = [
        f"\nstiff_linear, error below {TARGET:.0e} {where}:",
        f"{'method':>16s} {'steps':>9s} {'evaluations':>12s}",
    ]
    lines += [f"{name:>16s} {n:9d} {n * SCHEMES[name].evaluations:12d}" for name, n in needed.items()]
    lines.append(f"{'uqbench':>16s} {steps:9d} {8 * steps:12d}   and {steps} Jacobians (Rodas5P, rtol {rtol:.0e})")
    with capsys.disabled():
        print("\n".join(lines))
    for name, n in needed.items():
        taken = steps_taken(SCHEMES[name], n)
        assert np.abs(taken - LINEAR.end()).max() <= 1.001 * TARGET
    # Stability, not accuracy, holds the explicit methods, whatever the error that is asked for.
    assert needed["forward Euler"] > END * FASTEST / 2
    assert needed["RK4"] > END / 2.785293564e-4
    # And that is how many steps the report foresees from the eigenvalues alone.
    foreseen = stiffness_report(LINEAR.model.system, LINEAR.theta, LINEAR.design).steps_for_stability
    assert float(foreseen.sel(solver="forward Euler")) == pytest.approx(END * FASTEST / 2, rel=1e-6)
    assert float(foreseen.sel(solver="RK4")) == pytest.approx(needed["RK4"], rel=2e-3)
    assert float(foreseen.sel(solver="backward Euler")) == 0.0
    # Backward Euler is stable at any step and pays for its first order instead.
    assert needed["backward Euler"] < needed["forward Euler"]
    assert int(run.result) == 0
    assert 100 * 8 * steps < min(n * SCHEMES[name].evaluations for name, n in needed.items())
