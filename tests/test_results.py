import numpy as np
import pytest
import xarray as xr

import uqbench as uq
from uqbench import results


@pytest.fixture
def tree(decay_study):
    group = xr.Dataset(
        {"value": ("parameter", [1.0, np.nan]), "reason": ("parameter", ["plain", "a longer text"])},
        coords={"parameter": ["k", "sigma"]},
    )
    return results.attach(
        results.start(decay_study), {"structure": group}, verb="identify", settings={"a": 1}, seed=0, seconds=1.0
    )


def test_a_verb_adds_its_groups_and_touches_nothing_else(decay_study, tree):
    more = results.attach(tree, {"fisher": xr.Dataset({"x": 1.0})}, verb="identify", settings={}, seed=0, seconds=0.0)
    assert "fisher" not in tree.children
    xr.testing.assert_identical(more["structure"].to_dataset(), tree["structure"].to_dataset())
    assert more["structure"].attrs["settings"] == '{"a": 1}'
    assert more["structure"].attrs["seed"] == 0


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
    assert "structure" not in uq.load(path).children
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
