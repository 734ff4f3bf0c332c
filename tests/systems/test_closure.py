"""Models closed by a finer scale: runs and gradients of the coarse model, through the verbs, and what is wrong."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import uqbench as uq
from uqbench.identifiability import fisher_information, structural_identifiability
from uqbench.likelihoods import simulate_data
from uqbench.model import digest


def rates(t, y, p, inputs):
    c = y["c"]
    before, after = jnp.concatenate([p["c0"][None], c[:-1]]), jnp.concatenate([c[1:], c[-1:]])
    return {"c": p["D"] * (before - 2 * c + after) - p["k"] * c}


coarse = uq.Model(
    uq.Space(
        D=uq.epistemic(uq.LogNormal(median=2.0, sigma=0.5), "1/h"),
        k=uq.epistemic(uq.LogNormal(median=0.5, sigma=0.5), "1/h"),
        c0=uq.fixed(4.0, "uM"),
        sigma=uq.fixed(0.05, "uM"),
    ),
    uq.Ode(lambda p, inputs: {"c": jnp.zeros(3)}, rates),
    lambda y, p: {"first": y["c"][0], "last": y["c"][2]},
    {"first": "uM", "last": "uM"},
    {"first": uq.Normal("first", "sigma"), "last": uq.Normal("last", "sigma")},
    name="chain",
    time_unit="h",
)
fine = uq.Space(
    a=uq.epistemic(uq.LogNormal(median=1.0, sigma=0.3), "1/h"),
    b=uq.epistemic(uq.LogNormal(median=2.0, sigma=0.3)),
    k=coarse.space["k"],
    sigma=coarse.space["sigma"],
)
design = uq.Design([0.5, 2.0])


def closure(p):
    return {"D": p["a"] * p["b"]}


def noisy(p, key):
    return {"D": p["a"] * p["b"] * jnp.exp(0.2 * jax.random.normal(key))}


def failing(p):
    return {"D": p["a"] * p["b"]}, jnp.where(p["a"] > 1.5, 170, 0)


closed = coarse.closed_by(fine, closure)
random = coarse.closed_by(fine, noisy, stochastic=True)


def planned():
    rows = [{"experiment": "e", "output": output, "time": time, "value": 0.0} for output in ("first", "last")
            for time in (0.2, 0.5, 1.0, 3.0)]  # fmt: skip
    table = pd.DataFrame(rows * 4)
    experiments = {"e": uq.Design()}
    data = simulate_data(uq.Study("chain", closed, experiments, table), fine.nominal(), jax.random.key(0))
    return uq.Study("chain", closed, experiments, data)


def test_runs_are_those_of_the_coarse_model():
    theta = fine.nominal()
    expected = uq.evaluate(coarse, {"D": theta["a"] * theta["b"], "k": theta["k"]}, design)
    found = uq.evaluate(closed, theta, design)
    for name in expected.outputs:
        np.testing.assert_allclose(found.outputs[name], expected.outputs[name], rtol=1e-12)
    thetas = {name: np.linspace(0.8, 1.2, 5) * float(theta[name]) for name in fine.free}
    many = uq.evaluate_many(closed, thetas, design)
    for i in range(5):
        one = uq.evaluate(closed, {name: values[i] for name, values in thetas.items()}, design)
        np.testing.assert_allclose(many.outputs["last"][i], one.outputs["last"], rtol=1e-6)


@pytest.mark.parametrize("mode", ["value", "forward", "reverse"])
def test_gradients_go_through_the_closure(mode):
    def last(free):
        return uq.evaluate(closed, {**fine.nominal(), **free}, design, mode=mode).outputs["last"][1]

    theta = {name: fine.nominal()[name] for name in fine.free}
    found = (jax.jacfwd if mode == "value" else jax.grad)(last)(theta)
    for name, value in theta.items():
        step = 1e-4 * value
        difference = (last({**theta, name: value + step}) - last({**theta, name: value - step})) / (2 * step)
        assert float(found[name]) == pytest.approx(float(difference), rel=1e-4)


def test_a_closure_is_evaluated_once_for_a_run_whatever_its_steps():
    calls = []

    def counted(p):
        jax.debug.callback(lambda: calls.append(1))
        return closure(p)

    run = uq.evaluate(coarse.closed_by(fine, counted), fine.nominal(), uq.Design(np.linspace(0.1, 5.0, 40)))
    jax.effects_barrier()
    assert int(run.steps) > 5
    assert len(calls) == 1


def test_a_random_closure_needs_a_key_and_differs_with_it():
    theta = fine.nominal()
    first, again, other = (uq.evaluate(random, theta, design, jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.outputs["last"], again.outputs["last"])
    assert not np.allclose(first.outputs["last"], other.outputs["last"])
    many = uq.evaluate_many(
        random, {**theta, "a": np.full(3, theta["a"])}, design, jax.random.split(jax.random.key(2), 3)
    )
    assert np.ptp(np.asarray(many.outputs["last"])[:, 1]) > 0
    with pytest.raises(uq.InputError, match="stochastic"):
        uq.evaluate(random, theta, design)


def test_codes_of_the_closure_are_data():
    model = coarse.closed_by(fine, failing, results={170: "a is too large."})
    run = uq.evaluate_many(model, {**fine.nominal(), "a": np.array([1.0, 2.0])}, design)
    assert run.result.tolist() == [0, 170]
    assert np.isnan(run.outputs["last"][1]).all() and np.isfinite(run.outputs["last"][0]).all()
    assert model.dynamics.sentence(170) == "a is too large."
    nan = uq.evaluate(coarse.closed_by(fine, lambda p: {"D": jnp.log(-p["a"])}), fine.nominal(), design)
    assert "closure" in closed.dynamics.sentence(int(nan.result))
    assert np.isnan(nan.outputs["last"]).all()


def test_a_product_is_known_and_its_factors_are_not():
    found = structural_identifiability(closed, design=design, budget=20.0)
    assert found.verdict.sel(parameter=["a", "b"]).values.tolist() == ["none", "none"]
    assert found.verdict.sel(parameter="k").item() == "global"
    assert found.combination.sel(parameter="a").item() == "D"
    assert "2 numbers are known of 3" in found.reason.sel(parameter="a").item()


def test_what_the_closure_can_tell_apart_is_locally_known():
    two = coarse.closed_by(fine, lambda p: {"D": p["a"] * p["b"], "k": p["k"] * p["b"] ** 2})
    kept = uq.Space(a=fine["a"], b=fine["b"], k=uq.fixed(0.5, "1/h"), sigma=fine["sigma"])
    found = structural_identifiability(replace(two, space=kept), design=design, budget=20.0)
    assert found.locally.sel(parameter=["a", "b"]).all()
    assert found.verdict.sel(parameter="a").item() == "undecided"


def test_information_has_the_rank_of_the_coarse_parameters():
    information = fisher_information(planned())
    assert information.attrs["rank"] == 2


def test_the_digest_is_that_of_both_scales():
    other = coarse.closed_by(fine, lambda p: {"D": p["a"] + p["b"] * 1.0})
    changed = replace(coarse, system=replace(coarse.system, rtol=1e-3)).closed_by(fine, closure)
    assert len({digest(model, design) for model in (closed, other, changed)}) == 3
    assert digest(closed, design) == digest(coarse.closed_by(fine, closure), design)


def test_what_is_wrong_is_named():
    wrong = uq.Space(a=fine["a"], k=uq.epistemic(uq.LogNormal(0.0, 1.0), "1/s"), sigma=fine["sigma"])
    with pytest.raises(uq.InputError, match="'k' is in '1/s' here and in '1/h'"):
        coarse.closed_by(wrong, closure)
    with pytest.raises(uq.InputError, match="no code of one's own"):
        coarse.closed_by(fine, closure, results={3: "no"})
    with pytest.raises(uq.InputError) as caught:
        uq.evaluate(coarse.closed_by(fine, lambda p: {"d": p["a"]}), fine.nominal(), design)
    assert "gives no 'D'" in str(caught.value) and "gives 'd'" in str(caught.value)
    with pytest.raises(uq.InputError, match="give one number"):
        uq.evaluate(coarse.closed_by(fine, lambda p: {"D": jnp.ones(2)}), fine.nominal(), design)
