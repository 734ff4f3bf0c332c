"""Profile likelihood of two parameters at once: a surface over a grid, followed outwards from the best fit."""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.stats import chi2

from ...annotations import Values
from ...errors import InputError, nearest
from ...optimization.ascent import Box, Peak, Search, ascend
from ...optimization.best_fit import BY_HAND, everywhere
from ...optimization.coordinates import Coordinates
from ...optimization.objective import TOGETHER, Objective, objective_of
from ...optimization.rounds import in_rounds
from ...progress import progress
from ...settings import is_number, whole_number_findings
from ...space import distribution_of
from ...study import Study
from .beginning import BUDGET, best_near, peak_from, setting_findings
from .crosscheck import foretold
from .following import BETTER
from .path import HIGHER, MOST_SCORES, ON_THE_WAY, predicted
from .quantity import standard_error

# Cells along each parameter; where it is not told, the grid reaches as many standard errors to each side, but no more
# units of steps.
CELLS, ERRORS, FARTHEST = 15, 3.5, 3.0
# How often cells are looked at again from all of their neighbours.
SWEEPS = 3
# Contours that a surface is made for: joint confidence of two parameters.
LEVELS = (0.5, 0.9, 0.95)
# What an ascent may be predicted to gain where it ended, in log density.
LEFT = 0.01

Cell = tuple[int, int]


class Grid(NamedTuple):
    """Where a surface is wanted, in the coordinates.

    Args:
        held: the indices of both parameters.
        axes: values of each.
    """

    held: tuple[int, int]
    axes: tuple[Float[np.ndarray, " n"], Float[np.ndarray, " m"]]

    def at(self, cell: Cell) -> Float[np.ndarray, " 2"]:
        """Both coordinates of a cell."""
        return np.array([axis[index] for axis, index in zip(self.axes, cell, strict=True)])

    def rings(self, x: Float[np.ndarray, " k"]) -> list[list[Cell]]:
        """All cells by their distance from the one that is closest to x."""
        centre = [int(np.argmin(np.abs(axis - x[k]))) for axis, k in zip(self.axes, self.held, strict=True)]
        rings: dict[int, list[Cell]] = {}
        for cell in np.ndindex(len(self.axes[0]), len(self.axes[1])):
            rings.setdefault(max(abs(i - c) for i, c in zip(cell, centre, strict=True)), []).append(cell)
        return [rings[distance] for distance in sorted(rings)]


def profile_surface(
    study: Study,
    theta_hat: Values | xr.Dataset,
    parameters: Sequence[str],
    *,
    n: int = CELLS,
    limits: Mapping[str, Sequence[float]] | None = None,
    prior: bool = False,
    budget: float = BUDGET,
) -> xr.Dataset:
    """Profile likelihood of two parameters: the largest log density with both held, on a grid around the best fit.

    It shows what two intervals do not: a ridge along which one parameter makes up for the other, or several optima.
    Cells are climbed from their neighbours', ring by ring outwards, those of a ring side by side; and once more where a
    neighbour foretells a higher point.

    Args:
        study: with data; its likelihood has a gradient and an information.
        theta_hat: as for `profile_likelihood`.
        parameters: the names of both.
        n: cells along each parameter; with an odd number the best fit is one of them, unless a bound is near.
        limits: name -> (lowest, highest), in units, of one parameter or both; without them the grid reaches 3.5
            standard errors to each side, but no more than a factor of twenty (for parameters that may be negative,
            three times half the interquartile range of the prior), within the bounds of the prior.
        prior: whether the prior counts, as in `find_map`.
        budget: seconds; cells that are not done by then have no value.

    Returns:
        by `first` and `second`, the values of both parameters in units (equally spaced in logarithms of positive ones):
        `log_density`, NaN where there is none, `reason` for that ("" where there is a value; "unsolved", "unresolved",
        "stopped"), and by `other` too `path`: all parameters. Attributes: `parameters`; `log_density` of the best fit;
        `best`, both parameters there; `levels` and `contours`, the log densities at their borders (chi-squared with two
        degrees of freedom);
        `enclosed`, how many of the contours lie within the grid; `scores`, `stopped`.

    Raises:
        InputError: with every finding: unknown parameters, settings, no data; a model that cannot be solved at
            `theta_hat`.

    Example:
        >>> from studies.two_scale_cascade import study
        >>> found = profile_surface(study, study.model.space.nominal(), ["kf", "ks"], n=3)
        >>> found.log_density.shape
        (3, 3)
    """
    names = tuple(parameters)
    findings = _findings(study, names, n, limits) + setting_findings(study, theta_hat, 0.95, budget)
    if findings:
        raise InputError(f"profile_surface of study {study.name!r}", findings)
    objective = objective_of(study, prior)
    best, _ = best_near(study, objective, theta_hat)
    until, scores = time.monotonic() + budget, 0
    for _ in range(BETTER + 1):
        grid = _grid(objective.coordinates, best, names, n, limits or {})
        peaks, stopped = _climbed(objective, best, grid, until)
        scores += sum(peak.scores for peak in peaks.values())
        highest = max(peaks.values(), key=lambda peak: peak.score.value, default=best)
        if stopped or not highest.score.value > best.score.value + HIGHER:
            break
        best = peak_from(objective, highest.x)
    return _dataset(objective.coordinates, names, grid, best, peaks).assign_attrs(
        prior=prior, scores=scores, stopped=stopped
    )


def _findings(study: Study, names: Sequence[str], n: int, limits) -> list[str]:
    space, findings = study.model.space, whole_number_findings({"n": (n, 2)})
    if len(names) != 2 or len(set(names)) < 2:
        findings.append(f"parameters are {list(names)}; give the names of two.")
    unknown = [name for name in dict.fromkeys((*names, *(limits or {}))) if name not in space.epistemic]
    findings += [f"unknown parameter {name!r}; {nearest(name, space.epistemic)}" for name in unknown]
    for name, ends in (limits or {}).items():
        if name in unknown:
            continue
        if name not in names:
            findings.append(f"there are limits for {name!r}, which is none of both parameters.")
        known = len(ends) == 2 and all(is_number(end) and np.isfinite(end) for end in ends)
        if not known or not ends[0] < ends[1]:
            findings.append(f"the limits of {name!r} are {tuple(ends)}; give a lower and a higher number.")
            continue
        lowest, highest = (float(end) for end in distribution_of(space, name).support(space.nominal()))
        if not lowest <= ends[0] < ends[1] <= highest:
            findings.append(
                f"the limits of {name!r} are {tuple(ends)}; its prior has no density outside {lowest:g} to {highest:g}."
            )
    return findings


def _grid(coordinates: Coordinates, best: Peak, names: Sequence[str], n: int, limits) -> Grid:
    held = tuple(coordinates.names.index(name) for name in names)
    farthest = coordinates.range_around(best.x)
    axes = []
    for name, k in zip(names, held, strict=True):
        if name in limits:
            ends = [coordinates.at(coordinates.place(best.x) | {name: end})[k] for end in limits[name]]
        else:
            unit = coordinates.scale * (np.arange(len(best.x)) == k)
            error = standard_error(best.score.root * coordinates.scale, unit)
            reach = min(ERRORS * error, FARTHEST * coordinates.scale[k])
            ends = [max(best.x[k] - reach, farthest[0][k]), min(best.x[k] + reach, farthest[1][k])]
        axes.append(np.linspace(float(ends[0]), float(ends[1]), n))
    return Grid((held[0], held[1]), (axes[0], axes[1]))


def _climbed(objective: Objective, best: Peak, grid: Grid, until: float) -> tuple[dict[Cell, Peak], str]:
    """The peak of each cell that was begun, and why they were stopped."""
    box = everywhere(objective.coordinates)
    peaks: dict[Cell, Peak] = {}
    rings = grid.rings(best.x)
    cells = [cell for ring in rings for cell in ring]
    with progress("profile surface: cells", len(cells)) as update:
        for ring in [*rings, *[cells] * SWEEPS]:
            starts = [(cell, start) for cell in ring for start in _starts(grid, best, box, peaks, cell)]
            if not starts:
                break
            searches = [_search(objective, box, grid, start) for _, start in starts]
            found, interrupted = in_rounds(searches, objective, TOGETHER, enough=lambda: time.monotonic() > until)
            for (cell, _), peak in zip(starts, found, strict=True):
                if peak is not None and (cell not in peaks or peak.score.value > peaks[cell].score.value):
                    peaks[cell] = peak
            update(len(peaks))
            if interrupted or time.monotonic() > until:
                return peaks, BY_HAND if interrupted else "at the end of its budget"
    return peaks, ""


def _starts(grid: Grid, best: Peak, box: Box, peaks: Mapping[Cell, Peak], cell: Cell) -> list[np.ndarray]:
    """From where a cell is climbed: where the tangents of its closest neighbours lead, and of a cell that has been
    climbed of those that foretell a higher point there."""
    near = {
        (i, j): peak
        for i in (-1, 0, 1)
        for j in (-1, 0, 1)
        if (i or j) and (peak := peaks.get((cell[0] + i, cell[1] + j))) and np.isfinite(peak.score.value)
    }
    own = peaks.get(cell)
    if own is None:
        closest = min((abs(i) + abs(j) for i, j in near), default=0)
        chosen = [peak for (i, j), peak in near.items() if abs(i) + abs(j) == closest] or [best]
        return [_led(grid, box, peak, cell) for peak in chosen]
    led = [(peak, _led(grid, box, peak, cell)) for peak in near.values()]
    return [start for peak, start in led if foretold(peak.x, peak.score, start) > own.score.value + HIGHER]


def _led(grid: Grid, box: Box, peak: Peak, cell: Cell) -> Float[np.ndarray, " k"]:
    """Where the tangent of a peak leads in a cell."""
    x, move = peak.x, np.zeros_like(peak.x)
    move[list(grid.held)] = grid.at(cell) - x[list(grid.held)]
    start = predicted(x, peak.score, box, move, np.isin(np.arange(len(x)), grid.held))
    start[list(grid.held)] = grid.at(cell)
    return start


def _search(objective: Objective, box: Box, grid: Grid, start: np.ndarray) -> Search:
    free = ~np.isin(np.arange(len(start)), grid.held)
    return ascend(
        start,
        Box(box.lower, box.upper, free, box.scale),
        gain=ON_THE_WAY,
        radius=0.5,
        most=MOST_SCORES,
        slack=objective.slack,
    )


def _reason(peak: Peak | None) -> str:
    """Why a cell has no value."""
    if peak is None:
        return "stopped"
    if not np.isfinite(peak.score.value):
        return "unsolved"
    return "" if peak.gain <= LEFT else "unresolved"


def _dataset(coordinates: Coordinates, names, grid: Grid, best: Peak, peaks: Mapping[Cell, Peak]) -> xr.Dataset:
    shape = tuple(map(len, grid.axes))
    density, reason = np.full(shape, np.nan), np.empty(shape, object)
    path = np.full((*shape, len(coordinates.names)), np.nan)
    for cell in np.ndindex(*shape):
        peak = peaks.get((cell[0], cell[1]))
        reason[cell] = _reason(peak)
        if peak is not None and not reason[cell]:
            density[cell], path[cell] = peak.score.value, coordinates.natural(peak.x)
    top = float(best.score.value)
    contours = [top - float(chi2.ppf(level, 2)) / 2 for level in LEVELS]
    border = np.concatenate([density[0], density[-1], density[:, 0], density[:, -1]])
    enclosed = sum(bool(np.all(border < contour)) for contour in contours)
    values = []
    for axis, k in zip(grid.axes, grid.held, strict=True):
        x = np.repeat(best.x[None], len(axis), axis=0)
        x[:, k] = axis
        values.append(coordinates.natural(x)[:, k])
    return xr.Dataset(
        {
            "log_density": (("first", "second"), density),
            "reason": (("first", "second"), reason.astype(str)),
            "path": (("first", "second", "other"), path),
        },
        coords={"first": values[0], "second": values[1], "other": list(coordinates.names)},
        attrs={
            "parameters": list(names),
            "log_density": top,
            "best": [float(coordinates.natural(best.x)[k]) for k in grid.held],
            "levels": list(LEVELS),
            "contours": contours,
            "enclosed": enclosed,
        },
    )
