"""Models that explain the same data: which predicts better, and at what cost.

Predictions are compared by the expected log density of one term of the likelihood left out, a measurement or the data
of a unit (Vehtari, Gelman & Gabry 2017, doi:10.1007/s11222-016-9696-4), and differences by the paired terms, whose
error is far smaller than that of each sum.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ..errors import InputError
from ..likelihoods import CAPABILITIES
from .leave_one_out import LEAST_DRAWS, leave_one_out

# Differences of fewer standard errors are no differences.
CLEAR = 2.0


def compare_models(trees: Mapping[str, xr.DataTree]) -> xr.Dataset:
    """Predictive accuracy and cost of calibrated models of the same measurements.

    Args:
        trees: name -> tree with /log_likelihood, /posterior, /sample_stats and /convergence, from `calibrate`.

    Returns:
        by `model`, best first: `elpd` expected log predictive density by leave-one-out and its `elpd_standard_error`,
        `effective_parameters`, `difference` to the first and `difference_standard_error`, `resolved` whether that
        differs by two standard errors, `doubtful` how many terms the importance sampling cannot leave out
        (Pareto k above its limit: the figure is then too good); `seconds` of calibration, compilation included,
        `gradients` evaluated after warm-up, `effective_draws`, the smallest bulk ESS, and `gradients_per_draw` what
        one of these costs.

    Raises:
        InputError: fewer than two trees, trees without calibration, or of different measurements; likelihoods
            without terms, or with terms of different kinds.
    """
    _check(trees)
    rows = {name: _row(tree) for name, tree in trees.items()}
    order = sorted(rows, key=lambda name: -rows[name]["terms"].sum())
    best = rows[order[0]]["terms"]
    columns: dict[str, list] = {}
    for name in order:
        terms = rows[name].pop("terms")
        paired = terms - best
        error = float(np.std(paired, ddof=1) * np.sqrt(len(paired)))
        row = {
            "elpd": float(terms.sum()),
            "elpd_standard_error": float(np.std(terms, ddof=1) * np.sqrt(len(terms))),
            "difference": float(paired.sum()),
            "difference_standard_error": error,
            "resolved": bool(abs(paired.sum()) > CLEAR * error),
            **rows[name],
        }
        for key, value in row.items():
            columns.setdefault(key, []).append(value)
    return xr.Dataset({key: ("model", values) for key, values in columns.items()}, coords={"model": order})


def _check(trees: Mapping[str, xr.DataTree]) -> None:
    findings = [] if len(trees) > 1 else ["give at least two models to compare."]
    needed = ("log_likelihood", "posterior", "sample_stats", "convergence", "observed_data")
    for name, tree in trees.items():
        missing = [f"/{group}" for group in needed if group not in tree.children]
        if missing == ["/log_likelihood"]:
            findings.append("the likelihood of {!r} has no {}; {}.".format(name, *CAPABILITIES["terms"]))
        elif missing:
            findings.append(f"the tree of {name!r} has no {', '.join(missing)}; calibrate that study first.")
        elif not leave_one_out(tree["posterior"].to_dataset(), tree["log_likelihood"].to_dataset()):
            findings.append(
                f"the draws of {name!r} are fewer than {LEAST_DRAWS}, or too many of them the same, for a term to be "
                "left out; take more."
            )
    if not findings:
        (first, one), *others = trees.items()
        findings += [
            f"{name!r} and {first!r} were calibrated to different measurements."
            for name, tree in others
            if not tree["observed_data"]
            .to_dataset()
            .drop_attrs()
            .equals(one["observed_data"].to_dataset().drop_attrs())
        ]
        kinds = {name: tree["log_likelihood"].attrs.get("term", "row") for name, tree in trees.items()}
        if len(set(kinds.values())) > 1:
            findings.append(f"one term of the likelihoods is not the same; it is {kinds}. Give them one `likelihood`.")
    if findings:
        raise InputError("compare_models", findings)


def _row(tree: xr.DataTree) -> dict:
    found = leave_one_out(tree["posterior"].to_dataset(), tree["log_likelihood"].to_dataset()).values()
    gradients = int(tree["sample_stats"]["n_steps"].sum())
    draws = float(tree["convergence"]["ess_bulk"].min())
    return {
        "terms": np.concatenate([each.elpd for each in found]),
        "effective_parameters": sum(each.effective_parameters for each in found),
        "doubtful": int(sum(np.sum(each.pareto_k > each.limit) for each in found)),
        "seconds": float(tree["posterior"].attrs["seconds"]),
        "gradients": gradients,
        "effective_draws": draws,
        "gradients_per_draw": gradients / draws,
    }
