"""A foreign code as a part of a coupled model: its rates come from a server, and the balance stays closed."""

import jax
import numpy as np
import pytest

import uqbench as uq
from uqbench.coupling import Monolithic, Strong, Weak
from uqbench.umbridge import foreign_function

from .foreign_server import foreign_server

space = uq.Space(
    P=uq.epistemic(uq.LogNormal(median=0.5, sigma=0.2), "L/h"),
    k=uq.epistemic(uq.LogNormal(median=0.3, sigma=0.2), "1/h"),
)
UNITS = {"A": "mg/L", "B": "mg/L", **dict.fromkeys(("content_drug", "residual_drug", "crossed_uptake"), "mg")}
DESIGN = uq.Design([1.0, 2.0])


def blood(p, inputs):
    return {"A": 2.0}


def tissue(p, inputs):
    return {"B": 0.0}


def still(t, y, p, inputs):
    return {"A": 0.0}


def in_blood(y, p):
    return {"drug": y["A"]}


def in_tissue(y, p):
    return {"drug": 0.5 * y["B"]}


class Permeation:
    """The foreign code gives x0 exp(-k t) at t = 1 and area x0 / k: here A / (1/P), the flux by a permeability."""

    def __init__(self, foreign):
        self.foreign = foreign

    def __call__(self, t, y, p, inputs):
        return self.foreign([y["A"] - y["B"], 1.0 / p["P"]])[1][0]


class Loss:
    """k B as x0 / k' with k' = 1/k."""

    def __init__(self, foreign):
        self.foreign = foreign

    def __call__(self, t, y, p, inputs):
        return {"B": -self.foreign([y["B"], 1.0 / p["k"]])[1][0]}


class Lost(Loss):
    def __call__(self, t, y, p, inputs):
        return {"drug": 0.5 * super().__call__(t, y, p, inputs)["B"]}


def permeation(t, y, p, inputs):
    return p["P"] * (y["A"] - y["B"])


def loss(t, y, p, inputs):
    return {"B": -p["k"] * y["B"]}


def lost(t, y, p, inputs):
    return {"drug": -0.5 * p["k"] * y["B"]}


def coupled(schedule, rate, own, made, integrator="heun"):
    settings = {"units": {"drug": "mg"}, "integrator": integrator}
    parts = {
        "blood": uq.Part(blood, still, content=in_blood, **settings),
        "tissue": uq.Part(tissue, own, content=in_tissue, sources=made, **settings),
    }
    exchange = uq.Exchange("drug", "mg/h", "blood.A", "tissue.B", rate)
    return uq.Model(space, uq.Coupled(parts, {"uptake": exchange}, schedule, "h"), units=UNITS, time_unit="h")


def outside(schedule, foreign, **settings):
    return coupled(schedule, Permeation(foreign), Loss(foreign), Lost(foreign), **settings)


@pytest.mark.parametrize(
    "schedule, integrator",
    [
        (Weak(0.25), "heun"),
        pytest.param(Strong(0.5), "heun", marks=pytest.mark.slow),
        pytest.param(Weak(0.5), "implicit_euler", marks=pytest.mark.slow),
        (Monolithic(0.25), "sdirk2"),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
def test_rates_from_a_server_are_rates(schedule, integrator):
    inside = coupled(schedule, permeation, loss, lost, integrator)
    with foreign_server() as running:
        foreign = foreign_function(running.url, "decay", timeout=20.0)
        model, theta = outside(schedule, foreign, integrator=integrator), space.nominal()
        run, expected = (uq.evaluate(each, theta, DESIGN) for each in (model, inside))
    assert int(run.result) == int(expected.result) == 0
    for name in ("A", "B", "crossed_uptake"):
        np.testing.assert_allclose(run.outputs[name], expected.outputs[name], rtol=1e-10)
    # of 2 mg
    assert np.max(np.abs(run.outputs["residual_drug"])) < 1e-14


def test_derivatives_go_through_the_server():
    schedule = Weak(0.5)
    inside = coupled(schedule, permeation, loss, lost)
    with foreign_server() as running:
        model = outside(schedule, foreign_function(running.url, "decay", timeout=20.0))
        found, expected = (
            jax.jacrev(lambda theta, each=each: uq.evaluate(each, theta, DESIGN).outputs["B"])(space.nominal())
            for each in (model, inside)
        )
    for name in ("P", "k"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-10)


@pytest.mark.parametrize(
    "schedule",
    [Weak(0.1), pytest.param(Strong(0.1), marks=pytest.mark.slow), Monolithic(0.1)],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.parametrize("fault", ["closed", "late"])
def test_a_server_that_fails_in_a_run_ends_it_with_a_code(schedule, fault):
    """500 windows, of which some are done before the server answers no more."""
    limit = float("inf")

    def faults(numbers):
        return fault if running.counts["Evaluate"] > limit else None

    with foreign_server(fault=faults) as running:
        model = outside(schedule, foreign_function(running.url, "decay", timeout=0.5), integrator="implicit_euler")
        first = uq.evaluate(model, space.nominal(), uq.Design([0.1, 0.2]))
        assert int(first.result) == 0
        limit = running.counts["Evaluate"] + 30
        run = uq.evaluate(model, space.nominal(), uq.Design([1.0, 50.0]))
        assert "recent_failures" in model.dynamics.sentence(int(run.result))
        asked = running.counts["Evaluate"] - limit
    # no part of the mass of a run that failed is told as if it were all
    assert all(np.all(np.isnan(values)) for values in run.outputs.values())
    # two rates in each window, were it to go on
    assert asked < 50
