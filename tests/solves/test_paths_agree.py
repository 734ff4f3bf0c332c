"""The solver in JAX, which serves where there are no kernels, and the engine: the same values and slopes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.initial_value import odes
from uqbench.model.running import with_sensitivities

from .random_networks import network


# those whose slopes both can find: powers of an exact zero have none in JAX, and a code
@pytest.mark.parametrize("seed", [11, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (8, 14, 26))])
def test_random_networks_have_the_same_values_and_slopes(seed):
    drawn = network(seed)
    model, design = drawn.model, uq.Design(drawn.times)
    theta = {name: jnp.asarray(value, float) for name, value in drawn.theta.items()}
    assert model.dynamics.task(model, design) is not None

    def by_engine(theta):
        run = with_sensitivities(model, "auto")(theta, design)
        return jnp.stack([run.outputs[name] for name in drawn.states]), run.result

    def in_jax(theta):
        found = odes.solve(model.system, theta, design, method="implicit", sharper=1e-2)
        return jnp.stack([found.states[name] for name in drawn.states]), found.result

    one, other = (jax.jit(jax.jacfwd(solver, has_aux=True))(theta) for solver in (by_engine, in_jax))
    values = by_engine(theta)[0], jax.jit(in_jax)(theta)[0]
    assert int(one[1]) == int(other[1]) == 0
    size = np.abs(values[1]).max(axis=1, keepdims=True)
    np.testing.assert_allclose(values[0] / size, values[1] / size, atol=1e-6)
    for name, value in theta.items():
        # by the logarithm of the parameter, in units of the state
        np.testing.assert_allclose(value * one[0][name] / size, value * other[0][name] / size, atol=1e-4, err_msg=name)
