"""Coupled models: what schedules, the balance outputs and a closed model cost, each against a rival in this process.

Times are of the processor, and the fastest of three after the first.
"""

import time
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from forward_models import agents_continuum as colony
from forward_models import tumour_tissue
from uqbench.agents import placed
from uqbench.coupling import Aitken, Monolithic, QuasiNewton, Strong
from uqbench.homogenisation import membrane_tensor

from ..coupling import cell_and_tissue
from ..coupling.contacts import stiff_pair

pytestmark = pytest.mark.bench


def fastest(function, repeats=3) -> float:
    jax.block_until_ready(function())
    times = []
    for _ in range(repeats):
        start = time.process_time()
        jax.block_until_ready(function())
        times.append(time.process_time() - start)
    return min(times)


def run_of(model, theta, design):
    return lambda: uq.evaluate(model, theta, design).outputs


def test_quasi_newton_against_aitken_in_solves():
    solves = {}
    for first in (0.1, 0.5):
        for how in (Aitken(first=first), QuasiNewton()):
            run = uq.evaluate(stiff_pair(Strong(1.0, how, max_iterations=500)), {"k": 1.0}, uq.Design([2.0]))
            solves[how] = int(run.steps) if int(run.result) == 0 else np.inf
    aitken = min(count for how, count in solves.items() if isinstance(how, Aitken))
    print(f"\nsolves of the stiff pair: {solves}")
    assert 2 * solves[QuasiNewton()] <= aitken


def test_strong_coupling_against_one_system():
    design, theta = uq.Design([200.0]), cell_and_tissue.space.nominal()
    cost = {how: fastest(run_of(cell_and_tissue.model(how), theta, design)) for how in (Strong(0.1), Monolithic(0.1))}
    strong, whole = cost.values()
    print(f"\n2000 windows: strong {strong:.3f} s, monolithic {whole:.3f} s, {strong / whole:.1f} times")
    # the strong one takes ten steps of the cell in each window
    assert strong < 100 * whole


def test_what_the_balance_costs():
    design, theta = uq.Design(np.linspace(1.0, 200.0, 200)), cell_and_tissue.space.nominal()
    whole = cell_and_tissue.model(Strong(0.1))
    bare = replace(whole, units={name: whole.units[name] for name in ("A", "u")})
    with_it, without = (fastest(run_of(model, theta, design)) for model in (whole, bare))
    print(f"\nbalance outputs: {with_it:.3f} s with, {without:.3f} s without, {with_it / without:.2f} times")
    assert with_it < 1.5 * without


def plain_step(places, content, field, D, clearance, r, K, dose_D, dt, rng):
    """The step of the colony with NumPy alone: nearest cells by counting, explicit lists, the same exact diffusion."""
    from scipy.fft import dctn, idctn

    length, cells = colony.STRIP[0], len(field)
    places = places + np.sqrt(2 * D * dt) * rng.normal(size=places.shape)
    places = length - np.abs(length - np.abs(places))
    wave = (2 - 2 * np.cos(np.pi * np.arange(cells) / cells)) * (cells / length) ** 2
    field = idctn(dctn(field, norm="ortho") * np.exp(-dose_D * dt * wave), norm="ortho")
    across = np.clip(places / length * cells - 0.5, 0, cells - 1)
    first = np.minimum(across.astype(int), cells - 2)
    share = across - first

    def scattered(amounts):
        return np.bincount(first, amounts * (1 - share), cells) + np.bincount(first + 1, amounts * share, cells)

    cleared = scattered(np.full(len(places), clearance))
    taken = -field * np.expm1(-cleared * dt / (length / cells))
    each = taken / np.where(cleared > 0, cleared, 1)
    content = content + clearance * (each[first] * (1 - share) + each[first + 1] * share)
    density = scattered(np.ones(len(places))) * cells / length
    here = density[first] * (1 - share) + density[first + 1] * share
    dies = rng.random(len(places)) < -np.expm1(-r * here / K * dt)
    field = field - taken + scattered(np.where(dies, content, 0.0))
    places, content = places[~dies], content[~dies]
    divides = rng.random(len(places)) < -np.expm1(-r * dt)
    content = np.where(divides, content / 2, content)
    return np.concatenate([places, places[divides]]), np.concatenate([content, content[divides]]), field


def test_steps_of_agents():
    """Up to 1e5 agents, against the same step in NumPy, whose arrays grow and shrink."""
    theta, dt, cost, ratio = colony.space.nominal(), jnp.asarray(0.1), {}, {}
    step = jax.jit(colony.step)
    for count in (10**3, 10**4, 10**5):
        theta = theta | {"K": jnp.asarray(count / colony.STRIP[0])}
        rng = np.random.default_rng(0)
        places = rng.uniform(0, colony.STRIP[0], size=count)
        agents = placed(jnp.asarray(places)[:, None], 2 * count, colony.STRIP)
        field = jnp.full(colony.CELLS, 1.0 / colony.CELLS)
        cost[count] = fastest(lambda a=agents, f=field, p=theta: step(p, dt, a, f, jax.random.key(0)))
        values = [float(theta[name]) for name in ("D_cell", "clearance", "r", "K", "D_drug")]
        plain = fastest(lambda x=places, v=values, n=count, field=field: plain_step(
            x, np.zeros(n), np.asarray(field), *v, float(dt), np.random.default_rng(1)
        ))  # fmt: skip
        ratio[count] = plain / cost[count]
    text = ", ".join(f"{n}: {1e3 * cost[n]:.2f} ms, NumPy takes {ratio[n]:.2f} times as long" for n in cost)
    print(f"\na step of agents: {text}")
    # linear, with room for what does not grow
    assert cost[10**5] < 200 * cost[10**3]
    # measured: .45, with half of the slots free; what is left is what normals and sums over cells take
    assert ratio[10**5] > 0.25


def test_membrane_iterations_do_not_grow_with_the_grid():
    found = {}
    for n in (64, 128):
        axis = (np.arange(n) + 0.5) / n - 0.5
        distance = 0.3 - np.hypot(*np.meshgrid(axis, axis, indexing="ij"))
        run = membrane_tensor(distance, inside=1.0, outside=1.0, permeability=1.0, spacing=1 / n)
        assert int(run.result) == 0
        found[n] = int(np.max(run.iterations))
    print(f"\niterations of a cell with a membrane by the edge of the grid: {found}")
    assert found[128] < 1.5 * found[64]


def test_a_closed_model_against_its_coarse_one():
    design = uq.Design([60.0, 120.0])
    closed, coarse = tumour_tissue.model, tumour_tissue.tissue
    theta = coarse.space.nominal()
    alone = fastest(run_of(coarse, theta, design))
    both = fastest(run_of(closed, closed.space.nominal(), design))
    print(f"\nclosed {1e3 * both:.2f} ms, the coarse model alone {1e3 * alone:.2f} ms: {both / alone:.1f} times")
    assert both > 0.5 * alone
