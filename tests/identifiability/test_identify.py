"""The verb as a whole: what it adds with data, and what stays where it is stopped on the way."""

import importlib

import pytest

import uqbench as uq
from uqbench.identifiability import identify as verb
from uqbench.optimization.best_fit import BY_HAND


def test_data_add_a_fit_profiles_and_the_table(decay_study):
    tree = verb(decay_study, starts=2)
    assert {"structure", "fit", "profile", "fisher", "practical"} <= {*tree.children}
    assert tree["fisher"].attrs["at"] == "best fit"
    table = tree["practical"].to_dataset().sel(parameter="k")
    assert table.verdict == "identifiable"
    assert table.lower < tree["profile"]["value"].sel(parameter="k") < table.upper


def test_no_starts_no_fit(decay_study):
    tree = verb(decay_study, starts=0)
    assert {*tree.children} == {"structure", "fisher", "practical"}
    assert tree["fisher"].attrs["at"] == "prior medians"


@pytest.mark.parametrize("step", ["find_map", "profile_likelihood"])
def test_what_there_was_stays_when_it_is_stopped(decay_study, monkeypatch, step):
    module = importlib.import_module("uqbench.identifiability.identify")
    whole = getattr(module, step)
    monkeypatch.setattr(module, step, lambda *given, **more: whole(*given, **more).assign_attrs(stopped=BY_HAND))
    with pytest.raises(uq.errors.Interrupted) as raised:
        verb(decay_study, starts=2)
    tree = raised.value.tree
    assert {"structure", "fit"} <= {*tree.children}
    assert all("stopped" in child.attrs["partial"] for child in tree.children.values())


def test_every_setting_that_is_wrong_is_named(decay_study):
    with pytest.raises(uq.InputError) as raised:
        verb(decay_study, starts=-1, fit_budget=0.0, level=2.0, budget=-1.0, scale="decades")
    assert len(raised.value.findings) == 5
