"""What is counted of a number of molecules: each is seen with some probability, and others are counted by mistake."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float
from scipy.special import gammaln

from ..annotations import Numbers

# True counts whose laws are in memory at once.
BLOCK = 512


def detected(
    probability: Float[Array, "*shape values"],
    detection: Numbers = 1.0,
    background: Numbers = 0.0,
    *,
    observed: int | None = None,
) -> Float[Array, "*shape observed"]:
    """The distribution of the counts that are seen.

    Each molecule is detected by itself (binomial thinning), and a Poisson number of others is added. Counts above the
    last value are left out, as are those that `probability` itself has lost: the sum says how much there is.

    Args:
        probability: of the true counts 0, 1, ... along the last axis.
        detection: probability that a molecule is seen.
        background: mean number of molecules counted by mistake.
        observed: how many counts 0, 1, ... are asked for, at least as many as true ones; default as many.

    Returns:
        probabilities of the observed counts; differentiable in all arguments, also at a detection of zero or one and a
        background of zero.

    Example:
        >>> seen = detected(jnp.array([0.0, 0.0, 1.0]), detection=0.5)
        >>> [round(float(each), 12) for each in seen]
        [0.25, 0.5, 0.25]
    """
    seen = _thinned(probability, jnp.asarray(detection, float))
    return _with_others(seen, jnp.asarray(background, float), observed or probability.shape[-1])


@jax.custom_jvp
def _thinned(probability: Float[Array, "*shape values"], detection: Array) -> Float[Array, "*shape values"]:
    """Each of n molecules seen by itself: sum_n p_n Binomial(n, detection)."""
    size = probability.shape[-1]
    block, parts, firsts = _in_blocks(probability)

    def more(seen, each):
        first, part = each
        return seen + part @ _binomials(first, detection, block, size), None

    seen, _ = lax.scan(more, jnp.zeros_like(probability), (firsts, parts))
    return seen


@_thinned.defjvp
def _thinned_jvp(primals, tangents):
    probability, detection = primals
    # the generating function is that of p at 1 - d + d z: its slope in d is (z - 1) times that of n p_n, one lower
    lower = _behind(probability * np.arange(probability.shape[-1]))
    slope = _moved(_thinned(lower, detection))
    return _thinned(probability, detection), _thinned(tangents[0], detection) + slope * tangents[1]


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _with_others(
    seen: Float[Array, "*shape values"], background: Array, observed: int
) -> Float[Array, "*shape observed"]:
    """A Poisson number added to the counts."""
    block, parts, firsts = _in_blocks(seen)
    counts = np.arange(float(observed))
    added = jnp.exp(_times_log(counts, background) - background - gammaln(counts + 1.0))
    # row i of the table is `added` moved by i places: a row that is one shorter than the period moves by one
    width = observed + block - 1
    table = jnp.broadcast_to(jnp.pad(added, (0, block)), (block, width + 1))
    table = table.reshape(-1)[: block * width].reshape(block, width)

    def more(total, each):
        first, part = each
        here = lax.dynamic_slice_in_dim(total, first, width, axis=-1) + part @ table
        return lax.dynamic_update_slice_in_dim(total, here, first, axis=-1), None

    room = jnp.zeros((*seen.shape[:-1], len(firsts) * block + observed))
    total, _ = lax.scan(more, room, (firsts, parts))
    return total[..., :observed]


@_with_others.defjvp
def _with_others_jvp(observed, primals, tangents):
    seen, background = primals
    found = _with_others(seen, background, observed)
    return found, _with_others(tangents[0], background, observed) + _moved(found) * tangents[1]


def _binomials(first: Array, p: Array, rows: int, columns: int) -> Float[Array, "rows columns"]:
    """The laws of the successes 0, 1, ... among `first` trials of probability `p`, among one more, and so on."""
    trials, successes = first + np.arange(rows)[:, None], np.arange(columns)[None, :]
    inside = successes <= trials
    failures = jnp.where(inside, trials - successes, 0)
    factorials = jnp.asarray(gammaln(np.arange(1.0, columns + rows + 1.0)))
    ways = factorials[trials] - factorials[successes] - factorials[failures]
    law = jnp.exp(ways + _times_log(1.0 * successes, p) + _times_log(1.0 * failures, 1.0 - p))
    return jnp.where(inside, law, 0.0)


def _in_blocks(probability: Float[Array, "*shape values"]) -> tuple[int, Array, np.ndarray]:
    """Counts in a block, the probabilities of each `(blocks, *shape, block)`, and its first count."""
    size = probability.shape[-1]
    blocks = -(-size // BLOCK)
    block = -(-size // blocks)
    padded = jnp.pad(probability, [(0, 0)] * (probability.ndim - 1) + [(0, blocks * block - size)])
    parts = padded.reshape(*probability.shape[:-1], blocks, block)
    return block, jnp.moveaxis(parts, -2, 0), block * np.arange(blocks)


def _behind(values: Float[Array, "*shape values"]) -> Float[Array, "*shape values"]:
    """At each count the value of the next."""
    return jnp.concatenate([values[..., 1:], jnp.zeros_like(values[..., :1])], axis=-1)


def _moved(values: Float[Array, "*shape values"]) -> Float[Array, "*shape values"]:
    """What changes when all counts are one higher."""
    return jnp.concatenate([jnp.zeros_like(values[..., :1]), values[..., :-1]], axis=-1) - values


def _times_log(x: Numbers, y: Numbers) -> Array:
    return jnp.where(x == 0, 0.0, x * jnp.log(jnp.where(x == 0, 1.0, y)))
