"""Posteriors of scales, batch effects and standard deviations by level, against what is known of them."""

import arviz as az
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import uqbench as uq
from uqbench.calibration import calibrate
from uqbench.calibration.pymc_model import EFFECTS, pymc_model
from uqbench.likelihoods import likelihood_of

from .test_closed_forms import assert_known, initial, rising, seen

NOISE = 0.4


def line(space, noise, data, **more):
    model = uq.Model(space, uq.Ode(initial, rising), seen, {"x": ""}, {"x": noise}, name="line")
    designs = {name: uq.Design() for name in pd.unique(data["experiment"])}
    return uq.Study("line", model, designs, data.assign(output="x"), **more)


def assert_normal(tree, means, covariance):
    """Means of draws, and their covariance, are those known up to their own error."""
    draws = np.stack([tree["posterior"][name].values.ravel() for name in means], axis=1)
    sds = np.sqrt(np.diag(covariance))
    for name, mean, sd in zip(means, means.values(), sds, strict=True):
        ess = float(az.ess(tree["posterior"][name]))
        assert abs(float(tree["posterior"][name].mean()) - mean) < 4 * sd / np.sqrt(ess), name
        assert abs(float(tree["posterior"][name].std()) / sd - 1) < 4 / np.sqrt(2 * ess) + 1e-3, name
        assert ess > 400
    known = covariance / np.outer(sds, sds)
    least = min(float(az.ess(tree["posterior"][name])) for name in means)
    # the error of a correlation is largest where there is none
    np.testing.assert_allclose(np.corrcoef(draws.T), known, atol=5 / np.sqrt(least))


@pytest.mark.slow
def test_subjects_crossed_with_batches_in_a_linear_model():
    """x = a + subject + batch + error, every subject in several batches: a normal vector that is known."""
    rng = np.random.default_rng(2)
    subjects, batches = 5, 4
    pairs = [(s, b) for s in range(subjects) for b in range(batches) if (s + b) % 3]
    effects = rng.normal(size=subjects), 0.7 * rng.normal(size=batches)
    values = [2.0 + effects[0][s] + effects[1][b] + NOISE * rng.normal() for s, b in pairs]
    data = pd.DataFrame(
        {"experiment": "one", "time": 0.0, "value": values, "subject": [f"s{s}" for s, _ in pairs]}
        | {"batch": [b for _, b in pairs]}
    )
    space = uq.Space(
        a=uq.epistemic(uq.Normal(0.0, 5.0)),
        b=uq.fixed(0.0),
        of_subject=uq.epistemic(uq.Normal(0.0, 1.0), by="subject"),
        of_batch=uq.epistemic(uq.Normal(0.0, 0.7), by="batch"),
    )
    tree = calibrate(line(space, uq.Normal("x + of_subject + of_batch", NOISE), data), draws=500, tune=300)
    of = [(f"of_subject_s{s}", f"of_batch_{b}") for s, b in pairs]
    names = ["a", *dict.fromkeys(subject for subject, _ in of), *dict.fromkeys(batch for _, batch in of)]
    slopes = np.zeros((len(pairs), len(names)))
    for row, (subject, batch) in enumerate(of):
        slopes[row, [0, names.index(subject), names.index(batch)]] = 1
    precision = slopes.T @ slopes / NOISE**2 + np.diag([1 / 25] + [1.0] * subjects + [0.7**-2] * batches)
    covariance = np.linalg.inv(precision)
    means = covariance @ slopes.T @ np.array(values) / NOISE**2
    assert_normal(tree, dict(zip(names, means, strict=True)), covariance)


@pytest.mark.slow
def test_the_spread_of_batches_that_are_crossed_with_units():
    """Units differ in a, batches in what is added: the posterior of the sd of batches is known from the covariance."""
    rng = np.random.default_rng(5)
    units, batches, spread = 6, 8, 0.8
    a, added = rng.normal(2.0, 1.0, units), spread * rng.normal(size=batches)
    rows = [
        (f"unit {u}", 0.0, a[u] + added[b] + NOISE * rng.normal(), f"b{b}")
        for u in range(units)
        for b in range(batches)
    ]
    data = pd.DataFrame(rows, columns=["experiment", "time", "value", "batch"])
    space = uq.Space(
        between=uq.epistemic(uq.HalfNormal(1.0)),
        a=uq.aleatory(uq.Normal(2.0, 1.0)),
        b=uq.fixed(0.0),
        batch_effect=uq.epistemic(uq.Normal(0.0, "between"), by="batch"),
    )
    study = line(space, uq.Normal("x + batch_effect", NOISE), data)
    tree = calibrate(study, draws=500, tune=300)
    at = np.linspace(0.01, 3.0, 600)
    density = stats.halfnorm(0, 1).logpdf(at)
    same_unit = np.kron(np.eye(units), np.ones((batches, batches)))
    same_batch = np.kron(np.ones((units, units)), np.eye(batches))
    for k, sd in enumerate(at):
        covariance = same_unit + sd**2 * same_batch + NOISE**2 * np.eye(units * batches)
        density[k] += stats.multivariate_normal(np.full(units * batches, 2.0), covariance).logpdf(data["value"])
    assert_known(tree, "between", at, density)
    assert float(tree["sample_stats"]["diverging"].sum()) == 0


@pytest.mark.slow
def test_a_standard_deviation_of_each_experiment():
    """Of known means: independent posteriors, and the pooled sd of a third parameter is none of them."""
    rng = np.random.default_rng(7)
    sds = {"first": 0.2, "second": 1.0}
    rows = [(name, 0.0, 1.0 + sd * rng.normal(), n) for name, sd in sds.items() for n in range(25)]
    data = pd.DataFrame(rows, columns=["experiment", "time", "value", "replicate"])
    space = uq.Space(a=uq.fixed(1.0), b=uq.fixed(0.0), sigma=uq.epistemic(uq.HalfNormal(1.0), by="experiment"))
    tree = calibrate(line(space, uq.Normal("x", "sigma"), data), draws=500, tune=300)
    for name, at in (("first", np.linspace(0.05, 0.6, 800)), ("second", np.linspace(0.3, 2.5, 800))):
        values = data.loc[data["experiment"] == name, "value"].to_numpy()
        density = stats.halfnorm(0, 1).logpdf(at) + stats.norm(1.0, at[:, None]).logpdf(values).sum(axis=1)
        assert_known(tree, f"sigma_{name}", at, density)


@pytest.mark.slow
def test_a_scale_times_a_level_that_is_only_known_as_a_product():
    """Relative data: a is known by its prior alone, a * scale exactly; the draws are those of the integral."""
    rng = np.random.default_rng(8)
    rows = [("one", 0.0, 3.0 + 0.05 * rng.normal(), gel, n) for gel in "uvw" for n in range(6)]
    data = pd.DataFrame(rows, columns=["experiment", "time", "value", "gel", "replicate"])
    space = uq.Space(
        a=uq.epistemic(uq.LogNormal(median=1.0, sigma=0.5)),
        b=uq.fixed(0.0),
        scale=uq.epistemic(uq.Normal(2.0, 2.0), by="gel"),
    )
    study = line(space, uq.Normal("scale*x", 0.05), data)
    tree = calibrate(study, draws=500, tune=300)
    at, density = np.linspace(0.2, 8.0, 3000), np.zeros(3000)
    for _, rows in data.groupby("gel"):
        values, count = rows["value"].to_numpy(), len(rows)
        for k, a in enumerate(at):
            covariance = 0.05**2 * np.eye(count) + (2.0 * a) ** 2 * np.ones((count, count))
            density[k] += stats.multivariate_normal(np.full(count, 2.0 * a), covariance).logpdf(values)
    assert_known(tree, "a", at, stats.lognorm(0.5).logpdf(at) + density)
    product = tree["posterior"]["a"] * tree["posterior"]["scale_v"]
    values = data.loc[data["gel"] == "v", "value"]
    assert float(product.mean()) == pytest.approx(values.mean(), abs=4 * 0.05 / np.sqrt(6) / 10)
    assert float(product.std()) == pytest.approx(0.05 / np.sqrt(6), rel=0.15)


def test_integrated_parameters_are_no_variables_of_the_sampler():
    data = pd.DataFrame({"experiment": "one", "time": [0.0, 1.0], "value": [1.0, 2.0], "gel": ["u", "v"]})
    space = uq.Space(
        a=uq.epistemic(uq.Normal(0.0, 1.0)), b=uq.fixed(1.0), scale=uq.epistemic(uq.Normal(1.0, 1.0), by="gel")
    )
    model = pymc_model(likelihood_of(line(space, uq.Normal("scale*x", 0.1), data)))
    assert [variable.name for variable in model.free_RVs] == ["a.", EFFECTS]
    assert {"scale_u.", "scale_v."} <= {each.name for each in model.deterministics}
