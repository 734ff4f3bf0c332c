"""Whether draws can be trusted: the diagnostics of each parameter, and chains that stay in different modes."""

from itertools import combinations

import arviz as az
import numpy as np
import xarray as xr

from ..study import Study

# What a draw must satisfy to be used (Vehtari, Gelman, Simpson, Carpenter & Burkner 2021, doi:10.1214/20-BA1221).
RHAT, ESS = 1.01, 400
# A chain is at rest where its two halves agree up to this R-hat, and two chains are apart where theirs is larger than
# that: of chains around one place with 20 independent draws each it is about 1.1, of two standard deviations apart 1.5.
AT_REST, APART = 1.2, 1.5
# With fewer draws of a chain nothing is said of modes.
LEAST_DRAWS = 100


def convergence(study: Study, posterior: xr.Dataset) -> xr.Dataset:
    """Rank-normalised R-hat, bulk and tail ESS of each epistemic parameter, and whether they meet RHAT and ESS.

    The coordinate `mode` numbers the places that chains stay in: where it has more than one number, each chain has
    seen a part of the posterior only, and how much belongs to each part is not known from them.
    """
    names = list(study.model.space.epistemic)
    chosen = posterior[names]
    found = {
        "rhat": az.rhat(chosen),
        "ess_bulk": az.ess(chosen, method="bulk"),
        "ess_tail": az.ess(chosen, method="tail"),
    }
    rows = {key: [float(values[name]) for name in names] for key, values in found.items()}
    dataset = xr.Dataset({key: ("parameter", values) for key, values in rows.items()}, coords={"parameter": names})
    resolved = (dataset.rhat <= RHAT) & (dataset.ess_bulk >= ESS) & (dataset.ess_tail >= ESS)
    dataset = dataset.assign(resolved=resolved, mode=("chain", modes(chosen)))
    return dataset.assign_coords(chain=posterior.chain.values).assign_attrs(largest_rhat=RHAT, least_ess=ESS)


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
