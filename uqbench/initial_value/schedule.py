"""The events of a system whose times are known before the solve: switches and doses in one list."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..annotations import Parameters
from ..system import Inputs, Ode


def schedule(
    system: Ode, names: tuple[str, ...], theta: Parameters, inputs: Inputs
) -> tuple[Float[Array, " events"], Float[Array, "events states"]]:
    """Times of switches and doses, in the author's order, and what each adds to each state."""
    times, dose_amounts = [], []
    if system.switches is not None:
        times.append(_row(system.switches(theta, inputs)))
        dose_amounts.append(jnp.zeros((len(times[-1]), len(names))))
    doses = {} if system.doses is None else system.doses(theta, inputs)
    # states that are dosed by one row of times (the entries of an array are) share its events
    rows = {id(when): when for when, _ in doses.values()}
    for row, when in rows.items():
        times.append(_row(when))
        nothing = jnp.zeros(times[-1].shape)
        amounts = {
            name: jnp.broadcast_to(jnp.asarray(amount, float), nothing.shape)
            for name, (own, amount) in doses.items()
            if id(own) == row
        }
        dose_amounts.append(jnp.stack([amounts.get(name, nothing) for name in names], axis=1))
    if not times:
        return jnp.zeros(0), jnp.zeros((0, len(names)))
    return jnp.concatenate(times), jnp.concatenate(dose_amounts)


def events_between(
    system: Ode, names: tuple[str, ...], theta: Parameters, inputs: Inputs, first: float, last: float
) -> dict[float, np.ndarray]:
    """Scheduled event times in [`first`, `last`), rising, and what each adds to the states `(states,)`."""
    times, added = (np.asarray(rows) for rows in schedule(system, names, theta, inputs))
    inside = np.unique(times[(times >= first) & (times < last)])
    return {float(time): added[times == time].sum(axis=0) for time in inside}


def _row(values) -> Array:
    return jnp.atleast_1d(jnp.asarray(values, float))


def absolute_tolerances(system: Ode, states: tuple[str, ...]) -> np.ndarray:
    """`(states,)`: what the author gave, 0 where the engine finds its own."""
    if isinstance(system.atol, Mapping):
        return np.array([float(system.atol.get(name, 0.0)) for name in states])
    return np.full(len(states), 0.0 if system.atol is None else float(system.atol))
