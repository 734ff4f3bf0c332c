"""Noise written as a formula of outputs and parameters, and known errors as columns of the table."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import uqbench as uq
from uqbench.distributions.expressions import Expression, expression_of
from uqbench.identifiability import fisher_information, structural_identifiability
from uqbench.likelihoods import likelihood_of, log_likelihood, simulate_data
from uqbench.model import digest

from ..conftest import decay_initial, decay_observe, decay_rhs

TIMES = np.array([0.0, 1.0, 2.0, 4.0])
ERRORS = np.array([0.1, 0.2, 0.1, 0.3])
VALUES = np.array([3.8, 2.5, 1.4, 0.6])
THETA = {"k": 0.6, "a": 0.1, "b": 0.2}
MEAN = 4.0 * np.exp(-0.6 * TIMES)
SPACE = uq.Space(
    k=uq.epistemic(uq.LogNormal(median=0.5, sigma=0.5)),
    a=uq.epistemic(uq.HalfNormal(1.0)),
    b=uq.epistemic(uq.HalfNormal(1.0)),
)
DESIGN = uq.Design(inputs={"dose": 4.0})


def model(noise, **more):
    return uq.Model(SPACE, uq.Ode(decay_initial, decay_rhs), decay_observe, {"C": "mg/L"}, {"C": noise}, **more)


def study(noise, **more):
    table = pd.DataFrame({"experiment": "e", "output": "C", "time": TIMES, "value": VALUES, "se": ERRORS})
    return uq.Study("formulas", model(noise, **more), {"e": DESIGN}, table)


def density(noise, **more):
    return float(log_likelihood(study(noise, **more))(THETA))


COMBINED = uq.Normal("C", "a + b*C")
SD = 0.1 + 0.2 * MEAN


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        (COMBINED, stats.norm.logpdf(VALUES, MEAN, SD)),
        (uq.Normal("C", "sqrt(a**2 + (b*C)**2)"), stats.norm.logpdf(VALUES, MEAN, np.hypot(0.1, 0.2 * MEAN))),
        (uq.Laplace("C", "a + b*C"), stats.laplace.logpdf(VALUES, MEAN, SD)),
        (uq.StudentT(nu="1/a", mu="C", sigma="a + b*C"), stats.t.logpdf(VALUES, 10.0, MEAN, SD)),
        (uq.LogNormal(median="C + a", sigma="b"), stats.lognorm.logpdf(VALUES, 0.2, scale=MEAN + 0.1)),
        (uq.Gamma(mu="C", sigma="b*C"), stats.gamma.logpdf(VALUES, 25.0, scale=MEAN / 25.0)),
        (uq.Normal("C - a", "max(a, b*C)"), stats.norm.logpdf(VALUES, MEAN - 0.1, np.maximum(0.1, 0.2 * MEAN))),
    ],
    ids=repr,
)
def test_the_density_is_that_of_the_formula(noise, expected):
    assert density(noise) == pytest.approx(expected.sum(), rel=1e-6)


def test_information_is_the_closed_form_that_of_the_noise_parameters_too():
    found = fisher_information(study(COMBINED), THETA, scale="natural")
    of_mean = np.stack([-TIMES * MEAN, 0 * TIMES, 0 * TIMES], axis=1)
    of_sd = np.stack([-0.2 * TIMES * MEAN, np.ones(4), MEAN], axis=1)
    expected = np.einsum("ri,rj,r->ij", of_mean, of_mean, SD**-2) + 2 * np.einsum("ri,rj,r->ij", of_sd, of_sd, SD**-2)
    np.testing.assert_allclose(found.matrix, expected, rtol=1e-6)


def test_the_gradient_is_that_of_central_differences():
    def closed(theta):
        mean = 4.0 * np.exp(-theta["k"] * TIMES)
        return stats.norm.logpdf(VALUES, mean, theta["a"] + theta["b"] * mean).sum()

    gradient = jax.grad(log_likelihood(study(COMBINED)))({name: jnp.asarray(value) for name, value in THETA.items()})
    for name, value in THETA.items():
        up, down = (closed({**THETA, name: value + step}) for step in (1e-6, -1e-6))
        assert float(gradient[name]) == pytest.approx((up - down) / 2e-6, rel=1e-5)


def test_moments_and_simulated_data_have_the_spread_of_the_formula():
    combined = study(COMBINED)
    moments = likelihood_of(combined).moments(SPACE.complete(THETA))
    np.testing.assert_allclose(np.diag(moments.covariance[0]), SD**2, rtol=1e-6)
    draws = [simulate_data(combined, THETA, jax.random.key(seed))["value"] for seed in range(50)]
    residual = (np.stack(draws) - MEAN) / SD
    assert abs(residual.std() - 1) < 4 / np.sqrt(2 * residual.size)


@pytest.mark.parametrize(
    ("text", "a", "b"),
    [
        ("a + b*C", "global", "global"),
        # both are known up to their signs
        ("sqrt(a**2 + (b*C)**2)", "local", "local"),
        ("(a + b)*C", "none", "none"),
        ("sqrt(a**2 + b**2)", "none", "none"),
    ],
)
def test_structural_verdicts_of_what_the_noise_is_made_of(text, a, b):
    found = structural_identifiability(model(uq.Normal("C", text))).verdict.to_series()
    assert found.to_dict() == {"k": "global", "a": a, "b": b}


def test_a_known_error_of_each_row_is_a_column():
    expected = stats.norm.logpdf(VALUES, MEAN, ERRORS).sum()
    assert density(uq.Normal("C", "se"), columns={"se": "mg/L"}) == pytest.approx(expected, rel=1e-6)


def test_a_column_in_a_formula_as_in_a_meta_analysis():
    noise, columns = uq.Normal("C", "sqrt(se**2 + a**2)"), {"se": "mg/L"}
    expected = stats.norm.logpdf(VALUES, MEAN, np.hypot(ERRORS, 0.1)).sum()
    assert density(noise, columns=columns) == pytest.approx(expected, rel=1e-6)
    found = structural_identifiability(model(noise, columns=columns)).verdict.to_series()
    assert found[["k", "a"]].to_dict() == {"k": "global", "a": "local"}


def test_everything_wrong_with_formulas_is_said_at_once():
    with pytest.raises(uq.InputError) as error:
        model(uq.Normal("C", "a ^ d + foo(C)"), columns={"time": "", "se": "mg"})
    text = str(error.value)
    for part in ("written **", "'foo' is none of", "names 'd'", "'time' is always", "'se' is named by no noise"):
        assert part in text


def test_everything_wrong_with_a_column_is_said_at_once():
    table = pd.DataFrame(
        {"experiment": "e", "output": "C", "time": TIMES, "value": VALUES, "se": [0.1, "x", None, np.inf]}
    )
    columns = {"se": "mg/L"}
    with pytest.raises(uq.InputError) as error:
        uq.Study("bad", model(uq.Normal("C", "se"), columns=columns), {"e": DESIGN}, table)
    assert {"row 1: se 'x' is not a number.", "row 2: se is missing.", "row 3: se is infinite."} <= {
        *error.value.findings
    }
    with pytest.raises(uq.InputError, match="no column 'se'"):
        uq.Study("bad", model(uq.Normal("C", "se"), columns=columns), {"e": DESIGN}, table.drop(columns="se"))
    with pytest.raises(uq.InputError, match="give the study data"):
        uq.Study("bad", model(uq.Normal("C", "se"), columns=columns), {"e": DESIGN.at(TIMES)})


def test_a_scale_that_is_not_positive_has_no_density_and_the_noise_is_named():
    bad = study(uq.Normal("C", "a - b*C"))
    assert float(log_likelihood(bad)(THETA)) == -np.inf
    (finding,) = likelihood_of(bad).density_findings(SPACE.complete(THETA))
    assert "a - b*C" in finding and "positive" in finding


def test_the_check_of_a_model_finds_a_scale_that_is_not_positive():
    with pytest.raises(uq.InputError, match=r"sigma.*must be positive"):
        uq.check_model(model(uq.Normal("C", "a - 9 - b*C")))


def test_the_digest_follows_the_formula_and_the_columns():
    design = DESIGN.at(TIMES)
    given = [model(COMBINED), model(uq.Normal("C", "a + b*C**2")), model(uq.Normal("C", "a"))]
    assert len({digest(each, design) for each in given}) == 3


def test_reparametrised_models_have_the_noise_of_the_old_one():
    old = model(uq.Normal("C", "a*b*C"))
    new = old.reparametrised({"ab": "a*b"}, design=DESIGN.at(TIMES))
    assert "ab" in new.noise_names("C") or "ab" in new.space
    theta = {name: value for name, value in THETA.items() if name in new.space} | {"ab": 0.02}
    table = study(COMBINED).data
    values = [
        float(log_likelihood(uq.Study("s", each, {"e": DESIGN}, table))(at))
        for each, at in ((old, THETA), (new, theta))
    ]
    assert values[1] == pytest.approx(values[0], rel=1e-9)


def test_formulas_are_read_and_never_executed():
    assert expression_of("a b") is None and expression_of("C") is None
    assert Expression("2*a**2 - min(b, -1)").renamed({"a": "x", "b": 3.0})({"x": 2.0}) == 9.0
    value, error = Expression("a*C").with_error({"a": 2.0, "C": -1.0}, {"C": 0.1})
    assert (float(value), float(error)) == pytest.approx((-2.0, 0.2))
