"""What a system is given, as arrays, and what is wrong with it, reported before anything is traced for good."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from ..annotations import Values
from ..errors import InputError, nearest
from ..system import Inputs, Ode, State


def as_arrays(values: Mapping) -> dict[str, jax.Array]:
    """Named numbers as arrays, which travel into compiled functions without compiling afresh."""
    return {name: jnp.asarray(value, float) for name, value in values.items()}


def stacked(values: State, names) -> jax.Array:
    """`(names,)`: the named scalars in one row."""
    return jnp.stack([jnp.asarray(values[name], float) for name in names])


def checked(subject: str, system: Ode, theta: Values, inputs: Inputs) -> tuple[Values, Inputs, tuple[str, ...]]:
    """Parameters and inputs as arrays, and the names of the states.

    Args:
        subject: of the error.

    Raises:
        InputError: a parameter that is no number or not one number; one that the system reads and is not given.
    """
    findings, known = [], {}
    for name, value in theta.items():
        try:
            known[name] = jnp.asarray(value, float)
        except (TypeError, ValueError):
            findings.append(f"the parameter {name!r} is {value!r}, not a number.")
            continue
        if known[name].shape != ():
            findings.append(f"the parameter {name!r} has the shape {known[name].shape}; give one number.")
    inputs = as_arrays(inputs)
    names: tuple[str, ...] = ()
    if not findings:
        try:
            start = jax.eval_shape(lambda theta: dict(system.initial(theta, inputs)), known)
            names = tuple(start) if set(start) else ()
            state = {name: jax.ShapeDtypeStruct((), float) for name in start}
            jax.eval_shape(lambda y, theta: dict(system.rhs(jnp.zeros(()), y, theta, inputs)), state, known)
            # the order is that of the author, which tracing sorts
            names = tuple(system.initial(known, inputs))
        except KeyError as error:
            given = [*known, *inputs]
            findings.append(
                f"the system reads {error.args[0]!r}, which is neither a parameter, a state nor an input here; "
                f"{nearest(error.args[0], given)}"
            )
    if findings:
        raise InputError(subject, findings)
    return known, inputs, names
