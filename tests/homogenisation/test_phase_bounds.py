"""Bounds by volume fractions: equality where it is known, and every medium within them."""

import numpy as np
import pytest
from hypothesis import given, settings

from uqbench.homogenisation import effective_bounds, effective_tensor, hashin_shtrikman, trace_bounds

from .media import contrasts, fractions, seeds, shapes, two_phases


def traces(tensor, low, high):
    """tr (D - low I)^-1 and tr (high I - D)^-1."""
    values = np.linalg.eigvalsh(np.asarray(tensor))
    return np.sum(1 / (values - low)), np.sum(1 / (high - values))


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.8])
def test_layers_attain_both_trace_bounds(d, fraction):
    layers = np.full(d, 1 - fraction + 10 * fraction)
    layers[0] = 1 / (1 - fraction + fraction / 10)
    np.testing.assert_allclose(traces(np.diag(layers), 1.0, 10.0), trace_bounds(1.0, 10.0, fraction, d), rtol=1e-12)
    np.testing.assert_allclose(trace_bounds(10.0, 1.0, 1 - fraction, d), trace_bounds(1.0, 10.0, fraction, d))


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.8])
def test_coated_spheres_attain_the_bound_of_their_coating(d, fraction):
    """Their tensor is a bound of Hashin and Shtrikman (1962), the lower one for a coating that conducts less."""
    lower, upper = (bound * np.eye(d) for bound in hashin_shtrikman(1.0, 10.0, fraction, d))
    bounds = trace_bounds(1.0, 10.0, fraction, d)
    assert traces(lower, 1.0, 10.0)[0] == pytest.approx(bounds[0], rel=1e-12)
    assert traces(upper, 1.0, 10.0)[1] == pytest.approx(bounds[1], rel=1e-12)


@pytest.mark.slow
@given(seeds, shapes, contrasts, fractions)
@settings(max_examples=25)
def test_random_media_are_within_the_trace_bounds(seed, shape, contrast, fraction):
    """What holds for the tensor holds for all that is above it, or below it. In the plane the two are close."""
    cell = two_phases(seed, shape, contrast, fraction)
    low, high = sorted((1.0, contrast))
    greatest = trace_bounds(1.0, contrast, float(np.mean(cell == contrast)), len(shape))
    bracket = effective_bounds(cell)
    assert traces(bracket.upper, low, high)[0] <= greatest[0] * (1 + 1e-9)
    assert traces(bracket.lower, low, high)[1] <= greatest[1] * (1 + 1e-9)
    if len(shape) == 2:
        for trace, bound in zip(traces(bracket.estimate, low, high), greatest, strict=True):
            assert trace <= bound * (1 + 1e-3)


@given(seeds, shapes, contrasts, fractions)
@settings(max_examples=25)
def test_discrete_tensors_are_within_the_trace_bounds(seed, shape, contrast, fraction):
    """The discrete gradients and fluxes are orthogonal too, and on each wave gradients have one direction."""
    cell = two_phases(seed, shape, contrast, fraction)
    found = effective_tensor(cell)
    greatest = trace_bounds(1.0, contrast, float(np.mean(cell == contrast)), len(shape))
    for trace, bound in zip(traces(found.tensor, *sorted((1.0, contrast))), greatest, strict=True):
        assert trace <= bound * (1 + 1e-6)


@given(seeds, contrasts, fractions)
@settings(max_examples=15)
def test_isotropic_media_are_within_hashin_and_shtrikman(seed, contrast, fraction):
    """A cell with the symmetry of the square is isotropic."""
    quarter = two_phases(seed, (4, 4), contrast, fraction)
    quarter = np.where(np.arange(4)[:, None] > np.arange(4), quarter, quarter.T)
    cell = np.block([[quarter, quarter[:, ::-1]], [quarter[::-1], quarter[::-1, ::-1]]])
    lower, upper = hashin_shtrikman(1.0, contrast, float(np.mean(cell == contrast)), 2)
    bracket = effective_bounds(cell)
    np.testing.assert_allclose(bracket.upper, bracket.upper[0, 0] * np.eye(2), rtol=1e-6, atol=1e-7)
    assert np.all(bracket.width < 1e-4)
    assert lower * (1 - 1e-9) <= bracket.upper[0, 0] and bracket.lower[0, 0] <= upper * (1 + 1e-9)
    assert lower * (1 - 1e-4) <= bracket.estimate[0, 0] <= upper * (1 + 1e-4)
