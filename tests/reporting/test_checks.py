"""Sections on the fit, on predictions and on simulation-based calibration: they say what the groups say."""

import json

import numpy as np
import pytest
import xarray as xr

from uqbench import results
from uqbench.errors import InputError
from uqbench.reporting import check_figures
from uqbench.reporting.page import page

from .conftest import TIMES, build, every_group, origin, rows

POINT = np.arange(1, 100) / 100
BAND = 1.3 * np.sqrt(POINT * (1 - POINT) / 6)


def made(findings=(), misfit=""):
    """What `calibrate`, `predict` and `sbc` add, invented."""
    mine = origin("calibrate", draws=200)
    scores = np.linspace(-1.5, 1.5, len(rows()["concentration_time"][1]))
    curve = 0.05 * np.sin(2 * np.pi * POINT)
    parameters = {"parameter": ["ka_median", "CL_median", "sigma"]}
    checks = {
        "rows": ("output", [9]),
        "p_value": ("output", [0.37]),
        "misfit": ("output", [misfit]),
        "coverage": (("output", "level"), [[0.52, 0.89]]),
        "coverage_standard_error": (("output", "level"), [[0.17, 0.1]]),
        "p_value_by_time": (("output", "part"), [[0.37]]),
        "time_from": (("output", "part"), [[0.5]]),
        "time_to": (("output", "part"), [[4.0]]),
        "pit_difference": (("output", "point"), curve[None]),
        "pit_lower": (("output", "point"), -BAND[None]),
        "pit_upper": (("output", "point"), BAND[None]),
        "contraction": ("parameter", [0.91, 0.81, 0.12]),
        "prior_sensitivity": ("parameter", [0.01, 0.02, 0.31]),
        "likelihood_sensitivity": ("parameter", [0.1, 0.2, 0.03]),
    }
    attributes = {"summary": "nothing wrong was found: R-hat 1.", "findings": json.dumps(list(findings))}
    attributes |= {"elpd": -12.3, "elpd_standard_error": 1.4, "terms": 9, "doubtful": 2}
    coordinates = {"output": ["concentration"], "level": [0.5, 0.9], "part": [0], "point": POINT, **parameters}
    percentiles = np.array([1.0, 2.0, 3.0])[:, None] * np.array([[1.0, 0.5, 0.1]])
    quantiles = np.array([2.0, 3.0, 4.0, 5.0, 6.0])[None, :, None] * np.array([1.0, 0.8, 0.5])
    errors = np.full_like(quantiles, 0.05)
    dims = ("output", "quantile", "time")
    ranks = np.arange(40)[:, None] % 32 * np.ones(2, int)
    return {
        "checks": xr.Dataset(checks, coordinates, attributes | mine),
        "pit": xr.Dataset(
            {"concentration": ("concentration_row", scores / 4 + 0.5)}, rows(), {"of": "left out"} | mine
        ),
        "residuals": xr.Dataset({"concentration": ("concentration_row", scores)}, rows(), mine),
        "units": xr.Dataset(
            {
                **{name: (("unit", "parameter"), np.full((2, 2), 1.25)) for name in ("mean", "sd", "deviation")},
                "shrinkage": ("parameter", [0.72, 0.21]),
                "shrinkage_standard_error": ("parameter", [0.04, 0.08]),
                "high": ("parameter", [True, False]),
            },
            {"unit": ["a", "b"], "parameter": ["ka", "CL"]},
            {"limit": 0.5} | mine,
        ),
        "visual_check": xr.Dataset(
            {
                "observed": (("output", "percentile", "part"), percentiles[None]),
                "simulated": (
                    ("output", "percentile", "interval", "part"),
                    percentiles[None, :, None] * np.array([0.8, 1.0, 1.2])[None, None, :, None],
                ),
                "time": (("output", "part"), TIMES[None]),
            },
            {
                "output": ["concentration"],
                "percentile": [0.1, 0.5, 0.9],
                "interval": [0.05, 0.5, 0.95],
                "part": [0, 1, 2],
            },
            mine,
        ),
        "predicted": xr.Dataset(
            {
                "value": (dims, quantiles),
                "value_standard_error": (dims, errors),
                "measured": (dims, quantiles * 1.1),
                "measured_standard_error": (dims, errors),
            },
            {"output": ["concentration"], "quantile": [0.05, 0.25, 0.5, 0.75, 0.95], "time": TIMES},
            {
                **{"of": "b", "inputs": json.dumps({"dose": 300.0}), "covariates": json.dumps({"weight": 80.0})},
                **{"draws": 400, "failed": 3, "failed_runs": json.dumps({"it left the numbers.": 3}), "noise": ""},
                **origin("predict", draws=400),
            },
        ),
        "simulation_based_calibration": xr.Dataset(
            {
                "rank": (("repetition", "quantity"), ranks),
                **{name: (("repetition", "quantity"), np.ones((40, 2))) for name in ("truth", "mean", "sd")},
                "p_value": ("quantity", [0.5, 0.001]),
                "difference": (("quantity", "point"), np.stack([curve, 10 * curve])),
                "lower": (("quantity", "point"), np.stack([-BAND, -BAND])),
                "upper": (("quantity", "point"), np.stack([BAND, BAND])),
                "coverage": (("level", "quantity"), [[0.5, 0.4], [0.9, 0.7]]),
                "coverage_standard_error": ("level", [0.08, 0.05]),
                "contraction": ("quantity", [0.9, np.nan]),
            },
            {
                "quantity": ["ka_median", "log-likelihood"],
                "repetition": np.arange(40),
                "level": [0.5, 0.9],
                "point": POINT,
            },
            {
                **{"ranks": 31, "uniform": False, "failed": 1, "not_converged": 2, "needed": 155},
                "resolved": True,
                "meaning": "ranks of log-likelihood are not uniform",
                **origin("sbc", repetitions=43),
            },
        ),
    }


def shown(**changed):
    return page(build(every_group() | made(**changed)), "toy", "toy")


@pytest.mark.parametrize("name", made())
def test_what_is_invented_here_fits_the_schema(name):
    dataset = made()[name]
    assert results.GROUPS[name].findings(dataset, dataset.attrs["verb"]) == []


def test_the_page_says_what_was_checked():
    text = shown()
    for part in (
        "Nothing wrong was found with the calibration",
        "no misfit seen",
        "−12.3 ± 1.4",
        "with two terms whose Pareto k is too large",
        "left out of the calibration",
        "of the same population, under the same experiments",
        "0.310",
        "72\N{NO-BREAK SPACE}%",
    ):
        assert part in text, part


def test_findings_are_flagged_with_what_to_try():
    text = shown(findings=["a does not fit. Take `StudentT`."], misfit="narrow")
    assert "concentration does not fit" in text and "predictions too narrow" in text
    assert "a does not fit. Take <code>StudentT</code>." in text
    assert "One finding, with what to try" in shown(findings=["b is odd."])


def test_predictions_say_of_whom_under_what_and_how_well_they_are_known():
    text = shown()
    assert "Under dose = 300 and weight = 80, from 400 posterior draws." in text
    assert "3 of 400 runs failed and are left out: 3: it left the numbers." in text
    assert "4.000" in text and "±\N{NO-BREAK SPACE}0.05" in text


def test_ranks_that_are_not_uniform_are_flagged():
    text = shown()
    assert "Calibration does not give back what it is given" in text


def test_an_older_tree_has_none_of_these_sections():
    text = page(build(every_group()), "toy", "toy")
    assert "Does it fit?" not in text and "Simulation-based calibration" not in text


@pytest.mark.parametrize("name", ["residuals", "visual_check", "ranks", "predicted"])
def test_figures_draw_both_widths_and_name_a_missing_group(name):
    tree, draw = build(every_group() | made()), getattr(check_figures, name)
    for width in (8.8, 3.9):
        figure = draw(tree, width=width)
        assert any(line.get_xydata().size for axis in figure.axes for line in axis.lines)
    with pytest.raises(InputError, match="there is no /"):
        draw(build(every_group()))


def test_a_curve_that_leaves_its_band_is_drawn_dark():
    figure = check_figures.ranks(build(every_group() | made()))
    inside, outside = (axis.lines[-1] for axis in figure.axes)
    assert outside.get_linewidth() > inside.get_linewidth() and outside.get_color() != inside.get_color()
