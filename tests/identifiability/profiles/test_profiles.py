"""Profiles against closed forms, and what they say where there is no interval."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import uqbench as uq
from uqbench.identifiability.profiles import profile_likelihood
from uqbench.optimization import find_map
from uqbench.optimization.objective import Objective

from ...optimization import models


def one(found, parameter):
    """Both verdicts and both ends of a parameter."""
    row = found.sel(parameter=parameter)
    return str(row.verdict_lower.values), str(row.verdict_upper.values), float(row.lower), float(row.upper)


def test_a_line_with_known_noise_has_normal_intervals():
    (a, b), covariance, _ = models.least_squares()
    found = profile_likelihood(models.line_study(), {"a": 0.0, "b": 0.0})
    for name, estimate, variance in (("a", a, covariance[0, 0]), ("b", b, covariance[1, 1])):
        half = stats.norm.ppf(0.975) * 0.2 * np.sqrt(variance)
        verdict_lower, verdict_upper, lower, upper = one(found, name)
        assert verdict_lower == verdict_upper == "bounded"
        np.testing.assert_allclose([lower, upper], [estimate - half, estimate + half], atol=1e-3 * half)
        np.testing.assert_allclose(found.value.sel(parameter=name), estimate, atol=1e-2 * half)
    assert found.attrs["better"] > 0 and found.attrs["stopped"] == ""
    # along the profile of b the best a follows a straight line
    slope = covariance[0, 1] / covariance[1, 1]
    assert str(found.relation.sel(parameter="b").values) == f"a = {slope:.3g} b + constant"


def test_a_line_with_unknown_noise_has_those_of_student():
    """The profile is n log(1 + t^2 / (n - p)) / 2, so the end is where t^2 = (n - p) (exp(chi2 / n) - 1)."""
    (a, b), covariance, rss = models.least_squares()
    n, p = len(models.TIMES), 2
    t = np.sqrt((n - p) * np.expm1(stats.chi2.ppf(0.95, 1) / n))
    found = profile_likelihood(models.line_study(known_sd=False), {"a": 0.0, "b": 0.0, "sigma": 1.0})
    for name, estimate, variance in (("a", a, covariance[0, 0]), ("b", b, covariance[1, 1])):
        half = t * np.sqrt(rss / (n - p) * variance)
        np.testing.assert_allclose(one(found, name)[2:], [estimate - half, estimate + half], atol=1e-3 * half)
    # of sigma: n log(sigma / s) + n (s^2 / sigma^2 - 1) / 2 is half of the quantile
    s = np.sqrt(rss / n)
    for end in one(found, "sigma")[2:]:
        fallen = n * np.log(end / s) + n * (s**2 / end**2 - 1) / 2
        assert fallen == pytest.approx(stats.chi2.ppf(0.95, 1) / 2, rel=1e-3)


def test_exponential_decay_against_the_likelihood_itself(decay_study):
    """The noise's sd has its best value in closed form, so that the profile of k is a function of one variable."""
    found = profile_likelihood(decay_study, {"k": 0.4})
    data = decay_study.data
    dose, n = data["experiment"].map({"low": 2.0, "high": 4.0}), len(data)

    def profile(k):
        return -n / 2 * np.log(np.mean((data["value"] - dose * np.exp(-k * data["time"])) ** 2))

    best = float(found.value.sel(parameter="k"))
    assert profile(best) >= max(profile(best * 0.99), profile(best * 1.01))
    for end in one(found, "k")[2:]:
        assert profile(best) - profile(end) == pytest.approx(found.attrs["threshold"], rel=2e-3)
    # finer solves move an end by far less than what an interval is read to
    assert float(found.certificate.sel(parameter="k")) < 0.005


def test_paths_go_outwards_and_fall_to_the_threshold():
    found = profile_likelihood(models.exponentials_study(), {"A": 3.0, "k": 2.0, "B": 1.0, "q": 0.3})
    assert set(np.ravel([found.verdict_lower, found.verdict_upper])) == {"bounded"}
    for name in found.parameter.values:
        for side, direction in (("lower", -1), ("upper", 1)):
            path = found.sel(parameter=name, side=side)
            values = path.path_value.dropna("point").values
            assert np.all(direction * np.diff(values) > 0)
            np.testing.assert_array_equal(path.path.sel(other=name).dropna("point"), values)
            fallen = found.attrs["log_density"] - path.path_log_density.dropna("point").values
            assert np.all(np.diff(fallen) > -1e-3)
            assert fallen[-1] == pytest.approx(found.attrs["threshold"], abs=0.02)
            assert values[-1] == pytest.approx(float(found[f"reached_{side}"].sel(parameter=name)))
    assert float(found.certificate.max()) < 0.005


def test_levels_are_nested():
    study = models.exponentials_study()
    theta = {"A": 3.0, "k": 2.0, "B": 1.0, "q": 0.3}
    half, most = (profile_likelihood(study, theta, ["A", "q"], level=level) for level in (0.5, 0.95))
    assert np.all(most.lower < half.lower) and np.all(half.lower < half.value)
    assert np.all(half.value < half.upper) and np.all(half.upper < most.upper)


def inverse(theta, design, key):
    return {"y": theta["A"] * np.e ** (-design.times / theta["tau"])}


def direct(theta, design, key):
    return {"y": theta["A"] * np.e ** (-design.times * theta["k"])}


@pytest.mark.slow
def test_a_profile_does_not_depend_on_how_a_model_is_written():
    """The interval of k = 1 / tau is that of tau, turned over."""
    times = np.linspace(0.2, 4.0, 8)
    data = models.table(times, 2 * np.exp(-0.6 * times) + 0.1 * np.random.default_rng(5).normal(size=8))
    prior, noise = uq.epistemic(uq.LogNormal(0.0, 1.0)), {"y": uq.Normal("y", 0.1)}
    found = {
        name: profile_likelihood(models.study_of(function, {"A": prior, name: prior}, data, noise, name), {}, [name])
        for name, function in (("k", direct), ("tau", inverse))
    }
    k, tau = one(found["k"], "k"), one(found["tau"], "tau")
    np.testing.assert_allclose([k[2], k[3]], [1 / tau[3], 1 / tau[2]], rtol=2e-4)


@pytest.mark.parametrize(
    "prior", [uq.Uniform(0.0, 2.0), pytest.param(uq.LogUniform(0.01, 2.0), marks=pytest.mark.slow)]
)
def test_an_optimum_on_a_bound_is_open_there(prior):
    """Measurements of mean 2.5 under a bound of 2: above is the bound, below the density falls as it should."""
    study = models.level_study(prior, [2.4, 2.6, 2.5], name=f"bounded {type(prior).__name__}")
    fit = find_map(study, starts=4, prior=False)
    assert fit.at_bound.values.tolist() == ["upper"] and fit.attrs["verdict"] == "converged"
    assert float(fit.value.item()) == pytest.approx(2.0)
    verdict_lower, verdict_upper, lower, upper = one(profile_likelihood(study, fit), "m")
    assert (verdict_lower, verdict_upper) == ("bounded", "open at the bound")
    # n (2.5 - m)^2 / (2 sd^2) is the threshold more than at 2
    expected = 2.5 - np.sqrt(0.25 + stats.chi2.ppf(0.95, 1) * 0.25 / 3)
    assert lower == pytest.approx(expected, rel=1e-3) and np.isnan(upper)


@pytest.mark.parametrize(
    "prior",
    [
        uq.LogNormal(0.0, 1.0),
        *(pytest.param(each, marks=pytest.mark.slow) for each in (uq.LogUniform(1e-3, 1e3), uq.Normal(1.0, 2.0))),
        uq.Uniform(0.0, 9.0),
    ],
)
def test_a_parameter_without_data_is_flat(prior):
    found = profile_likelihood(models.beside_study(prior), {"m": 1.0})
    idle = found.sel(parameter="idle")
    assert one(found, "idle")[:2] == ("flat", "flat")
    assert np.isnan(idle.lower) and np.isnan(idle.upper) and np.isnan(idle.certificate)
    assert float(idle.reached_lower) < float(idle.value) < float(idle.reached_upper)
    # the other one is none the worse for it
    half = stats.norm.ppf(0.975) * 0.5 / np.sqrt(3)
    np.testing.assert_allclose(one(found, "m")[2:], [1 - half, 1 + half], atol=1e-3)
    assert str(idle.relation.values) == ""


def test_a_small_parameter_is_not_at_its_bound():
    """The same interval whatever the unit: a parameter of 1e-12 is no zero."""
    study = models.level_study(uq.Uniform(0.0, 4e-12), [1.0e-12, 1.2e-12, 0.8e-12], sd=0.5e-12, name="small")
    verdict_lower, verdict_upper, lower, upper = one(profile_likelihood(study, {"m": 1.5e-12}), "m")
    half = stats.norm.ppf(0.975) * 0.5e-12 / np.sqrt(3)
    assert (verdict_lower, verdict_upper) == ("bounded", "bounded")
    np.testing.assert_allclose([lower, upper], [1e-12 - half, 1e-12 + half], rtol=1e-3)


def test_a_fit_far_out_in_its_prior_is_followed_outwards():
    study = models.level_study(uq.Normal(0.0, 1.0), [-39.0, -41.0], sd=1.0, name="far out")
    verdict_lower, verdict_upper, lower, upper = one(profile_likelihood(study, {"m": -30.0}), "m")
    half = stats.norm.ppf(0.975) / np.sqrt(2)
    assert (verdict_lower, verdict_upper) == ("bounded", "bounded")
    np.testing.assert_allclose([lower, upper], [-40 - half, -40 + half], atol=1e-2)


def test_several_optima_belong_to_one_interval():
    """x^2 = 4 twice: the worse of the two, at -2, is within the threshold, so the interval reaches beyond it."""
    study = models.two_optima_study()
    fit = find_map(study, starts=8, prior=False)
    assert set(np.round(fit.ended.values.ravel())) == {-2.0, 2.0}
    assert fit.optimum.values[0] == 0 and fit.optimum.values.max() == 1
    assert float(fit.value.item()) > 0
    found = profile_likelihood(study, fit)
    verdict_lower, verdict_upper, lower, upper = one(found, "x")
    assert (verdict_lower, verdict_upper) == ("several optima", "bounded")

    def density(x):
        return -((x**2 - 4) ** 2) / (2 * 0.4**2) - (x - 1) ** 2 / 18

    grid = np.linspace(-5, 5, 200_001)
    inside = grid[density(grid) > density(grid).max() - found.attrs["threshold"]]
    np.testing.assert_allclose([lower, upper], [inside[0], inside[-1]], atol=2e-3)
    # a profile that knows of one optimum alone cannot say more than where that one ends
    alone = one(profile_likelihood(study, {"x": 1.9}), "x")
    assert alone[0] == "bounded" and alone[2] > 1.5


def test_a_better_fit_becomes_the_best():
    """From the worse optimum the way leads over a low ridge to the better one, from where all begins again."""
    study = models.two_optima_study(sd=3.0)
    found = profile_likelihood(study, {"x": -1.9})
    assert float(found.value.item()) > 1.5
    assert "better fit" not in one(found, "x")


def cubic_rhs(t, y, p, inputs):
    return {"C": p["k"] * y["C"] ** 2}


def test_where_the_model_cannot_be_solved_there_is_no_end(decay_study, decay_table):
    """C' = k C^2 from C = 1 has no solution up to t = 1 for k >= 1: hardly measured, k is open there, not bounded."""
    space = uq.Space(k=uq.epistemic(uq.LogNormal(median=0.5, sigma=0.5)))
    model = uq.Model(
        space,
        uq.Ode(start_of_one, cubic_rhs),
        observe,
        {"C": ""},
        {"C": uq.LogNormal(median="C", sigma=50.0)},
        name="explosive",
    )
    study = uq.Study("explosive", model, {"e": uq.Design()}, models.table([0.5, 1.0], [1.0, 2.0], "C"))
    found = profile_likelihood(study, {"k": 0.5})
    assert str(found.verdict_upper.item()) == "unsolved" and np.isnan(found.upper.item())
    assert 0.9 < float(found.reached_upper.item()) < 1.0
    with pytest.raises(uq.InputError, match="runs fail"):
        profile_likelihood(study, {"k": 3.0})


def start_of_one(p, inputs):
    return {"C": 1.0}


def observe(y, p):
    return {"C": y["C"]}


def test_a_small_budget_keeps_what_there_is():
    found = profile_likelihood(models.exponentials_study(), {"A": 3.0, "k": 2.0, "B": 1.0, "q": 0.3}, budget=1e-9)
    assert found.attrs["stopped"] == "at the end of its budget"
    assert (
        "stopped" in found.verdict_lower.values and np.isnan(found.lower.values[found.verdict_lower == "stopped"]).all()
    )
    assert np.isfinite(found.value).all() and np.isfinite(found.attrs["log_density"])


def test_ctrl_c_keeps_what_there_is(monkeypatch):
    calls, original = [], Objective.__call__

    def interrupted(self, points):
        calls.append(len(points))
        if len(calls) == 12:
            raise KeyboardInterrupt
        return original(self, points)

    monkeypatch.setattr(Objective, "__call__", interrupted)
    found = profile_likelihood(models.exponentials_study(), {"A": 3.0, "k": 2.0, "B": 1.0, "q": 0.3})
    assert found.attrs["stopped"] == "by Ctrl-C"
    assert "stopped" in found.verdict_upper.values
    bounded = found.verdict_lower == "bounded"
    assert np.array_equal(np.isfinite(found.lower), bounded)


def test_every_finding_at_once():
    study = models.line_study()
    with pytest.raises(uq.InputError) as error:
        profile_likelihood(study, {"a": np.nan, "c": 1.0}, ["a", "d"], level=1.5, budget=0)
    text = str(error.value)
    for finding in (
        "unknown parameter 'd'",
        "unknown parameter 'c'",
        "theta_hat of 'a' is nan",
        "level is 1.5",
        "budget is 0",
    ):
        assert finding in text
    with pytest.raises(uq.InputError, match="no parameter is asked for"):
        profile_likelihood(study, {"a": 0.0}, [])
    with pytest.raises(uq.InputError, match="not of this study's"):
        profile_likelihood(study, find_map(models.two_optima_study(), starts=1))
    bounded = models.level_study(uq.Uniform(0.0, 2.0), [1.0], name="outside")
    with pytest.raises(uq.InputError, match="theta_hat of 'm' is 3; its prior is between 0 and 2"):
        profile_likelihood(bounded, {"m": 3.0})


@pytest.mark.parametrize("rtol, verdict", [(1e-2, "unresolved"), pytest.param(1e-4, "bounded", marks=pytest.mark.slow)])
def test_an_end_that_moves_with_the_accuracy_of_the_solves_is_not_resolved(rtol, verdict):
    """Measurements that err by less than the solves: how far k may go is not known from these."""

    def logistic(t, y, p, inputs):
        return {"x": p["k"] * y["x"] * (1 - y["x"]) * jnp.cos(3 * t)}

    model = uq.Model(
        space=uq.Space(k=uq.epistemic(uq.LogNormal(median=1.0, sigma=0.5))),
        system=uq.Ode(lambda p, inputs: {"x": jnp.asarray(0.3)}, logistic, rtol=rtol, atol=rtol),
        observe=lambda y, p: {"x": y["x"]},
        units={"x": ""},
        noise={"x": uq.Normal("x", 1e-4)},
    )
    times = np.linspace(1, 30, 20)
    values = 1 / (1 + 7 / 3 * np.exp(-1.1 * np.sin(3 * times) / 3))
    values = values + 1e-4 * np.random.default_rng(0).standard_normal(20)
    data = pd.DataFrame({"experiment": "one", "output": "x", "time": times, "value": values})
    found = profile_likelihood(uq.Study("logistic", model, {"one": uq.Design()}, data), {"k": 1.1})
    lower, upper, *ends = one(found, "k")
    assert lower == upper == verdict
    assert np.all(np.isfinite(ends)) == (verdict == "bounded")
