"""The figure of a balance: contents of the parts over time, and what is missing of them."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ..errors import InputError
from ..results import attribute, group
from .drawing import PALETTE, WIDTH, columns_of, legend_above, styled, with_unit
from .tables import time_unit, unit_text

# Relative residuals below this are drawn there: a logarithm of zero is none.
LEAST = 1e-18
SHADES = ("accent", "middle", "pale", "grey", "line")


@styled
def balance_over_time(tree: xr.DataTree, quantity: str, *, width: float = WIDTH) -> Figure:
    """Contents of all parts over time, and below them the residual of the balance in units of the largest amount.

    Args:
        tree: with /balance.
        quantity: what is conserved.
        width: of the figure, in inches.

    Returns:
        a column for each experiment, leaking ones first, as many as there is room for; contents are stacked where none
        is negative. The residual is on a logarithmic axis: of all parts together (solid) and the largest of a part
        (dashed).

    Raises:
        InputError: where the group or the quantity is missing.
    """
    dataset = group(tree, "balance")
    if dataset is None or quantity not in dataset["quantity"].values:
        raise InputError("balance figure", [f"there is no /balance of {quantity!r} in the tree."])
    of_it = dataset["quantity"].values == quantity
    whole = dataset["part"].values == "all"
    leaks = dataset["leak"].values[:, of_it].any(axis=1)
    shown = np.argsort(~leaks, kind="stable")[: columns_of(width)]
    figure = Figure(figsize=(width, 3.9), layout="constrained")
    axes = figure.subplots(2, len(shown), sharex="col", sharey="row", squeeze=False, height_ratios=(1.5, 1.0))
    handles: list = []
    for column, number in enumerate(shown):
        one = dataset.isel(experiment=int(number))
        kept = np.isfinite(one["time"].values)
        time = one["time"].values[kept]
        parts = one.isel(account=np.flatnonzero(of_it & ~whole))
        drawn = _contents(axes[0, column], time, parts["content"].values[:, kept], parts["part"].values)
        handles = handles or drawn
        axes[0, column].set_title(str(dataset["experiment"].values[number]), color=PALETTE["muted"], parse_math=False)
        below = axes[1, column]
        # of a part that is nearly empty what counts is what passed through it
        size = np.where(one["size"].values > 0, one["size"].values, 1.0)
        shares = np.abs(one["residual"].values[:, kept]) / size[:, None]
        shares = np.maximum(shares, LEAST)
        # at the start there is nothing to be missed
        lines = (
            (shares[of_it & whole][0], "accent", "-"),
            (shares[of_it & ~whole].max(axis=0), "muted", "--"),
        )
        for values, colour, style in lines:
            below.plot(time[1:], values[1:], style, color=PALETTE[colour], marker="o", markersize=2.4, linewidth=1.2)
        below.axhline(attribute(tree, "balance", "rounding"), color=PALETTE["ink"], linewidth=0.8, linestyle=":")
        below.set_yscale("log")
    unit = str(dataset["unit"].values[of_it][0])
    axes[0, 0].set_ylabel(with_unit(quantity, unit_text(unit)), parse_math=False)
    axes[1, 0].set_ylabel("residual, relative")
    figure.supxlabel(with_unit("time", time_unit(tree)), fontsize=8.5, parse_math=False)
    legend_above(figure, handles, width)
    return figure


def _contents(axis, time: np.ndarray, contents: np.ndarray, parts: np.ndarray) -> list:
    """Stacked areas, or lines where a content is negative; handles of the legend."""
    colours = [PALETTE[SHADES[index % len(SHADES)]] for index in range(len(parts))]
    if np.any(contents < 0):
        lines = zip(contents, colours, parts, strict=True)
        return [axis.plot(time, row, color=colour, label=str(part))[0] for row, colour, part in lines]
    return axis.stackplot(time, contents, colors=colours, labels=[*map(str, parts)], linewidth=0)
