"""The engine at 5 to 300 states: what values, gradients and batches cost beside CVODES, and how long compiling takes.

CVODES runs through CasADi's buffers with symbolic sparse Jacobians, see `reference_solvers`. Times are compared at
equal error: both solve at several tolerances, and the time of CVODES is read at the error that ours has. Sensitivities
are under error control on both sides. Run one at a time on a machine with nothing else to do.
"""

import json
import os
import subprocess
import sys
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq

from ..initial_value.stiff_problems import Problem
from .reference_solvers import (
    Call,
    _buffered,
    _fastest,
    _integrator,
    _symbols,
    _variational,
    best,
    cvodes,
    log_sensitivities,
    time_at_error,
    trajectory,
)
from .synthetic_models import CASCADES, cascade, line_of_cells

pytestmark = pytest.mark.bench

ROOT = Path(__file__).parents[2]
TOLERANCES = (1e-4, 1e-6, 1e-8)
# The reference is up to a hundred times less accurate at the same tolerance: its error has to reach ours.
REFERENCE_TOLERANCES = (*TOLERANCES, 1e-10)
SIZES = {f"{states} states": (cascade, states, CASCADES[states]) for states in (5, 8, 15, 33, 100)} | {
    "300 cells": (line_of_cells, 300)
}


def made(size: str) -> Problem:
    make, *arguments = SIZES[size]
    return make(*arguments)


# --- values


@cache
def truth(problem: Problem) -> np.ndarray:
    """The states by CVODES at 1e-12, `(times, states)`."""
    call = cvodes(problem, 1e-12)
    call()
    return call.out.reshape(len(problem.times), len(problem.states)).copy()


@pytest.mark.parametrize("size", ["5 states", "8 states", "15 states"])
def test_the_oracle_agrees_with_radau(size):
    problem = made(size)
    assert problem.error(truth(problem), trajectory(problem)) < 1e-8


@pytest.mark.parametrize("size", SIZES)
def test_a_value_costs_at_most_the_time_of_cvodes(size, capsys):
    problem = made(size)
    exact, calls, errors = truth(problem), {}, {}
    for rtol in TOLERANCES:
        model = problem.at(rtol)
        compiled = jax.jit(partial(uq.evaluate, model, design=problem.design))
        theta = model.space.complete(problem.theta)
        run = compiled(theta)
        assert int(run.result) == 0
        calls["ours", rtol] = lambda compiled=compiled, theta=theta: jax.block_until_ready(compiled(theta))
        errors["ours", rtol] = problem.error(problem.rows(run), exact)
    for rtol in REFERENCE_TOLERANCES:
        calls["CVODES", rtol] = reference = cvodes(problem, rtol)
        reference()
        errors["CVODES", rtol] = problem.error(reference.out.reshape(exact.shape), exact)
    seconds = best(calls, budget=1.0)
    references = {errors["CVODES", rtol]: seconds["CVODES", rtol] for rtol in REFERENCE_TOLERANCES}
    ratios = {rtol: seconds["ours", rtol] / time_at_error(references, errors["ours", rtol]) for rtol in TOLERANCES}
    with capsys.disabled():
        print(f"\n{size:10s} value: ours / CVODES in us (errors), and the ratio at our error")
        for rtol in TOLERANCES:
            print(
                f"    {rtol:.0e}: {1e6 * seconds['ours', rtol]:8.0f} / {1e6 * seconds['CVODES', rtol]:8.0f} "
                f"({errors['ours', rtol]:.1e} / {errors['CVODES', rtol]:.1e})   {ratios[rtol]:.2f}"
            )
    assert max(ratios[1e-6], ratios[1e-8]) <= 1, ratios


# --- gradients


def states_of(problem: Problem, rtol: float):
    """`f(logarithms)` -> `(times, states)`, and the logarithms of the problem's values."""
    model = problem.at(rtol)

    def states(logarithms):
        theta = dict(zip(problem.free, jnp.exp(logarithms), strict=True))
        run = uq.evaluate(model, theta, problem.design, mode="forward")
        return jnp.stack([run.outputs[name] for name in problem.states], axis=-1)

    return states, jnp.log(jnp.array([problem.theta[name] for name in problem.free]))


def own_sensitivities(problem: Problem, rtol: float) -> Call:
    """CVODES' own forward sensitivities under its own error control, by the faster of two sparse linear solvers."""
    t, y, p, slope = _symbols(problem, problem.free)
    values, calls = np.array([problem.theta[name] for name in problem.free]), {}
    for linear_solver in ("qr", "csparse"):
        value = _integrator(problem, rtol, linear_solver, y, p, t, slope)
        states = _buffered(value, "xf", x0=problem.initial(), p=values)
        states()
        known = {"x0": problem.initial(), "p": values, "out_xf": states.out, "fwd_p": np.eye(len(values))}
        calls[linear_solver] = _buffered(value.forward(len(values)), "fwd_xf", **known)
    return _fastest(calls)[1]


def variational_equations(problem: Problem, rtol: float) -> Call:
    """CVODES on the states together with their variational equations, written out beforehand."""
    calls = {name: _variational(problem, rtol, problem.free, name) for name in ("qr", "csparse")}
    return _fastest(calls)[1]


def of_own(problem: Problem, out: np.ndarray) -> np.ndarray:
    """As derivatives by the logarithms `(times, states, parameters)`."""
    shape = (len(problem.free), len(problem.times), len(problem.states))
    return out.reshape(shape).transpose(1, 2, 0) * np.array([problem.theta[name] for name in problem.free])


def of_variational(problem: Problem, out: np.ndarray) -> np.ndarray:
    shape = (len(problem.times), 1 + len(problem.free), len(problem.states))
    return out.reshape(shape)[:, 1:].transpose(0, 2, 1)


REFERENCES = {"sensitivities": (own_sensitivities, of_own), "variational": (variational_equations, of_variational)}


def deviation(derivatives: np.ndarray, exact: np.ndarray, problem: Problem) -> float:
    """Largest error relative to the largest of the same derivative over time, or a thousandth of the state's size."""
    size = np.maximum(np.abs(exact).max(axis=0), 1e-3 * problem.floor)
    return float(np.max(np.abs(np.asarray(derivatives) - exact) / size))


@pytest.mark.parametrize("size", ["8 states", "15 states", "33 states"])
def test_a_gradient_costs_at_most_a_fifth_of_cvodes(size, capsys):
    """Of CVODES with sensitivities of its own; on variational equations it is faster, which is printed too."""
    problem = made(size)
    exact = log_sensitivities(problem, problem.free, rtol=1e-10)
    calls, errors = {}, {}
    for rtol in (1e-4, 1e-6):
        states, at = states_of(problem, rtol)
        compiled = jax.jit(jax.jacfwd(states))
        errors["ours", rtol] = deviation(compiled(at), exact, problem)
        calls["ours", rtol] = lambda compiled=compiled, at=at: jax.block_until_ready(compiled(at))
        for name, (solver, reader) in REFERENCES.items():
            calls[name, rtol] = reference = solver(problem, rtol)
            reference()
            errors[name, rtol] = deviation(reader(problem, reference.out), exact, problem)
    states, at = states_of(problem, 1e-6)
    value = jax.jit(states)
    calls["value", 1e-6] = lambda: jax.block_until_ready(value(at))
    seconds = best(calls, rounds=5, budget=2.0)
    gains = {}
    for name in REFERENCES:
        points = {errors[name, rtol]: seconds[name, rtol] for rtol in (1e-4, 1e-6)}
        gains[name] = time_at_error(points, errors["ours", 1e-6]) / seconds["ours", 1e-6]
    with capsys.disabled():
        print(f"\n{size:10s} by {len(problem.free)} parameters; a value takes {1e3 * seconds['value', 1e-6]:.2f} ms")
        for name in ("ours", *REFERENCES):
            cells = (
                f"{1e3 * seconds[name, rtol]:8.2f} ms at {rtol:.0e} (error {errors[name, rtol]:.1e})"
                for rtol in (1e-4, 1e-6)
            )
            print(
                f"    {name:13s} {', '.join(cells)}"
                + (f", ours {gains[name]:.1f} times as fast" if name in gains else "")
            )
    assert errors["ours", 1e-6] < 1e-4
    assert gains["sensitivities"] >= 5


# --- fresh processes: how long compiling takes, and what a second core brings


def in_a_fresh_process(program: str, cache_home: Path, *arguments: str, cores: set[int] | None = None) -> dict:
    """What a program prints as its last line, as JSON, in a new process whose caches are in `cache_home`.

    Args:
        program: Python code that reads its arguments from `sys.argv`.
        cache_home: an empty folder for a first start.
        arguments: of the program.
        cores: that the process may use; default all.
    """
    hidden = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    bound = f"import os; os.sched_setaffinity(0, {cores})\n" if cores else ""
    done = subprocess.run(
        [sys.executable, "-c", bound + program, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment | {"XDG_CACHE_HOME": str(cache_home)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# A small model first, so that what is the same for all models (libraries, and the engine where it has not been kept) is
# counted by itself.
COMPILE = """
import json, sys, time
import jax, jax.numpy as jnp
import uqbench as uq
from tests.benchmarks.synthetic_models import cascade, line_of_cells
from tests.benchmarks.test_native_engine import states_of

def seconds(call):
    used = time.process_time()
    jax.block_until_ready(call())
    return time.process_time() - used

def value_and_gradient(problem):
    theta = {name: jnp.asarray(value) for name, value in problem.theta.items()}
    value = seconds(lambda: uq.evaluate(problem.at(1e-6), theta, problem.design))
    states, at = states_of(problem, 1e-6)
    return value, seconds(lambda: jax.jit(jax.jacfwd(states))(at))

first = value_and_gradient(cascade(3, 4))
kind, *sizes = sys.argv[1:]
make = {"cascade": cascade, "line": line_of_cells}[kind]
value, gradient = value_and_gradient(make(*map(int, sizes)))
print(json.dumps({"first": sum(first), "value": value, "gradient": gradient}))
"""

# kind and sizes -> CPU seconds of value and gradient together; None where no limit is set and the growth is shown.
COMPILED = {
    ("cascade", "4", "6"): None,
    ("cascade", "10", "20"): 1.0,
    ("cascade", "15", "30"): None,
    ("cascade", "33", "80"): 3.0,
    ("cascade", "100", "80"): None,
    ("line", "100"): None,
    ("line", "300"): 5.0,
}
# What an engine may cost once after the installation.
ENGINE = 3.0


def test_compiling_grows_slowly_with_the_model(tmp_path, capsys):
    """CPU seconds, trace included, with an empty cache."""
    found = {}
    for index, case in enumerate(COMPILED):
        found[case] = in_a_fresh_process(COMPILE, tmp_path / str(index), *case)
    with capsys.disabled():
        print("\ncompile, CPU s:      first model    value  gradient  together   limit")
        for case, seconds in found.items():
            together = seconds["value"] + seconds["gradient"]
            print(
                f"    {' '.join(case):16s} {seconds['first']:11.2f} {seconds['value']:8.2f} {seconds['gradient']:9.2f} "
                f"{together:9.2f}   {COMPILED[case] or ''}"
            )
    slow = {
        case: seconds
        for case, seconds in found.items()
        if COMPILED[case] and seconds["value"] + seconds["gradient"] > COMPILED[case]
    }
    assert not slow
    # the small model itself, and everything that jax does for the first time, are part of it
    assert min(seconds["first"] for seconds in found.values()) <= ENGINE + 1.0


LIKELIHOOD = """
import json, sys, time
from pathlib import Path
import jax, jax.numpy as jnp
import uqbench as uq
from uqbench.calibration import log_likelihood
from tests.benchmarks.synthetic_models import cascade
from tests.solves.petab_problems import PetabProblem

small = cascade(3, 4)
jax.block_until_ready(uq.evaluate(small.at(1e-6), small.theta, small.design))
problem = PetabProblem(Path(sys.argv[1]))
study, names = problem.study, tuple(problem.nominal)
at = {name: jnp.asarray(value) for name, value in problem.nominal.items()}
used = time.process_time()
value, slope = jax.block_until_ready(jax.jit(jax.value_and_grad(log_likelihood(study)))(at))
compiled = time.process_time() - used
function = jax.jit(jax.value_and_grad(log_likelihood(study)))
jax.block_until_ready(function(at))
start = time.perf_counter()
jax.block_until_ready(function(at))
again = time.perf_counter() - start
finite = all(bool(jnp.isfinite(part)) for part in slope.values())
print(json.dumps({"compiled": compiled, "again": again, "value": float(value) + problem.offset, "finite": finite}))
"""


@pytest.mark.parametrize("name, limit", [("Fujita_SciSignal2010", 4.0), ("Lucarelli_CellSystems2018", 15.0)])
def test_compiling_a_whole_likelihood_with_its_gradient(name, limit, tmp_path, capsys):
    """CPU seconds of a published problem, from its study to the first gradient."""
    pytest.importorskip("libsbml", reason="python-libsbml is in the dependency group bench")
    folder = ROOT.parent / "shared" / "data" / "petab" / name
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}")
    found = in_a_fresh_process(LIKELIHOOD, tmp_path, str(folder))
    with capsys.disabled():
        print(f"\n{name}: log-likelihood and gradient compiled in {found['compiled']:.1f} CPU s (limit {limit:.0f}), "
              f"then {1e3 * found['again']:.0f} ms each; log-likelihood {found['value']:.5f}")  # fmt: skip
    assert found["finite"]
    assert found["compiled"] <= limit


BATCH = """
import json, sys, time
import jax, numpy as np
import uqbench as uq
from tests.benchmarks.synthetic_models import cascade

problem = cascade(*map(int, sys.argv[1:]))
rng = np.random.default_rng(0)
thetas = {name: value * np.exp(0.2 * rng.normal(size=256)) for name, value in problem.theta.items()}
model = problem.at(1e-6)

def batch():
    return jax.block_until_ready(uq.evaluate_many(model, thetas, problem.design))

run = batch()
times = []
for _ in range(15):
    start = time.perf_counter()
    batch()
    times.append(time.perf_counter() - start)
checksum = [float(np.asarray(run.outputs[name]).sum()).hex() for name in problem.states]
print(json.dumps({"seconds": min(times), "failed": int((np.asarray(run.result) != 0).sum()), "checksum": checksum}))
"""


@pytest.mark.parametrize("states", [8, 33])
def test_a_batch_uses_two_cores(states, tmp_path, capsys):
    """256 solves on two cores against one, to the same bits."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("there is one core only")
    sizes = (str(states), str(CASCADES[states]))
    one = in_a_fresh_process(BATCH, tmp_path, *sizes, cores={cores[0]})
    two = in_a_fresh_process(BATCH, tmp_path, *sizes, cores=set(cores[:2]))
    gain = one["seconds"] / two["seconds"]
    with capsys.disabled():
        print(f"\n256 cascades of {states} states: {1e3 * one['seconds']:.1f} ms on one core, "
              f"{1e3 * two['seconds']:.1f} on two, {gain:.2f} times as fast")  # fmt: skip
    assert one["failed"] == two["failed"] == 0
    assert one["checksum"] == two["checksum"]
    assert gain >= 1.8
