"""The table as a modeller has it: order of rows and columns, and the types of columns, change no result."""

import functools

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import uqbench as uq
from uqbench.calibration import log_likelihood
from uqbench.identifiability import fisher_information

from .test_names import Names

GIVEN = Names()
UNITS = ("3", "10", "2")
RATES = {"3": 0.4, "10": 0.6, "2": 0.5}
TIMES = np.array([1.0, 2.0, 4.0])
# multiples of 1/64, which single precision holds
VALUES = np.round(64 * np.concatenate([2 * np.exp(-rate * TIMES) for rate in RATES.values()])) / 64
TABLE = pd.DataFrame(
    {
        "experiment": "1",
        "output": GIVEN.output,
        "time": np.tile(TIMES, 3),
        "value": VALUES + np.tile([0.0, 0.25, -0.125], 3),
        GIVEN.unit: np.repeat(UNITS, 3),
    }
)
# an object column holds what pandas has read from a spreadsheet, numbers as text among it
TYPES = {
    "experiment": ["object", "string", "category", "int64", "int8"],
    "output": ["object", "string", "category"],
    "time": ["float64", "float32", "int64", "uint8", "object", "Float64", "Int64"],
    "value": ["float64", "float32", "object", "Float64"],
    GIVEN.unit: ["object", "string", "category", "int64", "uint8", "Int64"],
}


def form(rows, types, columns):
    """The table in another form: order of rows, type by column, order of columns."""
    table = TABLE.iloc[rows]
    for column, chosen in types.items():
        numbers = table[column].astype(int) if "int" in chosen.lower() else table[column]
        table = table.assign(**{column: numbers.astype(chosen)})
    return table[columns]


FORMS = st.builds(
    form,
    st.permutations(range(len(TABLE))),
    st.fixed_dictionaries({column: st.sampled_from(types) for column, types in TYPES.items()}),
    st.permutations([*TYPES]),
)


def study_of(table):
    quantities = {GIVEN.quantity: uq.Quantity(GIVEN.last, GIVEN.design())}
    return uq.Study("forms", GIVEN.model(), {"1": GIVEN.design()}, table, quantities, unit=GIVEN.unit)


def at(study):
    """Parameters, those that differ between units in the study's order of these."""
    rates = jnp.array([RATES[unit] for unit in study.units])
    return {name: jnp.asarray(value) for name, value in zip(
        (GIVEN.median, GIVEN.spread, GIVEN.rate, GIVEN.scale, GIVEN.noise), (0.5, 0.2, rates, 1.1, 0.1), strict=True
    )}  # fmt: skip


def measured(time, scale, rate, noise, value):
    """The log density of one measurement."""
    return stats.norm.logpdf(value, scale * 2.0 * np.exp(-rate * time), noise)


EXPECTED = sum(measured(row["time"], 1.1, RATES[row[GIVEN.unit]], 0.1, row["value"]) for _, row in TABLE.iterrows())


@functools.cache
def information():
    return fisher_information(study_of(TABLE), None).matrix.values


def ordered(table):
    columns = ["experiment", "output", "time", "value", GIVEN.unit]
    return table[columns].sort_values([GIVEN.unit, "time"]).reset_index(drop=True)


def density(study):
    return float(log_likelihood(study)(at(study)))


@settings(max_examples=15)
@given(FORMS)
def test_a_study_has_the_same_table(table):
    study = study_of(table)
    pd.testing.assert_frame_equal(ordered(study.table), ordered(TABLE), check_dtype=False, check_column_type=False)
    assert study.table["time"].dtype.kind == study.table["value"].dtype.kind == "f"
    assert sorted(study.units) == sorted(UNITS)
    assert study.experiments["1"].times.tolist() == TIMES.tolist()


@pytest.mark.slow
@settings(max_examples=40)
@given(FORMS)
def test_density_and_information_are_those_of_the_same_table(table):
    study = study_of(table)
    assert density(study) == pytest.approx(EXPECTED, rel=1e-5)
    np.testing.assert_allclose(fisher_information(study, None).matrix.values, information(), rtol=1e-6, atol=1e-8)


def numbered(seed):
    """One of the forms, by number."""
    random = np.random.default_rng(seed)
    types = {column: types[random.integers(len(types))] for column, types in TYPES.items()}
    return form(random.permutation(len(TABLE)), types, random.permutation([*TYPES]))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 12))])
def test_every_verb_keeps_to_the_rows(seed, tmp_path):
    """Every measurement has the density of its own unit and time in what the verbs store."""
    study = study_of(numbered(seed))
    assert density(study) == pytest.approx(EXPECTED, rel=1e-5)
    np.testing.assert_allclose(fisher_information(study, None).matrix.values, information(), rtol=1e-6, atol=1e-8)
    tree = uq.identify(study)
    assert set(tree["structure"].verdict.values) == {"global"}
    tree = uq.decompose(study, uq.calibrate(study, tree, draws=10, tune=20, chains=1), n=16, runs=256)
    uq.report(study, tree, path=tmp_path / "report.html")
    tree = uq.load(uq.save(tree, tmp_path / "results.zarr"))
    name = GIVEN.output
    observed, terms = tree["observed_data"][name], tree["log_likelihood"][name]
    labels = {each: observed[f"{name}_{each}"].values for each in (GIVEN.unit, "time")}
    found = sorted(zip(*labels.values(), observed.values, strict=True))
    assert found == sorted(zip(TABLE[GIVEN.unit], TABLE["time"], TABLE["value"], strict=True))
    posterior = tree["posterior"].to_dataset().isel(chain=0, draw=-1)
    for k, (unit, time) in enumerate(zip(*labels.values(), strict=True)):
        rate = float(posterior[GIVEN.rate].sel({GIVEN.unit: unit}))
        scale, noise = float(posterior[GIVEN.scale]), float(posterior[GIVEN.noise])
        term = float(terms.isel(chain=0, draw=-1)[k])
        assert term == pytest.approx(measured(time, scale, rate, noise, observed.values[k]), rel=1e-4, abs=1e-4)
