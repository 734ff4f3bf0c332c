from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import uqbench as uq
from uqbench import results
from uqbench.names import BAND, DRAWS
from uqbench.results.groups import markdown

from .reporting.conftest import every_group

README = Path(__file__).parents[1] / "README.md"


def convergence(**changed):
    """What `calibrate` says of two parameters."""
    columns = {"rhat": [1.0, np.nan], "ess_bulk": [900.0, 50.0], "ess_tail": [900.0, 50.0], "resolved": [True, False]}
    columns = {name: ("parameter", values) for name, values in columns.items()} | changed
    limits = {"largest_rhat": 1.01, "least_ess": 400}
    return xr.Dataset(columns, {"parameter": ["k", "sigma"]}, limits)


def attached(tree, groups, verb="calibrate"):
    return results.attach(tree, groups, verb=verb, settings={"a": 1}, seed=0, seconds=1.0)


@pytest.fixture
def tree(decay_study):
    return attached(results.start(decay_study), {"convergence": convergence()})


def test_a_verb_adds_its_groups_and_touches_nothing_else(tree):
    more = attached(tree, {"fisher": every_group()["fisher"]}, verb="identify")
    assert "fisher" not in tree.children
    xr.testing.assert_identical(more["convergence"].to_dataset(), tree["convergence"].to_dataset())
    origin = {"verb": "identify", "settings": '{"a": 1}', "seed": 0, "seconds": 1.0}
    assert more["fisher"].attrs == every_group()["fisher"].attrs | origin


def test_what_a_verb_no_longer_makes_does_not_stay(tree):
    draws = xr.Dataset({"k": (("chain", "draw"), [[1.0, 2.0]])}, {"chain": [0], "draw": [0, 1]})
    assert set(attached(tree, {"prior": draws}).children) == {"prior"}


def test_what_does_not_fit_the_schema_is_refused_with_all_findings(tree):
    wrong = convergence(
        rhat=("draw", [1.0, 1.0]), resolved=("parameter", [1.0, 0.0]), more=("parameter", [1, 2])
    ).assign_attrs(least_ess="many", limits="none")
    del wrong["ess_tail"], wrong.attrs["largest_rhat"]
    with pytest.raises(results.SchemaError) as error:
        attached(tree, {"convergence": wrong, "mine": convergence()}, verb="identify")
    assert error.value.findings == (
        "/convergence: it is attached by 'identify', not by calibrate.",
        "/convergence: the variable 'ess_tail' is missing.",
        "/convergence: 'rhat' has dimensions ('draw',), not (parameter).",
        "/convergence: 'resolved' has dtype float64, not bool.",
        "/convergence: the variable 'more' is not in the schema.",
        "/convergence: the attribute 'largest_rhat' is missing.",
        "/convergence: attribute 'least_ess' is 'many', not number.",
        "/convergence: the attribute 'limits' is not in the schema.",
        "/mine: no group of this name is in the schema; 'identify' needs one in `results.groups`.",
    )


def test_the_study_names_variables_and_their_further_dimensions(tree):
    draws = xr.Dataset({"V": (("chain", "draw", "subject"), np.ones((1, 2, 3)))}, {"chain": [0], "draw": [0, 1]})
    assert attached(tree, {"posterior_predictive": draws})["posterior_predictive"].sizes["subject"] == 3
    with pytest.raises(results.SchemaError, match=r"'V' has dimensions .*, not \(chain, draw\)"):
        attached(tree, {"prior": draws})


def test_json_that_cannot_be_read_is_refused(tree):
    dataset = every_group()["sobol"].assign_attrs(failed_runs="{'blow-up': 1}")
    with pytest.raises(results.SchemaError, match="'failed_runs' is no JSON"):
        attached(tree, {"sobol": dataset}, verb="decompose")


@pytest.mark.parametrize("name", every_group())
def test_the_tree_that_the_report_is_tested_with_fits_the_schema(name):
    dataset = every_group()[name]
    assert results.GROUPS[name].findings(dataset, dataset.attrs["verb"]) == []


def test_groups_of_the_user_stay_in_the_tree_and_on_disk(tree, tmp_path):
    mine = xr.Dataset({"x": ("i", [1.0, 2.0])})
    tree["mine/deeper"] = xr.DataTree(mine)
    more = attached(tree, {"convergence": convergence()})
    loaded = uq.load(uq.save(more, tmp_path / "decay.zarr"))
    xr.testing.assert_identical(loaded["mine/deeper"].to_dataset(), mine)


def test_the_root_has_the_attributes_of_the_schema(decay_study):
    assert set(results.describe("/").index) == set(results.start(decay_study).attrs)


def test_attributes_are_read_decoded_and_by_known_names(tree):
    assert results.attribute(tree, "convergence", "settings") == {"a": 1}
    assert results.attribute(tree, "convergence", "least_ess") == 400
    assert results.attribute(tree, "sobol", "n") is None
    assert results.group(tree, "sobol") is None
    with pytest.raises(KeyError):
        results.attribute(tree, "convergence", "limits")
    with pytest.raises(KeyError):
        results.group(tree, "convergences")


def test_every_group_can_be_described():
    assert list(results.describe().index) == [f"/{name}" for name in results.GROUPS]
    for name, group in results.GROUPS.items():
        table = results.describe(name)
        assert set(group.variables) | set(group.coordinates) | set(group.attributes) <= set(table.index)
        assert (table["meaning"] != "").all()


def test_names_are_kept_from_outputs_where_the_bands_have_them():
    band = results.GROUPS["posterior_band"]
    assert set(BAND) == {*band.each.dims, *band.coordinates}
    assert set(DRAWS) == set(results.GROUPS["posterior"].coordinates)


def test_the_readme_has_the_schema_as_it_is():
    assert markdown() in README.read_text()


def test_stored_and_loaded_are_the_same(tree, tmp_path):
    path = uq.save(tree, tmp_path / "folder" / "decay.zarr")
    loaded = uq.load(path)
    assert loaded.attrs == tree.attrs
    for name in tree.children:
        xr.testing.assert_equal(loaded[name].to_dataset(), tree[name].to_dataset())
        assert loaded[name].attrs == tree[name].attrs


def test_a_failed_write_leaves_the_old_results(tree, tmp_path):
    path = uq.save(tree, tmp_path / "decay.zarr")
    cannot_be_stored = xr.DataTree(xr.Dataset({"x": ((), 1.0)}, attrs={"object": object()}))
    with pytest.raises(TypeError):
        uq.save(cannot_be_stored, path)
    assert uq.load(path).attrs == tree.attrs
    assert [p.name for p in tmp_path.iterdir()] == ["decay.zarr"]


def test_writing_again_replaces_everything(tree, tmp_path):
    path = uq.save(tree, tmp_path / "decay.zarr")
    uq.save(xr.DataTree(xr.Dataset(attrs={"study": "other"})), path)
    assert "convergence" not in uq.load(path).children
    assert [p.name for p in tmp_path.iterdir()] == ["decay.zarr"]


def test_results_of_another_study_are_refused(decay, decay_study, decay_table, tree):
    experiments = {"low": uq.Design(inputs={"dose": 2.0}), "high": uq.Design(inputs={"dose": 4.0})}
    other = uq.Study("decay", decay, experiments, decay_table.assign(value=1.0))
    assert results.check_tree(decay_study, tree) is tree
    with pytest.raises(uq.InputError, match="the tree's data is"):
        results.check_tree(other, tree)


def test_a_missing_store_names_what_to_run(tmp_path):
    with pytest.raises(uq.InputError, match="no result store"):
        uq.load(tmp_path / "none.zarr")
