"""Roots of systems of equations, and how they move with what is given.

A root is a function of the parameters, whatever the iterations that found it: its derivative follows from the implicit
function theorem at the price of one linear solve, exactly, in both modes, as often as wanted. The iterations stay out
of the derivative.

Ways to a root: `newton` takes full steps where they help and shorter ones where they do not. `relax` follows the flow
x' = residual by implicit Euler steps that grow as the flow comes to rest and end as Newton's (pseudo-transient
continuation: Kelley & Keyes 1998, doi:10.1137/S0036142996304796), so that it ends where the flow would: nearly always
in the equilibrium in whose basin the guess lies; of a single unknown, never in an unstable one. `settle` does the same
faster where a few of Newton's steps lead to a root that the flow may reach. Nothing calls LAPACK, so all can stand
inside the loop of a solver.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .dense_inverse import DenseInverse

Residual = Callable[[Array, Any], Array]

# A last step below this share of each unknown is rounding.
LEAST_STEP = 1e-13
MAX_STEPS = 60
# The step after one below this share is rounding, as Newton's steps are squared.
LAST_STEP = 1e-8
# Newton's steps after which the flow is followed instead.
QUICK = 12
# A flow that turns takes short steps.
MAX_FLOW_STEPS = 200
HALVINGS = 12
# First step of a flow: a third of its fastest time scale.
FIRST = 3.0
# Error of one step of a flow, relative: small enough to stay in its basin.
FOLLOWED = 0.03
# Sums that vanish to this share of their terms are rounding.
DROWNED = 8 * float(jnp.finfo(jnp.float64).eps)


class Root(eqx.Module):
    """A root `(n,)`, NaN where none was found; whether it was; and the steps taken."""

    value: Float[Array, " n"]
    converged: Bool[Array, ""]
    steps: Int[Array, ""]


def newton(residual: Residual, guess, given, *, floor: float = 1e-12, max_steps: int = MAX_STEPS) -> Root:
    """A root of residual(x, given) = 0 near `guess`, by Newton's method with steps halved until they lead down.

    Differentiable with respect to `given` (not the guess) in both modes, any number of times; vectorises.

    Args:
        residual: `residual(x, given)`: `(n,)` -> `(n,)`; what it depends on has to come through `given`, any pytree.
        guess: `(n,)`.
        floor: size of an unknown below which it counts as zero.

    Returns:
        the root; NaN and `converged` False where the steps do not converge.

    Example:
        >>> float(newton(lambda x, a: x**2 - a, jnp.array([1.0]), jnp.array(2.0)).value[0])
        1.4142135623730951
    """
    return _find(_descent, residual, guess, given, floor, max_steps)


def relax(residual: Residual, guess, given, *, floor: float = 1e-12, max_steps: int = MAX_FLOW_STEPS) -> Root:
    """The equilibrium at which x' = residual(x, given) comes to rest from `guess`; arguments as for `newton`.

    Example:
        >>> float(relax(lambda x, a: x - x**3, jnp.array([0.3]), jnp.array(0.0)).value[0])
        1.0
    """
    return _find(_relaxation, residual, guess, given, floor, max_steps)


def settle(residual: Residual, guess, given, *, floor: float = 1e-12) -> Root:
    """As `relax`, by Newton's method where that leads to a root which may well be the one that the flow reaches.

    Its root is taken if it is stable (which is known of three unknowns at most), if no unknown has turned negative that
    was not, and, of a single unknown, if the flow from the guess sets out towards it. Of several stable equilibria it
    may then be another than that of `relax`.

    Example:
        >>> float(settle(lambda x, a: a - x - x**5, jnp.array([0.0]), jnp.array(2.0)).value[0])
        1.0
    """
    return _find(_settling, residual, guess, given, floor, MAX_FLOW_STEPS)


def _find(search, residual, guess, given, floor, max_steps) -> Root:
    guess = lax.stop_gradient(jnp.asarray(guess, float))
    x, converged, steps = lax.stop_gradient(search(residual, guess, lax.stop_gradient(given), floor, max_steps))
    x = jnp.where(converged, x, jnp.nan)
    return Root(_implicit(residual, given, x), converged, steps)


def solve(matrix, vector):
    """The solution `(n,)` of a linear system without LAPACK: by Cramer's rule to three unknowns, else elimination."""
    if len(vector) == 1:
        return vector / matrix[0]
    if len(vector) == 2:
        (a, b), (c, d) = matrix
        return jnp.stack([d * vector[0] - b * vector[1], a * vector[1] - c * vector[0]]) / (a * d - b * c)
    if len(vector) == 3:
        adjoint = jnp.stack([jnp.cross(matrix[k - 2], matrix[k - 1]) for k in range(3)], axis=1)
        return adjoint @ vector / (matrix[0] @ adjoint[:, 0])
    inverse = DenseInverse(len(vector), False)
    zero = jnp.zeros(())
    return jnp.stack(inverse.substitute(inverse.factorize(zero, -matrix), zero, -matrix, list(vector)))


def _has_converged(move, x, floor):
    return jnp.all(jnp.abs(move) <= LEAST_STEP * (jnp.abs(x) + floor))


def _descent(residual, x, given, floor, max_steps):
    def norm(value, scale):
        return jnp.sqrt(jnp.sum(jnp.square(value / scale)))

    def body(state):
        x, _, _, steps = state
        value, jacobian = residual(x, given), jax.jacfwd(residual)(x, given)
        scale = jnp.max(jnp.abs(jacobian) * (jnp.abs(x) + floor), axis=1)
        scale = jnp.where(scale > 0, scale, 1.0)
        move = -solve(jacobian, value)
        before = norm(value, scale)

        def too_long(state):
            share, halvings = state
            after = norm(residual(x + share * move, given), scale)
            return ~(after <= (1 - 0.1 * share) * before) & (halvings < HALVINGS)

        share, halvings = lax.while_loop(too_long, lambda s: (s[0] / 2, s[1] + 1), (jnp.ones(()), jnp.asarray(0)))
        # at the root itself rounding decides whether a step leads down
        small = jnp.all(jnp.abs(move) <= 1e-8 * (jnp.abs(x) + floor))
        lost = ~jnp.all(jnp.isfinite(move)) | ((halvings >= HALVINGS) & ~small)
        new = x + jnp.where(small, 1.0, share) * move
        return new, _has_converged(move, x, floor), lost, steps + 1

    def going(state):
        return ~(state[1] | state[2]) & (state[3] < max_steps)

    x, converged, _, steps = lax.while_loop(going, body, (x, jnp.asarray(False), jnp.asarray(False), jnp.asarray(0)))
    return x, converged & jnp.all(jnp.isfinite(x)), steps


def _relaxation(residual, x, given, floor, max_steps):
    one = jnp.eye(len(x))

    def body(state):
        x, damping, _, steps = state
        value, jacobian = residual(x, given), jax.jacfwd(residual)(x, given)
        size = jnp.max(jnp.sum(jnp.abs(jacobian), axis=1))
        damping = jnp.where(steps == 0, FIRST * size, damping)
        move = solve(damping * one - jacobian, value)
        new = x + move
        turn = residual(new, given) - value
        # fast components at rest are rounding, which a long step must not take for a change of direction
        turn = jnp.where(jnp.abs(turn) > DROWNED * (jnp.abs(jacobian) @ jnp.abs(x)), turn, 0.0)
        error = jnp.max(jnp.abs(turn) / (jnp.maximum(jnp.abs(x), jnp.abs(new)) + floor)) / (2 * damping)
        # the step in time follows the flow while this turns, and grows as it comes to rest, into Newton's method
        factor = jnp.clip(jnp.sqrt(error / FOLLOWED) / 0.9, 0.1, 5.0)
        accepted = error <= FOLLOWED
        factor = jnp.where(jnp.isfinite(error), factor, 10.0)
        converged = accepted & _has_converged(move, x, floor) & (damping <= 1e-3 * size)
        if len(x) == 1:
            converged = converged & (jacobian[0, 0] < 0)
        return jnp.where(accepted, new, x), damping * factor, converged, steps + 1

    def going(state):
        return ~state[2] & (state[3] < max_steps)

    start = (x, jnp.zeros(()), jnp.asarray(False), jnp.asarray(0))
    x, _, converged, steps = lax.while_loop(going, body, start)
    return x, converged & jnp.all(jnp.isfinite(x)), steps


def _settling(residual, guess, given, floor, max_steps):
    x, likely, steps = (_quickly_alone if len(guess) == 1 else _quickly)(residual, guess, given, floor)
    likely = likely & jnp.all((guess < 0) | (x >= -floor * LEAST_STEP))
    # no step is taken where Newton's root stands
    limit = jnp.where(likely, 0, max_steps)
    followed, found, more = _relaxation(residual, guess, given, floor, limit)
    return jnp.where(likely, x, followed), likely | found, steps + more


def _quickly(residual, guess, given, floor):
    """Where a few of Newton's steps lead, whether they have converged, and how many they were."""

    def body(state):
        x, _, steps = state
        move = -solve(jax.jacfwd(residual)(x, given), residual(x, given))
        return x + move, jnp.all(jnp.abs(move) <= LAST_STEP * (jnp.abs(x) + floor)), steps + 1

    start = (guess, jnp.asarray(False), jnp.asarray(0))
    x, converged, steps = lax.while_loop(lambda state: ~state[1] & (state[2] < QUICK), body, start)
    return x, converged & _surely_stable(jax.jacfwd(residual)(x, given)), steps


def _surely_stable(jacobian):
    """Whether all eigenvalues lie on the left, by Hurwitz' conditions; of more than three unknowns it is not known."""
    if len(jacobian) > 3:
        return jnp.asarray(False)
    trace = jnp.trace(jacobian)
    if len(jacobian) == 2:
        return (trace < 0) & (jacobian[0, 0] * jacobian[1, 1] > jacobian[0, 1] * jacobian[1, 0])
    minors = (jnp.square(trace) - jnp.sum(jacobian * jacobian.T)) / 2
    volume = jnp.dot(jacobian[0], jnp.cross(jacobian[1], jacobian[2]))
    return (trace < 0) & (volume < 0) & (-trace * minors > -volume)


def _quickly_alone(residual, guess, given, floor):
    """The same of one unknown, which also has to be stable and ahead of the flow from the guess."""

    def value_and_slope(x):
        return jax.jvp(lambda x: residual(x[None], given)[0], (x,), (jnp.ones(()),))

    def body(state):
        x, value, slope, _, steps = state
        move = -value / slope
        new = x + move
        return new, *value_and_slope(new), jnp.abs(move) <= LAST_STEP * (jnp.abs(x) + floor), steps + 1

    value, slope = value_and_slope(guess[0])
    start = (guess[0], value, slope, jnp.asarray(False), jnp.asarray(0))
    x, _, at_end, converged, steps = lax.while_loop(lambda state: ~state[3] & (state[4] < QUICK), body, start)
    return x[None], converged & (at_end < 0) & ((x - guess[0]) * value >= 0), steps


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _implicit(residual, given, x):
    return x


@_implicit.defjvp
def _(residual, primals, tangents):
    given, x = primals
    # its own derivative by this rule again, for derivatives of any order
    x = _implicit(residual, given, x)
    _, pushed = jax.jvp(lambda given: residual(x, given), (given,), (tangents[0],))
    return x, -solve(jax.jacfwd(residual)(x, given), pushed)
