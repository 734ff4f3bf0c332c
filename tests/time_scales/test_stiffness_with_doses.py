"""The stiffness report where the run stops for doses and switches, against the steps that the solvers take."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.initial_value import odes
from uqbench.time_scales.stiffness import report as module
from uqbench.time_scales.stiffness.report import stiffness_report as report

END = uq.Design([10.0])
FAST = {"k": 1e3}


def initial(p, inputs):
    return {"a": 1.0, "b": 0.0}


def switched(t, y, p, inputs):
    """b follows a from t = 5 on, when nothing is left of it."""
    return {"a": -p["k"] * y["a"], "b": jnp.where(t > 5.0, y["a"], 0.0) - y["b"]}


def switches(p, inputs):
    return jnp.array([5.0])


def doses(p, inputs):
    return {"a": (jnp.array([1.0, 3.0]), jnp.ones(2))}


def ten_doses(p, inputs):
    return {"a": (jnp.linspace(1.0, 3.0, 10), jnp.ones(10))}


def steps_of_the_solver(system, method):
    return int(jax.jit(lambda theta: odes.solve(system, theta, END, method=method).steps)(FAST))


@pytest.mark.parametrize(
    "given, verdict", [(None, "yes"), (doses, "yes"), (ten_doses, "no")], ids=["none", "two", "ten"]
)
def test_steps_are_those_of_the_solvers(given, verdict):
    # the report counts the steps of one absolute tolerance
    system = uq.Ode(initial, switched, switches=switches, doses=given, atol=1e-10)
    found = report(system, FAST, END)
    # ten doses leave two to three times as many steps to stability as to accuracy
    assert found.attrs["numerical_stiffness"] == verdict and found.attrs["not_resolved"].startswith("physical")
    # k t / 3.5 steps of stability, to the end: also after the switch, where b is of rounding size
    assert float(found.steps_for_stability.sel(solver="Tsitouras")) == pytest.approx(2850, rel=0.01)
    assert float(found.steps.sel(solver="Tsitouras")) == pytest.approx(steps_of_the_solver(system, "explicit"), rel=0.1)
    assert 0.6 < float(found.steps.sel(solver="Rodas5P")) / steps_of_the_solver(system, "implicit") < 1.0
    assert set(found.kind.values.ravel()) == {"decaying"}
    assert (found.attrs["cause"], found.term_share.sel(term="-k*a").item()) == ("k", pytest.approx(1.0))


def test_few_points_count_the_same_steps(monkeypatch):
    """Points are left out of the table, but neither those beside a dose nor those that accuracy is told from."""
    system = uq.Ode(initial, switched, switches=switches, doses=ten_doses)
    monkeypatch.setattr(module, "MOST_POINTS", 10**6)
    every = report(system, FAST, END)
    monkeypatch.setattr(module, "MOST_POINTS", 40)
    few = report(system, FAST, END)
    assert every.sizes["time"] > 1000 and few.sizes["time"] < 60
    for name in ("steps", "steps_for_accuracy", "steps_for_stability"):
        np.testing.assert_allclose(few[name], every[name], rtol=1e-6)
    for time in np.asarray(ten_doses({}, {})["a"][0]):
        # once before the dose and once after it, from where there is more to follow
        before, after = few.accuracy_step.sel(solver="RK4", time=time).values
        assert after < 0.1 * before


def test_a_state_of_rounding_size_hides_no_mode():
    """b of 1e-20 beside a of 1: in units of these sizes the Jacobian has an entry of 1e20."""
    matrix = np.array([[-1e3, 0.0], [1e20, -1.0]])
    eigenvalue, kind = module._spectra(matrix[None])
    np.testing.assert_allclose(eigenvalue, [[-1e3, -1.0]])
    assert kind.tolist() == [["decaying", "decaying"]]


@pytest.mark.parametrize("seed", range(5))
def test_a_conserved_total_is_a_zero_mode_in_any_units(seed):
    """Linear exchange between ten states at rates over ten decades, measured in units over twelve."""
    rng = np.random.default_rng(seed)
    rates = 10 ** rng.uniform(-4.0, 6.0, (10, 10))
    units = 10 ** rng.uniform(-6.0, 6.0, 10)
    matrix = (rates - np.diag(rates.sum(axis=0))) * units / units[:, None]
    _, kind = module._spectra(matrix[None])
    assert kind[0].tolist() == ["decaying"] * 9 + ["zero"]
