"""The measured table of Boehm et al. 2014, where a checkout stands beside it; the project does not carry it."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import uqbench as uq
from studies.boehm import study

NAME = "Boehm_JProteomeRes2014"
TABLE = Path(__file__).parents[3] / "shared/data/petab" / NAME / f"measurementData_{NAME}.tsv"
# Of the published best fit (doi:10.1093/bioinformatics/btz020), and of the better one with k_imp_homo at its bound.
LOG_LIKELIHOOD = -138.222


def measured_study() -> uq.Study:
    """`studies.boehm` with what was measured; skips the test that asks where there is no such table."""
    if not TABLE.is_file():
        pytest.skip(f"the table {TABLE.name} is not beside this checkout")
    table = pd.read_csv(TABLE, sep="\t").rename(columns={"observableId": "output", "measurement": "value"})
    return replace(study, data=table[["output", "time", "value"]].assign(experiment="Epo"))
