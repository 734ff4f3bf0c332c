"""The balance of a study on a coupled model: in the tree, aloud, and on the page."""

import functools
import warnings

import numpy as np
import pytest

import uqbench as uq
from forward_models.coupling_schedules import model as without_contents
from uqbench import results
from uqbench.balance import ROUNDING, imbalance, is_rounding, leaked
from uqbench.coupling import Strong, Weak
from uqbench.coupling.study_balance import balance_of_study, with_balance
from uqbench.errors import LeakWarning
from uqbench.reporting.balance_figures import balance_over_time

from . import cell_and_tissue
from .cell_and_tissue import space


@functools.cache
def study(leak: float = 0.0, schedule=None) -> uq.Study:
    """One object for all tests, as programs are compiled for its functions."""
    parameters = {name: space[name] for name in space.names} | {"leak": uq.fixed(leak)}
    system = uq.Coupled(cell_and_tissue.PARTS, cell_and_tissue.EXCHANGES, schedule or Strong(0.1), "h")
    model = uq.Model(
        uq.Space(**parameters), system, units={"A": "nmol/L"}, noise={"A": uq.Normal("A", 0.1)}, time_unit="h",
        name="cell and tissue",
    )  # fmt: skip
    experiments = {"short": uq.Design([1.0, 2.0]), "long": uq.Design([0.0, 2.0, 4.0, 8.0])}
    return uq.Study("cell and tissue", model, experiments)


@functools.cache
def closed_tree():
    with warnings.catch_warnings():
        warnings.simplefilter("error", LeakWarning)
        return with_balance(study(), results.start(study()))


def test_without_a_leak_it_says_rounding(tmp_path):
    found = closed_tree()["balance"].to_dataset()
    assert not found["leak"].any() and found.attrs["warning"] == "" and found.attrs["at"] == "prior medians"
    assert float(found["imbalance"].max()) <= ROUNDING
    # change = what came in + what sources made, and what leaves the cell enters the tissue
    change = found["content"].sel(experiment="long").isel(point=3) - found["content"].sel(experiment="long").isel(
        point=0
    )
    gained = (found["received"] + found["supplied"]).sel(experiment="long")
    np.testing.assert_allclose(change, gained, atol=1e-12)
    crossed = found["crossed"].values[:, 0]
    np.testing.assert_allclose(found["received"].values, np.stack([-crossed, crossed, 0 * crossed], axis=1))
    assert found["stable"].all() and "it is stable" in str(found["advice"].values[0])
    # an experiment is followed from its start, and shorter ones are padded
    assert found["time"].values[0, :3].tolist() == [0.0, 1.0, 2.0] and np.isnan(found["time"].values[0, 3])
    stored = uq.load(uq.save(closed_tree(), tmp_path / "tree.zarr"))
    assert stored["balance"].to_dataset().identical(closed_tree()["balance"].to_dataset())
    page = tmp_path / "page.html"
    uq.report(study(), stored, path=page)
    text = page.read_text()
    assert "Nothing leaks" in text and 'id="balance"' in text and "Strong, QuasiNewton, step 0.1" in text


def test_a_planted_leak_is_said_aloud_and_on_the_page(tmp_path):
    leaking = study(0.01)
    with pytest.warns(LeakWarning, match="drug leaks in"):
        tree = with_balance(leaking, results.start(leaking))
    found = tree["balance"].to_dataset()
    assert found["leak"].values.tolist() == [[True, False, True]] * 2
    # V = 1 L loses .01 nmol/L in an hour
    assert float(found["residual"].sel(experiment="long", account="cell: drug")[3]) == pytest.approx(-0.08, rel=1e-9)
    page = tmp_path / "page.html"
    uq.report(leaking, tree, path=page)
    text = page.read_text()
    assert "A leak: drug is not conserved" in text and "Drug leaks in" in text


@pytest.mark.slow
def test_it_is_looked_at_again_where_more_is_known():
    tree = closed_tree()
    assert with_balance(study(), tree) is tree
    assert with_balance(study(), tree, again=True) is not tree


@pytest.mark.slow
def test_a_schedule_that_diverges_is_named_with_another():
    # errors grow 1.33-fold in each of 26 windows: wrong, but not yet garbage
    with pytest.warns(uq.CouplingWarning, match=r"1\.33"):
        found = balance_of_study(study(schedule=Weak(0.3, concurrent=True)), space.nominal())
    assert not found["stable"].any()
    assert "multiplies errors by 1.33" in str(found["advice"].values[0])
    assert str(found["advice"].values[0]).endswith("take weak, sequential")


def test_what_counts_nothing_has_no_balance():
    plain = uq.Study("pair", without_contents, {"one": uq.Design([1.0])})
    tree = results.start(plain)
    assert with_balance(plain, tree) is tree


def test_the_picture_shows_contents_and_residual():
    figure = balance_over_time(closed_tree(), "drug")
    above, below = figure.axes[0], figure.axes[2]
    assert below.get_yscale() == "log" and len(above.collections) == 2
    assert max(np.max(line.get_ydata()) for line in below.lines) <= ROUNDING
    with pytest.raises(uq.InputError, match="no /balance of 'oxygen'"):
        balance_over_time(closed_tree(), "oxygen")


def test_rounding_is_told_from_leaks():
    assert is_rounding([1e-13, -1e-11, np.nan, 0.0], [1.0, 1.0, 1.0, 0.0]).tolist() == [True, False, False, True]
    assert imbalance([1e-13, -1e-11], 1.0).tolist() == [1e-12, 1e-11]
    assert leaked([1e-13, -1e-11], 1.0).tolist() == [0.0, -1e-11]
    assert not bool(is_rounding(1e-20, 0.0))
