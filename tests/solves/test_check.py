"""`check_model` says what solves a model, and which jumps of its right-hand side nobody has named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq

from .problems import every_state, model

DESIGN = uq.Design([1.0, 3.0, 9.0])


def initial(p, inputs):
    return {"y": p["y0"]}


def smooth_rhs(t, y, p, inputs):
    return {"y": -p["k"] * y["y"]}


def jumping_rhs(t, y, p, inputs):
    infused = jnp.where((t >= 2.0) & (t < 4.0), 1.0, 0.0)
    return {"y": infused - p["k"] * jnp.where(y["y"] > 0.5, 1.0, 2.0) * y["y"]}


def many_jumps_rhs(t, y, p, inputs):
    return {"y": sum(jnp.where(t > hour, 0.1, 0.0) for hour in range(1, 8)) - p["k"] * y["y"]}


def table_rhs(t, y, p, inputs):
    return {"y": uq.interpolate(np.arange(50.0), np.arange(50.0) % 3)(t) - p["k"] * y["y"]}


def called_rhs(t, y, p, inputs):
    shape = jax.ShapeDtypeStruct((), float)
    zero = jax.pure_callback(np.zeros_like, shape, jax.lax.stop_gradient(t), vmap_method="sequential")
    return {"y": zero - p["k"] * y["y"]}


THETA = {"y0": 1.0, "k": 0.3}


def check(rhs):
    return uq.check_model(model(initial, rhs, THETA, "y", observe=every_state), DESIGN)


def test_a_smooth_model_is_solved_by_the_engine():
    found = check(smooth_rhs)
    assert found.solver == "native engine" and found.jumps == found.unread == ()
    assert "solved by: native engine" in str(found) and "jumps" not in str(found)


def test_jumps_are_named():
    found = check(jumping_rhs)
    assert len(found.jumps) == 3
    assert any("at time 2" in jump for jump in found.jumps) and any("at time 4" in jump for jump in found.jumps)
    assert any("y" in jump and "0.5" in jump for jump in found.jumps)
    assert found.unread and "jumps found in the right-hand side: 3" in str(found)


def test_many_jumps_print_short():
    found = check(many_jumps_rhs)
    assert len(found.jumps) == 7
    assert "and 4 more" in str(found) and len(str(found).splitlines()) < 20


def test_knots_of_a_measured_input_are_no_jumps():
    assert check(table_rhs).jumps == ()


def test_what_cannot_be_a_kernel_is_solved_by_jax_and_says_why():
    found = uq.check_model(model(initial, called_rhs, THETA, "y", observe=every_state, method="explicit"), DESIGN)
    assert found.solver.startswith("JAX: ") and "pure_callback" in found.solver


def late_rhs(t, y, p, inputs):
    return {"y": -p["k"] * y["late"]}


def observe_y(y, p):
    return {"y": y["y"]}


def test_a_model_with_delays():
    delays = {"late": uq.Delay("y", 0.5)}
    found = uq.check_model(model(initial, late_rhs, THETA, "y", observe=observe_y, delays=delays), DESIGN)
    assert found.solver == "native engine" and found.failed == 0 and found.gradient_error < 1e-5
    assert found.unread


def bounded_rhs(t, y, p, inputs):
    return {"y": -p["k"] * y["y"] + jnp.sqrt(p["k"] - 0.29995)}


def test_values_beside_the_medians_that_fail_are_not_called_wrong_derivatives():
    """The square root of what is nearly zero at the medians has no value a little below them."""
    with pytest.raises(uq.InputError) as error:
        check(bounded_rhs)
    assert "'k' moved by" in str(error.value) and "integer casts" not in str(error.value)


def cast_rhs(t, y, p, inputs):
    return {"y": -p["k"] * y["y"] + jax.lax.stop_gradient(p["k"])}


def test_a_derivative_that_is_cut_is_found():
    with pytest.raises(uq.InputError, match=r"derivative by 'k' differs from central differences.*stop_gradient"):
        check(cast_rhs)
