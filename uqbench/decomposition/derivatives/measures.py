"""Sensitivity from derivatives: what gradients at random points say about variance.

A model that can be differentiated gives its slope in all parameters with each run. If a density has a Poincare constant
C (`poincare`), the variance of any function of that parameter is at most C times its mean squared slope. Averaged over
the other, independent parameters: ST_i <= C_i nu_i / Var(Y), with nu_i = E[(dY/dx_i)^2] (Sobol and Kucherenko 2009,
doi:10.1016/j.matcom.2009.01.023; Lamboni, Iooss, Popelin and Gamboa 2013, doi:10.1016/j.matcom.2013.02.002). A small
bound shows that a parameter may be fixed, at the price of some hundred gradients. Which directions matter is told by an
active subspace (`active_subspace`).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ...annotations import Values
from ...design import Design
from ...errors import InputError, nearest
from ...model import Model, evaluate_many, over_time
from ...space import Space
from ..runs import MEMORY, bootstrap_counts, setting_findings
from .slopes import Constants, arranged_slopes, coordinates

ESTIMATOR = "means over runs; upper bound: Poincare; lower bound: Cacoullos, for normal coordinates"
COVERAGE = (
    "95 % intervals, 400 repetitions: nu of Ishigami 92 to 98 % for n >= 100, from 90 % at n = 50; its bounds 92 to "
    "97 % for n >= 100; those of a ratio of log-normals 94 % at n = 1000, 91 % at 300, 86 % at 100"
)


def dgsm(
    space: Space,
    x,
    gradients,
    y: np.ndarray | xr.DataArray | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    max_failed: float = 0.2,
    seed: int = 0,
) -> xr.Dataset:
    """Mean and mean squared slopes of every parameter, and what they say about its total Sobol index.

    Args:
        space: the parameters; the rows of `x` are independent draws from it.
        x: `(n, d)` in the order of `space.free`, or columns `(n,)` by name.
        gradients: dY/dx in natural units, `(n, d[, output...])`, or `(n[, output...])` by name, as `output_gradients`
            makes them. NaN for a failed run.
        y: outputs `(n[, output...])`; without them there are no bounds.
        confidence: level of the intervals.
        resamples: bootstrap resamples of runs.
        max_failed: fraction of runs that may have failed before it is an error.
        seed: of the bootstrap; 0 is a seed.

    Returns:
        by `parameter` (and output): `nu` = E[(dY/dx)^2], `w` = E[dY/dx], and with `y` the `upper_bound` on ST and the
        `lower_bound` on S1 (hence on ST), which exists for parameters that are normal in some coordinate:
        C E[dY/dt]^2 / Var(Y) (Cacoullos 1982, doi:10.1214/aop/1176993788; its sampling bias is taken off, NaN for
        others). Each with `_standard_error`, `_lower`, `_upper`. `constant` is C, with
        `constant_error`, `coordinate` what it refers to. `n_valid` runs used. An upper bound is safe where its own
        `_upper` is small. Intervals are bootstrap percentiles.

    Raises:
        InputError: with every finding: shapes, names, values outside the support, counts, failed runs, constant y.

    Example:
        >>> from uqbench import Normal, Space, epistemic
        >>> x = np.random.default_rng(0).normal(size=(400, 1))
        >>> found = dgsm(Space(a=epistemic(Normal(0.0, 1.0))), x, 2 * x, x[:, 0] ** 2)  # ST is 1, E[4 x^2] / 2 is 2
        >>> bool(found.upper_bound_lower[0] < 2 < found.upper_bound_upper[0])
        True
    """
    findings = setting_findings(confidence, resamples, max_failed)
    values, slopes, outputs, dims, coords = arranged_slopes(space, x, gradients, y, max_failed, findings)
    if findings:
        raise InputError("dgsm", findings)
    shape, d = slopes.shape[2:], len(space.free)
    slopes = slopes.reshape(*slopes.shape[:2], -1)
    outputs = outputs if outputs is None else outputs.reshape(len(outputs), -1)
    constants = coordinates(space, values, slopes)
    valid = ~np.isnan(slopes).any(axis=1) & (True if outputs is None else ~np.isnan(outputs))
    counts = np.concatenate([np.ones((1, len(values))), bootstrap_counts(len(values), resamples, seed)])
    step = max(1, MEMORY // (max(counts.shape) * (4 * d + 2)))
    columns = _columns(slopes, constants.slopes, outputs, valid)
    parts = []
    for k in range(0, slopes.shape[-1], step):
        n = (counts @ valid[:, k : k + step])[:, None]
        mean = {
            name: np.einsum("rn,npo->rpo", counts, rows[..., k : k + step], optimize=True) / n
            for name, rows in columns.items()
        }
        parts.append(_quantities(mean, n, constants))
    data = {}
    for name in parts[0]:
        resampled = np.concatenate([part[name] for part in parts], axis=-1)
        low, high = np.quantile(resampled[1:], [0.5 - confidence / 2, 0.5 + confidence / 2], axis=0)
        spread = resampled[1:].std(axis=0, ddof=1)
        for suffix, value in {"": resampled[0], "_standard_error": spread, "_lower": low, "_upper": high}.items():
            data[name + suffix] = (("parameter", *dims), value.reshape(d, *shape))
    data |= {
        "constant": ("parameter", constants.value),
        "constant_error": ("parameter", constants.error),
        "coordinate": ("parameter", constants.coordinate),
        "n_valid": (dims, valid.sum(axis=0).reshape(shape)),
    }
    attrs = {"estimator": ESTIMATOR, "interval": "bootstrap percentiles over runs", "coverage": COVERAGE}
    attrs |= {"confidence": confidence, "resamples": resamples, "max_failed": max_failed, "seed": seed}
    return xr.Dataset(data, {**coords, "parameter": list(space.free)}, attrs=attrs)


def _columns(slopes, turned, outputs, valid) -> dict[str, np.ndarray]:
    """What the means are taken of, (n, parameter, output), 0 where a run does not count."""
    used = valid[:, None]
    slopes, turned = np.where(used, slopes, 0.0), np.where(used, turned, 0.0)
    columns = {"nu": slopes**2, "w": slopes}
    if outputs is not None:
        centred = np.where(valid, outputs - np.nanmean(np.where(valid, outputs, np.nan), axis=0), 0.0)
        columns |= {"square": turned**2, "slope": turned, "y": np.stack([centred, centred**2], axis=1)}
    return columns


def _quantities(mean: dict, n, constants: Constants) -> dict[str, np.ndarray]:
    """What `dgsm` returns, (resample, parameter, output), from weighted means of the same shape."""
    found = {"nu": mean["nu"], "w": mean["w"]}
    if "y" not in mean:
        return found
    first, second = np.moveaxis(mean["y"], 1, 0)[..., None, :]
    variance = (second - first**2) * n / (n - 1)
    safe = np.where(variance > 0, variance, np.nan)
    found["upper_bound"] = (constants.value + constants.error)[:, None] * mean["square"] / safe
    # The square of a mean is too large by the mean's own variance.
    squared = np.maximum(mean["slope"] ** 2 - (mean["square"] - mean["slope"] ** 2) / (n - 1), 0.0)
    found["lower_bound"] = np.where(constants.normal, constants.value, np.nan)[:, None] * squared / safe
    return found


def output_gradients(
    model: Model, thetas: Values, design: Design, names: Sequence[str] | None = None, *, keys=None
) -> tuple[xr.DataArray, xr.DataArray]:
    """Outputs of a batch of runs and their exact derivatives, by forward mode through the batched solve.

    Args:
        model: its `gradient` must not be "none".
        thetas: every free parameter, `(batch,)` each (scalars are shared), e.g. `space.sample(key, (batch,))`.
        design: one for all runs.
        names: the parameters to differentiate by; default all free ones.
        keys: `(batch,)` JAX keys, needed by stochastic models; they are held fixed in the derivative.

    Returns:
        of the outputs that are one number at each time, values `(sample, output, time)` and gradients
        `(sample, parameter, output, time)`, in units of the output per unit of the parameter. A run that fails is NaN
        in both, never an exception.

    Raises:
        InputError: unknown names, a model without gradients, and what `evaluate_many` finds.

    Example:
        >>> from forward_models.receptor_tf import model
        >>> thetas = model.space.sample(jax.random.key(0), (4,))
        >>> values, gradients = output_gradients(model, thetas, Design([5.0]), ["beta"])
        >>> gradients.shape
        (4, 1, 2, 1)
    """
    free = model.space.free
    names = free if names is None else tuple(names)
    findings = [f"{name!r} is not a free parameter; {nearest(name, free)}" for name in names if name not in free]
    if model.gradient == "none":
        findings.append("the model says that it has no gradient; use `sobol_indices`, which needs runs only.")
    if design.times.ndim > 1:
        findings.append("give one design for all runs, times `(times,)`.")
    if findings:
        raise InputError("output_gradients", findings)
    thetas = model.space.complete(thetas)

    def outputs(step):
        moved = {name: thetas[name] + step[i] for i, name in enumerate(names)}
        run = evaluate_many(model, {**thetas, **moved}, design, keys)
        return over_time(model, run.outputs, design), run

    # One step common to all runs: each run answers to its own parameters only, so this is every run's gradient.
    slopes, run = jax.jacfwd(outputs, has_aux=True)(jnp.zeros(len(names)))
    series = over_time(model, run.outputs, design)
    values = np.stack([np.asarray(each) for each in series.values()], axis=1)
    slopes = np.stack([np.moveaxis(np.asarray(slopes[name]), -1, 1) for name in series], axis=2)
    slopes = np.where(np.isnan(values)[:, None] | ~np.isfinite(slopes), np.nan, slopes)
    coords = {"output": list(series), "time": np.asarray(design.times)}
    dims = ("sample", "output", "time")
    return (
        xr.DataArray(values, coords, dims),
        xr.DataArray(slopes, coords | {"parameter": list(names)}, ("sample", "parameter", "output", "time")),
    )
