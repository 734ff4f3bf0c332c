"""How wrong a homogenised profile is because cells have a size, from the wall law alone, without a resolved solve."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..annotations import Numbers
from ..errors import InputError
from .checks import positive_finding
from .wall_law import WallLaw


class HomogenisationError(NamedTuple):
    """Relative errors of c_0 = exp(-x / decay_length) behind a wall; all to first order in cell size / decay length.

    Args:
        profile: of the concentration in the mean square over the half space.
        mean: of its mean over whole cells away from the wall, and of the flux through the wall; positive where the
            resolved one is higher. This part the shift of the wall takes away.
        oscillation: of the concentration within cells, in the mean square away from the wall: it stays with a shifted
            wall, and goes with the corrector.
    """

    profile: Array
    mean: Array
    oscillation: Array
    error: Array


def homogenisation_error(law: WallLaw, decay_length: Numbers) -> HomogenisationError:
    """How wrong the homogenised profile behind a wall is, estimated from the cell. Traceable and differentiable.

    The resolved concentration is c_0 + (shift + chi + layer) c_0' to first order. Over the decay length sqrt(D_hom / k)
    consumption k lets the concentration fall from the first wall on; it stands for any length over which gradients
    change. Epsilon is the length of a cell relative to it.

    Args:
        law: from `wall_law`.
        decay_length: in the unit of the law's spacing.

    Returns:
        See `HomogenisationError`; to first order, so that a value near one says no more than that scales do not
        separate.

    Raises:
        InputError: if the decay length is not positive.

    Example:
        >>> from uqbench.macroscopic import wall_law
        >>> layers = jnp.where(jnp.arange(8)[:, None] < 4, 1.0, 10.0) * jnp.ones((8, 1))
        >>> error = homogenisation_error(wall_law(layers), 80.0)
        >>> round(float(error.profile), 4), round(float(error.mean), 4)
        (0.0239, -0.0205)
    """
    if finding := positive_finding("decay_length", decay_length):
        raise InputError("homogenisation error", [finding])
    return _estimate(law, jnp.asarray(decay_length, float))


@jax.jit
def _estimate(law: WallLaw, decay_length: Array) -> HomogenisationError:
    count, shift, layer = law.corrector.shape[0], law.shifts[0], law.layers[0]
    step, nodes = law.length / count, layer.shape[0]
    # once the layer has decayed the mean square is that of chi and the shift
    oscillation = jnp.mean(law.corrector**2)
    inner = jnp.concatenate([law.corrector] * -(-nodes // count))[:nodes] + layer + shift
    excess = jnp.mean(inner**2, axis=tuple(range(1, layer.ndim))) - oscillation - shift**2
    weights = jnp.exp(-2 * step * jnp.arange(nodes) / decay_length) * step * 2 / decay_length
    near = jnp.sum(weights.at[0].divide(2) * excess)
    squares = jnp.maximum(oscillation + shift**2 + near, 0.0)
    parts = jnp.sqrt(squares), -shift, jnp.sqrt(oscillation)
    error = (oscillation + shift**2 + jnp.sqrt(law.second)) / decay_length**2
    profile, mean, within = (part / decay_length for part in parts)
    return HomogenisationError(profile, mean, within, error)
