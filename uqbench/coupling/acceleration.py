"""Fixed points x = g(x) of coupled solves: relaxation, Aitken, Anderson, interface quasi-Newton.

All take the residual r = g(x) - x of one more solve of the parts and say where to go. Aitken's relaxation: Irons & Tuck
1969, doi:10.1002/nme.1620010306, and Kuettler & Wall 2008, doi:10.1007/s00466-008-0255-5. Anderson's mixing: Anderson
1965, doi:10.1145/321296.321305; Walker & Ni 2011, doi:10.1137/10078356X. IQN-ILS: Degroote, Bathe & Vierendeels 2009,
doi:10.1016/j.compstruc.2008.11.013. Within a window IQN-ILS is Anderson's method of unlimited depth; it also begins
with the differences that earlier windows have left.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..errors import InputError

# Singular values of differences, each of the length 1, below this share of the largest are not told from dependence.
LEAST_SINGULAR = 1e-8
# Differences of residuals below this size, relative to what is solved for, hold too much rounding to be remembered.
LEAST_DIFFERENCE = 1e-12
# The longest move, in sizes of what is solved for: memories of other windows may lead far away.
LONGEST_MOVE = 10.0
# Solves after which sizes no longer follow the solution.
SETTLED = 3
# Where there is no residual left.
TINY = 1e-300
# Aitken's factors are kept to this size.
LARGEST_FACTOR = 10.0


class FixedPoint(NamedTuple):
    """What an iteration reached: x `(n,)`, whether it converged, solves, and what is remembered.

    `rate` is the mean factor of the residual in a solve.
    """

    x: Array
    converged: Array
    solves: Array
    rate: Array
    memory: Any


def _positive_findings(**values) -> list[str]:
    return [f"{name} is {value!r}; it must be positive." for name, value in values.items() if not value > 0]


@dataclass(frozen=True)
class Relaxation:
    """x + factor r. A factor of 1 is the plain iteration; `stability` says which one converges fastest."""

    factor: float = 1.0
    reuse: ClassVar[bool] = False

    def memory(self, size: int) -> tuple:
        return ()

    def move(self, memory, r, g_change, r_change, count, scale):
        return self.factor * r, memory


@dataclass(frozen=True)
class Aitken:
    """Relaxation by a factor that follows from the last two residuals.

    Args:
        first: factor of the first step of a window.
    """

    first: float = 0.5
    reuse: ClassVar[bool] = False

    def __post_init__(self):
        if findings := _positive_findings(first=self.first):
            raise InputError("Aitken", findings)

    def memory(self, size: int):
        return jnp.asarray(self.first, float)

    def move(self, memory, r, g_change, r_change, count, scale):
        r_change = r_change / scale
        square = jnp.sum(jnp.square(r_change))
        # the change is r less the residual before it
        factor = -memory * jnp.dot(r / scale - r_change, r_change) / jnp.where(square > 0, square, 1.0)
        factor = jnp.clip(factor, -LARGEST_FACTOR, LARGEST_FACTOR)
        factor = jnp.where((count == 0) | (square == 0), self.first, factor)
        return factor * r, factor


@dataclass(frozen=True)
class Anderson:
    """The combination of the last solves whose residual is least.

    Args:
        depth: differences of solves that are combined.
        first: relaxation of the first step, where there are none yet.
        reuse: whether differences of earlier windows are kept.
    """

    depth: int = 5
    first: float = 1.0
    reuse: bool = False

    def __post_init__(self):
        findings = _positive_findings(depth=self.depth, first=self.first)
        if findings:
            raise InputError(type(self).__name__, findings)

    def memory(self, size: int):
        return jnp.zeros((self.depth, size)), jnp.zeros((self.depth, size))

    def move(self, memory, r, g_change, r_change, count, scale):
        telling = (count > 0) & (jnp.max(jnp.abs(r_change / scale)) > LEAST_DIFFERENCE)

        def remember(rows, new):
            return jnp.where(telling, jnp.concatenate([new[None], rows[:-1]]), rows)

        g_rows, r_rows = remember(memory[0], g_change), remember(memory[1], r_change)
        columns = (r_rows / scale).T
        length = jnp.sqrt(jnp.sum(jnp.square(columns), axis=0))
        length = jnp.where(length > 0, length, 1.0)
        weights = jnp.linalg.lstsq(columns / length, r / scale, rcond=LEAST_SINGULAR)[0] / length
        move = jnp.where(jnp.any(r_rows != 0), r - weights @ g_rows, self.first * r)
        return move * jnp.minimum(1.0, LONGEST_MOVE / jnp.max(jnp.abs(move / scale))), (g_rows, r_rows)


@dataclass(frozen=True)
class QuasiNewton(Anderson):
    """Interface quasi-Newton with an inverse Jacobian by least squares (IQN-ILS), from this window and earlier ones."""

    depth: int = 20
    first: float = 0.5
    reuse: bool = True


Acceleration = Relaxation | Aitken | Anderson


def fixed_point(
    solve: Callable[[Array], Array],
    x: Float[Array, " n"],
    how: Acceleration,
    memory,
    tolerance,
    limit: int,
    sizes: Callable[[Array], Array] = jnp.ones_like,
) -> FixedPoint:
    """Iterates x -> solve(x) to a fixed point; traceable, not differentiated.

    Args:
        solve: `(n,)` -> `(n,)`.
        x: where to begin. memory: `how.memory(n)`, or that of an earlier fixed point.
        tolerance: of each entry of the residual, relative to its size. limit: of the solves.
        sizes: `sizes(x)`: `(n,)`, positive, what entries of a solution are measured by.

    Example:
        >>> found = fixed_point(lambda x: 1.0 - 3.3 * x, jnp.zeros(1), Aitken(), Aitken().memory(1), 1e-10, 20)
        >>> bool(found.converged), round(float(found.x[0]), 6)
        (True, 0.232558)
    """

    def body(state):
        x, g_before, r_before, memory, count, scale, begun, *_ = state
        g = solve(x)
        r = g - x
        # in the first solution what comes from other parts may not have arrived yet
        scale = jnp.where(count < SETTLED, sizes(g), scale)
        worst = jnp.max(jnp.abs(r) / jnp.maximum(jnp.abs(g), scale))
        move, memory = how.move(memory, r, g - g_before, r - r_before, count, scale)
        last = (worst <= tolerance) | ~jnp.isfinite(worst)
        begun = jnp.where(count == 0, worst, begun)
        return jnp.where(last, x, x + move), g, r, memory, count + 1, scale, begun, worst, last

    nothing, none, far = jnp.zeros_like(x), jnp.asarray(False), jnp.asarray(jnp.inf)
    start = (x, nothing, nothing, memory, jnp.asarray(0), jnp.ones_like(x), far, far, none)
    found = lax.while_loop(lambda state: ~state[-1] & (state[4] < limit), body, start)
    x, _, _, memory, count, _, begun, worst, _ = found
    shrunk = jnp.maximum(worst, TINY) / jnp.maximum(begun, TINY)
    return FixedPoint(x, worst <= tolerance, count, shrunk ** (1 / jnp.maximum(count - 1, 1)), memory)
