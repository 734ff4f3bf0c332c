"""The stiffness report: the steps that stability and accuracy force, and the term and the parameter behind them."""

import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from forward_models import receptor_tf, relaxation_oscillator, stiff_linear
from uqbench.initial_value import odes
from uqbench.time_scales.stiffness import stiffness_report as report

EIGENVALUES = np.array([-1e4, -10.0, -0.1])
LINEAR = uq.Design([50.0])


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


def test_errors_name_everything():
    for theta, part in (
        ({"k": jnp.ones(2), "other": "x"}, "'k' has the shape (2,)"),
        ({"k": jnp.ones(2), "other": "x"}, "'other' is 'x', not a number"),
        ({"K": 1.0}, "the system reads 'k', which is neither a parameter"),
    ):
        with pytest.raises(uq.InputError) as error:
            report(uq.Ode(two_initial, chain), theta, uq.Design([0.0]))
        assert part in str(error.value) and "the design ends at its start 0" in str(error.value)
    with pytest.raises(uq.InputError, match="one row of finite times"):
        report(uq.Ode(two_initial, chain), {"k": 1.0}, uq.Design([np.inf]))
    with pytest.raises(uq.InputError, match="unknown parameter 'K'"):
        report(uq.Ode(held_initial, decay), {"K": 1.0}, uq.Design([1.0]), space=CHEMICAL)
