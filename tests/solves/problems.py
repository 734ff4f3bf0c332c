"""How the tests of solves make a model, differentiate it in every way that the library offers, and know what is right.

Right values are closed forms, differentiated by a complex step, or solutions of the variational equations by SciPy at a
tight tolerance. None of them comes from the code under test, except that the variational equations are made from the
model's own right-hand side by JAX.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

import uqbench as uq

# How a derivative is asked for: by which transformation, and in which mode of `uq.evaluate`.
DERIVATIVES = {
    "tangents": (jax.jacfwd, "value"),
    "forward sensitivities": (jax.jacfwd, "forward"),
    "forward sensitivities, transposed": (jax.jacrev, "forward"),
    "reverse": (jax.jacrev, "reverse"),
}


def every_state(y, p):
    return y


def model(initial, rhs, values: Mapping[str, float], outputs, *, observe=every_state, noise=None, **settings):
    """A model whose outputs are its states, with priors around `values`; settings are those of `uq.Ode`."""
    space = uq.Space(
        {
            name: uq.epistemic(uq.LogNormal(median=value, sigma=0.2) if value > 0 else uq.Normal(value, 1.0))
            for name, value in values.items()
        }
    )
    system = uq.Ode(initial, rhs, **settings)
    return uq.Model(space, system, observe, dict.fromkeys(outputs, ""), noise or {}, name="under test")


class Slopes(NamedTuple):
    """Values and derivatives `(times, outputs[, parameters])` of one run, and its result code."""

    values: np.ndarray
    derivatives: np.ndarray
    result: int


def slopes(model: uq.Model, theta: Mapping[str, float], design: uq.Design, free: Sequence[str], way: str) -> Slopes:
    """Derivatives of all outputs with respect to the parameters `free`, in one of the ways of `DERIVATIVES`."""
    transformation, mode = DERIVATIVES[way]

    def outputs(part):
        run = uq.evaluate(model, {**theta, **dict(zip(free, part, strict=True))}, design, mode=mode)
        stacked = jnp.stack([run.outputs[name] for name in model.outputs], axis=-1)
        return stacked, (stacked, run.result)

    at = jnp.array([float(theta[name]) for name in free])
    derivatives, (values, result) = jax.jit(transformation(outputs, has_aux=True))(at)
    return Slopes(np.asarray(values), np.asarray(derivatives), int(result))


def rows(model: uq.Model, run: uq.Run) -> np.ndarray:
    """The outputs of a run, `(times, outputs)`."""
    return np.stack([np.asarray(run.outputs[name]) for name in model.outputs], axis=-1)


def solved(model: uq.Model, theta: Mapping[str, float], design: uq.Design) -> np.ndarray:
    """The outputs `(times, outputs)` of a run that must succeed."""
    run = uq.evaluate(model, theta, design)
    assert int(run.result) == 0, uq.RESULTS[int(run.result)]
    return rows(model, run)


def complex_step(closed_form: Callable, theta: Mapping[str, float], free: Sequence[str]) -> np.ndarray:
    """Derivatives of `closed_form(theta)` by the parameters `free`, as a last axis, exact to rounding."""
    columns = []
    for name in free:
        moved = {**theta, name: complex(theta[name], 1e-30)}
        columns.append(np.imag(closed_form(moved)) / 1e-30)
    return np.stack(columns, axis=-1)


def relative_to_largest(found, exact) -> np.ndarray:
    """Errors `(times, outputs, parameters)` relative to the largest of the same derivative over time.

    One that is zero at all times by its closed form may be a rounding error, at most 1e-6 times as large as an error
    of a derivative about one would be allowed to be.
    """
    found, exact = np.asarray(found), np.asarray(exact)
    size = np.abs(exact).max(axis=0, keepdims=True)
    size = np.where(size == 0, 1e-6, size)
    return np.where(np.isfinite(found), np.abs(found - exact) / size, np.inf)


def variational(
    system: uq.Ode,
    theta: Mapping[str, float],
    inputs: Mapping[str, float],
    times,
    free: Sequence[str],
    *,
    rtol: float = 1e-12,
    floor: float = 1e-3,
    method: str = "DOP853",
) -> tuple[np.ndarray, np.ndarray]:
    """States `(times, states)` and their derivatives `(times, states, parameters)` by a method of SciPy.

    For systems that are smooth in time; the absolute tolerance is `rtol * floor`. `Radau` is for stiff ones.
    """
    names = list(system.initial(dict(theta), dict(inputs)))
    count = len(names)

    def start(part):
        state = system.initial({**theta, **dict(zip(free, part, strict=True))}, dict(inputs))
        return jnp.stack([jnp.asarray(state[name], float) for name in names])

    def slope(t, y, part):
        p = {**theta, **dict(zip(free, part, strict=True))}
        change = system.rhs(t, dict(zip(names, y, strict=True)), p, dict(inputs))
        return jnp.stack([jnp.asarray(change[name], float) for name in names])

    at = jnp.array([float(theta[name]) for name in free])

    @jax.jit
    def both(t, packed):
        y, sensitivity = packed[:count], packed[count:].reshape(count, len(free))
        by_state, by_parameter = jax.jacfwd(slope, argnums=(1, 2))(t, y, at)
        return jnp.concatenate([slope(t, y, at), (by_state @ sensitivity + by_parameter).ravel()])

    jacobian = jax.jit(jax.jacfwd(both, argnums=1))
    first = np.concatenate([np.asarray(start(at)), np.asarray(jax.jacfwd(start)(at)).ravel()])
    solution = solve_ivp(
        lambda t, packed: np.asarray(both(t, packed)),
        (0.0, float(np.max(times))),
        first,
        method,
        np.asarray(times, float),
        **({"jac": lambda t, packed: np.asarray(jacobian(t, packed))} if method == "Radau" else {}),
        rtol=rtol,
        atol=rtol * floor,
    )
    assert solution.success, solution.message
    packed = solution.y.T
    return packed[:, :count], packed[:, count:].reshape(len(packed), count, len(free))
