"""Two-point statistics of a field or a phase on a grid, by the Fourier transform.

Of N cells and lag h the estimate is the mean over all pairs of cells at that lag: on a window the pairs become fewer
with the lag (none is made up), on a torus all cells have a partner at every lag.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..errors import InputError


def two_point(field: Float[Array, "*grid"], *, periodic: bool = False) -> Float[Array, "*lags"]:
    """Mean product of the values at two places, by the lag between them.

    Of a phase (0 or 1) it is the probability S2 that both lie in it (Torquato 2002, Random Heterogeneous Materials,
    section 2.2): S2(0) is the volume fraction.

    Args:
        field: values on a grid. periodic: whether opposite faces meet.

    Returns:
        along each axis lags of 0, 1, ... cells: as many as there are cells where not periodic; where periodic the
        second half are negative lags.

    Example:
        >>> two_point(jnp.array([1.0, 0.0, 1.0])).round(6).tolist()
        [0.666667, 0.0, 1.0]
    """
    shape = field.shape
    size = shape if periodic else tuple(2 * cells for cells in shape)
    sums = jnp.fft.irfftn(jnp.abs(jnp.fft.rfftn(field, s=size)) ** 2, s=size)
    if periodic:
        return sums / field.size
    return sums[tuple(slice(cells) for cells in shape)] / _pairs(shape)


def variogram(field: Float[Array, "*grid"], axis: int, lags: Sequence[int]) -> Float[Array, " lags"]:
    """Half the mean square difference of cells that are some lag apart along an axis.

    Of a stationary field of variance v and correlation c it is v (1 - c(h)) in the mean; unlike a covariance it needs
    no mean of the field and is unbiased on any window.

    Args:
        field: values on a grid. axis: along which. lags: in cells.

    Raises:
        InputError: with each lag that is not shorter than the grid.

    Example:
        >>> variogram(jnp.array([0.0, 1.0, 2.0]), 0, [1, 2]).tolist()
        [0.5, 2.0]
    """
    if not -field.ndim <= axis < field.ndim:
        raise InputError("variogram", [f"the axis is {axis} of a field of the shape {field.shape}."])
    cells = field.shape[axis]
    if wrong := [f"the lag {lag} is outside a grid of {cells} cells along axis {axis}; give 0 to {cells - 1}."
                 for lag in lags if not 0 <= lag < cells]:  # fmt: skip
        raise InputError("variogram", wrong)
    rows = jnp.moveaxis(field, axis, 0)
    return jnp.stack([0.5 * jnp.mean((rows[lag:] - rows[: cells - lag]) ** 2) for lag in lags])


def window_means(field: Float[Array, "*grid"], cells: Sequence[int]) -> Float[Array, "*windows"]:
    """Means over windows side by side; what is left at the far ends of the grid belongs to none.

    Args:
        field: values on a grid. cells: of a window along each axis.

    Raises:
        InputError: a window larger than the sample, along each axis where it is.

    Example:
        >>> window_means(jnp.arange(5.0), [2]).tolist()
        [0.5, 2.5]
    """
    findings = []
    if np.shape(cells) != (field.ndim,):
        findings.append(f"the window is {cells!r} and the field has {field.ndim} axes; give a size for each.")
    else:
        findings += [
            f"the window is larger than the sample along axis {axis}: {window} cells of {whole}; give 1 to {whole}."
            for axis, (window, whole) in enumerate(zip(cells, field.shape, strict=True))
            if not 1 <= window <= whole
        ]
    if findings:
        raise InputError("windows", findings)
    counts = [whole // window for window, whole in zip(cells, field.shape, strict=True)]
    inner = field[tuple(slice(count * window) for count, window in zip(counts, cells, strict=True))]
    pairs = [part for count, window in zip(counts, cells, strict=True) for part in (count, window)]
    return jnp.mean(inner.reshape(pairs), axis=tuple(2 * axis + 1 for axis in range(field.ndim)))


def _pairs(shape: tuple[int, ...]) -> np.ndarray:
    """How many pairs of cells there are at each lag."""
    pairs = np.ones(())
    for cells in shape:
        pairs = np.multiply.outer(pairs, np.arange(cells, 0, -1))
    return pairs
