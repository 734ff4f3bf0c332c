"""Subjects with different numbers of doses in one batch: what separate solves give."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import uqbench as uq
from uqbench.calibration.predictive import _instants
from uqbench.likelihoods import likelihood_of, log_likelihood

SPACE = uq.Space(
    k=uq.epistemic(uq.LogNormal(median=0.3, sigma=0.5)),
    F=uq.epistemic(uq.Beta(5, 2)),
    lag=uq.epistemic(uq.LogNormal(median=0.2, sigma=0.1)),
)
THETA = {"k": jnp.asarray(0.4), "F": jnp.asarray(0.6), "lag": jnp.asarray(0.25)}
DOSES = {"none": ([], []), "one": ([0.0], [5.0]), "three": ([0.0, 6.0, 12.0], [5.0, 4.0, 3.0])}
TIMES = np.array([1.0, 7.0, 13.0])


def empty(p, inputs):
    return {"C": 0.0}


def elimination(t, y, p, inputs):
    return {"C": -p["k"] * y["C"]}


def observe(y, p):
    return {"C": y["C"]}


def late(p, inputs):
    return {"C": (inputs["times"] + p["lag"], p["F"] * inputs["amounts"])}


def study_of(system, names=tuple(DOSES)):
    model = uq.Model(SPACE, system, observe, {"C": ""}, {"C": uq.Normal("C", 0.5)})
    experiments = {name: uq.Design(inputs=dict(zip(("times", "amounts"), DOSES[name], strict=True))) for name in names}
    rows = [(name, "C", time, 1.0) for name in names for time in TIMES]
    return uq.Study("doses", model, experiments, pd.DataFrame(rows, columns=["experiment", "output", "time", "value"]))


def closed_form(name):
    times, amounts = map(np.asarray, DOSES[name])
    since = TIMES[:, None] - times - 0.25
    return (0.6 * amounts * np.exp(-0.4 * np.maximum(since, 0.0)) * (since > 0)).sum(axis=1)


def test_the_density_of_all_is_the_sum_of_those_of_each_and_the_closed_form():
    study = study_of(uq.Ode(empty, elimination, doses=late))
    value, gradient = jax.value_and_grad(log_likelihood(study))(THETA)
    alone = [jax.value_and_grad(log_likelihood(study_of(study.model.system, (name,))))(THETA) for name in DOSES]
    assert float(value) == pytest.approx(sum(float(each) for each, _ in alone), rel=1e-12)
    for name in THETA:
        assert float(gradient[name]) == pytest.approx(sum(float(slope[name]) for _, slope in alone), rel=1e-9)
    known = likelihood_of(study).known(SPACE.complete(THETA))["C"][0]["C"]
    np.testing.assert_allclose(known, np.concatenate([closed_form(name) for name in DOSES]), rtol=1e-6, atol=1e-9)


def test_designs_keep_their_own_doses_and_curves_have_no_time_of_a_dose_that_never_happens():
    study = study_of(uq.Ode(empty, elimination, doses=late))
    assert [len(design.inputs["times"]) for design in study.experiments.values()] == [0, 1, 3]
    assert study.data_digest == study_of(study.model.system).data_digest
    design = jax.tree.map(lambda leaf: leaf[1], likelihood_of(study).observations.design)
    grid = _instants(study, {name: jnp.full(3, value) for name, value in THETA.items()}, design)
    assert np.isfinite(grid).all() and np.sum((grid > 0) & (grid < 1)) == 2


def shared_out(p, inputs):
    return {"C": (inputs["times"], inputs["amounts"] / inputs["amounts"].shape[0])}


def all_at_once(p, inputs):
    return {"C": inputs["amounts"].sum()}


@pytest.mark.parametrize(
    ("system", "reason"),
    [
        (uq.Ode(empty, elimination, doses=shared_out), "depends on how many there are"),
        (uq.Ode(all_at_once, elimination, doses=late), "so does `initial`"),
    ],
)
def test_what_more_doses_would_change_is_refused(system, reason):
    with pytest.raises(uq.InputError, match=reason):
        study_of(system)


def test_inputs_of_other_names_or_more_axes_are_refused():
    study = study_of(uq.Ode(empty, elimination, doses=late))
    given = {"times": [1.0], "amounts": [1.0]}
    other = {"a": uq.Design([1.0], given), "b": uq.Design([1.0], given | {"weight": 70.0})}
    with pytest.raises(uq.InputError, match="the same inputs"):
        uq.Study("doses", study.model, other)
