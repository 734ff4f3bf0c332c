"""Roots of systems of equations, and how they move with what is given.

A root is a function of the parameters, whatever the iterations that found it (`implicit`).

Ways to a root: `newton` takes full steps where they help and shorter ones where they do not. `relax` follows the flow
x' = residual by implicit Euler steps that grow as the flow comes to rest and end as Newton's (pseudo-transient
continuation: Kelley & Keyes 1998, doi:10.1137/S0036142996304796), so that it ends where the flow would: nearly always
in the equilibrium in whose basin the guess lies; of a single unknown, never in an unstable one. `settle` does the same
faster where a few of Newton's steps lead to a root that the flow may reach. Nothing calls LAPACK, so all can stand
inside the loop of a solver.

All of them, and those of `dynamics`, are one iteration, `newton_steps`, whose steps differ: in what they take as the
matrix, in how far they go, and in what ends them.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .dense_inverse import DenseInverse
from .implicit import Residual, by_jvp, implicit

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
    return Root(implicit(by_jvp(residual), solve, given, x), converged, steps)


def newton_steps(step: Callable, x, facts, max_steps) -> tuple[Array, Any, Array, Array]:
    """Newton's iteration: steps from x until one of them is the last.

    Args:
        step: `step(x, facts, count)` -> the move `(n,)`, whether it is the last, and facts for the step after it.
        x: `(n,)`.
        facts: any pytree, what the first step is given; of the same shapes as what steps return.
        max_steps: may be traced; 0 takes none.

    Returns:
        x, the last facts, whether a step was the last, and how many were taken.
    """

    def body(state):
        x, facts, _, count = state
        move, last, facts = step(x, facts, count)
        return x + move, facts, last, count + 1

    start = (x, facts, jnp.asarray(False), jnp.asarray(0))
    return lax.while_loop(lambda state: ~state[2] & (state[3] < max_steps), body, start)


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

    def step(x, _, count):
        value, jacobian = residual(x, given), jax.jacfwd(residual)(x, given)
        scale = jnp.max(jnp.abs(jacobian) * (jnp.abs(x) + floor), axis=1)
        scale = jnp.where(scale > 0, scale, 1.0)
        move = -solve(jacobian, value)
        before = norm(value, scale)

        def halve(state):
            share, halvings, _ = state
            share, halvings = share / 2, halvings + 1
            after = norm(residual(x + share * move, given), scale)
            # decided here and carried: in a batch the condition of a loop is computed once more inside it, and where
            # the two differ by rounding the loop never ends
            return share, halvings, ~(after <= (1 - 0.1 * share) * before) & (halvings < HALVINGS)

        # the first time to the whole step
        start = (jnp.asarray(2.0), jnp.asarray(-1), jnp.asarray(True))
        share, halvings, _ = lax.while_loop(lambda state: state[2], halve, start)
        # at the root itself rounding decides whether a step leads down
        small = jnp.all(jnp.abs(move) <= 1e-8 * (jnp.abs(x) + floor))
        lost = ~jnp.all(jnp.isfinite(move)) | ((halvings >= HALVINGS) & ~small)
        converged = _has_converged(move, x, floor)
        return jnp.where(small, 1.0, share) * move, converged | lost, converged

    x, converged, _, steps = newton_steps(step, x, jnp.asarray(False), max_steps)
    return x, converged & jnp.all(jnp.isfinite(x)), steps


def _relaxation(residual, x, given, floor, max_steps):
    one = jnp.eye(len(x))

    def step(x, damping, count):
        value, jacobian = residual(x, given), jax.jacfwd(residual)(x, given)
        size = jnp.max(jnp.sum(jnp.abs(jacobian), axis=1))
        damping = jnp.where(count == 0, FIRST * size, damping)
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
        return jnp.where(accepted, move, 0.0), converged, damping * factor

    x, _, converged, steps = newton_steps(step, x, jnp.zeros(()), max_steps)
    return x, converged & jnp.all(jnp.isfinite(x)), steps


def _settling(residual, guess, given, floor, max_steps):
    x, likely, steps = _quickly(residual, guess, given, floor)
    likely = likely & jnp.all((guess < 0) | (x >= -floor * LEAST_STEP))
    # no step is taken where Newton's root stands
    limit = jnp.where(likely, 0, max_steps)
    followed, found, more = _relaxation(residual, guess, given, floor, limit)
    return jnp.where(likely, x, followed), likely | found, steps + more


def _quickly(residual, guess, given, floor):
    """Where a few of Newton's steps lead, whether this is surely the answer, and how many they were.

    It is if the steps have converged, the root is stable, and a single unknown finds it ahead of the flow from the
    guess.
    """

    def step(x, begun, count):
        value = residual(x, given)
        move = -solve(jax.jacfwd(residual)(x, given), value)
        last = jnp.all(jnp.abs(move) <= LAST_STEP * (jnp.abs(x) + floor))
        return move, last, jnp.where(count == 0, value, begun)

    x, begun, converged, steps = newton_steps(step, guess, jnp.zeros(len(guess)), QUICK)
    likely = converged & _surely_stable(jax.jacfwd(residual)(x, given))
    if len(guess) == 1:
        likely = likely & ((x[0] - guess[0]) * begun[0] >= 0)
    return x, likely, steps


def _surely_stable(jacobian):
    """Whether all eigenvalues lie on the left, by Hurwitz' conditions; of more than three unknowns it is not known."""
    if len(jacobian) > 3:
        return jnp.asarray(False)
    trace = jnp.trace(jacobian)
    if len(jacobian) == 1:
        return trace < 0
    if len(jacobian) == 2:
        return (trace < 0) & (jacobian[0, 0] * jacobian[1, 1] > jacobian[0, 1] * jacobian[1, 0])
    minors = (jnp.square(trace) - jnp.sum(jacobian * jacobian.T)) / 2
    volume = jnp.dot(jacobian[0], jnp.cross(jacobian[1], jacobian[2]))
    return (trace < 0) & (volume < 0) & (-trace * minors > -volume)
