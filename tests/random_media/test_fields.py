"""Gaussian fields: their law against closed forms and GSTools, their derivatives, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gamma, kv

import uqbench as uq
from uqbench.random_media import Correlation, embed, level_cut, lognormal, smooth_cut, two_phase, two_point, variogram

FAMILIES = [
    *(Correlation("exponential"), Correlation("gaussian")),
    *(Correlation("matern", nu) for nu in (1.5, 2.5, 1.2)),
]
# the plain name of a family, for the titles of tests
named = pytest.mark.parametrize("correlation", FAMILIES, ids=lambda each: f"{each.family}{each.smoothness or ''}")


def matern(r, nu):
    z = np.sqrt(2 * nu) * r
    return 2 ** (1 - nu) / gamma(nu) * z**nu * kv(nu, z)


@pytest.mark.parametrize("nu", [0.5, 1.5, 2.5, 7.5, 0.05, 0.3, 1.0, 2.2, 10.7, 20.4])
def test_matern_is_that_of_the_bessel_function(nu):
    r = np.array([1e-6, 0.01, 0.3, 1.0, 2.5, 6.0, 30.0])
    np.testing.assert_allclose(Correlation("matern", nu)(jnp.array(r)), matern(r, nu), rtol=1e-11)
    assert float(Correlation("matern", nu)(jnp.array(0.0))) == 1.0


@pytest.mark.parametrize("nu", [0.3, 1.0, 2.2, 10.7])
def test_derivatives_of_a_matern_are_those_of_the_bessel_function(nu):
    """d/dz z^nu K_nu(z) = -z^nu K_(nu-1)(z) (DLMF 10.29.4), and once more."""
    r, scale = np.array([0.01, 0.3, 2.5]), np.sqrt(2 * nu)
    first = jax.grad(lambda x: Correlation("matern", nu)(x))
    z = scale * r
    front = -(2 ** (1 - nu)) / gamma(nu)
    np.testing.assert_allclose(jax.vmap(first)(jnp.array(r)), scale * front * z**nu * kv(nu - 1, z), rtol=1e-10)
    bend = z ** (nu - 1) * kv(nu - 1, z) - z**nu * kv(nu - 2, z)
    np.testing.assert_allclose(jax.vmap(jax.grad(first))(jnp.array(r)), scale**2 * front * bend, rtol=1e-9)


def test_a_smooth_matern_comes_near_the_gaussian():
    r = jnp.linspace(0.0, 3.0, 7)
    far = [float(jnp.max(jnp.abs(Correlation("matern", nu)(r) - Correlation("gaussian")(r)))) for nu in (5.5, 20.5)]
    assert far[1] < 0.3 * far[0] < 0.02


def covariance_with(embedding, lengths, cell):
    """Of the field everywhere with that in one cell: A A' e, where A is the linear map that makes it of white noise."""
    white = jnp.zeros(embedding.noise_shape)
    field, transposed = jax.vjp(lambda noise: embedding.field(noise, lengths), white)
    (column,) = transposed(jnp.zeros_like(field).at[cell].set(1.0))
    return embedding.field(column, lengths)


@named
@pytest.mark.parametrize(
    "shape, lengths",
    [((24,), (5.0,)), ((6, 5), (4.0, 6.0)), pytest.param((3, 4, 2), (4.0, 5.0, 4.0), marks=pytest.mark.slow)],
)
def test_the_covariance_matrix_of_a_field_is_the_one_asked_for(correlation, shape, lengths):
    embedding = embed(shape, (1.0,) * len(shape), correlation, lengths, tolerance=1e-9)
    for cell in [(0,) * len(shape), tuple(cells // 2 for cells in shape)]:
        lags = [np.arange(cells) - here for cells, here in zip(shape, cell, strict=True)]
        square = sum((lag / length) ** 2 for lag, length in zip(np.ix_(*lags), lengths, strict=True))
        got = covariance_with(embedding, jnp.array(lengths), cell)
        expected = correlation(jnp.sqrt(jnp.array(square)))
        assert float(jnp.max(jnp.abs(got - expected))) < 1e-9 + 2 * embedding.error


def test_opposite_faces_of_a_periodic_field_meet():
    embedding = embed((32,), (1.0,), Correlation("exponential"), (4.0,), periodic=True)
    lags = np.arange(33)
    images = sum(np.exp(-np.abs(lags + 32 * k) / 4.0) for k in range(-4, 5))
    got = np.asarray(covariance_with(embedding, jnp.array([4.0]), (0,)))
    # the torus of twice the cell leaves out images that are exp(-32/4) = 3e-4 in correlation
    np.testing.assert_allclose(got, (images / images[0])[:32], atol=1e-3)
    assert got[31] == pytest.approx(got[1], abs=1e-12)


def test_a_window_that_is_short_in_correlation_lengths_takes_a_larger_torus():
    assert embed((16, 16, 16), (1.0,) * 3, Correlation("exponential"), (4.0,) * 3).size == (48, 48, 48)
    with pytest.raises(uq.InputError, match=r"no torus of at most 40000 cells holds .* errs by \d"):
        embed((16, 16, 16), (1.0,) * 3, Correlation("exponential"), (4.0,) * 3, largest=40_000)


@named
def test_variogram_is_that_of_the_closed_form(correlation):
    embedding = embed((48, 48), (1.0, 1.0), correlation, (4.0, 6.0))
    lags = [1, 2, 4, 8]
    keys = jax.random.split(jax.random.key(3), 64)
    fields = jax.vmap(lambda key: embedding.field(embedding.noise(key), jnp.array([4.0, 6.0])))(keys)
    for axis, length in enumerate((4.0, 6.0)):
        found = np.asarray(jax.vmap(lambda field, axis=axis: variogram(field, axis, lags))(fields))
        error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
        expected = 1.0 - np.asarray(correlation(jnp.array(lags) / length))
        assert np.all(np.abs(found.mean(axis=0) - expected) < 4 * error)
        assert np.all(error < 0.1 * expected)


@pytest.mark.slow
def test_variogram_agrees_with_gstools():
    gstools = pytest.importorskip("gstools", reason="GSTools, of the group bench, is the reference for variograms")
    models = {
        "exponential": gstools.Exponential(dim=1, var=1.0, len_scale=5.0, rescale=1.0),
        "gaussian": gstools.Gaussian(dim=1, var=1.0, len_scale=5.0, rescale=np.sqrt(0.5)),
        1.5: gstools.Matern(dim=1, var=1.0, len_scale=5.0, nu=1.5, rescale=np.sqrt(2.0)),
        1.2: gstools.Matern(dim=1, var=1.0, len_scale=5.0, nu=1.2, rescale=np.sqrt(2.0)),
    }
    lags = np.arange(1, 20)
    for correlation in (FAMILIES[0], FAMILIES[1], FAMILIES[2], FAMILIES[4]):
        expected = models[correlation.smoothness or correlation.family].variogram(lags.astype(float))
        np.testing.assert_allclose(1.0 - correlation(jnp.array(lags) / 5.0), expected, atol=1e-10)
        embedding = embed((256,), (1.0,), correlation, (5.0,))
        field = embedding.field(embedding.noise(jax.random.key(1)), jnp.array([5.0]))
        _, theirs = gstools.vario_estimate(
            np.arange(256.0), np.asarray(field), np.arange(20) + 0.5, mesh_type="structured"
        )
        np.testing.assert_allclose(variogram(field, 0, lags), theirs, rtol=1e-10)


@named
@pytest.mark.parametrize("periodic", [pytest.param(False, marks=pytest.mark.slow), True])
def test_derivatives_by_lengths_are_those_of_finite_differences(correlation, periodic):
    embedding = embed((20, 16), (1.0, 1.0), correlation, [(4.0, 5.0), (5.0, 4.0)], periodic=periodic)
    noise = embedding.noise(jax.random.key(0))

    def functional(lengths):
        return jnp.mean(lognormal(embedding.field(noise, lengths), 2.0, 0.7) ** 2)

    at, step = jnp.array([4.5, 4.3]), 1e-4
    slopes = jax.jit(jax.grad(functional))(at)
    forward = jax.jacfwd(functional)(at)
    differences = jnp.array([(functional(at + h) - functional(at - h)) / (2 * step) for h in step * jnp.eye(2)])
    np.testing.assert_allclose(slopes, differences, rtol=1e-6)
    np.testing.assert_allclose(slopes, forward, rtol=1e-9)


def test_the_same_key_is_the_same_medium():
    embedding = embed((32,), (1.0,), Correlation("exponential"), (8.0,))
    one, same, other = (embedding.field(embedding.noise(jax.random.key(k)), jnp.array([8.0])) for k in (0, 0, 1))
    assert jnp.array_equal(one, same) and not jnp.allclose(one, other)


def test_lengths_that_the_torus_does_not_hold_give_no_numbers():
    embedding = embed((32, 32), (1.0, 1.0), Correlation("gaussian"), (4.0, 4.0))
    noise = embedding.noise(jax.random.key(0))
    assert bool(jnp.all(jnp.isfinite(embedding.field(noise, jnp.array([4.0, 4.0])))))
    assert bool(jnp.all(jnp.isnan(embedding.field(noise, jnp.array([40.0, 40.0])))))


def test_every_finding_of_a_field_is_named_at_once():
    with pytest.raises(uq.InputError) as raised:
        embed((8, 8), (1.0, 3.0), Correlation("exponential"), (3.0, 6.0))
    assert len(raised.value.findings) == 2
    assert all("too coarse for the correlation length" in each for each in raised.value.findings)
    with pytest.raises(uq.InputError) as raised:
        embed((8, 0), (1.0, -1.0), Correlation("exponential"), (4.0,), tolerance=2.0)
    assert len(raised.value.findings) == 4


@pytest.mark.parametrize(
    "family, smoothness, finding",
    [
        ("matern", 0.0, "from 0.05 to 20.5"),
        ("matern", 50.0, "take 'gaussian'"),
        ("matern", None, "is None"),
        ("gaussian", 1.5, "does not have"),
        ("gausian", None, "did you mean 'gaussian'"),
    ],
)
def test_a_correlation_that_is_not_known(family, smoothness, finding):
    with pytest.raises(uq.InputError, match=finding):
        Correlation(family, smoothness)


@pytest.fixture(scope="module")
def fields():
    embedding = embed((64, 64), (1.0, 1.0), Correlation("exponential"), (4.0, 4.0))
    keys = jax.random.split(jax.random.key(5), 48)
    return jax.vmap(lambda key: embedding.field(embedding.noise(key), jnp.array([4.0, 4.0])))(keys)


def test_two_point_probability_of_a_median_cut_is_the_arcsine_law(fields):
    found = np.asarray(jax.vmap(lambda field: two_point(level_cut(field, 0.5))[:12, 0])(fields))
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    expected = 0.25 + np.arcsin(np.exp(-np.arange(12) / 4.0)) / (2 * np.pi)
    assert np.all(np.abs(found.mean(axis=0) - expected) < 4 * error)
    assert np.all(error < 0.02)


@pytest.mark.parametrize("periodic", [False, True])
def test_two_point_statistics_are_sums_over_pairs(fields, periodic):
    field = np.asarray(fields[0, :7, :6])
    found = two_point(jnp.array(field), periodic=periodic)
    for lag in [(0, 0), (2, 0), (1, 3)]:
        if periodic:
            expected = np.mean(field * np.roll(field, (-lag[0], -lag[1]), (0, 1)))
        else:
            expected = np.mean(field[lag[0] :, lag[1] :] * field[: 7 - lag[0], : 6 - lag[1]])
        assert float(found[lag]) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("fraction", [0.2, 0.5])
def test_fractions_of_cuts(fields, fraction):
    for cut in (lambda f: level_cut(f, fraction), lambda f: smooth_cut(f, fraction, 0.4)):
        means = np.asarray(jnp.mean(jax.vmap(cut)(fields), axis=(1, 2)))
        assert abs(means.mean() - fraction) < 4 * means.std(ddof=1) / np.sqrt(len(means))
    each = jnp.mean(jax.vmap(lambda field: level_cut(field, fraction, exact=True))(fields), axis=(1, 2))
    assert float(jnp.max(jnp.abs(each - fraction))) <= 1 / 64**2


def test_a_smooth_cut_goes_over_into_the_level_cut(fields):
    sharp = level_cut(fields[0], 0.3)
    apart = [float(jnp.mean(jnp.abs(smooth_cut(fields[0], 0.3, width) - sharp))) for width in (0.4, 0.04, 0.004)]
    assert apart[1] < 0.2 * apart[0] and apart[2] < 0.2 * apart[1]


def test_only_what_does_not_move_the_level_has_a_derivative(fields):
    field = fields[0]

    def mean(inside, fraction, cut=level_cut):
        return jnp.mean(two_phase(cut(field, fraction), inside, 1.0))

    assert float(jax.grad(mean)(3.0, 0.4)) == pytest.approx(float(jnp.mean(level_cut(field, 0.4))))
    with pytest.raises(uq.InputError, match="no derivative by its field"):
        jax.grad(mean, 1)(3.0, 0.4)
    with pytest.raises(uq.InputError, match="no derivative by its field"):
        jax.jit(jax.grad(lambda field: jnp.sum(level_cut(field, 0.4))))(field)

    def smooth(field, fraction):
        return smooth_cut(field, fraction, 0.2)

    slope = jax.grad(mean, 1)(3.0, 0.4, smooth)
    difference = (mean(3.0, 0.4001, smooth) - mean(3.0, 0.3999, smooth)) / 2e-4
    assert float(slope) == pytest.approx(float(difference), rel=1e-6)


def test_a_fraction_outside_its_range():
    with pytest.raises(uq.InputError, match="between 0 and 1"):
        level_cut(jnp.zeros(3), 1.2)
    assert bool(jnp.all(jnp.isnan(jax.jit(lambda f: level_cut(jnp.zeros(3), f))(1.2))))


def test_numbers_that_make_no_medium():
    for wrong in (
        lambda: lognormal(jnp.zeros(2), -1.0, -0.5),
        lambda: two_phase(jnp.ones(2), -1.0, -2.0),
    ):
        with pytest.raises(uq.InputError) as raised:
            wrong()
        assert len(raised.value.findings) == 2
    with pytest.raises(uq.InputError, match="width is 0"):
        smooth_cut(jnp.zeros(2), 0.3, 0.0)
    traced = jax.jit(lambda x: (lognormal(jnp.zeros(2), x, 0.5), two_phase(jnp.ones(2), x, 1.0)))
    assert all(bool(jnp.all(jnp.isnan(each))) for each in traced(-1.0))
    assert all(bool(jnp.all(jnp.isfinite(each))) for each in traced(1.0))


def test_fields_of_another_shape():
    embedding = embed((32,), (1.0,), Correlation("exponential"), (8.0,))
    with pytest.raises(uq.InputError, match=r"noise has the shape \(32,\).*give \(64,\)"):
        embedding.field(jnp.zeros(32), jnp.array([8.0]))
    assert bool(jnp.all(jnp.isnan(embedding.field(embedding.noise(jax.random.key(0)), jnp.array([-8.0])))))
    with pytest.raises(uq.InputError, match="a number for each axis"):
        embed((8, 8), 1.0, Correlation("exponential"), (4.0, 4.0))
    with pytest.raises(uq.InputError, match="give a Correlation"):
        embed((8,), (1.0,), "exponential", (4.0,))


def test_an_embedding_is_made_of_numbers_while_another_function_is_traced():
    def first(key):
        embedding = embed((16,), (1.0,), Correlation("gaussian"), (4.0,))
        return embedding.field(embedding.noise(key), jnp.array([4.0]))[0]

    assert float(jax.jit(first)(jax.random.key(0))) == pytest.approx(float(first(jax.random.key(0))))
