"""Modes of what the units of a population have in common: that they are found, and how much belongs to each."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import uqbench as uq
from uqbench.calibration.attempts import Settings
from uqbench.calibration.mixture import Modes, mixed
from uqbench.calibration.population import Population
from uqbench.calibration.prepared import prepared
from uqbench.calibration.table_posteriors import posteriors
from uqbench.errors import InputError, Interrupted
from uqbench.likelihoods import likelihood_of
from uqbench.results import attribute

COLUMNS = ["experiment", "output", "time", "value", "who"]


def square(theta, design, key):
    return {"y": theta["b"] ** 2 + 0 * design.times}


def squares(prior=0.5, units=6) -> uq.Study:
    """Squares of what differs between units: the data say nothing of its sign, the prior e^(2 prior m) to 1 at m."""
    space = uq.Space(
        m=uq.epistemic(uq.Normal(prior, 1.0)), s=uq.epistemic(uq.HalfNormal(0.3)), b=uq.aleatory(uq.Normal("m", "s"))
    )
    model = uq.Model.from_function(space, square, {"y": ""}, {"y": uq.Normal("y", 0.1)}, name="squares")
    rng = np.random.default_rng(3)
    rows = [
        ("e", "y", float(k), rng.normal(1.0, 0.15) ** 2 + 0.1 * rng.normal(), f"u{unit}")
        for unit in range(units)
        for k in range(3)
    ]
    return uq.Study("squares", model, {"e": uq.Design()}, pd.DataFrame(rows, columns=COLUMNS), unit="who")


@pytest.mark.slow
def test_modes_of_a_population_are_resolved_with_their_weights():
    tree = uq.calibrate(squares(), draws=400, tune=400)
    assert tree["convergence"]["resolved"].all()
    one, each = attribute(tree, "sample_stats", "attempts")
    assert not one["each_mode"] and each["each_mode"] and each["kept"]
    m = tree["posterior"]["m"].values
    # from one half the other follows: draws with a sign turned have the weight of the prior there
    upper = m[m > 0]
    expected = 1 / (1 + np.mean(np.exp(-2 * 0.5 * upper)))
    assert 0.6 < expected < 0.85
    # 4 sets of points that know their share to about .02 each, and the draws
    assert np.mean(m > 0) == pytest.approx(expected, abs=4 * 0.015)
    assert set(np.unique(tree["sample_stats"]["of_mode"])) == {0, 1}
    # units are on the side of their chain's mode
    b = tree["posterior"]["b"].values
    assert np.mean(np.sign(b) == np.sign(m)[..., None]) > 0.99


def test_optima_are_those_of_the_integral_over_the_units():
    """Against the same integral by quadrature over a grid, unit by unit."""
    study = squares()
    population = Population.of(likelihood_of(study), (), 0, 12)
    high, low = population.optima
    assert high.point[0] > 0 > low.point[0]
    values = study.table.groupby("who", sort=False)["value"].apply(np.asarray)
    b = np.linspace(-3, 3, 6001)

    def log_density(x):
        m, s = x[0], np.exp(x[1])
        total = stats.norm(0.5, 1.0).logpdf(m) + stats.halfnorm(scale=0.3).logpdf(s) + x[1]
        for y in values:
            of_b = stats.norm.logpdf(y[:, None], b**2, 0.1).sum(axis=0) + stats.norm.logpdf(b, m, s)
            total += np.log(np.trapezoid(np.exp(of_b - of_b.max()), b)) + of_b.max()
        return total

    for optimum in (high, low):
        steps = [
            optimum.point + 0.3 * np.array(step)
            for step in ([0.0, 0.0], [0.05, 0.0], [-0.05, 0.0], [0, 0.3], [0, -0.3])
        ]
        ours, exact = population.densities(np.array(steps)), np.array([log_density(step) for step in steps])
        np.testing.assert_allclose(ours, exact, atol=0.02)
        # as high as what is near it
        assert np.all(exact[0] >= exact[1:] - 0.01)
    # narrow modes of one shape: by the prior
    difference = high.log_mass - low.log_mass
    assert difference == pytest.approx(2 * 0.5 * high.point[0], abs=0.15)


def test_fits_are_where_the_search_begins():
    likelihood, fit = likelihood_of(squares()), [{"m": -1.0, "s": 0.2}]
    (found,) = Population.of(likelihood, fit, 0, 0).optima
    assert found.point[0] < 0
    # a fit may have seen less than there is
    assert len(Population.of(likelihood, fit, 0, 12).optima) == 2


def test_chains_start_with_each_unit_where_its_data_have_it():
    """Of a linear normal model the latents that are zero are the mode of each unit, whatever else is where."""
    space = uq.Space(
        m=uq.epistemic(uq.Normal(0.0, 2.0)), s=uq.epistemic(uq.HalfNormal(1.0)), b=uq.aleatory(uq.Normal("m", "s"))
    )

    def itself(theta, design, key):
        return {"y": theta["b"] + 0 * design.times}

    model = uq.Model.from_function(space, itself, {"y": ""}, {"y": uq.Normal("y", 0.3)}, name="levels")
    rows = [("e", "y", float(k), unit + 0.1 * k, f"u{unit}") for unit in range(4) for k in range(3)]
    study = uq.Study("levels", model, {"e": uq.Design()}, pd.DataFrame(rows, columns=COLUMNS), unit="who")
    likelihood = likelihood_of(study)
    ready = prepared(likelihood, [], 0, 100, True)
    for theta in ({"m": 1.0, "s": 0.5}, {"m": -2.0, "s": 2.0}):
        (place,) = ready._places(likelihood, [theta])
        _, gradient = ready.slope(place)
        latents = np.sort(np.abs(gradient))[: len(study.units)]
        np.testing.assert_allclose(latents, 0.0, atol=1e-8)


@pytest.mark.parametrize("weight", [0.5, 0.9, 0.99])
def test_shares_of_modes_are_those_of_their_integrals(weight):
    """Of skewed densities, from draws of each: gamma in one coordinate, normal in the other."""
    rng = np.random.default_rng(1)
    first = np.stack([rng.gamma(4.0, size=2000), rng.normal(size=2000)], axis=1)
    second = np.stack([-20 - 0.2 * rng.gamma(4.0, size=2000), 3 + 0.1 * rng.normal(size=2000)], axis=1)

    def densities(points):
        x, y = points.T
        one = stats.gamma(4.0).logpdf(x) + stats.norm.logpdf(y) + np.log(weight)
        two = stats.gamma(4.0, scale=0.2).logpdf(-20 - x) + stats.norm(3, 0.1).logpdf(y) + np.log(1 - weight)
        # a constant is not known
        return np.logaddexp(one, two) + 123.0

    modes = Modes.of([first, second])
    drawn = [modes.shares(densities, np.random.default_rng(k)) for k in range(20)]
    found = np.array([share[0] for share, _ in drawn])
    # of 512 points
    assert all(50 < worth < 512 for _, worth in drawn)
    assert found.mean() == pytest.approx(weight, abs=4 * found.std() / np.sqrt(20))
    assert found.std() < 0.15 * np.sqrt(weight * (1 - weight))


def test_chains_of_a_mixture_have_the_draws_of_each_mode_in_their_places():
    runs = []
    for place in (0.0, 10.0):
        posterior = {"x": (("chain", "draw"), place + np.tile(np.arange(300) / 1e4, (2, 1)))}
        stats_of_run = {"diverging": (("chain", "draw"), np.full((2, 300), place > 5))}
        runs.append(
            xr.DataTree.from_dict({"posterior": xr.Dataset(posterior), "sample_stats": xr.Dataset(stats_of_run)})
        )
    noise = np.random.default_rng(0)

    def places(posterior):
        x = posterior["x"].values.ravel()
        return np.stack([x, noise.normal(size=x.size)], axis=1)

    def densities(points):
        away = points[:, 0] - np.where(points[:, 0] > 5, 10.0, 0.0)
        # a quarter belongs to the second
        return stats.norm.logpdf(away, 0.015, 0.009) + stats.norm.logpdf(points[:, 1]) - (points[:, 0] > 5) * np.log(3)

    found = mixed(runs, places, densities, 0)
    number, x = found["sample_stats"]["of_mode"].values, found["posterior"]["x"].values
    np.testing.assert_allclose(x, 10.0 * number + np.arange(300) / 1e4)
    np.testing.assert_array_equal(found["sample_stats"]["diverging"].values, number == 1)
    assert number.mean() == pytest.approx(0.25, abs=0.1)


@pytest.mark.slow
def test_what_a_run_has_seen_of_another_mode_counts_for_nothing():
    """Every run of the second mode has left it half-way."""
    rng = np.random.default_rng(5)
    runs = []
    for place, left in ((0.0, 0), (10.0, 1)):
        x = place + rng.normal(size=(4, 1000))
        x[:, 500:] -= 10.0 * left
        posterior = {"x": (("chain", "draw"), x)}
        of_run = {"diverging": (("chain", "draw"), np.zeros((4, 1000), bool))}
        runs.append(xr.DataTree.from_dict({"posterior": xr.Dataset(posterior), "sample_stats": xr.Dataset(of_run)}))

    def densities(points):
        return np.logaddexp(
            stats.norm.logpdf(points[:, 0]) + np.log(0.8), stats.norm.logpdf(points[:, 0], 10.0) + np.log(0.2)
        )

    found = mixed(runs, lambda posterior: posterior["x"].values.reshape(-1, 1), densities, 0)
    x = found["posterior"]["x"].values
    # 4 sets of 512 points, half of them where they count for little, and 4000 draws
    assert np.mean(x > 5) == pytest.approx(0.2, abs=0.05)


def test_shares_that_no_point_tells_are_none():
    runs = [
        xr.DataTree.from_dict(
            {
                "posterior": xr.Dataset(
                    {"x": (("chain", "draw"), place + np.random.default_rng(0).normal(size=(2, 200)))}
                ),
                "sample_stats": xr.Dataset({"diverging": (("chain", "draw"), np.zeros((2, 200), bool))}),
            }
        )
        for place in (0.0, 10.0)
    ]

    def places(posterior):
        return posterior["x"].values.reshape(-1, 1)

    assert mixed(runs, places, lambda points: np.full(len(points), -np.inf), 0) is None
    # one point has all the weight
    assert mixed(runs, places, lambda points: -1e6 * (points[:, 0] - 3.0) ** 2, 0) is None


@pytest.mark.parametrize("where", ["mixture.mixed", "population.Population.missed"])
def test_a_calibration_that_is_stopped_between_attempts_keeps_its_draws(where, monkeypatch):
    def stopped(*arguments):
        raise KeyboardInterrupt

    target = {"mixture.mixed": "uqbench.calibration.sampling.mixed"}.get(where, f"uqbench.calibration.{where}")
    monkeypatch.setattr(target, stopped)
    with pytest.raises(Interrupted) as caught:
        uq.calibrate(squares(), draws=200, tune=200)
    tree = caught.value.tree
    assert tree["posterior"].sizes["draw"] == 200
    assert "stopped" in tree["posterior"].attrs["partial"]


def test_levels_that_may_be_one_have_no_optimum_beside_units():
    """Their density grows without bound as their spread goes to zero, also where they are integrated out."""
    space = uq.Space(
        m=uq.epistemic(uq.Normal(0.0, 1.0)),
        tau=uq.epistemic(uq.HalfNormal(1.0)),
        o1=uq.epistemic(uq.Normal(0.0, "tau")),
        o2=uq.epistemic(uq.Normal(0.0, "tau")),
        b=uq.aleatory(uq.Normal("m", 0.5)),
    )
    model = uq.Model.from_function(space, square, {"y": ""}, {"y": uq.Normal("y + o1 + o2", 0.1)}, name="offsets")
    rows = [("e", "y", float(k), 1.0 + 0.1 * k, f"u{unit}") for unit in range(2) for k in range(2)]
    study = uq.Study("offsets", model, {"e": uq.Design()}, pd.DataFrame(rows, columns=COLUMNS), unit="who")
    assert Population.of(likelihood_of(study), (), 0, 12) is None


def test_a_table_of_a_population_is_sampled_from_its_optimum():
    study = squares(prior=3.0)
    likelihood = likelihood_of(study)
    values = {"y": study.table["value"].to_numpy()}
    ((_, sampled),) = posteriors(likelihood, {0: values}, Settings(200, 200, 2))
    assert sampled is not None
    assert float(sampled.posterior["m"].mean()) == pytest.approx(1.0, abs=0.3)


def test_a_population_of_which_all_is_known_has_nothing_to_calibrate():
    space = uq.Space(b=uq.aleatory(uq.Normal(1.0, 0.2)))
    model = uq.Model.from_function(space, square, {"y": ""}, {"y": uq.Normal("y", 0.1)}, name="known")
    data = pd.DataFrame([("e", "y", 0.0, 1.0, "u0")], columns=COLUMNS)
    with pytest.raises(InputError, match="no parameter of its model is epistemic"):
        uq.calibrate(uq.Study("known", model, {"e": uq.Design()}, data, unit="who"))
