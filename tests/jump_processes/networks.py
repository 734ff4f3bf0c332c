"""Networks whose laws are known, as arrays and callables."""

import jax
import numpy as np
from scipy.linalg import expm
from scipy.stats import chisquare

from uqbench.jump_processes.streams import trajectory_streams

BIRTH_DEATH = np.array([[1], [-1]])
DIMERISATION = np.array([[-2, 1], [2, -1]])


def birth_death(t, y):
    return 10.0, y[0]


def dimerisation(t, y):
    return 0.1 * y[0] * (y[0] - 1) / 2, 0.5 * y[1]


def streams(n, seed=0, first=0):
    return trajectory_streams(jax.random.key_data(jax.random.key(seed)), n, first)


def master_equation(rates, changes, start, shape, time):
    """Probabilities of all states of a box, one axis for each species, from the exponential of the generator.

    The box must contain all states that are reached with more than a negligible probability.
    """
    states = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, len(shape))
    generator = np.zeros((len(states), len(states)))
    each = np.stack([np.broadcast_to(rate, len(states)) for rate in rates(0.0, tuple(states.T.astype(float)))])
    for rate, change in zip(each, changes, strict=True):
        after = states + change
        inside = np.all((after >= 0) & (after < shape), axis=1) & (rate > 0)
        target = np.ravel_multi_index(after[inside].T, shape)
        source = np.flatnonzero(inside)
        generator[target, source] += rate[inside]
        generator[source, source] -= rate[inside]
    initial = np.zeros(len(states))
    initial[np.ravel_multi_index(start, shape)] = 1.0
    return (expm(generator * time) @ initial).reshape(shape)


def p_value(counts, probabilities):
    """Of Pearson's chi-squared test; rare values are taken together until ten or more are expected of each group."""
    observed = np.bincount(np.asarray(counts).astype(int), minlength=len(probabilities)).astype(float)
    expected = np.zeros(len(observed))
    expected[: len(probabilities)] = np.asarray(probabilities) * len(counts)
    order = np.argsort(expected)
    # what is left over joins the last full group
    _, group = np.unique(np.cumsum(expected[order]) // 10, return_inverse=True)
    seen, due = np.bincount(group, observed[order]), np.bincount(group, expected[order])
    keep = due >= 5
    seen = np.append(seen[keep][:-1], seen[keep][-1] + seen[~keep].sum())
    due = np.append(due[keep][:-1], due[keep][-1] + due[~keep].sum())
    return chisquare(seen, due * seen.sum() / due.sum()).pvalue
