"""A kind of dynamics that the library has never heard of works with every verb, and says what it cannot do."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import uqbench as uq
from uqbench.systems import Outcome, Run, System
from uqbench.systems.protocol import Functions


@dataclass(frozen=True)
class Walk(System):
    """The spread of many random walkers on a ring: its moments follow from how fast waves decay.

    Args:
        sites: of the ring; the walkers start in the middle.
    """

    sites: int

    kind = "a random walk"

    def _outputs(self, theta, times):
        # on a ring, waves are what jumps leave as they are
        k = 2 * jnp.pi * jnp.arange(self.sites) / self.sites
        rate = theta["right"] * (jnp.exp(-1j * k) - 1) + theta["left"] * (jnp.exp(1j * k) - 1)
        places = jnp.arange(self.sites) - self.sites // 2
        start = jnp.fft.fft(jnp.where(places == 0, 1.0, 0.0))
        share = jnp.fft.ifft(start * jnp.exp(rate * times[:, None])).real
        mean = share @ places
        return {"mean": mean, "variance": share @ places**2 - mean**2}

    def functions(self, model, design):
        return Functions({}, {"walk": (lambda theta: self._outputs(theta, design.times), ())}, (f"{self.sites} sites",))

    def output_shapes(self, model, theta, design):
        return jax.eval_shape(lambda theta: self._outputs(theta, design.times), theta), []

    def run(self, model, theta, design, key, plan, *, reverse=False, sharper=1.0):
        outputs = self._outputs(theta, design.times)
        broken = jnp.where(theta["right"] < 0, 11, 0)
        return Run(
            {name: jnp.where(broken == 0, values, jnp.nan) for name, values in outputs.items()},
            *Outcome(broken, jnp.zeros((), int), jnp.zeros((), int)),
        )


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
