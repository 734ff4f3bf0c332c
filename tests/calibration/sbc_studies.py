"""Studies whose data are simulated, of every kind of table: what simulation-based calibration is run over."""

from dataclasses import replace

import numpy as np
import pandas as pd

import uqbench as uq
from forward_models import telegraph_gene
from studies import secretion, theophylline

from .test_closed_forms import initial, rising, seen


def of_subjects(subjects: int = 4) -> uq.Study:
    """The first subjects of theophylline, at the times at which their blood was taken."""
    study = theophylline.study
    data = study.data[study.data["subject"].isin(study.units[:subjects])]
    experiments = {name: study.experiments[name] for name in pd.unique(data["experiment"])}
    return replace(study, experiments=experiments, data=data, quantities={})


def of_cells(cells: int = 60) -> uq.Study:
    """Counts of single cells at two times, under the master equation of the telegraph gene."""
    # narrower than those of the model, so that a box of counts holds what is drawn
    space = uq.Space(
        {
            name: uq.epistemic(uq.LogNormal(median=float(value), sigma=0.3), "1/h")
            for name, value in telegraph_gene.space.nominal().items()
        }
    )
    system = telegraph_gene.network.master_equation()
    model = uq.Model(space, system, telegraph_gene.mean_of_mrna, {"mRNA": ""}, name="telegraph")
    times = np.repeat([1.0, 5.0], cells)
    plan = pd.DataFrame({"experiment": "cells", "output": "mRNA", "time": times, "value": 0.0})
    return uq.Study("telegraph", model, {"cells": uq.Design()}, plan)


def line(space: uq.Space, noise: uq.Normal) -> uq.Model:
    """x = a + b t, measured with noise."""
    return uq.Model(space, uq.Ode(initial, rising), seen, units={"x": ""}, noise={"x": noise}, name="line")


def correlated(units: int = 8) -> uq.Study:
    """Lines whose intercepts and slopes are correlated between units; there are no data."""
    space = uq.Space(
        a_mean=uq.epistemic(uq.Normal(2.0, 1.0)),
        a_sd=uq.epistemic(uq.HalfNormal(1.0)),
        **uq.correlated(a=uq.aleatory(uq.Normal("a_mean", "a_sd")), b=uq.aleatory(uq.Normal(1.0, 0.5)), eta=2.0),
    )
    experiments = {f"unit {unit}": uq.Design([0.0, 1.0, 2.0]) for unit in range(units)}
    return uq.Study("correlated", line(space, uq.Normal("x", 0.4)), experiments)


def censored(limit: float = 1.0, repeats: int = 3) -> uq.Study:
    """A line of which values below a limit, about a third of all, are only known to be so."""
    space = uq.Space(
        a=uq.epistemic(uq.Normal(0.5, 1.0)),
        b=uq.epistemic(uq.Normal(0.5, 0.5)),
        sigma=uq.epistemic(uq.LogNormal(median=0.5, sigma=0.4)),
    )
    times = np.repeat([0.0, 1.0, 2.0, 3.0], repeats)
    plan = {"experiment": "one", "output": "x", "time": times, "value": 2.0, "lower_limit": limit}
    plan["replicate"] = range(len(times))
    return uq.Study("censored", line(space, uq.Normal("x", "sigma")), {"one": uq.Design()}, pd.DataFrame(plan))


STUDIES = {
    "theophylline": of_subjects,
    "telegraph gene": of_cells,
    "correlated": correlated,
    "censored": censored,
    "secretion": lambda: secretion.cells,
}
