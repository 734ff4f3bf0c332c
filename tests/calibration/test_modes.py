"""Modes: that narrow ones are found, that their weights are right, and that what is said of the weights' error is."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import uqbench as uq
from uqbench.calibration.convergence import ESS, convergence, genealogical_ess
from uqbench.calibration.starts import ASCENTS, HIGHER, ascent_starts
from uqbench.calibration.tempered import tempered_chain
from uqbench.likelihoods import likelihood_of
from uqbench.results import attribute

COLUMNS = ["experiment", "output", "time", "value"]


def study_of(space, outcome, noise, value, name):
    model = uq.Model.from_function(space, outcome, {"y": ""}, {"y": noise}, name=name)
    return uq.Study(name, model, {"e": uq.Design()}, pd.DataFrame([["e", "y", 0.0, value]], columns=COLUMNS))


def two_roots():
    """Zero at 0 and, thirty times as steep, at 3; flat beyond, where no slope leads to either."""

    def outcome(theta, design, key):
        a = theta["a"]
        return {"y": jnp.where(a < 1.5, jnp.tanh(a), jnp.tanh(30 * (a - 3))) + 0 * design.times}

    return study_of(uq.Space(a=uq.epistemic(uq.Uniform(-4.0, 6.0))), outcome, uq.Normal("y", 0.1), 0.0, "two_roots")


def test_a_steep_root_that_few_draws_of_the_prior_lie_near_is_found_with_its_weight():
    tree = uq.calibrate(two_roots(), draws=500)
    tried = attribute(tree, "sample_stats", "attempts")
    assert [each["sampler"] for each in tried][:2] == ["nutpie", "smc"], tried
    # both tails are alike on either side, so that the weights are as the widths
    share = float((tree["posterior"]["a"] > 1.5).mean())
    assert share == pytest.approx(1 / 31, abs=5 * np.sqrt(1 / 31 / ESS))


def two_peaks(width):
    """One half each in (0, 0) and (8, 8), the second narrower: the mean of a count of none is minus the log density."""

    def outcome(theta, design, key):
        x = jnp.stack([theta["x"], theta["z"]])
        near = -0.5 * jnp.sum(x**2) + 2 * jnp.log(width)
        far = -0.5 * jnp.sum((x - 8) ** 2) / width**2
        return {"y": 1.0 - jnp.logaddexp(near, far) + 0 * design.times}

    wide = uq.epistemic(uq.Uniform(-20.0, 20.0))
    return study_of(uq.Space(x=wide, z=wide), outcome, uq.Poisson("y"), 0, "two_peaks")


def test_tempering_knows_how_well_it_knows_the_weights_of_modes():
    """The scatter of independent runs is the reference."""
    likelihood = likelihood_of(two_peaks(0.15))
    runs = [tempered_chain(likelihood, 500, seed) for seed in range(24)]
    near = np.stack([run["posterior"]["x"].values[0] < 4 for run in runs]).astype(float)
    ancestors = np.stack([run["sample_stats"]["ancestor"].values[0] for run in runs])
    by_scatter = near.var() / near.mean(axis=1).var(ddof=1) * len(runs)
    assert by_scatter < near.size / 2
    # the scatter of 24 runs is known to a third, and a few large families weigh most
    assert by_scatter / 3 < genealogical_ess(near, ancestors) < 3 * by_scatter
    assert near.mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(by_scatter))


def test_a_mode_that_few_particles_have_found_is_not_resolved():
    """Weights of a peak a tenth as wide scatter between runs by a fifth; autocorrelation of particles sees nothing."""
    study = two_peaks(0.1)
    likelihood, shares = likelihood_of(study), []
    for first in range(0, 16, 4):
        runs = [tempered_chain(likelihood, 500, seed) for seed in range(first, first + 4)]
        chains = xr.DataTree.from_dict(
            {
                name: xr.concat([run[name].to_dataset() for run in runs], "chain")
                for name in ("posterior", "sample_stats")
            }
        )
        assert not convergence(study, chains)["resolved"].any()
        shares.append(float((chains["posterior"]["x"] < 4).mean()))
    assert np.std(shares) > 0.05


def test_draws_of_few_families_are_not_resolved():
    """Each run descends from two particles, in two places: R-hat and autocorrelation have nothing against its draws."""
    rng = np.random.default_rng(0)
    ancestors = rng.integers(0, 2, (4, 1000))
    draws = xr.Dataset({"a": (("chain", "draw"), 3.0 * ancestors + 0.1 * rng.normal(size=ancestors.shape))})
    descent = xr.Dataset({"ancestor": (("chain", "draw"), ancestors)})
    unknown, known = (
        convergence(two_roots(), xr.DataTree.from_dict({"posterior": draws, "sample_stats": stats_of}))
        for stats_of in (xr.Dataset(), descent)
    )
    assert bool(unknown["resolved"].all()) and not known["resolved"].any()
    assert float(known["ess_bulk"].max()) < 50


@pytest.mark.parametrize("families, expected", [(4000, 4000), (50, 50)])
def test_independent_families_count_as_one_draw_each(families, expected):
    rng = np.random.default_rng(1)
    found = []
    for _ in range(200):
        ancestors = np.sort(rng.integers(0, families, (1, 4000))) if families < 4000 else np.arange(4000)[None]
        found.append(1 / genealogical_ess(rng.normal(size=families)[ancestors], ancestors))
    assert 1 / np.mean(found) == pytest.approx(expected, rel=0.2)


def test_what_families_have_forgotten_does_not_count_against_them():
    rng = np.random.default_rng(2)
    ancestors = rng.integers(0, 100, (4, 1000))
    worth = [genealogical_ess(rng.normal(size=ancestors.shape), ancestors) for _ in range(50)]
    assert 1 / np.mean(1 / np.array(worth)) == pytest.approx(4000, rel=0.1)


def test_ascents_begin_at_narrow_optima_too():
    """A peak that a twentieth of the prior lies on, on a plain that rises the other way."""
    found = 0
    for seed in range(20):
        draws = list(np.random.default_rng(seed).uniform(-4, 6, (128, 1)))
        starts = ascent_starts(lambda x: float(-x[0] + 50 * stats.norm.pdf(x[0], 3, 0.1)), draws)
        assert ASCENTS <= len(starts) <= ASCENTS + HIGHER
        found += any(abs(start[0] - 3) < 0.25 for start in starts[ASCENTS:])
    assert found >= 18
