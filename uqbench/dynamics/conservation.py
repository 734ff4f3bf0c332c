"""Conservation laws of a system: what stays constant whatever the rates are.

A closed reaction cycle keeps its total, so that the Jacobian is singular and the equations y' = 0 alone do not say
where the system settles. A law is a row w with w . rhs = 0 for every state and parameter (a left null vector of the
stoichiometric matrix; Reder 1988, doi:10.1016/S0022-5193(88)80073-0). It is found from the values of the right-hand
side at random points, so that no list of reactions is needed, and it is believed only after fresh points agree.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from ..annotations import Values
from ..initial_value.at_points import rates_on_host
from ..initial_value.given import stacked
from ..initial_value.machine_code import task_of
from ..system import Inputs, Ode

# What rounding leaves of a sum that vanishes, relative to its terms.
ROUNDING = 1e-10
# Stoichiometric numbers are small fractions; a coefficient this close to one is that one.
LARGEST_DENOMINATOR = 60


def conservation_laws(system: Ode, names: tuple[str, ...], theta: Values, inputs: Inputs) -> np.ndarray:
    """Linear laws with constant coefficients, found while tracing from the shapes alone.

    Args:
        names: the states, in the order of the columns.
        theta, inputs: only their names and shapes are read, so they may be tracers.

    Returns:
        `(laws, states)`, in reduced echelon form; no rows where there is no law. Laws whose coefficients depend on
        parameters (volumes, branching ratios), or that hold at special values only, are not among them.
    """
    shapes = tuple(tuple((name, jnp.shape(value)) for name, value in given.items()) for given in (theta, inputs))
    return _laws(system, names, *shapes)


def laws_within(laws: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Those combinations of laws `(laws, states)` that tie only the chosen states: `(fewer, chosen)`, echelon form.

    Example:
        >>> laws_within(np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]), np.array([True, False, True])).tolist()
        [[-1.0, 1.0]]
    """
    if not len(laws):
        return laws[:, chosen]
    _, singular, directions = np.linalg.svd(laws[:, ~chosen].T)
    rank = int(np.sum(singular > 1e-9 * max(singular.max(initial=0.0), 1e-300)))
    inside = directions[rank:] @ laws[:, chosen]
    return _echelon(inside) if len(inside) else inside


@lru_cache(maxsize=64)
def _laws(system: Ode, names: tuple[str, ...], theta_shapes, inputs_shapes) -> np.ndarray:
    rng = np.random.default_rng(0)
    size = len(names)
    count = 4 * size + 8

    def draw(shapes):
        return {name: np.exp(rng.uniform(-2.0, 2.0, (count, *shape))) for name, shape in shapes}

    rates = _rates(system, names, theta_shapes, inputs_shapes)

    def sample():
        values = rates(
            # what is turned on or vanishes at one time is not conserved
            np.exp(rng.uniform(-3.0, 6.0, count)),
            np.exp(rng.uniform(-2.0, 2.0, (count, size))),
            draw(theta_shapes),
            draw(inputs_shapes),
        )
        return values[np.all(np.isfinite(values), axis=1)]

    # these are numbers, whatever is being traced around
    with jax.ensure_compile_time_eval():
        first, fresh = sample(), sample()
    if min(len(first), len(fresh)) < size + 2:
        return np.zeros((0, size))
    return _believed(_echelon(_null_space(first)), fresh)


def _rates(system: Ode, names: tuple[str, ...], theta_shapes, inputs_shapes) -> Callable:
    """The right-hand side of many points as numpy arrays: by the system's kernels, or else by JAX."""
    task = None
    if all(shape == () for _, shape in theta_shapes):
        task = task_of(system, None, (), tuple(name for name, _ in theta_shapes), inputs_shapes)
    if task is not None:
        order = [names.index(name) for name in task.states]

        def by_kernels(t, y, theta, inputs):
            rates = np.empty_like(y)
            rates[:, order] = rates_on_host(task, t, y[:, order], theta, inputs)
            return rates

        return by_kernels

    def slope(t, y, theta, inputs):
        return stacked(system.rhs(t, dict(zip(names, y, strict=True)), theta, inputs), names)

    many = jax.jit(jax.vmap(slope))
    return lambda *points: np.asarray(many(*points))


def _null_space(values: np.ndarray) -> np.ndarray:
    """Rows w with values @ w = 0 up to rounding."""
    weight = np.abs(values).max(axis=0)
    weight[weight == 0] = 1.0
    scaled = values / weight
    scaled /= np.maximum(np.abs(scaled).max(axis=1, keepdims=True), 1e-300)
    _, singular, directions = np.linalg.svd(scaled, full_matrices=False)
    return directions[singular <= ROUNDING * max(singular[0], 1e-300)] / weight


def _echelon(rows: np.ndarray) -> np.ndarray:
    rows = rows / np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-300)
    for k in range(len(rows)):
        pivot = k + int(np.argmax(np.abs(rows[k:]).max(axis=1)))
        rows[[k, pivot]] = rows[[pivot, k]]
        column = np.argmax(np.abs(rows[k]))
        rows[k] /= rows[k, column]
        for other in range(len(rows)):
            if other != k:
                rows[other] -= rows[other, column] * rows[k]
    return np.vectorize(_fraction, otypes=[float])(rows)


def _fraction(value: float) -> float:
    nearest = float(Fraction(value).limit_denominator(LARGEST_DENOMINATOR))
    return nearest if abs(nearest - value) < 1e-7 else value


def _believed(rows: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    remainder = np.abs(fresh @ rows.T)
    terms = np.abs(fresh) @ np.abs(rows).T
    return rows[np.all(remainder <= ROUNDING * terms, axis=0)]
