"""Initial value problems: one solve, its derivatives, and the reason where it failed.

The method is chosen on the host, before anything is compiled: an explicit pair (Tsitouras 2011,
doi:10.1016/j.camwa.2011.06.002) unless the fastest time scale at the nominal parameters would hold it to tiny steps,
then an L-stable one: Rodas5P (`rosenbrock`), or where reverse mode is asked for or the system is large, Kvaerno's fifth
order method (2004, doi:10.1023/B:BITN.0000046811.70614.38). A solve never raises: it returns a code.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..design import Design
from ..system import Ode, Theta
from . import rosenbrock
from .sparse_lu import LARGEST_FILL, structure

RESULTS = {
    0: "successful",
    1: "the step limit was reached: the system is too stiff or too fast for the method at these values. "
    "Try method='implicit', looser tolerances, or a narrower prior.",
    2: "the solution left the finite numbers (blow-up, or the logarithm or power of a negative value). "
    "Check the signs of the rates and the range of the prior.",
}
MAX_STEPS = 4096
# An explicit fifth-order step is stable up to about 3.3 / |lambda|; beyond some hundred such steps implicit ones win.
STIFF_STEPS = 300


class Solution(eqx.Module):
    """States at the design's times, a code of `RESULTS` and the number of steps taken."""

    states: dict[str, Float[Array, " times"]]
    result: Int[Array, ""]
    steps: Int[Array, ""]


def spectral_radius(system: Ode, theta: Theta, design: Design) -> float:
    """Largest modulus of the Jacobian's eigenvalues at the initial state; infinite where it has none."""

    @jax.jit
    def jacobian(theta, design):
        initial = {name: jnp.asarray(value, float) for name, value in system.initial(theta, design.inputs).items()}
        rows = jax.jacfwd(lambda y: system.rhs(design.start, y, theta, design.inputs))(initial)
        return jnp.array([[rows[row][column] for column in initial] for row in initial])

    matrix = np.asarray(jacobian(theta, design))
    if not np.all(np.isfinite(matrix)):
        return float("inf")
    return float(np.abs(np.linalg.eigvals(matrix)).max(initial=0.0))


def choose_method(system: Ode, radius: float, span: float) -> str:
    """ "explicit" or "implicit", from the number of steps to which stability would hold an explicit method."""
    if system.method != "auto":
        return system.method
    return "implicit" if radius * span / 3.3 > STIFF_STEPS else "explicit"


def solve(system: Ode, theta: Theta, design: Design, *, method: str, reverse: bool = False) -> Solution:
    """Solves the system over the design's times; traceable, never raises.

    Args:
        method: "explicit" or "implicit", from `choose_method`.
        reverse: record what reverse-mode differentiation needs; otherwise only forward mode works, at no extra cost.

    Returns:
        states `(times,)` each; NaN everywhere where `result` is not 0.
    """
    initial = {name: jnp.asarray(value, float) for name, value in system.initial(theta, design.inputs).items()}
    if method == "implicit" and not reverse and (solution := _rosenbrock(system, theta, design, initial)):
        return solution
    solver = diffrax.Kvaerno5() if method == "implicit" else diffrax.Tsit5()
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: system.rhs(t, y, theta, design.inputs)),
        solver,
        t0=design.start,
        t1=design.times[-1],
        dt0=None,
        y0=initial,
        saveat=diffrax.SaveAt(ts=design.times),
        stepsize_controller=diffrax.PIDController(rtol=system.rtol, atol=system.atol),
        adjoint=diffrax.RecursiveCheckpointAdjoint() if reverse else diffrax.ForwardMode(),
        max_steps=MAX_STEPS,
        throw=False,
    )
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(values)) for values in solution.ys.values()]))
    exhausted = solution.result == diffrax.RESULTS.max_steps_reached
    result = jnp.where(exhausted, 1, jnp.where(finite & (solution.result == diffrax.RESULTS.successful), 0, 2))
    states = {name: jnp.where(result == 0, values, jnp.nan) for name, values in solution.ys.items()}
    return Solution(states, result, solution.stats["num_steps"])


def _rosenbrock(system: Ode, theta: Theta, design: Design, initial: dict) -> Solution | None:
    """The same solve by Rodas5P, or None where the system is too large for its unrolled elimination."""
    names = tuple(initial)

    def rhs(t, y):
        slope = system.rhs(t, dict(zip(names, y, strict=True)), theta, design.inputs)
        return [jnp.asarray(slope[name], float) for name in names]

    pattern = structure(rhs, len(names))
    if len(pattern.fill) > LARGEST_FILL:
        return None
    rows, code, steps = rosenbrock.solve(
        rhs,
        design.start,
        [initial[name] for name in names],
        design.times,
        rtol=system.rtol,
        atol=system.atol,
        max_steps=MAX_STEPS,
        pattern=pattern,
    )
    finite = jnp.all(jnp.isfinite(rows))
    result = jnp.where((code == 0) & ~finite, 2, code)
    states = {name: jnp.where(result == 0, rows[:, k], jnp.nan) for k, name in enumerate(names)}
    return Solution(states, result, steps)
