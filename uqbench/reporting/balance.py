"""The section of the report on the balance of a coupled model: what is where, what crossed, and whether it closes."""

from functools import partial

import numpy as np
import xarray as xr

from ..results import attribute
from .balance_figures import balance_over_time
from .blocks import Cell, Paragraph, Table
from .pictures import drawn
from .sentences import counted, listed, sentence
from .tables import MISSING, rounded, unit_text


def section(tree: xr.DataTree, study: str) -> tuple[str, list]:
    """The heading that answers, and what it rests on."""
    dataset = tree["balance"].to_dataset()
    warning, at, meaning = (attribute(tree, "balance", key) for key in ("warning", "at", "meaning"))
    blocks: list = [Paragraph(sentence(warning), "flag")] if warning else []
    blocks += [Paragraph(f"Experiment {name}: the run failed: {reason}", "flag") for name, reason in failures(dataset)]
    blocks += [
        _schedule(tree, dataset),
        _accounts(
            dataset,
            float(attribute(tree, "balance", "rounding")),
            f"At the {at}. Residual, at the end: change less what came through exchanges and from sources. Relative: "
            "the largest residual at any time, by the largest amount in the account.",
        ),
    ]
    if dataset.sizes["exchange"]:
        blocks.append(_exchanges(dataset))
    for index, quantity in enumerate(dict.fromkeys(map(str, dataset["quantity"].values))):
        shown = f"What there is of {quantity}, and what is missing of it."
        caption = (
            f"Above: content of {quantity} by part, one on another. Below: residual of the balance of all parts and of "
            "the worst part, relative to the largest amount; the dotted line is the most that rounding leaves."
        )
        blocks.append(drawn(partial(balance_over_time, tree, quantity), shown, f"balance{index}", caption))
    return heading(dataset), [*blocks, Paragraph(meaning, "quiet")]


def heading(dataset: xr.Dataset) -> str:
    """Whether everything that is conserved is."""
    leaking = dataset["leak"].any("experiment").values
    if leaking.any():
        names = dict.fromkeys(map(str, dataset["quantity"].values[leaking]))
        return f"A leak: {listed([*names])} {'is' if len(names) == 1 else 'are'} not conserved"
    failed = failures(dataset)
    if failed:
        return f"The balance is not known: {counted(len(failed), 'run')} failed"
    worst = float(dataset["imbalance"].max())
    return f"Nothing leaks: balances close to {rounded(worst, digits=1)} of the largest amount, which is rounding"


def failures(dataset: xr.Dataset) -> list[tuple[str, str]]:
    """Experiments whose run failed, and why."""
    return [
        (str(name), str(reason))
        for name, reason in zip(dataset["experiment"].values, dataset["reason"].values, strict=True)
        if reason
    ]


def _schedule(tree: xr.DataTree, dataset: xr.Dataset) -> Paragraph:
    """The schedule, and what is predicted of it; experiments of the same words are named together."""
    said: dict[str, list[str]] = {}
    for name, advice in zip(dataset["experiment"].values, dataset["advice"].values, strict=True):
        said.setdefault(str(advice), []).append(str(name))
    under = "; ".join(f"in {listed(names)} {advice}" if len(said) > 1 else advice for advice, names in said.items())
    tone = "text" if bool(dataset["stable"].all()) else "flag"
    return Paragraph(f"Schedule: {attribute(tree, 'balance', 'schedule')}. {sentence(under)}.", tone)


def _accounts(dataset: xr.Dataset, rounding: float, caption: str) -> Table:
    columns = ["account", "at the start", "at the end", "through exchanges", "from sources", "residual", "relative"]
    rows: list = []
    for name in dataset["experiment"].values:
        one = dataset.sel(experiment=name)
        rows.append([str(name)])
        for index, account in enumerate(dataset["account"].values):
            here = one.isel(account=index)
            last = int(np.isfinite(one["time"].values).sum()) - 1
            leak, nothing = bool(here["leak"]), rounding * float(here["size"])
            relative = float(here["imbalance"])
            verdict = "leak" if leak else "rounding" if np.isfinite(relative) else ""
            rows.append(
                [
                    Cell(str(account), unit_text(str(here["unit"].values)), leak),
                    *(_amount(float(here["content"][point]), nothing) for point in (0, last)),
                    MISSING if str(here["part"].values) == "all" else _amount(float(here["received"]), nothing),
                    _amount(float(here["supplied"]), nothing),
                    rounded(float(here["residual"][last]), digits=2),
                    Cell(rounded(relative, digits=2), verdict, leak),
                ]
            )
    return Table(columns, rows, ["account"], caption)


def _amount(value: float, nothing: float) -> str:
    """What is rounding beside the largest amount is nothing."""
    return "0" if abs(value) <= nothing else rounded(value, digits=4)


def _exchanges(dataset: xr.Dataset) -> Table:
    rows: list = [
        [
            Cell(str(name), f"{each['moves'].item()}: {each['source'].item()} to {each['target'].item()}"),
            *(rounded(float(value), digits=4) for value in each["crossed"].values),
        ]
        for name in dataset["exchange"].values
        for each in [dataset.sel(exchange=name)]
    ]
    columns = ["exchange", *map(str, dataset["experiment"].values)]
    return Table(columns, rows, ["exchange"], "Amount that has crossed by the end of each experiment.")
