"""Coordinates: logarithms of what is positive, bounds of priors, and how far is far."""

import numpy as np
import pytest
from scipy import stats

import uqbench as uq
from uqbench.optimization.coordinates import Coordinates


def coordinates(**priors):
    return Coordinates.of(uq.Space({name: uq.epistemic(prior) for name, prior in priors.items()}))


@pytest.mark.parametrize(
    "prior, logarithmic, lower, upper",
    [
        (uq.LogNormal(0.0, 1.0), True, -np.inf, np.inf),
        (uq.HalfNormal(2.0), True, -np.inf, np.inf),
        (uq.LogUniform(0.1, 10.0), True, np.log(0.1), np.log(10.0)),
        pytest.param(
            uq.TruncatedNormal(mu=2.0, sigma=1.0, lower=1.0, upper=np.inf), True, 0.0, np.inf, marks=pytest.mark.slow
        ),
        (uq.Uniform(0.0, 5.0), False, 0.0, 5.0),
        (uq.Beta(2.0, 2.0), False, 0.0, 1.0),
        (uq.Normal(0.0, 1.0), False, -np.inf, np.inf),
        (uq.TruncatedNormal(mu=0.0, sigma=1.0, lower=-1.0, upper=np.inf), False, -1.0, np.inf),
        (uq.TruncatedNormal(mu=0.0, sigma=1.0, lower=-np.inf, upper=1.0), False, -np.inf, 1.0),
    ],
)
def test_bounds_are_those_of_the_prior(prior, logarithmic, lower, upper):
    found = coordinates(p=prior)
    assert bool(found.logarithmic[0]) == logarithmic
    np.testing.assert_allclose([found.lower[0], found.upper[0]], [lower, upper], rtol=1e-9, atol=1e-9)
    for x in found.starts(8, seed=0):
        assert found.lower[0] <= x[0] <= found.upper[0]
        assert np.isfinite(np.asarray(found.log_prior(x))).all()
    for end in (found.lower, found.upper):
        # a bound is inside of the support, whatever rounding does
        assert not np.isfinite(end[0]) or np.isfinite(np.asarray(found.log_prior(end))).all() or prior.names


def test_a_bound_that_moves_is_none_and_may_be_negative():
    space = uq.Space(a=uq.epistemic(uq.Normal(0.0, 1.0)), b=uq.epistemic(uq.Uniform("a", 9.0)))
    found = Coordinates.of(space)
    # at the median b lies between 0 and 9, but a may be negative: no logarithm
    assert not found.logarithmic.any() and np.isinf(found.lower).all()


def test_there_and_back():
    found = coordinates(k=uq.LogNormal(0.0, 1.0), a=uq.Normal(0.0, 2.0))
    x = found.at({"k": 3.0, "a": -1.0})
    np.testing.assert_allclose(x, [np.log(3.0), -1.0])
    np.testing.assert_allclose(found.natural(x), [3.0, -1.0])
    np.testing.assert_allclose([float(value) for value in found.place(x).values()], [3.0, -1.0])


def test_the_log_prior_is_taken_on_the_scale_of_its_family():
    """A LogUniform prior is flat in the logarithm; a LogNormal one has its mode at its median."""
    found = coordinates(u=uq.LogUniform(0.1, 10.0), k=uq.LogNormal(median=2.0, sigma=0.5))
    near, far = (np.asarray(found.log_prior(np.log([a, b]))) for a, b in ((0.2, 2.0), (5.0, 3.0)))
    assert near[0] == pytest.approx(far[0])
    assert near[1] == pytest.approx(-0.5 * np.log(2 * np.pi * 0.25)) and near[1] > far[1]


def test_starts_cover_the_prior():
    found = coordinates(k=uq.LogUniform(1e-3, 1e3), a=uq.Uniform(-1.0, 1.0))
    starts = found.starts(16, seed=1)
    share = (starts - found.lower) / (found.upper - found.lower)
    # one of sixteen Sobol points in each sixteenth
    assert all(len(set(np.floor(16 * column).astype(int))) == 16 for column in share.T)
    assert not np.array_equal(starts, found.starts(16, seed=2))
    np.testing.assert_array_equal(starts[:5], found.starts(5, seed=1)[:5])


def test_a_range_goes_outwards_from_wherever_a_fit_is():
    found = coordinates(a=uq.Normal(0.0, 1.0), k=uq.LogNormal(0.0, 0.1), u=uq.Uniform(0.0, 1.0))
    x = np.array([-40.0, 20.0, 0.5])
    below, above = found.range_around(x)
    assert np.all(below < x) and np.all(above > x)
    assert below[0] < -45 and above[1] > 30
    np.testing.assert_allclose([below[2], above[2]], [0.0, 1.0], atol=1e-9)


def test_levels_that_become_one_have_no_density_without_bound():
    """The unit is the spread: that of a standard normal, whatever the spread goes to."""
    space = uq.Space(
        spread=uq.epistemic(uq.HalfNormal(1.0)),
        a=uq.epistemic(uq.Normal(2.0, "spread")),
        b=uq.epistemic(uq.LogNormal(median=3.0, sigma="2*spread")),
    )
    found = Coordinates.of(space)
    for spread, away in ((1.0, 0.0), (1e-9, 0.0), (0.1, 1.5)):
        x = found.at({"spread": spread, "a": 2.0 + away * spread, "b": 3.0 * np.exp(2 * away * spread)})
        expected = stats.norm.logpdf(away)
        np.testing.assert_allclose(found.log_prior(x)[1:], [expected, expected], atol=1e-6)
