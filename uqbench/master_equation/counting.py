"""What is counted of a number of molecules: each is seen with some probability, and others are counted by mistake."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ..annotations import Numbers


def detected(
    probability: Float[Array, "*shape values"], detection: Numbers = 1.0, background: Numbers = 0.0
) -> Float[Array, "*shape values"]:
    """The distribution of the counts that are seen.

    Each molecule is detected by itself (binomial thinning), and a Poisson number of others is added. Counts above the
    last value are left out, as are those that `probability` itself has lost: the sum says how much there is.

    Args:
        probability: of the true counts 0, 1, ... along the last axis.
        detection: probability that a molecule is seen.
        background: mean number of molecules counted by mistake.

    Returns:
        probabilities of the observed counts 0, 1, ..., as many; differentiable in all arguments, also at a detection of
        zero or one and a background of zero.

    Example:
        >>> seen = detected(jnp.array([0.0, 0.0, 1.0]), detection=0.5)
        >>> [round(float(each), 12) for each in seen]
        [0.25, 0.5, 0.25]
    """
    size = probability.shape[-1]
    detection, background = jnp.asarray(detection, float), jnp.asarray(background, float)

    def one_more(seen, each):
        # the sum over n of p_n (1 - d + d shift)^n, from its end
        ahead = jnp.concatenate([jnp.zeros_like(seen[..., :1]), seen[..., :-1]], axis=-1)
        seen = (1.0 - detection) * seen + detection * ahead
        return seen.at[..., 0].add(each), None

    seen, _ = lax.scan(one_more, jnp.zeros_like(probability), jnp.moveaxis(probability, -1, 0), reverse=True)
    ratios = jnp.concatenate([jnp.exp(-background)[None], background / np.arange(1.0, size)])
    added = jnp.cumprod(ratios)
    shift = np.arange(size)[None, :] - np.arange(size)[:, None]
    return seen @ jnp.where(shift >= 0, added[np.maximum(shift, 0)], 0.0)
