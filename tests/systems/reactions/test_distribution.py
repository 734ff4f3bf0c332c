"""Distributions of counts as a view of a network: closed forms, snapshots as data, and boxes that are too small."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

import uqbench as uq
from uqbench.calibration import log_likelihood
from uqbench.identifiability import fisher_information
from uqbench.likelihoods import Snapshots, likelihood_of, simulate_data

from . import networks


def mrna(y, p):
    return {"mRNA": y["M"]}


def of_counts(y, p):
    return {"mean": y["X"], "square": y["X"] ** 2, "many": jnp.where(y["X"] > 10, 1.0, 0.0)}


TELEGRAPH = uq.Model(networks.PROMOTER, networks.telegraph.master_equation(), mrna, {"mRNA": ""})


def distribution_of(model, output, design, theta=None):
    """Probabilities of 0, 1, 2, ... at the last time."""
    theta = {name: jnp.asarray(value) for name, value in (theta or model.space.nominal()).items()}
    found, outcome = model.dynamics.density(model, theta, design, model.dynamics.plan(model, design))
    assert int(outcome.result) == 0
    np.testing.assert_array_equal(found[output].values, np.arange(len(found[output].values)))
    return np.asarray(found[output].probability[-1])


def test_birth_and_death_is_poisson():
    model = uq.Model(networks.RATES, networks.birth_death.master_equation(), units={"X": ""})
    found = distribution_of(model, "X", uq.Design([1.0]))
    law = stats.poisson.pmf(np.arange(len(found)), 10 * -np.expm1(-1.0))
    np.testing.assert_allclose(found, law, atol=1e-8)


@pytest.mark.slow
def test_the_telegraph_is_poisson_around_beta_numbers():
    """Peccoud & Ycart 1995: at rest the mean of the Poisson numbers is r/d times Beta(k_on/d, k_off/d)."""
    found = distribution_of(TELEGRAPH, "mRNA", uq.Design([40.0]))
    law = stats.beta(0.5, 1.0)

    def probability(n):
        return integrate.quad(lambda x: stats.poisson.pmf(n, 20 * x**2) * law.pdf(x**2) * 2 * x, 0, 1, epsabs=1e-12)[0]

    assert len(found) < 300
    for n in (0, 5, 20):
        assert found[n] == pytest.approx(probability(n), abs=1e-8)
    counts = np.arange(len(found))
    mean = found @ counts
    assert mean == pytest.approx(20 / 3, abs=1e-6)
    assert found @ (counts - mean) ** 2 / mean == pytest.approx(19 / 3, abs=1e-5)


@pytest.mark.slow
def test_outputs_are_expected_values():
    model = uq.Model(networks.RATES, networks.birth_death.master_equation(), of_counts,
                     dict.fromkeys(("mean", "square", "many"), ""))  # fmt: skip
    run = uq.evaluate(model, model.space.nominal(), uq.Design([1.0]))
    mean = 10 * -np.expm1(-1.0)
    found = [float(run.outputs[name][0]) for name in model.outputs]
    np.testing.assert_allclose(found, [mean, mean + mean**2, stats.poisson.sf(10, mean)], rtol=1e-7)
    assert uq.check_model(model).gradient_error < 1e-6


@pytest.mark.slow
def test_a_box_grows_where_moments_do_not_show_a_second_mode():
    """The mean of a toggle switch at 10; in a box of 115 by 115 states it is 41.954161719."""
    from forward_models.toggle_switch import network, space, units

    model = uq.Model(space, network.master_equation(tolerance=1e-9), units=units)
    run = uq.evaluate(model, space.nominal(), uq.Design([10.0]))
    assert int(run.result) == 0
    assert float(run.outputs["U"][0]) == pytest.approx(41.954161719, abs=1e-6)


def test_a_box_that_is_too_small_has_a_code():
    model = uq.Model(networks.RATES, networks.birth_death.master_equation({"X": 12}), units={"X": ""})
    run = uq.evaluate(model, model.space.nominal(), uq.Design([1.0]))
    assert np.isnan(run.outputs["X"][0])
    assert "has left the box" in model.dynamics.sentence(int(run.result))


def test_what_cannot_be_a_box_is_refused_at_once():
    with pytest.raises(uq.InputError) as raised:
        networks.birth_death.master_equation({"Y": 5, "X": 1.5}, tolerance=2.0)
    assert len(raised.value.findings) == 3
    large = uq.Model(networks.RATES, networks.birth_death.master_equation(max_states=10), units={"X": ""})
    with pytest.raises(uq.InputError, match="states"):
        uq.evaluate(large, large.space.nominal(), uq.Design([1.0]))


@pytest.fixture(scope="module")
def snapshots():
    times = np.repeat([0.5, 2.0, 10.0], 40)
    table = pd.DataFrame({"experiment": "cells", "output": "mRNA", "time": times, "value": 0.0})
    planned = uq.Study("cells", TELEGRAPH, {"cells": uq.Design()}, table)
    data = simulate_data(planned, networks.PROMOTER.nominal(), jax.random.key(3))
    return uq.Study("cells", TELEGRAPH, {"cells": uq.Design()}, data)


def test_snapshots_have_a_likelihood_with_a_gradient(snapshots):
    density, theta = log_likelihood(snapshots), snapshots.model.space.nominal()
    slope = jax.grad(density)(theta)
    for name, value in theta.items():
        step = 1e-4 * float(value)
        up, down = (float(density({**theta, name: value + sign * step})) for sign in (1, -1))
        assert float(slope[name]) == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-5)
    assert likelihood_of(snapshots).kind == "a product over independent snapshots"


def test_counts_that_no_cell_can_have_are_impossible(snapshots):
    for value in (2.5, -1.0, 1e6):
        data = snapshots.table.assign(value=np.where(np.arange(120) == 0, value, snapshots.table["value"]))
        broken = uq.Study("cells", TELEGRAPH, {"cells": uq.Design()}, data)
        assert float(log_likelihood(broken)(TELEGRAPH.space.nominal())) == -np.inf


def test_the_distribution_tells_all_rates(snapshots):
    """The mean over time leaves one combination of the four open; whole distributions none."""
    assert fisher_information(snapshots).attrs["rank"] == 4


@pytest.mark.slow
def test_the_score_of_snapshots_is_that_of_value_gradient_and_information(snapshots):
    """Solved for once, where the default would solve three times; a failed solve and an impossible row are failures."""
    likelihood, names = likelihood_of(snapshots), TELEGRAPH.space.free

    def place(x):
        return dict(zip(names, jnp.exp(x), strict=True))

    x = jnp.log(jnp.stack([TELEGRAPH.space.nominal()[name] for name in names])) + 0.1
    once, by_parts = likelihood.scores(place, x), super(Snapshots, likelihood).scores(place, x)
    for found, expected in zip(once[:2], by_parts[:2], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-8)
    np.testing.assert_allclose(once.root.T @ once.root, by_parts.root.T @ by_parts.root, rtol=1e-8)
    np.testing.assert_allclose(once.root.T @ once.residual, once.gradient, rtol=1e-6)
    impossible = {"mRNA": snapshots.table["value"].to_numpy() + 0.5}
    assert likelihood.scores(place, x, impossible).value == -np.inf
    assert likelihood.scores(place, x + 6.0).value == -np.inf
