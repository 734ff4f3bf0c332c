"""Standard errors of correlated samples, Langevin dynamics, and averages under another potential."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.coarse_graining import langevin, mean_with_error, reweighted, reweighted_gradient
from uqbench.coarse_graining.averages import mean_covariance


def autoregressive(key, memory, shape):
    """Stationary, of variance 1 and correlation memory^lag."""
    noise = jax.random.normal(key, shape)

    def move(last, new):
        now = memory * last + jnp.sqrt(1 - memory**2) * new
        return now, now

    return jax.lax.scan(move, noise[:, 0], noise.T)[1].T


@pytest.mark.parametrize("memory", [0.0, 0.9, -0.4])
def test_effective_number_and_coverage_of_autoregressive_chains(memory):
    keys = jax.random.split(jax.random.key(1), 400)
    found = jax.vmap(lambda key: mean_with_error(autoregressive(key, memory, (4, 1000))))(keys)
    expected = 4000 * (1 - memory) / (1 + memory)
    assert float(jnp.median(found.effective)) == pytest.approx(expected, rel=0.1)
    covered = float(jnp.mean(jnp.abs(found.value) < 1.96 * found.error))
    # of 400 intervals; three standard deviations are .033
    assert abs(covered - 0.95) < 0.033


def test_chains_in_wells_of_their_own_are_not_resolved():
    apart = jax.random.normal(jax.random.key(0), (4, 2000)) + jnp.array([-9.0, 9.0, -9.0, 9.0])[:, None]
    found = mean_with_error(apart)
    assert float(found.effective) < 30 and bool(jnp.isnan(found.error))
    assert bool(jnp.isnan(mean_with_error(jnp.ones((2, 100))).error))


def test_covariance_of_means_of_independent_samples():
    draws = jax.random.normal(jax.random.key(2), (4, 5000, 2)) @ jnp.array([[1.0, 0.6], [0.0, 0.8]])
    np.testing.assert_allclose(20_000 * mean_covariance(draws), [[1.0, 0.6], [0.6, 1.0]], atol=0.15)


def test_langevin_has_the_distribution_itself_at_large_steps():
    """Without the rule of acceptance a step of .8 would make the variance 1 / (1 - .4)."""
    start = jnp.zeros((8, 1))
    draws = langevin(lambda x: 0.5 * jnp.sum(x**2), start, jax.random.key(0), step=0.8, draws=2000, beta=2.0)
    found = mean_with_error(draws.places[..., 0] ** 2)
    assert abs(float(found.value) - 0.5) < 4 * float(found.error) < 0.05
    assert 0.5 < float(draws.acceptance) < 1.0
    again = langevin(lambda x: 0.5 * jnp.sum(x**2), start, jax.random.key(0), step=0.8, draws=2000, beta=2.0)
    assert jnp.array_equal(again.places, draws.places)


def test_what_is_wrong_with_a_run_of_langevin():
    with pytest.raises(uq.InputError) as raised:
        langevin(jnp.sum, jnp.zeros((1, 1)), jax.random.key(0), step=0.0, draws=-1, warmup=-1)
    assert len(raised.value.findings) == 4


def spring(place, theta):
    return 0.5 * theta["k"] * jnp.sum(place**2)


def square(place, theta):
    return theta["c"] * jnp.sum(place**2)


@pytest.fixture(scope="module")
def normal_draws():
    """Of exp(-beta k x^2 / 2) with k = 2 and beta = 1.5, from autoregressive chains."""
    return autoregressive(jax.random.key(3), 0.5, (16, 2000))[..., None] / jnp.sqrt(3.0)


@pytest.mark.slow
def test_gradients_by_reweighting_are_those_of_the_closed_form(normal_draws):
    theta = {"k": 2.4, "c": 3.0}
    found = reweighted_gradient(square, spring, normal_draws, {"k": 2.0, "c": 3.0}, theta, 1.5)
    # <c x^2> = c / (beta k)
    for value, error, expected in [
        (found.average.value, found.average.error, 3 / (1.5 * 2.4)),
        (found.value["k"], found.error["k"], -3 / (1.5 * 2.4**2)),
        (found.value["c"], found.error["c"], 1 / (1.5 * 2.4)),
    ]:
        assert abs(float(value) - expected) < 4 * float(error)
        assert float(error) < 0.05 * abs(expected)
    # the derivative of the weighted average itself
    places = normal_draws[..., 0]
    slope = jax.grad(lambda k: reweighted(3 * places**2, 0.5 * (k - 2.0) * places**2, 1.5).value)(2.4)
    assert float(found.value["k"]) == pytest.approx(float(slope), rel=1e-10)


def test_errors_of_reweighted_gradients_cover():
    keys = jax.random.split(jax.random.key(4), 300)

    def found(key):
        places = autoregressive(key, 0.5, (8, 500))[..., None] / jnp.sqrt(3.0)
        gradient = reweighted_gradient(square, spring, places, {"k": 2.0, "c": 3.0}, {"k": 2.2, "c": 3.0}, 1.5)
        return gradient.value["k"], gradient.error["k"]

    values, errors = jax.lax.map(found, keys, batch_size=20)
    covered = float(jnp.mean(jnp.abs(values + 3 / (1.5 * 2.2**2)) < 1.96 * errors))
    assert abs(covered - 0.95) < 0.045


def test_a_potential_too_far_from_the_samples_gives_no_number(normal_draws):
    near = reweighted(normal_draws[..., 0], 0.01 * normal_draws[..., 0])
    far = reweighted(normal_draws[..., 0], 20.0 * normal_draws[..., 0])
    assert float(near.weighted) > 30_000 and bool(jnp.isfinite(near.value))
    assert float(far.weighted) < 50 and bool(jnp.isnan(far.value))
