"""The equations of equilibrium with one or two unknown parameters, and what is wrong with what is asked of them.

Conservation laws would make the slopes of the rates singular everywhere. So the unknowns are the states without one for
each law, which follows from the others and the totals of the start.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...annotations import Values
from ...errors import InputError, nearest
from ...initial_value.array_states import in_scalars
from ...initial_value.given import checked
from ...solvers.sparse_lu import dependencies
from ...system import Inputs, Ode
from ..conservation import conservation_laws
from ..equilibrium import Flow, Given


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
    subject: str, system: Ode, theta: Values, inputs: Inputs, parameters: Sequence[str], *, guess=None,
    guessed: Sequence[str] = (), findings: Sequence[str] = (), reserved: Sequence[str] = (), totals_move: bool = True,
) -> tuple[Balance, Given]:  # fmt: skip
    """The equations of equilibrium and what is given as arrays.

    Args:
        subject: of the error.
        guess: states by name. guessed: what else may be in it.
        findings: what the caller has found already. reserved: names that no state or parameter may have.
        totals_move: whether conserved totals follow the parameters, or are kept.

    Raises:
        InputError: with the findings of the caller and all that is wrong besides.
    """
    findings, names, balance = [*findings], (), None
    system = in_scalars(system, tuple(theta))
    try:
        theta, inputs, names = checked(subject, system, theta, inputs)
    except InputError as error:
        findings += error.findings
    known = {**theta, **inputs}
    findings += [
        f"{name!r} is neither a parameter nor an input; {nearest(name, [*known])}"
        for name in parameters
        if name not in known
    ]
    findings += [
        f"{name!r} has the shape {jnp.shape(inputs[name])}; what moves has to be one number."
        for name in parameters
        if name in inputs and jnp.shape(inputs[name]) != ()
    ]
    if system.scheduled_events:
        findings.append(
            "the system has a schedule, so it has no equilibria; describe the constant conditions, with "
            "dataclasses.replace(system, doses=None, switches=None)."
        )
    # a system can be looked at only once what is to move is a number
    if names and all(name in known and jnp.shape(known[name]) == () for name in parameters):
        laws = tuple(map(tuple, conservation_laws(system, names, theta, inputs).tolist()))
        # nothing is integrated over time, so the flow needs no design
        balance = Balance(Flow(system, names, laws, jax.tree.structure(None)), tuple(parameters))
        findings += _dependence_findings(balance, (theta, inputs), totals_move)
    if guess is not None:
        findings += _guess_findings(guess, names, guessed)
    findings += [f"{name!r} is both a state and a parameter; rename one." for name in parameters if name in names]
    clash = [name for name in (*names, *parameters) if name in reserved]
    findings += [f"{name!r} is the name of a column of the result; rename the state or parameter." for name in clash]
    if findings:
        raise InputError(subject, findings)
    return balance, (theta, inputs)


def _guess_findings(guess, names: Sequence[str], guessed: Sequence[str]) -> list[str]:
    if not isinstance(guess, Mapping):
        return [f"the guess is {guess!r}; give a number for each state by name."]
    findings, allowed = [], [*names, *guessed]
    if names:
        findings += [f"the guess has no value for the state {name!r}." for name in names if name not in guess]
        findings += [f"the guess names {name!r}; {nearest(name, allowed)}" for name in guess if name not in allowed]
    for name, value in guess.items():
        try:
            shape = jnp.asarray(value, float).shape
        except (TypeError, ValueError):
            findings.append(f"the guess of {name!r} is {value!r}, not a number.")
            continue
        if shape != ():
            findings.append(f"the guess of {name!r} has the shape {shape}; give one number, and jax.vmap for more.")
    return findings


def _dependence_findings(balance: Balance, given: Given, totals_move: bool) -> list[str]:
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
    findings = []
    if 0 in rates:
        findings.append(
            "the right-hand side uses the time, so it has no equilibria; give the constant conditions as inputs."
        )
    for k, name in enumerate(balance.parameters, start=1 + count):
        # the start acts through its conserved totals only
        if k in start and k not in rates and flow.laws and not totals_move:
            findings.append(
                f"{name!r} moves conserved totals, through the start, and nothing else; a sweep keeps its totals, "
                "because it is not said to which states the difference would be added. Follow `equilibrium_branch`, "
                "where that does not matter, or write the exchange into the right-hand side."
            )
        elif k not in rates and not (k in start and flow.laws):
            findings.append(
                f"neither the right-hand side nor a conserved total depends on {name!r}; name something that moves "
                "equilibria."
            )
    return findings
