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
of optimistix raises for a whole batch when one lane has no number.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from ..design import Design
from ..errors import InputError, nearest
from ..system import Inputs, Ode, State, Theta
from .conservation import conservation_laws
from .equilibrium import Flow, Given, Layout, judge, unscaled
from .extrapolation import follow
from .sparse_lu import structure
from .stepping import BLOW_UP, SUCCESS

NO_STEADY_STATE = 4
NO_STEADY_STATE_TEXT = (
    "no steady state was reached: the trajectory oscillates, grows without bound, leaves the range where its rates are "
    "numbers, starts on the border between two basins, or still moves on a time scale too slow to follow. Solve over "
    "a finite time to see which, and check that every production has a loss."
)
RUNNING = -1

MAX_HORIZONS = 30
# Parts of the steps of a solve: what the next horizon may take, judged from the one before; what no decay takes.
HORIZON_STEPS, MANY_STEPS = 0.2, 0.1


class SteadyState(eqx.Module):
    """The state of rest, a code of `RESULTS` and the number of steps taken to it; a batch has a leading axis."""

    states: dict[str, Float[Array, "*batch"]]
    result: Int[Array, "*batch"]
    steps: Int[Array, "*batch"]


class Rest(eqx.Module):
    """Where the search is, or ended, and what the derivative of that place needs."""

    state: Float[Array, " states"]
    layout: Layout
    regular: Bool[Array, ""]
    time: Float[Array, ""]
    result: Int[Array, ""]
    steps: Int[Array, ""]


def steady_state(system: Ode, theta: Theta, inputs: Inputs, *, guess: State | None = None) -> SteadyState:
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
        states, scalars in the units of the model, to about the tolerances of the system; NaN where `result` is not 0.

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
    names = tuple(system.initial(theta, inputs))
    _check(system, names, theta, inputs, guess)
    laws = tuple(map(tuple, conservation_laws(system, names, theta, inputs).tolist()))
    with jax.ensure_compile_time_eval():
        design = jax.tree.structure(Design([0.0], dict.fromkeys(inputs, 0.0)))
    if guess is not None:
        guess = jnp.stack([jnp.asarray(guess[name], float) for name in names])
    y, rest = _settle(Flow(system, names, laws, design), (theta, inputs), guess)
    states = {name: jnp.where(rest.result == SUCCESS, y[k], jnp.nan) for k, name in enumerate(names)}
    return SteadyState(states, rest.result, rest.steps)


def _check(system: Ode, names: tuple[str, ...], theta: Theta, inputs: Inputs, guess: State | None) -> None:
    def rhs(t, y):
        rates = system.rhs(t, dict(zip(names, y, strict=True)), theta, inputs)
        return [jnp.asarray(rates[name], float) for name in names]

    findings = []
    if system.stops:
        findings.append(
            "the system has a schedule, so it does not come to rest; describe the constant conditions, with "
            "dataclasses.replace(system, doses=None, switches=None)."
        )
    if structure(rhs, len(names)).uses_time:
        findings.append(
            "the right-hand side uses the time, so it has no steady state; give the constant conditions as inputs."
        )
    if guess is not None:
        findings += [f"the guess has no value for the state {name!r}." for name in names if name not in guess]
        findings += [f"the guess names {name!r}; {nearest(name, names)}" for name in guess if name not in names]
    if findings:
        raise InputError("steady_state", findings)


@partial(jax.jit, static_argnums=0)
def _settle(flow: Flow, given: Given, guess: Array | None) -> tuple[Array, Rest]:
    rest = _search(flow, lax.stop_gradient(given), lax.stop_gradient(guess))
    y = _place(flow, given, rest)
    # what decays to nothing comes out as -1e-26, whose logarithm or square root is no number
    nothing = (flow.start(given) >= 0) & (y < 0) & (y >= -flow.system.least_atol)
    return y - lax.stop_gradient(jnp.where(nothing, y, 0.0)), rest


def _search(flow: Flow, given: Given, guess: Array | None) -> Rest:
    """Follows the trajectory horizon by horizon until it is at rest or there is no hope."""
    start, most = flow.start(given), flow.system.max_steps

    def body(search):
        rest, span, speed, turns, count, guessed = search
        y, code, steps = flow.travel(given, span, rest.state)
        time, total = rest.time + span, rest.steps + steps
        verdict = judge(flow, given, y, rest.state, time, guessed)
        # what takes that many steps and is no slower for it turns, unless it was seen at a bad moment: not twice
        turns = jnp.where((steps >= MANY_STEPS * most) & (verdict.speed > 0.5 * speed), turns + 1, 0)
        hopeless = (turns >= 2) | (total >= most) | (count + 1 >= MAX_HORIZONS)
        result = jnp.where(hopeless, NO_STEADY_STATE, RUNNING)
        result = jnp.where(verdict.finite, result, jnp.where(time > 0, NO_STEADY_STATE, BLOW_UP))
        result = jnp.where(verdict.regular | verdict.at_rest, SUCCESS, result)
        result = jnp.where(code == SUCCESS, result, jnp.where(span > 0, NO_STEADY_STATE, code))
        again = guessed & (result != SUCCESS)
        result = jnp.where(again, RUNNING, result)
        state = jnp.where(again, start, jnp.where(verdict.regular, verdict.root, y))
        rest = Rest(state, verdict.layout, verdict.regular, time, result, total)
        # a long oscillation takes as many steps for each unit of time as before
        longest = jnp.where(span > 0, span * (HORIZON_STEPS * most / jnp.maximum(steps, 1)), jnp.inf)
        # in a batch, nothing is to be integrated for lanes that are done
        ahead = jnp.where(again | (result != RUNNING), 0.0, jnp.minimum(verdict.horizon - time, longest))
        speed = jnp.where(again, jnp.inf, verdict.speed)
        return rest, ahead, speed, turns, count + 1, jnp.zeros_like(guessed)

    zero = jnp.zeros(())
    layout = unscaled(len(flow.names), len(flow.laws))
    begin = start if guess is None else guess
    rest = Rest(begin, layout, jnp.asarray(False), zero, jnp.asarray(RUNNING), jnp.asarray(0))
    search = (rest, zero, zero + jnp.inf, jnp.asarray(0), jnp.asarray(0), jnp.asarray(guess is not None))
    return lax.while_loop(lambda search: search[0].result == RUNNING, body, search)[0]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _place(flow: Flow, given: Given, rest: Rest) -> Array:
    """The state of rest `(states,)` as a function of what is given."""
    return rest.state


@partial(_place.defjvp, symbolic_zeros=True)
def _(flow, primals, tangents):
    given, rest = primals
    y = _place(flow, given, rest)
    leaves, tree = jax.tree.flatten(given)
    changes = jax.tree.leaves(tangents[0], is_leaf=lambda leaf: isinstance(leaf, SymbolicZero))
    moved = [k for k, change in enumerate(changes) if not isinstance(change, SymbolicZero)]
    at, unravel = ravel_pytree([leaves[k] for k in moved])
    direction, _ = ravel_pytree([changes[k] for k in moved])

    def given_at(vector):
        new = dict(zip(moved, unravel(vector), strict=True))
        return jax.tree.unflatten(tree, [new.get(k, leaf) for k, leaf in enumerate(leaves)])

    def residual(unknowns, vector):
        y, given = unknowns * rest.layout.states, given_at(vector)
        return rest.layout.residual(flow.slope(y, given), flow.excess(y, given))

    def path_end(vector):
        given, tolerances = given_at(vector), {"rtol": flow.system.rtol, "atol": flow.system.least_atol}
        return follow(lambda y: flow.slope(y, given), flow.start(given), span, **tolerances)

    unknowns = y / rest.layout.states
    matrix = jnp.where(rest.regular, jax.jacfwd(residual)(unknowns, at), jnp.eye(len(y)))
    _, pushed = jax.jvp(partial(residual, unknowns), (at,), (direction,))
    implicit = -rest.layout.states * jnp.linalg.solve(matrix, jnp.where(rest.regular, pushed, 0.0))
    # No time passes and no step is taken where the implicit function theorem has the answer.
    span = jnp.where(rest.regular | (rest.result != SUCCESS), 0.0, rest.time)
    # A matrix, since the derivative of a loop cannot be transposed for reverse mode, but a matrix can.
    along = jnp.where(rest.regular, 0.0, jax.jacfwd(path_end)(at))
    return y, jnp.where(rest.regular, implicit, along @ direction)
