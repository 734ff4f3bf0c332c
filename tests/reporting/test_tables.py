"""Numbers as text, and the tables."""

import json

import numpy as np
import pytest
import xarray as xr

from uqbench.reporting import sentences, tables

from .conftest import ALEATORY, EPISTEMIC, build


@pytest.mark.parametrize(
    "value, error, text",
    [
        (0.041234, 0.0021, "0.0412"),
        (96.3146, 0.7, "96.31"),
        (96.3146, 7.0, "96.3"),
        (1234.5, 210.0, "1230"),
        (-1.2345, 0.1, "−1.23"),
        # an error of 0.0996 counts as 0.10
        (3.14159, 0.0996, "3.14"),
        (0.001, 5.0, "0.0"),
        # never more than five digits, however small the error
        (96.3146789, 1e-9, "96.315"),
        (2.5e-6, 1e-7, "2.50\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10⁻⁶"),
        (-6.02e23, 1e22, "−6.02\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10²³"),
        (
            999999.7,
            10.0,
            "1.00000\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10⁶"[:5] + "0\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10⁶",
        ),
        (0.0, 0.1, "0.00"),
        (0.0, None, "0"),
        (2316.4, None, "2320"),
        (1.0013, 0.01, "1.001"),
        (1.5, np.inf, "1.50"),
        (1.5, 0.0, "1.50"),
        (np.nan, 0.1, "–"),
        (np.inf, 0.1, "∞"),
        (-np.inf, None, "−∞"),
    ],
)
def test_numbers_end_where_their_error_begins(value, error, text):
    assert tables.rounded(value, error) == text


@pytest.mark.parametrize("seed", range(20))
def test_rounding_moves_a_number_by_less_than_a_tenth_of_its_error(seed):
    rng = np.random.default_rng(seed)
    value = rng.normal() * 10 ** rng.uniform(-3, 5)
    error = abs(value) * 10 ** rng.uniform(-3, 1)
    text = tables.rounded(value, error).replace("−", "-").replace("\N{NO-BREAK SPACE}", "")
    mantissa, _, power = text.partition("×10")
    read = float(mantissa) * 10 ** int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")) or 0)
    assert abs(read - value) <= 0.05 * error * (1 + 1e-9)


@pytest.mark.parametrize(
    "share, error, text", [(0.915, None, "92"), (0.9151, 0.016, "91.5"), (0.005, None, "0"), (1.0, 0.001, "100.00")]
)
def test_percent(share, error, text):
    assert tables.percent(share, error) == f"{text}\N{NO-BREAK SPACE}%"


@pytest.mark.parametrize(
    "unit, text", [("mg*h/L", "mg·h/L"), ("m**2", "m²"), ("1/m**-3*s", "1/m⁻³·s"), ("s^-1", "s⁻¹"), ("", "")]
)
def test_units_as_written_by_hand(unit, text):
    assert tables.unit_text(unit) == text


def test_parameters(tree):
    table = tables.parameters(tree)
    assert list(table.index) == [*EPISTEMIC, *ALEATORY, "dose_factor"]
    assert table.loc["CL_median", "unit"] == "L/h/kg"
    draws = tree["posterior"]["CL_median"].values
    assert table.loc["CL_median", "median"] == np.median(draws)
    assert table.loc["CL_median", ["lower", "upper"]].tolist() == pytest.approx(np.quantile(draws, (0.05, 0.95)))
    assert table.loc["ka_median", "ess_bulk"] == 2316.0
    assert table.loc["sigma", "standard_error"] == 0.35
    assert np.isnan(table.loc["ka", "rhat"])


def test_columns_of_missing_groups_are_missing(groups):
    table = tables.parameters(build({name: groups[name] for name in ("prior", "posterior")}))
    assert set(table.columns) == {"role", "median", "lower", "upper", "sd"}
    assert table["role"].to_dict() == dict.fromkeys(EPISTEMIC, "epistemic") | dict.fromkeys(ALEATORY, "aleatory")


def test_identifiability(tree):
    table = tables.identifiability(tree)
    assert "dose_factor" not in table.index
    assert table.loc["CL_median", "verdict"] == "none"
    assert table.loc["sigma", "relative_error"] == 0.5
    # the last eigenvalue is the smallest, and its direction is sigma alone
    assert table.loc[[*EPISTEMIC], "weakest"].tolist() == [0.0, 0.0, 1.0]
    assert table.loc["sigma", "posterior_sd"] == pytest.approx(float(tree["posterior"]["sigma"].std()))


@pytest.mark.parametrize(
    "verdicts, locally, text",
    [
        ("global global global", "111", "a, b and c are globally identifiable"),
        ("local global local", "111", "b is globally identifiable; a and c are only locally identifiable"),
        (
            "undecided undecided undecided", "111",
            "a, b and c are locally identifiable; whether other values of them give the same outputs is not resolved",
        ),
        (
            "undecided none global", "101",
            "b cannot be identified from these outputs, however good the data; c is globally identifiable; a is at "
            "least locally identifiable; whether other values of a give the same outputs is not resolved",
        ),
        ("undecided undecided undecided", "000", "Whether the parameters can be identified at all is not resolved"),
    ],
)  # fmt: skip
def test_structural_verdicts_in_words(verdicts, locally, text):
    columns = {"verdict": verdicts.split(), "locally": [flag == "1" for flag in locally], "reason": ["why"] * 3}
    parameters = json.dumps([{"name": name, "role": "epistemic"} for name in "abc"])
    structure = xr.Dataset(
        {name: ("parameter", values) for name, values in columns.items()}, {"parameter": [*"abc"]},
        {"parameters": parameters},
    )  # fmt: skip
    assert sentences.structural(xr.DataTree.from_dict({"structure": structure})) == text


def test_combinations_in_words():
    structure = xr.Dataset(
        {"verdict": ("parameter", ["local", "none"]), "expression": ("generator", ["a", "b*c"])},
        {"parameter": ["a", "b"]},
        {"parameters": json.dumps([{"name": name, "role": "epistemic"} for name in "ab"]), "generators_complete": True},
    )
    tree = xr.DataTree.from_dict({"structure": structure})
    assert sentences.combinations(tree) == "Whatever these outputs determine is a function of a and b·c."
    structure.attrs["generators_complete"] = False
    tree = xr.DataTree.from_dict({"structure": structure})
    assert sentences.combinations(tree) == "Determined in combination: b·c; there may be more."


def test_natural_scale_is_made_relative(groups):
    groups["fisher"]["logarithmic"][:] = False
    assert tables.identifiability(build(groups)).loc["sigma", "relative_error"] == pytest.approx(0.35 / 0.7)


def test_variance(tree):
    table = tables.variance(tree)
    assert table.loc["AUC", "sd"] == 20.0
    assert table.loc["AUC", ["lower", "upper"]].tolist() == [63.0, 134.0]
    assert table.loc["AUC", "mean_error"] == pytest.approx(np.sqrt(0.08 * 400 / 146 + 0.92 * 400 / 4088))
    assert tables.variance(build({"structure": tree["structure"].to_dataset()})).empty


def test_coverage_counts_the_observations_inside(tree):
    assert tables.coverage(tree, "concentration") == (8, 9)


def test_narrowing_is_the_ratio_of_interval_widths(groups):
    groups["prior"] = 10 * groups["posterior"][["sigma"]]
    assert tables.narrowing(build(groups))["sigma"] == pytest.approx(10)
