"""Multirate steps: orders, what becomes of them for fast states that settle at once, and what they cost."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

import uqbench as uq
from uqbench.initial_value import odes
from uqbench.time_scales.multirate import multirate, work_precision
from uqbench.time_scales.multirate import steps as module
from uqbench.time_scales.multirate.steps import CONSTANT, LINEAR

DESIGN = uq.Design([1.0, 2.0])
# x* of the fast equation at the start, y = 1, t = 0
AT_REST = brentq(lambda x: np.sin(1.0) - x - 0.3 * x**3 + 0.3, 0.0, 3.0)
STEPS = (1 / 8, 1 / 16, 1 / 32, 1 / 64)


def curved_initial(p, inputs):
    return {"x": p["x0"], "y": jnp.ones(()), "v": 0.2 * jnp.ones(())}


def curved(t, y, p, inputs):
    """Nonlinear in all states, with time in the slow and in the fast rates."""
    return {
        "x": (jnp.sin(y["y"]) - y["x"] - 0.3 * y["x"] ** 3 + 0.3 * jnp.cos(t)) / p["eps"],
        "y": -y["y"] * y["x"] + y["v"] * jnp.cos(t),
        "v": y["x"] - y["v"] * y["y"],
    }


CURVED = uq.Ode(curved_initial, curved, rtol=1e-12, atol=1e-13)


def beating_initial(p, inputs):
    return {"a": 2.0 * jnp.ones(()), "b": jnp.zeros(()), "y": jnp.ones(())}


NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)


def uptake(y):
    """Mean over a population of cells: what is expensive about the slow rate."""
    return jnp.sum(WEIGHTS / 2 * y / (1 + y * (NODES + 1) / 2))


def beating(t, y, p, inputs):
    """A fast pacemaker (a, b) that keeps going, felt a little by a slow concentration, which sets its speed."""
    growth, speed = 1 - y["a"] ** 2 - y["b"] ** 2, 1 + 0.2 * y["y"]
    return {
        "a": (growth * y["a"] - speed * y["b"]) / p["eps"],
        "b": (growth * y["b"] + speed * y["a"]) / p["eps"],
        "y": 1.0 - uptake(y["y"]) + 0.01 * y["a"],
    }


def settling(t, y, p, inputs):
    """The same concentration beside fast states that settle."""
    return {
        "a": (y["y"] - y["a"] - y["b"]) / p["eps"],
        "b": (y["a"] ** 2 - y["b"]) / p["eps"],
        "y": 1.0 - uptake(y["y"]) - y["a"],
    }


BEATING = uq.Ode(beating_initial, beating)
SETTLING = uq.Ode(beating_initial, settling)


monolithic = jax.jit(lambda theta, design: odes.solve(CURVED, theta, design, method="implicit"))


@cache
def errors(method, eps, x0, times=(1.0, 2.0)):
    """Largest errors of the slow states and the estimates of them, by step; the reference is the monolithic solve."""
    theta = {"eps": jnp.asarray(eps), "x0": jnp.asarray(x0)}
    design = uq.Design(times)
    exact = monolithic(theta, design).states
    found, estimated = [], []
    for step in STEPS:
        run = multirate(CURVED, ["x"], theta, design, step=step, method=method)
        assert int(run.result) == 0
        found.append(max(float(jnp.abs(run.states[name] - exact[name]).max()) for name in ("y", "v")))
        estimated.append(max(float(run.error[name].max()) for name in ("y", "v")))
    return np.array(found), np.array(estimated)


def orders(*given):
    return -np.diff(np.log2(errors(*given)[0]))


# orders ---------------------------------------------------------------------------------------------------------------


def test_the_couplings_are_those_of_a_method_of_order_three():
    """Heun's tableau underneath, equally spaced stages, and the coupling condition of third order (Sandu 2019)."""
    constant, linear = np.array(CONSTANT), np.array(LINEAR)
    np.testing.assert_allclose((constant + linear / 2).sum(axis=1), 1 / 3, rtol=1e-15)
    slow = np.vstack([np.zeros(3), np.cumsum(constant + linear / 2, axis=0)])
    stages, weights, nodes = slow[:3], slow[3], slow[:3].sum(axis=1)
    np.testing.assert_allclose(nodes, [0, 1 / 3, 2 / 3], atol=1e-15)
    np.testing.assert_allclose(
        [weights.sum(), weights @ nodes, weights @ nodes**2, weights @ stages @ nodes], [1, 1 / 2, 1 / 3, 1 / 6]
    )
    # the fast states see the slow ones on the way: the mean over the step of their second-order part is that of t^2 / 2
    on_the_way = (constant / 2 + linear / 6) @ nodes
    assert np.sum((stages @ nodes + on_the_way) / 3) == pytest.approx(1 / 6, rel=1e-14)


@pytest.mark.parametrize("method, order", [("mri", 3.0), ("strang", 2.0)])
@pytest.mark.parametrize("eps", [0.5, 0.1])
def test_the_order_at_moderate_separation(method, order, eps):
    np.testing.assert_allclose(orders(method, eps, 0.5)[-2:], order, atol=0.1)


@pytest.mark.parametrize(
    "method, eps, x0, order, width",
    [
        ("mri", 1e-5, AT_REST, 3.0, 0.1),
        ("mri", 1e-2, AT_REST, 2.2, 0.2),
        ("mri", 1e-5, 0.5, 1.0, 0.1),
        ("strang", 1e-5, AT_REST, 1.0, 0.1),
        ("strang", 1e-5, 0.5, 1.0, 0.1),
    ],
    ids=["mri at rest", "mri at rest, H of some eps", "mri with a layer", "strang at rest", "strang with a layer"],
)
def test_what_remains_of_the_order_beyond_the_fast_time(method, eps, x0, order, width):
    np.testing.assert_allclose(orders(method, eps, x0)[-2:], order, atol=width)


def test_times_in_the_initial_layer_give_the_accuracy_back():
    eps = 1e-5
    layer = tuple(eps * np.geomspace(0.25, 32.0, 8))
    plain, treated, at_rest = (
        errors("mri", eps, x0, times)[0][1]
        for x0, times in ((0.5, (1.0, 2.0)), (0.5, (*layer, 1.0, 2.0)), (AT_REST, (1.0, 2.0)))
    )
    assert plain > 300 * at_rest
    assert treated == pytest.approx(at_rest, rel=0.1)


@pytest.mark.parametrize(
    "method, eps, x0, share",
    [
        ("mri", 0.1, 0.5, 1.0),
        ("strang", 0.1, 0.5, 1.0),
        ("mri", 1e-5, 0.5, 1 / 7),
        ("strang", 1e-5, AT_REST, 1 / 3),
    ],
)
def test_the_estimate_is_the_error_where_the_order_is_reached(method, eps, x0, share):
    found, estimated = errors(method, eps, x0)
    assert estimated[-1] / found[-1] == pytest.approx(share, rel=0.1)


# the solve ------------------------------------------------------------------------------------------------------------


def test_steps_land_on_the_times_and_are_counted():
    theta = {"eps": jnp.asarray(0.1), "x0": jnp.asarray(0.5)}
    design = uq.Design([0.0, 0.3, 0.3, 1.0], start=0.0)
    run = multirate(CURVED, ["x"], theta, design, step=0.1)
    # 0.3 in 4 steps, since their number is even, and 0.7 in 8
    assert run.slow_evaluations == 3 * 12
    assert {name: values.shape for name, values in run.states.items()} == dict.fromkeys(["x", "y", "v"], (4,))
    assert run.states["y"][1] == run.states["y"][2]
    assert (float(run.states["y"][0]), float(run.states["x"][0]), float(run.error["y"][0])) == (1.0, 0.5, 0.0)
    exact = monolithic(theta, design)
    assert np.all(np.abs(run.states["y"] - exact.states["y"]) <= 2 * run.error["y"])


def test_new_values_reuse_the_compiled_solve():
    module._march._clear_cache()
    for eps, end, step in ((0.1, 2.0, 0.1), (0.2, 2.0, 0.1), (0.2, 3.0, 0.1), (0.2, 7.3, 0.05)):
        run = multirate(CURVED, ["x"], {"eps": eps, "x0": 0.5}, uq.Design([1.0, end]), step=step)
        assert int(run.result) == 0
    assert module._march._cache_size() == 1


def test_derivatives_are_those_of_the_monolithic_solve():
    def end(eps):
        return multirate(CURVED, ["x"], {"eps": eps, "x0": 0.5}, DESIGN, step=1 / 64).states["y"][-1]

    def exact(eps):
        theta = {"eps": eps, "x0": jnp.asarray(0.5)}
        return monolithic(theta, DESIGN).states["y"][-1]

    value, slope = jax.jvp(end, (jnp.asarray(0.3),), (jnp.ones(()),))
    reference, exact_slope = jax.jvp(exact, (jnp.asarray(0.3),), (jnp.ones(()),))
    assert float(value) == pytest.approx(float(reference), abs=1e-6)
    assert float(slope) == pytest.approx(float(exact_slope), abs=1e-5)


@pytest.mark.parametrize("eps, x0, code", [(np.nan, 0.5, 2), (-1e-3, 0.5, 2), (0.1, np.nan, 3)])
def test_a_solve_that_fails_says_so(eps, x0, code):
    run = multirate(CURVED, ["x"], {"eps": eps, "x0": x0}, DESIGN, step=0.1)
    assert int(run.result) in uq.RESULTS and int(run.result) == code
    assert all(np.all(np.isnan(values)) for values in [*run.states.values(), *run.error.values()])


# what it costs --------------------------------------------------------------------------------------------------------


def test_multirate_wins_where_fast_states_keep_oscillating():
    """With eps = .01, 750 evaluations of the slow rates do better than 5900 in an explicit solve of everything, and as
    well as 14 000 in an implicit one."""
    design, theta = uq.Design([1.0, 2.0, 5.0]), {"eps": 0.01}
    table = work_precision(BEATING, ["a", "b"], theta, design, steps=(0.02,), tolerances=(1e-3,))
    found = table.set_index(run="method")
    error, evaluations = ({name: float(found[part].sel(run=name)) for name in found.run.values} for part in found)
    assert evaluations["mri"] == 750 and error["mri"] < 1e-5
    assert evaluations["explicit"] > 7 * 750 and error["explicit"] > 3 * error["mri"]
    assert evaluations["implicit"] > 18 * 750 and error["implicit"] > 0.5 * error["mri"]
    assert list(error) == ["mri", "strang", "implicit", "explicit"]


@pytest.mark.slow
def test_multirate_loses_where_fast_states_settle():
    """With eps = .01 an implicit solve of everything is good to 4e-6 in 200 evaluations, multirate to 1e-4 in 750."""
    design, theta = uq.Design([1.0, 2.0, 5.0]), {"eps": 0.01}
    table = work_precision(SETTLING, ["a", "b"], theta, design, steps=(0.02,), tolerances=(1e-3,))
    found = table.set_index(run="method")
    assert float(found.error.sel(run="implicit")) < 1e-5 < 1e-4 < float(found.error.sel(run="mri"))
    assert float(found.slow_evaluations.sel(run="implicit")) < 750 / 3


# bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fast, findings",
    [
        ([], ["no fast state is named"]),
        (["x", "vv"], ["'vv' is no state; did you mean 'v'?"]),
        (["x", "x"], ["'x' is named twice"]),
        (["x", "y", "v"], ["none is left to be slow"]),
    ],
)
def test_names_of_fast_states(fast, findings):
    with pytest.raises(uq.InputError) as error:
        multirate(CURVED, fast, {"eps": 0.1, "x0": 0.5}, DESIGN, step=0.1)
    assert len(error.value.findings) == len(findings)
    assert all(part in finding for part, finding in zip(findings, error.value.findings, strict=True))


@pytest.mark.parametrize(
    "step, finding",
    [
        (np.array([0.1, 0.2]), r"the step is array\(\[0.1, 0.2\]\); it must be one number"),
        ("0.1", "the step is '0.1'; it must be one number"),
        (0.0, "the step is 0.0"),
        (-1.0, "positive"),
        (np.nan, "positive"),
        (2.5, "longer than the whole interval 2;"),
    ],
)
def test_steps_that_cannot_be_taken(step, finding):
    with pytest.raises(uq.InputError, match=finding):
        multirate(CURVED, ["x"], {"eps": 0.1, "x0": 0.5}, DESIGN, step=step)


@pytest.mark.parametrize(
    "theta, finding",
    [({"eps": 0.1}, "the system reads 'x0'"), ({"eps": np.ones(2), "x0": 0.5}, r"'eps' has the shape \(2,\)")],
)
def test_parameters_are_checked_first(theta, finding):
    with pytest.raises(uq.InputError, match="multirate:\n  - .*" + finding):
        multirate(CURVED, ["x"], theta, DESIGN, step=0.1)
    with pytest.raises(uq.InputError, match="work_precision:\n  - .*" + finding):
        work_precision(CURVED, ["x"], theta, DESIGN, steps=[0.1], tolerances=[1e-3])


def test_all_that_is_wrong_is_said_at_once():
    dosed = replace(CURVED, doses=lambda p, inputs: {"y": (jnp.ones(1), jnp.ones(1))})
    with pytest.raises(uq.InputError) as error:
        multirate(dosed, ["u"], {"eps": 0.1, "x0": 0.5}, uq.Design([1.0, np.inf]), step=0.1, method="euler")
    parts = ["'u' is no state", "finite times", "method 'euler'", "has a schedule"]
    assert len(error.value.findings) == len(parts)
    assert all(part in finding for part, finding in zip(parts, error.value.findings, strict=True))


def test_a_comparison_of_costs_checks_all_its_steps():
    with pytest.raises(uq.InputError) as error:
        work_precision(CURVED, [], {"eps": 0.1, "x0": 0.5}, DESIGN, steps=[0.1, -1.0, 5.0], tolerances=[1e-3])
    parts = ["no fast state", "the step is -1.0", "the step 5 is longer"]
    assert all(part in finding for part, finding in zip(parts, error.value.findings, strict=True))
