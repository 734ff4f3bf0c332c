"""One exponential of a generator, applied to a distribution: uniformisation, its tangent, and its adjoint.

With L at least the largest total rate of a state, P = I + A / L has no negative entries, and
exp(h A) p = sum_k w_k P^k p with the Poisson weights w_k of mean L h (Jensen 1953; Fox and Glynn 1988,
doi:10.1145/42404.42409). The sum is computed from its end (Horner), q_(k-1) = w_(k-1) p + P q_k, so that each product
writes one array. All terms are positive: nothing cancels, and what the truncated sum lacks is lost from the total
probability, as is what leaves the box. Hence one minus the sum of what is found is exactly its distance (sum of
absolute differences) from the true distribution, up to rounding.

L and the weights are constants of the derivatives, since exp(h A) does not depend on L.

This is the form for any accelerator; on processors the same is done by `exponential_code`, see `exponentials`.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int
from scipy.special import gammaln

from .box import Box

# Products between two sums of their contributions to the derivative by rates: those sums are read and written at each.
UNROLLED = 4


class Jumps(NamedTuple):
    """P of a generator: probabilities to stay, and to jump by each group of reactions, from each state and into it."""

    rate: Float[Array, ""]
    stay: Float[Array, " states"]
    leave: list[Float[Array, " states"]]
    arrive: list[Float[Array, " states"]]


class Weights(NamedTuple):
    """Poisson weights `(terms,)`, and how many of them are needed (a multiple of `UNROLLED`, plus the first)."""

    values: Float[Array, " terms"]
    last: Int[Array, ""]


def shifted(box: Box, values: Float[Array, "*batch states"], by: int) -> Float[Array, "*batch states"]:
    """The value at x - by, zero where there is none."""
    margin = box.margin
    return lax.slice_in_dim(_padded(box, values), margin - by, margin - by + box.states, axis=-1)


def _padded(box: Box, values: Array) -> Array:
    widths = [(0, 0)] * (values.ndim - 1) + [(box.margin, box.margin)]
    # without the barrier the padding is computed again for each shift, and no longer in vector instructions
    return lax.optimization_barrier(jnp.pad(values, widths))


def total_rate(rates: Float[Array, "groups states"]) -> Float[Array, ""]:
    """The largest rate at which a state is left; of rates that are negative the size counts."""
    return jnp.max(jnp.sum(jnp.abs(rates), axis=0), initial=0.0)


def jumps(box: Box, rates: Float[Array, "groups states"]) -> Jumps:
    """P = I + A / L."""
    largest = jnp.maximum(total_rate(rates), 1e-300)
    # rounded up, so that no probability to stay is negative
    largest = largest * (1.0 + 4.0 * jnp.finfo(float).eps)
    leave = [jnp.where(stays, rate / largest, 0.0) for stays, rate in zip(box.inside, rates, strict=True)]
    arrive = [shifted(box, each, by) for each, by in zip(leave, box.shifts, strict=True)]
    return Jumps(largest, 1.0 - jnp.sum(rates, axis=0) / largest, leave, arrive)


def longest_step(terms: int) -> float:
    """The mean of a Poisson law whose weights beyond `terms` are below rounding: mean + 9 sqrt(mean) + 30 = terms."""
    return (math.sqrt(9.0**2 / 4.0 + terms - 30.0) - 9.0 / 2.0) ** 2


def poisson_weights(mean: Float[Array, ""], terms: int, tail: float) -> Weights:
    """Weights up to the term beyond which no more than `tail` is left.

    Normalised, because errors of the logarithms grow with the mean and are common to all weights.

    Args:
        mean: at most `longest_step(terms)`.
        terms: one more than a multiple of `UNROLLED`.
    """
    order = np.arange(terms, dtype=float)
    positive = mean > 0
    logarithms = order * jnp.log(jnp.where(positive, mean, 1.0)) - (gammaln(order + 1.0) + mean)
    values = jnp.exp(jnp.where(positive, logarithms, np.where(order > 0, -np.inf, 0.0)))
    values = values / jnp.sum(values)
    # the weights beyond the k-th fall faster than a geometric series with the ratio of the next two
    ratio = jnp.minimum(mean / (order[1:] + 1.0), 0.999)
    enough = (order[1:] > mean) & (values[1:] <= tail * (1.0 - ratio))
    needed = terms - 1 - jnp.sum(enough)
    return Weights(values, -(-needed // UNROLLED) * UNROLLED)


def product(box: Box, p: Jumps, q: Float[Array, "*batch states"]) -> Float[Array, "*batch states"]:
    """P q."""
    padded, margin = _padded(box, q), box.margin
    out = p.stay * q
    for arrive, by in zip(p.arrive, box.shifts, strict=True):
        out = out + arrive * lax.slice_in_dim(padded, margin - by, margin - by + box.states, axis=-1)
    return out


def transposed_product(box: Box, p: Jumps, padded: Float[Array, " padded"]) -> Float[Array, " states"]:
    """P' q, of q with its margins."""
    margin = box.margin
    out = p.stay * padded[margin : margin + box.states]
    for leave, by in zip(p.leave, box.shifts, strict=True):
        out = out + leave * lax.slice_in_dim(padded, margin + by, margin + by + box.states)
    # a sum of its own: without the barrier it is computed again for each that reads it
    return lax.optimization_barrier(out)


def generator(box: Box, rates: Float[Array, "*batch groups states"], q: Float[Array, " states"]):
    """A q, for generators with these rates."""
    out = -jnp.sum(rates, axis=-2) * q
    for group, by in enumerate(box.shifts):
        out = out + shifted(box, jnp.where(box.inside[group], rates[..., group, :] * q, 0.0), by)
    return out


class Sum(NamedTuple):
    """How a sum ends: Poisson weights at most, and what those left out may hold."""

    terms: int
    tail: float


def _terms_of(box: Box, rates, duration, ends: Sum) -> tuple[Jumps, Weights]:
    p = jumps(box, rates)
    return p, poisson_weights(p.rate * duration, ends.terms, ends.tail)


def exponential(box: Box, rates: Float[Array, "groups states"], duration, start: Float[Array, " states"], ends: Sum):
    """exp(h A) start `(states,)`, and the number of products."""
    p, weights = _terms_of(box, rates, duration, ends)

    def body(state):
        k, q = state
        return k - 1, weights.values[k - 1] * start + product(box, p, q)

    first = weights.last, weights.values[weights.last] * start
    return lax.while_loop(lambda state: state[0] > 0, body, first)[1], weights.last


def exponential_tangents(box: Box, rates, duration, start, d_rates, d_start, ends: Sum):
    """Changes `(changes, states)` of exp(h A) start with the rates `(changes, groups, states)` and with the start."""
    p, weights = _terms_of(box, rates, duration, ends)
    d_leave = jnp.where(box.inside, d_rates / p.rate, 0.0)
    d_arrive = [shifted(box, d_leave[:, group], by) for group, by in enumerate(box.shifts)]
    d_stay = -jnp.sum(d_rates, axis=1) / p.rate

    def body(state):
        k, q, dq = state
        changed = product(box, Jumps(p.rate, d_stay, [], d_arrive), q)
        dq = weights.values[k - 1] * d_start + product(box, p, dq) + changed
        return k - 1, weights.values[k - 1] * start + product(box, p, q), dq

    top = weights.values[weights.last]
    first = weights.last, top * start, top * d_start
    return lax.while_loop(lambda state: state[0] > 0, body, first)[2]


class Adjoint(NamedTuple):
    """Derivatives by the distribution after the terms so far, by the start, and by `Jumps.stay` and `Jumps.leave`."""

    after: Float[Array, " states"]
    start: Float[Array, " states"]
    stay: Float[Array, " states"]
    leave: list[Float[Array, " states"]]


def exponential_adjoint(box: Box, rates, duration, start, out_bar, ends: Sum):
    """Derivatives of out_bar . exp(h A) start by the rates `(groups, states)` and by the start `(states,)`.

    Some of the sums are kept, and those between two are computed again.
    """
    p, weights = _terms_of(box, rates, duration, ends)
    spacing = UNROLLED * math.ceil(math.sqrt(ends.terms) / UNROLLED)
    rows = _kept(box, p, weights, start, spacing, jnp.zeros((ends.terms // spacing + 1, box.states)))

    def back(state):
        bottom, bars, stretch = state
        top = jnp.minimum(bottom + spacing, weights.last)
        q = lax.dynamic_index_in_dim(rows, top // spacing, keepdims=False)
        q = jnp.where(top == weights.last, weights.values[top] * start, q)
        stretch = _again(box, p, weights, start, q, bottom, top, stretch)
        return top, _back_over(box, p, weights, bottom, top, stretch, bars), stretch

    zero = jnp.zeros_like(start)
    bars = Adjoint(out_bar, weights.values[0] * out_bar, zero, [zero] * len(box.shifts))
    begin = jnp.asarray(0), bars, jnp.zeros((spacing, box.states))
    _, bars, _ = lax.while_loop(lambda state: state[0] < weights.last, back, begin)
    flows = [jnp.where(stays, each, 0.0) for stays, each in zip(box.inside, bars.leave, strict=True)]
    rates_bar = jnp.stack([(each - bars.stay) / p.rate for each in flows]) if flows else jnp.zeros((0, box.states))
    return rates_bar, bars.start


def _kept(box: Box, p: Jumps, weights: Weights, start, spacing: int, rows):
    """The sums q_k for multiples of `spacing`, in rows k / spacing."""

    def body(state):
        k, q, rows = state
        # the last that is written to a row is that of the multiple
        rows = lax.dynamic_update_index_in_dim(rows, q, k // spacing, 0)
        return k - 1, weights.values[k - 1] * start + product(box, p, q), rows

    top = weights.last
    return lax.while_loop(lambda state: state[0] >= spacing, body, (top, weights.values[top] * start, rows))[2]


def _again(box: Box, p: Jumps, weights: Weights, start, q, bottom, top, stretch):
    """The sums q_k for bottom < k <= top, computed from that at the top, in rows k - bottom - 1."""

    def body(state):
        k, q, stretch = state
        q = weights.values[k - 1] * start + product(box, p, q)
        return k - 1, q, lax.dynamic_update_index_in_dim(stretch, q, k - bottom - 2, 0)

    stretch = lax.dynamic_update_index_in_dim(stretch, q, top - bottom - 1, 0)
    return lax.while_loop(lambda state: state[0] > bottom + 1, body, (top, q, stretch))[2]


def _back_over(box: Box, p: Jumps, weights: Weights, bottom, top, stretch, bars: Adjoint) -> Adjoint:
    """The terms bottom < k <= top, `UNROLLED` at a time, so that the derivatives are read and written less often."""
    margin, places = box.margin, (0, *box.shifts)

    def body(state):
        k, bars = state
        after, seen = bars.after, []
        for _ in range(UNROLLED):
            seen.append(_padded(box, after))
            after = transposed_product(box, p, seen[-1])
        kept = [lax.dynamic_index_in_dim(stretch, k - bottom + u, keepdims=False) for u in range(UNROLLED)]

        def summed(total, by):
            moved = [lax.slice_in_dim(each, margin + by, margin + by + box.states) for each in seen]
            return lax.optimization_barrier(total + sum(m * q for m, q in zip(moved, kept, strict=True)))

        stay, *leave = [summed(total, by) for total, by in zip((bars.stay, *bars.leave), places, strict=True)]
        inner = [each[margin : margin + box.states] for each in seen[1:]]
        terms = [weights.values[k + 1 + u] * each for u, each in enumerate((*inner, after))]
        return k + UNROLLED, Adjoint(after, lax.optimization_barrier(bars.start + sum(terms)), stay, leave)

    return lax.while_loop(lambda state: state[0] < top, body, (bottom, bars))[1]
