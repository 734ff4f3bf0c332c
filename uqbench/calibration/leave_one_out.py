"""Each term of a likelihood left out by weights of the draws, Pareto-smoothed importance sampling (Vehtari, Gelman &
Gabry 2017, doi:10.1007/s11222-016-9696-4); a term that does not depend on the parameters changes nothing.

Weights of draws reach what is possible given all data. Where the values that a term may have end at unknown numbers
(uniform noise of unknown width, an unknown number of trials) more is possible without the term, and no weight tells how
much: its Pareto k is infinite.
"""

import json
import warnings
from typing import NamedTuple

import arviz as az
import numpy as np
import xarray as xr
from jaxtyping import Float

from ..names import DRAWS

# Draws, of all chains, from which on weights have a tail that can be smoothed.
LEAST_DRAWS = 100


class LeftOut(NamedTuple):
    """What is found of the terms of one name.

    Args:
        elpd: log predictive density of each term given all others.
        effective_parameters: by how much these are below those given all data, in sum.
        pareto_k: shape of the tail of the weights; -inf where a term is the same at all draws, inf where values of the
            parameters are possible without the term that no draw has, or that is not known.
        limit: of `pareto_k`, beyond which a figure cannot be relied on.
        log_weights: of each draw, where a term is left out.
    """

    elpd: Float[np.ndarray, " terms"]
    effective_parameters: float
    pareto_k: Float[np.ndarray, " terms"]
    limit: float
    log_weights: Float[np.ndarray, "chain draw terms"]


def leave_one_out(posterior: xr.Dataset, log_likelihood: xr.Dataset) -> dict[str, LeftOut]:
    """Of each variable of /log_likelihood; empty where draws are too few, or too many are the same, for weights."""
    if posterior.sizes["chain"] * posterior.sizes["draw"] < LEAST_DRAWS:
        return {}
    try:
        found = {str(name): _left_out(posterior, log_likelihood[name]) for name in log_likelihood.data_vars}
    except ValueError:
        # of ArviZ, where the largest weights are all one number: chains that have not moved
        return {}
    for name in json.loads(log_likelihood.attrs.get("moving_ends", "[]")):
        k = found[name].pareto_k
        found[name] = found[name]._replace(pareto_k=np.where(np.isneginf(k), k, np.inf))
    return found


def _left_out(posterior: xr.Dataset, terms: xr.DataArray) -> LeftOut:
    entry = next(dim for dim in terms.dims if dim not in DRAWS)
    values = terms.transpose(*DRAWS, entry).values
    moving = np.ptp(values, axis=(0, 1)) > 0
    elpd, pareto_k = values[0, 0].astype(float), np.full(len(moving), -np.inf)
    weights = np.full(values.shape, -np.log(values.shape[0] * values.shape[1]))
    if not moving.any():
        return LeftOut(elpd, 0.0, pareto_k, np.inf, weights)
    kept = xr.Dataset({"terms": ((*DRAWS, "entry"), values[..., moving])}, {name: posterior[name] for name in DRAWS})
    tree = xr.DataTree.from_dict({"posterior": posterior, "log_likelihood": kept})
    with warnings.catch_warnings():
        # of Pareto k that are too large, which are counted by whoever asks
        warnings.simplefilter("ignore", UserWarning)
        found = az.loo(tree, var_name="terms", pointwise=True)
    elpd[moving] = np.asarray(found.elpd_i).ravel()
    k = np.asarray(found.pareto_k, float).ravel()
    # the largest weights are one number, as where a value is certain at some draws: nothing is known of what is beyond
    pareto_k[moving] = np.where(np.isnan(k), np.inf, k)
    weights[..., moving] = found.log_weights.transpose(*DRAWS, "entry").values
    return LeftOut(elpd, float(found.p), pareto_k, float(found.good_k), weights)
