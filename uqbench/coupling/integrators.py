"""Steps of one length: Runge-Kutta methods with a diagonal of implicit stages, and the exponential of linear rates.

A step is y + h sum(b k) with rates k of its stages, also where a stage was solved for: what is conserved by the rates,
a sum with constant weights, is then kept by every step to rounding, however well the stages are solved.

The tableaus are in Hairer, Norsett & Wanner, "Solving Ordinary Differential Equations I" (1993,
doi:10.1007/978-3-540-78862-1); `sdirk2` is that of Alexander (1977, doi:10.1137/0714068), `exponential` the exponential
Rosenbrock-Euler method (Hochbruck & Ostermann 2010, doi:10.1017/S0962492910000048).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import expm
from jaxtyping import Array, Bool, Float

from ..solvers.implicit import by_jvp, implicit
from ..solvers.roots import newton_steps, solve
from .chebyshev import Field, Loop, chebyshev_step

GAMMA = 1 - 1 / math.sqrt(2)
# Newton's steps of a stage, and the step after which the next is rounding.
MAX_STEPS, LAST_STEP = 20, 1e-9
# Entries below this share of the largest count as that much.
LEAST_SIZE = 1e-6
# unknowns up to which elimination is written out
WRITTEN_OUT = 3


class Tableau(NamedTuple):
    """Coefficients `a` below and on the diagonal, weights `b` and nodes `c` of a Runge-Kutta method."""

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]


TABLEAUS = {
    "explicit_euler": Tableau(((0.0,),), (1.0,), (0.0,)),
    "heun": Tableau(((0.0,), (1.0, 0.0)), (0.5, 0.5), (0.0, 1.0)),
    "rk4": Tableau(
        ((0.0,), (0.5, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 1.0, 0.0)),
        (1 / 6, 1 / 3, 1 / 3, 1 / 6),
        (0.0, 0.5, 0.5, 1.0),
    ),
    "implicit_euler": Tableau(((1.0,),), (1.0,), (1.0,)),
    "trapezoidal": Tableau(((0.0,), (0.5, 0.5)), (0.5, 0.5), (0.0, 1.0)),
    "sdirk2": Tableau(((GAMMA,), (1 - GAMMA, GAMMA)), (1 - GAMMA, GAMMA), (GAMMA, 1.0)),
}
EXPONENTIAL, CHEBYSHEV = "exponential", "chebyshev"
INTEGRATORS = (*TABLEAUS, EXPONENTIAL, CHEBYSHEV)


def integrate(
    name: str, field: Field, t, y: Float[Array, " n"], h, count: int, given, size=None, radius=None, kind: Loop = "lax"
) -> tuple[Float[Array, " n"], Bool[Array, ""]]:
    """The state after `count` equal steps over the time h, and whether every stage was solved; traceable.

    Args:
        name: one of `INTEGRATORS`. field: `field(t, y, given)`.
        size: `(n,)`, what errors of each entry are small against; default |y|. Infinite for what is only counted.
        radius, kind: of the steps named "chebyshev", see `chebyshev_step`.

    Example:
        >>> y, solved = integrate("implicit_euler", lambda t, y, k: -k * y, 0.0, jnp.ones(1), 0.1, 1, 1.0)
        >>> round(float(y[0]), 7)
        0.9090909
    """
    step, size = h / count, lax.stop_gradient(jnp.abs(y) if size is None else size)

    def one(state, number):
        y, solved = state
        y, sound = stepped(t + number * step, y)
        return (y, solved & sound), None

    def stepped(t, y):
        if name == CHEBYSHEV:
            return chebyshev_step(field, t, y, step, given, radius, kind)
        return _step(name, field, t, y, step, given, size)

    if count == 1:
        return stepped(t, y)
    return lax.scan(one, (y, jnp.asarray(True)), jnp.arange(count))[0]


def _step(name: str, field: Field, t, y, h, given, size):
    if name == EXPONENTIAL:
        return y + _exponential(field, t, y, h, given), jnp.asarray(True)
    tableau, solved = TABLEAUS[name], jnp.asarray(True)
    rates: list[Array] = []
    for row, node in zip(tableau.a, tableau.c, strict=True):
        base = y + h * sum(a * rate for a, rate in zip(row, rates, strict=False) if a)
        stage = base
        if row[-1]:
            stage, sound = _stage(field, t + node * h, base, row[-1] * h, given, size)
            solved = solved & sound
        rates.append(field(t + node * h, stage, given))
    return y + h * sum(b * rate for b, rate in zip(tableau.b, rates, strict=True)), solved


def _exponential(field: Field, t, y, h, given):
    """h phi1(h J) f by one exponential of a matrix with f as its last column."""
    rate, jacobian = field(t, y, given), jax.jacfwd(field, argnums=1)(t, y, given)
    count = len(y)
    matrix = jnp.zeros((count + 1, count + 1)).at[:count, :count].set(h * jacobian).at[:count, count].set(h * rate)
    return expm(matrix)[:count, count]


def _stage(field: Field, t, base, length, given, size):
    """The stage Y = base + length field(t, Y), by Newton's method, and whether its steps converged."""

    def residual(stage, known):
        t, base, length, given = known
        return stage - base - length * field(t, stage, given)

    known = (t, base, length, given)
    still = lax.stop_gradient(known)
    stage, solved = find_root(residual, still[1], still, size)
    return implicit(by_jvp(residual), linear_solve, known, stage), solved


def find_root(residual, guess, given, size) -> tuple[Float[Array, " n"], Bool[Array, ""]]:
    """A root by full Newton steps, and whether they converged; nothing of it is differentiated."""
    counted = jnp.isfinite(size)
    least = LEAST_SIZE * jnp.max(jnp.where(counted, size, 0.0))

    def step(x, _, count):
        move = -linear_solve(jax.jacfwd(residual)(x, given), residual(x, given))
        small = jnp.all(jnp.abs(move) <= LAST_STEP * (jnp.abs(x) + size + least))
        lost = ~jnp.all(jnp.isfinite(move))
        return move, small | lost, small

    x, converged, _, _ = newton_steps(step, guess, jnp.asarray(False), MAX_STEPS)
    return x, converged


def linear_solve(matrix, vector):
    """The solution of a linear system; of few unknowns without LAPACK, which costs more to call than to compute."""
    return solve(matrix, vector) if len(vector) <= WRITTEN_OUT else jnp.linalg.solve(matrix, vector)
