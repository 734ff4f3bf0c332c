"""Sobol indices against closed forms, and what a run that fails, repeats or is noisy does to them.

The standard error at a budget is measured, as the spread over independent scramblings: within four of those the mean
over the scramblings must agree with the closed form. A standard error known from so few is itself uncertain, so
"four" is the quantile of Student's t that leaves as much outside as four standard errors of a normal.
"""

import functools
import itertools

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from uqbench import InputError, LogNormal, Normal, Space, Uniform, epistemic, fixed
from uqbench.decomposition.runs import bootstrap_counts, conditional_variance
from uqbench.decomposition.sobol import sobol_indices, sobol_plan

from ..references import reference

SCRAMBLINGS = 12
FOUR = float(stats.t.ppf(stats.norm.cdf(4.0), SCRAMBLINGS - 1))


def uniform_space(d: int, low: float = 0.0, high: float = 1.0) -> Space:
    return Space({f"x{i + 1}": epistemic(Uniform(low, high)) for i in range(d)})


def ishigami(x):
    return np.sin(x[..., 0]) + 7 * np.sin(x[..., 1]) ** 2 + 0.1 * x[..., 2] ** 4 * np.sin(x[..., 0])


def ishigami_indices():
    a, b = 7.0, 0.1
    v1, v2, v13 = (1 + b * np.pi**4 / 5) ** 2 / 2, a**2 / 8, b**2 * np.pi**8 * (1 / 18 - 1 / 50)
    v = v1 + v2 + v13
    return np.array([v1, v2, 0]) / v, np.array([v1 + v13, v2, v13]) / v, {(0, 2): v13 / v, (0, 1): 0.0, (1, 2): 0.0}


def sobol_g(x, a):
    return np.prod((np.abs(4 * x - 2) + a) / (1 + a), axis=-1)


def product_indices(v):
    """Of a product of independent factors with mean 1 and variances `v`."""
    total = np.prod(1 + v) - 1
    first = v / total
    pairs = {(i, j): v[i] * v[j] / total for i, j in itertools.combinations(range(len(v)), 2)}
    return first, v / (1 + v) * np.prod(1 + v) / total, pairs


A8 = np.array([0, 1, 4.5, 9, 99, 99, 99, 99])
A20 = np.concatenate([A8, np.full(12, 99.0)])


def log_normal_ratio_space() -> Space:
    return Space(
        s=epistemic(LogNormal(0.0, 0.4)),
        k=epistemic(LogNormal(0.0, 0.25)),
        q=epistemic(LogNormal(0.0, 0.8)),
        scale=fixed(2.0),
    )


CASES = {
    "ishigami": (functools.partial(uniform_space, 3, -np.pi, np.pi), ishigami, ishigami_indices()),
    "sobol_g8": (
        functools.partial(uniform_space, 8),
        lambda x: sobol_g(x, A8),
        product_indices(1 / (3 * (1 + A8) ** 2)),
    ),
    "sobol_g20": (
        functools.partial(uniform_space, 20),
        lambda x: sobol_g(x, A20),
        product_indices(1 / (3 * (1 + A20) ** 2)),
    ),
    "ratio": (
        log_normal_ratio_space,
        lambda x: 2 * x[..., 0] / x[..., 1] * x[..., 2],
        product_indices(np.expm1(np.array([0.4, 0.25, 0.8]) ** 2)),
    ),
}


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_closed_forms(case, second_order):
    make_space, function, (first, total, pairs) = CASES[case]
    space, found = make_space(), []
    for seed in range(SCRAMBLINGS):
        plan = sobol_plan(space, 1024, second_order=second_order, seed=seed)
        found.append(sobol_indices(plan, function(plan.inputs), resamples=40))
    found = xr.concat(found, "seed")
    truth = {"S1": first, "ST": total}
    if second_order:
        truth["S2"] = np.full((len(first), len(first)), np.nan)
        for (i, j), value in pairs.items():
            truth["S2"][i, j] = truth["S2"][j, i] = value
    for kind, expected in truth.items():
        error = (found[kind].std("seed", ddof=1) / np.sqrt(SCRAMBLINGS)).values
        away = np.abs(found[kind].mean("seed").values - expected)
        # The floor is for indices that every scrambling finds exactly.
        assert (np.isnan(expected) | (away <= FOUR * error + 1e-12)).all(), (kind, away / error)
        assert np.nanmax(error) < 0.02


@pytest.mark.parametrize(
    "case, name", [("ishigami", "ishigami"), ("sobol_g8", "sobol_g8"), ("sobol_g20", "sobol_g_d20")]
)
def test_closed_forms_agree_with_the_references(case, name):
    known = reference("sensitivity")[name]
    first, total, _ = CASES[case][2]
    np.testing.assert_allclose(first, known["S1"], rtol=1e-12)
    np.testing.assert_allclose(total, known["ST"], rtol=1e-12)


def borehole(x):
    rw, r, tu, hu, tl, hl, length, kw = np.moveaxis(x, -1, 0)
    log = np.log(r / rw)
    return 2 * np.pi * tu * (hu - hl) / (log * (1 + 2 * length * tu / (log * rw**2 * kw) + tu / tl))


def test_borehole():
    """No closed form: an own quasi-Monte Carlo run of 2^17 base samples in four scramblings, error 6.4e-6."""
    ranges = [(0.05, 0.15), (100, 50000), (63070, 115600), (990, 1110), (63.1, 116), (700, 820), (1120, 1680)]
    ranges.append((9855, 12045))
    space = Space({f"x{i}": epistemic(Uniform(float(low), float(high))) for i, (low, high) in enumerate(ranges)})
    first = [0.8289175, 1.1044e-06, 5.2765e-12, 0.0413827, 5.2988e-06, 0.0413869, 0.0393437, 0.0095218]
    total = [0.8668321, 2.3234e-06, 1.0686e-11, 0.0541070, 1.07288e-05, 0.0541080, 0.0520827, 0.0127315]
    for second_order, tolerance in ((True, 0.004), (False, 0.012)):  # four times the measured errors 0.0008 and 0.0018
        plan = sobol_plan(space, 1024, second_order=second_order, seed=1)
        found = sobol_indices(plan, borehole(plan.inputs), resamples=40)
        np.testing.assert_allclose(found.S1, first, atol=tolerance)
        np.testing.assert_allclose(found.ST, total, atol=tolerance)


def test_symmetric_estimator_is_sharper_than_the_usual_default():
    """On the same runs; the default is the product of Saltelli 2010 over the variance of A and B."""
    space, truth, ours, default = uniform_space(8), CASES["sobol_g8"][2][0], [], []
    for seed in range(20):
        plan = sobol_plan(space, 512, second_order=True, seed=seed)
        y = sobol_g(plan.inputs, A8)
        a, b, ab = y[:512], y[512:1024], y[1024 : 10 * 512].reshape(8, 512)
        default.append(np.mean((b - y.mean()) * (ab - a), axis=1) / y[:1024].var())
        ours.append(sobol_indices(plan, y, resamples=40).S1.values)
    error = [np.sqrt(np.mean((np.array(x) - truth) ** 2)) for x in (ours, default)]
    assert error[0] < 0.6 * error[1]


def test_plan_layout():
    space = Space(a=epistemic(Uniform(0.0, 1.0)), c=fixed(3.0), b=epistemic(Normal("a", 0.1)))
    plan = sobol_plan(space, 100, second_order=True, replicates=3, seed=0)
    assert (plan.n, plan.n_requested, plan.names) == (128, 100, ("a", "b"))
    assert plan.blocks == ("A", "B", "A, a from B", "A, b from B", "B, a from A", "B, b from A")
    a, b, a_a, a_b, b_a, b_b = plan.cube.reshape(6, 128, 2)
    assert ((plan.cube > 0) & (plan.cube < 1)).all()
    for block, first, second in ((a_a, b, a), (a_b, a, b), (b_a, a, b), (b_b, b, a)):
        np.testing.assert_array_equal(block, np.stack([first[:, 0], second[:, 1]], axis=-1))
    assert plan.inputs.shape == (6 * 128, 2) == (plan.evaluations, 2)
    thetas = plan.thetas
    assert set(thetas) == {"a", "b", "c"} and all(v.shape == (6 * 128 * 3,) for v in thetas.values())
    np.testing.assert_array_equal(thetas["a"].reshape(-1, 3), np.repeat(plan.inputs[:, :1], 3, axis=1))
    # b names a: where only a is exchanged, the quantile of b moves with it.
    np.testing.assert_allclose(
        (plan.values["b"] - plan.values["a"])[256:384], (plan.values["b"] - plan.values["a"])[:128]
    )


def test_seeds_including_zero_are_respected():
    space = uniform_space(2)
    zero = sobol_plan(space, 16, seed=0)
    np.testing.assert_array_equal(zero.cube, sobol_plan(space, 16, seed=0).cube)
    assert (zero.cube != sobol_plan(space, 16, seed=1).cube).any()
    y = zero.inputs.sum(-1)
    one, same, other = (sobol_indices(zero, y, seed=seed) for seed in (0, 0, 1))
    assert one.identical(same) and not one.S1_lower.equals(other.S1_lower) and one.S1.equals(other.S1)


@settings(max_examples=25, deadline=None)
@given(shift=st.floats(-1e4, 1e4), scale=st.floats(1e-6, 1e6), negative=st.booleans(), second_order=st.booleans())
def test_invariant_to_shift_and_scale(shift, scale, negative, second_order):
    plan = sobol_plan(uniform_space(3, -np.pi, np.pi), 64, second_order=second_order)
    y = ishigami(plan.inputs)
    moved = (-1 if negative else 1) * scale * (y + shift)
    one, two = (sobol_indices(plan, values, resamples=50) for values in (y, moved))
    for name in one.drop_vars("reason").data_vars:
        np.testing.assert_allclose(one[name], two[name], atol=1e-8)


def test_many_outputs_equal_one_at_a_time_and_keep_their_labels():
    plan = sobol_plan(uniform_space(3, -np.pi, np.pi), 64, second_order=True)
    y = ishigami(plan.inputs)
    table = np.stack([y, y**2, plan.inputs[:, 0]], axis=-1)[:, None, :] * np.ones((1, 2, 1))
    table[5, 1, 2] = np.nan
    labelled = xr.DataArray(table, dims=("run", "time", "output"), coords={"time": [0.0, 1.0]})
    many = sobol_indices(plan, labelled, resamples=50)
    assert many.S2.dims == ("parameter", "other_parameter", "time", "output")
    np.testing.assert_array_equal(many.time, [0.0, 1.0])
    assert many.n_valid.values.tolist() == [[64, 64, 64], [64, 64, 63]]
    for i, k in ((0, 0), (1, 1), (1, 2)):
        one = sobol_indices(plan, table[:, i, k], resamples=50)
        for name in one.drop_vars("reason").data_vars:
            np.testing.assert_allclose(many[name].isel(time=i, output=k), one[name], atol=1e-12)


def test_groups():
    space = uniform_space(4)
    plan = sobol_plan(space, 1024, second_order=True, groups={"strong": ["x1", "x3"], "weak": ["x2"], "none": ["x4"]})
    x = plan.inputs
    found = sobol_indices(plan, x[:, 0] * x[:, 2] + 0.1 * x[:, 1], resamples=100)
    v = {"strong": 1 / 9 - 1 / 16, "weak": 0.01 / 12, "none": 0.0}
    expected = np.array(list(v.values())) / sum(v.values())
    assert found.parameter.values.tolist() == ["strong", "weak", "none"]
    np.testing.assert_allclose(found.S1, expected, atol=2e-3)
    np.testing.assert_allclose(found.ST, expected, atol=2e-3)
    np.testing.assert_array_equal(found.ST.sel(parameter="none"), 0.0)


@pytest.mark.parametrize("second_order", [False, True])
def test_inert_factor_under_noise(second_order):
    """With replicates, ST of a factor without influence has an interval with 0 in it, 95 times in 100."""
    repetitions = 200
    plan = sobol_plan(uniform_space(3), 128, second_order=second_order, replicates=3, seed=4)
    generator = np.random.default_rng(1)
    noise = 0.3 * generator.standard_normal((plan.evaluations, 3, repetitions))  # as much variance as the signal
    y = (plan.inputs[:, 0] + 0.5 * plan.inputs[:, 1])[:, None, None] + noise
    found = sobol_indices(plan, y, resamples=200)
    inside = (found.ST_lower <= 0) & (found.ST_upper >= 0)
    # Four standard errors of a binomial of 200 around 0.95 are 0.062.
    assert float(inside.sel(parameter="x3").mean()) >= 0.888
    assert abs(float(found.ST.sel(parameter="x3").mean())) < 4 * float(found.ST.sel(parameter="x3").std()) / np.sqrt(
        200
    )
    np.testing.assert_allclose(found.ST.mean("output"), [0.8, 0.2, 0.0], atol=0.03)
    np.testing.assert_allclose(found.S1.mean("output"), [0.8, 0.2, 0.0], atol=0.03)
    assert "3 replicates" in found.attrs["noise"]


def test_single_noisy_run_says_that_noise_cannot_be_separated():
    plan = sobol_plan(uniform_space(2), 256)
    y = plan.inputs[:, 0] + np.random.default_rng(0).standard_normal(plan.evaluations)
    found = sobol_indices(plan, y, resamples=50)
    assert "cannot be separated" in found.attrs["noise"]
    assert float(found.ST_lower.sel(parameter="x2")) > 0.5


def test_pure_noise_is_reported_as_not_resolved():
    plan = sobol_plan(uniform_space(2), 64, replicates=2, second_order=True)
    y = np.random.default_rng(3).standard_normal((plan.evaluations, 2, 20))
    found = sobol_indices(plan, y, resamples=100)
    unresolved = np.isneginf(found.ST_lower) & np.isposinf(found.ST_upper)
    assert (unresolved | np.isnan(found.ST_lower)).any("parameter").mean() > 0.8


def test_replicates_may_come_flat_and_in_any_order():
    plan = sobol_plan(uniform_space(2), 64, replicates=4)
    y = plan.inputs.sum(-1)[:, None] + 0.1 * np.random.default_rng(0).standard_normal((plan.evaluations, 4))
    one, flat, shuffled = (sobol_indices(plan, v, resamples=50) for v in (y, y.ravel(), y[:, [2, 0, 3, 1]]))
    assert one.identical(flat)
    for name in one.drop_vars("reason").data_vars:
        np.testing.assert_allclose(one[name], shuffled[name], atol=1e-12)


def test_failed_runs_are_masked_by_base_sample():
    plan = sobol_plan(uniform_space(3, -np.pi, np.pi), 256, second_order=True)
    y = ishigami(plan.inputs)
    lost = np.random.default_rng(0).choice(256, size=30, replace=False)
    broken = y.copy()
    for k, row in enumerate(lost):
        broken[row + 256 * (k % 8)] = np.nan
    found = sobol_indices(plan, broken)
    kept = np.delete(y.reshape(8, 256), lost, axis=1)
    a, b, ab, ba = kept[0], kept[1], kept[2:5], kept[5:]
    spread = ((a - b) ** 2 + (ab - ba) ** 2).sum(1)
    assert int(found.n_valid) == 226
    np.testing.assert_allclose(found.S1, 2 * ((ba - b) * (a - ab)).sum(1) / spread, atol=1e-12)
    np.testing.assert_allclose(found.ST, ((a - ab) ** 2 + (b - ba) ** 2).sum(1) / spread, atol=1e-12)


def test_three_blocks_with_failed_runs_equal_their_remainder():
    plan = sobol_plan(uniform_space(2), 64)
    y = plan.inputs[:, 0] + plan.inputs[:, 0] * plan.inputs[:, 1]
    broken = y.copy()
    broken[[3, 70]] = np.nan
    found = sobol_indices(plan, broken, resamples=50)
    assert int(found.n_valid) == 62
    np.testing.assert_allclose(found.ST, sobol_indices(plan, y, resamples=50).ST, atol=0.05)
    doubled = sobol_indices(plan, np.stack([y, broken], axis=-1), resamples=50)
    np.testing.assert_allclose(doubled.S1.isel(output=1), found.S1, atol=1e-12)


def test_a_replicate_may_fail_without_losing_its_row():
    plan = sobol_plan(uniform_space(2), 64, replicates=3)
    y = plan.inputs.sum(-1)[:, None] + 0.01 * np.random.default_rng(0).standard_normal((plan.evaluations, 3))
    y[10, 1] = np.nan
    assert int(sobol_indices(plan, y, resamples=50).n_valid) == 64
    y[10, 2] = np.nan
    assert int(sobol_indices(plan, y, resamples=50).n_valid) == 63


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 40), resamples=st.integers(1, 20), seed=st.integers(0, 5))
def test_bootstrap_counts_sum_to_the_sample(n, resamples, seed):
    counts = bootstrap_counts(n, resamples, seed)
    assert counts.shape == (resamples, n) and (counts.sum(1) == n).all() and (counts >= 0).all()


def test_bad_plans_are_reported_at_once():
    groups = {"one": ["x1", "x2"], "two": ["x2", "y9"], "empty": []}
    with pytest.raises(InputError) as error:
        sobol_plan(uniform_space(3), 2, replicates=0, groups=groups)
    text = str(error.value)
    assert len(error.value.findings) == 6
    for part in (
        "n is 2",
        "replicates is 0",
        "'empty'",
        "'y9'",
        "'x2' is in groups 'one', 'two'",
        "'x3' is in no group",
    ):
        assert part in text
    with pytest.raises(InputError, match="no free parameter"):
        sobol_plan(Space(a=fixed(1.0)), 16)


def bad(change):
    plan = sobol_plan(uniform_space(2), 16)
    y = np.stack([plan.inputs[:, 0]] * 3, axis=-1)
    return plan, change(y)


def infinite_and_constant(y):
    y[3, 0], y[:, 1], y[:, 2] = np.inf, 4.0, 4.0
    return y


def mostly_failed(y):
    y[:12] = np.nan
    return y


def test_each_output_by_itself():
    """A constant time of a series, an infinite output: NaN and a reason; the others are what they are alone."""
    plan = sobol_plan(uniform_space(2), 64)
    a, b = plan.inputs.T
    series = np.stack([0 * a + 3, a + b, 2 * a + b], axis=-1)
    series[5, 2] = np.inf
    found = sobol_indices(plan, xr.DataArray(series, dims=("run", "time")))
    assert [text[:9] for text in found.reason.values] == ["every run", "", "some of i"]
    alone = sobol_indices(plan, series[:, 1])
    for name in ("S1", "ST", "S1_lower", "ST_upper"):
        np.testing.assert_allclose(found[name].isel(time=1), alone[name], rtol=1e-12)
        assert np.isnan(found[name].isel(time=[0, 2])).all()
    assert found.resolved.isel(time=1).equals(alone.resolved) and not found.resolved.isel(time=0).any()
    # of one index over times, a constant time has no part
    over = sobol_indices(plan, xr.DataArray(series[:, :2], dims=("run", "time")), over="time")
    np.testing.assert_allclose(over.ST, alone.ST, rtol=1e-12)
    still = xr.DataArray(np.tile([1.0, 2.0], (len(a), 1)), dims=("run", "time"))
    with pytest.raises(InputError, match="every run gives the same value"):
        sobol_indices(plan, still, over="time")


@pytest.mark.parametrize(
    "change, parts",
    [
        (infinite_and_constant, ["{'output': 0}", "1 infinite", "{'output': 2}", "same value"]),
        (mostly_failed, ["{'output': 1}", "12 of 16 base samples", "max_failed"]),
        (lambda y: y[:-1], ["shape (63, 3)", "(64[, output...])", "16 base samples in 4 blocks"]),
        (lambda y: y.astype(str), ["give real numbers"]),
    ],
)
def test_bad_outputs(change, parts):
    with pytest.raises(InputError) as error:
        sobol_indices(*bad(change))
    for part in parts:
        assert part in str(error.value)


def test_bad_settings_and_shapes_are_reported_at_once():
    plan = sobol_plan(uniform_space(2), 16, replicates=2)
    with pytest.raises(InputError) as error:
        sobol_indices(plan, np.zeros((64, 3)), resamples=10, max_failed=1.5)
    assert len(error.value.findings) == 3
    assert "(64, 2[, output...]) or (128[, output...])" in str(error.value)


# several outputs in one index, and the indices of the noise ----------------------------------------------------------


def test_one_index_of_many_outputs():
    """Of a_t x1 + b_t x2 with equal variances the generalised index of x1 is sum a^2 / sum (a^2 + b^2)."""
    a, b = np.array([3.0, 0.0, 1.0]), np.array([1.0, 2.0, 0.0])
    plan = sobol_plan(uniform_space(2), 512, second_order=True)
    y = xr.DataArray(plan.inputs[:, :1] * a + plan.inputs[:, 1:] * b, dims=("run", "time"), coords={"time": [0, 1, 2]})
    found = sobol_indices(plan, y, over="time", resamples=100)
    share = (a**2).sum() / (a**2 + b**2).sum()
    np.testing.assert_allclose(found.S1, [share, 1 - share], atol=2e-3)
    assert "time" not in found.dims and found.attrs["over"] == ["time"]
    # a constant output has no weight; outputs of one only are their own index
    constant = xr.concat([y, y.isel(time=[0]) * 0 + 7.0], "time")
    np.testing.assert_allclose(sobol_indices(plan, constant, over="time", resamples=100).ST, found.ST, rtol=1e-12)
    single = sobol_indices(plan, y.isel(time=[0]), resamples=100)
    together = sobol_indices(plan, y.isel(time=[0]), over="time", resamples=100)
    np.testing.assert_allclose(together.S1, single.S1.isel(time=0), rtol=1e-12)
    np.testing.assert_allclose(together.S2_upper, single.S2_upper.isel(time=0), rtol=1e-12)


@pytest.mark.parametrize("second_order", [False, True])
def test_generalised_indices_are_weighted_means_of_the_single_ones(second_order):
    plan = sobol_plan(uniform_space(3, -np.pi, np.pi), 1024, second_order=second_order)
    y = np.stack([ishigami(plan.inputs), 5 * plan.inputs[:, 0], plan.inputs[:, 1] ** 2], axis=1)
    each = sobol_indices(plan, y, resamples=50)
    one = sobol_indices(plan, y, over="output", resamples=50)
    weights = y.var(axis=0) / y.var(axis=0).sum()
    # different sums in the denominators: equal up to the error of the variances
    np.testing.assert_allclose(one.ST, each.ST.values @ weights, atol=0.02)


def poisson_noise(x, replicates, generator):
    return generator.poisson(x[:, None], (len(x), replicates)).astype(float)


@pytest.mark.parametrize("second_order", [False, True])
def test_indices_of_the_conditional_variance(second_order):
    """N | k, g ~ Poisson(k / g): mean and variance of the noise have the same indices, in closed form."""
    space = Space(k=epistemic(LogNormal(np.log(20.0), 0.3)), g=epistemic(LogNormal(0.0, 0.2)))
    first, total, _ = product_indices(np.expm1(np.array([0.3, 0.2]) ** 2))
    found = {of: [] for of in ("mean", "variance")}
    for seed in range(SCRAMBLINGS):
        plan = sobol_plan(space, 512, second_order=second_order, replicates=16, seed=seed)
        y = poisson_noise(plan.inputs[:, 0] / plan.inputs[:, 1], 16, np.random.default_rng(seed))
        for of, results in found.items():
            results.append(sobol_indices(plan, y, of=of, resamples=40))
    for of, results in found.items():
        together = xr.concat(results, "seed")
        assert results[0].attrs["of"] == of
        for kind, expected in (("S1", first), ("ST", total)):
            error = together[kind].std("seed", ddof=1) / np.sqrt(SCRAMBLINGS)
            away = np.abs(together[kind].mean("seed") - expected)
            assert (away <= FOUR * error).all(), (of, kind, away.values)


def test_variance_of_a_variance_is_unbiased():
    """Of exponential data, with cumulants 1 and 6, the variance of k2 is 6/r + 2/(r - 1)."""
    for r in (4, 7):
        runs = np.random.default_rng(r).exponential(size=(1, 400_000, r, 1))
        _, error, valid = conditional_variance(runs)
        assert valid.all()
        spread = error.std() / np.sqrt(error.size)
        assert abs(error.mean() - (6 / r + 2 / (r - 1))) < 4 * spread


def test_what_is_not_resolved_says_how_much_is_needed():
    """An index of .05 beside a threshold of .05 cannot be told, one of .95 can."""
    plan = sobol_plan(uniform_space(2), 64)
    y = plan.inputs @ [np.sqrt(0.94), np.sqrt(0.06)]
    found = sobol_indices(plan, y, resamples=200)
    assert found.resolved.values.tolist() == [True, False]
    assert found.n_needed[0] == plan.n and found.n_needed[1] >= 2 * plan.n
    # four times as many samples as it says are more than enough, wherever the interval was an honest one
    more = sobol_plan(uniform_space(2), 4 * int(min(found.n_needed[1], 2**14)))
    assert sobol_indices(more, more.inputs @ [np.sqrt(0.94), np.sqrt(0.06)], resamples=200).resolved.all()


def test_bad_targets():
    plan = sobol_plan(uniform_space(2), 64, replicates=2)
    y = np.random.default_rng(0).random((plan.evaluations, 2))
    with pytest.raises(
        InputError, match=r"of='variance' needs 4 replicates.*\n.*over='time' is no dimension.*\n.*influ"
    ):
        sobol_indices(plan, y, of="variance", over="time", influential=0.0)
    with pytest.raises(InputError, match="of='median'"):
        sobol_indices(plan, y, of="median")


# intrinsic noise by reaction channel ---------------------------------------------------------------------------------


def births_and_deaths(birth_stream, death_stream, k=20.0, g=1.0, end=1.0):
    """Copy number at `end` from 0, each channel driven by a unit Poisson process of its own (random time change)."""
    births, deaths = (np.random.default_rng(int(u * 2**40)) for u in (birth_stream, death_stream))
    time, count, clock = 0.0, 0, np.zeros(2)
    until = np.array([births.exponential(), deaths.exponential()])
    while True:
        rates = np.array([k, g * count])
        with np.errstate(divide="ignore"):
            waits = (until - clock) / rates
        channel = int(np.argmin(waits))
        if time + waits[channel] > end:
            return count
        clock += rates * waits[channel]
        time += waits[channel]
        count += (1, -1)[channel]
        until[channel] += (births, deaths)[channel].exponential()


def test_noise_of_reaction_channels_are_inputs_like_others():
    """A stream of random numbers for each reaction is an input: S of births (1 + e^-gt)/2, ST of deaths the rest.

    (Le Maitre, Knio and Moraes 2015, doi:10.1063/1.4922922, for the setting.)
    """
    plan = sobol_plan(
        Space(birth=epistemic(Uniform(0.0, 1.0)), death=epistemic(Uniform(0.0, 1.0))), 512, second_order=True
    )
    found = sobol_indices(plan, np.array([births_and_deaths(*row) for row in plan.inputs], float), resamples=200)
    first = (1 + np.exp(-1.0)) / 2
    # streams are a wild function of the coordinate, so the points count as random
    assert abs(float(found.S1[0]) - first) < 4 * float(found.S1_upper[0] - found.S1_lower[0]) / (2 * 1.96)
    assert abs(float(found.ST[1]) - (1 - first)) < 4 * float(found.ST_upper[1] - found.ST_lower[1]) / (2 * 1.96)
    assert float(found.ST_upper[1] - found.ST_lower[1]) < 0.15


def test_birth_death_at_a_finite_time():
    """N(1) | k, g ~ Poisson((k/g)(1 - e^-g)): indices of the conditional mean, by quadrature."""
    space = Space(k=epistemic(LogNormal(np.log(20.0), 0.3)), g=epistemic(LogNormal(0.0, 0.2)))
    conditional = reference("sensitivity")["birth_death_t1.0"]["cond_mean"]
    found = []
    for seed in range(SCRAMBLINGS):
        plan = sobol_plan(space, 512, second_order=True, replicates=8, seed=seed)
        k, g = plan.inputs.T
        y = poisson_noise(k / g * -np.expm1(-g), 8, np.random.default_rng(seed))
        found.append(sobol_indices(plan, y, resamples=40))
    together = xr.concat(found, "seed")
    for kind, expected in conditional.items():
        error = together[kind].std("seed", ddof=1) / np.sqrt(SCRAMBLINGS)
        assert (np.abs(together[kind].mean("seed") - [expected["k"], expected["g"]]) <= FOUR * error).all(), kind
