"""Posteriors that are known: by conjugacy, or by quadrature of a density that is known in closed form."""

import arviz as az
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import uqbench as uq
from uqbench.calibration import calibrate


def initial(p, inputs):
    return {"x": p["a"]}


def rising(t, y, p, inputs):
    return {"x": p["b"] + 0.0 * y["x"]}


def seen(y, p):
    return {"x": y["x"]}


def line(space, noise, data, **more):
    """x = a + b t, measured with noise; one unit for each experiment."""
    model = uq.Model(space, uq.Ode(initial, rising), seen, units={"x": ""}, noise={"x": noise}, name="line")
    designs = {name: uq.Design() for name in pd.unique(data["experiment"])}
    return uq.Study("line", model, designs, data.assign(output="x"), **more)


def assert_known(tree, name, at, log_density):
    """Mean and standard deviation of draws are those of a density on a grid, up to their own error."""
    weight = np.exp(log_density - np.max(log_density))
    weight = weight / np.sum(weight)
    mean = np.sum(weight * at)
    sd = np.sqrt(np.sum(weight * (at - mean) ** 2))
    draws = tree["posterior"][name]
    ess = float(az.ess(draws)), float(az.ess((draws - mean) ** 2))
    spread = np.sqrt(np.sum(weight * (at - mean) ** 4) / sd**4 - 1) / 2
    assert abs(float(draws.mean()) - mean) < 4 * sd / np.sqrt(ess[0])
    assert abs(float(draws.std()) / sd - 1) < 4 * spread / np.sqrt(ess[1])
    # a density that is a fifth wider is told apart
    assert 4 * spread / np.sqrt(ess[1]) < 0.2


def test_counts_with_a_gamma_prior():
    counts = [3, 5, 2, 4, 6, 1]
    data = pd.DataFrame({"experiment": "one", "time": 0.0, "value": counts, "replicate": range(6)})
    space = uq.Space(a=uq.epistemic(uq.Gamma(2.0, 0.5)), b=uq.fixed(0.0))
    tree = calibrate(line(space, uq.Poisson("x"), data), draws=500, tune=300)
    at = np.linspace(0.5, 9, 2000)
    assert_known(tree, "a", at, stats.gamma(2 + sum(counts), scale=1 / (0.5 + 6)).logpdf(at))


def test_values_below_and_above_limits():
    values = ["1.9", "0.4", "<0", "<0", "<-0.5", ">2", "1.1"]
    data = pd.DataFrame({"experiment": "one", "time": 0.0, "value": values, "replicate": range(7)})
    space = uq.Space(a=uq.epistemic(uq.Normal(0.0, 2.0)), b=uq.fixed(0.0))
    tree = calibrate(line(space, uq.Normal("x", 1.0), data), draws=500, tune=300)
    at = np.linspace(-3, 4, 2000)
    density = stats.norm(0, 2).logpdf(at)
    for text in values:
        if text[0] == "<":
            density += stats.norm(at, 1).logcdf(float(text[1:]))
        elif text[0] == ">":
            density += stats.norm(at, 1).logsf(float(text[1:]))
        else:
            density += stats.norm(at, 1).logpdf(float(text))
    assert_known(tree, "a", at, density)


def squared(p, inputs):
    return {"x": p["a"] ** 2}


@pytest.mark.slow
def test_both_signs_of_a_square_are_found_from_a_prior_on_one_side():
    """Two modes far apart, of which the prior makes one e times as probable as the other."""
    data = pd.DataFrame({"experiment": ["one"], "time": 0.0, "value": [4.0], "output": "x"})
    space = uq.Space(a=uq.epistemic(uq.Normal(1.0, 2.0)), b=uq.fixed(0.0))
    model = uq.Model(space, uq.Ode(squared, rising), seen, {"x": ""}, {"x": uq.Normal("x", 0.2)}, name="square")
    tree = calibrate(uq.Study("square", model, {"one": uq.Design()}, data), draws=500, tune=300)
    at = np.linspace(-4, 4, 8001)
    assert_known(tree, "a", at, stats.norm(1, 2).logpdf(at) + stats.norm(at**2, 0.2).logpdf(4.0))
    assert (tree["posterior"]["a"] > 0).mean() == pytest.approx(np.e / (1 + np.e), abs=0.1)


TIMES = np.array([0.0, 1.0, 2.0])
SPREAD, NOISE, UNITS = (1.0, 0.5), 0.4, 15


def of_units(rho, seed=0):
    """Lines whose intercepts and slopes are correlated."""
    rng = np.random.default_rng(seed)
    covariance = np.outer(SPREAD, SPREAD) * [[1, rho], [rho, 1]]
    effects = rng.multivariate_normal([2.0, 1.0], covariance, UNITS)
    values = effects[:, :1] + effects[:, 1:] * TIMES + NOISE * rng.normal(size=(UNITS, len(TIMES)))
    rows = [(f"unit {u}", t, values[u, k]) for u in range(UNITS) for k, t in enumerate(TIMES)]
    return values, pd.DataFrame(rows, columns=["experiment", "time", "value"])


@pytest.mark.slow
def test_correlated_parameters_of_units_in_a_linear_model():
    values, data = of_units(0.7)
    space = uq.Space(
        **uq.correlated(a=uq.aleatory(uq.Normal(2.0, SPREAD[0])), b=uq.aleatory(uq.Normal(1.0, SPREAD[1])), eta=2.0)
    )
    tree = calibrate(line(space, uq.Normal("x", NOISE), data), draws=500, tune=500)
    at, basis = np.linspace(-0.999, 0.999, 1500), np.stack([np.ones(3), TIMES], axis=1)
    density = np.log1p(-(at**2))
    for k, rho in enumerate(at):
        covariance = basis @ (np.outer(SPREAD, SPREAD) * [[1, rho], [rho, 1]]) @ basis.T + NOISE**2 * np.eye(3)
        density[k] += stats.multivariate_normal(2.0 + TIMES, covariance).logpdf(values).sum()
    assert_known(tree, "corr_a_b", at, density)


@pytest.mark.slow
def test_covariates_act_through_formulas():
    """a = a0 + slope (weight - 70) + deviation of the unit: a linear regression, which is known."""
    rng = np.random.default_rng(1)
    weight = rng.uniform(40, 110, UNITS)
    value = 1.0 + 0.03 * (weight - 70) + 0.5 * rng.normal(size=UNITS) + NOISE * rng.normal(size=UNITS)
    data = pd.DataFrame(
        {"experiment": [f"unit {u}" for u in range(UNITS)], "time": 0.0, "value": value, "weight": weight}
    )
    space = uq.Space(
        weight=uq.covariate(70.0, "kg"),
        slope=uq.epistemic(uq.Normal(0.0, 0.1)),
        a=uq.aleatory(uq.Normal("1 + slope*(weight - 70)", 0.5)),
        b=uq.fixed(0.0),
    )
    tree = calibrate(line(space, uq.Normal("x", NOISE), data), draws=500, tune=500)
    at = np.linspace(-0.1, 0.2, 2000)
    sd = np.sqrt(0.5**2 + NOISE**2)
    density = stats.norm(0, 0.1).logpdf(at) + sum(
        stats.norm(1 + at * (w - 70), sd).logpdf(v) for w, v in zip(weight, value, strict=True)
    )
    assert_known(tree, "slope", at, density)


def on_a_day(p, inputs):
    return {"x": p["a"] + jnp.where(inputs["day"] == 1.0, p["day_1"], p["day_2"])}


@pytest.mark.slow
def test_variability_between_the_occasions_of_a_unit():
    """Units measured on two days, each with a deviation of its own: a linear model of two variances."""
    rng = np.random.default_rng(4)
    days = {"first": 1.0, "second": 2.0}
    a, deviation = rng.normal(2.0, 1.0, UNITS), 0.6 * rng.normal(size=(UNITS, 2))
    values = (a[:, None] + deviation)[:, :, None] + NOISE * rng.normal(size=(UNITS, 2, 2))
    rows = [
        (day, f"unit {u}", "x", 0.0, values[u, k, n], n)
        for u in range(UNITS)
        for k, day in enumerate(days)
        for n in range(2)
    ]
    columns = ["experiment", "subject", "output", "time", "value", "replicate"]
    space = uq.Space(
        between_days=uq.epistemic(uq.HalfNormal(1.0)),
        a=uq.aleatory(uq.Normal(2.0, 1.0)),
        day_1=uq.aleatory(uq.Normal(0.0, "between_days")),
        day_2=uq.aleatory(uq.Normal(0.0, "between_days")),
        b=uq.fixed(0.0),
    )
    model = uq.Model(space, uq.Ode(on_a_day, rising), seen, {"x": ""}, {"x": uq.Normal("x", NOISE)}, name="occasions")
    designs = {name: uq.Design(inputs={"day": number}) for name, number in days.items()}
    study = uq.Study("occasions", model, designs, pd.DataFrame(rows, columns=columns), unit="subject")
    tree = calibrate(study, draws=500, tune=500)
    at = np.linspace(0.01, 2.5, 800)
    density = stats.halfnorm(0, 1).logpdf(at)
    same_day = np.kron(np.eye(2), np.ones((2, 2)))
    for k, sd in enumerate(at):
        covariance = np.ones((4, 4)) + sd**2 * same_day + NOISE**2 * np.eye(4)
        density[k] += stats.multivariate_normal(np.full(4, 2.0), covariance).logpdf(values.reshape(UNITS, 4)).sum()
    assert_known(tree, "between_days", at, density)


def test_a_covariate_that_is_missing_or_changes_is_named():
    data = of_units(0.0)[1].assign(weight=70.0)
    data.loc[data["experiment"] == "unit 3", "weight"] = np.nan
    data.loc[data.index[0], "weight"] = 71.0
    space = uq.Space(
        weight=uq.covariate(70.0, "kg"),
        age=uq.covariate(40.0),
        a=uq.aleatory(uq.Normal("weight/70", 0.5)),
        b=uq.fixed(1.0),
    )
    with pytest.raises(uq.InputError) as caught:
        line(space, uq.Normal("x", NOISE), data)
    for part in (
        "the covariate 'weight' is missing for experiment unit 3",
        "the covariate 'weight' has more than one value for experiment unit 0",
        "the covariate 'age' is missing for experiment unit 0, unit 1",
    ):
        assert part in str(caught.value)
