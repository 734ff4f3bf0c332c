"""Tables as they come: values that are only known to be beyond a limit, missing ones, repeated ones, other units."""

import warnings
from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import uqbench as uq
from uqbench.likelihoods import log_likelihood
from uqbench.measurements import with_values

EXPERIMENTS = {"low": uq.Design(inputs={"dose": 2.0})}


def table(**columns):
    rows = {"experiment": "low", "output": "C", "time": [1.0, 2.0, 3.0, 4.0], "value": [1.2, 0.7, 0.4, 0.3]}
    return pd.DataFrame(rows | columns)


def study(decay, data):
    return uq.Study("decay", decay, EXPERIMENTS, data)


@pytest.mark.parametrize(
    "data",
    [
        table(value=["1.2", "0.7", ">0.5", "<0.25"]),
        table(value=["1.2", "0.7", "≥ 0.5", " <=0.25"]),
        table(value=[1.2, 0.7, 0.5, 0.25], censored=["", None, "above", "below"]),
        table(value=[1.2, 0.7, 0.5, 0.25], censored=[0, np.nan, -1, 1]),
        table(value=[1.2, 0.7, 0.9, 0.1], lower_limit=[np.nan] * 3 + [0.25], upper_limit=["", ".", 0.5, None]),
    ],
    ids=["text", "other text", "words", "numbers", "limits"],
)
def test_all_ways_to_say_censored_are_one(decay, data, tmp_path):
    data.to_csv(tmp_path / "data.csv", index=False)
    for given in (data, tmp_path / "data.csv"):
        found = study(decay, given).table
        assert found["value"].tolist() == [1.2, 0.7, 0.5, 0.25]
        assert found["censored"].tolist() == ["", "", "above", "below"]
        assert (found["upper_limit"][2], found["lower_limit"][3]) == (0.5, 0.25)


def test_limits_alone_censor_nothing_that_lies_between_them(decay):
    found = study(decay, table(lower_limit=0.3, upper_limit=10.0)).table
    assert (found["censored"] == "").all()
    assert found["value"].tolist() == [1.2, 0.7, 0.4, 0.3]


def test_rows_without_a_value_are_left_out_and_named(decay, tmp_path):
    table(value=["1.2", "", "NA", "0.3"]).to_csv(tmp_path / "data.csv", index=False)
    with pytest.warns(uq.DataWarning, match="lines 3, 4: value is missing"):
        found = study(decay, tmp_path / "data.csv")
    assert found.table["value"].tolist() == [1.2, 0.3]
    assert np.asarray(found.experiments["low"].times).tolist() == [1.0, 4.0]


def counted_weekly(data):
    space = uq.Space(r=uq.epistemic(uq.Gamma(1.0, 0.05)))
    model = uq.Model.from_function(space, cases, {"c": ""}, {"c": uq.Poisson("c")}, increments=["c"], name="weeks")
    return uq.Study("weeks", model, {"e": uq.Design(), "f": uq.Design()}, data)


def cases(theta, design, key):
    return {"c": theta["r"] * design.times}


def test_a_gap_in_what_is_counted_since_the_row_before_is_refused():
    """Whether the next value is of one week or of two cannot be known."""
    rows = {"experiment": ["e"] * 3 + ["f"] * 2, "output": "c", "time": [1.0, 2.0, 3.0, 1.0, 2.0]}
    with pytest.raises(uq.InputError, match="row 1: value is missing of what is counted since"):
        counted_weekly(pd.DataFrame(rows | {"value": [10.0, np.nan, 9.0, 4.0, 5.0]}))
    # what is behind the last value of a run belongs to none
    with pytest.warns(uq.DataWarning, match="row 2: value is missing"):
        counted_weekly(pd.DataFrame(rows | {"value": [10.0, 12.0, np.nan, 4.0, 5.0]}))
    found = counted_weekly(pd.DataFrame(rows | {"value": [10.0, ">=0", 9.0, 4.0, 5.0]}))
    total = stats.poisson(8.0).logpmf([10, 9, 4, 5]).sum()
    value, slope = jax.value_and_grad(lambda r: log_likelihood(found)({"r": r}))(8.0)
    assert float(value) == pytest.approx(total)
    assert float(slope) == pytest.approx((10 + 9 + 4 + 5) / 8.0 - 4)


def test_spaces_around_labels_make_no_other_unit(decay):
    data = table(subject=["s1", "s1 ", " s2", "s2"])
    assert uq.Study("decay", decay, EXPERIMENTS, data, unit="subject").units == ("s1", "s2")


def test_repeated_rows_are_named_where_they_are_no_replicates(decay):
    twice = pd.concat([table(), table().iloc[:2]], ignore_index=True)
    with pytest.warns(uq.DataWarning, match="rows 4, 5: the same as a row before"):
        found = study(decay, twice)
    assert len(found.table) == 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # it has been said of this table
        replace(found, name="another")
        study(decay, twice.assign(replicate=[1, 1, 1, 1, 2, 2]))


def test_all_that_is_wrong_is_found_at_once(decay):
    wrong = table(
        value=["<LOD", "", "0.4", "<0.2"],
        censored=["", "above", "left or so", "above"],
        lower_limit=[1.0, 1.0, "low", 1.0],
        upper_limit=[2.0, 2.0, 2.0, 0.1],
        units=["mg/L", "ng/mL", "mol", "mg//L"],
    )
    with pytest.raises(uq.InputError) as caught:
        study(decay, wrong)
    for part in (
        "row 0: value '<LOD' is not a number",
        "row 1: censored without a value",
        "row 2: censored 'left or so' is neither",
        "row 3: the value and the column `censored` say different things",
        "row 2: lower_limit 'low' is not a number",
        "row 3: lower_limit is not below upper_limit",
        "row 1: C is in 'ng/mL' and that of the model in 'mg/L'; multiply by 0.001",
        "row 2: C in 'mol' is not what the model gives, in 'mg/L'",
        "row 3: unit 'mg//L' does not parse",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "data, part",
    [
        (table(value=["<1", "<1", "<1", ">2"]), "every value is censored"),
        (table(value=np.nan), "the table has no values"),
        (table().iloc[:0], "the table has no rows"),
    ],
)
def test_tables_that_tell_nothing_are_refused(decay, data, part):
    with pytest.raises(uq.InputError, match=part):
        study(decay, data)


def test_a_simulated_count_that_is_its_limit_is_not_beyond_it():
    def mean(theta, design, key):
        return {"y": theta["m"] + 0 * design.times}

    space = uq.Space(m=uq.epistemic(uq.Gamma(2.0, 1.0)))
    model = uq.Model.from_function(space, mean, {"y": ""}, {"y": uq.Poisson("y")}, name="counts")
    rows = [("e", "y", 0.0, "<=3"), ("e", "y", 1.0, "5"), ("e", "y", 2.0, "<3"), ("e", "y", 3.0, ">=2")]
    data = pd.DataFrame(rows, columns=["experiment", "output", "time", "value"])
    study = uq.Study("counts", model, {"e": uq.Design()}, data)
    found = with_values(study.table, {"y": np.array([4.0, 3.0, 3.0, 1.0])})
    assert not (found["censored"].isin(["below", "above"])).any()
    found = with_values(study.table, {"y": np.array([3.0, 3.0, 2.0, 2.0])})
    assert found["censored"].tolist()[0] == "below" and found["censored"].tolist()[2:] == ["below", "above"]
