"""The models of space: effective diffusivity of inclusions, and windows that represent a medium."""

import jax
import numpy as np
import pytest

import uqbench as uq
from forward_models import periodic_homogenization, representative_volume

NOW = uq.Design([0.0])


@pytest.mark.parametrize("contrast, expected", [(10.0, 1.5442199923), (0.1, 0.6475761258), (100.0, 1.7094824062)])
def test_inclusions_conduct_as_obnosov_says(contrast, expected):
    run = uq.evaluate(periodic_homogenization.model, {"D_m": 2.0, "k": contrast}, NOW)
    assert int(run.result) == 0
    np.testing.assert_allclose(run.outputs["D_hom"], 2 * expected * np.eye(2), rtol=1e-5, atol=1e-9)
    assert float(periodic_homogenization.closed_form(1.0, contrast)) == pytest.approx(expected, abs=1e-10)


def test_slopes_of_inclusions_are_those_of_the_closed_form():
    def D_eff(D_m, k):
        return uq.evaluate(periodic_homogenization.model, {"D_m": D_m, "k": k}, NOW).outputs["D_eff"]

    found = jax.grad(D_eff, (0, 1))(2.0, 10.0)
    np.testing.assert_allclose(found, jax.grad(periodic_homogenization.closed_form, (0, 1))(2.0, 10.0), rtol=1e-4)


def test_a_contrast_that_is_not_positive_has_a_code():
    run = uq.evaluate(periodic_homogenization.model, {"D_m": 1.0, "k": -1.0}, NOW)
    assert int(run.result) != 0
    assert "positive definite" in periodic_homogenization.model.dynamics.sentence(int(run.result))
    assert np.all(np.isnan(run.outputs["D_hom"]))


MEDIUM = {"l_c": 0.2, "L_g": 5.0, "cv": 0.3, "D": 1e-3, "k": 1e-3, "tolerance": 0.05}


def test_windows_of_a_medium():
    """SYSTEMS.md, section B: a window of 1 mm still has 18 % of the standard deviation of a point."""
    out = uq.evaluate(representative_volume.model, MEDIUM, NOW).outputs
    assert float(out["relative_sd"][2]) == pytest.approx(0.3 * np.sqrt(0.0329338709), rel=1e-8)
    np.testing.assert_allclose(out["bias"], np.array([0.2, 0.5, 1.0, 2.0]) ** 2 / 25 / 24, rtol=1e-12)
    assert float(out["L_min"]) == pytest.approx(1.0, abs=0.15)
    at = representative_volume.relative_sd(out["L_min"], 0.2, 0.3)
    assert float(at) == pytest.approx(0.05, rel=1e-10)
    assert float(out["layers"]) == pytest.approx(5.0)


@pytest.mark.slow
def test_slope_of_the_smallest_window():
    def smallest(cv):
        return representative_volume.smallest_window(0.2, cv, 0.05)

    h = 1e-4
    assert float(jax.grad(smallest)(0.3)) == pytest.approx(
        float(smallest(0.3 + h) - smallest(0.3 - h)) / (2 * h), rel=1e-6
    )
    assert float(smallest(0.04)) == 0.0


def test_long_correlations_have_no_plateau():
    """The mean of the covariance over all pairs of points of a line, by quadrature, against its closed form."""
    b, window = 0.5, 3.0
    x = (np.arange(4000) + 0.5) / 4000
    pairs = 2 * np.mean((1 - x) * (x * window) ** -b)
    assert float(representative_volume.power_law_sd(window, 1.0, b, 1.0)) == pytest.approx(np.sqrt(pairs), rel=0.01)
