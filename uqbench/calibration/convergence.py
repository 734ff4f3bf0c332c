"""Whether draws can be trusted: the diagnostics of each parameter, and chains that stay in different modes."""

from collections.abc import Sequence
from itertools import combinations

import arviz as az
import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy.special import ndtri
from scipy.stats import rankdata

from ..study import Study
from .tails import ENTERED, tail_acceptance

# What a draw must satisfy to be used (Vehtari, Gelman, Simpson, Carpenter & Burkner 2021, doi:10.1214/20-BA1221).
RHAT, ESS = 1.01, 400
# A chain is at rest where its two halves agree up to this R-hat, and two chains are apart where theirs is larger than
# that: of chains around one place with 20 independent draws each it is about 1.1, of two standard deviations apart 1.5.
AT_REST, APART = 1.2, 1.5
# With fewer draws of a chain nothing is said of modes.
LEAST_DRAWS = 100
# The quantiles of which the tail ESS speaks.
TAILS = (0.05, 0.95)


def convergence(study: Study, chains: xr.DataTree) -> xr.Dataset:
    """Rank-normalised R-hat, bulk and tail ESS of each epistemic parameter, and whether they meet RHAT and ESS.

    Draws by trajectories have a `tail_acceptance` beside them, which tells tails that were cut short.

    The coordinate `mode` numbers the places that chains stay in: where it has more than one number, each chain has
    seen a part of the posterior only, and how much belongs to each part is not known from them. Draws of tempering are
    in no order, and what they are worth is seen from their descent (`genealogical_ess`).

    Args:
        study: whose parameters they are.
        chains: /posterior and /sample_stats, of tempering with the `ancestor` of each draw.
    """
    names, posterior = list(study.model.space.epistemic), chains["posterior"].to_dataset()
    chosen = posterior[names]
    found = {
        "rhat": az.rhat(chosen),
        "ess_bulk": az.ess(chosen, method="bulk"),
        "ess_tail": az.ess(chosen, method="tail"),
    }
    rows = {key: [float(values[name]) for name in names] for key, values in found.items()}
    stats = chains["sample_stats"].to_dataset()
    if "ancestor" in stats:
        ancestors = stats["ancestor"].values
        of_families = [_by_descent(chosen[name].values, ancestors) for name in names]
        for key, worth in zip(("ess_bulk", "ess_tail"), zip(*of_families, strict=True), strict=True):
            rows[key] = list(np.minimum(rows[key], worth))
    if "mean_tree_accept" in stats:
        accepted = stats["mean_tree_accept"].values
        rows["tail_acceptance"] = [tail_acceptance(chosen[name].values, accepted) for name in names]
    dataset = xr.Dataset({key: ("parameter", values) for key, values in rows.items()}, coords={"parameter": names})
    resolved = (dataset.rhat <= RHAT) & (dataset.ess_bulk >= ESS) & (dataset.ess_tail >= ESS) & entered(dataset)
    dataset = dataset.assign(resolved=resolved, mode=("chain", modes(chosen)))
    return dataset.assign_coords(chain=posterior.chain.values).assign_attrs(
        largest_rhat=RHAT, least_ess=ESS, least_tail_acceptance=ENTERED
    )


def entered(found: xr.Dataset) -> xr.DataArray:
    """Whether each parameter's tails were entered, as far as it is known."""
    return ~(found["tail_acceptance"] < ENTERED) if "tail_acceptance" in found else xr.ones_like(found["rhat"], bool)


def with_missed(found: xr.Dataset, lost: Sequence[tuple[float, dict[str, float]]]) -> xr.Dataset:
    """/convergence with optima that the draws have missed: where there is one, nothing is resolved.

    Args:
        found: as `convergence` gives it.
        lost: of each, the share of the posterior that belongs to it at least, and the parameters there.
    """
    if not lost:
        return found
    names = [str(name) for name in found["parameter"].values]
    said = [
        f"that at {', '.join(f'{name} = {values[name]:.4g}' for name in names)}, with {100 * share:.2g} % of it or more"
        for share, values in lost
    ]
    what = "a mode" if len(lost) == 1 else f"{len(lost)} modes"
    return found.assign(
        resolved=xr.zeros_like(found["resolved"]),
        missed_share=("missed", [share for share, _ in lost]),
        missed_value=(("missed", "parameter"), [[values[name] for name in names] for _, values in lost]),
    ).assign_attrs(missed_modes=f"The draws have missed {what} of the posterior: {'; '.join(said)}.")


def genealogical_ess(values: Float[np.ndarray, "runs draws"], ancestors: Int[np.ndarray, "runs draws"]) -> float:
    """How many independent draws tell the mean of `values` as well as particles do that share ancestors.

    Resampling multiplies what particles have in common, such as the mode that they are in, and moves make them forget
    it or not. Families of different ancestors are independent, so that the variance of the mean is the sum over them
    of the squared sum of deviations (Chan & Lai 2013, doi:10.1214/13-AOS1172; Lee & Whiteley 2018,
    doi:10.1093/biomet/asy028). Deviations are from the mean of all runs: where a whole run descends from one particle,
    the difference between runs is what is left to tell.

    Args:
        values: of a function of each draw.
        ancestors: number of the particle of its run, before the first resampling, that each draw descends from.
    """
    deviation = values - values.mean()
    runs = np.broadcast_to(np.arange(len(values))[:, None], values.shape)
    _, family = np.unique(np.stack([runs.ravel(), ancestors.ravel()]), axis=1, return_inverse=True)
    sums = np.bincount(family.ravel(), weights=deviation.ravel())
    total = np.sum(deviation**2)
    return float(values.size * total / np.sum(sums**2)) if total > 0 else float(values.size)


def _by_descent(values: np.ndarray, ancestors: np.ndarray) -> tuple[float, float]:
    """Bulk and tail ESS of particles, of the same functions of the draws as those of chains."""
    scores = ndtri((rankdata(values) - 0.375) / (values.size + 0.25)).reshape(values.shape)
    below = [(values <= np.quantile(values, level)).astype(float) for level in TAILS]
    return _worth(scores, ancestors), min(_worth(each, ancestors) for each in below)


def _worth(values: np.ndarray, ancestors: np.ndarray) -> float:
    """The smaller of what families and what whole runs say, whose differences also show what no family has survived."""
    runs = len(values)
    between = genealogical_ess(values, np.zeros_like(ancestors)) * (runs - 1) / runs if runs > 1 else np.inf
    return min(genealogical_ess(values, ancestors), between)


def modes(posterior: xr.Dataset) -> np.ndarray:
    """`(chain,)` number of the place that each chain stays in, 0 for the first chain's.

    Chains are in different places where each is at rest and they are apart in a parameter. Chains that drift, or are
    short, say nothing of modes: all of them have the number of the first one then.
    """
    count = posterior.sizes["chain"]
    number = np.arange(count)
    if count == 1 or posterior.sizes["draw"] < LEAST_DRAWS:
        return np.zeros(count, int)
    if any(_rhat(posterior.isel(chain=[k])) > AT_REST for k in range(count)):
        return np.zeros(count, int)
    for first, second in combinations(range(count), 2):
        if _rhat(posterior.isel(chain=[first, second])) <= APART:
            number[number == number[second]] = number[first]
    return np.unique(number, return_inverse=True)[1]


def _rhat(posterior: xr.Dataset) -> float:
    """The largest over the parameters; of equal draws, where it is none, 1."""
    found = [float(each) for each in az.rhat(posterior).data_vars.values()]
    return max(np.nan_to_num(found, nan=1.0))
