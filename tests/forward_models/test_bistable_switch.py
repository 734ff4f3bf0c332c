"""The bistable switch as a model: its folds, its sweep, its transient, and what its studies say."""

import pickle

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import uqbench as uq
from forward_models import bistable_switch
from forward_models.bistable_switch import folds, model, sweep
from studies import bistable_switch as studies
from uqbench.dynamics.continuation import hysteresis

NOW = uq.Design([0.0])
# SYSTEMS.md, section A: b, stimulus that switches on and off without a basal rate (the last one re-derived: see
# tests/dynamics/test_folds.py)
FOLDS = [(3.0, 0.0858683119, -0.5872308511), (2.5, 0.1045861179, -0.2754364608)]
CUSP_B = 1.5396007178390017


def at_folds(b, basal):
    run = uq.evaluate(folds, {"b": b, "basal": basal}, NOW)
    return int(run.result), *(float(run.outputs[name]) for name in ("switch_on", "switch_off"))


@pytest.mark.parametrize("basal", [0.0, 0.2])
@pytest.mark.parametrize("b, on, off", FOLDS)
def test_folds_are_the_references_less_the_basal_rate(b, on, off, basal):
    assert at_folds(b, basal) == (0, pytest.approx(on - basal, abs=1e-10), pytest.approx(off - basal, abs=1e-10))


def test_below_the_cusp_a_run_fails_with_a_code():
    code, on, off = at_folds(1.5, 0.05)
    assert code == uq.Result.NO_FOLD and "no fold" in uq.RESULTS[code]
    assert np.isnan(on) and np.isnan(off)


def test_either_fold_is_found_from_just_above_the_cusp_on():
    b = CUSP_B + np.logspace(-8, 2, 64)
    run = uq.evaluate_many(folds, {"b": b, "basal": np.zeros(64)}, NOW)
    assert np.all(run.result == 0)
    on, off = (np.asarray(run.outputs[name]) for name in ("switch_on", "switch_off"))
    assert np.all(on > off)
    # the loop opens as the power 3/2 of the distance from the cusp
    opening = np.polyfit(np.log(b[:20] - CUSP_B), np.log((on - off)[:20]), 1)[0]
    assert opening == pytest.approx(1.5, abs=0.01)


def test_the_prior_hardly_reaches_below_the_cusp():
    """Some millionths of its probability, so that the draws of a decomposition do not fail."""
    prior = folds.space["b"].dist
    assert float(prior.cdf(CUSP_B)) < 1e-5


def test_the_sweep_is_the_loop():
    theta = {"b": 3.0, "basal": 0.05}
    run = uq.evaluate(sweep, theta, NOW)
    loop = hysteresis(
        bistable_switch.system, theta, {"a": 0.0, "x0": 0.0}, parameter="a", values=bistable_switch.STIMULI
    )
    there = loop.x.sel(value=bistable_switch.READ_AT)
    for output, direction in (("rising", "up"), ("falling", "down")):
        assert float(run.outputs[output]) == pytest.approx(float(there.sel(direction=direction)), abs=1e-9)
    assert float(run.outputs["falling"] - run.outputs["rising"]) > 1.0
    _, on, off = at_folds(**theta)
    assert [float(value) for value in loop.jump_lower] < [on, off] < [float(value) for value in loop.jump_upper]


def test_the_sweep_jumps_where_a_fold_passes():
    """At the stimulus that is read the switch is on after the fall only if it lies above the lower fold."""
    b = np.array([2.4, 2.7, 3.0])
    run = uq.evaluate_many(sweep, {"b": b, "basal": np.full(3, 0.05)}, NOW)
    gap = np.asarray(run.outputs["falling"] - run.outputs["rising"])
    off = np.array([at_folds(value, 0.05)[2] for value in b])
    np.testing.assert_array_equal(gap > 0.5, off < bistable_switch.READ_AT)
    assert len(set(gap > 0.5)) == 2
    assert "no gradient" in bistable_switch.swept.__doc__ and sweep.gradient == "none"


def test_the_transient_is_that_of_an_independent_solver():
    theta, inputs = {"b": 2.8, "basal": 0.07, "sigma": 0.1}, {"a": 0.15, "x0": 0.3}
    times = np.linspace(0.5, 10.0, 7)
    run = uq.evaluate(model, theta, uq.Design(times, inputs=inputs))
    exact = solve_ivp(
        lambda t, x: 0.07 + 0.15 + 2.8 * x**2 / (1 + x**2) - x, (0, 10), [0.3], "DOP853", times, rtol=1e-11, atol=1e-12
    )
    np.testing.assert_allclose(run.outputs["x"], exact.y[0], rtol=1e-6)


def test_models_can_be_shipped():
    for each in (bistable_switch.fold_positions, bistable_switch.swept):
        assert pickle.loads(pickle.dumps(each)) is each


def trajectory(times, a, x0, b, basal, steps=4000):
    """x at the times, by the classical Runge-Kutta method on an even grid, interpolated linearly."""
    grid, step = np.linspace(0.0, times[-1], steps + 1, retstep=True)
    x = np.full(steps + 1, x0)

    def rate(x):
        return basal + a + b * x**2 / (1 + x**2) - x

    for k in range(steps):
        k1 = rate(x[k])
        k2 = rate(x[k] + step / 2 * k1)
        k3 = rate(x[k] + step / 2 * k2)
        k4 = rate(x[k] + step * k3)
        x[k + 1] = x[k] + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return np.interp(times, grid, x)


def test_the_simulated_time_course_is_the_model_with_noise():
    truth = studies.truth | {"sigma": studies.sigma}
    for name, inputs in studies.conditions.items():
        rows = studies.time_course.data[studies.time_course.data["experiment"] == name]
        times = rows["time"].to_numpy()
        run = uq.evaluate(model, truth, uq.Design(times, inputs=inputs))
        exact = trajectory(times, **inputs, **studies.truth)
        np.testing.assert_allclose(run.outputs["x"], exact, rtol=1e-6)
        assert 0.5 < np.std(rows["value"] - exact) / studies.sigma < 1.5


def test_the_time_course_tells_both_parameters():
    tree = uq.identify(studies.time_course, starts=0)
    verdicts = tree["structure"].to_dataset().verdict
    assert set(verdicts.sel(parameter=["b", "basal"]).values.tolist()) == {"global"}
    errors = tree["fisher"].to_dataset().cramer_rao
    assert float(errors.sel(parameter="b")) < 0.01 and float(errors.sel(parameter="basal")) < 0.1


def test_the_study_tells_the_sources_apart():
    """The width depends on b alone; a basal rate moves either fold by as much as itself."""
    tree = uq.decompose(studies.study, n=256, seed=0)
    sobol, variance = tree["sobol"].to_dataset(), tree["variance"].to_dataset()
    assert float(sobol.ST.sel(parameter="basal", quantity="width")) == pytest.approx(0.0, abs=1e-12)
    lower, upper = (float(sobol[f"ST_{end}"].sel(parameter="b", quantity="width")) for end in ("lower", "upper"))
    assert lower <= 1.0 <= upper
    # the rest of the variance of either fold is that of b: Var(basal) is known
    basal = folds.space.sample(jax.random.key(1), (200_000,))["basal"]
    for quantity in ("switch on", "switch off"):
        share = float(np.var(basal)) / float(variance.epistemic.sel(quantity=quantity))
        lower, upper = (
            float(sobol[f"S1_{end}"].sel(parameter="basal", quantity=quantity)) for end in ("lower", "upper")
        )
        assert lower - 0.05 * share < share < upper + 0.05 * share
    assert float(sobol.S1.sel(parameter="b", quantity="switch off")) > 0.9


def test_folds_have_no_equations_to_identify():
    structure = uq.identify(studies.study)["structure"].to_dataset()
    assert structure.verdict.values.tolist() == ["undecided", "undecided"]
    assert "without a system" in str(structure.reason.values[0])
