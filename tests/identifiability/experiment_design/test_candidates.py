from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import uqbench as uq
from studies.dose_escalation import doses, study, truth
from studies.two_scale_cascade import late
from uqbench.identifiability import candidate_measurements, fisher_information, predicted_drops, with_measurements
from uqbench.likelihoods import Independent

from .models import design_matrix, explosion_study, polynomial_study, product_study, root


def test_every_output_at_every_time_under_every_setting():
    found = candidate_measurements(study, times=[2.0, 1.0], inputs={"dose": doses}, cost={"C": 3.0})
    assert len(found.table) == 2 * len(doses)
    assert set(found.table["cost"]) == {3.0}
    given = {float(found.designs[name].inputs["dose"]) for name in found.table["experiment"]}
    assert given == set(doses)


def test_the_proposed_times_reach_far_before_the_first_measurement():
    times = candidate_measurements(late).table["time"].to_numpy()
    assert times.min() == pytest.approx(0.02) and times.max() == 20.0
    assert np.sum(times < 2.0) > 10 and np.all(np.diff(times) > 0)
    # with one time, and that the start, there is no span
    assert set(candidate_measurements(polynomial_study(1, times=[-1.0])).table["time"]) == {-1.0}


def test_other_inputs_are_those_of_each_experiment():
    designs = {str(x): uq.Design([1.0], inputs={"x0": 0.5, "more": x}) for x in (1.0, 2.0)}
    found = candidate_measurements(replace(explosion_study(), experiments=designs), inputs={"x0": [0.1, 0.2]})
    settings = {(float(d.inputs["x0"]), float(d.inputs["more"])) for d in found.designs.values()}
    assert settings == {(0.1, 1.0), (0.2, 1.0), (0.1, 2.0), (0.2, 2.0)}


@pytest.mark.parametrize(
    "settings, finding",
    [
        ({"outputs": ["D"]}, "unknown output 'D'"),
        ({"inputs": {"dos": [1.0]}}, "did you mean 'dose'"),
        ({"inputs": {"dose": []}}, "no values"),
        ({"times": []}, "no candidates"),
        ({"outputs": []}, "no candidates"),
        ({"times": [-1.0]}, "before the start"),
        ({"cost": {}}, "has no cost"),
        ({"cost": "much"}, "give a number"),
        ({"cost": 0.0}, "above 0"),
        ({"cost": lambda row: np.nan}, "above 0"),
    ],
)
def test_wrong_candidates_are_named(settings, finding):
    with pytest.raises(uq.InputError, match=finding):
        candidate_measurements(study, **settings)


def test_increments_and_columns_of_the_noise_are_asked_for():
    def counted(model, **more):
        return replace(
            study, model=replace(model, **more), data=None, experiments={"a": uq.Design([1.0], {"dose": 1.0})}
        )

    with pytest.raises(uq.InputError, match="increment"):
        candidate_measurements(counted(study.model, increments=("C",)))
    known = replace(study.model, noise={"C": uq.Normal("C", "sd")}, columns={"sd": "mg/L"})
    measured = replace(study, model=known, data=study.data.assign(sd=0.01), quantities={})
    with pytest.raises(uq.InputError, match="column 'sd'"):
        candidate_measurements(measured)
    precise, coarse = (
        predicted_drops(
            measured, truth, candidate_measurements(measured, times=[1.0], columns={"sd": sd}), existing=False
        )
        for sd in (0.01, 0.1)
    )
    assert precise.rank_after.values.tolist() == [1, 1] and coarse.rank_after.values.tolist() == [1, 1]


def test_drops_of_a_line_are_those_of_least_squares():
    line = polynomial_study(1, times=[-1.0, 0.0, 0.5])
    found = predicted_drops(line, candidates=candidate_measurements(line, times=[-1.0, 2.0]))
    for index, time in enumerate([-1.0, 2.0]):
        matrix = design_matrix(np.array([-1.0, 0.0, 0.5, time]), 1)
        expected = np.sqrt(np.diag(np.linalg.inv(matrix.T @ matrix)))
        np.testing.assert_allclose(found.standard_error_after[index], expected, rtol=1e-8)
    np.testing.assert_allclose(found.ratio, found.standard_error_after / found.standard_error_before)


def test_drops_are_the_information_of_the_study_with_the_measurement():
    candidates = candidate_measurements(study, times=[0.7, 5.0], inputs={"dose": doses})
    found = predicted_drops(study, truth, candidates)
    for index in (0, 5, 9):
        times = np.eye(len(candidates.table), dtype=int)[index]
        whole = fisher_information(with_measurements(study, candidates, times, truth), truth)
        np.testing.assert_allclose(found.standard_error_after[index], whole.standard_error, rtol=2e-3)


def test_what_becomes_determined_and_what_does_not():
    unknown = product_study()
    candidates = candidate_measurements(unknown, times=[1.0])
    found = predicted_drops(unknown, candidates=candidates)
    by_output = found.set_index(candidate="output")
    assert np.all(np.isinf(found.standard_error_before)) and found.rank_before == 1
    assert np.all(np.isinf(by_output.standard_error_after.sel(candidate="y")))
    assert np.all(by_output.ratio.sel(candidate="y") == 1.0)
    # k from one measurement of z at a standard deviation of .1, with k g from y at 1 and 2
    assert float(by_output.standard_error_after.sel(candidate="z", parameter="k")) == pytest.approx(0.1, rel=1e-6)
    assert np.all(by_output.ratio.sel(candidate="z") == 0.0)
    assert by_output.rank_after.sel(candidate="z") == 2


def test_all_candidates_share_one_batch_of_solves_and_one_of_finer_ones(monkeypatch):
    calls, original = [], Independent.row_sensitivities
    monkeypatch.setattr(
        Independent, "row_sensitivities", lambda self, *more: calls.append(self) or original(self, *more)
    )
    found = predicted_drops(study, truth, candidate_measurements(study, inputs={"dose": doses}))
    assert found.sizes["candidate"] > 100 and len(calls) == 2


def test_a_candidate_that_fails_is_kept_out_with_its_reason():
    explosive = explosion_study()
    candidates = candidate_measurements(explosive, times=[0.5, 1.0], inputs={"x0": [0.5, 10.0]})
    found = predicted_drops(explosive, candidates=candidates)
    fails = (candidates.table["experiment"] == "x0 = 10").to_numpy()
    assert np.all(found.reason.values[fails] != "") and np.all(found.reason.values[~fails] == "")
    assert np.all(np.isnan(found.ratio.values[fails])) and np.all(found.ratio.values[~fails] < 1.0)
    with pytest.raises(uq.InputError, match="no candidate can be measured"):
        predicted_drops(explosive, candidates=candidates.only(fails))


def test_a_derivative_that_is_not_finite_is_no_information_of_zero():
    space = uq.Space(k=uq.epistemic(uq.LogNormal(median=1.0, sigma=1.0)))
    model = uq.Model.from_function(space, root, {"y": ""}, {"y": uq.Normal("y", 0.1)})
    rooted = uq.Study("root", model, {"a": uq.Design([1.0])})
    found = predicted_drops(rooted, candidates=candidate_measurements(rooted, times=[0.0, 1.0]))
    assert "not finite" in found.reason.values[0] and found.reason.values[1] == ""


def test_parameters_that_differ_between_units_without_a_column_are_refused():
    space = uq.Space(
        m=uq.epistemic(uq.Normal(0.0, 1.0)), a=uq.aleatory(uq.Normal("m", 1.0)), b=uq.fixed(0.0), c=uq.fixed(0.0)
    )
    model = replace(polynomial_study(0).model, space=space)
    between = uq.Study("units", model, {"one": uq.Design([1.0])})
    with pytest.raises(uq.InputError, match="'a' differ between units"):
        predicted_drops(between)


def test_a_table_of_candidates_is_checked():
    found = candidate_measurements(study, times=[1.0])
    with pytest.raises(uq.InputError, match=r"(?s)no column 'cost'"):
        replace(found, table=found.table.drop(columns="cost"))
    with pytest.raises(uq.InputError, match="has no design"):
        replace(found, table=pd.concat([found.table, found.table.assign(experiment="other")]))


def test_the_conditions_of_a_quantity_are_candidates_as_well():
    found = candidate_measurements(study, times=[1.0])
    assert [*found.designs] == ["1 mg", "2 mg", "the conditions of C(4 h)"]
    assert float(found.designs["the conditions of C(4 h)"].inputs["dose"]) == 200.0
