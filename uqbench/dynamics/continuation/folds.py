"""Folds and cusps of equilibria: where a switch lets go, and where it ceases to be one.

At a fold two equilibria meet and vanish as a parameter moves: the state has to jump. At a cusp, a point in the plane
of two parameters, two folds meet in turn, and beyond it nothing jumps. Both are distinguished from an ordinary
equilibrium by the same question: along which curve y + s v + s^2 u / 2 in the space of states does the right-hand side
vanish?

    equilibrium   f(y) = 0,
    fold          and to first order in s:    f_y v = 0,              which finds one parameter,
    cusp          and to second order in s:   f_yy v v + f_y u = 0,   which finds two.

With v of a given length and u across it, each is a regular system of equations (Moore & Spence 1980; Spence & Werner
1982), solved by Newton's method (`roots.newton`): to rounding, and with derivatives by the implicit function theorem.
Higher derivatives of f come from differentiating the right-hand side along the curve, for any number of states.

Conservation laws would make f_y singular everywhere; the unknowns are the states that they leave (`balance`).
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ...annotations import Values
from ...errors import Result
from ...initial_value.given import as_arrays, stacked
from ...solvers.roots import newton
from ...system import Inputs, Ode
from ..equilibrium import Given
from .balance import Balance, balance_of

# Steps below this many `roots.LEAST_STEP` of the size of an unknown are rounding: folds have condition numbers.
FLOOR = 100.0
# A state is zero that is this much less than what would matter to any rate.
NOTHING = 1e-10
# Beyond this condition number the equations of the fold do not determine it.
SINGULAR = 1e12


class Fold(eqx.Module):
    """A fold; every number is NaN where `converged` is False. A batch has a leading axis.

    Args:
        parameter: its value at the fold, in its unit.
        states: there, in the units of the model.
        null_vector: the direction in which the two equilibria meet; length 1, its largest component positive.
        converged: whether Newton's method converged to a regular fold.
    """

    parameter: Float[Array, "*batch"]
    states: dict[str, Float[Array, "*batch"]]
    null_vector: dict[str, Float[Array, "*batch"]]
    converged: Bool[Array, "*batch"]

    @property
    def result(self) -> Int[Array, "*batch"]:
        """0, or the code of `RESULTS` that says why there is none."""
        return jnp.where(self.converged, Result.SUCCESS, Result.NO_FOLD)


class Cusp(eqx.Module):
    """A cusp; as `Fold`, with the values of both parameters."""

    parameters: dict[str, Float[Array, "*batch"]]
    states: dict[str, Float[Array, "*batch"]]
    null_vector: dict[str, Float[Array, "*batch"]]
    converged: Bool[Array, "*batch"]


def fold(system: Ode, theta: Values, inputs: Inputs, *, parameter: str, guess: Values) -> Fold:
    """The fold near a guess: two equilibria of the system meet there as one parameter or input moves.

    Traceable and vectorised by `jax.vmap`; differentiable with respect to theta and inputs in both modes and any
    number of times. Not differentiable with respect to the guess, and independent of the value of `parameter` in
    theta or inputs, which is only where the search begins.

    Args:
        theta: every parameter, scalars.
        inputs: what the experimenter sets.
        parameter: the name, in theta or inputs, of what moves until the equilibria meet.
        guess: every state, and optionally the parameter, near the fold; such as a point of `equilibrium_branch`. Its
            numbers say how large each state is, in any unit; one that is zero is scaled by what it changes.

    Returns:
        the fold, to rounding. `converged` is False, and all numbers NaN, where the steps do not settle: there is no
        fold near, or it is none of its own kind (a cusp, a branch point), whose place has no derivative.

    Raises:
        InputError: while tracing, with every finding: names that do not exist or are missing, a right-hand side that
            uses time, a schedule of doses or switches.

    Example:
        >>> from forward_models.bistable_switch import model
        >>> theta, inputs = model.space.nominal() | {"basal": 0.0, "b": 3.0}, {"a": 0.0, "x0": 0.0}
        >>> round(float(fold(model.system, theta, inputs, parameter="a", guess={"x": 0.2}).parameter), 10)
        0.0858683119
    """
    balance, given = balance_of("fold", system, theta, inputs, (parameter,), guess=guess, guessed=(parameter,))
    values, states, null_vector, converged = singular_point(balance, given, as_arrays(guess))
    return Fold(values[parameter], states, null_vector, converged)


def cusp(system: Ode, theta: Values, inputs: Inputs, *, parameters: tuple[str, str], guess: Values) -> Cusp:
    """The cusp near a guess: two folds meet there as two parameters or inputs move; as `fold` otherwise.

    Args:
        parameters: the two names, in theta or inputs.
        guess: every state, and optionally the two parameters.

    Example:
        >>> from forward_models.bistable_switch import model
        >>> theta, inputs = model.space.nominal() | {"b": 1.5}, {"a": 0.0, "x0": 0.0}
        >>> found = cusp(model.system, theta, inputs, parameters=("a", "b"), guess={"x": 0.5})
        >>> round(float(found.parameters["b"]), 10)
        1.5396007178
    """
    names: tuple[str, ...] = tuple(parameters)
    wrong = [] if len(set(names)) == 2 else [f"parameters are {names}; a cusp needs two different ones."]
    balance, given = balance_of("cusp", system, theta, inputs, names, guess=guess, guessed=names, findings=wrong)
    return Cusp(*singular_point(balance, given, as_arrays(guess)))


@partial(jax.jit, static_argnums=0)
def singular_point(balance: Balance, given: Given, guess: dict[str, Array], sizes: Array | None = None):
    """Fold or cusp, for one or two parameters: their values, states, null vector, and whether it converged.

    `sizes` `(independent,)` are those of the states, where they are known better than from the guess.
    """
    flow, order = balance.flow, len(balance.parameters)
    fixed, guess = lax.stop_gradient((given, guess))
    current = zip(balance.parameters, balance.values(fixed), strict=True)
    values = jnp.stack([guess.get(name, value) for name, value in current])
    z = stacked(guess, [flow.names[k] for k in balance.independent])
    sizes, scales, normal = _scales(balance, z, values, fixed, sizes)
    start = jnp.concatenate([z / sizes, normal, jnp.zeros((order - 1) * len(z)), values / scales])
    residual, extended = partial(_along_curve, balance), (given, sizes, scales, normal)
    root = newton(residual, start, extended, floor=FLOOR)
    slopes = jax.jacfwd(residual)(jnp.where(root.converged, root.value, start), lax.stop_gradient(extended))
    slopes = slopes / jnp.maximum(jnp.abs(slopes).max(axis=1, keepdims=True), 1e-300)
    slopes = jnp.where(jnp.all(jnp.isfinite(slopes)), slopes, 0.0)
    converged = root.converged & (jnp.linalg.cond(slopes) < SINGULAR)
    curve, values = _split(root.value, sizes, scales)
    y, v = jax.jvp(lambda z: balance.states(z, values, given), (curve[0],), (curve[1],))
    largest = v[jnp.argmax(jnp.abs(v))]
    v = v * jnp.sign(largest) / jnp.linalg.norm(v)
    found = {name: jnp.where(converged, value, jnp.nan) for name, value in zip(balance.parameters, values, strict=True)}
    states, null_vector = (
        {name: jnp.where(converged, row[k], jnp.nan) for k, name in enumerate(flow.names)} for row in (y, v)
    )
    return found, states, null_vector, converged


def _split(unknowns, sizes, scales) -> tuple[Array, Array]:
    """Coefficients of the curve `(order + 1, independent)` and parameters `(order,)`, in the units of the model."""
    order = len(scales)
    return unknowns[:-order].reshape(order + 1, len(sizes)) * sizes, unknowns[-order:] * scales


def _along_curve(balance: Balance, unknowns, extended) -> Array:
    """The right-hand side along y + s v + s^2 u / 2 and its derivatives by s at 0; length of v, and of u along v."""
    given, sizes, scales, normal = extended
    curve, values = _split(unknowns, sizes, scales)

    def rates(s):
        powers = jnp.stack([jnp.ones(()), s, s * s / 2])[: len(curve)]
        return balance.rates(powers @ curve, values, given)

    rows, derivative = [], rates
    for _ in range(len(curve)):
        rows.append(derivative(jnp.zeros(())))
        derivative = jax.jacfwd(derivative)
    return jnp.concatenate([*rows, (curve[1:] / sizes) @ normal - jnp.eye(len(scales))[0]])


def _scales(balance: Balance, z, values, given: Given, sizes) -> tuple[Array, Array, Array]:
    """Sizes of states and parameters, and the direction in which states, in these sizes, are nearest to singular."""
    jacobian, by_parameter = jax.jacfwd(balance.rates, argnums=(0, 1))(z, values, given)
    if sizes is None:
        sizes = _sizes(balance, z, values, jacobian, by_parameter)
    equations = jnp.max(jnp.abs(jacobian) * sizes, axis=1)
    equations = jnp.where(equations > 0, equations, 1.0)
    scaled = jacobian * sizes / equations[:, None]
    # a parameter counts by how far it must move to change a rate as much as a state does
    needed = jnp.min(jnp.where(by_parameter == 0, jnp.inf, equations[:, None] / jnp.abs(by_parameter)), axis=0)
    scales = jnp.abs(values) + jnp.where(jnp.isfinite(needed), needed, 0.0)
    scales = jnp.where(scales > 0, scales, 1.0)
    _, _, directions = jnp.linalg.svd(jnp.where(jnp.isfinite(scaled), scaled, 0.0))
    return sizes, scales, directions[-1]


def _sizes(balance: Balance, z, values, jacobian, by_parameter) -> Array:
    """`(independent,)`: sizes of the states of a guess, whatever their units.

    One that is zero, or to rounding, is as large as it has to be to change a rate as much as another state or parameter
    does. Where nothing else changes any rate that it is in, the tolerances of the system say the size.
    """
    terms = jnp.concatenate([jnp.abs(jacobian * z), jnp.abs(by_parameter * values)], axis=1).max(axis=1)
    matters = jnp.where((jacobian == 0) | (terms[:, None] == 0), jnp.inf, terms[:, None] / jnp.abs(jacobian))
    matters = matters.min(axis=0)
    system = balance.flow.system
    matters = jnp.where(jnp.isfinite(matters), matters, jnp.where(z == 0, system.least_atol / system.rtol, 0.0))
    return jnp.where(jnp.abs(z) > NOTHING * matters, jnp.abs(z), matters)
