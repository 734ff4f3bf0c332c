"""A coupled model goes through every verb."""

import numpy as np
import pandas as pd
import pytest

import uqbench as uq
from forward_models.coupling_schedules import observe, pair
from uqbench.coupling import Weak

TRUE = {"a": 1.0, "d": 20.0, "sigma": 0.05}
SPACE = uq.Space(
    a=uq.epistemic(uq.LogNormal(median=1.2, sigma=0.3), "1/h"),
    b=uq.fixed(1.0, "1/h"),
    c=uq.fixed(-20.0, "1/h"),
    d=uq.epistemic(uq.Normal(20.0, 1.0), "1/h"),
    sigma=uq.epistemic(uq.HalfNormal(0.1)),
)
MODEL = uq.Model(
    SPACE, pair(Weak(0.02)), observe, {"x": "", "y": ""}, {"x": uq.Normal("x", "sigma")}, "pair", time_unit="h"
)


def last(outputs, design):
    return outputs["y"][-1]


def study() -> uq.Study:
    times = np.linspace(0.1, 2.0, 20)
    run = uq.evaluate(MODEL, TRUE, uq.Design(times))
    values = np.asarray(run.outputs["x"]) + TRUE["sigma"] * np.random.default_rng(0).normal(size=len(times))
    data = pd.DataFrame({"experiment": "one", "output": "x", "time": times, "value": values})
    return uq.Study("pair", MODEL, {"one": uq.Design()}, data, {"last": uq.Quantity(last, uq.Design([0.5]))})


@pytest.mark.slow
def test_identify_takes_it():
    tree = uq.identify(study())
    assert set(tree["structure"].verdict.values) == {"undecided"}
    assert "a coupled system has no equations to read" in str(tree["structure"].reason.values[0])
    assert tree["fisher"].attrs["rank"] == 3


@pytest.mark.slow
def test_every_verb_takes_it(tmp_path):
    pairs = study()
    tree = uq.calibrate(pairs, uq.identify(pairs), draws=100, tune=200, chains=2, seed=1)
    d = tree["posterior"]["d"]
    assert abs(float(d.mean()) - TRUE["d"]) < 4 * float(d.std()) < 2.0
    tree = uq.decompose(pairs, tree, n=64, runs=256)
    assert float(tree["variance"].total.sel(quantity="last").item()) > 0
    page = tmp_path / "page.html"
    uq.report(pairs, tree, path=page)
    assert "pair" in page.read_text()
