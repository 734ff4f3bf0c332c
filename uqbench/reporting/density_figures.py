"""Figures of distributions: what `pushforward` and `pushforward_density` return, drawn as it is."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ..errors import InputError
from .drawing import PALETTE, WIDTH, hide_spare, styled, with_unit
from .sensitivity_figures import dimension_findings, short_names, with_ends
from .tables import rounded

# A density is cut at this many times the height that 90 % of the distribution stay below: it may have a pole.
ROOM = 2.0
# and shown without this much of the distribution at either side.
OUTSIDE = 0.003


@styled
def density(dataset: xr.Dataset, *, unit: str = "") -> Figure:
    """The distribution of each output: its density with the interval, or the probabilities of a count.

    Args:
        dataset: from `pushforward`, or `density` at the coordinate `y` as from `pushforward_density`.
        unit: of the outputs.

    Returns:
        one panel for each output. Below the curve stand the outermost quantiles as a thin line, the next pair inside as
        a thick one and the median as a dot; a density that rises beyond the panel says how far.

    Raises:
        InputError: where there is neither density nor probability_mass, or more than one dimension of outputs.

    Example:
        >>> density(pushforward(runs), unit="mg/L").savefig("density.png")  # doctest: +SKIP
    """
    own = {"density": "point" if "point" in dataset.dims else "y", "probability_mass": "value"}
    kinds = [name for name in own if name in dataset]
    findings = [] if kinds else ["there is neither `density` nor `probability_mass`; give the result of `pushforward`."]
    for name in kinds:
        findings += dimension_findings(dataset, (name,), (own[name],), most=1)
    if "density" in kinds and "y" not in dataset.coords:
        findings.append("`density` has no coordinate `y`, the values that it belongs to.")
    if findings:
        raise InputError("density", findings)
    output = next((str(dim) for name in kinds for dim in dataset[name].dims if dim != own[name]), None)
    singles = [dataset] if output is None else [dataset.isel({output: k}) for k in range(dataset.sizes[output])]
    named = output is not None and output in dataset.coords
    titles = short_names(str(each[output].values) if named else f"{output or ''} {k}" for k, each in enumerate(singles))
    columns = min(len(singles), 3)
    rows = -(-len(singles) // columns)
    figure = Figure(figsize=(WIDTH if columns > 1 else 0.65 * WIDTH, 0.4 + 2.1 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for single, title, axis in zip(singles, titles, axes.ravel(), strict=False):
        drawn = "density" in single and bool(np.isfinite(single["density"]).any())
        _draw_density(axis, single) if drawn else _draw_masses(axis, single)
        if "quantile" in single:
            _draw_quantiles(axis, single)
        axis.spines["left"].set_visible(False)
        axis.locator_params(axis="x", nbins=5)
        if output is not None:
            axis.set_title(title, pad=3, parse_math=False)
    hide_spare(axes, len(singles))
    figure.supxlabel(with_unit("value", unit), fontsize=8.5, parse_math=False)
    return figure


def _draw_density(axis, single: xr.Dataset) -> None:
    y, height = single["y"].values, single["density"].values
    order = np.argsort(y)
    y, height = y[order], height[order]
    finite = np.where(np.isfinite(height), height, np.nan)
    mass = np.nan_to_num((finite[1:] + finite[:-1]) / 2) * np.diff(y)
    reached = np.cumsum(mass) / max(mass.sum(), 1e-300)
    rising = np.argsort(finite[1:])
    usual = finite[1:][rising][np.searchsorted(np.cumsum(mass[rising]) / max(mass.sum(), 1e-300), 0.9)]
    banded = "density_lower" in single
    low, high = (single[f"density_{end}"].values[order] if banded else finite for end in ("lower", "upper"))
    cut = np.nanmax(finite) > ROOM * usual
    top = ROOM * usual if cut else np.nanmax(high)
    if banded:
        axis.fill_between(y, low, np.minimum(high, 1.2 * top), color=PALETTE["middle"], alpha=0.6, linewidth=0)
    axis.plot(y, finite, color=PALETTE["accent"], linewidth=1.4)
    inside = np.flatnonzero((reached > OUTSIDE) & (reached < 1 - OUTSIDE))
    ends = y[[inside[0], min(inside[-1] + 1, y.size - 1)]] if inside.size else y[[0, -1]]
    if cut or np.isinf(height).any():
        place = float(np.clip(y[np.nanargmax(height)], *ends))
        aside = 1 if place < ends.mean() else -1
        peak = rounded(float(np.nanmax(height)), digits=2)
        side = {"ha": "left" if aside > 0 else "right", "va": "top", "textcoords": "offset points", "fontsize": 7.5}
        axis.annotate(f"up to {peak}", (place, 1.08 * top), xytext=(7 * aside, 0), **side)
    axis.set(xlim=ends, ylim=(-0.16 * top if "quantile" in single else 0, 1.08 * top), yticks=[0, _round_down(top)])
    axis.set_yticklabels(["0", rounded(_round_down(top), digits=1)])
    axis.set_ylabel("probability density")


def _draw_masses(axis, single: xr.Dataset) -> None:
    value, p, low, high = (single[name].values for name in ("value", *with_ends(("probability_mass",))))
    shown = np.flatnonzero(p > 1e-4)
    keep = slice(shown[0], shown[-1] + 1) if shown.size else slice(None)
    value, p, low, high = (each[keep] for each in (value, p, low, high))
    axis.bar(value, p, width=0.8 * np.diff(value).min(initial=1.0), color=PALETTE["middle"], linewidth=0)
    axis.vlines(value, low, high, color=PALETTE["ink"], linewidth=0.8)
    top = np.nanmax(high)
    axis.set(ylim=(-0.16 * top if "quantile" in single else 0, 1.1 * top), yticks=[0, _round_down(top)])
    axis.set_yticklabels(["0", rounded(_round_down(top), digits=1)])
    axis.set_ylabel("probability")


def _draw_quantiles(axis, single: xr.Dataset) -> None:
    """Pairs of quantiles as lines below the curve, the outer ones thinner, and the median as a dot."""
    levels, values = single["probability"].values, single["quantile"].values
    order = np.argsort(levels)
    levels, values = levels[order], values[order]
    place = 0.55 * axis.get_ylim()[0]
    for k in range(len(levels) // 2):
        ends = values[[k, -1 - k]]
        axis.hlines(place, *ends, color=PALETTE["accent"], linewidth=0.9 + 1.3 * k)
    if len(levels) % 2:
        axis.plot(values[len(levels) // 2], place, "o", color=PALETTE["paper"], mec=PALETTE["accent"], markersize=4)


def _round_down(value: float) -> float:
    """One significant digit, at most `value`."""
    place = 10.0 ** np.floor(np.log10(value)) if value > 0 else 1.0
    return float(np.floor(value / place + 1e-9) * place)
