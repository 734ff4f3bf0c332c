"""Every model: well formed, its gradient as promised, its equations those of its numbers; and its closed forms."""

import importlib
from pathlib import Path

import numpy as np
import pytest

import uqbench as uq
from forward_models import saturable_elimination

ROOT = Path(__file__).parents[2]
MODELS = {
    f"{path.stem}.{name}": value
    for path in sorted((ROOT / "forward_models").glob("*.py"))
    for name, value in vars(importlib.import_module(f"forward_models.{path.stem}")).items()
    if isinstance(value, uq.Model)
}
# reduced models whose time scales lie far enough apart at the check's design
STRONG = {"receptor_tf.reduced"}
# after a minute, the check's own design, what cells make has only begun, and windows of a quarter do not resolve it
LATER = {"tissue_signalling": uq.Design([30.0, 60.0])}
# up to a minute of compiling each; they run in files of tests of their own
LONG = {
    *("agents_continuum.model", "coupling_schedules.model", "coarse_graining.model", "macroscopic_profile.model"),
    *("stokes_darcy.plane", "tumour_tissue.model", "stochastic_homogenization.model", "michaelis_menten.total"),
    *("interface_flux.model", "mortar_interface.model", "agents_continuum.mean_field"),
    *("michaelis_menten.standard", "tumour_tissue.tissue", "telegraph_gene.moments"),
    *("coarse_graining.sampled", "relaxation_oscillator.period"),
    *("tissue_signalling.model", "tissue_signalling.random"),
}


def test_every_file_exports_a_model():
    stems = {path.stem for path in (ROOT / "forward_models").glob("*.py") if path.stem != "__init__"}
    assert {name.split(".")[0] for name in MODELS if name.endswith(".model")} == stems


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in MODELS])
def test_model_is_well_formed(name):
    checked = uq.check_model(MODELS[name], LATER.get(name.split(".")[0]))
    assert checked.gradient in str(checked)
    assert checked.failed == 0
    if name in STRONG:
        assert checked.separation == ""
    if "symbolic" in MODELS[name].dynamics.capabilities:
        assert checked.symbol_error <= 1e-14


def receptor_y(eps, T, L=2.0, Kd=1.0, beta=1.0, delta=0.5):
    """y(T) of SYSTEMS.md's closed form."""
    occupied, rate = L / (L + Kd), (L + Kd) / eps
    slow = beta * occupied / delta * -np.expm1(-delta * T)
    return slow - beta * occupied * (np.exp(-delta * T) - np.exp(-rate * T)) / (rate - delta)


@pytest.mark.parametrize("eps", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-9, 1e-13])
def test_receptor_reaches_the_closed_form(eps):
    run = uq.evaluate(MODELS["receptor_tf.model"], {"eps": eps, "L": 2.0, "Kd": 1.0, "beta": 1.0, "delta": 0.5,
                                                    "sigma": 0.1}, uq.Design([5.0]))  # fmt: skip
    assert int(run.result) == 0
    assert abs(float(run.outputs["y"][0]) - receptor_y(eps, 5.0)) < 1e-8


def test_receptor_error_of_the_reduction_has_slope_one():
    reduced = 2 / 3 / 0.5 * -np.expm1(-2.5)
    eps = np.array([1e-2, 1e-3, 1e-4])
    error = [abs(receptor_y(e, 5.0) - reduced) for e in eps]
    assert np.polyfit(np.log(eps), np.log(error), 1)[0] == pytest.approx(1.0, abs=0.01)


def test_secretion_relaxes_to_its_steady_state():
    theta = {"s": 1.3, "q": 9.0}
    transient = uq.evaluate(MODELS["secretion.model"], theta, uq.Design([1.0, 100.0])).outputs["C"]
    steady = uq.evaluate(MODELS["secretion.steady"], theta, uq.Design([0.0])).outputs["C"]
    assert float(transient[1]) == pytest.approx(float(steady), rel=1e-7)
    assert float(transient[0]) == pytest.approx(float(steady) * -np.expm1(-0.5), rel=1e-7)


def test_theophylline_is_the_bateman_function():
    theta = uq.Space(dict(MODELS["theophylline.model"].space)).nominal() | {"ka": 1.7, "CL": 0.05, "V": 0.45}
    times = np.array([0.0, 0.5, 2.0, 9.0, 24.0])
    run = uq.evaluate(MODELS["theophylline.model"], theta, uq.Design(times, inputs={"dose": 4.0}))
    ke = 0.05 / 0.45
    exact = 4.0 * 1.7 / 0.45 / (1.7 - ke) * (np.exp(-ke * times) - np.exp(-1.7 * times))
    # the model asks for 1e-6 per step; the assay errs by 0.7
    np.testing.assert_allclose(run.outputs["concentration"], exact, atol=1e-5)


@pytest.mark.parametrize("dose", [1.0, 50.0, 200.0])
def test_saturable_elimination_solves_its_implicit_equation(dose):
    theta, times = {"Vmax": 4.0, "Km": 8.0, "V": 10.0, "sigma": 0.005}, np.array([0.0, 0.5, 3.0, 6.0, 20.0])
    run = uq.evaluate(MODELS["saturable_elimination.model"], theta, uq.Design(times, inputs={"dose": dose}))
    exact = np.asarray(saturable_elimination.concentration(times, dose, 4.0, 8.0, 10.0))
    start = dose / 10.0
    # time that it takes to fall from C0 to C
    elapsed = (start - exact + 8.0 * np.log(start / exact)) / 4.0
    np.testing.assert_allclose(elapsed, times, atol=1e-9)
    np.testing.assert_allclose(run.outputs["C"], exact, rtol=1e-5, atol=1e-8)
