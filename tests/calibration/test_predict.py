"""Predictions of new and known units: against the normal distributions that a linear model has."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import uqbench as uq
from uqbench import cli, results
from uqbench.calibration import predict_text

from .test_closed_forms import initial, rising, seen

BETWEEN, NOISE, SLOPE = 0.5, 0.4, 0.03
WEIGHTS = {"u0": 50.0, "u1": 70.0, "u2": 90.0}


def lines(b=1.0):
    """x = a + b t, with a of each unit around m + 0.03 (weight - 70); m is not known."""
    space = uq.Space(
        weight=uq.covariate(70.0, "kg"),
        m=uq.epistemic(uq.Normal(0.0, 2.0)),
        a=uq.aleatory(uq.Normal(f"m + {SLOPE}*(weight - 70)", BETWEEN)),
        b=uq.fixed(b),
    )
    model = uq.Model(
        space, uq.Ode(initial, rising), seen, units={"x": "mg"}, noise={"x": uq.Normal("x", NOISE)}, name="line"
    )
    rows = [(unit, "x", t, 2.0 + b * t + k / 4) for k, unit in enumerate(WEIGHTS) for t in (0.0, 1.0)]
    data = pd.DataFrame(rows, columns=["experiment", "output", "time", "value"])
    data["weight"] = data["experiment"].map(WEIGHTS)
    return uq.Study("lines", model, {unit: uq.Design() for unit in WEIGHTS}, data)


def calibrated(study, posterior):
    origin = {"verb": "calibrate", "settings": "{}", "seed": 0, "seconds": 0.0}
    tree = results.start(study)
    tree["posterior"] = xr.DataTree(posterior.assign_attrs(origin))
    return tree


@pytest.fixture(scope="module")
def tree():
    """Draws of the posterior of m and of the units, as if m ~ Normal(2, 0.3) and a unit's own were known to 0.1."""
    rng, study = np.random.default_rng(0), lines()
    m = 2.0 + 0.3 * rng.normal(size=(4, 1000))
    a = 2.0 + np.arange(3) + 0.1 * rng.normal(size=(4, 1000, 3))
    posterior = xr.Dataset(
        {"m": (("chain", "draw"), m), "a": (("chain", "draw", "experiment"), a)},
        {"chain": range(4), "draw": range(1000), "experiment": list(WEIGHTS)},
    )
    return study, calibrated(study, posterior)


def assert_normal(found, name, time, mean, sd):
    """Quantiles are those of a normal distribution, up to their own error, which is small."""
    one = found.sel(output="x", time=time)
    exact, error = stats.norm(mean, sd).ppf(one["quantile"].values), one[f"{name}_standard_error"].values
    assert np.all(np.abs(one[name].values - exact) < 4 * error)
    # of 4000 independent draws the largest, of a 5 % quantile, is .033 sd
    assert np.all(error < 0.06 * sd) and np.all(error > 0.005 * sd)


@pytest.mark.parametrize("weight", [None, 100.0])
def test_a_new_unit(tree, weight):
    study, known = tree
    given = {} if weight is None else {"weight": weight}
    found = uq.predict(study, known, design=uq.Design([0.5, 3.0]), covariates=given, draws=4000)["predicted"]
    centre = 2.0 + SLOPE * ((weight or 70.0) - 70.0)
    for time in (0.5, 3.0):
        assert_normal(found, "value", time, centre + time, np.hypot(0.3, BETWEEN))
        assert_normal(found, "measured", time, centre + time, np.sqrt(0.3**2 + BETWEEN**2 + NOISE**2))
    assert found.attrs["of"] == "a new unit" and found.attrs["failed"] == 0
    assert json.loads(found.attrs["covariates"]) == {"weight": weight or 70.0}


def test_a_known_unit(tree):
    study, known = tree
    found = uq.predict(study, known, design=uq.Design([4.0]), unit="u2", draws=4000)["predicted"]
    assert_normal(found, "value", 4.0, 8.0, 0.1)
    assert_normal(found, "measured", 4.0, 8.0, np.hypot(0.1, NOISE))
    assert json.loads(found.attrs["covariates"]) == {"weight": 90.0}


def test_measurements_whose_errors_are_in_the_table():
    """Known standard errors: those that are given for the times of the design."""
    study = lines()
    noise = {"x": uq.Normal("x", "error")}
    model = uq.Model(study.model.space, uq.Ode(initial, rising), seen, {"x": ""}, noise, columns={"error": ""})
    data = study.data.assign(error=NOISE)
    study = uq.Study("errors", model, study.experiments, data, unit=study.unit)
    rng = np.random.default_rng(3)
    posterior = xr.Dataset(
        {
            "m": (("chain", "draw"), rng.normal(2.0, 0.3, (4, 1000))),
            "a": (("chain", "draw", "experiment"), np.repeat(rng.normal(4.0, 0.1, (4, 1000))[..., None], 3, axis=2)),
        },
        {"chain": range(4), "draw": range(1000), "experiment": list(WEIGHTS)},
    )
    known, design = calibrated(study, posterior), uq.Design([1.0, 4.0])
    found = uq.predict(study, known, design=design, unit="u2", columns={"error": [0.5, 2.0]}, draws=4000)["predicted"]
    for time, error in ((1.0, 0.5), (4.0, 2.0)):
        assert_normal(found, "value", time, 4.0 + time, 0.1)
        assert_normal(found, "measured", time, 4.0 + time, np.hypot(0.1, error))
    assert found.attrs["noise"] == ""
    without = uq.predict(study, known, design=design, unit="u2", draws=4000)["predicted"]
    assert without["measured"].isnull().all() and "error" in without.attrs["noise"]
    with pytest.raises(uq.InputError) as caught:
        uq.predict(study, known, design=design, columns={"eror": 1.0, "error": [1.0, 2.0, 3.0]})
    assert len(caught.value.findings) == 2 and "did you mean 'error'" in str(caught.value)


def test_errors_see_that_draws_of_a_chain_resemble_each_other():
    rng, study = np.random.default_rng(1), lines()
    walk = rng.normal(size=(4, 1000))
    for k in range(1, 1000):
        walk[:, k] = 0.95 * walk[:, k - 1] + np.sqrt(1 - 0.95**2) * walk[:, k]
    posterior = xr.Dataset(
        {
            "m": (("chain", "draw"), walk),
            "a": (("chain", "draw", "experiment"), np.repeat(walk[..., None], 3, axis=2)),
        },
        {"chain": range(4), "draw": range(1000), "experiment": list(WEIGHTS)},
    )
    found = uq.predict(study, calibrated(study, posterior), design=uq.Design([0.0]), unit="u0", draws=4000)["predicted"]
    median = found["value_standard_error"].sel(output="x", time=0.0, quantile=0.5)
    # an autocorrelation of .95 leaves 1 of 39 draws; of independent ones the error is 1.25/sqrt(4000)
    assert 4 < float(median) / (1.25 / np.sqrt(4000)) < 9


def leaving(t, y, p, inputs):
    """Leaves the finite numbers before t = 1 where a > 2."""
    return {"x": (y["x"] - 1.0) ** 2}


def test_failed_runs_are_counted_and_left_out(tree):
    study, known = tree
    model = uq.Model(
        study.model.space, uq.Ode(initial, leaving), seen, {"x": ""}, {"x": uq.Normal("x", NOISE)}, name="explosion"
    )
    study = uq.Study("explosion", model, study.experiments, study.data)
    posterior = known["posterior"].to_dataset()
    found = uq.predict(study, calibrated(study, posterior), design=uq.Design([1.0]), draws=4000)["predicted"]
    reasons = json.loads(found.attrs["failed_runs"])
    # half of the units have a > 2
    assert 0.45 < found.attrs["failed"] / found.attrs["draws"] < 0.55
    assert sum(reasons.values()) == found.attrs["failed"] and "finite" in next(iter(reasons))
    assert np.isfinite(found["value"]).all() and np.isfinite(found["measured_standard_error"]).all()
    with pytest.raises(uq.InputError, match="every run fails"):
        uq.predict(study, calibrated(study, posterior), design=uq.Design([9.0]), unit="u2")


def test_everything_that_is_wrong_is_said_at_once(tree):
    study, _ = tree
    with pytest.raises(uq.InputError) as caught:
        uq.predict(
            study,
            None,
            design=uq.Design([], inputs={"dose": 1.0}),
            unit="u9",
            covariates={"age": 3.0},
            draws=0,
            seed=-1,
        )
    for part in (
        "no posterior; run `uqbench calibrate lines` first",
        "no experiment 'u9'",
        "a known one has its own",
        "no covariate 'age'",
        "no times",
        "unknown input 'dose'",
        "draws is 0",
        "seed is -1",
    ):
        assert part in str(caught.value)


def of_text(study, tree, **given):
    settings = {
        "unit": None,
        "experiment": None,
        "times": None,
        "inputs": (),
        "covariates": (),
        "columns": (),
        "draws": 400,
        "seed": 0,
    }
    return predict_text(study, tree, **{**settings, **given})


def test_a_design_is_read_from_a_command(decay_study):
    rng = np.random.default_rng(0)
    draws = {name: (("chain", "draw"), value + 0.01 * rng.normal(size=(2, 300))) for name, value in
             {"k": 0.5, "sigma": 0.1}.items()}  # fmt: skip
    tree = calibrated(decay_study, xr.Dataset(draws, {"chain": [0, 1], "draw": range(300)}))
    found = of_text(decay_study, tree, experiment="high", times="0:2:5", inputs=("dose=300",))["predicted"]
    np.testing.assert_allclose(found["time"], [0, 0.5, 1.0, 1.5, 2.0])
    np.testing.assert_allclose(
        found["value"].sel(output="C", quantile=0.5), 300 * np.exp(-0.5 * found["time"]), rtol=0.02
    )
    same = of_text(decay_study, tree, unit="low")["predicted"]
    assert same["time"].values.tolist() == [0.5, 1.0, 2.0] and json.loads(same.attrs["inputs"]) == {"dose": 2.0}
    with pytest.raises(uq.InputError) as caught:
        of_text(decay_study, tree, experiment="hihg", times="soon", inputs=("dos=1", "dose"), covariates=("w=70",))
    for part in ("no experiment 'hihg'; did you mean 'high'", "times are 'soon'", "no input 'dos'; did you mean 'dose'",
                 "'dose' cannot be read", "no covariate 'w'; the model has none"):  # fmt: skip
        assert part in str(caught.value)


def test_the_command_ends_with_status_2_and_stores_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["uqbench", "predict", "puromycin", "--times", "x", "--results", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    said = capsys.readouterr().err
    assert caught.value.code == 2 and "no posterior" in said and "times are 'x'" in said
    assert not list(tmp_path.iterdir())


def test_the_same_seed_gives_the_same_numbers(tree):
    study, known = tree
    one, two, other = (
        uq.predict(study, known, design=uq.Design([1.0]), draws=200, seed=seed)["predicted"].to_dataset()
        for seed in (0, 0, 1)
    )
    xr.testing.assert_equal(one, two)
    assert not np.allclose(one["value"], other["value"])
