"""Profile likelihoods: how far each parameter may go, the others following, before the data contradict it."""

import numpy as np
import xarray as xr
from scipy.stats import chi2

from ...annotations import Values
from ...errors import InputError, nearest
from ...optimization.objective import objective_of
from ...study import Study
from .beginning import BUDGET, LEVEL, setting_findings
from .following import DIRECTIONS, profiles
from .parameter import Parameter
from .relations import relations
from .table import table


def profile_likelihood(
    study: Study,
    theta_hat: Values | xr.Dataset,
    parameters: str | list[str] | tuple[str, ...] | None = None,
    *,
    level: float = LEVEL,
    prior: bool = False,
    budget: float = BUDGET,
) -> xr.Dataset:
    """Profile likelihood of parameters, and the confidence intervals that it gives (Raue et al. 2009,
    doi:10.1093/bioinformatics/btp358).

    The likelihood is maximised with the parameter held, further and further from the best fit on both sides, until it
    has fallen by half the quantile of chi-squared with one degree of freedom. All parameters and sides are followed
    together.

    Args:
        study: with data; its likelihood has a gradient and an information.
        theta_hat: the best fit or a point near it, epistemic parameters by name, from where an ascent begins; or what
            `find_map` returns, whose other optima are then starts at the ends, where the profile may change to another
            branch.
        parameters: whose profiles; None for all epistemic ones.
        level: of the intervals.
        prior: whether the prior counts, as in `find_map`: the profile posterior.
        budget: seconds; sides that have not ended by then are "stopped".

    Returns:
        by `parameter`: `value` of the best fit; `lower` and `upper`, in units, NaN where a side is not bounded, never
        the end of the search; `verdict_lower`, `verdict_upper`: "bounded", "several optima" (bounded, on another branch
        than the one that leaves the best fit), "open at the bound" of the prior, "open" as far as it was followed,
        "flat", "unsolved" (the model cannot be solved further out), "unresolved" (the path was lost, or finer solves
        move the end by more than a twentieth of the interval), "better fit" (one that is better than the best was found
        there again and again), "stopped"; `reached_lower`, `reached_upper`: how far it was followed,
        `fallen_lower` and `fallen_upper`: by how much the log density had fallen there; `certificate_lower`,
        `certificate_upper`: by how much finer solves move the end, as a share of the interval (of the distance from the
        best fit where the other side is open); `certificate`, the larger; `relation`: what the others do along the
        profile, in words. By `parameter`, `side`, `point` (from the best fit outwards, NaN beyond the last):
        `path_value`, `path_log_density` and, by `other` too, `path`: all parameters. Attributes: `log_density` of the
        best fit, `level`, `threshold`, `better` (by how much it is better than `theta_hat`), `scores`, `stopped`.

    Raises:
        InputError: with every finding: unknown parameters, settings, no data; a model that cannot be solved at
            `theta_hat`.

    Example:
        >>> from studies.two_scale_cascade import study
        >>> found = profile_likelihood(study, study.model.space.nominal(), ["ks"])
        >>> str(found.verdict_lower.values[0])
        'bounded'
    """
    asked = (parameters,) if isinstance(parameters, str) else parameters
    names = tuple(dict.fromkeys(study.model.space.epistemic if asked is None else asked))
    findings = _findings(study, theta_hat, names, level, budget)
    if findings:
        raise InputError(f"profile_likelihood of study {study.name!r}", findings)
    objective, target = objective_of(study, prior), float(np.sqrt(chi2.ppf(level, 1)))

    def begun(best):
        return [Parameter.of(name, objective.coordinates, best) for name in names]

    found = profiles(study, objective, theta_hat, begun, objective, target, budget)
    pairs = {name: [found.sides[name, direction] for direction in DIRECTIONS.values()] for name in names}
    words = [relations(objective.coordinates, name, pair) for name, pair in pairs.items()]
    return table("parameter", found, level, prior).assign(relation=("parameter", words))


def _findings(study: Study, theta_hat, names, level, budget) -> list[str]:
    known = study.model.space.epistemic
    findings = [f"unknown parameter {name!r}; {nearest(name, known)}" for name in names if name not in known]
    if not names:
        findings.append("no parameter is asked for; name some, or give None for all.")
    return findings + setting_findings(study, theta_hat, level, budget)
