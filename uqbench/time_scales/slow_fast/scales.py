"""Rates around the equilibrium of the fast states: how fast they come back to it, and how fast it moves."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...initial_value.given import stacked
from ...solvers.roots import relax
from ...systems.reduced import FastEquilibrium

# Largest ratio of time scales, shift of a slow state in a layer, and error, of a strong separation.
SMALL = 0.1


def grid_times(start: float, end: float, own, points: int) -> np.ndarray:
    """Times to look at, always 3 `points` + 1: evenly spaced, in a logarithmic row, and some of a design's own."""
    own = np.asarray(own, float)
    own = own[np.isfinite(own) & (own >= start) & (own <= end)]
    own = own[np.linspace(0, len(own) - 1, points).astype(int)] if len(own) else np.full(points, end)
    spread = start + (end - start) * np.concatenate([np.linspace(0, 1, points + 1), np.geomspace(1e-6, 1, points)])
    return np.sort(np.clip(np.concatenate([spread, own]), start, end))


class Scales(NamedTuple):
    """Rates around one equilibrium of the fast states.

    Args:
        growth: real parts of the eigenvalues of the fast equations.
        slow_spectrum: eigenvalues of the slow equations with the fast states following.
        speed: rates of the slow states. drift: rates at which the equilibrium itself moves.
        shift: what the slow states move by while the fast ones relax to the equilibrium from where they are.
    """

    growth: Float[Array, " free"]
    slow_spectrum: Array
    speed: Float[Array, " slow"]
    drift: Float[Array, " free"]
    shift: Float[Array, " slow"]


def scales_at(equilibrium: FastEquilibrium, slow, theta, inputs, t, rest, x, y) -> Scales:
    """Rates at the equilibrium `rest` `(free,)`, the fast states being at `x` and the slow ones at `y`."""
    rates = equilibrium.rates(theta, inputs)

    def moved(t, x, y):
        given = (t, dict(zip(slow, y, strict=True)), theta, inputs)
        states = rates.states([x[k] for k in range(len(x))], given)
        slopes = equilibrium.full.rhs(t, {**given[1], **states}, theta, inputs)
        return stacked(slopes, rates.independent), stacked(slopes, slow)

    (f_t, f_x, f_y), (_, g_x, g_y) = jax.jacfwd(moved, argnums=(0, 1, 2))(t, rest, y)
    solved = jnp.linalg.solve(f_x, jnp.concatenate([f_y, f_t[:, None], (x - rest)[:, None]], axis=1))
    follow, drive, away = solved[:, :-2], solved[:, -2], solved[:, -1]
    speed = moved(t, rest, y)[1]
    known = jnp.all(jnp.isfinite(f_x))
    growth = jnp.linalg.eigvals(jnp.where(known, f_x, jnp.eye(len(x)))).real
    slow_spectrum = jnp.linalg.eigvals(g_y - g_x @ follow)
    return Scales(jnp.where(known, growth, jnp.nan), slow_spectrum, speed, -(follow @ speed + drive), g_x @ away)


@partial(jax.jit, static_argnums=(0, 1))
def look(equilibrium: FastEquilibrium, slow: tuple[str, ...], theta, design, x, y, starts) -> dict:
    """Equilibria of the free fast states and rates around that which they follow, at every point of the trajectory."""
    rates = equilibrium.rates(theta, design.inputs)
    floor = equilibrium.full.least_atol / equilibrium.full.rtol

    def at(t, x, y):
        given = (t, dict(zip(slow, y, strict=True)), theta, design.inputs)
        found = jax.vmap(lambda start: relax(rates, start, given, floor=floor))(jnp.vstack([x, starts]))
        growth = jax.vmap(lambda x: jnp.linalg.eigvals(jax.jacfwd(rates)(jnp.nan_to_num(x), given)).real)(found.value)
        return {
            "found": found.value,
            "stable": found.converged & jnp.all(growth < 0, axis=-1),
            "taken": stacked(equilibrium(*given), rates.independent),
            **scales_at(equilibrium, slow, theta, design.inputs, t, found.value[0], x, y)._asdict(),
        }

    return jax.vmap(at)(design.times, jnp.asarray(x), jnp.asarray(y))


@partial(jax.jit, static_argnums=(0, 1))
def layers(equilibrium: FastEquilibrium, slow: tuple[str, ...], theta, inputs, times, x, y) -> Array:
    """`(points, slow)`: what the slow states move by while the fast ones relax, at each of these points."""
    rates = equilibrium.rates(theta, inputs)
    floor = equilibrium.full.least_atol / equilibrium.full.rtol

    def at(t, x, y):
        given = (t, dict(zip(slow, y, strict=True)), theta, inputs)
        rest = relax(rates, x, given, floor=floor).value
        return scales_at(equilibrium, slow, theta, inputs, t, rest, x, y).shift

    return jax.vmap(at)(jnp.asarray(times), jnp.asarray(x), jnp.asarray(y))
