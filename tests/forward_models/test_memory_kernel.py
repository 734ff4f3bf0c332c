"""The slow species with a memory: three models of it, and what forgetting loses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import uqbench as uq
from forward_models import memory_kernel
from studies import memory_kernel as studied
from uqbench.identifiability import fisher_information, structural_identifiability
from uqbench.time_scales.memory import embedding
from uqbench.time_scales.memory import memory_kernel as kernel_of

DOSE = {"dose": 1.0}
TIMES = jnp.linspace(0.0, 6.0, 13)
TRUTH = studied.truth | {"eps": 0.5, "sigma": 0.02}


def draws(count):
    space = memory_kernel.space
    sampled = space.sample(jax.random.key(3), (count,))
    eps = np.geomspace(0.02, 2.0, count)
    return [
        space.complete({name: float(row[k]) for name, row in sampled.items()} | {"eps": eps[k]}) for k in range(count)
    ]


def slow_states(system, fast, theta):
    """y at the times, by matrix exponentials: no tolerance of a solver."""
    return np.asarray(kernel_of(system, fast, theta, DOSE).full().at(TIMES)[:, 0])


@pytest.mark.parametrize("theta", draws(12), ids=lambda theta: f"eps={float(theta['eps']):.2g}")
def test_the_embedding_is_the_full_model(theta):
    full = slow_states(memory_kernel.model.system, ["x1", "x2"], theta)
    np.testing.assert_allclose(
        slow_states(memory_kernel.embedded.system, ["z1", "z2"], theta), full, rtol=0, atol=1e-10
    )


def test_the_embedding_holds_where_the_pair_is_not_complex():
    for w in (0.1, 0.75, 0.75 + 1e-9):
        theta = memory_kernel.space.complete(TRUTH | {"r1": 2.0, "r2": 0.5, "w": w})
        full = slow_states(memory_kernel.model.system, ["x1", "x2"], theta)
        embedded = slow_states(memory_kernel.embedded.system, ["z1", "z2"], theta)
        np.testing.assert_allclose(embedded, full, rtol=0, atol=1e-10)


def test_the_kernel_is_that_of_the_text():
    p = TRUTH
    kernel = kernel_of(memory_kernel.model.system, ["x1", "x2"], p, DOSE)
    decay, skew = (p["r1"] + p["r2"]) / 2, (p["r2"] - p["r1"]) / 2
    turn, lags = np.sqrt(p["w"] ** 2 - skew**2), np.linspace(0.0, 3.0, 31)
    s = lags / p["eps"]
    exact = -p["k"] / p["eps"] * np.exp(-decay * s) * (np.cos(turn * s) + skew / turn * np.sin(turn * s))
    np.testing.assert_allclose(kernel.kernel(lags)[:, 0, 0], exact, atol=1e-13)
    np.testing.assert_allclose(kernel.modes.rates.imag, np.array([1, -1]) * turn / p["eps"], rtol=1e-12)


def test_the_memoryless_model_is_the_limit():
    kernel = kernel_of(memory_kernel.model.system, ["x1", "x2"], TRUTH, DOSE)
    rate = memory_kernel.memoryless_rhs(0.0, {"y": 1.0}, TRUTH, DOSE)["y"]
    assert float(kernel.memoryless[0, 0]) == pytest.approx(rate, rel=1e-14)


@pytest.mark.parametrize("model, tolerance", [(memory_kernel.model, 1e-7), (memory_kernel.embedded, 1e-7)])
def test_the_models_run_as_the_closed_form(model, tolerance):
    run = uq.evaluate(model, studied.truth, uq.Design(TIMES, DOSE))
    np.testing.assert_allclose(run.outputs["concentration"], studied.response(TIMES, **studied.truth), atol=tolerance)


def test_the_embedding_found_by_the_library_is_a_model_too():
    system = embedding(kernel_of(memory_kernel.model.system, ["x1", "x2"], TRUTH, DOSE))
    found = memory_kernel.observed(system, "memory_kernel embedded by numbers")
    run = uq.evaluate(found, studied.truth, uq.Design(TIMES, DOSE))
    np.testing.assert_allclose(run.outputs["concentration"], studied.response(TIMES, **studied.truth), atol=1e-7)


def test_forgetting_leaves_one_rate_of_five():
    full = structural_identifiability(memory_kernel.model)
    assert full.attrs["rank"] == 5
    assert "none" not in set(full.verdict.values)
    embedded = structural_identifiability(memory_kernel.embedded)
    assert dict(zip(embedded.parameter.values, embedded.verdict.values, strict=True)) == dict(
        zip(full.parameter.values, full.verdict.values, strict=True)
    )
    memoryless = structural_identifiability(memory_kernel.memoryless)
    assert memoryless.attrs["rank"] == 1
    assert set(memoryless.verdict.values) == {"none"}


def test_the_data_know_all_five_with_the_memory():
    fisher = fisher_information(studied.study, studied.truth)
    assert fisher.attrs["rank"] == 5
    assert fisher_information(studied.forgetful, studied.truth).attrs["rank"] == 1


def test_no_rate_of_the_memoryless_model_fits():
    value = studied.study.data["value"].to_numpy()
    misfit = [np.sum(np.square((value - np.exp(-rate * studied.times)) / 0.02)) for rate in np.linspace(0.1, 1.5, 281)]
    own = np.sum(np.square((value - studied.response(studied.times, **studied.truth)) / 0.02))
    assert own < stats.chi2.ppf(0.99, df=20)
    assert min(misfit) > stats.chi2.ppf(1 - 1e-12, df=19)


def test_forgetting_keeps_the_area_and_loses_the_moment():
    outputs = {
        name: [
            float(quantity.function(uq.evaluate(each.model, studied.truth, quantity.design).outputs, quantity.design))
            for name, quantity in each.quantities.items()
        ]
        for name, each in (("full", studied.study), ("memoryless", studied.forgetful))
    }
    moment, area = (np.array(pair) for pair in zip(outputs["full"], outputs["memoryless"], strict=True))
    # the trapezoidal rule over 24 h, and what is left after them
    assert area[0] == pytest.approx(area[1], rel=1e-3)
    assert area[0] == pytest.approx(1 / (0.3 + 2.0 * 0.5 / (0.5 + 4.0)), rel=1e-3)
    assert moment[1] - moment[0] == pytest.approx(0.1351, abs=1e-3)
