"""Steps in time for rates that vary with it: a commutator-free Magnus rule of order four, with error control.

A step is two exponentials of mixtures of the generator at the two Gauss nodes (Blanes and Moan 2006,
doi:10.1016/j.apnum.2005.11.004), so that each is again a generator to uniformise. The exact propagator never makes a
sum of absolute values larger, so that errors of steps only add: their sum bounds the error at the end. The error of a
step is estimated from its distance to two steps of half the length, which are what is kept.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import sequential_vmap
from jaxtyping import Array, Bool, Float

from .box import Box
from .chain import Steps
from .codes import Ending
from .exponentials import Generators, exponentials
from .uniformisation import UNROLLED, Sum, longest_step, total_rate

# Gauss nodes of a step, and the mixtures of the generators there, first exponential first.
NODES = (0.5 - math.sqrt(3.0) / 6.0, 0.5 + math.sqrt(3.0) / 6.0)
MIX = (
    (0.5 + 1.0 / math.sqrt(3.0), 0.5 - 1.0 / math.sqrt(3.0)),
    (0.5 - 1.0 / math.sqrt(3.0), 0.5 + 1.0 / math.sqrt(3.0)),
)
ORDER = 4
# Two steps of half the length are 2^ORDER - 1 times nearer to the solution than their distance from the one, if steps
# are short; less is counted upon.
NEARER = 5.0
# Exponentials of a step: two for each half.
PER_STEP = 4
# The ends of a step, on this side of a jump that is there, and the values there of a cubic through those at the nodes
# of the two halves.
ENDS = (1e-9, 1.0 - 1e-9)
HALVES = np.array([node / 2 + half for half in (0.0, 0.5) for node in NODES])
TO_ENDS = [[np.prod([(end - b) / (a - b) for b in HALVES if b != a]) for a in HALVES] for end in ENDS]
# The longest step in parts of the whole time.
LONGEST_PART = 1 / 16
SAFETY, SHRINK, GROW = 0.9, 0.1, 4.0
# Of the error that is allowed, what goes by the length of a step; the error of a step across a jump does not fall
# faster than its length.
BY_LENGTH = 0.8
# Poisson weights of an exponential, at most: steps are short for the sake of their error, and there are many.
TERMS = 128 * UNROLLED + 1
LONGEST = longest_step(TERMS)
# What all sums together may leave of the error that is allowed.
LEFT_OUT = 1e-3
# Refused attempts for each step that is allowed.
REFUSALS = 4

# (t, *consts) -> rates `(moving groups, states)`, and the states `(states,)` in which one of them is impossible
MovingRates = Callable[..., tuple[Float[Array, "moving states"], Bool[Array, " states"]]]


class Progress(NamedTuple):
    t: Array
    length: Array
    q: Array
    # how many stops have been reached, the distributions there and the sums of errors
    stop: Array
    rows: Array
    errors: Array
    error: Array
    table: Steps
    bad: Array
    accepted: Array
    attempts: Array
    products: Array


def sum_of(tolerance: float, max_steps: int) -> Sum:
    """How the sum of an exponential ends."""
    return Sum(TERMS, max(LEFT_OUT * tolerance / (PER_STEP * max_steps), 1e-15))


class Adaptive(NamedTuple):
    """Steps under error control, and what they lead to.

    Args:
        steps: their rows count all stops, of which some are times of the output.
        place: `(times,)`, the stop of each time.
        rows: `(stops, states)`, distributions; zero where not reached, or where a stop equals the one before.
        error: `(times,)`, the estimated error (sum of absolute values).
        bad: `(states,)`, whether a rate was impossible there at any time.
    """

    steps: Steps
    place: Array
    rows: Array
    error: Array
    bad: Array
    code: Array
    products: Array


def even_steps(start: float, end: float, count: int) -> Steps:
    """`count` steps of one length to one output, without error control."""
    length = (end - start) / count
    table = _empty(2 * count, 1)
    for k in range(count):
        table = _written(table, start + k * length, length, 1, 1, 2)
    return table._replace(row=table.row.at[-1].set(0))


def adaptive_steps(
    box: Box,
    moving: MovingRates,
    given: tuple[Float[Array, "groups states"], list[Array]],
    start: Float[Array, " states"],
    start_time: Float[Array, ""],
    times: Float[Array, " times"],
    breaks: Float[Array, " breaks"],
    tolerance: float,
    max_steps: int,
    max_products: int,
    together: int,
) -> Adaptive:
    """Derivatives are taken at fixed steps, so that nothing here has one.

    Args:
        given: fixed rates, and what `moving` takes beside the time.
        together: of which the number of entries shall be a multiple.
    """

    # batched over members, all would go on as long as the slowest
    @sequential_vmap
    def of_one(given, start, start_time, times, breaks):
        fixed, consts = given
        return _adaptive(
            *(box, fixed, lambda t: moving(t, *consts), start, start_time, times, breaks),
            *(tolerance, max_steps, max_products, together),
        )

    return of_one(*jax.tree.map(lax.stop_gradient, (given, start, start_time, times, breaks)))


def _adaptive(
    box: Box,
    fixed,
    moving,
    start,
    start_time,
    times,
    breaks,
    tolerance: float,
    max_steps: int,
    max_products: int,
    together: int,
) -> Adaptive:
    # a break before the start or after the last time is none
    stops = jnp.sort(jnp.concatenate([times, breaks]))
    stops = jnp.clip(stops, start_time, jnp.max(times, initial=start_time))
    total = jnp.maximum(stops[-1] - start_time, 1e-300)
    ends = sum_of(tolerance, max_steps)

    def go_on(s: Progress):
        within = (s.accepted < max_steps) & (s.attempts < REFUSALS * max_steps) & (s.products <= max_products)
        return (s.stop < len(stops)) & within

    def attempt(s: Progress):
        target = stops[s.stop]
        length = jnp.minimum(jnp.minimum(s.length, LONGEST_PART * total), target - s.t)
        last = length >= target - s.t
        found = _compared(box, fixed, moving, s.t, length, s.q, ends)
        # of what is left a share by length, so that easy stretches pay for hard ones; and a little for a jump
        left = jnp.maximum(stops[-1] - s.t, 1e-300)
        allowed = (tolerance - s.error) * (BY_LENGTH * length / left + (1.0 - BY_LENGTH) / max_steps)
        fits = found.fastest * length <= LONGEST
        good = fits & (found.error <= allowed)
        factor = SAFETY * (allowed / jnp.maximum(found.error, 1e-300)) ** (1.0 / (ORDER + 1))
        factor = jnp.where(jnp.isfinite(factor), jnp.clip(factor, SHRINK, GROW), SHRINK)
        factor = jnp.where(fits, factor, SAFETY * LONGEST / (found.fastest * length))
        # a step cut short by a stop says nothing against the length before
        following = jnp.where(good & last, jnp.maximum(length * factor, s.length), length * factor)
        error = s.error + jnp.where(good, found.error, 0.0)
        arrives = good & last
        place = jnp.where(arrives, s.stop, len(stops))
        # written in any case: what is refused is written over
        table = _written(s.table, s.t, length, place, len(stops), PER_STEP)
        return Progress(
            t=jnp.where(good, jnp.where(last, target, s.t + length), s.t),
            length=following,
            q=jnp.where(good, found.q, s.q),
            stop=jnp.where(arrives, jnp.searchsorted(stops, target, side="right"), s.stop),
            rows=lax.dynamic_update_index_in_dim(s.rows, found.q, place, 0),
            errors=s.errors.at[place].set(error),
            error=error,
            table=table._replace(used=jnp.where(good, table.used, s.table.used)),
            bad=s.bad | (good & found.bad),
            accepted=s.accepted + good,
            attempts=s.attempts + 1,
            products=s.products + jnp.where(good, found.products, 0),
        )

    at_start = jnp.searchsorted(stops, start_time, side="right")
    # the last row takes what is not kept
    rows = jnp.zeros((len(stops) + 1, box.states)).at[0].set(jnp.where(at_start > 0, start, 0.0))
    none = jnp.asarray(0)
    # the first entry has no duration: it is there for outputs at the start
    table = _empty(-(-PER_STEP * (max_steps + 2) // together) * together, len(stops))
    table = table._replace(used=none + 1, row=table.row.at[0].set(jnp.where(at_start > 0, 0, len(stops))))
    table = table._replace(nodes=table.nodes.at[0].set(start_time))
    end = lax.while_loop(
        go_on,
        attempt,
        Progress(
            *(start_time, total / 64, start, at_start, rows, jnp.zeros(len(stops) + 1), jnp.zeros(())),
            *(table, jnp.zeros(box.states, bool), none, none, none),
        ),
    )
    done = end.stop == len(stops)
    code = jnp.where(done, Ending.SUCCESS, jnp.where(end.products > max_products, Ending.PRODUCTS, Ending.STEPS))
    place = jnp.searchsorted(stops, jnp.maximum(times, start_time), side="left")
    steps = _closed(end.table, jnp.where(done, end.table.used, 0), len(stops))
    return Adaptive(steps, place, end.rows[:-1], end.errors[place], end.bad, code, end.products)


def _closed(table: Steps, used: Array, outputs: int) -> Steps:
    """Without what refused attempts have left behind the last entry."""
    within = jnp.arange(len(table.duration)) < used
    row = jnp.where(within, table.row, outputs)
    return table._replace(duration=jnp.where(within, table.duration, 0.0), row=row, used=used)


class Compared(NamedTuple):
    """Two steps of half the length, their estimated error, and what they cost."""

    q: Array
    error: Array
    bad: Array
    fastest: Array
    products: Array


def _compared(box: Box, fixed, moving, t, length, q, ends: Sum) -> Compared:
    parts = [(t, length), (t, length / 2), (t + length / 2, length / 2)]
    nodes = [begin + node * long for begin, long in parts for node in NODES]
    values, bad = jax.vmap(moving)(jnp.stack([*nodes, *(t + end * length for end in ENDS)]))
    inner, outer = values[: len(nodes)], values[len(nodes) :]
    by_part = inner.reshape(len(parts), 1, len(NODES), len(box.moving), box.states)

    def solved(values, durations):
        # two exponentials of each part, with the same nodes
        nodes = jnp.repeat(values, len(MIX), axis=1).reshape(-1, *values.shape[2:])
        mix = jnp.tile(np.array(MIX), (len(values), 1))
        return exponentials(box, Generators(fixed, nodes, mix), durations, q, ends)

    coarse, _ = solved(by_part[:1], jnp.broadcast_to(length / 2, PER_STEP // 2))
    fine, products = solved(by_part[1:], jnp.broadcast_to(length / 4, PER_STEP))
    fastest = total_rate(fixed) + jnp.max(jax.vmap(total_rate)(inner))
    differs = jnp.sum(jnp.abs(fine[-1] - coarse[-1])) / NEARER
    error = jnp.maximum(differs, _unseen(length, inner[len(NODES) :], outer, fine[-1]))
    return Compared(fine[-1], error, jnp.any(bad, axis=0), fastest, jnp.sum(products).astype(int))


def _unseen(length, inner, outer, q) -> Array:
    """What a jump of the rates beyond the outermost nodes would change: their difference from a cubic at the ends."""
    foreseen = jnp.einsum("en,ngx->egx", jnp.array(TO_ENDS), inner)
    return length * jnp.max(jnp.sum(jnp.abs(outer - foreseen) @ q, axis=-1))


def _empty(entries: int, outputs: int) -> Steps:
    zeros = jnp.zeros((entries, 2))
    return Steps(jnp.zeros(entries), zeros, zeros, jnp.full(entries, outputs), jnp.asarray(0))


def _written(table: Steps, t, length, row, nowhere: int, count: int) -> Steps:
    """With `count` exponentials, two for each of `count` / 2 equal parts of a step, at whose end is the output `row`.

    Args:
        nowhere: the row of entries that reach no output.
    """
    part = length / (count // 2)
    begins = t + part * np.repeat(np.arange(count // 2), 2)
    new = {
        "duration": jnp.broadcast_to(part / 2, count),
        "nodes": begins[:, None] + np.array(NODES) * part,
        "mix": jnp.tile(np.array(MIX), (count // 2, 1)),
        "row": jnp.full(count, nowhere).at[-1].set(row),
    }
    columns = {
        name: lax.dynamic_update_slice_in_dim(getattr(table, name), jnp.asarray(value), table.used, 0)
        for name, value in new.items()
    }
    return Steps(**columns, used=table.used + count)
