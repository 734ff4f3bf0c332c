"""Limit cycles against closed forms: period, multipliers, derivatives, and systems that have none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.numerics.limit_cycle import limit_cycle


def circle_initial(p, inputs):
    return {"x": p["x0"], "y": 0.0}


def circle(t, y, p, inputs):
    """Stuart-Landau: r' = mu r - cubic r^3, angle' = omega + beta r^2."""
    square = y["x"] ** 2 + y["y"] ** 2
    growth, turn = p["mu"] - p["cubic"] * square, p["omega"] + p["beta"] * square
    return {"x": growth * y["x"] - turn * y["y"], "y": turn * y["x"] + growth * y["y"]}


def closed_initial(p, inputs):
    return {"x": 0.5, "y": 0.0, "u": p["u0"], "v": inputs["v0"]}


def closed(t, y, p, inputs):
    """The same, turned by a total that is conserved."""
    exchange = y["u"] - 2.0 * y["v"]
    flow = circle(t, y, p | {"omega": p["omega"] * (y["u"] + y["v"])}, inputs)
    return {"x": flow["x"], "y": flow["y"], "u": -exchange, "v": exchange}


def driven(t, y, p, inputs):
    return {"x": y["y"], "y": -y["x"] + jnp.sin(t)}


def alone(t, y, p, inputs):
    return {"x": -y["x"]}


CIRCLE = uq.Ode(circle_initial, circle)
CLOSED = uq.Ode(closed_initial, closed)
THETA = {"mu": 0.7, "omega": 2.0, "beta": -0.4, "cubic": 1.0, "x0": 0.3}


def exact_period(mu, omega, beta, **others):
    return 2 * np.pi / (omega + beta * mu)


def cycle(theta):
    return limit_cycle(CIRCLE, theta, {}, transient=8.0, longest=6.0)


def test_period_and_multipliers_of_a_circle():
    found = cycle(THETA)
    period = exact_period(**THETA)
    assert bool(found.converged)
    assert float(found.period) == pytest.approx(period, rel=1e-10)
    # the radius forgets a disturbance at the rate 2 mu
    np.testing.assert_allclose(found.multipliers, [1.0, np.exp(-2 * 0.7 * period)], atol=1e-9)
    assert float(found.point["x"] ** 2 + found.point["y"] ** 2) == pytest.approx(0.7, rel=1e-9)


def test_derivatives_of_the_period_are_exact():
    """They do not depend on the start."""
    mu, omega, beta, *_ = THETA.values()
    frequency = omega + beta * mu
    # 2 pi / (omega + beta mu / cubic), at cubic = 1
    by_frequency = {"mu": beta, "omega": 1.0, "beta": mu, "cubic": -beta * mu, "x0": 0.0}
    exact = {name: -2 * np.pi / frequency**2 * change for name, change in by_frequency.items()}
    found = jax.grad(lambda theta: cycle(theta).period)({name: jnp.asarray(value) for name, value in THETA.items()})
    for name, value in exact.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-8, abs=1e-10), name


def test_a_batch_is_its_lanes_and_a_lane_without_a_cycle_spoils_none():
    omega, mu = np.array([1.5, 2.0, 2.0, 3.0]), np.array([0.7, -0.5, 0.4, 1.1])
    thetas = {"mu": mu, "omega": omega, "beta": np.full(4, -0.4), "cubic": np.ones(4), "x0": np.full(4, 0.3)}
    found = jax.vmap(cycle)(thetas)
    assert found.converged.tolist() == [True, False, True, True]
    np.testing.assert_allclose(found.period, np.where(mu > 0, exact_period(mu, omega, -0.4), np.nan), rtol=1e-10)
    assert np.all(np.isnan(found.multipliers[1]))


def test_conserved_totals_choose_the_cycle():
    theta, inputs = {"mu": 0.7, "omega": 1.0, "beta": 0.0, "cubic": 1.0, "u0": 1.5}, {"v0": 0.5}

    def period(theta, inputs):
        found = limit_cycle(CLOSED, theta, inputs, transient=10.0, longest=5.0)
        return found.period, found

    (slope, by_input), found = jax.grad(period, argnums=(0, 1), has_aux=True)(
        *jax.tree.map(jnp.asarray, (theta, inputs))
    )
    assert bool(found.converged)
    assert float(found.period) == pytest.approx(np.pi, rel=1e-10)
    # 2 pi / (omega total)
    assert float(slope["u0"]) == pytest.approx(-np.pi / 2, rel=1e-8)
    assert float(by_input["v0"]) == pytest.approx(-np.pi / 2, rel=1e-8)
    np.testing.assert_allclose(found.multipliers, np.exp(np.array([0.0, 0.0, -1.4, -3.0]) * np.pi), atol=1e-9)
    assert float(found.point["u"] + found.point["v"]) == pytest.approx(2.0, rel=1e-10)


@pytest.mark.parametrize(
    "changed",
    [
        {"mu": 0.0, "cubic": 0.0, "beta": 0.0},
        {"mu": 0.0, "cubic": 0.0},
        {"mu": -0.01},
        {"mu": 3.0, "cubic": 0.0},
        {"mu": 1.0, "cubic": -1.0},
    ],
    ids=["harmonic", "conservative", "damped", "growing", "explosion"],
)
def test_what_is_no_limit_cycle_is_not_taken_for_one(changed):
    found = cycle(THETA | changed)
    assert not bool(found.converged)
    assert np.isnan(float(found.period)) and np.all(np.isnan(found.multipliers))
    assert all(np.isnan(float(value)) for value in found.point.values())


def test_a_period_longer_than_allowed_is_not_found():
    assert not bool(limit_cycle(CIRCLE, THETA, {}, transient=8.0, longest=3.0).converged)


def test_a_guess_takes_the_place_of_the_start():
    """The start is the unstable rest inside the circle, which no trajectory leaves."""
    theta = THETA | {"x0": 0.0}
    assert not bool(limit_cycle(CIRCLE, theta, {}, transient=8.0).converged)
    found = limit_cycle(CIRCLE, theta, {}, transient=8.0, guess={"x": 0.5, "y": 0.1})
    assert float(found.period) == pytest.approx(exact_period(**theta), rel=1e-10)


def doses(p, inputs):
    return {"x": (jnp.array([1.0]), jnp.array([1.0]))}


def test_errors_name_everything():
    with pytest.raises(uq.InputError) as error:
        limit_cycle(
            uq.Ode(circle_initial, driven, doses=doses), THETA, {}, transient=0.0, longest=[1.0, 2.0], guess={"X": 1.0}
        )
    text = str(error.value)
    for part in ("has a schedule", "uses the time", "transient is 0", "longest has the shape (2,)",
                 "no value for the state 'x'", "no value for the state 'y'", "the guess names 'X'"):  # fmt: skip
        assert part in text
    with pytest.raises(uq.InputError, match="one state alone cannot oscillate"):
        limit_cycle(uq.Ode(lambda p, inputs: {"x": 1.0}, alone), {}, {}, transient=1.0)
