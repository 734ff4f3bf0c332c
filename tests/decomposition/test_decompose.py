import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import xarray as xr

import uqbench as uq
from studies.secretion import study as secretion
from uqbench import results
from uqbench.decomposition.predictions import PosteriorInputs
from uqbench.reporting import sections, tables

EPISTEMIC, ALEATORY = 41.2172317666, 19.1554778099


def own_posterior(study, posterior):
    """A tree with draws that no verb has made."""
    return xr.DataTree.from_dict(results.start(study).to_dict() | {"/posterior": posterior})


@pytest.fixture(scope="module")
def tree():
    return uq.decompose(secretion, n=1024, seed=3)


def test_secretion_is_split_as_in_the_closed_form(tree):
    variance = tree["variance"].sel(quantity="C*")
    for part, truth in (("epistemic", EPISTEMIC), ("aleatory", ALEATORY), ("total", EPISTEMIC + ALEATORY)):
        assert float(variance[f"{part}_lower"]) < truth < float(variance[f"{part}_upper"])
        assert abs(float(variance[part]) - truth) < 4 * float(variance[f"{part}_standard_error"])
    assert float(variance["epistemic"] + variance["aleatory"]) == pytest.approx(float(variance["total"]))


def test_the_interaction_belongs_to_the_aleatory_part_not_to_its_first_order_index(tree):
    sobol = tree["sobol"].sel(quantity="C*")
    for name, truth in (("s", 0.6827129684), ("q", 0.2899785128)):
        index = sobol.sel(parameter=name)
        assert float(index["S1_lower"]) < truth < float(index["S1_upper"])
        assert float(index["ST_lower"]) < truth + 0.0273085187 < float(index["ST_upper"])


def test_the_measured_coverage_is_reported(tree):
    assert "%" in str(tree["variance"].attrs["coverage"])


def test_the_posterior_enters_as_one_input():
    """With a posterior the first-order index of `epistemic` is the epistemic share of the variance."""
    rng = np.random.default_rng(0)
    draws = rng.lognormal(0.0, 0.3, size=(4, 500))
    posterior = xr.Dataset({"s": (("chain", "draw"), draws)})
    start = own_posterior(secretion, posterior)
    tree = uq.decompose(secretion, start, n=1024, seed=0)
    sobol, variance = tree["sobol"].sel(quantity="C*"), tree["variance"].sel(quantity="C*")
    assert sobol.parameter.values.tolist() == ["epistemic", "q"]
    exact = np.var(draws) * (10 / 0.5) ** 2
    assert float(variance["epistemic_lower"]) < exact < float(variance["epistemic_upper"])
    share = exact / (exact + 16 * np.mean(draws**2))
    first = sobol.sel(parameter="epistemic")
    assert float(first["S1_lower"]) < share < float(first["S1_upper"])
    assert tree["variance"].attrs["epistemic_from"] == "posterior"


def test_posterior_inputs_pick_every_draw_equally():
    inputs = PosteriorInputs(secretion.model.space, {"s": np.arange(10.0)})
    theta = inputs.from_cube(np.stack([np.linspace(0.001, 0.999, 1000), np.full(1000, 0.5)], axis=1))
    assert np.bincount(np.asarray(theta["s"]).astype(int)).tolist() == [100] * 10
    np.testing.assert_allclose(theta["q"], 10.0)
    assert set(theta) == {"epistemic", "s", "q", "k"}


def test_seeds_and_settings_are_kept_and_zero_is_a_seed(tree):
    again = uq.decompose(secretion, n=1024, seed=3)
    xr.testing.assert_equal(again["variance"].to_dataset(), tree["variance"].to_dataset())
    zero = uq.decompose(secretion, n=64, runs=512, seed=0)
    one = uq.decompose(secretion, n=64, runs=512, seed=1)
    assert float(zero["variance"]["total"][0]) != float(one["variance"]["total"][0])
    assert json.loads(zero["variance"].attrs["settings"])["runs"] == 512


def test_wrong_settings_are_named_together():
    with pytest.raises(uq.InputError) as caught:
        uq.decompose(secretion, n=1, runs=2, confidence=2.0)
    assert len(caught.value.findings) == 3


@pytest.mark.slow
def test_intervals_of_the_verb_cover_as_often_as_they_say():
    """100 repetitions at 95 %: fewer than 88 hits have a probability of .002 where the coverage is right."""
    hits = dict.fromkeys(("epistemic", "aleatory", "total"), 0)
    for seed in range(100):
        variance = uq.decompose(secretion, n=16, runs=2048, seed=seed)["variance"].sel(quantity="C*")
        for part, truth in (("epistemic", EPISTEMIC), ("aleatory", ALEATORY), ("total", EPISTEMIC + ALEATORY)):
            hits[part] += float(variance[f"{part}_lower"]) < truth < float(variance[f"{part}_upper"])
    print(f"right in 100 repetitions: {hits}")
    assert min(hits.values()) >= 88


def added(theta, design, key):
    return {"y": (theta["a"] + theta["b"] + theta["q"]) * jnp.ones_like(design.times)}


def last(outputs, design):
    return outputs["y"][-1]


@pytest.mark.slow
def test_dependent_posterior_draws_have_shapley_effects():
    """Of a + b with sd 1 and 2 and correlation rho (Owen and Prieur 2017, doi:10.1137/16M1097717), q aleatory."""
    space = uq.Space(
        a=uq.epistemic(uq.Normal(0.0, 1.0)), b=uq.epistemic(uq.Normal(0.0, 2.0)), q=uq.aleatory(uq.Normal(0.0, 1.0))
    )
    study = uq.Study(
        name="added", model=uq.Model.from_function(space, added, {"y": ""}), experiments={"one": uq.Design([1.0])},
        quantities={"y": uq.Quantity(last, uq.Design([1.0]))},
    )  # fmt: skip
    rho, first, second = 0.7, 1.0, 2.0
    covariance = np.array([[first**2, rho * first * second], [rho * first * second, second**2]])
    draws = np.random.default_rng(0).multivariate_normal([0.0, 0.0], covariance, size=(4, 1000))
    posterior = xr.Dataset({name: (("chain", "draw"), draws[..., k]) for k, name in enumerate("ab")})
    start = own_posterior(study, posterior)
    tree = uq.decompose(study, start, n=64, seed=0, second_order=True)
    shapley = tree["shapley"].sel(quantity="y")
    total = covariance.sum()
    expected = first**2 * (1 - rho**2 / 2) + rho * first * second + second**2 * rho**2 / 2
    for name, value in (("a", expected / total), ("b", 1 - expected / total)):
        effect = shapley.sel(parameter=name)
        assert float(effect["shapley_lower"]) < value < float(effect["shapley_upper"])
        assert abs(float(effect["shapley"]) - value) < 0.05
    assert "S2" in tree["sobol"]
    assert json.loads(tree["shapley"].attrs["settings"])["second_order"] is True
    page = sections.sections(tree, "added")
    inputs = next(section for section in page if section.name == "inputs")
    assert any("Shapley" in getattr(block, "text", "") for block in inputs.blocks)
    assert any(getattr(block, "rows", [[""]])[0][0] == "a" for block in inputs.blocks)


DECAY = uq.Study(
    "decay",
    uq.Model(
        uq.Space(
            k=uq.epistemic(uq.LogNormal(median=1.0, sigma=0.3)),
            g=uq.epistemic(uq.LogNormal(median=0.5, sigma=0.4)),
            shift=uq.aleatory(uq.Normal(0.0, 0.1)),
        ),
        uq.Ode(lambda p, inputs: {"C": 1.0}, lambda t, y, p, inputs: {"C": -p["k"] * jnp.exp(p["shift"]) * y["C"]}),
        lambda y, p: {"C": y["C"], "heavy": y["C"], "wide": y["C"]},
        {"C": "", "heavy": "", "wide": ""},
        {"C": uq.Normal("C", 0.1), "heavy": uq.Cauchy("heavy", 0.1), "wide": uq.StudentT(1.5, "wide", 0.1)},
    ),
    {"one": uq.Design(np.linspace(0.0, 1.0, 5))},
    quantities={
        "end": lambda outputs, design: outputs["C"][-1],
        "exceeded": lambda outputs, design: outputs["C"][-1] > 0.4,
        "never": lambda outputs, design: outputs["C"][-1] > 3.0,
        "constant": lambda outputs, design: outputs["C"][0],
        "ratio": lambda outputs, design, p: p["k"] / p["g"],
    },
)


@pytest.fixture(scope="module")
def decay():
    return uq.decompose(DECAY, n=256, runs=4096)


@pytest.mark.slow
def test_an_event_has_a_probability(decay):
    """C(1) > 0.4 where k exp(shift) < log(2.5), whose logarithm is normal."""
    variance = decay["variance"].to_dataset()
    assert variance.event.values.tolist() == [False, True, True, False, False]
    probability = scipy.stats.norm.cdf(np.log(np.log(2.5)) / np.hypot(0.3, 0.1))
    row = tables.variance(decay).loc["exceeded"]
    assert abs(row["mean"] - probability) < 4 * row["mean_error"] < 0.1
    assert row["total"] == pytest.approx(probability * (1 - probability), abs=4 * row["total_standard_error"])


def test_functions_of_parameters_are_quantities(decay):
    row = tables.variance(decay).loc["ratio"]
    assert abs(row["mean"] - 2 * np.exp(0.125)) < 4 * row["mean_error"]
    assert row["aleatory"] == pytest.approx(0.0, abs=1e-12)
    sobol = decay["sobol"].to_dataset().sel(quantity="ratio")
    # g is in no equation of the model
    for name, sigma in (("k", 0.3), ("g", 0.4)):
        exact = np.expm1(sigma**2) / np.expm1(0.25)
        assert float(sobol.S1_lower.sel(parameter=name)) < exact < float(sobol.S1_upper.sel(parameter=name))
    assert float(sobol.ST.sel(parameter="shift")) == pytest.approx(0.0, abs=1e-12)


def test_each_quantity_by_itself(decay):
    """What is constant, and noise without a variance, is said to be; the others stay what they are alone."""
    for group in ("variance", "sobol"):
        reasons = dict(zip(decay[group]["quantity"].values, decay[group]["reason"].values, strict=True))
        assert {name for name, reason in reasons.items() if reason} == {"never", "constant"}
        assert "same value" in reasons["constant"]
    variance = decay["variance"].to_dataset()
    assert variance["mean"].sel(quantity=["never", "constant"]).values.tolist() == [0.0, 1.0]
    assert np.isnan(variance.total.sel(quantity=["never", "constant"])).all()
    assert np.isnan(decay["sobol"].to_dataset().ST.sel(quantity="never")).all()
    alone = uq.decompose(dataclasses.replace(DECAY, quantities={"end": DECAY.quantities["end"]}), n=64, runs=4096)
    exact = float(alone["variance"]["total"][0])
    assert float(variance.total_lower[0]) < exact < float(variance.total_upper[0])
    assert decay["variance_over_time"]["output"].values.tolist() == ["C"]
    left_out = results.attribute(decay, "variance", "not_over_time")
    assert set(left_out) == {"heavy", "wide"} and all("100 % of the runs" in why for why in left_out.values())


def test_the_page_says_what_is_left_out(decay, tmp_path):
    uq.report(DECAY, decay, path=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    for part in ("Left out: never, since every run gives the same value", "heavy over time, since its noise",
                 "probability 0.", "probability 0<"):  # fmt: skip
        assert part in page
    assert "nan" not in sections._quantities(decay).rows.__repr__().lower()


def test_a_failed_run_is_no_event():
    """y' = y^2 leaves every bound at the time 1 / y(0): those runs count neither for an event nor against it."""
    model = uq.Model(
        uq.Space(start=uq.epistemic(uq.Uniform(0.5, 1.05))),
        uq.Ode(lambda p, inputs: {"y": p["start"]}, lambda t, y, p, inputs: {"y": y["y"] ** 2}),
        lambda y, p: {"y": y["y"]},
        {"y": ""},
        {},
    )
    above = {
        "above": lambda outputs, design: outputs["y"][-1] > 4.0,
        "start": lambda outputs, design, p: p["start"],
    }
    study = uq.Study("blow-up", model, {"one": uq.Design([1.0])}, quantities=above)
    found = uq.decompose(study, n=64, runs=4096)["variance"].to_dataset()
    assert 0 < int(found.n_valid[0]) < int(found.n_valid[1])
    # of starts from 0.5 to 1, those from 0.8; all starts for what needs no run
    assert float(found["mean"][0]) == pytest.approx(0.4, abs=0.04)
    assert float(found["mean"][1]) == pytest.approx(0.775, abs=0.015)
