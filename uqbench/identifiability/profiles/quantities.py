"""Profile likelihoods of predictions and of other functions of the parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import jax
import numpy as np
import xarray as xr
from scipy.stats import chi2

from ...annotations import Values
from ...errors import InputError, nearest
from ...optimization.ascent import Peak
from ...optimization.objective import Objective, objective_of
from ...study import Quantity, Study
from .beginning import BUDGET, LEVEL, setting_findings
from .following import profiles
from .quantity import Steered
from .steering import Predicted, answers
from .table import table

# The name of a single quantity that is given without one.
SINGLE = "quantity"
# Points of the prior at which is looked whether a quantity has one sign.
LOOKED = 16

Quantities = str | Quantity | Sequence[str] | Mapping[str, Quantity] | None


def profile_quantities(
    study: Study,
    theta_hat: Values | xr.Dataset,
    quantities: Quantities = None,
    *,
    level: float = LEVEL,
    prior: bool = False,
    budget: float = BUDGET,
) -> xr.Dataset:
    """Profile likelihood of predictions and of functions of the parameters, and the confidence intervals that it gives
    (Kreutz, Raue & Timmer 2012, doi:10.1186/1752-0509-6-120).

    The likelihood is maximised under the condition that the quantity has a value, further and further from its value at
    the best fit, until it has fallen by half the quantile of chi-squared with one degree of freedom. That a quantity is
    well known says nothing of single parameters, and the other way round.

    Args:
        study: with data; its likelihood has a gradient and an information.
        theta_hat: as for `profile_likelihood`.
        quantities: names of quantities of the study, None for all; or others, a `uq.Quantity` or name -> `uq.Quantity`.
            They are differentiated: one that is true or false has no profile. With aleatory parameters they are those
            of the median unit.
        level: of the intervals.
        prior: whether the prior counts, as in `find_map`.
        budget: seconds; sides that have not ended by then are "stopped".

    Returns:
        by `quantity` what `profile_likelihood` says by parameter: `value`, `lower`, `upper`, `verdict_lower`,
        `verdict_upper`, `reached_...`, `fallen_...`, `certificate_...`, `certificate`, and along the path `path_value`,
        `path_log_density` and `path`, all parameters; and `unit`. "open at the bound": parameters are at the bounds of
        their priors there; "open": as far as they were followed; "extreme": the quantity goes no further, whatever the
        parameters are nearby. Attributes as there, and `of`: "the median unit" where units differ.

    Raises:
        InputError: with every finding: no quantities, unknown ones, some that cannot be differentiated, settings, no
            data; a model that cannot be solved at `theta_hat`, or for a prediction there; a quantity that does not
            change with the parameters.

    Example:
        >>> from studies.two_scale_cascade import study
        >>> found = profile_quantities(study, study.model.space.nominal())
        >>> str(found.verdict_upper.values[0])
        'bounded'
    """
    study, names = _with(study, quantities)
    known = _known(study)
    findings = _findings(study, names) + setting_findings(study, theta_hat, level, budget)
    if findings:
        raise InputError(f"profile_quantities of study {study.name!r}", findings)
    objective, target = objective_of(study, prior), float(np.sqrt(chi2.ppf(level, 1)))
    parts = {name: Predicted.of(objective.target, known[name]) for name in names}

    def begun(best):
        return _subjects(study, objective, parts, best)

    def evaluate(points):
        return answers(objective, list(parts.values()), points)

    found = profiles(study, objective, theta_hat, begun, evaluate, target, budget)
    return (
        table("quantity", found, level, prior)
        .assign(unit=("quantity", [known[name].unit for name in parts]))
        .assign_attrs(of="the median unit" if study.model.space.aleatory else "")
    )


def with_profiles(study: Study) -> list[str]:
    """The quantities of a study that can be profiled: those that are differentiable."""
    return [name for name in _known(study) if not _findings(study, [name])]


def _with(study: Study, quantities: Quantities) -> tuple[Study, list[str]]:
    """The study with these quantities, checked as its own are, and their names."""
    if quantities is None or isinstance(quantities, str):
        return study, list(study.quantities) if quantities is None else [quantities]
    if isinstance(quantities, Quantity):
        quantities = {SINGLE: quantities}
    if isinstance(quantities, Mapping):
        return replace(study, quantities=quantities), [str(name) for name in quantities]
    return study, list(quantities)


def _known(study: Study) -> dict[str, Quantity]:
    """The quantities of a study, which has made one of each plain function."""
    return {name: each for name, each in study.quantities.items() if isinstance(each, Quantity)}


def _findings(study: Study, names: Sequence[str]) -> list[str]:
    if not names:
        return ["there are no quantities; give the study some, or `quantities`."]
    findings, known = [], _known(study)
    for name in dict.fromkeys(names):
        if name not in known:
            findings.append(f"unknown quantity {name!r}; {nearest(name, [*known])}")
            continue
        quantity = known[name]
        kind = jax.eval_shape(quantity.value, *quantity.arguments(study.model)).dtype
        if not np.issubdtype(kind, np.floating):
            what = "true or false" if np.issubdtype(kind, np.bool_) else "a whole number"
            findings.append(f"{name!r} is {what} and has no derivative; give the number that decides about it.")
    return findings


def _subjects(study: Study, objective: Objective, parts: Mapping[str, Predicted], best: Peak) -> list[Steered]:
    """How each quantity is followed from the best fit."""
    coordinates, findings, subjects = objective.coordinates, [], []
    lower, upper = coordinates.range_around(best.x)
    points = np.concatenate([best.x[None], np.clip(coordinates.starts(LOOKED, 0), lower, upper)])
    for number, (name, part) in enumerate(parts.items()):
        found = part(points)
        if not np.isfinite([found[0].value, *found[0].gradient]).all():
            findings.append(
                f"{name!r} or its gradient is not a number at the best fit: its run fails there, or the function "
                "does; give another design or function."
            )
        elif not np.any(found[0].gradient):
            findings.append(
                f"{name!r} does not change with any epistemic parameter at the best fit; leave it out, or give "
                "a function without steps."
            )
        else:
            subjects.append(Steered.of(name, number, coordinates, part, best, found))
    if findings:
        raise InputError(f"profile_quantities of study {study.name!r}", findings)
    return subjects
