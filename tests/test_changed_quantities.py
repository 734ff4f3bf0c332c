"""A study whose quantities have changed: what was made of the old ones is refused, and made anew by `decompose`."""

from dataclasses import replace

import pytest

import uqbench as uq
from uqbench import results
from uqbench.time_scales.study_separation import with_separation

from .time_scales.test_study_separation import folded_study
from .time_scales.test_study_separation import last as end

LATE = uq.Design([1.0, 4.0], inputs={"dose": 2.0})
MADE = {"variance", "variance_over_time", "sobol"}


def last(outputs, design):
    return outputs["C"][-1]


def same_as_last(outputs, design):
    return outputs["C"][len(design.times) - 1]


def first(outputs, design):
    return outputs["C"][0]


def twice(factor):
    """What a function holds belongs to what it does."""
    return lambda outputs, design: factor * outputs["C"][-1]


def of_parameters(outputs, design, p):
    return outputs["C"][-1] * p["k"]


QUANTITY = uq.Quantity(last, LATE, "mg/L")
CHANGED = {
    "function": {"late": replace(QUANTITY, function=first)},
    "what the function holds": {"late": replace(QUANTITY, function=twice(2.0))},
    "function of parameters": {"late": replace(QUANTITY, function=of_parameters)},
    "times": {"late": replace(QUANTITY, design=uq.Design([1.0, 5.0], inputs={"dose": 2.0}))},
    "inputs": {"late": replace(QUANTITY, design=uq.Design([1.0, 4.0], inputs={"dose": 3.0}))},
    "unit": {"late": replace(QUANTITY, unit="ug/mL")},
    "name": {"later": QUANTITY},
    "one more": {"late": QUANTITY, "first": replace(QUANTITY, function=first)},
    "none": {},
}


def study_of(decay, quantities):
    return uq.Study("decay", decay, {"low": uq.Design([1.0, 2.0], inputs={"dose": 2.0})}, quantities=quantities)


@pytest.fixture(scope="module")
def tree(decay):
    return uq.decompose(study_of(decay, {"late": QUANTITY}), n=16, runs=256)


@pytest.mark.parametrize("quantities", CHANGED.values(), ids=CHANGED)
def test_what_is_of_other_quantities_is_refused(decay, tree, quantities, tmp_path):
    study = study_of(decay, quantities)
    for verb in (lambda: uq.report(study, tree, path=tmp_path / "page.html"), lambda: uq.identify(study, tree)):
        with pytest.raises(uq.InputError, match=r"other quantities .* run `uqbench decompose decay` again") as caught:
            verb()
        assert all(f"/{name}" in str(caught.value) for name in MADE)
    assert not (tmp_path / "page.html").exists()
    # these begin anew with what they make, and with what was made of it
    for verb in ("calibrate", "decompose"):
        assert results.check_tree(study, tree, verb=verb) is tree


def test_what_says_the_same_in_other_words_is_the_same(decay, tree):
    again = uq.Quantity(same_as_last, uq.Design([1.0, 4.0], inputs={"dose": 2.0}), "mg/L", "the last concentration")
    assert results.check_tree(study_of(decay, {"late": again}), tree) is tree
    twofold = [study_of(decay, {"late": replace(QUANTITY, function=twice(factor))}) for factor in (2.0, 2.0, 3.0)]
    digests = [study.quantities_digest for study in twofold]
    assert digests[0] == digests[1] != digests[2]


def test_groups_that_do_not_say_of_which_quantities_are_refused(decay, tree):
    """Of a version that did not note it."""
    older = tree.copy()
    del older["sobol"].attrs["quantities_digest"]
    with pytest.raises(uq.InputError, match="/sobol: made for other quantities"):
        results.check_tree(study_of(decay, {"late": QUANTITY}), older)


def test_decompose_makes_them_anew(decay, tree, tmp_path):
    study = study_of(decay, CHANGED["function"])
    again = uq.decompose(study, tree, n=16, runs=256)
    assert set(again.children) == MADE
    assert {again[name].attrs["quantities_digest"] for name in MADE} == {study.quantities_digest}
    assert float(again["variance"]["mean"][0]) != float(tree["variance"]["mean"][0])
    uq.report(study, again, path=tmp_path / "page.html")


@pytest.mark.filterwarnings("ignore::uqbench.SeparationWarning")
def test_a_changed_design_has_its_separation_of_time_scales_looked_at_again():
    """/separation is of the designs of the quantities as well; every verb looks again where these are others."""
    study = folded_study()
    longer = {"end": uq.Quantity(end, uq.Design([3.5]))}
    changed = uq.Study("folded", study.model, study.experiments, quantities=longer)
    first = with_separation(study, results.start(study))
    again = with_separation(changed, first)
    assert "quantity end" not in first["separation"].experiment.values
    assert "quantity end" in again["separation"].experiment.values
    # what is looked at is not looked at again
    assert with_separation(changed, again) is again
