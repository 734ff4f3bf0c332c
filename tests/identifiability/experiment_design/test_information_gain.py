import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.identifiability import candidate_measurements, expected_information_gain
from uqbench.likelihoods import Likelihood, likelihood_of

from .models import design_matrix, explosion_study, polynomial_study


def exact(times, degree, prior, sigma):
    """1/2 log det(I + X S X' / sigma^2) of a linear model with normal prior and errors."""
    matrix = design_matrix(np.asarray(times), degree) * prior / sigma
    return 0.5 * np.linalg.slogdet(np.eye(len(times)) + matrix @ matrix.T)[1]


@pytest.mark.parametrize(
    "degree, times, prior, sigma",
    [
        pytest.param(0, [0.0], 1.0, 1.0, marks=pytest.mark.slow),
        (0, [0.0, 1.0, 1.0], 1.0, 0.5),
        (1, [-1.0, 1.0], 1.0, 0.5),
        pytest.param(1, [0.0, 0.0, 0.5], 1.0, 0.5, marks=pytest.mark.slow),
        (2, [-1.0, 0.0, 1.0], 0.7, 0.4),
    ],
)
def test_a_linear_model_has_the_closed_form(degree, times, prior, sigma):
    study = polynomial_study(degree, times, prior, sigma)
    found = expected_information_gain(study, n_outer=1000, n_inner=500)
    expected = exact(times, degree, prior, sigma)
    assert abs(found.eig - expected) < 4.0 * found.standard_error
    assert found.lower - 4.0 * found.standard_error < expected < found.upper + 4.0 * found.standard_error
    assert found.lower < found.eig < found.upper
    assert found.resolved == (max(found.upper - found.lower, 2.0 * found.standard_error) <= 0.1)


def test_inner_draws_are_increased_until_they_do():
    study = polynomial_study(1, [-1.0, -1.0, 1.0, 1.0], 1.0, 0.3)
    found = expected_information_gain(study, n_outer=400, n_inner=250, n_inner_most=8000)
    assert found.n_inner > 250 and found.upper - found.lower <= found.accuracy


@pytest.mark.slow
def test_extrapolation_takes_the_bias_of_few_inner_draws_away():
    study = polynomial_study(1, [-1.0, -1.0, 1.0, 1.0], 1.0, 0.3)
    found = expected_information_gain(study, n_outer=4000, n_inner=200, n_inner_most=200)
    expected = exact([-1.0, -1.0, 1.0, 1.0], 1, 1.0, 0.3)
    assert found.upper - expected > 4.0 * found.standard_error
    assert abs(found.eig - expected) < 0.5 * (found.upper - expected)


def test_too_few_draws_are_said_to_be_too_few():
    found = expected_information_gain(
        polynomial_study(2, [-1.0, 0.0, 1.0], 1.0, 1e-3), n_outer=100, n_inner=50, n_inner_most=200
    )
    assert np.isnan(found.eig) and np.isnan(found.standard_error) and not found.resolved and found.n_inner == 200
    # the lower bound holds all the same
    assert found.lower < exact([-1.0, 0.0, 1.0], 2, 1.0, 1e-3)


@pytest.mark.slow
def test_designs_are_ordered_by_what_they_tell_with_common_draws():
    study = polynomial_study(1)
    candidates = candidate_measurements(study, times=[0.0, 1.0, 2.0])
    gains = [
        float(expected_information_gain(study, candidates, times, n_outer=400, n_inner=400, n_inner_most=400).eig)
        for times in 2 * np.eye(3, dtype=int)
    ]
    assert gains == sorted(gains)
    again = expected_information_gain(
        study, candidates, np.array([2, 0, 0]), n_outer=400, n_inner=400, n_inner_most=400
    )
    assert float(again.eig) == gains[0]


def test_draws_whose_solves_fail_are_counted_and_left_out():
    study = explosion_study()
    candidates = candidate_measurements(study, times=[0.5], inputs={"x0": [2.0]})
    # infinite at .5 where k > 1: half of the prior
    found = expected_information_gain(study, candidates, n_outer=200, n_inner=200, n_inner_most=200)
    count = sum(json.loads(found.failed).values())
    assert 0.4 < count / found.draws < 0.6


def test_where_all_draws_fail_there_is_no_gain():
    study = explosion_study()
    candidates = candidate_measurements(study, times=[5.0], inputs={"x0": [10.0]})
    with pytest.raises(uq.InputError, match="draws from the prior fail"):
        expected_information_gain(study, candidates, n_outer=20, n_inner=20)


@pytest.mark.slow
def test_densities_of_many_tables_are_those_of_each():
    study = polynomial_study(1, [-1.0, 0.5, 0.5])
    likelihood = likelihood_of(study)
    thetas = {name: jnp.asarray(value) for name, value in {"a": [0.0, 1.0], "b": [2.0, -1.0]}.items()}
    tables = {"y": jax.random.normal(jax.random.key(0), (4, 3))}
    # the general form solves again for each pair
    expected = Likelihood.log_densities(likelihood, thetas, tables)
    np.testing.assert_allclose(likelihood.log_densities(thetas, tables), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "settings, finding",
    [
        ({"n_outer": 1}, "at least 20"),
        ({"n_inner": 2.5}, "whole number"),
        ({"seed": -1}, "at least 0"),
        ({"accuracy": 0.0}, "above 0"),
        ({"times_measured": np.ones(2, int)}, "for each of the candidates"),
    ],
)
def test_wrong_settings_are_named(settings, finding):
    with pytest.raises(uq.InputError, match=finding):
        expected_information_gain(polynomial_study(1), **settings)
