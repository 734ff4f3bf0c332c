"""Potentials of mean force and coarse potentials: the double well of SYSTEMS.md and springs in closed form."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.coarse_graining import (
    box,
    divergence,
    langevin,
    match_forces,
    mean_with_error,
    minimise_relative_entropy,
    potential_of_mean_force,
    sampled_mean_force,
)

X, Y = box([(-2.8, 2.8)], 141), box([(-12.0, 12.0)], 257)


def double_well(x, y):
    return 2 * (x[0] ** 2 - 1) ** 2 + (1 + x[0] ** 2) * (y[0] - x[0]) ** 2 / 2


def polynomial(x):
    return jnp.array([x[0] ** 2, x[0] ** 4])


def closed(x):
    return 2 * (x**2 - 1) ** 2 + np.log(1 + x**2) / 2


@pytest.fixture(scope="module")
def mean_force():
    return potential_of_mean_force(double_well, X.places, Y)


@pytest.fixture(scope="module")
def density(mean_force):
    weights = X.volumes * jnp.exp(-mean_force.potential)
    return weights / weights.sum()


@pytest.fixture(scope="module")
def draws():
    start = jnp.stack([jnp.tile(jnp.array([-1.0, 1.0]), 16), jnp.zeros(32)], axis=1)
    return langevin(lambda z: double_well(z[:1], z[1:]), start, jax.random.key(7), step=0.12, draws=800, thin=5).places


@pytest.mark.slow
def test_mean_force_of_the_double_well(mean_force):
    x = X.places[:, 0]
    at = potential_of_mean_force(double_well, jnp.array([[0.0], [0.5], [1.0]]), Y).potential
    assert float(at[0] - at[2]) == pytest.approx(1.6534264097, abs=1e-10)
    assert float(at[1] - at[2]) == pytest.approx(0.8899981854, abs=1e-10)
    apart = np.asarray(mean_force.potential) - closed(x)
    assert np.ptp(apart) < 1e-10
    np.testing.assert_allclose(mean_force.slope[:, 0], 8 * x * (x**2 - 1) + x / (1 + x**2), atol=1e-9)


def test_a_box_that_cuts_the_density_gives_no_number():
    narrow = potential_of_mean_force(double_well, jnp.zeros((1, 1)), box([(-2.0, 2.0)]))
    coarse = potential_of_mean_force(double_well, 2 * jnp.ones((1, 1)), box([(-12.0, 12.0)], 33))
    for found in (narrow, coarse):
        assert bool(jnp.isnan(found.potential[0])) and float(found.error[0]) > 1e-8


def test_two_fine_coordinates_are_integrated_out():
    def potential(x, y):
        return 0.5 * x @ x + 0.5 * (1 + x[0] ** 2) * (y @ y)

    at = potential_of_mean_force(potential, jnp.array([[0.0], [1.0]]), box([(-9.0, 9.0)] * 2, 81)).potential
    assert float(at[1] - at[0]) == pytest.approx(0.5 + np.log(2.0), abs=1e-10)


def test_mean_force_from_samples(draws):
    edges = np.linspace(-1.5, 1.5, 13)
    found = sampled_mean_force(draws[..., 0], edges, 10)
    fine = [np.linspace(low, high, 101) for low, high in pairwise(edges)]
    expected = -np.log([np.trapezoid(np.exp(-closed(each)), each) for each in fine])
    apart = np.asarray(found.potential) - (expected - expected[10])
    assert apart[10] == 0.0
    others = np.arange(12) != 10
    error = np.asarray(found.error)[others]
    assert np.all(np.abs(apart[others]) < 4 * error) and np.all(error < 0.25)
    # a bin that nothing entered
    assert bool(jnp.isnan(sampled_mean_force(draws[..., 0], [-1.5, 1.5, 5.0, 6.0], 0).potential[2]))
    with pytest.raises(uq.InputError, match="ascend"):
        sampled_mean_force(draws[..., 0], [0.0, 1.0, 1.0], 0)


def test_both_find_the_mean_force_on_a_basis_that_holds_it(mean_force, density):
    def whole(x):
        return jnp.array([x[0] ** 2, x[0] ** 4, jnp.log(1 + x[0] ** 2)])

    for fit in (
        match_forces(whole, X.places, mean_force.slope, density),
        minimise_relative_entropy(whole, X.places, X, 1.0, density),
    ):
        np.testing.assert_allclose(fit.coefficients, [-4.0, 2.0, 0.5], atol=1e-8)
        assert abs(float(divergence(fit, whole, mean_force.potential, X).value)) < 1e-12


def test_on_a_restricted_basis_they_differ(mean_force, density):
    matched = match_forces(polynomial, X.places, mean_force.slope, density)
    closest = minimise_relative_entropy(polynomial, X.places, X, 1.0, density)
    lost = [float(divergence(fit, polynomial, mean_force.potential, X).value) for fit in (matched, closest)]
    assert float(jnp.max(jnp.abs(matched.coefficients - closest.coefficients))) > 0.01
    assert lost[0] > 1.5 * lost[1] > 1e-5
    # the least divergence, and the least square of forces
    for change in 0.02 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]]):
        moved = closest._replace(coefficients=closest.coefficients + change)
        assert float(divergence(moved, polynomial, mean_force.potential, X).value) > lost[1]

    def square(fit):
        slopes = jax.vmap(jax.jacfwd(polynomial))(X.places)[..., 0] @ fit.coefficients
        return float(density @ (mean_force.slope[:, 0] - slopes) ** 2)

    assert square(matched) < square(closest)


@pytest.mark.slow
def test_fits_of_samples_are_those_of_quadrature_within_their_errors(draws, mean_force, density):
    slopes = jax.vmap(jax.vmap(lambda z: jax.grad(double_well)(z[:1], z[1:])))(draws)
    exact = (
        match_forces(polynomial, X.places, mean_force.slope, density),
        minimise_relative_entropy(polynomial, X.places, X, 1.0, density),
    )
    sampled = (
        match_forces(polynomial, draws[..., :1], slopes),
        minimise_relative_entropy(polynomial, draws[..., :1], X),
    )
    for one, other in zip(exact, sampled, strict=True):
        error = np.sqrt(np.diag(other.covariance))
        assert np.all(np.abs(np.asarray(one.coefficients - other.coefficients)) < 4 * error)
        assert np.all(error < 0.1)
        least = float(divergence(one, polynomial, mean_force.potential, X).value)
        found = divergence(other, polynomial, mean_force.potential, X)
        assert abs(float(found.value) - least) < 4 * float(found.error) + float(found.excess)


def chain_energy(x, y):
    """Three springs of stiffness 3 in a row from a fixed end; x is the last bead, y are those between."""
    beads = jnp.concatenate([jnp.zeros(1), y, x])
    return 1.5 * jnp.sum(jnp.diff(beads) ** 2)


def harmonic(x):
    return 0.5 * x**2


@pytest.mark.slow
def test_springs_in_a_row_are_one_of_a_third_of_the_stiffness():
    rule = box([(-9.0, 9.0)], 81)
    beta = 0.8
    found = potential_of_mean_force(chain_energy, rule.places, box([(-12.0, 12.0)] * 2, 97), beta)
    x = rule.places[:, 0]
    np.testing.assert_allclose(found.potential - found.potential[40], 0.5 * x**2, atol=1e-9)
    weights = rule.volumes * jnp.exp(-beta * found.potential)
    weights = weights / weights.sum()
    for fit in (
        match_forces(harmonic, rule.places, found.slope, weights),
        minimise_relative_entropy(harmonic, rule.places, rule, beta, weights),
    ):
        np.testing.assert_allclose(fit.coefficients, [1.0], rtol=1e-8)
    # a spring of stiffness c instead of 1: KL = (c - 1 - ln c) / 2
    wrong = divergence(fit._replace(coefficients=jnp.array([1.7])), harmonic, found.potential, rule, beta)
    assert float(wrong.value) == pytest.approx((0.7 - np.log(1.7)) / 2, rel=1e-8)


@pytest.mark.slow
def test_springs_in_a_row_by_sampling():
    draws = langevin(
        lambda z: chain_energy(z[2:], z[:2]), jnp.zeros((16, 3)), jax.random.key(1), step=0.15, draws=500, thin=4
    ).places
    x = draws[..., 2:]
    variance = mean_with_error(x[..., 0] ** 2)
    assert abs(float(variance.value) - 1.0) < 4 * float(variance.error) < 0.3
    slopes = jax.vmap(jax.vmap(lambda z: jax.grad(chain_energy)(z[2:], z[:2])))(draws)
    for fit in (match_forces(harmonic, x, slopes), minimise_relative_entropy(harmonic, x, box([(-9.0, 9.0)]))):
        error = float(jnp.sqrt(fit.covariance[0, 0]))
        assert abs(float(fit.coefficients[0]) - 1.0) < 4 * error < 0.3


def test_errors_of_both_fits_cover():
    """Independent samples of a normal x with a normal force of noise around it, c = 1."""
    keys = jax.random.split(jax.random.key(9), 300)
    rule = box([(-9.0, 9.0)], 101)

    def fits(key):
        at, noise = jax.random.split(key)
        x = jax.random.normal(at, (4, 200, 1))
        slopes = x + jax.random.normal(noise, x.shape)
        both = match_forces(harmonic, x, slopes), minimise_relative_entropy(harmonic, x, rule)
        return jnp.array([[fit.coefficients[0], jnp.sqrt(fit.covariance[0, 0])] for fit in both])

    found = np.asarray(jax.lax.map(fits, keys, batch_size=20))
    covered = np.mean(np.abs(found[..., 0] - 1.0) < 1.96 * found[..., 1], axis=0)
    assert np.all(np.abs(covered - 0.95) < 0.04)


@pytest.mark.slow
def test_derivative_of_the_closest_potential_by_the_fine_one():
    def coefficients(coupling):
        def potential(x, y):
            return 2 * (x[0] ** 2 - 1) ** 2 + (1 + coupling * x[0] ** 2) * (y[0] - x[0]) ** 2 / 2

        found = potential_of_mean_force(potential, X.places, Y)
        weights = jax.nn.softmax(jnp.log(X.volumes) - found.potential)
        return minimise_relative_entropy(polynomial, X.places, X, 1.0, weights).coefficients

    slope = jax.jacfwd(coefficients)(1.0)
    differences = (coefficients(1.001) - coefficients(0.999)) / 2e-3
    np.testing.assert_allclose(slope, differences, rtol=1e-6)


def test_no_answer_is_no_number(mean_force, density):
    def twice(x):
        return jnp.array([x[0] ** 2, 3 * x[0] ** 2])

    assert bool(jnp.all(jnp.isnan(match_forces(twice, X.places, mean_force.slope, density).coefficients)))
    # on the axis of the box a potential of x^2 alone does not confine
    free = minimise_relative_entropy(lambda x: x**2, X.places, X, 1.0, density)
    assert bool(jnp.all(jnp.isnan(free.coefficients)))
    falling = match_forces(polynomial, X.places, mean_force.slope, density)
    falling = falling._replace(coefficients=-falling.coefficients)
    assert bool(jnp.isnan(divergence(falling, polynomial, mean_force.potential, X).value))


def test_what_is_wrong_with_a_box():
    with pytest.raises(uq.InputError) as raised:
        box([(1.0, 0.0), (0.0, np.inf)], 10)
    assert len(raised.value.findings) == 3
