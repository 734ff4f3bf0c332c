"""Expected information gain: by how many nats measurements would shrink what is unknown, on average over the prior.

It is the mutual information of parameters and data (Lindley 1956, doi:10.1214/aoms/1177728069),

    E log p(y | theta) - log p(y),    p(y) = E p(y | theta'),

over theta, theta' from the prior and y simulated at theta. With a mean over M draws in place of p(y) it comes out too
large, by a bias that falls as 1 / M (Ryan 2003, doi:10.1198/1061860032012; Rainforth et al. 2018, arXiv:1709.06181).
Means over halves of the same draws show that bias, which is then extrapolated away, no further than to the lower bound
of each table. Whether M was enough is certified: with theta itself among the draws the estimate is too small in
expectation, without it too large (Foster et al. 2020, arXiv:1911.00294). Draws of the inner mean are shared by all
data: there are as many solves as draws of both kinds.
"""

import json
from collections import Counter
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from ...errors import InputError
from ...likelihoods import Likelihood, likelihood_of
from ...settings import is_number, seed_findings, whole_number_findings
from ...study import Study
from .candidates import Candidates
from .sensitivities import planned_study

# Independent repetitions, whose spread is the standard error.
REPETITIONS = 10
# Bounds that are further apart, in nats, say that the draws of the inner mean are too few to extrapolate from.
FAR = 1.0
# By how much the draws of the inner mean are increased where they are too few.
INCREASE = 4
# Numbers that are held at once of the densities of all tables at all parameter values.
AT_ONCE = 20_000_000


class _Estimate(NamedTuple):
    extrapolated: float
    upper: float
    lower: float


def expected_information_gain(
    study: Study,
    candidates: Candidates | None = None,
    times_measured: np.ndarray | None = None,
    *,
    n_outer: int = 2000,
    n_inner: int = 1000,
    n_inner_most: int = 16_000,
    accuracy: float = 0.1,
    seed: int = 0,
) -> xr.Dataset:
    """Expected information gain of a design on the epistemic parameters, by nested Monte Carlo.

    Meant for designs of few measurements: the number of draws that is needed grows as the exponential of the gain.

    Args:
        study: whose prior it is; without `candidates` its measurements, or those that it plans, are the design.
        candidates: that are measured, each `times_measured` `(candidates,)` times; default once.
        n_outer: draws of parameters and data in all. n_inner: draws of each inner mean; four times as many, as long as
            these do not do for the accuracy, up to `n_inner_most`.
        accuracy: error of the gain that is small enough, in nats.
        seed: designs with one seed have the same draws of the parameters, so that their differences are more certain.

    Returns:
        in nats: `eig` (extrapolated in the inner draws), its `standard_error`, `bias` (what the extrapolation took
        away), `lower` and `upper`, of which the expectations enclose the gain; attributes `resolved` (whether both
        the distance of `lower` and `upper` and two standard errors are below the `accuracy`), `failed` (JSON: why draws
        of parameters failed -> how many; the gain is that on the prior without them), `draws`. NaN where the inner
        draws are too few to extrapolate from.

    Raises:
        InputError: parameters that differ between units, a likelihood that is not differentiable row by row, settings
            out of range, too few draws whose solves succeed.

    Example:
        >>> from studies.product_rate import study
        >>> found = expected_information_gain(study, n_outer=400)
        >>> bool(found.lower < found.eig < found.upper)
        True
    """
    findings = whole_number_findings({
        "n_outer": (n_outer, 2 * REPETITIONS), "n_inner": (n_inner, 8), "n_inner_most": (n_inner_most, 8),
    })  # fmt: skip
    findings += seed_findings(seed)
    if not (is_number(accuracy) and accuracy > 0):
        findings.append(f"accuracy is {accuracy!r}; give a number of nats above 0.")
    if study.model.space.aleatory:
        findings.append("parameters differ between units: the density of a unit's data is then an integral of its own.")
    if times_measured is not None and (candidates is None or np.shape(times_measured) != (len(candidates.table),)):
        findings.append("times_measured must have one whole number for each of the candidates.")
    if findings:
        raise InputError(f"expected information gain of study {study.name!r}", findings)
    planned = study if candidates is None else planned_study(study, candidates, times_measured)
    likelihood = likelihood_of(planned)
    likelihood.require("row_information", f"expected information gain of study {study.name!r}")
    while True:
        found = _repeated(likelihood, n_outer, n_inner, accuracy, seed)
        if found.upper - found.lower <= accuracy or INCREASE * n_inner > n_inner_most:
            return found
        n_inner *= INCREASE


def _repeated(likelihood: Likelihood, n_outer: int, n_inner: int, accuracy: float, seed: int) -> xr.Dataset:
    """The mean of all repetitions, and its standard error."""
    failed: Counter[str] = Counter()
    outer = n_outer // REPETITIONS
    streams = np.random.default_rng(seed).spawn(REPETITIONS)
    values = np.array([_estimate(likelihood, stream, outer, n_inner, failed) for stream in streams])
    eig, upper, lower = values.mean(axis=0)
    errors = values.std(axis=0, ddof=1) / np.sqrt(REPETITIONS)
    # with bounds far apart the bias is not yet one that falls as 1 / M, and cannot be extrapolated
    told = bool(upper - lower <= FAR)
    estimates = {"eig": eig, "standard_error": errors[0], "bias": upper - eig}
    return xr.Dataset(
        {name: value if told else np.nan for name, value in estimates.items()} | {"lower": lower, "upper": upper},
        attrs={
            "resolved": bool(told and max(upper - lower, 2.0 * errors[0]) <= accuracy),
            "accuracy": accuracy,
            "failed": json.dumps(dict(failed)),
            "draws": REPETITIONS * (outer + n_inner),
            "n_outer": n_outer,
            "n_inner": n_inner,
            "seed": seed,
        },
    )


def _estimate(
    likelihood: Likelihood, stream: np.random.Generator, n_outer: int, n_inner: int, failed: Counter
) -> _Estimate:
    """One repetition; counts in `failed` why draws of parameters failed."""
    space = likelihood.study.model.space
    # what belongs to the outer draws first, so that they do not depend on how many inner ones there are
    keys = jax.random.split(jax.random.key(int(stream.integers(2**63))), n_outer)
    outer, inner = (space.from_cube(stream.random((count, len(space.free)))) for count in (n_outer, n_inner))
    values = _simulated(likelihood, outer, keys)
    usable = np.all([np.all(np.isfinite(each), axis=1) for each in values.values()], axis=0)
    _count(likelihood, outer, ~usable, failed)
    values = {output: each[np.flatnonzero(usable)] for output, each in values.items()}
    outer = {name: value[np.flatnonzero(usable)] for name, value in outer.items()}
    own, table = np.asarray(_own(likelihood, outer, values)), _densities(likelihood, inner, values)
    # impossible for all data: the solve failed, or the parameters allow none of them
    suspect = np.all(np.isneginf(table), axis=1)
    lost = _count(likelihood, inner, suspect, failed)
    table = table[~lost]
    if len(own) < 2 or len(table) < 4:
        raise InputError(
            f"expected information gain of study {likelihood.study.name!r}",
            [f"{count} draws from the prior fail: {reason}" for reason, count in failed.items()],
        )
    table = table[: 2 * (len(table) // 2)]
    whole, lower = own - _log_mean(table), own - _log_mean(np.vstack([table, own]))
    halves = np.mean([own - _log_mean(half) for half in np.split(table, 2)], axis=0)
    # of few data one draw is most of the inner mean, and what is extrapolated from halves is far off
    extrapolated = np.maximum(2.0 * whole - halves, np.minimum(lower, whole))
    return _Estimate(float(np.mean(extrapolated)), float(np.mean(whole)), float(np.mean(lower)))


def _log_mean(table: np.ndarray) -> np.ndarray:
    """Logarithm of the mean density over draws, `(draws, tables)` -> `(tables,)`; -inf where all are impossible."""
    largest = np.max(table, axis=0)
    shift = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore"):
        return shift + np.log(np.mean(np.exp(table - shift), axis=0))


def _densities(likelihood: Likelihood, thetas, values: dict[str, Array]) -> np.ndarray:
    """Log densities `(draws, tables)`, of so many tables at once as memory allows."""
    draws, tables = len(next(iter(thetas.values()))), len(next(iter(values.values())))
    rows = sum(each.shape[1] for each in values.values())
    at_once = max(1, AT_ONCE // (draws * rows))
    parts = []
    for start in range(0, tables, at_once):
        some = {output: each[start : start + at_once] for output, each in values.items()}
        parts.append(np.asarray(_log_densities(likelihood, thetas, some)))
    return np.concatenate(parts, axis=1) if parts else np.zeros((draws, 0))


def _count(likelihood: Likelihood, thetas, suspect: np.ndarray, failed: Counter) -> np.ndarray:
    """Which of the draws that are suspected have failed, `(draws,)`; counts them by their first reason."""
    lost, index = np.zeros(len(suspect), bool), np.flatnonzero(suspect)
    if len(index):
        # padded to a power of two, so that few sizes are compiled
        padded = np.resize(index, 1 << (len(index) - 1).bit_length())
        codes = np.asarray(_results(likelihood, {name: value[padded] for name, value in thetas.items()}))[: len(index)]
        first = np.array([row[np.flatnonzero(row)[0]] if row.any() else 0 for row in codes])
        lost[index] = first != 0
        failed.update(likelihood.study.model.dynamics.failures(first))
    return lost


@partial(jax.jit, static_argnames="likelihood")
def _simulated(likelihood: Likelihood, thetas, keys: Array) -> dict[str, Float[Array, "draws rows"]]:
    return jax.vmap(likelihood.simulate)(thetas, keys)


@partial(jax.jit, static_argnames="likelihood")
def _own(likelihood: Likelihood, thetas, values) -> Float[Array, " draws"]:
    return jax.vmap(lambda theta, values: likelihood.log_density(theta, values=values))(thetas, values)


@partial(jax.jit, static_argnames="likelihood")
def _log_densities(likelihood: Likelihood, thetas, values) -> Float[Array, "draws tables"]:
    return likelihood.log_densities(thetas, values)


@partial(jax.jit, static_argnames="likelihood")
def _results(likelihood: Likelihood, thetas) -> Array:
    return jax.vmap(likelihood.results)(thetas)
