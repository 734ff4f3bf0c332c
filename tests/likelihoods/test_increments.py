"""New cases between observations: increments of what a state counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import uqbench as uq
from uqbench.identifiability import structural_identifiability
from uqbench.likelihoods import likelihood_of, log_likelihood
from uqbench.likelihoods.between_rows import columns_between, interval_starts

SPACE = uq.Space(
    g=uq.epistemic(uq.LogNormal(median=0.3, sigma=0.5)),
    r=uq.epistemic(uq.LogNormal(median=0.5, sigma=0.5)),
    a=uq.epistemic(uq.LogNormal(median=0.1, sigma=0.5)),
)
THETA = {"g": 0.25, "r": 0.5, "a": 0.1}
# weekly cases and, at other times, how many are ill; a second place that is followed from another time on
ROWS = [
    ("e", "cases", 7.0, 40.0),
    ("e", "ill", 3.0, 24.0),
    ("e", "cases", 14.0, 300.0),
    ("e", "cases", 21.0, 900.0),
    ("e", "ill", 10.0, 200.0),
    ("f", "cases", 2.0, 5.0),
    ("f", "ill", 0.0, 5.0),
]
EXPERIMENTS = {"e": uq.Design(inputs={"I0": 10.0}), "f": uq.Design(inputs={"I0": 5.0}, start=-1.0)}


def initial(p, inputs):
    # what has been counted before the start does not matter
    return {"I": inputs["I0"], "counted": 7.0}


def growth(t, y, p, inputs):
    return {"I": p["g"] * y["I"], "counted": p["r"] * y["I"]}


def observe(y, p):
    return {"cases": y["counted"], "ill": y["I"]}


def only_cases(y, p):
    return {"cases": y["counted"]}


def model(noise):
    noise = {"cases": noise, "ill": uq.Normal("ill", 1.0)}
    return uq.Model(SPACE, uq.Ode(initial, growth), observe, {"cases": "", "ill": ""}, noise, increments=["cases"])


def study(noise):
    return uq.Study(
        "epidemic", model(noise), EXPERIMENTS, pd.DataFrame(ROWS, columns=["experiment", "output", "time", "value"])
    )


def counted(ill, time, theta):
    return theta["r"] * ill * np.expm1(theta["g"] * np.asarray(time)) / theta["g"]


def closed_form(theta, of_cases):
    e = of_cases([40, 300, 900], np.diff(counted(10.0, [0, 7, 14, 21], theta))).sum()
    f = of_cases([5], counted(5.0, [3], theta)).sum()
    ill = [10 * np.exp(theta["g"] * 3), 10 * np.exp(theta["g"] * 10), 5 * np.exp(theta["g"])]
    return e + f + stats.norm.logpdf([24, 200, 5], ill, 1).sum()


NOISES = {
    "Poisson": (uq.Poisson("cases"), lambda y, mean: stats.poisson.logpmf(y, mean)),
    "NegativeBinomial": (
        uq.NegativeBinomial(mu="cases", alpha="1/a"),
        lambda y, mean: stats.nbinom.logpmf(y, 10.0, 10.0 / (10.0 + np.asarray(mean))),
    ),
    "formula": (
        uq.Normal("cases", "sqrt(cases + (a*cases)**2)"),
        lambda y, mean: stats.norm.logpdf(y, mean, np.sqrt(mean + (0.1 * mean) ** 2)),
    ),
}


@pytest.mark.parametrize("name", NOISES)
def test_the_density_is_that_of_increments_since_the_last_observation_of_the_output(name):
    noise, density = NOISES[name]
    assert float(log_likelihood(study(noise))(THETA)) == pytest.approx(closed_form(THETA, density), rel=1e-6)


def test_the_gradient_is_that_of_central_differences():
    noise, density = NOISES["Poisson"]
    gradient = jax.grad(log_likelihood(study(noise)))({name: jnp.asarray(value) for name, value in THETA.items()})
    for name in ("g", "r"):
        up, down = (closed_form({**THETA, name: THETA[name] + step}, density) for step in (1e-6, -1e-6))
        assert float(gradient[name]) == pytest.approx((up - down) / 2e-6, rel=1e-5)


def test_a_run_gives_increments_between_the_times_of_its_design():
    design = uq.Design([1.0, 2.0, 4.0], {"I0": 10.0})
    expected = np.diff(counted(10.0, [0, 1, 2, 4], THETA))
    poisson = model(uq.Poisson("cases"))
    np.testing.assert_allclose(uq.evaluate(poisson, THETA, design).outputs["cases"], expected, rtol=1e-6)
    many = uq.evaluate_many(poisson, {**THETA, "r": jnp.array([0.5, 1.0])}, design).outputs
    np.testing.assert_allclose(many["cases"], [expected, 2 * expected], rtol=1e-6)
    np.testing.assert_allclose(many["ill"][0], 10 * np.exp(0.25 * np.array([1, 2, 4])), rtol=1e-6)
    slope = jax.jacfwd(lambda r: uq.evaluate(poisson, {**THETA, "r": r}, design).outputs["cases"])(0.5)
    np.testing.assert_allclose(slope, expected / 0.5, rtol=1e-6)


@pytest.mark.slow
def test_equations_see_the_rate_of_what_is_counted():
    alone = uq.Model(SPACE, uq.Ode(initial, growth), only_cases, {"cases": ""}, {"cases": uq.Poisson("cases")})
    # known numbers at the start: what is counted tells r from its rate, r*I0
    assert structural_identifiability(alone).verdict.sel(parameter="r") == "global"
    tree = uq.identify(study(uq.Poisson("cases")))
    assert tree["structure"].verdict.sel(parameter=["g", "r"]).values.tolist() == ["global", "global"]
    # as the rate, and nowhere as the output itself
    assert "cases" not in tree["structure"].attrs["equations"]
    assert r"\frac{d}{dt} \mathrm{cases} = I r" in tree["structure"].attrs["outputs"].replace("\\\\", "\\")


def offset(p, inputs):
    return {"I": inputs["I0"], "counted": 100 * p["a"]}


def test_what_was_counted_before_the_start_cannot_be_known_from_increments():
    for increments, verdict in (((), "global"), (("cases",), "none")):
        counting = uq.Model(
            SPACE,
            uq.Ode(offset, growth),
            only_cases,
            {"cases": ""},
            {"cases": uq.Poisson("cases")},
            increments=increments,
        )
        assert structural_identifiability(counting).verdict.sel(parameter="a") == verdict


@pytest.mark.slow
def test_curves_are_of_increments_over_the_interval_between_observations():
    likelihood = likelihood_of(study(uq.Poisson("cases")))
    times = np.array([0.0, 3.0, 7.0, 10.0, 14.0, 21.0, 22.0])
    since = interval_starts(likelihood.observations, "cases", 0, times)
    np.testing.assert_allclose(since, [0, 0, 0, 3, 7, 14, 15])
    design = uq.Design(times, {"I0": 10.0})
    thetas = {name: jnp.full(4000, value) for name, value in THETA.items()}
    drawn = likelihood.predict_run(thetas, design, jax.random.key(0), 0)["cases"]
    mean = counted(10.0, times, THETA) - counted(10.0, since, THETA)
    np.testing.assert_allclose(np.mean(drawn, axis=0), mean, atol=1e-9, rtol=0.01)


def test_between_rows_a_column_is_interpolated():
    noise = {"ill": uq.Normal("ill", "se")}
    known = uq.Model(
        SPACE, uq.Ode(initial, growth), lambda y, p: {"ill": y["I"]}, {"ill": ""}, noise, columns={"se": ""}
    )
    table = pd.DataFrame(
        {"experiment": "e", "output": "ill", "time": [1.0, 1.0, 3.0], "value": 1.0, "se": [1.0, 3.0, 4.0]}
    )
    observations = likelihood_of(uq.Study("known", known, {"e": EXPERIMENTS["e"]}, table)).observations
    np.testing.assert_allclose(
        columns_between(observations, "ill", 0, np.array([0.0, 2.0, 9.0]))["se"], [2.0, 3.0, 4.0]
    )


def test_increments_of_what_is_no_series_are_refused():
    with pytest.raises(uq.InputError, match="`increments` has 'case'"):
        uq.Model(SPACE, uq.Ode(initial, growth), observe, {"cases": "", "ill": ""}, increments=["case"])
