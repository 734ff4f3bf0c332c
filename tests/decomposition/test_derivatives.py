"""Slopes, Poincare constants, active subspaces and gradients against closed forms and finite differences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import uqbench as uq
from uqbench import Design, InputError, Space, epistemic, fixed
from uqbench.decomposition.derivatives import poincare
from uqbench.decomposition.derivatives.active_subspace import active_subspace
from uqbench.decomposition.derivatives.measures import dgsm, output_gradients
from uqbench.decomposition.derivatives.poincare import poincare_constant
from uqbench.model import evaluate_many

ISHIGAMI_NU = np.array([7.719587940719257, 24.5, 10.98730506943205])  # closed form, see tests/references
ISHIGAMI_ST = np.array([0.5575888552099592, 0.4424111447900408, 0.24368366406214773])
ISHIGAMI_VARIANCE = 13.844587940719256


def ishigami(x):
    return np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])


def ishigami_gradients(x):
    one, two, three = x.T
    first = np.cos(one) * (1 + 0.1 * three**4)
    return np.stack([first, 7 * np.sin(2 * two), 0.4 * three**3 * np.sin(one)], axis=1)


@functools.cache
def circle_space(d=3):
    return Space({f"x{i + 1}": epistemic(uq.Uniform(-np.pi, np.pi)) for i in range(d)})


@functools.cache
def normal_space(*sigma):
    return Space({f"x{i + 1}": epistemic(uq.Normal(0.0, s)) for i, s in enumerate(sigma)})


def draws(space, n, seed=0):
    return np.asarray(space.vector(space.sample(jax.random.key(seed), (n,))))


CLOSED = {
    "uniform": (uq.Uniform(1.0, 3.0), 4 / np.pi**2),
    "normal": (uq.Normal(1.0, 2.0), 4.0),
    "half-normal": (uq.HalfNormal(2.0), 2.0),
    "exponential": (uq.Exponential(0.5), 16.0),
}


@pytest.mark.parametrize("case", CLOSED)
def test_computed_constants_agree_with_closed_forms(case):
    distribution, expected = CLOSED[case]
    assert poincare_constant(distribution) == (pytest.approx(expected), 0.0, "natural")
    constant, error = poincare._computed(distribution)
    assert error < 3e-3 * expected
    assert abs(constant - expected) < error + 1e-6 * expected


@pytest.mark.parametrize(
    "distribution, expected",
    [
        # cos(pi (x - a) / (b - a)), Hermite and Jacobi polynomials are the eigenfunctions
        (uq.Beta(1.0, 1.0), 1 / np.pi**2),
        (uq.TruncatedNormal(0.0, 2.0), 4.0),
        (uq.TruncatedNormal(0.0, 2.0, lower=0.0), 2.0),
        (uq.TruncatedNormal(0.0, 2.0, upper=0.0), 2.0),
        (uq.TruncatedNormal(0.0, 1.0, lower=-1.0, upper=1.0), 1 / 3),  # x^3 - 3 x has no slope at +-1
        (uq.Gamma(1.0, 0.5), 16.0),
    ],
)
def test_constants_of_other_families(distribution, expected):
    constant, error, coordinate = poincare_constant(distribution)
    assert coordinate == "natural"
    assert abs(constant - expected) < error + 1e-6 * expected and error < 3e-3 * expected
    assert constant + error >= float(distribution.variance())  # of f(x) = x


def test_heavy_tails_go_to_another_coordinate():
    assert poincare_constant(uq.LogNormal(0.0, 0.5)) == (0.25, 0.0, "log")
    assert poincare_constant(uq.LogUniform(1.0, 10.0)) == (pytest.approx((np.log(10) / np.pi) ** 2), 0.0, "log")
    for distribution in (uq.StudentT(3.0, 0.0, 1.0), uq.Cauchy(0.0, 1.0), uq.HalfCauchy(1.0)):
        assert poincare_constant(distribution) == (1.0, 0.0, "normal score")
    with pytest.raises(InputError, match="discrete"):
        poincare_constant(uq.Poisson(3.0))
    with pytest.raises(InputError, match="names 'm'"):
        poincare_constant(uq.Normal("m", 1.0))


def test_ishigami():
    x = draws(circle_space(), 4000)
    found = dgsm(circle_space(), x, ishigami_gradients(x), ishigami(x))
    assert (np.abs(found.nu - ISHIGAMI_NU) < 4 * found.nu_standard_error).all()
    assert (np.abs(found.w) < 4 * found.w_standard_error).all()
    bound = 4 * ISHIGAMI_NU / ISHIGAMI_VARIANCE
    assert ((found.upper_bound_lower < bound * 1.02) & (bound * 0.98 < found.upper_bound_upper)).all()
    assert (found.upper_bound_lower > ISHIGAMI_ST).all()
    assert np.isnan(found.lower_bound).all()


@pytest.mark.slow
def test_coverage_of_intervals():
    """Of nominal 95 % at n = 300; four standard errors of 100 repetitions are 9 %."""
    x = draws(circle_space(), 300 * 100, seed=3).reshape(100, 300, 3)
    inside = []
    for one in x:
        found = dgsm(circle_space(), one, ishigami_gradients(one), resamples=200)
        inside.append((found.nu_lower < ISHIGAMI_NU) & (found.nu_upper > ISHIGAMI_NU))
    assert (np.mean(inside, axis=0) > 0.86).all()


def test_linear_functions_of_normal_inputs_are_exact():
    space, slopes = normal_space(1.0, 2.0, 0.5), np.array([3.0, -1.0, 0.0])
    x = draws(space, 2000)
    found = dgsm(space, x, np.broadcast_to(slopes, x.shape), x @ slopes)
    np.testing.assert_allclose(found.nu, slopes**2, rtol=1e-12)
    np.testing.assert_allclose(found.w, slopes, rtol=1e-12)
    np.testing.assert_allclose(found.nu_standard_error, 0.0, atol=1e-12)
    share = np.array([9.0, 4.0, 0.0]) / 13
    for bound in ("upper_bound", "lower_bound"):  # both are sharp for a linear function
        np.testing.assert_allclose(found[bound], share, atol=0.04)
        assert ((found[f"{bound}_lower"] <= share) & (share <= found[f"{bound}_upper"])).all()


@functools.cache
def ratio_space():
    return Space(s=epistemic(uq.LogNormal(0.0, 0.4)), k=epistemic(uq.LogNormal(0.0, 0.25)), c=fixed(2.0))


def test_bounds_hold_for_log_normal_inputs():
    """y = s / k: ST and S1 of a product of log-normals are known."""
    space = ratio_space()
    x = draws(space, 4000)
    y = x[:, 0] / x[:, 1]
    gradients = np.stack([1 / x[:, 1], -x[:, 0] / x[:, 1] ** 2], axis=1)
    found = dgsm(space, x, gradients, y)
    v = np.expm1(np.array([0.4, 0.25]) ** 2)
    total = np.prod(1 + v) - 1
    first, complete = v / total, v * np.prod(1 + v) / (1 + v) / total
    assert found.coordinate.values.tolist() == ["log", "log"]
    # In log s the mean and mean squared slope are those of y itself.
    exact = np.array([0.16, 0.0625]) / total
    np.testing.assert_allclose(found.upper_bound, exact * np.exp(0.2225), rtol=0.1)
    np.testing.assert_allclose(found.lower_bound, exact, rtol=0.1)
    assert (found.upper_bound > complete).all() and (found.lower_bound < first).all()


@pytest.mark.parametrize(
    "distribution",
    [
        uq.StudentT(4.0, 0.0, 1.0),
        uq.Gamma(2.0, 1.0),
        uq.Beta(0.5, 2.0),
        pytest.param(uq.TruncatedNormal(0.0, 1.0, lower=0.0), marks=pytest.mark.slow),
    ],
)
def test_bounds_hold_for_other_families(distribution):
    """y = a tanh(a) + b, where half of what matters is known: ST_a = Var(f(a)) / (Var(f(a)) + 1)."""
    space = Space(a=epistemic(distribution), b=epistemic(uq.Normal(0.0, 1.0)))
    x = draws(space, 3000)
    own = x[:, 0] * np.tanh(x[:, 0])
    gradients = np.stack([np.tanh(x[:, 0]) + x[:, 0] / np.cosh(x[:, 0]) ** 2, np.ones(len(x))], axis=1)
    found = dgsm(space, x, gradients, own + x[:, 1], resamples=200)
    total = np.array([own.var(), 1.0]) / (own.var() + 1)
    assert (found.upper_bound_upper > total).all()


@functools.cache
def hierarchy():
    return Space(m=epistemic(uq.Normal(0.0, 2.0)), a=epistemic(uq.Normal("m", 1.0)), b=epistemic(uq.Uniform(0.0, 1.0)))


def test_parameters_that_name_others_count_by_their_own_coordinate():
    """y = a with a ~ Normal(m, 1), m ~ Normal(0, 2): of the variance 5, m brings 4 and the rest of a 1."""
    x = draws(hierarchy(), 1000)
    gradients = np.broadcast_to([0.0, 1.0, 0.0], x.shape)
    found = dgsm(hierarchy(), x, gradients, x[:, 1])
    assert found.coordinate.values.tolist() == ["normal score", "normal score", "natural"]
    np.testing.assert_allclose(found.upper_bound, [0.8, 0.2, 0.0], atol=0.05)
    np.testing.assert_allclose(found.nu, [0.0, 1.0, 0.0])
    directions = active_subspace(hierarchy(), x, gradients)
    np.testing.assert_allclose(directions.eigenvalue, [5.0, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(directions.eigenvector[0], np.array([2.0, 1.0, 0.0]) / np.sqrt(5), atol=1e-6)


@settings(max_examples=6, deadline=None)
@given(scale=st.floats(1e-3, 1e3), stretch=st.floats(1e-2, 1e2), shift=st.floats(-100, 100))
def test_units_do_not_matter_for_bounds_and_directions(scale, stretch, shift):
    x = draws(normal_space(1.0, 2.0), 60)
    y, gradients = np.sin(x[:, 0]) * x[:, 1], np.stack([np.cos(x[:, 0]) * x[:, 1], np.sin(x[:, 0])], axis=1)
    moved = Space(x1=epistemic(uq.Normal(shift, stretch)), x2=epistemic(uq.Normal(0.0, 2.0)))
    other = np.stack([shift + stretch * x[:, 0], x[:, 1]], axis=1)
    slopes = scale * gradients / np.array([stretch, 1.0])
    one, two = dgsm(normal_space(1.0, 2.0), x, gradients, y), dgsm(moved, other, slopes, scale * y + shift)
    for name in ("upper_bound", "lower_bound", "upper_bound_upper"):
        np.testing.assert_allclose(one[name], two[name], rtol=1e-6)
    one, two = active_subspace(normal_space(1.0, 2.0), x, gradients), active_subspace(moved, other, slopes)
    np.testing.assert_allclose(two.eigenvalue, scale**2 * one.eigenvalue, rtol=1e-6)
    np.testing.assert_allclose(two.eigenvector, one.eigenvector, atol=1e-6)


def test_order_of_parameters_permutes_the_results():
    x, order = draws(circle_space(), 200), [2, 0, 1]
    g = ishigami_gradients(x)
    moved = Space({f"x{i + 1}": epistemic(uq.Uniform(-np.pi, np.pi)) for i in order})
    one, two = dgsm(circle_space(), x, g, ishigami(x)), dgsm(moved, x[:, order], g[:, order], ishigami(x))
    by_name = {f"x{i + 1}": x[:, i] for i in range(3)}, {f"x{i + 1}": g[:, i] for i in range(3)}
    three = dgsm(moved, *by_name, ishigami(x))
    assert two.identical(three)
    for name in one.data_vars:
        if one[name].dtype.kind == "f":
            np.testing.assert_allclose(two[name].sel(parameter=one.parameter), one[name], rtol=1e-12)
    one, two = active_subspace(circle_space(), x, g), active_subspace(moved, x[:, order], g[:, order])
    np.testing.assert_allclose(two.eigenvalue, one.eigenvalue, rtol=1e-9)
    np.testing.assert_allclose(two.activity_score.sel(parameter=one.parameter), one.activity_score, rtol=1e-9)


def test_active_subspace_of_a_ridge_function():
    """y = sin(a . z): one direction, whose eigenvalue is |a|^2 E[cos^2] = |a|^2 (1 + exp(-2 |a|^2)) / 2."""
    space, a = normal_space(1.0, 1.0, 1.0, 1.0), np.array([0.6, 0.0, -0.8, 0.1])
    x = draws(space, 2000)
    found = active_subspace(space, x, np.cos(x @ a)[:, None] * a)
    size = a @ a
    assert int(found.dimension) == 1
    expected = size * (1 + np.exp(-2 * size)) / 2
    assert abs(float(found.eigenvalue[0]) - expected) < 4 * float(found.eigenvalue_standard_error[0])
    np.testing.assert_allclose(found.eigenvector[0], -a / np.sqrt(size), atol=1e-9)
    np.testing.assert_allclose(found.subspace_error[0], 0.0, atol=1e-6)
    np.testing.assert_allclose(found.activity_score, float(found.eigenvalue[0]) * a**2 / size, atol=1e-9)


def test_two_directions_with_an_error_and_none_without_a_gap():
    space = normal_space(1.0, 1.0, 1.0)
    x = draws(space, 1000)
    g = np.stack([2 * x[:, 0], 1.8 * x[:, 1], 0.05 * np.sin(x[:, 2])], axis=1)
    found = active_subspace(space, x, g)
    assert int(found.dimension) == 2
    assert float(found.subspace_error[1]) < 0.05 < float(found.subspace_error[0])
    assert float(found.subspace_error[2]) == 0.0
    assert ((found.eigenvalue_lower <= found.eigenvalue) & (found.eigenvalue <= found.eigenvalue_upper)).all()
    assert int(active_subspace(space, x, x).dimension) == 0  # E[z z'] is the identity
    np.testing.assert_allclose(active_subspace(space, x, x).activity_score, (x**2).mean(axis=0), rtol=1e-6)


def test_outputs_keep_their_labels_and_failed_runs_are_left_out():
    x = draws(circle_space(), 100)
    y = np.stack([ishigami(x), 2 * ishigami(x)], axis=1)
    g = xr.DataArray(
        np.stack([ishigami_gradients(x)] * 2, axis=-1) * [1, 2],
        dims=("sample", "parameter", "output"),
        coords={"output": ["one", "two"]},
    )
    g[4, 1, 1] = np.nan
    y[7, 1] = np.nan
    before = g.copy(deep=True)
    found = dgsm(circle_space(), x, g, y)
    assert g.identical(before)
    assert found.nu.dims == ("parameter", "output") and found.output.values.tolist() == ["one", "two"]
    assert found.n_valid.values.tolist() == [100, 98]
    kept = np.delete(np.arange(100), [4, 7])
    alone = dgsm(circle_space(), x[kept], ishigami_gradients(x)[kept], ishigami(x)[kept])
    np.testing.assert_allclose(found.upper_bound.sel(output="two"), alone.upper_bound, rtol=1e-9)
    np.testing.assert_allclose(found.nu.sel(output="two"), 4 * alone.nu, rtol=1e-9)
    assert active_subspace(circle_space(), x, g).eigenvector.dims == ("mode", "parameter", "output")
    assert dgsm(circle_space(), x, g, y, seed=0).identical(found)
    assert not dgsm(circle_space(), x, g, y, seed=1).nu_lower.equals(found.nu_lower)


def counts_and_outside():
    space = Space(a=epistemic(uq.Poisson(3.0)), b=epistemic(uq.Uniform(0.0, 1.0)))
    return space, np.full((20, 2), 2.0), np.ones((20, 2)), np.arange(20.0)


def with_failures():
    g = np.ones((20, 2))
    g[:10] = np.nan
    g[15] = np.inf
    return normal_space(1.0, 1.0), np.zeros((20, 2)), g, np.arange(20.0)


@pytest.mark.parametrize(
    "case, parts",
    [
        (counts_and_outside, ["'a' is a count", "20 values of 'b' are outside"]),
        (with_failures, ["10 of 20 runs", "2 infinite"]),
        (lambda: (normal_space(1.0), np.zeros((20, 1)), np.ones((20, 1)), np.ones(20)), ["same value"]),
        (lambda: (normal_space(1.0), np.zeros((20, 2)), np.ones((20, 2)), np.ones(20)), ["give (n, 1)"]),
        (lambda: (normal_space(1.0), {"z": np.zeros(9)}, np.ones(9), None), ["no 'x1'", "gradients has shape"]),
        (lambda: (normal_space(1.0), np.full((9, 1), np.nan), np.ones((9, 1)), np.ones(8)), ["y has shape (8,)"]),
        (lambda: (normal_space(1.0), np.full((9, 1), np.nan), np.ones((9, 1)), None), ["not finite"]),
    ],
)
def test_bad_input(case, parts):
    space, x, gradients, y = case()
    with pytest.raises(InputError) as error:
        dgsm(space, x, gradients, y)
    for part in parts:
        assert part in str(error.value)


def test_bad_settings_are_reported_at_once():
    with pytest.raises(InputError) as error:
        active_subspace(normal_space(1.0), np.zeros((9, 1)), np.full((9, 1), np.nan), confidence=0.95, resamples=3)
    assert len(error.value.findings) == 2 and "9 of 9 runs have no gradient" in str(error.value)


def receptor():
    from forward_models.receptor_tf import model

    return model, Design([1.0, 5.0])


def secretion():
    from forward_models.secretion import model

    return model, Design([1.0, 5.0])


def cascade():
    from forward_models.two_scale_cascade import model

    return model, Design([1.0, 5.0], {"impulse": 1.0})


@pytest.mark.parametrize("make", [receptor, secretion, cascade])
def test_gradients_agree_with_finite_differences(make):
    model, design = make()
    thetas = model.space.sample(jax.random.key(0), (4,))
    values, gradients = output_gradients(model, thetas, design)
    assert gradients.dims == ("sample", "parameter", "output", "time")
    np.testing.assert_allclose(
        values.sel(output=model.outputs[0]), evaluate_many(model, thetas, design).outputs[model.outputs[0]]
    )
    for name in model.space.free:
        step = 1e-3 * jnp.abs(thetas[name])
        above, below = (
            evaluate_many(model, {**thetas, name: thetas[name] + s * step}, design).outputs for s in (1, -1)
        )
        for output in model.outputs:
            slope = np.asarray((above[output] - below[output]) / (2 * step[:, None]))
            found = gradients.sel(parameter=name, output=output).values
            np.testing.assert_allclose(found, slope, rtol=2e-3, atol=2e-3 * np.abs(slope).max() + 1e-7)


def test_some_parameters_and_failed_runs():
    model, design = cascade()
    thetas = model.space.sample(jax.random.key(1), (3,)) | {"ks": jnp.array([0.2, jnp.nan, 0.3])}
    values, gradients = output_gradients(model, thetas, design, ["ks"])
    assert gradients.parameter.values.tolist() == ["ks"]
    assert np.isnan(values[1]).all() and np.isnan(gradients[1]).all()
    assert np.isfinite(values[[0, 2]]).all() and np.isfinite(gradients[[0, 2]]).all()
    with pytest.raises(InputError) as error:
        output_gradients(model, thetas, design, ["sigma", "kz"])
    assert len(error.value.findings) == 2 and "'sigma' is not a free parameter" in str(error.value)


def noisy_simulate(theta, design, key):
    return {"y": theta["a"] ** 2 * design.times + jax.random.normal(key, design.times.shape)}


def test_stochastic_models_keep_their_keys():
    space = Space(a=epistemic(uq.Normal(0.0, 1.0)))
    model = uq.Model.from_function(space, noisy_simulate, {"y": ""}, stochastic=True)
    a = jnp.array([1.0, 2.0, 3.0])
    values, gradients = output_gradients(
        model, {"a": a}, Design([1.0, 2.0]), keys=jax.random.split(jax.random.key(0), 3)
    )
    np.testing.assert_allclose(gradients[:, 0, 0], 2 * a[:, None] * np.array([1.0, 2.0]))
    assert np.std(values[:, 0] - a[:, None] ** 2 * np.array([1.0, 2.0])) > 0.1
    blind = uq.Model.from_function(space, noisy_simulate, {"y": ""}, stochastic=True, gradient="none")
    with pytest.raises(InputError, match="no gradient"):
        output_gradients(blind, {"a": a}, Design([1.0]))


def test_posterior_draws_are_refused_where_inputs_must_be_independent():
    """The same words from every engine that supposes independent inputs; Shapley effects take the draws."""
    from uqbench.decomposition import polynomial_chaos, salib_analysis, shapley_effects

    space = Space(a=epistemic(uq.Normal(0.0, 1.0)), b=epistemic(uq.Normal(0.0, 1.0)))
    x = np.random.default_rng(0).multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=400)
    y, gradients = x @ [1.0, 2.0], np.tile([1.0, 2.0], (400, 1))
    for engine in (
        lambda: dgsm(space, x, gradients, y),
        lambda: active_subspace(space, x, gradients),
        lambda: polynomial_chaos(space, x, y),
        lambda: salib_analysis(space, "delta", x, y),
    ):
        with pytest.raises(InputError, match=r"'a' and 'b' \(0\.\d+\) depend on each other.*shapley_effects"):
            engine()
    assert float(shapley_effects(x, y).shapley.sum()) == pytest.approx(1.0)
    independent = np.random.default_rng(1).normal(size=(400, 2))
    assert dgsm(space, independent, gradients, independent @ [1.0, 2.0]).nu.values == pytest.approx([1.0, 4.0])
