"""Posteriors of several tables that are sampled side by side: each is that of its own values, known by quadrature."""

import jax
import numpy as np
import pytest
from scipy import stats

from studies import secretion
from uqbench.calibration.attempts import Settings
from uqbench.calibration.table_posteriors import posteriors
from uqbench.likelihoods import likelihood_of, simulate_data
from uqbench.measurements import values_of

from .sbc_studies import censored, correlated
from .test_closed_forms import assert_known


def of_cells(values):
    """Normal given s, as the rate of a cell is: name -> where, log density there."""
    at, times = np.linspace(0.2, 3.5, 1500), np.array([1.0, 2.0, 4.0, 8.0])
    shape = (1 - np.exp(-0.5 * times)) / 0.5
    density = stats.lognorm(0.3).logpdf(at)
    for k, s in enumerate(at):
        covariance = 4 * s**2 * np.outer(shape, shape) + 0.25 * np.eye(4)
        density[k] += stats.multivariate_normal(10 * s * shape, covariance).logpdf(values["C"].reshape(6, 4)).sum()
    return {"s": (at, density)}


def of_units(values):
    """Normal given the spread and the correlation of intercepts and slopes."""
    sds, rhos, means = np.linspace(0.01, 4, 120), np.linspace(-0.995, 0.995, 80), np.linspace(-2, 6, 160)
    times, basis = np.arange(3.0), np.stack([np.ones(3), np.arange(3.0)], axis=1)
    left = values["x"].reshape(8, 3) - times
    density = np.empty((len(sds), len(rhos), len(means)))
    for i, sd in enumerate(sds):
        for j, rho in enumerate(rhos):
            within = np.array([[sd**2, rho * sd * 0.5], [rho * sd * 0.5, 0.25]])
            covariance = basis @ within @ basis.T + 0.16 * np.eye(3)
            inverse = np.linalg.inv(covariance)
            # of the residuals less the mean intercept, a square in it
            squares = np.einsum("ui,ij,uj", left, inverse, left)
            squares = squares - 2 * means * (inverse @ left.sum(axis=0)).sum() + 8 * means**2 * inverse.sum()
            density[i, j] = -0.5 * squares - 4 * np.linalg.slogdet(covariance)[1]
    density += stats.halfnorm(0, 1).logpdf(sds)[:, None, None] + np.log1p(-(rhos**2))[:, None]
    density += stats.norm(2, 1).logpdf(means)
    return {"a_sd": (sds, over(density, 0)), "corr_a_b": (rhos, over(density, 1)), "a_mean": (means, over(density, 2))}


def of_limited(values):
    """Values below 1 by the probability of being so."""
    a, b, sigma = np.linspace(-4, 5, 90), np.linspace(-2, 3, 90), np.geomspace(0.08, 3, 60)
    times = np.repeat([0.0, 1.0, 2.0, 3.0], 3)
    mean = a[:, None, None, None] + b[:, None, None] * times
    below = values["x"] < 1.0
    assert below.any()
    z = (np.where(below, 1.0, values["x"]) - mean) / sigma[:, None]
    each = np.where(below, stats.norm.logcdf(z), stats.norm.logpdf(z) - np.log(sigma)[:, None])
    # in the logarithm of sigma, whose grid is even
    density = each.sum(axis=-1) + stats.norm(np.log(0.5), 0.4).logpdf(np.log(sigma))
    density += stats.norm(0.5, 1).logpdf(a)[:, None, None] + stats.norm(0.5, 0.5).logpdf(b)[:, None]
    return {"a": (a, over(density, 0)), "b": (b, over(density, 1))}


def over(density, axis):
    """The logarithm of what is left of a density on a grid, along one axis."""
    others = tuple(each for each in range(3) if each != axis)
    return np.log(np.exp(density - density.max()).sum(axis=others) + 1e-300)


@pytest.mark.parametrize(
    "study, known",
    [
        pytest.param(secretion.cells, of_cells, marks=pytest.mark.slow),
        pytest.param(correlated(), of_units, marks=pytest.mark.slow),
        (censored(), of_limited),
    ],
    ids=["secretion", "correlated", "censored"],
)
def test_each_table_has_the_posterior_of_its_values(study, known):
    likelihood, space = likelihood_of(study), study.model.space
    tables = {}
    for number in range(2):
        key = jax.random.key(number)
        theta = space.nominal()
        # of units their medians, of the rest draws: any values will do
        theta |= {name: value for name, value in space.sample(key, ()).items() if name in space.epistemic}
        theta |= {name: np.full(len(study.units), theta[name]) for name in space.aleatory}
        tables[number] = values_of(simulate_data(study, theta, key))
    # as many as the heavy tails of means of few units need to tell a sd that is a fifth wider
    found = dict(posteriors(likelihood, tables, Settings(800, 300, 2, seed=0)))
    assert set(found) == {0, 1}
    for number, values in tables.items():
        for name, (at, density) in known(values).items():
            assert_known({"posterior": found[number].posterior}, name, at, density)
