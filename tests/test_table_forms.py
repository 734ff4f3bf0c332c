"""The table as a modeller has it: names, order of rows and columns, and the types of columns change no result."""

import functools
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy import stats

import uqbench as uq
from uqbench.calibration import log_likelihood
from uqbench.identifiability import fisher_information
from uqbench.optimization import find_map

from .test_names import ALLOWED, TEXT, Names, names

RATES = np.array([0.4, 0.6, 0.5])
TIMES = np.array([1.0, 2.0, 4.0])
# multiples of 1/64, which single precision holds
VALUES = np.round(64 * 2 * np.exp(-np.outer(RATES, TIMES))) / 64 + np.array([0.0, 0.25, -0.125])
PARAMETERS = {"median": 0.5, "spread": 0.2, "scale": 1.1, "noise": 0.1}
COLUMNS = ("experiment", "output", "time", "value", "unit")
# an object column holds what pandas has read from a spreadsheet, numbers as text among it
TEXTS, NUMBERS = ("object", "string", "category"), ("int64", "int8", "Int64")
TYPES = {
    "output": TEXTS,
    "time": ("float64", "float32", "int64", "uint8", "object", "Float64", "Int64"),
    "value": ("float64", "float32", "object", "Float64"),
}


@dataclass(frozen=True)
class Table:
    """The same measurements of three units in one of many forms.

    Args:
        names: of everything, that of the experiment among them.
        units: their labels.
        rows: their order.
        columns: their order.
        types: column -> type, where it is another one than numbers and objects.
    """

    names: Names = field(default_factory=lambda: Names(experiment="1"))
    units: tuple = ("3", "10", "2")
    rows: tuple = tuple(range(VALUES.size))
    columns: tuple = COLUMNS
    types: dict = field(default_factory=dict)

    @functools.cached_property
    def plain(self) -> pd.DataFrame:
        """Rows by unit and time, labels as text."""
        columns = {
            "experiment": self.names.experiment,
            "output": self.names.output,
            "time": np.tile(TIMES, len(RATES)),
            "value": VALUES.ravel(),
            "unit": np.repeat(np.array(self.units, dtype=object), len(TIMES)),
        }
        return pd.DataFrame(columns).rename(columns={"unit": self.names.unit})

    @property
    def frame(self) -> pd.DataFrame:
        table = self.plain.iloc[list(self.rows)]
        columns = {column: self.names.unit if column == "unit" else column for column in self.columns}
        for column, chosen in self.types.items():
            entries = table[columns[column]]
            entries = entries.astype(int) if "int" in chosen.lower() else entries
            table = table.assign(**{columns[column]: entries.astype(chosen)})
        return table[[*columns.values()]]

    def study(self) -> uq.Study:
        names = self.names
        quantities = {names.quantity: uq.Quantity(names.last, names.design())}
        experiments = {names.experiment: names.design()}
        return uq.Study("forms", names.model(), experiments, self.frame, quantities, unit=names.unit)

    @property
    def theta(self) -> dict:
        """Parameters; those of units in the order in which the rows first name them."""
        order = pd.unique(np.array(self.rows) // len(TIMES))
        by_name = {getattr(self.names, each): jnp.asarray(value) for each, value in PARAMETERS.items()}
        return by_name | {self.names.rate: jnp.asarray(RATES[order])}


@st.composite
def tables(draw, all_names):
    """Names are any; only labels that are whole numbers have columns of numbers."""
    whole = st.integers(0, 127).map(str)
    chosen, types = draw(all_names), {column: draw(st.sampled_from(each)) for column, each in TYPES.items()}
    if draw(st.booleans()):
        chosen = replace(chosen, experiment=draw(whole), quantity="1/h")
    units = draw(st.lists(draw(st.sampled_from((whole, TEXT))), min_size=3, max_size=3, unique=True))
    for column, labels in (("experiment", [chosen.experiment]), ("unit", units)):
        numbers = all(label.isascii() and label.isdigit() and str(int(label)) == label for label in labels)
        types[column] = draw(st.sampled_from(TEXTS + NUMBERS if numbers else TEXTS))
    # never the plain order, from which a search would begin
    rows = draw(st.permutations(range(VALUES.size)).filter(lambda order: order != sorted(order)))
    return Table(chosen, tuple(units), tuple(rows), tuple(draw(st.permutations(COLUMNS))), types)


def measured(time, scale, rate, noise, value):
    """The log density of one measurement."""
    return stats.norm.logpdf(value, scale * 2.0 * np.exp(-rate * time), noise)


EXPECTED = measured(TIMES, PARAMETERS["scale"], RATES[:, None], PARAMETERS["noise"], VALUES).sum()


def assert_density(table):
    study = table.study()
    assert float(log_likelihood(study)(table.theta)) == pytest.approx(EXPECTED, rel=1e-5)
    return study


@functools.cache
def information():
    """Of the plain table, at its best fit, as `identify` gives it."""
    study = Table().study()
    best = find_map(study, starts=1)["value"].sel(parameter=list(study.model.space.epistemic))
    return fisher_information(study, dict(best.to_series())).matrix.values


@settings(max_examples=8)
@given(tables(st.just(Table().names)))
def test_a_study_has_the_same_table(table):
    study, unit = table.study(), table.names.unit
    found = study.table[table.plain.columns].assign(label=lambda rows: rows[unit].map(table.units.index))
    pd.testing.assert_frame_equal(
        found.sort_values(["label", "time"]).drop(columns="label").reset_index(drop=True),
        table.plain,
        check_dtype=False,
        check_column_type=False,
    )
    assert study.table["time"].dtype.kind == study.table["value"].dtype.kind == "f"
    assert sorted(study.units) == sorted(table.units)
    assert study.experiments[table.names.experiment].times.tolist() == TIMES.tolist()


@pytest.mark.slow
@settings(max_examples=40)
@given(tables(names(ALLOWED)))
def test_the_density_is_that_of_the_same_table(table):
    assert_density(table)


def assert_every_verb_keeps(table, folder):
    """Names, and of every measurement the density of its own unit and time, are those in what the verbs store."""
    study, names = assert_density(table), table.names
    space = study.model.space
    assert uq.check_model(study.model, names.design()).failed == 0
    assert not np.any(uq.evaluate_many(study.model, space.sample(jax.random.key(0), (3,)), names.design()).result)
    tree = uq.identify(study, starts=1)
    tree = uq.decompose(study, uq.calibrate(study, tree, draws=10, tune=20, chains=1), n=16, runs=256)
    uq.report(study, tree, path=folder / "report.html")
    again = uq.load(uq.save(tree, folder / "results.zarr"))
    assert set(again["structure"].verdict.values) == {"global"}
    assert again["structure"].parameter.values.tolist() == list(space.free)
    np.testing.assert_allclose(again["fisher"].matrix.values, information(), rtol=1e-6, atol=1e-8)
    assert again["sobol"].quantity.values.tolist() == [names.quantity]
    assert set(again["posterior"].data_vars) == set(space.free)
    assert again["posterior"][names.rate].sizes == {"chain": 1, "draw": 10, names.unit: 3}
    for name in space.free:
        np.testing.assert_array_equal(again["posterior"][name], tree["posterior"][name])
    assert list(again["observed_data"].data_vars) == list(again["posterior_band"].data_vars) == [names.output]
    assert set(again["posterior_band"].unit.values) == set(table.units)
    assert_terms_are_those_of_their_rows(table, again)


def assert_terms_are_those_of_their_rows(table, tree):
    names = table.names
    observed, terms = tree["observed_data"][names.output], tree["log_likelihood"][names.output]
    units, times = (observed[f"{names.output}_{each}"].values for each in (names.unit, "time"))
    plain = table.plain
    assert sorted(zip(units, times, observed.values, strict=True)) == sorted(
        zip(plain[names.unit], plain["time"], plain["value"], strict=True)
    )
    last = tree["posterior"].to_dataset().isel(chain=0, draw=-1)
    rates = last[names.rate].sel({names.unit: units}).values
    expected = measured(times, float(last[names.scale]), rates, float(last[names.noise]), observed.values)
    np.testing.assert_allclose(terms.isel(chain=0, draw=-1), expected, rtol=1e-4, atol=1e-4)


# names that have collided with those of coordinates, inner variables and samplers
COORDINATES = Names(
    rate="sample", median="sample_latent", spread="row", scale="y", noise="log_likelihood", state="time",
    product="chain", dose="value", output="parameter", experiment="output", unit="y_log", quantity="draw",
)  # fmt: skip
SAMPLERS = Names(
    rate="energy", median="tau_log__", spread="units", scale="gradient", noise="tau", state="depth", product="draws",
    dose="chains", output="logp", experiment="sample", unit="unconstrained_parameter", quantity="epistemic",
)  # fmt: skip
ORDER = (7, 2, 4, 0, 8, 1, 5, 3, 6)
EVERY_VERB = {"phases": (Phase.explicit, Phase.reuse, Phase.generate)}  # to shrink a failure takes minutes
QUIET = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


@pytest.mark.slow
@QUIET
@pytest.mark.parametrize(
    "table",
    [
        Table(COORDINATES, ("t", "chain", "draw"), ORDER, COLUMNS[::-1]),
        Table(SAMPLERS, ("A/B", "1", "01"), types={"time": "uint8", "value": "float32"}),
    ],
    ids=["coordinates", "samplers"],
)
def test_every_verb_keeps_names_and_rows(tmp_path, table):
    assert_every_verb_keeps(table, tmp_path)


@pytest.mark.slow
@QUIET
@settings(**EVERY_VERB, max_examples=30)
@given(tables(names(ALLOWED)))
def test_every_verb_keeps_many_names_and_rows(tmp_path_factory, table):
    assert_every_verb_keeps(table, tmp_path_factory.mktemp("verbs"))
