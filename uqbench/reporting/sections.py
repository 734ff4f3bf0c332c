"""The sections of the report: each a heading that answers, and below it what the answer rests on.

A section is a list of blocks (paragraph, table, figure, equations) that the template sets without knowing what they mean. Where its
group is missing from the tree it becomes one line that says which verb makes it.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from markupsafe import Markup

from . import figures, sentences, svg, tables
from .tables import MISSING, group, interval, percent, rounded, unit_text


@dataclass(frozen=True)
class Paragraph:
    """Text, in which `backticks` mark code; `tone` is "text", "quiet" or "flag"."""

    text: str
    tone: str = "text"
    kind: str = "paragraph"


@dataclass(frozen=True)
class Cell:
    """A cell with a small second line, or a verdict that is to be seen (`flag`)."""

    text: str
    note: str = ""
    flag: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under a heading line; columns named in `text` are set left, all others are numbers. A row of one cell is a subheading."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    text: Sequence[str] = ()
    caption: str = ""
    kind: str = "table"


@dataclass(frozen=True)
class Drawing:
    """A figure with what it shows."""

    picture: Markup
    caption: str
    kind: str = "figure"


@dataclass(frozen=True)
class Equations:
    """Lines of mathematics."""

    lines: Sequence[Markup]
    kind: str = "equations"


@dataclass(frozen=True)
class Section:
    """One answer. `missing` names the verb to run where there is nothing to say yet."""

    name: str
    title: str
    heading: str = ""
    blocks: Sequence = ()
    missing: str = ""


def sections(tree: xr.DataTree, study: str) -> list[Section]:
    """All sections in the order of reading."""
    described = "structure" if "structure" in tree.children else "posterior"
    plan: list[tuple[str, str, str, Sequence[str], Callable]] = [
        ("model", "Model", "identify", ("structure",), _model),
        ("parameters", "Parameters", "calibrate", (described,), _parameters),
        ("identifiability", "Identifiability", "identify", ("structure",), _identifiability),
        ("data", "Data and predictions", "calibrate", ("posterior_band", "posterior_predictive", "observed_data"), _data),
        ("learning", "From prior to posterior", "calibrate", ("prior", "posterior"), _learning),
        ("sampling", "Sampling", "calibrate", ("convergence", "posterior"), _sampling),
        ("variance", "Spread of predictions", "decompose", ("variance",), _variance),
        ("inputs", "Inputs that matter", "decompose", ("sobol",), _inputs),
    ]
    return [
        Section(name, title, *make(tree, study)) if all(needed in tree.children for needed in groups)
        else Section(name, title, missing=verb)
        for name, title, verb, groups, make in plan
    ]


def _model(tree, study) -> tuple[str, list]:
    equations, outputs = (tables.structure_entry(tree, name) or [] for name in ("equations", "outputs"))
    # `equations` may have the outputs already; the later entry, with their names spelt out, is kept
    distinct = {re.sub(r"\\mathrm|[{}\s]", "", latex): latex for latex in [*equations, *outputs]}
    lines = [svg.equation(latex, f"equation{index}") for index, latex in enumerate(distinct.values())]
    read = "Read from the code that is solved, not written a second time." if lines else "A simulator, with no equations to read."
    blocks: list = [Equations(lines)] * bool(lines) + [Paragraph(read, "quiet")]
    table = tables.parameters(tree)
    rows = [
        [Cell(name, row.meaning), unit_text(row.unit) or MISSING, row.prior]
        for name, row in table.iterrows() if row.role == "fixed"
    ]
    if rows:
        blocks.append(Table(["fixed parameter", "unit", "value"], rows, ["fixed parameter", "unit"]))
    return sentences.model(tree), blocks


def _parameters(tree, study) -> tuple[str, list]:
    table = tables.parameters(tree)
    unit = tables.unit_name(tree)
    columns = ["parameter", "prior"] + ["median", "90 % interval"] * ("median" in table)
    columns += ["R-hat", "ESS bulk, tail"] * ("rhat" in table) + ["Fisher s.e."] * ("standard_error" in table)
    if "unit" in table:
        columns.insert(1, "unit")
    rows: list = []
    for role, title in (("epistemic", "not known: one true value"), ("aleatory", f"differs between {unit}s: posterior of the {unit}s seen")):
        members = table[table["role"] == role]
        rows += [[title]] if len(members) else []
        rows += [_parameter_row(name, row, columns) for name, row in members.iterrows()]
    blocks: list = [Paragraph(text, "flag") for text in [sentences.remedy(tree, study)] if text] if "convergence" in tree.children else []
    if "unit" not in table:
        blocks.append(Paragraph(f"Units, priors and meanings come with `uqbench identify {study}`.", "quiet"))
    caption = "Posterior medians, rounded to the second digit of the posterior standard deviation. " * ("median" in table)
    caption += "Fisher s.e.: the standard error that such data promise to first order." * ("standard_error" in table)
    return sentences.known(tree), [*blocks, Table(columns, rows, ["parameter", "unit", "prior"], caption)]


def _parameter_row(name: str, row: pd.Series, columns: Sequence[str]) -> list:
    lost = row.get("resolved") is not None and not pd.isna(row.get("resolved")) and not bool(row["resolved"])
    note, sampled = row.get("meaning", ""), not pd.isna(row.get("ess_bulk", np.nan))
    error = row["standard_error"] if "standard_error" in row else np.nan
    cells = {
        "parameter": Cell(name, f"{note}{'; ' * bool(note)}{sentences.NOT_RESOLVED}" if lost else note, lost),
        "unit": unit_text(row.get("unit", "")) or MISSING,
        "prior": row.get("prior", MISSING).replace("'", ""),
        "median": rounded(row.get("median", np.nan), row.get("sd")),
        "90 % interval": interval(row.get("lower", np.nan), row.get("upper", np.nan), row.get("sd")),
        "R-hat": rounded(row.get("rhat", np.nan), 0.01),
        "ESS bulk, tail": ", ".join(rounded(row.get(column, np.nan)) for column in ("ess_bulk", "ess_tail")) if sampled else MISSING,
        "Fisher s.e.": "not determined" if np.isinf(error) else rounded(error, digits=2),
    }
    return [cells[column] for column in columns]


def _identifiability(tree, study) -> tuple[str, list]:
    table = tables.identifiability(tree)
    columns = ["parameter", "verdict", "why", *["Fisher s.e., relative"] * ("relative_error" in table),
               *["posterior sd, relative"] * ("posterior_sd" in table), *["least known direction"] * ("weakest" in table)]
    rows = []
    for name, row in table.iterrows():
        why = Cell(row["reason"], f"identifiable: {row['combination']}" if row.get("combination") else "")
        relative, now = row.get("relative_error", np.nan), row.get("posterior_relative", np.nan)
        cells = {
            "parameter": name,
            "verdict": Cell(row["verdict"], flag=row["verdict"] in ("none", "undecided")),
            "why": why,
            "Fisher s.e., relative": "not determined" if np.isinf(relative) else _plus_minus(relative),
            "posterior sd, relative": Cell(_plus_minus(now), "" if np.isnan(now) else rounded(row["posterior_sd"], digits=2)),
            "least known direction": rounded(row.get("weakest", np.nan), 0.1),
        }
        rows.append([cells[column] for column in columns])
    attributes = group(tree, "structure").attrs
    blocks = [Paragraph(sentences.information(tree))] * ("fisher" in tree.children) + [Table(columns, rows, ["parameter", "verdict", "why"],
              "Verdict: from noise-free outputs, whatever the data. "
              + "Fisher s.e.: with the measurements of this study; the direction is the one they say least about." * ("weakest" in table))]
    method = [f"Structure: {attributes['method']}." if "method" in attributes else ""]
    if "failure_probability" in attributes:
        method.append(f"A verdict is wrong with a probability below {rounded(float(attributes['failure_probability']), digits=2)}.")
    return sentences.structural(tree), [*blocks, Paragraph(" ".join(method), "quiet")]


def _plus_minus(share: float) -> str:
    return MISSING if np.isnan(share) else f"±{percent(share)}"


def _data(tree, study) -> tuple[str, list]:
    outputs = [str(name) for name in tree["posterior_band"].data_vars if name in tree["observed_data"].data_vars]
    covered = [sentences.covered(tree, output) for output in outputs]
    caption = ("Dots: observations. Line: median of a new measurement in the same unit. Dark and pale band: 50 % and 90 % of such "
               "measurements, parameter uncertainty and measurement error included.")
    blocks: list = [Paragraph(f"{text}.") for text in covered[1:]]
    for index, output in enumerate(outputs):
        picture = svg.inline(figures.predictive_band(tree, output), f"{output}: data and predictive bands", f"band{index}")
        blocks.append(Drawing(picture, caption))
    return covered[0] if covered else "The data", blocks


def _learning(tree, study) -> tuple[str, list]:
    picture = svg.inline(figures.densities(tree), "Prior and posterior densities", "densities")
    caption = "Thin grey line: prior. Filled: posterior; the bar below it is its 90 % interval."
    return sentences.learned(tree), [Drawing(picture, caption)]


def _sampling(tree, study) -> tuple[str, list]:
    blocks = [Paragraph(text) for text in sentences.rejected(tree)]
    if flag := sentences.remedy(tree, study):
        blocks.insert(0, Paragraph(flag, "flag"))
    convergence = group(tree, "convergence")
    sizes = tree["posterior"].sizes
    text = f"{sizes['chain']} chains of {sizes['draw']} draws"
    if "limits" in convergence.attrs:
        text += f"; resolved means {sentences.limits(tree)} for every parameter"
    worst = {name: values for name, values in (("R-hat", convergence["rhat"].max()), ("ESS", convergence["ess_bulk"].min()))}
    text += f". Largest R-hat {rounded(float(worst['R-hat']), 0.01)}, smallest bulk ESS {rounded(float(worst['ESS']))}, "
    text += f"smallest tail ESS {rounded(float(convergence['ess_tail'].min()))}."
    stats = group(tree, "sample_stats")
    if stats is not None and "maxdepth_reached" in stats:
        deep = int(stats["maxdepth_reached"].sum())
        text += " No trajectory was cut at the largest depth." if not deep else f" {deep} trajectories were cut at the largest depth."
    return sentences.converged(tree), [*blocks, Paragraph(text)]


def _variance(tree, study) -> tuple[str, list]:
    table, dataset = tables.variance(tree), group(tree, "variance")
    level = percent(float(dataset.attrs.get("confidence", 0.95)))
    names = tables.parts(dataset)
    rows = []
    for quantity, row in table.iterrows():
        unit = unit_text(row.get("unit", ""))
        rows.append([f"{quantity}, in ({unit})²" if unit else str(quantity)])
        rows.append(["total", rounded(row["total"], row["total_standard_error"]), _bounds(row, "total"), "100\N{NO-BREAK SPACE}%", ""])
        for part in names:
            error = row[f"{part}_share_standard_error"]
            share = [percent(row[f"{part}_share{end}"], error) for end in ("", "_lower", "_upper")]
            rows.append([figures.part_label(part, tree), rounded(row[part], row[f"{part}_standard_error"]), _bounds(row, part),
                         share[0], f"{share[1]} to {share[2]}"])
    source = dataset.attrs.get("epistemic_from", "")
    meaning = {"posterior": "what the data have left open (posterior)", "prior": "the prior; no data were used"}.get(source, source)
    picture = svg.inline(figures.variance_stack(tree), sentences.split(tree), "variance")
    blocks: list = [
        Drawing(picture, f"Shares of the variance in a new unit; whiskers are {level} intervals. Not known yet: {meaning}."),
        Table(["quantity", "mean", "standard deviation", "90 % interval"], [
            [Cell(str(quantity), row.get("doc", "")), _with_unit(rounded(row["mean"], row["mean_error"]), row),
             rounded(row["sd"], row["total_standard_error"] / (2 * row["sd"])), interval(row["lower"], row["upper"], 3 * row["mean_error"])]
            for quantity, row in table.iterrows()], ["quantity"]),
        Table(["variance", "estimate", f"{level} interval", "share", f"{level} interval"], rows, ["variance"]),
    ]
    if failed := sentences.failures(dataset):
        blocks.append(Paragraph(failed, "flag"))
    if "variance_over_time" in tree.children:
        for index, output in enumerate(map(str, tree["variance_over_time"]["output"].values)):
            picture = svg.inline(figures.variance_over_time(tree, output), f"Shares of the variance of {output} over time", f"time{index}")
            blocks += [Paragraph(sentences.over_time(tree, output)),
                       Drawing(picture, f"Shares of the variance of one measurement of {output} in a new unit. Thin lines: {level} interval "
                                        "of the part not known yet.")]
    return sentences.split(tree), blocks


def _with_unit(text: str, row: pd.Series) -> str:
    unit = unit_text(row.get("unit", ""))
    return f"{text} {unit}" if unit else text


def _bounds(row: pd.Series, part: str) -> str:
    return interval(row[f"{part}_lower"], row[f"{part}_upper"], row[f"{part}_standard_error"])


def _inputs(tree, study) -> tuple[str, list]:
    dataset = group(tree, "sobol")
    picture = svg.inline(figures.sobol_bars(tree), sentences.inputs(tree), "sobol")
    level = percent(float(dataset.attrs.get("confidence", 0.95)))
    caption = f"Sobol indices with {level} intervals. Inputs: {dataset.attrs.get('inputs', 'the parameters')}."
    blocks: list = [Drawing(picture, caption)]
    if failed := sentences.failures(dataset):
        blocks.append(Paragraph(failed, "flag"))
    return sentences.inputs(tree).removeprefix("What matters most: ").rstrip(".").join(("What matters most: ", "")), blocks


def provenance(tree: xr.DataTree) -> Table:
    """Which verb made each group, with which settings and seed, in how many seconds; groups of one call share a row."""
    calls: dict[tuple, list[str]] = {}
    for name, child in tree.children.items():
        origin = tuple(child.attrs.get(key) for key in ("verb", "settings", "seed", "seconds"))
        calls.setdefault(origin, []).append(f"/{name}")
    rows = [
        [verb or MISSING, ", ".join(sorted(names)), _settings(settings), MISSING if seed is None else str(seed),
         MISSING if seconds is None else rounded(float(seconds))]
        for (verb, settings, seed, seconds), names in calls.items()
    ]
    return Table(["verb", "groups", "settings", "seed", "seconds"], rows, ["verb", "groups", "settings"])


def head(tree: xr.DataTree) -> Iterator[tuple[str, str]]:
    """What identifies these results: model, gradient, digests, versions, date where one is kept."""
    gradients = {
        "exact": "exact, by differentiating the solver",
        "statistical": "statistical, estimated from random runs",
        "surrogate": "of a surrogate, not of the model itself",
        "none": "none, the model is evaluated only",
    }
    attributes = tree.attrs
    if "model" in attributes:
        yield "model", str(attributes["model"])
    if "gradient" in attributes:
        yield "gradients", gradients.get(attributes["gradient"], str(attributes["gradient"]))
    dates = sorted({str(child.attrs["created_at"])[:10] for child in tree.children.values() if "created_at" in child.attrs})
    if dates:
        yield "sampled", dates[-1]
    for key in ("model_digest", "data_digest"):
        if key in attributes:
            yield key.replace("_", " "), str(attributes[key])
    if "versions" in attributes:
        yield "versions", ", ".join(f"{name} {number}" for name, number in json.loads(attributes["versions"]).items())


def _settings(text: str | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in json.loads(text).items()) if text else MISSING
