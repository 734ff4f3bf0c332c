"""A field that diffuses between walls that nothing crosses, by the exact exponential of finite volumes."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.scipy.fft import dctn, idctn
from jaxtyping import Array, Float


def diffused(
    field: Float[Array, "*grid"], diffusivity: float | Array, time: float | Array, extent: Sequence[float]
) -> Float[Array, "*grid"]:
    """The field after a time of diffusion: the sum stays, and what is not negative stays so, whatever the time.

    The finite volumes' operator is diagonal in cosines, so that no step is too long. Sums of cosines leave about 1e-16
    of the largest value everywhere: what grows exponentially ahead of a front is made of that rounding once it has
    grown by a factor of 1e15.

    Args:
        field: in the cells of a grid. diffusivity, time, extent: of the box, in matching units.

    Example:
        >>> diffused(jnp.array([1.0, 0.0]), 1.0, 1e9, (1.0,)).round(9).tolist()
        [0.5, 0.5]
    """
    rate = jnp.zeros(field.shape)
    for axis, (count, size) in enumerate(zip(field.shape, extent, strict=True)):
        wave = (2 - 2 * np.cos(np.pi * np.arange(count) / count)) * (count / size) ** 2
        rate = rate + wave.reshape([-1 if a == axis else 1 for a in range(field.ndim)])
    return idctn(dctn(field, norm="ortho") * jnp.exp(-diffusivity * time * rate), norm="ortho")
