"""Shapley effects from given data: fair shares of the variance when inputs depend on one another.

With dependent inputs "the variance that i explains" has no single meaning: what X_i explains alone (closed, S1)
contains what it shares with others, and what is lost without it (ST) leaves that out, so they may sum to more and to
less than one. The Shapley effect averages the gain Var(E[Y|X_u, X_i]) - Var(E[Y|X_u]) over all orders in which inputs
can become known. It is never negative and sums to one (Owen 2014, doi:10.1137/130936233; Song, Nelson and Staum 2016,
doi:10.1137/15M1048070). All it needs are the variances Var(E[Y|X_u]) of subsets u, and these can be had from any sample
of inputs and outputs, posterior draws for instance, by nearest neighbours within the columns u (Broto, Bachoc and
Depecker 2020, doi:10.1137/18M1234631).

A run's two nearest neighbours stand for its conditional mean m, and Y times a neighbour's Y is free of the noise in
either, but biased to first order in how far off the neighbours are. Here the nearest runs are dealt to two halves, each
half predicts the run by a local linear fit (a and b), and the mean of

    Y a + Y b - a b  =  m^2 + 2 m (Y - m) + (Y - m)(a + b - 2 m) - (a - m)(b - m)

estimates E[m^2]. The run and the two halves have independent noise, so noise adds no bias; smoothing enters only by the
*product* of two errors; and the leading terms are the efficient influence function, so that no other estimator from the
same data has a smaller large-sample error, and their scatter is the standard error (cross-fitted one-step estimation:
Newey and Robins 2018, arXiv:1801.09138; Williamson et al. 2021, doi:10.1111/biom.13392). No resampling is needed, which
is fortunate: a bootstrap copy of a run would be its own nearest neighbour.

Distances are taken in ranks or normal scores, whichever predict better, so units and monotone changes of an input do
not matter. Each column is stretched until runs are best predicted by their neighbours, which keeps inputs that do not
matter from filling the space: on the g-function with 8 inputs this took the error from .036 to .008 (n = 1000).
Rows that agree in all inputs (replicated draws) are one run with a weight. `COVERAGE` has what was measured.

Root mean squared errors of Shapley effects at n = 1000: linear with correlation .010 (the bound of the efficient
influence function is .0098), Ishigami .017, g-function in 8 dimensions .008 to .011, product of log-normals .026.
What is missed between distant neighbours makes large effects of many inputs a little too small and gives those
without influence up to .01 each; `_bias` tells.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import xarray as xr
from scipy.stats import norm

from ...errors import InputError
from ..runs import MEMORY, Unusable, members_of, sentences
from .given_data import arranged_outputs, given_group_findings, given_setting_findings, input_table
from .neighbours import Neighbourhoods, closed_variance, neighbourhoods

COVERAGE = (
    "95 % intervals of shapley, S1 and ST, 60 to 100 repetitions, n = 300 and 1000: 90 to 99 % on average over inputs, "
    "at worst 88 % for one input (linear with correlation in 2, 3 and 5 dimensions, Ishigami, product of log-normals, "
    "copied, discrete and noisy inputs); g-function in 8 dimensions, 12 repetitions: 99 to 100 % for shapley and S1, "
    "94 % for ST, whose worst input has 67 % (bias)"
)
EXACT = 10  # players up to which all subsets are taken
NEGLIGIBLE = 0.01  # of the variance: a smaller bias is resolved in any case


def shapley_effects(
    x,
    y,
    *,
    names: Sequence[str] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    noise_variance: float | np.ndarray | xr.DataArray | None = 0.0,
    neighbours: int = 10,
    permutations: int = 64,
    confidence: float = 0.95,
    max_failed: float = 0.2,
    seed: int = 0,
) -> xr.Dataset:
    """Shapley effects, closed first-order and total indices of every input, from given runs.

    The rows must be independent draws (thin a Markov chain first); the inputs may depend on one another in any way. For
    up to 10 inputs or groups all subsets are taken, beyond that random orders, whose own error is part of the interval.
    Outputs share one metric, so one at a time is sharpest where they depend on different inputs.

    Args:
        x: inputs `(n, d)`: an array, a DataArray with names along its second dimension, or columns `(n,)` by name
            (mapping, Dataset, DataFrame).
        y: outputs `(n[, output...])`, NaN for a failed run; dimensions and coordinates of a DataArray are kept.
        names: of the columns of an array; default x1, x2, ...
        groups: label -> inputs that count as one; every input in exactly one. Default: each alone.
        noise_variance: variance of y around E[y | x], in squared units of y, one number or one per run: for a mean
            of r runs their variance over r. It is taken off, so effects are those of E[y | x]. 0: y is a function of
            x. None: unknown; then E[y | x] is itself taken from neighbours in all inputs, which costs accuracy.
        neighbours: of each half, in addition to one per column; three sizes are tried where at most two columns are
            known.
        permutations: random orders (and as many reversed) where there are more than 10 inputs or groups.
        confidence: level of the intervals.
        max_failed: fraction of runs that may have failed before it is an error.
        seed: of ties and orders; 0 is a seed.

    Returns:
        `shapley`, `S1` = Var(E[Y|X_i]) / Var and `ST` = E[Var(Y|X_-i)] / Var `(parameter, output...)`, each with
        `_standard_error`, `_lower`, `_upper` and `_bias`, about how much smoothing may have moved it: the change from
        half of the runs to all, or what follows from `explained`, whichever is larger. It widens the interval and is
        not taken off. `resolved` says whether that is less than the sampling error, or than 1 % of the variance, for
        every index of the input, `reason` what to do if not. An output that does not vary, with infinite values or too
        many failed runs is NaN, which `reason` says of every input. `explained` `(output...)`: how much of the variance
        neighbours in all inputs account for; far below 1 means noise, or too few runs for so many inputs.
        `n_valid`: runs used.

    Raises:
        InputError: with every finding: shapes, constant or infinite columns of x, no output that varies, too few runs,
            groups that overlap.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(500, 2))
        >>> shapley_effects(x, x @ [2.0, 1.0]).shapley.values.round(1)
        array([0.8, 0.2])
    """
    findings = given_setting_findings(neighbours, permutations, confidence, max_failed)
    table, columns = input_table(x, names, findings)
    groups = {name: (name,) for name in columns} if groups is None else {k: members_of(v) for k, v in groups.items()}
    findings += given_group_findings(groups, columns, partition=True)
    runs = arranged_outputs(table, y, noise_variance, max_failed, findings)
    if findings:
        raise InputError("shapley_effects", findings)
    players = [tuple(columns.index(name) for name in members) for members in groups.values()]
    rng = np.random.default_rng(seed)
    plan, orders = _shapley_plan(players, permutations, rng)
    kinds = ("shapley", "S1", "ST")
    result = _estimated(table, runs, plan, orders, kinds, ("parameter", list(groups)), neighbours, confidence, seed)
    order = "all subsets" if orders is None else f"{2 * permutations} random orders, half of them reversed"
    return result.assign_attrs(
        _attributes(noise_variance, neighbours, confidence, max_failed, seed) | {"orders": order}
    )


def grouped_variance(
    x,
    y,
    groups: Mapping[str, Sequence[str]],
    *,
    names: Sequence[str] | None = None,
    noise_variance: float | np.ndarray | xr.DataArray | None = 0.0,
    neighbours: int = 10,
    confidence: float = 0.95,
    max_failed: float = 0.2,
    seed: int = 0,
) -> xr.Dataset:
    """The share of the variance that each group of inputs explains together, from given runs; groups may overlap.

    Args:
        x, y, names, noise_variance, neighbours, confidence, max_failed, seed: as in `shapley_effects`.
        groups: label -> inputs; they may overlap, and inputs may be in none.

    Returns:
        `closed` = Var(E[Y|X_group]) / Var and `total` = E[Var(Y|X_others)] / Var `(group, output...)`, with
        `_standard_error`, `_lower`, `_upper`, `_bias`; `resolved`, `reason`, `explained` and `n_valid` as in
        `shapley_effects`.

    Raises:
        InputError: with every finding.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(500, 3))
        >>> grouped_variance(x, x @ [2, 1, 1], {"a": ["x1", "x2"], "b": ["x2"]}).closed.values.round(1)
        array([0.8, 0.2])
    """
    findings = given_setting_findings(neighbours, 1, confidence, max_failed)
    table, columns = input_table(x, names, findings)
    groups = {label: members_of(names) for label, names in groups.items()}
    findings += given_group_findings(groups, columns, partition=False)
    runs = arranged_outputs(table, y, noise_variance, max_failed, findings)
    if findings:
        raise InputError("grouped_variance", findings)
    plan: dict[tuple[int, ...], np.ndarray] = {}
    everything = tuple(range(len(columns)))
    for row, members in enumerate(groups.values()):
        inside = tuple(sorted({columns.index(name) for name in members}))
        _add(plan, inside, row, 1.0, 2 * len(groups))
        _add(plan, everything, row + len(groups), 1.0, 2 * len(groups))
        _add(plan, tuple(i for i in everything if i not in inside), row + len(groups), -1.0, 2 * len(groups))
    kinds, label = ("closed", "total"), ("group", list(groups))
    result = _estimated(table, runs, plan, None, kinds, label, neighbours, confidence, seed)
    return result.assign_attrs(_attributes(noise_variance, neighbours, confidence, max_failed, seed))


def _add(plan: dict, subset: tuple[int, ...], row: int, value: float, rows: int) -> None:
    """Adds to the coefficient of one subset's variance in one quantity."""
    if subset:  # knowing nothing explains nothing
        plan.setdefault(subset, np.zeros(rows))[row] += value


def _shapley_plan(players: list[tuple[int, ...]], permutations: int, rng) -> tuple[dict, list | None]:
    """Coefficients (quantities) of every subset of columns, and the random orders, as lists of subsets, if any."""
    d, plan, orders = len(players), {}, None

    def columns(known) -> tuple[int, ...]:
        return tuple(sorted(column for player in known for column in players[player]))

    everything = columns(range(d))
    for i in range(d):
        _add(plan, columns([i]), d + i, 1.0, 3 * d)
        _add(plan, everything, 2 * d + i, 1.0, 3 * d)
        _add(plan, columns(j for j in range(d) if j != i), 2 * d + i, -1.0, 3 * d)
    if d <= EXACT:
        for size in range(d):
            for known in combinations(range(d), size):
                share = 1.0 / (d * math.comb(d - 1, size))
                for i in set(range(d)) - set(known):
                    _add(plan, columns((*known, i)), i, share, 3 * d)
                    _add(plan, columns(known), i, -share, 3 * d)
        return plan, orders
    orders = []
    for _ in range(permutations):
        forward = rng.permutation(d)
        for order in (forward, forward[::-1]):
            steps = [(i, columns(order[:at]), columns(order[: at + 1])) for at, i in enumerate(order)]
            orders.append(steps)
            for i, before, after in steps:
                _add(plan, after, i, 0.5 / permutations, 3 * d)
                _add(plan, before, i, -0.5 / permutations, 3 * d)
    return plan, orders


def _estimated(table, runs, plan, orders, kinds, label, neighbours, confidence, seed) -> xr.Dataset:
    """The Dataset of all quantities; outputs with the same failed runs are taken together."""
    values, noise, dims, coords, reasons = runs
    shape, flat = values.shape[1:], values.reshape(len(values), -1)
    valid = ~np.isnan(flat)
    rows, outputs = len(kinds) * len(label[1]), flat.shape[1]
    found = np.full((3, rows, outputs), np.nan)  # estimate, standard error, bias
    explained = np.full(outputs, np.nan)
    patterns = np.unique(valid, axis=1, return_inverse=True)[1].ravel()
    usable = reasons == Unusable.NO
    for pattern in np.unique(patterns[usable]):
        members = np.flatnonzero(usable & (patterns == pattern))
        step = max(1, MEMORY // (rows * len(values)))
        for block in (members[k : k + step] for k in range(0, len(members), step)):
            kept, rng = valid[:, block[0]], np.random.default_rng(seed)
            own = None if noise is None else noise.reshape(len(values), -1)[kept][:, block]
            sample = neighbourhoods(table[kept], flat[kept][:, block], own, neighbours, rng)
            share, error, missed, explained[block] = _shares(sample, plan, orders, neighbours)
            halves = np.array_split(rng.permutation(len(sample.z)), 2)
            less = [_shares(sample.rows(half), plan, None, neighbours)[0] for half in halves]
            bias = np.maximum(np.abs(share - np.mean(less, axis=0)), missed)
            found[:, :, block] = share, error, bias
    estimate, error, bias = found.reshape(3, len(kinds), len(label[1]), *shape)
    sampling = norm.ppf(0.5 + confidence / 2) * error
    width = sampling + bias
    leading, data = (label[0], *dims), {}
    parts = {"": estimate, "_standard_error": error, "_lower": estimate - width, "_upper": estimate + width}
    for i, kind in enumerate(kinds):
        data |= {kind + suffix: (leading, part[i]) for suffix, part in (parts | {"_bias": bias}).items()}
    ratio = np.where(np.isnan(error), np.inf, bias / np.maximum(sampling, NEGLIGIBLE)).max(axis=0)
    data["resolved"] = (leading, ratio <= 1)
    why = np.vectorize(_reason, otypes=[object])(ratio, valid.sum(axis=0).reshape(shape))
    data["reason"] = (leading, np.where(usable.reshape(shape), why, sentences(reasons).reshape(shape).astype(object)))
    data |= {"explained": (dims, explained.reshape(shape)), "n_valid": (dims, valid.sum(axis=0).reshape(shape))}
    return xr.Dataset(data, {**coords, label[0]: label[1]})


def _reason(ratio: float, n: int) -> str:
    if ratio <= 1:
        return ""
    if np.isinf(ratio):
        return "not resolved: neighbours find no variance beyond the noise; take more runs, or replicates"
    # The bias falls at least as fast as 1/n where few columns matter, the sampling error as its root.
    return (
        f"not resolved at n={n}: the bias of neighbours exceeds the sampling error; n of about "
        f"{float(f'{n * ratio**2:.1g}'):g} or more is needed, or fewer inputs (groups do not help, fixing some does)"
    )


def _shares(sample: Neighbourhoods, plan: dict, orders, neighbours: int) -> tuple[np.ndarray, ...]:
    """Quantities over Var(E[Y|X]), standard errors and likely biases (quantity, output); `explained` (output).

    What neighbours in all inputs miss of a variance that is known is a bias that can be seen. That of a subset is taken
    to be less by the fourth power of how much closer its neighbours are.
    """
    n, outputs = sample.y.shape
    rows, everything = len(next(iter(plan.values()))), tuple(range(sample.z.shape[1]))
    terms, sizes = np.zeros((rows, n, outputs)), {(): np.zeros(outputs)}
    full, widest = closed_variance(sample.z, sample.y, neighbours)
    reach = np.zeros(rows)
    whole = full if sample.noise is None else sample.y**2 - sample.noise
    for subset, coefficients in plan.items():
        one = whole
        if subset != everything:
            one, radius = closed_variance(sample.z[:, subset], sample.y, neighbours)
            # A local linear fit is off by the square of the distance, and the product of two by its fourth power.
            reach -= coefficients * min(radius / widest, 1.0) ** 4
        used = np.flatnonzero(coefficients)
        terms[used] += coefficients[used, None, None] * one
        sizes[subset] = sample.weight @ one
    variance = sample.weight @ whole
    safe = np.where(variance > 0, variance, np.nan)
    share = np.einsum("n,qno->qo", sample.weight, terms) / safe
    influence = (terms - share[:, None] * whole) / safe
    # Centred already, except that the mean of y has been estimated, which has no influence on a centred square.
    error = np.sqrt(np.einsum("n,qno->qo", sample.weight**2, influence**2))
    if orders is not None:
        gains = np.zeros((len(orders), len(orders[0]), outputs))
        for at, steps in enumerate(orders):
            for i, before, after in steps:
                gains[at, i] = (sizes[after] - sizes[before]) / safe
        pairs = gains.reshape(-1, 2, *gains.shape[1:]).mean(axis=1)
        error[: pairs.shape[1]] = np.hypot(error[: pairs.shape[1]], pairs.std(axis=0, ddof=1) / np.sqrt(len(pairs)))
    gap = np.abs(sample.weight @ (whole - full)) / safe
    # Where two large subsets tell the same, as with a copied input, all of the gap is left over; a small one counts.
    least = np.minimum(np.abs(plan[everything])[:, None] * gap, NEGLIGIBLE)
    missed = np.maximum(np.abs(reach)[:, None] * gap, least)
    return share, error, missed, sample.weight @ full / (sample.weight @ sample.y**2)


def _attributes(noise_variance, neighbours: int, confidence: float, max_failed: float, seed: int) -> dict:
    known = "noise_variance taken off the variance" if np.any(noise_variance) else "none: y is a function of x"
    return {
        "estimator": "nearest neighbours in two halves, local linear, second-order bias (one-step estimation)",
        "interval": "normal, from the influence function, widened by the change from half of the runs to all",
        "noise": "unknown: E[Y|X] from neighbours in all inputs" if noise_variance is None else known,
        "coverage": COVERAGE,
        "neighbours": neighbours,
        "confidence": confidence,
        "max_failed": max_failed,
        "seed": seed,
    }
