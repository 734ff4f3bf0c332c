"""Figures of checks and predictions: residuals, uniformity, percentiles of a population, ranks, new designs."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..errors import InputError
from ..results import group
from .drawing import NARROW, PALETTE, WIDTH, columns_of, hide_spare, legend_above, styled, with_unit
from .tables import output_unit, time_unit

# From this ratio of values on, all positive, percentiles are drawn on a logarithmic axis.
WIDE = 30.0
# The central interval that residuals of a standard normal distribution leave in one of ten cases.
NINETY = 1.645


@styled
def residuals(tree: xr.DataTree, *, width: float = WIDTH) -> Figure:
    """Residuals of each output over time, and how their distribution differs from the one that was predicted.

    Args:
        tree: with /residuals and /checks.
        width: of the figure, in inches.

    Returns:
        a row for each output. Left: quantile residuals, standard normal where the model fits, with the lines between
        which nine of ten lie. Right: the empirical distribution function of the probabilities less the uniform one;
        it stays in the band in 95 of 100 cases.

    Raises:
        InputError: where a group is missing.
    """
    found, checks = _needed(tree, "residuals"), _needed(tree, "checks")
    outputs = [str(output) for output in checks["output"].values]
    narrow = width <= NARROW
    shape = (2 * len(outputs), 1) if narrow else (len(outputs), 2)
    ratios = None if narrow else (1.7, 1.0)
    figure = Figure(figsize=(width, 0.2 + 2.2 * shape[0]), layout="constrained")
    axes = figure.subplots(*shape, squeeze=False, width_ratios=ratios).reshape(-1, 2)
    for output, (left, right) in zip(outputs, axes, strict=True):
        left.axhline(0.0, color=PALETTE["line"], linewidth=0.8)
        for end in (-NINETY, NINETY):
            left.axhline(end, color=PALETTE["muted"], linewidth=0.8, linestyle=":")
        time, values = found[f"{output}_time"].values, found[output].values
        left.plot(time, values, "o", color=PALETTE["ink"], markersize=2.6, markeredgewidth=0)
        most = max(3.0, 1.1 * np.nanmax(np.abs(values), initial=0.0))
        left.set_ylim(-most, most)
        left.set_title(output, color=PALETTE["muted"], pad=3, parse_math=False)
        left.set_xlabel(with_unit("time", time_unit(tree)), parse_math=False)
        left.set_ylabel("residual")
        one = checks.sel(output=output)
        _curve(right, one["point"].values, *(one[f"pit_{each}"].values for each in ("difference", "lower", "upper")))
        right.set_xlabel("predicted probability of less")
        right.set_ylabel("excess of values below")
    return figure


@styled
def visual_check(tree: xr.DataTree, *, width: float = WIDTH) -> Figure:
    """Percentiles of the data over time, and those of simulated tables of other units of the same population.

    Args:
        tree: with /visual_check.
        width: of the figure, in inches.

    Returns:
        a panel for each output: lines with dots are percentiles of the data; bands hold those of nine of ten simulated
        tables, that of the median darker.

    Raises:
        InputError: where the group is missing.
    """
    found = _needed(tree, "visual_check")
    outputs, percentiles = [str(each) for each in found["output"].values], found["percentile"].values
    columns = min(len(outputs), columns_of(width, 2))
    rows = -(-len(outputs) // columns)
    figure = Figure(figsize=(width, 0.5 + 2.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    middle = len(percentiles) // 2
    for output, axis in zip(outputs, axes.ravel(), strict=False):
        one = found.sel(output=output)
        # the outer bands first, so that they do not cover the middle one
        for index in sorted(range(len(percentiles)), key=lambda index: index == middle):
            low, high = (one["simulated"].isel(percentile=index, interval=end).values for end in (0, -1))
            colour = PALETTE["middle" if index == middle else "pale"]
            axis.fill_between(one["time"].values, low, high, color=colour, linewidth=0)
            axis.plot(one["time"].values, np.stack([low, high], axis=1), color=PALETTE["grey"], linewidth=0.5)
        drawn = np.concatenate([one[each].values.ravel() for each in ("observed", "simulated")])
        drawn = drawn[np.isfinite(drawn)]
        if drawn.size and drawn.min() > 0 and drawn.max() > WIDE * drawn.min():
            axis.set_yscale("log")
        for index in range(len(percentiles)):
            axis.plot(
                one["time"].values,
                one["observed"].isel(percentile=index).values,
                "-" if index == middle else "--",
                color=PALETTE["ink"],
                linewidth=1.0,
                marker="o",
                markersize=2.6,
                markeredgewidth=0,
            )
        axis.set_title(output, color=PALETTE["muted"], pad=3, parse_math=False)
        axis.set_ylabel(with_unit(output, output_unit(tree, output)), parse_math=False)
    hide_spare(axes, len(outputs))
    figure.supxlabel(with_unit("time", time_unit(tree)), fontsize=8.5, parse_math=False)
    handles = [
        Line2D([], [], color=PALETTE["ink"], marker="o", markersize=2.6, linewidth=1.0, label="data"),
        Patch(color=PALETTE["middle"], label=f"simulated, {_percent(percentiles[middle])} percentile"),
        Patch(color=PALETTE["pale"], label=f"{_percent(percentiles[0])} and {_percent(percentiles[-1])} percentiles"),
    ]
    legend_above(figure, handles, width)
    return figure


@styled
def ranks(tree: xr.DataTree, *, width: float = WIDTH) -> Figure:
    """Ranks of true values among posterior draws: their distribution function less the uniform one, with its band.

    Args:
        tree: with /simulation_based_calibration.
        width: of the figure, in inches.

    Returns:
        a panel for each quantity; a curve that leaves the band is drawn dark. An arch says that estimates are too
        high, a trough that they are too low; up and down that the posterior is too narrow, down and up that it is too
        wide.

    Raises:
        InputError: where the group is missing.
    """
    found = _needed(tree, "simulation_based_calibration")
    names = [str(each) for each in found["quantity"].values]
    columns = min(len(names), columns_of(width))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(width, 0.5 + 1.75 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for name, axis in zip(names, axes.ravel(), strict=False):
        one = found.sel(quantity=name)
        _curve(axis, one["point"].values, *(one[each].values for each in ("difference", "lower", "upper")))
        axis.set_title(name, color=PALETTE["muted"], pad=3, parse_math=False)
    hide_spare(axes, len(names))
    figure.supxlabel("rank of the truth, as a part of all", fontsize=8.5)
    figure.supylabel("excess of ranks below", fontsize=8.5)
    return figure


@styled
def predicted(tree: xr.DataTree, *, width: float = WIDTH) -> Figure:
    """Outputs of a unit under a new design over time: median, 90 % of what they may be, and of measurements of them.

    Args:
        tree: with /predicted, at more than one time.
        width: of the figure, in inches.

    Returns:
        a panel for each output; where it is measured, the wide band includes the noise.

    Raises:
        InputError: where the group is missing.
    """
    found = _needed(tree, "predicted")
    outputs = [str(each) for each in found["output"].values]
    columns = min(len(outputs), columns_of(width, 2))
    rows = -(-len(outputs) // columns)
    figure = Figure(figsize=(width, 0.5 + 2.4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, squeeze=False)
    time, middle = found["time"].values, found.sizes["quantile"] // 2
    noisy = False
    for output, axis in zip(outputs, axes.ravel(), strict=False):
        one = found.sel(output=output).transpose("quantile", "time")
        for name, colour in (("measured", "pale"), ("value", "middle")):
            values = one[name].values
            if np.isfinite(values).all():
                noisy |= name == "measured"
                axis.fill_between(time, values[0], values[-1], color=PALETTE[colour], linewidth=0)
        axis.plot(time, one["value"].values[middle], color=PALETTE["accent"], linewidth=1.4)
        axis.set_ylabel(with_unit(output, output_unit(tree, output)), parse_math=False)
    hide_spare(axes, len(outputs))
    figure.supxlabel(with_unit("time", time_unit(tree)), fontsize=8.5, parse_math=False)
    handles: list = [
        Line2D([], [], color=PALETTE["accent"], linewidth=1.4, label="median"),
        Patch(color=PALETTE["middle"], label="90 %"),
    ]
    handles += [Patch(color=PALETTE["pale"], label="90 % of measurements")] if noisy else []
    legend_above(figure, handles, width)
    return figure


def _curve(axis, point: np.ndarray, difference: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
    """A curve of differences in its band, which both begin and end at zero."""
    at = np.concatenate([[0.0], point, [1.0]])
    difference, lower, upper = (np.concatenate([[0.0], each, [0.0]]) for each in (difference, lower, upper))
    outside = bool(np.any((difference < lower) | (difference > upper)))
    axis.fill_between(at, lower, upper, color=PALETTE["pale"], linewidth=0)
    axis.axhline(0.0, color=PALETTE["line"], linewidth=0.8)
    axis.plot(at, difference, color=PALETTE["ink" if outside else "accent"], linewidth=1.6 if outside else 1.2)
    axis.set_xlim(0, 1)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _needed(tree: xr.DataTree, name: str) -> xr.Dataset:
    found = group(tree, name)
    if found is None:
        raise InputError("figure", [f"there is no /{name} in the tree."])
    return found
