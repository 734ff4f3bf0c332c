"""Simulation-based calibration of the likelihoods of stochastic chemistry, with data from single cells."""

import numpy as np
import pandas as pd
import pytest

import uqbench as uq
from forward_models import telegraph_gene
from uqbench.calibration import simulation_based_calibration
from uqbench.calibration.simulation_based import LIKELIHOOD

# narrower than those of the model, so that a box of counts holds what is drawn
SPACE = uq.Space(
    {
        name: uq.epistemic(uq.LogNormal(median=float(value), sigma=0.3), "1/h")
        for name, value in telegraph_gene.space.nominal().items()
    }
)


def snapshots():
    """Sixty cells at each of two times, under the master equation."""
    times = np.repeat([1.0, 20.0], 60)
    plan = pd.DataFrame({"experiment": "cells", "output": "mRNA", "time": times, "value": 0.0})
    system = telegraph_gene.network.master_equation()
    model = uq.Model(SPACE, system, telegraph_gene.mean_of_mrna, {"mRNA": ""}, name="telegraph")
    return uq.Study("telegraph", model, {"cells": uq.Design()}, plan)


@pytest.mark.slow
def test_snapshots_of_a_telegraph_gene():
    found = simulation_based_calibration(snapshots(), repetitions=60, draws=250, tune=250, ranks=31)
    assert found.attrs["uniform"] and found.attrs["failed"] == 0
    coverage = found.coverage.drop_sel(quantity=LIKELIHOOD)
    assert np.all(np.abs(coverage - coverage.level) < 3.5 * found.coverage_standard_error)
