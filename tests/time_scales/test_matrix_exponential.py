"""Matrix exponentials: closed forms over many decades of rates, times and units."""

import numpy as np
import pytest

from forward_models.receptor_tf import model as receptor
from uqbench.time_scales.memory import memory_kernel
from uqbench.time_scales.memory.matrix_exponential import exponentials

from .linear_systems import DRIVE, TWO, TWO_AT


@pytest.mark.parametrize("unit", [1.0, 1e-9, 1e9])
def test_a_spiral_in_unequal_units(unit):
    """e^(M t) of a decay by 1 and a turn by 5, the second state measured in another unit."""
    times = np.array([0.0, 0.1, 2.0, 30.0])
    found = exponentials(np.array([[-1.0, -5.0 * unit], [5.0 / unit, -1.0]]), times)
    decay, cos, sin = np.exp(-times), np.cos(5 * times), np.sin(5 * times)
    exact = decay * np.array([[cos, -sin * unit], [sin / unit, cos]])
    error = np.abs(np.moveaxis(found, 0, -1) - exact) / np.array([[[1.0], [unit]], [[1 / unit], [1.0]]])
    # rounding is relative to the largest value on the way, which is 1, and not to what is left
    assert np.all(error <= 1e-15)


@pytest.mark.parametrize("eps", [1e-1, 1e-3, 1e-6, 1e-9, 1e-13])
def test_the_full_system_keeps_its_digits_however_fast_it_is(eps):
    """y(5) of the receptor in closed form (SYSTEMS.md), where halving and squaring has to bridge 14 decades."""
    theta = {"eps": eps, "L": 2.0, "Kd": 1.0, "beta": 1.0, "delta": 0.5}
    kernel = memory_kernel(receptor.system, ["x"], theta, {})
    rate = 3.0 / eps
    exact = -4 / 3 * np.expm1(-2.5) - 2 / 3 * (np.exp(-2.5) - np.exp(-5 * rate)) / (rate - 0.5)
    assert float(kernel.full().at(5.0)[0, 0]) == pytest.approx(exact, rel=1e-13)
    assert float(kernel.memory_time) == pytest.approx(1 / rate, rel=1e-14)


def test_what_is_too_fast_for_any_digit_is_no_number():
    kernel = memory_kernel(TWO, ["x"], TWO_AT | {"d": 1e25}, DRIVE)
    assert np.all(np.isnan(kernel.full().at(1.0)))
