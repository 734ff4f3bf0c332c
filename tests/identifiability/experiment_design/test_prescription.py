from itertools import combinations_with_replacement

import numpy as np
import pytest
import xarray as xr

import uqbench as uq
from studies import dose_escalation, product_rate, two_scale_cascade
from uqbench import results
from uqbench.identifiability import candidate_measurements, fisher_information, prescribe, with_measurements
from uqbench.identifiability.experiment_design import Check
from uqbench.identifiability.experiment_design.sensitivities import candidate_roots, design_scale, determined

from .models import product_study


@pytest.fixture(scope="module")
def escalation():
    study = dose_escalation.study
    candidates = candidate_measurements(study, times=[1.0, 3.0, 5.0], inputs={"dose": dose_escalation.doses})
    return candidates, prescribe(study, dose_escalation.truth, candidates)


def test_low_doses_leave_the_constants_unknown_and_a_high_one_shows_them(escalation):
    candidates, found = escalation
    assert found.identifiable.to_series().to_dict() == {"Vmax": False, "Km": False, "V": True}
    for name in ("Vmax", "Km"):
        by = found.sel(parameter=name)
        assert by.standard_error_before > by.prior_sd
        taken = np.flatnonzero(by.prescribed_times)
        assert len(taken) == 1 and by.prescribed_cost == 1.0
        assert float(candidates.designs[found.experiment.values[taken[0]]].inputs["dose"]) >= 10.0
        assert by.identifiable_after and by.standard_error_tested < 0.5 * by.prior_sd
        # the truth is where the simulated data put it
        assert abs(by.estimate - dose_escalation.truth[name]) < 4.0 * by.standard_error_tested
    of_known = found.sel(parameter="V")
    assert of_known.prescription == "" and np.isnan(of_known.standard_error_tested) and of_known.identifiable_after


def test_what_is_prescribed_is_a_group_of_the_tree_and_can_be_stored(escalation, tmp_path):
    tree = results.attach(
        results.start(dose_escalation.study), {"experiment": escalation[1]}, verb="identify", settings={}, seed=0,
        seconds=0.0,
    )  # fmt: skip
    loaded = uq.load(uq.save(tree, tmp_path / "tree.zarr"))["experiment"].to_dataset()
    xr.testing.assert_equal(loaded, escalation[1])


def test_the_prescription_holds_in_the_study_that_has_it(escalation):
    candidates, found = escalation
    times = found.prescribed_times.sel(parameter="Km").values
    whole = with_measurements(dose_escalation.study, candidates, times, dose_escalation.truth, seed=3)
    assert len(whole.data) == len(dose_escalation.study.data) + 1
    known = fisher_information(whole, dose_escalation.truth).standard_error.sel(parameter="Km")
    np.testing.assert_allclose(found.standard_error_prescribed.sel(parameter="Km"), known, rtol=1e-3)
    again = with_measurements(dose_escalation.study, candidates, times, dose_escalation.truth, seed=3)
    np.testing.assert_array_equal(whole.data["value"], again.data["value"])


@pytest.mark.slow
def test_the_cheapest_is_prescribed():
    study = dose_escalation.study
    candidates = candidate_measurements(
        study, times=[2.0, 5.0], inputs={"dose": [2.0, 10.0, 200.0]},
        cost=lambda row: {"dose = 2": 1.0, "dose = 10": 2.0, "dose = 200": 50.0}[row.experiment],
    )  # fmt: skip
    found = prescribe(study, dose_escalation.truth, candidates, parameters=["Km"]).sel(parameter="Km")
    roots = candidate_roots(study, design_scale(study, dose_escalation.truth, "log"), candidates)
    cost = candidates.table["cost"].to_numpy()
    designs = (np.bincount(c, minlength=6) for n in (1, 2, 3) for c in combinations_with_replacement(range(6), n))
    # log Km has a prior with a standard deviation of 1
    enough = [times @ cost for times in designs if determined(roots, times).cramer_rao[1] <= 0.5]
    assert found.prescribed_cost == min(enough) < 50.0
    # so precise that no single one does
    share = 0.03
    found = prescribe(study, dose_escalation.truth, candidates, parameters=["Km"], share=share).sel(parameter="Km")
    assert found.prescribed_times.sum() > 1
    assert found.standard_error_prescribed <= share * found.prior_sd and found.identifiable_after


def test_early_times_are_prescribed_where_late_ones_were_measured():
    found = prescribe(two_scale_cascade.late, two_scale_cascade.truth)
    assert found.identifiable.to_series().to_dict() == {"g": False, "kf": False, "ks": True}
    for name in ("g", "kf"):
        taken = found.time.values[found.prescribed_times.sel(parameter=name).values > 0]
        assert len(taken) and np.all(taken < 2.0)
    assert found.identifiable_after.all()


@pytest.mark.slow
def test_what_no_candidate_cures_is_not_prescribed_for():
    found = prescribe(product_rate.study)
    assert not found.identifiable.any() and not found.identifiable_after.any()
    assert found.prescribed_times.sum() == 0 and np.all(np.isinf(found.standard_error_prescribed))
    assert all("no candidate determines it" in text for text in found.prescription.values)
    # another output does
    cured = prescribe(product_study(), candidates=candidate_measurements(product_study(), times=[1.0, 2.0]))
    assert not cured.identifiable.any() and cured.identifiable_after.all()
    assert all("measure z" in text for text in cured.prescription.values)


def test_too_few_measurements_are_said_to_be_too_few():
    study = dose_escalation.study
    low = candidate_measurements(study, times=[1.0, 5.0], inputs={"dose": [1.0, 2.0]})
    found = prescribe(study, dose_escalation.truth, low, number=3)
    assert not found.identifiable_after.sel(parameter=["Vmax", "Km"]).any()
    assert np.all(found.prescribed_times.sum("candidate").sel(parameter=["Vmax", "Km"]) == 3)
    assert "3 measurements do not suffice" in str(found.prescription.sel(parameter="Km").values)


def test_another_check_is_asked_of_the_simulated_study():
    asked = []

    def check(study, theta, parameter):
        asked.append((parameter, len(study.data), float(theta["Km"])))
        return Check(1.0, np.inf)

    study, truth = dose_escalation.study, dose_escalation.truth
    candidates = candidate_measurements(study, times=[5.0], inputs={"dose": [200.0]})
    found = prescribe(study, truth, candidates, parameters=["Km"], check=check)
    assert asked == [("Km", 17, 8.0)]
    assert not found.identifiable_after.sel(parameter="Km")


@pytest.mark.parametrize(
    "settings, finding",
    [
        ({"parameters": ["Kmm"]}, "did you mean 'Km'"),
        ({"share": 0.0}, "above 0"),
        ({"number": 0}, "at least 1"),
        ({"seed": -1}, "at least 0"),
    ],
)
def test_wrong_settings_are_named(settings, finding):
    with pytest.raises(uq.InputError, match=finding):
        prescribe(dose_escalation.study, **settings)


def test_one_name_for_two_settings_is_refused():
    study = dose_escalation.study
    candidates = candidate_measurements(study, times=[1.0])
    other = type(candidates)({**candidates.designs, "1 mg": uq.Design([1.0], {"dose": 7.0})}, candidates.table)
    with pytest.raises(uq.InputError, match="'1 mg' is an experiment of the study"):
        with_measurements(study, other, np.ones(len(candidates.table), int), dose_escalation.truth)
