"""Coordinates of parameters of unknown width: independent of all else where the data are normal, and of no effect on
the density where they are not."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytensor.tensor as pt
import pytest
from scipy import integrate, stats

import uqbench as uq
from uqbench.calibration import calibrate
from uqbench.calibration.pilot import piloted
from uqbench.calibration.prepared import prepared
from uqbench.calibration.pymc_model import data_of, pymc_model, start_values, variable_name
from uqbench.errors import Interrupted
from uqbench.likelihoods import likelihood_of, log_likelihood, of_shared, of_units

from ..likelihoods.linear_noise.cells import molecules, study_of, table
from ..systems.reactions.networks import birth_death
from .sbc_studies import correlated

TIMES, NOISE = np.array([0.0, 1.0, 2.0]), 0.4


def lines(units=4):
    """Correlated intercepts and slopes, measured with normal noise."""
    study, rng = correlated(units), np.random.default_rng(3)
    a, b = rng.normal(2.0, 0.5, units), rng.normal(1.0, 0.5, units)
    rows = [
        (f"unit {unit}", "x", time, a[unit] + b[unit] * time + NOISE * rng.normal())
        for unit in range(units)
        for time in TIMES
    ]
    data = pd.DataFrame(rows, columns=["experiment", "output", "time", "value"])
    designs = {name: uq.Design() for name in study.experiments}
    return uq.Study("lines", study.model, designs, data, unit="experiment")


def log_density(model):
    """`function(values)` of the variables of a model: without the derivatives of its transforms."""
    density = model.compile_logp(jacobian=False)

    def function(values):
        point = {}
        for variable in model.free_RVs:
            value, transform = values[variable.name], model.rvs_to_transforms[variable]
            if transform is not None:
                value = transform.forward(pt.as_tensor_variable(value), *variable.owner.inputs).eval()
            point[model.rvs_to_values[variable].name] = value
        return float(density(point))

    return function


def test_coordinates_of_normal_data_are_standard_normal_whatever_the_rest_is():
    study = lines()
    density = log_density(pymc_model(likelihood_of(study)))
    values = study.data["value"].to_numpy().reshape(-1, 3)
    slopes = np.stack([np.ones(3), TIMES], axis=1)
    rng = np.random.default_rng(0)
    # spreads near zero are where a funnel has its neck
    for mean, sd, correlation in ((2.0, 0.5, 0.3), (1.0, 1e-3, -0.7), (-1.0, 3.0, 0.95)):
        covariance = np.array([[sd**2, correlation * sd * 0.5], [correlation * sd * 0.5, 0.25]])
        marginal = stats.multivariate_normal(
            slopes @ [mean, 1.0], slopes @ covariance @ slopes.T + NOISE**2 * np.eye(3)
        )
        known = stats.norm.logpdf(mean, 2.0, 1.0) + stats.halfnorm.logpdf(sd) + marginal.logpdf(values).sum()
        share = (1 + correlation) / 2
        known += stats.beta.logpdf(share, 2.0, 2.0)
        for _ in range(2):
            z = 2 * rng.normal(size=(4, 2))
            at = {"a_mean.": mean, "a_sd.": sd, "corr_a_b_share": share, "unit_latents": z}
            assert density(at) == pytest.approx(known + stats.norm.logpdf(z).sum(), abs=2e-6)


def cells():
    """Rows that depend on one another: cells with linear noise, which differ in a rate."""
    space = uq.Space(
        k_median=uq.epistemic(uq.LogNormal(median=80.0, sigma=0.3)),
        k_sd=uq.epistemic(uq.HalfNormal(0.3)),
        k=uq.aleatory(uq.LogNormal(median="k_median", sigma="k_sd")),
        g=uq.epistemic(uq.LogNormal(median=0.7, sigma=0.3)),
    )
    model = uq.Model(space, birth_death.linear_noise(), molecules, {"x": ""}, {"x": uq.Normal("x", 4.0)})
    values = {"c0": [60.0, 95.0, 120.0], "c1": [40.0, 80.0, 90.0]}
    data = pd.concat([table("x", [1.0, 2.0, 4.0], each, cell) for cell, each in values.items()], ignore_index=True)
    return study_of(model, data, restart=False)


def decays():
    """Amounts that are no line in their parameters, one of which is neither normal nor its logarithm."""
    space = uq.Space(
        k_median=uq.epistemic(uq.LogNormal(median=0.5, sigma=0.5)),
        k_sd=uq.epistemic(uq.HalfNormal(0.5)),
        start=uq.aleatory(uq.Gamma(8.0, 4.0)),
        k=uq.aleatory(uq.LogNormal(median="k_median", sigma="k_sd")),
    )
    model = uq.Model.from_function(space, decaying, {"y": ""}, {"y": uq.Normal("y", 0.1)}, name="decays")
    rows = [("e", "y", time, value * np.exp(-0.4 * time), unit) for unit, value in {"u": 1.5, "v": 3.0}.items()
            for time in (0.5, 1.0, 3.0)]  # fmt: skip
    data = pd.DataFrame(rows, columns=["experiment", "output", "time", "value", "who"])
    return uq.Study("decays", model, {"e": uq.Design()}, data, unit="who")


def decaying(theta, design, key):
    return {"y": theta["start"] * jnp.exp(-theta["k"] * design.times)}


@pytest.mark.parametrize("make", [pytest.param(cells, marks=pytest.mark.slow), decays])
def test_the_density_is_that_of_the_study_whatever_the_likelihood(make):
    """Prior times likelihood, up to the derivative of the map from the coordinates to the parameters."""
    study = make()
    likelihood, space = likelihood_of(study), study.model.space
    model, likelihood_at = pymc_model(likelihood), log_likelihood(study)
    density = log_density(model)
    names = [variable_name(name) for name in space.aleatory]
    place = model.compile_fn([model[name] for name in names], inputs=model.free_RVs, on_unused_input="ignore")
    rng, differences = np.random.default_rng(0), []
    medians = {variable_name(name): float(value) for name, value in space.nominal().items() if name in space.epistemic}
    for _ in range(2):
        z = rng.normal(size=(len(study.units), len(names)))
        theta = dict(zip(space.aleatory, place({**medians, "unit_latents": z}), strict=True))
        whole = {**space.nominal(), **theta}
        prior = sum(np.sum(space[name].dist.logpdf(theta[name], whole)) for name in space.aleatory)
        slope = np.linalg.slogdet(_derivatives(place, medians, z))[1]
        differences.append(density({**medians, "unit_latents": z}) - prior - slope - float(likelihood_at(whole)))
    assert np.ptp(differences) < 1e-4


def _derivatives(place, medians, z, step=1e-5):
    """Of all parameters of units by all coordinates."""

    def flat(z):
        return np.ravel(place({**medians, "unit_latents": z}))

    columns = []
    for index in np.ndindex(z.shape):
        change = np.zeros_like(z)
        change[index] = step
        columns.append((flat(z + change) - flat(z - change)) / (2 * step))
    return np.stack(columns, axis=1)


@pytest.mark.slow
def test_the_shape_of_a_gamma_distribution_between_units_has_a_gradient():
    """Counts of units whose rates have a gamma distribution of unknown shape."""
    space = uq.Space(
        shape=uq.epistemic(uq.LogNormal(median=1.0, sigma=1.0)), level=uq.aleatory(uq.Gamma("shape", "shape/3"))
    )
    model = uq.Model.from_function(space, level, {"y": ""}, {"y": uq.Poisson("y")}, name="rates")
    data = pd.DataFrame({"experiment": ["a", "b", "c"], "output": "y", "time": 1.0, "value": [0.0, 2.0, 9.0]})
    study = uq.Study("rates", model, {name: uq.Design() for name in "abc"}, data)
    ready = prepared(likelihood_of(study), [], 0, 16, False)
    point = np.array([0.3, -0.5, 0.2, 1.1])
    for k, slope in enumerate(np.asarray(ready.slope(point)[1])):
        step = 1e-4 * np.eye(4)[k]
        difference = (ready.slope(point + step)[0] - ready.slope(point - step)[0]) / 2e-4
        assert slope == pytest.approx(difference, rel=1e-3, abs=1e-4)


def schools(units=8):
    """Values with known standard errors around levels of units; the errors are as large as the spread."""
    rng = np.random.default_rng(5)
    errors = np.linspace(0.9, 1.8, units)
    values = rng.normal(0.5, np.hypot(errors, 0.4))
    space = uq.Space(
        mu=uq.epistemic(uq.Normal(0.0, 1.0)),
        tau=uq.epistemic(uq.HalfNormal(1.0)),
        level=uq.aleatory(uq.Normal("mu", "tau")),
    )
    data = pd.DataFrame({"experiment": "e", "output": "y", "time": 1.0, "value": values, "error": errors})
    model = uq.Model.from_function(
        space, level, {"y": ""}, {"y": uq.Normal("y", "error")}, name="schools", columns={"error": ""}
    )
    units = data.assign(school=[f"s{index}" for index in range(units)])
    return uq.Study("schools", model, {"e": uq.Design()}, units, unit="school"), values, errors


def level(theta, design, key):
    return {"y": theta["level"] + 0 * design.times}


@pytest.mark.slow
def test_a_spread_that_may_be_zero_is_resolved():
    """Eight levels with errors as large as their spread; the posterior of the spread by quadrature."""
    study, values, errors = schools()
    tree = calibrate(study, draws=500, tune=300)
    assert bool(tree["convergence"]["resolved"].all())

    def density(tau):
        variance = tau**2 + errors**2
        # mu integrated out: normal with mean 0 and sd 1 before
        precision = 1 + np.sum(1 / variance)
        mean = np.sum(values / variance) / precision
        exponent = -0.5 * np.sum(values**2 / variance) + 0.5 * precision * mean**2
        return np.exp(exponent - 0.5 * np.sum(np.log(variance)) - 0.5 * np.log(precision) - 0.5 * tau**2)

    total = integrate.quad(density, 0, 10)[0]
    draws = tree["posterior"]["tau"].values.ravel()
    worth = float(tree["convergence"]["ess_bulk"].sel(parameter="tau"))
    for quantile in (0.05, 0.2, 0.5, 1.0, 2.0):
        exact = integrate.quad(density, 0, quantile)[0] / total
        assert abs(np.mean(draws < quantile) - exact) < 4 * np.sqrt(exact * (1 - exact) / worth)


def test_what_data_say_of_units_is_exact_where_they_are_normal():
    study = lines()
    values, slopes = study.data["value"].to_numpy().reshape(-1, 3), np.stack([np.ones(3), TIMES], axis=1)
    # nor does it matter how wide the distribution is where they are asked
    for mean, width in ((2.0, 0.3), (-4.0, 0.3), (2.0, 1e-9)):
        theta = study.model.space.nominal() | {"a_mean": mean, "a_sd": width, "corr_a_b": 0.6}
        found = of_units(likelihood_of(study), theta)
        np.testing.assert_allclose(found.information, np.tile(slopes.T @ slopes / NOISE**2, (4, 1, 1)), rtol=1e-6)
        np.testing.assert_allclose(found.pull, values @ slopes / NOISE**2, rtol=1e-6)


def batches():
    """Levels of batches as epistemic parameters of a common distribution of unknown width."""
    rng = np.random.default_rng(1)
    names = [f"b{index}" for index in range(4)]
    rows = [("e", "y", 1.0, rng.normal(1.0, 0.5), name, k) for name in names for k in range(3)]
    data = pd.DataFrame(rows, columns=["experiment", "output", "time", "value", "batch", "replicate"])
    space = uq.Space(
        base=uq.epistemic(uq.LogNormal(median=1.0, sigma=0.5)),
        width=uq.epistemic(uq.HalfNormal(0.5)),
        factor=uq.epistemic(uq.LogNormal(median=1.0, sigma="width"), by="batch"),
    )
    noise = {"y": uq.Normal("factor*y", 0.3)}
    model = uq.Model.from_function(space, of_base, {"y": ""}, noise, name="batches")
    return uq.Study("batches", model, {"e": uq.Design()}, data)


def of_base(theta, design, key):
    return {"y": theta["base"] + 0 * design.times}


@pytest.mark.slow
def test_values_of_parameters_of_unknown_width_are_found_in_the_coordinates():
    likelihood = likelihood_of(batches())
    data = data_of(likelihood)
    model = pymc_model(likelihood, data)
    theta = {"base": 1.3, "width": 0.2} | {f"factor_b{each}": 0.8 + 0.1 * each for each in range(4)}
    variables = {model[name]: value for name, value in start_values(model, likelihood, theta, data).items()}
    for name, value in theta.items():
        found = model[variable_name(name)].eval(variables, on_unused_input="ignore")
        np.testing.assert_allclose(found, value, rtol=1e-10)


@pytest.mark.slow
def test_optima_are_those_of_other_coordinates():
    """They stay optima where data are asked elsewhere, with the same parameters."""
    likelihood = likelihood_of(batches())
    ready = prepared(likelihood, [], 0, 512, True)
    found = ready.expanded_at(likelihood, {"base": 2.0, "width": 0.1})
    names = likelihood.study.model.space.epistemic
    assert not np.allclose(found.data["factor_b0.information"], ready.data["factor_b0.information"])
    for each in (ready, found):
        assert np.max(np.abs(each.slope(each.optima[0].point)[1])) < 0.05
    before, after = (each.values_at(likelihood, each.optima[0]) for each in (ready, found))
    # a mode in other coordinates is another place, by a part of the sd of the posterior
    np.testing.assert_allclose([after[name] for name in names[2:]], [before[name] for name in names[2:]], atol=0.15)


def test_what_all_data_say_of_one_parameter_leaves_the_others_to_their_prior():
    """Of log factors of one batch each, at the mode, by the curvature of the logarithm of the posterior."""
    likelihood = likelihood_of(batches())
    space = likelihood.study.model.space
    names = tuple(f"factor_b{each}" for each in range(4))
    theta = space.nominal() | {"width": 0.4}
    found = of_shared(likelihood, names, theta)
    density = jax.jit(
        lambda y: likelihood.log_density({**theta, **{name: jnp.exp(y[k]) for k, name in enumerate(names)}})
    )
    for index in range(4):
        # batches do not speak of one another: the mode of each alone, from the expansion itself
        precision = found.information[index, 0, 0] + 1 / 0.4**2
        mode = found.pull[index, 0] / precision
        gradient = jax.grad(lambda v, index=index: density(jnp.zeros(4).at[index].set(v)))(mode)
        assert float(gradient) == pytest.approx(mode / 0.4**2, abs=0.02 * np.sqrt(precision))


def test_a_likelihood_without_information_says_nothing():
    study, _, _ = schools()
    likelihood = likelihood_of(study)

    class Silent(type(likelihood)):
        capabilities = frozenset({"terms", "gradient"})

    silent = Silent(likelihood.study, likelihood.observations, likelihood.groups)
    assert all(not np.any(each) for each in of_units(silent, study.model.space.nominal()))
    assert [each.shape for each in of_shared(silent, ("mu",), study.model.space.nominal())] == [(1, 1, 1), (1, 1)]


def test_data_are_asked_near_the_posterior_wherever_the_prior_is():
    """The sd of the noise is a tenth of what is thought before: data tell of units a hundred times as much."""
    rng = np.random.default_rng(2)
    space = uq.Space(
        mu=uq.epistemic(uq.Normal(0.0, 1.0)),
        tau=uq.epistemic(uq.HalfNormal(1.0)),
        sigma=uq.epistemic(uq.LogNormal(median=1.0, sigma=1.5)),
        level=uq.aleatory(uq.Normal("mu", "tau")),
    )
    model = uq.Model.from_function(space, level, {"y": ""}, {"y": uq.Normal("y", "sigma")}, name="levels")
    rows = [
        ("e", "y", float(k), value + 0.1 * rng.normal(), f"u{unit}")
        for unit, value in enumerate(rng.normal(0.0, 0.5, 5))
        for k in range(6)
    ]
    data = pd.DataFrame(rows, columns=["experiment", "output", "time", "value", "who"])
    likelihood = likelihood_of(uq.Study("levels", model, {"e": uq.Design()}, data, unit="who"))
    ready = prepared(likelihood, [], 0, 100, False)
    found = piloted(likelihood, ready, [0, 1])
    np.testing.assert_allclose(ready.data["unit_information"], 6.0, rtol=1e-6)
    sds = np.sqrt(6.0 / found.data["unit_information"])
    # the sd is known to 15 % from 25 deviations
    assert np.all((sds > 0.05) & (sds < 0.2))


def test_a_search_that_is_stopped_leaves_what_there_was(monkeypatch):
    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("uqbench.calibration.sampling.prepared", stopped)
    study, _, _ = schools()
    with pytest.raises(Interrupted) as caught:
        calibrate(study, draws=20, tune=20)
    assert "posterior" not in caught.value.tree.children
