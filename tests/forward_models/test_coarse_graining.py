"""The particle that drags another: values of SYSTEMS.md, derivatives, and what its coarse scale cannot tell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from forward_models import coarse_graining
from uqbench.identifiability import fisher_information

THETA = {"a": 2.0, "k": 1.0, "s": 1.0, "sigma": 0.05}
NOW = uq.Design([0.0])


@pytest.fixture(scope="module")
def run():
    run = uq.evaluate(coarse_graining.model, THETA, NOW)
    assert int(run.result) == 0
    return run.outputs


def test_differences_of_the_mean_force(run):
    assert float(run["barrier"]) == pytest.approx(1.6534264097, abs=1e-10)
    assert float(run["shoulder"]) == pytest.approx(0.8899981854, abs=1e-10)
    x = coarse_graining.PLACES
    expected = 2 * (x**2 - 1) ** 2 + np.log(1 + x**2) / 2 - np.log(2.0) / 2
    np.testing.assert_allclose(run["mean_force_potential"], expected, atol=1e-10)


def test_force_matching_and_relative_entropy_differ(run):
    assert float(jnp.max(jnp.abs(run["force_matching"] - run["relative_entropy"]))) > 0.01
    lost = float(run["divergence_of_force_matching"]), float(run["divergence_of_relative_entropy"])
    assert lost[0] > 1.5 * lost[1] > 1e-5


@pytest.mark.parametrize("name", ["a", *(pytest.param(name, marks=pytest.mark.slow) for name in "ks")])
def test_derivatives_are_those_of_finite_differences(name):
    def numbers(value):
        outputs = uq.evaluate(coarse_graining.model, {**THETA, name: value}, NOW, mode="forward").outputs
        return jnp.concatenate([jnp.ravel(outputs[each]) for each in ("barrier", "force_matching", "relative_entropy")])

    slopes = jax.jacfwd(numbers)(THETA[name])
    differences = (numbers(THETA[name] + 1e-4) - numbers(THETA[name] - 1e-4)) / 2e-4
    np.testing.assert_allclose(slopes, differences, rtol=1e-6, atol=1e-7)


@pytest.fixture(scope="module")
def study():
    import pandas as pd

    # the values at THETA, with errors of about their standard deviation
    rows = [
        ("pair", output, 0.0, value + error)
        for output, value in (("barrier", 1.6534), ("shoulder", 0.89))
        for error in (-0.04, 0.03, 0.02)
    ]
    table = pd.DataFrame(rows, columns=["experiment", "output", "time", "value"])
    return uq.Study("pair", coarse_graining.model, {"pair": uq.Design()}, table)


@pytest.mark.slow
def test_stiffness_and_its_growth_are_known_by_their_ratio_alone(study):
    found = fisher_information(study, THETA)
    assert found.attrs["rank"] == 2
    assert found["function"].values.tolist() == ["a", "k/s"] and bool(found["function_exact"].all())


@pytest.mark.slow
def test_profiles_find_the_barrier_bounded_and_both_stiffnesses_flat(study):
    practical = uq.identify(study)["practical"].to_dataset()
    assert practical.profile.values.tolist() == ["bounded", "flat", "flat"]
    assert 1.4 < float(practical.lower[0]) < 2.0 < float(practical.upper[0]) < 2.8
    assert "s ~ k" in str(practical.explanation.values[1])


@pytest.mark.slow
def test_sampled_averages_and_their_derivatives_are_those_of_quadrature():
    """Mean squares of x and of y - x under exp(-F) by sums; errors from repetitions with other keys."""
    x = jnp.linspace(-3.0, 3.0, 601)

    def exact(theta):
        stiffness = theta["k"] + theta["s"] * x**2
        p = jax.nn.softmax(-(theta["a"] * (x**2 - 1) ** 2 + jnp.log(stiffness) / 2))
        return jnp.array([p @ x**2, p @ (1 / stiffness)])

    theta = {name: jnp.asarray(value) for name, value in THETA.items()}
    expected = jnp.stack([exact(theta), jax.jacfwd(exact)(theta)["a"]])

    def found(key):
        def averages(a):
            run = uq.evaluate(coarse_graining.sampled, {**theta, "a": a}, NOW, key=key, mode="reverse")
            both = jnp.array([run.outputs["x_square"], run.outputs["distance_square"]])
            return both, both

        slopes, both = jax.jacrev(averages, has_aux=True)(theta["a"])
        return jnp.stack([both, slopes])

    values = np.stack([np.asarray(found(jax.random.key(seed))) for seed in range(12)])
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    # Student's distribution of 11 degrees of freedom is beyond 5 once in 2000
    assert np.all(np.abs(values.mean(axis=0) - expected) < 5 * error)
    assert np.all(error < 0.25 * np.abs(expected))
