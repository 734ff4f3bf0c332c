import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.identifiability import bayesian_information, expected_information, fisher_information, unit_information
from uqbench.identifiability.prior import prior_information, prior_standard_deviations, shrinkage
from uqbench.identifiability.sensitivities import Scale


def line(theta, design, key):
    return {"y": theta["a"] + theta["b"] * design.times}


def line_study(a, b, times=(0.0, 1.0, 3.0)):
    space = uq.Space(a=uq.epistemic(a), b=uq.epistemic(b))
    model = uq.Model.from_function(space, line, {"y": ""}, {"y": uq.Normal("y", 0.5)})
    return uq.Study("line", model, {"one": uq.Design(np.array(times))})


# information of a prior on its natural scale, and of its logarithm where it is positive: closed forms
CLOSED = [
    (uq.Normal(1, 2), 1 / 4, None),
    (uq.StudentT(4, 1, 3), 5 / 7 / 9, None),
    (uq.Cauchy(0, 2), 1 / 8, None),
    (uq.Laplace(0, 2), 1 / 4, None),
    (uq.LogNormal(median=2, sigma=0.3), np.exp(2 * 0.09) * (1 + 1 / 0.09) / 4, 1 / 0.09),
    (uq.Gamma(5, 2), 4 / 3, 5.0),
    (uq.Exponential(3.0), 9.0, 1.0),
    (uq.HalfNormal(2.0), 1 / 4, 2.0),
    (uq.LogUniform(0.1, 10.0), (100 - 0.01) / (2 * np.log(100)), 0.0),
    (uq.Uniform(0.0, 2.0), 0.0, 1.0),
]


@pytest.mark.parametrize("dist, natural, logarithmic", CLOSED, ids=[repr(dist) for dist, *_ in CLOSED])
def test_the_information_of_a_prior_is_the_closed_form(dist, natural, logarithmic):
    space = uq.Space(a=uq.epistemic(dist))
    for scale, expected in (("natural", natural), ("log", logarithmic)):
        if expected is not None:
            found = prior_information(space, Scale.of(space, None, scale)).information
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize(
    "dist, expected",
    [(uq.LogNormal(median=2, sigma=0.3), 0.3), (uq.LogUniform(1e-5, 1e5), 10 * np.log(10) / 12**0.5),
     (uq.Exponential(3.0), np.pi / 6**0.5), (uq.HalfCauchy(2.0), np.pi / 2), (uq.HalfNormal(2.0), np.pi / 8**0.5)],
)  # fmt: skip
def test_the_spread_of_a_logarithm_is_the_closed_form(dist, expected):
    space = uq.Space(a=uq.epistemic(dist))
    np.testing.assert_allclose(prior_standard_deviations(space, Scale.of(space, None, "log")), expected, rtol=1e-6)


def test_an_infinite_information_is_not_made_a_number():
    study = line_study(uq.Gamma(1.5, 2.0), uq.Normal(0.0, 1.0))
    result = bayesian_information(study, scale="natural")
    assert np.isnan(result.prior_information[0]) and "infinite" in result.note.values[0]
    assert np.isnan(result.posterior_sd).all() and np.isnan(result.eigenvalue).all()
    assert result.note.values[1] == ""


def test_a_jump_at_a_bound_is_said_and_not_counted():
    result = bayesian_information(line_study(uq.Uniform(0.0, 1.0), uq.Normal(0.0, 1.0)), scale="natural")
    assert result.prior_information.values.tolist() == pytest.approx([0.0, 1.0], abs=1e-12)
    assert "jumps at a bound" in result.note.values[0]


@pytest.mark.parametrize("times", [(0.0, 1.0, 3.0), (2.0,)])
def test_of_a_linear_normal_model_the_posterior_is_the_closed_form(times):
    """Also where the data alone leave a direction open."""
    study = line_study(uq.Normal(0.0, 2.0), uq.Normal(1.0, 0.3), times)
    jacobian = np.stack([np.ones(len(times)), times], axis=1)
    precision = jacobian.T @ jacobian / 0.25 + np.diag([1 / 4, 1 / 0.09])
    result = bayesian_information(study)
    np.testing.assert_allclose(result.matrix, precision, rtol=1e-9)
    np.testing.assert_allclose(result.posterior_sd, np.sqrt(np.diag(np.linalg.inv(precision))), rtol=1e-9)
    np.testing.assert_allclose(result.eigenvalue, np.linalg.eigvalsh(precision)[::-1], rtol=1e-9)
    # the information does not depend on the parameters: the mean over the prior is the same, without an error
    expected = expected_information(study, draws=4)
    np.testing.assert_allclose(expected.bound, result.posterior_sd, rtol=1e-9)
    np.testing.assert_allclose(expected.matrix_standard_error, 0.0, atol=1e-9)
    np.testing.assert_allclose(expected.bound_standard_error, 0.0, atol=1e-9)


def test_standard_errors_of_a_linear_model_are_the_closed_form():
    times = np.array([0.0, 1.0, 3.0])
    result = fisher_information(line_study(uq.Normal(0.0, 2.0), uq.Normal(1.0, 0.3)), scale="natural")
    spread = np.sum((times - times.mean()) ** 2)
    expected = [0.5 * np.sqrt(1 / 3 + times.mean() ** 2 / spread), 0.5 / np.sqrt(spread)]
    np.testing.assert_allclose(result.standard_error, expected, rtol=1e-9)


def scaled(theta, design, key):
    return {"y": theta["a"] * design.times}


def test_the_mean_over_the_prior_is_right_within_its_error():
    """y = a t in log a: E[a^2] sum t^2 / sd^2, with E[a^2] = exp(2 sigma^2) around a median of 1."""
    space = uq.Space(a=uq.epistemic(uq.LogNormal(median=1.0, sigma=0.4)))
    model = uq.Model.from_function(space, scaled, {"y": ""}, {"y": uq.Normal("y", 0.5)})
    study = uq.Study("scaled", model, {"one": uq.Design(np.array([1.0, 2.0]))})
    result = expected_information(study, draws=400)
    expected = np.exp(2 * 0.16) * 5 / 0.25
    assert abs(float(result.matrix[0, 0]) - expected) < 4 * float(result.matrix_standard_error[0, 0])
    assert 0.01 < float(result.matrix_standard_error[0, 0]) / expected < 0.1
    precise = (expected + 1 / 0.16) ** -0.5
    assert abs(float(result.bound[0]) - precise) < 4 * float(result.bound_standard_error[0])
    again = expected_information(study, draws=400)
    np.testing.assert_array_equal(again.matrix, result.matrix)


def test_no_bound_is_claimed_where_a_density_jumps():
    result = expected_information(line_study(uq.Uniform(0.0, 1.0), uq.Normal(0.0, 1.0)), draws=3, scale="natural")
    assert np.isnan(result.bound).all() and np.isfinite(result.matrix).all()


def growth_initial(p, inputs):
    return {"x": p["x0"]}


def growth_rhs(t, y, p, inputs):
    return {"x": y["x"] ** 2}


def growth_observe(y, p):
    return {"x": y["x"]}


def growth_study(median):
    """x' = x^2 blows up at 1 / x0, before the measurement where x0 > 1/2."""
    space = uq.Space(x0=uq.epistemic(uq.LogNormal(median=median, sigma=0.5)))
    model = uq.Model(space, uq.Ode(growth_initial, growth_rhs), growth_observe, {"x": ""}, {"x": uq.Normal("x", 0.1)})
    return uq.Study("growth", model, {"one": uq.Design([2.0])})


def test_draws_that_fail_are_left_out_and_counted_by_reason():
    study = growth_study(0.4)
    draws = study.model.space.sample(jax.random.key(0), (40,))["x0"]
    result = expected_information(study, draws=40)
    failed = json.loads(result.attrs["failed_draws"])
    assert sum(failed.values()) == int(jnp.sum(draws > 0.5)) == 40 - result.attrs["used"] > 0
    assert any("left the finite numbers" in reason or "step" in reason for reason in failed)
    assert np.isfinite(result.matrix).all()


def test_where_all_draws_fail_the_reasons_are_the_error():
    with pytest.raises(uq.InputError, match="3 of 3 draws"):
        expected_information(growth_study(50.0), draws=3)


def test_wrong_settings_are_all_named():
    with pytest.raises(uq.InputError) as caught:
        expected_information(growth_study(0.1), draws=1, seed=-1, scale="decibel")
    assert len(caught.value.findings) == 3
    with pytest.raises(uq.InputError) as caught:
        unit_information(growth_study(0.1), {"x1": 1.0})
    assert len(caught.value.findings) == 2


def level(theta, design, key):
    return {"y": theta["a"] + 0 * design.times}


def test_a_unit_shrinks_as_in_the_closed_form():
    """Means of n and of 2 n values with noise s, of units that differ by w: shrinkage n / (n + s^2 / w^2)."""
    space = uq.Space(m=uq.epistemic(uq.Normal(0.0, 3.0)), a=uq.aleatory(uq.Normal("m", 0.7)))
    model = uq.Model.from_function(space, level, {"y": ""}, {"y": uq.Normal("y", 0.4)})
    designs = {"few": uq.Design(np.arange(1.0, 4.0)), "many": uq.Design(np.arange(1.0, 7.0))}
    result = unit_information(uq.Study("intercept", model, designs), {"m": 1.0}, scale="natural")
    count = np.array([3, 6])
    np.testing.assert_allclose(result.cramer_rao[:, 0], 0.4 / np.sqrt(count), rtol=1e-9)
    np.testing.assert_allclose(result.between_sd, 0.7, rtol=1e-9)
    np.testing.assert_allclose(result.shrinkage[:, 0], count / (count + 0.16 / 0.49), rtol=1e-9)


def test_a_value_without_a_logarithm_is_named(decay_study):
    with pytest.raises(uq.InputError, match="logarithm"):
        fisher_information(decay_study, {"k": -1.0})
    with pytest.raises(uq.InputError, match="finite"):
        fisher_information(decay_study, {"k": np.nan})


def test_a_study_of_known_numbers_has_no_information():
    space = uq.Space(a=uq.aleatory(uq.Normal(0.0, 1.0)))
    model = uq.Model.from_function(space, level, {"y": ""}, {"y": uq.Normal("y", 0.4)})
    with pytest.raises(uq.InputError, match="no parameters"):
        fisher_information(uq.Study("known", model, {"one": uq.Design([1.0])}))


def test_a_spread_that_is_infinite_or_not_resolved_leaves_the_others_alone():
    root = np.diag([2.0, 1.0, 0.0, 0.0])
    found = shrinkage(root, np.array([1.0, np.inf, np.inf, np.nan]))
    np.testing.assert_allclose(found, [0.8, 1.0, np.nan, np.nan])


def test_a_prior_that_is_impossible_at_these_values_has_no_spread():
    space = uq.Space(s=uq.epistemic(uq.Normal(1.0, 1.0)), a=uq.epistemic(uq.Normal(0.0, "s")))
    found = prior_standard_deviations(space, Scale.of(space, {"s": -1.0}, "natural"))
    assert found[0] == 1.0 and np.isnan(found[1])
