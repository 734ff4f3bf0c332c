"""A population with values below the limit of quantification, left out, halved, or censored."""

from dataclasses import replace

import numpy as np
import pytest

from studies.indomethacin import study
from uqbench.calibration import calibrate

# mg/L; 26 of the 66 concentrations lie below
LIMIT = 0.2
COMPARED = ("C0_median", "k10_median", "k12_median", "k21_median", "sigma")


def quantiles(data):
    tree = calibrate(replace(study, data=data, quantities={}), draws=1000, tune=800, seed=1)
    return {name: np.quantile(tree["posterior"][name], [0.05, 0.5, 0.95]) for name in COMPARED}


@pytest.mark.slow
def test_only_censoring_keeps_what_all_values_tell():
    table = study.table
    below = table["value"] < LIMIT
    whole = quantiles(table)
    found = {
        "left out": quantiles(table[~below]),
        "halved": quantiles(table.assign(value=table["value"].where(~below, LIMIT / 2))),
        "censored": quantiles(table.assign(lower_limit=LIMIT)),
    }
    missed = {
        how: [name for name, (low, _, high) in each.items() if not low <= whole[name][1] <= high]
        for how, each in found.items()
    }
    print(missed)
    assert missed["censored"] == []
    assert len(missed["halved"]) >= 2
    assert missed["left out"]
