"""What each of SALib's methods needs and gives: its design, its own names for results, and where it would go wrong.

Runs come as (block, unit, output) and inputs as (block, unit, parameter): a unit is what a failed run takes with it. It
is a trajectory for "morris" (its points are the blocks), a point for "fast" (its curves are the blocks) and a row
for all others (one block).
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, rankdata
from threadpoolctl import threadpool_limits

from ...errors import InputError
from ...space import Space
from ..runs import MINIMUM_BASE_SAMPLES

OUTERMOST = 0.01  # probability of the first level of "morris"; the last one is 1 minus this
Groups = Mapping[str, tuple[str, ...]]
Found = dict[str, tuple[tuple[str, ...], np.ndarray]]


class Resampling(NamedTuple):
    """How the half widths of the intervals are found."""

    confidence: float
    resamples: int
    seed: int


def unit_problem(names: tuple[str, ...], groups: Groups | None = None) -> dict:
    """The unit cube as SALib's problem, with names of its own: SALib forbids some endings of names."""
    problem = {
        "num_vars": len(names),
        "names": [f"x{i}" for i in range(len(names))],
        "bounds": [[0.0, 1.0]] * len(names),
    }
    if groups is not None:
        labels = {name: f"g{k}" for k, members in enumerate(groups.values()) for name in members}
        problem["groups"] = [labels[name] for name in names]
    return problem


@contextmanager
def salib_apart(seed: int, said: list[str]) -> Iterator[None]:
    """SALib with numpy's global generator at `seed`, put back afterwards; what it warns of is added to `said`.

    Its thousands of tiny products gain nothing from threads: on busy cores "delta" took 25 times the processor time.
    """
    state, formatting = np.random.get_state(), warnings.formatwarning
    try:
        with warnings.catch_warnings(record=True) as caught, threadpool_limits(1, "blas"):
            warnings.simplefilter("always")
            np.random.seed(seed)
            yield
        said += [str(warning.message) for warning in caught]
    finally:
        np.random.set_state(state)
        warnings.formatwarning = formatting


def cube_coordinates(space: Space, x: np.ndarray, *, below: int = 0) -> np.ndarray:
    """The independent coordinates (rows, d) of natural values, or of values `below` them with all others unchanged."""
    theta = space.theta(x)
    return np.stack([np.asarray(space[name].dist.cdf(theta[name] - below, theta)) for name in space.free], axis=-1)


def trajectories(space: Space, x: np.ndarray, groups: Groups, settings: dict) -> np.ndarray:
    """Who moved where, as (points, trajectories, d) numbers that rise or fall by 1 when a parameter does.

    Natural values tell the level of a continuous parameter. A count may keep its value though its level moved; no
    value changed then, so it does not matter which of the steps that nobody else took is called its own.
    """
    size, levels, names = len(groups) + 1, settings["levels"], tuple(space.free)
    wrong = InputError(
        "salib_analysis",
        [
            f"x is no 'morris' design of {len(groups)} parameters or groups with levels={levels}; take x from "
            "salib_sample with the same space, groups and levels, its rows in their order."
        ],
    )
    if len(x) % size:
        raise wrong
    discrete = np.array([space[name].dist.discrete for name in names])
    upper, below = (
        (cube_coordinates(space, x, below=step) - OUTERMOST) / (1 - 2 * OUTERMOST) * (levels - 1) for step in (0, 1)
    )
    if np.abs(upper - np.rint(upper))[:, ~discrete].max(initial=0.0) > 1e-6 * levels:
        raise wrong
    high = np.where(discrete, np.floor(upper + 1e-9), np.rint(upper)).reshape(-1, size, len(names))
    low = np.where(discrete, np.floor(below + 1e-9) + 1, np.rint(upper)).reshape(high.shape)
    sign = (low[:, 1:] > high[:, :-1]).astype(float) - (high[:, 1:] < low[:, :-1])
    member = np.array([[name in members for members in groups.values()] for name in names])
    moved = (np.abs(sign) @ member) > 0
    if (moved.sum(axis=1) > 1).any() or (moved.sum(axis=2) > 1).any():
        raise wrong
    for t in np.flatnonzero(~moved.any(axis=1).all(axis=1)):
        unseen = np.flatnonzero(~moved[t].any(axis=0))
        if (member[:, unseen] & ~discrete[:, None]).any():
            raise wrong
        moved[t, np.flatnonzero(~moved[t].any(axis=1)), unseen] = True
    # A member of a group that moved unseen is given a direction, or SALib would average the group's effect with 0.
    sign = np.where((moved @ member.T) & (sign == 0), 1.0, sign)
    return np.moveaxis(np.concatenate([np.zeros_like(sign[:, :1]), np.cumsum(sign, axis=1)], axis=1), 1, 0)


def curves(space: Space, x: np.ndarray, groups: Groups, settings: dict) -> np.ndarray:
    """Coordinates (curves, points, d); each curve must itself be what "fast" takes it for, a wave of its parameter."""
    from SALib.analyze import fast

    d, harmonics = len(space.free), settings["harmonics"]
    n = len(x) // d
    cube = cube_coordinates(space, x[: n * d]).reshape(d, n, d)
    fits = len(x) % d == 0 and n > 4 * harmonics**2
    frequency = (n - 1) // (2 * harmonics)
    # All the variance of a parameter along its own curve is of first order, a wave with steps (a count) included.
    if not fits or any(fast.compute_orders(cube[i, :, i], n, harmonics, frequency)[0] < 0.5 for i in range(d)):
        raise InputError(
            "salib_analysis",
            [
                f"x ({len(x)} rows) is no 'fast' design of {d} parameters with harmonics={harmonics}; take x from "
                "salib_sample with the same space and harmonics, its rows in their order."
            ],
        )
    return cube


def coordinates(space: Space, x: np.ndarray, groups: Groups, settings: dict) -> np.ndarray:
    return cube_coordinates(space, x)[None]


def natural(space: Space, x: np.ndarray, groups: Groups, settings: dict) -> np.ndarray:
    return x[None]


def morris(problem: dict, inputs, runs, settings: dict, how: Resampling) -> Found:
    from SALib.analyze import morris

    found = morris.analyze(
        problem,
        np.moveaxis(inputs, 1, 0).reshape(-1, inputs.shape[-1]),
        runs.T.ravel(),
        num_levels=settings["levels"],
        conf_level=how.confidence,
        num_resamples=how.resamples,
        seed=how.seed,
    )
    # SALib divides by the step of its own grid, which is wider than ours.
    scale = 1 / (1 - 2 * OUTERMOST)
    kinds = ("mu", "mu_star", "sigma", "mu_star_conf")
    return {kind: (("parameter",), scale * np.ma.filled(found[kind], np.nan)) for kind in kinds}


def fast(problem: dict, inputs, runs, settings: dict, how: Resampling) -> Found:
    from SALib.analyze import fast

    found = fast.analyze(
        problem, runs.ravel(), M=settings["harmonics"], conf_level=how.confidence, num_resamples=how.resamples
    )
    return {kind: (("parameter",), np.array(found[kind])) for kind in ("S1", "ST", "S1_conf", "ST_conf")}


def rbd_fast(problem: dict, inputs, runs, settings: dict, how: Resampling) -> Found:
    from SALib.analyze import rbd_fast

    found = rbd_fast.analyze(
        problem,
        inputs[0],
        runs[0],
        M=settings["harmonics"],
        conf_level=how.confidence,
        num_resamples=how.resamples,
        seed=how.seed,
    )
    return {kind: (("parameter",), np.array(found[kind])) for kind in ("S1", "S1_conf")}


def pawn(problem: dict, inputs, runs, settings: dict, how: Resampling) -> Found:
    """With one more input that the runs know nothing of: how large the distance is by chance."""
    from SALib.analyze import pawn

    dummy = np.random.default_rng(how.seed).random(inputs.shape[1])
    d = problem["num_vars"]
    problem = {"num_vars": d + 1, "names": [*problem["names"], "dummy"], "bounds": [*problem["bounds"], [0.0, 1.0]]}
    found = pawn.analyze(problem, np.column_stack([inputs[0], dummy]), runs[0], S=settings["slices"])
    kinds = ("minimum", "mean", "median", "maximum", "CV")
    return {kind: (("parameter",), found[kind][:d]) for kind in kinds} | {"dummy": ((), found["median"][d])}


def delta(problem: dict, inputs, runs, settings: dict, how: Resampling) -> Found:
    """The indices of the sample as it is, with SALib's estimators; the bootstrap gives half widths and the bias alone.

    `SALib.analyze.delta` takes its estimates from a resample with replacement, whose error is as large again.
    """
    from SALib.analyze.delta import calc_delta, sobol_first

    y, n = runs[0], runs.shape[1]
    ranks = rankdata(inputs[0], axis=0)
    # SALib's number of classes of equal probability (Plischke, Borgonovo and Smith 2013)
    classes = min(int(np.ceil(n ** (2 / (7 + np.tanh((1500 - n) / 500))))), 48)
    edges, grid = np.linspace(0, n, classes + 1), np.linspace(y.min(), y.max(), 100)

    def indices(rows) -> list[list[float]]:
        columns = ranks[rows].T
        deltas = [calc_delta(y[rows], grid, column, edges) for column in columns]
        return [deltas, [sobol_first(y[rows], column, edges) for column in columns]]

    try:
        estimate = np.array(indices(slice(None)))
        generator = np.random.default_rng(how.seed)
        drawn = np.array([indices(generator.integers(n, size=n)) for _ in range(how.resamples)])
    except np.linalg.LinAlgError:  # a class whose runs are all but the same has no smooth density
        raise InputError(
            "salib_analysis",
            ["'delta' has no density of y within a class of an input: too few runs there differ. Run the model more "
             "often."],
        ) from None  # fmt: skip
    half = norm.ppf(0.5 + how.confidence / 2) * drawn.std(axis=0, ddof=1)
    found = {"delta": estimate[0], "delta_conf": half[0], "delta_bias": drawn[:, 0].mean(axis=0) - estimate[0]}
    return {kind: (("parameter",), each) for kind, each in (found | {"S1": estimate[1], "S1_conf": half[1]}).items()}


def hdmr(problem: dict, inputs, runs, settings: dict, how: Resampling) -> Found:
    from SALib.analyze import hdmr

    found = hdmr.analyze(
        problem,
        rankdata(inputs[0], axis=0) / inputs.shape[1],
        runs[0],
        maxorder=settings["order"],
        m=settings["intervals"],
        K=how.resamples,
        alpha=how.confidence,
    )
    totals = {kind: (("parameter",), np.array(found[kind])[: problem["num_vars"]]) for kind in ("ST", "ST_conf")}
    kinds = ("Sa", "Sb", "S", "Sa_conf", "Sb_conf", "S_conf")
    return totals | {kind: (("term",), found[kind]) for kind in kinds} | {"explained": ((), found["S_sum"])}


class Method(NamedTuple):
    """What a method needs: settings and defaults, its unit, how many must be left, its inputs, its analysis."""

    settings: dict[str, int]
    unit: str
    least: Callable[[dict[str, int]], int]
    inputs: Callable[[Space, np.ndarray, Groups, dict], np.ndarray]
    analysis: Callable[..., Found]


METHODS = {
    "morris": Method({"levels": 4}, "trajectories", lambda s: MINIMUM_BASE_SAMPLES, trajectories, morris),
    "fast": Method({"harmonics": 4}, "points of a curve", lambda s: 4 * s["harmonics"] ** 2 + 1, curves, fast),
    # half of the rows are drawn again, and the correction for bias needs more of them than twice the harmonics
    "rbd_fast": Method({"harmonics": 10}, "rows", lambda s: 4 * s["harmonics"] + 2, coordinates, rbd_fast),
    "pawn": Method({"slices": 10}, "rows", lambda s: 10 * s["slices"], coordinates, pawn),
    "delta": Method({}, "rows", lambda s: 100, natural, delta),
    "hdmr": Method({"order": 2, "intervals": 2}, "rows", lambda s: 300, natural, hdmr),
}
# setting -> least, largest, step
RANGES = {
    "levels": (2, 100, 2),
    "harmonics": (1, 50, 1),
    "slices": (2, 100, 1),
    "order": (1, 3, 1),
    "intervals": (1, 10, 1),
}


def method_settings(method: str, given: Mapping[str, int], findings: list[str]) -> dict[str, int]:
    """The settings of a method with its defaults filled in; what is wrong with those given goes to `findings`."""
    allowed = METHODS[method].settings
    for name, value in given.items():
        if name not in allowed:
            findings.append(f"{method!r} has no setting {name!r}; it has {', '.join(allowed) or 'none'}.")
            continue
        least, largest, step = RANGES[name]
        if not isinstance(value, int | np.integer) or not least <= value <= largest or value % step:
            kind = "an even" if step == 2 else "a whole"
            findings.append(f"{name} is {value!r}; give {kind} number from {least} to {largest}.")
        elif name == "slices" and np.arange(0, 1 + 1 / value, 1 / value).max() > 1:
            findings.append(f"slices is {value}, which SALib cannot round to quantiles up to 1; give 10 or 20.")
    return {**allowed, **{name: value for name, value in given.items() if name in allowed}}


def term_names(names: tuple[str, ...], order: int) -> list[str]:
    """The terms of "hdmr" in SALib's order: each parameter, then pairs, then triples."""
    return ["/".join(term) for size in range(1, order + 1) for term in combinations(names, size)]
