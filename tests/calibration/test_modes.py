"""Modes: that narrow ones are found, that their weights are right, and that what is said of the weights' error is."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import uqbench as uq
from studies import two_scale_cascade
from uqbench.calibration.attempts import quality
from uqbench.calibration.convergence import ESS, convergence, genealogical_ess
from uqbench.calibration.optima import HIGHER, ISOLATED, bound_of_evidence, climbed, missed, tops, weighed
from uqbench.calibration.predictive import numbers_computed
from uqbench.calibration.prepared import prepared
from uqbench.calibration.reference import reference_of, standard_normal
from uqbench.calibration.tempered import evidence, parameters_at, tempered_chain
from uqbench.errors import ModesWarning
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


@pytest.mark.slow
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


@pytest.mark.slow
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
        draws = np.random.default_rng(seed).uniform(-4, 6, (128, 1))
        highest = tops(draws, -draws[:, 0] + 50 * stats.norm.pdf(draws[:, 0], 3, 0.1))
        assert 1 <= len(highest) <= HIGHER + ISOLATED
        found += any(abs(draws[each, 0] - 3) < 0.25 for each in highest)
    assert found >= 18


def test_a_point_that_alone_has_met_a_narrow_peak_is_an_ascent_however_low_it_is():
    """Of four coordinates, on the steep slope of a peak that all of the highest points belong to."""
    points = np.random.default_rng(0).uniform(-6, 6, (4000, 4))
    points[1234] = [5.2, 5.0, -5.1, 4.9]
    heights = -0.5 * np.sum(points**2, axis=1)
    heights[1234] += 20.0
    assert np.sum(heights > heights[1234]) > 1500
    assert 1234 in tops(points, heights)


# optima, their weights, and draws that miss them

MEANS, ROOTS = np.array([[0.0, 0.0], [6.0, -2.0]]), np.array([[[1.0, 0.0], [0.9, 0.3]], [[0.05, 0.0], [0.02, 0.01]]])


def slope_of(weights):
    """Log density, and its gradient, of a mixture of two normal ones whose integrals are the weights."""
    log_weights = [
        np.log(weight) - np.log(2 * np.pi) - np.linalg.slogdet(root)[1]
        for weight, root in zip(weights, ROOTS, strict=True)
    ]
    precisions = [np.linalg.inv(root @ root.T) for root in ROOTS]

    def slope(point):
        away = [point - mean for mean in MEANS]
        each = [log - 0.5 * d @ p @ d for log, d, p in zip(log_weights, away, precisions, strict=True)]
        value = np.logaddexp(*each)
        parts = [np.exp(height - value) * (-p @ d) for height, d, p in zip(each, away, precisions, strict=True)]
        return float(value), parts[0] + parts[1]

    return slope


def mixture_draws(weights, count=4000):
    rng = np.random.default_rng(0)
    which = rng.choice(2, size=count, p=np.array(weights) / np.sum(weights))
    return MEANS[which] + np.einsum("nij,nj->ni", ROOTS[which], rng.normal(size=(count, 2)))


def optima_of_mixture(weights):
    slope = slope_of(weights)
    found = climbed(slope, [np.array([1.0, 2.0]), np.array([6.1, -2.1]), np.array([-1.0, 0.5])])
    return slope, weighed(slope, found, np.array([5.0, 5.0]))


def test_the_weight_of_an_optimum_is_that_of_its_normal_density():
    _, optima = optima_of_mixture([0.7, 0.3])
    assert len(optima) == 2
    np.testing.assert_allclose([each.log_mass for each in optima], np.log([0.7, 0.3]), atol=0.02)
    np.testing.assert_allclose(np.stack([each.point for each in optima]), MEANS, atol=1e-3)
    for each, root in zip(optima, ROOTS, strict=True):
        np.testing.assert_allclose(each.root @ each.root.T, root @ root.T, rtol=0.05)


def test_an_optimum_to_which_nothing_belongs_is_worth_no_chain():
    _, optima = optima_of_mixture([1.0, 1e-4])
    assert len(optima) == 1


@pytest.mark.parametrize(
    "weight, seen, expected",
    [(0.3, 0.0, True), (0.03, 0.0, True), (0.3, 0.02, True), (0.3, 0.3, False), (0.004, 0.0, False)],
)
def test_an_optimum_that_draws_have_missed_is_named_with_its_share(weight, seen, expected):
    slope, optima = optima_of_mixture([1 - weight, weight])
    draws = mixture_draws([1 - seen, seen])
    log_density = np.array([slope(each)[0] for each in draws])
    found = missed(
        lambda points: [slope(each)[0] for each in points],
        optima,
        draws,
        bound_of_evidence(draws, log_density, optima),
        0,
    )
    assert bool(found) == expected
    for each in found:
        np.testing.assert_allclose(each.optimum.point, MEANS[1], atol=1e-3)
        # the bound counts what is seen for more than it is, the ellipsoid is not the whole mode
        assert weight / 10 < each.share < 1.1 * weight


def test_the_bound_of_the_evidence_is_that_of_normal_draws_and_above_that_of_others():
    slope, optima = optima_of_mixture([0.7, 0.3])
    draws = mixture_draws([0.7, 0.3])
    heights = np.array([slope(each)[0] for each in draws])
    assert bound_of_evidence(draws, heights + 3.0, optima) == pytest.approx(3.0, abs=0.1)
    # of a part of the draws it is that of the part
    one = draws[np.abs(draws[:, 0]) < 4]
    heights = np.array([slope(each)[0] for each in one])
    assert bound_of_evidence(one, heights, optima) == pytest.approx(np.log(0.7), abs=0.1)
    # the entropy of a uniform density is lower than that of a normal one of the same variance by log(2 pi e / 12) / 2
    uniform = np.random.default_rng(0).uniform(size=(4000, 2))
    found = bound_of_evidence(uniform, np.zeros(4000), [optima[0]])
    assert found == pytest.approx(np.log(2 * np.pi * np.e / 12), abs=0.1)


def test_a_chain_that_has_missed_a_mode_is_not_resolved_and_says_which():
    with pytest.warns(ModesWarning, match=r"'two_peaks': The draws have missed a mode of the posterior: that at x = "):
        tree = uq.calibrate(two_peaks(0.1), draws=400, chains=1, sampler="nutpie")
    found = tree["convergence"]
    assert not found["resolved"].any()
    one = float(tree["posterior"]["x"].mean()) < 4
    np.testing.assert_allclose(found["missed_value"][0], [8.0, 8.0] if one else [0.0, 0.0], atol=0.1)
    assert 0.2 < float(found["missed_share"][0]) < 0.6
    assert "have missed a mode" in attribute(tree, "checks", "findings")[0]


def test_tempering_that_has_lost_a_mode_is_not_resolved():
    """Its draws are those of one peak, and its evidence is the half of what there is."""
    study = two_peaks(0.1)
    likelihood = likelihood_of(study)
    ready = prepared(likelihood, [], 0, 4096, True)
    rng = np.random.default_rng(0)
    log_half = np.log(2 * np.pi) - 1.0 + 2 * np.log(0.1) - 2 * np.log(40.0)

    def tempered(far):
        centre = np.where(rng.uniform(size=(2, 500)) < far, 8.0, 0.0)
        width = np.where(centre > 4, 0.1, 1.0)
        posterior = {name: (("chain", "draw"), centre + width * rng.normal(size=(2, 500))) for name in ("x", "z")}
        of_run = {"logp": (("chain", "draw"), np.zeros((2, 500))), "log_evidence": ("chain", np.full(2, log_half))}
        return xr.DataTree.from_dict({"posterior": xr.Dataset(posterior), "sample_stats": xr.Dataset(of_run)})

    (lost,) = ready.missed(likelihood, tempered(0.0), 0)
    assert ready.values_at(likelihood, lost.optimum) == pytest.approx({"x": 8.0, "z": 8.0}, abs=0.01)
    # half of all, of which 95 % are in the ellipsoid
    assert lost.share == pytest.approx(0.49, abs=0.03)
    assert not ready.missed(likelihood, tempered(0.5), 0)


# tempering from modes that are known


@pytest.mark.slow
def test_a_mixture_is_a_density_and_its_coordinates_are_those_of_tempering():
    rng = np.random.default_rng(0)
    reference = reference_of([rng.normal(1.0, 0.3, (500, 2)), rng.normal(-0.5, 0.1, (500, 2))])
    ratio = np.exp(np.asarray(reference.log_ratio(rng.normal(size=(200_000, 2)))))
    assert ratio.mean() == pytest.approx(1.0, abs=5 * ratio.std() / np.sqrt(len(ratio)))
    # of its own draws the inverse averages to one as well
    inverse = np.exp(-np.asarray(reference.log_ratio(reference.sample(200_000, rng))))
    assert inverse.mean() == pytest.approx(1.0, abs=5 * inverse.std() / np.sqrt(len(inverse)))
    likelihood, z = likelihood_of(two_peaks(0.1)), rng.uniform(-6, 6, (50, 2))
    theta = {name: np.asarray(value) for name, value in parameters_at(likelihood, z).items()}
    np.testing.assert_allclose(standard_normal(likelihood, theta), z, rtol=1e-5)


def test_tempering_from_known_modes_knows_their_weights():
    """Of a peak a hundredth as wide, which hardly a particle from the prior is near."""
    likelihood, rng = likelihood_of(two_peaks(0.01)), np.random.default_rng(0)
    peaks = [
        {name: mean + width * rng.normal(size=300) for name in ("x", "z")} for mean, width in ((0.0, 1.0), (8.0, 0.01))
    ]
    reference = reference_of([standard_normal(likelihood, each) for each in peaks])
    runs = [tempered_chain(likelihood, 500, seed, reference=reference) for seed in range(4)]
    shares = np.array([float((run["posterior"]["x"] < 4).mean()) for run in runs])
    assert np.all(np.abs(shares - 0.5) < 0.15)
    exact = np.log(2 * 2 * np.pi) - 1.0 + 2 * np.log(0.01) - 2 * np.log(40.0)
    found, error = evidence(xr.concat([run["sample_stats"].to_dataset() for run in runs], "chain"))
    assert abs(found - exact) < 6 * error and error < 0.15
    # the density of the data, without that of the mixture
    draw = runs[0]["posterior"].isel(chain=0, draw=7)
    theta = {name: float(draw[name]) for name in ("x", "z")}
    assert float(runs[0]["sample_stats"]["logp"][0, 7]) == pytest.approx(float(likelihood.log_density(theta)), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_mode_a_hundredth_as_wide_is_found_with_its_weight(seed):
    """Its basin is a part 3e-5 of the prior; the function is cheap, and many draws of the prior are looked at."""
    tree = uq.calibrate(two_peaks(0.01), seed=seed)
    assert bool(tree["convergence"]["resolved"].all())
    worth = float(tree["convergence"]["ess_bulk"].min())
    assert float((tree["posterior"]["x"] < 4).mean()) == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(worth))


def test_what_a_density_costs_is_known_of_functions_and_not_of_solves():
    assert 10 < numbers_computed(likelihood_of(two_peaks(0.1))) < 1000
    assert numbers_computed(likelihood_of(two_scale_cascade.study)) == 0


# which attempt is kept


def chains_and_found(ess, rhat=1.0, diverging=0.0, modes=(0, 0), lost=(), accepted=0.9):
    found = xr.Dataset(
        {
            "tail_acceptance": ("parameter", [accepted, 0.9]),
            **{name: ("parameter", [ess, 2 * ess]) for name in ("ess_bulk", "ess_tail")},
            "rhat": ("parameter", [1.0, rhat]),
            "mode": ("chain", list(modes)),
        }
    )
    found = found.assign(missed_share=("missed", list(lost))) if lost else found
    diverged = xr.Dataset({"diverging": (("chain", "draw"), np.arange(2000).reshape(2, 1000) < 2000 * diverging)})
    return xr.DataTree.from_dict({"sample_stats": diverged}), found


@pytest.mark.parametrize(
    "better, worse",
    [
        ({"ess": 380}, {"ess": 150}),
        ({"ess": 150}, {"ess": 380, "rhat": 1.02}),
        ({"ess": 150}, {"ess": 380, "diverging": 0.02}),
        ({"ess": 150, "diverging": 0.02}, {"ess": 380, "rhat": 1.02}),
        ({"ess": 150, "rhat": 1.02}, {"ess": 380, "modes": (0, 1)}),
        ({"ess": 150, "rhat": 1.02}, {"ess": 380, "lost": (0.1,)}),
        ({"ess": 380, "diverging": 0.001}, {"ess": 150}),
        ({"ess": 150}, {"ess": 380, "accepted": 0.3}),
        ({"ess": 150, "rhat": 1.02}, {"ess": 380, "rhat": 1.02, "accepted": 0.3}),
    ],
)
def test_valid_draws_are_kept_before_many(better, worse):
    assert quality(*chains_and_found(**better)) > quality(*chains_and_found(**worse))
