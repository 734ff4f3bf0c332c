"""Three decays through a matrix that is not normal: the matrix, the closed form, and its derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from forward_models import stiff_linear

THETA = {"fast": 1e4, "middle": 10.0, "slow": 0.1}


def matrix():
    columns = [
        [stiff_linear.rhs(0.0, dict(zip("abc", unit, strict=True)), THETA, {})[name] for name in "abc"]
        for unit in np.eye(3)
    ]
    return np.array(columns).T


def test_the_matrix_is_exact_and_not_normal():
    expected = np.array([[-10.0, 9990.0, -9990.0], [-9.9, -10.0, 9.9], [-9.9, 9990.0, -9990.1]])
    np.testing.assert_allclose(matrix(), expected, rtol=1e-14)
    np.testing.assert_allclose(np.sort(np.linalg.eigvals(matrix()).real), [-1e4, -10.0, -0.1], rtol=1e-8)
    symmetric = matrix() @ matrix().T - matrix().T @ matrix()
    assert np.linalg.norm(symmetric) > 0.5 * np.linalg.norm(matrix()) ** 2
    np.testing.assert_array_equal(np.array(stiff_linear.MODES) @ np.array(stiff_linear.INVERSE_MODES), np.eye(3))


def test_the_run_is_the_closed_form():
    times = np.array([0.0, 1e-4, 1e-3, 0.1, 1.0, 10.0, 50.0])
    run = uq.evaluate(stiff_linear.model, THETA, uq.Design(times))
    assert int(run.result) == 0
    for name, exact in stiff_linear.solution(THETA, times).items():
        np.testing.assert_allclose(run.outputs[name], exact, atol=1e-7)


@pytest.mark.parametrize("rate", stiff_linear.RATES)
def test_gradients_are_those_of_the_closed_form(rate):
    """Also by the fast rate, while its mode is there to be seen."""
    times = jnp.array([1e-4, 0.1, 5.0])

    def run(value, solve):
        theta = THETA | {rate: value}
        return (
            uq.evaluate(stiff_linear.model, theta, uq.Design(times)).outputs
            if solve
            else stiff_linear.solution(theta, times)
        )

    found, exact = (jax.jacfwd(lambda value, solve=solve: run(value, solve))(THETA[rate]) for solve in (True, False))
    for name in "abc":
        np.testing.assert_allclose(found[name] * THETA[rate], exact[name] * THETA[rate], atol=1e-6)
