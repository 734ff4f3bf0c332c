"""The figure of a best fit, from what `find_map` returns: whether the starts agree on an optimum."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ..errors import InputError
from .drawing import PALETTE, WIDTH, styled

NEEDED = ("log_density", "optimum")
# Losses are drawn in proportion up to here, in decades beyond.
LINEAR = 1.0


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
    if missing := [name for name in NEEDED if name not in fit]:
        raise InputError(
            "waterfall", [f"variable {name!r} is missing; give what `find_map` returns." for name in missing]
        )
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
