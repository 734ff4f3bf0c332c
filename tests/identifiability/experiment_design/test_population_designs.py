"""Designs for populations: against the closed form of a linear mixed model, and against refits of simulated data."""

from itertools import combinations_with_replacement

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import uqbench as uq
from uqbench.identifiability.experiment_design import (
    candidate_measurements,
    optimal_design,
    predicted_drops,
    prescribe,
    with_measurements,
)
from uqbench.identifiability.experiment_design.population_designs import roots_of
from uqbench.identifiability.experiment_design.sensitivities import design_scale, determined
from uqbench.optimization import find_map

TRUTH = {"m": 2.0, "s": 0.8, "b": 0.5, "w": 0.4, "e": 0.3}
TIMES = (0.0, 1.0, 2.0)


def line(theta, design, key):
    return {"y": theta["level"] + theta["slope"] * design.times}


def lines(units=4):
    """y = level + slope t + error, a normal level and slope for each unit."""
    space = uq.Space(
        m=uq.epistemic(uq.Normal(0.0, 10.0)),
        s=uq.epistemic(uq.HalfNormal(5.0)),
        b=uq.epistemic(uq.Normal(0.0, 10.0)),
        w=uq.epistemic(uq.HalfNormal(5.0)),
        e=uq.epistemic(uq.HalfNormal(5.0)),
        level=uq.aleatory(uq.Normal("m", "s")),
        slope=uq.aleatory(uq.Normal("b", "w")),
    )
    model = uq.Model.from_function(space, line, {"y": ""}, {"y": uq.Normal("y", "e")}, name="lines")
    rows = [("e", "y", time, 0.0, f"u{unit}") for unit in range(units) for time in TIMES]
    data = pd.DataFrame(rows, columns=["experiment", "output", "time", "value", "who"])
    return uq.Study("lines", model, {"e": uq.Design()}, data, unit="who")


def exact(times_of_units):
    """Information on m, s, b, w, e: normal data with covariance s^2 + w^2 t t' + e^2."""
    total = np.zeros((5, 5))
    for times in map(np.asarray, times_of_units):
        one, same = np.ones_like(times), np.eye(len(times))
        covariance = TRUTH["s"] ** 2 + TRUTH["w"] ** 2 * np.outer(times, times) + TRUTH["e"] ** 2 * same
        mean = np.stack([one, 0 * one, times, 0 * one, 0 * one], axis=1)
        slopes = [
            0 * same,
            2 * TRUTH["s"] + 0 * same,
            0 * same,
            2 * TRUTH["w"] * np.outer(times, times),
            2 * TRUTH["e"] * same,
        ]
        solved = [np.linalg.solve(covariance, each) for each in slopes]
        total += mean.T @ np.linalg.solve(covariance, mean)
        total += 0.5 * np.array([[np.trace(a @ b) for b in solved] for a in solved])
    return total


def with_added(*added):
    """Times of the units with more measurements: pairs of the unit's index, or 4 and 5 of new ones, and the time."""
    times = [list(TIMES) for _ in range(4)] + [[], []]
    for unit, time in added:
        times[unit].append(time)
    return [each for each in times if each]


def test_one_more_measurement_of_a_linear_mixed_model():
    study = lines()
    candidates = candidate_measurements(study, times=[0.5, 6.0], units=["u1", "new"])
    found = predicted_drops(study, TRUTH, candidates, scale="natural")
    before = np.sqrt(np.diag(np.linalg.inv(exact(with_added()))))
    np.testing.assert_allclose(found.standard_error_before, before, rtol=1e-8)
    unit = {"u1": 1, "new": 4}
    for index in range(4):
        one = found.isel(candidate=index)
        after = exact(with_added((unit[one.unit.item()], float(one.time))))
        np.testing.assert_allclose(one.standard_error_after, np.sqrt(np.diag(np.linalg.inv(after))), rtol=1e-8)
    # a line of one unit is known better from its own late time than from one time of another unit
    own, other = (found.ratio.sel(parameter="e").values[found.unit.values == name].min() for name in ("u1", "new"))
    assert own < other


@pytest.mark.parametrize("criterion", ["D", "A"])
def test_the_best_two_measurements_are_found_among_all_pairs(criterion):
    study = lines()
    candidates = candidate_measurements(study, times=[0.5, 6.0], units=["u0", "new 1", "new 2"])
    found = optimal_design(study, TRUTH, candidates, criterion=criterion, number=2, scale="natural")
    unit = {"u0": 0, "new 1": 4, "new 2": 5}
    places = [(unit[who], time) for who, time in zip(candidates.table["who"], candidates.table["time"], strict=True)]

    def loss(added):
        information = exact(with_added(*added))
        return -np.linalg.slogdet(information)[1] if criterion == "D" else np.trace(np.linalg.inv(information))

    best = min(loss(pair) for pair in combinations_with_replacement(places, 2))
    chosen = [places[index] for index in np.repeat(np.arange(len(places)), found.times_measured.values)]
    assert loss(chosen) == pytest.approx(best, rel=1e-8)
    value = found.attrs["criterion_after"] * (-1 if criterion == "D" else 1)
    assert value == pytest.approx(best, rel=1e-8)
    # what a measurement tells depends on the others, so that no bound is known
    assert found.attrs["efficiency"] == 0.0 and not found.attrs["resolved"]


def decay(theta, design, key):
    return {"y": theta["k"] * jnp.exp(-theta["k"] * design.times)}


def decays(units):
    space = uq.Space(
        k_median=uq.epistemic(uq.LogNormal(median=1.0, sigma=1.0)),
        k_sd=uq.epistemic(uq.HalfNormal(1.0)),
        sigma=uq.epistemic(uq.HalfNormal(0.5)),
        k=uq.aleatory(uq.LogNormal(median="k_median", sigma="k_sd")),
    )
    model = uq.Model.from_function(space, decay, {"y": ""}, {"y": uq.Normal("y", "sigma")}, name="decays")
    rows = [("e", "y", time, 0.0, f"u{unit}") for unit in range(units) for time in (0.2, 3.0)]
    data = pd.DataFrame(rows, columns=["experiment", "output", "time", "value", "who"])
    return uq.Study("decays", model, {"e": uq.Design()}, data, unit="who")


@pytest.mark.slow
def test_predicted_standard_errors_are_the_spread_of_refits():
    """A design of more measurements, simulated and fitted again and again."""
    study, truth, tables = decays(16), {"k_median": 1.0, "k_sd": 0.3, "sigma": 0.05}, 40
    candidates = candidate_measurements(study, times=[0.5, 2.0], units=study.units[:4])
    times = np.ones(len(candidates.table), int)
    predicted = determined(roots_of(study, design_scale(study, truth, "log"), candidates), times).cramer_rao
    fits = [
        find_map(with_measurements(study, candidates, times, truth, seed), theta=truth, starts=1, prior=False).value
        for seed in range(tables)
    ]
    spread = np.std(np.log(np.stack(fits)), axis=0, ddof=1)
    np.testing.assert_allclose(spread, predicted, rtol=4 / np.sqrt(2 * tables))


@pytest.mark.slow
def test_a_prescription_names_units():
    study, truth = decays(2), {"k_median": 1.0, "k_sd": 0.3, "sigma": 0.05}
    candidates = candidate_measurements(study, times=[0.2, 1.0, 3.0])
    found = prescribe(study, truth, candidates, parameters=["k_median"], share=0.9)
    row = found.sel(parameter="k_median")
    assert "of who new" in row.prescription.item()
    assert row.standard_error_prescribed <= 0.9 * row.standard_error_before * (1 + 1e-9)
    assert np.isfinite(row.standard_error_tested) and row.standard_error_tested > 0


def test_units_that_cannot_be_named_are_refused():
    study = lines()
    alone = uq.Study("alone", study.model, {"e": uq.Design()}, study.data.drop(columns="who"))
    with pytest.raises(uq.InputError, match="no column of units"):
        design_scale(alone, TRUTH, "log")
    with pytest.raises(uq.InputError, match="give a list of labels, each once"):
        candidate_measurements(study, times=[1.0], units=["a", "a"])
