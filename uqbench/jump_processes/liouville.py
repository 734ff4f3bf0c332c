"""The density of a piecewise deterministic process with one continuous number: Liouville-master equations.

In discrete state s the number x flows with the velocity v_s(x), and the state changes to u at the rate q_su(x):

    d p_s / dt + d (v_s p_s) / dx = sum_u q_us p_u - (sum_u q_su) p_s.

Finite volumes keep the probability of each cell (Innocentini, Hodgkinson & Radulescu 2018,
doi:10.3389/fphy.2018.00046): upwind fluxes from linear reconstructions with van Leer's limiter, of second order where
the density is smooth, and Heun's method within the steps that keep probabilities positive.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

# Share of the longest step that keeps probabilities positive.
COURANT = 0.45
# A density is at rest if in a mean waiting time no value of its distribution function moves by more than this.
REST = 1e-9
MOST_WAITS = 2000


class Process(NamedTuple):
    """A process on cells of one width.

    Args:
        velocity: at the faces of the cells (states, cells + 1); nothing passes the first and last face.
        transfer: rates (states, states, cells), from the first state to the second; zero on the diagonal.
        width: of a cell.
    """

    velocity: Array
    transfer: Array
    width: float

    def rates_of_change(self, probability: Array) -> Array:
        """Of probabilities (states, cells)."""
        inner = self.velocity[:, 1:-1]
        steps = jnp.diff(probability, axis=1)
        product = steps[:, :-1] * steps[:, 1:]
        total = steps[:, :-1] + steps[:, 1:]
        limited = jnp.where(product > 0.0, 2.0 * product / jnp.where(product > 0.0, total, 1.0), 0.0)
        half = 0.5 * jnp.pad(limited, ((0, 0), (1, 1)))
        left, right = (probability + half)[:, :-1], (probability - half)[:, 1:]
        flux = (jnp.maximum(inner, 0.0) * left + jnp.minimum(inner, 0.0) * right) / self.width
        flux = jnp.pad(flux, ((0, 0), (1, 1)))
        gained = jnp.einsum("usx,ux->sx", self.transfer, probability)
        return gained - jnp.sum(self.transfer, axis=1) * probability - jnp.diff(flux, axis=1)

    def longest_step(self) -> Array:
        """The step of the scheme."""
        passing = jnp.max(jnp.abs(self.velocity)) / self.width
        return COURANT / (passing + jnp.max(jnp.sum(self.transfer, axis=1)))

    def after(self, probability: Array, time: ArrayLike) -> Array:
        """Probabilities (states, cells) a while later."""
        count = jnp.ceil(time / self.longest_step())
        step = time / jnp.maximum(count, 1.0)

        def heun(_, p):
            first = p + step * self.rates_of_change(p)
            return 0.5 * (p + first + step * self.rates_of_change(first))

        return lax.fori_loop(0, count.astype(int), heun, probability)

    def at_rest(self, probability: Array) -> tuple[Array, Array]:
        """Probabilities when nothing moves any more, and whether that was reached."""
        leaving = jnp.mean(jnp.sum(self.transfer, axis=1), axis=1)
        wait = 1.0 / jnp.min(jnp.where(leaving > 0.0, leaving, jnp.inf))

        def moved(state):
            p, _, waits = state
            later = self.after(p, wait)
            change = jnp.max(jnp.abs(jnp.cumsum(later - p, axis=1)))
            return later, change, waits + 1

        def moves(state):
            _, change, waits = state
            return (change > REST) & (waits < MOST_WAITS)

        later, change, _ = lax.while_loop(moves, moved, (probability, jnp.asarray(jnp.inf), 0))
        return later, change <= REST


@jax.jit
def cell_probabilities(process: Process, start: Array, times: Array) -> Array:
    """Probabilities of the cells at each time.

    Args:
        process: on cells.
        start: probabilities (states, cells) at time 0.
        times: (times,), rising, 0 or later; the last one may be inf: at rest.

    Returns:
        (times, states, cells); NaN where rest was not reached.
    """

    def onward(carry, time):
        now, p = carry
        finite = jnp.isfinite(time)
        later = process.after(p, jnp.where(finite, time - now, 0.0))
        resting, reached = lax.cond(finite, lambda p: (p, jnp.asarray(True)), process.at_rest, later)
        resting = jnp.where(reached, resting, jnp.nan)
        return (jnp.where(finite, time, now), resting), resting

    return lax.scan(onward, (jnp.zeros(()), start), times)[1]
