"""How many molecules of each species a box of counts has to hold, found on the host from means and variances."""

import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from ...annotations import Values
from ...design import Design
from ...dynamics.steady_state import steady_state
from ...errors import InputError
from ...initial_value.compiled import solve_compiled
from ...initial_value.machine_code import task_of
from ...system import Ode
from .moments import moment_equations, moment_name
from .solution import solution
from .states import States

# A box reaches to so many standard deviations above the mean, and some molecules more, at any time of the designs, for
# the nominal parameters and for this share of draws from the prior.
DEVIATIONS, MORE, SHARE = 6.0, 10.0, 0.9
# A box of so many states costs no more than turning a loop does.
FEW_STATES = 1000
# A box that is too small grows by this factor along the species of which at least such a part of the most probability
# is near a face.
LARGER, NEAR = 1.4, 0.01
# Times that are looked at beside those of a design.
BETWEEN = 50


def box_shape(
    states: States,
    bounds: Mapping[str, float],
    nominal: Values,
    draws: Sequence[Values],
    designs: Sequence[Design],
    tolerance: float,
    max_states: int,
) -> tuple[int, ...]:
    """States of each independent species.

    Means and variances say where the counts are; where the distribution has more than one mode, for the nominal
    parameters the box grows until no more probability leaves it than is allowed.

    Args:
        bounds: species -> largest count, where it is known.
        nominal, draws: parameters.
        designs: under which the box has to do.
        tolerance: of the probability that leaves it.
        max_states: of the box; the nominal parameters must find room, draws need not.

    Raises:
        InputError: where the nominal parameters need more states, or the moments have no solution.
    """
    if set(states.names) <= set(bounds):
        return tuple(int(bounds[name]) + 1 for name in states.names)
    # the same object for all parameters, as programs are compiled for it
    moments = moment_equations(states.network, 2, "normal")
    first = np.max([_reach(states, moments, nominal, design) for design in designs], axis=0)
    if not np.all(np.isfinite(first)):
        raise InputError(
            "Reactions.master_equation",
            ["no bounds follow from means and variances, which have no solution at the nominal parameters; give some."],
        )
    reached = np.stack([_reach(states, moments, draw, design) for design in designs for draw in draws])
    # all of them where that costs little: what leaves a box in the tails of a prior is a failed run for every sampler
    furthest = np.maximum(first, np.nanmax(reached, axis=0))
    cheap = math.prod(int(each) + 1 for each in furthest) <= FEW_STATES
    wide = furthest if cheap else np.maximum(first, np.nanquantile(reached, SHARE, axis=0))
    # narrower where that is too much, but never below what the nominal parameters need
    for share in np.linspace(1.0, 0.0, 11):
        upper = np.ceil(first + share * (wide - first))
        upper = [bounds.get(name, each) for name, each in zip(states.names, upper, strict=True)]
        shape = _reachable(states, [nominal, *draws], designs, tuple(int(each) + 1 for each in upper), max_states)
        if math.prod(shape) <= max_states:
            break
    while math.prod(shape) <= max_states:
        grown = _grown(states, bounds, nominal, designs, tolerance, shape)
        if grown == shape:
            return shape
        shape = _reachable(states, [nominal, *draws], designs, grown, max_states)
    raise InputError(
        "Reactions.master_equation",
        [f"a box for the nominal parameters has {math.prod(shape)} states, {shape}; give `max_states` or `bounds`."],
    )


def _grown(states: States, bounds, nominal: Values, designs: Sequence[Design], tolerance: float, shape) -> tuple:
    """A larger box where more than is allowed leaves it, larger for the species that come close to its faces."""
    near = np.zeros(len(shape))
    for design in designs:
        start = jnp.asarray(_start(states, nominal, design))
        found = solution(states, nominal, design, start, shape, tolerance=tolerance / 100)
        # a solve that has no value says so by its code when it is asked for
        if int(found.code) or float(jnp.max(found.lost)) <= tolerance:
            continue
        probability = np.asarray(found.probability).sum(axis=0).reshape(shape)
        for axis, size in enumerate(shape):
            marginal = probability.sum(axis=tuple(k for k in range(len(shape)) if k != axis))
            near[axis] = max(near[axis], marginal[-1 - size // 10 :].sum())
    near = np.where([name in bounds for name in states.names], 0.0, near)
    grows = near >= NEAR * max(near.max(), 1e-300)
    return tuple(
        int(min(math.ceil(LARGER * size), most + 1)) if more and near.any() else size
        for size, more, most in zip(shape, grows, states.largest, strict=True)
    )


def _start(states: States, theta: Values, design: Design) -> Float[np.ndarray, " independent"]:
    """Counts of the independent species at the start."""
    start = states.network.start(theta, design.inputs)
    return np.array([float(np.asarray(start[name])) for name in states.names])


def _reach(states: States, moments: Ode, theta: Values, design: Design) -> Float[np.ndarray, " independent"]:
    """How far counts go at any time; NaN where the moments have no solution."""
    unknown = np.full(len(states.names), np.nan)
    shapes = tuple((name, value.shape) for name, value in design.inputs.items())
    task = task_of(moments, None, (), tuple(theta), shapes)
    if task is None:
        return unknown
    times = _finite_times(design)
    times = np.unique(np.concatenate([np.linspace(float(design.start), times[-1], BETWEEN), times]))
    rows = solve_compiled(task, theta, design.at(jnp.asarray(times)), "auto")
    if int(rows.result):
        return unknown
    found = dict(zip(task.outputs, np.asarray(rows.values).T, strict=True))
    if design.settles:
        rest = steady_state(moments, theta, design.inputs)
        found = {name: np.append(values, float(rest.states[name])) for name, values in found.items()}
    reach = [
        found[name] + DEVIATIONS * np.sqrt(np.maximum(found[moment_name(name, name)], 0.0)) + MORE
        for name in states.names
    ]
    return np.minimum(np.max(reach, axis=1), states.largest)


def _finite_times(design: Design) -> Float[np.ndarray, " finite"]:
    """From the start on."""
    times = np.append(float(design.start), np.asarray(design.times))
    return times[np.isfinite(times)]


def _reachable(
    states: States, thetas: Sequence[Values], designs: Sequence[Design], shape, max_states: int
) -> tuple[int, ...]:
    """The part of a box that can be reached from the starts by the reactions that go at the first of the parameters,
    such as the two states of a promoter."""
    if math.prod(shape) > max_states * 2 ** len(shape):
        return shape
    reached = np.zeros(shape, bool)
    for design in designs:
        goes = _goes(states, thetas[0], design, shape)
        for at in {tuple(_start(states, theta, design)) for theta in thetas}:
            if all(count == int(count) and 0 <= count < size for count, size in zip(at, shape, strict=True)):
                reached |= _flooded(tuple(map(int, at)), goes, states.changes, shape)
    if not reached.any():
        return shape
    return tuple(int(np.max(np.nonzero(reached)[axis])) + 1 for axis in range(len(shape)))


def _goes(states: States, nominal: Values, design: Design, shape) -> list[Bool[np.ndarray, "*shape"]]:
    """Whether each reaction goes in each state, at any of some times."""
    rates = states.rates_from(nominal, design)
    counts = [jnp.asarray(axis.ravel(), float) for axis in np.indices(shape)]
    times = np.linspace(0.0, _finite_times(design)[-1] - float(design.start), 5) if states.network.timed else [0.0]
    each = jax.jit(jax.vmap(lambda t, *counts: jnp.stack(rates(t, counts)), in_axes=(None, *[0] * len(counts))))
    going = np.any([np.asarray(each(t, *counts)) > 0 for t in times], axis=0)
    return list(going.T.reshape(-1, *shape))


def _flooded(start: tuple[int, ...], goes, changes, shape) -> Bool[np.ndarray, "*shape"]:
    reached = np.zeros(shape, bool)
    reached[start] = True
    new = reached
    while new.any():
        found = np.zeros(shape, bool)
        for going, change in zip(goes, changes, strict=True):
            # what leaves the box is not followed
            source = tuple(slice(max(-c, 0), size - max(c, 0)) for c, size in zip(change, shape, strict=True))
            target = tuple(slice(max(c, 0), size - max(-c, 0)) for c, size in zip(change, shape, strict=True))
            found[target] |= (new & going)[source]
        new = found & ~reached
        reached |= new
    return reached
