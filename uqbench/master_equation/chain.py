"""Many exponentials one after another, each of a generator of its own, with derivatives in both modes.

The exponentials stand in a table (`Steps`) whose length is known while tracing and whose number of entries is not.
Both modes begin from distributions on the way, which a solve of their own writes down: reverse mode computes again what
is between them, forward mode carries all tangents along together. Both are derivatives of what is
computed, so that they agree with one another to rounding; a second derivative is refused.
"""

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
from .exponentials import Generators, exponential_changes, exponential_derivatives, exponentials
from .uniformisation import Sum


class Steps(NamedTuple):
    """Exponentials in their order; entries beyond those that are used have the duration 0, and their number is a
    multiple of `Chain.together`.

    Args:
        duration: `(entries,)`.
        nodes: `(entries, nodes)`, times at which the rates of an entry are taken.
        mix: `(entries, nodes)`, their weights, of sum 1.
        row: `(entries,)`, the output that has been reached after an entry; the number of outputs where it is none.
        used: how many entries there are.
    """

    duration: Float[Array, " entries"]
    nodes: Float[Array, "entries nodes"]
    mix: Float[Array, "entries nodes"]
    row: Int[Array, " entries"]
    used: Int[Array, ""]


@dataclass(frozen=True, eq=False)
class Chain:
    """What is known while tracing.

    Args:
        moving: `(nodes, consts)` -> rates `(nodes, moving groups, states)` of `Box.moving` at these times.
        outputs: number of outputs.
        ends: how the sum of one exponential ends.
        together: entries whose rates are computed at once.
    """

    box: Box
    moving: Callable[[Array, Any], Array]
    outputs: int
    ends: Sum
    together: int = 1


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def run(chain: Chain, given, start: Float[Array, " states"], steps: Steps, rows: Float[Array, "outputs states"]):
    """The distributions `rows`, as something that depends on what they have been computed from.

    Args:
        given: fixed rates `(groups, states)`, and a pytree of floating-point arrays on which the others depend; all
            differentiable.
        rows: what `solve` gives for all this.
    """
    return rows


@run.defjvp
def _(chain, primals, tangents):
    given, start, steps, _ = primals
    given, start = _differentiated_once((given, start))
    d_given, d_start, *_ = tangents
    rows, starts = _recorded(chain, given, start, steps)
    kept = given, steps, starts
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
    return rows, d_rows


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


class _Entries(NamedTuple):
    """`Chain.together` entries."""

    nodes: Array
    mix: Array
    duration: Array
    row: Array


def _entries(chain: Chain, steps: Steps, s) -> _Entries:
    columns = steps.nodes, steps.mix, steps.duration, steps.row
    return _Entries(*(lax.dynamic_slice_in_dim(each, s, chain.together) for each in columns))


def _moving(chain: Chain, these: _Entries, consts) -> Float[Array, "together nodes moving states"]:
    return jax.vmap(chain.moving, in_axes=(0, None))(these.nodes, consts)


def _generators(chain: Chain, these: _Entries, given) -> Generators:
    fixed, consts = given
    return Generators(fixed, _moving(chain, these, consts), these.mix)


def _advanced(chain: Chain, steps: Steps, given, s, q):
    """The distributions after some entries, the places of their outputs, and their products."""
    these = _entries(chain, steps, s)
    after, products = exponentials(chain.box, _generators(chain, these, given), these.duration, q, chain.ends)
    return after, these.row, jnp.sum(products).astype(int)


def _before(chain: Chain, generators: Generators, these: _Entries, starts, s):
    """The distribution before each of some entries."""
    q = lax.dynamic_index_in_dim(starts, s // chain.together, keepdims=False)
    if chain.together == 1:
        return q[None]
    before_last = generators._replace(moving=generators.moving[:-1], mix=generators.mix[:-1])
    after, _ = exponentials(chain.box, before_last, these.duration[:-1], q, chain.ends)
    return jnp.concatenate([q[None], after])


def solve(chain: Chain, given, start: Float[Array, " states"], steps: Steps):
    """Distributions `(outputs, states)`, zero where not reached, and the number of products; for `run`."""

    @sequential_vmap
    def forward(given, start, steps):
        def body(state):
            s, q, rows, products = state
            after, places, more = _advanced(chain, steps, given, s, q)
            return s + chain.together, after[-1], rows.at[places].set(after), products + more

        first = jnp.asarray(0), start, _no_rows(chain), jnp.asarray(0)
        _, _, rows, products = lax.while_loop(lambda state: state[0] < steps.used, body, first)
        return rows[:-1], products

    return forward(*jax.tree.map(lax.stop_gradient, (given, start, steps)))


def _no_rows(chain: Chain) -> Array:
    """Outputs, and one more row for entries that reach none."""
    return jnp.zeros((chain.outputs + 1, chain.box.states))


def _recorded(chain: Chain, given, start, steps: Steps):
    """Distributions `(outputs, states)`, and those before entries that are taken together `(.., states)`."""

    @sequential_vmap
    def forward(given, start, steps):
        def body(state):
            s, q, rows, starts = state
            starts = lax.dynamic_update_index_in_dim(starts, q, s // chain.together, 0)
            after, places, _ = _advanced(chain, steps, given, s, q)
            return s + chain.together, after[-1], rows.at[places].set(after), starts

        starts = jnp.zeros((len(steps.duration) // chain.together, chain.box.states))
        first = jnp.asarray(0), start, _no_rows(chain), starts
        _, _, rows, starts = lax.while_loop(lambda state: state[0] < steps.used, body, first)
        return rows[:-1], starts

    return forward(given, start, steps)


def _tangents(chain: Chain):
    def together(kept, d_given, d_start):
        """Changes `(changes, outputs, states)`; the changes of what is given have a leading axis."""
        given, steps, starts = kept
        d_fixed, d_consts = d_given

        def body(state):
            s, dq, d_rows = state
            these = _entries(chain, steps, s)

            def d_moving(d_consts):
                return jax.jvp(lambda consts: _moving(chain, these, consts), (given[1],), (d_consts,))[1]

            generators = _generators(chain, these, given)
            before = _before(chain, generators, these, starts, s)
            moves = jax.vmap(d_moving, out_axes=1, axis_size=len(d_start))(d_consts)
            after = exponential_changes(chain.box, generators, these.duration, before, d_fixed, moves, dq, chain.ends)
            return s + chain.together, after[-1], d_rows.at[these.row].set(after)

        d_rows = jnp.zeros((chain.outputs + 1, len(d_start), chain.box.states))
        first = jnp.asarray(0), d_start, d_rows
        found = lax.while_loop(lambda state: state[0] < steps.used, body, first)[2]
        return jnp.swapaxes(found[:-1], 0, 1)

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
        given, steps, starts = kept
        # entries that reach no output read the last row
        rows_bar = jnp.concatenate([rows_bar, jnp.zeros((1, chain.box.states))])

        def body(state):
            s, q_bar, fixed_bar, consts_bar = state
            these = _entries(chain, steps, s)
            moving, pull = jax.vjp(lambda consts: _moving(chain, these, consts), given[1])
            generators = Generators(given[0], moving, these.mix)
            before = _before(chain, generators, these, starts, s)
            by_fixed, by_moving, q_bar = exponential_derivatives(
                chain.box, generators, these.duration, before, rows_bar[these.row], q_bar, chain.ends
            )
            consts_bar = jax.tree.map(jnp.add, consts_bar, pull(by_moving)[0])
            return s - chain.together, q_bar, fixed_bar + by_fixed, consts_bar

        last = (steps.used - 1) // chain.together * chain.together
        none = jnp.zeros(chain.box.states), *jax.tree.map(jnp.zeros_like, given)
        _, start_bar, *given_bar = lax.while_loop(lambda state: state[0] >= 0, body, (last, *none))
        return tuple(given_bar), start_bar

    return adjoint
