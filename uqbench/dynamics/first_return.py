"""The first return: where a trajectory that has forgotten its start comes by again.

Three walks along the trajectory, each over the steps of the solver itself, so that what is found does not depend on how
long the walk is: one for the range of each state, one for the point where the states move slowest in units of these
ranges, and one from there to the first passage of the plane across it. Where the trajectory is slowest the plane is met
squarely, and a relaxation oscillation drifts there rather than jumps. Inside a step the passage is looked for on the
solver's dense output.

Nothing here carries a derivative: what follows from the return is solved for anew (`limit_cycle`).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from ..errors import Result
from ..initial_value import odes
from ..solvers.rosenbrock import implicit_method
from ..solvers.stepping import Method, Passage, begin, controlled_step, inside
from .equilibrium import START, Flow, Given, continued

# Tolerance of the walks: what they find is a place to start from.
SEARCH = 1e-8
# A return is a passage of the section that is this near, in units of the range of each state.
NEAR = 0.1
# Points in each step between which the passage is looked for.
POINTS = 17
# A range below this share of the states' sizes is rest.
LEAST_RANGE = 1e-6


class Section(NamedTuple):
    """Where the search stands, all of it held fixed when derivatives are taken.

    Args:
        point, normal: of the plane, in units of `scale`.
        scale: range of each state over the cycle; that of the period, its first value.
        start: the unknowns at the first return, in units of `scale`: the point, and 1 for the period.
        code: 0, `Result.AT_REST`, `Result.NO_RETURN` or a code of `RESULTS`.
    """

    point: Float[Array, " states"]
    normal: Float[Array, " states"]
    scale: Float[Array, " unknowns"]
    start: Float[Array, " unknowns"]
    code: Int[Array, ""]


def first_return(flow: Flow, given: Given, first, transient, longest) -> Section:
    """The section across the trajectory after its transient, and the first return to it; traceable, never raises.

    Args:
        first: the state to start from, `(states,)`; None for the initial one.
        transient, longest: times for which to go before, and for the return.
    """
    system = replace(flow.system, rtol=SEARCH, atol=SEARCH * flow.system.least_atol / flow.system.rtol)
    flow = replace(flow, system=system)
    begun, code, _ = flow.travel(given, transient, first)
    slowest, scale, moving, code = _slowest(flow, given, code, begun, longest)
    normal = flow.slope(slowest, given) / scale
    normal = normal / jnp.sqrt(jnp.sum(jnp.square(normal)))

    def returned(memory, stepper, passage):
        times = passage.t + passage.h * jnp.linspace(0.0, 1.0, POINTS)
        away = (jnp.stack(inside(stepper, passage, times), axis=-1) - slowest) / scale
        height = away @ normal
        share = (height[:-1] / (height[:-1] - height[1:]))[:, None]
        nearest = jnp.max(jnp.abs(away[:-1] + share * (away[1:] - away[:-1])), axis=1)
        passes = (height[:-1] < 0) & (height[1:] >= 0) & (nearest <= NEAR)
        at = jnp.argmax(passes)
        return times[at] + share[at, 0] * (times[at + 1] - times[at]), jnp.any(passes)

    resting = jnp.where((code == Result.SUCCESS) & ~jnp.any(moving), Result.AT_REST, code)
    never = jnp.asarray(jnp.inf)
    period, code = _walk(flow, given, resting, slowest, longest, returned, never, otherwise=Result.NO_RETURN)
    found = code == Result.SUCCESS
    point = slowest / scale
    # in a batch, nothing is to be integrated for batch members without a return
    period, start = jnp.where(found, period, 1.0), jnp.append(point, jnp.where(found, 1.0, 0.0))
    return Section(point, normal, jnp.append(scale, period), start, code)


def _slowest(flow: Flow, given: Given, code, begun, longest) -> tuple[Array, Array, Array, Array]:
    """The point where the states move slowest, their ranges (of one at rest its size), which move, and the code."""

    def measured(least, most):
        size = jnp.maximum(jnp.abs(least), jnp.abs(most)) + flow.system.least_atol / flow.system.rtol
        moving = most - least > LEAST_RANGE * size
        return jnp.where(moving, most - least, size), moving

    def walk(observed, _):
        scale, _ = measured(*observed[:2])

        def watch(memory, stepper, passage):
            least, most, speed, slowest = memory
            new = jnp.stack(passage.new)
            here = jnp.max(jnp.abs(flow.slope(new, given)) / scale)
            point = jnp.where(here < speed, new, slowest)
            return (jnp.minimum(least, new), jnp.maximum(most, new), jnp.minimum(here, speed), point), False

        nothing = (begun, begun, jnp.asarray(jnp.inf), begun)
        memory, code = _walk(flow, given, observed[-1], begun, longest, watch, nothing)
        return (*memory, code), None

    # the second time in units of the ranges found the first time
    start = (begun, begun, jnp.asarray(jnp.inf), begun, code)
    (least, most, _, slowest, code), _ = lax.scan(walk, start, length=2)
    return slowest, *measured(least, most), code


def _walk(
    flow: Flow,
    given: Given,
    code: Array,
    y: Array,
    span: Array,
    watch: Callable[[Any, Method, Passage], tuple[Any, Array | bool]],
    memory: Any,
    otherwise: int = Result.SUCCESS,
) -> tuple[Any, Array]:
    """What is remembered after walking from `y` over `span`, or until what is watched for has come; and the code.

    Args:
        code: no walk is taken unless it is 0.
        watch: `watch(memory, stepper, passage)`, after each step: the new memory, and whether that was it.
        otherwise: the code where that never was.
    """
    system, (theta, inputs) = continued(flow.system, flow.names), given
    theta = {**theta} | {START + name: value for name, value in zip(flow.names, y, strict=True)}
    span = jnp.where(code == Result.SUCCESS, span, 0.0)
    design = jax.tree.unflatten(flow.design, jax.tree.leaves((span[None], inputs, jnp.zeros(()))))
    problem = odes.problem_of(system, flow.names, (theta, design))
    stepper = implicit_method(problem.rhs, len(flow.names))

    def body(state):
        carry, memory, _ = state
        carry, passage, accepted = controlled_step(stepper, problem, carry, system.max_steps)
        observed, over = watch(memory, stepper, passage)
        return carry, jax.tree.map(lambda a, b: jnp.where(accepted, a, b), observed, memory), accepted & over

    start = (begin(problem), memory, jnp.asarray(False))
    carry, memory, over = lax.while_loop(lambda state: state[0]["running"] & ~state[2], body, start)
    ended = jnp.where(over, Result.SUCCESS, jnp.where(carry["code"] == Result.SUCCESS, otherwise, carry["code"]))
    return memory, jnp.where(code == Result.SUCCESS, ended, code)
