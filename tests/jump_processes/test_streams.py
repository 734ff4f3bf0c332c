"""Streams against the reference of their generator, and statistically within and across streams."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare, kstest, norm

from uqbench.jump_processes.streams import exponential, philox, random_bits, substreams, trajectory_streams, uniform

from .networks import streams


# Known answers of Philox-2x32-10: Random123, file kat_vectors.
@pytest.mark.parametrize(
    "counter, key, answer",
    [
        ((0x00000000, 0x00000000), 0x00000000, (0xFF1DAE59, 0x6CD10DF2)),
        ((0xFFFFFFFF, 0xFFFFFFFF), 0xFFFFFFFF, (0x2C3F628B, 0xAB4FD7AD)),
        ((0x243F6A88, 0x85A308D3), 0x13198A2E, (0xDD7CE038, 0xF62A4C12)),
    ],
)
def test_known_answers(counter, key, answer):
    assert tuple(int(word) for word in philox(tuple(map(np.uint32, counter)), np.uint32(key))) == answer


def bits_of(trajectories, numbers, seed=0):
    given = streams(trajectories, seed)
    return random_bits(type(given)(*(word[:, None] for word in given)), jnp.arange(numbers, dtype=jnp.uint32))


def test_uniform_and_exponential_numbers_have_their_laws():
    bits = bits_of(200, 500).ravel()
    u, e = np.asarray(uniform(bits)), np.asarray(exponential(bits))
    assert u.min() >= 0 and u.max() < 1 and e.min() > 0
    assert kstest(u, "uniform").pvalue > 1e-3
    assert kstest(e, "expon").pvalue > 1e-3
    # both come from one block of bits
    table, *_ = np.histogram2d(u, -np.expm1(-e), bins=16, range=[[0, 1], [0, 1]])
    assert chisquare(table.ravel()).pvalue > 1e-3
    # a reaction whose share is far below 2^-32 is chosen by the last bits of the uniform number: the waiting time
    # before it is exponential too
    table, *_ = np.histogram2d((u * 2.0**32) % 1.0, -np.expm1(-e), bins=16, range=[[0, 1], [0, 1]])
    assert chisquare(table.ravel()).pvalue > 1e-3


def test_the_logarithm_is_accurate():
    low = np.concatenate([np.arange(1000), 2**32 - 1 - np.arange(1000), 2 ** np.arange(32), 2**31 + np.arange(9)])
    exact = -np.log((low + 0.5) / 2.0**32)
    np.testing.assert_allclose(exponential(jnp.asarray(low, jnp.uint64)), exact, rtol=0, atol=1e-14)


def test_neighbouring_numbers_streams_and_calls_are_uncorrelated():
    scores = norm.ppf(np.clip(uniform(bits_of(300, 300)), 1e-16, None))
    other = norm.ppf(np.clip(uniform(bits_of(300, 300, seed=1)), 1e-16, None))
    pairs = [(scores[:-lag], scores[lag:]) for lag in (1, 2, 7)]
    pairs += [(scores[:, :-lag], scores[:, lag:]) for lag in (1, 2, 7)]
    pairs += [(scores, other), (scores, scores.T)]
    for one, two in pairs:
        assert abs(np.sum(one * two)) / np.sqrt(one.size) < 4.0
    # whole streams: the sums over 300 numbers of each of 300 trajectories
    totals = scores.sum(1) / np.sqrt(300)
    assert kstest(totals, "norm").pvalue > 1e-3


def test_a_stream_depends_on_its_number_and_the_key_alone():
    key = np.array([3, 4], np.uint32)
    whole, tail = trajectory_streams(key, 10), trajectory_streams(key, 4, first=6)
    assert all(np.array_equal(a[6:], b) for a, b in zip(whole, tail, strict=True))


def test_no_two_streams_are_the_same():
    given = streams(2000)
    families = [given, *(substreams(given, number) for number in range(3)), streams(2000, seed=1)]
    pairs = np.concatenate([np.stack(family, axis=1) for family in families])
    assert len(np.unique(pairs, axis=0)) == len(pairs)
