"""A path of Wiener processes that is a function of its key alone, and costs a few random numbers at each time.

A virtual Brownian tree halves the whole time again and again until it comes to where it is asked. Here the values at
the ends of equal cells are drawn ahead, all at once, and the halving begins in a cell; it ends in a leaf that is
shorter than any step, in which the path is that of a Brownian bridge with one normal number for the whole leaf. So the
values at any times of which no two lie in one leaf have the law of a Wiener process.
"""

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

CELLS = 2**10
# Halvings of a cell: at least so many, so that paths in steps of different lengths are the same; and not more than have
# numbers of 32 bits.
HALVINGS, MOST = 3, 21


class WienerPath(diffrax.AbstractBrownianPath):
    """Increments of independent Wiener processes between two times.

    Args:
        t0, t1: where the path begins and ends.
        ends: `(CELLS + 1, sources)`, values at the ends of the cells.
        key: of what lies within cells.
        halvings: of a cell, down to its leaves.
    """

    # what diffrax declares as variables of the class are those of a path
    t0: Float[Array, ""]  # type: ignore[misc]
    t1: Float[Array, ""]  # type: ignore[misc]
    ends: Float[Array, "ends sources"]
    key: Array
    halvings: Int[Array, ""]

    levy_area: ClassVar = diffrax.BrownianIncrement  # type: ignore[misc]

    @classmethod
    def of(cls, key, t0, t1, sources: int, shortest) -> "WienerPath":
        """The path of a key.

        Args:
            shortest: no two of the times at which it is asked are nearer to one another.
        """
        t0, t1, shortest = map(lax.stop_gradient, (t0, t1, shortest))
        cell = (t1 - t0) / CELLS
        halvings = jnp.ceil(jnp.log2(jnp.maximum(cell / shortest, 1e-300))) + 1
        first, inner = jax.random.split(key)
        steps = jnp.sqrt(cell) * jax.random.normal(first, (CELLS, sources))
        ends = jnp.concatenate([jnp.zeros((1, sources)), jnp.cumsum(steps, axis=0)])
        halvings = jnp.clip(halvings, HALVINGS, MOST).astype(int)
        return cls(t0=t0, t1=t1, ends=ends, key=inner, halvings=halvings)  # type: ignore[call-arg]

    def evaluate(self, t0, t1=None, left: bool = True, use_levy: bool = False):
        value = self._at(t0) if t1 is None else self._at(t1) - self._at(t0)
        return value if not use_levy else diffrax.BrownianIncrement(dt=t0 if t1 is None else t1 - t0, W=value)

    def _at(self, t) -> Float[Array, " sources"]:
        place = lax.stop_gradient(jnp.clip((t - self.t0) / (self.t1 - self.t0), 0.0, 1.0)) * CELLS
        cell = jnp.minimum(place.astype(int), CELLS - 1)
        low, high = self.ends[cell], self.ends[cell + 1]

        def halve(_, state):
            # the node's number in its level, with the levels one after another, names its random numbers
            node, within, size, low, high = state
            middle = (low + high) / 2 + jnp.sqrt(size) / 2 * self._normal(node)
            right = within >= 0.5
            within = 2 * within - right
            return 2 * node + right, within, size / 2, jnp.where(right, middle, low), jnp.where(right, high, middle)

        size = (self.t1 - self.t0) / CELLS
        first = CELLS + cell, place - cell, size, low, high
        node, within, size, low, high = lax.fori_loop(0, self.halvings, halve, first)
        bridge = jnp.sqrt(size * within * (1 - within)) * self._normal(node)
        return lax.stop_gradient(low + within * (high - low) + bridge)

    def _normal(self, node) -> Float[Array, " sources"]:
        return jax.random.normal(jax.random.fold_in(self.key, node), self.ends.shape[1:])
