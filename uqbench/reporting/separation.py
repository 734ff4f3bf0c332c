"""The section of the report on time scales: whether the fast states of a reduced model may be left out."""

import numpy as np
import pandas as pd
import xarray as xr

from ..results import attribute, group
from .blocks import Cell, Paragraph, Table
from .sentences import listed, sentence
from .tables import MISSING, percent, rounded


def section(tree: xr.DataTree, study: str) -> tuple[str, list]:
    """The heading that answers, and what it rests on."""
    dataset = group(tree, "separation")
    table = rows_of(dataset)
    rows = [
        [
            Cell(name, "", row["verdict"] != "strong"),
            Cell(row["verdict"], "", row["verdict"] != "strong"),
            row["reason"],
            rounded(row["epsilon"], digits=2),
            error_text(row["error"]),
            error_text(row["output_error"]),
        ]
        for name, row in table.iterrows()
    ]
    warning, meaning = (attribute(tree, "separation", key) for key in ("warning", "meaning"))
    blocks: list = [Paragraph(warning, "flag")] if warning else []
    caption = (
        "Error: largest difference to the full model, relative to the largest value of a slow state; at the medians."
    )
    columns = ["experiment", "separation", "why", "slow over fast rate", "error", "of outputs"]
    blocks += [
        Paragraph(draws(tree)),
        Table(columns, rows, ["experiment", "separation", "why"], caption),
        Paragraph(sentence(meaning), "quiet"),
    ]
    return heading(tree), blocks


def heading(tree: xr.DataTree) -> str:
    """Whether the time scales allow the fast states to be left out."""
    fast, verdict, warning = (attribute(tree, "separation", key) for key in ("fast", "verdict", "warning"))
    fast = listed(fast)
    if verdict == "strong" and warning:
        return f"Leaving out the fast {fast} holds at the medians, but not everywhere"
    if verdict == "strong":
        return f"The time scales are far enough apart to leave out the fast {fast}"
    return f"Not to be relied on: the fast {fast} cannot be left out here ({verdict} separation)"


def error_text(error: float) -> str:
    """An error relative to what it is an error of, in percent with two digits."""
    return MISSING if np.isnan(error) else f"{rounded(100 * error, digits=2)}\N{NO-BREAK SPACE}%"


def draws(tree: xr.DataTree) -> str:
    """For how many draws of the parameters the reduction holds, and what it errs by."""
    dataset = group(tree, "separation")
    error = dataset["error_of_draw"].values
    known = error[np.isfinite(error)]
    largest = f"; the largest error is {error_text(float(known.max()))}" if known.size else ""
    share, source = (attribute(tree, "separation", key) for key in ("share_strong", "drawn_from"))
    return f"Of {dataset.sizes['draw']} draws from the {source}, {percent(share)} have a strong separation{largest}."


def rows_of(dataset: xr.Dataset) -> pd.DataFrame:
    """What /separation says of each experiment; those with the same words once, under the first one's name."""
    rows = dataset[["verdict", "reason", "epsilon", "error", "output_error"]].to_dataframe()
    rows.index = [str(name) for name in rows.index]
    return rows.drop_duplicates(["verdict", "reason"])
