"""Outputs that are increments: what is counted between one time and the next, the first one since the start.

A run that gives them has the start as one more time, and its counted outputs are differences of neighbours.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..design import Design

if TYPE_CHECKING:
    from .description import Model


def from_start(design: Design) -> Design:
    """The design, one or stacked ones, with its start as the first time."""
    times = jnp.concatenate([design.start[..., None], design.times], axis=-1)
    return eqx.tree_at(lambda each: each.times, design, times)


def increments_of(model: "Model", outputs: dict[str, Array]) -> dict[str, Array]:
    """Outputs of one run at the times of a design, from those with the start before them."""
    found = {}
    for name, dims in model.output_dims.items():
        values = outputs[name]
        counted = name in model.increments
        found[name] = jnp.diff(values) if counted else values[1:] if dims[:1] == ("time",) else values
    return found


def column_names(model: "Model", design: Design) -> tuple[str, ...]:
    """The output of each column in which a run is stacked, see `systems.protocol.in_columns`."""
    shapes = model.entry_shapes(design)
    return tuple(name for name, shape in shapes.items() for _ in range(math.prod(shape)))


def increments_of_columns(
    model: "Model", names: Sequence[str], values: Float[Array, "*batch more columns"]
) -> Float[Array, "*batch times columns"]:
    """The same of outputs in one array, whose columns are of the outputs `names`."""
    counted = np.isin(names, model.increments)
    return values[..., 1:, :] - jnp.where(counted, values[..., :-1, :], 0.0)
