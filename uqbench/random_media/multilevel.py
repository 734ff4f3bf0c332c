"""The mean of an expensive property from many cheap approximations of it and few differences to them.

Levels Q_0, ..., Q_L are functions of a key, from the cheapest to the one whose mean is wanted, and the same key is the
same realisation: the apparent tensor of a medium, say, on coarse grids of it. In

    E Q_L = E Q_0 + sum_l E (Q_l - Q_(l-1))

every term is a mean over realisations of its own. The closer two levels follow one another, the less their difference
varies and the fewer of the expensive realisations are needed; numbers are in proportion to sqrt(variance / cost), which
is the least cost for a standard error (Giles 2015, doi:10.1017/S096249291500001X). Controls, quantities whose expected
values are known, take from the variance of the cheapest level (see `estimate_with_controls`).

What pays depends on the medium. Processor time of a plain ensemble over that of two levels, voxels and `coarsened` four
times, with the mean of the medium as control, at equal standard error. The first two lines are by 1000 estimates each,
whose intervals of 95 % covered 95 to 96 % (tests/benchmarks/test_ensembles.py), 128^2 of the third too (94 %); the rest
by the variances of 80 to 300 realisations:

    lognormal, sd of ln D 1, 4 voxels in a correlation length     83 to 169 on 64^2, 185 on 32^3
    disks, spheres that overlap, contrast 10                      7.5 on 128^2, 11 on 48^3
    disks that overlap, contrast 100                              1.3 on 128^2, 3.1 on 256^2
    disks apart at volume fraction .3, contrast 10 and 100        2.2 and 2.6 on 256^2
    spheres apart at volume fraction .25, contrast 10             1.2 on 48^3

At a high contrast the gaps between inclusions decide, which a coarse grid has not; the finer the voxels are, the more
is gained. Of disks apart the volume fraction is fixed, and little varies. What else was tried, in numbers of solves:
controls alone 30 to 44 for the lognormal media, 4 for disks of contrast 10; antithetic fields (g and -g) 33 in two
dimensions and 16 in three, no more than the control; means over the four quarters of a window as the lower level 1 at
most, as they cost what the window costs.

Quasi-random structures (Le Bris, Legoll & Minvielle 2016, doi:10.1515/mcma-2016-0101), the 10 of 100 realisations whose
statistics are closest to their expected values, are worth 5 to 27 times their solves for lognormal media, where 20
realisations with controls of the same statistics have 27 to 300, and 0.5 to 5 for disks and spheres, as controls have.
They are biased by up to .9 of their error, and of the naive intervals of 95 % from 52 to 99 % covered. They are left
out.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from scipy.special import stdtrit

from ..errors import InputError
from .ensembles import Estimate, estimate_with_controls

# Realisations of a level that its variance is first known by; fewer make intervals too short.
PILOT = 32
# Rounds in which realisations are added, as variances become known better.
ROUNDS = 12


class Level(NamedTuple):
    """One approximation of a property.

    Args:
        apparent: of the realisation of a key, a number. cost: of one evaluation, in any unit that is the same for all
            levels, such as seconds.
    """

    apparent: Callable[[PRNGKeyArray], Array]
    cost: float


class MultilevelEstimate(NamedTuple):
    """The mean of the last level.

    Args:
        value: the mean. error: standard error. lower, upper: of its interval.
        terms: `Estimate` of the mean of the first level, and of the difference of each to the one before.
        realisations: of each term. cost: of all of them, in the unit of the levels.
        plain_cost: of realisations of the last level alone with the same standard error, from the variance that they
            are found to have. gain: how many times as much that is.
    """

    value: float
    error: float
    lower: float
    upper: float
    terms: tuple[Estimate, ...]
    realisations: tuple[int, ...]
    cost: float
    plain_cost: float
    gain: float


def multilevel_estimate(
    levels: Sequence[Level],
    key: PRNGKeyArray,
    *,
    error: float,
    controls: Callable[[PRNGKeyArray], Array] | None = None,
    expected: Sequence[float] = (),
    pilot: int = PILOT,
    batch_size: int = 16,
    budget: float = inf,
    level: float = 0.95,
) -> MultilevelEstimate:
    """The mean of an expensive property with a standard error, at the least cost that its approximations allow.

    Args:
        levels: from the cheapest approximation to the property itself. One is a plain ensemble.
        key: of the ensemble.
        error: standard error that is wanted, in the unit of the property.
        controls: `(controls,)`, of the realisation of a key, as quickly had as the first level. expected: their
            expected values.
        pilot: realisations of the last level at first; the others begin with more, by the root of what they cost less.
            They count for the estimate, and an error that they have already costs no less than they do.
        batch_size: how many are computed side by side, and added at least.
        budget: most that may be spent beyond the pilot, to within a batch, in the unit of the costs; the error may then
            be larger than wanted.
        level: of the interval, by Student's distribution with the degrees of freedom of Welch and Satterthwaite.

    Returns:
        See `MultilevelEstimate`.

    Raises:
        InputError: with everything that is wrong; with each level that has values that are not finite.

    Example:
        >>> def fine(key):
        ...     return jnp.exp(jax.random.normal(key))
        >>> def coarse(key):
        ...     x = jax.random.normal(key)
        ...     return 1 + x + x**2 / 2 + x**3 / 6
        >>> found = multilevel_estimate([Level(coarse, 1.0), Level(fine, 100.0)], jax.random.key(0), error=0.05)
        >>> found.error <= 0.05, found.gain > 3
        (True, True)
    """
    findings = _level_findings(levels, key) + _control_findings(controls, expected, key)
    findings += _setting_findings(error, pilot, len(expected), batch_size, budget, level)
    if findings:
        raise InputError("multilevel estimate", findings)
    pairs = list(zip([None, *levels[:-1]], levels, strict=True))
    costs = np.array([each.cost + (below.cost if below else 0.0) for below, each in pairs])
    rows = [np.empty((0, 2 + (len(expected) if below is None else 0))) for below, _ in pairs]
    # cheaper terms are known sooner
    wanted = np.ceil(pilot * np.sqrt(costs[-1] / costs))
    for _ in range(ROUNDS):
        rows = [
            _extended(have, number, jax.random.fold_in(key, place), batch_size, pair, None if place else controls)
            for place, (have, number, pair) in enumerate(zip(rows, wanted, pairs, strict=True))
        ]
        _refuse(rows)
        terms = [
            estimate_with_controls(each[:, 1] - each[:, 0], each[:, 2:], () if place else expected, level=level)
            for place, each in enumerate(rows)
        ]
        counts = np.array([len(each) for each in rows])
        variances = np.array([term.error**2 for term in terms]) * counts
        wanted = _numbers(counts, variances, costs, error, budget)
        if np.all(wanted <= counts):
            break
    # by differences as well: a term knows the variances of both its levels from the same realisations
    variance = float(sum(np.var(each[:, 1], ddof=1) - np.var(each[:, 0], ddof=1) for each in rows))
    return _total(terms, counts, costs, variance * levels[-1].cost, level)


def _extended(
    rows: np.ndarray,
    number: float,
    key: PRNGKeyArray,
    batch_size: int,
    pair: tuple[Level | None, Level],
    controls: Callable | None,
) -> np.ndarray:
    """`rows`, and realisations in whole batches up to a number of them, of keys that no batch before had."""
    below, each = pair
    parts = [rows]
    for start in range(len(rows), int(number), batch_size):
        keys = jax.random.split(jax.random.fold_in(key, start), batch_size)
        parts.append(np.asarray(_evaluated(below and below.apparent, each.apparent, controls, keys)))
    return np.concatenate(parts)


# compiled once for the functions of a level, however many batches there are
@partial(jax.jit, static_argnums=(0, 1, 2))
def _evaluated(below: Callable | None, apparent: Callable, controls: Callable | None, keys: Array) -> Array:
    """`(realisations, 2 + controls)`: the level below, 0 where there is none, the level, and the controls."""

    def row(key):
        known = controls(key) if controls else jnp.empty(0)
        return jnp.hstack([below(key) if below else 0.0, apparent(key), known])

    return jax.vmap(row)(keys)


def _numbers(counts: np.ndarray, variances: np.ndarray, costs: np.ndarray, error: float, budget: float) -> np.ndarray:
    """Realisations of each level that reach the error at the least cost, no fewer than there are; within the budget."""
    short = np.ones(len(counts), bool)
    # a level that has more than its share leaves the others less to do
    for _ in counts:
        rest = error**2 - np.sum((variances / counts)[~short])
        share = np.sqrt(variances / costs) * np.sum(np.sqrt(variances * costs)[short]) / rest
        wanted = np.where(short, share, counts)
        if np.all(wanted >= counts):
            break
        short &= wanted >= counts
    more = np.maximum(wanted - counts, 0.0)
    affordable = min(1.0, max(0.0, budget - counts @ costs) / (more @ costs)) if np.any(more) else 0.0
    return counts + np.ceil(affordable * more)


def _total(
    terms: Sequence[Estimate], counts: np.ndarray, costs: np.ndarray, plain: float, level: float
) -> MultilevelEstimate:
    """The sum of the terms; `plain` is the variance of a realisation of the last level times its cost."""
    value, squares = sum(term.value for term in terms), np.array([term.error**2 for term in terms])
    error = float(np.sqrt(squares.sum()))
    freedom = squares.sum() ** 2 / np.sum(squares**2 / (counts - 1)) if error else inf
    half = float(stdtrit(freedom, 0.5 * (1 + level)) * error) if error else 0.0
    cost = float(counts @ costs)
    plain_cost = plain / error**2 if error else inf
    return MultilevelEstimate(
        *(value, error, value - half, value + half, tuple(terms), tuple(counts.tolist())),
        *(cost, plain_cost, plain_cost / cost),
    )


def _refuse(rows: Sequence[np.ndarray]) -> None:
    """Values that are not finite have no mean."""
    findings = []
    for place, each in enumerate(rows):
        lost = np.sum(~np.isfinite(each), axis=0)
        named = [f"level {place - 1}, for the difference to the next", f"level {place}"]
        named += [f"control {control}" for control in range(each.shape[1] - 2)]
        findings += [
            f"{bad} of {len(each)} realisations of {name} are not finite; see the result codes of what computes them."
            for name, bad in zip(named, lost, strict=True)
            if bad
        ]
    if findings:
        raise InputError("multilevel estimate", findings)


def _level_findings(levels: Sequence[Level], key: PRNGKeyArray) -> list[str]:
    if not levels:
        return ["there are no levels; give one or more, from the cheapest on."]
    if others := [type(each).__name__ for each in levels if not isinstance(each, Level)]:
        return [f"the levels are {', '.join(others)}; give Level(apparent, cost), from the cheapest on."]
    findings = []
    costs = [each.cost for each in levels]
    if not all(0 < cost < inf for cost in costs):
        findings.append(f"the costs are {costs}; give positive numbers.")
    elif costs != sorted(costs):
        findings.append(f"the costs are {costs}; give the levels from the cheapest to the one that is wanted.")
    for place, each in enumerate(levels):
        given = jax.eval_shape(each.apparent, key)
        if not isinstance(given, jax.ShapeDtypeStruct) or given.shape:
            shapes = ", ".join(str(jnp.shape(leaf)) for leaf in jax.tree.leaves(given))
            findings.append(
                f"level {place} returns the shapes {shapes}; give one number, such as an entry of a tensor."
            )
    return findings


def _control_findings(controls: Callable | None, expected: Sequence[float], key: PRNGKeyArray) -> list[str]:
    given = jax.eval_shape(controls, key).size if controls else 0
    if given == len(expected):
        return []
    return [f"{len(expected)} expected values are given for {given} controls; give one for each."]


def _setting_findings(
    error: float, pilot: int, controls: int, batch_size: int, budget: float, level: float
) -> list[str]:
    findings = []
    if not 0 < error < inf:
        findings.append(f"error is {error!r}; give a positive standard error.")
    if pilot < controls + 8:
        findings.append(f"pilot is {pilot}; give {controls + 8} or more, for variances to be known.")
    if batch_size < 1:
        findings.append(f"batch_size is {batch_size}; give 1 or more.")
    if not budget > 0:
        findings.append(f"budget is {budget!r}; give a positive cost.")
    if not 0 < level < 1:
        findings.append(f"level is {level!r}; give a number between 0 and 1.")
    return findings
