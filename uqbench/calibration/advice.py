"""What is wrong with a calibration and what to try, in sentences with the figures; or that nothing is."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from ..study import Study
from .attempts import SHORT
from .convergence import entered

# Sensitivities from here on are none that can be neglected (Kallioinen et al. 2024).
SENSITIVE = 0.05
# Where the data have removed this share of the variance of the prior, a posterior is not that of its prior.
TOLD = 0.5
# Less of the prior's variance than this removed is hardly anything learnt.
LEARNT = 0.1
# Of all tests that look at parts of the time together.
SIGNIFICANT = 0.05
FEW_CHAINS = 2
MISFITS = {
    "narrow": (
        "predictions are too narrow: values lie outside of them too often",
        "take noise with heavier tails (`StudentT`) or noise that grows with the output, or look for what the model "
        "lacks",
    ),
    "wide": (
        "predictions are too wide: values lie closer to them than they should",
        "let the scale of the noise be a parameter, or its prior reach lower; look for values that were smoothed or "
        "averaged",
    ),
    "above": (
        "values lie above the predictions",
        "look for what the model leaves out, an offset or a scale factor of the output",
    ),
    "below": (
        "values lie below the predictions",
        "look for what the model leaves out, an offset or a scale factor of the output",
    ),
    "form": (
        "values are distributed otherwise than the noise says",
        "take another family of noise, such as one that is skewed (`LogNormal`) or has heavier tails (`StudentT`)",
    ),
}


class Advice(NamedTuple):
    """What is said of a calibration: `findings`, each with what to try, and a `summary` with the figures."""

    findings: list[str]
    summary: str


def advice(study: Study, groups: Mapping[str, xr.Dataset]) -> Advice:
    """Everything that the groups of a calibration say is wrong, the most serious first.

    Args:
        groups: posterior, convergence, pit, checks and, of a population, units.
    """
    findings = [
        *_of_sampling(study, groups),
        *_of_fit(groups["checks"]),
        *_of_influence(groups["checks"]),
        *_of_prior(groups["checks"]),
        *_of_units(study, groups),
    ]
    return Advice(findings, _summary(groups, findings))


def _of_sampling(study: Study, groups: Mapping[str, xr.Dataset]) -> Iterator[str]:
    convergence, posterior = groups["convergence"], groups["posterior"]
    if missed := convergence.attrs.get("missed_modes"):
        yield (
            f"{missed} Do not use them. Leave the sampler to the rule and take more draws "
            f"(`--draws {4 * posterior.sizes['draw']}`), or a prior that excludes what cannot be."
        )
    inside = entered(convergence)
    # of those that are cut short alone there is a sentence of its own
    few = ~(
        (convergence["rhat"] <= convergence.attrs["largest_rhat"])
        & (np.minimum(convergence["ess_bulk"], convergence["ess_tail"]) >= convergence.attrs["least_ess"])
    )
    lost = convergence.isel(parameter=np.flatnonzero(few.values))
    if lost.sizes["parameter"]:
        rhat, ess = convergence.attrs["largest_rhat"], convergence.attrs["least_ess"]
        least = float(np.minimum(lost["ess_bulk"], lost["ess_tail"]).min())
        yield (
            f"Draws of {_listed(lost['parameter'].values)} are not resolved: R-hat up to "
            f"{float(lost['rhat'].max()):.3g} (limit {rhat:g}), effective draws down to {least:.0f} (limit {ess:g}). "
            f"Take more (`--draws {4 * posterior.sizes['draw']}`); if R-hat stays high the chains have found different "
            "answers: let them start at the best fit (`uqbench identify` first), or give narrower priors."
        )
    if not inside.all():
        cut = convergence.isel(parameter=np.flatnonzero(~inside.values))
        short = float(groups["sample_stats"].attrs.get("target_accept", 0.0)) >= SHORT
        yield (
            f"Tails of {_listed(cut['parameter'].values)} are cut short: transitions from the outermost draws were "
            f"accepted by {float(cut['tail_acceptance'].min()):.2f} only. "
            + (
                "The steps are short already: the posterior is narrow there. Take a prior that keeps away from it"
                if short
                else f"Take shorter steps (`--target-accept {SHORT}`)"
            )
            + " or, of few parameters, `--sampler smc`."
        )
    modes = len(np.unique(convergence["mode"].values)) if "mode" in convergence else 1
    if modes > 1:
        yield (
            f"Chains stay in {modes} different modes, and how much of the posterior belongs to each is not known from "
            "them. Take `--sampler smc`, which tells, or a prior that excludes those that cannot be."
        )
    diverged, failed = (int(posterior.attrs.get(f"{kind}_sampling", 0)) for kind in ("divergences", "failed_solves"))
    count = posterior.sizes["chain"] * posterior.sizes["draw"]
    if diverged > failed:
        yield (
            f"{diverged - failed} of {count} transitions diverged: draws may be missing where the posterior is narrow. "
            "Take shorter steps (`--target-accept 0.95`), then a parametrisation or prior without the narrow place."
        )
    if failed > 0.01 * count:
        yield (
            f"{failed} of {count} transitions ended where a solve fails or the density is not finite; the posterior "
            f"reaches there. See why with `uqbench check {study.command}`, or give a prior that keeps away."
        )
    if posterior.sizes["chain"] < FEW_CHAINS:
        yield "There is one chain only, which cannot be compared with another. Take `--chains 4`."


def _of_fit(checks: xr.Dataset) -> Iterator[str]:
    tests = int(checks["p_value_by_time"].notnull().sum())
    for output in checks["output"].values:
        one = checks.sel(output=output)
        if kind := str(one["misfit"].values):
            what, remedy = MISFITS[kind]
            yield (
                f"{output} does not fit: {what} (uniformity of {int(one['rows'])} residuals p = "
                f"{_p(float(one['p_value']))}; {_coverage(one)}). What to try: {remedy}."
            )
            continue
        bad = np.flatnonzero(one["p_value_by_time"].values < SIGNIFICANT / max(tests, 1))
        if len(bad) and one.sizes["part"] > 1:
            first = one.isel(part=int(bad[0]))
            yield (
                f"{output} does not fit between t = {float(first['time_from']):g} and {float(first['time_to']):g} "
                f"(p = {_p(float(first['p_value_by_time']))}), though it does as a whole. Look at what the "
                "model leaves out then."
            )


def _of_influence(checks: xr.Dataset) -> Iterator[str]:
    attrs = checks.attrs
    if np.isposinf(attrs.get("largest_pareto_k", 0.0)):
        yield (
            f"{attrs['doubtful']} of {attrs['terms']} terms of the likelihood cannot be left out by weights of these "
            "draws: the values that noise allows end where parameters say, and without one of the data parameters may "
            "be what none of the draws is. The expected predictive density is then too good, and residuals are too "
            "small. Compare such models by their evidence (`sampler='smc'`)."
        )
    elif attrs.get("doubtful", 0):
        verb, them, these = ("is", "it", "that datum") if attrs["doubtful"] == 1 else ("are", "them", "these data")
        yield (
            f"{attrs['doubtful']} of {attrs['terms']} terms of the likelihood {verb} so influential that leaving "
            f"{them} out cannot be computed from these draws (Pareto k up to {attrs['largest_pareto_k']:.2f}, limit "
            f"{attrs['pareto_k_limit']:.2f}); the expected predictive density is then too good. Look at {these}; "
            f"noise with heavier tails (`StudentT`) makes {them} count less."
        )


def _of_prior(checks: xr.Dataset) -> Iterator[str]:
    prior, data = checks["prior_sensitivity"].values, checks["likelihood_sensitivity"].values
    names, contraction = checks["parameter"].values, checks["contraction"].values
    conflict = (prior >= SENSITIVE) & (data >= SENSITIVE)
    moved_by_prior = (prior >= SENSITIVE) & (data < SENSITIVE)
    weak = moved_by_prior & ~(contraction >= TOLD)
    if conflict.any():
        each = [
            f"{name} ({p:.2f} and {d:.2f})"
            for name, p, d in zip(names[conflict], prior[conflict], data[conflict], strict=True)
        ]
        yield (
            f"Prior and data may contradict each other in {_listed(each)} (sensitivity to prior and to likelihood, "
            f"both above {SENSITIVE}). Ask where the prior comes from: a wider one, if it was a guess, or another "
            "model, if it was not."
        )
    if weak.any():
        each = [f"{name} (contraction {c:.2f})" for name, c in zip(names[weak], contraction[weak], strict=True)]
        yield (
            f"The posterior of {_listed(each)} is that of its prior: the data hardly move it. Report it as assumed, or "
            "measure what tells it (`uqbench identify`)."
        )
    if (told := moved_by_prior & ~weak).any():
        each = [f"{name} (contraction {c:.2f})" for name, c in zip(names[told], contraction[told], strict=True)]
        yield (
            f"The posterior of {_listed(each)} is much narrower than its prior, and still moves with it more than with "
            "the data: few data, or few units or levels, tell of it. Say which prior it was."
        )


def _of_units(study: Study, groups: Mapping[str, xr.Dataset]) -> Iterator[str]:
    if "units" not in groups:
        return
    units = groups["units"].isel(parameter=np.flatnonzero(groups["units"]["high"].values))
    if units.sizes["parameter"]:
        each = [
            f"{name} ({100 * share:.0f} ± {100 * error:.0f} %)"
            for name, share, error in zip(
                units["parameter"].values,
                units["shrinkage"].values,
                units["shrinkage_standard_error"].values,
                strict=True,
            )
        ]
        yield (
            f"The shrinkage of {_listed(each)} is high: estimates by {study.unit_column} are mostly those of the "
            "population. Do not plot them against covariates; measure more in each, if single ones matter. What is "
            "said of the population is not affected."
        )


def _summary(groups: Mapping[str, xr.Dataset], findings: list[str]) -> str:
    """The figures in one sentence, and whether anything is wrong."""
    convergence, posterior, checks = (groups[name] for name in ("convergence", "posterior", "checks"))
    least = float(np.minimum(convergence["ess_bulk"], convergence["ess_tail"]).min())
    said = [
        f"largest R-hat {float(convergence['rhat'].max()):.3g}",
        f"smallest number of effective draws {least:.0f}",
        f"{posterior.attrs.get('divergences_sampling', 0)} divergences",
    ]
    said += [
        f"{output}: {_coverage(one)}, uniformity p = {_p(float(one['p_value']))}"
        for output in checks["output"].values
        for one in [checks.sel(output=output)]
    ]
    if "elpd" in checks.attrs:
        said.append(
            f"expected log predictive density {checks.attrs['elpd']:.4g} ± {checks.attrs['elpd_standard_error']:.2g}, "
            f"largest Pareto k {checks.attrs['largest_pareto_k']:.2f}"
        )
    sensitivity = checks["prior_sensitivity"].max() if checks.sizes["parameter"] else np.nan
    if np.isfinite(sensitivity):
        said.append(f"largest sensitivity to the prior {float(sensitivity):.2f}")
    number = len(findings)
    head = "Nothing wrong was found" if not number else f"{number} finding{'s' * (number > 1)}"
    return f"{head}: {'; '.join(said)}."


def _coverage(one: xr.Dataset) -> str:
    level, inside = one["level"].values[-1], one["coverage"].values[-1]
    return f"{100 * inside:.0f} % of {int(one['rows'])} values in their {100 * level:.0f} % intervals"


def _p(value: float) -> str:
    return "not known" if not np.isfinite(value) else f"{value:.2g}"


def _listed(names) -> str:
    names = [str(name) for name in names]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
