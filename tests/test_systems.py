"""A kind of dynamics that the library has never heard of works with every verb, and says what it cannot do."""

import functools
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

import uqbench as uq
from uqbench.calibration import log_likelihood, simulation_based_calibration
from uqbench.identifiability import fisher_information
from uqbench.likelihoods import Snapshots, likelihood_of, simulate_data
from uqbench.systems import Density, Outcome, Run, System
from uqbench.systems.protocol import Functions


@dataclass(frozen=True)
class Walk(System):
    """Random walkers on a ring: where one is, and the moments of many, follow from how fast waves decay.

    Outputs are the mean and the variance of the place, and the place itself, as a run its expected value; what one
    walker's place may be is the density that the system gives.

    Args:
        sites: of the ring; the walkers start in the middle.
    """

    sites: int

    kind = "a random walk"
    capabilities = frozenset({"density"})

    @property
    def places(self):
        return jnp.arange(self.sites) - self.sites // 2

    def _share(self, theta, times):
        """The share of walkers `(times, sites)` at each place."""
        # on a ring, waves are what jumps leave as they are
        k = 2 * jnp.pi * jnp.arange(self.sites) / self.sites
        rate = theta["right"] * (jnp.exp(-1j * k) - 1) + theta["left"] * (jnp.exp(1j * k) - 1)
        start = jnp.fft.fft(jnp.where(self.places == 0, 1.0, 0.0))
        return jnp.fft.ifft(start * jnp.exp(rate * times[:, None])).real

    def _outputs(self, model, theta, times):
        share = self._share(theta, times)
        mean = share @ self.places
        found = {"mean": mean, "variance": share @ self.places**2 - mean**2, "place": mean}
        return {name: found[name] for name in model.outputs}

    def _outcome(self, theta):
        return Outcome(jnp.where(theta["right"] < 0, 11, 0), jnp.zeros((), int), jnp.zeros((), int))

    def functions(self, model, design):
        calls = {"walk": (lambda theta: self._outputs(model, theta, design.times), ())}
        return Functions({}, calls, (f"{self.sites} sites",))

    def output_shapes(self, model, theta, design):
        return jax.eval_shape(lambda theta: self._outputs(model, theta, design.times), theta), []

    def run(self, model, theta, design, key, plan, *, reverse=False, sharper=1.0):
        outputs, outcome = self._outputs(model, theta, design.times), self._outcome(theta)
        return Run({name: jnp.where(outcome.result == 0, at, jnp.nan) for name, at in outputs.items()}, *outcome)

    def random_outputs(self, model):
        return ("place",) if "place" in model.outputs else ()

    def density(self, model, theta, design, plan):
        found = Density(jnp.asarray(self.places, float), self._share(theta, design.times))
        return dict.fromkeys(self.random_outputs(model), found), self._outcome(theta)


@functools.cache
def walkers(sites: int = 41) -> uq.Model:
    space = uq.Space(
        {
            "right": uq.epistemic(uq.LogNormal(median=1.0, sigma=0.5), "1/h"),
            "left": uq.epistemic(uq.LogNormal(median=0.5, sigma=0.5), "1/h"),
            "sigma": uq.epistemic(uq.HalfNormal(0.2)),
        }
    )
    units = {"mean": "", "variance": ""}
    return uq.Model(
        space, Walk(sites), None, units, {"mean": uq.Normal("mean", "sigma")}, name="walkers", time_unit="h"
    )


THETA = {"right": 1.2, "left": 0.4, "sigma": 0.1}
TIMES = np.linspace(0.5, 3.0, 6)


def drift(outputs, design):
    return outputs["mean"][-1]


def study() -> uq.Study:
    rng = np.random.default_rng(0)
    values = 0.8 * TIMES + 0.1 * rng.normal(size=len(TIMES))
    data = pd.DataFrame({"experiment": "one", "output": "mean", "time": TIMES, "value": values})
    quantities = {"drift": uq.Quantity(drift, uq.Design([3.0]))}
    return uq.Study("walkers", walkers(), {"one": uq.Design()}, data, quantities)


def test_runs_alone_and_in_batches():
    run = uq.evaluate(walkers(), THETA, uq.Design(TIMES))
    np.testing.assert_allclose(run.outputs["mean"], 0.8 * TIMES, rtol=1e-6)
    np.testing.assert_allclose(run.outputs["variance"], 1.6 * TIMES, rtol=1e-6)
    many = uq.evaluate_many(walkers(), {**THETA, "right": np.array([1.2, -1.0, 2.0])}, uq.Design(TIMES))
    assert many.result.tolist() == [0, 11, 0]
    np.testing.assert_allclose(many.outputs["mean"][0], run.outputs["mean"], rtol=1e-12)
    assert np.all(np.isnan(many.outputs["mean"][1]))


@pytest.mark.slow
def test_every_verb_takes_it(tmp_path):
    walk = study()
    assert uq.check_model(walk.model, uq.Design(TIMES)).gradient_error < 1e-6
    tree = uq.identify(walk)
    # no equations: the structure stays open, and what the data know is found all the same
    assert set(tree["structure"].verdict.values) == {"undecided"}
    assert "a random walk has no equations to read" in str(tree["structure"].reason.values[0])
    assert tree["fisher"].attrs["rank"] >= 2
    tree = uq.calibrate(walk, tree, draws=100, tune=200, chains=2, seed=1)
    difference = tree["posterior"]["right"] - tree["posterior"]["left"]
    assert abs(float(difference.mean()) - 0.8) < 0.2
    tree = uq.decompose(walk, tree, n=64, runs=256)
    variance = tree["variance"]
    assert float(variance.total.sel(quantity="drift").item()) > 0
    page = tmp_path / "page.html"
    uq.report(walk, tree, path=page)
    assert "walkers" in page.read_text()


def test_what_it_cannot_do_is_said_in_one_sentence():
    model = walkers()
    with pytest.raises(uq.InputError, match="a random walk has no states to reduce; describe its dynamics as an Ode"):
        model.reduced(["mean"])
    with pytest.raises(uq.InputError, match="give an Ode, a System"):
        uq.Model(model.space, "a string", None, model.units)


def test_digests_tell_systems_apart():
    from uqbench.model import digest

    design = uq.Design(TIMES)
    assert digest(walkers(41), design) == digest(walkers(41), design) != digest(walkers(43), design)


# --- data that are draws from the distribution that the system gives: walkers looked at once, each at its own time

RATES = {"right": 1.2, "left": 0.4}


def place_law(time, right, left):
    """On a ring too large to come round: the difference of two Poisson numbers."""
    return stats.skellam(right * time, left * time)


@functools.cache
def snapshots(model=None, unit=None):
    """Sixty walkers, twenty at each of three times; half of them belong to each of two groups."""
    if model is None:
        space = uq.Space({name: uq.epistemic(uq.LogNormal(median=0.8, sigma=0.5), "1/h") for name in RATES})
        model = uq.Model(space, Walk(41), None, {"place": ""}, name="walkers", time_unit="h")
    times = np.repeat([0.5, 1.0, 3.0], 20)
    rng = np.random.default_rng(0)
    values = [place_law(time, **RATES).rvs(random_state=rng) for time in times]
    table = {"experiment": "one", "output": "place", "time": times, "value": values, "group": ["a", "b"] * 30}
    quantities = {"drift": uq.Quantity(place_at_end, uq.Design(np.linspace(0.5, 3.0, 6)))}
    return uq.Study("snapshots", model, {"one": uq.Design()}, pd.DataFrame(table), quantities, unit=unit)


def place_at_end(outputs, design):
    return outputs["place"][-1]


def test_the_density_of_the_system_is_the_likelihood_of_its_data():
    study = snapshots()
    likelihood, function = likelihood_of(study), log_likelihood(study)
    assert isinstance(likelihood, Snapshots)
    for rates in (RATES, {"right": 0.7, "left": 0.9}):
        terms = [place_law(time, **rates).logpmf(value) for time, value in study.data[["time", "value"]].values]
        theta = {name: jnp.asarray(rate) for name, rate in rates.items()}
        np.testing.assert_allclose(likelihood.pointwise(theta)["place"], terms, rtol=1e-8)
        assert float(function(theta)) == pytest.approx(sum(terms), rel=1e-10)
        assert likelihood.results(theta).tolist() == [0]
    # where the solve fails, and where a value is impossible
    for theta, values in (({"right": -1.0, "left": 0.4}, None), (RATES, {"place": np.full(60, 0.5)})):
        theta = {name: jnp.asarray(rate) for name, rate in theta.items()}
        value, slope = jax.value_and_grad(lambda theta, v=values: likelihood.log_density(theta, values=v))(theta)
        assert float(value) == -np.inf and all(float(each) == 0 for each in slope.values())


def score_of_place(time, right, left, places):
    """Derivatives (2, places) of log p = -(right + left) t + k/2 log(right / left) + log I_k(2 t sqrt(right left))."""
    z = 2 * time * np.sqrt(right * left)
    slope = (special.ive(places - 1, z) + special.ive(places + 1, z)) / 2 / special.ive(places, z)
    by_right = -time + places / (2 * right) + slope * time * np.sqrt(left / right)
    by_left = -time - places / (2 * left) + slope * time * np.sqrt(right / left)
    return np.stack([by_right, by_left])


def test_the_information_of_snapshots_is_that_of_the_law():
    """The expected square of the score; of two groups, half each."""
    study, places = snapshots(), np.arange(-20, 21)
    expected = np.zeros((2, 2))
    for time in study.data["time"]:
        score = score_of_place(time, **RATES, places=places)
        expected += score * place_law(time, **RATES).pmf(places) @ score.T
    found = fisher_information(study, RATES, scale="natural")
    np.testing.assert_allclose(found.matrix, expected, rtol=1e-6)
    grouped = likelihood_of(snapshots(unit="group"))
    by_group = grouped.information(lambda x: dict(zip(RATES, x, strict=True)), jnp.array([*RATES.values()]))
    np.testing.assert_allclose(by_group, np.stack([expected / 2] * 2), rtol=1e-6)
    by_row = grouped.row_sensitivities(lambda x: dict(zip(RATES, x, strict=True)), jnp.array([*RATES.values()]))[
        "place"
    ]
    for root, time in zip(by_row, grouped.study.data["time"], strict=True):
        score = score_of_place(time, **RATES, places=places)
        np.testing.assert_allclose(root.T @ root, score * place_law(time, **RATES).pmf(places) @ score.T, rtol=1e-6)


def test_moments_and_simulated_snapshots_are_those_of_the_law():
    study = snapshots()
    theta = {name: jnp.asarray(rate) for name, rate in RATES.items()}
    moments = likelihood_of(study).moments(theta)
    times = study.data["time"].to_numpy()
    np.testing.assert_allclose(moments.mean[0], 0.8 * times, rtol=1e-7)
    np.testing.assert_allclose(moments.covariance[0], np.diag(1.6 * times), atol=1e-6)
    drawn = np.stack([simulate_data(study, theta, jax.random.key(seed))["value"] for seed in range(100)])
    score = (drawn - 0.8 * times) / np.sqrt(1.6 * times)
    # 6000 standardised draws; the kurtosis of a Skellam law is at most 3 + 1 / 0.8
    assert abs(score.mean()) < 4 / np.sqrt(score.size)
    assert abs(score.var() - 1) < 4 * np.sqrt(3.25 / score.size)


@pytest.mark.slow
def test_every_verb_takes_snapshots(tmp_path):
    study = snapshots()
    tree = uq.identify(study)
    assert "a random walk has no equations to read" in str(tree["structure"].reason.values[0])
    assert tree["fisher"].attrs["rank"] == 2
    tree = uq.calibrate(study, tree, draws=200, tune=200, chains=2, seed=0)
    for name, rate in RATES.items():
        draws = tree["posterior"][name]
        assert abs(float(draws.mean()) - rate) < 4 * float(draws.std())
    assert tree["log_likelihood"].to_dataset()["place"].shape == (2, 200, 60)
    # a band of one walker, not of the mean of many: at the end its standard deviation is about 2.2
    band = tree["posterior_band"]["place"].isel(run=0, grid=-1)
    assert 5 < float(band.sel(quantile=0.95) - band.sel(quantile=0.05)) < 10
    tree = uq.decompose(study, tree, n=64, runs=256)
    page = tmp_path / "page.html"
    uq.report(study, tree, path=page)
    assert "place" in page.read_text()


@pytest.mark.slow
def test_snapshots_recover_what_they_are_given():
    found = simulation_based_calibration(snapshots(), repetitions=20, draws=100, tune=150, ranks=31)
    assert found.attrs["uniform"] and found.attrs["failed"] == 0


@pytest.mark.slow
def test_the_first_order_information_of_a_population_of_snapshots_is_the_closed_form():
    """A group's places have the mean (right - left) t, and vary by (right + left) t and with the group's own rate."""
    space = uq.Space(
        centre=uq.epistemic(uq.LogNormal(median=1.0, sigma=0.5)),
        right=uq.aleatory(uq.LogNormal(median="centre", sigma=0.3)),
        left=uq.epistemic(uq.LogNormal(median=0.5, sigma=0.5)),
    )
    model = uq.Model(space, Walk(41), None, {"place": ""})
    found = fisher_information(snapshots(model, unit="group"), scale="natural")
    times = np.repeat([0.5, 1.0, 3.0], 10)
    covariance = np.diag(1.5 * times) + np.outer(0.3 * times, 0.3 * times)
    slope = np.stack([times, -times], axis=1)
    np.testing.assert_allclose(found.matrix, 2 * slope.T @ np.linalg.inv(covariance) @ slope, rtol=1e-6)


def test_random_outputs_without_a_density_have_no_likelihood(tmp_path):
    def noisy(theta, design, key):
        return {"y": theta["m"] + jax.random.normal(key, design.times.shape)}

    space = uq.Space(m=uq.epistemic(uq.Normal(0.0, 1.0)))
    model = uq.Model.from_function(space, noisy, {"y": ""}, {"y": uq.Normal("y", 0.1)}, stochastic=True)
    data = pd.DataFrame({"experiment": "e", "output": "y", "time": [1.0, 2.0], "value": [0.1, 0.3]})
    study = uq.Study("noisy", model, {"e": uq.Design()}, data)
    sentence = "a simulator without a system has no density of its outputs; give a deterministic form"
    with pytest.raises(uq.InputError, match=sentence):
        uq.calibrate(study)
    with pytest.warns(UserWarning, match=sentence):
        tree = uq.identify(study)
    assert "fisher" not in tree.children and sentence in tree["structure"].attrs["no_information"]


def test_noise_and_a_density_in_one_table_need_a_likelihood_of_both():
    model = replace(walkers(), units={"mean": "", "place": ""})
    data = pd.DataFrame({"experiment": "one", "output": ["mean", "place"], "time": 1.0, "value": [0.8, 1.0]})
    study = uq.Study("both", model, {"one": uq.Design()}, data)
    with pytest.raises(uq.InputError, match=r"'place' are measured as draws .* give the study a `likelihood`"):
        likelihood_of(study)
