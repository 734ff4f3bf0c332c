"""Folds and cusps of equilibria: where a switch lets go, and where it ceases to be one.

At a fold two equilibria meet and vanish as a parameter moves: the state has to jump. At a cusp, a point in the plane
of two parameters, two folds meet in turn, and beyond it nothing jumps. Both are told from an ordinary equilibrium by
the same question: along which curve y + s v + s^2 u / 2 in the space of states does the right-hand side vanish?

    equilibrium   f(y) = 0,
    fold          and to first order in s:    f_y v = 0,              which finds one parameter,
    cusp          and to second order in s:   f_yy v v + f_y u = 0,   which finds two.

With v of a given length and u across it, each is a regular system of equations (Moore & Spence 1980; Spence & Werner
1982), solved by Newton's method (`roots.newton`): to rounding, and with derivatives by the implicit function theorem.
Higher derivatives of f come from differentiating the right-hand side along the curve, for any number of states.

Conservation laws would make f_y singular everywhere. So the unknowns are the states without one for each law, which
follows from the others and the totals of the start (`Balance`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from ...errors import InputError, nearest
from ...system import Inputs, Ode, Theta
from ..conservation import conservation_laws
from ..equilibrium import Flow, Given
from ..roots import newton
from ..sparse_lu import dependencies

# Steps below this many `roots.LEAST_STEP` of the size of an unknown are rounding: folds have condition numbers.
FLOOR = 100.0
# Beyond this condition number the equations of the fold do not determine it.
SINGULAR = 1e12


class Fold(eqx.Module):
    """A fold; every number is NaN where `converged` is False. A batch has a leading axis.

    Args:
        parameter: its value at the fold, in its unit.
        states: there, in the units of the model.
        null_vector: the direction in which the two equilibria meet; length 1, its largest component positive.
        converged: whether Newton's method settled on a regular fold.
    """

    parameter: Float[Array, "*batch"]
    states: dict[str, Float[Array, "*batch"]]
    null_vector: dict[str, Float[Array, "*batch"]]
    converged: Bool[Array, "*batch"]


class Cusp(eqx.Module):
    """A cusp; as `Fold`, with the values of both parameters."""

    parameters: dict[str, Float[Array, "*batch"]]
    states: dict[str, Float[Array, "*batch"]]
    null_vector: dict[str, Float[Array, "*batch"]]
    converged: Bool[Array, "*batch"]


def fold(system: Ode, theta: Theta, inputs: Inputs, *, parameter: str, guess: Mapping[str, Array]) -> Fold:
    """The fold near a guess: two equilibria of the system meet there as one parameter or input moves.

    Traceable and vectorised by `jax.vmap`; differentiable with respect to theta and inputs in both modes and any
    number of times. Not differentiable with respect to the guess, and independent of the value of `parameter` in
    theta or inputs, which is only where the search begins.

    Args:
        theta: every parameter, scalars.
        inputs: what the experimenter sets.
        parameter: the name, in theta or inputs, of what moves until the equilibria meet.
        guess: every state, and optionally the parameter, near the fold; such as a point of `equilibrium_branch`.

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
    values, states, null_vector, converged = singular_point(balance, given, _numbers(guess))
    return Fold(values[parameter], states, null_vector, converged)


def cusp(system: Ode, theta: Theta, inputs: Inputs, *, parameters: tuple[str, str], guess: Mapping[str, Array]) -> Cusp:
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
    parameters = tuple(parameters)
    wrong = [] if len(set(parameters)) == 2 else [f"parameters are {parameters}; a cusp needs two different ones."]
    balance, given = balance_of(
        "cusp", system, theta, inputs, parameters, guess=guess, guessed=parameters, findings=wrong
    )
    return Cusp(*singular_point(balance, given, _numbers(guess)))


@dataclass(frozen=True)
class Balance:
    """The equations rhs = 0 in those states that no conservation law gives from the others.

    Args:
        flow: the system as functions of rows of numbers.
        parameters: names, in theta or inputs, of what is unknown beside the states.
    """

    flow: Flow
    parameters: tuple[str, ...]

    @cached_property
    def dependent(self) -> tuple[int, ...]:
        """One state for each law, in which that law alone has a coefficient (laws are in echelon form)."""
        laws = np.asarray(self.flow.laws).reshape(-1, len(self.flow.names))
        alone = (laws != 0).sum(axis=0) == 1
        return tuple(int(np.argmax(np.where(alone, np.abs(law), -1.0))) for law in laws)

    @cached_property
    def independent(self) -> tuple[int, ...]:
        """The other states: the unknowns, in this order."""
        return tuple(k for k in range(len(self.flow.names)) if k not in self.dependent)

    def at(self, values, given: Given) -> Given:
        """What is given, with these values `(parameters,)` of the unknown ones."""
        theta, inputs = given
        for name, value in zip(self.parameters, values, strict=True):
            theta, inputs = ({**part, name: value} if name in part else part for part in (theta, inputs))
        return theta, inputs

    def states(self, z, values, given: Given) -> Array:
        """All states from the independent ones `(independent,)`; the totals are those of the start."""
        if not self.dependent:
            return z
        weights = self.flow.weights()
        y = jnp.zeros(len(self.flow.names)).at[jnp.array(self.independent)].set(z)
        left = weights @ (self.flow.start(self.at(values, given)) - y)
        return y.at[jnp.array(self.dependent)].set(left / weights[jnp.arange(len(left)), jnp.array(self.dependent)])

    def rates(self, z, values, given: Given) -> Array:
        """`(independent,)`: time derivatives of the independent states."""
        slope = self.flow.slope(self.states(z, values, given), self.at(values, given))
        return slope[jnp.array(self.independent)]

    def values(self, given: Given) -> Array:
        """`(parameters,)`: what is given for them."""
        theta, inputs = given
        return jnp.stack([theta[name] if name in theta else inputs[name] for name in self.parameters])


def balance_of(
    subject: str, system: Ode, theta: Theta, inputs: Inputs, parameters: Sequence[str], *, guess=None,
    guessed: Sequence[str] = (), findings: Sequence[str] = (), reserved: Sequence[str] = (),
) -> tuple[Balance, Given]:  # fmt: skip
    """The equations of equilibrium and what is given as arrays.

    Args:
        subject: of the error.
        guess: states by name. guessed: what else may be in it.
        findings: what the caller has found already. reserved: names that no state or parameter may have.

    Raises:
        InputError: with the findings of the caller and all that is wrong besides.
    """
    given = tuple({name: jnp.asarray(value, float) for name, value in part.items()} for part in (theta, inputs))
    theta, inputs = given
    findings = [*findings]
    known = {**theta, **inputs}
    for name in parameters:
        if name not in known:
            findings.append(f"{name!r} is neither a parameter nor an input; {nearest(name, [*known])}")
        elif known[name].shape != ():
            findings.append(f"{name!r} has the shape {known[name].shape}; what moves has to be one number.")
    if system.stops:
        findings.append(
            "the system has a schedule, so it has no equilibria; describe the constant conditions, with "
            "dataclasses.replace(system, doses=None, switches=None)."
        )
    names, balance = (), None
    try:
        names = tuple(system.initial(theta, inputs))
        # a system can be looked at only once what is to move is a number
        if all(name in known and known[name].shape == () for name in parameters):
            laws = tuple(map(tuple, conservation_laws(system, names, theta, inputs).tolist()))
            # nothing is integrated over time, so the flow needs no design
            balance = Balance(Flow(system, names, laws, jax.tree.structure(None)), tuple(parameters))
            findings += _dependence_findings(balance, given)
    except KeyError as error:
        findings.append(f"the system reads {error.args[0]!r}, which is not given; {nearest(error.args[0], [*known])}")
    if guess is not None and names:
        findings += [f"the guess has no value for the state {name!r}." for name in names if name not in guess]
        allowed = [*names, *guessed]
        findings += [f"the guess names {name!r}; {nearest(name, allowed)}" for name in guess if name not in allowed]
    findings += [f"{name!r} is both a state and a parameter; rename one." for name in parameters if name in names]
    clash = [name for name in (*names, *parameters) if name in reserved]
    findings += [f"{name!r} is the name of a column of the result; rename the state or parameter." for name in clash]
    if findings:
        raise InputError(subject, findings)
    return balance, given


def _dependence_findings(balance: Balance, given: Given) -> list[str]:
    """Whether time drives the system, and whether it feels what is to move."""
    flow, count = balance.flow, len(balance.flow.names)

    def read(t, y, values):
        theta, inputs = balance.at(values, given)
        rates = flow.system.rhs(t, dict(zip(flow.names, y, strict=True)), theta, inputs)
        start = flow.system.initial(theta, inputs)
        return [jnp.asarray(part[name], float) for part in (rates, start) for name in flow.names]

    scalar = jax.ShapeDtypeStruct((), float)
    closed = jax.make_jaxpr(read)(scalar, [scalar] * count, [scalar] * len(balance.parameters))
    rows = dependencies(closed.jaxpr, [frozenset([k]) for k in range(1 + count + len(balance.parameters))])
    rates, start = frozenset().union(*rows[:count]), frozenset().union(*rows[count:])
    # the start acts through its conserved totals only
    felt = rates | start if flow.laws else rates
    findings = []
    if 0 in rates:
        findings.append(
            "the right-hand side uses the time, so it has no equilibria; give the constant conditions as inputs."
        )
    return findings + [
        f"neither the right-hand side nor a conserved total depends on {name!r}; name something that moves equilibria."
        for k, name in enumerate(balance.parameters)
        if 1 + count + k not in felt
    ]


def _numbers(guess: Mapping[str, Array]) -> dict[str, Array]:
    return {name: lax.stop_gradient(jnp.asarray(value, float)) for name, value in guess.items()}


@partial(jax.jit, static_argnums=0)
def singular_point(balance: Balance, given: Given, guess: dict[str, Array]):
    """Fold or cusp, for one or two parameters: their values, states, null vector, and whether it converged."""
    flow, order = balance.flow, len(balance.parameters)
    fixed = lax.stop_gradient(given)
    current = zip(balance.parameters, balance.values(fixed), strict=True)
    values = jnp.stack([guess.get(name, value) for name, value in current])
    z = jnp.stack([guess[flow.names[k]] for k in balance.independent])
    sizes, scales, normal = _scales(balance, z, values, fixed)
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


def _scales(balance: Balance, z, values, given: Given) -> tuple[Array, Array, Array]:
    """Sizes of states and parameters, and the direction in which states, in these sizes, are nearest to singular."""
    system = balance.flow.system
    # a guess of zero says nothing of the size
    sizes = jnp.where(z == 0, system.atol / system.rtol, jnp.maximum(jnp.abs(z), system.atol))
    jacobian, by_parameter = jax.jacfwd(balance.rates, argnums=(0, 1))(z, values, given)
    equations = jnp.max(jnp.abs(jacobian) * sizes, axis=1)
    equations = jnp.where(equations > 0, equations, 1.0)
    scaled = jacobian * sizes / equations[:, None]
    # a parameter counts by how far it must move to change a rate as much as a state does
    needed = jnp.min(jnp.where(by_parameter == 0, jnp.inf, equations[:, None] / jnp.abs(by_parameter)), axis=0)
    scales = jnp.abs(values) + jnp.where(jnp.isfinite(needed), needed, 0.0)
    scales = jnp.where(scales > 0, scales, 1.0)
    _, _, directions = jnp.linalg.svd(jnp.where(jnp.isfinite(scaled), scaled, 0.0))
    return sizes, scales, directions[-1]
