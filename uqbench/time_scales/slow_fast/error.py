"""What a quasi-steady state errs by, and that the error is of the first order.

The fast rows of the full system are made faster by a factor: x' = f(x, y) / scale. As the scale goes to zero the full
solution goes to the reduced one, and over the scale their difference goes to a constant, the leading term of the error.
At scale 1 stands the user's own system, so no eps has to be in the equations. A slope of 1 in a doubly logarithmic plot
says that the limit is regular, the fast states coming to rest all along the way; the constant says what a faster or
slower system would err. Whether the user's own system is near that limit, its error at scale 1 tells.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ...annotations import Values
from ...design import Design
from ...errors import RESULTS, InputError
from ...initial_value.given import checked
from ...initial_value.odes import solve_many, solve_once
from ...system import Ode
from ...systems.reduced import quasi_steady_state, split_states

SCALE = "scale of the fast time"
SCALES = tuple(4.0**-k for k in range(8))
# Solves that resolve differences between full and reduced system; scales at which these drown are left out.
RTOL, ATOL_SHARE = 1e-11, 1e-3
DROWNED = 1e-8
FITTED = 4


def reduction_error(
    system: Ode, fast: Sequence[str], theta: Values, design: Design, *, scales: Sequence[float] = SCALES
) -> xr.Dataset:
    """The difference between full and reduced slow states as the fast ones are made faster.

    Args:
        system: the full system.
        fast: names of its fast states.
        theta: every parameter, scalars.
        design: finite times at which to compare, and inputs.
        scales: of the fast time; 1 is the system as it is.

    Returns:
        `difference` (scale, slow, time), full minus reduced in the unit of the state; `error` (scale, slow), the
        largest over time; `slope` (slow) of log error over log scale with `slope_standard_error`, from the smallest
        scales that rounding leaves, `constant` (slow, time), the limit of difference / scale, with `constant_error`.
        Attributes: `resolved`, whether every slope is within .05 of 1; `meaning`.

    Raises:
        InputError: wrong names, fewer than three scales or one that is not positive, times that are not finite, a
            solve that failed.

    Example:
        >>> from forward_models.receptor_tf import model
        >>> theta = model.space.nominal() | {"eps": 0.1}
        >>> found = reduction_error(model.system, ["x"], theta, Design([5.0]))
        >>> round(float(found.slope[0]), 2)
        1.0
    """
    theta, _, names = checked("reduction_error", system, theta, design.inputs)
    slow, fast, findings = split_states(names, fast)
    if not np.all(np.isfinite(design.times)):
        findings.append("a time is inf; errors are compared on the way, so give finite times.")
    if len(scales) < 3 or not all(value > 0 for value in scales):
        findings.append(f"scales are {tuple(scales)}; give at least three positive numbers.")
    if findings:
        raise InputError("reduction_error", findings)
    scales = np.sort(np.asarray(scales, float))[::-1]
    reduced = replace(quasi_steady_state(system, fast), rtol=RTOL, atol=ATOL_SHARE * system.least_atol)
    faster = replace(system, rhs=FasterRates(system, fast), rtol=RTOL, atol=ATOL_SHARE * system.least_atol)
    short, runs = solve_once(reduced, theta, design), _solve_scaled(faster, theta, design, jnp.asarray(scales))
    codes = [int(short.result), *map(int, runs.result)]
    if failed := sorted({code for code in codes if code}):
        raise InputError("reduction_error", [f"a solve failed: {RESULTS[code]}" for code in failed])
    full = np.stack([np.asarray(runs.states[name]) for name in slow], axis=1)
    limit = np.stack([np.asarray(short.states[name]) for name in slow])
    return _dataset(full - limit, np.abs(full).max(axis=(0, 2)), scales, slow, np.asarray(design.times))


@dataclass(frozen=True)
class FasterRates:
    """The right-hand side with its fast rows over a scale, a parameter."""

    full: Ode
    fast: tuple[str, ...]

    def __call__(self, t, y, p, inputs):
        rates = self.full.rhs(t, y, p, inputs)
        return {name: rate / p[SCALE] if name in self.fast else rate for name, rate in rates.items()}


@partial(jax.jit, static_argnums=0)
def _solve_scaled(system, theta, design, scales):
    def at(leaf):
        return jnp.broadcast_to(leaf, (len(scales), *jnp.shape(leaf)))

    thetas = {**jax.tree.map(at, theta), SCALE: scales}
    return solve_many(system, thetas, jax.tree.map(at, design), method="implicit")


def _dataset(difference, size, scales, slow, times) -> xr.Dataset:
    error = np.abs(difference).max(axis=2)
    slope, spread, constant, doubt = [], [], [], []
    for k in range(len(slow)):
        clear = np.flatnonzero(error[:, k] > DROWNED * size[k])[-FITTED:]
        if len(clear) < 3:
            slope.append(np.nan), spread.append(np.nan)
            constant.append(np.full(len(times), np.nan)), doubt.append(np.full(len(times), np.nan))
            continue
        # error = constant scale (1 + c scale): a quadratic in the logarithm of the scale would follow the next order
        x, y = scales[clear], np.log(error[clear, k])
        columns = np.stack([np.ones_like(x), np.log(x), x], axis=1)
        fit, *_ = np.linalg.lstsq(columns, y, rcond=None)
        rest = y - columns @ fit
        covariance = np.linalg.inv(columns.T @ columns) * max(rest @ rest, 1e-30) / max(len(x) - 3, 1)
        slope.append(fit[1]), spread.append(np.sqrt(covariance[1, 1]))
        # Richardson's extrapolation from the two smallest scales, its change from the two before as its error
        ratio = difference[clear, k] / x[:, None]
        near, before = (_extrapolated(ratio[i], ratio[i + 1], x[i] / x[i + 1]) for i in (-2, -3))
        constant.append(near), doubt.append(np.abs(near - before))
    dataset = xr.Dataset(
        {
            "difference": (("scale", "slow", "time"), difference),
            "error": (("scale", "slow"), error),
            "slope": ("slow", slope),
            "slope_standard_error": ("slow", spread),
            "constant": (("slow", "time"), constant),
            "constant_error": (("slow", "time"), doubt),
        },
        coords={"scale": scales, "slow": list(slow), "time": times},
    )
    meaning = "full minus reduced; at scale 1 the system as it is, at smaller ones its fast states that much faster"
    return dataset.assign_attrs(meaning=meaning, resolved=bool(np.all(np.abs(dataset.slope - 1) <= 0.05)))


def _extrapolated(coarse, fine, ratio):
    return fine + (fine - coarse) / (ratio - 1)
