"""The measurement's part of the variance where noise is a formula, a column of the table, or of increments."""

import jax.numpy as jnp
import numpy as np
import pandas as pd

import uqbench as uq

MEDIAN, SIGMA, SHARE = 2.0, 0.3, 0.1
SPACE = uq.Space(m=uq.epistemic(uq.LogNormal(median=MEDIAN, sigma=SIGMA)), b=uq.fixed(SHARE))
TIMES = [1.0, 2.0, 4.0]


def lines(theta, design, key):
    """Proportional to time: x itself, and z as what is counted."""
    return dict.fromkeys(("x", "y", "z"), theta["m"] * design.times)


def test_each_measured_output_has_the_variance_of_its_own_noise():
    noise = {"x": uq.Normal("x", "b*x"), "y": uq.Normal("y", "se"), "z": uq.Normal("z", "b*z")}
    model = uq.Model.from_function(SPACE, lines, dict.fromkeys(noise, ""), noise, increments=["z"], columns={"se": ""})
    rows = [("e", name, time, 1.0, 0.5) for name in noise for time in TIMES]
    table = pd.DataFrame(rows, columns=["experiment", "output", "time", "value", "se"])
    design = uq.Design(TIMES)
    quantities = {"largest": uq.Quantity(lambda outputs, design: jnp.max(outputs["x"]), design)}
    study = uq.Study("lines", model, {"e": design}, table, quantities)
    tree = uq.decompose(study, n=32, runs=4096)
    found = tree["variance_over_time"].to_dataset()
    # E m^2 of a lognormal
    square = MEDIAN**2 * np.exp(2 * SIGMA**2)
    for output, seen in (("x", TIMES), ("z", [1.0, 1.0, 2.0])):
        measured = found.measurement.sel(output=output)
        np.testing.assert_allclose(measured, SHARE**2 * square * np.square(seen), rtol=0.05)
    assert "y" not in found.output.values
    assert "names a column of the table" in tree["variance"].attrs["not_over_time"]
