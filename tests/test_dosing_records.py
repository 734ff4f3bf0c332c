"""Tables of doses, measurements and covariates of subjects."""

import jax
import numpy as np
import pandas as pd
import pytest

import uqbench as uq
from uqbench.likelihoods import likelihood_of

SPACE = uq.Space(k=uq.epistemic(uq.LogNormal(median=0.3, sigma=0.5)), s=uq.epistemic(uq.HalfNormal(1.0)))


def empty(p, inputs):
    return {"C": 0.0}


def elimination(t, y, p, inputs):
    return {"C": -p["k"] * y["C"]}


def observe(y, p, inputs):
    return {"C": y["C"] / inputs["WT"]}


def bolus(p, inputs):
    return {"C": (inputs["dose_times"], inputs["dose_amounts"])}


def records(**more):
    """Two subjects, one with two doses; the first is measured before and behind its only dose at the time of it."""
    table = {
        "ID": ["a", "a", "a", "a", "b", "b", "b", "b"],
        "TIME": [2.0, 2.0, 2.0, 5.0, 0.0, 1.0, 3.0, 4.0],
        "DV": [0.1, ".", 9.0, 4.0, ".", 7.0, ".", 8.0],
        "AMT": [".", 700.0, ".", ".", 600.0, 0, 300.0, "."],
        "WT": [70.0, 70.0, 70.0, 70.0, 60.0, None, 60.0, 60.0],
        "SE": [0.1, ".", 0.2, 0.3, ".", 0.4, ".", 0.5],
    }
    return pd.DataFrame({**table, **more})


def test_the_model_at_the_measurements_is_the_closed_form():
    found = uq.read_dosing_records(records(), output="C", covariates=["WT"])
    model = uq.Model(
        SPACE,
        uq.Ode(empty, elimination, doses=bolus),
        observe,
        {"C": ""},
        {"C": uq.Normal("C", "SE")},
        columns={"SE": ""},
    )
    study = uq.Study("bolus", model, found.experiments, found.data, unit=found.unit)
    assert study.units == ("a", "b")
    likelihood = likelihood_of(study)
    theta = SPACE.complete({"k": 0.3, "s": 1.0})
    known = jax.jit(likelihood.known)(theta)["C"][0]
    expected = [0.0, 10.0, 10 * np.exp(-0.9), 10 * np.exp(-0.3), 10 * np.exp(-1.2) + 5 * np.exp(-0.3)]
    np.testing.assert_allclose(known["C"], expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(likelihood.observations.columns["C"]["SE"], [0.1, 0.2, 0.3, 0.4, 0.5])


def test_a_file_with_other_names_two_outputs_and_repeated_doses(tmp_path):
    lines = [
        "subject,h,y,dose,DVID,ADDL,II,EVID",
        "1,0,.,50,.,2,12,1",
        "1,1,3,.,1,.,.,0",
        "1,1,4,.,2,.,.,0",
        "1,2,.,.,.,.,.,2",
    ]
    (tmp_path / "records.csv").write_text("\n".join(lines))
    found = uq.read_dosing_records(
        tmp_path / "records.csv",
        output={1: "C", 2: "effect"},
        columns={"id": "subject", "time": "h", "value": "y", "amount": "dose"},
    )
    inputs = found.experiments["1"].inputs
    assert inputs["dose_times"].tolist() == [0.0, 12.0, 24.0] and inputs["dose_amounts"].tolist() == [50.0] * 3
    assert found.data[["output", "value"]].to_numpy().tolist() == [["C", 3.0], ["effect", 4.0]]


def test_doses_may_be_a_covariate():
    table = pd.DataFrame({"ID": [1, 2], "TIME": [1, 1], "DV": [3, 4], "dose": [4.0, 4.4]})
    found = uq.read_dosing_records(table, output="C", covariates=["dose"])
    assert {name: float(design.inputs["dose"]) for name, design in found.experiments.items()} == {"1": 4.0, "2": 4.4}


@pytest.mark.parametrize(
    ("more", "finding"),
    [
        ({"TIME": [0, 1, "x", 3, 0, 1, 2, 3]}, "record 3: TIME 'x' is not a number."),
        ({"DV": [0.1, ".", ".", 4.0, ".", 7.0, ".", 8.0]}, "record 3: DV of a measurement is missing or not finite."),
        (
            {"WT": [70, 71, 70, 70, 60, 60, 60, 60]},
            "the covariate 'WT' has the values 70, 71 in ID a; it must have one.",
        ),
        ({"RATE": [0, 5, 0, 0, 0, 0, 0, 0]}, "record 2: an infusion (RATE)"),
        ({"EVID": [0, 0, 0, 0, 1, 0, 4, 0]}, "record 2: EVID is 0, a measurement, and there is an amount."),
        ({"EVID": [0, 1, 0, 0, 1, 0, 4, 0]}, "record 7: EVID is none of"),
        ({"CMT": [1, 1, 1, 1, 1, 1, 2, 1]}, "doses go to the compartments 1, 2 (CMT)"),
        ({"ADDL": [0, 2, 0, 0, 0, 0, 0, 0]}, "record 2: doses are repeated (ADDL) at no interval (II) above zero."),
        ({"AMT": [0, -1, 0, 0, 5, 0, 0, 0]}, "record 2: AMT is negative or not finite."),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_said_with_its_record(more, finding):
    with pytest.raises(uq.InputError) as error:
        uq.read_dosing_records(records(**more), output="C", covariates=["WT"])
    assert any(each.startswith(finding) for each in error.value.findings)


def test_all_findings_come_at_once():
    bad = records(TIME=[0, 1, "x", 3, 0, 1, 2, 3], WT=[70, 71, 70, 70, 60, 60, 60, 60], SS=[0, 1, 0, 0, 0, 0, 0, 0])
    with pytest.raises(uq.InputError) as error:
        uq.read_dosing_records(bad, output="C", covariates=["WT"], columns={"dose": "AMT"})
    text = str(error.value)
    for part in ("columns names 'dose'", "TIME 'x'", "'WT' has the values", "steady state of doses"):
        assert part in text
    with pytest.raises(uq.InputError, match="no column 'DVID'"):
        uq.read_dosing_records(records(), output={1: "C"})


def test_values_below_the_limit_of_quantification_are_censored():
    found = uq.read_dosing_records(records(CENS=[0, 0, 0, 1, 0, 0, 0, -1]), output="C", covariates=["WT"])
    space = uq.Space(WT=uq.covariate(70.0, "kg"), **SPACE)
    model = uq.Model(
        space, uq.Ode(empty, elimination, doses=bolus), observe, {"C": ""}, {"C": uq.Normal("C", "s")}
    )  # fmt: skip
    study = uq.Study("bolus", model, found.experiments, found.data, unit=found.unit)
    assert study.table["censored"].tolist() == ["", "", "below", "", "above"]
    assert study.covariates["WT"].tolist() == [70.0, 60.0]


def test_subjects_of_a_file_may_have_what_begins_a_line_of_comments(tmp_path):
    path = tmp_path / "records.csv"
    path.write_text("# weighed doses\nTIME,DV,AMT,ID\n0,.,10,pig#1\n1,3,.,pig#1\n0,.,20,pig#2\n1,9,.,pig#2\n")
    found = uq.read_dosing_records(path, output="C")
    amounts = {name: design.inputs["dose_amounts"].tolist() for name, design in found.experiments.items()}
    assert amounts == {"pig#1": [10.0], "pig#2": [20.0]}
