"""States of the master equation: species that conserved sums bind are left out, and rest is the time inf."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import uqbench as uq
from uqbench.calibration import log_likelihood
from uqbench.identifiability import fisher_information
from uqbench.master_equation import distribution

from . import networks


def _enzyme(y, p, inputs):
    return {"bind": p["a"] * y["S"] * y["E"], "part": p["u"] * y["C"], "make": p["v"] * y["C"]}


enzyme = uq.Reactions(
    {"S": 12, "E": 3, "C": 0, "P": 0},
    {
        "bind": {"S": -1, "E": -1, "C": 1},
        "part": {"S": 1, "E": 1, "C": -1},
        "make": {"C": -1, "E": 1, "P": 1},
    },
    _enzyme,
)
BINDING = networks.space(a=0.5, u=1.0, v=0.7)
UNITS = dict.fromkeys(("S", "E", "C", "P"), "")
PAIRS = uq.Model(networks.PAIRS, networks.dimerisation.master_equation(), None, {"A": "", "B": ""})
DESIGN = uq.Design([0.5, 2.0])


def product(y, p):
    return {"S": y["S"], "P": y["P"]}


def mrna(y, p):
    return {"mRNA": y["M"]}


def densities(model, design, theta=None):
    theta = {name: jnp.asarray(value) for name, value in (theta or model.space.nominal()).items()}
    found, outcome = model.dynamics.density(model, theta, design, model.dynamics.plan(model, design))
    assert int(outcome.result) == 0
    return found


@pytest.mark.slow
def test_a_box_holds_independent_species_alone():
    """S + C + P and E + C stay: a box of two species has the distribution of 13 x 4 x 4 x 13 states."""
    model = uq.Model(BINDING, enzyme.master_equation(), None, UNITS)
    found = densities(model, DESIGN)
    theta = BINDING.nominal()
    whole = distribution(
        enzyme.rates_from(theta, DESIGN), enzyme.changes, [12, 3, 0, 0], DESIGN.times, (13, 4, 4, 13)
    ).probability
    for axis, name in enumerate(UNITS, start=1):
        marginal = whole.sum(axis=tuple(k for k in range(1, 5) if k != axis))
        np.testing.assert_allclose(found[name].probability, marginal, atol=1e-9)
    sizes = model.dynamics.plan(model, DESIGN).split(" from ")[0].split("x")
    assert len(sizes) == 2 and np.prod(np.array(sizes, int)) <= 13 * 13


@pytest.mark.slow
def test_the_species_left_out_is_one_whose_count_is_whole():
    """Of A + 2 B = 30: the states are those of B, every one of which exists."""
    assert PAIRS.dynamics.plan(PAIRS, DESIGN).split(" from ")[0] == "16"
    np.testing.assert_array_equal(densities(PAIRS, DESIGN)["A"].values, np.arange(0, 31, 2))


def test_other_sums_than_those_laid_out_have_a_code():
    run = uq.evaluate(PAIRS, {**PAIRS.space.nominal(), "A0": 20.0}, DESIGN)
    assert np.isnan(run.outputs["A"]).all()
    assert "no reaction changes" in PAIRS.dynamics.sentence(int(run.result))


@pytest.mark.slow
def test_sums_that_vary_leave_all_species():
    space = uq.Space({**networks.PAIRS, "A0": uq.epistemic(uq.Poisson(8.0))})
    model = uq.Model(space, networks.dimerisation.master_equation(), None, {"A": "", "B": ""})
    for start in (6.0, 9.0):
        run = uq.evaluate(model, {**space.nominal(), "A0": start}, DESIGN)
        assert int(run.result) == 0
        np.testing.assert_allclose(run.outputs["A"] + 2 * run.outputs["B"], start, rtol=1e-8)


@pytest.mark.slow
def test_rest_is_the_time_inf():
    model = uq.Model(networks.RATES, networks.birth_death.master_equation(), units={"X": ""})
    found = densities(model, uq.Design([1.0, np.inf]))["X"]
    for row, mean in zip(found.probability, (10 * -np.expm1(-1.0), 10.0), strict=True):
        np.testing.assert_allclose(row, stats.poisson.pmf(found.values, mean), atol=1e-8)
    run = uq.evaluate(model, model.space.nominal(), uq.Design([np.inf]))
    assert float(run.outputs["X"][0]) == pytest.approx(10.0, abs=1e-6)


@pytest.mark.slow
def test_rest_with_conserved_sums_is_that_after_a_long_time():
    long, rest = (densities(PAIRS, uq.Design([time]))["B"].probability[0] for time in (50.0, np.inf))
    np.testing.assert_allclose(rest, long, atol=1e-9)


@pytest.mark.slow
def test_snapshots_at_rest_have_a_gradient_and_leave_time_open():
    """The rates of a telegraph at rest are known up to their unit of time: three of four."""
    model = uq.Model(networks.PROMOTER, networks.telegraph.master_equation(), mrna, {"mRNA": ""})
    values = [0.0, 0.0, 1.0, 3.0, 9.0, 14.0, 21.0, 25.0]
    data = pd.DataFrame({"experiment": "cells", "output": "mRNA", "time": np.inf, "value": values})
    study = uq.Study("rest", model, {"cells": uq.Design()}, data)
    density, theta = log_likelihood(study), networks.PROMOTER.nominal()
    slope = jax.grad(density)(theta)
    for name, value in theta.items():
        step = 1e-4 * float(value)
        up, down = (float(density({**theta, name: value + sign * step})) for sign in (1, -1))
        assert float(slope[name]) == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-6)
    assert sum(float(value * slope[name]) for name, value in theta.items()) == pytest.approx(0.0, abs=1e-7)
    assert fisher_information(study).attrs["rank"] == 3


def test_no_rest_where_there_is_none():
    spreading = uq.Reactions({"X": 0}, {"birth": {"X": 1}}, lambda y, p, inputs: {"birth": p["k"]})
    model = uq.Model(networks.RATES, spreading.master_equation({"X": 30}), units={"X": ""})
    run = uq.evaluate(model, model.space.nominal(), uq.Design([np.inf]))
    assert int(run.result) != 0 and np.isnan(run.outputs["X"][0])
    from forward_models.stress_response_gene import model as driven

    with pytest.raises(uq.InputError, match="depend on time"):
        uq.evaluate(driven, driven.space.nominal(), uq.Design([np.inf], inputs={"salt": 0.2}, start=-30.0))
