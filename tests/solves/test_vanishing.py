"""States that decay to nothing and stay there, under powers that end at zero.

A stage of a long step carries such a state across zero, where the power has no value; steps that are short enough for
every stage to stay positive follow a decay that matters to nobody.
"""

import jax
import numpy as np
import pytest

import uqbench as uq

from .problems import DERIVATIVES, complex_step, model, relative_to_largest, slopes, solved
from .random_networks import network

THETA = {"r": 40.0, "n": 1.3, "k": 1e-3}
TIMES = np.array([1.0, 10.0, 1e3, 1e4])


def decaying_initial(p, inputs):
    return {"x": 2.0, "z": 0.0}


def decaying_rhs(t, y, p, inputs):
    return {"x": -p["r"] * y["x"], "z": y["x"] ** p["n"] - p["k"] * y["z"]}


def closed_form(theta):
    x = 2.0 * np.exp(-theta["r"] * TIMES)
    rate = theta["n"] * theta["r"]
    z = 2.0 ** theta["n"] * (np.exp(-theta["k"] * TIMES) - np.exp(-rate * TIMES)) / (rate - theta["k"])
    return np.stack([x, z], axis=-1)


def test_a_power_of_what_has_decayed():
    decaying = model(decaying_initial, decaying_rhs, THETA, "xz")
    found = solved(decaying, THETA, uq.Design(TIMES))
    np.testing.assert_allclose(found, closed_form(THETA), rtol=1e-6, atol=1e-18)


@pytest.mark.parametrize("way", DERIVATIVES)
def test_slopes_of_what_it_leaves_behind(way):
    decaying = model(decaying_initial, decaying_rhs, THETA, "xz")
    found = slopes(decaying, THETA, uq.Design(TIMES), tuple(THETA), way)
    assert found.result == 0
    exact = complex_step(closed_form, THETA, tuple(THETA))
    assert relative_to_largest(found.derivatives, exact)[:, 1].max() < 1e-5


def test_what_has_decayed_costs_no_steps():
    """From 1e-17 to 1e-200 there is nothing to follow; it took four times as many steps as all before."""
    decaying = model(decaying_initial, decaying_rhs, THETA, "xz")
    early, late = (int(uq.evaluate(decaying, THETA, uq.Design(np.array([time]))).steps) for time in (1.5, 12.0))
    assert late < 1.5 * early


@pytest.mark.parametrize("seed", [100033, 100073, 100095, 100341])
def test_genes_that_die_out(seed):
    """Hill functions of each other, down to numbers whose products underflow: all of these ended with a code."""
    drawn = network(seed)
    assert np.isfinite(solved(drawn.model, drawn.theta, uq.Design(drawn.times))).all()


def test_members_of_a_batch_vanish_as_they_do_alone():
    decaying, design = model(decaying_initial, decaying_rhs, THETA, "xz"), uq.Design(TIMES)
    rates = np.linspace(5.0, 80.0, 20)
    together = uq.evaluate_many(decaying, {**THETA, "r": rates}, design)
    assert (np.asarray(together.result) == 0).all()
    alone = [np.asarray(uq.evaluate(decaying, {**THETA, "r": rate}, design).outputs["z"]) for rate in rates]
    np.testing.assert_array_equal(np.asarray(together.outputs["z"]), alone)


@pytest.mark.parametrize("seed", [500006, 500012])
def test_members_of_a_batch_of_networks_vanish_as_they_do_alone(seed):
    """States below 1e-154, whose products underflow: some were zero alone and 1e-178 in a batch."""
    drawn = network(seed)
    design = uq.Design(drawn.times)
    thetas = drawn.model.space.sample(jax.random.key(seed), (32,))
    together = uq.evaluate_many(drawn.model, thetas, design)
    for member in range(0, 32, 8):
        alone = uq.evaluate(drawn.model, {name: values[member] for name, values in thetas.items()}, design)
        assert int(alone.result) == int(together.result[member])
        for name in drawn.states:
            np.testing.assert_array_equal(together.outputs[name][member], alone.outputs[name])
