"""Stability functions and the largest stable steps, against the steps that the library takes."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import uqbench as uq
from uqbench.solvers import rosenbrock, sparse_lu, tsitouras
from uqbench.time_scales.stiffness import largest_stable_step, stability_function, stable_steps
from uqbench.time_scales.stiffness.stability import METHODS

EIGENVALUES = np.array([-1e4, -10.0, -0.1])


def test_limits_of_the_primer():
    assert largest_stable_step("forward Euler", EIGENVALUES) == pytest.approx(2e-4, rel=1e-14)
    assert largest_stable_step("RK4", EIGENVALUES) == pytest.approx(2.785293563e-4, rel=1e-9)
    assert abs(stability_function("forward Euler", -1e4 * 2.1e-4)) == pytest.approx(1.1, rel=1e-14)
    assert largest_stable_step("backward Euler", EIGENVALUES) == np.inf
    assert stability_function("backward Euler", EIGENVALUES).real == pytest.approx(
        [9.9990001e-5, 0.0909091, 0.9090909], abs=5e-8
    )


def test_the_functions_are_those_of_the_steps_of_the_library():
    z = -0.7
    new, _, _ = tsitouras.step(lambda t, y: [z * y[0]], 0.0, 1.0, [jnp.ones(())])
    assert float(new[0]) == pytest.approx(stability_function("Tsitouras", z).real, rel=1e-14)
    linear = sparse_lu.structure(lambda t, y: [z * y[0]], 1)
    new, _, _ = rosenbrock.step(linear, lambda t, y: [z * y[0]], 0.0, jnp.ones(()), [jnp.ones(())])
    assert float(new[0]) == pytest.approx(stability_function("Rodas5P", z).real, rel=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_order_and_error_constant(name):
    """R(z) is e^z up to the order; the embedded estimates are of order 4 beside steps of order 5."""
    z = 1e-2 * np.exp(2j * np.pi * np.arange(16) / 16)
    difference = stability_function(name, z) - np.exp(z)
    order, pair = METHODS[name].order, name in ("Tsitouras", "Rodas5P")
    assert np.max(np.abs(difference)) < 1e-2 ** (order + pair) * 1.1
    if not pair:
        assert np.abs(np.mean(difference / z**order)) == pytest.approx(METHODS[name].constant, rel=1e-4)


@pytest.mark.parametrize("name", ["Tsitouras", "Rodas5P"])
def test_error_constants_of_the_pairs_are_those_of_their_estimates(name):
    z = 0.02
    rhs, one = (lambda t, y: [z * y[0]]), [jnp.ones(())]
    linear = sparse_lu.structure(rhs, 1)
    step = tsitouras.step if name == "Tsitouras" else lambda *given: rosenbrock.step(linear, *given)
    _, error, _ = step(rhs, 0.0, jnp.ones(()), one)
    assert abs(float(error[0])) / z**5 == pytest.approx(METHODS[name].constant, rel=0.02)


def test_implicit_methods_are_stable_in_the_whole_left_half_plane():
    """Analytic there and bounded by 1 on its border, hence inside; and both forget what they do not resolve."""
    border = 1j * np.geomspace(1e-4, 1e6, 400)
    for name in ("backward Euler", "Rodas5P"):
        assert np.max(np.abs(stability_function(name, border))) <= 1 + 1e-12
        assert abs(stability_function(name, -1e9)) < 1e-6


@given(st.sampled_from(["forward Euler", "RK4", "Tsitouras"]), st.floats(1e-3, 1e3), st.floats(0.51, 1.0))
def test_stable_below_the_limit_and_unstable_just_above(name, size, turn):
    eigenvalue = size * np.exp(1j * np.pi * turn)
    limit = largest_stable_step(name, [eigenvalue, 5.0, 2j])
    below = np.abs(stability_function(name, eigenvalue * limit * np.linspace(0.0, 1.0, 200)))
    assert np.max(below) <= 1 + 1e-11
    assert abs(stability_function(name, eigenvalue * limit * 1.0001)) > 1


def test_what_does_not_decay_bounds_nothing():
    assert stable_steps("RK4", [0.0, 1.0, 2j, -2.0]).tolist()[:3] == [np.inf] * 3
    assert largest_stable_step("RK4", []) == np.inf
    with pytest.raises(uq.InputError, match="did you mean 'RK4'"):
        largest_stable_step("RK5", [-1.0])
