"""Exact simulation as a view of a network: a run for a key."""

import jax
import numpy as np
import pytest
from scipy import stats

import uqbench as uq

from . import networks

N = 4000


def many(model, design, n=N, seed=0):
    thetas = {name: np.broadcast_to(value, (n,)) for name, value in model.space.nominal().items()}
    return uq.evaluate_many(model, thetas, design, keys=jax.random.split(jax.random.key(seed), n))


def test_birth_and_death_is_poisson():
    model = uq.Model(networks.RATES, networks.birth_death.jumps(), units={"X": ""})
    run = many(model, uq.Design([1.0]))
    assert not np.any(run.result)
    counts = np.asarray(run.outputs["X"])[:, 0]
    law = stats.poisson(10 * -np.expm1(-1.0))
    edges = np.arange(1, 14)
    seen = np.histogram(counts, [-0.5, *(edges + 0.5), np.inf])[0]
    expected = N * np.diff(np.concatenate([[0.0], law.cdf(edges), [1.0]]))
    assert stats.chisquare(seen, expected).pvalue > 1e-3


def test_a_key_is_a_trajectory_whatever_the_batch():
    model = uq.Model(networks.PAIRS, networks.dimerisation.jumps(), units={"A": "", "B": ""})
    design = uq.Design([0.2, 1.0])
    # so many that the cores share them
    run = many(model, design, 200)
    for place in (5, 150, 199):
        key = jax.random.split(jax.random.key(0), 200)[place]
        alone = uq.evaluate(model, model.space.nominal(), design, key=key)
        np.testing.assert_array_equal(run.outputs["A"][place], alone.outputs["A"])
    np.testing.assert_array_equal(run.outputs["A"] + 2 * run.outputs["B"], 30.0)


def test_what_is_observed_is_a_function_of_the_counts():
    def observe(y, p):
        return {"all": y["A"] + 2 * y["B"]}

    model = uq.Model(networks.PAIRS, networks.dimerisation.jumps(), observe, {"all": ""})
    np.testing.assert_array_equal(many(model, uq.Design([1.0]), 4).outputs["all"], 30.0)


def test_an_explosion_has_a_code():
    def rates(y, p, inputs):
        return {"divide": p["k"] * y["X"]}

    network = uq.Reactions({"X": 1}, {"divide": {"X": 1}}, rates)
    model = uq.Model(networks.space(k=10.0), network.jumps(max_events=1000), units={"X": ""})
    run = uq.evaluate(model, {"k": 10.0}, uq.Design([0.1, 5.0]), key=jax.random.key(0))
    assert int(run.result) == uq.Result.EVENT_LIMIT and np.all(np.isnan(run.outputs["X"]))


def test_counts_have_no_gradient_and_the_start_must_be_one():
    model = uq.Model(networks.RATES, networks.birth_death.jumps(), units={"X": ""})
    assert model.gradient == "none" and "none" in str(uq.check_model(model))
    network = uq.Reactions({"X": "x0"}, networks.birth_death.stoichiometry, networks.birth_death.propensities)
    with pytest.raises(uq.InputError, match=r"starts at 1\.5"):
        uq.check_model(uq.Model(networks.space(k=1.0, g=1.0, x0=1.5), network.jumps(), units={"X": ""}))
    # in a run the start may come from any parameter: it has a code
    for view in (network.jumps(), network.master_equation({"X": 20})):
        model = uq.Model(networks.space(k=1.0, g=1.0, x0=1.5), view, units={"X": ""})
        run = uq.evaluate(model, model.space.nominal(), uq.Design([1.0]), key=jax.random.key(0))
        assert "no count" in model.dynamics.sentence(int(run.result)) and np.isnan(run.outputs["X"][0])
    with pytest.raises(uq.InputError, match="max_events"):
        networks.birth_death.jumps(0)
