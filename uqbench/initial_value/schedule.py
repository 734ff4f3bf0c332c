"""The events of a system whose times are known before the solve: switches and doses in one list."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..system import Inputs, Ode, Theta


def schedule(
    system: Ode, names: tuple[str, ...], theta: Theta, inputs: Inputs
) -> tuple[Float[Array, " events"], Float[Array, "events states"]]:
    """Times of switches and doses, in the author's order, and what each adds to each state."""
    times, dose_amounts = [], []
    if system.switches is not None:
        times.append(_row(system.switches(theta, inputs)))
        dose_amounts.append(jnp.zeros((len(times[-1]), len(names))))
    for name, (when, amount) in ({} if system.doses is None else system.doses(theta, inputs)).items():
        times.append(_row(when))
        amounts = jnp.broadcast_to(jnp.asarray(amount, float), times[-1].shape)
        dose_amounts.append(jnp.zeros((len(amounts), len(names))).at[:, names.index(name)].set(amounts))
    if not times:
        return jnp.zeros(0), jnp.zeros((0, len(names)))
    return jnp.concatenate(times), jnp.concatenate(dose_amounts)


def _row(values) -> Array:
    return jnp.atleast_1d(jnp.asarray(values, float))


def absolute_tolerances(system: Ode, states: tuple[str, ...]) -> np.ndarray:
    """`(states,)`: what the author gave, 0 where the engine finds its own."""
    if isinstance(system.atol, Mapping):
        return np.array([float(system.atol.get(name, 0.0)) for name in states])
    return np.full(len(states), 0.0 if system.atol is None else float(system.atol))
