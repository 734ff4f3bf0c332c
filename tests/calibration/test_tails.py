"""Tails that steps of one size do not get into are told, and entered by the rule."""

import json

import numpy as np
import pandas as pd
import pytest

import uqbench as uq
from uqbench.calibration.tails import ENTERED, LEAST, tail_acceptance

BACKGROUND = 10.0


def bent(repeats: int = 20, spread: float = 0.05) -> uq.Study:
    """A maximal rate over K and a background, of which only the ratio is known, with priors of heavy tails.

    Far below the background the ridge is along log K, far above it along log K + log V: it is as wide there, but not
    in the direction in which it is in the bulk.
    """
    space = uq.Space(K=uq.epistemic(uq.HalfCauchy(1.0)), V=uq.epistemic(uq.HalfCauchy(1.0)))

    def rate(theta, design, key):
        return {"rate": theta["V"] / (theta["K"] + BACKGROUND) + 0 * design.times}

    noise = {"rate": uq.LogNormal(median="rate", sigma=spread)}
    model = uq.Model.from_function(space, rate, {"rate": ""}, noise)
    times = np.arange(1.0, repeats + 1)
    data = pd.DataFrame({"experiment": "e", "output": "rate", "time": times, "value": 1 / BACKGROUND})
    return uq.Study("bent", model, {"e": uq.Design()}, data)


def share_above(limit: float, repeats: int = 20, spread: float = 0.05) -> float:
    """P(K > limit) of `bent`, by quadrature over log K and the logarithm of the ratio."""
    u = np.linspace(-25, 25, 4001)[:, None]
    w = np.linspace(-8, 8, 801)[None] * spread / np.sqrt(repeats)
    K = np.exp(u)
    V = (K + BACKGROUND) / BACKGROUND * np.exp(w)
    log = -np.log1p(K**2) - np.log1p(V**2) + u + np.log(V) - repeats * w**2 / (2 * spread**2)
    density = np.exp(log - log.max()).sum(1)
    return float(density[u[:, 0] > np.log(limit)].sum() / density.sum())


def test_short_chains_say_nothing_of_tails():
    assert np.isnan(tail_acceptance(np.zeros((2, LEAST)), np.ones((2, LEAST))))


def test_the_side_that_is_entered_less_counts():
    values = np.random.default_rng(0).normal(size=(4, 1000))
    acceptance = np.full(values.shape, 0.9)
    assert tail_acceptance(values, acceptance) == pytest.approx(0.9)
    # of a transition the start is the draw before it
    acceptance[:, 1:] = np.where(values[:, :-1] < np.quantile(values, 0.02), 0.2, 0.9)
    assert tail_acceptance(values, acceptance) == pytest.approx(0.2)
    assert tail_acceptance(-values, acceptance) == pytest.approx(0.2)


def test_a_tail_that_is_narrower_across_is_told():
    """Draws of one step size have seen a part of the tail."""
    tree = uq.calibrate(bent(), adaptation="low_rank", seed=1)
    found, above = tree["convergence"].to_dataset(), float((tree["posterior"]["K"] > 8.0).mean())
    assert above < share_above(8.0)
    assert np.all(found["tail_acceptance"] < ENTERED) and not np.any(found["resolved"])
    said = " ".join(json.loads(tree["checks"].attrs["findings"]))
    assert "Tails of K, V are cut short" in said or "Tails of K and V are cut short" in said
    assert "--target-accept 0.99" in said


@pytest.mark.slow
def test_it_is_entered_by_the_rule():
    tree = uq.calibrate(bent())
    found = tree["convergence"].to_dataset()
    # the first one stays in the bulk, whatever it is that shows it
    assert len(json.loads(tree["sample_stats"].attrs["attempts"])) > 1
    assert np.all(found["resolved"])
    inside = (tree["posterior"]["K"].values > 8.0).astype(float)
    error = np.sqrt(share_above(8.0) / float(found["ess_tail"].min()))
    assert abs(inside.mean() - share_above(8.0)) < 4 * error


@pytest.mark.slow
def test_tails_as_wide_as_the_bulk_are_entered():
    """A ridge that is straight in the logarithms, a normal and heavy tails on their own."""
    space = uq.Space(
        a=uq.epistemic(uq.LogNormal(0.0, 1.5)),
        b=uq.epistemic(uq.LogNormal(0.0, 1.5)),
        c=uq.epistemic(uq.Normal(0.0, 1.0)),
        d=uq.epistemic(uq.StudentT(5.0, 0.0, 1.0)),
    )

    def product(theta, design, key):
        return {"y": theta["a"] * theta["b"] + 0 * design.times}

    model = uq.Model.from_function(space, product, {"y": ""}, {"y": uq.Normal("y", 0.1)})
    data = pd.DataFrame({"experiment": "e", "output": "y", "time": [1.0, 2.0], "value": [1.0, 1.0]})
    tree = uq.calibrate(uq.Study("straight", model, {"e": uq.Design([1.0, 2.0])}, data))
    found = tree["convergence"].to_dataset()
    assert np.all(found["tail_acceptance"] > ENTERED)
    assert len(json.loads(tree["sample_stats"].attrs["attempts"])) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prior", "limit", "above"),
    [
        (uq.Cauchy(1.0, 2.0), 41.0, np.arctan2(1.0, 20.0) / np.pi),
        (uq.StudentT(2.0, 0.0, 1.0), 10.0, 0.5 * (1 - 10 / np.sqrt(102))),
    ],
)
def test_tails_that_fall_as_a_power_are_seen(prior, limit, above):
    """Of two quantities the data tell one; of the other as much is known as before."""
    space = uq.Space(a=uq.epistemic(prior), b=uq.epistemic(uq.Normal(0.0, 1.0)))
    model = uq.Model.from_function(
        space, lambda theta, design, key: {"y": theta["b"] + 0 * design.times}, {"y": ""}, {"y": uq.Normal("y", 0.1)}
    )
    data = pd.DataFrame({"experiment": "e", "output": "y", "time": [1.0], "value": [0.5]})
    tree = uq.calibrate(uq.Study("power", model, {"e": uq.Design([1.0])}, data))
    assert len(json.loads(tree["sample_stats"].attrs["attempts"])) == 1
    found = tree["convergence"].to_dataset().sel(parameter="a")
    assert bool(found["resolved"])
    # the share is that of a far tail, of which draws are worth less than of the 95 % quantile
    error = np.sqrt(above / (0.5 * float(found["ess_tail"])))
    for side in (1.0, -1.0):
        centre = float(prior.ppf(0.5, {}))
        beyond = side * (tree["posterior"]["a"].values - centre) > limit - centre
        assert abs(beyond.mean() - above) < 4 * error
