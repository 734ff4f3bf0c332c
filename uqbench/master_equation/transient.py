"""The distribution of the counts over time, by the finite state projection (Munsky and Khammash 2006,
doi:10.1063/1.2145882).

States outside a box are lumped into one that is never left. The probabilities inside are then lower bounds of the true
ones, and what is missing from one is the whole error: `leaked`, a certificate that needs no second solve.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.interpreters.partial_eval import dce_jaxpr
from jaxtyping import Array, Float, Int

from ..annotations import AnyArray, Numbers
from ..errors import InputError
from . import time_varying
from .box import Box, Rates, box_of, each_rate, rates_of_states, sound
from .chain import Chain, Steps, run, solve
from .closures import with_arguments
from .codes import Ending
from .dense import dense_rows
from .uniformisation import UNROLLED, Sum, generator, longest_step, total_rate

# Jumps at the fastest state's rate, over all times, that are followed by default.
MAX_PRODUCTS = 2**15
# Poisson weights of an exponential under constant rates, at most: more would not save a tenth of the products.
TERMS = 512 * UNROLLED + 1
LONGEST = longest_step(TERMS)
# Rates that vary with time are computed for so many exponentials at once in derivatives, and are at most so many.
FEW_AND_MANY, TOGETHER = (4, 32), 2**18
METHODS = ("uniformisation", "dense")


class Distribution(NamedTuple):
    """Probabilities of the counts at each time.

    Args:
        probability: `(times, *shape)`; NaN where the code is not zero.
        leaked: `(times,)`, probability that has left the box or was left out of the sums; the sum of absolute errors
            of `probability` is at most this, up to `error`.
        error: `(times,)`, what is added to it by rounding (a bound) and, where rates vary with time, by the steps (an
            estimate: the difference from a solution with steps twice as long).
        code: of `Ending`.
        products: with the generator.
    """

    probability: Float[Array, "..."]
    leaked: Float[Array, " times"]
    error: Float[Array, " times"]
    code: Int[Array, ""]
    products: Int[Array, ""]


def distribution(
    rates: Rates,
    changes: AnyArray,
    start: Numbers | Sequence[int],
    times: Numbers | Sequence[float],
    shape: tuple[int, ...],
    *,
    start_time: Numbers = 0.0,
    tolerance: float = 1e-10,
    step_tolerance: float = 1e-8,
    method: str = "uniformisation",
    breaks: Numbers | Sequence[float] = (),
    max_products: int = MAX_PRODUCTS,
    max_steps: int = 512,
) -> Distribution:
    """Solve the chemical master equation in a box of counts; traceable, differentiable in both modes.

    Derivatives are with respect to what `rates` closes over, a `start` that is a distribution, and `times`. Whether the
    rates vary with time is found by tracing; where they do not, the solution is exact but for what `leaked` says.

    Args:
        rates: `rates(t, counts)` -> one rate for each reaction, JAX of one state: `t` and each of the tuple `counts`
            are scalars.
        changes: `(reactions, species)` integers, what each reaction adds to the counts.
        start: counts `(species,)`, or a distribution over the box, of the box's shape.
        times: `(times,)`, none before `start_time`, rising.
        shape: states of each species, counts 0 to shape[i] - 1.
        tolerance: what the truncated sums may lose, under constant rates.
        step_tolerance: error by the steps, under rates that vary with time (sum of absolute differences).
        method: "uniformisation", or "dense" for few states and very fast reactions; `method_for` chooses.
        breaks: `(breaks,)`, times at which the rates jump or bend. A jump that is not named costs many steps, and a
            pulse that is shorter than a sixteenth of the whole time may not be seen.
        max_products: limit of the number of jumps of the fastest state over all times. The memory of reverse mode
            grows with its square root.
        max_steps: limit of the number of steps in time; the memory of derivatives grows with it.

    Raises:
        InputError: shapes that do not fit one another.

    Example:
        >>> import jax.numpy as jnp
        >>> found = distribution(lambda t, y: (10.0, 1.0 * y[0]), [[1], [-1]], [0], [1.0], (40,))
        >>> round(float(jnp.sum(found.probability[0] * jnp.arange(40))), 6)
        6.321206
    """
    changes, start, times = np.asarray(changes), jnp.asarray(start), jnp.asarray(times, float)
    _check(changes, start, times, shape, method)
    box = box_of(changes, shape)
    first, outside = _start(box, start)
    start_time = lax.stop_gradient(jnp.asarray(start_time, float))
    held = lax.stop_gradient(times)

    def at(t):
        return each_rate(rates, t, box.counts(), len(changes))

    box = replace(box, moving=_moving(box, time_dependent(at)))
    if box.moving:
        solved = _time_varying(
            *(box, at, first, start_time, held, jnp.asarray(breaks, float)),
            *(step_tolerance, max_steps, max_products),
        )
    else:
        values, bad = _sound_groups(box, at(start_time), range(len(box.members)))
        solved = _constant_rates(
            box, values, bad, first, held - start_time, method, tolerance=tolerance, max_products=max_products
        )
    # a time moves the distribution by its slope there
    rows = solved.rows + solved.slopes * (times - held)[:, None]
    code = jnp.where(jnp.any((rows > 0) & solved.bad), Ending.BAD_RATE, solved.code)
    code = jnp.where(outside, Ending.OUTSIDE, code)
    rows = jnp.where(code == 0, rows, jnp.nan)
    leaked = jnp.maximum(1.0 - jnp.sum(rows, axis=1), 0.0)
    return Distribution(rows.reshape(-1, *shape), leaked, solved.error, code, solved.products)


class _Solved(NamedTuple):
    """Distributions `(times, states)` and their slopes in time, their error, and the states with impossible rates."""

    rows: Array
    slopes: Array
    error: Array
    bad: Array
    code: Array
    products: Array


def _constant_rates(
    box: Box, values, bad, first, elapsed, method: str, *, tolerance: float, max_products: int
) -> _Solved:
    if method == "dense":
        rows, products, rounding, code = dense_rows(box, values, first, elapsed)
    else:
        rows, products, code = _uniformised(box, values, first, elapsed, tolerance, max_products)
        rounding = jnp.full(len(elapsed), _rounding(box, products))
    slopes = jax.vmap(lambda row: generator(box, values, row))(rows)
    return _Solved(rows, slopes, rounding, bad, code, products)


def _time_varying(
    box: Box, at, first, start_time, times, breaks, tolerance: float, max_steps: int, max_products: int
) -> _Solved:
    moving, consts = with_arguments(lambda t: _sound_groups(box, at(t), box.moving), start_time)
    still = [g for g in range(len(box.members)) if g not in box.moving]
    values, bad = _sound_groups(box, at(start_time), still)
    fixed = jnp.zeros(box.inside.shape).at[jnp.array(still, int)].set(values)
    given = fixed, consts
    together = int(np.clip(TOGETHER // max(1, len(box.moving) * box.states), *FEW_AND_MANY))
    found = time_varying.adaptive_steps(
        *(box, moving, given, first, start_time, times, breaks.reshape(-1)),
        *(tolerance, max_steps, max_products, together),
    )
    ends = time_varying.sum_of(tolerance, max_steps)
    chain = Chain(box, partial(_at_nodes, moving), len(found.rows), ends, together)
    rows = run(chain, given, first, found.steps, found.rows)[found.place]

    def slope(t, row):
        return generator(box, fixed.at[jnp.array(box.moving)].add(moving(t, *consts)[0]), row)

    error = found.error + _rounding(box, found.products)
    slopes = jax.vmap(slope)(times, rows)
    return _Solved(rows, slopes, error, bad | found.bad, found.code, found.products)


def _sound_groups(box: Box, rates: Sequence[Array], groups: Sequence[int]) -> tuple[Array, Array]:
    """Rates `(groups, states)` of some groups, and the states `(states,)` in which one is impossible."""
    wanted = [r for g in groups for r in box.members[g]]
    values, bad = sound(jnp.stack([rates[r] for r in wanted]) if wanted else jnp.zeros((0, box.states)))
    return box.of_groups(dict(zip(wanted, values, strict=True)), groups), bad


def _moving(box: Box, depends: Sequence[bool]) -> tuple[int, ...]:
    return tuple(g for g, members in enumerate(box.members) if any(depends[r] for r in members))


def _rounding(box: Box, products: Array) -> Array:
    """What rounding may add to a sum of absolute values."""
    return products * (len(box.shifts) + 4) * jnp.finfo(float).eps


def _check(changes, start, times, shape: tuple[int, ...], method: str) -> None:
    findings = []
    if changes.ndim != 2 or changes.shape[1] != len(shape):
        findings.append(f"`changes` has shape {changes.shape}; it must be (reactions, {len(shape)}), as `shape` says")
    elif not np.issubdtype(changes.dtype, np.integer):
        findings.append("`changes` are not integers; molecules are counted")
    if min(shape, default=0) < 1:
        findings.append(f"`shape` is {shape}; each species needs at least one state")
    if start.shape not in ((len(shape),), tuple(shape)):
        findings.append(f"`start` has shape {start.shape}; allowed are ({len(shape)},) and {tuple(shape)}")
    if times.ndim != 1:
        findings.append(f"`times` has shape {times.shape}; it must be one list of times")
    if method not in METHODS:
        findings.append(f"method {method!r} is unknown; known are {', '.join(map(repr, METHODS))}")
    if findings:
        raise InputError("master equation", findings)


def _start(box: Box, start) -> tuple[Array, Array]:
    """The initial distribution `(states,)`, and whether counts lie outside the box."""
    # a box of one species with as many states as species is a distribution: counts are then one number
    if start.shape == box.shape and (len(box.shape) > 1 or box.shape[0] > 1):
        return start.astype(float).reshape(-1), jnp.asarray(False)
    there = [counts == start[k] for k, counts in enumerate(box.counts())]
    found = jnp.stack(there).all(axis=0).astype(float)
    return found, jnp.sum(found) == 0


def time_dependent(function: Callable[[Array], Sequence[Array]]) -> list[bool]:
    """Which of the results of `function(t)` depend on t, read from what it does and not from values."""
    traced = jax.make_jaxpr(function)(jnp.zeros(())).jaxpr
    found = []
    for k in range(len(traced.outvars)):
        _, used = dce_jaxpr(traced, [k == each for each in range(len(traced.outvars))])
        found.append(bool(used[-1]))
    return found


def _uniformised(box: Box, values: Array, first: Array, elapsed: Array, tolerance: float, max_products: int):
    """Rows `(times, states)` under constant rates, products, code."""
    entries = len(elapsed) + int(max_products / LONGEST) + 1
    fastest = lax.stop_gradient(total_rate(values))
    steps, enough = _even_steps(elapsed, fastest, entries)
    enough = enough & (fastest * jnp.max(elapsed, initial=0.0) <= max_products)
    steps = steps._replace(used=jnp.where(enough, steps.used, 0))
    chain = Chain(box, _nothing_moving, len(elapsed), Sum(TERMS, tolerance / entries))
    given: tuple[Array, list[Array]] = values, []
    rows, products = solve(chain, given, first, steps)
    return run(chain, given, first, steps, rows), products, jnp.where(enough, Ending.SUCCESS, Ending.PRODUCTS)


def _even_steps(elapsed: Array, fastest: Array, entries: int) -> tuple[Steps, Array]:
    """Each interval between outputs in as many equal parts as keep them short enough."""
    gaps = jnp.diff(elapsed, prepend=0.0)
    parts = jnp.maximum(jnp.ceil(fastest * gaps / LONGEST), 1.0)
    ends = jnp.cumsum(parts)
    place = jnp.arange(entries)
    interval = jnp.minimum(jnp.searchsorted(ends, place, side="right"), len(elapsed) - 1)
    row = jnp.where(place == ends[interval] - 1, interval, len(elapsed))
    nothing = jnp.zeros((entries, 0))
    duration = jnp.where(place < ends[-1], gaps[interval] / parts[interval], 0.0)
    steps = Steps(duration, nothing, nothing, row, ends[-1].astype(int))
    return steps, ends[-1] <= entries


def _nothing_moving(nodes, consts):
    return jnp.zeros((0, 0, 0))


def _at_nodes(moving, nodes, consts):
    return jax.vmap(lambda t: moving(t, *consts)[0])(nodes)


def method_for(rates: Rates, changes: AnyArray, times: AnyArray, shape: tuple[int, ...]) -> str:
    """The cheaper method, on the host, from the rates at `times[0]`: `METHODS`.

    A product costs a loop's overhead and a pass over the stencil; the dense exponential some twenty products of
    matrices and one more for each doubling, for each time, and memory for all of them in a gradient.
    """
    box = box_of(changes, shape)
    times = np.asarray(times, float)
    values, _ = sound(rates_of_states(rates, times[0], box.counts(), len(changes)))
    jumps = float(total_rate(box.grouped(values))) * times.max(initial=0.0)
    by_products = 1.2 * jumps * (3e-6 + 3e-10 * box.states * (len(box.shifts) + 2))
    by_matrices = len(times) * 64.0 * (5e-6 + 2e-10 * box.states**3)
    return "dense" if box.states <= 512 and by_matrices < by_products else "uniformisation"
