"""What each of many independent rows adds to a log density, to its gradient and to the information."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..annotations import AnyArray
from .censoring import information, log_density
from .noise_groups import NoiseGroup
from .protocol import Scores, whole_scores
from .roots import ROUNDING, small_eigh


class RowScores(NamedTuple):
    """By row; see `Scores` for what their sums are.

    Args:
        density: log density, -inf where the solve fails.
        gradient: by the coordinates.
        residual, root: r and J of the row, in which its arguments are independent of one another.
    """

    density: Float[Array, " rows"]
    gradient: Float[Array, "rows k"]
    residual: Float[Array, "rows arguments"]
    root: Float[Array, "rows arguments k"]


def row_scores(
    group: NoiseGroup,
    values: Float[AnyArray, " rows"],
    found: tuple[dict[str, Array], Array],
    slopes: Float[Array, "rows arguments k"],
) -> RowScores:
    """Those of the rows of a group.

    Args:
        values: what was measured.
        found: what the noise refers to, name -> `(rows,)`, and whether the solves succeeded.
        slopes: how the arguments of the noise answer to the coordinates.
    """
    known, ok = found
    arguments = group.noise.resolve(known)
    noise = type(group.noise)(**{name: name for name in arguments})
    given = {name: jnp.broadcast_to(value, (len(group.run),)) for name, value in arguments.items()}
    density, back = jax.vjp(lambda given: log_density(noise, values, given, group.limits), given)
    score = jnp.stack([back(jnp.ones_like(density))[0][name] for name in given], axis=1)
    weights = information(noise, values, given, group.limits)
    weights = jnp.where(jnp.isfinite(weights), weights, 0.0)
    # each argument in units of what a measurement tells of it: they may differ by orders of magnitude
    unit = jnp.sqrt(jnp.clip(jnp.diagonal(weights, axis1=1, axis2=2), 0.0))
    inverse = jnp.where(unit > 0, 1.0 / jnp.where(unit > 0, unit, 1.0), 0.0)
    told_of, vectors = small_eigh(inverse[:, :, None] * weights * inverse[:, None, :])
    told = told_of > ROUNDING * jnp.max(told_of, axis=1, keepdims=True)
    size = jnp.sqrt(jnp.where(told, told_of, 1.0))
    residual = jnp.where(told, jnp.einsum("rij,ri->rj", vectors, score * inverse) / size, 0.0)
    root = jnp.where(told, size, 0.0)[..., None] * (jnp.swapaxes(vectors, 1, 2) @ (unit[..., None] * slopes))
    return RowScores(jnp.where(ok, density, -jnp.inf), jnp.einsum("ri,rik->rk", score, slopes), residual, root)


def joined(parts: Sequence[RowScores]) -> RowScores:
    """The rows of several groups, one after the other; arguments that a family does not have tell nothing."""
    most = max(part.residual.shape[1] for part in parts)

    def padded(part: RowScores) -> RowScores:
        more = (0, most - part.residual.shape[1])
        residual, root = jnp.pad(part.residual, ((0, 0), more)), jnp.pad(part.root, ((0, 0), more, (0, 0)))
        return part._replace(residual=residual, root=root)

    return RowScores(*(jnp.concatenate(each) for each in zip(*map(padded, parts), strict=True)))


def of_rows(rows: RowScores) -> Scores:
    """The scores of all rows together."""
    k = rows.gradient.shape[-1]
    return whole_scores(
        Scores(jnp.sum(rows.density), rows.gradient.sum(axis=0), rows.residual.ravel(), rows.root.reshape(-1, k))
    )
