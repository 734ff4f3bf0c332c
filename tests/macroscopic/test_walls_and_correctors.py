"""Slabs between walls: closed forms, the shift of a wall, and how errors fall with the size of the cells."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.homogenisation.media import layers, matrices, square_inclusion, two_phases
from uqbench.homogenisation import effective_tensor
from uqbench.macroscopic import (
    corrected_field,
    errors_in_epsilon,
    homogenisation_error,
    homogenised_profile,
    resolved_problem,
    wall_law,
)
from uqbench.macroscopic.slabs import energy_density, mean_flux

CELLS = (4, 8, 16)


def source(depth):
    return 1 + jnp.sin(3 * depth)


def orders(epsilon, errors):
    """Between each and the next."""
    return np.diff(np.log(errors)) / np.diff(np.log(epsilon))


def test_layers_between_walls_are_resistances_in_series():
    found = resolved_problem(layers(8, 1.0, 10.0)[:, :2], cells=2, walls=(1.0, 3.0))
    resistance = np.tile([1.0] * 4 + [0.1] * 4, 2)
    expected = 1 + 2 * np.concatenate([[0], np.cumsum(resistance)]) / resistance.sum()
    np.testing.assert_allclose(found.concentration, expected[:, None] * np.ones((17, 2)), rtol=1e-8)
    assert int(found.result) == 0


def test_a_uniform_slab_that_consumes():
    """sinh over the depth, to second order of the grid."""

    def error(n):
        found = resolved_problem(np.full((n, 1), 2.0), cells=4, consumption=0.5, walls=(0.0, 1.0), spacing=(1 / n, 1.0))
        depth = np.linspace(0, 4, 4 * n + 1)
        return np.abs(np.asarray(found.concentration)[:, 0] - np.sinh(depth / 2) / np.sinh(2.0)).max()

    assert np.log2(error(4) / error(8)) == pytest.approx(2.0, abs=0.1)


def test_a_slab_solves_the_equations_of_its_elements():
    """A source that varies across, matrices in the voxels: the mean flux balances at every depth."""
    cell = matrices(3, (6, 5))
    load = np.random.default_rng(1).normal(size=(19, 5))
    found = resolved_problem(cell, load, cells=3, consumption=0.2)
    c = np.asarray(found.concentration)
    assert np.all(c[[0, -1]] == 0)
    # virtual work with the solution itself: energy + consumption = source
    energy = float(energy_density(jnp.concatenate([jnp.asarray(cell)] * 3), found.concentration, (1.0, 1.0)).sum())
    assert energy + 0.2 * (c**2).sum() / 5 == pytest.approx((c * load).sum() / 5, rel=1e-8)


def test_profiles_between_shifted_walls_are_closed_forms():
    """c = A + B x with c - w c' the wall values, and a parabola of a uniform source."""
    line = homogenised_profile(2.0, np.zeros(5), length=1.0, walls=(1.0, 2.0), shifts=(0.1, 0.3))
    np.testing.assert_allclose(line.slope, 1 / 1.4, rtol=1e-12)
    np.testing.assert_allclose(line.concentration, 1 + (line.depth + 0.1) / 1.4, rtol=1e-12)
    parabola = homogenised_profile(2.0, np.full(9, 4.0), length=1.0, shifts=(0.25, 0.25))
    np.testing.assert_allclose(parabola.concentration, 0.25 + parabola.depth * (1 - parabola.depth), rtol=1e-12)


@pytest.mark.parametrize("cell", [two_phases(1, (8, 8), 10.0), two_phases(2, (8, 8), 100.0)], ids=["10", "100"])
def test_shifts_lie_within_their_errors(cell):
    """Of strips of four cells, against twelve; and the two shifts together are the resistance in excess."""
    few, many = (wall_law(cell, cells=n) for n in (4, 12))
    assert np.all(np.abs(few.shifts - many.shifts) <= few.error)
    assert np.all(many.error < 1e-3 * few.error)
    flux = resolved_problem(cell, cells=12, walls=(0.0, 1.0)).concentration
    gradient = mean_flux(jnp.concatenate([jnp.asarray(cell)] * 12), flux, (1.0, 1.0)) / many.diffusivity
    assert float(many.shifts.sum()) == pytest.approx(float(1 / gradient) - 96, abs=1e-6)


def test_a_wall_sees_a_mirrored_medium_from_the_other_side():
    cell = two_phases(4, (8, 8), 10.0)
    there, back = wall_law(cell), wall_law(cell[::-1])
    np.testing.assert_allclose(there.shifts, back.shifts[::-1], atol=float(there.error.max()))


def test_shifts_scale_with_the_spacing_and_not_with_the_diffusivity():
    cell = two_phases(4, (8, 8), 10.0)
    np.testing.assert_allclose(
        wall_law(3 * cell, spacing=(0.5, 0.5)).shifts, 0.5 * wall_law(cell).shifts, rtol=1e-6, atol=1e-8
    )


def test_the_diffusivity_is_that_of_conforming_elements():
    """Above that of one point of integration, and nearer to it on a finer grid."""
    gaps = []
    for n in (8, 16):
        cell = square_inclusion(n, 10.0)
        gaps.append(float(wall_law(cell).diffusivity - effective_tensor(cell).tensor[0, 0]))
    assert 0 < gaps[1] < gaps[0] / 2


@pytest.mark.parametrize("settings", [{}, {"consumption": 20.0, "walls": (1.0, 0.3)}], ids=["source", "walls"])
def test_errors_fall_with_the_orders_of_homogenisation(settings):
    cell = square_inclusion(16, 10.0)
    found = errors_in_epsilon(cell, source, cells=CELLS, **settings)
    assert np.all(np.asarray(found.result) == 0)
    last = {name: orders(found.epsilon, np.asarray(getattr(found, name)))[-1] for name in found._fields[1:-1]}
    for name in ("profile", "interior", "layers", "mean"):
        assert last[name] == pytest.approx(1.0, abs=0.15), name
    # one half is the limit; the layers are still a large part of the slab
    assert 0.45 < last["corrector"] < 0.8
    assert last["shifted_mean"] > 1.9
    assert found.shifted_mean[-1] < 0.02 * found.mean[-1]


def test_layers_of_a_laminate_have_no_depth():
    """Its corrector misses the walls by a constant, and what the shift leaves is of order three without consumption."""
    found = errors_in_epsilon(layers(16, 1.0, 10.0), source, cells=CELLS)
    assert orders(found.epsilon, found.corrector)[-1] == pytest.approx(1.0, abs=0.05)
    assert orders(found.epsilon, found.shifted_mean)[-1] > 2.8


def test_the_field_with_layers_takes_the_wall_values():
    cell = square_inclusion(16, 10.0)
    law = wall_law(cell)
    plain, shifted = (
        homogenised_profile(law.diffusivity, np.zeros(65), length=64.0, walls=(1.0, 2.0), shifts=shifts)
        for shifts in ((0.0, 0.0), law.shifts)
    )
    missed = corrected_field(plain, law).corrector[jnp.array([0, -1])] - jnp.array([[1.0], [2.0]])
    held = corrected_field(shifted, law).layers[jnp.array([0, -1])] - jnp.array([[1.0], [2.0]])
    assert float(jnp.abs(held).max()) < 1e-8 < 1e-3 < float(jnp.abs(missed).max())


@settings(max_examples=12)
@given(
    seed=st.integers(0, 1000),
    contrast=st.sampled_from([0.01, 0.1, 10.0, 100.0]),
    medium=st.sampled_from(["two phases", "inclusion", "layers"]),
    shift=st.integers(0, 7),
    decay=st.sampled_from([2.0, 4.0]),
)
def test_the_estimate_from_the_cell_holds_within_its_error(seed, contrast, medium, shift, decay):
    """Decay lengths of two and four cells, all cuts of the wall; the slab is four decay lengths deep."""
    media = {
        "two phases": two_phases(seed, (8, 8), contrast),
        "inclusion": square_inclusion(8, contrast),
        "layers": layers(8, 1.0, contrast),
    }
    law = wall_law(cell := np.roll(media[medium], shift, 0))
    length = 8 * decay
    rate = float(law.diffusivity) / length**2
    cells = int(4 * decay)
    resolved = resolved_problem(cell, cells=cells, consumption=rate, walls=(1.0, 0.0)).concentration
    profile = homogenised_profile(
        law.diffusivity, np.zeros(8 * cells + 1), length=8.0 * cells, consumption=rate, walls=(1.0, 0.0)
    )
    measured = np.sqrt(np.mean((resolved - profile.concentration[:, None]) ** 2) / np.mean(profile.concentration**2))
    estimate = homogenisation_error(law, length)
    assert abs(measured - float(estimate.profile)) <= float(estimate.error)


@pytest.mark.slow
def test_derivatives_of_the_wall_law():
    cell = jnp.asarray(two_phases(5, (6, 6), 5.0))
    change = jnp.asarray(np.random.default_rng(0).normal(size=(6, 6)))

    def shift(step):
        law = wall_law(cell + step * change)
        return law.shifts[0] + law.diffusivity + homogenisation_error(law, 20.0).profile

    h = 1e-4
    expected = (shift(h) - shift(-h)) / (2 * h)
    assert float(jax.grad(shift)(0.0)) == pytest.approx(float(expected), rel=1e-5)


def test_derivatives_of_both_problems():
    cell = jnp.asarray(two_phases(5, (6, 6), 5.0))

    def resolved(theta):
        found = resolved_problem(theta[0] * cell ** theta[0], theta[1], cells=2, consumption=theta[2], walls=theta[3:])
        return jnp.sum(found.concentration**2)

    def homogenised(theta):
        found = homogenised_profile(
            theta[0], jnp.full(9, theta[1]), length=4.0, consumption=theta[2], walls=theta[3:], shifts=0.1 * theta[3:]
        )
        return jnp.sum(found.concentration**2) + jnp.sum(found.slope)

    at = jnp.array([1.2, 0.3, 0.1, 1.0, 0.5])
    for function in (resolved, homogenised):
        slopes = [(function(at + h) - function(at - h)) / 2e-4 for h in 1e-4 * jnp.eye(5)]
        np.testing.assert_allclose(jax.grad(function)(at), slopes, rtol=1e-5)


@pytest.mark.slow
def test_a_slab_in_space():
    """Layers continued along the third axis are the plane's; the tensor of the voxels may be a matrix."""
    plane = two_phases(6, (6, 6), 10.0)
    deep = np.broadcast_to(plane[:, :, None], (6, 6, 2))
    flat, thick = (resolved_problem(cell, 1.0, cells=2, consumption=0.1).concentration for cell in (plane, deep))
    np.testing.assert_allclose(thick, flat[:, :, None] * np.ones(2), rtol=1e-7)
    np.testing.assert_allclose(wall_law(deep).shifts, wall_law(plane).shifts, atol=1e-5)
