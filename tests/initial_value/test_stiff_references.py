"""The default solver against reference states of ten digits, for every system that the benchmarks measure."""

import mpmath
import numpy as np
import pytest

import uqbench as uq

from .stiff_problems import DECAYS, INVERSE_MODES, LINEAR, MODES, PROBLEMS, RECEPTORS, receptor_states

SMALL = tuple(problem for problem in PROBLEMS if len(problem.states) <= 3)


def error_at_the_end(problem, rtol):
    """On the scale of the tolerance; infinite where the solve failed."""
    run = uq.evaluate(problem.at(rtol), problem.theta, problem.design)
    return problem.error(problem.rows(run)[-1], problem.end())


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_the_end_is_right_to_six_digits(problem):
    assert error_at_the_end(problem, 1e-6) <= 1e-5


@pytest.mark.parametrize("problem", SMALL, ids=str)
def test_the_end_of_small_systems_is_right_to_nine_digits(problem):
    assert error_at_the_end(problem, 1e-9) <= 1e-8


@pytest.mark.parametrize("problem", RECEPTORS, ids=str)
def test_the_receptor_follows_its_closed_form_at_all_times(problem):
    run = uq.evaluate(problem.at(1e-9), problem.theta, problem.design)
    exact = receptor_states(problem.theta, problem.times)
    assert problem.error(problem.rows(run), np.stack([exact[name] for name in problem.states], axis=-1)) < 1e-8


def test_the_closed_form_of_the_receptor_is_the_one_in_print():
    """y(5) of the primer's table of systems."""
    printed = {0: 1.222031640283979, 1: 1.2237039528673583, 2: 1.223868424349971, 5: 1.2238866502603543}
    for index, value in printed.items():
        assert RECEPTORS[index].reference["y"] == pytest.approx(value, rel=1e-14)


def test_the_linear_system_is_what_it_says():
    """Its eigenvalues, that it is not normal, and its closed form against the matrix exponential in 40 digits."""
    modes, inverse = np.array(MODES), np.array(INVERSE_MODES)
    assert np.array_equal(modes @ inverse, np.eye(3))
    matrix = modes @ np.diag([-rate for rate in DECAYS.values()]) @ inverse
    assert np.abs(matrix @ matrix.T - matrix.T @ matrix).max() > 1e7
    columns = [LINEAR.slope(0.0, list(unit)) for unit in np.eye(3)]
    np.testing.assert_array_equal(np.array(columns).T, matrix)
    with mpmath.workdps(40):
        rates = mpmath.diag([-mpmath.mpf(repr(rate)) * 50 for rate in DECAYS.values()])
        end = mpmath.expm(mpmath.matrix(MODES) * rates * mpmath.matrix(INVERSE_MODES)) * mpmath.matrix(LINEAR.initial())
    np.testing.assert_allclose([float(value) for value in end], LINEAR.end(), rtol=1e-13, atol=1e-20)
