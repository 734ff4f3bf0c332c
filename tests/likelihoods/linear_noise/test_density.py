"""The Kalman density against closed forms, matrices of the same normal distribution, and differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import linalg, stats

from uqbench.likelihoods import likelihood_of, log_likelihood

from . import cells

TIMES = np.array([0.2, 0.3, 1.1, 1.5, 4.0])
VALUES = np.array([[118.0, 112.0, 104.0, 127.0, 99.0], [101.0, 108.0, 131.0, 122.0, 115.0]])
THETA = {"k": jnp.asarray(80.0), "g": jnp.asarray(0.7), "sigma": jnp.asarray(4.0)}
NAMES = ("k", "g", "sigma")


def at_rest(k, g, sigma):
    """Mean and covariance of birth and death at rest, an Ornstein-Uhlenbeck process, with measurement errors."""
    mean = k / g
    return np.full(len(TIMES), mean), mean * np.exp(-g * abs(TIMES[:, None] - TIMES)) + sigma**2 * np.eye(len(TIMES))


@pytest.fixture(scope="module")
def resting():
    tables = [cells.table("x", TIMES, values, f"c{cell}") for cell, values in enumerate(VALUES)]
    return cells.study_of(cells.turnover, pd.concat(tables, ignore_index=True), restart=False, start=-60.0)


def test_birth_and_death_at_rest_is_an_ornstein_uhlenbeck_process(resting):
    mean, covariance = at_rest(80.0, 0.7, 4.0)
    expected = stats.multivariate_normal(mean, covariance).logpdf(VALUES)
    likelihood = likelihood_of(resting)
    assert np.asarray(likelihood.pointwise(THETA)["series"]) == pytest.approx(expected, rel=1e-7)
    assert float(log_likelihood(resting)(THETA)) == pytest.approx(expected.sum(), rel=1e-7)
    moments = likelihood.moments(THETA)
    np.testing.assert_allclose(moments.mean, [mean, mean], rtol=1e-7)
    np.testing.assert_allclose(moments.covariance, [covariance, covariance], rtol=1e-6, atol=1e-6)


def test_information_is_that_of_a_normal_whose_mean_and_covariance_move(resting):
    at = np.array([80.0, 0.7, 4.0])
    steps = 1e-5 * np.diag(at)
    slopes = [
        [
            (high - low) / (2 * step.sum())
            for high, low in zip(at_rest(*(at + step)), at_rest(*(at - step)), strict=True)
        ]
        for step in steps
    ]
    inverse = np.linalg.inv(at_rest(*at)[1])
    expected = [[m @ inverse @ n + 0.5 * np.trace(inverse @ c @ inverse @ d) for n, d in slopes] for m, c in slopes]
    found = likelihood_of(resting).information(lambda x: dict(zip(NAMES, x, strict=True)), jnp.asarray(at))
    assert found.shape == (2, 3, 3)
    np.testing.assert_allclose(found, [expected, expected], rtol=1e-4, atol=1e-5)


def test_restarted_the_variance_to_come_is_that_of_the_filtered_count():
    k, g, sigma = 80.0, 0.7, 4.0
    mean, variance, before, expected = 0.0, 0.0, 0.0, 0.0
    for time, value in zip(TIMES, VALUES[0], strict=True):
        left = np.exp(-g * (time - before))
        # those that were there, each left with this probability, and those that came, a Poisson number
        variance = left**2 * variance + mean * left * (1 - left) + k / g * (1 - left)
        mean = mean * left + k / g * (1 - left)
        expected += stats.norm(mean, np.sqrt(variance + sigma**2)).logpdf(value)
        gain = variance / (variance + sigma**2)
        mean, variance, before = mean + gain * (value - mean), variance * (1 - gain), time
    study = cells.study_of(cells.turnover, cells.table("x", TIMES, VALUES[0]), restart=True)
    assert float(log_likelihood(study)(THETA)) == pytest.approx(expected, rel=1e-7)


def test_only_the_protein_is_seen_by_a_scaled_signal_with_proportional_errors():
    """At rest, against the matrix of all times; two rows are of the same time, and they are in no order."""
    km, gm, kp, gp, dark, sigma = 2.0, 0.2, 1.0, 0.05, 30.0, 4.0
    drift = np.array([[-gm, 0.0], [kp, -gp]])
    mrna = km / gm
    spread = linalg.solve_continuous_lyapunov(drift, -np.diag([2 * km, 2 * kp * mrna]))
    protein = kp * mrna / gp
    times = np.array([5.0, 0.5, 60.0, 5.0, 17.0])
    values = np.array([460.0, 400.0, 391.0, 448.0, 520.0])
    covariance = (
        np.array([[4 * (linalg.expm(drift * abs(t - s)) @ spread)[1, 1] for s in times] for t in times])
        + np.eye(5) * (sigma + 0.05 * (2 * protein + dark)) ** 2
    )
    expected = stats.multivariate_normal(np.full(5, 2 * protein + dark), covariance).logpdf(values)
    study = cells.study_of(cells.reporter, cells.table("light", times, values), restart=False, start=-1500.0)
    theta = {"km": km, "gm": gm, "kp": kp, "gp": gp, "dark": dark, "sigma": sigma}
    assert float(log_likelihood(study)(theta)) == pytest.approx(expected, rel=1e-6)


def test_replicates_are_cells_of_their_own():
    rows = [cells.table("x", TIMES, values) for values in VALUES]
    data = pd.concat([each.assign(replicate=number) for number, each in enumerate(rows)], ignore_index=True)
    together = cells.study_of(cells.turnover, data.sample(frac=1.0, random_state=0), restart=True)
    apart = [cells.study_of(cells.turnover, each, restart=True) for each in rows]
    likelihood = likelihood_of(together)
    expected = sum(float(log_likelihood(each)(THETA)) for each in apart)
    assert float(likelihood.log_density(THETA)) == pytest.approx(expected, rel=1e-9)
    assert list(likelihood.terms()["series"]["replicate"].sort_values()) == [0, 1]


@pytest.mark.parametrize("restart", [True, False])
def test_gradients_are_those_of_differences(restart):
    times = np.array([0.0, 0.4, 1.0, 2.5])
    tables = [cells.table("a", times, [58.0, 30.0, 22.0, 17.0]), cells.table("all", times[1:], [61.0, 58.0, 60.0])]
    study = cells.study_of(cells.dimers, pd.concat(tables, ignore_index=True), restart=restart)
    density, theta = jax.jit(log_likelihood(study)), {"c": 1.0, "u": 0.8, "sigma": 3.0}
    reverse, forward = jax.jit(jax.grad(density))(theta), jax.jit(jax.jacfwd(density))(theta)
    for name, value in theta.items():
        high, low = (density({**theta, name: value * factor}) for factor in (1.0003, 0.9997))
        assert float(reverse[name]) == pytest.approx(float(high - low) / (0.0006 * value), rel=1e-4)
        assert float(forward[name]) == pytest.approx(float(reverse[name]), rel=1e-9)


def test_values_are_drawn_from_the_density():
    """Whitened by mean and covariance they are independent standard normal numbers."""
    study = cells.planned(cells.dimers, ("a", "all"), np.array([0.3, 1.0, 3.0]), 400, restart=False)
    likelihood, theta = likelihood_of(study), {**cells.dimers.space.nominal(), "sigma": jnp.asarray(1.0)}
    values = jax.jit(likelihood.simulate)(theta, jax.random.key(0))
    # in the order of moments: by output, then time
    rows = np.concatenate([np.asarray(values[output]).reshape(400, 3) for output in ("a", "all")], axis=1)
    moments = jax.jit(likelihood.moments)(theta)
    apart = rows - np.asarray(moments.mean)
    white = np.linalg.solve(np.linalg.cholesky(moments.covariance), apart[..., None])[..., 0]
    second = white.T @ white / 400
    assert np.all(abs(white.mean(axis=0)) < 4 / np.sqrt(400))
    assert np.all(abs(second - np.eye(6)) < 4 * np.sqrt((1 + np.eye(6)) / 400))


def test_predictions_are_of_another_cell(resting):
    likelihood = likelihood_of(resting)
    thetas = {name: jnp.broadcast_to(value, (2000,)) for name, value in THETA.items()}
    design = jax.tree.map(lambda leaf: leaf[0], likelihood.observations.design)
    found = np.asarray(likelihood.predict_run(thetas, design, jax.random.key(1), 0)["x"])
    mean, covariance = at_rest(80.0, 0.7, 4.0)
    # draws are spread evenly over the distribution
    np.testing.assert_allclose(found.mean(axis=0), mean, rtol=1e-3)
    np.testing.assert_allclose(found.var(axis=0), np.diag(covariance), rtol=2e-2)
