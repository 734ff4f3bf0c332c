"""The homogenised problem between two walls: -(D c')' + k c = f with the walls in their place, or shifted."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..annotations import Numbers
from ..errors import InputError
from .checks import consumption_finding, numbers_finding, positive_finding, said


class Profile(NamedTuple):
    """A concentration over the depth.

    Args:
        depth: `(nodes,)` from one wall to the other.
        concentration: `(nodes,)`.
        slope: `(nodes,)`, its derivative by the depth.
    """

    depth: Array
    concentration: Array
    slope: Array


def homogenised_profile(
    diffusivity: Numbers,
    source: Numbers,
    *,
    length: Numbers,
    consumption: Numbers = 0.0,
    walls: Numbers | Sequence[Numbers] = (0.0, 0.0),
    shifts: Numbers | Sequence[Numbers] = (0.0, 0.0),
) -> Profile:
    """The homogenised concentration in a slab, on equal steps of second order. Traceable and differentiable.

    With shifts w the wall law is c - w c' = wall value, c' the slope inwards: to first order the profile vanishes at w
    outside the wall instead of at it. Bad values that are being traced give a profile of NaN.

    Args:
        diffusivity: the effective one across the slab.
        source: amount per volume and time at each node `(nodes,)`, at least three of them.
        length: from wall to wall.
        consumption: rate of first order.
        walls: concentrations `(2,)` at both walls.
        shifts: lengths `(2,)` from `wall_law`, positive outwards, so that a positive one makes the slab longer.

    Returns:
        See `Profile`.

    Raises:
        InputError: with everything that is wrong.

    Example:
        >>> found = homogenised_profile(2.0, jnp.full(5, 4.0), length=2.0)  # c = x (2 - x)
        >>> found.concentration[1:].round(6).tolist(), found.slope.round(6).tolist()
        ([0.75, 1.0, 0.75, 0.0], [2.0, 1.0, 0.0, -1.0, -2.0])
    """
    shape = jnp.shape(source)
    nodes = shape if len(shape) == 1 and shape[0] >= 3 else (3,)
    findings = said(
        positive_finding("diffusivity", diffusivity),
        positive_finding("length", length),
        consumption_finding(consumption),
        numbers_finding("source", source, [nodes], "values at three or more nodes"),
        numbers_finding("walls", walls, [(2,)], "the concentrations at both walls"),
        numbers_finding("shifts", shifts, [(2,)], "the shifts of both walls"),
    )
    if findings:
        raise InputError("homogenised problem", findings)
    return _profile(*(jnp.asarray(each, float) for each in (diffusivity, source, length, consumption, walls, shifts)))


@jax.jit
def _profile(diffusivity, source, length, consumption, walls, shifts) -> Profile:
    nodes = source.shape[0]
    step = length / (nodes - 1)
    conductance = diffusivity / step**2
    inner = jnp.full(nodes - 2, -conductance)
    # half a step at each wall: D times the slope inwards is D (c_1 - c_0) / h - h / 2 (k c_0 - f_0)
    ratio = shifts / step
    half = shifts * step / (2 * diffusivity)
    ends = 1 + ratio + half * consumption
    diagonal = jnp.full(nodes, 2 * conductance + consumption).at[jnp.array([0, -1])].set(ends)
    lower = jnp.concatenate([jnp.zeros(1), inner, -ratio[1:]])
    upper = jnp.concatenate([-ratio[:1], inner, jnp.zeros(1)])
    right = source.at[jnp.array([0, -1])].set(walls + half * source[jnp.array([0, -1])])
    values = jax.lax.linalg.tridiagonal_solve(lower, diagonal, upper, right[:, None])[:, 0]
    sound = (diffusivity > 0) & (length > 0) & (consumption >= 0)
    values = jnp.where(sound, values, jnp.nan)
    return Profile(step * jnp.arange(nodes), values, _slope(values, source, step, consumption, diffusivity))


def _slope(values, source, step, consumption, diffusivity):
    """Central differences, and at the walls the balance of half a step."""
    excess = step / 2 * (consumption * values - source) / diffusivity
    first = (values[1] - values[0]) / step - excess[0]
    last = (values[-1] - values[-2]) / step + excess[-1]
    return jnp.concatenate([first[None], (values[2:] - values[:-2]) / (2 * step), last[None]])
