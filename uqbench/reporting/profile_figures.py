"""Figures of profile likelihoods: how the log density falls as a parameter or a quantity leaves its best value."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.interpolate import PchipInterpolator

from ..errors import InputError
from .drawing import PALETTE, WIDTH, columns_of, hide_spare, legend_above, styled, with_unit

NEEDED = ("value", "lower", "upper", "verdict_lower", "verdict_upper", "path_value", "path_log_density")
SIDES = {"lower": -1, "upper": 1}
# The height of a panel in thresholds, and the ratio of values beyond which their axis is logarithmic.
ROOM, LOGARITHMIC = 1.6, 10.0
# Decades that are shown of an open side.
DECADES = 3.0
# Room beside what is shown, as a share of it.
MARGIN = 0.06


@styled
def profiles(dataset: xr.Dataset, *, units: Mapping[str, str] | None = None, width: float = WIDTH) -> Figure:
    """By how much the log density falls along the profile of every parameter or quantity.

    Args:
        dataset: /profile of a tree, from `profile_likelihood` or `profile_quantities`.
        units: of the parameters, for the titles; those of quantities are in the dataset.
        width: of the figure, in inches.

    Returns:
        small multiples: the curve, through the points that were computed, crosses the threshold (grey) where the
        interval ends (bars); a dot is the best fit. A side that is not bounded has an arrow and its verdict.

    Raises:
        InputError: where variables are missing.

    Example:
        >>> profiles(profile_likelihood(study, theta)).savefig("profiles.png")  # doctest: +SKIP
    """
    missing = [name for name in NEEDED if name not in dataset]
    missing += [name for name in ("log_density", "threshold") if name not in dataset.attrs]
    if missing:
        raise InputError(
            "profiles", [f"{name!r} is missing; give the result of profile_likelihood." for name in missing]
        )
    (dim,) = dataset["value"].dims
    names = [str(name) for name in dataset[dim].values]
    known = dict(zip(names, dataset["unit"].values, strict=True)) if "unit" in dataset else dict(units or {})
    columns = min(len(names), columns_of(width))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(width, 0.7 + 1.75 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for name, axis in zip(names, axes.ravel(), strict=False):
        _draw(axis, dataset.sel({dim: name}), dataset.attrs["log_density"], dataset.attrs["threshold"])
        axis.set_title(with_unit(name, str(known.get(name, ""))), pad=3, parse_math=False)
    hide_spare(axes, len(names))
    figure.supylabel("fall of the log density", fontsize=8.5)
    legend_above(figure, _legend(dataset.attrs.get("level")), width)
    return figure


def _draw(axis, profile: xr.Dataset, top: float, threshold: float) -> None:
    best = float(profile["value"])
    value, fall = profile["path_value"].values.ravel(), top - profile["path_log_density"].values.ravel()
    known = np.isfinite(value) & np.isfinite(fall)
    value, order = np.unique(np.append(value[known], best), return_index=True)
    fall = np.append(fall[known], 0.0)[order]
    logarithmic = value[0] > 0 and value[-1] > LOGARITHMIC * value[0]
    axis.set_xscale("log" if logarithmic else "linear")
    axis.axhline(threshold, color=PALETTE["grey"], linewidth=0.8)
    if value.size > 1:
        grid, curve = _curve(value, fall, best, logarithmic)
        axis.plot(grid, curve, color=PALETTE["accent"], linewidth=1.4, label="profile")
    axis.plot(value, fall, "o", color=PALETTE["accent"], markersize=2.2, markeredgewidth=0)
    axis.plot(best, 0.0, "o", color=PALETTE["paper"], mec=PALETTE["accent"], markersize=4.5, clip_on=False, zorder=3)
    shown = np.array([float(profile[side]) for side in SIDES])
    axis.set(xlim=_window(value, shown, best, logarithmic), ylim=(0.0, ROOM * threshold))
    for side, way in SIDES.items():
        end, verdict = float(profile[side]), str(profile[f"verdict_{side}"].values)
        if np.isfinite(end):
            axis.vlines(end, 0.0, threshold, color=PALETTE["accent"], linewidth=0.9, label=f"end {side}")
        else:
            _draw_open(axis, verdict, way)
    if not logarithmic:
        axis.locator_params(axis="x", nbins=4)


def _curve(value: np.ndarray, fall: np.ndarray, best: float, logarithmic: bool) -> tuple[np.ndarray, np.ndarray]:
    """A smooth curve through the points: the signed root of the fall is nearly straight, whatever the fall is."""
    x = np.log(value) if logarithmic else value
    root = np.sign(value - best) * np.sqrt(np.maximum(fall, 0.0))
    grid = np.linspace(x[0], x[-1], 200)
    curve = PchipInterpolator(x, root)(grid) ** 2
    return np.exp(grid) if logarithmic else grid, curve


def _window(value: np.ndarray, shown: np.ndarray, best: float, logarithmic: bool) -> tuple[float, float]:
    """What is shown, `shown`, and of the points as many decades as have room beside the best value."""
    if logarithmic:
        value = np.clip(value, best * 10.0**-DECADES, best * 10.0**DECADES)
    ends = np.append(value, shown[np.isfinite(shown)])
    low, high = (float(change(ends)) for change in (np.min, np.max))
    if logarithmic:
        room = (high / low) ** MARGIN
        return low / room, high * room
    room = MARGIN * (high - low) or max(MARGIN * abs(low), 1e-12)
    return low - room, high + room


def _draw_open(axis, verdict: str, way: int) -> None:
    """An arrow out of the panel with the verdict beside it, both at half of the threshold."""
    edge, height = (1.0 if way > 0 else 0.0), 0.5 / ROOM
    arrow = {"arrowstyle": "->", "color": PALETTE["ink"], "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}
    axis.annotate(
        "", (edge, height), xytext=(edge - 0.12 * way, height), xycoords="axes fraction", arrowprops=arrow,
        annotation_clip=False,
    )  # fmt: skip
    align = "right" if way > 0 else "left"
    axis.text(edge, height + 0.05, verdict, transform=axis.transAxes, ha=align, va="bottom", fontsize=7.5)


def _legend(level: float | None) -> list[Line2D]:
    interval = "end of the interval" if level is None else f"end of the {100 * level:g} % interval"
    return [
        Line2D([], [], color=PALETTE["accent"], linewidth=1.4, label="profile likelihood"),
        Line2D([], [], color=PALETTE["grey"], linewidth=0.8, label="threshold"),
        Line2D([], [], color=PALETTE["accent"], linewidth=0.9, marker="|", linestyle="", label=interval),
        Line2D([], [], color=PALETTE["paper"], mec=PALETTE["accent"], marker="o", linestyle="", label="best fit"),
    ]
