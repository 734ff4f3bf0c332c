"""The solvers that uqbench is measured against, each at its best, and how times are taken.

CVODES (SUNDIALS) comes as CasADi's wheel ships it: right-hand side and sparse Jacobian are symbolic expressions, and a
call goes through buffers, so that no Python runs inside a measured time. Kvaerno5 and Tsit5 are diffrax', compiled with
the tolerance as an argument. Radau (SciPy, Hairer & Wanner's order five) is the oracle where no closed form exists.
"""

import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from ..initial_value.stiff_problems import Problem

casadi = pytest.importorskip("casadi", reason="the reference solvers are in the dependency group bench")

MOST_STEPS = 10**6


class Call(NamedTuple):
    """A solve that is ready: a call fills `out`. It reads from the buffers in `kept`, so hold on to it as a whole."""

    run: Callable[[], None]
    out: np.ndarray
    kept: object

    def __call__(self) -> None:
        self.run()


def best(
    calls: Mapping[str, Callable],
    *,
    rounds: int = 15,
    burst: int = 6,
    budget: float = 1.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """The shortest time of each call in seconds, in turns so that a busy machine disturbs all alike.

    A turn is a burst of calls, as in the loops that solves stand in: what is alone between others finds cold caches.
    Each has `rounds` turns, fewer once it has used up its budget of seconds, but never less than three calls. A call
    that is longer than the turns of the machine's scheduler is better measured by `time.process_time`.
    """
    for call in calls.values():
        call()
    spent = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            for _ in range(burst):
                if len(spent[name]) < 3 or sum(spent[name]) < budget:
                    start = clock()
                    call()
                    spent[name].append(clock() - start)
    return {name: min(times) for name, times in spent.items()}


def time_at_error(points: Mapping[float, float], error: float) -> float:
    """Time at which a method reaches `error`, from its points error -> seconds, straight in logarithms.

    Points beaten by another one are left out. Outside of its points a method gets the time of the nearest one.
    """
    front, fastest = [], float("inf")
    for reached, seconds in sorted(points.items()):
        if np.isfinite(reached) and seconds < fastest:
            front.append((reached, seconds))
            fastest = seconds
    if not front:
        return float("inf")
    errors, seconds = np.log(np.array(front)).T
    return float(np.exp(np.interp(np.log(error), errors, seconds)))


# --- CVODES


def _symbols(problem: Problem, free: tuple[str, ...]):
    """Time, state, parameters and right-hand side as CasADi's symbols."""
    t = casadi.SX.sym("t")
    y = casadi.SX.sym("y", len(problem.states))
    p = casadi.SX.sym("p", len(free))
    theta = {**problem.theta, **dict(zip(free, casadi.vertsplit(p), strict=True))}
    return t, y, p, casadi.vertcat(*problem.slope(t, casadi.vertsplit(y), theta))


def _buffered(function, output: str, **values) -> Call:
    """A call without wrapping its arguments in Python; inputs that are not named are zero."""
    buffer, run = function.buffer()
    inputs = {name: np.ascontiguousarray(value, float).ravel() for name, value in values.items()}
    for name, value in inputs.items():
        buffer.set_arg(function.index_in(name), memoryview(value))
    out = np.zeros(function.nnz_out(output))
    buffer.set_res(function.index_out(output), memoryview(out))
    return Call(run, out, (buffer, inputs))


def _integrator(problem: Problem, rtol: float, linear_solver: str, x, p, t, slope):
    options = {
        "abstol": rtol * problem.floor,
        "reltol": rtol,
        "max_num_steps": MOST_STEPS,
        "linear_solver": linear_solver,
    }
    system = {"x": x, "p": p, "t": t, "ode": slope}
    return casadi.integrator("cvodes", "cvodes", system, 0.0, list(map(float, problem.times)), options)


def _fastest(calls: Mapping[str, Call]) -> tuple[str, Call]:
    seconds = best(calls, rounds=3, budget=0.2)
    name = min(seconds, key=seconds.get)
    return name, calls[name]


def cvodes(problem: Problem, rtol: float) -> Call:
    """The states at the problem's times, `(times * states,)`, by the faster of CasADi's two sparse linear solvers."""
    t, y, p, slope = _symbols(problem, problem.free)
    values = [problem.theta[name] for name in problem.free]
    calls = {
        linear_solver: _buffered(
            _integrator(problem, rtol, linear_solver, y, p, t, slope), "xf", x0=problem.initial(), p=values
        )
        for linear_solver in ("qr", "csparse")
    }
    return _fastest(calls)[1]


def cvodes_gradients(problem: Problem, rtol: float, free: tuple[str, ...]) -> tuple[str, Call]:
    """The fastest way to all sensitivities with respect to `free`, and its name.

    Either CasADi's own forward sensitivities, or CVODES on the state together with its variational equations, both with
    their symbolic Jacobian.
    """
    t, y, p, slope = _symbols(problem, free)
    values = np.array([problem.theta[name] for name in free])
    calls = {}
    for linear_solver in ("qr", "csparse"):
        value = _integrator(problem, rtol, linear_solver, y, p, t, slope)
        states = _buffered(value, "xf", x0=problem.initial(), p=values)
        states()
        calls[f"forward, {linear_solver}"] = _buffered(
            value.forward(len(free)),
            "fwd_xf",
            x0=problem.initial(),
            p=values,
            out_xf=states.out,
            fwd_p=np.eye(len(free)),
        )
        calls[f"variational, {linear_solver}"] = _variational(problem, rtol, free, linear_solver)
    return _fastest(calls)


def _variational(problem: Problem, rtol: float, free: tuple[str, ...], linear_solver: str) -> Call:
    """CVODES on states and derivatives with respect to the logarithms of the parameters, all under error control."""
    t, y, p, slope = _symbols(problem, free)
    sensitivity = casadi.SX.sym("S", len(problem.states), len(free))
    change = casadi.jacobian(slope, y) @ sensitivity + casadi.jacobian(slope, p) @ casadi.diag(p)
    both = casadi.vertcat(y, casadi.vec(sensitivity))
    slopes = casadi.vertcat(slope, casadi.vec(change))
    integrator = _integrator(problem, rtol, linear_solver, both, p, t, slopes)
    start = np.concatenate([problem.initial(), np.zeros(sensitivity.numel())])
    return _buffered(integrator, "xf", x0=start, p=[problem.theta[name] for name in free])


def log_sensitivities(problem: Problem, free: tuple[str, ...], rtol: float = 1e-12) -> np.ndarray:
    """d states / d log parameters by CVODES at a tight tolerance, `(times, states, parameters)`; the oracle."""
    call = _variational(problem, rtol, free, "csparse")
    call()
    both = call.out.reshape(len(problem.times), 1 + len(free), len(problem.states))
    return both[:, 1:].transpose(0, 2, 1)


# --- diffrax


@cache
def _diffrax(model, solver, floor: float, most_steps: int):
    """`(theta, start, times, rtol)` -> states `(times, states)` and the number of steps, compiled."""
    names = model.outputs

    def slope(t, y, theta):
        slope = model.system.rhs(t, dict(zip(names, y, strict=True)), theta, {})
        return jnp.stack([slope[name] for name in names])

    @jax.jit
    def solve(theta, start, times, rtol):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(slope),
            solver(),
            t0=0.0,
            t1=times[-1],
            dt0=None,
            y0=start,
            args=theta,
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=rtol * floor),
            adjoint=diffrax.ForwardMode(),
            max_steps=most_steps,
            throw=False,
        )
        return solution.ys, solution.stats["num_steps"]

    return solve


def by_diffrax(problem: Problem, solver: type, rtol: float, most_steps: int = MOST_STEPS) -> Callable:
    """A solve by diffrax that waits for its states."""
    solve = _diffrax(problem.model, solver, problem.floor, most_steps)
    theta = {name: jnp.asarray(value) for name, value in problem.theta.items()}
    start, times, rtol = jnp.asarray(problem.initial()), jnp.asarray(problem.times), jnp.asarray(rtol)
    return lambda: jax.block_until_ready(solve(theta, start, times, rtol))


# --- the oracle


@cache
def trajectory(problem: Problem, rtol: float = 1e-12) -> np.ndarray:
    """The states at the problem's times, `(times, states)`, by Radau."""
    t, y, p, slope = _symbols(problem, problem.free)
    values = [problem.theta[name] for name in problem.free]
    rhs = casadi.Function("rhs", [t, y, p], [slope])
    jacobian = casadi.Function("jacobian", [t, y, p], [casadi.jacobian(slope, y)])
    solution = solve_ivp(
        lambda t, y: np.asarray(rhs(t, y, values)).ravel(),
        (0.0, problem.times[-1]),
        problem.initial(),
        method="Radau",
        t_eval=problem.times,
        jac=lambda t, y: np.asarray(jacobian(t, y, values)),
        rtol=rtol,
        atol=rtol * problem.floor,
    )
    assert solution.success, solution.message
    return solution.y.T
