"""How figures look, and what drawing them needs: colours, type, densities.

One accent colour carries what was inferred, grey what was given or is random; everything else stays quiet.
"""

from functools import wraps

import matplotlib
import numpy as np
from matplotlib.figure import Figure

# The page replaces these by its own light or dark colours of the same names.
PALETTE = {
    "ink": "#20272e",
    "muted": "#67727d",
    "line": "#cfd6dc",
    "accent": "#1f6f8b",
    "middle": "#8fbccb",
    "pale": "#d5e6ec",
    "grey": "#b3bcc5",
    "paper": "#fefefe",
}
COLOURS = {"epistemic": "accent", "aleatory": "grey", "measurement": "line"}
# Widths of a figure on a page and on a phone, in inches: labels are as large on both.
WIDTH, NARROW = 8.8, 3.9
COLUMNS = 4

STYLE = {
    "font.size": 8.5,
    "text.color": PALETTE["ink"],
    "axes.labelcolor": PALETTE["ink"],
    "axes.labelsize": 8.5,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.edgecolor": PALETTE["line"],
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.linewidth": 0.8,
    "xtick.color": PALETTE["line"],
    "ytick.color": PALETTE["line"],
    "xtick.labelcolor": PALETTE["muted"],
    "ytick.labelcolor": PALETTE["muted"],
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": PALETTE["paper"],
}


def styled(function):
    """Draws under `STYLE`, and leaves the settings of the caller as they were."""

    @wraps(function)
    def draw(*arguments, **settings):
        with matplotlib.rc_context(STYLE):
            return function(*arguments, **settings)

    return draw


def columns_of(width: float, most: int = COLUMNS) -> int:
    """How many panels stand side by side in a figure of some width, where `most` do in one of full width."""
    return max(1, round(most * width / WIDTH))


def legend_above(figure: Figure, handles: list, width: float) -> None:
    """A legend over all panels, in one line where there is room for it."""
    columns = len(handles) if width == WIDTH else 1
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, handlelength=1.0, borderaxespad=0.2)


def with_unit(name: str, unit: str) -> str:
    """The label of an axis."""
    return f"{name} [{unit}]" if unit else name


def hide_spare(axes: np.ndarray, used: int) -> None:
    """Removes the empty panels of the last row; those above them keep their own time axis."""
    for axis in axes.ravel()[used:]:
        axis.set_visible(False)
    if axes.size > used and len(axes) > 1:
        for axis in axes[-2, used - axes.size :]:
            axis.tick_params(labelbottom=True)


def window(prior: np.ndarray, posterior: np.ndarray) -> tuple[float, float]:
    """What to show: the posterior with room around it, no further than the prior reaches."""
    low, centre, high = np.quantile(posterior, (0.001, 0.5, 0.999))
    first, last = np.quantile(prior, (0.005, 0.98))
    spread = max(high - low, 1e-12 * max(abs(centre), 1e-300))
    return float(min(low, max(first, low - 1.2 * spread))), float(max(high, min(last, high + 1.2 * spread)))


def kernel_density(draws: np.ndarray, grid: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """Gaussian kernel density, mirrored at the ends of all draws, lest it falls where its support ends.

    Bandwidth by the rule of thumb of Silverman (1986, Density Estimation, eq. 3.30).
    """
    quartiles = np.quantile(draws, (0.25, 0.75))
    spread = min(np.std(draws), (quartiles[1] - quartiles[0]) / 1.34) or np.std(draws)
    width = max(1.06 * spread * draws.size**-0.2, 1e-12 * max(np.abs(draws).max(), 1e-300))
    mirrored = np.concatenate([draws, 2 * bounds[0] - draws, 2 * bounds[1] - draws])
    near = mirrored[(mirrored > grid[0] - 5 * width) & (mirrored < grid[-1] + 5 * width)]
    kernel = np.exp(-0.5 * ((grid[:, None] - near) / width) ** 2).sum(axis=1)
    inside = (grid >= bounds[0]) & (grid <= bounds[1])
    return np.where(inside, kernel / (draws.size * width * np.sqrt(2 * np.pi)), 0.0)
