"""Parameters with a value for each level of a column: what a study makes of them, and of tables that do not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import uqbench as uq
from uqbench.identifiability import identify
from uqbench.likelihoods import log_likelihood, simulate_data

TIMES = (0.5, 1.0, 2.0)
SCALE, SIGMA = {"gel 1": 2.0, "gel 2": 0.7}, {"low": 0.1, "high": 0.3}


def initial(p, inputs):
    return {"C": inputs["dose"]}


def decay(t, y, p, inputs):
    return {"C": -p["k"] * y["C"]}


def seen(y, p):
    return {"C": y["C"]}


def table():
    rng = np.random.default_rng(3)
    rows = [
        (experiment, "C", t, SCALE[gel] * dose * np.exp(-0.4 * t) + SIGMA[experiment] * rng.normal(), gel)
        for experiment, dose in (("low", 1.0), ("high", 3.0))
        for gel in SCALE
        for t in TIMES
    ]
    return pd.DataFrame(rows, columns=["experiment", "output", "time", "value", "gel"])


def space_of(**more):
    return uq.Space(
        {
            "k": uq.epistemic(uq.LogNormal(median=0.5, sigma=1.0), "1/h"),
            "scale": uq.epistemic(uq.Normal(1.0, 2.0), by="gel"),
            "sigma": uq.epistemic(uq.HalfNormal(0.5), "mg/L", by="experiment"),
            **more,
        }
    )


def study_of(data=None, space=None, noise=None, equations=decay, **more):
    noise = noise or {"C": uq.Normal("scale*C", "sigma")}
    model = uq.Model(space or space_of(), uq.Ode(initial, equations), seen, {"C": "mg/L"}, noise, **more)
    designs = {"low": uq.Design(inputs={"dose": 1.0}), "high": uq.Design(inputs={"dose": 3.0})}
    return uq.Study("levels", model, designs, table() if data is None else data)


def test_each_level_is_a_parameter_and_each_combination_an_output():
    study = study_of(nominal={"scale": 1.5})
    space = study.model.space
    assert space.names == ("k", "scale_gel_1", "scale_gel_2", "sigma_low", "sigma_high")
    assert space["scale_gel_1"].doc == "(gel gel 1)"
    assert float(space.nominal()["scale_gel_2"]) == 1.5
    assert [*study.model.noise] == ["C_gel_1_low", "C_gel_2_low", "C_gel_1_high", "C_gel_2_high"]
    assert study.model.outputs[0] == "C"
    assert study.model.units["C_gel_2_low"] == "mg/L"
    assert (
        study.data["output"] == "C_" + study.data["gel"].str.replace(" ", "_") + "_" + study.data["experiment"]
    ).all()


def test_the_density_is_that_of_each_row_with_its_own_parameters():
    study, data = study_of(), table()
    theta = {"k": 0.4, "scale_gel_1": 2.0, "scale_gel_2": 0.7, "sigma_low": 0.1, "sigma_high": 0.3}
    mean = data["gel"].map(SCALE) * data["experiment"].map({"low": 1.0, "high": 3.0}) * np.exp(-0.4 * data["time"])
    expected = stats.norm.logpdf(data["value"], mean, data["experiment"].map(SIGMA)).sum()
    found = log_likelihood(study)({name: jnp.asarray(value) for name, value in theta.items()})
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_a_simulated_table_has_the_scale_of_each_level():
    study = study_of()
    theta = {"k": 0.4, "scale_gel_1": 2.0, "scale_gel_2": 0.7, "sigma_low": 1e-9, "sigma_high": 1e-9}
    drawn = simulate_data(study, study.model.space.complete(theta), jax.random.key(0))
    dose = drawn["experiment"].map({"low": 1.0, "high": 3.0})
    np.testing.assert_allclose(drawn["value"], drawn["gel"].map(SCALE) * dose * np.exp(-0.4 * drawn["time"]), rtol=1e-5)
    # the model of the study knows the levels: the table is one of its own
    again = uq.Study("again", study.model, study.experiments, drawn)
    assert again.model.space.names == study.model.space.names


def test_levels_that_are_whole_numbers_are_so_in_a_column_with_empty_places():
    data = table().assign(gel=lambda rows: rows["gel"].map({"gel 1": 1.0, "gel 2": 2.0}))
    assert study_of(data).model.space.names[1:3] == ("scale_1", "scale_2")


def test_a_distribution_of_levels_names_those_of_the_same_column():
    more = {
        "mean": uq.epistemic(uq.Normal(0.0, 1.0), by="gel"),
        "scale": uq.epistemic(uq.LogNormal(median="exp(mean)", sigma=0.1), by="gel"),
    }
    names = ("k", "sigma")
    space = uq.Space({**{name: space_of()[name] for name in names}, **more})
    study = study_of(space=space, noise={"C": uq.Normal("scale*C + mean", "sigma")})
    assert study.model.space["scale_gel_2"].names == ("mean_gel_2",)


def test_an_output_without_such_noise_stays_as_it_is():
    noise = {"C": uq.Normal("C", "sigma")}
    study = study_of(noise=noise, space=space_of(scale=uq.fixed(1.0), sigma=uq.epistemic(uq.HalfNormal(0.5))))
    assert [*study.model.noise] == ["C"]
    assert study.model.outputs == ("C",)


def grows(t, y, p, inputs):
    return {"C": p["scale"] * y["C"]}


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        (
            {"data": table().drop(columns="gel")},
            ["'scale' has a value for each level of the column 'gel', which the table does not have"],
        ),
        (
            {"data": table().drop(columns="gel").assign(output="D")},
            ["unknown output with noise 'D'", "the column 'gel', which the table does not have"],
        ),
        (
            {"data": table().assign(gel=lambda rows: rows["gel"].where(rows.index != 4))},
            ["row 4: gel is missing, of which 'scale' has a value for each level."],
        ),
        (
            {"data": table().assign(gel=lambda rows: rows["gel"].map({"gel 1": "a b", "gel 2": "a-b"}))},
            ["the levels 'a b' and 'a-b' of 'gel' have one name"],
        ),
        (
            {"noise": {"C": uq.Normal("C", "sigma")}},
            ["'scale' has a value for each level of the column 'gel', and no noise names it"],
        ),
        (
            {"equations": grows},
            ["the equations read 'scale', which has a value for each level of 'gel'; only noise may."],
        ),
        (
            {"space": space_of(scale_gel_1=uq.fixed(1.0))},
            ["'scale_gel_1', the value of 'scale' at a level, has another meaning as well"],
        ),
        (
            {"space": space_of(later=uq.epistemic(uq.Normal("scale", 1.0)))},
            ["the distribution of 'later' names 'scale', which has a value for each level of 'gel'"],
        ),
        (
            {"space": space_of(scale=uq.epistemic(uq.Normal(1.0, 1.0), by="time"))},
            ["of the column 'time', which tells measurements apart and no levels"],
        ),
        (
            {
                "space": space_of(
                    scale=uq.epistemic(uq.Normal(1.0, 1.0), by="gle"), sigma=uq.epistemic(uq.HalfNormal(1.0), by="exp")
                )
            },
            ["the column 'gle', which the table does not have", "the column 'exp', which the table does not have"],
        ),
    ],
)
def test_what_is_wrong_is_said_all_at_once(change, sentences):
    with pytest.raises(uq.InputError) as caught:
        study_of(**change)
    for sentence in sentences:
        assert sentence in str(caught.value)


def test_a_study_without_data_has_no_levels():
    study = study_of()
    model = uq.Model(space_of(), uq.Ode(initial, decay), seen, {"C": "mg/L"}, {"C": uq.Normal("scale*C", "sigma")})
    with pytest.raises(uq.InputError, match="for each gel, experiment of the table of data; give the study data"):
        uq.Study("planned", model, study.experiments)


def test_only_epistemic_parameters_have_levels():
    with pytest.raises(uq.InputError) as caught:
        uq.Space(
            a=uq.Parameter(uq.Normal(0.0, 1.0), "", "aleatory", by="gel"),
            b=uq.epistemic(uq.Normal(0.0, 1.0), by=3),
        )
    assert "'a' is aleatory; only an epistemic parameter has values by a column." in str(caught.value)
    assert "'b' has by=3; give the name of a column" in str(caught.value)


def test_identify_asks_of_each_level_and_says_where_the_distribution_of_levels_is_told():
    space = uq.Space(
        between=uq.epistemic(uq.HalfNormal(1.0)),
        k=uq.epistemic(uq.LogNormal(median=0.5, sigma=1.0), "1/h"),
        scale=uq.epistemic(uq.Normal(1.0, "between"), by="gel"),
    )
    tree = identify(study_of(space=space, noise={"C": uq.Normal("scale*C", 0.2)}), starts=0, budget=30.0)
    found = tree["practical"].to_dataset()
    verdicts = dict(zip(found.parameter.values.tolist(), found.verdict.values.tolist(), strict=True))
    assert verdicts.pop("between") == "undecided"
    assert set(verdicts) == {"k", "scale_gel_1", "scale_gel_2"}
    assert set(verdicts.values()) == {"identifiable"}
    structure = tree["structure"].to_dataset().sel(parameter="between")
    assert str(structure.reason.item()).startswith("levels: known from many levels")
