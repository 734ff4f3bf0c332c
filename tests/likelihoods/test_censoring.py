"""Likelihoods of values that are known only to be beyond a limit."""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

import uqbench as uq
from uqbench.likelihoods import likelihood_of, log_likelihood, simulate_data
from uqbench.measurements import placeholders
from uqbench.optimization import find_map

TIMES = np.arange(6.0)
TRUTH = {"a": 5.0, "k": 0.4, "s": 0.3}


def initial(p, inputs):
    return {"x": p["a"]}


def decaying(t, y, p, inputs):
    return {"x": -p["k"] * y["x"]}


def seen(y, p):
    return {"x": y["x"]}


def study(noise, values, aleatory=False, **columns):
    role = uq.aleatory if aleatory else uq.epistemic
    space = uq.Space(
        a=role(uq.LogNormal(median=5.0, sigma=0.5)),
        k=uq.epistemic(uq.LogNormal(median=0.5, sigma=0.5), "1/h"),
        s=uq.epistemic(uq.HalfNormal(1.0)),
    )
    model = uq.Model(space, uq.Ode(initial, decaying), seen, units={"x": ""}, noise={"x": noise}, name="decaying")
    rows = {"experiment": "one", "output": "x", "time": TIMES, "value": values}
    return uq.Study("decaying", model, {"one": uq.Design(TIMES)}, pd.DataFrame(rows | columns))


X = TRUTH["a"] * np.exp(-TRUTH["k"] * TIMES)
MEASURED = ["4.5", ">3", "2", "1", "<1", "<1"]
COUNTED = ["4", ">2", "2", "1", "<1", "<2"]
CASES = [
    (uq.Normal("x", "s"), MEASURED, lambda x: stats.norm(x, 0.3)),
    (uq.LogNormal(median="x", sigma="s"), MEASURED, lambda x: stats.lognorm(0.3, scale=x)),
    (uq.StudentT(4, "x", "s"), MEASURED, lambda x: stats.t(4, x, 0.3)),
    (uq.Laplace("x", "s"), MEASURED, lambda x: stats.laplace(x, 0.3)),
    (uq.Gamma(mu="x", sigma="s"), MEASURED, lambda x: stats.gamma((x / 0.3) ** 2, scale=0.3**2 / x)),
    (uq.Poisson("x"), COUNTED, stats.poisson),
    (uq.NegativeBinomial("x", "s"), COUNTED, lambda x: stats.nbinom(0.3, 0.3 / (0.3 + x))),
]


def expected(values, of, discrete):
    total = 0.0
    for text, x in zip(values, X, strict=True):
        one, limit = of(x), float(text.strip("<>"))
        if text[0] == "<":
            total += one.logcdf(limit - 1 if discrete else limit)
        elif text[0] == ">":
            total += one.logsf(limit)
        else:
            total += one.logpmf(limit) if discrete else one.logpdf(limit)
    return total


@pytest.mark.parametrize(
    ("noise", "values", "of"), CASES, ids=lambda each: repr(each) if isinstance(each, uq.Normal) else ""
)
def test_log_density_and_its_gradient(noise, values, of):
    function = log_likelihood(study(noise, values))
    assert float(function(TRUTH)) == pytest.approx(expected(values, of, noise.discrete), rel=1e-6)
    slopes = jax.grad(lambda theta: function(theta))({name: jnp.asarray(value) for name, value in TRUTH.items()})
    for name in ("a", "k", *(["s"] if "s" in noise.names else [])):
        width = 1e-4 * TRUTH[name]
        ahead, behind = (float(function({**TRUTH, name: TRUTH[name] + way * width})) for way in (1, -1))
        assert float(slopes[name]) == pytest.approx((ahead - behind) / (2 * width), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("noise", "of"),
    [(uq.Poisson("x"), stats.poisson), (uq.NegativeBinomial("x", "s"), lambda x: stats.nbinom(0.3, 0.3 / (0.3 + x)))],
    ids=["Poisson", "NegativeBinomial"],
)
def test_a_count_may_be_its_limit_where_this_is_said_so(noise, of):
    values = ["4", ">= 2", "≥3", "1", "<=1", "≤0"]
    known = of(X)
    total = known.logpmf(np.array([4, 0, 0, 1, 0, 0]))[[0, 3]].sum()
    total += known.logsf(1)[1] + known.logsf(2)[2] + known.logcdf(1)[4] + known.logpmf(0)[5]
    found = study(noise, values)
    assert float(log_likelihood(found)(TRUTH)) == pytest.approx(total, rel=1e-6)
    # what is simulated is censored where the data were
    assert found.table["lower_limit"].tolist() == [-np.inf] * 4 + [2.0, 1.0]
    assert found.table["upper_limit"].tolist() == [np.inf, 1.0, 2.0, np.inf, np.inf, np.inf]


def test_scores_have_the_gradient_of_the_density():
    likelihood = likelihood_of(study(uq.Normal("x", "s"), MEASURED))
    names = [*TRUTH]

    def place(x):
        return dict(zip(names, x, strict=True))

    x = jnp.array([*TRUTH.values()])
    scores = jax.jit(lambda x: likelihood.scores(place, x))(x)
    gradient = jax.jit(jax.grad(lambda x: likelihood.log_density(place(x))))(x)
    np.testing.assert_allclose(scores.gradient, gradient, rtol=1e-6)
    np.testing.assert_allclose(scores.root.T @ scores.residual, gradient, rtol=1e-6)


def test_what_a_censored_value_tells_goes_from_nothing_to_all():
    """Far below the limit a value says nothing; a limit far below what is expected, as much as the value would."""
    told = []
    for limit in (20.0, 3.0, 0.01):
        likelihood = likelihood_of(study(uq.Normal("x", 0.3), ["5", "3", "2", "1.5", "1", f"<{limit}"]))
        whole = likelihood_of(study(uq.Normal("x", 0.3), ["5", "3", "2", "1.5", "1", "0.7"]))

        def place(x):
            return {"a": x[0], "k": x[1], "s": jnp.asarray(0.3)}

        x = jnp.array([5.0, 0.1])
        with_it, all_of_it = (
            np.asarray(jax.jit(partial(each.information, place))(x))[0] for each in (likelihood, whole)
        )
        slope = np.array([np.exp(-0.5), -5 * 5 * np.exp(-0.5)])
        without = all_of_it - np.outer(slope, slope) / 0.3**2
        told.append(np.linalg.norm(with_it - without) / np.linalg.norm(all_of_it - without))
    assert told[0] < 1e-6
    assert 0.5 < told[1] < 1
    assert told[2] == pytest.approx(1.0, abs=0.05)


def test_simulated_tables_are_censored_as_the_data_would_be():
    whole = study(uq.Normal("x", "s"), X, lower_limit=1.2)
    found = pd.concat([simulate_data(whole, TRUTH, jax.random.key(k)) for k in range(50)])
    below = found["censored"] == "below"
    assert (found.loc[below, "value"] == 1.2).all()
    assert (found.loc[~below, "value"] >= 1.2).all()
    share = below.groupby(found["time"]).mean()
    np.testing.assert_allclose(share, stats.norm.cdf(1.2, X, 0.3), atol=3.5 * 0.5 / np.sqrt(50))


def test_draws_of_a_distribution_cannot_be_censored():
    from studies.gene_expression import study as snapshots

    data = snapshots.table.assign(censored="")
    data.loc[data.index[0], "censored"] = "below"
    censored = uq.Study("snapshots", snapshots.model, snapshots.experiments, data, unit=snapshots.unit)
    with pytest.raises(uq.InputError, match="values beyond a limit cannot be part of"):
        likelihood_of(censored)


@pytest.mark.slow
def test_the_best_fit_counts_what_censored_values_tell():
    """Of a normal sample with a limit, the maximum of the likelihood by another optimiser."""
    rng = np.random.default_rng(3)
    measured = 1.0 + 0.5 * rng.normal(size=30)
    values = ["<0.9" if value < 0.9 else str(value) for value in measured]
    model = uq.Model(
        uq.Space(a=uq.epistemic(uq.Normal(0.0, 5.0)), s=uq.epistemic(uq.LogNormal(median=1.0, sigma=2.0))),
        uq.Ode(initial, still), seen, units={"x": ""}, noise={"x": uq.Normal("x", "s")}, name="still",
    )  # fmt: skip
    data = pd.DataFrame({"experiment": "one", "output": "x", "time": 0.0, "value": values})
    fit = find_map(uq.Study("still", model, {"one": uq.Design()}, data.assign(replicate=range(30))), prior=False)

    def surprise(x):
        noise = stats.norm(x[0], np.exp(x[1]))
        below = measured < 0.9
        return -np.sum(noise.logpdf(measured[~below])) - np.sum(below) * noise.logcdf(0.9)

    best = optimize.minimize(surprise, [1.0, 0.0], tol=1e-10).x
    np.testing.assert_allclose(fit["value"], [best[0], np.exp(best[1])], rtol=1e-4)
    # a fit to the limits in place of what lies below them is another one
    at_limits = np.maximum(measured, 0.9)
    assert abs(np.mean(at_limits) - best[0]) > 0.05


def still(t, y, p, inputs):
    return {"x": 0.0 * y["x"]}


def test_measurements_to_come_are_not_censored():
    one = study(uq.Normal("x", "s"), MEASURED)
    table = pd.concat([placeholders(one.table)] * 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        planned = uq.Study("planned", one.model, one.experiments, table)
    assert len(planned.table) == 12 and "censored" not in planned.table
