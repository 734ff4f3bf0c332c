"""Stochastic differential equations against closed forms: Ornstein-Uhlenbeck and geometric Brownian motion."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.systems.sde import TOO_LONG, Sde

SPACE = uq.Space(rate=uq.epistemic(uq.LogNormal(median=1.0, sigma=0.3)), s=uq.epistemic(uq.HalfNormal(1.0)))
TIMES = np.array([0.25, 1.0])
THETA = {"rate": 1.3, "s": 0.5}
# of paths solved together, for all tests the same, so that they share what is compiled
CHUNK = 256


@functools.cache
def ornstein_uhlenbeck():
    """dx = -rate x dt + s dW; with it W itself. Steps are of length 1: see `paths`."""
    return Sde(
        lambda p, inputs: {"x": 2.0, "w": 0.0},
        lambda t, y, p, inputs: {"x": -p["rate"] * y["x"], "w": 0.0 * y["w"]},
        lambda t, y, p, inputs: {"heat": {"x": p["s"], "w": 1.0}},
        step=1.0,
        tolerance=np.finfo(float).max,
    )


@functools.cache
def geometric():
    """dx = rate x dt + s x dW, and W itself, which tells the path: x = exp((rate - s^2 / 2) t + s W)."""
    return replace(
        ornstein_uhlenbeck(),
        initial=lambda p, inputs: {"x": 1.0, "w": 0.0},
        drift=lambda t, y, p, inputs: {"x": p["rate"] * y["x"], "w": 0.0 * y["w"]},
        diffusion=lambda t, y, p, inputs: {"heat": {"x": p["s"] * y["x"], "w": 1.0}},
    )


@functools.cache
def model_of(system):
    return uq.Model(SPACE, system, units={"x": "", "w": ""})


def paths(system, count, step=1.0, times=TIMES):
    """Runs in steps of `step`: steps of one are that in time `t / step`, with rates and noise that belong to it.

    So one program serves for all lengths. The paths are the same for all of them, as they are for one key; W comes back
    in the time `t`.
    """
    many = {"rate": np.full(count, THETA["rate"] * step), "s": np.full(count, THETA["s"] * np.sqrt(step))}
    keys = jax.random.split(jax.random.key(7), count)
    run = uq.evaluate_many(model_of(system), many, uq.Design(times / step), keys, chunk=CHUNK)
    return replace(run, outputs={**run.outputs, "w": np.sqrt(step) * run.outputs["w"]})


def root_mean_square(values):
    return float(np.sqrt(np.mean(np.square(values))))


def test_mean_and_variance_of_ornstein_and_uhlenbeck():
    count = 4000
    x = np.asarray(paths(ornstein_uhlenbeck(), count, 0.05).outputs["x"])
    mean = 2.0 * np.exp(-1.3 * TIMES)
    variance = 0.25 / 2.6 * (1 - np.exp(-2.6 * TIMES))
    # five standard errors
    np.testing.assert_array_less(np.abs(x.mean(axis=0) - mean), 5 * np.sqrt(variance / count))
    np.testing.assert_array_less(np.abs(x.var(axis=0) - variance), 5 * variance * np.sqrt(2 / count))


def strong_error(system, step):
    run = paths(system, 200, step)
    w, x = run.outputs["w"], run.outputs["x"]
    return root_mean_square(x - np.exp((1.3 - 0.125) * TIMES + 0.5 * np.asarray(w)))


def test_multiplicative_noise_has_strong_order_one_half():
    """Steps of a sixteenth: a quarter of the error."""
    order = np.log(strong_error(geometric(), 0.125) / strong_error(geometric(), 0.125 / 16)) / np.log(16)
    assert 0.35 < order < 0.75


@pytest.mark.slow
def test_additive_noise_has_strong_order_three_halves():
    """Errors on the same paths, the last of which is fine enough to stand for the truth."""
    steps = (0.25, 0.0625, 0.25 / 32)
    found = {step: np.asarray(paths(ornstein_uhlenbeck(), 200, step).outputs["x"]) for step in steps}
    truth = found.pop(0.25 / 32)
    coarse, fine = (root_mean_square(x - truth) for x in found.values())
    assert np.log(coarse / fine) / np.log(4) > 1.3


def test_weak_order_one_of_the_mean():
    """Without noise in the mean: E x = exp(rate t), of which Euler's steps make (1 + rate h)^n, at half the step."""
    x = np.asarray(paths(geometric(), 4000, 0.25).outputs["x"])[:, 1]
    expected = (1 + 1.3 * 0.125) ** 8
    assert abs(x.mean() - expected) < 5 * x.std() / np.sqrt(len(x))
    assert abs(x.mean() - np.exp(1.3)) > 5 * x.std() / np.sqrt(len(x))


@pytest.mark.slow
def test_derivatives_along_a_path():
    # few steps: reverse mode has room for all of them, which takes long to compile
    system = replace(ornstein_uhlenbeck(), step=0.5, max_steps=4)
    model = uq.Model(SPACE, system, units={"x": "", "w": ""})

    def end(s, mode="value"):
        run = uq.evaluate(model, {"rate": 1.3, "s": s}, uq.Design([1.0]), key=jax.random.key(3), mode=mode)
        return run.outputs["x"][-1]

    # x is linear in s
    slope = float(end(1.0) - end(0.0))
    assert float(jax.jacfwd(end)(0.5)) == pytest.approx(slope, rel=1e-10)
    assert float(jax.grad(lambda s: end(s, "reverse"))(0.5)) == pytest.approx(slope, rel=1e-10)


def test_steps_that_are_too_long_have_a_code():
    system = replace(geometric(), tolerance=1e-3, max_steps=4)
    run = paths(system, 3, step=0.5)
    assert run.result.tolist() == [TOO_LONG] * 3 and np.all(np.isnan(run.outputs["x"]))
    limited = paths(system, 3, step=0.5, times=np.array([0.25, 2.0]))
    assert limited.result.tolist() == [uq.Result.STEP_LIMIT] * 3


@pytest.mark.slow
def test_arrays_are_states_and_sources_may_be_shared():
    """Two cells with noise of their own and one in common, which cancels in the difference."""
    system = Sde(
        lambda p, inputs: {"u": jnp.zeros(2)},
        lambda t, y, p, inputs: {"u": 0.0 * y["u"]},
        lambda t, y, p, inputs: {"all": {"u": 3.0}, "first": {"u": jnp.array([p["s"], 0.0])}},
        step=0.5,
    )
    model = uq.Model(SPACE, system, lambda y, p: {"both": y["u"][1], "apart": y["u"][0] - y["u"][1]},
                     units={"both": "", "apart": ""})  # fmt: skip
    many = {name: np.full(3000, value) for name, value in THETA.items()}
    run = uq.evaluate_many(model, many, uq.Design([2.0]), jax.random.split(jax.random.key(1), 3000))
    assert np.asarray(run.outputs["both"]).std() == pytest.approx(3 * np.sqrt(2), rel=5 / np.sqrt(6000))
    assert np.asarray(run.outputs["apart"]).std() == pytest.approx(0.5 * np.sqrt(2), rel=5 / np.sqrt(6000))


def test_everything_wrong_is_said_at_once():
    with pytest.raises(uq.InputError, match=r"step is 0(.|\n)*tolerance is -1"):
        replace(geometric(), step=0, tolerance=-1)
    wrong = Sde(lambda p, i: {"x": 1.0, "z": 0.0}, lambda t, y, p, i: {"x": jnp.ones(2)},
                lambda t, y, p, i: {"heat": {"q": 1.0}}, step=0.1)  # fmt: skip
    with pytest.raises(uq.InputError) as error:
        uq.evaluate(uq.Model(SPACE, wrong, units={"x": ""}), THETA, uq.Design([np.inf]), key=jax.random.key(0))
    for part in ("no rate for 'z'", "moves 'q', which is no state", "shape (2,) for 'x'", "does not come to rest"):
        assert part in str(error.value)


def test_a_run_needs_a_key():
    with pytest.raises(uq.InputError, match="key"):
        uq.evaluate(uq.Model(SPACE, geometric(), units={"x": "", "w": ""}), THETA, uq.Design(TIMES))
