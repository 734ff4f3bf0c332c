"""What doses and switches mean for the structural question.

Between two events the equations are smooth, and what identifies a parameter there identifies it. The question is asked
of the time after the first dose, from the initial state plus its amount: later doses and switches can only add. So
"global" and "local" hold for the whole course; what only later events could show is left undecided.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from ..design import Design
from ..model import Model
from ..system import AnyInput

ONLY_JUMPS = "it enters only the times at which the equations jump"
SEVERAL_STRETCHES = "not within one stretch of time between jumps of the equations; several together may show it"
ONLY_EVENTS = "it enters only the times of doses or switches, or later doses, which are not looked at"
LATER_EVENTS = "not from the time up to the second event; later doses or switches may show it"


def after_first_dose(model: Model, design: Design | None) -> Model:
    """The model without scheduled events, its states beginning after the first dose."""
    system = model.system
    if system.doses is None:
        return replace(model, system=replace(system, switches=None))
    first = _first_doses(model, design)

    def initial(p, inputs):
        state = dict(system.initial(p, inputs))
        rows = system.doses(p, inputs)
        for name, k in first.items():
            # one amount may stand for all times
            amounts, start = jnp.asarray(rows[name][1]), jnp.asarray(state[name])
            state[name] = start + (amounts if amounts.ndim == start.ndim else amounts[k])
        return state

    return replace(model, system=replace(system, initial=initial, switches=None, doses=None))


def times_of_events(model: Model, design: Design) -> tuple[float, list[float]]:
    """When the question begins, at the start or the first dose, and all times of doses and switches."""
    theta, system = model.space.nominal(), model.system
    doses = system.doses(theta, design.inputs).values() if system.doses is not None else ()
    rows = [np.atleast_1d(np.asarray(times, float)) for times, _ in doses]
    given = np.concatenate([*rows, np.zeros(0)])
    first = float(given[given >= float(design.start)].min(initial=np.inf))
    switches = [np.atleast_1d(np.asarray(system.switches(theta, design.inputs), float))] if system.switches else []
    known = np.concatenate([given, *switches])
    return first if np.isfinite(first) else float(design.start), known.tolist()


def _first_doses(model: Model, design: Design | None) -> dict[str, int]:
    """State -> position of its dose, for the states that get one at the earliest time."""
    inputs = design.inputs if design is not None else AnyInput()
    start = float(design.start) if design is not None else 0.0
    rows = model.system.doses(model.space.nominal(), inputs)
    times = {name: np.atleast_1d(np.asarray(row[0], dtype=float)) for name, row in rows.items()}
    times = {name: np.where(row >= start, row, np.inf) for name, row in times.items()}
    earliest = min((float(row.min(initial=np.inf)) for row in times.values()), default=np.inf)
    if not np.isfinite(earliest):
        return {}
    return {name: int(row.argmin()) for name, row in times.items() if row.min(initial=np.inf) == earliest}


def parameters_of_events(model: Model, design: Design | None) -> set[str]:
    """The parameters on which times and amounts of scheduled events depend."""
    inputs = design.inputs if design is not None else AnyInput()
    theta, out = model.space.nominal(), set()
    for schedule in model.system.scheduled_events:
        jaxpr = jax.make_jaxpr(lambda theta, schedule=schedule: schedule(theta, inputs))(theta).jaxpr
        needed = {id(v) for v in jaxpr.outvars}
        for equation in reversed(jaxpr.eqns):
            if any(id(v) in needed for v in equation.outvars):
                needed |= {id(v) for v in equation.invars}
        # a dict of scalars is flattened in the order of its sorted keys
        out |= {name for name, v in zip(sorted(theta), jaxpr.invars, strict=True) if id(v) in needed}
    return out
