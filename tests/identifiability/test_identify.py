"""The verb as a whole: what it adds with data, and what stays where it is stopped on the way."""

import importlib
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.identifiability import identify as verb
from uqbench.optimization.best_fit import BY_HAND
from uqbench.reporting.blocks import Table
from uqbench.reporting.practical import ends, section


@pytest.fixture(scope="module")
def with_quantities(decay_study):
    """Half-life and whether it is short: the second has no derivative."""
    design = uq.Design(inputs={"dose": 1.0})
    asked = {
        "half-life": uq.Quantity(lambda outputs, design, p: jnp.log(2.0) / p["k"], design, "h"),
        "short": uq.Quantity(lambda outputs, design, p: p["k"] > 1.0, design),
    }
    return replace(decay_study, quantities=asked)


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


def test_quantities_have_intervals(with_quantities):
    tree = verb(with_quantities, starts=2)
    assert tree["prediction"]["quantity"].values.tolist() == ["half-life"]
    found, k = tree["prediction"].to_dataset().isel(quantity=0), tree["profile"].to_dataset().sel(parameter="k")
    assert found.lower.item() == pytest.approx(np.log(2.0) / k.upper.item(), rel=1e-4)
    assert found.upper.item() == pytest.approx(np.log(2.0) / k.lower.item(), rel=1e-4)
    _, blocks = section(tree, "decay")
    (table,) = [block for block in blocks if isinstance(block, Table) and block.columns[0] == "quantity"]
    assert [getattr(cell, "text", cell) for cell in table.rows[0]][2:] == [
        ends(found.lower.item(), found.upper.item()),
        "bounded",
    ]


def test_a_quantity_that_cannot_be_predicted_leaves_the_rest(with_quantities):
    nowhere = uq.Quantity(lambda outputs, design, p: jnp.log(-p["k"]), uq.Design(inputs={"dose": 1.0}))
    tree = verb(replace(with_quantities, quantities={"nowhere": nowhere}), starts=2)
    assert "prediction" not in tree.children and "profile" in tree.children
    assert "'nowhere'" in tree["structure"].attrs["no_prediction"]


@pytest.mark.parametrize("step", ["find_map", "profile_likelihood", "profile_quantities"])
def test_what_there_was_stays_when_it_is_stopped(with_quantities, monkeypatch, step):
    module = importlib.import_module("uqbench.identifiability.identify")
    whole = getattr(module, step)
    monkeypatch.setattr(module, step, lambda *given, **more: whole(*given, **more).assign_attrs(stopped=BY_HAND))
    with pytest.raises(uq.errors.Interrupted) as raised:
        verb(with_quantities, starts=2)
    tree = raised.value.tree
    assert {"structure", "fit"} <= {*tree.children}
    assert all("stopped" in child.attrs["partial"] for child in tree.children.values())


def test_every_setting_that_is_wrong_is_named(decay_study):
    with pytest.raises(uq.InputError) as raised:
        verb(decay_study, starts=-1, fit_budget=0.0, level=2.0, budget=-1.0, scale="decades")
    assert len(raised.value.findings) == 5
