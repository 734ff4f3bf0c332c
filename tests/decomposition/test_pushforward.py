"""Pushforwards against closed forms: densities to rounding from the map, within their stated errors from runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy import stats

import uqbench as uq
from forward_models import pushforward as model
from uqbench import InputError
from uqbench.decomposition.pushforward.change_of_variables import change_of_variables, pushforward_density
from uqbench.decomposition.pushforward.runs import QUANTILES, pushforward

NORMAL = uq.Normal(0.0, 1.0)


def shifted_square(x):
    """The fold at .3 lies on no node of the grid."""
    return (x - 0.3) ** 2 + 5.0


def distance(x):
    return jnp.abs(x)


def modes(size, rng):
    return np.where(rng.random(size) < 0.5, rng.normal(-2.0, 0.3, size), rng.normal(2.0, 0.8, size))


def modes_density(y):
    return 0.5 * stats.norm.pdf(y, -2.0, 0.3) + 0.5 * stats.norm.pdf(y, 2.0, 0.8)


def within(share, nominal, count):
    """A share of `count` trials between 93 and 97 %, give or take three of its own standard errors."""
    error = 3 * np.sqrt(nominal * (1 - nominal) / count)
    return nominal - 0.02 - error <= share <= nominal + 0.02 + error


# change of variables --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function, expected", [(model.exponential, 0.3989422804), (model.square, 0.2419707245)])
def test_densities_at_one(function, expected):
    assert float(pushforward_density(function, NORMAL, 1.0).density) == pytest.approx(expected, abs=5e-11)


def test_square_is_chi_square_with_a_pole():
    y = [-1.0, 0.0, 1e-9, 0.05, 2.0, 30.0]
    result = pushforward_density(model.square, NORMAL, y)
    np.testing.assert_allclose(result.density[2:], stats.chi2.pdf(y[2:], 1), rtol=1e-10)
    assert result.density.values[:2].tolist() == [0.0, np.inf]
    assert result.preimages.values.tolist() == [0, 1, 2, 2, 2, 2]
    assert result.y.values.tolist() == y


def test_exponential_is_log_normal():
    y = np.array([[1e-3, 0.7], [2.0, 40.0]])
    result = pushforward_density(model.exponential, NORMAL, xr.DataArray(y, dims=("a", "b"), coords={"b": [3, 4]}))
    np.testing.assert_allclose(result.density, stats.lognorm.pdf(y, 1.0), rtol=1e-10)
    assert result.density.dims == ("a", "b") and result.b.values.tolist() == [3, 4]


def test_both_preimages_in_one_cell_are_found():
    """Beside a fold within a cell of the grid: one cell of 1024 is 2e-3 wide there."""
    root = np.array([1e-5, 1e-4, 5e-4, 0.1])
    result = pushforward_density(shifted_square, NORMAL, [*(5.0 + root**2), 5.0])
    expected = (stats.norm.pdf(0.3 + root) + stats.norm.pdf(0.3 - root)) / (2 * root)
    # y itself is rounded, by 2^-52 * 5, in units of its distance from the fold
    np.testing.assert_allclose(result.density[:-1] / expected, 1.0, atol=2e-15 / root[0] ** 2)
    np.testing.assert_allclose(result.density[3], expected[3], rtol=1e-10)
    assert result.preimages.values.tolist() == [2, 2, 2, 2, 1]
    assert np.isinf(result.density[-1])
    # the model's own density, on the plain grid, does not see them
    assert float(model.density(shifted_square, NORMAL, 5.0 + root[0] ** 2)) == 0.0


def test_a_kink_is_a_fold_without_a_pole():
    y = np.array([1e-7, 0.5])
    result = pushforward_density(distance, uq.Normal(0.1, 1.0), y)
    np.testing.assert_allclose(result.density, stats.norm.pdf(y, 0.1) + stats.norm.pdf(-y, 0.1), rtol=1e-10)


def test_many_branches_and_the_ends_of_the_support():
    y = np.array([-0.9, 0.2, 0.5])
    result = pushforward_density(jnp.sin, uq.Uniform(0.1, 0.1 + 6 * np.pi), y)
    np.testing.assert_allclose(result.density, 1 / (np.pi * np.sqrt(1 - y**2)), rtol=1e-9)
    assert result.preimages.values.tolist() == [6, 6, 6]
    edge = pushforward_density(jnp.square, uq.Uniform(0.0, 1.0), [0.0, 0.25])
    assert edge.density.values.tolist() == [np.inf, pytest.approx(1.0)]


def test_what_a_flat_map_keeps_from_the_density_is_reported():
    result = pushforward_density(jax.nn.relu, NORMAL, [0.5, np.nan])
    assert float(result.density[0]) == pytest.approx(stats.norm.pdf(0.5))
    assert np.isnan(result.density[1])
    assert result.attrs["flat_probability"] == pytest.approx(0.5)


def test_the_model_and_the_engine_agree():
    y = np.array([0.05, 0.7, 2.0])
    for function in (model.exponential, model.square):
        np.testing.assert_allclose(
            pushforward_density(function, NORMAL, y).density, model.density(function, NORMAL, y), rtol=1e-11
        )


def test_the_arrays_are_differentiable_in_names():
    def density(y, m, s):
        return change_of_variables(jnp.square, uq.Normal("m", "s"), y, {"m": m, "s": s})[0]

    def closed(y, m, s):
        return (stats.norm.pdf(np.sqrt(y), m, s) + stats.norm.pdf(-np.sqrt(y), m, s)) / (2 * np.sqrt(y))

    point, step = (2.0, 0.3, 1.2), 1e-6
    for k, slope in enumerate(jax.grad(density, argnums=(0, 1, 2))(*point)):
        up, down = (tuple(v + sign * step * (i == k) for i, v in enumerate(point)) for sign in (1, -1))
        assert float(slope) == pytest.approx((closed(*up) - closed(*down)) / (2 * step), rel=1e-7)


@pytest.mark.parametrize(
    "arguments, settings, message",
    [
        ((model.exponential, 3.0, 1.0), {}, "give a uqbench distribution"),
        ((model.exponential, uq.Poisson(3.0), 1.0), {}, "is discrete"),
        ((model.exponential, uq.Normal("m", 1.0), 1.0), {}, "needs a value for 'm'"),
        ((model.exponential, uq.Normal("m", 1.0), 1.0, {"m": np.zeros(2)}), {}, "are arrays"),
        ((model.exponential, uq.Normal(0.0, "s"), 1.0, {"s": -1.0}), {}, "impossible"),
        ((jnp.log, NORMAL, 1.0), {}, "not finite at"),
        ((lambda x: jnp.stack([x, x]), NORMAL, 1.0), {}, r"shape \(2,\)"),
        ((model.exponential, NORMAL, 1.0), {"cells": 1}, "cells is 1"),
        ((model.exponential, NORMAL, "one"), {}, "give real numbers"),
    ],
)
def test_findings_of_a_map(arguments, settings, message):
    with pytest.raises(InputError, match=message):
        pushforward_density(*arguments, **settings)


# densities from runs --------------------------------------------------------------------------------------------------

# integral of abs(estimate - density) that may be reached at n = 10 000, a third above what was measured
LAWS = {
    "normal": (lambda n, rng: rng.normal(size=n), stats.norm.pdf, None, 0.035),
    "e^X": (lambda n, rng: np.exp(rng.normal(size=n)), lambda y: stats.lognorm.pdf(y, 1.0), None, 0.035),
    "X^2": (lambda n, rng: rng.normal(size=n) ** 2, lambda y: stats.chi2.pdf(y, 1), None, 0.042),
    "two modes": (modes, modes_density, None, 0.055),
    "uniform": (lambda n, rng: rng.random(n), stats.uniform.pdf, (0.0, 1.0), 0.037),
}


@pytest.mark.parametrize("law", LAWS)
def test_densities_from_runs(law):
    draw, exact, bounds, allowed = LAWS[law]
    rng = np.random.default_rng(11)
    distances, covered = [], []
    for _ in range(6):
        result = pushforward(draw(10_000, rng), bounds=bounds, resamples=40)
        y = result.y.values
        expected = exact(y)
        distances.append(np.trapezoid(np.abs(result.density - expected), y))
        inside = (result.density_lower <= expected) & (expected <= result.density_upper)
        covered.append(np.trapezoid(expected * inside, y))
        assert float(result.density_mass) == pytest.approx(1.0, abs=2e-3)
    assert np.mean(distances) < allowed
    assert 0.90 < np.mean(covered) < 0.99


def test_two_modes_keep_apart_where_a_normal_rule_merges_them():
    result = pushforward(modes(2000, np.random.default_rng(0)), resamples=40)
    assert float(result.bandwidth) < 0.2
    silverman = 1.06 * 2.08 * 2000**-0.2
    assert silverman > 0.4


def test_a_density_stays_within_its_bounds():
    runs = np.random.default_rng(0).beta(0.5, 2.0, 3000)
    for bounds in ((0.0, 1.0), (None, 1.0), (0.0, None)):
        y = pushforward(3 + 2 * runs, bounds=tuple(b if b is None else 3 + 2 * b for b in bounds), resamples=40).y
        assert (bounds[0] is None or float(y.min()) >= 3.0) and (bounds[1] is None or float(y.max()) <= 5.0)


def test_runs_on_a_bound_are_mirrored():
    """Rounded exponential runs, some of them exactly 0: the density at 0 is 1, not a half."""
    runs = np.round(np.random.default_rng(1).exponential(size=20_000), 3)
    assert (runs == 0).any()
    result = pushforward(runs, bounds=(0.0, None), resamples=40)
    assert float(result.y[0]) == 0.0
    assert float(result.density[0]) == pytest.approx(1.0, abs=0.1)
    assert float(result.density_mass) == pytest.approx(1.0, abs=1e-3)


def test_rounding_is_not_taken_for_modes():
    runs = np.round(np.random.default_rng(0).normal(size=2000), 1)
    result = pushforward(runs, resamples=40)
    assert np.trapezoid(np.abs(result.density - stats.norm.pdf(result.y)), result.y) < 0.08


def test_what_the_grid_cannot_show_is_reported():
    runs = np.random.default_rng(0).normal(size=1000) + np.repeat([0.0, 1e6], 500)
    assert abs(float(pushforward(runs, resamples=40).density_mass) - 1) > 0.1


def test_an_atom_is_reported():
    runs = np.maximum(np.random.default_rng(0).normal(size=1000), 0.0)
    assert float(pushforward(runs, resamples=40).largest_tie) == pytest.approx(np.mean(runs == 0))


def test_a_tail_too_heavy_to_draw_is_reported():
    result = pushforward(np.random.default_rng(0).standard_cauchy(4000), resamples=40)
    assert 0.95 < float(result.density_mass) < 0.995


# moments and quantiles ------------------------------------------------------------------------------------------------

REPETITIONS = 300
CASES = {
    "normal": (lambda size, rng: rng.normal(2.0, 3.0, size), stats.norm(2.0, 3.0)),
    "exponential": (lambda size, rng: rng.exponential(size=size), stats.expon()),
    "log-normal": (lambda size, rng: np.exp(0.5 * rng.normal(size=size)), stats.lognorm(0.5)),
}


@pytest.mark.parametrize("case", [pytest.param(c, marks=[pytest.mark.slow] * (c != "normal")) for c in CASES])
def test_coverage_of_mean_and_quantiles(case):
    draw, law = CASES[case]
    rng = np.random.default_rng(2026)
    result = pushforward(draw((300, REPETITIONS), rng), points=16, probability=(0.1, 0.5, 0.9))
    mean = np.mean((result["mean_lower"] <= law.mean()) & (law.mean() <= result["mean_upper"]))
    assert within(float(mean), 0.95, REPETITIONS)
    for level in (0.1, 0.5, 0.9):
        one, exact = result.sel(probability=level), law.ppf(level)
        inside = np.mean((one["quantile_lower"] <= exact) & (exact <= one["quantile_upper"]))
        assert within(float(inside), 0.95, REPETITIONS), level
        spread = float(one["quantile"].std())
        assert float(one["quantile_standard_error"].mean()) == pytest.approx(spread, rel=0.15)
    if case == "normal":
        variance = np.mean((result["variance_lower"] <= 9.0) & (result["variance_upper"] >= 9.0))
        skewness = np.mean((result["skewness_lower"] <= 0.0) & (result["skewness_upper"] >= 0.0))
        assert within(float(variance), 0.95, REPETITIONS) and within(float(skewness), 0.95, REPETITIONS)
    for name in ("mean", "variance"):
        assert float(result[f"{name}_standard_error"].mean()) == pytest.approx(float(result[name].std()), rel=0.15)


def test_moments_are_those_of_numpy_and_scipy():
    runs = np.random.default_rng(0).gamma(2.0, size=(300, 2, 3))
    result = pushforward(runs, points=16, resamples=100)
    np.testing.assert_allclose(result["mean"], runs.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(result["variance"], runs.var(axis=0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(result["skewness"], stats.skew(runs), rtol=1e-10)
    np.testing.assert_allclose(result["mean_standard_error"], runs.std(axis=0, ddof=1) / np.sqrt(300), rtol=1e-12)
    assert result["mean"].dims == ("output_0", "output_1")


def test_quantile_intervals_are_order_statistics():
    """n = 100, the median: the 40th and the 61st value hold it with a probability of 96.48 %."""
    result = pushforward(np.random.default_rng(0).permutation(np.arange(100) + 0.5), points=16)
    median = result.sel(probability=0.5)
    assert (float(median["quantile_lower"]), float(median["quantile_upper"])) == (39.5, 60.5)
    assert float(stats.binom.cdf(60, 100, 0.5) - stats.binom.cdf(39, 100, 0.5)) == pytest.approx(0.9648, abs=1e-4)


def test_the_end_of_a_quantile_beyond_all_runs_is_open_or_the_bound():
    runs = np.random.default_rng(0).random(50)
    low, high = QUANTILES[0], QUANTILES[-1]
    free, bounded = pushforward(runs), pushforward(runs, bounds=(-1.0, 2.0))
    assert float(free["quantile_lower"].sel(probability=low)) == -np.inf
    assert float(free["quantile_upper"].sel(probability=high)) == np.inf
    assert float(bounded["quantile_lower"].sel(probability=low)) == -1.0
    assert float(bounded["quantile_upper"].sel(probability=high)) == 2.0


def test_shift_and_scale_pass_through():
    runs = np.random.default_rng(3).normal(size=300)
    one, other = pushforward(runs), pushforward(1e9 - 40 * runs)
    assert float(other["mean_lower"]) == pytest.approx(1e9 - 40 * float(one["mean_upper"]), abs=2.0)
    assert float(other["variance_upper"]) == pytest.approx(1600 * float(one["variance_upper"]), rel=1e-6)
    assert float(other["skewness"]) == pytest.approx(-float(one["skewness"]), rel=1e-6)


# weights --------------------------------------------------------------------------------------------------------------


def test_equal_weights_change_nothing():
    runs = np.random.default_rng(0).normal(size=500)
    one, other = pushforward(runs, resamples=100), pushforward(runs, weights=np.full(500, 3.0), resamples=100)
    xr.testing.assert_allclose(one, other, rtol=1e-9)


def test_importance_weights_give_the_target():
    """Runs of N(0, 1.5^2) weighted to N(0, 1), 500 of them at a time: each set has its own weights."""
    rng = np.random.default_rng(4)
    inside = {"mean": 0, "quantile": 0}
    for _ in range(150):
        x = 1.5 * rng.normal(size=500)
        w = np.exp(stats.norm.logpdf(x) - stats.norm.logpdf(x, scale=1.5))
        result = pushforward(x, weights=w, points=16, resamples=200, probability=(0.8,))
        inside["mean"] += bool(result["mean_lower"] <= 0 <= result["mean_upper"])
        q = stats.norm.ppf(0.8)
        inside["quantile"] += bool((result["quantile_lower"] <= q) & (q <= result["quantile_upper"]))
        assert float(result["n_effective"]) < 500
    assert all(within(count / 150, 0.95, 150) for count in inside.values()), inside
    result = pushforward(x, weights=w, resamples=40)
    assert np.trapezoid(np.abs(result.density - stats.norm.pdf(result.y)), result.y) < 0.2


# counts ---------------------------------------------------------------------------------------------------------------


def test_counts_have_probabilities_with_wilson_intervals():
    result = pushforward(np.array([0] * 40 + [1] * 50 + [3] * 10))
    assert "density" not in result
    assert result.value.values.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(result.probability_mass, [0.4, 0.5, 0.0, 0.1])
    wilson = [stats.binomtest(k, 100).proportion_ci(method="wilson") for k in (40, 50, 0, 10)]
    np.testing.assert_allclose(result.probability_mass_lower, [each.low for each in wilson], atol=1e-12)
    np.testing.assert_allclose(result.probability_mass_upper, [each.high for each in wilson], atol=1e-12)
    assert result["quantile"].sel(probability=0.5) == 1.0


def test_coverage_of_probabilities():
    result = pushforward(np.random.default_rng(0).poisson(3.0, (300, REPETITIONS)), points=16, resamples=40)
    for value in (1, 3, 5):
        one, exact = result.sel(value=value), stats.poisson.pmf(value, 3.0)
        inside = (one["probability_mass_lower"] <= exact) & (exact <= one["probability_mass_upper"])
        assert within(float(inside.mean()), 0.95, REPETITIONS)


def test_counts_and_densities_side_by_side():
    rng = np.random.default_rng(0)
    runs = np.stack([rng.normal(size=200), rng.poisson(2.0, 200), rng.poisson(1e5, 200)], axis=1)
    result = pushforward(xr.DataArray(runs, dims=("run", "which"), coords={"which": ["x", "few", "many"]}))
    assert np.isnan(result.probability_mass.sel(which=["x", "many"])).all()
    assert np.isnan(result.density.sel(which="few")).all()
    assert float(result.density_mass.sel(which="many")) == pytest.approx(1.0, abs=1e-3)
    assert float(result.probability_mass.sel(which="few").sum()) == pytest.approx(1.0)


# what is asked of the runs --------------------------------------------------------------------------------------------


def test_failed_runs_are_left_out_by_output_and_counted():
    runs = np.random.default_rng(0).normal(size=(400, 2))
    broken = runs.copy()
    broken[:60, 1] = np.nan
    kept = broken.copy()
    result = pushforward(broken, resamples=100)
    np.testing.assert_array_equal(broken, kept)
    assert result.n_valid.values.tolist() == [400, 340]
    alone = pushforward(runs[60:, 1], resamples=100)
    np.testing.assert_allclose(result.density[:, 1], alone.density, rtol=1e-9)
    np.testing.assert_allclose(result["quantile_upper"][:, 1], alone["quantile_upper"])
    np.testing.assert_allclose(result["variance"][1], alone["variance"])


def test_every_seed_is_one_and_the_same_again():
    runs = np.random.default_rng(0).exponential(size=200)
    first, again, other = (pushforward(runs, seed=seed) for seed in (0, 0, 1))
    xr.testing.assert_identical(first, again)
    assert float(first["mean_lower"]) != float(other["mean_lower"])


def test_all_settings_are_checked_at_once():
    with pytest.raises(InputError) as caught:
        pushforward(
            np.zeros((3, 2)), confidence=2.0, max_failed=1.0, points=3, probability=(0.0, 0.5), bounds=(1.0, 0.0)
        )
    assert len(caught.value.findings) == 6


def test_all_outputs_are_checked_at_once():
    runs = np.random.default_rng(0).normal(size=(50, 4))
    runs[:, 0] = 7.0
    runs[3, 1] = np.inf
    runs[:20, 2] = np.nan
    with pytest.raises(InputError) as caught:
        pushforward(runs, bounds=(0.0, None))
    text = str(caught.value)
    for part in ("same value", "infinite values", "failed runs", "outside the bounds"):
        assert part in text


@pytest.mark.parametrize(
    "samples, settings, message",
    [
        (np.array(["a"] * 20), {}, "give real numbers"),
        (np.arange(20.0), {"weights": np.ones(3)}, "give 20 numbers"),
        (np.arange(20.0), {"weights": -np.ones(20)}, "not negative"),
        (np.arange(20.0), {"weights": np.r_[1.0, np.full(19, 1e-9)]}, "1.0 effective runs"),
        (1e-300 * np.random.default_rng(0).random(100), {}, "another unit"),
        (xr.DataArray(np.random.default_rng(0).normal(size=(20, 2)), dims=("run", "point")), {}, "rename it"),
    ],
)
def test_findings_of_runs(samples, settings, message):
    with pytest.raises(InputError, match=message):
        pushforward(samples, **settings)
