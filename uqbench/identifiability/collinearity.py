"""Which parameters can be estimated together: collinearity of subsets, and condition indices.

Both look at the columns of J, the sensitivities in units of what one measurement tells, each scaled to length one, so
that it does not count how strong an effect is but only whether others can make up for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np
import xarray as xr

from ..annotations import Values
from ..settings import is_number, whole_number_findings
from ..study import Study
from .sensitivities import Sensitivities, sensitivities_of
from .spectrum import CANCELLED, Spectrum, spectrum_of

# Subsets of so many parameters are all looked at; of more, sets are built up one by one.
ALL_SUBSETS, AT_ONCE = 15, 4096
# Brun et al. call sets with an index above 5 to 20 poorly identifiable; Belsley a condition index above 30 strong.
COLLINEAR, STRONG, SHARE = 10.0, 30.0, 0.5


@dataclass(frozen=True)
class Subsets:
    """The best subset of every size.

    Args:
        members: `(sizes, k)` of sizes 2, 3, ...; index: `(sizes,)` of each. below: `(sizes,)` how many subsets of
            the size have an index below the limit, -1 where not all were looked at. complete: `(sizes,)` whether all
            were, so that there is no better one.
    """

    members: np.ndarray
    index: np.ndarray
    below: np.ndarray
    complete: np.ndarray


def collinearity_index(root: np.ndarray, error: float = 0.0) -> float:
    """1 over the least singular value of sensitivities whose columns are scaled to length one.

    A change of one parameter's effect can be compensated by the others up to one part in so many: 1 where the columns
    are orthogonal, infinite where they depend on one another (Brun, Reichert & Kuensch 2001,
    doi:10.1029/2000WR900350).

    Args:
        root: J, `(rows, k)`. error: of the singular values; a smaller one is zero.

    Example:
        >>> collinearity_index(np.eye(3))
        1.0
    """
    return float(_indices(_unit_columns(root), [tuple(range(root.shape[1]))], error)[0])


def best_subsets(root: np.ndarray, limit: float, largest: int | None = None, error: float = 0.0) -> Subsets:
    """Of every size from 2 on the subset of parameters with the least collinearity index.

    Args:
        root: J, `(rows, k)`. limit: of the index, for counting. largest: size that is looked at last; default k.
        error: see `collinearity_index`. Of more than 15 parameters, each set is the one before and the parameter that
            raises the index least, from the best pair on; there may be better ones.
    """
    columns = _unit_columns(root)
    count = columns.shape[1]
    rows: list[tuple[tuple[int, ...], float, int, bool]] = []
    for size in range(2, min(largest or count, count) + 1):
        complete = count <= ALL_SUBSETS or size in (2, count)
        grown = [tuple(sorted({*rows[-1][0], k})) for k in range(count) if k not in rows[-1][0]] if not complete else []
        tried, below = iter(grown or combinations(range(count), size)), 0
        best, least = tuple(range(size)), np.inf
        while batch := list(islice(tried, AT_ONCE)):
            indices = _indices(columns, batch, error)
            below += int(np.sum(indices < limit))
            if indices.min() < least:
                best, least = batch[int(indices.argmin())], float(indices.min())
        rows.append((best, least, below if complete else -1, complete))
    members = [np.isin(np.arange(count), best) for best, *_ in rows]
    return Subsets(
        np.array(members, dtype=bool).reshape(-1, count),
        np.array([index for _, index, _, _ in rows], dtype=float),
        np.array([below for _, _, below, _ in rows], dtype=int),
        np.array([complete for *_, complete in rows], dtype=bool),
    )


def variance_decomposition(root: np.ndarray, error: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Condition indices and the share of each parameter's variance that comes with each of them.

    Of J with columns scaled to length one, singular values s_j and right singular vectors v_j: the index is s_1 / s_j,
    the share of parameter i is (v_ij / s_j)^2 over the sum of these over j (Belsley, Kuh & Welsch 1980,
    doi:10.1002/0471725153). Where s_j vanishes, the parameters that it moves owe all their variance to such directions.

    Args:
        root: J, `(rows, k)`. error: of the singular values; a smaller one is zero.

    Returns:
        indices `(k,)` rising, inf where a direction is not determined, and shares `(k, k)`, by index and parameter.

    Example:
        >>> variance_decomposition(np.eye(2))[0].tolist()
        [1.0, 1.0]
    """
    columns = _unit_columns(root)
    count = columns.shape[1]
    _, values, vectors = np.linalg.svd(np.vstack([columns, np.zeros((count, count))]), full_matrices=False)
    zero = values <= _least(values[0], error)
    weights = vectors**2 / np.where(zero, 1.0, values)[:, None] ** 2
    moved = np.any(np.abs(vectors[zero]) > _least(1.0, error), axis=0)
    weights = np.where(zero[:, None], np.where(moved, vectors**2, 0.0), np.where(moved, 0.0, weights))
    with np.errstate(divide="ignore"):
        index = np.where(zero, np.inf, values[0] / np.where(zero, 1.0, values))
    return index, weights / weights.sum(axis=0)


def collinearity_indices(
    study: Study, theta: Values | None = None, *, scale: str = "log", limit: float = COLLINEAR,
    largest: int | None = None,
) -> xr.Dataset:  # fmt: skip
    """Which of a study's parameters can be estimated together: the collinearity index of subsets.

    The sensitivities are in units of what one measurement tells, which takes the place of the weights that Brun,
    Reichert & Kuensch (2001, doi:10.1029/2000WR900350) have their users choose.

    Args:
        study, theta, scale: as of `fisher_information`. limit: above which a set is called poorly identifiable; 5 to 20
            in the literature. largest: size of subsets that is looked at last; default all parameters.

    Returns:
        `sensitivity` (parameter) root mean square of the column of J, per row of it; `pair_index` (parameter,
        parameter_), 1 on the diagonal; by `size` of the set: `index` the least there is, `member` (size, parameter),
        `below` how many have an index below the limit (-1 where not all were looked at), `complete`; `together`
        (parameter) the largest set found with an index below the limit. No units. Attributes `limit`, `index` of all
        parameters together, `scale`.

    Raises:
        InputError: as of `fisher_information`; a limit or size that is none.

    Example:
        >>> from studies.product_rate import study
        >>> float(collinearity_indices(study).pair_index[0, 1])
        inf
    """
    findings = [] if is_number(limit) and limit > 1 else [f"limit is {limit!r}; give a number above 1."]
    findings += whole_number_findings({} if largest is None else {"largest": (largest, 2)})
    found, spectrum = _looked_at(study, theta, scale, findings, "collinearity_indices")
    root, error, names = spectrum.root, spectrum.error, list(found.names)
    subsets = best_subsets(np.where(spectrum.felt, root, 0.0), limit, largest, error)
    small = np.flatnonzero(subsets.index < limit)
    together = subsets.members[small[-1]] if len(small) else np.arange(len(names)) == np.argmax(spectrum.effect)
    return xr.Dataset(
        {
            "sensitivity": ("parameter", spectrum.effect / np.sqrt(len(root))),
            "pair_index": (("parameter", "parameter_"), _pairs(np.where(spectrum.felt, root, 0.0), error)),
            "index": ("size", subsets.index),
            "member": (("size", "parameter"), subsets.members),
            "below": ("size", subsets.below),
            "complete": ("size", subsets.complete),
            "together": ("parameter", together & spectrum.felt),
        },
        {"parameter": names, "parameter_": names, "size": 2 + np.arange(len(subsets.index))},
        {"limit": limit, "index": collinearity_index(np.where(spectrum.felt, root, 0.0), error), "scale": scale},
    )


def condition_indices(study: Study, theta: Values | None = None, *, scale: str = "log") -> xr.Dataset:
    """Belsley's condition indices and variance-decomposition proportions of a study's sensitivities.

    Args:
        study, theta, scale: as of `fisher_information`.

    Returns:
        `condition_index` (mode) rising, inf where the data do not determine a direction; `proportion` (mode,
        parameter) of a parameter's variance, adding up to 1 over modes; `dependent` (mode, parameter), which
        parameters have more than half of their variance there where the index is above 30 and there are two or more,
        so that they depend on one another. No units. Attribute `scale`.

    Raises:
        InputError: as of `fisher_information`.

    Example:
        >>> from studies.product_rate import study
        >>> condition_indices(study).dependent[-1].values.tolist()
        [True, True]
    """
    found, spectrum = _looked_at(study, theta, scale, [], "condition_indices")
    index, proportion = variance_decomposition(np.where(spectrum.felt, spectrum.root, 0.0), spectrum.error)
    large = (proportion > SHARE) & (index > STRONG)[:, None]
    names = list(found.names)
    return xr.Dataset(
        {
            "condition_index": ("mode", index),
            "proportion": (("mode", "parameter"), proportion),
            "dependent": (("mode", "parameter"), large & (large.sum(axis=1) > 1)[:, None]),
        },
        {"mode": np.arange(len(names)), "parameter": names},
        {"scale": scale},
    )


def _looked_at(study, theta, scale: str, findings: Sequence[str], asker: str) -> tuple[Sensitivities, Spectrum]:
    """J and its spectrum, confirmed by a finer solve where that is in doubt."""
    found = sensitivities_of(study, theta, scale, asker=asker, findings=findings)
    return found, spectrum_of(found.root, lambda: found.finer_at(found.scale.start), found.size)


def _unit_columns(root: np.ndarray) -> np.ndarray:
    """Columns of length one, in as few rows as columns; what is zero stays so."""
    length = np.linalg.norm(root, axis=0)
    scaled = root / np.where(length > 0, length, 1.0)
    return np.linalg.qr(scaled, mode="r") if len(scaled) > scaled.shape[1] else scaled


def _indices(columns: np.ndarray, subsets: Sequence[tuple[int, ...]], error: float) -> np.ndarray:
    """Collinearity index of subsets of one size, `(subsets,)`."""
    chosen = np.moveaxis(columns[:, np.array(subsets)], 0, 1)
    values = np.linalg.svd(chosen, compute_uv=False)
    if values.shape[1] < chosen.shape[2]:
        return np.full(len(subsets), np.inf)
    least = values[:, -1]
    zero = least <= _least(values[:, 0], error)
    return np.where(zero, np.inf, 1.0 / np.where(zero, 1.0, least))


def _least(largest, error: float):
    """The size below which a singular value is zero."""
    return np.maximum(error, CANCELLED * largest)


def _pairs(root: np.ndarray, error: float) -> np.ndarray:
    columns, count = _unit_columns(root), root.shape[1]
    found = np.ones((count, count))
    pairs = list(combinations(range(count), 2))
    if pairs:
        first, second = np.array(pairs).T
        found[first, second] = found[second, first] = _indices(columns, pairs, error)
    return found
