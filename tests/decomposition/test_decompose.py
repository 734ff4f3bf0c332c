import json

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import uqbench as uq
from studies.secretion import study as secretion
from uqbench import results
from uqbench.decomposition.decompose import PosteriorInputs
from uqbench.reporting import sections

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
