"""Scores: value, gradient and a root of the information, for every family that can be the noise of a measurement."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import uqbench as uq
from uqbench.identifiability import fisher_information
from uqbench.likelihoods import likelihood_of
from uqbench.likelihoods.roots import small_eigh

from ..conftest import decay_initial, decay_observe
from .test_protocol import Offsets, level_study

REAL, COUNTS, SHARES = [0.8, 1.4, 0.3, 0.5, 1.1], [1.0, 3.0, 0.0, 2.0, 1.0], [0.5, 0.4, 0.3, 0.2, 0.6]
NOISE = {
    "Normal": (uq.Normal("y", "s"), REAL),
    "Normal with a formula": (uq.Normal("y", "sqrt(s**2 + (.1*y)**2)"), REAL),
    "LogNormal": (uq.LogNormal(median="y", sigma="s"), REAL),
    "StudentT": (uq.StudentT(4.0, "y", "s"), REAL),
    "StudentT of unknown tails": (uq.StudentT("nu", "y", "s"), REAL),
    "Laplace": (uq.Laplace("y", "s"), REAL),
    "Cauchy": (uq.Cauchy("y", "s"), REAL),
    "Gamma": (uq.Gamma("nu", "y"), REAL),
    "Exponential": (uq.Exponential("y"), REAL),
    "HalfNormal": (uq.HalfNormal("y"), REAL),
    "HalfCauchy": (uq.HalfCauchy("y"), REAL),
    "Beta": (uq.Beta("y", "nu"), SHARES),
    "Poisson": (uq.Poisson("y"), COUNTS),
    "NegativeBinomial": (uq.NegativeBinomial(mu="y", alpha="nu"), COUNTS),
    "TruncatedNormal": (uq.TruncatedNormal(mu="y", sigma="s", lower=0.0, upper=4.0), REAL),
}
THETA = {"k": 0.4, "s": 0.3, "nu": 4.5}


def study_of(noise, values, name):
    space = uq.Space({each: uq.epistemic(uq.LogNormal(0.0, 1.0)) for each in THETA})
    model = uq.Model.from_function(space, outputs, {"y": ""}, {"y": noise}, name=name)
    times = np.linspace(0.0, 2.0, len(values))
    data = pd.DataFrame({"experiment": "e", "output": "y", "time": times, "value": values})
    return uq.Study(name, model, {"e": uq.Design()}, data)


def outputs(theta, design, key):
    return {"y": 1.5 * jnp.exp(-theta["k"] * design.times) + 0 * (theta["s"] + theta["nu"])}


def in_logarithms(x):
    return dict(zip(THETA, jnp.exp(x), strict=True))


def compiled(study, place):
    likelihood = likelihood_of(study)
    return jax.jit(lambda x, values=None: likelihood.scores(place, x, values))


def central(function, x, step=1e-5):
    return np.array([(function(x + step * e) - function(x - step * e)) / (2 * step) for e in np.eye(len(x))])


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "TruncatedNormal")) for n in NOISE])
def test_scores_are_the_density_its_slope_and_the_information(name):
    likelihood = likelihood_of(study_of(*NOISE[name], name))
    x = np.log(list(THETA.values()))
    density = jax.jit(lambda x: likelihood.log_density(in_logarithms(x)))
    scores, information = jax.jit(
        lambda x: (likelihood.scores(in_logarithms, x), likelihood.information(in_logarithms, x).sum(axis=0))
    )(jnp.asarray(x))
    assert float(scores.value) == pytest.approx(float(density(x)), rel=1e-12)
    np.testing.assert_allclose(scores.gradient, central(density, x), rtol=1e-6, atol=1e-7)
    matrix = np.asarray(scores.root.T @ scores.root)
    np.testing.assert_allclose(matrix, information, rtol=1e-9, atol=1e-9 * np.max(np.abs(information)))
    # r with J'r = g, but for what the information is silent of
    explained = np.asarray(scores.root.T @ scores.residual)
    silent = np.diag(matrix) == 0
    np.testing.assert_allclose(
        np.where(silent, 0, explained), np.where(silent, 0, scores.gradient), rtol=1e-6, atol=1e-8
    )


def test_scores_of_other_values_in_the_same_places():
    noise, values = NOISE["Normal"]
    first, second = (study_of(noise, each, f"places {k}") for k, each in enumerate((values, values[::-1])))
    x = jnp.log(jnp.asarray(list(THETA.values())))
    given = compiled(first, in_logarithms)(x, {"y": np.array(values[::-1])})
    for one, other in zip(given, compiled(second, in_logarithms)(x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_arguments_of_different_sizes_are_both_seen():
    """A scale of 1e-7 beside an argument of order one: rounding of the larger information must not hide the smaller."""
    noise = uq.StudentT("nu", "y", "s")
    values = np.asarray(1.5 * np.exp(-0.4 * np.linspace(0, 2, 5))) + 1e-7 * np.array([0.3, -1.0, 0.5, 2.0, -0.2])
    theta = jnp.log(jnp.array([0.4, 1e-7, 30.0]))
    scores = compiled(study_of(noise, values, "small scale"), in_logarithms)(theta)
    information = float(scores.root[:, 2] @ scores.root[:, 2])
    # by itself: n times that of nu in one measurement, which knows nothing of the scale of y
    alone = float(uq.StudentT("nu", 0.0, 1.0).fisher_information({"nu": jnp.asarray(30.0)})[0, 0]) * 30.0**2
    assert information == pytest.approx(5 * alone, rel=1e-6)


def decay_place(x):
    return {"k": jnp.exp(x[0]), "sigma": jnp.exp(x[1])}


def explosive_rhs(t, y, p, inputs):
    return {"C": p["k"] * y["C"] ** 2}


def test_a_failed_solve_is_a_failure_without_numbers(decay_study, decay_table):
    model = uq.Model(
        decay_study.model.space, uq.Ode(decay_initial, explosive_rhs), decay_observe, {"C": "mg/L"},
        {"C": uq.Normal("C", "sigma")}, name="explosive",
    )  # fmt: skip
    study = uq.Study("explosive", model, decay_study.experiments, decay_table)
    scores = compiled(study, decay_place)(jnp.zeros(2))
    assert float(scores.value) == -np.inf
    assert all(np.all(np.asarray(each) == 0) for each in scores[1:])


def test_scores_of_a_solved_model(decay_study):
    likelihood = likelihood_of(decay_study)
    x = np.log([0.6, 0.2])
    scores = compiled(decay_study, decay_place)(jnp.asarray(x))
    density = jax.jit(lambda x: likelihood.log_density(decay_place(x)))
    np.testing.assert_allclose(scores.gradient, central(density, x, 1e-4), rtol=1e-5)
    expected = fisher_information(decay_study, {"k": 0.6, "sigma": 0.2}, scale="log").matrix.values
    np.testing.assert_allclose(scores.root.T @ scores.root, expected, rtol=1e-6)


def test_a_likelihood_of_its_own_has_scores_from_its_information():
    likelihood = likelihood_of(level_study(Offsets.of))
    scores = compiled(likelihood.study, lambda x: {"m": x[0]})(jnp.array([0.7]))
    density = jax.jit(lambda x: likelihood.log_density({"m": x[0]}))
    assert float(scores.value) == pytest.approx(float(density(jnp.array([0.7]))), rel=1e-12)
    np.testing.assert_allclose(scores.gradient, central(density, np.array([0.7])), rtol=1e-6)
    np.testing.assert_allclose(scores.root.T @ scores.residual, scores.gradient, rtol=1e-9)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_eigenvalues_of_small_matrices(size):
    drawn = np.random.default_rng(size).normal(size=(50, size, size))
    matrices = drawn + np.swapaxes(drawn, 1, 2)
    # nothing, the identity, a single direction, entries far apart
    ones = np.ones((size, size))
    matrices = np.concatenate(
        [matrices, [0 * ones, np.eye(size), ones, np.diag(10.0 ** (80.0 * np.arange(size))) + ones]]
    )
    values, vectors = (np.asarray(each) for each in small_eigh(jnp.asarray(matrices)))
    scale = np.abs(matrices).max(axis=(1, 2), keepdims=True) + 1e-300
    together = np.einsum("bij,bj,bkj->bik", vectors, values, vectors)
    np.testing.assert_allclose(together / scale, matrices / scale, atol=1e-14)
    np.testing.assert_allclose(np.swapaxes(vectors, 1, 2) @ vectors, np.tile(np.eye(size), (54, 1, 1)), atol=1e-14)
    np.testing.assert_allclose(np.sort(values) / scale[:, 0], np.linalg.eigvalsh(matrices) / scale[:, 0], atol=1e-14)
