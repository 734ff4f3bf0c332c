"""States as arrays: what compiling such a model costs beside the same one written with a scalar for each entry."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq

from .synthetic_models import line_of_cells
from .test_native_engine import in_a_fresh_process

pytestmark = pytest.mark.bench

CELLS = 300


def by_slices(u):
    flow = u[1:] - u[:-1]
    return jnp.concatenate([flow[:1], flow[1:] - flow[:-1], -flow[-1:]])


def by_differences(u):
    return jnp.diff(jnp.pad(u, 1, mode="edge"), n=2)


def by_rolling(u):
    return jnp.roll(u, 1).at[0].set(u[0]) - 2 * u + jnp.roll(u, -1).at[-1].set(u[-1])


def by_convolution(u):
    return jnp.convolve(jnp.pad(u, 1, mode="edge"), jnp.array([1.0, -2.0, 1.0]), mode="valid")


def by_a_matrix(u):
    matrix = np.diag(np.ones(len(u) - 1), 1) + np.diag(np.ones(len(u) - 1), -1) - 2 * np.eye(len(u))
    matrix[0, 0] = matrix[-1, -1] = -1
    return jnp.asarray(matrix) @ u


LAPLACIANS = {each.__name__: each for each in (by_slices, by_differences, by_rolling, by_convolution, by_a_matrix)}


def in_arrays(laplacian) -> uq.Model:
    """`line_of_cells`, its states one array and its outputs one field."""
    scalars = line_of_cells(CELLS)
    start = jnp.array([*scalars.model.system.initial(scalars.theta, {}).values()])

    def rhs(t, y, p, inputs):
        u = y["u"]
        reaction = 20.0 * p["k"] * u * (u - p["a"]) * (1.0 - u) - 0.1 * p["g"] * u * u
        return {"u": p["D"] * float(CELLS) ** 2 * laplacian(u) + reaction}

    return uq.Model(scalars.model.space, uq.Ode(lambda p, inputs: {"u": start}, rhs), lambda y, p: {"u": y["u"]},
                    {"u": ""}, dims={"u": ("time", "x")}, name=laplacian.__name__)  # fmt: skip


def in_scalars() -> uq.Model:
    return line_of_cells(CELLS).model


def seconds_of_value_and_gradient(model: uq.Model) -> float:
    """CPU seconds to the first value and the first gradient, after a small model has paid for what all share."""
    small, problem = line_of_cells(3), line_of_cells(CELLS)
    for each, theta in ((small.model, small.theta), (model, problem.theta)):
        used = time.process_time()
        jax.block_until_ready(uq.evaluate(each, theta, problem.design).outputs)

        def outputs(theta, each=each):
            # 300 outputs one by one would be 1200 results to compile, and other axes are slower to stack along
            return jnp.stack([*uq.evaluate(each, theta, problem.design, mode="forward").outputs.values()], axis=-1)

        jax.block_until_ready(jax.jit(jax.jacfwd(outputs))({name: jnp.asarray(value) for name, value in theta.items()}))
    return time.process_time() - used


PROGRAM = """
import json, sys
from tests.benchmarks import test_array_states as benchmark
how = sys.argv[1]
model = benchmark.in_scalars() if how == "in_scalars" else benchmark.in_arrays(benchmark.LAPLACIANS[how])
print(json.dumps(benchmark.seconds_of_value_and_gradient(model)))
"""


@pytest.fixture(scope="module")
def seconds_in_scalars(tmp_path_factory):
    return in_a_fresh_process(PROGRAM, tmp_path_factory.mktemp("scalars"), "in_scalars")


@pytest.mark.parametrize("how", LAPLACIANS)
def test_a_model_in_arrays_compiles_as_fast_as_in_scalars(how, seconds_in_scalars, tmp_path, capsys):
    found = in_a_fresh_process(PROGRAM, tmp_path, how)
    ratio = found / seconds_in_scalars
    with capsys.disabled():
        print(f"\n{CELLS} cells {how:14s} {found:.2f} CPU s, in scalars {seconds_in_scalars:.2f}, ratio {ratio:.2f}")
    assert ratio <= 1.0


def test_both_are_the_same_model():
    scalars = line_of_cells(CELLS)
    run = uq.evaluate(scalars.model, scalars.theta, scalars.design)
    right = np.stack([*run.outputs.values()], axis=-1)
    for laplacian in LAPLACIANS.values():
        found = uq.evaluate(in_arrays(laplacian), scalars.theta, scalars.design)
        np.testing.assert_allclose(found.outputs["u"], right, rtol=1e-5, atol=1e-8)
