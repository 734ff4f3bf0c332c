"""The figures of a best fit and of profiles: what they draw, not how they look."""

import numpy as np
import pytest
import xarray as xr

from uqbench import InputError
from uqbench.reporting import fit_figures as figures


def fit(lost=(0.0, 0.001, 3.0, np.inf), optimum=(0, 0, 1, -1)):
    density = -7.0 - np.array(lost)
    variables = {"log_density": ("start", density), "optimum": ("start", list(optimum))}
    return xr.Dataset(variables, attrs={"log_density": -7.0})


def profile(verdict_upper="bounded", top=2.0):
    """Of k around 1 and of g around -1, quadratic; the path of each side goes outwards, NaN beyond its last point."""
    steps = np.array([0.0, 1.0, 2.0, np.nan])
    value = np.stack([[top * (1 - 0.1 * steps), top * (1 + 0.1 * steps)], [-1 - 0.1 * steps, -1 + 0.1 * steps]])
    dims = ("parameter", "side", "point")
    return xr.Dataset(
        {
            "path_value": (dims, value),
            "path_log_density": (dims, np.broadcast_to(-7.0 - 0.5 * steps**2, value.shape)),
            "verdict_lower": ("parameter", ["bounded", "bounded"]),
            "verdict_upper": ("parameter", [verdict_upper, "bounded"]),
        },
        coords={"parameter": ["k", "g"], "side": ["lower", "upper"]},
        attrs={"log_density": -7.0, "threshold": 1.92},
    )


def test_a_waterfall_shows_what_each_start_lost_and_counts_those_that_failed():
    (axis,) = figures.waterfall(fit()).axes
    _, others, best = axis.lines
    np.testing.assert_allclose(best.get_ydata(), [0.0, 0.001])
    np.testing.assert_allclose(others.get_ydata(), [3.0])
    assert axis.get_title(loc="left") == "2 of 4 starts at the best fit, 1 failed"


def test_a_profile_is_one_curve_from_the_lower_end_to_the_upper():
    axes = [axis for axis in figures.profile_curves(profile("open")).axes if axis.get_visible()]
    curve, threshold = axes[0].lines
    np.testing.assert_allclose(curve.get_xdata(), [1.6, 1.8, 2.0, 2.0, 2.2, 2.4])
    np.testing.assert_allclose(curve.get_ydata(), [2.0, 0.5, 0.0, 0.0, 0.5, 2.0])
    assert set(threshold.get_ydata()) == {1.92}
    assert [axis.get_title(loc="left") for axis in axes] == ["open above", ""]


def test_profiles_are_compared_in_the_same_panels():
    figure = figures.profile_curves({"before": profile("open"), "after": profile(top=3.0)}, ["k"])
    (axis,) = figure.axes
    assert [line.get_label() for line in axis.lines[:2]] == ["before", "after"]
    assert axis.get_title(loc="left") == ""


@pytest.mark.parametrize(("top", "scale"), [(2.0, "linear"), (200.0, "log")])
def test_only_a_range_of_decades_is_logarithmic(top, scale):
    figure = figures.profile_curves({"before": profile(), "after": profile(top=top)}, ["k"])
    assert figure.axes[0].get_xscale() == scale


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(InputError, match="'log_density'"):
        figures.waterfall(xr.Dataset())
    with pytest.raises(InputError, match="'path_value'"):
        figures.profile_curves(fit())
    with pytest.raises(InputError, match="no profile of 'h'"):
        figures.profile_curves(profile(), ["h"])
