"""The sections of the report: each a heading that answers, and below it what the answer rests on.

Where the group that a section needs is missing from the tree, it becomes one line that says which verb makes it.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
import xarray as xr

from ..results import attribute, group, verb_of
from . import balance, checks, figures, practical, sensitivity_figures, sentences, separation, svg, tables
from .blocks import Cell, Drawing, Equations, Paragraph, Section, Table
from .pictures import drawn
from .sentences import ess_text
from .tables import MISSING, interval, percent, rounded, sides_of, unit_text


def sections(tree: xr.DataTree, study: str) -> list[Section]:
    """All sections in the order of reading."""
    described = "structure" if "structure" in tree.children else "posterior"
    ranked = "simulation_based_calibration"
    observed = ("posterior_band", "posterior_predictive", "observed_data")
    # where nothing varies between units the posterior is the only input, and is shared out between its parameters
    inputs = {"sobol": _inputs, "shapley": _shares, "variance": _only_uncertain}
    found = next((name for name in inputs if group(tree, name) is not None), "sobol")
    plan: list[tuple[str, str, Sequence[str], Callable]] = [
        ("model", "Model", ("structure",), _model),
        *[("scales", "Time scales", ("separation",), separation.section)] * ("separation" in tree.children),
        *[("balance", "Balance", ("balance",), balance.section)] * ("balance" in tree.children),
        ("parameters", "Parameters", (described,), _parameters),
        ("identifiability", "Identifiability", ("structure",), _identifiability),
        *[("practical", "What the data tell", ("practical",), practical.section)] * ("practical" in tree.children),
        *[("checks", "Does it fit?", ("checks",), checks.section)] * ("checks" in tree.children),
        ("data", "Data and predictions", observed, _data),
        *[("predicted", "Predictions", ("predicted",), checks.predictions)] * ("predicted" in tree.children),
        ("learning", "From prior to posterior", ("prior", "posterior"), _learning),
        ("sampling", "Sampling", ("convergence", "posterior"), _sampling),
        *[("ranks", "Simulation-based calibration", (ranked,), checks.calibration)] * (ranked in tree.children),
        ("variance", "Spread of predictions", ("variance",), _variance),
        ("inputs", "Inputs that matter", (found,), inputs[found]),
    ]

    def section(name: str, title: str, needed: Sequence[str], make: Callable) -> Section:
        missing = next((each for each in needed if group(tree, each) is None), None)
        if missing is not None:
            return Section(name, title, missing=verb_of(missing))
        heading, blocks = make(tree, study)
        flags = [Paragraph(text, "flag") for text in [sentences.partial(tree, needed, study)] if text]
        return Section(name, title, heading, [*flags, *blocks])

    return [section(*each) for each in plan]


def _model(tree, study) -> tuple[str, list]:
    equations, outputs = (attribute(tree, "structure", name) or [] for name in ("equations", "outputs"))
    # `equations` may have the outputs already; the later entry, with their names spelt out, is kept
    distinct = {re.sub(r"\\mathrm|[{}\s_]", "", latex): latex for latex in [*equations, *outputs]}
    # an output that is a state of the same name needs no line
    kept = [latex for plain, latex in distinct.items() if len(set(plain.split("="))) > 1]
    lines = [svg.equation(latex, f"equation{index}") for index, latex in enumerate(kept)]
    read = "Read from the code that is solved, not written a second time."
    if not lines:
        read = "A simulator, or a model closed by a finer scale, with no equations to read."
    blocks: list = [Equations(lines)] * bool(lines) + [Paragraph(read, "quiet")]
    table = tables.parameters(tree)
    rows = [
        [Cell(name, row.meaning), unit_text(row.unit) or MISSING, row.prior]
        for name, row in table.iterrows()
        if row.role == "fixed"
    ]
    if rows:
        blocks.append(Table(["fixed parameter", "unit", "value"], rows, ["fixed parameter", "unit"]))
    return sentences.model(tree), blocks


def _parameters(tree, study) -> tuple[str, list]:
    table = tables.parameters(tree)
    unit = tables.unit_name(tree)
    # what one looks for comes first: on a phone the other columns are reached by scrolling
    columns = ["parameter"] + ["median", "90 % interval"] * ("median" in table) + ["unit"] * ("unit" in table)
    columns += ["prior"] + ["R-hat", "ESS bulk, tail"] * ("rhat" in table)
    columns += ["Fisher s.e."] * ("standard_error" in table)
    rows: list = []
    for role, title in (
        ("epistemic", "not known: one true value"),
        ("aleatory", f"differs between {unit}s" + f": posterior of the {unit}s seen" * ("median" in table)),
    ):
        members = table[table["role"] == role]
        rows += [[title]] if len(members) else []
        rows += [_parameter_row(name, row, columns) for name, row in members.iterrows()]
    blocks: list = (
        [
            Paragraph(text, "flag")
            for text in (sentences.partial(tree, ("convergence",), study), sentences.remedy(tree, study))
            if text
        ]
        if "convergence" in tree.children
        else []
    )
    if "unit" not in table:
        blocks.append(Paragraph(f"Units, priors and meanings come with `uqbench identify {study}`.", "quiet"))
    caption = "Posterior medians, rounded to the second digit of the posterior standard deviation. " * (
        "median" in table
    )
    caption += "Fisher s.e.: the standard error that such data promise to first order." * ("standard_error" in table)
    return sentences.known(tree), [*blocks, Table(columns, rows, ["parameter", "unit", "prior"], caption)]


def _parameter_row(name: str, row: pd.Series, columns: Sequence[str]) -> list:
    lost = row.get("resolved") is not None and not pd.isna(row.get("resolved")) and not bool(row["resolved"])
    note, sampled = row.get("meaning", ""), not pd.isna(row.get("ess_bulk", np.nan))
    error = row.get("standard_error", np.nan)
    cells = {
        "parameter": Cell(name, f"{note}{'; ' * bool(note)}{sentences.NOT_RESOLVED}" if lost else note, lost),
        "unit": unit_text(row.get("unit", "")) or MISSING,
        "prior": row.get("prior", MISSING).replace("'", ""),
        "median": rounded(row.get("median", np.nan), row.get("sd")),
        "90 % interval": interval(row.get("lower", np.nan), row.get("upper", np.nan), row.get("sd")),
        "R-hat": rounded(row.get("rhat", np.nan), 0.01),
        "ESS bulk, tail": f"{ess_text(row['ess_bulk'])}, {ess_text(row['ess_tail'])}" if sampled else MISSING,
        "Fisher s.e.": "not determined" if np.isinf(error) else rounded(error, digits=2),
    }
    return [cells[column] for column in columns]


def _identifiability(tree, study) -> tuple[str, list]:
    table = tables.identifiability(tree)
    columns = [
        "parameter",
        "verdict",
        "why",
        *["Fisher s.e., relative"] * ("relative_error" in table),
        *["posterior sd, relative"] * ("posterior_sd" in table),
        *["least known direction"] * ("weakest" in table),
    ]
    rows = []
    for name, row in table.iterrows():
        found = row.get("combination", "")
        why = Cell(row["reason"], f"identifiable: {unit_text(found)}" if found and found not in row["reason"] else "")
        relative, now = row.get("relative_error", np.nan), row.get("posterior_relative", np.nan)
        cells = {
            "parameter": name,
            "verdict": Cell(row["verdict"], _by(row.get("method", "")), row["verdict"] in ("none", "undecided")),
            "why": why,
            "Fisher s.e., relative": "not determined" if np.isinf(relative) else _plus_minus(relative),
            "posterior sd, relative": Cell(
                _plus_minus(now), "" if np.isnan(now) else rounded(row["posterior_sd"], digits=2)
            ),
            "least known direction": rounded(row.get("weakest", np.nan), 0.1),
        }
        rows.append([cells[column] for column in columns])
    information = [Paragraph(sentences.information(tree))] if group(tree, "fisher") is not None else []
    if why := attribute(tree, "structure", "no_information"):
        information = [Paragraph(f"No Fisher information {why}")]
    together = [Paragraph(text) for text in _beside_verdicts(tree) if text]
    blocks = [
        *information,
        *together,
        *_transfer(tree),
        Table(
            columns,
            rows,
            ["parameter", "verdict", "why"],
            "Verdict: from noise-free outputs, whatever the data. "
            + "Fisher s.e.: with the measurements of this study; the direction is the one they say least about."
            * ("weakest" in table),
        ),
    ]
    return sentences.structural(tree), [*blocks, Paragraph(sentences.structural_method(tree), "quiet")]


def _beside_verdicts(tree) -> tuple[str, ...]:
    return sentences.combinations(tree), sentences.other_inputs(tree), sentences.suggestion(tree)


def _transfer(tree) -> list:
    """Transfer functions and poles, where the model is linear."""
    found = attribute(tree, "structure", "transfer") or {}
    if not found.get("functions"):
        return []
    lines = [*found["functions"]]
    if found["poles"]:
        lines.append("\\mathrm{poles:}\\ " + ",\\quad ".join(found["poles"]))
    drawn = [svg.equation(latex, f"transfer{index}") for index, latex in enumerate(lines)]
    return [Paragraph(sentences.transfer(tree)), Equations(drawn)]


def _by(method) -> str:
    return f"by {method}" if isinstance(method, str) and method else ""


def _plus_minus(share: float) -> str:
    return MISSING if np.isnan(share) else f"±{percent(share)}"


def _data(tree, study) -> tuple[str, list]:
    outputs = [str(name) for name in tree["posterior_band"].data_vars if name in tree["observed_data"].data_vars]
    covered = [sentences.covered(tree, output) for output in outputs]
    censored = any(np.any(sides_of(tree["observed_data"], output) != "") for output in outputs)
    limits = "; triangles: limits below or above which they lie" if censored else ""
    caption = (
        f"Dots: observations{limits}. Line: median of a new measurement in the same unit. Narrow and wide band: "
        f"{percent(0.5)} and {percent(0.9)} of such measurements, parameter uncertainty and measurement error included."
    )
    blocks: list = [Paragraph(f"{text}.") for text in covered[1:]]
    for index, output in enumerate(outputs):
        draw = partial(figures.predictive_band, tree, output)
        blocks.append(drawn(draw, f"{output}: data and predictive bands", f"band{index}", caption))
    return covered[0] if covered else "The data", blocks


def _learning(tree, study) -> tuple[str, list]:
    caption = "Thin grey line: prior. Filled: posterior; the bar below it is its 90\N{NO-BREAK SPACE}% interval."
    drawing = drawn(partial(figures.densities, tree), "Prior and posterior densities", "densities", caption)
    return sentences.learned(tree), [drawing]


def _sampling(tree, study) -> tuple[str, list]:
    blocks = [Paragraph(text) for text in sentences.rejected(tree)]
    flags = [sentences.modes(tree), sentences.remedy(tree, study)]
    blocks = [Paragraph(flag, "flag") for flag in flags if flag] + blocks
    if how := sentences.sampled(tree):
        blocks.append(Paragraph(how))
    convergence = group(tree, "convergence")
    sizes = tree["posterior"].sizes
    text = f"{sizes['chain']} chains of {sizes['draw']} draws"
    text += f"; resolved means {sentences.limits(tree)} for every parameter"
    rhat = rounded(float(convergence["rhat"].max()), 0.01)
    bulk, tail = (ess_text(float(convergence[name].min())) for name in ("ess_bulk", "ess_tail"))
    text += f". Largest R-hat {rhat}, smallest bulk ESS {bulk}, smallest tail ESS {tail}."
    stats = group(tree, "sample_stats")
    if stats is not None and "maxdepth_reached" in stats:
        deep = int(stats["maxdepth_reached"].sum())
        trajectories = sentences.counted(deep, "trajectory was", "trajectories were")
        text += f" {sentences.sentence(trajectories)} cut at the depth limit."
    return sentences.converged(tree), [*blocks, Paragraph(text)]


def _variance(tree, study) -> tuple[str, list]:
    level = percent(attribute(tree, "variance", "confidence"))
    known = {"posterior": "what the data have left open (posterior)", "prior": "the prior; no data were used"}
    source = known[attribute(tree, "variance", "epistemic_from")]
    caption = f"Shares of the variance in a new unit; whiskers are {level} intervals. Parameter uncertainty: {source}."
    blocks: list = [
        drawn(partial(figures.variance_stack, tree), sentences.split(tree), "variance", caption),
        _quantities(tree),
        _parts(tree, level),
    ]
    how = [
        f"{title}: {said}."
        for name, title in (("estimator", "Estimator"), ("interval", "Intervals"), ("coverage", "Measured coverage"))
        if (said := attribute(tree, "variance", name))
    ]
    if how:
        blocks.append(Paragraph(" ".join(how), "quiet"))
    for said in (sentences.failures(tree, "variance"), sentences.left_out(tree, "variance")):
        blocks += [Paragraph(said, "flag")] if said else []
    if (over_time := group(tree, "variance_over_time")) is not None:
        for index, output in enumerate(map(str, over_time["output"].values)):
            shown = f"Shares of the variance of one measurement of {output} in a new unit."
            draw = partial(figures.variance_over_time, tree, output)
            caption = f"{shown} Thin lines: {level} interval of the part that is parameter uncertainty."
            blocks += [Paragraph(sentences.over_time(tree, output)), drawn(draw, shown, f"time{index}", caption)]
    return sentences.split(tree), blocks


def _quantities(tree: xr.DataTree) -> Table:
    rows: list = []
    for quantity, row in tables.variance(tree).iterrows():
        name, event = Cell(str(quantity), row.get("doc", "")), bool(row.get("event", False))
        if row.get("reason"):
            # constant, where it has a mean at all
            mean = f"{row['mean']:.4g}" if np.isfinite(row["mean"]) else "not known"
            rows.append([name, f"{'probability ' * event}{_with_unit(mean, row)}", "", ""])
            continue
        mean = rounded(row["mean"], row["mean_error"])
        if event:
            rows.append([name, f"probability {mean}", "", ""])
            continue
        rows.append(
            [
                name,
                _with_unit(mean, row),
                rounded(row["sd"], row["total_standard_error"] / (2 * row["sd"])),
                # the error of a 5 % quantile is two to three times that of the mean
                interval(row["lower"], row["upper"], 3 * row["mean_error"]),
            ]
        )
    return Table(["quantity", "mean", "standard deviation", "90 % interval"], rows, ["quantity"])


def _parts(tree: xr.DataTree, level: str) -> Table:
    rows: list = []
    for quantity, row in tables.variance(tree).iterrows():
        if row.get("reason"):
            continue
        unit = unit_text(row.get("unit", ""))
        rows.append([f"{quantity}, in ({unit})²" if unit else str(quantity)])
        total = rounded(row["total"], row["total_standard_error"])
        rows.append(["total", total, _bounds(row, "total"), percent(1.0), ""])
        for part in tables.parts(row):
            open_ = row[f"{part}_lower"] <= 0 < row[f"{part}_upper"]
            error = row[f"{part}_share_standard_error"]
            share, low, high = (percent(row[f"{part}_share{end}"], error) for end in ("", "_lower", "_upper"))
            rows.append(
                [
                    Cell(sentences.part_label(part, tree), f"{sentences.NOT_RESOLVED} from zero" if open_ else ""),
                    rounded(row[part], row[f"{part}_standard_error"]),
                    _bounds(row, part),
                    share,
                    f"{low} to {high}",
                ]
            )
    return Table(["variance", "estimate", f"{level} interval", "share", f"{level} interval"], rows, ["variance"])


def _with_unit(text: str, row: pd.Series) -> str:
    unit = unit_text(row.get("unit", ""))
    return f"{text} {unit}" if unit else text


def _bounds(row: pd.Series, part: str) -> str:
    return interval(row[f"{part}_lower"], row[f"{part}_upper"], row[f"{part}_standard_error"])


def _inputs(tree, study) -> tuple[str, list]:
    dataset = group(tree, "sobol")
    level = percent(attribute(tree, "sobol", "confidence"))
    caption = f"Sobol indices with {level} intervals. Inputs: {attribute(tree, 'sobol', 'inputs')}."
    blocks: list = [drawn(partial(figures.sobol_bars, tree), sentences.inputs(tree), "sobol", caption)]
    for said in (sentences.failures(tree, "sobol"), sentences.left_out(tree, "sobol")):
        blocks += [Paragraph(said, "flag")] if said else []
    if text := sentences.open_indices(tree):
        blocks.append(Paragraph(text, "quiet"))
    if "S2" in dataset:
        for quantity in tables.with_variance(dataset)["quantity"].values:
            heat = sensitivity_figures.second_order_map(dataset.sel(quantity=quantity))
            title = f"Second-order indices for {quantity}."
            blocks.append(Drawing(svg.inline(heat, title, f"pairs{len(blocks)}"), title))
    return sentences.inputs(tree), [*blocks, *_shapley(tree), *_sources(tree)]


def _shares(tree, study) -> tuple[str, list]:
    return sentences.shares(tree), [*_shapley(tree), *_sources(tree)]


def _only_uncertain(tree, study) -> tuple[str, list]:
    """Where a decomposition has made neither Sobol indices nor Shapley effects."""
    reason = attribute(tree, "variance", "shapley")
    blocks = (
        [Paragraph(f"Shapley effects, which share it out between the parameters, were {reason}.")] if reason else []
    )
    return sentences.only_uncertain(tree), [*blocks, *_sources(tree)]


def _shapley(tree) -> list:
    """Shapley effects of what calibration has left unknown."""
    dataset = group(tree, "shapley")
    if dataset is None:
        return []
    quantities = [str(name) for name in dataset["quantity"].values]
    rows = []
    for name in dataset["parameter"].values:
        cells = []
        for quantity in quantities:
            one = dataset.sel(parameter=name, quantity=quantity)
            low, high = (percent(float(one[f"shapley{end}"])) for end in ("_lower", "_upper"))
            share = percent(float(one["shapley"]))
            lost = not bool(one["resolved"])
            cells.append(Cell(share, f"{low} to {high}{'; ' + sentences.NOT_RESOLVED if lost else ''}", lost))
        rows.append([str(name), *cells])
    text = (
        "The variance from parameter uncertainty, shared out between the parameters (Shapley effects, which allow for "
    )
    text += "the dependence of posterior draws)."
    return [Paragraph(text), Table(["parameter", *quantities], rows, ["parameter"])]


def _sources(tree) -> list:
    """The variance of a single run by parameters, new unit, and the noise of each reaction."""
    dataset = group(tree, "sources")
    if dataset is None:
        return []
    dataset = tables.with_variance(dataset)
    quantities = [str(name) for name in dataset["quantity"].values]
    rows: list = []
    for kind, title in sentences.KINDS_OF_SOURCES.items():
        members = dataset.isel(source=np.flatnonzero(dataset["kind"].values == kind))
        rows += [[title]] if members.sizes["source"] else []
        for name in members["source"].values:
            cells = []
            for quantity in quantities:
                one = members.sel(source=name, quantity=quantity)
                low, high = (percent(float(np.clip(one[f"ST{end}"], 0.0, 1.0))) for end in ("_lower", "_upper"))
                cells.append(Cell(percent(max(float(one["ST"]), 0.0)), f"{low} to {high}"))
            rows.append([sentences.input_label(str(name)), *cells])
    level = percent(attribute(tree, "sources", "confidence"))
    text = (
        "The variance of a single run in a new unit, with its noise: total Sobol indices of parameters and of "
        f"the noise, by reaction where it is split, with {level} intervals; interactions count in all their sources."
    )
    return [Paragraph(text), Table(["source", *quantities], rows, ["source"])]
