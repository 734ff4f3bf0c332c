"""Slow sweeps there and back: the loop of a switch, its jumps, and what is not known of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

import uqbench as uq
from uqbench.dynamics.continuation import fold, hysteresis, quasi_static, sweep

from .equilibrium_curves import (
    BRUSSELATOR,
    CASCADE,
    CASCADE_AT,
    CYCLE,
    CYCLE_AT,
    FINE_CASCADE,
    FOLDS,
    LINEAR,
    REST,
    SWITCH,
    VOLUMES,
    switch_at,
    switch_fold,
)


def test_the_loop_of_the_switch():
    values = np.linspace(-0.9, 0.3, 25)
    loop = hysteresis(SWITCH, switch_at(3.0), REST, parameter="a", values=values)
    assert np.all(loop.result == 0) and loop.attrs["loop"] == "closed"
    for direction, a in (("up", FOLDS[0][2]), ("down", FOLDS[1][2])):
        jump = loop.isel(jump=np.flatnonzero(loop.jump_direction == direction))
        assert jump.sizes["jump"] == 1
        assert float(jump.jump_lower[0]) < a < float(jump.jump_upper[0])
        assert float(jump.jump_upper[0] - jump.jump_lower[0]) == pytest.approx(0.05)
    x = loop.x.values
    np.testing.assert_allclose(values + 3 * x**2 / (1 + x**2) - x, 0.0, atol=1e-8)
    low, high = (float(switch_fold(3.0, x).states["x"]) for x in (0.2, 1.4))

    def height(a):
        ends = ((high, 5.0), (-3.0, low))
        up, down = (brentq(lambda x: a + 3 * x**2 / (1 + x**2) - x, *between) for between in ends)
        return up - down

    exact, _ = quad(height, FOLDS[1][2] + 1e-9, FOLDS[0][2] - 1e-9)
    assert abs(float(loop.area.sel(state="x")) - exact) < float(loop.area_error.sel(state="x")) < 0.2 * exact


def test_no_loop_below_the_cusp_however_steep():
    loop = hysteresis(SWITCH, switch_at(1.53), REST, parameter="a", values=[0.0, 0.1, 0.19, 0.2, 0.3])
    assert loop.attrs["loop"] == "none" and loop.sizes["jump"] == 0
    # the two ways are the same rests, to the tolerance of a solve
    np.testing.assert_allclose(loop.area, 0.0, atol=1e-7)


def test_a_loop_that_is_cut_is_open():
    loop = hysteresis(SWITCH, switch_at(3.0), REST, parameter="a", values=[-0.2, 0.0, 0.2])
    assert loop.attrs["loop"] == "open" and "beyond the ends" in loop.attrs["not_resolved"]
    assert loop.jump_direction.values.tolist() == ["up"]


def test_where_nothing_comes_to_rest_there_is_no_number():
    loop = hysteresis(BRUSSELATOR, {"A": 1.0, "B": 1.0}, {}, parameter="B", values=[1.0, 1.5, 2.5, 3.0])
    assert loop.result.values.tolist() == [[0, 0, uq.Result.NO_STEADY_STATE, uq.Result.NO_STEADY_STATE]] * 2
    np.testing.assert_allclose(loop.z, [[1.0, 1.5, np.nan, np.nan]] * 2, rtol=1e-8)
    assert loop.attrs["loop"] == "unknown" and "4 of 8 values" in loop.attrs["not_resolved"]


def test_a_slow_passage_is_differentiable_away_from_jumps():
    values = jnp.array([0.0, 0.2])

    def end(b):
        return quasi_static(SWITCH, switch_at(b), REST, parameter="a", values=values).states["x"][-1]

    x, slope = float(end(3.0)), float(jax.jacfwd(end)(3.0))
    assert slope == pytest.approx(-(x**2 / (1 + x**2)) / (6 * x / (1 + x**2) ** 2 - 1), rel=1e-8)


@pytest.mark.parametrize("count", [21, 23, 26, 40])
def test_a_sweep_past_two_folds_has_two_jumps(count):
    """b = 1.8: the branches lie so near each other that a long step could land on the wrong one."""
    theta = {"basal": 0.05, "b": 1.8}
    folds = [fold(SWITCH, theta, REST, parameter="a", guess={"a": a, "x": x}) for a, x in ((0.1, 0.4), (0.04, 0.8))]
    loop = hysteresis(SWITCH, theta, REST, parameter="a", values=np.linspace(0.0, 0.2, count))
    assert loop.jump_direction.values.tolist() == ["up", "down"]
    for k, each in enumerate(folds):
        assert float(loop.jump_lower[k]) <= float(each.parameter) <= float(loop.jump_upper[k])


@pytest.mark.parametrize(
    "system, um, uP",
    [(CASCADE, 1.0, 1e9), (CASCADE, 1e-12, 1e9), (CASCADE, 1e-12, 1.0), (FINE_CASCADE, 1e-12, 1e9)],
)
@pytest.mark.parametrize("start", [0.0, pytest.param(0.1, marks=pytest.mark.slow)])
def test_a_jump_does_not_depend_on_the_unit_of_one_state(start, system, um, uP):
    units = {"um": um, "uP": uP, "start": start}
    loop = hysteresis(system, CASCADE_AT, units, parameter="a", values=np.linspace(-0.8, 0.3, 12))
    assert loop.jump_direction.values.tolist() == ["up", "down"]
    np.testing.assert_allclose(loop.jump_lower, [0.0, -0.6], atol=1e-12)
    np.testing.assert_allclose(loop.jump_upper, [0.1, -0.5], atol=1e-12)
    assert loop.sizes["undecided"] == 0 and loop.attrs["loop"] == "closed"


def test_what_cannot_be_followed_is_no_jump():
    """Rests that are not isolated have no branch: whether the state left it cannot be told."""
    theta = {"k": 1.0, "K": 1.0, "v": 3.0, "total": 1.0}
    loop = hysteresis(VOLUMES, theta, {}, parameter="K", values=[0.5, 1.0, 1.5])
    assert np.all(loop.result == 0)
    assert loop.sizes["jump"] == 0
    assert loop.undecided_direction.values.tolist() == ["up", "up", "down", "down"]
    np.testing.assert_array_equal(loop.undecided_lower, [0.5, 1.0, 1.0, 0.5])
    np.testing.assert_array_equal(loop.undecided_upper, [1.0, 1.5, 1.5, 1.0])
    assert "whether 4 steps from one value to the next" in loop.attrs["not_resolved"]


def test_a_branch_of_too_many_points_is_not_decided(monkeypatch):
    monkeypatch.setattr(sweep, "MAX_POINTS", 2)
    loop = hysteresis(SWITCH, switch_at(3.0), REST, parameter="a", values=[0.0, 0.2])
    assert loop.sizes["jump"] == 0 and loop.undecided_direction.values.tolist() == ["up", "down"]
    # what may be a jump counts in the error of the area
    assert float(loop.area_error.sel(state="x")) > 0.1


TOTAL = {"system": CYCLE, "theta": CYCLE_AT, "inputs": {"total": 1.0}, "parameter": "total", "values": [1.0, 2.0]}


@pytest.mark.parametrize("verb", [hysteresis, quasi_static])
def test_a_sweep_keeps_its_totals(verb):
    with pytest.raises(uq.InputError, match="'total' moves conserved totals") as caught:
        verb(**TOTAL)
    assert caught.value.subject == verb.__name__ and "Follow `equilibrium_branch`" in str(caught.value)


@pytest.mark.parametrize("values", [[2.0, 1.0], "abc", [1.0], [0.0, np.nan], [[0.0, 1.0]], None])
def test_values_and_start_are_checked_all_at_once(values):
    with pytest.raises(uq.InputError) as caught:
        hysteresis(LINEAR, {"m": 1.0}, {}, parameter="m", values=values, start={"x": [1.0, 2.0]})
    assert caught.value.subject == "hysteresis"
    assert "finite numbers that increase" in str(caught.value) and "the guess of 'x' has the shape" in str(caught.value)
