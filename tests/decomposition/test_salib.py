"""SALib's methods on spaces of ours: closed forms, SALib called directly, and where it fails in silence.

Tolerances of closed forms are about twice the largest error over seeds 0 to 4, measured at the same number of runs.
"""

import warnings

import numpy as np
import pytest
import xarray as xr
from SALib.analyze import delta, fast, hdmr, morris, pawn, rbd_fast
from scipy.stats import rankdata

import uqbench as uq
from uqbench.decomposition.salib import salib_analysis, salib_sample, salib_table
from uqbench.decomposition.salib.methods import METHODS
from uqbench.decomposition.sobol import sobol_indices, sobol_plan

ROWS = {"morris": 20, "fast": 300, "rbd_fast": 400, "pawn": 400, "delta": 300, "hdmr": 400}
A, B = 7.0, 0.1
V1, V2, V13 = (1 + B * np.pi**4 / 5) ** 2 / 2, A**2 / 8, B**2 * np.pi**8 * (1 / 18 - 1 / 50)
FIRST = np.array([V1, V2, 0]) / (V1 + V2 + V13)
TOTAL = np.array([V1 + V13, V2, V13]) / (V1 + V2 + V13)

# of which each use compiles or runs for more than a second
DEAR = ("morris", "rbd_fast")


def ishigami(x):
    return np.sin(x[..., 0]) + A * np.sin(x[..., 1]) ** 2 + B * x[..., 2] ** 4 * np.sin(x[..., 0])


SPACE = uq.Space({f"x{i + 1}": uq.epistemic(uq.Uniform(-np.pi, np.pi)) for i in range(3)})
MIXED = uq.Space(
    mean=uq.epistemic(uq.Normal(0.0, 1.0)),
    count=uq.epistemic(uq.Poisson(3.0)),
    scale=uq.fixed(2.0),
    rare=uq.epistemic(uq.Poisson(0.1)),
    child=uq.aleatory(uq.Normal("mean", 0.5)),
    rate=uq.epistemic(uq.LogNormal(0.0, 2.0)),
)


def analysed(method, *, space=SPACE, model=ishigami, n=None, change=None, seed=0, **settings):
    x = salib_sample(space, method, n or ROWS[method], seed=seed)
    y = model(x)
    return salib_analysis(space, method, x, y if change is None else change(y), seed=seed, **settings), x, y


@pytest.mark.parametrize(
    "method, n, settings, tolerance",
    [
        ("fast", 1000, {}, {"S1": 0.035, "ST": 0.055}),
        ("rbd_fast", 2000, {}, {"S1": 0.06}),
        ("hdmr", 1000, {"intervals": 4, "resamples": 40}, {"S1": 0.04, "ST": 0.15}),
    ],
)
def test_closed_forms(method, n, settings, tolerance):
    found, _, _ = analysed(method, n=n, **settings)
    if method == "hdmr":
        found["S1"] = ("parameter", found.S.sel(term=["x1", "x2", "x3"]).values)
        assert 0.97 < float(found.explained) < 1.13
        assert found.term.values.tolist() == ["x1", "x2", "x3", "x1/x2", "x1/x3", "x2/x3"]
        assert abs(float(found.S.sel(term="x1/x3")) - TOTAL[2]) < 0.06
    for kind, expected in (("S1", FIRST), ("ST", TOTAL)):
        if kind in tolerance:
            np.testing.assert_allclose(found[kind], expected, atol=tolerance[kind])


def test_morris_effects_of_a_linear_model_are_its_slopes_and_ranks_follow():
    """In a uniform space the slope per unit of probability is the slope times the width."""
    slopes = np.array([3.0, -1.0, 0.0])
    found, _, _ = analysed("morris", model=lambda x: x @ slopes)
    np.testing.assert_allclose(found.mu, 2 * np.pi * slopes, atol=1e-10)
    np.testing.assert_allclose(found.mu_star, 2 * np.pi * abs(slopes), atol=1e-10)
    np.testing.assert_allclose(found.sigma, 0.0, atol=1e-10)
    curved, _, _ = analysed("morris", model=lambda x: x @ slopes + x[:, 0] * x[:, 2], n=40)
    assert curved.mu_star.values.argmax() == 0
    assert curved.sigma.values[[0, 2]].min() > 1 and float(curved.sigma[1]) < 1e-10


def test_pawn_ranks_and_tells_what_is_not_resolved():
    found, _, _ = analysed("pawn", n=1000, model=lambda x: 2 * x[:, 0] + x[:, 1])
    assert found["median"].values.argsort().tolist() == [2, 1, 0]
    assert (found["median"].values > 2 * float(found.dummy)).tolist() == [True, True, False]
    assert (found.minimum <= found["median"]).all() and (found["median"] <= found.maximum).all()


def test_delta_splits_the_variance_between_its_classes():
    """Its S1 is that of an input known to one of 5 classes of equal probability (500 rows)."""
    found, _, _ = analysed("delta", n=500, resamples=40)
    middle = (np.arange(50_000) + 0.5) / 50_000 * 2 * np.pi - np.pi
    effects = ((1 + B * np.pi**4 / 5) * np.sin(middle), A * np.sin(middle) ** 2, 0 * middle)
    between = np.array([effect.reshape(5, -1).mean(axis=1).var() for effect in effects]) / (V1 + V2 + V13)
    np.testing.assert_allclose(found.S1, between, atol=0.1)
    assert (abs(found.S1 - between) < 2 * found.S1_conf + 0.02).all()


def test_delta_is_one_half_of_the_distance_between_densities():
    """An input that is the output itself leaves a spike in each class: 1 - 1/5 less the smoothing; an inert one 0."""
    found, _, _ = analysed("delta", n=500, model=lambda x: x[:, 0], resamples=40)
    assert 0.6 < float(found.delta[0]) < 0.8
    assert (abs(found.delta[1:]) < 0.1).all()


def test_delta_is_that_of_the_sample_whatever_the_seed():
    """y = 3 u + z: beside a uniform u the exact index of a uniform z is 1/9."""
    space = uq.Space({name: uq.epistemic(uq.Uniform(0.0, 1.0)) for name in ("u", "z")})
    x = np.random.default_rng(1).random((500, 2))
    found = [salib_analysis(space, "delta", x, x @ [3.0, 1.0], seed=seed, resamples=40) for seed in range(3)]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].delta, other.delta)
        np.testing.assert_array_equal(found[0].S1, other.S1)
        np.testing.assert_allclose(found[0].delta_bias, other.delta_bias, atol=0.015)
    # classes and smoothing leave 0.02 of error; another sample of that size differs by the stated half width
    assert float(found[0].delta[1]) == pytest.approx(1 / 9, abs=0.03)
    again = np.random.default_rng(2).random((500, 2))
    difference = salib_analysis(space, "delta", again, again @ [3.0, 1.0], resamples=40).delta - found[0].delta
    assert (abs(difference) < 2 * found[0].delta_conf).all()


@pytest.mark.parametrize("method", ["delta", "hdmr"])
def test_a_monotone_change_of_an_input_changes_nothing(method):
    logarithmic = uq.Space({name: uq.epistemic(uq.LogUniform(np.exp(-np.pi), np.exp(np.pi))) for name in SPACE})
    found, x, y = analysed(method, resamples=40)
    assert found.identical(salib_analysis(logarithmic, method, np.exp(x * (1 - 1e-9)), y, resamples=40))


def directly(method, x, y, seed):
    """SALib itself on the same samples."""
    problem = {"num_vars": 3, "names": ["x1", "x2", "x3"], "bounds": [[-np.pi, np.pi]] * 3}
    ranks = rankdata(x, axis=0) / len(x)
    np.random.seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if method == "morris":
            found = morris.analyze(problem, x, y, seed=seed)
            return {kind: found[kind] / 0.98 for kind in ("mu", "mu_star", "sigma", "mu_star_conf")}
        if method == "fast":
            return fast.analyze(problem, y)
        if method == "rbd_fast":
            return rbd_fast.analyze(problem, x, y, seed=seed)
        if method == "pawn":
            return {kind: v for kind, v in pawn.analyze(problem, x, y).items() if kind not in ("names", "stdev")}
        if method == "delta":
            edges, grid = np.linspace(0, len(x), 6), np.linspace(y.min(), y.max(), 100)
            return {
                "delta": [delta.calc_delta(y, grid, column, edges) for column in ranks.T * len(x)],
                "S1": [delta.sobol_first(y, column, edges) for column in ranks.T * len(x)],
            }
        found = hdmr.analyze(problem, ranks, y, K=40)
        return {kind: found[kind] for kind in ("Sa", "Sb", "S", "S_conf")} | {"ST": found["ST"][:3]}


@pytest.mark.parametrize("method", METHODS)
def test_numbers_are_those_of_salib(method):
    resamples = 40 if method in ("delta", "hdmr") else 100
    found, x, y = analysed(method, seed=7, resamples=resamples)
    for kind, values in directly(method, x, y, 7).items():
        if kind != "names":
            np.testing.assert_allclose(found[kind], values, rtol=1e-9, atol=1e-9, err_msg=kind)


@pytest.mark.parametrize("method", METHODS)
def test_seed_zero_is_a_seed_and_global_numbers_are_left_alone(method):
    settings = {"resamples": 40}
    np.random.seed(123)
    state, formatting = np.random.get_state(), warnings.formatwarning
    x = salib_sample(SPACE, method, ROWS[method], seed=0)
    y = ishigami(x)
    zero = salib_analysis(SPACE, method, x, y, seed=0, **settings)
    after = np.random.get_state()
    assert all(np.array_equal(one, two) for one, two in zip(state, after, strict=True))
    assert warnings.formatwarning is formatting
    np.random.seed(9)
    np.testing.assert_array_equal(x, salib_sample(SPACE, method, ROWS[method], seed=0))
    assert zero.identical(salib_analysis(SPACE, method, x, y, seed=0, **settings))
    assert (x != salib_sample(SPACE, method, ROWS[method], seed=1)).any()
    other = salib_analysis(SPACE, method, x, y, seed=1, **settings)
    assert not zero.drop_attrs().identical(other.drop_attrs())


def with_failures(y):
    return np.where(np.arange(len(y)) % 37 == 5, np.nan, y)


@pytest.mark.parametrize(
    "method", [pytest.param(m, marks=[pytest.mark.slow] * (m in DEAR)) for m in METHODS if m != "fast"]
)
def test_failed_runs_are_left_out(method):
    n = 40 if method == "morris" else ROWS[method]
    found, x, y = analysed(method, n=n, change=with_failures, resamples=40)
    keep = ~np.isnan(with_failures(y))
    if method == "morris":
        keep = np.repeat(keep.reshape(-1, 4).all(axis=1), 4)
    assert int(found.n_valid) == keep.sum() // (4 if method == "morris" else 1) < n
    rest = salib_analysis(SPACE, method, x[keep], y[keep], resamples=40)
    assert found.drop_attrs().identical(rest.drop_attrs())
    assert all(np.isfinite(found[name]).all() for name in found if name != "reason")
    assert found.reason.item() == ""


def test_fast_refuses_failed_runs():
    with pytest.raises(uq.InputError, match=r"25 of 900 runs are NaN; 'fast' reads .*rbd_fast"):
        analysed("fast", change=with_failures)


def test_outputs_keep_their_labels_and_equal_one_at_a_time():
    x = salib_sample(SPACE, "rbd_fast", 200)
    y = np.stack([ishigami(x), x[:, 0], with_failures(x[:, 1])], axis=-1)[:, None] * np.ones((1, 2, 1))
    y = xr.DataArray(y, dims=("run", "time", "output"), coords={"output": ["a", "b", "c"]})
    found = salib_analysis(SPACE, "rbd_fast", x, y)
    assert found.S1.dims == ("parameter", "time", "output") and found.output.values.tolist() == ["a", "b", "c"]
    assert found.n_valid.sel(time=0).values.tolist() == [200, 200, 194]
    one = salib_analysis(SPACE, "rbd_fast", x, y.values[:, 1, 2])
    np.testing.assert_array_equal(found.S1.isel(time=1, output=2), one.S1)


@pytest.mark.parametrize("method", [pytest.param(m, marks=[pytest.mark.slow] * (m in DEAR)) for m in METHODS])
def test_any_distribution_will_do(method):
    """Counts, heavy tails, and a parameter that names another one."""
    n = {"morris": 200, "fast": 240}.get(method, 1200)  # 1200 rows, so that the quantiles are compiled once
    x = salib_sample(MIXED, method, n)
    assert x.shape[1] == 5 and np.isfinite(x).all()
    y = x[:, 1] + 0.5 * (x[:, 3] - x[:, 0])
    found = salib_analysis(MIXED, method, x, y, resamples=40)
    kind = {"morris": "mu_star", "pawn": "median", "delta": "delta", "hdmr": "ST"}.get(method, "S1")
    order = [found.parameter.values[i] for i in found[kind].values.argsort()[::-1]]
    assert order[0] == "count"
    if method in ("fast", "rbd_fast"):
        # variances 3 of the count, 1/16 of the independent part of the child, nothing else
        np.testing.assert_allclose(found.S1, [0, 0.98, 0, 0.02, 0], atol=0.07)
    if method == "morris":
        np.testing.assert_allclose(found.mu_star[[0, 2, 4]], 0, atol=1e-12)
        assert (found.mu > -1e-12).all()


def test_unobserved_moves_of_counts_count_as_no_effect():
    space = uq.Space(a=uq.epistemic(uq.Poisson(0.001)), b=uq.epistemic(uq.Uniform(0.0, 1.0)))
    x = salib_sample(space, "morris", 30)
    found = salib_analysis(space, "morris", x, 5 * x[:, 0] + x[:, 1])
    assert (x[:, 0] == 0).all() and float(found.mu_star[0]) == 0.0
    np.testing.assert_allclose(found.mu[1], 1.0)


def test_morris_groups():
    groups = {"late": ["x3"], "early": ["x1", "x2"]}
    x = salib_sample(SPACE, "morris", 12, groups=groups)
    assert x.shape == (36, 3)
    found = salib_analysis(SPACE, "morris", x, x[:, 2] * 2, groups=groups)
    assert found.parameter.values.tolist() == ["early", "late"]
    np.testing.assert_allclose(found.mu_star, [0, 4 * np.pi], atol=1e-10)
    with pytest.raises(uq.InputError, match="groups are for 'morris'"):
        salib_sample(SPACE, "pawn", 200, groups=groups)


@pytest.mark.parametrize("method", [pytest.param("morris", marks=pytest.mark.slow), "fast"])
def test_a_sample_that_is_no_design_is_refused(method):
    x = salib_sample(SPACE, "pawn", 900)
    with pytest.raises(uq.InputError, match=f"is no '{method}' design"):
        salib_analysis(SPACE, method, x, ishigami(x))
    shuffled = np.random.default_rng(0).permutation(salib_sample(SPACE, method, 300))
    with pytest.raises(uq.InputError, match=f"is no '{method}' design"):
        salib_analysis(SPACE, method, shuffled, ishigami(shuffled))
    setting = {"morris": {"levels": 8}, "fast": {"harmonics": 6}}[method]
    x = salib_sample(SPACE, method, 301, **setting)
    with pytest.raises(uq.InputError, match=f"is no '{method}' design"):
        salib_analysis(SPACE, method, x, ishigami(x))
    assert salib_analysis(SPACE, method, x, ishigami(x), **setting).attrs[next(iter(setting))] == setting.popitem()[1]


@pytest.mark.parametrize(
    "change, parts",
    [
        (lambda y: y[:-1], ["y has shape (399,); give (400[, output...])"]),
        (lambda y: y * 0 + 3, ["every run gives the same value"]),
        (lambda y: np.where(y > y.mean(), np.nan, y), ["of 400 rows have failed runs"]),
        (lambda y: np.where(y == y.max(), np.inf, y), ["1 infinite values"]),
        (lambda y: y.astype(str), ["y holds", "give real numbers"]),
    ],
)
def test_bad_outputs(change, parts):
    with pytest.raises(uq.InputError) as caught:
        analysed("rbd_fast", change=change)
    for part in parts:
        assert part in str(caught.value)


def test_everything_wrong_is_reported_at_once():
    with pytest.raises(uq.InputError) as caught:
        salib_sample(SPACE, "morris", 10, seed=-1, levels=3, groups={"g": ["x1", "y"]}, slices=4)
    text = str(caught.value)
    for part in ("seed is -1", "levels is 3", "no setting 'slices'", "'y'", "'x2' is in no group", "'x3' is in no"):
        assert part in text
    x = np.full((500, 2), np.nan)
    with pytest.raises(uq.InputError) as caught:
        salib_analysis(SPACE, "hdmr", x, np.zeros(4), confidence=0.4, resamples=500, order=4)
    text = str(caught.value)
    for part in ("order is 4", "at most 100 resamples", "x has shape (500, 2)", "y has shape (4,)"):
        assert part in text
    with pytest.raises(uq.InputError, match="'moris' is unknown; did you mean 'morris'"):
        salib_sample(SPACE, "moris", 10)
    with pytest.raises(uq.InputError, match="n is 64; 'fast' needs a whole number of points of a curve, at least 65"):
        salib_sample(SPACE, "fast", 64)
    with pytest.raises(uq.InputError, match="slices is 6, which SALib cannot"):
        analysed("pawn", slices=6)
    x = salib_sample(SPACE, "pawn", 200)
    with pytest.raises(uq.InputError, match="200 rows are left; 'hdmr' needs 300"):
        salib_analysis(SPACE, "hdmr", x, ishigami(x))
    with pytest.raises(uq.InputError, match="values of 'x1' outside its support"):
        salib_analysis(SPACE, "pawn", 2 * x, ishigami(x))


@pytest.mark.parametrize("second_order", [False, True])
def test_table_plots_and_lists_as_salib_does(second_order):
    import matplotlib

    matplotlib.use("agg")
    plan = sobol_plan(SPACE, 256, second_order=second_order)
    indices = sobol_indices(plan, ishigami(plan.inputs), resamples=100)
    table = salib_table(indices)
    np.testing.assert_array_equal(table["ST"], indices.ST)
    np.testing.assert_allclose(table["S1_conf"], (indices.S1_upper - indices.S1_lower) / 2)
    frames = table.to_df()
    assert [list(frame.columns) for frame in frames][:2] == [["ST", "ST_conf"], ["S1", "S1_conf"]]
    assert len(frames) == 2 + second_order and list(frames[0].index) == ["x1", "x2", "x3"]
    if second_order:
        assert frames[2]["S2"].iloc[1] == float(indices.S2.sel(parameter="x1", other_parameter="x3"))
    assert len(table.plot()) == len(frames)


def test_table_needs_one_output():
    plan = sobol_plan(SPACE, 64)
    indices = sobol_indices(plan, np.stack([plan.inputs[:, 0], plan.inputs[:, 1]], axis=-1), resamples=50)
    with pytest.raises(uq.InputError, match=r"it has the outputs output; select one, e.g. indices.isel\(output=0\)"):
        salib_table(indices)
    with pytest.raises(uq.InputError, match="no ST with ST_lower"):
        salib_table(indices[["S1", "S1_lower", "S1_upper"]])
