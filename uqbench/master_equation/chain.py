"""Many exponentials one after another, each of a generator of its own, with derivatives in both modes.

The exponentials stand in a table (`Steps`) whose length is known while tracing and whose number of entries is not.
Reverse mode keeps a few distributions on the way and computes the others again; forward mode carries all tangents along
together. Both are derivatives of what is computed, so that they agree with one another to rounding; a second derivative
is refused.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap, sequential_vmap
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from .box import Box
from .uniformisation import (
    UNROLLED,
    exponential,
    exponential_adjoint,
    exponential_recorded,
    exponential_tangents,
    jumps,
    poisson_weights,
    rows_recorded,
)

# Products for each jump of the fastest state, in steps of that length or shorter ones that are many jumps long.
PRODUCTS_PER_JUMP = 1.3
# What is left of the Poisson weights where none of the error is to be theirs.
TAIL = 1e-15


class Record(NamedTuple):
    """What reverse mode begins from: distributions, the first row of each entry, and the terms between two rows."""

    rows: Float[Array, "rows states"]
    first: Int[Array, " entries"]
    spacing: Int[Array, ""]


class Steps(NamedTuple):
    """Exponentials in their order.

    Args:
        duration: `(entries,)`.
        nodes: `(entries, nodes)`, times at which the rates of an entry are taken.
        mix: `(entries, nodes)`, their weights, of sum 1.
        row: `(entries,)`, the output that has been reached after an entry; the number of outputs where it is none.
        used: how many entries there are.
        products: not less than what they take together.
    """

    duration: Float[Array, " entries"]
    nodes: Float[Array, "entries nodes"]
    mix: Float[Array, "entries nodes"]
    row: Int[Array, " entries"]
    used: Int[Array, ""]
    products: Int[Array, ""]


@dataclass(frozen=True, eq=False)
class Chain:
    """What is known while tracing.

    Args:
        operator: `(nodes, mix, given)` -> rates `(groups, states)`.
        outputs: number of outputs.
        terms: Poisson weights of an entry, at most.
        tail: what the weights of one entry may leave.
        rows: recorded for reverse mode, beside one for each entry; and the longest stretch between two of them.
    """

    box: Box
    operator: Callable[[Array, Array, Any], Array]
    outputs: int
    terms: int
    tail: float
    rows: int


def stretch_length(max_products: int) -> int:
    """Rows recorded, and length of a stretch between two of them, with which so many products can be taken back."""
    return UNROLLED * math.ceil(math.sqrt(PRODUCTS_PER_JUMP * max_products) / UNROLLED)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def run(chain: Chain, given, start: Float[Array, " states"], steps: Steps):
    """Distributions `(outputs, states)`, zero where not reached, and the number of products.

    Args:
        given: pytree of floating-point arrays on which the rates depend, all differentiable.
    """
    return _forward(chain, given, start, steps)


@run.defjvp
def _(chain, primals, tangents):
    given, start, steps = primals
    given, start = _differentiated_once((given, start))
    d_given, d_start, _ = tangents
    rows, products, record = _recorded(chain, given, start, steps)
    kept = given, steps, record
    changes, unravel = ravel_pytree((d_given, d_start))
    split = changes.size

    def solve(_, flat):
        d_rows = _tangents(chain)(kept, *unravel(flat[:split]))
        return jnp.concatenate([jnp.zeros(split), d_rows.reshape(-1)])

    def transpose_solve(_, flat):
        bars, _ = ravel_pytree(_adjoint(chain)(kept, flat[split:].reshape(rows.shape)))
        return jnp.concatenate([bars, jnp.zeros(rows.size)])

    # A linear map with a transpose of its own, that can be batched; as an equation it is not used. In one vector,
    # because all operands have to move where one does.
    flat = jnp.concatenate([changes, jnp.zeros(rows.size)])
    d_rows = lax.custom_linear_solve(lambda flat: flat, flat, solve, transpose_solve)[split:].reshape(rows.shape)
    return (rows, products), (d_rows, jax.custom_derivatives.zero_from_primal(products))


@jax.custom_jvp
def _differentiated_once(given):
    """The same; a derivative of it is that of a derivative."""
    return given


@_differentiated_once.defjvp
def _(primals, tangents):
    raise NotImplementedError(
        "a second derivative of a master equation is not available: take differences of the first, or the expected "
        "information (products of first derivatives)"
    )


def _entry(chain: Chain, steps: Steps, given, s):
    """P and Poisson weights of an entry."""
    p = jumps(chain.box, chain.operator(steps.nodes[s], steps.mix[s], given))
    return p, poisson_weights(p.rate * steps.duration[s], chain.terms, chain.tail)


def _forward(chain: Chain, given, start, steps: Steps):
    @sequential_vmap
    def forward(given, start, steps):
        def body(state):
            s, q, rows, products = state
            p, weights = _entry(chain, steps, given, s)
            q = exponential(chain.box, p, weights, q)
            rows = lax.dynamic_update_index_in_dim(rows, q, steps.row[s], 0)
            return s + 1, q, rows, products + weights.last

        first = jnp.asarray(0), start, _no_rows(chain), jnp.asarray(0)
        _, _, rows, products = lax.while_loop(lambda state: state[0] < steps.used, body, first)
        return rows[:-1], products

    return forward(given, start, steps)


def _no_rows(chain: Chain) -> Array:
    """Outputs, and one more row for entries that reach none."""
    return jnp.zeros((chain.outputs + 1, chain.box.states))


def _recorded(chain: Chain, given, start, steps: Steps):
    """As `_forward`, with a `Record`."""

    @sequential_vmap
    def forward(given, start, steps):
        spacing = UNROLLED * jnp.maximum(-(-steps.products // (UNROLLED * chain.rows)), 1)

        def body(state):
            s, q, rows, products, used, record = state
            p, weights = _entry(chain, steps, given, s)
            first = record.first.at[s].set(used)
            q, recorded = exponential_recorded(chain.box, p, weights, q, record.rows, used, spacing)
            rows = lax.dynamic_update_index_in_dim(rows, q, steps.row[s], 0)
            used = used + rows_recorded(weights.last, spacing)
            return s + 1, q, rows, products + weights.last, used, Record(recorded, first, spacing)

        entries = len(steps.duration)
        record = Record(jnp.zeros((entries + chain.rows, chain.box.states)), jnp.zeros(entries, dtype=int), spacing)
        first = jnp.asarray(0), start, _no_rows(chain), jnp.asarray(0), jnp.asarray(0), record
        _, _, rows, products, _, record = lax.while_loop(lambda state: state[0] < steps.used, body, first)
        return rows[:-1], products, record

    return forward(given, start, steps)


def _tangents(chain: Chain):
    def together(kept, d_given, d_start):
        """Changes `(tangents, outputs, states)`; the changes of what is given have a leading axis."""
        given, steps, record = kept

        def d_operator(nodes, mix, d_given):
            return jax.jvp(lambda given: chain.operator(nodes, mix, given), (given,), (d_given,))[1]

        def body(state):
            s, dq, d_rows = state
            p, weights = _entry(chain, steps, given, s)
            d_rates = jax.vmap(d_operator, in_axes=(None, None, 0))(steps.nodes[s], steps.mix[s], d_given)
            start = lax.dynamic_index_in_dim(record.rows, record.first[s], keepdims=False)
            dq = exponential_tangents(chain.box, p, weights, start, d_rates, dq)
            return s + 1, dq, lax.dynamic_update_index_in_dim(d_rows, dq, steps.row[s], 1)

        d_rows = jnp.zeros((len(d_start), chain.outputs + 1, chain.box.states))
        first = jnp.asarray(0), d_start, d_rows
        return lax.while_loop(lambda state: state[0] < steps.used, body, first)[2][:, :-1]

    @custom_vmap
    def tangents(kept, d_given, d_start):
        return together(kept, *jax.tree.map(lambda each: each[None], (d_given, d_start)))[0]

    @tangents.def_vmap
    def _(size, batched, kept, d_given, d_start):
        changes = _batch(size, tuple(batched[1:]), (d_given, d_start))
        if not any(jax.tree.leaves(batched[0])):
            return together(kept, *changes), True
        kept = _batch(size, batched[0], kept)
        return lax.map(lambda each: tangents(*each), (kept, *changes)), True

    return tangents


def _batch(size: int, batched, values):
    def one(has, value):
        return value if has else jnp.broadcast_to(value, (size, *jnp.shape(value)))

    return jax.tree.map(one, batched, values)


def _adjoint(chain: Chain):
    @sequential_vmap
    def adjoint(kept, rows_bar):
        given, steps, record = kept
        # entries that reach no output read the last row
        rows_bar = jnp.concatenate([rows_bar, jnp.zeros((1, chain.box.states))])

        def body(state):
            s, q_bar, given_bar, stretch = state
            q_bar = q_bar + rows_bar[steps.row[s]]
            p, weights = _entry(chain, steps, given, s)
            place = record.rows, record.first[s], record.spacing
            rates_bar, q_bar, stretch = exponential_adjoint(chain.box, p, weights, *place, q_bar, stretch)
            _, pull = jax.vjp(lambda given: chain.operator(steps.nodes[s], steps.mix[s], given), given)
            return s - 1, q_bar, jax.tree.map(jnp.add, given_bar, pull(rates_bar)[0]), stretch

        none = jnp.zeros(chain.box.states), jax.tree.map(jnp.zeros_like, given)
        first = steps.used - 1, *none, jnp.zeros((chain.rows, chain.box.states))
        _, start_bar, given_bar, _ = lax.while_loop(lambda state: state[0] >= 0, body, first)
        return given_bar, start_bar

    return adjoint
