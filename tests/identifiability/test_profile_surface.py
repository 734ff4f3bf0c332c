"""Profile likelihood of two parameters, against closed forms."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

import uqbench as uq
from uqbench.identifiability import profile_surface

TIMES, VALUES, SIGMA = np.array([0.0, 1.0, 2.0, 4.0]), np.array([1.1, 2.9, 5.2, 8.8]), 0.5


def parabola(theta, design, key):
    return {"y": theta["a"] + theta["b"] * design.times + theta["c"] * design.times**2}


def product(theta, design, key):
    return {"y": theta["a"] * theta["b"] + theta["c"] * design.times}


def study_of(function, a, b):
    space = uq.Space(a=uq.epistemic(a), b=uq.epistemic(b), c=uq.epistemic(uq.Normal(0.0, 10.0)))
    model = uq.Model.from_function(space, function, {"y": ""}, {"y": uq.Normal("y", SIGMA)})
    data = pd.DataFrame({"experiment": "one", "output": "y", "time": TIMES, "value": VALUES})
    return uq.Study("parabola", model, {"one": uq.Design()}, data)


PARABOLA = study_of(parabola, uq.Normal(0.0, 10.0), uq.Normal(0.0, 10.0))
POSITIVE = uq.LogNormal(median=1.0, sigma=1.0)
PRODUCT = study_of(product, POSITIVE, POSITIVE)


def test_the_surface_of_a_quadratic_log_density_is_its_quadratic_form():
    found = profile_surface(PARABOLA, {}, ["c", "a"], n=5)
    design = TIMES[:, None] ** np.array([2, 1, 0])
    c, _, a = np.linalg.lstsq(design, VALUES)[0]
    precision = np.linalg.inv((SIGMA**2 * np.linalg.inv(design.T @ design))[np.ix_([0, 2], [0, 2])])
    away = np.stack(np.meshgrid(found["first"] - c, found["second"] - a, indexing="ij"), axis=-1)
    fallen = 0.5 * np.einsum("...i,ij,...j", away, precision, away)
    np.testing.assert_allclose(found.attrs["log_density"] - found.log_density, fallen, atol=1e-4)
    assert found.attrs["parameters"] == ["c", "a"] and np.all(found.reason == "")
    drops = found.attrs["log_density"] - np.array(found.attrs["contours"])
    np.testing.assert_allclose(drops, chi2.ppf(found.attrs["levels"], 2) / 2)
    assert found.attrs["enclosed"] == len(drops)


def test_a_ridge_is_flat_where_a_product_stays():
    found = profile_surface(PRODUCT, {}, ["a", "b"], n=5, limits={"a": (0.25, 4.0), "b": (0.25, 4.0)})
    # equal steps of both logarithms: along an anti-diagonal the product stays
    values = found.log_density.values[:, ::-1]
    for offset in (-1, 0, 1):
        assert np.ptp(np.diagonal(values, offset)) < 1e-3
    assert abs(values[2, 2] - values[2, 4]) > 1e-2
    assert found.attrs["enclosed"] == 0


@pytest.mark.slow
def test_limits_are_the_ends_of_the_grid_and_the_default_stays_within_the_prior():
    found = profile_surface(PARABOLA, {}, ["a", "b"], n=2, limits={"a": (0.5, 1.5)})
    np.testing.assert_allclose(found["first"], [0.5, 1.5])
    narrow = study_of(parabola, uq.Uniform(1.0, 1.1), uq.Normal(0.0, 10.0))
    bounded = profile_surface(narrow, {}, ["a", "b"], n=3)
    np.testing.assert_allclose(bounded["first"], [1.0, 1.05, 1.1], atol=0.06)
    assert bounded["first"].min() >= 1.0 and bounded["first"].max() <= 1.1


def only_above(theta, design, key):
    """No number where a is below 1."""
    return {
        "y": theta["a"] + np.sqrt(1.0) * theta["b"] * design.times + 0.0 * (theta["a"] - 1.0) ** 0.5 + 0 * theta["c"]
    }


def test_cells_that_fail_have_no_value_and_a_reason():
    study = study_of(only_above, uq.Normal(1.1, 10.0), uq.Normal(0.0, 10.0))
    found = profile_surface(study, {"a": 1.1}, ["a", "b"], n=3, limits={"a": (0.5, 1.7)})
    assert np.all(found.reason.values[0] == "unsolved") and np.all(np.isnan(found.log_density.values[0]))
    assert np.all(found.reason.values[1:] == "") and np.all(np.isfinite(found.log_density.values[1:]))
    assert found.attrs["enclosed"] == 0


def test_cells_that_were_not_begun_have_no_value():
    """Without time nothing but the best fit, which is the first cell, is known."""
    found = profile_surface(PARABOLA, {}, ["a", "b"], n=3, budget=1e-9)
    without = np.isnan(found.log_density.values)
    assert found.attrs["stopped"] and without.sum() >= 8
    np.testing.assert_array_equal(found.reason.values == "stopped", without)


def test_every_finding_is_told_at_once():
    with pytest.raises(uq.InputError) as caught:
        profile_surface(PRODUCT, {}, ["a", "k"], n=1, limits={"c": (0, 1), "a": (-1, 2)}, budget=0.0)
    message = str(caught.value)
    for part in ("n is 1", "unknown parameter 'k'", "limits for 'c'", "no density outside 0", "budget is 0.0"):
        assert part in message, message
    with pytest.raises(uq.InputError, match="give the names of two"):
        profile_surface(PRODUCT, {}, ["a", "a"])
