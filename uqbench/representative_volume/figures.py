"""The picture of an REV analysis: how the property of windows settles with their size, or does not."""

from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..reporting.drawing import NARROW, PALETTE, WIDTH, legend_above, styled, with_unit
from .analysis import RevAnalysis

# Characters of a finding on a line, for each inch of the figure.
CHARACTERS = 15.5
# Inches of a line of text, and of the two panels.
LINE, PANELS = 0.155, 2.6


@styled
def rev_figure(analysis: RevAnalysis, *, width: float = WIDTH) -> Figure:
    """The property against the size of the windows, and how much windows of one size differ.

    Args:
        analysis: of `rev_analysis`. width: of the figure, in inches.

    Returns:
        on the left the mean over windows and the band of one standard deviation between them, within the tolerance
        (grey lines) around the mean of the largest windows that are resolved; on the right the relative standard
        deviation (dots), its upper 95 % limit (bars) and the tolerance. The interval of windows that represent the
        medium is shaded, a boundary layer is a dashed line, and sizes with too few windows to tell are hollow.
        Under them what the analysis finds, also of a trend and of correlations of long range.

    Example:
        >>> rev_figure(rev_analysis("pores.tif", voxel_size=2.0, unit="um")).savefig("rev.png")  # doctest: +SKIP
    """
    text = _text(analysis, width)
    lines = text.count("\n") + 1
    across = width > NARROW
    figure = Figure(figsize=(width, (1 if across else 2) * PANELS + 0.45 + LINE * lines), layout="constrained")
    left, right = figure.subplots(1, 2) if across else figure.subplots(2, 1)
    _draw_property(left, analysis)
    _draw_spread(right, analysis)
    for axis in (left, right):
        _draw_sizes(axis, analysis)
    figure.supxlabel(text, x=0.01, ha="left", fontsize=8.5, color=PALETTE["ink"], linespacing=1.35, parse_math=False)
    legend_above(figure, _legend(analysis), width)
    return figure


def _draw_property(axis: Axes, analysis: RevAnalysis) -> None:
    mean, spread = analysis.mean, np.abs(analysis.mean) * analysis.relative_sd
    axis.fill_between(
        analysis.window,
        mean - spread,
        mean + spread,
        color=PALETTE["pale"],
        linewidth=0,
        label="spread between windows",
    )
    resolved = np.isfinite(analysis.upper)
    if resolved.any():
        reference = mean[resolved][-1]
        for side in (-1, 1):
            axis.axhline(reference * (1 + side * analysis.tolerance), color=PALETTE["muted"], linewidth=0.8)
    axis.plot(analysis.window, mean, color=PALETTE["accent"], linewidth=1.4, label="mean")
    _draw_points(axis, analysis, mean)
    axis.set_ylabel(analysis.property)


def _draw_spread(axis: Axes, analysis: RevAnalysis) -> None:
    known = analysis.relative_sd > 0
    window, spread = analysis.window[known], analysis.relative_sd[known]
    resolved = np.isfinite(analysis.upper[known])
    axis.vlines(
        window[resolved], spread[resolved], analysis.upper[known][resolved], color=PALETTE["accent"], linewidth=1
    )
    axis.plot(window, spread, color=PALETTE["accent"], linewidth=1.4, label="relative standard deviation")
    _draw_points(axis, analysis, np.where(known, analysis.relative_sd, np.nan))
    axis.axhline(analysis.tolerance, color=PALETTE["muted"], linewidth=0.8, label="tolerance")
    if known.any():
        # the line of a medium without correlations of long range, from the smallest window on
        axes = len(analysis.trend)
        axis.plot(
            *(analysis.window, spread[0] * (analysis.window / window[0]) ** (-axes / 2)),
            color=PALETTE["muted"], linewidth=0.9, linestyle=(0, (1, 2)), label="independent voxels",
        )  # fmt: skip
        axis.set_yscale("log")
    axis.set_ylabel("relative sd of windows")


def _draw_points(axis: Axes, analysis: RevAnalysis, values: np.ndarray) -> None:
    resolved = np.isfinite(analysis.upper)
    for which, face, label in ((resolved, "accent", "resolved"), (~resolved, "paper", "too few windows")):
        axis.plot(
            *(analysis.window[which], values[which], "o"),
            color=PALETTE["accent"], markerfacecolor=PALETTE[face], markersize=4, zorder=3, label=label,
        )  # fmt: skip


def _draw_sizes(axis: Axes, analysis: RevAnalysis) -> None:
    """The axis of sizes, with what holds of them."""
    axis.set_xscale("log", base=2)
    axis.set_xticks(analysis.window, [f"{size:.4g}" for size in analysis.window])
    axis.minorticks_off()
    axis.set_xlabel(with_unit("edge of a window", analysis.unit), parse_math=False)
    if analysis.interval is not None:
        low, high = analysis.interval
        # a single size is an interval too
        axis.axvspan(
            low / 2**0.15, high * 2**0.15, color=PALETTE["line"], alpha=0.45, linewidth=0, zorder=0, label="REV"
        )
    if analysis.boundary_layer is not None:
        axis.axvline(
            analysis.boundary_layer, color=PALETTE["ink"], linewidth=0.9, linestyle="--", label="boundary layer"
        )


def _legend(analysis: RevAnalysis) -> list:
    accent = PALETTE["accent"]
    handles = [
        Line2D([], [], color=accent, marker="o", markersize=4, linewidth=1.4, label="windows"),
        Patch(color=PALETTE["pale"], label="± 1 sd of them"),
        Line2D([], [], color=PALETTE["muted"], linewidth=0.8, label="tolerance"),
        Line2D([], [], color=PALETTE["muted"], linewidth=0.9, linestyle=(0, (1, 2)), label="independent voxels"),
    ]
    if not np.isfinite(analysis.upper).all():
        handles.insert(
            1, Line2D([], [], color=accent, marker="o", markerfacecolor=PALETTE["paper"], linewidth=0, label="too few")
        )
    if analysis.interval is not None:
        handles.append(Patch(color=PALETTE["line"], alpha=0.45, label="REV"))
    if analysis.boundary_layer is not None:
        handles.append(Line2D([], [], color=PALETTE["ink"], linewidth=0.9, linestyle="--", label="boundary layer"))
    return handles


def _text(analysis: RevAnalysis, width: float) -> str:
    """The verdict, the exponent of the variance and the findings, wrapped to the figure."""
    verdict, *findings = str(analysis).split("\n")
    if np.isfinite(analysis.decay):
        verdict += f"; variance of windows ~ size^-{analysis.decay:.2f} ({len(analysis.trend)} at short range)"
    lines = [verdict, *findings]
    return "\n".join(fill(line, int(CHARACTERS * width), subsequent_indent="    ") for line in lines)
