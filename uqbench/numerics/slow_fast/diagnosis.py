"""Are the time scales far enough apart, and is there one place where the fast states can be?

A quasi-steady state needs more than a small number. Along the way that the slow states take,

- the fast equations must have one stable equilibrium: with several, which of them is taken depends on the past, and
  where one loses its stability (a fold, an oscillation) the fast states leave it. Such a separation is *weak*;
- the fast states must relax much faster than the slow ones move, and move the slow ones little before they have
  relaxed. Otherwise it is *absent*; else it is *strong*.

All of it is looked at where the full system really goes: its trajectory is solved, at each of its points the fast flow
is followed from many starts to where it rests, and both the reduced solution and the true one are at hand to say what
the reduction errs by.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ...design import Design
from ...errors import InputError
from ...system import Ode, Theta
from ..odes import RESULTS, solve
from ..roots import relax
from .reduced import FastEquilibrium, FastResidual, quasi_steady_state, split_states

VERDICTS = ("strong", "weak", "absent", "unknown")
# Largest ratio of time scales, and largest shift of a slow state in the first layer, of a strong separation.
SMALL = 0.1
POINTS, STARTS = 48, 24
# Spread of the starts about the size of the fast states, in powers of ten.
DECADES = 2.0
# A design that asks only for the steady state is followed for this many of its slowest time scale.
SETTLED = 20.0
# Equilibria closer than this, relative to their size or to the largest on the way, are one.
SAME = 1e-6
MEANING = (
    "strong: one stable equilibrium of the fast states along the way, reached before the slow ones move; weak: several "
    "stable equilibria, or none; absent: the fast states are not fast, or move the slow ones before they rest."
)


def separation(system: Ode, fast: Sequence[str], theta: Theta, design: Design, *, seed: int = 0) -> xr.Dataset:
    """Whether the fast states of a system may be put at their quasi-steady state, and what that errs by.

    Args:
        system: the full system.
        fast: names of its fast states.
        theta: every parameter, scalars.
        design: start, last time and inputs; its steady state where every time is `inf`.
        seed: of the starts from which equilibria are sought.

    Returns:
        by `time` (an even grid over the design): `slow_state` (time, slow), `fast_state` (time, fast) of the full
        system, `equilibrium` (time, fast) to which the fast flow leads from there, `taken` (time, fast) that which the
        reduced system takes, `stable_equilibria` how many were found (at least so many exist), `fast_rate` the slowest
        relaxation of the fast states, `slow_rate` the fastest motion of the slow ones, both per unit of time, and
        their ratio `epsilon`; by `slow`: `layer`, the shift of a slow state while the fast ones relax at the start,
        and `error`, the largest difference between reduced and full solution, both relative to the largest value of
        that state. Attributes: `verdict` ("strong", "weak", "absent"), `reason` in words, `warning` (empty where
        strong), `epsilon`, `layer` and `error` the largest of each, `weak_from` and `weak_to` (times) where weak.
        Where the full system cannot be solved the verdict is "unknown" and there are no variables.

    Raises:
        InputError: a set of fast states that is empty, unknown or whole.

    Example:
        >>> from forward_models.receptor_tf import model
        >>> theta = model.space.nominal() | {"eps": 1e-3}
        >>> separation(model.system, ["x"], theta, Design([5.0])).attrs["verdict"]
        'strong'
    """
    theta = {name: jnp.asarray(value, float) for name, value in theta.items()}
    slow, fast, findings = split_states(tuple(system.initial(theta, design.inputs)), fast)
    if findings:
        raise InputError("separation", findings)
    reduced = quasi_steady_state(system, fast)
    grid = _grid(system, theta, design)
    full = solve_on(system, theta, grid)
    if code := int(full.result):
        none = {"epsilon": np.nan, "layer": np.nan, "error": np.nan, "meaning": MEANING}
        return xr.Dataset(attrs=none | _told("unknown", f"the full system cannot be solved: {RESULTS[code]}"))
    short = solve_on(reduced, theta, grid)
    x, y = (jnp.stack([full.states[name] for name in part], axis=1) for part in (fast, slow))
    size = np.abs(np.asarray(x)).max(axis=0)
    starts = _starts(size, np.asarray(x).min(axis=0) < 0, seed)
    seen = _look(reduced.algebraic, slow, theta, grid, x, y, jnp.asarray(starts))
    return _judged(fast, slow, grid, x, y, short, {name: np.asarray(value) for name, value in seen.items()})


@partial(jax.jit, static_argnums=0)
def solve_on(system: Ode, theta: Theta, design: Design):
    """The solution by the stiff method, compiled once for each system."""
    return solve(system, theta, design, method="implicit")


def _grid(system: Ode, theta: Theta, design: Design) -> Design:
    times = np.asarray(design.times)
    start, finite = float(design.start), times[np.isfinite(times)]
    if finite.size and finite.max() > start:
        end = float(finite.max())
    else:
        rates = np.abs(np.linalg.eigvals(np.asarray(_jacobian(system, theta, design))))
        rates = rates[rates > 1e-10 * rates.max(initial=0.0)]
        end = start + (SETTLED / rates.min() if rates.size else 1.0)
    return Design(np.linspace(start, end, POINTS + 1), design.inputs, start=start)


@partial(jax.jit, static_argnums=0)
def _jacobian(system, theta, design):
    initial = system.initial(theta, design.inputs)
    start = jnp.stack([jnp.asarray(value, float) for value in initial.values()])

    def slope(y):
        rates = system.rhs(design.start, dict(zip(initial, y, strict=True)), theta, design.inputs)
        return jnp.stack([jnp.asarray(rates[name], float) for name in initial])

    return jax.jacfwd(slope)(start)


def _starts(size: np.ndarray, negative: np.ndarray, seed: int) -> np.ndarray:
    """`(starts, fast)`: nothing, and magnitudes spread over decades; negative only for states that are so at times."""
    rng = np.random.default_rng(seed)
    size = np.where(size > 0, size, 1.0)
    magnitude = 10 ** rng.uniform(-DECADES, DECADES, (STARTS, len(size)))
    sign = np.where(negative, rng.choice([-1.0, 1.0], (STARTS, len(size))), 1.0)
    return np.vstack([np.zeros(len(size)), size * magnitude * sign])


@partial(jax.jit, static_argnums=(0, 1))
def _look(equilibrium: FastEquilibrium, slow: tuple[str, ...], theta, design, x, y, starts):
    """Equilibria of the fast states and rates around them, at every point of the trajectory."""
    full, fast = equilibrium.full, equilibrium.fast
    first = dict(zip(slow, y[0], strict=True))
    laws = equilibrium.laws(first, theta, design.inputs)
    residual = FastResidual(equilibrium, laws)
    floor = full.atol / full.rtol

    def given(t, y):
        return t, dict(zip(slow, y, strict=True)), theta, design.inputs

    def rates(names, t, x, y):
        slope = full.rhs(t, dict(zip((*fast, *slow), (*x, *y), strict=True)), theta, design.inputs)
        return jnp.stack([jnp.asarray(slope[name], float) for name in names])

    def relaxation(t, x, y):
        """Real parts of the eigenvalues of the fast equations, without the zeros of conserved totals."""
        spectrum = jnp.linalg.eigvals(jax.jacfwd(partial(rates, fast), argnums=1)(t, jnp.nan_to_num(x), y))
        return spectrum[jnp.argsort(jnp.abs(spectrum))][len(laws) :].real

    def at(t, x, y):
        found = jax.vmap(lambda start: relax(residual, start, given(t, y), floor=floor))(jnp.vstack([x, starts]))
        followed = found.value[0]
        f_x, f_y = jax.jacfwd(lambda x, y: residual(x, given(t, y)), argnums=(0, 1))(followed, y)
        g_x, g_y = jax.jacfwd(partial(rates, slow, t), argnums=(0, 1))(followed, y)
        solved = jnp.linalg.solve(f_x, jnp.concatenate([f_y, (x - followed)[:, None]], axis=1))
        taken = equilibrium(*given(t, y))
        return {
            "found": found.value,
            "taken": jnp.stack([taken[name] for name in fast]),
            "converged": found.converged,
            "growth": jax.vmap(lambda x: relaxation(t, x, y))(found.value),
            "slow_spectrum": jnp.linalg.eigvals(g_y - g_x @ solved[:, :-1]),
            "speed": rates(slow, t, followed, y),
            "shift": g_x @ solved[:, -1],
        }

    return jax.vmap(at)(design.times, x, y)


def _judged(fast, slow, grid: Design, x, y, short, seen) -> xr.Dataset:
    times, x, y = np.asarray(grid.times), np.asarray(x), np.asarray(y)
    stable = seen["converged"] & np.all(seen["growth"] < 0, axis=-1)
    physical = np.where(x.min(axis=0) < 0, -np.inf, -1e-9 * np.abs(x).max(axis=0))
    stable[:, 1:] &= np.all(seen["found"][:, 1:] >= physical, axis=-1)
    apart = SAME * np.maximum(np.abs(x).max(axis=0), np.nan_to_num(np.abs(seen["found"][:, 0])).max(axis=0))
    count = np.array([_distinct(found[kept], apart) for found, kept in zip(seen["found"], stable, strict=True)])
    size = np.maximum(np.abs(y).max(axis=0), 1e-300)
    fast_rate = np.where(stable[:, 0], np.abs(seen["growth"][:, 0]).min(axis=-1), np.nan)
    slow_rate = np.maximum(np.abs(seen["slow_spectrum"]).max(axis=-1), np.abs(seen["speed"] / size).max(axis=-1))
    reduced = np.stack([np.asarray(short.states[name]) for name in slow], axis=1)
    layer, error = np.abs(seen["shift"][0]) / size, np.abs(reduced - y).max(axis=0) / size
    dataset = xr.Dataset(
        {
            "slow_state": (("time", "slow"), y),
            "fast_state": (("time", "fast"), x),
            "equilibrium": (("time", "fast"), seen["found"][:, 0]),
            "taken": (("time", "fast"), seen["taken"]),
            "stable_equilibria": ("time", count),
            "fast_rate": ("time", fast_rate),
            "slow_rate": ("time", slow_rate),
            "epsilon": ("time", slow_rate / fast_rate),
            "layer": ("slow", layer),
            "error": ("slow", error),
        },
        coords={"time": times, "fast": list(fast), "slow": list(slow)},
    )
    return dataset.assign_attrs(_verdict(dataset, int(short.result)))


def _distinct(found: np.ndarray, apart: np.ndarray) -> int:
    """How many rows there are that differ by more than `apart`."""
    kept: list[np.ndarray] = []
    for row in found:
        if not any(np.all(np.abs(row - other) <= apart + SAME * np.abs(other)) for other in kept):
            kept.append(row)
    return len(kept)


def _verdict(dataset: xr.Dataset, code: int) -> dict:
    names = ", ".join(map(str, dataset.fast.values))
    lost = np.isnan(dataset.fast_rate.values)
    epsilon = float(np.max(dataset.epsilon.values[~lost])) if not lost.all() else np.nan
    layer = float(dataset.layer.max())
    attributes = {"meaning": MEANING, "epsilon": epsilon, "layer": layer, "error": float(dataset.error.max())}
    if weak := _weakness(dataset, lost, names):
        return attributes | weak
    if code:
        return attributes | _told("weak", f"the reduced system cannot be solved: {RESULTS[code]}")
    if epsilon > SMALL:
        reason = f"the slow states move at {epsilon:.2g} of the rate at which {names} relaxes; this must be small"
        return attributes | _told("absent", reason)
    if layer > SMALL:
        reason = f"while {names} relaxes at the start, a slow state moves by {layer:.2g} of its size"
        return attributes | _told("absent", f"{reason}; this must be small")
    reason = (
        f"{names} has one stable equilibrium along the way (of {STARTS + 2} starts at each of {dataset.sizes['time']} "
        f"times, all that settle lead there) and relaxes {_whole(1 / max(epsilon, 1e-300))} times as fast as the slow "
        "states move"
    )
    return attributes | _told("strong", reason)


def _weakness(dataset: xr.Dataset, lost: np.ndarray, names: str) -> dict:
    """What there is to say where the fast states have several places to be, none, or another than the reduced ones."""
    count, times = dataset.stable_equilibria.values, dataset.time.values
    size = np.abs(dataset.fast_state.values).max(axis=0) + np.nan_to_num(np.abs(dataset.equilibrium.values)).max(axis=0)
    other = np.any(~(np.abs(dataset.taken - dataset.equilibrium).values <= 10 * SAME * size), axis=1)
    for what, where in (
        (f"has {int(count.max())} stable equilibria or more, so that the past decides where it is", count > 1),
        ("has no stable equilibrium", lost | (count == 0)),
        ("is put at another equilibrium than that where it is", other),
    ):
        if where.any():
            first, last = (float(times[where][k]) for k in (0, -1))
            state = dataset.isel(time=int(np.flatnonzero(where)[0])).slow_state
            at = ", ".join(f"{name} = {float(value):.3g}" for name, value in zip(state.slow.values, state, strict=True))
            reason = f"the fast part ({names}) {what}, from time {first:.3g} ({at}) to {last:.3g}"
            return {**_told("weak", reason), "weak_from": first, "weak_to": last}
    return {}


def _whole(number: float) -> str:
    """Two digits, without a power of ten where there is room for zeros."""
    return f"{float(f'{number:.2g}'):,.0f}" if 10 <= number < 1e7 else f"{number:.2g}"


def _told(verdict: str, reason: str) -> dict:
    warning = f"{verdict} separation of time scales: {reason}. Keep the fast states."
    return {"verdict": verdict, "reason": reason, "warning": "" if verdict == "strong" else warning}
