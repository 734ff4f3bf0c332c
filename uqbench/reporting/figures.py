"""The figures of a report, each a matplotlib `Figure` made from the tree, for a notebook as well as for the page.

No figure touches pyplot, so none of them opens a window or changes the settings of a notebook.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..errors import InputError
from ..results import group
from .drawing import (
    COLOURS,
    PALETTE,
    WIDTH,
    columns_of,
    hide_spare,
    kernel_density,
    legend_above,
    styled,
    window,
    with_unit,
)
from .sentences import input_label, part_label
from .tables import (
    ABOVE,
    BELOW,
    described,
    output_unit,
    parts,
    percent,
    sides_of,
    time_unit,
    unit_name,
    unit_text,
    with_variance,
)  # fmt: skip


@styled
def predictive_band(tree: xr.DataTree, output: str, *, width: float = WIDTH) -> Figure:
    """The data of one output and what the calibrated model says would be measured, one panel for each run.

    Args:
        tree: with /posterior_band and /observed_data.
        output: its name.
        width: of the figure, in inches.

    Returns:
        small multiples with shared axes: dots are observations, the line is the median, the bands hold 50 % and 90 %.
        Where everything is measured at one instant and one input tells the runs apart, one panel over that input.

    Raises:
        InputError: where the groups or the output are missing.
    """
    band, observed = _needed(tree, "posterior_band", output), _needed(tree, "observed_data", output)
    if "setting" in band.coords:
        return _over_setting(tree, band, observed, output, width)
    labels = run_labels(tree)
    columns = min(len(labels), columns_of(width))
    rows = -(-len(labels) // columns)
    figure = Figure(figsize=(width, 0.5 + (1.5 if rows > 1 else 2.6) * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    levels = band["quantile"].values
    order = np.argsort(levels)
    for run, (label, axis) in enumerate(zip(labels, axes.ravel(), strict=False)):
        curves = band[output].isel(run=run).transpose("quantile", "grid").values[order]
        time = band["time"].isel(run=run).values if "run" in band["time"].dims else band["time"].values
        for pair, colour in zip(range(len(levels) // 2), ("pale", "middle"), strict=False):
            axis.fill_between(time, curves[pair], curves[-1 - pair], color=PALETTE[colour], linewidth=0)
        axis.plot(time, curves[len(levels) // 2], color=PALETTE["accent"], linewidth=1.4)
        mine = _rows_of_run(tree, band, observed, output, run)
        _dots(axis, observed[f"{output}_time"].values[mine], observed, output, mine)
        axis.set_title(label, color=PALETTE["muted"], pad=3, parse_math=False)
    hide_spare(axes, len(labels))
    figure.supxlabel(with_unit("time", time_unit(tree)), fontsize=8.5, parse_math=False)
    figure.supylabel(with_unit(output, output_unit(tree, output)), fontsize=8.5, parse_math=False)
    return figure


def _over_setting(tree: xr.DataTree, band: xr.Dataset, observed: xr.Dataset, output: str, width: float) -> Figure:
    figure = Figure(figsize=(width, 2.9), layout="constrained")
    axis = figure.subplots()
    order = np.argsort(band["setting"].values)
    setting, levels = band["setting"].values[order], np.argsort(band["quantile"].values)
    curves = band[output].isel(grid=0).transpose("quantile", "run").values[levels][:, order]
    for pair, colour in zip(range(len(levels) // 2), ("pale", "middle"), strict=False):
        axis.fill_between(setting, curves[pair], curves[-1 - pair], color=PALETTE[colour], linewidth=0)
    axis.plot(setting, curves[len(levels) // 2], color=PALETTE["accent"], linewidth=1.4)
    for run, value in enumerate(band["setting"].values):
        mine = _rows_of_run(tree, band, observed, output, run)
        _dots(axis, np.full(len(observed[output].values[mine]), value), observed, output, mine)
    axis.set_xlabel(str(band["setting"].attrs["name"]), parse_math=False)
    axis.set_ylabel(with_unit(output, output_unit(tree, output)), parse_math=False)
    return figure


def _dots(axis: Axes, where: np.ndarray, observed: xr.Dataset, output: str, rows) -> None:
    """Observations of these rows; triangles point to where those lie that are known only to be beyond a limit."""
    values, sides = observed[output].values[rows], sides_of(observed, output)[rows]
    for side, marker in (("", "o"), (BELOW, "v"), (ABOVE, "^")):
        of, size = sides == side, 2.6 if side == "" else 3.6
        if np.any(of):
            axis.plot(where[of], values[of], marker, color=PALETTE["ink"], markersize=size, markeredgewidth=0)


@styled
def densities(tree: xr.DataTree, *, width: float = WIDTH) -> Figure:
    """Prior (thin grey line) and posterior (filled; the bar below is its 90 % interval) of every epistemic parameter.

    Args:
        tree: with /prior and /posterior.
        width: of the figure, in inches.

    Returns:
        small multiples; the vertical axis is probability density, the same for both curves of a panel.

    Raises:
        InputError: where a group is missing.
    """
    prior, posterior = _needed(tree, "prior"), _needed(tree, "posterior")
    known = described(tree)
    names = [name for name in known.index if name in prior and name in posterior]
    columns = min(len(names), columns_of(width))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(width, 0.2 + 1.75 * rows), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.09)
    axes = figure.subplots(rows, columns, squeeze=False)
    for name, axis in zip(names, axes.ravel(), strict=False):
        before, after = (each[~np.isnan(each)] for each in (prior[name].values, posterior[name].values))
        if not after.size:
            # older versions have stored draws that were never made
            axis.set(xticks=[], yticks=[])
            axis.set_title(name, pad=3, parse_math=False)
            continue
        low, high = window(before, after)
        grid = np.linspace(low, high, 256)
        bounds = min(before.min(), after.min()), max(before.max(), after.max())
        density = kernel_density(after, grid, bounds)
        axis.fill_between(grid, density, color=PALETTE["pale"], linewidth=0)
        axis.plot(grid, density, color=PALETTE["accent"], linewidth=1.4, label="posterior")
        axis.plot(grid, kernel_density(before, grid, bounds), color=PALETTE["muted"], linewidth=0.8, label="prior")
        ends = np.quantile(after, (0.05, 0.95))
        axis.plot(
            ends, np.full(2, -0.05 * density.max()), color=PALETTE["accent"], linewidth=2.5, solid_capstyle="butt"
        )
        axis.set(xlim=(low, high), yticks=[])
        axis.set_ylim(-0.09 * density.max(), None)
        axis.spines["left"].set_visible(False)
        axis.locator_params(axis="x", nbins=4)
        unit = unit_text(known.loc[name, "unit"]) if "unit" in known else ""
        axis.set_title(with_unit(name, unit), pad=3, parse_math=False)
    hide_spare(axes, len(names))
    return figure


@styled
def variance_stack(tree: xr.DataTree, *, width: float = WIDTH) -> Figure:
    """One bar for each quantity: which share of its variance is parameter uncertainty, and which differs between units.

    Args:
        tree: with /variance.
        width: of the figure, in inches.

    Returns:
        stacked horizontal bars; the whisker at each boundary is the interval of the share on its left.

    Raises:
        InputError: where the group is missing.
    """
    dataset = with_variance(_needed(tree, "variance"))
    names = parts(dataset)
    quantities = [str(name) for name in dataset["quantity"].values]
    figure = Figure(figsize=(width, 0.75 + _legend_lines(width, names) + 0.5 * len(quantities)), layout="constrained")
    axis = figure.subplots()
    for row, quantity in enumerate(quantities):
        share = dataset.sel(quantity=quantity)
        left = 0.0
        for name in names:
            width = float(np.clip(share[f"{name}_share"], 0, 1))
            axis.barh(row, width, left=left, height=0.56, color=PALETTE[COLOURS[name]], linewidth=0)
            if width > 0.05:
                colour = PALETTE["paper"] if name == "epistemic" else PALETTE["ink"]
                axis.text(left + width / 2, row, percent(width), ha="center", va="center", color=colour)
            left += width
        _boundaries(axis, share, names, row)
    axis.set(xlim=(0, 1), yticks=range(len(quantities)), xticks=np.linspace(0, 1, 5), xlabel="share of the variance")
    axis.set_yticklabels(quantities, color=PALETTE["ink"], parse_math=False)
    axis.set_xticklabels(["0", "25 %", "50 %", "75 %", "100 %"], parse_math=False)
    axis.invert_yaxis()
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    _legend_of_parts(figure, tree, names, width)
    return figure


@styled
def variance_over_time(tree: xr.DataTree, output: str, *, width: float = WIDTH) -> Figure:
    """How the parts of the variance of one measurement in a new unit change over time, as shares stacked to one.

    Args:
        tree: with /variance_over_time.
        output: its name.
        width: of the figure, in inches.

    Returns:
        one panel; thin lines are the intervals of the epistemic share.

    Raises:
        InputError: where the group or the output is missing.
    """
    dataset = _needed(tree, "variance_over_time")
    if output not in dataset["output"].values:
        raise InputError("results", [f"group /variance_over_time has no output {output!r}."])
    dataset = dataset.sel(output=output).dropna("time", subset=["epistemic_share"])
    names = parts(dataset)
    shares = np.stack([np.clip(dataset[f"{name}_share"].values, 0, None) for name in names])
    shares /= shares.sum(axis=0)
    time = dataset["time"].values
    figure = Figure(figsize=(width, 2.3 + _legend_lines(width, names)), layout="constrained")
    axis = figure.subplots()
    axis.stackplot(time, shares, colors=[PALETTE[COLOURS[name]] for name in names], linewidth=0)
    for bound in ("lower", "upper"):
        axis.plot(time, np.clip(dataset[f"epistemic_share_{bound}"], 0, 1), color=PALETTE["ink"], linewidth=0.7)
    axis.set(xlim=(time.min(), time.max()), ylim=(0, 1), yticks=[0, 0.5, 1])
    axis.set_yticklabels(["0", "50 %", "100 %"], parse_math=False)
    axis.set_xlabel(with_unit("time", time_unit(tree)), parse_math=False)
    axis.set_ylabel(f"variance of {output}", parse_math=False)
    _legend_of_parts(figure, tree, names, width)
    return figure


@styled
def sobol_bars(tree: xr.DataTree, *, width: float = WIDTH) -> Figure:
    """Sobol indices of every quantity: the first-order part filled, the total effect behind it, both with intervals.

    Args:
        tree: with /sobol.
        width: of the figure, in inches.

    Returns:
        one panel for each quantity, sharing the list of inputs.

    Raises:
        InputError: where the group is missing.
    """
    dataset = with_variance(_needed(tree, "sobol"))
    inputs = [str(name) for name in dataset["parameter"].values]
    quantities = [str(name) for name in dataset["quantity"].values]
    columns = min(len(quantities), columns_of(width, 3))
    rows = -(-len(quantities) // columns)
    figure = Figure(figsize=(width, 0.3 + (0.5 + 0.36 * len(inputs)) * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    place = np.arange(len(inputs))
    for quantity, axis in zip(quantities, axes.ravel(), strict=False):
        chosen = dataset.sel(quantity=quantity)
        for index, height, colour, shift in (("ST", 0.62, "pale", 0.12), ("S1", 0.62, "accent", -0.12)):
            value = np.clip(chosen[index].values, 0, None)
            axis.barh(place, value, height=height, color=PALETTE[colour], linewidth=0)
            bounds = chosen[f"{index}_lower"].values, chosen[f"{index}_upper"].values
            axis.hlines(place + shift, *bounds, color=PALETTE["ink"], linewidth=0.9)
        end = np.nanmax([chosen[name].values for name in ("ST", "ST_upper", "S1_upper")], axis=0)
        for row, x, value in zip(place, end, chosen["ST"].values, strict=True):
            axis.text(max(x, 0) + 0.02, row, f"{value:.2f}", va="center", color=PALETTE["muted"], fontsize=8)
        axis.set_title(quantity, pad=3, parse_math=False)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    axes[0, 0].set(xlim=(0, 1.18), xticks=[0, 0.5, 1], yticks=place)
    axes[0, 0].set_yticklabels([input_label(name) for name in inputs], color=PALETTE["ink"], parse_math=False)
    axes[0, 0].invert_yaxis()
    hide_spare(axes, len(quantities))
    handles = [
        Patch(color=PALETTE["accent"], label="alone (first order)"),
        Patch(color=PALETTE["pale"], label="with its interactions (total, printed)"),
    ]
    legend_above(figure, handles, width)
    return figure


def run_labels(tree: xr.DataTree) -> list[str]:
    """A title for each run of /posterior_band: its unit, and its experiment where the unit alone does not tell."""
    band = _needed(tree, "posterior_band")
    units, experiments = (band[name].values.astype(str).tolist() for name in ("unit", "experiment"))
    if units == experiments:
        return experiments
    named = [f"{unit_name(tree)} {unit}" for unit in units]
    if len(set(units)) == len(units):
        return named
    return [f"{unit}, {experiment}" for unit, experiment in zip(named, experiments, strict=True)]


def _needed(tree: xr.DataTree, name: str, output: str | None = None) -> xr.Dataset:
    dataset = group(tree, name)
    if dataset is None:
        raise InputError("results", [f"group /{name} is missing; a figure needs it."])
    if output is not None and output not in dataset:
        raise InputError(
            "results", [f"group /{name} has no output {output!r}; it has {', '.join(map(str, dataset.data_vars))}."]
        )
    return dataset


def _rows_of_run(tree: xr.DataTree, band: xr.Dataset, observed: xr.Dataset, output: str, run: int) -> np.ndarray:
    """Which observations belong to a run: those of its experiment and, where units have a column, of its unit."""
    mine = observed[f"{output}_experiment"].values.astype(str) == str(band["experiment"].values[run])
    taken = {f"{output}_{name}" for name in ("experiment", "time", "row", "censored")}
    for name, column in observed.coords.items():
        if column.dims == observed[output].dims and name not in taken and str(name).startswith(f"{output}_"):
            mine &= column.values.astype(str) == str(band["unit"].values[run])
    return mine


def _boundaries(axis, share: xr.Dataset, names: tuple[str, ...], row: int) -> None:
    """The interval of the first share from the left, of the last from the right."""
    marks = [(share["epistemic_share_lower"], share["epistemic_share_upper"])]
    if names[-1] == "measurement":
        marks.append((1 - share["measurement_share_upper"], 1 - share["measurement_share_lower"]))
    for low, high in marks:
        low, high = np.clip([float(low), float(high)], 0, 1)
        axis.hlines(row + 0.18, low, high, color=PALETTE["ink"], linewidth=1.1)
        axis.vlines([low, high], row + 0.12, row + 0.24, color=PALETTE["ink"], linewidth=1.1)


def _legend_lines(width: float, names: Sequence[str]) -> float:
    """Height of what a legend has beyond its first line, in inches."""
    return 0.0 if width == WIDTH else 0.18 * (len(names) - 1)


def _legend_of_parts(figure: Figure, tree: xr.DataTree, names: tuple[str, ...], width: float) -> None:
    legend_above(figure, [Patch(color=PALETTE[COLOURS[name]], label=part_label(name, tree)) for name in names], width)
