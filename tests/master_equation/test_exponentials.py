"""Machine code and compiled JAX compute the same exponentials, tangents and adjoints, also of odd and empty boxes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from uqbench.master_equation import distribution
from uqbench.native import foreign_call

# changes, shape, start: odd and even numbers of groups of reactions, one whose shift is larger than the box
NETWORKS = {
    "one": ([[-1]], (30,), [20]),
    "three": ([[1], [-1], [-2]], (40,), [5]),
    "five of two species": ([[1, 0], [-1, 0], [0, 1], [0, -1], [-1, 1]], (8, 9), [1, 0]),
    "six, one leaves at once": ([[1, 0], [-1, 0], [0, 1], [0, -1], [-1, 1], [9, 0]], (8, 9), [1, 0]),
}


def rates_of(theta, count, timed):
    def rates(t, y):
        factor = 1.0 + 0.5 * jnp.sin(3.0 * t) if timed else 1.0
        first = theta[0] * factor * (y[0] if count == 1 else 1.0)
        others = [theta[1] * y[k % len(y)] * (y[k % len(y)] - (1.0 if k == 2 and len(y) == 1 else 0.0)) for k in (0, 1)]
        more = [theta[1] * y[0], *others, theta[1] * y[0], 0.01 * theta[0] * y[-1], 0.02 * theta[0] + 0.0 * y[0]]
        return (first, *more)[:count]

    return rates


@pytest.mark.parametrize(
    ("name", "timed"),
    [
        pytest.param("one", False, marks=pytest.mark.slow),
        pytest.param("three", True, marks=pytest.mark.slow),
        pytest.param("five of two species", True, marks=pytest.mark.slow),
        ("six, one leaves at once", False),
    ],
)
def test_machine_code_and_compiled_jax_agree(name, timed, monkeypatch):
    changes, shape, start = NETWORKS[name]
    weights = np.random.default_rng(1).normal(size=shape)

    def found():
        def measured(theta):
            rates = rates_of(theta, len(changes), timed)
            solved = distribution(rates, changes, start, [0.3, 0.9], shape, step_tolerance=1e-6)
            return jnp.sum(solved.probability * weights, axis=tuple(range(1, len(shape) + 1))), solved

        theta = jnp.array([2.0, 0.7])
        values, solved = jax.jit(measured)(theta)
        assert solved.code == 0
        slopes = [jax.jit(way(lambda theta: measured(theta)[0]))(theta) for way in (jax.jacrev, jax.jacfwd)]
        return values, *slopes, solved.products

    assert foreign_call.engine_runs()
    machine_code = found()
    monkeypatch.setattr(foreign_call, "engine_runs", lambda: False)
    compiled = found()
    for one, other in zip(machine_code[:3], compiled[:3], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(machine_code[1], machine_code[2], rtol=1e-9, atol=1e-11)
