"""Invariant blocks: what stays together, whatever the units, and the digits that this saves."""

import numpy as np
import pytest

from uqbench.time_scales.memory import embedding, memory_kernel
from uqbench.time_scales.memory.invariant_blocks import Block

from .linear_systems import LINEAR, affine_of, random_system, slow_part


@pytest.mark.parametrize("gap", [0.0, 1e-9, 1e-5, 1e-3, 0.3])
def test_rates_that_nearly_coincide_cost_no_digits(gap):
    """A chain with steps r, r (1 + gap), ...: by eigenvectors the error would grow like eps / gap^3."""
    rates = 3.0 * (1 + gap * np.arange(4))
    matrix = np.diag(np.append(-0.2, -rates)) + np.diag(rates, -1)
    matrix[0, 4] = -0.8
    inputs = {"M": matrix[[0, 0, *range(1, 5)]][:, [0, 0, *range(1, 5)]], "source": np.zeros(6), "start": np.ones(6)}
    inputs["M"][0, 1] = inputs["M"][1, 0] = inputs["M"][2, 1] = 0.0
    kernel = memory_kernel(LINEAR, ["x1", "x2", "x3", "x4"], {}, inputs)
    times = np.linspace(0.0, 6.0, 13)
    embedded = slow_part(kernel, affine_of(embedding(kernel), kernel.slow), times)
    np.testing.assert_allclose(embedded, slow_part(kernel, kernel.full(), times), rtol=0, atol=1e-10)
    assert max(block.size for block in kernel.blocks) == (4 if gap < 1e-2 else 1)


def test_units_of_the_fast_states_join_nothing():
    inputs, units = random_system(2), np.array([1.0, 1.0, 1e6, 1e-5, 1.0, 1e3])
    scaled = inputs | {"M": units[:, None] * inputs["M"] / units}
    scaled |= {name: units * inputs[name] for name in ("source", "start")}
    plain, other = (memory_kernel(LINEAR, ["x1", "x2", "x3", "x4"], {}, part) for part in (inputs, scaled))
    assert [block.size for block in other.blocks] == [block.size for block in plain.blocks]
    times = np.linspace(0.0, 6.0, 7)
    embedded = slow_part(other, affine_of(embedding(other), other.slow), times)
    np.testing.assert_allclose(embedded, slow_part(other, other.full(), times), rtol=0, atol=1e-10)


def test_the_integral_of_an_oscillating_kernel():
    """int abs(e^-s cos(v s)) ds, summed over half waves."""
    turn = 20.0
    block = Block(
        np.array([[-1.0, -turn], [turn, -1.0]]), np.array([[1.0, 0.0]]), np.array([[1.0], [0.0]]), *np.zeros((2, 2))
    )
    s = np.linspace(0.0, 40.0, 2_000_001)
    exact = np.trapezoid(np.abs(np.exp(-s) * np.cos(turn * s)), s)
    # the quadrature passes over the corners of the absolute value
    assert block.weight() == pytest.approx(exact, rel=1e-3)
