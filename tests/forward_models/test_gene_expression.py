"""Snapshots of single cells: the simulated table and, where it lies beside the project, the published one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

from studies.gene_expression import from_counts, study, truth
from uqbench import InputError
from uqbench.optimization.objective import objective_of

PUBLISHED = Path(__file__).parents[3] / "shared/data/smfish/STL1Data.csv"
# A maximum of the density of all 60 424 cells, found by three of four searches from the prior.
FITTED = {
    "basal": 0.00069523,
    "k_on": 0.602973,
    "k_off": 0.874897,
    "leak": 0.054458,
    "r": 22.704084,
    "d": 0.324962,
    "begin": 3.640349,
    "end_weak": 13.961326,
    "end_strong": 22.929416,
    "width": 0.060122,
}


def score_at(study, values, prior=False):
    objective = objective_of(study, prior=prior)
    point = objective.coordinates.at({name: np.asarray(value) for name, value in values.items()})
    (score,) = objective(point[None])
    # by how many standard errors the maximum is away, squared
    away = np.linalg.lstsq(score.root.T, score.gradient, rcond=None)[0]
    return score, float(away @ away)


@pytest.mark.slow
def test_the_simulated_table_is_one_of_the_truth():
    """The score statistic is chi-squared with a degree of freedom for each parameter."""
    score, away = score_at(study, truth)
    assert np.isfinite(score.value) and len(score.gradient) == len(truth)
    assert away < chi2.ppf(1 - 1e-4, len(truth))


def test_a_table_of_something_else_is_refused(tmp_path):
    file = tmp_path / "cells.csv"
    pd.DataFrame({"TIMES": [0.0], "STL1": [1]}).to_csv(file, index=False)
    with pytest.raises(InputError, match="no column 'SALT'"):
        from_counts(file)
    pd.DataFrame({"TIMES": [0.0], "SALT": [0.7], "STL1": [1]}).to_csv(file, index=False)
    with pytest.raises(InputError, match=r"SALT has 0\.7"):
        from_counts(file)


@pytest.mark.slow
@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published counts do not lie beside the project")
def test_published_counts():
    published = from_counts(PUBLISHED)
    assert len(published.data) == 60_424
    score, away = score_at(published, FITTED, prior=True)
    assert away < 0.1
    assert score.value > score_at(published, truth, prior=True)[0].value + 100
