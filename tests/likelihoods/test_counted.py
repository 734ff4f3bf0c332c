"""Counting with errors: closed forms of what is observed, its derivatives and information, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import uqbench as uq
from uqbench.calibration import find_map, log_likelihood
from uqbench.identifiability import fisher_information, predicted_drops
from uqbench.likelihoods import Snapshots, likelihood_of, simulate_data

from ..systems.reactions import networks

MADE, LOST, SEEN, ADDED = 10.0, 1.0, 0.3, 2.0
SPACE = uq.Space(
    k=uq.epistemic(uq.LogNormal(median=MADE, sigma=0.3)),
    g=uq.fixed(LOST),
    p=uq.epistemic(uq.Beta(3.0, 7.0)),
    b=uq.epistemic(uq.LogNormal(median=ADDED, sigma=0.3)),
)
THETA = {"k": jnp.asarray(MADE), "g": jnp.asarray(LOST), "p": jnp.asarray(SEEN), "b": jnp.asarray(ADDED)}
TIMES = (0.0, 0.5, 3.0)


def number(y, p):
    return {"X": y["X"]}


def half(y, p):
    return {"X": 0.5 * y["X"]}


def pairs(y, p):
    return {"X": 2.0 * y["X"]}


def both(y, p):
    return {"X": y["X"], "seen": y["X"]}


def model_of(noise, observe=number, system=None):
    system = networks.birth_death.master_equation() if system is None else system
    outputs = ("X", "seen") if observe is both else ("X",)
    return uq.Model(SPACE, system, observe, dict.fromkeys(outputs, ""), noise)


COUNTED = model_of({"X": uq.Counts("p", "b")})


def study_of(model, values, times=TIMES, output="X"):
    data = pd.DataFrame({"experiment": "cells", "output": output, "time": times, "value": np.asarray(values, float)})
    return uq.Study("cells", model, {"cells": uq.Design()}, data)


def expected(times, seen=SEEN, added=ADDED):
    return seen * MADE / LOST * -np.expm1(-LOST * np.asarray(times)) + added


@pytest.fixture(scope="module")
def counted():
    times = np.repeat(TIMES, 60)
    planned = study_of(COUNTED, np.zeros(len(times)), times)
    return uq.Study("cells", COUNTED, {"cells": uq.Design()}, simulate_data(planned, THETA, jax.random.key(4)))


def in_logarithms(names=("k", "p", "b")):
    def place(x):
        return {**THETA, **dict(zip(names, jnp.exp(x), strict=True))}

    return place, jnp.log(jnp.stack([THETA[name] for name in names]))


@pytest.mark.parametrize("value", [0.0, 3.0, 25.0])
def test_a_poisson_number_that_is_thinned_stays_poisson(value):
    found = likelihood_of(study_of(COUNTED, [value] * 3)).pointwise(THETA)["X"]
    np.testing.assert_allclose(found, stats.poisson.logpmf(value, expected(TIMES)), rtol=1e-6)


@pytest.mark.slow
def test_there_is_room_for_counts_that_only_the_background_reaches():
    """The true counts are found in a box of fewer than these."""
    model = uq.Model(
        SPACE, networks.birth_death.master_equation({"X": 40}), number, {"X": ""}, {"X": uq.Counts(0.5, 60.0)}
    )
    values = [30.0, 65.0, 110.0]
    found = likelihood_of(study_of(model, values)).pointwise(THETA)["X"]
    np.testing.assert_allclose(found, stats.poisson.logpmf(values, expected(TIMES, 0.5, 60.0)), rtol=1e-6)


def test_a_known_number_is_binomial_beside_the_background():
    model = uq.Model(networks.PAIRS, networks.dimerisation.master_equation(), None, {"A": "", "B": ""},
                     {"A": uq.Counts(0.7, 1.5)})  # fmt: skip
    law = np.convolve(stats.binom.pmf(np.arange(31), 30, 0.7), stats.poisson.pmf(np.arange(60), 1.5))
    study = study_of(model, [15.0, 21.0, 33.0], (0.0, 0.0, 0.0), "A")
    found = likelihood_of(study).pointwise(networks.PAIRS.nominal())["A"]
    np.testing.assert_allclose(found, np.log(law[[15, 21, 33]]), rtol=1e-9)


def test_counts_without_errors_are_undisturbed():
    exact, plain = (study_of(model_of(noise), [0.0, 4.0, 9.0]) for noise in ({"X": uq.Counts()}, {}))
    first, second = (log_likelihood(study)(THETA) for study in (exact, plain))
    assert float(first) == pytest.approx(float(second), rel=1e-12)


@pytest.mark.slow
def test_counts_with_gaps_and_outputs_beside():
    model = model_of({"seen": uq.Counts("p")}, both)
    data = pd.concat([study_of(model, [4.0], [3.0], output).table for output in ("X", "seen")], ignore_index=True)
    found = likelihood_of(uq.Study("cells", model, {"cells": uq.Design()}, data)).pointwise(THETA)
    mean = expected(3.0, 1.0, 0.0)
    np.testing.assert_allclose(found["X"], stats.poisson.logpmf(4, mean), rtol=1e-7)
    np.testing.assert_allclose(found["seen"], stats.poisson.logpmf(4, SEEN * mean), rtol=1e-7)
    double = likelihood_of(study_of(model_of({"X": uq.Counts(0.5)}, pairs), [3.0], [3.0])).pointwise(THETA)["X"]
    true = np.arange(60)
    law = np.sum(stats.poisson.pmf(true, mean) * stats.binom.pmf(3, 2 * true, 0.5))
    np.testing.assert_allclose(double, np.log(law), rtol=1e-7)


def test_arguments_may_be_formulas_of_parameters():
    model = model_of({"X": uq.Counts("p*exp(-b)", "b + 1")})
    found = likelihood_of(study_of(model, [3.0, 3.0, 3.0])).pointwise(THETA)["X"]
    means = expected(TIMES, SEEN * np.exp(-ADDED), ADDED + 1)
    np.testing.assert_allclose(found, stats.poisson.logpmf(3, means), rtol=1e-7)


def test_the_gradient_is_that_of_finite_differences(counted):
    density = log_likelihood(counted)
    slope = jax.grad(density)(THETA)
    for name in ("k", "p", "b"):
        step = 1e-4 * float(THETA[name])
        up, down = (float(density({**THETA, name: THETA[name] + sign * step})) for sign in (1, -1))
        assert float(slope[name]) == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-6)


@pytest.mark.slow
def test_information_is_that_of_poisson_numbers(counted):
    place, x = in_logarithms()
    found = likelihood_of(counted).information(place, x)[0]
    mean = expected(TIMES)
    slopes = np.stack([mean - ADDED, mean - ADDED, np.full(3, ADDED)])
    np.testing.assert_allclose(found, 60 * (slopes / mean) @ slopes.T, rtol=1e-6)


@pytest.mark.slow
def test_scores_are_those_of_value_gradient_and_information(counted):
    likelihood, (place, x) = likelihood_of(counted), in_logarithms()
    once, by_parts = likelihood.scores(place, x + 0.1), super(Snapshots, likelihood).scores(place, x + 0.1)
    np.testing.assert_allclose(once.value, by_parts.value, rtol=1e-10)
    np.testing.assert_allclose(once.gradient, by_parts.gradient, rtol=1e-7)
    np.testing.assert_allclose(once.root.T @ once.root, by_parts.root.T @ by_parts.root, rtol=1e-6)


def test_moments_and_draws_have_the_closed_forms(counted):
    likelihood = likelihood_of(counted)
    mean = np.repeat(expected(TIMES), 60)
    found = likelihood.moments(THETA)
    np.testing.assert_allclose(found.mean[0], mean, rtol=1e-7)
    np.testing.assert_allclose(np.diag(found.covariance[0]), mean, rtol=1e-6)
    draws = counted.table["value"].to_numpy().reshape(3, 60)
    error = np.sqrt(expected(TIMES) / 60)
    assert np.all(np.abs(draws.mean(axis=1) - expected(TIMES)) < 4 * error)
    thetas = {name: jnp.full(200, value) for name, value in THETA.items()}
    predicted = likelihood.predict(thetas, uq.Design([3.0]), jax.random.key(0))["X"][:, 0]
    quantiles = stats.poisson.ppf([0.05, 0.5, 0.95], expected(3.0))
    np.testing.assert_allclose(np.quantile(predicted, [0.05, 0.5, 0.95]), quantiles, atol=1.0)


@pytest.mark.slow
def test_what_is_made_and_what_is_seen_are_one_combination(counted):
    """Of thinned Poisson numbers only k p can be known, in what is measured and in all that could be."""
    assert fisher_information(counted).attrs["rank"] == 2
    drops = predicted_drops(counted)
    assert np.all(drops["rank_after"] == 2)
    assert np.all(np.isinf(drops["standard_error_before"].sel(parameter=["k", "p"])))


@pytest.mark.slow
def test_the_best_fit_finds_detection_and_background():
    space = uq.Space({**SPACE, "k": uq.fixed(MADE)})
    model = uq.Model(space, networks.birth_death.master_equation(), number, {"X": ""}, {"X": uq.Counts("p", "b")})
    times = np.repeat([0.0, 3.0], 400)
    data = simulate_data(study_of(model, np.zeros(800), times), THETA, jax.random.key(2))
    found = find_map(uq.Study("cells", model, {"cells": uq.Design()}, data))
    assert found.attrs["verdict"] == "converged"
    # of the background 400 measurements without a molecule tell its mean; detection follows from the other mean
    error = {"b": np.sqrt(ADDED / 400), "p": np.sqrt((expected(3.0) + ADDED) / 400) / 9.5}
    for name, truth in (("p", SEEN), ("b", ADDED)):
        assert abs(float(found["value"].sel(parameter=name)) - truth) < 4 * error[name]


@pytest.mark.slow
def test_units_may_differ_in_detection():
    space = uq.Space({**SPACE, "p": uq.aleatory(uq.Beta(3.0, 7.0))})
    model = uq.Model(space, networks.birth_death.master_equation(), number, {"X": ""}, {"X": uq.Counts("p", "b")})
    data = study_of(model, [5.0, 2.0], (3.0, 3.0)).table.assign(cell=["one", "two"])
    study = uq.Study("cells", model, {"cells": uq.Design()}, data, unit="cell")
    found = likelihood_of(study).pointwise({**THETA, "p": jnp.array([0.3, 0.9])})["X"]
    law = [stats.poisson.logpmf(value, expected(3.0, seen)) for value, seen in ((5, 0.3), (2, 0.9))]
    np.testing.assert_allclose(found, law, rtol=1e-7)


@pytest.mark.parametrize(
    "changed",
    [{"p": 1.1}, *(pytest.param(each, marks=pytest.mark.slow) for each in ({"p": -0.1}, {"b": -1.0})), {"b": 1e4}],
)
def test_impossible_arguments_have_a_code(counted, changed):
    theta = {**THETA, **{name: jnp.asarray(value) for name, value in changed.items()}}
    density, likelihood = log_likelihood(counted), likelihood_of(counted)
    assert float(density(theta)) == -np.inf
    assert all(float(slope) == 0.0 for slope in jax.grad(density)(theta).values())
    assert np.all(likelihood.results(theta) == uq.Result.NOT_COUNTED)
    assert np.all(np.isnan(likelihood.simulate(theta, jax.random.key(0))["X"]))
    assert "detection probability" in likelihood.density_findings(theta)[0]


@pytest.mark.slow
def test_derivatives_hold_at_the_edges(counted):
    """Nothing or all is detected, and no background: each has a slope on the side that is possible."""
    study = study_of(COUNTED, [0.0, 2.0, 0.0], (0.0, 3.0, 3.0))
    density = log_likelihood(study)
    for edge, sign in (({"p": 1.0}, -1), ({"b": 0.0}, 1)):
        ((name, value),) = edge.items()
        theta = {**THETA, name: jnp.asarray(value)}
        here, near, nearer = (
            float(density({**theta, name: jnp.asarray(value + sign * step)})) for step in (0.0, 2e-4, 1e-4)
        )
        one_sided = sign * (4 * nearer - near - 3 * here) / 2e-4
        assert float(jax.grad(density)(theta)[name]) == pytest.approx(one_sided, rel=1e-5)


def test_counts_that_nothing_explains_are_named():
    model = model_of({"X": uq.Counts("p")})
    findings = likelihood_of(study_of(model, [1.0, 2.5, 500.0])).density_findings(THETA)
    assert len(findings) == 1
    assert "2 values of 'X' (the first is 2.5)" in findings[0] and "background" in findings[0]
    plain = likelihood_of(study_of(model_of({}), [1.0, 500.0, 2.0])).density_findings(THETA)
    assert "1 values of 'X' (the first is 500)" in plain[0] and "bounds" in plain[0]


@pytest.mark.parametrize(
    "system",
    [networks.birth_death.ode(), networks.birth_death.jumps(), networks.birth_death.moments(),
     networks.birth_death.langevin(), networks.birth_death.linear_noise()],
)  # fmt: skip
def test_other_views_have_no_distribution_to_count_from(system):
    with pytest.raises(uq.InputError, match="master_equation"):
        model_of({"X": uq.Counts("p")}, system=system)


def test_what_cannot_be_counting_is_refused():
    with pytest.raises(uq.InputError, match="must lie between 0 and 1") as raised:
        uq.Counts(1.5, -1.0)
    assert len(raised.value.findings) == 2
    with pytest.raises(uq.InputError, match="names 'X', an output"):
        model_of({"X": uq.Counts("p", "0.1*X")})
    with pytest.raises(uq.InputError, match="neither a parameter nor an output"):
        model_of({"X": uq.Counts("q")})
    with pytest.raises(uq.InputError, match="noise of an output alone"):
        uq.Space(a=uq.epistemic(uq.Counts(0.5)))
    with pytest.raises(uq.InputError, match="no density and no draws of its own"):
        uq.Counts(0.5).logpdf(1.0)
    with pytest.raises(uq.InputError, match=r"such as 0\.5"):
        log_likelihood(study_of(model_of({"X": uq.Counts("p")}, half), [1.0, 1.0, 1.0]))(THETA)
