"""Fisher information: how well the parameters could be known from such data, to first order.

Where every unit is alike the information is exact: each measurement adds J' I J, with J the sensitivities of all
arguments of its noise (not of the mean alone: a noise parameter would look unknown) and I the information of its
family. Where parameters differ between units it is that on the population, see `population`.
"""

from enum import Enum

import numpy as np
import xarray as xr

from ..annotations import Values
from ..study import Study
from .directions import Directions, Named
from .prior import prior_standard_deviations, shrinkage
from .sensitivities import SCALES as SCALES
from .sensitivities import Sensitivities, sensitivities_of
from .spectrum import Decomposed, decomposed


class Kind(Enum):
    """What the data say along a mode, and the sentence about it."""

    DETERMINED = "{name} is known with a standard error of {error:.2g}"
    SLOPPY = "{name} is known worse than from the prior, with a standard error of {error:.2g} against {prior:.2g}"
    FLAT = "{name} changes nothing"
    OPEN = "the errors of the solves leave open which direction it is that changes nothing"


def fisher_information(study: Study, theta: Values | None = None, *, scale: str = "log") -> xr.Dataset:
    """Fisher information of a study's measurements on its epistemic parameters.

    Args:
        study: its data, or without data the measurements planned by its designs. theta: where to evaluate; epistemic
            parameters that are missing take their prior medians, aleatory ones are ignored. scale: "log" takes
            logarithms of the parameters that are positive by their prior, so that eigenvectors are
            free of units; "natural" takes none.

    Returns:
        `matrix` (parameter, parameter_), `eigenvalue` (mode) falling (0 where the data do not determine a direction),
        `direction` (mode, parameter), `cramer_rao` (parameter) the smallest standard error on that scale (inf where
        the data do not determine the parameter), `standard_error` the same in the parameter's unit, `value`,
        `logarithmic`; attributes `rank`, `condition` and `scale`. Which directions are not determined is decided by
        a finer solve, see `spectrum`.

        By mode in words: `combination`, `kind` (determined, sloppy, flat, open) and `meaning`, a sentence whose errors
        are of what it names, on the scale. Of a flat mode `combination` is a member of the sparsest basis of all flat
        directions, such as k/g where only k*g is determined, and `exact` says whether its exponents are integers that
        hold nearby too; of the others it is the eigenvector in rounded weights, the largest 1. A mode is sloppy where
        its variance is larger than the prior's. Functions that are determined where not all parameters are stand under
        `function`, with `function_standard_error` on the scale and `function_exact`.

        Against the prior, on the scale: `prior_sd` (parameter; inf where there is none, NaN where it is not resolved),
        and `shrinkage`, 1 minus the ratio of posterior to prior variance with normal priors of that spread: 1 where
        the data say all, 0 where they say nothing.

    Raises:
        InputError: an unknown parameter or scale, a value without a logarithm; a solve that fails at `theta`, or an
            output whose derivative is not finite there: neither has an information, not even one of zero.

    Example:
        >>> from studies.theophylline import study
        >>> fisher_information(study).attrs["rank"]
        7
    """
    found = sensitivities_of(study, theta, scale, asker="fisher_information")
    parts = decomposed(found.root, lambda: found.finer_at(found.scale.start), found.size)
    prior_sd = prior_standard_deviations(study.model.space, found.scale)
    directions = Directions(found, parts.spectrum)
    dataset = _dataset(found, parts).assign(_by_mode(directions, parts, prior_sd))
    shrunk = shrinkage(parts.spectrum.root, prior_sd)
    dataset = dataset.assign(prior_sd=("parameter", prior_sd), shrinkage=("parameter", shrunk))
    if parts.rank < len(found.names):
        dataset = dataset.assign(_functions(directions))
    return dataset.assign_attrs(scale=scale)


def _dataset(found: Sensitivities, parts: Decomposed) -> xr.Dataset:
    value, logarithmic, names = found.scale.value, found.scale.logarithmic, list(found.names)
    largest, smallest = parts.eigenvalue[0], parts.eigenvalue[-1]
    return xr.Dataset(
        {
            "matrix": (("parameter", "parameter_"), parts.matrix),
            "eigenvalue": ("mode", parts.eigenvalue),
            "direction": (("mode", "parameter"), parts.direction),
            "cramer_rao": ("parameter", parts.cramer_rao),
            "standard_error": ("parameter", parts.cramer_rao * np.where(logarithmic, np.abs(value), 1.0)),
            "value": ("parameter", value),
            "logarithmic": ("parameter", logarithmic),
        },
        coords={"parameter": names, "parameter_": names, "mode": np.arange(len(names))},
        attrs={"rank": parts.rank, "condition": float(largest / smallest) if smallest > 0 else float("inf")},
    )


def _by_mode(directions: Directions, parts: Decomposed, prior_sd: np.ndarray) -> dict[str, tuple]:
    """Name, kind and meaning of every mode."""
    rows = []
    for mode, (eigenvalue, direction) in enumerate(zip(parts.eigenvalue, parts.direction, strict=True)):
        if mode < parts.rank:
            named = directions.mode(direction)
            # of the function that is named, whose gradient is the eigenvector but for its length
            length = float(np.linalg.norm(named.weights))
            error, prior = length * eigenvalue**-0.5, length * float(np.linalg.norm(direction * prior_sd))
            rows.append((named, Kind.SLOPPY if error > prior else Kind.DETERMINED, error, prior))
        elif mode - parts.rank < len(directions.flat):
            rows.append((directions.flat[mode - parts.rank], Kind.FLAT, np.inf, np.nan))
        else:
            rows.append((Named("", False, direction), Kind.OPEN, np.inf, np.nan))
    here = {False: ", to first order at these values", True: ""}
    return {
        "combination": ("mode", [named.text for named, *_ in rows]),
        "exact": ("mode", [named.exact for named, kind, *_ in rows]),
        "kind": ("mode", [kind.name.lower() for _, kind, *_ in rows]),
        "meaning": ("mode", [
            kind.value.format(name=named.text, error=error, prior=prior) + here[named.exact or kind is not Kind.FLAT]
            for named, kind, error, prior in rows
        ]),
    }  # fmt: skip


def _functions(directions: Directions) -> dict[str, tuple]:
    named = directions.determined
    return {
        "function": ("function", [each.text for each in named]),
        "function_exact": ("function", [each.exact for each in named]),
        "function_standard_error": ("function", [directions.standard_error(each.weights) for each in named]),
    }
