"""What verbs say of a reduced model: in the tree, aloud, and on the page."""

import functools
import json
import warnings
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from forward_models.michaelis_menten import standard
from studies import receptor_tf
from uqbench.calibration import compare_models
from uqbench.time_scales.study_separation import DRAWS, separation_of_study

SPACE = uq.Space(
    eps=uq.fixed(1e-3),
    k=uq.epistemic(uq.LogNormal(median=1.0, sigma=0.1), "1/h"),
    sigma=uq.fixed(0.1),
)


def initial(p, inputs):
    return {"x": -2.0 * jnp.ones(()), "y": jnp.zeros(())}


def folded(t, y, p, inputs):
    """The relaxation oscillator: its fast equation has three equilibria between the folds."""
    return {"x": (y["x"] - y["x"] ** 3 / 3 + y["y"]) / p["eps"], "y": -p["k"] * y["x"]}


def observe(y, p):
    return {"y": y["y"]}


def last(outputs, design):
    return outputs["y"][-1]


@functools.cache
def folded_study():
    model = uq.Model(SPACE, uq.Ode(initial, folded), observe, {"y": ""}, {"y": uq.Normal("y", "sigma")}, name="folded")
    experiments = {"short": uq.Design([0.1, 0.2]), "long": uq.Design([1.0, 3.0])}
    return uq.Study(
        "folded", model.reduced(["x"]), experiments, quantities={"end": uq.Quantity(last, uq.Design([0.2]))}
    )


def test_a_weak_separation_is_named_in_the_tree_and_aloud(tmp_path):
    study = folded_study()
    with pytest.warns(uq.SeparationWarning, match="weak separation"):
        tree = uq.decompose(study, n=64, runs=256)
    found = tree["separation"].to_dataset()
    assert found.attrs["verdict"] == "weak" and "stable equilibria" in found.attrs["warning"]
    assert found.attrs["share_strong"] < 0.5 and found.sizes == {"experiment": 2, "draw": DRAWS}
    # it stays with the tree, through storage and further verbs, and stands on the page
    tree = uq.load(uq.save(tree, tmp_path / "tree.zarr"))
    tree = uq.identify(study, tree, starts=0)
    assert tree["separation"].attrs["verdict"] == "weak"
    assert set(tree["structure"].verdict.values) == {"undecided"}
    # the fast equation is shown at rest, as it has no formula to put in its place
    equations = json.loads(tree["structure"].attrs["equations"])
    assert equations[0].startswith("0 = ") and "x^{3}" in equations[0] and len(equations) == 3
    page = tmp_path / "page.html"
    uq.report(study, tree, path=page)
    text = page.read_text()
    assert "Time scales" in text and "Not to be relied on" in text and "weak separation" in text


@pytest.mark.slow
def test_check_model_says_that_a_separation_is_weak():
    """A run itself says nothing: it is pure, and a sampler makes millions of them."""
    model = folded_study().model
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        uq.evaluate(model, {"k": 1.0}, uq.Design([0.1, 0.3]))
    with pytest.warns(uq.SeparationWarning, match="weak"):
        check = uq.check_model(model, uq.Design([0.1, 0.3]))
    assert "stable equilibria" in check.separation and "time scales" in str(check)


@pytest.mark.slow
def test_a_strong_separation_is_reported_with_its_error(tmp_path):
    tree = uq.identify(receptor_tf.reduced, starts=0)
    found = tree["separation"].to_dataset()
    assert found.attrs["verdict"] == "strong" and found.attrs["warning"] == ""
    assert found.attrs["share_strong"] == 1.0 and np.all(found.error_of_draw < 0.01)
    page = tmp_path / "page.html"
    uq.report(receptor_tf.reduced, tree, path=page)
    assert "far enough apart" in page.read_text()


def test_doubtful_draws_and_designs_of_quantities_are_named():
    wide = uq.Space({**standard.space, "E0": uq.epistemic(uq.LogNormal(median=0.02, sigma=2.5), "uM")})
    design = uq.Design([10.0, 50.0], inputs={"S0": 1.0})

    def product(outputs, design):
        return outputs["P"][-1]

    study = uq.Study("wide", replace(standard, space=wide), {"one": design})
    found = separation_of_study(study)
    assert found.attrs["verdict"] == "strong" and 0 < found.attrs["share_strong"] < 1
    assert "draws from the prior" in found.attrs["warning"]
    scarce = uq.Design([0.1], inputs={"S0": 1e-3})
    study = uq.Study("scarce", standard, {"one": design}, quantities={"P": uq.Quantity(product, scarce, "uM")})
    found = separation_of_study(study)
    assert found.experiment.values.tolist() == ["one", "quantity P"]
    assert found.verdict.values.tolist()[1] == "absent" and found.attrs["warning"]


@pytest.mark.slow
def test_a_full_model_has_no_such_group():
    assert "separation" not in uq.identify(receptor_tf.study, starts=0).children


def test_draws_may_be_given():
    found = separation_of_study(receptor_tf.reduced, {"beta": np.full(50, 2.0), "delta": np.full(50, 0.1)})
    assert found.attrs["drawn_from"] == "posterior" and np.ptp(found.epsilon_of_draw.values[::2]) < 1e-12


@pytest.mark.slow
def test_full_and_reduced_predict_alike():
    """Twenty measurements with 5 % noise do not see a receptor that settles within a second."""
    trees = {s.name: uq.calibrate(s, draws=250, tune=250, seed=1) for s in (receptor_tf.study, receptor_tf.reduced)}
    found = compare_models(trees)
    assert set(found.model.values) == {"receptor_tf", "receptor_tf_reduced"}
    # the Pareto shape of one of twenty points may come out above .7 with some 300 effective draws
    assert float(found.difference[0]) == 0.0 and np.all(found.doubtful <= 1)
    assert np.all(found.seconds > 0) and np.all(found.gradients_per_draw > 1)
    # less than one unit of log density apart, where the standard error of each is above three
    assert abs(float(found.difference[1])) < 1.0 < float(found.elpd_standard_error.min())
    # once calibrated, the time scales are judged where the posterior is
    assert trees["receptor_tf_reduced"]["separation"].attrs["drawn_from"] == "posterior"
    for name in ("beta", "delta", "sigma"):
        one, other = (tree["posterior"][name] for tree in trees.values())
        assert abs(float(one.mean() - other.mean())) < 0.5 * float(one.std())
        assert abs(float(one.mean()) - receptor_tf.truth[name]) < 3 * float(one.std())


@pytest.mark.slow
def test_models_of_other_data_are_not_compared():
    with pytest.raises(uq.InputError) as caught:
        compare_models({"one": uq.identify(receptor_tf.study, starts=0)})
    assert "at least two" in str(caught.value) and "calibrate that study first" in str(caught.value)
