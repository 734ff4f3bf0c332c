"""A stabilised explicit step for many states that diffuse: no matrices, and hardly more work for finer grids.

Runge-Kutta-Chebyshev of second order (Sommeijer, Shampine & Verwer 1998, doi:10.1016/S0377-0427(97)00219-7): s stages
are stable for eigenvalues on the negative real axis down to -.65 s^2 / h, so that s grows with the root of the largest
of them. Like every step here it is a sum of rates, by which what is conserved is kept to rounding.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

State = Float[Array, " n"]
# rates at a time and a state; what else they depend on comes as a pytree
Field = Callable[[Array, State, Any], State]
DAMPING = 2 / 13
# Length of the stable interval by s^2 - 1, with this damping; the share of it that is used.
STABLE, USED = 2 / 3 * (1 - 2 / 15 * DAMPING), 0.95
MOST_STAGES = 2000
# Products of the Jacobian from which its radius is estimated, and what is added to that for what they miss.
PRODUCTS, MARGIN = 20, 1.2
# How a loop whose length depends on values is run: plainly, or recorded so that it can be differentiated in reverse.
Loop = Literal["lax", "checkpointed"]
CHECKPOINTS = 64


def loop(kind: Loop, more, body, start):
    """A loop while `more(state)`; "checkpointed" has derivatives in reverse mode, "lax" those in forward mode."""
    if kind == "lax":
        return lax.while_loop(more, body, start)
    return eqxi.while_loop(more, body, start, kind="checkpointed", checkpoints=CHECKPOINTS)


def chebyshev_step(
    field: Field, t, y: State, h, given, radius=None, kind: Loop = "lax"
) -> tuple[State, Bool[Array, ""]]:
    """The state after one step, and whether it is finite and had enough stages; traceable.

    Args:
        field: `field(t, y, given)`. radius: at least the largest of the absolute eigenvalues of its derivative by y;
            default an estimate from products of that derivative, which costs as much as 40 stages.

    Example:
        >>> y, solved = chebyshev_step(lambda t, y, k: -k * y, 0.0, jnp.ones(2), 0.1, jnp.array([1.0, 1e4]))
        >>> round(float(y[0]), 3), bool(abs(y[1]) < 1)
        (0.905, True)
    """
    bound = estimated_radius(field, t, y, given) if radius is None else radius
    needed = jnp.ceil(jnp.sqrt(1 + lax.stop_gradient(jnp.abs(h) * bound) / (STABLE * USED)))
    count = jnp.clip(needed, 2, MOST_STAGES)
    if kind == "lax":
        change = _stages(field, count, (t, y, h, given))[0]
    else:
        change = _reversible_stages(field, count, (t, y, h, given))
    after = y + change
    return after, jnp.all(jnp.isfinite(after)) & (needed <= MOST_STAGES)


class _Row(NamedTuple):
    """Coefficients of a stage: its change is mu last + nu before + scaled h (field at the node of last - a_last first).

    `a` and `node` are those of the change that it makes.
    """

    mu: Array
    nu: Array
    scaled: Array
    a: Array
    node: Array


class _Recurrence(NamedTuple):
    """T, T' and T'' of two orders at w0, and b of them."""

    last: tuple[Array, Array, Array]
    before: tuple[Array, Array, Array]
    b_last: Array
    b_before: Array


class _Coefficients:
    """Of all stages of a step."""

    def __init__(self, count):
        self.w0 = 1 + DAMPING / count**2
        angle = jnp.arccosh(self.w0)
        sinh, cosh, root = jnp.sinh(count * angle), jnp.cosh(count * angle), jnp.sinh(angle)
        first = count * sinh / root
        self.w1 = first / (count**2 * cosh / root**2 - count * sinh * self.w0 / root**3)
        # T, T' and T'' of the two orders before: 1 and 2 make b of the order 2, which is also that of the lower ones
        self.b_start = 4.0 / (4 * self.w0) ** 2

    def start(self) -> tuple[_Recurrence, _Row]:
        one, none = jnp.ones(()), jnp.zeros(())
        b, w0, w1 = self.b_start, self.w0, self.w1
        row = _Row(none, none, b * w1, 1 - b * w0, w1 / w0 / (4 * w0))
        return _Recurrence((w0, one, none), (one, none, none), b, b), row

    def onward(self, so_far: _Recurrence) -> tuple[_Recurrence, _Row]:
        """Of the next stage."""
        (t1, d1, s1), (t0, d0, s0), b_last, b_before = so_far
        w0, w1 = self.w0, self.w1
        new = (2 * w0 * t1 - t0, 2 * t1 + 2 * w0 * d1 - d0, 4 * d1 + 2 * w0 * s1 - s0)
        b = new[2] / new[1] ** 2
        row = _Row(2 * b * w0 / b_last, -b / b_before, 2 * b * w1 / b_last, 1 - b * new[0], w1 * new[2] / new[1])
        return _Recurrence(new, so_far.last, b, b_last), row


# what rates depend on, and the step: t, y, h, given
Known = tuple[Array, State, Array, Any]


def _slope(field: Field, row: _Row, last_row: _Row, last: State, first: State, known: Known) -> State:
    """What the rates add in a stage, after the change `last`; `first` are those at the start."""
    t, y, h, given = known
    return row.scaled * h * (field(t + last_row.node * h, y + last, given) - last_row.a * first)


def _stages(field: Field, count, known: Known) -> tuple[State, State]:
    """The change in a step, and that of the stage before the last."""
    t, y, h, given = known
    first, coefficients = field(t, y, given), _Coefficients(count)
    recurrence, row = coefficients.start()

    def stage(carry):
        number, recurrence, last_row, last, before = carry
        recurrence, row = coefficients.onward(recurrence)
        now = row.mu * last + row.nu * before + _slope(field, row, last_row, last, first, known)
        return number + 1, recurrence, row, now, last

    start = (2 * jnp.ones(()), recurrence, row, row.scaled * h * first, jnp.zeros_like(y))
    *_, last, before = lax.while_loop(lambda carry: carry[0] <= count, stage, start)
    return last, before


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _reversible_stages(field: Field, count, known: Known) -> State:
    """The change in a step, differentiated in reverse mode without keeping its stages.

    The recurrence runs backward as well as forward: the product of its two solutions is near 1, so that where it is
    stable it is so both ways, and rounding grows by about as many times as there are stages.
    """
    return _stages(field, count, known)[0]


def _keep(field: Field, count, known: Known):
    last, before = _stages(field, count, known)
    return last, (count, known, last, before)


def _pull(field: Field, kept, weight: State):
    count, known, end, before_end = kept
    t, y, h, given = known
    first, pull_first = jax.vjp(field, t, y, given)
    coefficients = _Coefficients(count)

    def noted(carry):
        number, recurrence, rows = carry
        recurrence, row = coefficients.onward(recurrence)
        return number + 1, recurrence, rows.at[number].set(jnp.stack(row))

    recurrence, row = coefficients.start()
    rows = jnp.zeros((MOST_STAGES + 1, len(row))).at[1].set(jnp.stack(row))
    rows = lax.while_loop(lambda carry: carry[0] <= count, noted, (2, recurrence, rows))[2]

    def stage(carry):
        number, now, last, now_bar, last_bar, first_bar, known_bar = carry
        row, last_row = _Row(*rows[number]), _Row(*rows[number - 1])
        slope, pull = jax.vjp(lambda *moving: _slope(field, row, last_row, *moving), last, first, known)
        before = (now - row.mu * last - slope) / row.nu
        more_last, more_first, more_known = pull(now_bar)
        sums = jax.tree.map(jnp.add, (first_bar, known_bar), (more_first, more_known))
        return number - 1, last, before, last_bar + row.mu * now_bar + more_last, row.nu * now_bar, *sums

    none = jax.tree.map(jnp.zeros_like, (y, first, known))
    start = (count.astype(int), end, before_end, weight, *none)
    *_, begun_bar, _, first_bar, known_bar = lax.while_loop(lambda carry: carry[0] > 1, stage, start)
    more_t, more_y, more_given = pull_first(first_bar + row.scaled * h * begun_bar)
    more = (more_t, more_y, row.scaled * jnp.vdot(begun_bar, first), more_given)
    return jnp.zeros_like(count), jax.tree.map(jnp.add, known_bar, more)


_reversible_stages.defvjp(_keep, _pull)


def estimated_radius(field: Field, t, y: State, given) -> Array:
    """The largest absolute eigenvalue of the field's derivative by the power method, with a margin; not differentiated.

    For the spectra of diffusion the estimate before the margin is at least .9 of it.
    """
    t, y, given = lax.stop_gradient((t, y, given))
    # every frequency of a grid is in a sequence without a pattern
    vector = jnp.sin(1.0 + 12.9898 * jnp.arange(len(y)) ** 1.5)

    def product(_, state):
        vector, _ = state
        moved = jax.jvp(lambda y: field(t, y, given), (y,), (vector / jnp.linalg.norm(vector),))[1]
        size = jnp.linalg.norm(moved)
        return jnp.where(size > 0, moved, vector), size

    return MARGIN * lax.stop_gradient(lax.fori_loop(0, PRODUCTS, product, (vector, jnp.zeros(())))[1])
