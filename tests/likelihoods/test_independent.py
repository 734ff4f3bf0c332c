from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import uqbench as uq
from uqbench.likelihoods import likelihood_of, log_likelihood, simulate_data
from uqbench.likelihoods.layout import each_run, per_run
from uqbench.likelihoods.solve_error import noise_values, output_errors

from ..conftest import decay_observe, decay_space


def log_density(study, k, sigma):
    doses = {"low": 2.0, "high": 4.0}
    mean = study.data["experiment"].map(doses) * np.exp(-k * study.data["time"])
    return float(stats.norm.logpdf(study.data["value"], mean, sigma).sum())


def test_log_likelihood_is_the_closed_form(decay_study):
    function = log_likelihood(decay_study)
    for k, sigma in ((0.5, 0.1), (0.8, 0.3)):
        assert float(function({"k": k, "sigma": sigma})) == pytest.approx(log_density(decay_study, k, sigma), rel=1e-7)


def test_gradient_is_that_of_the_closed_form_in_both_modes(decay_study):
    function = log_likelihood(decay_study)
    step = 1e-5
    expected = [
        (log_density(decay_study, 0.6 + step, 0.2) - log_density(decay_study, 0.6 - step, 0.2)) / (2 * step),
        (log_density(decay_study, 0.6, 0.2 + step) - log_density(decay_study, 0.6, 0.2 - step)) / (2 * step),
    ]
    for differentiate in (jax.grad, jax.jacfwd):
        gradient = differentiate(function)({"k": jnp.asarray(0.6), "sigma": jnp.asarray(0.2)})
        np.testing.assert_allclose([gradient["k"], gradient["sigma"]], expected, rtol=1e-5)


def explosive_initial(p, inputs):
    return {"C": jnp.ones(())}


def explosive_rhs(t, y, p, inputs):
    return {"C": p["k"] * y["C"] ** 2}


def test_a_failed_solve_is_minus_infinity_with_a_zero_gradient(decay_table):
    model = uq.Model(
        decay_space(),
        uq.Ode(explosive_initial, explosive_rhs),
        decay_observe,
        {"C": "mg/L"},
        {"C": uq.Normal("C", "sigma")},
    )
    study = uq.Study("explosive", model, {"low": uq.Design(), "high": uq.Design()}, decay_table)
    value, gradient = jax.value_and_grad(log_likelihood(study))({"k": jnp.asarray(2.0), "sigma": jnp.asarray(0.2)})
    assert float(value) == -np.inf
    assert all(np.isfinite(float(part)) for part in gradient.values())
    value, gradient = jax.value_and_grad(log_likelihood(study))({"k": jnp.asarray(0.05), "sigma": jnp.asarray(0.2)})
    assert np.isfinite(float(value)) and float(gradient["k"]) != 0.0


def test_only_what_enters_the_simulation_gets_sensitivities(decay_study):
    assert decay_study.model.dynamics.parameters_used(decay_study.model, decay_study.experiments["low"]) == ("k",)


def test_simulated_data_have_the_noise_they_claim(decay_study):
    theta = {"k": 0.5, "sigma": 0.3}
    draws = [simulate_data(decay_study, theta, jax.random.key(seed))["value"] for seed in range(200)]
    doses = decay_study.data["experiment"].map({"low": 2.0, "high": 4.0})
    residual = (np.stack(draws) - (doses * np.exp(-0.5 * decay_study.data["time"])).to_numpy()) / 0.3
    # 1400 standard normals: the standard error of their sd is 1 / sqrt(2 n)
    assert abs(residual.std() - 1) < 4 / np.sqrt(2 * residual.size)
    assert abs(residual.mean()) < 4 / np.sqrt(residual.size)


def test_runs_of_different_lengths_share_one_batch(decay_study):
    observations = likelihood_of(decay_study).observations
    assert observations.design.times.shape == (2, 3)
    run, when, values, *_ = observations.rows["C"]
    times = np.asarray(observations.design.times)[run, when]
    np.testing.assert_array_equal(times, decay_study.data["time"])
    np.testing.assert_array_equal(values, decay_study.data["value"])


# --- outputs are evaluated together: the same numbers as one by one

LEVELS = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 5.0, "f": 1.5, "g": 2.5, "h": 0.0}
MANY_KINDS = {
    "a": uq.Normal("a", "s"),
    "b": uq.Normal("b", 0.3),
    "c": uq.Normal("c", "r"),
    # one value in two arguments, and a number that differs from that of b
    "d": uq.Normal("d", "d"),
    "e": uq.Normal("e", 0.7),
    # the same family by other arguments, and an argument that is another output
    "f": uq.LogNormal(median="f", sigma="s"),
    "g": uq.LogNormal(median="a", sigma=0.4),
    "h": uq.Poisson("h"),
}


def levels(theta, design, key):
    """Outputs in proportion to k; h is below zero by rounding."""
    found = {name: level * theta["k"] * jnp.exp(-design.times) for name, level in LEVELS.items()}
    return found | {"h": jnp.where(design.times == 0, 1.0, -1e-15)}


def study_of_many_kinds():
    space = uq.Space(
        s=uq.epistemic(uq.LogNormal(median=0.5, sigma=0.2)),
        r=uq.aleatory(uq.LogNormal(median=0.5, sigma=0.2)),
        k=uq.aleatory(uq.LogNormal(median=1.0, sigma=0.2)),
    )
    model = uq.Model.from_function(space, levels, dict.fromkeys(LEVELS, ""), MANY_KINDS)
    # outputs in turn, so that neither groups nor outputs are contiguous in the table
    rows = [
        {"experiment": "x", "unit": unit, "output": output, "time": time, "value": 0.0 if output == "h" else 1.1}
        for time in (0.0, 0.4)
        for output in reversed(LEVELS)
        for unit in ("u", "v", "w")
        if (output, unit) != ("c", "v")
    ]
    return uq.Study("many", model, {"x": uq.Design()}, pd.DataFrame(rows), unit="unit")


@pytest.mark.slow
def test_rows_that_are_evaluated_together_have_the_values_of_each_output():
    study = study_of_many_kinds()
    likelihood, model, noise = likelihood_of(study), study.model, study.model.noise
    observations = likelihood.observations
    theta = {"s": jnp.asarray(0.6), "r": jnp.array([0.4, 0.5, 0.7]), "k": jnp.array([0.9, 1.0, 1.2])}
    outputs = each_run(observations, theta, lambda theta, design: uq.evaluate(model, theta, design).outputs)
    parameters = per_run(observations, theta)
    errors = jax.vmap(partial(output_errors, model))(parameters, observations.design, outputs)
    known, terms = likelihood.known(theta), likelihood.pointwise(theta)
    assert len(likelihood.groups) < len(noise)
    assert list(known) == list(terms) == list(reversed(LEVELS))
    means, variances = [], []
    for output, (run, when, values, *_) in observations.rows.items():
        expected = noise_values(
            model,
            output,
            {name: column[run, when] for name, column in outputs.items()},
            {name: column[run] for name, column in parameters.items()},
            {name: column[run] for name, column in errors.items()},
        )
        found, ok = known[output]
        assert list(found) == list(expected)
        for name, column in expected.items():
            np.testing.assert_array_equal(found[name], column)
        np.testing.assert_allclose(terms[output], noise[output].logpdf(values, expected), rtol=1e-14)
        assert np.all(np.isfinite(terms[output])) and np.all(ok)
        means.append(jnp.broadcast_to(noise[output].mean(expected), run.shape))
        variances.append(jnp.broadcast_to(noise[output].variance(expected), run.shape))
    total = float(log_likelihood(study)(theta))
    assert total == pytest.approx(float(sum(column.sum() for column in terms.values())), rel=1e-13)
    # by unit, in the order of the outputs; unit v has no row of c
    moments = likelihood.moments(theta)
    unit = np.concatenate([observations.unit[rows.run] for rows in observations.rows.values()])
    for index, (mean, covariance) in enumerate(zip(*moments, strict=True)):
        rows = np.flatnonzero(unit == index)
        absent = len(mean) - len(rows)
        assert absent == (2 if index == study.units.index("v") else 0)
        np.testing.assert_allclose(mean, [*np.concatenate(means)[rows], *np.zeros(absent)], rtol=1e-14)
        np.testing.assert_allclose(
            covariance, np.diag([*np.concatenate(variances)[rows], *np.ones(absent)]), rtol=1e-14
        )


@pytest.mark.slow
def test_the_information_of_each_unit_is_that_of_its_rows():
    """J' I J of every row by the author's formula, its noise alone; sums over units are the information of all."""
    study = study_of_many_kinds()
    likelihood, noise, space = likelihood_of(study), study.model.noise, study.model.space
    start = jnp.array([0.6, 0.5, 1.1])

    def place(x):
        return dict(zip(space.names, x, strict=True))

    expected = np.zeros((3, 3, 3))
    for row in study.data.itertuples():
        dist, index = noise[row.output], study.units.index(row.unit)

        def arguments(x, dist=dist, row=row):
            theta = place(x)
            found = {name: level * theta["k"] * jnp.exp(-row.time) for name, level in LEVELS.items()}
            found["h"] = jnp.where(row.time == 0, 1.0, 0.0) + 0 * theta["k"]
            return jnp.stack(list(dist.resolve({**theta, **found}).values()))

        values = dict(zip(dist.arguments, arguments(start), strict=True))
        information = np.asarray(
            type(dist)(**{name: float(value) for name, value in values.items()}).fisher_information()
        )
        slope = np.asarray(jax.jacfwd(arguments)(start))
        # that of a count with a rate of zero is infinite, and nothing moves it
        expected[index] += slope.T @ np.where(np.isfinite(information), information, 0.0) @ slope
    np.testing.assert_allclose(likelihood.information(place, start), expected, rtol=1e-12, atol=1e-12)
    root = likelihood.sensitivities(place, start)
    np.testing.assert_allclose(root.T @ root, expected.sum(axis=0), rtol=1e-12, atol=1e-12)


def test_the_operations_of_a_likelihood_do_not_grow_with_its_outputs():
    """Beyond those of the simulator itself: each output may cost what it takes to put it into one array."""
    counts = []
    for size in (4, 40):
        names = [f"y{index}" for index in range(size)]

        def simulate(theta, design, key, names=names):
            return dict.fromkeys(names, theta["k"] * design.times)

        space = uq.Space(
            k=uq.epistemic(uq.Normal(1.0, 1.0)),
            **{f"s{index}": uq.epistemic(uq.LogNormal(0.0, 1.0)) for index in range(size)},
        )
        noise = {name: uq.Normal(name, f"s{index}") for index, name in enumerate(names)}
        model = uq.Model.from_function(space, simulate, dict.fromkeys(names, ""), noise)
        data = pd.DataFrame({"experiment": "x", "output": names, "time": 1.0, "value": 1.0})
        function = log_likelihood(uq.Study("growing", model, {"x": uq.Design()}, data))
        text = str(jax.make_jaxpr(function)(space.nominal()))
        counts.append([text.count(f"{operation}[") for operation in ("gather", "log", "select_n")])
    assert counts[0] == counts[1], counts
