"""Steps in time for rates that vary with it: a commutator-free Magnus rule of order four, with error control.

A step is two exponentials of mixtures of the generator at the two Gauss nodes (Blanes and Moan 2006,
doi:10.1016/j.apnum.2005.11.004), so that each is again a generator to uniformise. The exact propagator never makes a
sum of absolute values larger, so that errors of steps only add: their sum bounds the error at the end. The error of a
step is estimated by its distance from two steps of half the length, which are what is kept.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .box import Box
from .chain import TAIL, Steps
from .codes import Ending
from .uniformisation import UNROLLED, exponential, jumps, longest_step, poisson_weights, total_rate

# Gauss nodes of a step, and the mixtures of the generators there, first exponential first.
NODES = (0.5 - math.sqrt(3.0) / 6.0, 0.5 + math.sqrt(3.0) / 6.0)
MIX = (
    (0.5 + 1.0 / math.sqrt(3.0), 0.5 - 1.0 / math.sqrt(3.0)),
    (0.5 - 1.0 / math.sqrt(3.0), 0.5 + 1.0 / math.sqrt(3.0)),
)
ORDER = 4
# The ends of a step, on this side of a jump that is there, and the values there of a cubic through those at the nodes
# of the two halves.
ENDS = (1e-9, 1.0 - 1e-9)
HALVES = np.array([node / 2 + half for half in (0.0, 0.5) for node in NODES])
TO_ENDS = [[np.prod([(end - b) / (a - b) for b in HALVES if b != a]) for a in HALVES] for end in ENDS]
# The longest step in parts of the whole time.
LONGEST_PART = 1 / 16
SAFETY, SHRINK, GROW = 0.9, 0.1, 4.0
# Poisson weights of an exponential, at most: steps are short for the sake of their error, and there are many.
TERMS = 128 * UNROLLED + 1
LONGEST = longest_step(TERMS)
# Refused attempts for each step that is allowed.
REFUSALS = 4

GroupedRates = Callable[[Array], Float[Array, "groups states"]]


class Progress(NamedTuple):
    t: Array
    length: Array
    q: Array
    stop: Array
    table: Steps
    error: Array
    errors: Array
    accepted: Array
    attempts: Array
    products: Array


def even_steps(start: float, end: float, count: int) -> Steps:
    """`count` steps of one length to one output, without error control."""
    length = (end - start) / count
    table = _empty(2 * count, 1)
    for k in range(count):
        table = _two_exponentials(table, jnp.asarray(start + k * length), jnp.asarray(length))
    return table._replace(row=table.row.at[-1].set(0))


def adaptive_steps(
    box: Box,
    rates: GroupedRates,
    start: Float[Array, " states"],
    start_time: Float[Array, ""],
    times: Float[Array, " times"],
    breaks: Float[Array, " breaks"],
    tolerance: float,
    max_steps: int,
    max_products: int,
) -> tuple[Steps, Float[Array, " times"], Array]:
    """The steps, the estimated error at each time (sum of absolute values), and the code.

    Derivatives are taken at fixed steps, so that nothing here has one.
    """
    rates, start = _held(rates), lax.stop_gradient(start)
    stops = jnp.concatenate([times, breaks])
    rows = jnp.concatenate([jnp.arange(len(times)), jnp.full(len(breaks), len(times))])
    order = jnp.argsort(stops)
    # a break before the start or after the last time is none
    stops, rows = jnp.clip(stops[order], start_time, jnp.max(times, initial=start_time)), rows[order]
    total = jnp.maximum(stops[-1] - start_time, 1e-300)

    def go_on(s: Progress):
        within = (s.accepted < max_steps) & (s.attempts < REFUSALS * max_steps) & (s.products <= max_products)
        return (s.stop < len(stops)) & within

    def body(s: Progress):
        arrived = s.t >= stops[s.stop]
        return lax.cond(arrived, lambda s: _arrive(s, rows), lambda s: _attempt(s, stops[s.stop]), s)

    def _attempt(s: Progress, target):
        length = jnp.minimum(jnp.minimum(s.length, LONGEST_PART * total), target - s.t)
        last = length >= target - s.t
        found = _compared(box, rates, s.t, length, s.q)
        allowed = 0.5 * tolerance * (length / total + 1.0 / max_steps)
        fits = found.fastest * length <= LONGEST
        good = fits & (found.error <= allowed)
        factor = SAFETY * (allowed / jnp.maximum(found.error, 1e-300)) ** (1.0 / (ORDER + 1))
        factor = jnp.where(jnp.isfinite(factor), jnp.clip(factor, SHRINK, GROW), SHRINK)
        factor = jnp.where(fits, factor, SAFETY * LONGEST / (found.fastest * length))
        # a step cut short by a stop says nothing against the length before
        following = jnp.where(good & last, jnp.maximum(length * factor, s.length), length * factor)
        table = _two_exponentials(_two_exponentials(s.table, s.t, length / 2), s.t + length / 2, length / 2)
        return s._replace(
            t=jnp.where(good, jnp.where(last, target, s.t + length), s.t),
            length=following,
            q=jnp.where(good, found.q, s.q),
            table=jax.tree.map(lambda new, old: jnp.where(good, new, old), table, s.table),
            error=s.error + jnp.where(good, found.error, 0.0),
            accepted=s.accepted + good,
            attempts=s.attempts + 1,
            products=s.products + jnp.where(good, found.products, 0),
        )

    first = Progress(
        *(start_time, total / 64, start, jnp.asarray(0), _empty(4 * max_steps + 4 + len(stops), len(times))),
        *(jnp.zeros(()), jnp.zeros(len(times) + 1), jnp.asarray(0), jnp.asarray(0), jnp.asarray(0)),
    )
    end = lax.while_loop(go_on, body, first)
    done = end.stop == len(stops)
    code = jnp.where(done, Ending.SUCCESS, jnp.where(end.products > max_products, Ending.PRODUCTS, Ending.STEPS))
    used = jnp.where(done, end.table.used, 0)
    return end.table._replace(used=used, products=end.products), end.errors[:-1], code


def _held(rates: GroupedRates) -> GroupedRates:
    return lambda t: lax.stop_gradient(rates(t))


class Compared(NamedTuple):
    """Two steps of half the length, the distance of one step from them, and what they cost."""

    q: Array
    error: Array
    fastest: Array
    products: Array


def _compared(box: Box, rates: GroupedRates, t, length, q) -> Compared:
    parts = [(t, length), (t, length / 2), (t + length / 2, length / 2)]
    at = jnp.stack([begin + node * long for begin, long in parts for node in NODES])
    values = jax.vmap(rates)(at).reshape(len(parts), len(NODES), *box.inside.shape)
    # (parts, exponentials, groups, states)
    mixed = jnp.einsum("en,pngx->pegx", jnp.array(MIX), values)

    def one(state, each):
        values, duration = each
        q, products = state
        p = jumps(box, values)
        weights = poisson_weights(p.rate * duration, TERMS, TAIL)
        return (exponential(box, p, weights, q), products + weights.last), None

    def steps(values, long):
        exponentials = values.reshape(-1, *box.inside.shape)
        durations = jnp.broadcast_to(long / 2, len(exponentials))
        return lax.scan(one, (q, jnp.asarray(0)), (exponentials, durations))[0]

    coarse, _ = steps(mixed[:1], length)
    fine, products = steps(mixed[1:], length / 2)
    fastest = jnp.max(jax.vmap(total_rate)(values.reshape(-1, *box.inside.shape)))
    error = jnp.maximum(jnp.sum(jnp.abs(fine - coarse)), _unseen(box, rates, t, length, values[1:], fine))
    return Compared(fine, error, fastest, products)


def _unseen(box: Box, rates: GroupedRates, t, length, values, q) -> Array:
    """What a jump of the rates beyond the outermost nodes would change: their difference from a cubic at the ends."""
    ends = jax.vmap(rates)(t + jnp.array(ENDS) * length)
    foreseen = jnp.einsum("en,ngx->egx", jnp.array(TO_ENDS), values.reshape(-1, *box.inside.shape))
    return length * jnp.max(jnp.abs(ends - foreseen) @ q @ jnp.ones(len(box.shifts)))


def _empty(entries: int, outputs: int) -> Steps:
    zeros = jnp.zeros((entries, 2))
    return Steps(jnp.zeros(entries), zeros, zeros, jnp.full(entries, outputs), jnp.asarray(0), jnp.asarray(0))


def _two_exponentials(table: Steps, t, length) -> Steps:
    for mix in MIX:
        k = table.used
        table = table._replace(
            duration=table.duration.at[k].set(length / 2),
            nodes=table.nodes.at[k].set(t + jnp.array(NODES) * length),
            mix=table.mix.at[k].set(jnp.array(mix)),
            used=k + 1,
        )
    return table


def _arrive(s: Progress, rows) -> Progress:
    """An entry without duration, which writes an output or nothing."""
    k, row = s.table.used, rows[s.stop]
    table = s.table._replace(
        nodes=s.table.nodes.at[k].set(s.t),
        mix=s.table.mix.at[k].set(0.5),
        row=s.table.row.at[k].set(row),
        duration=s.table.duration.at[k].set(0.0),
        used=k + 1,
    )
    return s._replace(table=table, stop=s.stop + 1, errors=s.errors.at[row].set(s.error))
