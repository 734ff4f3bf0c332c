"""Likelihoods of one's own: rows that depend on one another, densities that are estimates, and what is refused."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import uqbench as uq
from uqbench.calibration import compare_models, log_likelihood
from uqbench.identifiability import fisher_information
from uqbench.likelihoods import Independent, Likelihood, likelihood_of
from uqbench.likelihoods.layout import lay_out


def level(theta, design, key):
    return {"y": theta["m"] + 0 * design.times}


LEVELS = uq.Model.from_function(
    uq.Space(m=uq.epistemic(uq.Normal(0.0, 2.0))), level, {"y": ""}, {"y": uq.Normal("y", 0.3)}, name="level"
)


def level_study(likelihood=None):
    """Four units with five measurements each, which share an offset of sd 0.5 beside errors of sd 0.3."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        [("e", "y", float(t), 1.0 + offset + 0.3 * rng.normal(), who)
         for who, offset in zip("abcd", 0.5 * rng.normal(size=4), strict=True) for t in range(5)],
        columns=["experiment", "output", "time", "value", "who"],
    )  # fmt: skip
    return uq.Study("level", LEVELS, {"e": uq.Design()}, table, unit="who", likelihood=likelihood)


COVARIANCE = 0.25 * np.ones((5, 5)) + 0.09 * np.eye(5)


@dataclass(frozen=True, eq=False)
class Offsets(Likelihood):
    """The rows of a unit are jointly normal; a term is the data of a unit."""

    kind = "a joint normal density of each unit"
    capabilities = frozenset({"gradient", "terms", "information"})
    term = "unit"

    @classmethod
    def of(cls, study):
        return cls(study, lay_out(study))

    def _terms(self, theta, values=None):
        value = self.observations.rows["y"].value if values is None else values["y"]
        residual = jnp.reshape(value, (4, 5)) - theta["m"]
        return jax.scipy.stats.multivariate_normal.logpdf(residual, jnp.zeros(5), COVARIANCE)

    def log_density(self, theta, key=None, values=None):
        return jnp.sum(self._terms(theta, values))

    def pointwise(self, theta, key=None):
        return {"data": self._terms(theta)}

    def terms(self):
        return {"data": pd.DataFrame({"who": self.study.units})}

    def simulate(self, theta, key):
        return {"y": jax.random.multivariate_normal(key, theta["m"] * jnp.ones(5), COVARIANCE, (4,)).ravel()}

    def predict(self, thetas, design, key):
        shape = (len(thetas["m"]), design.times.size)
        return {"y": thetas["m"][:, None] + np.sqrt(0.34) * jax.random.normal(key, shape)}

    def information(self, place, x):
        slope = jax.jacfwd(lambda x: jnp.broadcast_to(place(x)["m"], (5,)))(x)
        return jnp.broadcast_to(slope.T @ np.linalg.inv(COVARIANCE) @ slope, (4, len(x), len(x)))

    def results(self, theta, key=None):
        return jnp.zeros(len(self.observations.unit), int)


@pytest.mark.slow
def test_rows_that_depend_on_one_another_have_terms_by_unit():
    study = level_study(Offsets.of)
    values = study.data["value"].to_numpy().reshape(4, 5)
    expected = stats.multivariate_normal(np.full(5, 0.7), COVARIANCE).logpdf(values)
    assert float(log_likelihood(study)({"m": 0.7})) == pytest.approx(expected.sum(), rel=1e-12)
    tree = uq.calibrate(study, draws=300, tune=200, chains=2, seed=0)
    posterior, terms = tree["posterior"]["m"], tree["log_likelihood"].to_dataset()
    precision = 1 / 4 + 4 * np.linalg.inv(COVARIANCE).sum()
    assert float(posterior.std()) == pytest.approx(precision**-0.5, rel=0.15)
    assert terms["data"].dims == ("chain", "draw", "data_unit") and terms.attrs["term"] == "unit"
    assert terms["data_who"].values.tolist() == list("abcd")
    assert tree["posterior_predictive"].to_dataset()["y"].shape[-1] == 20
    information = fisher_information(study, {"m": 0.7}, scale="natural")
    assert float(information.matrix.item()) == pytest.approx(4 * np.linalg.inv(COVARIANCE).sum())
    independent = uq.calibrate(level_study(), draws=100, tune=100, chains=2, seed=0)
    with pytest.raises(uq.InputError, match="one term of the likelihoods is not the same"):
        compare_models({"joint": tree, "independent": independent})


def test_a_study_with_another_likelihood_has_other_results():
    digests = {study.data_digest for study in (level_study(), level_study(Offsets.of), level_study(Independent.of))}
    assert len(digests) == 3
    assert level_study(Offsets.of).data_digest in digests


@dataclass(frozen=True, eq=False)
class Estimated(Offsets):
    """Offsets that are averaged over at random: each key gives another estimate, unbiased for the density."""

    kind = "an average over random offsets"
    capabilities = frozenset({"pseudo_marginal"})
    count = 2000

    def log_density(self, theta, key=None, values=None):
        offsets = theta["m"] + 0.5 * jax.random.normal(key, (self.count, 4, 1))
        value = self.observations.rows["y"].value if values is None else values["y"]
        each = jax.scipy.stats.norm.logpdf(jnp.reshape(value, (4, 5)), offsets, 0.3).sum(axis=-1)
        return jnp.sum(jax.nn.logsumexp(each, axis=0) - np.log(self.count))


def test_an_estimated_density_takes_a_key():
    function, exact = log_likelihood(level_study(Estimated.of)), log_likelihood(level_study(Offsets.of))
    estimates = [float(function({"m": 1.0}, jax.random.key(seed))) for seed in range(20)]
    assert len(set(estimates)) == 20
    assert np.mean(estimates) == pytest.approx(float(exact({"m": 1.0})), abs=0.3)


class Rough(Estimated):
    """The same of so few that the logarithm of the estimate has a standard deviation of about .4."""

    count = 100


@pytest.mark.slow
def test_an_estimated_density_is_calibrated_as_the_exact_one():
    study = level_study(Rough.of)
    tree = uq.calibrate(study, draws=250, chains=2, seed=0)
    assert tree["sample_stats"].attrs["sampler"] == "smc"
    values = study.data["value"].to_numpy().reshape(4, 5)
    weights = np.linalg.inv(COVARIANCE).sum(axis=0)
    precision = 1 / 4 + 4 * weights.sum()
    mean, sd = (values @ weights).sum() / precision, precision**-0.5
    draws = tree["posterior"]["m"]
    # some 200 independent draws: 3 standard errors
    assert float(draws.mean()) == pytest.approx(mean, abs=0.2 * sd)
    assert float(draws.std()) == pytest.approx(sd, rel=0.15)


def test_a_verb_says_which_capability_is_missing():
    study = level_study(Estimated.of)
    sentence = "the likelihood, an average over random offsets, has no gradient .*; give .* the study a `likelihood`"
    with pytest.raises(uq.InputError, match=sentence):
        uq.calibrate(study, sampler="nutpie")
    with pytest.raises(uq.InputError, match="an average over random offsets, has no Fisher information; give"):
        fisher_information(study)
    with pytest.raises(uq.InputError, match="must return a likelihoods"):
        likelihood_of(level_study(lambda study: 1.0))
    with pytest.raises(uq.InputError, match="the likelihood is 3"):
        level_study(3)


def test_a_model_without_a_gradient_is_not_sampled_by_gradients():
    study = level_study()
    blind = replace(study, model=replace(study.model, gradient="none"))
    with pytest.raises(uq.InputError, match="a product over independent measurements, has no gradient"):
        uq.calibrate(blind, sampler="nutpie")
    assert uq.calibrate(blind, draws=10)["sample_stats"].attrs["sampler"] == "smc"
