"""Given runs as a table: columns of inputs, outputs, groups, and everything that can be wrong with them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from ...errors import nearest
from ..runs import Unusable, output_labels, setting_findings, unusable_outputs, value_findings


def least_runs(inputs: int) -> int:
    """Distinct runs below which neighbours in so many inputs mean nothing."""
    return 4 * inputs + 44


def input_table(x, names, findings: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Inputs (n, d) and their names, from any of the accepted forms."""
    if isinstance(x, xr.DataArray) and x.ndim == 2:
        labels = x.coords.get(x.dims[1])
        names = names if labels is None or names is not None else [str(label) for label in labels.values]
        x = x.values
    elif isinstance(x, xr.Dataset | pd.DataFrame | Mapping):
        keys = list(x.data_vars) if isinstance(x, xr.Dataset) else list(x)
        names = [str(key) for key in keys] if names is None else names
        missing = [f"x has no column {name!r}; {nearest(name, keys)}" for name in names if name not in keys]
        shapes = {key: np.shape(x[key]) for key in keys}
        if missing or len(set(shapes.values())) != 1 or len(next(iter(shapes.values()))) != 1:
            findings += missing or [
                f"the columns of x have shapes {shapes}; give one row of the same length each "
                "(chains and draws: `posterior.stack(sample=('chain', 'draw'))`)."
            ]
            return np.zeros((0, len(keys))), tuple(names)
        x = np.stack([np.asarray(x[name]) for name in names], axis=1)
    x = np.asarray(x)
    d = x.shape[1] if x.ndim == 2 else 0
    names = tuple(f"x{i + 1}" for i in range(d)) if names is None else tuple(names)
    if x.ndim != 2 or not d or x.dtype.kind not in "fiub":
        findings.append(f"x has shape {x.shape} and holds {x.dtype}; give real numbers (n, d), a column per input.")
        return np.zeros((0, len(names))), names
    x = x.astype(float)
    if len(names) != d or len(set(names)) != len(names):
        findings.append(f"names are {names}; give {d} different ones, one per column of x.")
        names = tuple(f"x{i + 1}" for i in range(d))
    for name, column in zip(names, x.T, strict=True):
        if not np.isfinite(column).all():
            findings.append(f"input {name!r} has {np.sum(~np.isfinite(column))} values that are not finite; drop them.")
        elif len(column) and np.ptp(column) == 0:
            findings.append(f"input {name!r} is constant, so it explains nothing; leave it out.")
    return x, names


def arranged_outputs(table, y, noise_variance, max_failed: float, findings: list[str]):
    """Outputs (n, output...), their noise variances (None: unknown), names and coordinates, and an `Unusable` for each
    output; everything is judged."""
    values = np.asarray(y)
    nothing = values, None, (), {}, None
    if values.dtype.kind not in "fiub":
        findings.append(f"y holds {values.dtype}; give real numbers, NaN for a failed run.")
        return nothing
    if values.ndim < 1 or (len(table) and len(values) != len(table)):
        findings.append(f"y has shape {values.shape}; give (n[, output...]) with the n={len(table)} rows of x.")
        return nothing
    values, (dims, coords) = values.astype(float), output_labels(y, (0,))
    if not len(table):
        return nothing
    noise = None
    if noise_variance is not None:
        if isinstance(noise_variance, xr.DataArray) and isinstance(y, xr.DataArray):
            noise_variance = noise_variance.broadcast_like(y).transpose(*y.dims)
        given = np.asarray(noise_variance)
        try:
            # One number per run belongs to every output of it.
            given = given.reshape(*given.shape, *(1,) * (values.ndim - given.ndim)) if len(given.shape) == 1 else given
            noise = np.broadcast_to(given.astype(float), values.shape)
        except ValueError:
            findings.append(f"noise_variance has shape {given.shape}; give one number, one per run, or one per value.")
            noise = np.zeros(values.shape)
        wrong = (~np.isfinite(noise) | (noise < 0)) & ~np.isnan(values)
        if wrong.any():
            findings.append(
                f"noise_variance is negative or not finite at {wrong.sum()} successful runs; it is a variance (squared "
                "units of y)."
            )
    flat = values.reshape(len(values), -1)
    lost = np.isnan(flat)
    reasons = unusable_outputs(flat, lost, max_failed)
    usable = reasons == Unusable.NO
    if not usable.any():
        findings += value_findings(flat, lost, max_failed, values.shape[1:], dims, "runs")
    finite = np.isfinite(table).all(axis=1)
    least = least_runs(table.shape[1])
    counted = [
        len(np.unique(table[finite & ~column], axis=0)) for column in (lost.T[usable] if usable.any() else lost.T)
    ]
    distinct = min(counted, default=len(table))
    if distinct < least:
        findings.append(
            f"there are {distinct} distinct rows of x with an output; {table.shape[1]} inputs need {least} at least, "
            "better 1000. Draw more, or group fewer values of discrete inputs by hand."
        )
    return values, noise, dims, coords, reasons


def given_group_findings(
    groups: Mapping[str, tuple[str, ...]], names: tuple[str, ...], *, partition: bool
) -> list[str]:
    findings = [f"group {label!r} is empty; remove it or name its inputs." for label, m in groups.items() if not m]
    findings += [] if groups else ["there are no groups; name at least one."]
    for label, members in groups.items():
        findings += [f"group {label!r} has {m!r}: {nearest(m, names)}" for m in members if m not in names]
    for name in names if partition else ():
        holders = [label for label, members in groups.items() for member in members if member == name]
        if not holders:
            findings.append(f"input {name!r} is in no group; put it into one. `grouped_variance` takes any groups.")
        if len(holders) > 1:
            findings.append(
                f"input {name!r} is in groups {', '.join(map(repr, holders))}; keep it in one. Groups that overlap "
                "are for `grouped_variance`."
            )
    return findings


def given_setting_findings(neighbours: int, permutations: int, confidence: float, max_failed: float) -> list[str]:
    findings = []
    if int(neighbours) != neighbours or neighbours < 2:
        findings.append(f"neighbours is {neighbours}; give a whole number, at least 2, e.g. 10.")
    if int(permutations) != permutations or permutations < 1:
        findings.append(f"permutations is {permutations}; give a whole number, at least 1 (64 is usual).")
    return findings + setting_findings(confidence, None, max_failed)
