"""What multirate steps cost: evaluations of the slow rates for each error, beside one solver for all states."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import xarray as xr

from ...annotations import Values
from ...design import Design
from ...initial_value import odes
from ...solvers import tsitouras
from ...solvers.sparse_lu import structure
from ...system import Ode
from .steps import ORDERS, multirate, separated

# Tolerance of the solve to which errors are measured, and steps that the monolithic solves may take.
REFERENCE, MOST_STEPS = 1e-12, 10_000_000


def work_precision(
    system: Ode,
    fast: Sequence[str],
    theta: Values,
    design: Design,
    *,
    steps: Sequence[float],
    tolerances: Sequence[float],
) -> xr.Dataset:
    """What each method pays in evaluations of the slow rates for what error, beside one solver for all states.

    Args:
        steps: macro steps to try. tolerances: rtol to try for the monolithic implicit and explicit solves, with atol in
            the proportion of the system's.

    Returns:
        by `run`, with the coordinates `method` ("mri", "strang", "implicit", "explicit") and `setting` (step or rtol):
        `error`, the largest of the slow states at the design's times, relative to the largest value of that state, and
        `slow_evaluations`. An implicit step counts its 8 stages and one evaluation for each column of the Jacobian that
        slow rates have. NaN where a solve failed.

    Raises:
        InputError: as `multirate`.

    Example:
        >>> from forward_models.receptor_tf import model
        >>> theta = {"eps": 0.1, "L": 2.0, "Kd": 1.0, "beta": 1.0, "delta": 0.5}
        >>> found = work_precision(model.system, ["x"], theta, Design([5.0]), steps=[0.05], tolerances=[1e-6])
        >>> found.slow_evaluations.values[:2].tolist()
        [300.0, 200.0]
    """
    theta, names, slow, fast = separated("work_precision", system, fast, theta, design, steps, "mri")

    def monolithic(rtol, method):
        tight = replace(system, rtol=rtol, atol=system.least_atol * rtol / system.rtol, max_steps=MOST_STEPS)
        return _monolithic(tight, theta, design, method)

    reference, rows = monolithic(REFERENCE, "implicit").states, []

    def add(method, setting, states, evaluations):
        size = {name: jnp.abs(reference[name]).max() for name in slow}
        error = max(float(jnp.abs(states[name] - reference[name]).max() / size[name]) for name in slow)
        rows.append((method, setting, error, float(evaluations)))

    for method in ORDERS:
        for step in steps:
            run = multirate(system, fast, theta, design, step=step, method=method)
            add(method, step, run.states, run.slow_evaluations)
    each = {"implicit": _evaluations_of_a_step(system, names, slow, theta, design), "explicit": len(tsitouras.NODES)}
    for method, evaluations in each.items():
        for rtol in tolerances:
            run = monolithic(rtol, method)
            add(method, rtol, run.states, evaluations * int(run.steps))
    method, setting, error, evaluations = zip(*rows, strict=True)
    return xr.Dataset(
        {"error": ("run", [*error]), "slow_evaluations": ("run", [*evaluations])},
        {"method": ("run", [*method]), "setting": ("run", [*setting])},
        {"reference": f"a monolithic implicit solve with rtol {REFERENCE:g}; smaller errors are not resolved"},
    )


@partial(jax.jit, static_argnames=("system", "method"))
def _monolithic(system: Ode, theta: Values, design: Design, method: str) -> odes.Solution:
    """All states by one solver."""
    return odes.solve(system, theta, design, method=method)


def _evaluations_of_a_step(system, names, slow, theta, design) -> int:
    """Of the slow rates, in a step of Rodas5P."""
    pattern = structure(odes.problem_of(system, names, (theta, design)).rhs, len(names))
    columns = {column for row, column in pattern.entries if names[row] in slow}
    return 8 + len(columns) + pattern.uses_time
