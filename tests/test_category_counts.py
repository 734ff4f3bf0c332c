"""Counts in categories: the density is the multinomial one, and the posterior that of Dirichlet."""

import itertools

import arviz as az
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import uqbench as uq
from uqbench.calibration import calibrate
from uqbench.likelihoods import likelihood_of, log_likelihood

NAMES = ("A", "B", "C")
AMOUNTS = {"a": 2.0, "b": 0.7, "c": 4.0}


def initial(p, inputs):
    return {"A": p["a"], "B": p["b"], "C": p["c"]}


def constant(t, y, p, inputs):
    return {name: 0.0 * y[name] for name in y}


def seen(y, p):
    return {name: y[name] for name in NAMES}


def table(samples):
    rows = [
        ("e", name, 1.0, count, replicate)
        for replicate, counts in enumerate(samples)
        for name, count in zip(NAMES, counts, strict=False)
    ]
    return pd.DataFrame(rows, columns=["experiment", "output", "time", "value", "replicate"])


def study_of(data, categories=NAMES, **priors):
    counts = uq.multinomial(data, categories)
    space = uq.Space({name: uq.epistemic(uq.Gamma(alpha, 1.0)) for name, alpha in AMOUNTS.items()} | priors)
    model = uq.Model(
        space, uq.Ode(initial, constant), seen, dict.fromkeys(NAMES, ""), counts.noise, columns=counts.columns
    )
    return uq.Study("fates", model, {"e": uq.Design()}, counts.data)


SAMPLES = [(3, 1, 6), (0, 0, 5), (2, 0, 0), (0, 4, 1), (7, 0, 0)]


@pytest.mark.parametrize("categories", [NAMES, ("C", "A", "B"), ("A", "B")], ids="".join)
def test_the_density_is_that_of_the_multinomial_in_any_order(categories):
    data = table(SAMPLES)
    study = study_of(data[data["output"].isin(categories)], categories)
    theta = {"a": 0.5, "b": 1.5, "c": 2.0}
    amounts = np.array([theta[name.lower()] for name in categories])
    places = [NAMES.index(name) for name in categories]
    counts = np.array(SAMPLES)[:, places]
    expected = stats.multinomial(counts.sum(axis=1), amounts / amounts.sum()).logpmf(counts).sum()
    found = log_likelihood(study)({name: jnp.asarray(value) for name, value in theta.items()})
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_two_categories_are_binomial():
    found = uq.multinomial(table([(3, 5), (1, 0)]), ("A", "B"))
    assert found.data[["output", "value", "remaining"]].values.tolist() == [["A", 3, 8.0], ["A", 1, 1.0]]
    assert found.noise == {"A": uq.Binomial(n="remaining", p="A/(A + B)")}


def test_probabilities_of_all_possible_counts_add_up_to_one():
    theta = {name: jnp.asarray(value) for name, value in {"a": 0.5, "b": 1.5, "c": 2.0}.items()}
    possible = [counts for counts in itertools.product(range(4), repeat=3) if sum(counts) == 3]
    total = sum(np.exp(float(log_likelihood(study_of(table([counts])))(theta))) for counts in possible)
    assert total == pytest.approx(1.0, rel=1e-9)


@pytest.mark.slow
def test_the_posterior_of_the_shares_is_that_of_dirichlet():
    """Amounts with Gamma priors of one rate have Dirichlet shares: the counts are added to their exponents."""
    samples = [(3, 1, 6), (5, 0, 4), (2, 2, 7)]
    tree = calibrate(study_of(table(samples)), draws=500, tune=400)
    amounts = xr.concat([tree["posterior"][name] for name in AMOUNTS], "category")
    shares = amounts / amounts.sum("category")
    known = stats.dirichlet(np.array([*AMOUNTS.values()]) + np.sum(samples, axis=0))
    for share, mean, variance in zip(shares, known.mean(), known.var(), strict=True):
        ess = float(az.ess(share.drop_vars("category", errors="ignore")))
        assert ess > 400
        assert float(share.mean()) == pytest.approx(mean, abs=4 * np.sqrt(variance / ess))
        # of a distribution whose tails are no heavier than normal ones
        assert float(share.std()) == pytest.approx(np.sqrt(variance), rel=4 / np.sqrt(2 * ess))
    # samples of 10, 9 and 11 cells: a measurement is drawn of whole ones
    assert tree["posterior_band"]["A"].notnull().all()


def test_the_information_is_that_of_binomials_of_those_that_were_left():
    study = study_of(table([(3, 1, 6)]))
    theta = np.array([0.5, 1.5, 2.0])
    likelihood = likelihood_of(study)
    found = likelihood.information(lambda x: dict(zip("abc", x, strict=True)), jnp.asarray(theta))[0]
    # p = a / (a + b + c) of 10 trials, q = b / (b + c) of 7
    total, rest = theta.sum(), theta[1:].sum()
    p, q = theta[0] / total, theta[1] / rest
    of_p = np.array([rest, -theta[0], -theta[0]]) / total**2
    of_q = np.array([0.0, theta[2], -theta[1]]) / rest**2
    expected = 10 * np.outer(of_p, of_p) / (p * (1 - p)) + 7 * np.outer(of_q, of_q) / (q * (1 - q))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


def test_rows_of_other_outputs_stay_as_they_are():
    other = pd.DataFrame([("e", "D", 1.0, "<0.5", 0)], columns=["experiment", "output", "time", "value", "replicate"])
    found = uq.multinomial(pd.concat([table([(3, 1, 6)]), other], ignore_index=True), NAMES)
    assert found.data.iloc[-1][["output", "value"]].tolist() == ["D", "<0.5"]
    assert np.isnan(found.data.iloc[-1]["remaining"])


@pytest.mark.parametrize(
    ("data", "categories", "sentences"),
    [
        (table(SAMPLES).assign(value=0.5), NAMES, ["rows 0, 1, 2, 3, 4, ...: 0.5 is no count; give whole numbers."]),
        (table(SAMPLES).drop(columns="replicate"), NAMES, ["several counts of one category in one sample"]),
        (table(SAMPLES).drop(index=1), NAMES, ["rows 0, 2: samples without a count of each category; give zeros"]),
        (table(SAMPLES), ("A", "B", "E"), ["the table has no rows of 'E'"]),
        (table(SAMPLES), ("A", "A"), ["give two or more names, none twice."]),
        (table(SAMPLES), ("A", "B 1"), ["the category 'B 1' is no name for a formula"]),
        (table(SAMPLES).assign(remaining=1), NAMES, ["the table has a column 'remaining' already"]),
        (table(SAMPLES).drop(columns="value"), ("A",), ["no column 'value'", "give two or more names"]),
        (table(SAMPLES).replace({"value": {7: -7}}), NAMES, ["row 12: -7 is no count"]),
    ],
)
def test_what_is_wrong_is_said(data, categories, sentences):
    with pytest.raises(uq.InputError) as caught:
        uq.multinomial(data, categories)
    for sentence in sentences:
        assert sentence in str(caught.value)
