"""Checks of a fit against what is known: uniform where the model fits, and the right sentence where it does not."""

import json

import arviz as az
import jax
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import special, stats

import uqbench as uq
from uqbench import results
from uqbench.calibration import calibrate
from uqbench.calibration.advice import advice
from uqbench.calibration.checks import checks, misfit
from uqbench.calibration.individuals import individuals
from uqbench.calibration.leave_one_out import leave_one_out
from uqbench.calibration.predictive import observed, pointwise, predictive, prior
from uqbench.likelihoods import likelihood_of

from .test_closed_forms import initial, line, rising, seen

SD, ROWS = 1.0, 60


def table(values, times=None):
    times = np.zeros(len(values)) if times is None else times
    return pd.DataFrame({"experiment": "one", "time": times, "value": values, "replicate": range(len(values))})


def level(values, noise=None, prior_of_a=None, times=None):
    """x = a, measured many times."""
    space = uq.Space(a=uq.epistemic(prior_of_a or uq.Normal(0.0, 10.0)), b=uq.fixed(0.0))
    return line(space, noise or uq.Normal("x", SD), table(values, times))


def groups_of(study, draws):
    """What `calibrate` makes, of draws that are given, as if they came from a sampler that has converged."""
    names, chains, count = [*draws], *next(iter(draws.values())).shape[:2]
    dims = {name: ("chain", "draw", *(["experiment"] if each.ndim > 2 else [])) for name, each in draws.items()}
    coords = {"chain": range(chains), "draw": range(count)}
    posterior = xr.Dataset({name: (dims[name], draws[name]) for name in names}, coords)
    likelihood = likelihood_of(study)
    columns = {"rhat": 1.0, "ess_bulk": 900.0, "ess_tail": 900.0, "resolved": True}
    known = list(study.model.space.epistemic)
    convergence = xr.Dataset({key: ("parameter", [each] * len(known)) for key, each in columns.items()})
    groups = {
        "prior": prior(study, jax.random.key(1)),
        "posterior": posterior.assign_attrs(divergences_sampling=0, failed_solves_sampling=0),
        "convergence": convergence.assign_coords(parameter=known).assign_attrs(largest_rhat=1.01, least_ess=400),
        "posterior_predictive": predictive(likelihood, posterior, jax.random.key(2)),
        "observed_data": observed(study),
    }
    if "terms" in likelihood.capabilities:
        groups["log_likelihood"] = pointwise(likelihood, posterior)
    return groups


def checked(study, **draws):
    groups = groups_of(study, draws)
    return groups | checks(likelihood_of(study), groups, 0)


def of_level(values, seed=0, **more):
    """Checks with exact draws of the posterior of a, under a flat prior."""
    values = np.asarray(values, float)
    rng = np.random.default_rng(seed)
    # a number of draws that the selection of them does not divide
    draws = rng.normal(values.mean(), SD / np.sqrt(len(values)), size=(4, 933))
    return checked(level(values, **more), a=draws)


def findings(made):
    return json.loads(made["checks"].attrs["findings"])


def test_pit_is_the_probability_without_the_value_itself():
    """Normal values with known noise: leave-one-out is a normal distribution."""
    values = np.random.default_rng(3).normal(2.0, SD, ROWS)
    made = of_level(values)
    others = (values.sum() - values) / (ROWS - 1)
    exact = stats.norm.cdf(values, others, SD * np.sqrt(1 + 1 / (ROWS - 1)))
    np.testing.assert_allclose(made["pit"]["x"], exact, atol=0.02)
    # with the value itself, the largest would be half a standard error nearer to the middle
    np.testing.assert_allclose(made["residuals"]["x"], special.ndtri(exact), atol=0.06)
    elpd = stats.norm.logpdf(values, others, SD * np.sqrt(1 + 1 / (ROWS - 1))).sum()
    assert made["checks"].attrs["elpd"] == pytest.approx(elpd, abs=0.1)
    assert made["checks"].attrs["effective_parameters"] == pytest.approx(np.var(values) / SD**2, abs=0.2)
    assert made["checks"]["p_value"].item() > 0.05 and made["checks"]["misfit"].item() == ""
    assert not findings(made) and made["checks"].attrs["summary"].startswith("Nothing wrong was found: ")


@pytest.mark.parametrize(
    "change, kind, said",
    [
        (lambda z: 2.0 * z, "narrow", "predictions are too narrow"),
        (lambda z: 0.3 * z, "wide", "predictions are too wide"),
    ],
)
def test_what_does_not_fit_is_said(change, kind, said):
    z = stats.norm.ppf((np.random.default_rng(0).permutation(ROWS * 2) + 0.5) / (ROWS * 2))
    made = of_level(2.0 + change(z))
    assert made["checks"]["misfit"].item() == kind and made["checks"]["p_value"].item() < 0.01
    assert any(said in each for each in findings(made))


def test_shifts_and_forms_are_told_apart():
    z = stats.norm.ppf((np.arange(200) + 0.5) / 200)
    found = [misfit(each) for each in (z + 0.5, z - 0.5, 1.5 * z, 0.6 * z, np.where(z > 0, 1.0, -1.0))]
    assert found == ["above", "below", "narrow", "wide", "form"]


@pytest.mark.slow
def test_counts_are_randomised_over_what_is_possible():
    rng = np.random.default_rng(4)
    values = rng.poisson(1.5, 200)
    study = level(values, uq.Poisson("x"), uq.Gamma(2.0, 1.0))
    made = checked(study, a=rng.gamma(2 + values.sum(), 1 / (1 + 200), size=(4, 1000)))
    assert made["checks"]["p_value"].item() > 0.05
    pit = made["pit"]["x"].values
    for value in range(3):
        # given the others, close to the distribution at their mean
        low, high = stats.poisson(values.mean()).cdf([value - 1, value])
        mine = pit[values == value]
        assert np.all((mine > low - 0.02) & (mine < high + 0.02)) and np.std(mine) > 0.2 * (high - low)


@pytest.mark.slow
def test_censored_values_are_somewhere_beyond_their_limit():
    rng = np.random.default_rng(5)
    values = rng.normal(0.0, SD, 200)
    texts = [f"<{-0.5}" if value < -0.5 else ">1" if value > 1 else str(value) for value in values]
    study = level(texts)
    made = checked(study, a=rng.normal(0.0, 0.08, size=(4, 1000)))
    pit = made["pit"]["x"].values
    assert np.all(pit[values < -0.5] < stats.norm.cdf(-0.5) + 0.05)
    assert np.all(pit[values > 1] > stats.norm.cdf(1) - 0.05)
    assert made["checks"]["p_value"].item() > 0.05
    # at their limits, as numbers, they would look wrong
    wrong = checked(level(np.clip(values, -0.5, 1)), a=rng.normal(0.0, 0.08, size=(4, 1000)))
    assert wrong["checks"]["p_value"].item() < 0.01


def test_a_misfit_at_some_times_is_seen():
    z = stats.norm.ppf((np.random.default_rng(6).permutation(80) + 0.5) / 80)
    times = np.repeat([0.0, 1.0, 2.0, 3.0], 20)
    values = z + np.where(times == 3.0, 1.2, -0.4)
    made = of_level(values, times=times)
    by_time = made["checks"]["p_value_by_time"].sel(output="x")
    assert by_time.values[-1] < 0.01 < by_time.values[1]
    assert made["checks"]["time_from"].values[0, -1] == 3.0
    assert any("does not fit" in each for each in findings(made))


def test_prior_and_likelihood_sensitivity_and_contraction():
    """A prior at 0 +- 1 against data at 6 +- .5: both move the posterior."""
    rng = np.random.default_rng(7)
    values = 6.0 + stats.norm.ppf((np.arange(4) + 0.5) / 4)
    variance = 1 / (1 + 4)
    draws = rng.normal(variance * values.sum(), np.sqrt(variance), size=(4, 1000))
    made = checked(level(values, prior_of_a=uq.Normal(0.0, 1.0)), a=draws)
    one = made["checks"].sel(parameter="a")
    assert one["prior_sensitivity"] > 0.05 and one["likelihood_sensitivity"] > 0.05
    assert float(one["contraction"]) == pytest.approx(0.8, abs=0.05)
    assert any("contradict each other in a" in each for each in findings(made))
    np.testing.assert_allclose(made["log_prior"]["a"], stats.norm.logpdf(draws), rtol=1e-10)
    # flat prior, same data: none
    free = of_level(values)["checks"].sel(parameter="a")
    assert free["prior_sensitivity"] < 0.05


def test_a_parameter_that_no_data_move_is_said_to_be_its_prior():
    rng = np.random.default_rng(8)
    values = rng.normal(2.0, SD, 20)
    space = uq.Space(a=uq.epistemic(uq.Normal(0.0, 10.0)), b=uq.epistemic(uq.Normal(0.0, 1.0)))
    study = line(space, uq.Normal("x", SD), table(values))
    made = checked(study, a=rng.normal(values.mean(), SD / np.sqrt(20), (4, 1000)), b=rng.normal(size=(4, 1000)))
    assert any("posterior of b (contraction" in each and "is that of its prior" in each for each in findings(made))


@pytest.mark.slow
def test_only_what_is_assumed_is_a_prior():
    """The distribution of the levels is part of the model: that it pulls them is no contradiction."""
    rng = np.random.default_rng(9)
    values = 1.0 + SD * rng.normal(size=20)
    space = uq.Space(
        width=uq.epistemic(uq.LogNormal(median=1.0, sigma=1e-3)),
        a=uq.epistemic(uq.Normal(0.0, "width")),
        b=uq.epistemic(uq.Normal(0.0, 1.0)),
    )
    study = line(space, uq.Normal("x", SD), table(values))
    width = np.exp(1e-3 * rng.normal(size=(4, 1000)))
    # shrunk to far from what the data say
    draws = rng.normal(3.0, 0.5, (4, 1000))
    made = checked(study, width=width, a=draws, b=rng.normal(size=(4, 1000)))
    assert made["checks"]["prior_sensitivity"].sel(parameter="a") < 0.05
    free = checked(line(uq.Space(a=uq.epistemic(uq.Normal(0.0, 1.0)), b=space["b"]), uq.Normal("x", SD), table(values)),
                   a=draws, b=rng.normal(size=(4, 1000)))  # fmt: skip
    assert free["checks"]["prior_sensitivity"].sel(parameter="a") > 0.05


def test_a_narrow_posterior_is_not_said_to_be_that_of_its_prior():
    study, rng = level(np.full(4, 6.0), prior_of_a=uq.Normal(0.0, 1.0)), np.random.default_rng(10)
    groups = dict(checked(study, a=rng.normal(4.8, 0.45, (4, 1000))))
    by_parameter = {"prior_sensitivity": 0.3, "likelihood_sensitivity": 0.01, "contraction": 0.9}
    groups["checks"] = groups["checks"].assign({name: ("parameter", [each]) for name, each in by_parameter.items()})
    found = advice(study, groups).findings
    assert any("narrower than its prior" in each for each in found)
    assert not any("is that of its prior" in each for each in found)


def test_the_prior_predictive_is_that_of_the_prior():
    made = of_level(np.random.default_rng(9).normal(2.0, SD, 20), prior_of_a=uq.Normal(1.0, 3.0))
    drawn = made["prior_predictive"]["x"].values.ravel()
    # 400 draws of a
    assert drawn.mean() == pytest.approx(1.0, abs=4 * 3 / 20)
    assert drawn.std() == pytest.approx(np.hypot(3.0, SD), rel=4 / np.sqrt(800))
    assert made["prior_predictive"].attrs["failed"] == 0


UNITS, BETWEEN = 40, 0.8


def of_units(noise, seed=0):
    """Draws of the exact posterior of units whose own data have this error, the population being known."""
    rng = np.random.default_rng(seed)
    truth = 2.0 + BETWEEN * stats.norm.ppf((rng.permutation(UNITS) + 0.5) / UNITS)
    values = truth + noise * rng.normal(size=UNITS)
    weight = BETWEEN**2 / (BETWEEN**2 + noise**2)
    mean, sd = 2.0 + weight * (values - 2.0), BETWEEN * np.sqrt(1 - weight)
    data = pd.DataFrame({"experiment": [f"u{k}" for k in range(UNITS)], "time": 0.0, "value": values})
    space = uq.Space(m=uq.epistemic(uq.Normal(2.0, 1e-3)), a=uq.aleatory(uq.Normal("m", BETWEEN)), b=uq.fixed(0.0))
    study = line(space, uq.Normal("x", noise), data)
    draws = {
        "m": rng.normal(2.0, 1e-3, (4, 400)),
        "a": rng.normal(mean, sd, (4, 400, UNITS)),
    }
    return study, draws, (mean, sd, 1 - weight, values)


@pytest.mark.parametrize("noise", [0.2, 1.6])
def test_shrinkage_is_what_data_leave_to_the_population(noise):
    study, draws, (mean, sd, lost, _) = of_units(noise)
    found = individuals(study, groups_of(study, draws)["posterior"]).sel(parameter="a")
    np.testing.assert_allclose(found["mean"], mean, atol=4 * sd / 40)
    np.testing.assert_allclose(found["sd"], sd, rtol=0.1)
    # 1 - weight^2 (variance of the values) / variance of the population, whose mean over tables is 1 - weight
    error = float(found["shrinkage_standard_error"])
    assert abs(float(found["shrinkage"]) - lost) < 3 * error and error < 0.3
    assert bool(found["high"]) == (noise > 1)


def test_high_shrinkage_is_a_plain_sentence():
    study, draws, _ = of_units(1.6)
    made = checked(study, **draws)
    assert any("shrinkage of a (" in each and "is high" in each for each in findings(made))


def test_shrinkage_is_measured_from_what_covariates_explain():
    """The deviation, not the value: units that differ by a covariate alone are shrunk altogether."""
    rng = np.random.default_rng(2)
    weight = np.linspace(40, 100, UNITS)
    data = pd.DataFrame({"experiment": [f"u{k}" for k in range(UNITS)], "time": 0.0, "value": 1.0, "weight": weight})
    space = uq.Space(
        weight=uq.covariate(70.0),
        m=uq.epistemic(uq.Normal(0.0, 1.0)),
        a=uq.aleatory(uq.Normal("m + weight/10", BETWEEN)),
        b=uq.fixed(0.0),
    )
    study = line(space, uq.Normal("x", 9.0), data)
    draws = {"m": np.zeros((4, 200)), "a": weight / 10 + BETWEEN * rng.normal(size=(4, 200, UNITS))}
    found = individuals(study, groups_of(study, draws)["posterior"])
    assert float(found["shrinkage"].sel(parameter="a")) > 0.95


def test_percentiles_of_a_population_against_simulated_ones():
    study, draws, (*_, values) = of_units(0.2)
    found = checked(study, **draws)["visual_check"].isel(part=0, output=0)
    np.testing.assert_allclose(found["observed"], np.quantile(values, found["percentile"]))
    exact = stats.norm(2.0, np.hypot(BETWEEN, 0.2)).ppf(found["percentile"].values)
    middle = found["simulated"].sel(interval=0.5).values
    np.testing.assert_allclose(middle, exact, atol=0.1)
    assert np.all(found["simulated"].sel(interval=0.05) < middle) and np.all(
        middle < found["simulated"].sel(interval=0.95)
    )


def test_what_a_sampler_has_not_done_comes_first():
    groups = groups_of(
        level(np.random.default_rng(1).normal(size=20)), {"a": np.random.default_rng(1).normal(0, 0.22, (1, 900))}
    )
    groups["convergence"]["resolved"][:] = False
    groups["convergence"]["rhat"][:] = 1.2
    groups["convergence"]["mode"] = ("chain", [0, 1])
    groups["posterior"].attrs |= {"divergences_sampling": 40, "failed_solves_sampling": 30}
    study = level(np.random.default_rng(1).normal(size=20))
    made = checks(likelihood_of(study), groups, 0)
    said = findings(made)
    assert "not resolved: R-hat up to 1.2" in said[0] and "--draws 3600" in said[0]
    assert said[1].startswith("Chains stay in 2 different modes") and "--sampler smc" in said[1]
    assert said[2].startswith("10 of 900 transitions diverged") and "--target-accept 0.95" in said[2]
    assert said[3].startswith("30 of 900 transitions ended where a solve fails")
    assert "one chain only" in said[4]
    assert made["checks"].attrs["summary"].startswith(f"{len(said)} findings")


@pytest.mark.parametrize(
    "draws", [np.full((2, 200), 0.3), np.full((1, 5), 0.3) + np.arange(5) / 10], ids=["same", "few"]
)
def test_draws_that_say_nothing_leave_a_calibration_whole(draws):
    """A sampler that has not moved, or hardly begun: findings, no errors."""
    values = np.random.default_rng(1).normal(size=20)
    made = checked(level(values), a=draws)
    assert np.isfinite(made["pit"]["x"]).all() and made["checks"].attrs["summary"]
    assert (
        results.GROUPS["checks"].findings(
            made["checks"].assign_attrs(verb="calibrate", settings="{}", seed=0, seconds=0.0), "calibrate"
        )
        == []
    )


def test_calibrate_makes_them_in_the_schema_and_arviz_reads_them(decay_study):
    tree = calibrate(decay_study, draws=150, tune=150, chains=2)
    for name in ("log_prior", "prior_predictive", "pit", "residuals", "checks"):
        dataset = tree[name].to_dataset()
        assert results.GROUPS[name].findings(dataset, "calibrate") == []
    assert "units" not in tree.children
    assert set(az.psense_summary(tree, var_names=["k"]).index) == {"k"}
    again = calibrate(decay_study, draws=150, tune=150, chains=2)
    xr.testing.assert_identical(tree["pit"].to_dataset().drop_attrs(), again["pit"].to_dataset().drop_attrs())


def test_flat_priors_and_terms_that_no_parameter_moves():
    """A value at the start, which is known, and a uniform prior: their densities are the same at all draws."""
    rng = np.random.default_rng(2)
    values = rng.normal(1.0, SD, 30)
    space = uq.Space(a=uq.fixed(1.0), b=uq.epistemic(uq.Uniform(-5.0, 5.0)))
    study = line(space, uq.Normal("x", SD), table(values, np.repeat([0.0, 1.0, 2.0], 10)))
    made = checked(study, b=rng.normal(0.0, SD / np.sqrt(10 * 5), (4, 500)))
    density = stats.norm(1.0, SD).logpdf(values[:10]).sum()
    found = leave_one_out(made["posterior"], made["log_likelihood"])["x"]
    assert found.elpd[:10].sum() == pytest.approx(density) and np.all(found.pareto_k[:10] == -np.inf)
    np.testing.assert_allclose(made["pit"]["x"][:10], stats.norm.cdf(values[:10] - 1.0))
    one = made["checks"].sel(parameter="b")
    assert one["prior_sensitivity"] == 0.0 and one["likelihood_sensitivity"] > 0.05


def test_what_is_possible_without_a_datum_may_be_at_no_draw():
    """Values up to an unknown one: without the largest it may be smaller, which no draw given all of them is."""
    values = np.array([0.4, 1.1, 1.9, 2.7, 3.0])
    most = 5.0
    # the density a^-5 between the largest value and the bound of the prior, by its quantiles
    u = np.random.default_rng(5).uniform(size=(4, 500))
    draws = (3.0**-4 - u * (3.0**-4 - most**-4)) ** -0.25
    known = level(values, uq.Uniform(0.0, "x"), uq.Uniform(0.0, most))
    made = checked(known, a=draws)
    found = leave_one_out(made["posterior"], made["log_likelihood"])["x"]
    # of the largest: four values below 2.7 and one more
    exact = np.log((3.0**-4 - most**-4) / 4) - np.log((2.7**-3 - most**-3) / 3)
    assert found.elpd[-1] > exact + 0.2
    assert np.all(np.isposinf(found.pareto_k)) and made["checks"].attrs["doubtful"] == len(values)
    assert any("end where parameters say" in each for each in findings(made))


@pytest.mark.parametrize(
    "noise", [uq.Binomial("trials", "x/(1 + x)"), uq.TruncatedNormal("x", 1.0, lower="b - 9", upper="b + trials")]
)
def test_ends_that_are_known_leave_terms_to_be_left_out(noise):
    """A number of trials in the table, and bounds made of numbers that are fixed."""
    data = table([3.0, 5.0, 4.0]).assign(trials=9.0, output="x")
    space = uq.Space(a=uq.epistemic(uq.LogNormal(median=1.0, sigma=1.0)), b=uq.fixed(0.0))
    model = uq.Model(space, uq.Ode(initial, rising), seen, {"x": ""}, {"x": noise}, columns={"trials": ""})
    study = uq.Study("line", model, {"one": uq.Design()}, data)
    assert likelihood_of(study).moving_ends == ()
