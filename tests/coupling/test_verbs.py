"""A coupled model goes through every verb."""

import numpy as np
import pandas as pd
import pytest

import uqbench as uq
from forward_models.coupling_schedules import observe, pair
from forward_models.tissue_signalling import signalling
from uqbench.coupling import Weak
from uqbench.identifiability import structural_identifiability

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
    structure = tree["structure"].verdict
    assert structure.sel(parameter=["a", "d"]).values.tolist() == ["global", "global"]
    assert tree["fisher"].attrs["rank"] == 3


def test_its_equations_are_those_of_all_parts_together():
    """From one output alone only the product of the two drives is known."""
    free = {name: uq.epistemic(uq.LogNormal(0.0, 1.0), "1/h") for name in "abcd"}
    model = uq.Model(uq.Space(free), pair(Weak(0.02)), observe, {"x": "", "y": ""}, time_unit="h").only(["x"])
    found = structural_identifiability(model)
    assert found.verdict.sel(parameter=["c", "d"]).values.tolist() == ["none", "none"]
    assert found.combination.sel(parameter="c").item() == "c*d"
    assert found.verdict.sel(parameter="a").item() == "global"


def test_too_many_equations_are_not_read():
    with pytest.raises(uq.InputError, match="no equations to read"):
        structural_identifiability(signalling(12, 8, chance="mean"))


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
