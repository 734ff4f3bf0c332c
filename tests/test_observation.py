import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import uqbench as uq
from uqbench import observation

from .conftest import decay_observe, decay_space


def log_density(study, k, sigma):
    doses = {"low": 2.0, "high": 4.0}
    mean = study.data["experiment"].map(doses) * np.exp(-k * study.data["time"])
    return float(stats.norm.logpdf(study.data["value"], mean, sigma).sum())


def test_log_likelihood_is_the_closed_form(decay_study):
    function = observation.log_likelihood(decay_study)
    for k, sigma in ((0.5, 0.1), (0.8, 0.3)):
        assert float(function({"k": k, "sigma": sigma})) == pytest.approx(log_density(decay_study, k, sigma), rel=1e-7)


def test_gradient_is_that_of_the_closed_form_in_both_modes(decay_study):
    function = observation.log_likelihood(decay_study)
    step = 1e-5
    expected = [
        (log_density(decay_study, 0.6 + step, 0.2) - log_density(decay_study, 0.6 - step, 0.2)) / (2 * step),
        (log_density(decay_study, 0.6, 0.2 + step) - log_density(decay_study, 0.6, 0.2 - step)) / (2 * step),
    ]
    for differentiate in (jax.grad, jax.jacfwd):
        gradient = differentiate(function)({"k": jnp.asarray(0.6), "sigma": jnp.asarray(0.2)})
        np.testing.assert_allclose([gradient["k"], gradient["sigma"]], expected, rtol=1e-5)


def explosive_initial(p, inputs):
    return {"C": jnp.ones(())}


def explosive_rhs(t, y, p, inputs):
    return {"C": p["k"] * y["C"] ** 2}


def test_a_failed_solve_is_minus_infinity_with_a_zero_gradient(decay_table):
    model = uq.Model(
        decay_space(),
        uq.Ode(explosive_initial, explosive_rhs),
        decay_observe,
        {"C": "mg/L"},
        {"C": uq.Normal("C", "sigma")},
    )
    study = uq.Study("explosive", model, {"low": uq.Design(), "high": uq.Design()}, decay_table)
    value, gradient = jax.value_and_grad(observation.log_likelihood(study))(
        {"k": jnp.asarray(2.0), "sigma": jnp.asarray(0.2)}
    )
    assert float(value) == -np.inf
    assert all(np.isfinite(float(part)) for part in gradient.values())
    value, gradient = jax.value_and_grad(observation.log_likelihood(study))(
        {"k": jnp.asarray(0.05), "sigma": jnp.asarray(0.2)}
    )
    assert np.isfinite(float(value)) and float(gradient["k"]) != 0.0


def test_only_what_enters_the_simulation_gets_sensitivities(decay_study):
    assert observation.simulated_parameters(decay_study.model, decay_study.experiments["low"]) == ("k",)


def test_simulated_data_have_the_noise_they_claim(decay_study):
    theta = {"k": 0.5, "sigma": 0.3}
    draws = [observation.simulate_data(decay_study, theta, jax.random.key(seed))["value"] for seed in range(200)]
    doses = decay_study.data["experiment"].map({"low": 2.0, "high": 4.0})
    residual = (np.stack(draws) - (doses * np.exp(-0.5 * decay_study.data["time"])).to_numpy()) / 0.3
    # 1400 standard normals: the standard error of their sd is 1 / sqrt(2 n)
    assert abs(residual.std() - 1) < 4 / np.sqrt(2 * residual.size)
    assert abs(residual.mean()) < 4 / np.sqrt(residual.size)


def test_runs_of_different_lengths_share_one_batch(decay_study):
    seen = observation.observations(decay_study)
    assert seen.design.times.shape == (2, 3)
    run, when, values = seen.rows["C"]
    times = np.asarray(seen.design.times)[run, when]
    np.testing.assert_array_equal(times, decay_study.data["time"])
    np.testing.assert_array_equal(values, decay_study.data["value"])
