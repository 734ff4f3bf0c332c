"""Ranks of true values among posterior draws of one table, and what the ranks of many tables say."""

from dataclasses import asdict, dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Bool, Float, Int

from ..likelihoods import Likelihood
from ..names import DRAWS
from ..space import Theta
from .predictive import SAMPLE
from .uniformity import POINT, band, rank_p_value, replications_needed

LIKELIHOOD = "log-likelihood"
LEVELS = (0.5, 0.9)
# Of the test that all ranks are uniform, shared out between the quantities.
SIGNIFICANT = 0.05
# What enough tables show: a posterior sd that is too small by this part, in so many cases.
ERROR, POWER = 0.2, 0.8
FAILED, NOT_CONVERGED = "failed", "not_converged"


@dataclass(frozen=True)
class Ranked:
    """One table; quantities are the epistemic parameters and the log-likelihood.

    Args:
        rank: draws below the truth. truth: what the data were simulated with. mean, sd: of the posterior.
        inside: whether central intervals of `LEVELS` have the truth.
    """

    rank: Int[np.ndarray, " quantities"]
    truth: Float[np.ndarray, " quantities"]
    mean: Float[np.ndarray, " quantities"]
    sd: Float[np.ndarray, " quantities"]
    inside: Bool[np.ndarray, "quantities levels"]

    def lists(self) -> dict[str, list]:
        """For a file."""
        return {name: each.tolist() for name, each in asdict(self).items()}

    @classmethod
    def from_lists(cls, lists: dict[str, list]) -> "Ranked":
        """From what `lists` gives."""
        return cls(**{name: np.array(each) for name, each in lists.items()})


# Of a table: its ranks, or why it has none (`FAILED`, `NOT_CONVERGED`).
Outcome = Ranked | str


def ranked(likelihood: Likelihood, posterior: xr.Dataset, truth: Theta, values, ranks: int, seed) -> Ranked:
    """The truth among draws from its posterior.

    Args:
        values: output -> simulated values, in the places of the data.
        ranks: how many draws are taken, evenly thinned.
        seed: of equal values, which are split at random, as of a parameter with whole numbers.
    """
    space, rng = likelihood.study.model.space, np.random.default_rng(seed)
    flat = posterior.stack({SAMPLE: DRAWS}).transpose(SAMPLE, ...)
    picked = np.linspace(0, flat.sizes[SAMPLE] - 1, ranks).astype(int)
    # with the truth as the last of them there is one program to compile
    thetas = {
        name: jnp.concatenate([jnp.asarray(flat[name].values[picked]), jnp.asarray(truth[name])[None]])
        for name in space.free
    }
    keys = jax.random.split(jax.random.key(rng.integers(2**32)), ranks + 1)
    densities = np.asarray(_log_densities(likelihood, thetas, keys, values))
    drawn = [*(flat[name].values for name in space.epistemic), densities[:-1]]
    thinned = [*(column[picked] for column in drawn[:-1]), densities[:-1]]
    true = [*(float(truth[name]) for name in space.epistemic), float(densities[-1])]
    tails = [np.quantile(column, (1 + np.array([-1, 1])[:, None] * np.array(LEVELS)) / 2) for column in drawn]
    return Ranked(
        rank=np.array([np.sum(c < t) + rng.integers(np.sum(c == t) + 1) for c, t in zip(thinned, true, strict=True)]),
        truth=np.array(true),
        mean=np.array([column.mean() for column in drawn]),
        sd=np.array([column.std(ddof=1) for column in drawn]),
        inside=np.array([(low <= t) & (t <= high) for (low, high), t in zip(tails, true, strict=True)]),
    )


@partial(jax.jit, static_argnames="likelihood")
def _log_densities(likelihood: Likelihood, thetas: Theta, keys: Array, values) -> Float[Array, " draws"]:
    """Log-likelihood of other values in the same places; of one that is an estimate, estimates of their own."""
    complete = likelihood.study.model.space.complete
    estimated = "pseudo_marginal" in likelihood.capabilities

    def one(each):
        theta, key = each
        return likelihood.log_density(complete(theta), key if estimated else None, values=values)

    return jax.lax.map(one, (thetas, keys), batch_size=64)


def summary(outcomes: dict[int, Outcome], quantities, ranks: int, prior_variance, seed: int) -> xr.Dataset:
    """What tables say together: /simulation_based_calibration without its origin.

    Args:
        outcomes: number -> what came of a table, at least two of them ranked.
        quantities: their names. prior_variance: of each, NaN of those that have none.
        seed: of the place within a rank.
    """
    rows = {number: row for number, row in sorted(outcomes.items()) if isinstance(row, Ranked)}
    stacked = {
        name: np.stack([getattr(row, name) for row in rows.values()]) for name in ("rank", "truth", "mean", "sd")
    }
    # a rank is an interval of probability: a random point of it has the distribution of a continuous value
    within = (stacked["rank"] + np.random.default_rng(seed).uniform(size=stacked["rank"].shape)) / (ranks + 1)
    found = np.array([rank_p_value(each) for each in within.T])
    curves = [band(each) for each in within.T]
    inside = np.stack([row.inside for row in rows.values()]).mean(axis=0).T
    levels = np.array(LEVELS)[:, None]
    dataset = xr.Dataset(
        {
            **{name: (("repetition", "quantity"), values) for name, values in stacked.items()},
            "p_value": ("quantity", found),
            **{
                name: (("quantity", "point"), np.stack([getattr(curve, name) for curve in curves]))
                for name in ("difference", "lower", "upper")
            },
            "coverage": (("level", "quantity"), inside),
            "coverage_standard_error": ("level", np.sqrt(levels * (1 - levels) / len(rows))[:, 0]),
            "contraction": ("quantity", 1 - (stacked["sd"] ** 2).mean(axis=0) / prior_variance),
        },
        coords={"repetition": list(rows), "quantity": list(quantities), "level": list(LEVELS), "point": POINT},
    )
    level = SIGNIFICANT / len(quantities)
    lost = [name for name, p in zip(quantities, found, strict=True) if p <= level]
    needed = replications_needed(ERROR, POWER, 1 - level, ranks)
    left_out = {why: sum(each == why for each in outcomes.values() if isinstance(each, str)) for why in LEFT_OUT}
    return dataset.assign_attrs(
        ranks=ranks,
        uniform=not lost,
        resolved=bool(lost) or len(rows) >= needed,
        needed=needed,
        **left_out,
        meaning=_meaning(lost, float(found.min()), len(rows), needed, left_out),
    )


LEFT_OUT = {FAILED: "whose simulation failed", NOT_CONVERGED: "whose chains did not converge"}


def _meaning(lost: list[str], smallest: float, count: int, needed: int, left_out: dict[str, int]) -> str:
    """Whether ranks are uniform, and what so many of them can show."""
    said = f"ranks of {', '.join(lost)} are not uniform" if lost else "all ranks are uniform"
    said += f" (smallest p = {smallest:.2g}) in {count} simulated tables"
    share = f"a posterior standard deviation that is too small by {100 * ERROR:.0f} %"
    often = f"in {100 * POWER:.0f} of 100 cases"
    if lost:
        pass
    elif count >= needed:
        said += f"; {share} would be seen {often}"
    else:
        said += f", which are too few to resolve it: to see {share} {often} takes {needed}"
    without = [f"{number} {LEFT_OUT[why]}" for why, number in left_out.items() if number]
    return f"{said}; left out are {' and '.join(without)}" if without else said
