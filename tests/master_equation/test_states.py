"""Which states are counted: conservation laws, and what a microscope makes of counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom, poisson

from uqbench.errors import InputError
from uqbench.master_equation import (
    conservation_laws,
    detected,
    distribution,
    independent_species,
)

from .networks import TELEGRAPH, TOGGLE, telegraph

# E + S <-> C -> E + P
ENZYME = np.array([[-1, -1, 1, 0], [1, 1, -1, 0], [1, 0, -1, 1]])


def test_laws_are_exact():
    laws = conservation_laws(ENZYME)
    assert len(laws) == 2
    for law in laws:
        assert all(sum(w * int(v) for w, v in zip(law, change, strict=True)) == 0 for change in ENZYME)
    # numbers for which floating-point elimination would leave a remainder
    odd = [[3, -7, 0], [0, 11, -13]]
    (law,) = conservation_laws(odd)
    assert all(sum(w * v for w, v in zip(law, change, strict=True)) == 0 for change in odd)
    assert conservation_laws(TOGGLE) == []


def test_a_telegraph_model_has_two_states_for_each_count():
    network = independent_species(TELEGRAPH, [1, 0, 0])
    assert len(network.kept) == 2 and network.largest() == (1.0, np.inf)
    found = distribution(network.rates(telegraph()), network.changes, network.start, [2.0], (2, 80))
    whole = distribution(telegraph(), TELEGRAPH, [1, 0, 0], [2.0], (2, 2, 80))
    for species, axes in enumerate([(1, 2), (0, 2), (0, 1)]):
        marginal = np.asarray(whole.probability[0]).sum(axis=axes)
        np.testing.assert_allclose(network.marginal(found.probability[0], species, len(marginal)), marginal, atol=1e-13)


@pytest.mark.slow
def test_an_enzyme_counts_what_is_left_of_two_laws():
    network = independent_species(ENZYME, [2, 5, 0, 0])
    rates = network.rates(lambda t, y: (0.3 * y[0] * y[1], 0.2 * y[2], 0.5 * y[2]))
    shape = tuple(int(each) + 1 for each in network.largest())
    found = distribution(rates, network.changes, network.start, [1.0, 200.0], shape)
    assert found.code == 0 and np.all(np.asarray(found.leaked) < 1e-9)
    products = network.marginal(found.probability, 3, 6)
    assert float(products[1, 5]) == pytest.approx(1.0, abs=1e-9)
    slope = jax.grad(
        lambda k: distribution(
            network.rates(lambda t, y: (k * y[0] * y[1], 0.2 * y[2], 0.5 * y[2])),
            *(network.changes, network.start, [1.0], shape),
        ).probability[0, 0, 0]
    )(0.3)
    assert np.isfinite(slope)


def test_counts_are_whole_numbers():
    with pytest.raises(InputError) as told:
        independent_species([[0.5], [-1]], [1.5])
    assert len(told.value.findings) == 2


def test_thinning_and_background():
    counts = np.arange(40)
    true = jnp.asarray(poisson.pmf(counts, 4.0))
    # a thinned Poisson law is one, and so is the sum of two
    np.testing.assert_allclose(detected(true, 0.3, 1.5), poisson.pmf(counts, 0.3 * 4.0 + 1.5), atol=1e-13)
    sharp = jnp.zeros(40).at[12].set(1.0)
    np.testing.assert_allclose(detected(sharp, 0.3), binom.pmf(counts, 12, 0.3), atol=1e-14)
    np.testing.assert_allclose(detected(true), true, atol=1e-15)
    batch = detected(jnp.stack([true, sharp]), 0.3, 1.5)
    np.testing.assert_allclose(batch[1], detected(sharp, 0.3, 1.5), atol=1e-15)


@pytest.mark.parametrize("detection, background", [(0.4, 0.8), (1.0, 0.0), (0.0, 0.0)])
def test_slopes_of_what_is_counted(detection, background):
    true = jnp.asarray(poisson.pmf(np.arange(40), 4.0))

    def mean(given):
        return detected(true, *given) @ jnp.arange(40.0)

    at = jnp.array([detection, background])
    np.testing.assert_allclose(jax.grad(mean)(at), [4.0, 1.0], rtol=1e-8)


@pytest.mark.slow
def test_there_is_room_for_more_counts_than_true_ones():
    """A table of several blocks, and derivatives at the edges, against laws of scipy."""
    true = jnp.zeros(1100).at[1099].set(1.0)
    found = detected(true, 0.25, 3.0, observed=1200)
    thinned = binom.pmf(np.arange(1100), 1099, 0.25)
    np.testing.assert_allclose(found, np.convolve(thinned, poisson.pmf(np.arange(101), 3.0))[:1200], atol=1e-13)
    mean = np.arange(1200.0)
    for detection, background in ((0.0, 0.0), (1.0, 0.0), (0.4, 2.0)):
        slopes = jax.grad(lambda *given: detected(true, *given, observed=1200) @ mean, (0, 1))(detection, background)
        np.testing.assert_allclose(slopes, (1099.0, 1.0), rtol=1e-9)
