"""Steady states: where the trajectory comes to rest, and how that place moves with the parameters.

Not any root of rhs = 0 will do. With several attractors the answer is the one in whose basin the start lies; with
conserved totals it is the one that has the totals of the start. So the trajectory is followed from the start over
growing horizons, and at the end of each a few Newton steps are tried (`equilibrium`). Their root is accepted where it
is hardly further from the trajectory than the error of integration, the steps contract, and it is stable. A slow time
scale behind a fast one is no trap: at rest in the fast directions only, the step along the slow one is still long. The
derivative then follows from the implicit function theorem, at the price of one linear solve, in both modes.

Where roots are not isolated (a continuum of steady states, as after an epidemic; conserved totals whose coefficients
are parameters), the place of rest is known only by the way there: it is the end of the integration, accepted when
nothing moves any more on any time scale that double precision can tell, and its derivative is that of the trajectory.

Newton's method along the trajectory as in COPASI (Hoops et al. 2006, doi:10.1093/bioinformatics/btl485). Integration
for the state and the implicit function theorem for its derivative is the pair that Lakrisenko et al. (2024,
doi:10.1371/journal.pone.0312148) found the most robust on six published models. The derivative rule is our own: that
of optimistix raises for a whole batch when one batch member has no number.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Bool, Float, Int

from ..annotations import Values
from ..design import Design
from ..errors import InputError, Result, nearest
from ..initial_value.array_states import in_scalars
from ..initial_value.at_points import inverse, linearised
from ..initial_value.compiled import advance
from ..initial_value.machine_code import compiled, task_of
from ..initial_value.task import INPUT, Task, active_entries, shifted
from ..solvers.extrapolation import follow
from ..solvers.implicit import implicit
from ..solvers.sparse_lu import structure
from ..system import Inputs, Ode, State
from .conservation import conservation_laws
from .equilibrium import Flow, Given, Layout, assess, unscaled

RUNNING = -1

MAX_HORIZONS = 30
# Where no absolute tolerance is given and a state was never anything but zero.
LEAST_TOLERANCE = 1e-290
# Parts of the steps of a solve: what the next horizon may take, estimated from the one before; what no decay takes.
HORIZON_STEPS, MANY_STEPS = 0.2, 0.1


class SteadyState(eqx.Module):
    """The state of rest, a code of `RESULTS` and the number of steps taken to it; a batch has a leading axis."""

    states: dict[str, Float[Array, "*batch"]]
    result: Int[Array, "*batch"]
    steps: Int[Array, "*batch"]


class Rest(eqx.Module):
    """Where the search is, or ended, and what the derivative of that place needs."""

    state: Float[Array, " states"]
    sizes: Float[Array, " states"]
    layout: Layout
    regular: Bool[Array, ""]
    time: Float[Array, ""]
    result: Int[Array, ""]
    steps: Int[Array, ""]


def steady_state(system: Ode, theta: Values, inputs: Inputs, *, guess: State | None = None) -> SteadyState:
    """The steady state that the trajectory from `system.initial` reaches; traceable, never raises while running.

    Differentiable with respect to parameters, inputs and, through `system.initial`, initial amounts: once in reverse
    mode and any number of times in forward mode, so that `jax.hessian` works. A batch is `jax.vmap`.

    Args:
        theta: every parameter, scalars.
        inputs: what the experimenter sets.
        guess: a state near the steady state, such as that of a neighbouring parameter vector. Where Newton's method
            leads from it to a stable steady state within some 10 % of each state, that is the answer, and not the
            start but the guess has chosen between several attractors; otherwise the guess is passed over.

    Returns:
        states, scalars in the units of the model (of an array its entries by name), to about the tolerances of the
        system; NaN where `result` is not 0.

    Raises:
        InputError: while tracing, with everything that is wrong: a right-hand side that uses time, a schedule of doses
            or switches, a guess with other names than the states.

    Example:
        >>> from forward_models.receptor_tf import model
        >>> rest = steady_state(model.system, model.space.nominal() | {"eps": 1e-3}, {})
        >>> round(float(rest.states["y"]), 6)
        1.333333
    """
    theta, inputs = ({name: jnp.asarray(value, float) for name, value in part.items()} for part in (theta, inputs))
    system = in_scalars(system, tuple(theta))
    names = tuple(system.initial(theta, inputs))
    task = _task(system, names, theta, inputs)
    _check(system, names, theta, inputs, guess, task)
    laws = tuple(map(tuple, conservation_laws(system, names, theta, inputs).tolist()))
    with jax.ensure_compile_time_eval():
        design = jax.tree.structure(Design([0.0], dict.fromkeys(inputs, 0.0)))
    if guess is not None:
        guess = jnp.stack([jnp.asarray(guess[name], float) for name in names])
    y, rest = _approach(Flow(system, names, laws, design, task), (theta, inputs), guess)
    states = {name: jnp.where(rest.result == Result.SUCCESS, y[k], jnp.nan) for k, name in enumerate(names)}
    return SteadyState(states, rest.result, rest.steps)


def _task(system: Ode, names: tuple[str, ...], theta: Values, inputs: Inputs) -> Task | None:
    """What the engine solves; None where the right-hand side has no kernels."""
    if system.scheduled_events or system.events or any(value.shape for value in theta.values()):
        return None
    task = task_of(system, None, (), tuple(theta), tuple((name, value.shape) for name, value in inputs.items()))
    return task if task is not None and task.states == names else None


def _check(
    system: Ode, names: tuple[str, ...], theta: Values, inputs: Inputs, guess: State | None, task: Task | None
) -> None:
    findings = []
    if system.events:
        findings.append(
            "the system has events, which may change the states for ever; describe the dynamics between them, with "
            "dataclasses.replace(system, events=())."
        )
    if system.scheduled_events:
        findings.append(
            "the system has a schedule, so it does not come to rest; describe the constant conditions, with "
            "dataclasses.replace(system, doses=None, switches=None)."
        )
    if _uses_time(system, names, theta, inputs, task):
        findings.append(
            "the right-hand side uses the time, so it has no steady state; give the constant conditions as inputs."
        )
    if guess is not None:
        findings += [f"the guess has no value for the state {name!r}." for name in names if name not in guess]
        findings += [f"the guess names {name!r}; {nearest(name, names)}" for name in guess if name not in names]
    if findings:
        raise InputError("steady_state", findings)


def _uses_time(system: Ode, names: tuple[str, ...], theta: Values, inputs: Inputs, task: Task | None) -> bool:
    if task is not None:
        kernels = compiled(task, ()).kernels
        # a comparison may be one of time and state
        if not (kernels.uses_time or kernels.switches or kernels.conditions):
            return False

    def rhs(t, y):
        rates = system.rhs(t, dict(zip(names, y, strict=True)), theta, inputs)
        return [jnp.asarray(rates[name], float) for name in names]

    return structure(rhs, len(names)).uses_time


@partial(jax.jit, static_argnums=0)
def _approach(flow: Flow, given: Given, guess: Array | None) -> tuple[Array, Rest]:
    rest = _search(flow, lax.stop_gradient(given), lax.stop_gradient(guess))
    y = _place(flow, given, rest)
    # what decays to nothing comes out as -1e-26, whose logarithm or square root is no number
    nothing = (flow.start(given) >= 0) & (y < 0) & (y >= -flow.tolerances(rest.sizes))
    return y - lax.stop_gradient(jnp.where(nothing, y, 0.0)), rest


def _search(flow: Flow, given: Given, guess: Array | None) -> Rest:
    """Follows the trajectory horizon by horizon until it is at rest or there is no hope."""
    start, most = flow.start(given), flow.system.max_steps
    sizes_of_start = flow.sizes(start)

    def body(search):
        rest, span, speed, turns, count, guessed = search
        y, code, steps = flow.advance(given, span, rest.state, rest.sizes)
        time, total = rest.time + span, rest.steps + steps
        sizes = jnp.fmax(rest.sizes, jnp.abs(y))
        verdict = assess(flow, given, start, y, rest.state, sizes, time, guessed)
        # what takes that many steps and is no slower for it turns, unless it was sampled at a bad moment: not twice
        turns = jnp.where((steps >= MANY_STEPS * most) & (verdict.speed > 0.5 * speed), turns + 1, 0)
        hopeless = (turns >= 2) | (total >= most) | (count + 1 >= MAX_HORIZONS)
        result = jnp.where(hopeless, Result.NO_STEADY_STATE, RUNNING)
        result = jnp.where(verdict.finite, result, jnp.where(time > 0, Result.NO_STEADY_STATE, Result.BLOW_UP))
        result = jnp.where(verdict.regular | verdict.at_rest, Result.SUCCESS, result)
        result = jnp.where(code == Result.SUCCESS, result, jnp.where(span > 0, Result.NO_STEADY_STATE, code))
        again = guessed & (result != Result.SUCCESS)
        result = jnp.where(again, RUNNING, result)
        state = jnp.where(again, start, jnp.where(verdict.regular, verdict.root, y))
        sizes = jnp.where(again, sizes_of_start, sizes)
        rest = Rest(state, sizes, verdict.layout, verdict.regular, time, result, total)
        # a long oscillation takes as many steps for each unit of time as before
        longest = jnp.where(span > 0, span * (HORIZON_STEPS * most / jnp.maximum(steps, 1)), jnp.inf)
        # in a batch, nothing is to be integrated for batch members that are done
        ahead = jnp.where(again | (result != RUNNING), 0.0, jnp.minimum(verdict.horizon - time, longest))
        speed = jnp.where(again, jnp.inf, verdict.speed)
        return rest, ahead, speed, turns, count + 1, jnp.zeros_like(guessed)

    zero = jnp.zeros(())
    layout = unscaled(len(flow.names), len(flow.laws))
    begin = start if guess is None else guess
    sizes = jnp.fmax(sizes_of_start, jnp.abs(begin))
    rest = Rest(begin, sizes, layout, jnp.asarray(False), zero, jnp.asarray(RUNNING), jnp.asarray(0))
    search = (rest, zero, zero + jnp.inf, jnp.asarray(0), jnp.asarray(0), jnp.asarray(guess is not None))
    return lax.while_loop(lambda search: search[0].result == RUNNING, body, search)[0]


def _place(flow: Flow, given: Given, rest: Rest) -> Array:
    """The state of rest `(states,)` as a function of what is given: a root where that is isolated, or where it ends."""
    root = implicit(partial(_linearised, flow), _by_inverse, (given, rest), rest.state)
    return jnp.where(rest.regular, root, _end(flow, given, rest))


def _by_inverse(scaled: tuple[Array, Array], vector) -> Array:
    """Solves with slopes by unknowns in units of their sizes."""
    matrix, sizes = scaled
    return sizes * (inverse(matrix) @ vector)


def _linearised(flow: Flow, y, given_and_rest: tuple[Given, Rest], change) -> tuple[tuple[Array, Array], Array]:
    """Both derivatives of the equations of rest, by the engine where it can; nothing moves where they do not hold."""
    given, rest = given_and_rest
    active, direction = _direction(flow, given, change[0])
    slope, jacobian = _slopes(flow, active, given, y, direction)
    start = jax.jacfwd(lambda vector: flow.start(shifted(active, *given, vector)))(jnp.zeros(len(active))) @ direction
    matrix = jnp.where(rest.regular, rest.layout.matrix(jacobian), jnp.eye(len(y)))
    pushed = rest.layout.residual(slope, -flow.weights() @ start)
    return (matrix, rest.layout.states), jnp.where(rest.regular, pushed, 0.0)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _end(flow: Flow, given: Given, rest: Rest) -> Array:
    """The end of the trajectory `(states,)`, where it is known by the way there alone."""
    return rest.state


@partial(_end.defjvp, symbolic_zeros=True)
def _(flow, primals, tangents):
    given, rest = primals
    active, direction = _direction(flow, given, tangents[0])
    # No time passes and no step is taken where the implicit function theorem has the answer.
    span = jnp.where(rest.regular | (rest.result != Result.SUCCESS), 0.0, rest.time)
    # A matrix, since the derivative of a loop cannot be transposed for reverse mode, but a matrix can.
    along = jnp.where(rest.regular, 0.0, _way(flow, active, given, span, flow.tolerances(rest.sizes)))
    return _end(flow, given, rest), along @ direction


def _direction(flow: Flow, given: Given, change: tuple[dict, dict]) -> tuple[tuple[tuple[str, int], ...], Array]:
    """Entries (name, flat index) of parameters and inputs that change, and their changes `(active,)`."""
    changes = {
        start + name: part
        for start, parts in zip(("", INPUT), change, strict=True)
        for name, part in parts.items()
        if not isinstance(part, SymbolicZero)
    }
    active = _active(flow, given, tuple(changes))
    return active, jnp.stack([jnp.ravel(changes[name])[index] for name, index in active]) if active else jnp.zeros(0)


def _active(flow: Flow, given: Given, moved: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """Entries (name, flat index) of parameters and inputs with respect to which derivatives are wanted."""
    if flow.task is not None:
        return active_entries(flow.task, moved)
    values = given[0] | {INPUT + name: value for name, value in given[1].items()}
    return tuple((name, k) for name in moved for k in range(values[name].size))


def _slopes(flow: Flow, active, given: Given, y, direction) -> tuple[Array, Array]:
    """Change of the right-hand side `(states,)` in a direction of the active entries, and its Jacobian."""
    if flow.task is not None:
        _, jacobian, by = linearised(flow.task, active, *given, y)
        return by @ direction, jacobian

    def slope(vector):
        return flow.slope(y, shifted(active, *given, vector))

    return jax.jvp(slope, (jnp.zeros(len(active)),), (direction,))[1], jax.jacfwd(flow.slope)(y, given)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _way(flow: Flow, active, given: Given, span, absolute) -> Array:
    """Slopes `(states, active)` of the end of a trajectory of length `span` from the start."""
    if flow.task is None:
        return _way_in_jax(flow, active, given, span, absolute)

    def start(vector):
        return flow.start(shifted(active, *given, vector))

    nothing = jnp.zeros(len(active))
    atol = flow.given_tolerances()
    return advance(flow.task, active, *given, start(nothing), jax.jacfwd(start)(nothing), span, atol)[1]


@_way.defjvp
def _(flow, active, primals, tangents):
    # the engine has no second derivatives
    change = jax.jvp(partial(_way_in_jax, flow, active), primals, tangents)[1]
    return _way(flow, active, *primals), change


def _way_in_jax(flow: Flow, active, given: Given, span, absolute) -> Array:
    def end(vector):
        moved = shifted(active, *given, vector)
        atol = jnp.maximum(absolute, LEAST_TOLERANCE)
        return follow(lambda y: flow.slope(y, moved), flow.start(moved), span, rtol=flow.system.rtol, atol=atol)

    return jax.jacfwd(end)(jnp.zeros(len(active)))
