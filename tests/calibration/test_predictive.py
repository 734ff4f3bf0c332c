"""Bands over time: drawn where the curve bends or jumps, and as smooth as the outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import optimize, stats

import uqbench as uq
from uqbench.calibration.predictive import band
from uqbench.likelihoods import likelihood_of

K, RATE, END, DOSE, SD = 0.4, 3.0, 1.37, 3.33, 0.2


def empty(p, inputs):
    return {"A": 0.0 * p["k"]}


def infused(t, y, p, inputs):
    return {"A": jnp.where(t < inputs["end"], RATE, 0.0) - p["k"] * y["A"]}


def end_of_infusion(p, inputs):
    return inputs["end"]


def bolus(p, inputs):
    return {"A": (DOSE * jnp.ones(1), 2.0)}


def amount(y, p):
    return {"A": y["A"]}


def infusion_study(noise):
    """An infusion until 1.37, a bolus at 3.33; observed at 0.71, 5, 20, and in a second run at 10 only."""
    space = uq.Space(k=uq.epistemic(uq.LogNormal(median=K, sigma=0.1)))
    system = uq.Ode(empty, infused, switches=end_of_infusion, doses=bolus)
    model = uq.Model(space, system, amount, {"A": "mg"}, {"A": noise})
    data = pd.DataFrame(
        {"experiment": ["a", "a", "a", "b"], "output": "A", "time": [0.71, 5.0, 20.0, 10.0], "value": 1.0}
    )
    return uq.Study("infusion", model, {name: uq.Design(inputs={"end": END}) for name in "ab"}, data)


def draws(values):
    return xr.Dataset({"k": (("chain", "draw"), values[None])}, {"chain": [0], "draw": np.arange(len(values))})


def test_a_band_has_observations_doses_and_both_sides_of_them():
    study = infusion_study(uq.Normal("A", SD))
    found = band(likelihood_of(study), draws(np.full(400, K)), jax.random.key(0)).isel(run=0)
    times = found["time"].values
    assert np.all(np.diff(times) >= 0) and {0.0, 0.71, END, DOSE, 5.0, 20.0} <= {*times}
    peak = RATE / K * (1 - np.exp(-K * END))
    upper = found["A"].sel(quantile=0.95).values
    assert upper[np.flatnonzero(times == END)[0]] == pytest.approx(peak + SD * stats.norm.ppf(0.95), abs=0.02 * SD)
    beside = np.searchsorted(times, DOSE)
    median = found["A"].sel(quantile=0.5).values
    assert median[beside + 1] - median[beside] == pytest.approx(2.0, abs=1e-4)
    assert times[beside + 1] - times[beside] < 1e-4


@pytest.mark.parametrize("noise", [uq.Normal("A", SD), uq.StudentT(5, "A", SD)], ids=["normal", "t"])
def test_bands_are_smooth_and_have_the_quantiles_of_the_mixture(noise):
    k = K * np.exp(0.1 * stats.norm.ppf((np.random.default_rng(0).permutation(400) + 0.5) / 400))
    found = band(likelihood_of(infusion_study(noise)), draws(k), jax.random.key(1)).isel(run=1)
    late = found.isel(grid=found["time"].values > DOSE)
    curve, times = late["A"].sel(quantile=0.95).values, late["time"].values
    centre = RATE / k[:, None] * np.expm1(k[:, None] * END) * np.exp(-k[:, None] * times)
    centre += 2.0 * np.exp(-k[:, None] * (times - DOSE))
    errors = stats.norm if isinstance(noise, uq.Normal) else stats.t(5)
    exact = [optimize.brentq(lambda x, at=at: errors.cdf((x - at) / SD).mean() - 0.95, 0.0, 6.0) for at in centre.T]
    # 400 draws: the standard error of such a quantile of independent draws is 0.1 SD
    np.testing.assert_allclose(curve, exact, atol=0.15 * SD)
    # neighbours have the same error
    assert np.std(np.diff(curve - exact)) < 0.02 * SD


def test_an_event_whose_time_is_not_known_is_drawn_at_its_quantiles():
    space = uq.Space(k=uq.fixed(K), lag=uq.epistemic(uq.LogNormal(median=2.0, sigma=0.1)))

    def late_bolus(p, inputs):
        return {"A": (p["lag"] * jnp.ones(1), 2.0)}

    model = uq.Model(space, uq.Ode(empty, infused, doses=late_bolus), amount, {"A": "mg"}, {"A": uq.Normal("A", SD)})
    data = pd.DataFrame({"experiment": "a", "output": "A", "time": [1.0, 10.0], "value": 1.0})
    study = uq.Study("late", model, {"a": uq.Design(inputs={"end": 0.5})}, data)
    lags = np.linspace(1.8, 2.2, 400)
    posterior = draws(lags).rename(k="lag")
    times = band(likelihood_of(study), posterior, jax.random.key(0))["time"].isel(run=0).values
    for quantile in (0.05, 0.5, 0.95):
        assert np.min(np.abs(times - np.quantile(lags, quantile))) < 0.002


@pytest.mark.slow
def test_a_function_of_its_own_times_only_has_bands_there():
    """As of a regression on columns: no draw is lost over a band that cannot be drawn between the data."""
    column = np.array([0.5, 1.0, 2.0])
    space = uq.Space(a=uq.epistemic(uq.Normal(0.0, 1.0)))
    model = uq.Model.from_function(
        space, lambda theta, design, key: {"y": theta["a"] * jnp.asarray(column)}, {"y": ""}, {"y": uq.Normal("y", 1.0)}
    )
    data = pd.DataFrame({"experiment": "e", "output": "y", "time": [1.0, 2.0, 3.0], "value": column})
    tree = uq.calibrate(uq.Study("columns", model, {"e": uq.Design()}, data), draws=100, tune=100, chains=2)
    band = tree["posterior_band"].to_dataset()
    np.testing.assert_array_equal(band["time"].values, [[1.0, 2.0, 3.0]])
    # a standard normal error and a slope that is known to some tenths
    width = (band["y"].isel(quantile=-1) - band["y"].isel(quantile=0)).values
    assert np.all(width > 2.0)
