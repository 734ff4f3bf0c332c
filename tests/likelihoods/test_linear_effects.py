"""Scales and offsets that are integrated out: the density is that of a normal vector with their covariance."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import uqbench as uq
from uqbench.likelihoods import Independent, LinearEffects, likelihood_of

TIMES = np.array([0.5, 1.0, 2.0, 4.0])
THETA = {"k": 0.4, "sigma": 0.07, "mean": 1.2, "spread": 0.8}
GELS = ("one", "two", "three")


def initial(p, inputs):
    return {"x": 1.0}


def decay(t, y, p, inputs):
    return {"x": -p["k"] * y["x"]}


def seen(y, p):
    return {"x": y["x"], "twice": 2.0 * y["x"]}


def table(outputs=("x",)):
    rng = np.random.default_rng(0)
    rows = [
        ("e", output, t, 2.0 * np.exp(-0.4 * t) + 0.3 + 0.1 * rng.normal(), gel)
        for output in outputs
        for gel in GELS
        for t in TIMES
    ]
    return pd.DataFrame(rows, columns=["experiment", "output", "time", "value", "gel"])


def study_of(noise, data=None, **more):
    space = uq.Space(
        **{
            "k": uq.epistemic(uq.LogNormal(median=0.5, sigma=1.0)),
            "sigma": uq.epistemic(uq.HalfNormal(0.5)),
            "mean": uq.epistemic(uq.Normal(1.0, 1.0)),
            "spread": uq.epistemic(uq.HalfNormal(1.0)),
            "scale": uq.epistemic(uq.Normal("mean", "spread"), by="gel"),
            "offset": uq.epistemic(uq.Normal(0.0, 0.5)),
            **more,
        }
    )
    model = uq.Model(space, uq.Ode(initial, decay), seen, {"x": "", "twice": ""}, noise, name="relative")
    return uq.Study("relative", model, {"e": uq.Design()}, table() if data is None else data)


def effects_of(study):
    found = LinearEffects.of(likelihood_of(study))
    assert found is not None
    return found


def values_of(theta):
    """With a scale of 1, for studies that fix it."""
    return {name: jnp.asarray(value) for name, value in {"scale": 1.0, **theta}.items()}


def covariance_and_mean(theta):
    """Of the table: rows of a gel share its scale, all rows the offset."""
    shape = np.tile(np.exp(-theta["k"] * TIMES), len(GELS))
    scales = np.kron(np.eye(len(GELS)), np.ones((len(TIMES), 1))) * shape[:, None]
    covariance = theta["sigma"] ** 2 * np.eye(len(shape)) + theta["spread"] ** 2 * scales @ scales.T + 0.5**2
    return scales, covariance, theta["mean"] * shape


def test_the_density_is_that_of_a_normal_vector():
    study = study_of({"x": uq.Normal("scale*x + offset", "sigma")})
    effects = effects_of(study)
    assert effects.names == ("scale_one", "scale_two", "scale_three", "offset")
    _, covariance, mean = covariance_and_mean(THETA)
    expected = stats.multivariate_normal(mean, covariance).logpdf(study.data["value"])
    assert float(effects.log_density(values_of(THETA))) == pytest.approx(expected, rel=1e-7)
    other = {output: rows.value + 0.5 for output, rows in effects.conditional.observations.rows.items()}
    expected = stats.multivariate_normal(mean, covariance).logpdf(study.data["value"] + 0.5)
    assert float(effects.log_density(values_of(THETA), other)) == pytest.approx(expected, rel=1e-7)


def test_a_wide_prior_costs_no_digits():
    wide = uq.epistemic(uq.Normal(0.0, 1e6))
    study = study_of({"x": uq.Normal("offset + x", "sigma")}, offset=wide, scale=uq.fixed(1.0))
    effects = effects_of(study)
    theta = THETA | {"sigma": 1e-3}
    residual = study.data["value"].to_numpy() - np.tile(np.exp(-0.4 * TIMES), len(GELS))
    count, variance = len(residual), theta["sigma"] ** 2
    # the density of the mean with its own variance, that of the deviations from it with one degree of freedom less
    apart = np.sum((residual - residual.mean()) ** 2)
    expected = (
        -apart / (2 * variance)
        - (count - 1) / 2 * np.log(2 * np.pi * variance)
        - np.log(count) / 2
        + stats.norm(0.0, np.hypot(1e6, theta["sigma"] / np.sqrt(count))).logpdf(residual.mean())
    )
    # the solve is known to some 1e-9, which counts in units of sigma
    assert float(effects.log_density(values_of(theta))) == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_the_gradient_is_that_of_central_differences():
    effects = effects_of(study_of({"x": uq.Normal("scale*x + offset", "sigma")}))
    gradient = jax.grad(lambda theta: effects.log_density(theta))(values_of(THETA))

    def closed(theta):
        _, covariance, mean = covariance_and_mean(theta)
        return stats.multivariate_normal(mean, covariance).logpdf(table()["value"])

    for name, value in THETA.items():
        up, down = (closed({**THETA, name: value + step}) for step in (1e-5, -1e-5))
        assert float(gradient[name]) == pytest.approx((up - down) / 2e-5, rel=1e-5)


def test_what_is_put_back_has_the_moments_of_the_regression():
    study = study_of({"x": uq.Normal("scale*x + offset", "sigma")})
    effects = effects_of(study)
    scales, covariance, mean = covariance_and_mean(THETA)
    slopes = np.column_stack([scales, np.ones(len(scales))])
    prior = np.diag([THETA["spread"] ** 2] * 3 + [0.25])
    gain = prior @ slopes.T @ np.linalg.inv(covariance)
    centre = [THETA["mean"]] * 3 + [0.0] + gain @ (study.data["value"] - mean)
    # the map from standard normal latents is affine: its columns are the root of the covariance
    at = [np.array([*effects.placed(values_of(THETA), latents).values()]) for latents in [np.zeros(4), *np.eye(4)]]
    np.testing.assert_allclose(at[0], centre, rtol=1e-6)
    root = np.stack([each - at[0] for each in at[1:]], axis=1)
    np.testing.assert_allclose(root @ root.T, prior - gain @ slopes @ prior, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("noise", "names"),
    [
        ({"x": uq.Normal("scale*(x + offset)", "sigma")}, ("scale_one", "scale_two", "scale_three")),
        ({"x": uq.Normal("x + offset", "sigma*offset**2")}, ()),
        ({"x": uq.Normal("x*exp(offset)", "sigma")}, ()),
        ({"x": uq.LogNormal(mu="log(x) + offset", sigma="sigma")}, ()),
        ({"x": uq.Normal("x/offset", "sigma")}, ()),
        ({"x": uq.Normal("x + offset/(1 + k)", "sigma")}, ("offset",)),
    ],
    ids=str,
)
def test_only_what_is_linear_is_integrated_out(noise, names):
    used = {name for each in noise.values() for name in each.names}
    without = {} if any("scale" in name for name in used) else {"scale": uq.fixed(1.0)}
    found = LinearEffects.of(likelihood_of(study_of(noise, **without)))
    assert (found.names if found else ()) == names


def test_other_priors_limits_and_other_uses_stand_against_it():
    plain = {"x": uq.Normal("x + offset", "sigma")}
    fixed = {"scale": uq.fixed(1.0)}
    for changed in (
        {"offset": uq.epistemic(uq.LogNormal(0.0, 1.0))},
        {"later": uq.epistemic(uq.Normal("offset", 1.0))},
    ):
        assert LinearEffects.of(likelihood_of(study_of(plain, **fixed, **changed))) is None
    censored = table().assign(value=lambda rows: rows["value"].map(lambda value: "<0.8" if value < 0.8 else value))
    assert LinearEffects.of(likelihood_of(study_of(plain, censored, **fixed))) is None
    assert (
        LinearEffects.of(
            likelihood_of(study_of({"x": uq.Normal("x", "sigma")}, k=uq.epistemic(uq.Normal(0.5, 0.1)), **fixed))
        )
        is None
    )


def test_rows_of_other_outputs_keep_their_density_censored_ones_too():
    noise = {"x": uq.Normal("x + offset", "sigma"), "twice": uq.Normal("k*twice", "sigma")}
    data = table(("x", "twice"))
    beyond = (data["output"] == "twice") & (data["value"] < 0.7)
    data["value"] = data["value"].where(~beyond, "<0.7")
    study = study_of(noise, data, scale=uq.fixed(1.0))
    effects = effects_of(study)
    assert effects.names == ("offset",)
    shape = np.tile(np.exp(-0.4 * TIMES), len(GELS))
    own = study.data["output"] == "x"
    covariance = 0.07**2 * np.eye(len(shape)) + 0.5**2
    expected = stats.multivariate_normal(shape, covariance).logpdf(study.data.loc[own, "value"].astype(float))
    mean, value = 0.8 * shape, study.data.loc[~own, "value"].to_numpy(float)
    hidden = beyond[~own.to_numpy()].to_numpy()
    assert hidden.any()
    expected += np.where(hidden, stats.norm(mean, 0.07).logcdf(0.7), stats.norm(mean, 0.07).logpdf(value)).sum()
    assert float(effects.log_density(values_of(THETA))) == pytest.approx(expected, rel=1e-6)


def test_a_failed_solve_has_no_density_and_no_slope():
    study = study_of({"x": uq.Normal("scale*x + offset", "sigma")})
    effects = effects_of(study)
    value, gradient = jax.value_and_grad(lambda theta: effects.log_density(theta))(values_of(THETA | {"k": -1e6}))
    assert float(value) == -np.inf
    assert not any(float(each) for each in gradient.values())


class Tempered(Independent):
    def log_density(self, theta, key=None, values=None):
        return 0.5 * super().log_density(theta, key, values)


def test_a_likelihood_of_ones_own_keeps_its_density():
    study = study_of({"x": uq.Normal("x + offset", "sigma")}, scale=uq.fixed(1.0))
    assert LinearEffects.of(Independent.of(study)) is not None
    assert LinearEffects.of(Tempered.of(study)) is None
