"""Figures of a best fit and of profiles, from what `find_map` and `profile_likelihood` return: /fit and /profile.

A waterfall shows whether the starts agree on an optimum, a profile how much likelihood is lost along a parameter.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from ..errors import InputError, nearest
from .drawing import COLUMNS, PALETTE, WIDTH, hide_spare, styled
from .sensitivity_figures import short_names

# Losses are drawn in proportion up to here, in decades beyond.
LINEAR = 1.0
# A profile is drawn to this many times the loss at the ends of its intervals.
ROOM = 1.5
# An axis over more than this factor is logarithmic.
DECADES = 20.0
COLOURS = ("accent", "grey", "ink", "middle")
BOUNDED = ("bounded", "several optima")


@styled
def waterfall(fit: xr.Dataset) -> Figure:
    """By how much each start ended below the best fit, the best first; those at the best fit are coloured.

    Args:
        fit: from `find_map`.

    Returns:
        the figure; steps are local optima. Starts that failed are left out, and counted in the title.

    Raises:
        InputError: where variables are missing.

    Example:
        >>> waterfall(find_map(study)).savefig("waterfall.png")  # doctest: +SKIP
    """
    _require("waterfall", fit, ("log_density", "optimum"), "find_map")
    lost = fit.attrs["log_density"] - fit["log_density"].values
    number, known = fit["optimum"].values, np.isfinite(lost)
    figure = Figure(figsize=(0.5 * WIDTH, 2.4), layout="constrained")
    axis = figure.subplots()
    rank = np.arange(1, len(lost) + 1)
    axis.plot(rank[known], lost[known], color=PALETTE["line"], linewidth=0.8)
    for at_best, colour in ((False, "grey"), (True, "accent")):
        chosen = known & ((number == 0) == at_best)
        axis.plot(rank[chosen], lost[chosen], "o", color=PALETTE[colour], markersize=4)
    axis.set_yscale("symlog", linthresh=LINEAR)
    axis.set_ylim(bottom=-0.2)
    failed = f", {np.sum(~known)} failed" if np.any(~known) else ""
    axis.set_title(f"{np.sum(number == 0)} of {len(lost)} starts at the best fit{failed}", color=PALETTE["muted"])
    axis.set_xlabel("start, the best first")
    axis.set_ylabel("log density lost")
    return figure


@styled
def profile_curves(profiles: xr.Dataset | Mapping[str, xr.Dataset], parameters: Sequence[str] | None = None) -> Figure:
    """Log-likelihood lost along each parameter, the others following; below the line is the interval.

    Args:
        profiles: from `profile_likelihood`, or label -> such, to compare.
        parameters: which to draw; None for all of the first.

    Returns:
        one panel for each parameter; of a single profile its title names the sides that have no end.

    Raises:
        InputError: where variables or parameters are missing.

    Example:
        >>> profile_curves(profile_likelihood(study, fit)).savefig("profiles.png")  # doctest: +SKIP
    """
    profiles = {"": profiles} if isinstance(profiles, xr.Dataset) else dict(profiles)
    for profile in profiles.values():
        _require("profile_curves", profile, ("path_value", "path_log_density"), "profile_likelihood")
    first = next(iter(profiles.values()))
    names = [str(name) for name in (first["parameter"].values if parameters is None else parameters)]
    known = [str(name) for name in first["parameter"].values]
    if missing := [name for name in names if any(name not in each["parameter"].values for each in profiles.values())]:
        findings = [f"no profile of {name!r}; {nearest(name, known)}" for name in missing]
        raise InputError("profile_curves", findings)
    columns = min(len(names), COLUMNS)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(WIDTH * columns / COLUMNS, 0.4 + 1.9 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axis, name, label in zip(axes.ravel(), names, short_names(names), strict=False):
        for (text, profile), colour in zip(profiles.items(), COLOURS, strict=False):
            value, lost = _curve(profile, name)
            axis.plot(value, lost, ".-", color=PALETTE[colour], linewidth=1.2, markersize=3, label=text)
        _scale(axis)
        axis.axhline(first.attrs["threshold"], color=PALETTE["muted"], linewidth=0.8, linestyle=":")
        axis.set_xlabel(label, parse_math=False)
        if len(profiles) == 1:
            axis.set_title(_open_sides(first, name), color=PALETTE["muted"])
        axis.set_ylim(-0.05, ROOM * first.attrs["threshold"])
    hide_spare(axes, len(names))
    figure.supylabel("log-likelihood lost", fontsize=8.5)
    if len(profiles) > 1:
        axes[0, 0].legend(fontsize=7.5)
    return figure


def _scale(axis) -> None:
    """Decades where the curves of a panel go over some, else few numbers."""
    values = np.concatenate([line.get_xdata() for line in axis.lines])
    if np.all(values > 0) and values.max() > DECADES * values.min():
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(numticks=5))
        axis.xaxis.set_minor_formatter(NullFormatter())
    else:
        axis.xaxis.set_major_locator(MaxNLocator(3))


def _curve(profile: xr.Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Values of a parameter, rising, and what is lost there."""
    path = profile[["path_value", "path_log_density"]].sel(parameter=name)
    value, density = (path[key].values.ravel() for key in ("path_value", "path_log_density"))
    order = np.argsort(value[np.isfinite(value)])
    lost = profile.attrs["log_density"] - density[np.isfinite(value)]
    return value[np.isfinite(value)][order], lost[order]


def _open_sides(profile: xr.Dataset, name: str) -> str:
    row = profile.sel(parameter=name)
    sides = {"below": str(row["verdict_lower"].item()), "above": str(row["verdict_upper"].item())}
    return "; ".join(f"{verdict} {side}" for side, verdict in sides.items() if verdict not in BOUNDED)


def _require(subject: str, dataset: xr.Dataset, names: Sequence[str], source: str) -> None:
    if missing := [name for name in names if name not in dataset]:
        raise InputError(subject, [f"variable {name!r} is missing; give what `{source}` returns." for name in missing])
