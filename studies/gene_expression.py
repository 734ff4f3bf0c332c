"""Snapshots of a gene's mRNA under two strengths of osmotic stress: what counts in single cells tell of its promoter.

Simulated (no cell was counted): sixteen times, two salt concentrations, forty cells each, from `truth`, with which the
model follows the published counts of STL1 (Li & Neuert 2019, doi:10.1038/s41597-019-0106-6). `from_counts` makes the
same study of the published table, whose columns are TIMES (s), SALT (M) and STL1 (molecules).

Cells had rested for half an hour before the salt, so that at time 0 there is the basal expression.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from forward_models.stress_response_gene import model
from uqbench import Design, InputError, Quantity, Study

REST = -30.0
truth = {
    "basal": 0.002,
    "k_on": 0.6,
    "k_off": 0.8,
    "leak": 0.06,
    "r": 20.0,
    "d": 0.32,
    "begin": 4.6,
    "end_weak": 14.0,
    "end_strong": 22.5,
    "width": 1.1,
}
experiments = {f"{salt:g} M": Design(inputs={"salt": salt}, start=REST) for salt in (0.2, 0.4)}
ten_minutes = Design([10.0], inputs={"salt": 0.2}, start=REST)
COLUMNS = ("TIMES", "SALT", "STL1")


def expressed(outputs, design):
    return outputs["mRNA"][-1]


def study_of(data: pd.DataFrame | Path, name: str = "gene_expression") -> Study:
    return Study(
        name=name,
        model=model,
        experiments=experiments,
        data=data,
        quantities={"mRNA at 10 min": Quantity(expressed, ten_minutes, "", "mean of all cells, 0.2 M NaCl")},
    )


def from_counts(path: str | Path) -> Study:
    """The study of a table of single cells: a row for each, with its time in seconds, salt in molar, and count.

    Raises:
        InputError: missing columns, salt concentrations of no experiment.
    """
    cells = pd.read_csv(path)
    findings = [f"there is no column {name!r}." for name in COLUMNS if name not in cells]
    if not findings:
        unknown = sorted(set(cells["SALT"]) - {0.2, 0.4})
        findings += [f"SALT has {value:g}, which is none of the experiments (0.2, 0.4)." for value in unknown]
    if findings:
        raise InputError(f"counts in {Path(path).name}", findings)
    table = pd.DataFrame(
        {
            "experiment": np.where(cells["SALT"] < 0.3, "0.2 M", "0.4 M"),
            "output": "mRNA",
            "time": cells["TIMES"] / 60.0,
            "value": cells["STL1"].astype(float),
        }
    )
    return study_of(table, "gene_expression of counted cells")


study = study_of(Path(__file__).with_suffix(".csv"))
