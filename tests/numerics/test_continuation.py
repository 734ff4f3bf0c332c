"""Branches, folds, cusps, Hopf points and hysteresis against closed forms and independent roots of one unknown."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq, fsolve

import uqbench as uq
from forward_models.bistable_switch import system as SWITCH
from uqbench.numerics.continuation import curves, cusp, equilibrium_branch, fold, hysteresis, quasi_static
from uqbench.numerics.steady_state import NO_STEADY_STATE

# SYSTEMS.md, section A: b, x and a at the fold. Its -.2752764361 for the last one is not a fold: the root of
# (1 + x^2)^2 = 5 x found with 30 digits is x = 1.20683862689678, with a = -.27543646083116.
FOLDS = [
    (3.0, 0.1773111526, 0.0858683119),
    (3.0, 1.3641626218, -0.5872308511),
    (2.5, 0.2197897344, 0.1045861179),
    (2.5, 1.2068386269, -0.2754364608),
]
CUSP_B = 1.5396007178390017
REST = {"a": 0.0, "x0": 0.0}


def ones_pqr(p, inputs):
    return {name: jnp.ones(()) for name in "pqr"}


def repressilator(t, y, p, inputs):
    """Three genes, each of which holds down the next."""
    before = {"p": "r", "q": "p", "r": "q"}
    return {name: p["a"] / (1 + y[other] ** 3) - y[name] for name, other in before.items()}


def toggle(t, y, p, inputs):
    """Gardner, Cantor & Collins (2000); v is measured in a unit that is `scale` times as small."""
    v = y["v"] / p["scale"]
    return {
        "u": p["a1"] / (1 + v ** p["beta"]) - y["u"],
        "v": p["scale"] * (inputs["a2"] / (1 + y["u"] ** p["gamma"]) - v),
    }


def toggle_start(p, inputs):
    return {"u": 0.0 * p["a1"], "v": p["scale"] * inputs["a2"]}


def brusselator_initial(p, inputs):
    return {"x": p["A"], "z": p["A"]}


def brusselator(t, y, p, inputs):
    x, z = y["x"], y["z"]
    return {"x": p["A"] - (p["B"] + 1) * x + x * x * z, "z": p["B"] * x - x * x * z}


def cycle_initial(p, inputs):
    return {"U": inputs["total"], "P": 0.0 * inputs["total"]}


def cycle(t, y, p, inputs):
    """A protein that modifies itself, in a closed cycle: the total is conserved."""
    on = (p["k0"] + p["k1"] * y["P"] ** 2 / (1 + y["P"] ** 2)) * y["U"]
    return {"U": p["k2"] * y["P"] - on, "P": on - p["k2"] * y["P"]}


def one(p, inputs):
    return {"x": jnp.ones(())}


def circle(t, y, p, inputs):
    return {"x": 1 - p["m"] ** 2 - y["x"] ** 2}


def pitchfork(t, y, p, inputs):
    return {"x": p["m"] * y["x"] - y["x"] ** 3}


def linear(t, y, p, inputs):
    return {"x": p["m"] - y["x"]}


def growth(t, y, p, inputs):
    return {"x": 1 + p["m"] ** 2 + y["x"] ** 2}


def rooted(t, y, p, inputs):
    return {"x": p["m"] - jnp.sqrt(y["x"])}


def forced(t, y, p, inputs):
    return {"x": p["m"] * jnp.cos(t) - y["x"]}


def volumes_initial(p, inputs):
    return {"c": p["total"], "d": 0.0 * p["total"]}


def volumes(t, y, p, inputs):
    flux = p["k"] * (y["c"] - p["K"] * y["d"])
    return {"c": -flux / p["v"], "d": flux}


REPRESSILATOR = uq.Ode(ones_pqr, repressilator)
TOGGLE = uq.Ode(toggle_start, toggle)
BRUSSELATOR = uq.Ode(brusselator_initial, brusselator)
CYCLE = uq.Ode(cycle_initial, cycle)
CIRCLE, PITCHFORK, LINEAR, GROWTH, ROOTED, FORCED = (
    uq.Ode(one, rhs) for rhs in (circle, pitchfork, linear, growth, rooted, forced)
)
VOLUMES = uq.Ode(volumes_initial, volumes)
TOGGLE_AT = {"a1": 1.0, "beta": 2.5, "gamma": 2.0, "scale": 1.0}
CYCLE_AT = {"k0": 0.02, "k1": 1.0, "k2": 1.0}


def switch_at(b, basal=0.0):
    return {"b": b, "basal": basal}


def switch_fold(b, x, basal=0.0):
    return fold(SWITCH, switch_at(b, basal), REST, parameter="a", guess={"x": x})


def toggle_folds(a2=6.0, beta=2.5, gamma=2.0):
    """(u, v, a1) at the extremes of a1(u) = u (1 + v^beta), v = a2 / (1 + u^gamma)."""

    def v(u):
        return a2 / (1 + u**gamma)

    def slope(u):
        down = -a2 * gamma * u ** (gamma - 1) / (1 + u**gamma) ** 2
        return 1 + v(u) ** beta + u * beta * v(u) ** (beta - 1) * down

    roots = [brentq(slope, *ends, xtol=1e-15) for ends in ((0.1, 1.0), (2.0, 4.0))]
    return [(u, v(u), u * (1 + v(u) ** beta)) for u in roots]


def of_kind(branch, name, kind):
    return branch[name].values[branch.kind.values == kind]


# folds and cusps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("b, x, a", FOLDS)
def test_folds_of_the_switch(b, x, a):
    found = switch_fold(b, x + 0.05)
    assert bool(found.converged)
    assert float(found.parameter) == pytest.approx(a, abs=1e-10)
    assert float(found.states["x"]) == pytest.approx(x, abs=1e-10)
    # at the point found, both equations hold to rounding
    x = float(found.states["x"])
    assert 2 * b * x / (1 + x**2) ** 2 == pytest.approx(1.0, abs=1e-14)
    assert float(found.parameter) == pytest.approx(x - b * x**2 / (1 + x**2), abs=1e-15)
    assert float(found.null_vector["x"]) == 1.0


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


# branches -------------------------------------------------------------------------------------------------------------


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
    equilibrium_branch(BRUSSELATOR, {"A": 1.0, "B": 0.5}, {}, parameter="B", between=(0.2, 3.0))
    before = curves._kernel._cache_size()
    equilibrium_branch(BRUSSELATOR, {"A": 1.1, "B": 0.6}, {}, parameter="B", between=(0.3, 2.5))
    assert curves._kernel._cache_size() == before


# conserved totals -----------------------------------------------------------------------------------------------------


def cycle_folds():
    """Extremes of total(P) = P + k2 P / g(P), the equilibria solved for the total."""

    def slope(P):
        g, rise = 0.02 + P**2 / (1 + P**2), 2 * P / (1 + P**2) ** 2
        return 1 + (g - P * rise) / g**2

    places = [brentq(slope, *ends, xtol=1e-15) for ends in ((0.1, 0.3), (0.4, 1.0))]
    return [(P, P + P / (0.02 + P**2 / (1 + P**2))) for P in places]


def test_a_conserved_total_is_kept_along_the_branch():
    branch = equilibrium_branch(CYCLE, CYCLE_AT, {"total": 1.0}, parameter="total", between=(0.5, 6.0))
    P, U, total = (branch[name].values for name in ("P", "U", "total"))
    np.testing.assert_allclose(U + P, total, rtol=1e-14)
    np.testing.assert_allclose(of_kind(branch, "total", "fold"), [total for _, total in cycle_folds()], rtol=1e-11)
    # the one eigenvalue that no law makes zero
    g, rise = 0.02 + P**2 / (1 + P**2), 2 * P / (1 + P**2) ** 2
    np.testing.assert_allclose(branch.largest_real_part, rise * U - g - 1, atol=1e-11)
    assert branch.attrs["conserved_totals"] == 1


def test_a_fold_in_a_conserved_total():
    P, total = cycle_folds()[0]
    guess = {"U": total - P, "P": 1.1 * P, "total": total}
    found = fold(CYCLE, CYCLE_AT, {"total": 1.0}, parameter="total", guess=guess)
    assert float(found.parameter) == pytest.approx(total, rel=1e-12)
    assert float(found.null_vector["U"] + found.null_vector["P"]) == pytest.approx(0.0, abs=1e-14)


def test_totals_with_unknown_coefficients_are_refused():
    theta = {"k": 1.0, "K": 1.0, "v": 3.0, "total": 1.0}
    with pytest.raises(uq.InputError, match="something is conserved that is no sum of states with constant"):
        equilibrium_branch(VOLUMES, theta, {}, parameter="K", between=(0.5, 2.0), start={"c": 0.5, "d": 0.5})
    assert not fold(VOLUMES, theta, {}, parameter="K", guess={"c": 0.5, "d": 0.5}).converged


# hysteresis -----------------------------------------------------------------------------------------------------------


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
    assert loop.result.values.tolist() == [[0, 0, NO_STEADY_STATE, NO_STEADY_STATE]] * 2
    np.testing.assert_allclose(loop.z, [[1.0, 1.5, np.nan, np.nan]] * 2, rtol=1e-8)
    assert loop.attrs["loop"] == "unknown" and "4 of 8 values" in loop.attrs["not_resolved"]


def test_a_slow_passage_is_differentiable_away_from_jumps():
    values = jnp.array([0.0, 0.2])

    def end(b):
        return quasi_static(SWITCH, switch_at(b), REST, parameter="a", values=values).states["x"][-1]

    x, slope = float(end(3.0)), float(jax.jacfwd(end)(3.0))
    assert slope == pytest.approx(-(x**2 / (1 + x**2)) / (6 * x / (1 + x**2) ** 2 - 1), rel=1e-8)


# what is refused ------------------------------------------------------------------------------------------------------


def test_names_are_checked_all_at_once():
    with pytest.raises(uq.InputError) as caught:
        fold(SWITCH, {"b": 3.0}, REST, parameter="bb", guess={"y": 1.0})
    text = str(caught.value)
    assert "'bb' is neither a parameter nor an input; did you mean 'b'?" in text
    assert "the guess has no value for the state 'x'." in text
    assert "the guess names 'y'" in text


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: fold(SWITCH, {"b": 3.0}, REST, parameter="b", guess={"x": 1.0}), "reads 'basal', which is not given"),
        (lambda: fold(FORCED, {"m": 1.0}, {}, parameter="m", guess={"x": 1.0}), "uses the time"),
        (lambda: fold(LINEAR, {"m": 1.0, "n": 1.0}, {}, parameter="n", guess={"x": 1.0}), "depends on 'n'"),
        (lambda: fold(LINEAR, {"m": [1.0, 2.0]}, {}, parameter="m", guess={"x": 1.0}), "has the shape (2,)"),
        (lambda: cusp(SWITCH, switch_at(2.0), REST, parameters=("a", "a"), guess={"x": 1.0}), "two different ones"),
        (lambda: hysteresis(LINEAR, {"m": 1.0}, {}, parameter="m", values=[2.0, 1.0]), "numbers that increase"),
        (lambda: hysteresis(CYCLE, CYCLE_AT, {"total": 1.0}, parameter="total", values=[1.0, 2.0]), "on 'total'"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(call, message):
    with pytest.raises(uq.InputError) as caught:
        call()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "system, settings, messages",
    [
        (LINEAR, {"between": (2.0, 3.0)}, ["the start, m = 1, lies outside the interval from 2 to 3"]),
        (LINEAR, {"between": (3.0, 2.0), "largest_step": 0, "max_points": 0},
         ["the lowest and the highest value", "largest_step is 0", "max_points is 0"]),
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


@pytest.mark.parametrize("count", [21, 23, 26, 40])
def test_a_sweep_past_two_folds_has_two_jumps(count):
    """b = 1.8: the branches lie so near each other that a long step could land on the wrong one."""
    theta = {"basal": 0.05, "b": 1.8}
    folds = [fold(SWITCH, theta, REST, parameter="a", guess={"a": a, "x": x}) for a, x in ((0.1, 0.4), (0.04, 0.8))]
    loop = hysteresis(SWITCH, theta, REST, parameter="a", values=np.linspace(0.0, 0.2, count))
    assert loop.jump_direction.values.tolist() == ["up", "down"]
    for k, each in enumerate(folds):
        assert float(loop.jump_lower[k]) <= float(each.parameter) <= float(loop.jump_upper[k])
