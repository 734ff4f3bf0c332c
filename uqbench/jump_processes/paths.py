"""What all simulations of this package share: their result, the checks of what they are given, and small helpers."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_batching import custom_vmap
from jax.typing import ArrayLike

from ..errors import InputError
from .streams import Streams

# Propensities of one trajectory: (time, counts of each species as scalars[, what is its own]) -> a scalar for each
# reaction.
Rates = Callable[..., Sequence[ArrayLike]]
# Numbers of a stream are counted in 32 bits.
MOST_EVENTS = 2**32 - 2**16


class Paths(NamedTuple):
    """Trajectories on a grid of times.

    Attributes:
        counts: (trajectories, times, species), NaN at times that a trajectory did not reach.
        code: (trajectories,), members of `uqbench.errors.Result`: SUCCESS, BAD_PROPENSITY or EVENT_LIMIT.
        events: (trajectories,), reactions fired up to the last time reached (leaps and steps where there are such).
    """

    counts: Array
    code: Array
    events: Array


def propensities(rates: Rates, time: Array, counts: tuple[Array, ...], own: tuple = ()) -> tuple[Array, ...]:
    """The propensities of many trajectories, one array for each reaction, without derivatives.

    Args:
        rates: propensities of one trajectory.
        time: of each trajectory (trajectories,).
        counts: for each species (trajectories,).
        own: further arguments of `rates`, trees of arrays (trajectories, ...).
    """

    def of_one(time, counts, own):
        return tuple(lax.stop_gradient(jnp.asarray(rate, jnp.float64)) for rate in rates(time, counts, *own))

    return jax.vmap(of_one)(time, counts, own)


def possible(counts: Sequence[Array], rates: Sequence[Array]) -> Array:
    """Whether no count and no propensity is negative and the sum of propensities is finite, elementwise.

    Signs are read from the bits of the numbers, several times faster than by comparisons; what is and-ed takes the sign
    from -0.0 alone. (To add 0.0 would do it as well, but compilers leave that out.)
    """
    signs = jnp.zeros_like(counts[0], jnp.int64)
    for value in (*counts, *rates):
        bits = lax.bitcast_convert_type(value, jnp.int64)
        signs = signs | (bits & (bits - 1))
    return (signs >= 0) & (running_sums(rates)[-1] < jnp.inf)


def running_sums(values: Sequence[Array]) -> list[Array]:
    """v0, v0 + v1, ..., elementwise."""
    sums = [values[0]]
    for value in values[1:]:
        sums.append(sums[-1] + value)
    return sums


def changed(counts: tuple[Array, ...], reaction: Array, changes: np.ndarray) -> tuple[Array, ...]:
    """Counts after a reaction of each trajectory; a number beyond the last reaction changes nothing.

    A sum over the reactions of each species without branches or look-ups, which processors do for many at once.
    """
    result = []
    for species, count in enumerate(counts):
        for which in np.flatnonzero(changes[:, species]):
            count = count + jnp.where(reaction == which, float(changes[which, species]), 0.0)
        result.append(count)
    return tuple(result)


@custom_vmap
def any_anywhere(flags: Array) -> Array:
    """Whether one flag is set, in any member of a batch: a loop that asks this stays one loop under `jax.vmap`."""
    return jnp.any(flags)


@any_anywhere.def_vmap
def _any_in_batch(_, batched, flags):
    return any_anywhere(flags), False


def depends_on_time(rates: Rates, species: int) -> bool:
    """Whether a propensity depends on time, from the traced function: False is certain, True may be too careful."""
    scalar = jax.ShapeDtypeStruct((), jnp.float64)
    traced = jax.make_jaxpr(lambda t, y: tuple(jnp.asarray(rate) for rate in rates(t, y)))(scalar, (scalar,) * species)
    reached = {traced.jaxpr.invars[0]}
    for equation in traced.jaxpr.eqns:
        if any(not hasattr(v, "val") and v in reached for v in equation.invars):
            reached.update(equation.outvars)
    return any(not hasattr(v, "val") and v in reached for v in traced.jaxpr.outvars)


def checked(
    rates: Rates, changes: ArrayLike, start: ArrayLike, times: ArrayLike, streams: Streams, max_events: int
) -> tuple[np.ndarray, Array, Array]:
    """Changes, start and times as arrays of the right kind.

    What is traced cannot be looked at; numbers that are known are.

    Raises:
        InputError: shapes that do not fit, changes that are not whole, a start that is no count, times that do not
            rise, a number of propensities that is not that of the rows of changes.
    """
    changes, start, times = np.asarray(changes), jnp.asarray(start, jnp.float64), jnp.asarray(times, jnp.float64)
    findings = []
    if changes.ndim != 2 or not changes.size or not np.all(changes == np.round(changes)):
        findings.append(f"changes have the shape {changes.shape}; give whole numbers, (reactions, species).")
    if start.ndim != 2 or start.shape[1:] != changes.shape[1:]:
        findings.append(f"start has the shape {start.shape}; give counts, (trajectories, species), like changes.")
    elif streams.word.shape != start.shape[:1]:
        findings.append(f"there are streams of shape {streams.word.shape} for {start.shape[0]} trajectories.")
    if times.ndim != 1 or not times.size:
        findings.append(f"times have the shape {times.shape}; give one or more, (times,).")
    elif not isinstance(times, jax.core.Tracer) and not np.all(np.diff(np.asarray(times), prepend=-1e-300) > 0):
        findings.append("times must rise from 0 or later.")
    known = np.zeros(0) if isinstance(start, jax.core.Tracer) else np.asarray(start)
    if not np.all((known >= 0) & (known == np.round(known))):
        findings.append("start has counts that are negative or not whole.")
    if not 0 < max_events <= MOST_EVENTS:
        findings.append(f"max_events is {max_events}; give a number from 1 to {MOST_EVENTS}.")
    if not findings:
        scalar = jax.ShapeDtypeStruct((), jnp.float64)
        given = jax.eval_shape(lambda t, y: tuple(map(jnp.asarray, rates(t, y))), scalar, (scalar,) * changes.shape[1])
        if len(given) != len(changes):
            findings.append(f"rates gives {len(given)} propensities for {len(changes)} rows of changes.")
        if wrong := [number for number, rate in enumerate(given) if rate.shape]:
            findings.append(f"propensities {wrong} are not scalars.")
    if findings:
        raise InputError("simulation of a jump process", findings)
    return changes, lax.stop_gradient(start), lax.stop_gradient(times)
