"""Preparing a study: nothing is compiled before it is needed, and nothing twice."""

import numpy as np
import pandas as pd

import uqbench as uq
from uqbench.initial_value.machine_code import compiled
from uqbench.likelihoods import likelihood_of

SPACE = uq.Space(
    k=uq.epistemic(uq.LogNormal(median=0.5, sigma=0.3)), d=uq.epistemic(uq.LogNormal(median=0.1, sigma=0.3))
)


def initial(p, inputs):
    return {"A": inputs["first"] + 0.0 * p["k"], "B": 0.0}


def rates(t, y, p, inputs):
    return {"A": inputs["supply"] - p["k"] * y["A"], "B": p["k"] * y["A"] - p["d"] * y["B"]}


def observe(y, p):
    return {"A": y["A"], "B": y["B"]}


def kernels_made():
    return compiled.cache_info().misses


def test_eight_conditions_with_steady_states_make_one_kernel_and_only_when_it_is_asked_for():
    noise = {name: uq.Normal(name, 0.1) for name in ("A", "B")}
    model = uq.Model(SPACE, uq.Ode(initial, rates), observe, {"A": "", "B": ""}, noise)
    supplies = np.linspace(0.5, 2.0, 8)
    designs = {f"e{k}": uq.Design(inputs={"first": 1.0, "supply": supply}) for k, supply in enumerate(supplies)}
    rows = [(name, output, time, 1.0) for name in designs for output in noise for time in (1.0, 2.0, np.inf)]
    data = pd.DataFrame(rows, columns=["experiment", "output", "time", "value"])
    before = kernels_made()
    study = uq.Study("eight", model, designs, data)
    assert kernels_made() == before
    likelihood_of(study)
    assert kernels_made() == before + 1
    likelihood_of(study)
    assert kernels_made() == before + 1


def dosed(p, inputs):
    return {"A": (inputs["dose_times"], inputs["dose_amounts"])}


def test_a_dose_of_nothing_stands_for_one_that_was_not_given():
    model = uq.Model(SPACE, uq.Ode(initial, rates, doses=dosed), observe, {"A": "", "B": ""})
    base = {"first": 0.0, "supply": 0.0}
    times, theta = [0.5, 1.5, 2.5, 3.5], {"k": 0.5, "d": 0.1}
    two = uq.Design(times, base | {"dose_times": [1.0, 2.0], "dose_amounts": [1.0, 2.0]})
    four = uq.Design(times, base | {"dose_times": [1.0, 2.0, 3.0, 3.0], "dose_amounts": [1.0, 2.0, 0.0, 0.0]})
    short, padded = (uq.evaluate(model, theta, design).outputs["A"] for design in (two, four))
    np.testing.assert_allclose(padded, short, rtol=1e-5)
    np.testing.assert_allclose(short[1], np.exp(-0.25), rtol=1e-5)
