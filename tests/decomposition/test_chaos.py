"""Polynomial chaos: bases against quadrature and differences, expansions against closed forms and chaospy, and what
noise, failed runs and functions that are not smooth do to them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from scipy.stats import qmc

from uqbench import (
    Beta,
    Exponential,
    Gamma,
    HalfNormal,
    InputError,
    LogNormal,
    LogUniform,
    Normal,
    Poisson,
    Space,
    StudentT,
    TruncatedNormal,
    Uniform,
    epistemic,
    fixed,
)
from uqbench.decomposition.chaos import chaos_predict, polynomial_chaos
from uqbench.decomposition.chaos.bases import OrthonormalBasis, basis_of, to_germ
from uqbench.decomposition.chaos.pursuit import candidate_terms

from ..references import reference


def space_of(*dists) -> Space:
    return Space({f"x{i + 1}": epistemic(dist) for i, dist in enumerate(dists)})


def uniform_space(d: int, low: float = -1.0, high: float = 1.0) -> Space:
    return space_of(*[Uniform(low, high)] * d)


def draw(space: Space, n: int, seed: int = 0, kind: str = "sobol") -> np.ndarray:
    d, generator = len(space.free), np.random.default_rng(seed)
    sobol = qmc.Sobol(d, bits=30, rng=generator)
    u = generator.random((n, d)) if kind == "random" else sobol.random_base2(int(np.ceil(np.log2(n))))[:n] + 2.0**-31
    return np.asarray(space.vector(space.from_cube(u)))


def with_gradients(function, x):
    """A jax function of one point, at many."""
    return np.asarray(jax.vmap(function)(x)), np.asarray(jax.vmap(jax.grad(function))(x))


def ishigami(x):
    return jnp.sin(x[0]) + 7 * jnp.sin(x[1]) ** 2 + 0.1 * x[2] ** 4 * jnp.sin(x[0])


def ishigami_indices():
    v1, v2, v13 = (1 + 0.1 * np.pi**4 / 5) ** 2 / 2, 49 / 8, 0.01 * np.pi**8 * (1 / 18 - 1 / 50)
    return np.array([v1, v2, 0]) / (v1 + v2 + v13), np.array([v1 + v13, v2, v13]) / (v1 + v2 + v13), v1 + v2 + v13


def borehole(x):
    rw, r, tu, hu, tl, hl, length, kw = x
    log = jnp.log(r / rw)
    return 2 * jnp.pi * tu * (hu - hl) / (log * (1 + 2 * length * tu / (log * rw**2 * kw) + tu / tl))


BOREHOLE = space_of(
    *(
        Uniform(low, high)
        for low, high in [
            (0.05, 0.15),
            (100.0, 50000.0),
            (63070.0, 115600.0),
            (990.0, 1110.0),
            (63.1, 116.0),
            (700.0, 820.0),
            (1120.0, 1680.0),
            (9855.0, 12045.0),
        ]
    )
)
# own quasi-Monte Carlo run of 2^17 base samples in four scramblings, error 6.4e-6 (`borehole_numeric`)
BOREHOLE_FIRST = [0.8289175, 1.1044e-06, 5.2765e-12, 0.0413827, 5.2988e-06, 0.0413869, 0.0393437, 0.0095218]
BOREHOLE_TOTAL = [0.8668321, 2.3234e-06, 1.0686e-11, 0.0541070, 1.07288e-05, 0.0541080, 0.0520827, 0.0127315]


def sobol_g(x):
    a = np.array([0, 1, 4.5, 9])
    return np.prod((np.abs(4 * x - 2) + a) / (1 + a), axis=-1)


def product_indices(v):
    """Of a product of independent factors with mean 1 and variances `v`."""
    total = np.prod(1 + v) - 1
    return v / total, v / (1 + v) * np.prod(1 + v) / total


def worst(found, first, total) -> float:
    return max(np.abs(found.S1.values - first).max(), np.abs(found.ST.values - total).max())


def covers(found, first, total, slack: float = 0.0) -> bool:
    pairs = ((found.S1_lower, found.S1_upper, first), (found.ST_lower, found.ST_upper, total))
    return all(((low - slack <= truth) & (truth <= high + slack)).all() for low, high, truth in pairs)


BASES = [
    OrthonormalBasis("hermite"),
    OrthonormalBasis("legendre"),
    OrthonormalBasis("laguerre", (1.0,)),
    OrthonormalBasis("laguerre", (0.4,)),
    OrthonormalBasis("laguerre", (3.5,)),
    OrthonormalBasis("jacobi", (0.5, 0.5)),
    OrthonormalBasis("jacobi", (1.0, 1.0)),
    OrthonormalBasis("jacobi", (2.0, 5.0)),
    OrthonormalBasis("jacobi", (0.3, 1.7)),
]
DENSITIES = {
    "hermite": lambda: stats.norm(),
    "legendre": lambda: stats.uniform(-1, 2),
    "laguerre": lambda alpha: stats.gamma(alpha),
    "jacobi": lambda alpha, beta: stats.beta(alpha, beta, -1, 2),
}


def gauss_rule(basis: OrthonormalBasis, points: int):
    rules = {
        "hermite": lambda: special.roots_hermitenorm(points),
        "legendre": lambda: special.roots_legendre(points),
        "laguerre": lambda alpha: special.roots_genlaguerre(points, alpha - 1),
        "jacobi": lambda alpha, beta: special.roots_jacobi(points, beta - 1, alpha - 1),
    }
    nodes, weights = rules[basis.family](*basis.shapes)
    return nodes, weights / weights.sum()


@pytest.mark.parametrize("basis", BASES, ids=repr)
def test_bases_are_orthonormal(basis):
    """Against scipy's Gauss rules for the same density, so that a wrong recurrence cannot confirm itself."""
    nodes, weights = gauss_rule(basis, 20)
    values, slopes = basis.evaluate(nodes, 9)
    np.testing.assert_allclose((values.T * weights) @ values, np.eye(10), atol=1e-11)
    np.testing.assert_allclose(basis.slope_norms(9), weights @ slopes**2, rtol=1e-10)
    assert (np.diff(basis.evaluate(np.array([1e3]), 9)[0]) > 0).all()  # leading coefficients are positive


@pytest.mark.parametrize("basis", BASES, ids=repr)
def test_derivatives_are_those_of_the_values(basis):
    t, step = DENSITIES[basis.family](*basis.shapes).ppf(np.linspace(0.05, 0.95, 7)), 1e-5
    _, slopes = basis.evaluate(t, 8)
    up, down = basis.evaluate(t + step, 8)[0], basis.evaluate(t - step, 8)[0]
    scale = np.abs(slopes).max()
    np.testing.assert_allclose(slopes / scale, (up - down) / (2 * step) / scale, atol=1e-8)


@pytest.mark.parametrize("basis", BASES, ids=repr)
def test_quadrature_is_that_of_scipy(basis):
    for found, expected in zip(basis.quadrature(7), gauss_rule(basis, 7), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)


DISTS = [
    (Normal(2.0, 3.0), "hermite"),
    (LogNormal(0.5, 0.4), "hermite"),
    (Uniform(2.0, 5.0), "legendre"),
    (LogUniform(0.1, 10.0), "legendre"),
    (Exponential(3.0), "laguerre"),
    (Gamma(2.5, 3.0), "laguerre"),
    (Gamma(mu=2.0, sigma=1.0), "laguerre"),
    (Beta(2.0, 3.0), "jacobi"),
    (TruncatedNormal(0.0, 1.0, -1.0, 2.0), "legendre"),
    (HalfNormal(2.0), "hermite"),
    (StudentT(5.0, 1.0, 2.0), "hermite"),
]


@pytest.mark.parametrize(
    "dist, family",
    [
        pytest.param(*each, marks=[pytest.mark.slow] * isinstance(each[0], (TruncatedNormal, StudentT)))
        for each in DISTS
    ],
    ids=[repr(dist) for dist, _ in DISTS],
)
def test_germs_have_the_density_of_their_basis(dist, family):
    space = space_of(dist)
    basis, u = basis_of(dist, space), np.linspace(0.02, 0.98, 9)
    x = np.asarray(dist.ppf(u))[:, None]
    germs, slopes = to_germ(space, x, slopes=True)
    assert basis.family == family
    # equal quantiles: the germ of a quantile of the input is the quantile of the germ
    np.testing.assert_allclose(germs[:, 0], DENSITIES[family](*basis.shapes).ppf(u), rtol=1e-9, atol=1e-9)
    step = 1e-6 * x
    difference = (to_germ(space, x + step)[0] - to_germ(space, x - step)[0]) / (2 * step)
    np.testing.assert_allclose(slopes[:, 0], difference, rtol=1e-6)


@pytest.mark.slow
def test_hierarchies_have_independent_germs_and_a_triangular_jacobian():
    space = Space(
        a=epistemic(Uniform(1.0, 2.0)),
        c=fixed(0.5),
        b=epistemic(Normal("a", "c")),
        g=epistemic(Gamma("a", 2.0)),
        h=epistemic(Gamma("c", "a")),
    )
    u = draw(uniform_space(4, 0.0, 1.0), 16)
    x = np.asarray(space.vector(space.from_cube(u)))
    germs, jacobian = to_germ(space, x, slopes=True)
    families = [basis_of(space[name].dist, space).family for name in space.free]
    # the shape of g is not a number, so its own polynomials do not exist; that of h is
    assert families == ["legendre", "hermite", "hermite", "laguerre"]
    expected = [2 * u[:, 0] - 1, stats.norm.ppf(u[:, 1]), stats.norm.ppf(u[:, 2]), stats.gamma(0.5).ppf(u[:, 3])]
    np.testing.assert_allclose(germs, np.stack(expected, axis=-1), rtol=1e-7, atol=1e-9)
    for j in range(4):
        step = 1e-6 * np.eye(4)[j]
        difference = (to_germ(space, x + step)[0] - to_germ(space, x - step)[0]) / 2e-6
        np.testing.assert_allclose(jacobian[:, :, j], difference, rtol=1e-5, atol=1e-6)
    assert (np.triu(jacobian, 1) == 0).all() and (jacobian[:, 1:, 0] != 0).all()


def test_candidates():
    assert candidate_terms(3, 2, 1.0, 100).shape == (10, 3)
    assert candidate_terms(3, 2, 1.0, 9) is None
    for q_norm in (0.4, 0.75, 1.0):
        small, large = (candidate_terms(3, p, q_norm, 10**4) for p in (4, 5))
        np.testing.assert_array_equal(large[: len(small)], small)  # sets grow at their end
        norms = (small.astype(float) ** q_norm * (small > 0)).sum(axis=1) ** (1 / q_norm)
        grid = np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), -1).reshape(-1, 3)
        inside = (grid.astype(float) ** q_norm * (grid > 0)).sum(axis=1) ** (1 / q_norm) <= 4 + 1e-9
        assert inside.sum() == len(small) and (norms <= 4 + 1e-9).all() and (small[0] == 0).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_ishigami_with_gradients(seed):
    """30 points; the error was measured as 3e-9 to 8e-9, and 2e-6 was asked for."""
    space, (first, total, variance) = uniform_space(3, -np.pi, np.pi), ishigami_indices()
    x = draw(space, 30, seed)
    found = polynomial_chaos(space, x, *with_gradients(ishigami, x))
    assert worst(found, first, total) < 1e-7
    assert found.resolved and float(found.error) < 1e-10 and covers(found, first, total, 1e-12)
    np.testing.assert_allclose(found["mean"], 3.5, atol=1e-6)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-6)
    pairs = found.S2.sel(parameter="x1", other_parameter=["x2", "x3"])
    np.testing.assert_allclose(pairs, [0, total[2]], atol=1e-7)
    assert np.isnan(found.S2.sel(parameter="x1", other_parameter="x1"))
    unseen = draw(space, 500, 9, "random")
    predicted = chaos_predict(found, space, unseen)
    np.testing.assert_allclose(predicted, jax.vmap(ishigami)(unseen), atol=1e-4)


def test_ishigami_without_gradients():
    space, (first, total, _) = uniform_space(3, -np.pi, np.pi), ishigami_indices()
    x = draw(space, 128, 1, "random")
    found = polynomial_chaos(space, x, np.asarray(jax.vmap(ishigami)(x)), resamples=40)
    assert worst(found, first, total) < 1e-7 and found.resolved


@pytest.mark.slow
@pytest.mark.parametrize("kind, seed", [("sobol", 0), ("random", 1)])
def test_borehole_with_gradients(kind, seed):
    x = draw(BOREHOLE, 50, seed, kind)
    found = polynomial_chaos(BOREHOLE, x, *with_gradients(borehole, x))
    assert worst(found, BOREHOLE_FIRST, BOREHOLE_TOTAL) < 2.5e-4  # asked for: 5e-4
    assert covers(found, BOREHOLE_FIRST, BOREHOLE_TOTAL, 6.4e-6) and found.resolved
    assert float((found.ST_upper - found.ST_lower).max()) < 0.01


@pytest.mark.slow
def test_borehole_without_gradients():
    x = draw(BOREHOLE, 200)
    found = polynomial_chaos(BOREHOLE, x, np.asarray(jax.vmap(borehole)(x)))
    assert worst(found, BOREHOLE_FIRST, BOREHOLE_TOTAL) < 2.5e-4
    unseen = draw(BOREHOLE, 1000, 5, "random")
    truth = np.asarray(jax.vmap(borehole)(unseen))
    missed = np.mean((chaos_predict(found, BOREHOLE, unseen) - truth) ** 2) / truth.var()
    assert missed < 3 * float(found.error)  # the error that is reported is that of new points


def test_error_falls_with_the_degree():
    """exp(x1 + x2 / 2) is a product, so its indices are known; each degree gains about a factor of ten."""
    space, x = uniform_space(2), draw(uniform_space(2), 128)
    v = np.array([np.sinh(2 * c) / (2 * c) / (np.sinh(c) / c) ** 2 - 1 for c in (1.0, 0.5)])
    found = [polynomial_chaos(space, x, np.exp(x @ [1.0, 0.5]), max_degree=p, resamples=40) for p in (1, 2, 3, 4, 5)]
    errors = np.array([float(each.error) for each in found])
    assert (errors[1:] < 0.1 * errors[:-1]).all()
    assert worst(found[-1], *product_indices(v)) < 2e-5  # measured: 7e-6
    assert worst(found[0], *product_indices(v)) > 1e-3
    assert all(covers(each, *product_indices(v), 1e-9) for each in found)


def test_linear_and_additive_models():
    space = space_of(Normal(1.0, 2.0), Uniform(-1.0, 1.0), Exponential(2.0), Beta(2.0, 2.0), HalfNormal(1.0))
    x, slopes = draw(space, 64), np.array([1.0, -3.0, 2.0, 5.0, 0.0])
    found = polynomial_chaos(space, x, x @ slopes)
    variances = slopes**2 * [4, 1 / 3, 1 / 4, 1 / 20, 1]
    assert worst(found, variances / variances.sum(), variances / variances.sum()) < 1e-12
    assert int(found.n_terms) == 5 and int(found.degree) == 1
    space = uniform_space(3)
    x = draw(space, 60)
    parts = [
        np.var(f) for f in (np.exp, lambda t: np.sin(3 * t), lambda t: t**3) for f in [f(np.linspace(-1, 1, 2**18))]
    ]
    found = polynomial_chaos(space, x, np.exp(x[:, 0]) + np.sin(3 * x[:, 1]) + x[:, 2] ** 3)
    # the variances by a rectangle rule of 2^18 points are good to 1e-5
    assert worst(found, parts / np.sum(parts), parts / np.sum(parts)) < 1e-5
    assert float(np.abs(found.S2.fillna(0)).max()) < 1e-12


@pytest.mark.parametrize("gradients", [False, True])
def test_product_of_log_normals(gradients):
    """C* = s / k q; heavy tails, so that the sample decides: intervals must hold the closed form."""
    space = space_of(LogNormal(0.0, 0.4), LogNormal(0.0, 0.25), LogNormal(0.0, 0.8))
    truth = product_indices(np.expm1(np.array([0.4, 0.25, 0.8]) ** 2))
    x = draw(space, 200, 1)
    y, dy = with_gradients(lambda x: x[0] / x[1] * x[2], x)
    found = polynomial_chaos(space, x, y, dy if gradients else None)
    assert covers(found, *truth) and worst(found, *truth) < 0.03
    logged = polynomial_chaos(space, x, np.log(y), dy / y[:, None] if gradients else None)
    v = np.array([0.4, 0.25, 0.8]) ** 2
    assert worst(logged, v / v.sum(), v / v.sum()) < 1e-12


def test_references_agree():
    known = reference("sensitivity")
    first, total, variance = ishigami_indices()
    np.testing.assert_allclose(first, known["ishigami"]["S1"], atol=1e-14)
    np.testing.assert_allclose(total, known["ishigami"]["ST"], atol=1e-14)
    np.testing.assert_allclose(variance, known["ishigami"]["var"], rtol=1e-14)
    np.testing.assert_allclose(BOREHOLE_FIRST, known["borehole_numeric"]["S1"], atol=1e-7)
    np.testing.assert_allclose(BOREHOLE_TOTAL, known["borehole_numeric"]["ST"], atol=1e-7)
    v = np.expm1(np.array([0.4, 0.25, 0.8]) ** 2)
    full = known["cstar_lognormal_ratio"]["full"]
    for found, kind in zip(product_indices(v), ("S1", "ST"), strict=True):
        np.testing.assert_allclose(found, [full[kind][name] for name in "skq"], rtol=1e-12)


@pytest.mark.slow
def test_agrees_with_chaospy():
    """Coefficients of the dense expansion of degree 3, and the indices that chaospy reads from it."""
    import chaospy

    space = space_of(Normal(1.0, 2.0), Uniform(-1.0, 3.0), Gamma(2.0, 1.0))
    x = draw(space, 200)
    y = x[:, 0] * x[:, 1] + x[:, 1] ** 2 + x[:, 2] * x[:, 0] ** 2 + x[:, 2]  # of degree 3, so that both are exact
    found = polynomial_chaos(space, x, y, max_degree=3)
    joint = chaospy.J(chaospy.Normal(1.0, 2.0), chaospy.Uniform(-1.0, 3.0), chaospy.Gamma(2.0))
    terms = chaospy.generate_expansion(3, joint, normed=True)
    model, coefficients = chaospy.fit_regression(terms, x.T, y, retall=True)
    np.testing.assert_allclose(found.S1, chaospy.Sens_m(model, joint), atol=1e-9)
    np.testing.assert_allclose(found.ST, chaospy.Sens_t(model, joint), atol=1e-9)
    np.testing.assert_allclose(found.variance, chaospy.Var(model, joint), rtol=1e-9)
    # chaospy orders its terms otherwise: compare the sizes of all that are there
    ours = np.sort(np.abs(found.coefficient.values))
    theirs = np.sort(np.abs(coefficients))[-len(ours) :]
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    assert np.abs(np.sort(np.abs(coefficients))[: -len(ours)]).max() < 1e-9


def test_gradients_of_a_hierarchy():
    """y = b with b ~ Normal(a, sd): in the germs y = a + sd z, so a explains Var(a) and z the rest."""
    space = Space(a=epistemic(Uniform(0.0, 2.0)), sd=fixed(0.5), b=epistemic(Normal("a", "sd")))
    x = draw(space, 16)
    gradients = np.zeros_like(x)
    gradients[:, 1] = 1.0
    found = polynomial_chaos(space, x, x[:, 1], gradients)
    expected = np.array([1 / 3, 0.25]) / (1 / 3 + 0.25)
    assert worst(found, expected, expected) < 1e-12
    np.testing.assert_allclose(chaos_predict(found, space, x[:5] + 0.01), x[:5, 1] + 0.01, atol=1e-12)


def test_not_smooth_is_not_resolved():
    space = uniform_space(4, 0.0, 1.0)
    truth = product_indices(1 / (3 * (1 + np.array([0, 1, 4.5, 9])) ** 2))
    x = draw(space, 64)
    found = polynomial_chaos(space, x, sobol_g(x))
    assert not found.resolved and "not resolved at this n" in found.attrs["reason"]
    assert f"n={64}" in found.attrs["reason"] and "0.01" in found.attrs["reason"]
    assert covers(found, *truth) and float((found.ST_upper - found.ST_lower).max()) > 0.05
    # even a lax bound on the error is judged with its standard error
    lax = polynomial_chaos(space, x, sobol_g(x), max_error=float(found.error))
    assert not lax.resolved and lax.S1.equals(found.S1)


@pytest.mark.slow
def test_extrapolated_number_of_samples_is_enough():
    space = uniform_space(3, -np.pi, np.pi)
    x = draw(space, 512)
    y = np.asarray(jax.vmap(ishigami)(x))
    found = polynomial_chaos(space, x[:40], y[:40])
    assert not found.resolved
    needed = int(found.attrs["reason"].split("about n=")[1].split()[0])
    assert 40 < needed <= 4000
    assert polynomial_chaos(space, x[: min(needed, 512)], y[: min(needed, 512)]).resolved


@pytest.mark.parametrize("replicates", [3, None])
def test_inert_input_under_noise(replicates):
    """Noise of as much variance as the signal. A square of a coefficient is too large by its variance; after the
    subtraction an input without influence has no index, and the others have the true ones."""
    outputs, n = 30, 64
    space = uniform_space(3, 0.0, 1.0)
    x = draw(space, n, 4)
    signal = x[:, 0] + 0.5 * x[:, 1]
    noise = 0.3 * np.random.default_rng(0).standard_normal((n, replicates or 1, outputs))
    y = signal[:, None, None] + noise
    options = {"resamples": 100, "max_degree": 3, "q_norms": [1.0]}
    if replicates:
        found = polynomial_chaos(space, x, y, replicate_axis=1, **options)
    else:
        found = polynomial_chaos(space, x, y[:, 0], **options)
    truth = np.array([0.8, 0.2, 0.0])[:, None]
    inside = (found.ST_lower <= truth) & (truth <= found.ST_upper)
    # four standard errors of a binomial of 30 around 0.95 are 0.16
    assert (inside.mean("output") >= 0.79).all()
    for name, expected in (("S1", truth[:, 0]), ("ST", truth[:, 0])):
        error = found[name].std("output", ddof=1) / np.sqrt(outputs)
        assert (np.abs(found[name].mean("output") - expected) <= 4 * error + 1e-12).all()
    if replicates:
        error = found.variance.std("output", ddof=1) / np.sqrt(outputs)
        assert abs(float(found.variance.mean()) - 1.25 / 12) < 4 * float(error)
        # of single runs, half of the variance is noise, and it is subtracted
        assert float(found.error.mean()) < 0.06
        assert "replicate variance subtracted" in found.attrs["noise"]
    else:
        assert not found.resolved.any() and "cannot be separated" in found.attrs["noise"]
        assert float(found.error.mean()) > 0.3


def test_what_is_subtracted_from_squares_is_the_variance_of_the_coefficient():
    """A straight line in noise: the variance is sigma^2 / sum of squares, and there are no other terms."""
    n, outputs, sigma = 32, 30, 0.4
    space = uniform_space(1)
    x = draw(space, n, 2)
    y = x + sigma * np.random.default_rng(1).standard_normal((n, outputs))
    found = polynomial_chaos(space, x, y, max_degree=1, q_norms=[1.0], resamples=40)
    assert (found.n_terms == 2).all()
    subtracted = found.coefficient.isel(term=1) ** 2 - found.variance
    expected = sigma**2 / np.sum(3 * (x - x.mean()) ** 2)
    error = float(subtracted.std("output", ddof=1)) / np.sqrt(outputs)
    assert abs(float(subtracted.mean()) - expected) < 4 * error < 0.5 * expected


def test_seeds_including_zero_are_respected():
    space = uniform_space(2)
    x = draw(space, 32)
    y = np.exp(x[:, 0]) * np.cos(3 * x[:, 1]) + np.random.default_rng(0).normal(0, 0.1, 32)
    one, same, other = (polynomial_chaos(space, x, y, seed=seed) for seed in (0, 0, 1))
    assert one.identical(same) and one.S1.equals(other.S1) and not one.S1_lower.equals(other.S1_lower)


def test_many_outputs_equal_one_at_a_time_and_keep_their_labels():
    space = uniform_space(2)
    x = draw(space, 32)
    y = np.stack([x[:, 0] * x[:, 1], np.exp(x[:, 0]), x[:, 1] ** 2 + x[:, 0]], axis=-1)[:, None] * np.ones((1, 2, 1))
    y[5, 1, 2] = np.nan
    labelled = xr.DataArray(y, dims=("run", "time", "output"), coords={"time": [0.0, 1.0]})
    before = labelled.copy(deep=True)
    many = polynomial_chaos(space, x, labelled, resamples=50)
    assert labelled.identical(before)
    assert many.S2.dims == ("parameter", "other_parameter", "time", "output")
    assert many.coefficient.dims == ("term", "time", "output") and many.exponent.dims == ("term", "parameter")
    np.testing.assert_array_equal(many.time, [0.0, 1.0])
    assert many.n_valid.values.tolist() == [[32, 32, 32], [32, 32, 31]]
    for i, k in ((0, 0), (1, 1), (1, 2)):
        one = polynomial_chaos(space, x, y[:, i, k], resamples=50)
        for name in ("S1", "S1_lower", "ST_upper", "S2", "mean", "variance", "error", "n_terms"):
            np.testing.assert_allclose(many[name].isel(time=i, output=k), one[name], atol=1e-12)
    predicted = chaos_predict(many, space, x)
    assert predicted.dims == ("sample", "time", "output")
    np.testing.assert_allclose(predicted[:, 0], y[:, 0], atol=1e-9)


def test_replicates_may_be_on_any_axis_and_one_may_fail():
    space = uniform_space(2)
    x = draw(space, 32)
    y = x.sum(axis=1)[:, None] + 0.01 * np.random.default_rng(0).standard_normal((32, 3))
    outputs = np.stack([y, 2 * y + 1], axis=1)
    one = polynomial_chaos(space, x, outputs, replicate_axis=2)
    other = polynomial_chaos(space, x, np.moveaxis(outputs, 2, 1), replicate_axis=1)
    assert one.identical(other) and one.S1.dims == ("parameter", "output")
    y[3, 0] = np.nan
    assert int(polynomial_chaos(space, x, y, replicate_axis=1).n_valid) == 32
    y[3, 1] = np.nan
    assert int(polynomial_chaos(space, x, y, replicate_axis=1).n_valid) == 31


def test_failed_runs_are_left_out():
    space = uniform_space(2)
    x = draw(space, 40)
    y, dy = with_gradients(lambda x: jnp.exp(x[0]) * jnp.cos(3 * x[1]), x)
    kept = np.arange(40) % 8 != 3
    broken, broken_gradients = np.where(kept, y, np.nan), np.where(kept[:, None], dy, np.nan)
    found = polynomial_chaos(space, x, broken, broken_gradients, max_degree=5)
    expected = polynomial_chaos(space, x[kept], y[kept], dy[kept], max_degree=5)
    assert int(found.n_valid) == 35
    np.testing.assert_allclose(found.ST, expected.ST, atol=1e-12)
    np.testing.assert_allclose(found.ST_upper, expected.ST_upper, atol=1e-12)


@functools.cache
def recovery_sample():
    space = space_of(Uniform(0.0, 2.0), Normal(1.0, 0.5), Gamma(3.0, 2.0))
    x = draw(space, 60, 3)
    germs, _ = to_germ(space, x)
    bases = [basis_of(space[name].dist, space) for name in space.free]
    return space, x, [basis.evaluate(germs[:, i], 3)[0] for i, basis in enumerate(bases)]


@settings(max_examples=12, deadline=None)
@given(
    exponents=st.lists(st.tuples(*[st.integers(0, 3)] * 3).filter(lambda a: 0 < sum(a) <= 3), min_size=1, max_size=4),
    seed=st.integers(0, 2**16),
)
def test_sparse_polynomials_are_recovered(exponents, seed):
    space, x, tables = recovery_sample()
    exponents = sorted(set(exponents))
    coefficients = np.random.default_rng(seed).uniform(0.5, 2.0, len(exponents))
    y = sum(
        c * np.prod([t[:, a] for t, a in zip(tables, e, strict=True)], axis=0)
        for c, e in zip(coefficients, exponents, strict=True)
    )
    found = polynomial_chaos(space, x, y, resamples=40, q_norms=[1.0], max_degree=3)
    known = dict(zip(exponents, coefficients, strict=True))
    for exponent, value in zip(found.exponent.values, found.coefficient.values, strict=True):
        np.testing.assert_allclose(value, known.pop(tuple(exponent.tolist()), 0.0), atol=1e-8)
    assert not known
    np.testing.assert_allclose(found.variance, np.sum(coefficients**2), rtol=1e-8)
    for name in ("S1", "ST"):
        assert ((found[name] >= -1e-9) & (found[name] <= 1 + 1e-9)).all()
    assert float(found.S1.sum()) <= 1 + 1e-9 <= float(found.ST.sum()) + 2e-9


@settings(max_examples=6, deadline=None)
@given(shift=st.floats(-1e3, 1e3), scale=st.floats(1e-3, 1e3), negative=st.booleans(), gradients=st.booleans())
def test_invariant_to_shift_and_scale_of_the_output(shift, scale, negative, gradients):
    space = uniform_space(2)
    x = draw(space, 24)
    y, dy = with_gradients(lambda x: jnp.exp(x[0]) * jnp.cos(3 * x[1]), x)
    factor = -scale if negative else scale
    options = {"resamples": 40, "max_degree": 4, "q_norms": [1.0]}
    one = polynomial_chaos(space, x, y, dy if gradients else None, **options)
    two = polynomial_chaos(space, x, factor * y + shift, factor * dy if gradients else None, **options)
    for name in ("S1", "ST", "S2", "S1_lower", "ST_upper", "error", "n_terms"):
        np.testing.assert_allclose(one[name], two[name], atol=1e-7)
    np.testing.assert_allclose(two.variance, factor**2 * one.variance, rtol=1e-6)
    np.testing.assert_allclose(two["mean"], factor * one["mean"] + shift, atol=1e-6 * (scale + abs(shift)))


@pytest.mark.slow
def test_gradients_pay_off():
    """The same 24 runs with derivatives and without."""
    space, (first, total, _) = uniform_space(3, -np.pi, np.pi), ishigami_indices()
    x = draw(space, 24, 2)
    y, dy = with_gradients(ishigami, x)
    found, without = (polynomial_chaos(space, x, y, each) for each in (dy, None))
    assert worst(found, first, total) < 1e-7
    # too little is known for any term: no index, and intervals that say so
    assert not without.resolved and float(without.error) > 0.5
    assert covers(without, first, total) and float(without.ST_upper.max()) == 1.0


def test_bad_settings_and_shapes_are_reported_at_once():
    space = uniform_space(2)
    x = draw(space, 16)
    with pytest.raises(InputError) as error:
        polynomial_chaos(
            space, x, np.zeros(15), max_degree=0, q_norms=[0.5, 2.0], max_error=0.0, resamples=10, max_failed=1.5
        )
    assert len(error.value.findings) == 6
    for part in ("max_degree is 0", "2.0", "max_error is 0.0", "resamples is 10", "max_failed is 1.5", "(15,)"):
        assert part in str(error.value)


def infinite_and_constant(x, y):
    y = np.stack([y, np.full(len(y), 2.0)], axis=-1)
    y[3, 0] = np.inf
    return {"x": x, "y": y}


@pytest.mark.parametrize(
    "change, parts",
    [
        (infinite_and_constant, ["{'output': 0}", "1 infinite", "{'output': 1}", "same value"]),
        (lambda x, y: {"x": x, "y": np.where(np.arange(16) < 9, np.nan, y)}, ["9 of 16 samples", "max_failed"]),
        (lambda x, y: {"x": x, "y": y.astype(str)}, ["give real numbers"]),
        (lambda x, y: {"x": x[:, :1], "y": y}, ["(n, 2)", "x1, x2"]),
        (
            lambda x, y: {"x": x + np.array([0.0, 5.0]), "y": y},
            ["'x2' has 16 values outside", "Uniform(lower=-1, upper=1)"],
        ),
        (lambda x, y: {"x": np.where(x == x[4, 0], np.nan, x), "y": y}, ["'x1' has 1 values", "row 4"]),
        (lambda x, y: {"x": x[:5], "y": y[:5]}, ["5 samples are too few", "at least 8"]),
        (lambda x, y: {"x": x, "y": y, "gradients": x[:, :1]}, ["gradients have shape (16, 1)", "(16, 2)"]),
        (lambda x, y: {"x": x, "y": y, "gradients": x * np.nan}, ["gradients are not finite"]),
        (lambda x, y: {"x": x, "y": y, "replicate_axis": 1}, ["replicate_axis is 1", "None"]),
    ],
)
def test_bad_input(change, parts):
    space = uniform_space(2)
    x = draw(space, 16)
    with pytest.raises(InputError) as error:
        polynomial_chaos(space, **change(x, x[:, 0].copy()))
    for part in parts:
        assert part in str(error.value)


def test_inputs_without_a_density():
    space = space_of(Poisson(3.0), Uniform(0.0, 1.0))
    x = np.stack([np.arange(16) % 4, np.linspace(0.1, 0.9, 16)], axis=-1)
    with pytest.raises(InputError, match="'x1' is a count"):
        polynomial_chaos(space, x, x.sum(axis=1))
    with pytest.raises(InputError, match="no free parameter"):
        polynomial_chaos(Space(a=fixed(1.0)), np.zeros((16, 0)), np.arange(16.0))
    # a scale that another parameter makes negative
    space = Space(a=epistemic(Normal(0.0, 1.0)), b=epistemic(Normal(0.0, "a")))
    with pytest.raises(InputError, match="'b' has"):
        polynomial_chaos(space, np.random.default_rng(0).normal(size=(16, 2)), np.arange(16.0))


def test_prediction_in_another_space_is_refused():
    space = uniform_space(2)
    x = draw(space, 16)
    found = polynomial_chaos(space, x, x.sum(axis=1))
    with pytest.raises(InputError) as error:
        chaos_predict(found, Space(a=epistemic(Uniform(0.0, 1.0))), x)
    assert "x1, x2" in str(error.value) and len(error.value.findings) == 2


@pytest.mark.parametrize("module", ["bases", "polynomial", "pursuit"])
def test_examples(module):
    import doctest
    import importlib

    result = doctest.testmod(importlib.import_module(f"uqbench.decomposition.chaos.{module}"))
    assert result.attempted and not result.failed


@pytest.mark.parametrize("n", [90, 150])
def test_a_sum_of_sixty_inputs_takes_the_dense_linear_fit(n):
    space = uniform_space(60)
    x = draw(space, n, kind="random")
    found = polynomial_chaos(space, x, x.sum(axis=1))
    np.testing.assert_allclose(found.S1, 1 / 60, rtol=1e-9)
    np.testing.assert_allclose(found.ST, 1 / 60, rtol=1e-9)
    assert bool(found.resolved) and int(found.n_terms) == 61


@pytest.mark.slow
def test_too_few_samples_for_a_dense_output_are_named_as_the_cause():
    space = uniform_space(60)
    x = draw(space, 70, kind="random")
    found = polynomial_chaos(space, x, x.sum(axis=1))
    assert not bool(found.resolved)
    assert "70 samples cannot hold a linear term of every input" in found.reason
    # the number that it asks for is enough
    needed = int(found.reason.split("at least ")[1])
    more = draw(space, needed, kind="random")
    assert bool(polynomial_chaos(space, more, more.sum(axis=1)).resolved)
