"""Propensities that jump for a short time: no view may step across a pulse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq

from . import networks

# a two-hundredth of the time that is simulated, and shorter than the steps that a quiet solve takes
WIDTH, LOSS, END = 0.05, 0.1, 10.0


def propensities(t, y, p, inputs):
    on = (t > p["begin"]) & (t < p["begin"] + WIDTH)
    return {"make": jnp.where(on, p["k"], 0.0), "lose": LOSS * y["X"], "switch": 0.01 * y["G"]}


network = uq.Reactions({"X": 0, "G": 0}, {"make": {"X": 1}, "lose": {"X": -1}, "switch": {"G": -1}}, propensities)


def mean_at_the_end(k, begin):
    """That of Poisson numbers."""
    return k / LOSS * (np.exp(-LOSS * (END - begin - WIDTH)) - np.exp(-LOSS * (END - begin)))


@pytest.mark.parametrize("begin", [1.234, 5.03, 8.8])
def test_a_distribution_sees_it(begin):
    space = networks.space(k=200.0, begin=begin)
    model = uq.Model(space, network.master_equation({"X": 60, "G": 0}), units={"X": ""})
    run = uq.evaluate(model, space.nominal(), uq.Design([END]))
    assert int(run.result) == 0
    assert float(run.outputs["X"][0]) == pytest.approx(mean_at_the_end(200.0, begin), rel=1e-4)


@pytest.mark.parametrize("view", [network.jumps(), network.hybrid(["G"])], ids=["jumps", "hybrid"])
def test_trajectories_see_it(view):
    space, n = networks.space(k=2000.0, begin=5.03), 200
    model = uq.Model(space, view, units={"X": ""})
    thetas = {name: np.broadcast_to(value, (n,)) for name, value in space.nominal().items()}
    run = uq.evaluate_many(model, thetas, uq.Design([5.0, END]), keys=jax.random.split(jax.random.key(0), n))
    assert not np.any(run.result)
    found, expected = np.asarray(run.outputs["X"]), mean_at_the_end(2000.0, 5.03)
    np.testing.assert_allclose(found[:, 0], 0.0, atol=1e-9)
    # four standard errors of the mean of Poisson numbers; the hybrid has none
    assert found[:, 1].mean() == pytest.approx(expected, abs=4 * np.sqrt(expected / n))
