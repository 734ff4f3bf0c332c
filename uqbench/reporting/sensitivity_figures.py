"""Figures of sensitivity indices, from a Dataset: what an engine returned is drawn as it is.

The figures of a report (`figures`) read a whole tree. These take what `sobol_indices` and `total_variance`
return, so that someone who brings their own numbers sees them too. The strongest parameter comes first,
and every estimate has its interval: an index whose interval contains 0 looks different from one that is resolved.
"""

from collections.abc import Iterable, Mapping
from os.path import commonprefix

import numpy as np
import xarray as xr
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter

from ..errors import InputError
from . import figures
from .drawing import COLUMNS, PALETTE, WIDTH, hide_spare, styled, with_unit
from .sentences import input_label
from .tables import rounded

LONGEST = 26  # characters of a name beside a panel
PANELS = 12
MOST_NUMBERS = 16  # parameters, up to which a cell of the map has room for its number
INDEX = {"ST": ("muted", "line", "total (ST)"), "S1": ("accent", "middle", "first order (S1)")}
# The least and the most that an index is drawn at: an end of an interval may be infinite.
LEAST, MOST = -0.2, 1.15


@styled
def index_bars(dataset: xr.Dataset) -> Figure:
    """Bars of S1 and ST with their intervals, the strongest parameter first; one panel for each output.

    The bars are those of `figures.sobol_bars`, which draws the tree of a study.

    Args:
        dataset: with `S1`, `ST` and their `_lower` and `_upper`, `(parameter[, output])`, e.g. from `sobol_indices`.

    Returns:
        the figure; an index that rounds to 0 but is not 0 is printed as "<0.01".

    Raises:
        InputError: where variables or dimensions are missing or too many.

    Example:
        >>> index_bars(sobol_indices(plan, y)).savefig("indices.png")  # doctest: +SKIP
    """
    output = _output(_checked(dataset, "index_bars", ("S1", "ST"), ("parameter",), most=1), ("parameter",))
    ranked = _ranked(dataset)
    names = [str(name) for name in ranked[output].values] if output and output in ranked.coords else None
    if output is None:
        ranked, output, names = ranked.expand_dims("quantity"), "quantity", [""]
    elif names is None:
        names = [f"{output} {k}" for k in range(ranked.sizes[output])]
    table = {}
    for name in with_ends(("S1", "ST")):
        values = ranked[name].transpose("parameter", output).values
        table[name] = (("parameter", "quantity"), np.clip(values, LEAST, MOST))
    labels = short_names(input_label(str(name)) for name in ranked["parameter"].values)
    coords = {"parameter": labels, "quantity": short_names(names)}
    figure = figures.sobol_bars(xr.DataTree.from_dict({"sobol": xr.Dataset(table, coords)}))
    for axis, values in zip(figure.axes, ranked["ST"].transpose(output, "parameter").values, strict=False):
        for text, value in zip(axis.texts, values, strict=True):
            if 0 < value < 0.005:
                text.set_text("<0.01")
    count = len(labels)
    figure.axes[0].set_ylim(count - 0.4, -0.6)
    if count > MOST_NUMBERS:
        figure.set_figheight(0.6 + (0.4 + 0.21 * count) * -(-len(names) // 3))
    return figure


@styled
def second_order_map(dataset: xr.Dataset) -> Figure:
    """Heat map of the second-order indices of all pairs; a ring marks a pair whose interval contains 0.

    Args:
        dataset: with `S2`, `S2_lower`, `S2_upper` `(parameter, other_parameter)`; select one output first.

    Returns:
        the lower triangle, parameters ordered by their strongest pair; numbers up to 16 parameters.

    Raises:
        InputError: where variables or dimensions are missing or too many.

    Example:
        >>> second_order_map(sobol_indices(plan, y)).savefig("pairs.png")  # doctest: +SKIP
    """
    _checked(dataset, "second_order_map", ("S2",), ("parameter", "other_parameter"))
    table = [dataset[name].transpose("parameter", "other_parameter").values for name in with_ends(("S2",))]
    order = np.argsort(-np.nan_to_num(np.where(np.eye(len(table[0])), -np.inf, table[0]), nan=-np.inf).max(axis=1))
    value, lower, upper = (each[np.ix_(order, order)] for each in table)
    names = short_names(dataset["parameter"].values[order])
    count = len(names)
    below = np.tri(count, k=-1, dtype=bool)
    shade = np.where(below, np.clip(value, 0, None), np.nan)
    top = max(np.nanmax(shade, initial=0.0), 1e-12)
    side = 1.8 + min(max(0.46 * count, 1.8), 7.0)
    figure = Figure(figsize=(min(side + 1.0, WIDTH), 0.94 * side), layout="constrained")
    axis = figure.subplots()
    colours = LinearSegmentedColormap.from_list("pairs", [PALETTE["paper"], PALETTE["middle"], PALETTE["accent"]])
    picture = axis.imshow(shade, cmap=colours, vmin=0, vmax=top, aspect="equal")
    for i, j in zip(*np.nonzero(below), strict=True):
        if count <= MOST_NUMBERS and np.isfinite(value[i, j]):
            ink = PALETTE["paper"] if value[i, j] > 0.6 * top else PALETTE["ink"]
            axis.text(j, i + 0.12, _two_digits(value[i, j]), ha="center", va="center", fontsize=7, color=ink)
    i, j = np.nonzero(below & (lower <= 0) & (upper >= 0))
    lift = 0.28 if count <= MOST_NUMBERS else 0.0
    size = float(np.clip(90 / count, 2.0, 5.0))
    axis.plot(j, i - lift, "o", markersize=size, markerfacecolor="none", markeredgecolor=PALETTE["grey"], mew=0.7)
    axis.set(xticks=range(count - 1), yticks=range(1, count), xlim=(-0.5, count - 1.5), ylim=(count - 0.5, 0.5))
    size = 8 if count <= MOST_NUMBERS else max(5.5, 8 - 0.05 * count)
    axis.set_xticklabels(names[:-1], rotation=90, fontsize=size, parse_math=False)
    axis.set_yticklabels(names[1:], fontsize=size, parse_math=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_anchor("NW")
    bar = figure.colorbar(picture, ax=axis, shrink=0.6, aspect=18, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label("second-order index S2")
    ring = Line2D([], [], marker="o", linestyle="", markerfacecolor="none", markeredgecolor=PALETTE["grey"])
    figure.legend([ring], ["the interval contains 0"], loc="outside upper left", handlelength=1.0)
    return figure


@styled
def indices_over_time(dataset: xr.Dataset, *, unit: str = "", most: int = PANELS) -> Figure:
    """S1 and ST of each parameter over time with their intervals as bands, the strongest parameter first.

    Args:
        dataset: with `S1`, `ST` and their intervals `(parameter, time)`; select one output first.
        unit: of time.
        most: panels that are drawn.

    Returns:
        one panel for each parameter, with shared axes; how strong those left out are at most stands below.

    Raises:
        InputError: where variables or dimensions are missing or too many.

    Example:
        >>> indices_over_time(sobol_indices(plan, y), unit="h").savefig("over_time.png")  # doctest: +SKIP
    """
    _checked(dataset, "indices_over_time", ("S1", "ST"), ("parameter", "time"))
    ranked = _ranked(dataset)
    time = ranked["time"].values
    figure, panels = _panels(ranked, most, with_unit("time", unit))
    for k, axis in enumerate(panels):
        for index, (line, band, _) in INDEX.items():
            estimate, low, high = (
                ranked[name].transpose("parameter", "time").values[k] for name in with_ends((index,))
            )
            low, high = np.clip(low, LEAST, MOST), np.clip(high, LEAST, MOST)
            axis.fill_between(time, low, high, color=PALETTE[band], alpha=0.55, linewidth=0)
            axis.plot(time, estimate, color=PALETTE[line], linewidth=1.4, label=index)
        axis.set_xlim(time.min(), time.max())
    return figure


@styled
def index_convergence(datasets_by_n: Mapping[int, xr.Dataset], *, most: int = PANELS) -> Figure:
    """S1 and ST of each parameter with their intervals against the number of base samples, to see whether they settle.

    Args:
        datasets_by_n: from n to what `sobol_indices` made of it, each `(parameter)` with the same parameters.
        most: panels that are drawn.

    Returns:
        one panel for each parameter, the strongest at the largest n first; n on a logarithmic axis. How strong those
        left out are at most stands below.

    Raises:
        InputError: fewer than two sizes, other parameters, missing or too many dimensions.

    Example:
        >>> index_convergence({256: small, 1024: large}).savefig("convergence.png")  # doctest: +SKIP
    """
    sizes = sorted(datasets_by_n)
    findings = []
    if len(sizes) < 2:
        findings.append(f"there are {len(sizes)} sizes; give at least two, {{n: dataset}}.")
    for n in sizes:
        findings += [f"n = {n}: {each}" for each in _findings(datasets_by_n[n], ("S1", "ST"), ("parameter",))]
    if not findings:
        first = set(datasets_by_n[sizes[0]]["parameter"].values.tolist())
        other = [n for n in sizes if set(datasets_by_n[n]["parameter"].values.tolist()) != first]
        findings += [f"n = {n} has other parameters than n = {sizes[0]}; compare the same." for n in other]
    if findings:
        raise InputError("index_convergence", findings)
    ranked = _ranked(datasets_by_n[sizes[-1]])
    names = ranked["parameter"].values
    figure, panels = _panels(ranked, most, "base samples n")
    aside = (sizes[-1] / sizes[0]) ** 0.012
    for name, axis in zip(names, panels, strict=False):
        for shift, (index, (line, _, _)) in zip((aside, 1 / aside), INDEX.items(), strict=True):
            rows = [[float(datasets_by_n[n][c].sel(parameter=name)) for n in sizes] for c in with_ends((index,))]
            estimate, low, high = np.clip(np.array(rows), LEAST, MOST)
            place = np.array(sizes) * shift
            axis.vlines(place, low, high, color=PALETTE[line], linewidth=1.1)
            axis.plot(place, estimate, "o-", color=PALETTE[line], markersize=3, linewidth=0.7, label=index)
        axis.set_xscale("log")
        axis.set_xticks(_apart(sizes))
        axis.set_xticklabels([str(n) for n in _apart(sizes)])
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.tick_params(axis="x", which="minor", length=0)
    return figure


@styled
def variance_stack_over_time(dataset: xr.Dataset, *, output: str = "output") -> Figure:
    """How the parts of the variance change over time, as shares stacked to one.

    The picture is that of `figures.variance_over_time`, which draws the tree of a study.

    Args:
        dataset: with `epistemic`, `aleatory`[, `measurement`], their shares (`epistemic_share`, ...) and the intervals
            of all, `(time)`, as from `total_variance`; select one output first.
        output: what the output is called.

    Returns:
        one panel; thin lines are the interval of the epistemic share.

    Raises:
        InputError: where variables or dimensions are missing or too many.

    Example:
        >>> variance_stack_over_time(total_variance(y)).savefig("parts.png")  # doctest: +SKIP
    """
    needed = ("epistemic_share", "aleatory_share", "epistemic", "aleatory")
    _checked(dataset, "variance_stack_over_time", needed, ("time",))
    timed = dataset[[name for name, column in dataset.data_vars.items() if column.dims == ("time",)]]
    group = timed.reset_coords(drop=True).expand_dims(output=[output])
    return figures.variance_over_time(xr.DataTree.from_dict({"variance_over_time": group}), output)


def _panels(ranked: xr.Dataset, most: int, below: str):
    """A figure with one panel of indices for each of the first `most` parameters, and its axes."""
    names = short_names(ranked["parameter"].values)[:most]
    columns = min(len(names), COLUMNS)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(WIDTH, 0.8 + (1.35 if rows > 1 else 2.2) * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for name, axis in zip(names, axes.ravel(), strict=False):
        axis.axhline(0.0, color=PALETTE["line"], linewidth=0.7)
        axis.set_title(name, pad=3, parse_math=False)
        axis.set(ylim=(-0.08, 1.08), yticks=[0, 0.5, 1])
    hide_spare(axes, len(names))
    handles = [Patch(color=PALETTE[line], label=label) for line, _, label in reversed(INDEX.values())]
    figure.legend(handles=handles, loc="outside upper left", ncols=2, handlelength=1.0, borderaxespad=0.2)
    left_out = ranked["ST"].isel(parameter=slice(most, None))
    if left_out.sizes["parameter"]:
        largest = rounded(float(left_out.max()), digits=1)
        below += f"\n{left_out.sizes['parameter']} more parameters are not drawn, their total indices at most {largest}"
    figure.supxlabel(below, fontsize=8.5, parse_math=False)
    figure.supylabel("share of the variance", fontsize=8.5)
    return figure, axes.ravel()[: len(names)]


def with_ends(names: tuple[str, ...]) -> list[str]:
    return [f"{name}{end}" for name in names for end in ("", "_lower", "_upper")]


def _ranked(dataset: xr.Dataset) -> xr.Dataset:
    """Parameters by their largest total index, so that the few that matter are seen first."""
    total = dataset["ST"]
    largest = total.max([dim for dim in total.dims if dim != "parameter"])
    return dataset.isel(parameter=np.argsort(-largest.fillna(-np.inf).values, kind="stable"))


def _checked(dataset: xr.Dataset, subject: str, names, dims, *, most: int = 0) -> xr.DataArray:
    """The first variable, once all of them are there with the dimensions that a figure can draw."""
    if findings := _findings(dataset, names, dims, most=most):
        raise InputError(subject, findings)
    return dataset[names[0]]


def _findings(dataset: xr.Dataset, names, dims, *, most: int = 0) -> list[str]:
    missing = [name for name in with_ends(names) if name not in dataset]
    findings = [f"variable {name!r} is missing; an estimate is drawn with its interval." for name in missing]
    return findings + dimension_findings(dataset, tuple(name for name in names if name in dataset), dims, most=most)


def dimension_findings(dataset: xr.Dataset, names, dims, *, most: int = 0) -> list[str]:
    findings = []
    for name in names:
        have = [str(dim) for dim in dataset[name].dims]
        lacking, more = [dim for dim in dims if dim not in have], [dim for dim in have if dim not in dims]
        if lacking:
            findings.append(f"{name!r} has dimensions {have}; it needs {', '.join(map(repr, lacking))}.")
        if len(more) > most:
            findings.append(
                f"{name!r} has the dimensions {', '.join(map(repr, more))} besides, and one figure draws {most} of "
                f"them; select one, e.g. dataset.isel({more[0]}=0)."
            )
    return findings


def _output(column: xr.DataArray, dims) -> str | None:
    return next((str(dim) for dim in column.dims if dim not in dims), None)


def short_names(names: Iterable, longest: int = LONGEST) -> list[str]:
    """Long names without their middle; where that makes two the same, without what all begin with, then numbered."""
    names = [str(name) for name in names]
    kept = longest - 1
    shown = [
        name if len(name) <= longest else f"{name[: (kept + 1) // 2]}…{name[len(name) - kept // 2 :]}" for name in names
    ]
    if len(set(shown)) < len(names):
        rest = [f"…{name[len(commonprefix(names)) :]}" for name in names]
        shown = [name if len(name) <= longest else f"{name[:kept]}…" for name in rest]
    return [f"{name} ({k + 1})" if shown.count(name) > 1 else name for k, name in enumerate(shown)]


def _two_digits(value: float) -> str:
    small = 0 < abs(value) < 0.005
    return ("<" if small else "") + f"{0.01 if small else value:.2f}".replace("-", "−").replace("0.", ".", 1)


def _apart(sizes: list[int]) -> list[int]:
    """Those of the sizes whose labels do not meet on a logarithmic axis, the last among them."""
    kept = sizes[-1:]
    room = (sizes[-1] / sizes[0]) ** 0.2
    for n in reversed(sizes[:-1]):
        if kept[0] / n >= room:
            kept.insert(0, n)
    return kept
