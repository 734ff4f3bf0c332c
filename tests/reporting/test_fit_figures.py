"""The figure of a best fit: what it draws, not how it looks."""

import numpy as np
import pytest
import xarray as xr

from uqbench import InputError
from uqbench.reporting import fit_figures as figures


def fit(lost=(0.0, 0.001, 3.0, np.inf), optimum=(0, 0, 1, -1)):
    density = -7.0 - np.array(lost)
    variables = {"log_density": ("start", density), "optimum": ("start", list(optimum))}
    return xr.Dataset(variables, attrs={"log_density": -7.0})


def test_a_waterfall_shows_what_each_start_lost_and_counts_those_that_failed():
    (axis,) = figures.waterfall(fit()).axes
    _, others, best = axis.lines
    np.testing.assert_allclose(best.get_ydata(), [0.0, 0.001])
    np.testing.assert_allclose(others.get_ydata(), [3.0])
    assert axis.get_title(loc="left") == "2 of 4 starts at the best fit, 1 failed"


def test_what_is_missing_is_named():
    with pytest.raises(InputError, match=r"'log_density'[^']*\n.*'optimum'"):
        figures.waterfall(xr.Dataset())
