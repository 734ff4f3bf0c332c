"""Sections of the report on whether the calibrated model fits, on predictions, and on simulation-based calibration."""

from functools import partial

import numpy as np
import xarray as xr

from ..results import attribute, group
from . import check_figures
from .blocks import Cell, Paragraph, Table
from .pictures import drawn
from .sentences import NOT_RESOLVED, counted, listed, sentence
from .tables import MISSING, interval, output_unit, percent, rounded, time_unit, unit_name, unit_text

WORDS = {
    "narrow": "predictions too narrow",
    "wide": "predictions too wide",
    "above": "values above predictions",
    "below": "values below predictions",
    "form": "another distribution",
    "": "no misfit seen",
}
# Times of a prediction in its table, and units in theirs.
MOST_TIMES, MOST_UNITS = 12, 30


def section(tree: xr.DataTree, study: str) -> tuple[str, list]:
    """Whether the model fits, what to try where it does not, and what that rests on."""
    checks, findings = tree["checks"].to_dataset(), attribute(tree, "checks", "findings")
    blocks: list = [Paragraph(sentence(attribute(tree, "checks", "summary")))]
    blocks += [Paragraph(each, "flag") for each in findings]
    blocks.append(_by_output(tree, checks))
    left = attribute(tree, "pit", "of") == "left out"
    caption = (
        "Dots: quantile residuals, standard normal where the model fits; nine of ten lie between the dotted lines. "
        "Curve: excess of values whose predicted probability of less is below that on the axis; the curve stays in the "
        "band in 95 of 100 cases. An arch means that values lie below the predictions; up and then down, that "
        f"predictions are too narrow. Each value was {'left out of' if left else 'part of'} the calibration that "
        "predicts it."
    )
    blocks.append(drawn(partial(check_figures.residuals, tree), "Residuals of every output", "residuals", caption))
    if group(tree, "visual_check") is not None:
        shown = "Percentiles of the data and of simulated tables"
        caption = (
            "Visual predictive check: percentiles of the data in parts of the time, and the range of nine of ten "
            f"simulated tables with other {unit_name(tree)}s of the same population, under the same experiments."
        )
        blocks.append(drawn(partial(check_figures.visual_check, tree), shown, "visual", caption))
    blocks.append(_by_parameter(checks))
    if (units := group(tree, "units")) is not None:
        blocks += _units(tree, units)
    return heading(tree), blocks


def heading(tree: xr.DataTree) -> str:
    """Whether anything is wrong."""
    checks, findings = tree["checks"].to_dataset(), attribute(tree, "checks", "findings")
    bad = [str(name) for name, kind in zip(checks["output"].values, checks["misfit"].values, strict=True) if kind]
    if bad:
        return f"{listed(bad)} {'does' if len(bad) == 1 else 'do'} not fit"
    if findings:
        return f"{sentence(counted(len(findings), 'finding'))}, with what to try"
    return "Nothing wrong was found with the calibration"


def _by_output(tree: xr.DataTree, checks: xr.Dataset) -> Table:
    levels = checks["level"].values
    rows: list = []
    for output in checks["output"].values:
        one = checks.sel(output=output)
        kind = str(one["misfit"].values)
        inside = [
            Cell(percent(float(share)), f"±\N{NO-BREAK SPACE}{percent(float(error))}")
            for share, error in zip(one["coverage"].values, one["coverage_standard_error"].values, strict=True)
        ]
        rows.append(
            [
                Cell(str(output)),
                Cell(WORDS[kind], "", bool(kind)),
                str(int(one["rows"])),
                *inside,
                rounded(float(one["p_value"]), digits=2),
            ]
        )
    columns = ["output", "verdict", "values", *(f"in {percent(float(level))}" for level in levels), "p, uniform"]
    caption = "Share of the values in central predictive intervals, with its error where the model fits."
    if (elpd := attribute(tree, "checks", "elpd")) is not None:
        error = attribute(tree, "checks", "elpd_standard_error")
        terms, doubtful = attribute(tree, "checks", "terms"), attribute(tree, "checks", "doubtful")
        caption += (
            f" Expected log predictive density of {terms} terms left out (PSIS-LOO): {rounded(elpd, error)} ± "
            f"{rounded(error, digits=2)}, with {counted(doubtful, 'term')} whose Pareto k is too large."
        )
    return Table(columns, rows, ["output", "verdict"], caption)


def _by_parameter(checks: xr.Dataset) -> Table:
    rows: list = [
        [
            Cell(str(name)),
            rounded(float(one["contraction"]), 0.01),
            rounded(float(one["prior_sensitivity"]), 0.01),
            rounded(float(one["likelihood_sensitivity"]), 0.01),
        ]
        for name in checks["parameter"].values
        for one in [checks.sel(parameter=name)]
    ]
    return Table(
        ["parameter", "contraction", "sensitivity to prior", "to likelihood"],
        rows,
        ["parameter"],
        "Contraction: 1 less posterior over prior variance. Sensitivity: by how much the posterior moves with small "
        "powers of the prior or the likelihood; below 0.05 hardly. Both above may be a conflict, the prior alone means "
        "that data say little.",
    )


def _units(tree: xr.DataTree, units: xr.Dataset) -> list:
    unit, names = unit_name(tree), [str(each) for each in units["parameter"].values]
    rows: list = [
        [
            Cell(str(label)),
            *(
                Cell(
                    rounded(float(one["mean"]), float(one["sd"])),
                    f"±\N{NO-BREAK SPACE}{rounded(float(one['sd']), digits=2)}",
                )
                for name in names
                for one in [units.sel(unit=label, parameter=name)]
            ),
        ]
        for label in units["unit"].values[:MOST_UNITS]
    ]
    shrunk = [
        Cell(
            percent(float(one["shrinkage"])),
            f"±\N{NO-BREAK SPACE}{percent(float(one['shrinkage_standard_error']))}",
            bool(one["high"]),
        )
        for name in names
        for one in [units.sel(parameter=name)]
    ]
    rows += [[f"of all {units.sizes['unit']}"], [Cell("shrinkage"), *shrunk]]
    caption = (
        f"Posterior mean and standard deviation of each {unit}. Shrinkage: the share of the variance between {unit}s "
        "that is missing between these means; where it is high they say little of the single one."
    )
    if units.sizes["unit"] > MOST_UNITS:
        caption += f" The first {MOST_UNITS}; all are in the group /units."
    return [Table([unit, *names], rows, [unit], caption)]


def predictions(tree: xr.DataTree, study: str) -> tuple[str, list]:
    """What `predict` has said: of whom, under which design, and how well it is known."""
    found = tree["predicted"].to_dataset()
    of, inputs, covariates = (attribute(tree, "predicted", key) for key in ("of", "inputs", "covariates"))
    who = of if of == "a new unit" else f"{unit_name(tree)} {of}"
    given = [f"{name} = {_shown(value)}" for name, value in {**inputs, **covariates}.items()]
    draws, failed = attribute(tree, "predicted", "draws"), attribute(tree, "predicted", "failed")
    blocks: list = [
        Paragraph(f"Under {listed(given) if given else 'the design that was given'}, from {draws} posterior draws.")
    ]
    if failed:
        reasons = "; ".join(f"{count}: {why}" for why, count in attribute(tree, "predicted", "failed_runs").items())
        blocks.append(Paragraph(f"{failed} of {draws} runs failed and are left out: {reasons}", "flag"))
    if why := attribute(tree, "predicted", "noise"):
        blocks.append(Paragraph(f"Measurements are not predicted, {why}.", "quiet"))
    if found.sizes["time"] > 1:
        caption = (
            "Line: median. Dark band: 90 % of what the output may be. Pale band: of measurements of it, with noise."
        )
        blocks.append(drawn(partial(check_figures.predicted, tree), f"Predictions of {who}", "predicted", caption))
    return f"Predictions of {who}", [*blocks, _prediction_table(tree, found)]


def _prediction_table(tree: xr.DataTree, found: xr.Dataset) -> Table:
    shown = np.unique(np.linspace(0, found.sizes["time"] - 1, MOST_TIMES).astype(int))
    rows: list = []
    for output in found["output"].values:
        unit = output_unit(tree, str(output))
        rows.append([f"{output}{f' [{unit_text(unit)}]' if unit else ''}"])
        for index in shown:
            one = found.sel(output=output).isel(time=int(index))
            value, error = one["value"].values, one["value_standard_error"].values
            noisy, noise_error = one["measured"].values, one["measured_standard_error"].values
            middle = len(value) // 2
            rows.append(
                [
                    f"{float(one['time']):.4g}",
                    Cell(
                        rounded(value[middle], error[middle]), f"±\N{NO-BREAK SPACE}{rounded(error[middle], digits=1)}"
                    ),
                    interval(value[0], value[-1], max(error[0], error[-1])),
                    MISSING
                    if np.isnan(noisy).any()
                    else interval(noisy[0], noisy[-1], max(noise_error[0], noise_error[-1])),
                ]
            )
    columns = [f"time{f', {unit}' if (unit := time_unit(tree)) else ''}", "median", "90 % interval", "of measurements"]
    caption = "Below a median its Monte Carlo error; ends of intervals are rounded to the second digit of theirs."
    return Table(columns, rows, (), caption)


def calibration(tree: xr.DataTree, study: str) -> tuple[str, list]:
    """Whether `calibrate` gives back what data were simulated with."""
    name = "simulation_based_calibration"
    found = tree[name].to_dataset()
    said, uniform, resolved = (attribute(tree, name, key) for key in ("meaning", "uniform", "resolved"))
    # what is left out is part of the meaning
    blocks: list = [Paragraph(f"{sentence(said)}.", "text" if uniform and resolved else "flag")]
    if stopped := attribute(tree, name, "partial"):
        remedy = f"`uqbench sbc {study} --resume` goes on with them"
        blocks.append(Paragraph(f"Partial: it was {stopped}; {remedy}.", "flag"))
    caption = (
        "Ranks of true values among posterior draws: excess of ranks below that on the axis; a curve stays in its band "
        "in 95 of 100 cases. An arch: estimates too high; up and then down: posteriors too narrow."
    )
    blocks.append(drawn(partial(check_figures.ranks, tree), "Ranks of true values", "ranks", caption))
    levels = found["level"].values
    rows: list = [
        [
            Cell(str(quantity)),
            Cell(rounded(float(one["p_value"]), digits=2)),
            *(
                Cell(percent(float(share)), f"±\N{NO-BREAK SPACE}{percent(float(error))}")
                for share, error in zip(one["coverage"].values, found["coverage_standard_error"].values, strict=True)
            ),
            rounded(float(one["contraction"]), 0.01),
        ]
        for quantity in found["quantity"].values
        for one in [found.sel(quantity=quantity)]
    ]
    columns = ["quantity", "p, uniform", *(f"in {percent(float(level))}" for level in levels), "contraction"]
    blocks.append(Table(columns, rows, ["quantity"], "How often central intervals have the truth."))
    heading = "Calibration gives back what it is given"
    if not uniform:
        heading = "Calibration does not give back what it is given"
    elif not resolved:
        heading = f"{sentence(NOT_RESOLVED)}: whether calibration gives back what it is given"
    return heading, blocks


def _shown(value) -> str:
    return ", ".join(f"{each:.4g}" for each in np.ravel(value))
