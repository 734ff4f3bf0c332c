"""What is wrong with the functions of an `Ode`: shapes and names, reported before anything is solved."""

import inspect
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from ..annotations import ValuesOrShapes
from ..design import Design
from ..errors import nearest
from ..initial_value.array_states import state_shapes
from ..system import Ode


def findings(ode: Ode, theta: ValuesOrShapes, design: Design, state: dict, more: list[str]) -> list[str]:
    """Sentences about all functions but `observe`; later ones are not called where earlier ones are wrong.

    Args:
        theta, state: shapes of parameters and states.
        more: what is known to be wrong besides.
    """
    if wrong := _shape_findings(ode, theta, state) + _delay_findings(ode, theta, design, state):
        return wrong
    slope = jax.eval_shape(
        lambda y, theta: jax.tree.map(jnp.asarray, dict(ode.rhs(design.start, ode.at_rest(y), theta, design.inputs))),
        state,
        theta,
    )
    wrong = _state_findings(state, slope) + _event_time_findings(ode, theta, design, state)
    wrong += _tolerance_findings(ode, state) + more
    if wrong := wrong + _event_findings(ode, theta, design, state):
        return wrong
    return _algebraic_findings(ode, theta, design, state)


def _shape_findings(ode: Ode, theta: ValuesOrShapes, state: dict) -> list[str]:
    """States whose shape a design decides, so that it was not known when the model was made."""
    known = state_shapes(ode, tuple(theta))
    return [
        f"the state {name!r} has the shape {value.shape} with this design, which cannot be known without it; let "
        f"`initial` say the shape whatever the inputs are, as in jnp.broadcast_to(..., {value.shape})."
        for name, value in state.items()
        if value.shape != known.get(name, ())
    ]


def _state_findings(state: dict, slope: dict) -> list[str]:
    findings = [f"`rhs` returns no derivative for the state {name!r}." for name in state if name not in slope]
    findings += [
        f"`rhs` returns {name!r}, which `initial` does not start; {nearest(name, [*state])}"
        for name in slope
        if name not in state
    ]
    findings += [
        f"`rhs` returns the shape {slope[name].shape} for {name!r}, whose state has the shape {value.shape}."
        for name, value in state.items()
        if name in slope and slope[name].shape != value.shape
    ]
    return findings


def _tolerance_findings(system: Ode, state: dict) -> list[str]:
    return [
        f"`atol` names the state {name!r}, which does not exist; {nearest(name, [*state])}"
        for name in (system.atol if isinstance(system.atol, Mapping) else ())
        if name not in state
    ]


def _delay_findings(system: Ode, theta: ValuesOrShapes, design: Design, state: dict) -> list[str]:
    findings = []
    for name, delay in system.delays.items():
        if name in state:
            findings.append(f"`delays` has {name!r}, which is a state; rename one of them.")
        if delay.state not in state:
            findings.append(
                f"the delay {name!r} is of the state {delay.state!r}, which does not exist; "
                f"{nearest(delay.state, [*state])}"
            )
            continue
        length = jax.eval_shape(lambda theta, delay=delay: delay.length(theta, design.inputs), theta)
        before = jax.eval_shape(
            lambda y, theta, delay=delay: delay.before(design.start, y, theta, design.inputs), state, theta
        )
        findings += _scalar_finding(f"the delay {name!r}", length)
        if before.shape != (shape := state[delay.state].shape):
            findings.append(
                f"the history of {name!r} has shape {before.shape}; the state {delay.state!r} has the shape {shape}."
            )
    if system.delays and design.settles:
        findings.append("the steady state of a system with delays is not found; give finite times.")
    return findings


# What `observe` may read beside the states and parameters, by these names.
OBSERVED_TOO = ("t", "inputs")


def observe_findings(observe: Callable) -> list[str]:
    """Arguments of `observe` that nobody would fill."""
    asked = [each for each in inspect.signature(observe).parameters.values() if each.kind not in _COLLECTING][2:]
    return [
        f"`observe` asks for {each.name!r}; beside states and parameters it may ask for {' and '.join(OBSERVED_TOO)}, "
        "by these names."
        for each in asked
        if each.name not in OBSERVED_TOO and each.default is each.empty
    ]


_COLLECTING = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _event_findings(system: Ode, theta: ValuesOrShapes, design: Design, state: dict) -> list[str]:
    def returned(function, *given):
        return jax.eval_shape(lambda *given: jax.tree.map(jnp.asarray, function(*given)), *given)

    findings = []
    if system.start is not None:
        findings += _scalar_finding("`start`", returned(lambda theta: system.start(theta, design.inputs), theta))
    for number, event in enumerate(system.events):
        of = "" if len(system.events) == 1 else f" of event {number}"
        root = returned(lambda y, theta, event=event: event.root(design.start, y, theta, design.inputs), state, theta)
        findings += _scalar_finding(f"`root`{of}", root)
        if event.change is None:
            continue
        change = returned(
            lambda y, theta, event=event: event.change(design.start, y, theta, design.inputs), state, theta
        )
        if not isinstance(change, Mapping):
            findings.append(f"`change`{of} returns no dict of states; give each state that changes its new value.")
            continue
        for name, value in change.items():
            if name not in state:
                findings.append(
                    f"`change`{of} returns the state {name!r}, which does not exist; {nearest(name, [*state])}"
                )
            else:
                findings += _scalar_finding(f"`change`{of}: state {name!r}", value, state[name].shape)
    return findings


def _scalar_finding(subject: str, returned, shape: tuple[int, ...] = ()) -> list[str]:
    """What is no scalar, nor an array of the `shape` that would do too."""
    allowed = f"it must be a scalar or have the shape {shape}" if shape else "it must be a scalar"
    if isinstance(returned, jax.ShapeDtypeStruct):
        return [f"{subject} has shape {returned.shape}; {allowed}."] if returned.shape not in ((), shape) else []
    return [f"{subject} is no number; {allowed}."]


def _algebraic_findings(system: Ode, theta: ValuesOrShapes, design: Design, state: dict) -> list[str]:
    if system.algebraic is None:
        return []
    found = jax.eval_shape(
        lambda y, theta: jax.tree.map(
            jnp.asarray, dict(system.algebraic(design.start, system.at_rest(y), theta, design.inputs))
        ),
        state,
        theta,
    )
    findings = [
        f"`algebraic` returns {name!r}, which is a state; rename one of them." for name in found if name in state
    ]
    findings += [
        f"`algebraic` returns {name!r} with shape {value.shape}; it must be a scalar."
        for name, value in found.items()
        if value.shape != ()
    ]
    return findings


def _event_time_findings(system: Ode, theta: ValuesOrShapes, design: Design, state: dict) -> list[str]:
    findings = []
    if system.switches is not None:
        switches = jax.eval_shape(lambda theta: jnp.asarray(system.switches(theta, design.inputs)), theta)
        if len(switches.shape) > 1:
            findings.append(f"`switches` returns shape {switches.shape}; it must be one row of times.")
    if system.doses is not None:
        doses = jax.eval_shape(lambda theta: jax.tree.map(jnp.asarray, dict(system.doses(theta, design.inputs))), theta)
        for name, row in doses.items():
            if name not in state:
                findings.append(f"`doses` names the state {name!r}, which does not exist; {nearest(name, [*state])}")
            if not (isinstance(row, tuple) and len(row) == 2):
                findings.append(f"`doses` of {name!r} must be a pair (times, amounts).")
            elif name in state and (shape := state[name].shape):
                if row[1].shape != row[0].shape + shape or len(row[0].shape) > 1:
                    findings.append(
                        f"`doses` of {name!r} has times {row[0].shape} and amounts {row[1].shape}; give one row of "
                        f"times, and for each an array of the shape {shape}, that of the state."
                    )
            elif row[1].shape not in ((), row[0].shape) or len(row[0].shape) > 1:
                findings.append(
                    f"`doses` of {name!r} has times {row[0].shape} and amounts {row[1].shape}; give one row of each."
                )
    return findings
