"""A stabilised explicit step for many states that diffuse: no matrices, and hardly more work for finer grids.

Runge-Kutta-Chebyshev of second order (Sommeijer, Shampine & Verwer 1998, doi:10.1016/S0377-0427(97)00219-7): s stages
are stable for eigenvalues on the negative real axis down to -.65 s^2 / h, so that s grows with the root of the largest
of them. Like every step here it is a sum of rates, by which what is conserved is kept to rounding.
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

# rates `(n,)` at a time and a state `(n,)`; what else they depend on comes as a pytree
Field = Callable[[Array, Array, Any], Array]
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
    field: Field, t, y: Float[Array, " n"], h, given, radius=None, kind: Loop = "lax"
) -> tuple[Float[Array, " n"], Bool[Array, ""]]:
    """The state after one step, and whether it is finite and had enough stages; traceable.

    Args:
        field: `field(t, y, given)`. radius: at least the largest of the absolute eigenvalues of its derivative by y;
            default an estimate from products of that derivative, which costs as much as 40 stages.

    Example:
        >>> y, solved = chebyshev_step(lambda t, y, k: -k * y, 0.0, jnp.ones(2), 0.1, jnp.array([1.0, 1e4]))
        >>> round(float(y[0]), 3), bool(abs(y[1]) < 1)
        (0.905, True)
    """
    begun = field(t, y, given)
    bound = estimated_radius(field, t, y, given) if radius is None else radius
    needed = jnp.ceil(jnp.sqrt(1 + jnp.abs(h) * lax.stop_gradient(bound) / (STABLE * USED)))
    count = jnp.clip(needed, 2, MOST_STAGES)
    w0 = 1 + DAMPING / count**2
    angle = jnp.arccosh(w0)
    sinh, cosh = jnp.sinh(count * angle), jnp.cosh(count * angle)
    root = jnp.sinh(angle)
    first = count * sinh / root
    w1 = first / (count**2 * cosh / root**2 - count * sinh * w0 / root**3)
    # T, T' and T'' of the two orders before: 1 and 2 make b of the order 2, which is also that of the lower ones
    b_start = 4.0 / (4 * w0) ** 2

    def stage(carry):
        number, before, last, polynomials, b_before, b_last, a_last, node = carry
        (t1, d1, s1), (t0, d0, s0) = polynomials
        new = (2 * w0 * t1 - t0, 2 * t1 + 2 * w0 * d1 - d0, 4 * d1 + 2 * w0 * s1 - s0)
        b = new[2] / new[1] ** 2
        mu, nu, scaled = 2 * b * w0 / b_last, -b / b_before, 2 * b * w1 / b_last
        change = scaled * h * (field(t + node * h, y + last, given) - a_last * begun)
        now = mu * last + nu * before + change
        return number + 1, last, now, (new, (t1, d1, s1)), b_last, b, 1 - b * new[0], w1 * new[2] / new[1]

    one = jnp.ones(())
    second_node = w1 * 4 / (4 * w0)
    start = (
        2 * one, jnp.zeros_like(y), b_start * w1 * h * begun, ((w0, one, 0 * one), (one, 0 * one, 0 * one)),
        b_start, b_start, 1 - b_start * w0, second_node / (4 * w0),
    )  # fmt: skip
    end = loop(kind, lambda carry: carry[0] <= count, stage, start)
    after = y + end[2]
    return after, jnp.all(jnp.isfinite(after)) & (needed <= MOST_STAGES)


def estimated_radius(field: Field, t, y: Float[Array, " n"], given) -> Array:
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
