"""What measurements at a coarse scale tell of the parameters of a finer one, through a closure.

The equations of the coarse model say which of its parameters are known, or which combinations; the closure has no
formula to read. How the former change with the parameters of the finer scale is a matrix of derivatives, found at
random points of the prior: what changes none of them cannot be known, whatever the data.
"""

from typing import Any

import jax
import numpy as np
import xarray as xr

from ..model import Model
from .findings import MEANING, UNSEEN, Finding, undecided

METHOD = "rank of the closure's derivatives at random points of the prior"
POINTS, ATTEMPTS = 5, 50
# Quantiles of the prior between which the points lie.
INNER = (0.1, 0.9)
# Changes of logarithms below this, relative to the largest, are taken as none: derivatives of a cell problem are known
# to the root of its tolerance.
NO_CHANGE = 1e-4
FIELDS = ("verdict", "reason", "combination", "method", "locally")


def through_closure(model: Model, coarse: xr.Dataset, seed: int) -> xr.Dataset:
    """Verdicts on the parameters of the finer scale, as those of `structural_identifiability`.

    Args:
        model: made by `Model.closed_by`. coarse: verdicts on the parameters of the coarse model. seed: of the points.
    """
    # what only a system with this capability has
    dynamics: Any = model.dynamics
    changes = _changes(model, seed)
    if not len(changes):
        return undecided(model.space, "the closure fails at random points of the prior")
    known, sure = _known(coarse)
    names, rows = list(model.space.free), list(dynamics.model.space.free)
    findings = {name: _finding(k, name, names, rows, changes, known, coarse) for k, name in enumerate(names)}
    if not sure:
        findings = {name: _unsure(each) for name, each in findings.items()}
    columns = {field: ("parameter", [getattr(findings[name], field) for name in names]) for field in FIELDS}
    attributes = {
        "method": METHOD,
        "verdict_meaning": MEANING,
        "rank": _rank(known @ changes[0]),
        "unknowns": len(names),
    }
    return xr.Dataset(columns, {"parameter": names}, attributes)


def _changes(model: Model, seed: int) -> np.ndarray:
    """`(points, coarse, fine)`: relative changes of the coarse free parameters by relative ones of the free ones.

    There are fewer points, or none, where the closure fails at most of them.
    """
    # what only a system with this capability has
    dynamics: Any = model.dynamics
    space, rows = model.space, dynamics.model.space.free
    rng = np.random.default_rng(seed)
    held = {name: space.nominal()[name] for name in space.fixed}

    @jax.jit
    def derivatives(free, key):
        slopes = jax.jacfwd(lambda free: dynamics.coarse({**free, **held}, key)[0])(free)
        return slopes, *dynamics.coarse({**free, **held}, key)

    points: list[np.ndarray] = []
    for _ in range(ATTEMPTS):
        drawn = space.from_cube(rng.uniform(*INNER, len(space.free)))
        point = {name: drawn[name] for name in space.free}
        slopes, values, code = derivatives(point, jax.random.key(int(rng.integers(2**31))))
        if int(code) == 0:
            change = [[float(slopes[row][name] * point[name] / values[row]) for name in space.free] for row in rows]
            points.append(np.array(change))
        if len(points) == POINTS:
            break
    return np.reshape(points, (len(points), len(rows), len(space.free)))


def _known(coarse: xr.Dataset) -> tuple[np.ndarray, bool]:
    """Projection on the changes of logarithms of coarse parameters that outputs show, and whether it is all of them."""
    names = coarse["parameter"].values.tolist()
    locally = coarse["locally"].values.astype(bool) | np.array(["noise" in each for each in coarse["reason"].values])
    known = np.diag(locally.astype(float))
    if locally.all() or "direction" not in coarse:
        return known, bool(locally.all())
    directions = coarse["direction"].sel(unknown=[name for name in names if name in coarse["unknown"]]).values
    if not np.all(np.isfinite(directions)):
        return known, False
    full = np.zeros((len(directions), len(names)))
    full[:, [names.index(name) for name in names if name in coarse["unknown"]]] = directions
    seen = np.eye(len(names)) - np.linalg.pinv(full) @ full
    never = coarse["reason"].values == UNSEEN.reason
    seen[:, never] = 0.0
    return seen, True


def _rank(matrix: np.ndarray) -> int:
    return int(np.linalg.matrix_rank(matrix, tol=NO_CHANGE * np.linalg.norm(matrix, 2)))


def _finding(k: int, name: str, names: list, rows: list, changes, known, coarse: xr.Dataset) -> Finding:
    through = [row for i, row in enumerate(rows) if np.any(np.abs(changes[:, i, k]) > NO_CHANGE)]
    if through == [name]:
        # the same parameter of both scales
        own = coarse.sel(parameter=name)
        return Finding(*(own[field].item() for field in ("verdict", "reason", "combination", "method", "locally")))
    seen = [known @ each for each in changes]
    if not through or all(np.all(np.abs(each[:, k]) < NO_CHANGE) for each in seen):
        return UNSEEN
    # known if leaving it out loses a rank: nothing else changes the outputs as it does
    alone = all(_rank(each) > _rank(np.delete(each, k, axis=1)) for each in seen)
    carried = ", ".join(through)
    if alone:
        return Finding("undecided", f"at most finitely many values give the same {carried}", carried, METHOD, True)
    rank, count = _rank(seen[0]), sum(np.any(np.abs(each) > NO_CHANGE) for each in seen[0].T)
    return Finding(
        "none", f"other parameters change {carried} in the same way: {rank} numbers are known of {count}", carried,
        METHOD, False,
    )  # fmt: skip


def _unsure(finding: Finding) -> Finding:
    """Where more may be known of the coarse parameters than was found, what is not known may be."""
    if finding.verdict != "none":
        return finding
    return Finding("undecided", "combinations of coarse parameters that are known have no formula", method=METHOD,
                   combination=finding.combination, locally=False)  # fmt: skip
