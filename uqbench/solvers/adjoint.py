"""Reverse mode: the recorded steps are taken back one by one, so its price does not grow with the parameters.

The gradient is that of the discrete solution (every step, its dense output, the motion of the event times), at fixed
step sizes, as forward mode gives it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..errors import Result
from .stepping import Method, Problem, advance, attempt, begin, integrate, write


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 3))
def integrate_reversible(method: Method, define: Callable[[Any], Problem], given: Any, max_steps: int):
    """`stepping.integrate` of the problem `define(given)`, differentiable in reverse mode with respect to `given`.

    Returns:
        d rows `(n,)` at the problem's times, NaN where not reached; code; steps.
    """
    carry = integrate(method, define(given), max_steps)
    return carry["rows"], carry["code"], carry["steps"]


def _record(method, define, given, max_steps):
    problem = define(given)

    def body(state):
        carry, kept, tape = state
        new = advance(method, problem, carry, max_steps)
        now = jnp.stack([carry["t"], carry["h"], *carry["y"]])
        tape = lax.dynamic_update_index_in_dim(tape, now, kept, 0)
        # a refused step is overwritten by the next
        return new, kept + (new["rejections"] == 0), tape

    start = begin(problem)
    tape = jnp.zeros((max_steps, 2 + len(start["y"])))
    carry, kept, tape = lax.while_loop(
        # the tape has room for so many
        lambda state: state[0]["running"] & (state[1] < max_steps),
        body,
        (start, jnp.asarray(0), tape),
    )
    code = jnp.where(carry["running"], Result.STEP_LIMIT, carry["code"])
    kept = jnp.where(code == Result.SUCCESS, kept, 0)
    return (carry["rows"], code, carry["steps"]), (given, kept, tape)


def _take_back(method, define, max_steps, saved, cotangents):
    given, kept, tape = saved
    rows_bar = cotangents[0]
    size = len(rows_bar)

    def body(state):
        index, t_bar, y_bar, given_bar = state
        row = lax.dynamic_index_in_dim(tape, index, keepdims=False)

        def replay(t, y, given):
            problem = define(given)
            tried = attempt(method, problem, t, row[1], y)
            empty = [jnp.zeros_like(problem.times)] * size
            return tried.after, tried.state, write(method, problem, tried.passage, empty)

        _, pull = jax.vjp(replay, row[0], [row[2 + k] for k in range(size)], given)
        t_bar, y_bar, change = pull((t_bar, y_bar, rows_bar))
        return index - 1, t_bar, y_bar, jax.tree.map(jnp.add, given_bar, change)

    nothing = jax.tree.map(jnp.zeros_like, given)
    zero = jnp.zeros(())
    _, t_bar, y_bar, given_bar = lax.while_loop(
        lambda state: state[0] >= 0, body, (kept - 1, zero, [zero] * size, nothing)
    )

    def first(given):
        carry = begin(define(given))
        return carry["t"], carry["y"], carry["rows"]

    _, pull = jax.vjp(first, given)
    # times that no step has reached carry NaN, and the caller's zeros for them must not meet it
    (change,) = pull((t_bar, y_bar, [jnp.where(kept > 0, row, 0.0) for row in rows_bar]))
    return (jax.tree.map(jnp.add, given_bar, change),)


integrate_reversible.defvjp(_record, _take_back)
