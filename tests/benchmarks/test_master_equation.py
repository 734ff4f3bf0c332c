"""The master equation against `expm_multiply` of scipy at equal error, and a gradient in values; one process, compiled.

Times are the best of several calls, without the first. Errors are against the same box at a much smaller tolerance, so
that truncation of the states, which all have alike, is no part of them.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse.linalg import expm_multiply

from uqbench.master_equation import distribution, independent_species
from uqbench.master_equation.box import box_of, rates_of_states
from uqbench.master_equation.stationary import sparse_generator

from ..master_equation.networks import BIRTH_DEATH, TELEGRAPH, TOGGLE, birth_death, telegraph, toggle

pytestmark = pytest.mark.bench

REDUCED = independent_species(TELEGRAPH, [1, 0, 0])
# rates of parameters, changes, start, times, shape, parameters, limit of products
CASES = {
    "toggle, 10 000 states": (
        toggle,
        TOGGLE,
        [50, 5],
        [1.0, 2.0, 5.0, 10.0],
        (100, 100),
        (50.0, 15.0, 2.0, 1.0),
        2**12,
    ),
    "toggle, 40 000 states": (toggle, TOGGLE, [50, 5], [5.0], (200, 200), (50.0, 15.0, 2.0, 1.0), 2**12),
    "telegraph, 240 states": (
        *(lambda *theta: REDUCED.rates(telegraph(*theta)), REDUCED.changes, REDUCED.start),
        *(np.linspace(0.5, 8.0, 16), (2, 120), (0.5, 1.0, 20.0, 1.0), 2**12),
    ),
    "birth and death, 100 states": (birth_death, BIRTH_DEATH, [0], [1.0, 5.0], (100,), (30.0, 1.0), 2**12),
}
# times faster than expm_multiply; what a gradient with its value may cost, in values
FACTOR, VALUES = 15.0, 7.0


def seconds(call, repeats=7):
    jax.block_until_ready(call())
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        found.append(time.perf_counter() - start)
    return min(found)


def by_scipy(case):
    """All times in the order, each from the one before."""
    rates, changes, start, times, shape, theta, _ = case
    box = box_of(changes, shape)
    values = np.asarray(box.grouped(rates_of_states(rates(*theta), 0.0, box.counts(), len(changes))))
    matrix = sparse_generator(box, values).tocsr()
    q = np.zeros(shape)
    q[tuple(start)] = 1.0

    def solve():
        row, rows = q.reshape(-1), []
        for gap in np.diff(times, prepend=0.0):
            row = expm_multiply(matrix * gap, row)
            rows.append(row)
        return np.array(rows)

    return solve


@pytest.mark.parametrize("name", CASES)
def test_speed_and_error_beside_scipy(name):
    case = CASES[name]
    rates, changes, start, times, shape, theta, limit = case

    def solved(theta, tolerance):
        return distribution(
            *(rates(*theta), changes, start, jnp.asarray(times), shape), tolerance=tolerance, max_products=limit
        ).probability

    theta = jnp.array(theta)
    exact = np.asarray(solved(theta, 1e-15)).reshape(len(times), -1)
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(len(times), *shape)))
    value = jax.jit(lambda theta: solved(theta, 1e-12))
    score = jax.jit(lambda theta: jnp.sum(weights * solved(theta, 1e-12)))
    gradient = jax.jit(jax.value_and_grad(lambda theta: jnp.sum(weights * solved(theta, 1e-12))))
    scipys = by_scipy(case)
    ours, theirs = seconds(lambda: value(theta)), seconds(scipys, repeats=3)
    cost = seconds(lambda: gradient(theta)) / seconds(lambda: score(theta))
    errors = [np.abs(np.asarray(p).reshape(exact.shape) - exact).sum(axis=1).max() for p in (value(theta), scipys())]
    print(
        f"\n{name:28s} {1e3 * ours:8.2f} ms, error {errors[0]:.0e}; expm_multiply {1e3 * theirs:8.1f} ms, error "
        f"{errors[1]:.0e}: {theirs / ours:6.1f} times; value and gradient in values {cost:.1f}"
    )
    assert errors[0] < max(2e-11, 2.0 * errors[1])
    assert theirs > FACTOR * ours
    assert cost < VALUES
