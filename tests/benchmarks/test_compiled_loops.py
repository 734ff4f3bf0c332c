"""Two rewrites against what they took the place of, in one process: exponentials by machine code against loops of
compiled JAX, under rates that vary with time; and paths of Wiener processes drawn in cells against diffrax' tree."""

import time

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from uqbench.master_equation import distribution
from uqbench.native import foreign_call
from uqbench.systems.brownian import WienerPath

pytestmark = pytest.mark.bench

STEPS = 2000


def seconds(call, repeats=3):
    jax.block_until_ready(call())
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        found.append(time.perf_counter() - start)
    return min(found)


def pulse(theta):
    """A gene switched on for ten minutes, and its messenger RNA."""

    def rates(t, y):
        stress = jax.nn.sigmoid(t - 4.0) * jax.nn.sigmoid(14.0 - t)
        return theta[0] * (1 - y[0]) * stress, theta[1] * y[0], theta[2] * y[0], theta[3] * y[1]

    return rates


def test_time_varying_master_equation(monkeypatch):
    changes, theta = [[1, 0], [-1, 0], [0, 1], [0, -1]], jnp.array([0.6, 0.8, 20.0, 0.32])

    def solved(theta):
        found = distribution(pulse(theta), changes, [0, 0], [5.0, 10.0, 20.0], (2, 151), step_tolerance=1e-5,
                             max_products=2**18, max_steps=4096)  # fmt: skip
        return found.probability

    ours = jax.jit(lambda theta: solved(theta))
    value, fast = ours(theta), seconds(lambda: ours(theta))
    monkeypatch.setattr(foreign_call, "engine_runs", lambda: False)
    theirs = jax.jit(lambda theta: solved(theta))
    # the sums of all exponentials may leave out a thousandth of the tolerance, in each form as many terms as suit it
    np.testing.assert_allclose(value, theirs(theta), rtol=0, atol=1e-8)
    ratio = seconds(lambda: theirs(theta), repeats=1) / fast
    print(f"\nmaster equation with rates of time, 302 states: {ratio:.1f} times loops of compiled JAX")
    assert ratio > 1.2


def test_wiener_processes():
    def end(make):
        def one(key):
            path = make(key)

            def step(k, w):
                return w + path.evaluate(k / STEPS, (k + 1) / STEPS)

            return jax.lax.fori_loop(0, STEPS, step, jnp.zeros(2))

        return jax.jit(jax.vmap(one))

    keys = jax.random.split(jax.random.key(0), 64)
    cells = end(lambda key: WienerPath.of(key, jnp.asarray(0.0), jnp.asarray(1.0), 2, 1 / STEPS))
    tree = end(lambda key: diffrax.VirtualBrownianTree(0.0, 1.0, tol=2.0**-24, shape=(2,), key=key))
    ratio = seconds(lambda: tree(keys)) / seconds(lambda: cells(keys))
    print(f"\nincrements of Wiener processes: {ratio:.1f} times a virtual Brownian tree")
    assert ratio > 3
