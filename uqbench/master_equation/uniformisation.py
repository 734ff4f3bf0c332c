"""One exponential of a generator, applied to a distribution: uniformisation, its tangent, and its adjoint.

With L at least the largest total rate of a state, P = I + A / L has no negative entries, and
exp(h A) p = sum_k w_k P^k p with the Poisson weights w_k of mean L h (Jensen 1953; Fox and Glynn 1988,
doi:10.1145/42404.42409). The sum is computed from its end (Horner), q_(k-1) = w_(k-1) p + P q_k, so that each product
writes one array. All terms are positive: nothing cancels, and what the truncated sum lacks is lost from the total
probability, as is what leaves the box. Hence one minus the sum of what is found is exactly its distance (sum of absolute
differences) from the true distribution, up to rounding.

L and the weights are constants of the derivatives, since exp(h A) does not depend on L.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.scipy.special import gammaln
from jaxtyping import Array, Float, Int

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


def poisson_weights(mean: Float[Array, ""], terms: int, tail: float) -> Weights:
    """Weights of a Poisson law whose tail beyond `terms` is negligible, up to the term beyond which `tail` is left.

    Normalised, because errors of the logarithms grow with the mean and are common to all weights.
    """
    order = jnp.arange(terms, dtype=float)
    positive = mean > 0
    logarithms = order * jnp.log(jnp.where(positive, mean, 1.0)) - gammaln(order + 1.0)
    logarithms = jnp.where(positive, logarithms, jnp.where(order > 0, -jnp.inf, 0.0))
    values = jnp.exp(logarithms - jnp.max(logarithms))
    values = values / jnp.sum(values)
    left = jnp.cumsum(values[::-1])[::-1]
    needed = jnp.sum(left > tail) - 1
    last = -(-needed // UNROLLED) * UNROLLED
    return Weights(values, jnp.clip(last, 0, terms - 1))


def product(box: Box, p: Jumps, q: Float[Array, "*batch states"]) -> Float[Array, "*batch states"]:
    """P q."""
    padded, margin = _padded(box, q), box.margin
    out = p.stay * q
    for arrive, by in zip(p.arrive, box.shifts, strict=True):
        out = out + arrive * lax.slice_in_dim(padded, margin - by, margin - by + box.states, axis=-1)
    return out


def transposed_product(box: Box, p: Jumps, q: Float[Array, " states"]) -> tuple[Float[Array, " states"], list]:
    """P' q, and q as each group of reactions sees it where it arrives."""
    padded, margin = _padded(box, q), box.margin
    ahead = [lax.slice_in_dim(padded, margin + by, margin + by + box.states) for by in box.shifts]
    out = p.stay * q
    for leave, seen in zip(p.leave, ahead, strict=True):
        out = out + leave * seen
    return out, ahead


def generator(box: Box, rates: Float[Array, "*batch groups states"], q: Float[Array, " states"]):
    """A q, for generators with these rates."""
    out = -jnp.sum(rates, axis=-2) * q
    for group, by in enumerate(box.shifts):
        out = out + shifted(box, jnp.where(box.inside[group], rates[..., group, :] * q, 0.0), by)
    return out


def exponential(box: Box, p: Jumps, weights: Weights, start: Float[Array, " states"]) -> Float[Array, " states"]:
    """exp(h A) start."""

    def body(state):
        k, q = state
        return k - 1, weights.values[k - 1] * start + product(box, p, q)

    first = weights.last, weights.values[weights.last] * start
    return lax.while_loop(lambda state: state[0] > 0, body, first)[1]


def exponential_tangents(box: Box, p: Jumps, weights: Weights, start, d_rates, d_start):
    """Changes `(tangents, states)` of exp(h A) start with the rates `(tangents, groups, states)` and with the start."""
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


def exponential_adjoint(box: Box, p: Jumps, weights: Weights, start, out_bar):
    """Derivatives of out_bar . exp(h A) start by the rates `(groups, states)` and by the start `(states,)`."""
    terms = weights.values.shape[0]

    def remember(state):
        k, q, kept = state
        kept = lax.dynamic_update_index_in_dim(kept, q, k, 0)
        return k - 1, weights.values[k - 1] * start + product(box, p, q), kept

    top = weights.last, weights.values[weights.last] * start, lax.empty((terms, box.states), start.dtype)
    kept = lax.while_loop(lambda state: state[0] > 0, remember, top)[2]

    def back(state):
        k, m, start_bar, stay_bar, leave_bar = state
        for u in range(UNROLLED):
            q = lax.dynamic_index_in_dim(kept, k + u, keepdims=False)
            stay_bar = stay_bar + m * q
            following, ahead = transposed_product(box, p, m)
            leave_bar = [total + each * q for total, each in zip(leave_bar, ahead, strict=True)]
            m = following
            start_bar = start_bar + weights.values[k + u] * m
        return k + UNROLLED, m, start_bar, stay_bar, leave_bar

    zero = jnp.zeros_like(start)
    begin = jnp.asarray(1), out_bar, weights.values[0] * out_bar, zero, [zero] * len(box.shifts)
    _, _, start_bar, stay_bar, leave_bar = lax.while_loop(lambda state: state[0] <= weights.last, back, begin)
    flows = [jnp.where(stays, each, 0.0) for stays, each in zip(box.inside, leave_bar, strict=True)]
    rates_bar = jnp.stack([(each - stay_bar) / p.rate for each in flows]) if flows else jnp.zeros((0, box.states))
    return rates_bar, start_bar
