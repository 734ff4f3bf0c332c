"""One table of what structure, information, profile and posterior say of each parameter, disagreements explained.

Each of the four asks something else. The structure asks what perfect data would tell, whatever the parameter values;
the information what these measurements tell to first order at one point; the profile how far a parameter can go before
the data contradict it; the posterior what is left of the prior. Where they differ the reason is a finding of its own.
"""

import json
from collections.abc import Mapping

import numpy as np
import xarray as xr

# The posterior has learned a parameter if its interval is narrower than this part of the prior's; little beyond.
LEARNED, LITTLE = 0.5, 0.9
OPEN = ("open at the bound", "open", "flat")
OF_LEVELS = (
    "It tells how the parameters of levels are distributed: their spread shows it, and the more of it the more levels "
    "there are. Information and profile take these as they are; see its posterior."
)
LOST = ("unsolved", "unresolved", "stopped")


def practical(groups: Mapping[str, xr.Dataset]) -> xr.Dataset | None:
    """The table.

    Args:
        groups: name -> dataset, of /structure, /fisher, /profile, /prior and /posterior those that there are.

    Returns:
        by epistemic `parameter`: `structural`, `fisher`, `profile` and `posterior`, in a word each and empty where
        nothing is known; `lower`, `upper`, `shrinkage` and `posterior_width`; `verdict` and `explanation`. None where
        there is neither information nor a profile.
    """
    columns = [_structural(groups), _fisher(groups), _profile(groups), _posterior(groups)]
    names = next((list(found) for found in columns[1:] if found), [])
    if not names:
        return None
    rows = [_row(*(found.get(name, {}) for found in columns)) for name in names]
    return xr.Dataset(
        {key: ("parameter", [row[key] for row in rows]) for key in rows[0]},
        coords={"parameter": names},
    )


def _structural(groups) -> dict[str, dict]:
    found = groups.get("structure")
    if found is None:
        return {}
    keys, of_levels = ("verdict", "reason", "combination"), json.loads(found.attrs.get("of_levels", "[]"))
    return {
        str(name): {key: str(found[key].sel(parameter=name).item()) for key in keys} | {"of_levels": name in of_levels}
        for name in found.parameter.values
    }


def _fisher(groups) -> dict[str, dict]:
    found = groups.get("fisher")
    if found is None:
        return {}
    rows = {}
    for name in found.parameter.values:
        row = found.sel(parameter=name, parameter_=name)
        shrinkage, error = float(row.shrinkage), float(row.cramer_rao)
        if np.isnan(error):
            word = "not resolved"
        elif np.isinf(error):
            word = "lost"
        else:
            word = "sloppy" if error > float(row.prior_sd) else "determined"
        rows[str(name)] = {"word": word, "shrinkage": shrinkage}
    return rows


def _profile(groups) -> dict[str, dict]:
    found = groups.get("profile")
    if found is None:
        return {}
    rows = {}
    for name in found.parameter.values:
        row = found.sel(parameter=name)
        lower, upper = str(row.verdict_lower.item()), str(row.verdict_upper.item())
        rows[str(name)] = {
            "word": _sides(lower, upper),
            "sides": (lower, upper),
            "lower": float(row.lower),
            "upper": float(row.upper),
            "relation": str(row.relation.item()),
        }
    return rows


def _sides(lower: str, upper: str) -> str:
    bounded = ("bounded", "several optima")
    if lower in bounded and upper in bounded:
        return "bounded"
    if lower == upper:
        return lower
    return "; ".join(
        f"{verdict} {side}" for verdict, side in ((lower, "below"), (upper, "above")) if verdict not in bounded
    )


def _posterior(groups) -> dict[str, dict]:
    prior, posterior = groups.get("prior"), groups.get("posterior")
    if prior is None or posterior is None:
        return {}
    rows, fisher = {}, groups.get("fisher")
    logarithmic = {} if fisher is None else dict(zip(fisher.parameter.values, fisher.logarithmic.values, strict=True))
    for name in prior.data_vars:
        if name not in posterior or posterior[name].ndim != 2:
            continue
        ends = [np.quantile(np.asarray(each[name]), [0.05, 0.95]) for each in (prior, posterior)]
        # on the scale of the information: a prior over decades has its width at the upper end otherwise
        before, now = (np.ptp(np.log(each) if logarithmic.get(name) else each) for each in ends)
        share = float(now / before) if before > 0 else np.nan
        word = "learned" if share < LEARNED else "partly learned" if share < LITTLE else "not learned"
        rows[str(name)] = {"word": word, "width": share}
    return rows


def _row(structural: dict, fisher: dict, profile: dict, posterior: dict) -> dict:
    words = {
        "structural": structural.get("verdict", ""),
        "fisher": fisher.get("word", ""),
        "profile": profile.get("word", ""),
        "posterior": posterior.get("word", ""),
    }
    if structural.get("of_levels"):
        # neither information nor profile looks at priors, in which alone it is
        verdict, explanation = "undecided", OF_LEVELS
    else:
        verdict, explanation = _verdict(words, profile.get("sides")), " ".join(_explained(words, structural, profile))
    return {
        "verdict": verdict,
        "explanation": explanation,
        **words,
        "lower": profile.get("lower", np.nan),
        "upper": profile.get("upper", np.nan),
        "shrinkage": fisher.get("shrinkage", np.nan),
        "posterior_width": posterior.get("width", np.nan),
    }


def _verdict(words: dict[str, str], sides: tuple[str, str] | None) -> str:
    """From the profile where it is known, which sees more than the information; else from that."""
    if sides is not None:
        if any(side in LOST for side in sides):
            return "undecided"
        open_sides = sum(side in OPEN for side in sides)
        if words["structural"] == "none" and open_sides:
            return "not identifiable"
        return ("identifiable", "one-sided", "not identifiable")[open_sides]
    if words["structural"] == "none" or words["fisher"] == "lost":
        return "not identifiable"
    return {"determined": "identifiable", "sloppy": "not identifiable"}.get(words["fisher"], "undecided")


def _explained(words: dict[str, str], structural: dict, profile: dict) -> list[str]:
    """Sentences: why it is so, and why the columns may say different things."""
    found, sides = [], profile.get("sides", ())
    bounded, opened = words["profile"] == "bounded", any(side in OPEN for side in sides)
    if words["structural"] == "none":
        combination = structural["combination"]
        only = f"; they show {combination}" if combination else ""
        found.append(f"The equations let no such data tell it{only}.")
        if bounded:
            found.append("What bounds it are the bounds of the priors of others.")
        if words["fisher"] == "determined":
            found.append("The standard error is finite only because solves have errors or rows differ.")
    if words["structural"] == "local" and bounded:
        found.append("Other values would fit as well; the interval is that of the one that was found.")
    if words["structural"] in ("global", "local"):
        if words["fisher"] in ("lost", "sloppy"):
            found.append(
                "The equations allow it to be known, but these measurements say "
                + (
                    "nothing of it to first order at this point."
                    if words["fisher"] == "lost"
                    else "less than the prior."
                )
            )
        if opened and words["fisher"] == "determined":
            found.append(
                "To first order it is determined; further out the likelihood levels off, so that the standard error "
                "promises too much."
            )
    if bounded and words["fisher"] in ("lost", "sloppy"):
        found.append("Far from the best fit the likelihood falls all the same: trust the interval, not its curvature.")
    if opened:
        found.append(_open_sentence(sides, profile.get("relation", "")))
    if any(side in LOST for side in sides):
        reasons = {
            "unsolved": "the model cannot be solved further out",
            "unresolved": "it moves with the accuracy of the solves, or its path was lost",
        }
        why = [reasons.get(side, "its cost had a limit") for side in sides if side in LOST]
        found.append(f"The profile has no end on record: {' and '.join(dict.fromkeys(why))}.")
    if opened and words["posterior"] == "learned":
        found.append("That the posterior is narrow on this side is the prior's doing.")
    if bounded and words["posterior"] == "not learned":
        found.append("The data bound it, but no more narrowly than the prior does.")
    return found


def _open_sentence(sides: tuple[str, str], relation: str) -> str:
    where = [name for name, side in zip(("below", "above"), sides, strict=True) if side in OPEN]
    flat = all(side == "flat" for side in sides)
    what = "The data say nothing of it" if flat else f"The data set no limit {' and '.join(where)}"
    return f"{what}; as it goes there, {relation}." if relation else f"{what}."
