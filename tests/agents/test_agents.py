"""Agents and a field: one kernel for both directions, nothing lost, laws of movement, division and death."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uqbench import InputError
from uqbench.agents import (
    Ending,
    density,
    died,
    diffused,
    divided,
    ending,
    gather,
    moved,
    placed,
    scatter,
    secreted,
    taken_up,
)

BOX = (2.0, 1.0)
SHAPE = (16, 8)


def agents_at(seed, count=50, capacity=64, content=0.0):
    return placed(jax.random.uniform(jax.random.key(seed), (count, 2)) * jnp.array(BOX), capacity, BOX, content)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000))
def test_scatter_is_the_transpose_of_gather(seed):
    keys = jax.random.split(jax.random.key(seed), 3)
    places = jax.random.uniform(keys[0], (30, 2)) * jnp.array(BOX)
    amounts, field = jax.random.normal(keys[1], (30,)), jax.random.normal(keys[2], SHAPE)
    there = scatter(amounts, places, SHAPE, BOX)
    assert float(jnp.vdot(there, field)) == pytest.approx(
        float(jnp.vdot(amounts, gather(field, places, BOX))), abs=1e-11
    )
    assert float(jnp.sum(there)) == pytest.approx(float(jnp.sum(amounts)), abs=1e-12)


def test_a_linear_field_is_read_exactly_between_middles():
    x = (jnp.arange(16) + 0.5) / 16 * 2.0
    field = x[:, None] * jnp.ones((16, 8))
    places = jnp.array([[0.3, 0.5], [1.7, 0.01], [0.01, 0.5]])
    np.testing.assert_allclose(gather(field, places, BOX), [0.3, 1.7, 1 / 16], rtol=1e-12)


def test_diffusion_keeps_the_sum_and_the_sign_and_damps_cosines():
    spike = jnp.zeros(SHAPE).at[3, 2].set(1.0)
    after = diffused(spike, 0.1, 0.3, BOX)
    assert float(jnp.sum(after)) == pytest.approx(1.0, rel=1e-13)
    assert float(jnp.min(after)) > -1e-15
    x = (jnp.arange(64) + 0.5) / 64
    wave = jnp.cos(jnp.pi * x)
    rate = (2 - 2 * np.cos(np.pi / 64)) * 64**2
    np.testing.assert_allclose(diffused(wave, 0.2, 0.5, (1.0,)), wave * np.exp(-0.1 * rate), atol=1e-12)
    assert rate == pytest.approx(np.pi**2, rel=1e-3)


def test_agents_and_field_together_lose_nothing_over_a_hundred_thousand_exchanges():
    agents, field = agents_at(0, 200, 256), jnp.full(SHAPE, 0.01)
    total = float(jnp.sum(field))

    def step(state, key):
        agents, field = state
        keys = jax.random.split(key, 4)
        agents = moved(agents, keys[0], 0.01, 0.1, BOX)
        agents, field = taken_up(agents, diffused(field, 0.05, 0.1, BOX), 1e-3, 0.1, BOX)
        agents, field = secreted(agents, field, 0.2 * agents.content, BOX)
        agents, field = died(agents, field, keys[1], 0.01, BOX)
        return (divided(agents, keys[2], 0.01), field), jnp.sum(agents.content) + jnp.sum(field)

    (agents, field), series = jax.lax.scan(step, (agents, field), jax.random.split(jax.random.key(1), 500))
    assert float(jnp.max(jnp.abs(series - total))) < 1e-12 * total
    assert float(jnp.sum(jnp.where(agents.alive, 0.0, jnp.abs(agents.content)))) == 0.0
    assert float(jnp.min(field)) >= 0.0


def test_one_agent_clears_its_cell_of_the_grid():
    agents = placed(jnp.array([[0.5]]), 2, (1.0,))
    after, field = taken_up(agents, jnp.array([3.0]), 2.0, 0.7, (1.0,))
    assert float(field[0]) == pytest.approx(3.0 * np.exp(-1.4))
    assert float(after.content[0]) == pytest.approx(3.0 * (1 - np.exp(-1.4)))
    assert float(after.content[1]) == 0.0


def test_movement_has_the_variance_of_diffusion_and_stays_in_the_box():
    agents = placed(jnp.full((4000, 2), 0.5) * jnp.array([2.0, 1.0]), 4000, BOX)
    after = moved(agents, jax.random.key(0), 0.01, 0.5, BOX).places
    variance = np.var(np.asarray(after[:, 0]))
    # a normal sample's variance errs by sqrt(2/n)
    assert variance == pytest.approx(2 * 0.01 * 0.5, rel=5 * np.sqrt(2 / 4000))
    far = moved(agents, jax.random.key(1), 10.0, 5.0, BOX).places
    assert float(far.min()) >= 0.0 and bool(jnp.all(far <= jnp.array(BOX)))
    # well mixed after a long time
    assert float(far[:, 0].mean()) == pytest.approx(1.0, abs=5 * 2 / np.sqrt(12 * 4000))


def test_division_halves_the_content_and_death_gives_it_back():
    agents = agents_at(2, 50, 100, 1.0)
    after = divided(agents, jax.random.key(0), 1.0)
    assert int(after.living) == 100 and int(after.refused) == 0
    np.testing.assert_allclose(after.content, 0.5)
    gone, field = died(after, jnp.zeros(SHAPE), jax.random.key(0), 1.0, BOX)
    assert int(gone.living) == 0
    assert float(field.sum()) == pytest.approx(50.0, rel=1e-13)


def test_divisions_without_a_slot_are_counted_and_lose_nothing():
    after = divided(agents_at(3, 50, 60, 1.0), jax.random.key(0), 1.0)
    assert int(after.living) == 60 and int(after.refused) == 40
    assert float(after.content.sum()) == pytest.approx(50.0, rel=1e-13)
    full = divided(after, jax.random.key(1), 1.0)
    assert int(full.living) == 60 and int(full.refused) == 100
    assert int(ending(full, BOX)) == Ending.CROWDED


@pytest.mark.parametrize("shift, motility", [(5.0, 0.0), (jnp.nan, 0.0), (0.0, jnp.nan)])
def test_agents_that_leave_the_box_have_a_code(shift, motility):
    """At the start, where that depends on parameters; by something else than `moved`; by steps that are no numbers."""
    keys = jax.random.split(jax.random.key(0))

    @jax.jit
    def ends(shift, motility):
        start = placed(jnp.full((3, 2), 0.5) + shift, 4, BOX)
        agents = placed(jnp.full((3, 2), 0.5), 4, BOX)
        thrown = agents._replace(places=agents.places + shift)
        codes = [ending(each, BOX) for each in (start, thrown, moved(thrown, keys[0], motility, 1.0, BOX))]
        return codes, ending(moved(agents, keys[1], 0.01, 1.0, BOX), BOX)

    codes, sound = ends(shift, motility)
    assert int(sound) == 0
    assert [int(code) for code in codes] == [Ending.OUTSIDE * (shift != 0)] * 2 + [Ending.OUTSIDE]


@pytest.mark.slow
def test_the_same_key_has_the_same_agents_and_empty_slots_change_nothing():
    """Random numbers are drawn by blocks; those of slots beyond the living must not matter."""
    few, many = (agents_at(6, 5000, capacity, 1.0) for capacity in (2 * 4096, 5 * 4096))
    for step in (lambda a, key: moved(a, key, 0.01, 0.5, BOX), lambda a, key: divided(a, key, 0.3)):
        one, other = (step(agents, jax.random.key(1)) for agents in (few, many))
        np.testing.assert_array_equal(one.places[:7000], other.places[:7000])
        np.testing.assert_array_equal(one.content[:7000], other.content[:7000])


def test_numbers_of_divisions_and_deaths_are_binomial():
    agents = placed(jnp.full((5000, 2), 0.5), 10_000, BOX)
    born = int(divided(agents, jax.random.key(0), 0.2).living) - 5000
    dead = 5000 - int(died(agents, jnp.zeros(SHAPE), jax.random.key(1), 0.2, BOX)[0].living)
    spread = np.sqrt(5000 * 0.2 * 0.8)
    assert abs(born - 1000) < 5 * spread and abs(dead - 1000) < 5 * spread


def test_density_counts_the_living():
    agents = agents_at(4)
    assert float(density(agents, SHAPE, BOX).mean()) * BOX[0] * BOX[1] == pytest.approx(50.0, rel=1e-12)


def test_gradients_of_a_run_without_divisions():
    agents, keys = agents_at(5), jax.random.split(jax.random.key(0), 20)

    @jax.jit
    def content(parameters):
        clearance, D, motility = parameters

        def step(state, key):
            agents, field = state
            agents = moved(agents, key, motility, 0.1, BOX)
            return taken_up(agents, diffused(field, D, 0.1, BOX), clearance, 0.1, BOX), None

        x = (jnp.arange(16) + 0.5) / 16
        (agents_after, _), _ = jax.lax.scan(step, (agents, x[:, None] * jnp.ones(SHAPE)), keys)
        return jnp.sum(agents_after.content)

    point, step = jnp.array([2e-2, 0.05, 1e-3]), 1e-6
    gradient = jax.jit(jax.grad(content))(point)
    for k, size in enumerate(np.asarray(point)):
        change = jnp.zeros(3).at[k].set(step * size)
        difference = float(content(point + change) - content(point - change)) / (2 * step * size)
        assert float(gradient[k]) == pytest.approx(difference, rel=1e-5)


def test_the_front_of_many_cells_travels_with_the_speed_of_fisher_and_kolmogorov():
    D, r, dt, extent, cells = 2e-4, 0.05, 1.0, (8.0,), 800
    middles = (np.arange(cells) + 0.5) / cells * extent[0]

    def step(n, _):
        n = diffused(n, D, dt / 2, extent)
        growth = jnp.exp(r * dt)
        n = n * growth / (1 + n * (growth - 1))
        n = diffused(n, D, dt / 2, extent)
        # the front is where the density is a half
        return n, jnp.sum(n) * extent[0] / cells

    _, front = jax.lax.scan(step, jnp.where(jnp.asarray(middles) < 0.2, 1.0, 0.0), None, length=500)
    times = np.arange(1, 501) * dt
    late = times > 200
    # fronts approach their speed as t^-1 (Bramson 1983), which the logarithm takes account of
    shifted = np.asarray(front) + 1.5 * np.sqrt(D / r) * np.log(times)
    speed = np.polyfit(times[late], shifted[late], 1)[0]
    assert speed == pytest.approx(2 * np.sqrt(r * D), rel=0.02)


def test_every_finding_at_once():
    wrong = np.array([[0.5, 0.5], [3.0, 0.5], [np.nan, 0.1]])
    for place in (placed, jax.jit(lambda: placed(wrong, 2, BOX))):
        with pytest.raises(InputError, match=r"2 of 3 agents are outside .* the first at \(3, 0\.5\)") as caught:
            place(wrong, 2, BOX) if place is placed else place()
        assert len(caught.value.findings) == 2
    with pytest.raises(InputError, match="places have the shape"):
        placed(jnp.zeros(3), 4, BOX)
    with pytest.raises(InputError, match="axes"):
        gather(jnp.zeros((4, 4)), jnp.zeros((2, 1)), BOX)
