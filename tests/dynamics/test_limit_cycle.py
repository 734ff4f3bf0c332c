"""Limit cycles against closed forms: period, multipliers, derivatives, and systems that have none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.dynamics.limit_cycle import limit_cycle


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


@pytest.mark.slow
def test_a_batch_is_its_members_and_a_member_without_a_cycle_spoils_none():
    omega, mu = np.array([1.5, 2.0, 2.0, 3.0]), np.array([0.7, -0.5, 0.4, 1.1])
    thetas = {"mu": mu, "omega": omega, "beta": np.full(4, -0.4), "cubic": np.ones(4), "x0": np.full(4, 0.3)}
    found = jax.vmap(cycle)(thetas)
    assert found.converged.tolist() == [True, False, True, True]
    np.testing.assert_allclose(found.period, np.where(mu > 0, exact_period(mu, omega, -0.4), np.nan), rtol=1e-10)
    assert np.all(np.isnan(found.multipliers[1]))


@pytest.mark.slow
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
    "changed, result",
    [
        # Newton's equations are singular, so rounding decides whether its steps end
        ({"mu": 0.0, "cubic": 0.0, "beta": 0.0}, {uq.Result.NO_CYCLE, uq.Result.UNSTABLE_CYCLE}),
        ({"mu": 0.0, "cubic": 0.0}, {uq.Result.NO_CYCLE, uq.Result.UNSTABLE_CYCLE}),
        ({"mu": -0.01}, {uq.Result.NO_CYCLE}),
        # it turns ever faster
        ({"mu": 3.0, "cubic": 0.0}, {uq.Result.STEP_LIMIT}),
        ({"mu": 1.0, "cubic": -1.0}, {uq.Result.BLOW_UP}),
    ],
    ids=["harmonic", "conservative", "damped", "growing", "explosion"],
)
def test_what_is_no_limit_cycle_is_not_taken_for_one(changed, result):
    found = cycle(THETA | changed)
    assert int(found.result) in result and not bool(found.converged)
    assert np.isnan(float(found.period)) and np.all(np.isnan(found.multipliers))
    assert all(np.isnan(float(value)) for value in found.point.values())


def test_a_period_longer_than_allowed_is_not_found():
    assert int(limit_cycle(CIRCLE, THETA, {}, transient=8.0, longest=3.0).result) == uq.Result.NO_RETURN


def test_a_guess_takes_the_place_of_the_start():
    """The start is the unstable rest inside the circle, which no trajectory leaves."""
    theta = THETA | {"x0": 0.0}
    assert int(limit_cycle(CIRCLE, theta, {}, transient=8.0).result) == uq.Result.AT_REST
    found = limit_cycle(CIRCLE, theta, {}, transient=8.0, guess={"x": 0.5, "y": 0.1})
    assert float(found.period) == pytest.approx(exact_period(**theta), rel=1e-10)


# however long one looks -----------------------------------------------------------------------------------------------


def plane_initial(p, inputs):
    return {"x": 2.0, "y": 0.0}


def van_der_pol(t, y, p, inputs):
    return {"x": y["y"], "y": p["mu"] * (1 - y["x"] ** 2) * y["y"] - y["x"]}


def space_initial(p, inputs):
    return {"x": 1.0, "y": 1.0, "z": 0.0}


def roessler(t, y, p, inputs):
    return {"x": -y["y"] - y["z"], "y": y["x"] + 0.2 * y["y"], "z": 0.2 + y["z"] * (y["x"] - p["c"])}


VAN_DER_POL = uq.Ode(plane_initial, van_der_pol)
ROESSLER = uq.Ode(space_initial, roessler)


@pytest.mark.parametrize(
    "mu, period, transient",
    [(1.0, 6.663286859323, t) for t in (20.0, 50.0, 200.0, 300.0, 1000.0, 5000.0)]
    + [(0.05, 6.284166990920, 400.0), (100.0, 162.8370710925, 400.0), (100.0, 162.8370710925, 1000.0)],
)
def test_how_long_one_looks_does_not_change_the_cycle(mu, period, transient):
    """The period at mu = 1 is in the literature; all three were checked against scipy's events."""
    found = limit_cycle(VAN_DER_POL, {"mu": mu}, {}, transient=transient)
    assert int(found.result) == 0
    assert float(found.period) == pytest.approx(period, rel=1e-10)


def test_a_weak_oscillation_has_the_period_of_its_expansion():
    """2 pi (1 + mu^2 / 16 - 5 mu^4 / 3072)."""
    found = limit_cycle(VAN_DER_POL, {"mu": 0.05}, {}, transient=200.0)
    assert float(found.period) == pytest.approx(2 * np.pi * (1 + 0.05**2 / 16 - 5 * 0.05**4 / 3072), rel=1e-10)


def test_a_cycle_of_two_turns_and_chaos():
    """Roessler's system doubles its period between c = 2.5 and 3.5, and is chaotic at 5.7."""
    one, two, never = (limit_cycle(ROESSLER, {"c": c}, {}, transient=500.0) for c in (2.5, 3.5, 5.7))
    assert float(one.period) == pytest.approx(5.748991183277, rel=1e-9)
    assert float(two.period) == pytest.approx(11.545218287761, rel=1e-9)
    assert int(never.result) in (uq.Result.NO_CYCLE, uq.Result.UNSTABLE_CYCLE, uq.Result.NO_RETURN)
    assert np.isnan(float(never.period))


def test_every_result_has_its_sentence():
    traced = jax.jit(lambda t: limit_cycle(CIRCLE, THETA, {}, transient=t).result)
    assert [int(traced(t)) for t in (8.0, 0.0, -1.0)] == [0, uq.Result.NO_TIME, uq.Result.NO_TIME]
    assert "the step limit was reached" in uq.RESULTS[uq.Result.STEP_LIMIT]


# bad input ------------------------------------------------------------------------------------------------------------


def test_parameters_are_checked_first():
    missing = {name: value for name, value in THETA.items() if name != "omega"}
    with pytest.raises(uq.InputError, match="limit_cycle:\n  - the system reads 'omega'"):
        limit_cycle(CIRCLE, missing, {}, transient=8.0)
    with pytest.raises(uq.InputError, match=r"'mu' has the shape \(2,\)"):
        limit_cycle(CIRCLE, THETA | {"mu": np.ones(2)}, {}, transient=8.0)


def doses(p, inputs):
    return {"x": (jnp.array([1.0]), jnp.array([1.0]))}


def test_errors_name_everything():
    with pytest.raises(uq.InputError) as error:
        limit_cycle(
            uq.Ode(circle_initial, driven, doses=doses), THETA, {}, transient=0.0, longest=[1.0, 2.0], guess={"X": "a"}
        )
    text = str(error.value)
    parts = ["has a schedule", "uses the time", "transient is 0", "longest is [1.0, 2.0]", "no value for the state 'x'"]
    for part in [*parts, "no value for the state 'y'", "the guess names 'X'", "the guess of 'X' is 'a'"]:
        assert part in text
    with pytest.raises(uq.InputError, match="one state alone cannot oscillate"):
        limit_cycle(uq.Ode(lambda p, inputs: {"x": 1.0}, alone), {}, {}, transient=1.0)
