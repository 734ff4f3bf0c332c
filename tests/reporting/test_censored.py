"""Values that are only limits, on the page."""

import numpy as np
import xarray as xr

from uqbench.reporting.figures import predictive_band
from uqbench.reporting.tables import coverage


def test_a_limit_is_covered_where_the_interval_reaches_beyond_it_and_is_drawn_as_a_triangle():
    rng = np.random.default_rng(0)
    sides = ["", "", "below", "above", "below"]
    rows = {
        "y_experiment": ("y_row", ["one"] * 5),
        "y_time": ("y_row", np.arange(5.0)),
        "y_censored": ("y_row", sides),
    }
    tree = xr.DataTree.from_dict(
        {
            # the central 90 % are within 2 of zero
            "posterior_predictive": xr.Dataset({"y": (("chain", "draw", "y_row"), rng.normal(size=(2, 500, 5)))}),
            "observed_data": xr.Dataset({"y": ("y_row", [0.0, 5.0, 5.0, 0.0, -5.0])}, rows),
            "posterior_band": xr.Dataset(
                {"y": (("run", "quantile", "grid"), np.zeros((1, 5, 3)))},
                {
                    "time": (("run", "grid"), np.arange(3.0)[None]),
                    "quantile": [0.05, 0.25, 0.5, 0.75, 0.95],
                    "experiment": ("run", ["one"]),
                    "unit": ("run", ["one"]),
                },
            ),
        }
    )
    assert coverage(tree, "y") == (3, 5)
    drawn = {line.get_marker(): len(line.get_xdata()) for line in predictive_band(tree, "y").axes[0].lines}
    assert (drawn["o"], drawn["v"], drawn["^"]) == (2, 2, 1)
