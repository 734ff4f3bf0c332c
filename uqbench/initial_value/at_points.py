"""Right-hand sides, their slopes and small inverses at single points, by machine code."""

import ctypes
from collections.abc import Mapping
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..annotations import Values
from ..native import foreign_call
from ..native.engine import point, records
from ..native.library import PackedRecord, pack
from .machine_code import compiled, point_engine
from .task import Task, parameter_row, shifted


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def linearised(
    task: Task, active: tuple[tuple[str, int], ...], theta: Values, inputs: Mapping, y
) -> tuple[Array, Array, Array]:
    """Right-hand side `(n,)` at time 0, its slopes by the states `(n, n)` and by the `active` entries `(n, active)`."""
    n, p = len(task.states), len(active)
    model = compiled(task, active)
    target = model.target.replace("uqbench_", "uqbench_point_")
    foreign_call.register(target, model.record.address, point_engine())
    operands = [parameter_row(task, theta, inputs), y, jnp.zeros(records.SETTINGS)]
    rates, jacobian, *slopes = foreign_call.call_model(target, operands, [(n,), (n, n), (n, p)][: 3 if p else 2])
    return rates, jacobian, slopes[0] if p else jnp.zeros((n, 0))


@linearised.defjvp
def _linearised_derivative(task, active, primals, tangents):
    """Second derivatives: those of JAX."""
    size = len(active)

    def slopes(theta, inputs, y):
        def slope(y, entries):
            given = shifted(active, theta, inputs, entries)
            rates = task.system.rhs(jnp.zeros(()), dict(zip(task.states, y, strict=True)), *given)
            return jnp.stack([jnp.asarray(rates[name], float) for name in task.states])

        nothing = jnp.zeros(size)
        return slope(y, nothing), *jax.jacfwd(slope, argnums=(0, 1))(y, nothing)

    return linearised(task, active, *primals), jax.jvp(slopes, primals, tangents)[1]


@lru_cache(maxsize=1)
def _inversion() -> str:
    """The name of the engine's matrix inversion."""
    record = pack(foreign_call.Model, **foreign_call.bare_model(settings=1))
    foreign_call.register("uqbench_inverse", record.address, foreign_call.build(point.invert_member))
    _kept.append(record)
    return "uqbench_inverse"


_kept: list[PackedRecord] = []


@jax.custom_jvp
def inverse(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The inverse of a small matrix; not finite where it has none. LAPACK's takes five times as long to compile."""
    if not foreign_call.engine_runs():
        return jnp.linalg.inv(matrix)
    size = jnp.full(1, float(len(matrix)))
    return foreign_call.call_model(_inversion(), [matrix, size], [matrix.shape])[0]


@inverse.defjvp
def _inverse_derivative(primals, tangents):
    found = inverse(primals[0])
    return found, -found @ tangents[0] @ found


def rates_on_host(task: Task, times: np.ndarray, states: np.ndarray, parameters: Mapping, inputs: Mapping):
    """Right-hand sides at many points, without JAX.

    Args:
        times: `(points,)`.
        states: `(points, n)`.
        parameters, inputs: name -> values with a leading axis of points.

    Returns:
        `(points, n)`.
    """
    kernels = compiled(task, ()).kernels
    count, n = states.shape
    q = [np.reshape(parameters[name], (count, -1)) for name in task.parameters]
    q += [np.reshape(inputs[name], (count, -1)) for name, _ in task.inputs]
    x = np.concatenate([times[:, None], states, *q, np.zeros((count, kernels.conditions + n + 1))], axis=1)
    out, scratch = np.zeros((count, n)), np.zeros(max(1, kernels.scratch))
    modes = np.zeros(max(1, kernels.conditions))
    kernel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    first = 1 + n + kernels.parameters
    for row, found in zip(x, out, strict=True):
        if kernels.conditions:
            kernel(kernels.modes)(row.ctypes.data, modes.ctypes.data, scratch.ctypes.data)
            row[first : first + kernels.conditions] = modes[: kernels.conditions]
        kernel(kernels.rate)(row.ctypes.data, found.ctypes.data, scratch.ctypes.data)
    return out
