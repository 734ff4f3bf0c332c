"""The relaxation oscillator: its folds, its period and what becomes of both as the time scales part."""

from functools import cache

import jax
import numpy as np
import pytest

import uqbench as uq
from forward_models import relaxation_oscillator as oscillator
from studies import relaxation_oscillator as planned

LIMIT = 3 - 2 * np.log(2)
# DOP853 at 3e-14 and Radau at 1e-12, by passages of y = 0, agree on these digits. SYSTEMS.md has 1.9078369566 and
# 1.6800714916, the last digits of which are not those of either.
PERIODS = {0.01: 1.907836956694, 0.001: 1.680071490496}


@cache
def solver():
    def period(eps, tau):
        return oscillator.cycle({"eps": eps, "tau": tau}, uq.Design([0.0]), None)[0]["period"]

    return jax.jit(period), jax.jit(jax.jacfwd(period, argnums=(0, 1)))


@pytest.mark.parametrize("eps", PERIODS)
def test_period(eps):
    assert float(solver()[0](eps, 1.0)) == pytest.approx(PERIODS[eps], abs=1e-10)
    assert float(solver()[0](eps, 0.3)) == pytest.approx(0.3 * PERIODS[eps], abs=1e-10)


def test_the_limit_is_approached_by_the_power_two_thirds():
    """The delay at the folds is 3 * 2.338107 eps^(2/3); the next term, of order eps log eps, bends the slope a bit."""
    eps = np.array([1e-6, 4e-6, 1.6e-5])
    delay = np.array([float(solver()[0](each, 1.0)) for each in eps]) - LIMIT
    assert np.polyfit(np.log(eps), np.log(delay), 1)[0] == pytest.approx(2 / 3, abs=0.005)
    assert delay[0] / eps[0] ** (2 / 3) == pytest.approx(3 * 2.338107, rel=0.01)


def test_the_folds_end_the_branches_of_the_fast_subsystem():
    """Where the slope of the fast right-hand side by x vanishes: x = +-1, y = -+2/3."""
    fast, p = lambda x, y: oscillator.rhs(0.0, {"x": x, "y": y}, {"eps": 0.01, "tau": 1.0}, {})["x"], 2 / 3
    for x, y in ((1.0, -p), (-1.0, p)):
        assert abs(float(fast(x, y))) < 1e-13
        assert abs(float(jax.grad(fast)(x, y))) < 1e-13
        # a turning point: beyond it on one side there is no branch near
        assert float(jax.grad(jax.grad(fast))(x, y)) == pytest.approx(-200.0 * x)


@pytest.mark.parametrize("eps", [0.1, 0.01, 0.001])
def test_period_derivatives_against_differences(eps):
    by_eps, by_tau = solver()[1](eps, 1.2)
    step = 1e-4 * eps
    up, down = (float(solver()[0](eps + sign * step, 1.2)) for sign in (1, -1))
    assert float(by_eps) == pytest.approx((up - down) / (2 * step), rel=1e-5)
    # the period is proportional to tau
    assert float(by_tau) == pytest.approx(float(solver()[0](eps, 1.0)), rel=1e-8)


def test_the_time_course_repeats_after_the_period():
    theta = {"eps": 0.02, "tau": 1.3, "sigma": 0.1}
    period = float(uq.evaluate(oscillator.period, theta, uq.Design([0.0])).outputs["period"])
    times = np.array([4.0, 4.5, 5.2])
    run = uq.evaluate(oscillator.model, theta, uq.Design(np.sort(np.concatenate([times, times + 2 * period]))))
    order = np.argsort(np.argsort(np.concatenate([times, times + 2 * period])))
    for output in ("x", "y"):
        first, later = np.asarray(run.outputs[output])[order].reshape(2, -1)
        np.testing.assert_allclose(later, first, atol=1e-6)


def test_both_quantities_of_the_study_are_those_of_the_cycle():
    run = uq.evaluate(planned.study.model, planned.truth, planned.long_run)
    period = uq.evaluate(oscillator.period, planned.truth, uq.Design([0.0])).outputs["period"]
    assert float(planned.period(run.outputs, planned.long_run)) == pytest.approx(float(period), abs=1e-5)
    # the jump from a fold at +-1 ends at +-2, and beyond by the delay
    assert 2.0 < float(planned.amplitude(run.outputs, planned.long_run)) < 2.05
    short = uq.Design.linspace(0.0, 1.0, 50)
    few = uq.evaluate(planned.study.model, planned.truth, short)
    assert np.isnan(float(planned.period(few.outputs, short)))


def test_the_table_was_simulated_from_the_truth():
    table = planned.study.data
    design = uq.Design(np.unique(table["time"]))
    run = uq.evaluate(planned.study.model, planned.truth, design)
    residual = np.concatenate([
        table.query(f"output == '{name}'")["value"].to_numpy() - np.asarray(run.outputs[name]) for name in ("x", "y")
    ])  # fmt: skip
    assert residual.size == 50
    # within the 99 % interval of chi^2 with 50 degrees of freedom
    assert 27.99 < np.sum(np.square(residual / 0.1)) < 79.49


@pytest.mark.slow
def test_the_spread_of_the_amplitude_is_that_of_eps():
    tree = uq.decompose(planned.study, n=64, runs=256, seed=0)
    total = tree["sobol"].to_dataset()["ST"]
    assert float(total.sel(quantity="amplitude", parameter="tau")) < 0.02
    assert float(total.sel(quantity="amplitude", parameter="eps")) > 0.9
    assert min(float(total.sel(quantity="period", parameter=name)) for name in ("eps", "tau")) > 0.2
