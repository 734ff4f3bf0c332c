"""The best fit: closed forms, several optima, bounds, and what is wrong said in words."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import uqbench as uq
from uqbench.identifiability.profiles import profile_likelihood
from uqbench.optimization import find_map
from uqbench.optimization.best_fit import optima
from uqbench.optimization.objective import TOGETHER, Objective, objective_of

from . import models


def test_a_line_has_its_least_squares():
    (a, b), _, rss = models.least_squares()
    found = find_map(models.line_study(known_sd=False), starts=4, prior=False)
    n = len(models.TIMES)
    np.testing.assert_allclose(found.value.values, [a, b, np.sqrt(rss / n)], rtol=2e-3)
    assert found.attrs["log_likelihood"] == pytest.approx(-n / 2 * (np.log(2 * np.pi * rss / n) + 1), abs=1e-4)
    assert found.attrs["verdict"] == "converged" and found.attrs["certificate"] < 0.01
    assert found.attrs["reached"] == 1.0 and found.attrs["unseen"] == 0.0
    assert np.all(found.optimum == 0) and not found.at_bound.values.any()


def test_the_prior_counts_where_it_is_asked_for():
    """A normal prior and normal data: the mode is the mean weighted by the precisions."""
    study = models.level_study(uq.Normal(0.0, 0.5), [1.0, 2.0], sd=1.0, name="weighted")
    with_prior, without = find_map(study, starts=2), find_map(study, starts=2, prior=False)
    assert float(with_prior.value.item()) == pytest.approx(3.0 / (2.0 + 4.0), abs=2e-3)
    assert float(without.value.item()) == pytest.approx(1.5, abs=2e-3)
    total = with_prior.attrs["log_likelihood"] + with_prior.attrs["log_prior"]
    assert with_prior.attrs["log_density"] == pytest.approx(total)
    assert without.attrs["log_density"] == without.attrs["log_likelihood"] > with_prior.attrs["log_likelihood"]


def test_a_log_normal_prior_counts_in_the_logarithm():
    study = models.level_study(uq.LogNormal(median=2.0, sigma=0.1), [9.0], sd=1e3, name="uninformed")
    assert float(find_map(study, starts=2).value.item()) == pytest.approx(2.0, rel=1e-3)


def test_both_of_two_optima_are_found():
    found = find_map(models.two_optima_study(), starts=8, prior=False)
    assert found.attrs["verdict"] == "converged" and 0 < found.attrs["reached"] < 1
    assert float(found.value.item()) == pytest.approx(2.0, abs=0.02)
    worse = found.ended.values[found.optimum.values == 1]
    np.testing.assert_allclose(worse, -2.0, atol=0.02)
    assert np.all(np.diff(found.log_density) <= 0)
    # whoever wants to begin at the worse one may: it is the one more start
    alone = find_map(models.two_optima_study(), starts=1, theta={"x": -1.9}, prior=False, seed=3)
    assert -2.0 in np.round(alone.ended.values)


def test_a_sum_of_exponentials_is_found_up_to_its_order():
    found = find_map(models.exponentials_study(), starts=16, prior=False)
    pairs = sorted(zip(*(found.value.sel(parameter=list(names)).values for names in ("kq", "AB")), strict=True))
    np.testing.assert_allclose(pairs, [(0.3, 1.0), (2.0, 3.0)], rtol=0.05)
    assert found.attrs["verdict"] == "converged"


def test_optima_are_told_by_their_height():
    np.testing.assert_array_equal(optima([3.0, 2.999, 2.0, 2.0, -np.inf]), [0, 0, 1, 1, -1])


def test_noise_without_residuals_has_no_best_fit():
    """Data on the line exactly: the likelihood rises without end as the noise's sd falls."""
    exact = models.line_study(known_sd=False)
    data = exact.data.assign(value=1.0 + 0.5 * models.TIMES)
    found = find_map(replace(exact, data=data), starts=3, prior=False)
    assert found.attrs["verdict"] != "converged"
    assert float(found.value.sel(parameter="sigma")) < 1e-6


def test_a_solver_is_not_mistaken_for_the_truth(decay_study):
    """Decay without noise: below the errors of its solves the sd of the noise is not known, and finer solves say so."""
    dose = decay_study.data["experiment"].map({"low": 2.0, "high": 4.0})
    data = decay_study.data.assign(value=dose * np.exp(-0.5 * decay_study.data["time"]))
    found = find_map(replace(decay_study, data=data), starts=2, prior=False)
    assert float(found.value.sel(parameter="k")) == pytest.approx(0.5, rel=1e-5)
    assert "still to gain" in found.attrs["verdict"]


def cubic_rhs(t, y, p, inputs):
    return {"C": p["k"] * y["C"] ** 2}


def start_of_one(p, inputs):
    return {"C": 1.0}


def observe(y, p):
    return {"C": y["C"]}


def explosive_study(median, value):
    """C' = k C^2 from 1, which is 1 / (1 - k t): no solution up to t = 1 for k >= 1."""
    space = uq.Space(k=uq.epistemic(uq.LogNormal(median=median, sigma=1.0)))
    model = uq.Model(
        space, uq.Ode(start_of_one, cubic_rhs), observe, {"C": ""}, {"C": uq.Normal("C", 0.1)}, name="explosive"
    )
    return uq.Study("explosive", model, {"e": uq.Design()}, models.table([1.0], [value], "C"))


def test_starts_that_cannot_be_solved_are_counted_and_the_others_go_on():
    found = find_map(explosive_study(1.0, 2.0), starts=8, prior=False)
    assert float(found.value.item()) == pytest.approx(0.5, rel=1e-2)
    failed = found.verdict.values == "failed"
    assert failed.any() and not failed.all()
    assert np.all(found.begun.values[failed] > 0.99) and np.all(np.isinf(found.log_density.values[failed]))


def test_no_start_that_can_be_solved_is_an_error():
    with pytest.raises(uq.InputError, match=r"(?s)from none of 2 starts .* 1 of 1 runs fail"):
        find_map(explosive_study(1e6, 2.0), starts=2)


def test_findings_are_those_of_the_study_that_was_asked():
    """What is compiled serves tables that differ in their values; what is wrong with one is not said of another."""
    space = {"m": uq.epistemic(uq.LogNormal(0.0, 1.0))}
    noise, data = {"y": uq.LogNormal(median="y", sigma=0.5)}, models.table([0.0, 1.0], [1.0, 2.0])
    good = models.study_of(models.level, space, data, noise, "shared")
    bad = replace(good, data=data.assign(value=[1.0, -7.0]))
    find_map(good, starts=2)
    assert objective_of(good).target is objective_of(bad).target
    with pytest.raises(uq.InputError, match="-7"):
        find_map(bad, starts=2)


def test_a_small_budget_keeps_what_there_is():
    found = find_map(models.exponentials_study(), starts=40, budget=1e-9)
    assert found.sizes["start"] < 40 and np.isfinite(found.attrs["log_density"])
    assert "stopped after 1e-09 s" in found.attrs["verdict"] and found.attrs["stopped"]
    # who had time for all of it was not stopped
    assert find_map(models.line_study(), starts=2, budget=60.0).attrs["stopped"] == ""


@pytest.mark.parametrize("batch", [1, 4])
def test_ctrl_c_keeps_what_there_is(monkeypatch, batch):
    calls, original = [], Objective.__call__

    def interrupted(self, points):
        calls.append(len(points))
        if len(calls) == batch:
            raise KeyboardInterrupt
        return original(self, points)

    monkeypatch.setattr(Objective, "__call__", interrupted)
    if batch == 1:
        # nothing is found yet
        with pytest.raises(KeyboardInterrupt):
            find_map(models.exponentials_study(), starts=20)
        return
    found = find_map(models.exponentials_study(), starts=20)
    assert found.attrs["stopped"] == "by Ctrl-C" and "stopped by Ctrl-C" in found.attrs["verdict"]
    assert np.isfinite(found.attrs["log_density"])


def test_every_finding_at_once():
    with pytest.raises(uq.InputError) as error:
        find_map(models.line_study(), starts=0, theta={"a": np.inf, "c": 1.0}, budget=-1, seed=-1)
    for finding in ("starts is 0", "theta of 'a' is inf", "unknown parameter 'c'", "budget is -1", "seed is -1"):
        assert finding in str(error.value)
    study = models.line_study()
    with pytest.raises(uq.InputError, match="has no data"):
        find_map(uq.Study("empty", study.model, {"e": uq.Design([1.0])}))
    known = replace(study.model, space=uq.Space(a=uq.fixed(1.0), b=uq.fixed(2.0)))
    with pytest.raises(uq.InputError, match="nothing to be fitted"):
        find_map(uq.Study("known", known, {"e": uq.Design()}, study.data))
    with pytest.raises(uq.InputError, match="'a' is 3, which is fixed at 1"):
        space = uq.Space(a=uq.fixed(1.0), b=uq.epistemic(uq.Normal(0.0, 1.0)))
        find_map(uq.Study("half", replace(study.model, space=space), {"e": uq.Design()}, study.data), theta={"a": 3.0})


@pytest.mark.slow
def test_a_population_has_a_best_fit_and_profiles():
    """Units with a normal offset: locations and spreads of a balanced mixed model have closed forms."""
    rng = np.random.default_rng(2)
    units, each = 8, 5
    values = 1.0 + rng.normal(size=(units, 1)) + 0.4 * rng.normal(size=(units, each))
    rows = [("e", "y", float(t), values[u, t], u) for u in range(units) for t in range(each)]
    space = uq.Space(
        m=uq.epistemic(uq.Normal(0.0, 10.0)),
        s=uq.epistemic(uq.HalfNormal(5.0)),
        e=uq.epistemic(uq.HalfNormal(5.0)),
        offset=uq.aleatory(uq.Normal("m", "s")),
    )
    model = uq.Model.from_function(space, offsets, {"y": ""}, {"y": uq.Normal("y", "e")}, name="offsets")
    data = pd.DataFrame(rows, columns=["experiment", "output", "time", "value", "who"])
    study = uq.Study("offsets", model, {"e": uq.Design()}, data, unit="who")
    found = find_map(study, starts=3, prior=False)
    within = np.sum((values - values.mean(axis=1, keepdims=True)) ** 2) / (units * (each - 1))
    between = np.sum((values.mean(axis=1) - values.mean()) ** 2) / units
    expected = [values.mean(), np.sqrt(between - within / each), np.sqrt(within)]
    np.testing.assert_allclose(found.value.values, expected, rtol=5e-3)
    profile = profile_likelihood(study, found, ["m"])
    # of the location: units log(1 + d^2 / between) / 2 is the threshold
    half = np.sqrt(between * np.expm1(2 * profile.attrs["threshold"] / units))
    np.testing.assert_allclose(
        [profile.lower.item(), profile.upper.item()], [values.mean() - half, values.mean() + half], atol=5e-3 * half
    )


@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.slow), TOGETHER + 1])
def test_scores_of_a_population_are_those_of_its_likelihood_whatever_the_batch(count):
    """Of an Ode, whose points are solved one after the other."""
    rows = [("e", "x", t, 2.0 * np.exp(-0.5 * t) + 0.1 * u, u) for u in range(3) for t in (0.0, 1.0, 2.0)]
    space = uq.Space(
        m=uq.epistemic(uq.LogNormal(median=0.5, sigma=0.5)),
        s=uq.epistemic(uq.HalfNormal(0.5)),
        k=uq.aleatory(uq.LogNormal(median="m", sigma="s")),
    )
    system = uq.Ode(lambda p, inputs: {"x": 2.0}, lambda t, y, p, inputs: {"x": -p["k"] * y["x"]})
    model = uq.Model(space, system, lambda y, p: {"x": y["x"]}, {"x": ""}, {"x": uq.Normal("x", 0.2)}, name="decays")
    data = pd.DataFrame(rows, columns=["experiment", "output", "time", "value", "who"])
    objective = objective_of(uq.Study("decays", model, {"e": uq.Design()}, data, unit="who"))
    assert objective.target.singly
    points = objective.coordinates.starts(count, 0)
    scores = objective(points)
    assert len(scores) == count
    for x, score in zip(points, scores, strict=True):
        known = float(objective.likelihood.log_density(objective.coordinates.place(x)))
        assert score.value == pytest.approx(known, rel=1e-9)
        h = 1e-4
        ends = [float(objective.likelihood.log_density(objective.coordinates.place(x + s * h))) for s in (1, -1)]
        # its gradient is that of fewer nodes
        assert score.gradient.sum() == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=2e-2, abs=2e-2)


def offsets(theta, design, key):
    return {"y": theta["offset"] + 0 * design.times}
