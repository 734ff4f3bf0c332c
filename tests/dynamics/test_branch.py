"""Branches of equilibria, their folds, Hopf and branch points, against closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import fsolve

import uqbench as uq
from uqbench.dynamics.continuation import branch as branch_module
from uqbench.dynamics.continuation import curves, equilibrium_branch, fold

from .equilibrium_curves import (
    BRUSSELATOR,
    CASCADE,
    CASCADE_AT,
    CIRCLE,
    CYCLE,
    CYCLE_AT,
    FOLDS,
    FORCED,
    GROWTH,
    LINEAR,
    PITCHFORK,
    REPRESSILATOR,
    REST,
    ROOTED,
    SQUARES,
    SWITCH,
    TOGGLE,
    TOGGLE_AT,
    UNITS,
    VOLUMES,
    cycle_folds,
    linear,
    of_kind,
    one,
    switch_at,
    toggle_folds,
)


def test_the_branch_of_the_switch_goes_around_both_folds():
    branch = equilibrium_branch(SWITCH, switch_at(3.0), REST, parameter="a", between=(-1.0, 0.5))
    x, a = branch.x.values, branch.a.values
    np.testing.assert_allclose(a, x - 3 * x**2 / (1 + x**2), atol=1e-12)
    np.testing.assert_allclose(branch.largest_real_part, 6 * x / (1 + x**2) ** 2 - 1, atol=1e-12)
    np.testing.assert_allclose(of_kind(branch, "a", "fold"), [FOLDS[0][2], FOLDS[1][2]], atol=1e-10)
    assert (a[0], a[-1]) == (-1.0, 0.5)
    assert branch.attrs["first_end"] == branch.attrs["last_end"] == "left the interval"
    assert branch.attrs["unresolved"] == 0
    # unstable between the folds only
    folds = np.flatnonzero(branch.kind.values == "fold")
    assert np.all(branch.largest_real_part[folds[0] + 1 : folds[1]] > 0)
    assert np.all(branch.largest_real_part[: folds[0]] < 0) and np.all(branch.largest_real_part[folds[1] + 1 :] < 0)
    assert np.all(np.diff(branch.arclength) > 0) and float(of_kind(branch, "arclength", "start")[0]) == 0.0


def test_a_sweep_with_a_root_finder_does_not_pass_the_fold():
    """What the branch is for: the naive way stops, or lands elsewhere without saying so."""
    x, lost = 0.0, None
    for a in np.linspace(0.0, 0.5, 51):
        root, _, code, _ = fsolve(lambda x, a=a: a + 3 * x**2 / (1 + x**2) - x, x, full_output=True)
        if code != 1 or abs(root[0] - x) > 0.5:
            lost = a
            break
        x = root[0]
    assert lost == pytest.approx(0.09)


def test_a_branch_without_special_points():
    branch = equilibrium_branch(SWITCH, switch_at(1.5), REST, parameter="a", between=(-1.0, 0.5))
    assert set(branch.kind.values.tolist()) == {"start", "regular"}
    assert np.all(branch.largest_real_part < 0)


@pytest.mark.parametrize("scale", [1.0, 1e-5, 1e4])
def test_a_branch_does_not_depend_on_units(scale):
    theta = TOGGLE_AT | {"scale": scale}
    branch = equilibrium_branch(TOGGLE, theta, {"a2": 6.0}, parameter="a1", between=(0.5, 60.0))
    expected = toggle_folds()
    np.testing.assert_allclose(of_kind(branch, "a1", "fold"), [a1 for _, _, a1 in expected], rtol=1e-11)
    np.testing.assert_allclose(of_kind(branch, "v", "fold") / scale, [v for _, v, _ in expected], rtol=1e-10)
    # the states are nowhere near zero, so the steps are the same ones
    assert branch.sizes["point"] == pytest.approx(208, abs=2)


@pytest.mark.parametrize("um, uP", UNITS)
@pytest.mark.parametrize("start", [0.0, pytest.param(0.1, marks=pytest.mark.slow)])
def test_a_branch_does_not_depend_on_the_unit_of_one_state(start, um, uP):
    """Whatever the absolute tolerance: m of 1e-12 lies far below it, and P of 1e9 grows from zero."""
    units = {"um": um, "uP": uP, "start": start}
    branch = equilibrium_branch(CASCADE, CASCADE_AT, units, parameter="a", between=(-1.0, 0.5))
    assert branch.kind.values[branch.kind != "regular"].tolist() == ["start", "fold", "fold"]
    np.testing.assert_allclose(of_kind(branch, "a", "fold"), [FOLDS[0][2], FOLDS[1][2]], atol=1e-9)
    assert branch.attrs["first_end"] == branch.attrs["last_end"] == "left the interval"
    assert branch.attrs["unresolved"] == 0
    E = branch.E.values
    np.testing.assert_allclose(branch.a, E - 3 * E**2 / (1 + E**2), atol=1e-11)
    np.testing.assert_allclose(branch.m / um, E, atol=1e-11)
    np.testing.assert_allclose(branch.P / uP, E, atol=1e-11)
    plain = equilibrium_branch(
        CASCADE, CASCADE_AT, {"um": 1.0, "uP": 1.0, "start": 0.0}, parameter="a", between=(-1.0, 0.5)
    )
    # the steps are the same ones
    assert branch.sizes["point"] == plain.sizes["point"]
    np.testing.assert_allclose(branch.arclength, plain.arclength, rtol=1e-6)


@pytest.mark.parametrize("unit", [*(pytest.param(unit, marks=pytest.mark.slow) for unit in (1.0, 1e9)), 1e-12])
def test_states_that_do_not_feel_the_parameter_at_the_start(unit):
    branch = equilibrium_branch(SQUARES, {"m": 0.0}, {"unit": unit}, parameter="m", between=(-1.0, 5.0))
    np.testing.assert_allclose(branch.q / unit, branch.m**2, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(branch.r, branch.m**4, rtol=1e-9, atol=1e-14)
    plain = equilibrium_branch(SQUARES, {"m": 0.0}, {"unit": 1.0}, parameter="m", between=(-1.0, 5.0))
    assert branch.sizes["point"] == plain.sizes["point"]


@pytest.mark.parametrize("A", [0.7, 1.3])
def test_the_hopf_point_of_the_brusselator(A):
    branch = equilibrium_branch(BRUSSELATOR, {"A": A, "B": 0.5}, {}, parameter="B", between=(0.2, 5.0))
    assert of_kind(branch, "B", "hopf") == pytest.approx([1 + A**2], abs=1e-12)
    assert of_kind(branch, "frequency", "hopf") == pytest.approx([A], abs=1e-9)
    np.testing.assert_allclose(branch.z, branch.B / A, rtol=1e-12)
    assert of_kind(branch, "B", "fold").size == 0


def test_the_hopf_point_of_three_genes():
    """Eigenvalues -1 + k e^{i pi / 3} with k = 3 p^3 / (1 + p^3) = 2: p = 2^(1/3), a = 3 p, frequency sqrt 3."""
    branch = equilibrium_branch(REPRESSILATOR, {"a": 2.0}, {}, parameter="a", between=(0.5, 9.0))
    assert of_kind(branch, "a", "hopf") == pytest.approx([3 * 2 ** (1 / 3)], abs=1e-11)
    assert of_kind(branch, "frequency", "hopf") == pytest.approx([np.sqrt(3)], abs=1e-9)


def test_a_closed_branch():
    branch = equilibrium_branch(CIRCLE, {"m": 0.3}, {}, parameter="m", between=(-2.0, 2.0))
    np.testing.assert_allclose(branch.m**2 + branch.x**2, 1.0, atol=1e-12)
    np.testing.assert_allclose(of_kind(branch, "m", "fold"), [1.0, -1.0], atol=1e-12)
    assert branch.attrs["first_end"] == branch.attrs["last_end"] == "closed"
    assert float(branch.m[0]) == pytest.approx(float(branch.m[-1]), abs=1e-9)
    assert float(branch.x[0]) == pytest.approx(float(branch.x[-1]), abs=1e-9)


def test_branches_that_cross():
    branch = equilibrium_branch(PITCHFORK, {"m": 0.3}, {}, parameter="m", between=(-1.0, 1.0), start={"x": 0.0})
    assert of_kind(branch, "m", "branch point") == pytest.approx([0.0], abs=1e-12)
    assert of_kind(branch, "m", "fold").size == 0
    np.testing.assert_array_equal(branch.x, 0.0)
    arm = equilibrium_branch(PITCHFORK, {"m": 0.3}, {}, parameter="m", between=(-1.0, 1.0))
    assert of_kind(arm, "kind", "branch point").size == 1
    assert of_kind(arm, "m", "fold").size == 0
    assert sorted([float(arm.x[0]), float(arm.x[-1])]) == pytest.approx([-1.0, 1.0])


def test_how_a_branch_ends_is_said():
    """Rates that are no numbers beyond a point, and more points than are allowed."""
    branch = equilibrium_branch(ROOTED, {"m": 1.0}, {}, parameter="m", between=(-1.0, 2.0))
    assert branch.attrs["first_end"] == "step too small" and branch.attrs["last_end"] == "left the interval"
    # x = m^2 leaves the real numbers at the origin
    assert 0 < float(branch.m[0]) < 1e-3
    short = equilibrium_branch(CIRCLE, {"m": 0.3}, {}, parameter="m", between=(-2.0, 2.0), max_points=5)
    assert short.attrs["first_end"] == short.attrs["last_end"] == "too many points"


def test_a_start_on_the_edge_of_the_interval():
    branch = equilibrium_branch(LINEAR, {"m": 1.0}, {}, parameter="m", between=(1.0, 3.0))
    assert branch.kind.values[0] == "start" and branch.attrs["first_end"] == "left the interval"
    np.testing.assert_allclose(branch.x, branch.m, rtol=1e-13)


def test_nothing_is_compiled_again_for_other_values():
    first = equilibrium_branch(BRUSSELATOR, {"A": 1.0, "B": 0.5}, {}, parameter="B", between=(0.2, 3.0))
    compiled = (curves._kernel, branch_module._states, branch_module._equilibrium)
    before = [function._cache_size() for function in compiled]
    second = equilibrium_branch(BRUSSELATOR, {"A": 1.1, "B": 0.6}, {}, parameter="B", between=(0.3, 2.5))
    assert second.sizes["point"] != first.sizes["point"]
    assert [function._cache_size() for function in compiled] == before


def test_a_conserved_total_is_kept_along_the_branch():
    branch = equilibrium_branch(CYCLE, CYCLE_AT, {"total": 1.0}, parameter="total", between=(0.5, 6.0))
    P, U, total = (branch[name].values for name in ("P", "U", "total"))
    np.testing.assert_allclose(U + P, total, rtol=1e-14)
    np.testing.assert_allclose(of_kind(branch, "total", "fold"), [total for _, total in cycle_folds()], rtol=1e-11)
    # the one eigenvalue that no law makes zero
    g, rise = 0.02 + P**2 / (1 + P**2), 2 * P / (1 + P**2) ** 2
    np.testing.assert_allclose(branch.largest_real_part, rise * U - g - 1, atol=1e-11)
    assert branch.attrs["conserved_totals"] == 1


def test_totals_with_unknown_coefficients_are_refused():
    theta = {"k": 1.0, "K": 1.0, "v": 3.0, "total": 1.0}
    with pytest.raises(uq.InputError, match="something is conserved that is no sum of states with constant"):
        equilibrium_branch(VOLUMES, theta, {}, parameter="K", between=(0.5, 2.0), start={"c": 0.5, "d": 0.5})
    assert not fold(VOLUMES, theta, {}, parameter="K", guess={"c": 0.5, "d": 0.5}).converged


@pytest.mark.parametrize(
    "system, settings, messages",
    [
        (LINEAR, {"between": (2.0, 3.0)}, ["the start, m = 1, lies outside the interval from 2 to 3"]),
        (LINEAR, {"between": (3.0, 2.0), "largest_step": 0, "max_points": 0},
         ["the lowest and the highest value", "largest_step is 0", "max_points is 0"]),
        (LINEAR, {"between": "ab", "at": "x", "largest_step": None},
         ["between is 'ab'; give the lowest", "at is 'x'; give one finite number", "largest_step is None"]),
        (LINEAR, {"between": (0.0, 2.0), "start": {"x": None}}, ["equilibrium_branch:", "'x' is None, not a number"]),
        (LINEAR, {"between": (0.0, 2.0), "start": {}}, ["no value for the state 'x'"]),
        (LINEAR, {"between": (0.0, 2.0), "start": {"x": 1.0, "m": 1.0}}, ["the guess names 'm'"]),
        (GROWTH, {"between": (0.0, 2.0)}, ["at m = 1 no steady state", "Or give `start`"]),
        (GROWTH, {"between": (0.0, 2.0), "start": {"x": 1.0}}, ["no equilibrium near the start at m = 1"]),
        (PITCHFORK, {"between": (-1.0, 1.0), "at": 0.0, "start": {"x": 0.0}}, ["two branches cross there"]),
        (ROOTED, {"between": (-1.0, 1.0), "start": {"x": -1.0}}, ["are not finite"]),
        (FORCED, {"between": (0.0, 2.0)}, ["uses the time"]),
        (uq.Ode(one, linear, switches=lambda p, inputs: jnp.ones(1)), {"between": (0.0, 2.0)}, ["has a schedule"]),
    ],
)  # fmt: skip
def test_a_branch_that_cannot_begin_is_refused(system, settings, messages):
    with pytest.raises(uq.InputError) as caught:
        equilibrium_branch(system, {"m": 1.0}, {}, parameter="m", **settings)
    assert all(message in str(caught.value) for message in messages)
