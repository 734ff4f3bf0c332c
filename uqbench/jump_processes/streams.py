"""Streams of random numbers that are functions of a counter (Salmon et al. 2011, doi:10.1145/2063384.2063405).

Number `i` of a stream is Philox-2x32-10 of the counter `(i, word)` under `key`: a permutation of 64-bit numbers, which
passes the batteries of statistical tests (BigCrush) across counters as well as across keys. Nothing is kept between
numbers, so a trajectory finds its own wherever and beside whomever it is simulated.

A stream is the pair `(word, key)`; those of one call are images of the trajectory's number under one permutation and
therefore never the same, those of different calls coincide with the probability 2^-64 for each pair.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

# Multiplier, increment of the key and number of rounds of Philox-2x32-10.
MULTIPLIER = np.uint64(0xD256D193)
KEY_STEP = np.uint32(0x9E3779B9)
ROUNDS = 10
LOWER_HALF = np.uint64(0xFFFFFFFF)
LAST_BITS = np.uint64(0xFFFFF)
# Bits of doubles: those of 1.0 and of 2^52, above whose fraction a whole number can be laid; the fraction.
ONE, TWO_52 = np.uint64(0x3FF0000000000000), np.uint64(0x4330000000000000)
FRACTION = np.uint64(0x000FFFFFFFFFFFFF)
# Bits of the square root of 1/2, and what takes it to 1.0.
ROOT_HALF = np.uint64(0x3FE6A09E667F3BCD)
TO_ONE = ONE - ROOT_HALF
# The series of log((1 + s) / (1 - s)) / s in s^2 with |s| <= .172, to 3e-15.
LOGARITHM = [2.0 / odd for odd in range(1, 20, 2)]
LOG_2 = float(np.log(2.0))


class Streams(NamedTuple):
    """Streams, one for each element: `word` and `key` are arrays of uint32 of the same shape."""

    word: Array
    key: Array


def philox(counter: tuple[ArrayLike, ArrayLike], key: ArrayLike) -> tuple[Array, Array]:
    """Philox-2x32-10: two words for each counter of two words, uint32, elementwise.

    Example:
        >>> [hex(word) for word in philox((0, 0), 0)]
        ['0xff1dae59', '0x6cd10df2']
    """
    left, right, key = (jnp.asarray(word, jnp.uint32) for word in (*counter, key))
    for _ in range(ROUNDS):
        product = left.astype(jnp.uint64) * MULTIPLIER
        left, right = (product >> np.uint64(32)).astype(jnp.uint32) ^ key ^ right, product.astype(jnp.uint32)
        key = key + KEY_STEP
    return left, right


def trajectory_streams(key: ArrayLike, trajectories: int, first: ArrayLike = 0) -> Streams:
    """The streams of trajectories `first`, `first + 1`, ...

    Args:
        key: two words of uint32, such as `jax.random.key_data(jax.random.key(seed))`.
        trajectories: how many.
        first: number of the first one; the stream of a trajectory depends on its number and on `key` alone.
    """
    high, low = jnp.asarray(key, jnp.uint32)
    numbers = jnp.asarray(first, jnp.uint32) + jnp.arange(trajectories, dtype=jnp.uint32)
    return Streams(*philox((numbers, high), low))


def substreams(streams: Streams, number: ArrayLike) -> Streams:
    """Stream `number` (a whole number or an array of them) out of the family that each of `streams` heads."""
    return Streams(*philox((jnp.asarray(number, jnp.uint32), streams.word), ~streams.key))


def random_bits(streams: Streams, number: ArrayLike) -> Array:
    """64 random bits, uint64: number `number` (uint32) of each stream; shapes are broadcast."""
    high, low = philox((number, streams.word), streams.key)
    return (high.astype(jnp.uint64) << np.uint64(32)) | low.astype(jnp.uint64)


def uniform(bits: Array) -> Array:
    """Uniform in [0, 1), multiples of 2^-52, from the upper 32 bits and the last 20."""
    fraction = ((bits >> np.uint64(32)) << np.uint64(20)) | (bits & LAST_BITS)
    return lax.bitcast_convert_type(fraction | ONE, jnp.float64) - 1.0


def exponential(bits: Array) -> Array:
    """Exponential of mean 1, from the lower 32 bits.

    It is -log u of the midpoints u of 2^32 equal parts of (0, 1), with an absolute error below 1e-14: the distribution
    function is right to 2^-33, the mean to 1e-10, and the smallest value 1.2e-10. One block of bits serves this and
    `uniform`: the 20 bits that both read are the last ones of both, so even of the uniforms within a part 2^-32 of
    their range the exponential is right to 2^-12.

    The logarithm is a series in double precision, because that of XLA is computed one number at a time on processors,
    which takes as long as all the rest of an event.
    """
    midpoint = lax.bitcast_convert_type((bits & LOWER_HALF) | TWO_52, jnp.float64) - (2.0**52 - 0.5)
    shifted = lax.bitcast_convert_type(midpoint, jnp.uint64) + TO_ONE
    # midpoint = 2^exponent significand, the significand within the square roots of 1/2 and 2
    exponent = lax.bitcast_convert_type((shifted >> np.uint64(52)) | TWO_52, jnp.float64) - (2.0**52 + 1023.0)
    significand = lax.bitcast_convert_type((shifted & FRACTION) + ROOT_HALF, jnp.float64)
    s = (significand - 1.0) / (significand + 1.0)
    series = jnp.full_like(s, LOGARITHM[-1])
    for coefficient in reversed(LOGARITHM[:-1]):
        series = series * (s * s) + coefficient
    return (32.0 - exponent) * LOG_2 - s * series
