"""Doses and switches against closed forms, and derivatives that follow a stop that moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq

SPACE = uq.Space(
    k=uq.epistemic(uq.LogNormal(median=0.7, sigma=0.2), "1/h"),
    on=uq.epistemic(uq.LogNormal(median=1.3, sigma=0.2), "h"),
)


def nothing(p, inputs):
    return {"x": jnp.zeros(())}


def infusion(t, y, p, inputs):
    running = (t >= p["on"]) & (t < p["on"] + 2.0)
    return {"x": jnp.where(running, inputs["rate"], 0.0) - p["k"] * y["x"]}


def switches(p, inputs):
    return jnp.array([p["on"], p["on"] + 2.0])


def decay(t, y, p, inputs):
    return {"x": -p["k"] * y["x"]}


def doses(p, inputs):
    return {"x": (inputs["times"] + p["on"], inputs["amounts"])}


def observe(y, p):
    return {"x": y["x"]}


def model(rhs, method, **schedule):
    system = uq.Ode(nothing, rhs, rtol=1e-9, atol=1e-12, method=method, **schedule)
    return uq.Model(SPACE, system, observe, {"x": "mg"}, time_unit="h")


def infused(t, k, on, rate):
    grown = rate / k * (1 - np.exp(-k * np.clip(t - on, 0, 2)))
    return grown * np.exp(-k * np.maximum(t - on - 2, 0))


@pytest.mark.parametrize("method", ["explicit", "implicit"])
def test_a_switch_is_hit_exactly_even_when_it_is_short(method):
    times = np.array([0.5, 1.3, 2.0, 3.3, 4.0, 400.0])
    design = uq.Design(times, inputs={"rate": 5.0})
    run = uq.evaluate(model(infusion, method, switches=switches), {"k": 0.7, "on": 1.3}, design)
    assert int(run.result) == 0
    np.testing.assert_allclose(run.outputs["x"], infused(times, 0.7, 1.3, 5.0), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("method", ["explicit", "implicit"])
def test_doses_add_up_and_an_observation_sees_the_state_before(method):
    given, amounts = np.array([0.0, 2.0, 2.0, 5.0]), np.array([1.0, 2.0, 0.5, 3.0])
    times = np.array([0.0, 1.3, 1.4, 3.3, 3.4, 10.0])
    design = uq.Design(times, inputs={"times": given, "amounts": amounts})
    run = uq.evaluate(model(decay, method, doses=doses), {"k": 0.7, "on": 1.3}, design)
    exact = [sum(a * np.exp(-0.7 * (t - 1.3 - s)) for s, a in zip(given, amounts, strict=True) if t > 1.3 + s + 1e-12)
             for t in times]  # fmt: skip
    np.testing.assert_allclose(run.outputs["x"], exact, rtol=1e-7, atol=1e-12)


def test_a_dose_at_the_start_counts_and_one_before_it_does_not():
    design = uq.Design([0.0, 1.0], inputs={"times": [-3.0, -1.3], "amounts": [10.0, 1.0]})
    run = uq.evaluate(model(decay, "implicit", doses=doses), {"k": 0.7, "on": 1.3}, design)
    np.testing.assert_allclose(run.outputs["x"], [0.0, np.exp(-0.7)], rtol=1e-8)


@pytest.mark.parametrize("method", ["explicit", "implicit"])
def test_derivatives_follow_a_stop_that_moves(method):
    """Forward and reverse mode against the closed form's derivative with respect to the time of the switch."""
    times = np.array([2.0, 4.0])
    design = uq.Design(times, inputs={"rate": 5.0})
    infuse = model(infusion, method, switches=switches)

    def x(on, mode):
        return uq.evaluate(infuse, {"k": 0.7, "on": on}, design, mode=mode).outputs["x"]

    step = 1e-5
    exact = (infused(times, 0.7, 1.3 + step, 5.0) - infused(times, 0.7, 1.3 - step, 5.0)) / (2 * step)
    np.testing.assert_allclose(jax.jacfwd(lambda on: x(on, "forward"))(jnp.asarray(1.3)), exact, rtol=1e-6)
    np.testing.assert_allclose(jax.jacrev(lambda on: x(on, "reverse"))(jnp.asarray(1.3)), exact, rtol=1e-6)


def test_a_batch_has_event_times_of_its_own_in_each_member():
    on = np.array([0.3, 1.3, 2.9])
    design = uq.Design([1.0, 4.0], inputs={"rate": 5.0})
    run = uq.evaluate_many(model(infusion, "implicit", switches=switches), {"k": 0.7, "on": on}, design)
    exact = np.stack([infused(np.array([1.0, 4.0]), 0.7, value, 5.0) for value in on])
    np.testing.assert_allclose(run.outputs["x"], exact, rtol=1e-7, atol=1e-9)


def wrong_doses(p, inputs):
    return {"z": (jnp.zeros(2), jnp.ones(2)), "x": (jnp.zeros(2), jnp.ones(3))}


def test_doses_that_do_not_fit_are_named_together():
    with pytest.raises(uq.InputError) as caught:
        uq.evaluate(model(decay, "auto", doses=wrong_doses), {"k": 0.7, "on": 1.3}, uq.Design([1.0]))
    assert len(caught.value.findings) == 2
    assert "'z'" in str(caught.value) and "(3,)" in str(caught.value)


def test_the_method_is_chosen_along_the_trajectory():
    """Robertson's system is gentle at its start and stiff later; an undamped fast spring is not stiff at all."""

    def start(p, inputs):
        return {"a": jnp.ones(()), "b": jnp.zeros(()), "c": jnp.zeros(())}

    def robertson(t, y, p, inputs):
        a, b, c = 0.04 * y["a"], 1e4 * y["b"] * y["c"], 3e7 * y["b"] ** 2
        return {"a": b - a, "b": a - b - c, "c": c}

    def spring_start(p, inputs):
        return {"x": jnp.ones(()), "v": jnp.zeros(())}

    def spring(t, y, p, inputs):
        return {"x": y["v"], "v": -1e4 * y["x"]}

    def implicit_steps(system, names, end):
        observed = uq.Model(uq.Space(), system, lambda y, p: y, dict.fromkeys(names, ""))
        run = uq.evaluate(observed, {}, uq.Design([end]))
        assert int(run.result) == 0
        return int(run.implicit_steps)

    gentle, stiff = (implicit_steps(uq.Ode(start, robertson), "abc", end) for end in (1e-4, 1e4))
    assert gentle == 0 < stiff
    assert implicit_steps(uq.Ode(spring_start, spring), "xv", 1.0) == 0
