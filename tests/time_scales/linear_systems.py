"""Linear slow-fast systems to test memory kernels on: random matrices, a chain of equal steps, one fast state."""

import jax
import jax.numpy as jnp
import numpy as np

import uqbench as uq
from uqbench.time_scales.memory import memory_kernel
from uqbench.time_scales.memory.matrix_exponential import Affine


def linear_initial(p, inputs):
    start = inputs["start"]
    return {name: start[k] for k, name in enumerate(["y1", "y2", "x1", "x2", "x3", "x4"][: len(start)])}


def linear_rhs(t, y, p, inputs):
    rates = inputs["M"] @ jnp.stack([*y.values()]) + inputs["source"]
    return dict(zip(y, rates, strict=True))


LINEAR = uq.Ode(linear_initial, linear_rhs, rtol=1e-12, atol=1e-13)


def chain_initial(p, inputs):
    return {"y": jnp.ones(()), **{f"x{k}": jnp.zeros(()) for k in range(1, 5)}}


def chain_rhs(t, y, p, inputs):
    """y feeds a chain of four equal steps, the last of which removes y: a delay with a gamma distribution."""
    return {
        "y": -0.2 * y["y"] - p["k"] * y["x4"],
        "x1": p["r"] * (y["y"] - y["x1"]),
        "x2": p["r"] * (y["x1"] - y["x2"]),
        "x3": p["r"] * (y["x2"] - y["x3"]),
        "x4": p["r"] * (y["x3"] - y["x4"]),
    }


CHAIN = uq.Ode(chain_initial, chain_rhs, rtol=1e-12, atol=1e-13)
CHAIN_AT = {"k": 0.8, "r": 3.0}
CHAIN_FAST = ["x1", "x2", "x3", "x4"]


def two_initial(p, inputs):
    return {"y": p["y0"], "x": p["x0"]}


def two_rhs(t, y, p, inputs):
    return {"y": -p["a"] * y["y"] + p["b"] * y["x"] + 0.3, "x": p["c"] * y["y"] - p["d"] * y["x"] + inputs["drive"]}


TWO = uq.Ode(two_initial, two_rhs)
TWO_AT = {"a": 0.5, "b": 1.5, "c": 2.0, "d": 8.0, "y0": 1.0, "x0": 3.0}
DRIVE = {"drive": 0.7}


def random_system(seed, fast=4):
    """Two slow states and some fast ones, with couplings, sources and starts of all kinds; inputs of `LINEAR`."""
    rng = np.random.default_rng(seed)
    size = 2 + fast
    matrix = rng.standard_normal((size, size))
    matrix[2:, 2:] -= (2.5 + np.linalg.eigvals(matrix[2:, 2:]).real.max()) * np.eye(fast)
    matrix -= max(0.0, 0.3 + np.linalg.eigvals(matrix).real.max()) * np.eye(size)
    return {"M": matrix, "source": rng.standard_normal(size), "start": rng.standard_normal(size)}


def random_kernel(seed, fast=4):
    return memory_kernel(LINEAR, [f"x{k}" for k in range(1, fast + 1)], {}, random_system(seed, fast))


def slow_part(kernel, affine, times):
    return np.asarray(affine.at(times))[:, : len(kernel.slow)]


def affine_of(system, order):
    """The numbers of a linear `Ode` without parameters, read from its functions."""
    start = system.initial({}, {})
    names = [*start]

    def rates(y):
        return jnp.stack([system.rhs(0.0, dict(zip(names, y, strict=True)), {}, {})[name] for name in names])

    zero = jnp.zeros(len(names))
    return Affine(jax.jacfwd(rates)(zero), rates(zero), jnp.stack([start[name] for name in names]))
