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


@pytest.mark.parametrize("leap", [None, 0.1])
def test_members_with_parameters_of_their_own_are_those_of_single_runs(leap):
    model = uq.Model(networks.PAIRS, networks.dimerisation.jumps(leap=leap), units={"A": "", "B": ""})
    design, n = uq.Design([0.2, 1.0]), 130
    thetas = model.space.sample(jax.random.key(1), (n,))
    keys = jax.random.split(jax.random.key(2), n)
    run = uq.evaluate_many(model, thetas, design, keys)
    assert not np.any(run.result)
    for place in (0, 64, 129):
        own = {name: values[place] for name, values in thetas.items()}
        alone = uq.evaluate(model, own, design, key=keys[place])
        np.testing.assert_array_equal(run.outputs["A"][place], alone.outputs["A"])


def test_fixed_parameters_may_be_given_other_values():
    """Those that have the value of the space are constants to the compiler, others are not."""
    model = uq.Model(networks.PAIRS, networks.dimerisation.jumps(), units={"A": "", "B": ""})
    keys, design = jax.random.split(jax.random.key(0), 8), uq.Design([0.5])
    theta = {**model.space.nominal(), "V": np.full(8, 1e9), "A0": np.array([30.0] * 4 + [12.0] * 4)}
    run = uq.evaluate_many(model, theta, design, keys)
    # in such a volume nobody meets
    np.testing.assert_array_equal(run.outputs["A"][:, 0], theta["A0"])
    usual = many(model, design, 8)
    assert np.any(usual.outputs["A"][:, 0] < 30.0)


def test_leaps_have_the_moments_of_the_process():
    """Poisson of mean 1000 (1 - exp(-t)); a leap errs by about the share that it allows."""
    n, leap = 400, 0.03
    model = uq.Model(networks.RATES, networks.birth_death.jumps(leap=leap), units={"X": ""})
    theta = {"k": np.full(n, 1000.0), "g": np.ones(n)}
    run = uq.evaluate_many(model, theta, uq.Design([1.0]), jax.random.split(jax.random.key(0), n))
    counts, mean = np.asarray(run.outputs["X"])[:, 0], 1000 * -np.expm1(-1.0)
    assert not np.any(run.result) and np.all(counts == np.round(counts))
    assert abs(counts.mean() - mean) < 4 * np.sqrt(mean / n) + leap * mean
    assert abs(counts.var() / mean - 1) < 4 * np.sqrt(2 / n) + 2 * leap


@pytest.mark.slow
def test_leaps_are_decomposed_and_have_the_codes_of_jumps():
    model = uq.Model(networks.RATES, networks.birth_death.jumps(leap=0.1), units={"X": ""})
    tree = uq.decompose(uq.Study("leaps", model, {"film": uq.Design([1.0])}), n=32, runs=512)
    variance = tree["variance"].isel(quantity=0)
    # given its parameters a run is Poisson, of mean and variance k (1 - exp(-g)) / g
    drawn = networks.RATES.sample(jax.random.key(0), (100_000,))
    within = float(np.mean(drawn["k"] * -np.expm1(-drawn["g"]) / drawn["g"]))
    assert float(variance["aleatory_lower"]) < within < float(variance["aleatory_upper"])
    assert tree["sources"].source.values[-1] == "noise of a single run"
    few = uq.Model(networks.RATES, networks.birth_death.jumps(10, leap=0.1), units={"X": ""})
    run = uq.evaluate(few, {"k": 1e4, "g": 1.0}, uq.Design([9.0]), key=jax.random.key(0))
    assert int(run.result) == uq.Result.EVENT_LIMIT


def test_leaps_that_cannot_be_are_refused():
    timed = uq.Reactions({"X": 0}, {"make": {"X": 1}}, lambda t, y, p, inputs: {"make": t})
    with pytest.raises(uq.InputError, match=r"leap is 2(.|\n)*functions of time"):
        timed.jumps(leap=2)
