"""Profiles as a dataset."""

import numpy as np
import xarray as xr
from scipy.stats import chi2

from .following import DIRECTIONS, Profiles
from .subject import Subject

# The verdicts of sides that have an end.
BOUNDED = ("bounded", "several optima")
# An end that finer solves move by a larger share of the interval is not resolved.
RESOLVED = 0.05


def table(dimension: str, found: Profiles, level: float, prior: bool) -> xr.Dataset:
    """What `profile_likelihood` says by parameter and `profile_quantities` by quantity, by `dimension`."""
    subjects, sides = found.subjects, found.sides
    parameters = subjects[0].coordinates.names
    shape = (len(subjects), 2, max(len(side.points) for side in sides.values()))
    value, density, path = (np.full(each, np.nan) for each in (shape, shape, (*shape, len(parameters))))
    columns: dict[str, list] = {}
    for row, subject in enumerate(subjects):
        pair = [sides[subject.name, direction] for direction in DIRECTIONS.values()]
        for column, side in enumerate(pair):
            points, places = side.points, [subject.parameters(point) for point in side.points]
            value[row, column, : len(points)] = [subject.natural(subject.position(point)) for point in points]
            density[row, column, : len(points)] = [score.value for _, score in places]
            path[row, column, : len(points)] = subject.coordinates.natural(np.stack([x for x, _ in places]))
        for key, entry in _intervals(subject, found).items():
            columns.setdefault(key, []).append(entry)
    best = subjects[0].parameters(subjects[0].best)[1]
    return xr.Dataset(
        {
            "value": (dimension, [subject.natural(subject.position(subject.best)) for subject in subjects]),
            **{key: (dimension, values) for key, values in columns.items()},
            # the larger of both, or the only one
            "certificate": (dimension, np.fmax(columns["certificate_lower"], columns["certificate_upper"])),
            "path_value": ((dimension, "side", "point"), value),
            "path_log_density": ((dimension, "side", "point"), density),
            "path": ((dimension, "side", "point", "other"), path),
        },
        coords={
            dimension: [subject.name for subject in subjects],
            "side": [*DIRECTIONS],
            "other": list(parameters),
            "point": np.arange(shape[-1]),
        },
        attrs={
            "log_density": float(best.value),
            "level": level,
            "threshold": float(chi2.ppf(level, 1) / 2),
            "better": found.better,
            "prior": prior,
            "scores": found.scores,
            "stopped": found.stopped,
        },
    )


def _intervals(subject: Subject, found: Profiles) -> dict[str, float | str]:
    """The columns of one subject that say where its interval ends, and why."""
    ends: dict[str, tuple[str, float]] = {}
    columns: dict[str, float | str] = {}
    for label, direction in DIRECTIONS.items():
        side = found.sides[subject.name, direction]
        verdict = subject.verdict(side)
        ends[label] = verdict, subject.end(side, direction, found.target) if verdict in BOUNDED else np.nan
    width = np.nansum([abs(end - subject.position(subject.best)) for _, end in ends.values()])
    for label, direction in DIRECTIONS.items():
        side, (verdict, end) = found.sides[subject.name, direction], ends[label]
        shift = found.shifts.get((subject.name, direction), np.nan)
        share = shift / width if width and np.isfinite(end) else np.nan
        if share > RESOLVED:
            verdict, end = "unresolved", np.nan
        last = side.points[-1]
        columns |= {
            label: subject.natural(end),
            f"verdict_{label}": verdict,
            f"reached_{label}": subject.natural(subject.position(last)),
            f"fallen_{label}": float(subject.best.score.density - last.score.density),
            f"certificate_{label}": share,
        }
    return columns
