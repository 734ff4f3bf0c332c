"""A design time of `inf`: the steady state beside the transient, in every way a model is run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq

SPACE = uq.Space(
    k=uq.epistemic(uq.LogNormal(median=2.0, sigma=0.3), "1/h"),
    r=uq.epistemic(uq.LogNormal(median=0.5, sigma=0.3), "1/h"),
    total=uq.epistemic(uq.LogNormal(median=3.0, sigma=0.3), "nM"),
)


def initial(p, inputs):
    return {"a": p["total"], "b": jnp.zeros(())}


def cycle(t, y, p, inputs):
    """a <-> b: the total is kept, so the Jacobian is singular."""
    net = p["k"] * y["a"] - p["r"] * y["b"]
    return {"a": -net, "b": net}


def grow(t, y, p, inputs):
    return {"a": p["k"] * y["a"], "b": -p["r"] * y["b"]}


def observe(y, p):
    return {"b": y["b"]}


def model(rhs, **schedule):
    return uq.Model(SPACE, uq.Ode(initial, rhs, **schedule), observe, {"b": "nM"}, time_unit="h")


CYCLE = model(cycle)
DESIGN = uq.Design([0.5, np.inf, np.inf])
THETA = {"k": 2.0, "r": 0.5, "total": 3.0}


def test_the_transient_and_the_rest_that_keeps_the_total():
    run = uq.evaluate(CYCLE, THETA, DESIGN)
    assert int(run.result) == 0
    exact = 2.4 * (1 - np.exp(-2.5 * 0.5))
    np.testing.assert_allclose(run.outputs["b"], [exact, 2.4, 2.4], rtol=1e-7)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_derivatives_at_rest_in_both_modes(mode):
    def b(theta):
        return uq.evaluate(CYCLE, theta, DESIGN, mode=mode).outputs["b"][1]

    theta = {name: jnp.asarray(value) for name, value in THETA.items()}
    slopes = (jax.jacfwd if mode == "forward" else jax.grad)(b)(theta)
    # b = total k / (k + r)
    expected = {"k": 3.0 * 0.5 / 2.5**2, "r": -3.0 * 2.0 / 2.5**2, "total": 0.8}
    for name, value in expected.items():
        assert float(slopes[name]) == pytest.approx(value, rel=1e-6)


def test_a_batch_in_which_one_member_never_rests():
    run = uq.evaluate_many(model(grow), {"k": jnp.array([-1.0, 1.0, -2.0]), "r": 0.5, "total": 3.0}, DESIGN)
    assert np.asarray(run.result).tolist() == [0, uq.Result.NO_STEADY_STATE, 0]
    assert np.all(np.isnan(run.outputs["b"][1]))
    assert "steady" in uq.RESULTS[uq.Result.NO_STEADY_STATE]


def switches(p, inputs):
    return jnp.array([1.0])


def test_a_schedule_has_no_rest():
    with pytest.raises(uq.InputError, match="schedule"):
        uq.evaluate(model(cycle, switches=switches), THETA, DESIGN)


def test_designs_with_and_without_rest_share_the_transient():
    with_rest = uq.evaluate(CYCLE, THETA, DESIGN).outputs["b"][0]
    without = uq.evaluate(CYCLE, THETA, uq.Design([0.5])).outputs["b"][0]
    assert float(with_rest) == pytest.approx(float(without), rel=1e-8)
