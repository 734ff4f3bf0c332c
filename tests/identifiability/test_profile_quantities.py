"""Profiles of predictions and of functions of parameters, against closed forms."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

import uqbench as uq
from studies.two_scale_cascade import late, response
from uqbench.identifiability import profile_likelihood, profile_quantities

TIMES, VALUES, SIGMA = np.array([0.0, 1.0, 2.0, 4.0]), np.array([1.1, 2.9, 5.2, 8.8]), 0.5
SIGMA_LATE = 0.05
DESIGN = uq.Design(np.array([6.0]))


def line(theta, design, key):
    return {"y": theta["a"] + theta["b"] * design.times}


def product(theta, design, key):
    return {"y": theta["a"] * theta["b"] * design.times}


def study_of(function, a, b, values=VALUES, **more):
    space = uq.Space(a=uq.epistemic(a), b=uq.epistemic(b), **more)
    model = uq.Model.from_function(space, function, {"y": ""}, {"y": uq.Normal("y", SIGMA)})
    data = pd.DataFrame({"experiment": "one", "output": "y", "time": TIMES, "value": values})
    at_six = uq.Quantity(lambda outputs, design: outputs["y"][-1], DESIGN, "m")
    return uq.Study("line", model, {"one": uq.Design()}, data, {"y(6)": at_six})


def of(function):
    """A function of the parameters."""
    return uq.Quantity(lambda outputs, design, p: function(p), DESIGN)


LINE = study_of(line, uq.Normal(0.0, 10.0), uq.Normal(0.0, 10.0))
POSITIVE = study_of(line, uq.LogNormal(median=1.0, sigma=1.0), uq.LogNormal(median=2.0, sigma=1.0))
PRODUCT = study_of(product, uq.LogNormal(median=1.0, sigma=1.0), uq.LogNormal(median=1.0, sigma=1.0))


def least_squares():
    design = np.stack([np.ones_like(TIMES), TIMES], axis=1)
    return np.linalg.lstsq(design, VALUES)[0], SIGMA**2 * np.linalg.inv(design.T @ design)


@pytest.mark.parametrize("level", [0.68, 0.95])
def test_the_interval_of_a_linear_prediction_is_the_normal_one(level):
    found = profile_quantities(LINE, {}, level=level).sel(quantity="y(6)")
    estimate, covariance = least_squares()
    weights = np.array([1.0, 6.0])
    half = np.sqrt(chi2.ppf(level, 1) * weights @ covariance @ weights)
    assert float(found.value) == pytest.approx(weights @ estimate, rel=1e-6)
    ends = [float(found.lower), float(found.upper)]
    np.testing.assert_allclose(ends, weights @ estimate + [-half, half], rtol=1e-6)
    assert [str(found.verdict_lower.values), str(found.verdict_upper.values)] == ["bounded", "bounded"]
    assert str(found.unit.values) == "m"


def test_every_point_of_a_path_is_on_the_profile():
    found = profile_quantities(LINE, {})
    estimate, covariance = least_squares()
    weights = np.array([1.0, 6.0])
    away = found.path_value.values.ravel() - weights @ estimate
    fallen = found.attrs["log_density"] - found.path_log_density.values.ravel()
    known = np.isfinite(away)
    assert known.sum() > 6
    np.testing.assert_allclose(fallen[known], away[known] ** 2 / (2 * weights @ covariance @ weights), atol=1e-3)
    # and the parameters there give the value
    path = found.path.values.reshape(-1, 2)[known]
    np.testing.assert_allclose(path @ weights, found.path_value.values.ravel()[known], rtol=1e-9)


def test_a_ratio_has_the_interval_of_fieller():
    """Fieller 1954: where the line is zero, as the values that a test of a + t b = 0 does not reject."""
    found = profile_quantities(LINE, {}, {"root": of(lambda p: -p["a"] / p["b"])})
    (a, b), v = least_squares()
    z2 = chi2.ppf(0.95, 1)
    # (a + t b)^2 = z^2 (vaa + 2 t vab + t^2 vbb)
    ends = np.roots([b**2 - z2 * v[1, 1], 2 * (a * b - z2 * v[0, 1]), a**2 - z2 * v[0, 0]])
    np.testing.assert_allclose([found.lower.item(), found.upper.item()], np.sort(ends), rtol=1e-5)


@pytest.fixture(scope="module")
def as_parameter():
    return profile_likelihood(POSITIVE, {}, ["b"]).sel(parameter="b")


@pytest.mark.parametrize(
    "function, inverse",
    [(lambda b: b, lambda h: h), (jnp.log, np.exp), (lambda b: -b, np.negative), (lambda b: 1 / b, lambda h: 1 / h)],
    ids=["same", "log", "negative", "inverse"],
)
def test_a_function_of_a_parameter_has_its_interval_transformed(as_parameter, function, inverse):
    found = profile_quantities(POSITIVE, {}, {"h": of(lambda p: function(p["b"]))}).sel(quantity="h")
    ends = np.sort([inverse(found.lower.item()), inverse(found.upper.item())])
    np.testing.assert_allclose(ends, [as_parameter.lower.item(), as_parameter.upper.item()], rtol=1e-5)


def test_a_product_is_known_where_its_factors_are_not():
    quantities = {"ab": of(lambda p: p["a"] * p["b"]), "a/b": of(lambda p: p["a"] / p["b"])}
    found = profile_quantities(PRODUCT, {}, quantities)
    parameters = profile_likelihood(PRODUCT, {})
    slope, error = TIMES @ VALUES / (TIMES @ TIMES), SIGMA / np.sqrt(TIMES @ TIMES)
    half = error * np.sqrt(chi2.ppf(0.95, 1))
    product = found.sel(quantity="ab")
    np.testing.assert_allclose([product.lower.item(), product.upper.item()], [slope - half, slope + half], rtol=1e-5)
    for open_one in (found.sel(quantity="a/b"), parameters.sel(parameter="a"), parameters.sel(parameter="b")):
        assert str(open_one.verdict_lower.values) == str(open_one.verdict_upper.values) == "flat"
        assert np.isnan([open_one.lower.item(), open_one.upper.item()]).all()


def test_a_quantity_that_goes_no_further_has_no_end():
    """exp(-b^2) is largest where b = 0, which these data do not exclude."""
    study = study_of(line, uq.Normal(0.0, 10.0), uq.Normal(0.0, 10.0), values=[1.0, 1.2, 0.9, 1.4])
    found = profile_quantities(study, {}, {"h": of(lambda p: jnp.exp(-(p["b"] ** 2)))})
    assert found.verdict_lower.item() == "bounded"
    assert np.isnan(found.upper.item()) and found.verdict_upper.item() != "bounded"
    assert found.reached_upper.item() == pytest.approx(1.0, abs=1e-3)


def test_a_bound_of_a_prior_is_named():
    study = study_of(line, uq.Uniform(1.0, 1.2), uq.Normal(0.0, 10.0))
    found = profile_quantities(study, {}, {"h": of(lambda p: p["a"] ** 2)})
    assert {found.verdict_lower.item(), found.verdict_upper.item()} == {"open at the bound"}
    np.testing.assert_allclose([found.reached_lower.item(), found.reached_upper.item()], [1.0, 1.44], rtol=1e-3)


def test_the_prior_counts_if_asked():
    """Normal priors of a line are two more observations of it; one of them is exactly zero where the search begins."""
    study = study_of(line, uq.Normal(0.0, 1.0), uq.Normal(1.0, 0.1))
    found = profile_quantities(study, {}, prior=True)
    design = np.stack([np.ones_like(TIMES), TIMES], axis=1)
    covariance = np.linalg.inv(design.T @ design / SIGMA**2 + np.diag([1.0, 100.0]))
    mean = covariance @ (design.T @ VALUES / SIGMA**2 + np.array([0.0, 100.0]))
    weights = np.array([1.0, 6.0])
    half = np.sqrt(chi2.ppf(0.95, 1) * weights @ covariance @ weights)
    ends = [found.lower.item(), found.upper.item()]
    np.testing.assert_allclose(ends, weights @ mean + [-half, half], rtol=1e-6)


def decays(theta, design, key):
    return {"y": theta["a"] * jnp.exp(-theta["k"] * design.times)}


@pytest.mark.slow
def test_with_aleatory_parameters_it_is_that_of_the_median_unit():
    space = uq.Space(
        a=uq.fixed(2.0),
        k_median=uq.epistemic(uq.LogNormal(median=0.5, sigma=0.5)),
        k=uq.aleatory(uq.LogNormal(median="k_median", sigma=0.2)),
    )
    model = uq.Model.from_function(space, decays, {"y": ""}, {"y": uq.Normal("y", 0.05)})
    rows = [(f"unit {k}", "y", t, 2 * np.exp(-rate * t)) for k, rate in enumerate((0.4, 0.6)) for t in (1.0, 2.0)]
    data = pd.DataFrame(rows, columns=["experiment", "output", "time", "value"])
    study = uq.Study("units", model, {"unit 0": uq.Design(), "unit 1": uq.Design()}, data)
    at_one = uq.Design(np.array([1.0]))
    quantities = {
        "y": uq.Quantity(lambda outputs, design: outputs["y"][-1], at_one),
        "k": uq.Quantity(lambda outputs, design, p: p["k"], at_one),
    }
    found = profile_quantities(study, {}, quantities)
    own = profile_likelihood(study, {}).sel(parameter="k_median")
    assert found.attrs["of"] == "the median unit"
    ends = np.array([own.lower.item(), own.upper.item()])
    np.testing.assert_allclose([found.lower.values[1], found.upper.values[1]], ends, rtol=1e-3)
    np.testing.assert_allclose([found.upper.values[0], found.lower.values[0]], 2 * np.exp(-ends), rtol=1e-3)


def test_what_has_no_profile_is_refused_with_every_finding():
    event = uq.Quantity(lambda outputs, design: outputs["y"][-1] > 1.0, DESIGN)
    with pytest.raises(uq.InputError) as caught:
        profile_quantities(LINE, {"c": 1.0}, {"event": event}, level=2.0, budget=0.0)
    message = str(caught.value)
    assert all(part in message for part in ("'event' is true or false", "'c'", "level is 2.0", "budget is 0.0")), (
        message
    )
    with pytest.raises(uq.InputError, match="did you mean 'y\\(6\\)'"):
        profile_quantities(LINE, {}, ["y(5)"])
    constant = of(lambda p: 0.0 * p["a"] + 3.0)
    nowhere = of(lambda p: jnp.log(-jnp.abs(p["b"])))
    with pytest.raises(uq.InputError) as caught:
        profile_quantities(LINE, {}, {"constant": constant, "nowhere": nowhere})
    assert "'constant' does not change" in str(caught.value) and "'nowhere' or its gradient" in str(caught.value)


def test_without_time_nothing_is_bounded():
    found = profile_quantities(LINE, {}, budget=1e-9)
    assert found.attrs["stopped"]
    assert found.verdict_lower.item() == found.verdict_upper.item() == "stopped"
    assert np.isnan([found.lower.item(), found.upper.item()]).all()


def lowest_response(time, fallen):
    """The smallest response at a time whose sum of squares is above the smallest by no more, by a grid of rates.

    With the rates held the closed form is linear in the gain.
    """
    times, values = late.table["time"].to_numpy(), late.table["value"].to_numpy()
    kf, ks = np.geomspace(0.3, 300.0, 600)[:, None, None], np.linspace(0.17, 0.23, 600)[:, None]
    unit = response(times, 1.0, kf, ks)
    weight = np.sum(unit**2, axis=-1)
    gain = unit @ values / weight
    left = 2 * fallen - np.sum((values - gain[..., None] * unit) ** 2, axis=-1) / SIGMA_LATE**2
    left = left - np.max(left) + 2 * fallen
    lowest_gain = gain - SIGMA_LATE * np.sqrt(np.maximum(left, 0.0) / weight)
    return np.min(np.where(left >= 0, lowest_gain * response(time, 1.0, kf, ks)[..., 0], np.inf))


@pytest.mark.slow
def test_an_end_that_only_another_side_sees_is_found_from_a_plateau():
    """Where early times were not measured the best fit lies on a plateau of kf, and the far end on another ridge."""
    design = late.quantities["y(.5 h)"].design
    of_parameters = {
        name: uq.Quantity(lambda outputs, design, p, name=name: p[name], design) for name in ("g", "kf", "ks")
    }
    start = {"g": 1.9934, "kf": 7.9, "ks": 0.19688}
    found = profile_quantities(late, start, {**late.quantities, **of_parameters})
    parameters = profile_likelihood(late, start)
    for side in ("lower", "upper"):
        held = found[side].sel(quantity=parameters.parameter.values).values
        np.testing.assert_allclose(held, parameters[side].values, rtol=1e-4)
    expected = lowest_response(0.5, parameters.attrs["threshold"])
    for one in (found, profile_quantities(late, start)):
        # the grid's spacing of kf and ks
        assert one.lower.sel(quantity="y(.5 h)").item() == pytest.approx(expected, rel=0.01)
