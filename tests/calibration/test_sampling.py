"""How draws are made: the rule of adaptation, starts, modes, evidence, and chains that survive their process."""

import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import uqbench as uq
from forward_models import two_scale_cascade
from studies import hare_lynx
from studies.two_scale_cascade import study as measured
from uqbench.calibration.prepared import prepared
from uqbench.calibration.sampling import chain_starts
from uqbench.calibration.starts import FALL
from uqbench.errors import ModesWarning
from uqbench.likelihoods import findings_around, likelihood_of
from uqbench.results import attribute

ROOT = Path(__file__).parents[2]
E = {"e": uq.Design()}


def table(times, values):
    return pd.DataFrame({"experiment": "e", "output": "y", "time": times, "value": values})


def line(theta, design, key):
    return {"y": theta["a"] + theta["b"] * design.times}


def ridge():
    """The sum of two parameters is known a hundred times better than either."""
    space = uq.Space(a=uq.epistemic(uq.Normal(0.0, 1.0)), b=uq.epistemic(uq.Normal(0.0, 1.0)))
    model = uq.Model.from_function(space, line, {"y": ""}, {"y": uq.Normal("y", 0.01)}, name="ridge")
    return uq.Study("ridge", model, E, table([1.0], [0.3]))


def gradients_per_draw(tree):
    return float(tree["sample_stats"]["n_steps"].sum() / tree["convergence"]["ess_bulk"].min())


@pytest.mark.slow
def test_a_ridge_costs_by_the_rule_a_fraction_of_what_a_diagonal_mass_matrix_costs():
    study = ridge()
    by_rule, diagonal = (uq.calibrate(study, draws=250, tune=300, adaptation=each) for each in (None, "diag"))
    assert by_rule["sample_stats"].attrs["adaptation"] == "low_rank"
    # measured: 17 and 253
    assert gradients_per_draw(by_rule) < gradients_per_draw(diagonal) / 4
    mean = 0.3 / (2 + 1e-4)
    assert float(by_rule["posterior"]["a"].mean()) == pytest.approx(mean, abs=4 * 0.71 / np.sqrt(400))


@pytest.mark.slow
def test_draws_that_diverge_are_repeated_with_care():
    """A funnel in coordinates that nothing straightens; where the second run fails as well, tempering may follow."""

    def funnel(theta, design, key):
        return {"y": theta["v"] + 0 * design.times}

    space = uq.Space(
        v=uq.epistemic(uq.Normal(0.0, 3.0)), w=uq.epistemic(uq.LogNormal(0.0, 2.0)), x=uq.epistemic(uq.Cauchy(0.0, "w"))
    )
    model = uq.Model.from_function(space, funnel, {"y": ""}, {"y": uq.Normal("y", 1.0)})
    tree = uq.calibrate(uq.Study("funnel", model, E, table([1.0], [0.3])), draws=200, tune=200, seed=1)
    tried = attribute(tree, "sample_stats", "attempts")
    attempts = tried[:2]
    # shorter steps, as short as they are made where the neck was not entered
    assert attempts[0]["target_accept"] == 0.9 and attempts[1]["target_accept"] in (0.95, 0.99)
    assert [each["tune"] for each in attempts] == [200, 400]
    assert any(each in attempts[1]["why"] for each in ("diverged", "were worth", "from the outermost draws"))
    assert all(each["came"].startswith("smallest bulk ESS") for each in attempts)
    (kept,) = (each for each in tried if each["kept"])
    assert tree["sample_stats"].attrs["why"] == kept["why"]


@pytest.mark.slow
def test_what_is_given_is_done_once():
    tree = uq.calibrate(ridge(), draws=150, tune=50, target_accept=0.6, adaptation="diag")
    (only,) = attribute(tree, "sample_stats", "attempts")
    assert (only["target_accept"], only["adaptation"], only["why"]) == (0.6, "diag", "as given")


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({"adaptation": "low-rank"}, "adaptation is 'low-rank'; did you mean 'low_rank'"),
        ({"sampler": "nuts"}, "sampler is 'nuts'; "),
        ({"sampler": "smc", "adaptation": "diag"}, "adaptation is 'diag', which the sampler 'smc' does not have"),
    ],
)
def test_a_sampler_that_is_none_is_a_sentence(settings, expected):
    with pytest.raises(uq.InputError) as caught:
        uq.calibrate(ridge(), **settings)
    assert expected in str(caught.value) and len(caught.value.findings) == 1


def test_a_sampler_that_is_not_installed_says_what_to_install(monkeypatch):
    monkeypatch.setattr("uqbench.calibration.attempts.find_spec", lambda name: None)
    with pytest.raises(uq.InputError, match=r"'numpyro' needs the package numpyro, .* `pip install numpyro`"):
        uq.calibrate(ridge(), sampler="numpyro")


@pytest.mark.parametrize(
    "sampler", ["nutpie", *(pytest.param(each, marks=pytest.mark.slow) for each in ("pymc", "smc"))]
)
def test_the_same_seed_gives_the_same_draws(sampler):
    first, again, other = (
        uq.calibrate(ridge(), draws=20, tune=20, chains=2, sampler=sampler, seed=seed)["posterior"].to_dataset()
        for seed in (3, 3, 4)
    )
    xr.testing.assert_equal(first, again)
    assert not np.any(first["a"] == other["a"])
    # nor does a chain repeat another
    assert not np.any(first["a"][0] == first["a"][1])


# where chains start


def logarithm(theta, design, key):
    return {"y": jnp.log(theta["m"] - 2.0) + 0 * design.times}


def test_chains_start_at_draws_from_the_prior_where_the_median_has_no_density():
    """The median of m is 1, and the model has no value below 2."""
    space = uq.Space(m=uq.epistemic(uq.LogNormal(0.0, 1.0)))
    model = uq.Model.from_function(space, logarithm, {"y": ""}, {"y": uq.Normal("y", 1.0)})
    tree = uq.calibrate(uq.Study("far", model, E, table([1.0, 2.0], [0.1, -0.2])), draws=50, tune=50, chains=2)
    assert np.all(tree["posterior"]["m"] > 2.0)


def test_no_density_anywhere_says_what_was_tried():
    space = uq.Space(m=uq.epistemic(uq.LogNormal(0.0, 1.0)))
    model = uq.Model.from_function(space, line_of(0.0), {"y": ""}, {"y": uq.LogNormal(median="y", sigma=0.2)})
    study = uq.Study("zero", model, E, table([1.0, 2.0], [1.0, 0.0]))
    with pytest.raises(uq.InputError) as caught:
        uq.calibrate(study)
    assert "1 values of 'y' (the first is 0, of experiment 'e' at time 2) have no density" in caught.value.findings[0]
    assert "no parameter changed alone within its prior gives a density" in caught.value.findings[1]
    assert "at any of 100 draws from the prior" in caught.value.findings[-1]


def test_no_density_at_a_start_names_the_parameters_that_would_give_one():
    """A gain that is negative at its median, a slope and a spread that do not matter."""
    space = uq.Space(
        gain=uq.epistemic(uq.Normal(-1.0, 1.0)),
        slope=uq.epistemic(uq.LogNormal(0.0, 0.1)),
        sigma=uq.epistemic(uq.LogNormal(-1.0, 0.3)),
    )
    noise = {"y": uq.LogNormal(median="y", sigma="sigma")}

    def rising(theta, design, key):
        return {"y": theta["gain"] * (1 + theta["slope"] * design.times)}

    model = uq.Model.from_function(space, rising, {"y": ""}, noise)
    likelihood = likelihood_of(uq.Study("negative", model, E, table([1.0, 2.0], [1.0, 2.0])))
    (datum, parameter) = findings_around(likelihood, {})
    assert "2 values of 'y' (the first is 1, of experiment 'e' at time 1)" in datum
    assert "'gain' at" in parameter and "instead of -1" in parameter
    assert "slope" not in parameter and "sigma" not in parameter
    assert findings_around(likelihood, {"gain": 1.0}) == []


def line_of(slope):
    return lambda theta, design, key: {"y": theta["m"] + slope * design.times}


@pytest.mark.slow
def test_starts_around_an_optimum_are_about_as_probable_as_it_is():
    """Each coordinate of a start stands for the parameter that the sampler takes it for."""
    likelihood = likelihood_of(hare_lynx.study)
    best = {"alpha": 0.543, "beta": 0.0273, "gamma": 0.793, "delta": 0.0237, "u0": 34.3, "v0": 5.87}
    best |= {"sigma_u": 0.221, "sigma_v": 0.223}
    ready = prepared(likelihood, [best], 0, 512, True)
    starts = chain_starts(likelihood, ready, range(6))
    densities = [ready.slope(start)[0] for start in starts]
    theta = hare_lynx.study.model.space.complete(best)
    # the coordinates are logarithms of what is positive: the prior density counts per unit of these
    prior = float(hare_lynx.study.model.space.log_prior(theta)) + sum(np.log(list(best.values())))
    at_best = float(likelihood.log_density(theta)) + prior
    # the optimum of this density is higher than that of the density per unit of the parameters
    assert ready.slope(ready.optima[0].point)[0] >= at_best
    assert np.all(np.array(densities) >= at_best - FALL * len(best) - 1e-6)
    assert len(set(densities)) == 6


@pytest.mark.slow
def test_chains_start_apart_from_one_another_around_the_best_fit():
    """Ten thousand warm-up draws would hide it: one does not."""
    study = ridge()
    tree = uq.calibrate(study, uq.identify(study, starts=2), draws=4, tune=10, chains=4)
    assert len(np.unique(tree["posterior"]["a"].isel(draw=0))) == 4


# several modes, and the evidence


def cascade():
    """Two rates told apart by nothing but their order: with a gain that is unknown and priors that are uniform in the
    logarithms, the swap of both, with g kf kept, leaves the posterior as it is."""
    rate = uq.LogUniform(1e-2, 1e2)
    wide = {"g": uq.epistemic(uq.LogUniform(1e-2, 1e3)), "kf": uq.epistemic(rate), "ks": uq.epistemic(rate)}
    model = two_scale_cascade.cascade(uq.Space({**two_scale_cascade.space, **wide}), "cascade")
    return replace(measured, name="cascade", model=model)


@pytest.mark.slow
def test_both_modes_of_a_cascade_are_found():
    tree = uq.calibrate(cascade(), draws=250, tune=300)
    attempts = attribute(tree, "sample_stats", "attempts")
    assert [each["sampler"] for each in attempts] == ["nutpie", "smc"]
    assert "chains in 2 modes" in attempts[0]["came"] and attempts[1]["why"] == "chains stayed in different modes"
    fast_first = tree["posterior"]["kf"] > tree["posterior"]["ks"]
    # one half each; of each run alone some hundred independent draws
    assert np.all(np.abs(fast_first.mean("draw") - 0.5) < 0.2)
    assert float(fast_first.mean()) == pytest.approx(0.5, abs=0.1)
    assert bool(tree["convergence"]["resolved"].all()) and not tree["convergence"]["mode"].any()


def test_chains_in_different_modes_are_never_a_success():
    with pytest.warns(ModesWarning, match=r"'cascade': chains .* and chains .* stay in different modes"):
        tree = uq.calibrate(cascade(), draws=150, tune=300, sampler="nutpie")
    assert len(np.unique(tree["convergence"]["mode"])) == 2
    assert not tree["convergence"]["resolved"].all()


def test_the_evidence_of_a_normal_linear_model():
    """The data are jointly normal: their density is known."""
    rng = np.random.default_rng(0)
    times = np.arange(1.0, 7.0)
    values = 0.5 + 0.3 * times + 0.4 * rng.normal(size=6)
    space = uq.Space(a=uq.epistemic(uq.Normal(0.0, 1.0)), b=uq.epistemic(uq.Normal(0.5, 0.7)))
    model = uq.Model.from_function(space, line, {"y": ""}, {"y": uq.Normal("y", 0.4)}, gradient="none")
    tree = uq.calibrate(uq.Study("line", model, E, table(times, values)), draws=500)
    covariance = 0.16 * np.eye(6) + 1.0 + 0.49 * np.outer(times, times)
    exact = stats.multivariate_normal.logpdf(values, 0.5 * times, covariance)
    attributes = tree["sample_stats"].attrs
    assert attributes["sampler"] == "smc" and "has no gradient" in attributes["why"]
    # of four runs; Student's t with 3 degrees of freedom exceeds 6 once in 100
    assert 0 < attributes["log_evidence_error"] < 0.15
    assert abs(attributes["log_evidence"] - exact) < 6 * attributes["log_evidence_error"]
    design = np.stack([np.ones(6), times], axis=1)
    posterior = np.linalg.inv(design.T @ design / 0.16 + np.diag([1.0, 1 / 0.49]))
    mean = posterior @ (design.T @ values / 0.16 + np.array([0.0, 0.5 / 0.49]))
    for name, centre, sd in zip("ab", mean, np.sqrt(np.diag(posterior)), strict=True):
        draws = tree["posterior"][name]
        assert float(draws.mean()) == pytest.approx(centre, abs=0.15 * sd)
        assert float(draws.std()) == pytest.approx(sd, rel=0.1)
    assert bool(tree["convergence"]["resolved"].all())


# chains that survive their process


SETTINGS = {"draws": 30, "tune": 30, "chains": 4, "seed": 5}


def test_a_killed_calibration_goes_on_as_if_it_had_not_been(tmp_path):
    """Killed with its first chain on disk and others to come: the result is that of a run without disturbance."""
    program = f"""
        import os
        os.cpu_count = lambda: 1
        import uqbench as uq
        from tests.calibration.test_sampling import SETTINGS, ridge
        uq.calibrate(ridge(), resume={str(tmp_path / "chains")!r}, **SETTINGS | {{"draws": 30}})
        """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, stderr=subprocess.DEVNULL)
    while not (finished := list(tmp_path.glob("chains/*.zarr"))) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 1 <= len(finished) < 4
    begun = finished[0].stat().st_mtime_ns
    resumed = uq.calibrate(ridge(), resume=tmp_path / "chains", **SETTINGS)
    assert finished[0].stat().st_mtime_ns == begun
    undisturbed = uq.calibrate(ridge(), **SETTINGS)
    for group in ("posterior", "sample_stats", "posterior_predictive", "convergence"):
        xr.testing.assert_equal(resumed[group].to_dataset(), undisturbed[group].to_dataset())


def test_chains_of_another_calibration_are_not_taken(tmp_path):
    study = ridge()
    uq.calibrate(study, resume=tmp_path / "chains", **SETTINGS)
    other = replace(study, data=study.table.assign(value=0.4))
    with pytest.raises(uq.InputError) as caught:
        uq.calibrate(other, resume=tmp_path / "chains", **SETTINGS | {"tune": 40})
    assert len(caught.value.findings) == 3
    assert "of tune 30, not 40" in str(caught.value) and "are of data" in str(caught.value)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are those of Unix")
def test_a_full_disk_is_a_sentence_and_leaves_nothing_half_written(tmp_path):
    """A limit on the size of files stands for a disk that is full."""
    program = f"""
        import resource, signal
        import uqbench as uq
        from tests.calibration.test_sampling import SETTINGS, ridge
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        save = uq.results.save

        def full(tree, place):
            # compilers write files as well: they may
            resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))
            return save(tree, place)

        uq.results.save = full
        try:
            uq.calibrate(ridge(), resume={str(tmp_path / "chains")!r}, **SETTINGS)
        except uq.InputError as error:
            print(error)
        """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "cannot be written" in said.stdout and "go on with `resume`" in said.stdout, said.stderr
    assert not list(tmp_path.glob("chains/*.zarr")) and not list(tmp_path.glob("chains/.*.new"))
