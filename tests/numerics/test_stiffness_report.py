"""The stiffness report: stability limits, the steps that they force, and the term and the parameter behind them."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import uqbench as uq
from forward_models import receptor_tf, relaxation_oscillator, stiff_linear
from uqbench.numerics import odes, rosenbrock, sparse_lu, tsitouras
from uqbench.numerics.stiffness import largest_stable_step, stability_function, stable_steps
from uqbench.numerics.stiffness import stiffness_report as report
from uqbench.numerics.stiffness.additive_terms import Terms
from uqbench.numerics.stiffness.stability import METHODS

EIGENVALUES = np.array([-1e4, -10.0, -0.1])
LINEAR = uq.Design([50.0])


# --- stability functions


def test_limits_of_the_primer():
    assert largest_stable_step("forward Euler", EIGENVALUES) == pytest.approx(2e-4, rel=1e-14)
    assert largest_stable_step("RK4", EIGENVALUES) == pytest.approx(2.785293563e-4, rel=1e-9)
    assert abs(stability_function("forward Euler", -1e4 * 2.1e-4)) == pytest.approx(1.1, rel=1e-14)
    assert largest_stable_step("backward Euler", EIGENVALUES) == np.inf
    assert stability_function("backward Euler", EIGENVALUES).real == pytest.approx(
        [9.9990001e-5, 0.0909091, 0.9090909], abs=5e-8
    )


def test_the_functions_are_those_of_the_steps_of_the_library():
    z = -0.7
    new, _, _ = tsitouras.step(lambda t, y: [z * y[0]], 0.0, 1.0, [jnp.ones(())])
    assert float(new[0]) == pytest.approx(stability_function("Tsitouras", z).real, rel=1e-14)
    linear = sparse_lu.structure(lambda t, y: [z * y[0]], 1)
    new, _, _ = rosenbrock.step(linear, lambda t, y: [z * y[0]], 0.0, jnp.ones(()), [jnp.ones(())])
    assert float(new[0]) == pytest.approx(stability_function("Rodas5P", z).real, rel=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_order_and_error_constant(name):
    """R(z) is e^z up to the order; the embedded estimates are of order 4 beside steps of order 5."""
    z = 1e-2 * np.exp(2j * np.pi * np.arange(16) / 16)
    difference = stability_function(name, z) - np.exp(z)
    order, pair = METHODS[name].order, name in ("Tsitouras", "Rodas5P")
    assert np.max(np.abs(difference)) < 1e-2 ** (order + pair) * 1.1
    if not pair:
        assert np.abs(np.mean(difference / z**order)) == pytest.approx(METHODS[name].constant, rel=1e-4)


@pytest.mark.parametrize("name", ["Tsitouras", "Rodas5P"])
def test_error_constants_of_the_pairs_are_those_of_their_estimates(name):
    z = 0.02
    rhs, one = (lambda t, y: [z * y[0]]), [jnp.ones(())]
    linear = sparse_lu.structure(rhs, 1)
    step = tsitouras.step if name == "Tsitouras" else lambda *given: rosenbrock.step(linear, *given)
    _, error, _ = step(rhs, 0.0, jnp.ones(()), one)
    assert abs(float(error[0])) / z**5 == pytest.approx(METHODS[name].constant, rel=0.02)


def test_implicit_methods_are_stable_in_the_whole_left_half_plane():
    """Analytic there and bounded by 1 on its border, hence inside; and both forget what they do not resolve."""
    border = 1j * np.geomspace(1e-4, 1e6, 400)
    for name in ("backward Euler", "Rodas5P"):
        assert np.max(np.abs(stability_function(name, border))) <= 1 + 1e-12
        assert abs(stability_function(name, -1e9)) < 1e-6


@given(st.sampled_from(["forward Euler", "RK4", "Tsitouras"]), st.floats(1e-3, 1e3), st.floats(0.51, 1.0))
def test_stable_below_the_limit_and_unstable_just_above(name, size, turn):
    eigenvalue = size * np.exp(1j * np.pi * turn)
    limit = largest_stable_step(name, [eigenvalue, 5.0, 2j])
    below = np.abs(stability_function(name, eigenvalue * limit * np.linspace(0.0, 1.0, 200)))
    assert np.max(below) <= 1 + 1e-11
    assert abs(stability_function(name, eigenvalue * limit * 1.0001)) > 1


def test_what_does_not_decay_bounds_nothing():
    assert stable_steps("RK4", [0.0, 1.0, 2j, -2.0]).tolist()[:3] == [np.inf] * 3
    assert largest_stable_step("RK4", []) == np.inf
    with pytest.raises(uq.InputError, match="did you mean 'RK4'"):
        largest_stable_step("RK5", [-1.0])


# --- additive terms


def mixed(t, y, p, inputs):
    x, z = y["x"], y["z"]
    gathered = jnp.sum(jnp.stack([x, z]) * jnp.array([1.0, 2.0]))
    return {
        "x": p["a"] * (1 - jnp.exp(-x * z)) / (p["b"] + 2.0) - jnp.tanh(z) * x**2 + inputs["u"][0] * x ** p["n"],
        "z": gathered - (x + z) / (1 + z) - 3.0 * (-(x - p["a"]) / p["b"]) + t,
    }


def test_terms_are_read_as_they_are_written_and_add_up_to_the_jacobian():
    theta, inputs = {"a": 1.5, "b": 2.0, "n": 1.5}, {"u": jnp.array([0.3, 0.4])}
    terms = Terms(uq.Ode(None, mixed), ("x", "z"), theta, inputs)
    texts = [(term.equation, term.text) for term in terms.all]
    for expected in (("x", "-a*exp((-x)*z)/(b + 2)"), ("x", "-tanh(z)*x^2"), ("z", "-(x + z)/(1 + z)"), ("z", "3*x/b")):
        assert expected in texts
    y = jnp.array([0.7, 1.3])
    slopes = np.asarray(terms.slopes(0.5, y, theta, inputs))
    rows = np.array([np.sum([s for s, (at, _) in zip(slopes, texts, strict=True) if at == name], 0) for name in "xz"])
    step = 1e-6
    for k, unit in enumerate(np.eye(2)):
        up, down = (mixed(0.5, dict(zip("xz", y + sign * step * unit, strict=True)), theta, inputs) for sign in (1, -1))
        np.testing.assert_allclose(rows[:, k], [(up[name] - down[name]) / (2 * step) for name in "xz"], rtol=1e-8)


# --- the report


def test_stiff_linear_is_held_by_its_fast_rate():
    found = report(stiff_linear.model.system, stiff_linear.space.nominal(), LINEAR, space=stiff_linear.space)
    assert found.attrs["numerical_stiffness"] == "yes" and found.attrs["physical_stiffness"] == "no"
    assert found.attrs["cause"] == "fast" and found.attrs["not_resolved"] == ""
    np.testing.assert_allclose(found.eigenvalue, np.tile(EIGENVALUES, (found.sizes["time"], 1)), rtol=1e-7)
    assert set(found.kind.values.ravel()) == {"decaying"}
    # what tests/benchmarks/test_explicit_methods.py counts by taking the steps: 250 008, 179 518 and no bound
    steps = found.steps_for_stability.to_series()
    assert steps["forward Euler"] == pytest.approx(250_000, rel=1e-6)
    assert steps["RK4"] == pytest.approx(50 / 2.785293563e-4, rel=1e-6)
    assert steps["backward Euler"] == steps["Rodas5P"] == 0
    np.testing.assert_allclose(found.sensitivity.sel(parameter=["fast", "middle", "slow"]), [1.0, 0.0, 0.0], atol=1e-12)
    assert float(found.term_share.sum()) == pytest.approx(1.0) == float(found.entry_share.sum())


def test_the_receptor_is_held_by_two_losses_over_eps():
    theta = receptor_tf.space.nominal() | {"eps": 1e-6, "L": 2.0, "Kd": 1.0}
    found = report(receptor_tf.model.system, theta, uq.Design([5.0]), space=receptor_tf.space)
    shares = dict(zip(found.term.values.tolist(), found.term_share.values, strict=True))
    assert shares["-L*x/eps"] == pytest.approx(2 / 3) and shares["-Kd*x/eps"] == pytest.approx(1 / 3)
    expected = {"eps": -1.0, "L": 2 / 3, "Kd": 1 / 3, "beta": 0.0, "delta": 0.0, "sigma": 0.0}
    assert found.sensitivity.to_series().to_dict() == pytest.approx(expected, abs=1e-12)
    for part in ("numerically stiff", "-L*x/eps in x' (67 %)", "rate 3e+06", "eps (-1)", "not a physical stiffness"):
        assert part in found.attrs["verdict"]


@pytest.mark.parametrize(
    "model, factor",
    [(stiff_linear.model, 2.0), (receptor_tf.model, 2.0), (relaxation_oscillator.model, 4.0)],
    ids=["stiff_linear", "receptor_tf", "relaxation_oscillator"],
)
def test_steps_of_accuracy_are_those_of_the_solver(model, factor):
    """An L-stable method is held by accuracy alone; the error constants are those of linear problems."""
    design = uq.Design([4.0])
    found = report(model.system, model.space.nominal(), design)
    taken = int(odes.solve(model.system, model.space.nominal(), design, method="implicit").steps)
    assert 1 / factor < taken / float(found.steps.sel(solver="Rodas5P")) < factor


def test_steps_of_stability_are_those_of_the_solver():
    """An adaptive pair hovers about its limit: a stiff receptor, eps = 1e-3."""
    theta = receptor_tf.space.nominal() | {"eps": 1e-3}
    found = report(receptor_tf.model.system, theta, uq.Design([5.0]))
    taken = int(odes.solve(receptor_tf.model.system, theta, uq.Design([5.0]), method="explicit").steps)
    assert float(found.steps.sel(solver="Tsitouras")) == pytest.approx(taken, rel=0.25)


# --- numerical against physical stiffness


def spring_initial(p, inputs):
    return {"x": p["x0"], "v": 0.0}


def spring(t, y, p, inputs):
    return {"x": y["v"], "v": -p["k"] * y["x"] / p["m"]}


def held_initial(p, inputs):
    return {"x": p["x0"]}


def held(t, y, p, inputs):
    """A spring in a viscous medium, pulled by a force that grows slowly."""
    return {"x": (p["force"] * t - p["k"] * y["x"]) / p["c"]}


def decay(t, y, p, inputs):
    return {"x": p["source"] * t - p["rate"] * y["x"]}


RATE = 1e3
SPRING = uq.Space(k=uq.fixed(RATE**2, "N/m"), m=uq.fixed(1.0, "kg"), x0=uq.fixed(1e-2, "m"))
HELD = uq.Space(k=uq.fixed(RATE, "N/m"), c=uq.fixed(1.0, "N*s/m"), force=uq.fixed(1.0, "N/s"), x0=uq.fixed(1e-2, "m"))
CHEMICAL = uq.Space(rate=uq.fixed(RATE, "1/s"), source=uq.fixed(1.0, "nM/s^2"), x0=uq.fixed(1e-2, "nM"))
AT_REST = uq.Space({**SPRING, "x0": uq.fixed(0.0, "m")})


@pytest.mark.parametrize(
    "system, space, numerical, physical, kind, cause",
    [
        (uq.Ode(spring_initial, spring), SPRING, "no", "yes", "oscillating", "k"),
        (uq.Ode(spring_initial, spring), AT_REST, "yes", "yes", "oscillating", "k"),
        (uq.Ode(held_initial, held), HELD, "yes", "yes", "decaying", "k"),
        (uq.Ode(held_initial, decay), CHEMICAL, "yes", "no", "decaying", "rate"),
    ],
    ids=["spring that swings", "spring at rest", "overdamped spring", "chemical rate"],
)
def test_one_eigenvalue_and_four_verdicts(system, space, numerical, physical, kind, cause):
    """abs(lambda) is 1000 / s in all of them."""
    found = report(system, {}, uq.Design([2.0]), space=space)
    np.testing.assert_allclose(np.abs(found.eigenvalue), RATE, rtol=1e-9)
    assert set(found.kind.values.ravel()) == {kind}
    assert (found.attrs["numerical_stiffness"], found.attrs["physical_stiffness"]) == (numerical, physical)
    assert found.attrs["cause"] == cause
    if physical == "yes":
        assert "k is a material property (N/m)" in found.attrs["verdict"]


@pytest.mark.parametrize("unit, physical", [("kPa", "yes"), ("mN/um", "yes"), ("cell/h", "no"), ("mol/L", "no")])
def test_units_tell_what_is_material(unit, physical):
    space = uq.Space({**CHEMICAL, "rate": uq.fixed(RATE, unit)})
    found = report(uq.Ode(held_initial, decay), {}, uq.Design([0.1]), space=space)
    assert found.attrs["physical_stiffness"] == physical


# --- what is hard


def exchange(t, y, p, inputs):
    return {"a": p["k"] * (y["b"] - y["a"]), "b": p["k"] * (y["a"] - y["b"])}


def chain(t, y, p, inputs):
    return {"a": -p["k"] * y["a"] + y["b"], "b": -p["k"] * y["b"]}


def growth(t, y, p, inputs):
    return {"a": p["k"] * y["a"] ** 2, "b": -y["b"]}


def two_initial(p, inputs):
    return {"a": 1.0, "b": 0.5}


def pulse(p, inputs):
    return {"a": (jnp.array([1.0]), jnp.array([10.0]))}


def test_conserved_modes_are_zero_and_units_are_asked_for():
    found = report(uq.Ode(two_initial, exchange), {"k": 50.0}, uq.Design([4.0]))
    assert found.kind.values[0].tolist() == ["decaying", "zero"]
    assert found.attrs["physical_stiffness"] == "not resolved"
    assert "no units were given" in found.attrs["not_resolved"]


def test_a_defective_jacobian_has_no_cause_and_says_so():
    found = report(uq.Ode(two_initial, chain), {"k": 5000.0}, uq.Design([4.0]))
    assert found.attrs["numerical_stiffness"] == "yes"
    assert "eigenvectors fall together" in found.attrs["not_resolved"]
    assert np.all(np.isnan(found.sensitivity)) and found.sizes["term"] == 0


def test_a_run_that_fails_is_reported_up_to_there():
    found = report(uq.Ode(two_initial, growth), {"k": 2.0}, uq.Design([4.0]))
    assert found.attrs["numerical_stiffness"] == "not resolved"
    assert "the run: the rough run stopped at the time 0.5" in found.attrs["not_resolved"]
    assert found.kind.values[0].tolist() == ["growing", "decaying"]
    assert float(found.time[-1]) == pytest.approx(0.5, rel=1e-6)


def test_a_start_that_is_no_number_is_reported():
    nowhere = uq.Ode(lambda p, inputs: {"a": jnp.log(-p["k"]), "b": 0.0}, chain)
    found = report(nowhere, {"k": 1.0}, uq.Design([4.0]))
    assert found.sizes["time"] == 0
    assert "the state at 0 is not finite" in found.attrs["not_resolved"]


def test_a_dose_is_followed():
    dosed = report(uq.Ode(two_initial, chain, doses=pulse), {"k": 2.0}, uq.Design([4.0]))
    plain = report(uq.Ode(two_initial, chain), {"k": 2.0}, uq.Design([4.0]))
    assert dosed.attrs["numerical_stiffness"] == "no"
    # once before the dose and once after it, from where there is more to follow
    assert int(np.sum(dosed.time == 1.0)) == 2
    assert float(dosed.steps.sel(solver="RK4")) > 1.1 * float(plain.steps.sel(solver="RK4"))


def test_errors_name_everything():
    with pytest.raises(uq.InputError) as error:
        report(uq.Ode(two_initial, chain), {"other": jnp.ones(2)}, uq.Design([0.0]))
    for part in ("'other' has the shape (2,)", "the design ends at its start 0", "the system reads 'k'"):
        assert part in str(error.value)
    with pytest.raises(uq.InputError, match="one row of finite times"):
        report(uq.Ode(two_initial, chain), {"k": 1.0}, uq.Design([np.inf]))
    with pytest.raises(uq.InputError, match="unknown parameter 'K'"):
        report(uq.Ode(held_initial, decay), {"K": 1.0}, uq.Design([1.0]), space=CHEMICAL)
