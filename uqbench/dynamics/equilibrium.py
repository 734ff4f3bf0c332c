"""What one point of a trajectory says about rest: Newton's steps from it, and the eigenvalues there.

The unknowns are solved from

    rhs_i(y) = 0   for the independent equations,      w . y = w . y(start)   for each conservation law w,

each law in place of the fastest of the equations that it ties together: those add up to nothing, and in the sum the
digits of the fast ones would drown the slow ones. Rows and columns are scaled, so that the condition number tells what
is truly undetermined from what is only measured in other units.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.tree_util import PyTreeDef
from jaxtyping import Array, Bool, Float

from ..annotations import Values
from ..initial_value import odes
from ..initial_value.at_points import inverse, linearised
from ..initial_value.compiled import advance
from ..initial_value.given import stacked
from ..initial_value.schedule import absolute_tolerances
from ..initial_value.task import Task
from ..solvers.roots import newton_steps
from ..system import Inputs, Ode

# Newton steps from each point; the last has to be within the tolerance.
NEWTON_STEPS = 4
# Distance of the root from the trajectory in units of the tolerance: what some hundred local errors may add up to.
NEAR = 100.0
# The same from a guess, and for what rounding has added to conserved totals, both relative to the size of a state.
NEAR_GUESS, NEAR_TOTALS = 0.1, 1e-3
# No root is asked to be closer than this, and none is believed that rounding moves by more than that.
LEAST_RTOL, LARGEST_ROUNDING = 1e-9, 1e-5
# Beyond this condition number nothing is left of a slope.
SINGULAR = 3e14
# Part of the relative tolerance that the size of a state keeps as an absolute one, where the author gave none.
AUTOMATIC = 1e-2
# Below this part of its size a state is followed with that tolerance: the engine knows sizes since its start only.
SMALL = 1e-3
# A state of no known size has at least this part of the largest.
LEAST_SIZE = 1e-30
# Real parts of eigenvalues are known to this, relative to the largest eigenvalue.
UNSTABLE = 1e-7
# Fast time scales for which a state has to stay where it is, if nothing but standing still can be said for it.
FOREVER = 1e16
# A horizon is this many of the slowest time scale (e^-40 = 4e-18), if that can be found.
RELAXATION_TIMES = 40.0
LEAST_GROWTH, LARGEST_GROWTH = 10.0, 1e6
# The first horizon is no shorter than this part of the fastest time scale, however fast the states move for their size.
LARGEST_RATE = 1e3
EPS = float(jnp.finfo(jnp.float64).eps)

START = "start of "
Given = tuple[Values, Inputs]


@dataclass(frozen=True)
class Flow:
    """A system as functions of rows of numbers; `given` is (theta, inputs).

    Args:
        names: the states, in the order of the rows.
        laws: conservation laws, one row of coefficients each.
        design: structure of a `Design` with one time and the inputs of the system.
        task: what the engine solves; None where JAX has to.
    """

    system: Ode
    names: tuple[str, ...]
    laws: tuple[tuple[float, ...], ...]
    design: PyTreeDef
    task: Task | None = None

    def slope(self, y, given: Given) -> Array:
        """`(states,)`: the right-hand side."""
        rates = self.system.rhs(jnp.zeros(()), dict(zip(self.names, y, strict=True)), *given)
        return stacked(rates, self.names)

    def start(self, given: Given) -> Array:
        """`(states,)`: the initial state."""
        initial = self.system.initial(*given)
        return stacked(initial, self.names)

    def weights(self) -> Array:
        """`(laws, states)`."""
        return jnp.asarray(self.laws, float).reshape(len(self.laws), len(self.names))

    def excess(self, y, given: Given) -> Array:
        """`(laws,)`: conserved totals beyond those of the start."""
        return self.weights() @ (y - self.start(given))

    def travel(self, given: Given, span, y=None) -> tuple[Array, Array, Array]:
        """The state `(states,)` after `span`, from `y` or from the start; code and steps of the solve."""
        theta, inputs = given
        system = self.system
        if y is not None:
            system = continued(system, self.names)
            theta = {**theta} | {START + name: value for name, value in zip(self.names, y, strict=True)}
        design = jax.tree.unflatten(self.design, jax.tree.leaves((span[None], inputs, jnp.zeros(()))))
        solution = odes.solve(system, theta, design, method="implicit")
        return jnp.stack([solution.states[name][-1] for name in self.names]), solution.result, solution.steps

    def advance(self, given: Given, span, y, sizes) -> tuple[Array, Array, Array]:
        """The same from `y`, for a search, which needs no derivative; `sizes` are those of the states so far."""
        if self.task is None:
            return self.travel(given, span, y)
        atol = jnp.where(jnp.abs(y) < SMALL * sizes, self.tolerances(sizes), self.given_tolerances())
        end, _, code, steps = advance(self.task, (), *given, y, jnp.zeros((len(y), 0)), span, atol)
        return end, code, steps

    def linearised(self, y, given: Given) -> tuple[Array, Array]:
        """Right-hand side `(states,)` and its Jacobian `(states, states)`."""
        if self.task is None:
            return self.slope(y, given), jax.jacfwd(self.slope)(y, given)
        slope, jacobian, _ = linearised(self.task, (), *given, y)
        return slope, jacobian

    def given_tolerances(self) -> Array:
        """`(states,)`: absolute tolerances of the author, 0 where there are none."""
        return jnp.asarray(absolute_tolerances(self.system, self.names))

    def tolerances(self, sizes) -> Array:
        """`(states,)`: absolute tolerances; those that belong to the sizes of the states where the author gave none."""
        chosen = self.given_tolerances()
        return jnp.where(chosen > 0, chosen, AUTOMATIC * self.system.rtol * sizes)

    def sizes(self, start) -> Array:
        """`(states,)`: how large the states are, or may become by the totals of their start; 0 where nothing says."""
        laws = np.asarray(self.laws).reshape(len(self.laws), len(self.names))
        # a difference that is conserved bounds nothing
        laws = laws[np.all(laws >= 0, axis=1) | np.all(laws <= 0, axis=1)]
        inside = np.divide(1.0, np.abs(laws), out=np.zeros_like(laws), where=laws != 0)
        bounds = jnp.abs(laws @ start)[:, None] * inside
        return jnp.maximum(jnp.abs(start), bounds.max(axis=0, initial=0.0))


@lru_cache(maxsize=64)
def continued(system: Ode, names: tuple[str, ...]) -> Ode:
    """The same system, started where parameters of these names say, so that nothing traced is closed over."""
    return replace(system, initial=lambda p, inputs: {name: p[START + name] for name in names})


class Layout(NamedTuple):
    """Scales of states and equations, and which equations give way to conservation laws.

    Args:
        states: size of each state; the unknowns are `y / states`.
        equations: change of each right-hand side when its states change by their sizes.
        laws: the rows w.
        totals: size of each conserved total.
        place: one 1 in each row, at the equation that the law replaces; zeros where the law does not hold here.
    """

    states: Float[Array, " states"]
    equations: Float[Array, " states"]
    laws: Float[Array, "laws states"]
    totals: Float[Array, " laws"]
    place: Float[Array, "laws states"]

    def matrix(self, jacobian) -> Array:
        """`(states, states)`: slopes of `residual` with respect to the unknowns."""
        kept = 1.0 - self.place.sum(axis=0)
        rows = (kept / self.equations)[:, None] * jacobian + self.place.T @ (self.laws / self.totals[:, None])
        return rows * self.states

    def residual(self, slope, excess) -> Array:
        """`(states,)`: the right-hand side, or the excess of a total over that of the start."""
        return (1.0 - self.place.sum(axis=0)) * slope / self.equations + self.place.T @ (excess / self.totals)


def unscaled(states: int, laws: int) -> Layout:
    """A layout to be replaced."""
    return Layout(
        jnp.ones(states), jnp.ones(states), jnp.ones((laws, states)), jnp.ones(laws), jnp.zeros((laws, states))
    )


def layout_at(jacobian, slope, y, laws, floor) -> Layout:
    """Scales from one state, with the right-hand side and its Jacobian there.

    Args:
        jacobian: `(states, states)`.
        slope: `(states,)`.
        floor: `(states,)`, the least sizes; where they are 0 and the state is, the size is where it would relax to.
    """
    sizes, losses = jnp.abs(y) + floor, jnp.abs(jnp.diagonal(jacobian))
    largest = jnp.max(sizes)
    relaxed = jnp.abs(slope) / jnp.where(losses > 0, losses, jnp.inf)
    relaxed = jnp.where(relaxed > 0, jnp.maximum(relaxed, LEAST_SIZE * largest), largest)
    states = jnp.where(sizes > 0, sizes, jnp.where(relaxed > 0, relaxed, 1.0))
    slopes = jnp.abs(jacobian) * states
    equations = slopes.max(axis=1)
    equations = jnp.where(equations > 0, equations, 1.0)
    holds = jnp.all(jnp.abs(laws @ jacobian) * states <= 1e-8 * (jnp.abs(laws) @ slopes), axis=1)
    totals = jnp.abs(laws * states).max(axis=1, initial=0.0)

    def choose(left, k):
        chosen = jax.nn.one_hot(jnp.argmax(jnp.abs(left[k])), len(y))
        column = left @ chosen
        left = (left - jnp.outer(column / column[k], left[k])) * (1.0 - chosen)
        return left, chosen * holds[k]

    place = jnp.zeros((0, len(y)))
    if len(laws):
        _, place = lax.scan(choose, laws * equations, jnp.arange(len(laws)))
    return Layout(states, equations, laws, totals, place)


class Step(NamedTuple):
    """One of Newton's steps: what was found before it, and the step; `restoring` is what of it mends totals."""

    jacobian: Float[Array, "states states"]
    slope: Float[Array, " states"]
    layout: Layout
    condition: Float[Array, ""]
    move: Float[Array, " states"]
    restoring: Float[Array, " states"]


def newton(flow: Flow, given: Given, start, y, floor) -> tuple[Array, Array, Array, Callable[[Array], Step]]:
    """`NEWTON_STEPS` steps from `y`: their end, the first and the last as rows, and what makes a `Step` of a row.

    Args:
        start: of the trajectory `(states,)`, whose totals are conserved.
        floor: `(states,)`, see `layout_at`.
    """

    nothing = jnp.zeros(())
    laws, states = flow.weights().shape
    blank, step_of = ravel_pytree(
        Step(jnp.zeros((states, states)), jnp.zeros(states), unscaled(states, laws), nothing, *jnp.zeros((2, states)))
    )

    def step(y, rows, count):
        (slope, jacobian), excess = flow.linearised(y, given), flow.weights() @ (y - start)
        layout = layout_at(jacobian, slope, y, flow.weights(), floor)
        matrix = layout.matrix(jacobian)
        inverted = inverse(matrix)
        condition = jnp.abs(matrix).sum(axis=1).max() * jnp.abs(inverted).sum(axis=1).max()
        both = jnp.stack([layout.residual(slope, excess), layout.residual(0.0 * slope, excess)], axis=1)
        move, restoring = -(layout.states[:, None] * (inverted @ both)).T
        # one row for each step is less to compile than one of each of its parts
        row, _ = ravel_pytree(Step(jacobian, slope, layout, condition, move, restoring))
        return move, jnp.asarray(False), (jnp.where(count == 0, row, rows[0]), row)

    root, rows, _, _ = newton_steps(step, y, (blank, blank), NEWTON_STEPS)
    return root, *rows, step_of


class Verdict(NamedTuple):
    """What there is to know of one point of the trajectory.

    Args:
        root: the state of rest to which Newton's steps lead.
        layout: of the equations there.
        regular: the root is near, stable, and isolated once the totals are given: the trajectory ends there.
        at_rest: roots are not isolated here, but on no time scale does anything move any more.
        horizon: the time until which to follow the trajectory before asking again.
        speed: of the state, per time, each state in units of its size.
        finite: the right-hand side and its slopes are numbers.
    """

    root: Float[Array, " states"]
    layout: Layout
    regular: Bool[Array, ""]
    at_rest: Bool[Array, ""]
    horizon: Float[Array, ""]
    speed: Float[Array, ""]
    finite: Bool[Array, ""]


def assess(flow: Flow, given: Given, start, y, before, sizes, time, guessed) -> Verdict:
    """Looks at the state `y` `(states,)` that the trajectory has at `time`, or at a guess of where it ends.

    Args:
        start: of the trajectory `(states,)`.
        before: the state at the end of the horizon before.
        sizes: of the states so far `(states,)`.
    """
    absolute = flow.tolerances(sizes)
    root, first_row, last_row, step_of = newton(flow, given, start, y, absolute / flow.system.rtol)
    first, last = step_of(first_row), step_of(last_row)
    size, isolated = first.layout.states, (first.condition < SINGULAR) & (last.condition < SINGULAR)
    near, converged = _convergence(flow, y, root, absolute, first, last, guessed)
    fast, slow = spectra(jnp.where(near, last.jacobian, first.jacobian), first, y)
    fastest, slowest = jnp.abs(fast).max(), jnp.abs(slow).max()
    growing = fast.real.max() > UNSTABLE * fastest
    regular = near & converged & isolated & ~growing & ~(slow.real.max() > UNSTABLE * slowest)

    tolerance = absolute + flow.system.rtol * jnp.abs(y)
    # large rates that cancel leave a rounding error behind
    drowned = 4 * EPS * (jnp.abs(first.jacobian) @ jnp.abs(y))
    still = jnp.all(jnp.abs(first.slope) <= jnp.maximum(tolerance * fastest / FOREVER, drowned))
    still = still & jnp.all(jnp.abs(y - before) <= tolerance)
    # the slowest that is not zero: until then a derivative may still move where the state does not
    patience = RELAXATION_TIMES / jnp.min(jnp.where(jnp.abs(fast) > 1e-10 * fastest, jnp.abs(fast), jnp.inf))
    at_rest = ~isolated & ~growing & still & (time >= patience) & ~guessed

    speed = jnp.sqrt(jnp.sum(jnp.square(first.slope / size)))
    # what starts from next to nothing has a speed beyond all time scales
    rate = jnp.where(fastest > 0, jnp.clip(speed, fastest, LARGEST_RATE * fastest), speed)
    passed = jnp.maximum(time, 1.0 / rate)
    target = jnp.where(isolated, RELAXATION_TIMES * slowest, jnp.maximum(100 * passed, patience))
    horizon = jnp.clip(target, LEAST_GROWTH * passed, LARGEST_GROWTH * passed)
    # where Newton's steps lead nowhere, its last scales may be no numbers
    layout = step_of(jnp.where(regular, last_row, first_row)).layout
    finite = jnp.all(jnp.isfinite(first.jacobian)) & jnp.all(jnp.isfinite(first.slope))
    return Verdict(root, layout, regular, at_rest, horizon, speed, finite)


def _convergence(flow: Flow, y, root, absolute, first: Step, last: Step, guessed) -> tuple[Array, Array]:
    """Whether Newton's steps stay near, and whether the last one is as small as the tolerance or rounding allows."""
    size = first.layout.states
    rtol = max(flow.system.rtol, LEAST_RTOL)
    weight = absolute + rtol * jnp.maximum(jnp.abs(y), jnp.abs(root))
    rounding = jnp.minimum(10 * EPS * last.condition, LARGEST_ROUNDING) * size
    # what the integration has lost of its totals by rounding is no distance from where the trajectory leads
    alone = jnp.abs(root - y - first.restoring)
    near = jnp.all(alone <= NEAR * weight + rounding) & jnp.all(jnp.abs(first.restoring) <= NEAR_TOTALS * size)
    near = jnp.where(guessed, jnp.all(jnp.abs(root - y) <= NEAR_GUESS * size), near)
    return near, jnp.all(jnp.abs(last.move) <= 10 * weight + rounding)


def spectra(jacobian, here: Step, y) -> tuple[Array, Array]:
    """Eigenvalues of the Jacobian, and those of its inverse, which tell the slow ones better.

    Two kinds of directions are moved out of the way to the fast stable end: conserved ones, and states that are zero
    and stay so. Whether a population could grow that is not there is no matter.
    """
    layout, one = here.layout, jnp.eye(len(y))
    scaled = jacobian * layout.states / layout.states[:, None]
    shift = jnp.maximum(jnp.abs(scaled).max(), 1e-300)
    if len(layout.laws):
        holds = layout.place.sum(axis=1)
        laws = holds[:, None] * layout.laws * layout.states
        scaled = scaled - shift * laws.T @ inverse(laws @ laws.T + jnp.diag(1.0 - holds)) @ laws
    # what is there sets off what depends on it, in as many steps as there are states at most
    linked = ((here.jacobian != 0) | (one > 0)).astype(float)
    linked = lax.fori_loop(0, len(y).bit_length(), lambda _, linked: (linked @ linked > 0).astype(float), linked)
    absent = linked @ ((y != 0) | (here.slope != 0)).astype(float) == 0
    scaled = jnp.where(absent[:, None] | absent, -shift * one, scaled)
    scaled = jnp.where(jnp.all(jnp.isfinite(scaled)), scaled, -one)
    inverted = inverse(scaled)
    inverted = jnp.where(jnp.all(jnp.isfinite(inverted)), inverted, -one)
    fast, slow = jnp.linalg.eigvals(jnp.stack([scaled, inverted]))
    return fast, slow
