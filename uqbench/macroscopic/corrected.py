"""The two-scale approximation: a macroscopic profile with the corrector of the cell and the layers at the walls."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..errors import InputError
from .homogenised import Profile
from .slabs import along, repeated_nodes
from .wall_law import WallLaw


class CorrectedField(NamedTuple):
    """What `corrected_field` finds.

    Args:
        corrector: `(nodes, ny[, nz])`, c + chi c', which misses the wall values by the size of the cells.
        layers: the same with the layers of both walls added, which takes the wall values where the profile's walls are
            shifted.
    """

    corrector: Array
    layers: Array


@jax.jit
def corrected_field(profile: Profile, law: WallLaw) -> CorrectedField:
    """The first-order two-scale approximation at the nodes of the resolved problem. Traceable and differentiable.

    Args:
        profile: from `homogenised_profile` at the nodes of the slab, whole cells; its length in the unit of the law.
        law: from `wall_law`.

    Returns:
        See `CorrectedField`.

    Raises:
        InputError: if the profile's nodes make no whole cells.
    """
    count, d = law.corrector.shape[0], law.corrector.ndim
    cells, rest = divmod(profile.depth.size - 1, count)
    if rest or not cells:
        finding = f"the profile has {profile.depth.size} nodes; give n * {count} + 1 of them for a slab of n cells."
        raise InputError("corrected field", [finding])
    concentration, slope = along(profile.concentration, d), along(profile.slope, d)
    corrector = repeated_nodes(law.corrector, cells)
    near, far = (_reaching(layer, profile.depth.size) for layer in law.layers)
    return CorrectedField(concentration + corrector * slope, concentration + (corrector + near + far[::-1]) * slope)


def _reaching(layer: Array, nodes: int) -> Array:
    """A layer over the whole slab: nothing where it has decayed."""
    missing = max(nodes - layer.shape[0], 0)
    return jnp.pad(layer[:nodes], [(0, missing)] + [(0, 0)] * (layer.ndim - 1))


def scaled(law: WallLaw, factor) -> WallLaw:
    """The same medium with lengths times a factor."""
    lengths = ("corrector", "shifts", "layers", "error", "length")
    return law._replace(**{name: factor * getattr(law, name) for name in lengths}, second=factor**4 * law.second)
