"""Folds and cusps against closed forms and independent roots of one unknown."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.dynamics.continuation import cusp, fold

from .equilibrium_curves import (
    CASCADE,
    CASCADE_AT,
    CUSP_B,
    CYCLE,
    CYCLE_AT,
    FOLDS,
    FORCED,
    LINEAR,
    REST,
    SWITCH,
    TOGGLE,
    TOGGLE_AT,
    UNITS,
    cycle_folds,
    switch_at,
    switch_fold,
    toggle_folds,
)


@pytest.mark.parametrize("b, x, a", FOLDS)
def test_folds_of_the_switch(b, x, a):
    found = switch_fold(b, x + 0.05)
    assert bool(found.converged)
    assert float(found.parameter) == pytest.approx(a, abs=1e-10)
    assert float(found.states["x"]) == pytest.approx(x, abs=1e-10)
    # at the point found, both equations hold to the rounding of their terms, a few units in the last place of 1
    x = float(found.states["x"])
    assert 2 * b * x / (1 + x**2) ** 2 == pytest.approx(1.0, abs=1e-14)
    assert float(found.parameter) == pytest.approx(x - b * x**2 / (1 + x**2), abs=1e-14)
    assert float(found.null_vector["x"]) == pytest.approx(1.0, abs=1e-14)


def switch_place(b, a, x):
    return fold(SWITCH, switch_at(b), REST | {"a": a}, parameter="a", guess={"x": x}).parameter


# compiled once for both folds
PLACE = jax.jit(switch_place)
SLOPES = jax.jit(jax.grad(switch_place, argnums=(0, 1)))
FORWARD = jax.jit(jax.vmap(jax.jacfwd(switch_place), in_axes=(0, None, None)))
CURVATURE = jax.jit(jax.hessian(switch_place))


@pytest.mark.parametrize("x", [0.2, 1.4])
def test_derivatives_of_a_fold(x):
    at = float(switch_fold(3.0, x).states["x"])
    closed = -(at**2) / (1 + at**2)
    moved = -(2 * at / (1 + at**2) ** 2) / (6 * (1 - 3 * at**2) / (1 + at**2) ** 3)
    h = 1e-4
    difference = (float(PLACE(3.0 + h, 0.0, x)) - float(PLACE(3.0 - h, 0.0, x))) / (2 * h)
    slope, by_start = (float(value) for value in SLOPES(3.0, 0.1, x))
    assert slope == pytest.approx(closed, abs=1e-10)
    assert slope == pytest.approx(difference, abs=1e-6)
    assert float(FORWARD(jnp.array([3.0, 3.5]), 0.0, x)[0]) == pytest.approx(closed, abs=1e-10)
    assert float(CURVATURE(3.0, 0.0, x)) == pytest.approx(-2 * at / (1 + at**2) ** 2 * moved, abs=1e-10)
    # where the parameter now stands is only where the search begins
    assert by_start == 0.0


def test_derivative_of_a_fold_by_an_input():
    """The fold as b moves at a given stimulus: the inverse of the slope of a by b."""

    def place(a):
        return fold(SWITCH, switch_at(2.9), {"a": a, "x0": 0.0}, parameter="b", guess={"x": 0.2}).parameter

    x = FOLDS[0][1]
    assert float(place(FOLDS[0][2])) == pytest.approx(3.0, abs=1e-8)
    assert float(jax.grad(place)(FOLDS[0][2])) == pytest.approx(-(1 + x**2) / x**2, rel=1e-8)


def test_below_the_cusp_there_is_no_fold():
    found = jax.vmap(lambda b: switch_fold(b, 0.5))(jnp.array([1.0, 1.5, CUSP_B - 1e-6, CUSP_B + 1e-6]))
    assert found.converged.tolist() == [False, False, False, True]
    for values in (found.parameter, found.states["x"], found.null_vector["x"]):
        assert np.isnan(values).tolist() == [True, True, True, False]


def test_the_cusp_of_the_switch():
    found = cusp(SWITCH, switch_at(1.7), REST, parameters=("a", "b"), guess={"x": 0.4})
    x = 1 / np.sqrt(3)
    assert bool(found.converged)
    assert float(found.states["x"]) == pytest.approx(x, abs=1e-12)
    assert float(found.parameters["b"]) == pytest.approx(CUSP_B, abs=1e-12)
    assert float(found.parameters["a"]) == pytest.approx(x - CUSP_B / 4, abs=1e-12)

    @jax.jit
    def stimulus(basal):
        return cusp(SWITCH, switch_at(1.7, basal), REST, parameters=("a", "b"), guess={"x": 0.4}).parameters["a"]

    assert float(jax.grad(stimulus)(0.1)) == pytest.approx(-1.0, abs=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e-5, 1e4])
def test_the_cusp_of_two_states(scale):
    """The symmetric toggle switch with exponents 2: u = v = 1, a1 = a2 = 2, by symmetry along (1, -1)."""
    theta = TOGGLE_AT | {"beta": 2.0, "scale": scale}
    guess = {"u": 1.2, "v": 0.8 * scale, "a1": 2.3, "a2": 1.8}
    found = cusp(TOGGLE, theta, {"a2": 1.0}, parameters=("a1", "a2"), guess=guess)
    assert bool(found.converged)
    numbers = [*found.parameters.values(), found.states["u"], found.states["v"] / scale]
    np.testing.assert_allclose([float(value) for value in numbers], [2.0, 2.0, 1.0, 1.0], atol=1e-10)
    ratio = float(found.null_vector["v"] / found.null_vector["u"])
    assert ratio == pytest.approx(-scale, rel=1e-9)


@pytest.mark.parametrize("scale", [1.0, 1e-5, 1e4])
@pytest.mark.parametrize("which", [0, 1])
def test_folds_of_two_states_in_any_unit(which, scale):
    u, v, a1 = toggle_folds()[which]
    guess = {"u": 1.05 * u, "v": 0.95 * v * scale, "a1": 1.1 * a1}
    found = fold(TOGGLE, TOGGLE_AT | {"scale": scale}, {"a2": 6.0}, parameter="a1", guess=guess)
    numbers = [float(found.states["u"]), float(found.states["v"]) / scale, float(found.parameter)]
    np.testing.assert_allclose(numbers, (u, v, a1), rtol=1e-11)


def test_derivative_of_a_fold_of_two_states():
    u, v, a1 = toggle_folds()[0]

    def place(a2):
        return fold(TOGGLE, TOGGLE_AT, {"a2": a2}, parameter="a1", guess={"u": u, "v": v, "a1": a1}).parameter

    up, down = (toggle_folds(6.0 + h)[0][2] for h in (1e-5, -1e-5))
    assert float(jax.grad(place)(6.0)) == pytest.approx((up - down) / 2e-5, rel=1e-8)


def test_a_fold_in_a_conserved_total():
    P, total = cycle_folds()[0]
    guess = {"U": total - P, "P": 1.1 * P, "total": total}
    found = fold(CYCLE, CYCLE_AT, {"total": 1.0}, parameter="total", guess=guess)
    assert float(found.parameter) == pytest.approx(total, rel=1e-12)
    assert float(found.null_vector["U"] + found.null_vector["P"]) == pytest.approx(0.0, abs=1e-14)


@pytest.mark.parametrize("um, uP", UNITS)
@pytest.mark.parametrize("which", [0, 1])
def test_folds_where_each_state_has_its_own_unit(which, um, uP):
    _, x, a = FOLDS[which]
    guess = {"m": 1.05 * x * um, "E": x, "D": 0.95 * x, "P": 1.1 * x * uP}
    found = fold(CASCADE, CASCADE_AT, {"um": um, "uP": uP, "start": 0.0}, parameter="a", guess=guess)
    assert float(found.parameter) == pytest.approx(a, abs=1e-10)
    assert float(found.states["P"]) / uP == pytest.approx(x, abs=1e-10)
    assert float(found.states["m"]) / um == pytest.approx(x, abs=1e-10)


def test_names_are_checked_all_at_once():
    with pytest.raises(uq.InputError) as caught:
        fold(SWITCH, switch_at(3.0), REST, parameter="bb", guess={"y": None})
    text = str(caught.value)
    assert "'bb' is neither a parameter nor an input; did you mean 'b'?" in text
    assert "the guess has no value for the state 'x'." in text
    assert "the guess names 'y'" in text
    assert "the guess of 'y' is None, not a number." in text


@pytest.mark.parametrize(
    "call, messages",
    [
        (lambda: fold(SWITCH, {"b": 3.0}, REST, parameter="b", guess={"x": 1.0}), ["the system reads 'basal'"]),
        (lambda: fold(FORCED, {"m": 1.0}, {}, parameter="m", guess={"x": 1.0}), ["uses the time"]),
        (lambda: fold(LINEAR, {"m": 1.0, "n": 1.0}, {}, parameter="n", guess={"x": 1.0}), ["depends on 'n'"]),
        (lambda: fold(LINEAR, {"m": [1.0, 2.0]}, {}, parameter="m", guess={"x": 1.0}), ["has the shape (2,)"]),
        (lambda: cusp(SWITCH, switch_at(2.0), REST, parameters=("a", "a"), guess={"x": 1.0}), ["two different ones"]),
        (lambda: fold(SWITCH, switch_at(3.0), REST, parameter="a", guess={"x": [1.0, 2.0], "a": None}),
         ["the guess of 'x' has the shape (2,)", "the guess of 'a' is None, not a number"]),
        (lambda: fold(SWITCH, switch_at(3.0), REST, parameter="a", guess=0.2), ["the guess is 0.2; give a number for"]),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(call, messages):
    with pytest.raises(uq.InputError) as caught:
        call()
    assert all(message in str(caught.value) for message in messages)
