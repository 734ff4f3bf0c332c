"""The section of the report on what the data tell of each parameter, and what to measure for those they leave open."""

from functools import partial

import numpy as np
import pandas as pd
import xarray as xr

from ..results import attribute, group
from .blocks import Cell, Drawing, Paragraph, Table
from .pictures import drawn
from .profile_figures import profiles
from .sentences import counted, listed
from .tables import MISSING, described, interval, rounded, unit_text

FINE = "identifiable"


def section(tree: xr.DataTree, study: str) -> tuple[str, list]:
    """The heading that answers, and what it rests on."""
    dataset = group(tree, "practical")
    assert dataset is not None  # the page has no such section without it
    table = dataset.to_dataframe()
    blocks: list = [Paragraph(text, tone) for text, tone in _fit(tree) if text]
    if reason := attribute(tree, "structure", "no_fit"):
        blocks.append(Paragraph(f"No best fit and no profiles: {reason}"))
    if reason := attribute(tree, "structure", "no_prediction"):
        blocks.append(Paragraph(f"No profiles of quantities: {reason}"))
    return heading(table), [
        *blocks,
        _verdicts(tree, table),
        *_explanations(table),
        *_curves(tree),
        *_predictions(tree),
        *_prescriptions(tree),
    ]


def heading(table: pd.DataFrame) -> str:
    """How many parameters the data determine."""
    fine = int((table["verdict"] == FINE).sum())
    if fine == len(table):
        return "The data determine every parameter"
    left = listed([str(name) for name in table.index[table["verdict"] != FINE]])
    if not fine:
        return "The data determine none of the parameters"
    return f"The data determine {fine} of {len(table)} parameters, not {left}"


def _verdicts(tree: xr.DataTree, table: pd.DataFrame) -> Table:
    units = described(tree)["unit"] if group(tree, "structure") is not None else pd.Series(dtype=str)
    level = attribute(tree, "profile", "level")
    sides = [] if level is None else [f"{100 * level:g} % profile interval"]
    columns = ["parameter", "verdict", *sides, "structure", "information", "profile", "posterior"]
    rows = []
    for name, row in table.iterrows():
        unit = unit_text(units.get(name, ""))
        cells = {
            "parameter": Cell(str(name), unit),
            "verdict": Cell(row["verdict"], "", row["verdict"] != FINE),
            "structure": row["structural"] or MISSING,
            "information": row["fisher"] or MISSING,
            "profile": row["profile"] or MISSING,
            "posterior": row["posterior"] or MISSING,
            **dict.fromkeys(sides, ends(row["lower"], row["upper"])),
        }
        rows.append([cells[column] for column in columns])
    caption = (
        "Structure: from perfect data. Information: to first order at one point. Profile: until the likelihood falls. "
        "Posterior: against the prior."
    )
    return Table(columns, rows, [column for column in columns if column not in sides], caption)


def _explanations(table: pd.DataFrame) -> list[Paragraph]:
    """Why it is so, once for all parameters of which the same is said."""
    said = table.loc[table["explanation"] != "", "explanation"]
    names = {text: listed([str(name) for name in said.index[said == text]]) for text in pd.unique(said)}
    return [Paragraph(f"{who}: {text[0].lower()}{text[1:]}") for text, who in names.items()]


def _curves(tree: xr.DataTree) -> list[Drawing]:
    found = group(tree, "profile")
    if found is None:
        return []
    units = described(tree)["unit"].to_dict() if group(tree, "structure") is not None else {}
    caption = (
        "By how much the log likelihood falls as a parameter is held away from the best fit (dot), the others "
        "following. The interval ends where the curve crosses the grey line; an arrow marks a side without an end."
    )
    return [drawn(partial(profiles, found, units=units), "Profile likelihoods", "profiles", caption)]


def _predictions(tree: xr.DataTree) -> list:
    """How well each quantity is known: it may be where parameters are not, and the other way round."""
    found = group(tree, "prediction")
    if found is None:
        return []
    interval = f"{100 * found.attrs['level']:g} % profile interval"
    columns = ["quantity", "best fit", interval, "ends"]
    rows: list[list[str | Cell]] = []
    for name in found["quantity"].values:
        row = found.sel(quantity=name)
        verdicts = dict.fromkeys(str(row[f"verdict_{side}"].item()) for side in ("lower", "upper"))
        value = rounded(float(row["value"]))
        between = ends(float(row["lower"]), float(row["upper"]))
        rows.append([Cell(str(name), unit_text(str(row["unit"].item()))), value, between, ", ".join(verdicts)])
    whose = f" They are those of {found.attrs['of']}." if found.attrs["of"] else ""
    caption = f"Quantities that the study asks about, from the data alone.{whose}"
    table = Table(columns, rows, ["quantity", "ends"], caption)
    stopped = found.attrs["stopped"]
    flags = [Paragraph(f"The profiles of quantities were stopped {stopped}.", "flag")] if stopped else []
    return [table, *flags]


def ends(lower: float, upper: float) -> str:
    """An interval of which either end may be open."""
    if np.isnan(lower) and np.isnan(upper):
        return MISSING
    if np.isnan(lower):
        return f"below {rounded(upper)}"
    return f"above {rounded(lower)}" if np.isnan(upper) else interval(lower, upper)


def _fit(tree: xr.DataTree) -> list[tuple[str, str]]:
    """What is said of the best fit, each with its tone."""
    fit, profile = group(tree, "fit"), group(tree, "profile")
    if fit is None:
        return []
    reached = int((fit["optimum"].values == 0).sum())
    optima = int(fit["optimum"].values.max()) + 1
    others = f", of {counted(optima, 'optimum', 'optima')} that were found" if optima > 1 else ""
    said = (
        f"The best fit has a log likelihood of {rounded(fit.attrs['log_likelihood'], 0.01)}; "
        f"{reached} of {counted(fit.sizes['start'], 'start')} ended there{others}."
    )
    verdict = fit.attrs["verdict"]
    texts = [(said, "text"), (f"The best fit: {verdict}." if verdict != "converged" else "", "flag")]
    if profile is not None:
        if profile.attrs["better"] > 0.01:
            better = rounded(profile.attrs["better"], digits=2)
            texts.append(
                (f"Without the prior the log likelihood is larger by {better}; intervals are around that.", "text")
            )
        if profile.attrs["stopped"]:
            texts.append((f"The profiles were stopped {profile.attrs['stopped']}.", "flag"))
    return texts


def _prescriptions(tree: xr.DataTree) -> list:
    """What to measure for each parameter that is open, and whether simulated data then close it."""
    found = group(tree, "experiment")
    if found is None:
        return []
    columns = ["parameter", "what to measure", "standard error now", "predicted", "with simulated data"]
    rows = []
    for name in found["parameter"].values[found["prescription"].values != ""]:
        row = found.sel(parameter=name)
        rows.append(
            [
                str(name),
                str(row["prescription"].item()),
                rounded(float(row["standard_error_before"]), digits=2),
                rounded(float(row["standard_error_prescribed"]), digits=2),
                rounded(float(row["standard_error_tested"]), digits=2),
            ]
        )
    caption = "The cheapest measurements that are predicted to make it known, tried on data simulated at the best fit."
    return [Table(columns, rows, ["parameter", "what to measure"], caption)] if rows else []
