"""Whether a run under a schedule makes sense, before it begins: a warning, or an error where it would be garbage."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from ..annotations import Values
from ..design import Design
from ..errors import CouplingWarning, InputError
from .equations import Equations, Given
from .findings import function_findings
from .linearisation import NUMBERED, Described, Prediction, first_stable, predict, predictions, worst_of
from .schedules import Schedule, described

# Growth of errors, beyond that of the equations, after which a solution is hidden by them.
GARBAGE = 1e6
# Answers of one model; they go when it does, or when there are many.
MOST_KNOWN = 256
_known: WeakKeyDictionary[Any, dict[tuple, Any]] = WeakKeyDictionary()


class Scheduled(Described, Protocol):
    """A coupled system as it is looked at here."""

    @property
    def schedule(self) -> Schedule: ...

    def points(self, model, design: Design, theta: Values | None = None) -> tuple[Given, Array, Array]: ...

    def schedules(self, given: Given, t, step: float | None = None) -> Mapping[str, Schedule]: ...


class _Verdict(NamedTuple):
    """What is said of a schedule, "" where nothing is known, and whether results would be garbage."""

    sentence: str
    garbage: bool


def check_schedule(system: Scheduled, model, design: Design) -> None:
    """Warns of a schedule that diverges at the medians of the parameters, and names one that does not.

    Args:
        design: of one run, whose numbers are known.

    Raises:
        InputError: errors would outgrow the solution in this design.
    """
    inputs = tuple((name, value.shape, np.asarray(value).tobytes()) for name, value in design.inputs.items())
    start, end = float(np.asarray(design.start)), float(np.max(np.asarray(design.times), initial=-np.inf))
    at_start = _remembered(model, inputs, lambda: _at_start(system, model, design))
    # where the functions are wrong that is said elsewhere
    if at_start is None or at_start.stable or not end > start:
        return
    verdict = _remembered(model, (inputs, start, end), lambda: _over(system, model, design, end - start))
    if verdict.garbage:
        raise InputError(f"schedule {described(system.schedule)}", [f"{verdict.sentence}."])
    if verdict.sentence:
        warnings.warn(f"{described(system.schedule)}: {verdict.sentence}.", CouplingWarning, stacklevel=5)


def _remembered(model, key: tuple, find: Callable[[], Any]) -> Any:
    known = _known.setdefault(model, {})
    if key not in known:
        if len(known) >= MOST_KNOWN:
            known.clear()
        known[key] = find()
    return known[key]


def _at_start(system: Scheduled, model, design: Design) -> Prediction | None:
    """What is predicted at the start; None where the functions are wrong."""
    if function_findings(system.parts, system.exchanges, model.space.nominal(), design):
        return None
    # also where a model is evaluated inside another trace
    with jax.ensure_compile_time_eval():
        given = Given({name: jnp.asarray(value, float) for name, value in model.space.nominal().items()}, design.inputs)
        z = Equations.of(system.parts, system.exchanges, given, design.start).start(given, design.start)
        return predict(system, system.schedule, given, design.start[None], ravel_pytree(z)[0][None])


def _over(system: Scheduled, model, design: Design, length: float) -> _Verdict:
    """What is predicted along a solution of some length."""
    points = system.points(model, design)
    with jax.ensure_compile_time_eval():
        each = predictions(system, system.schedule, *points)
        found = worst_of(each)
        if found.stable or not found.known:
            return _Verdict("", False)
        other = first_stable(system, system.schedules(points[0], points[1][0]), *points)
    advice = (
        f"of those that `uqbench.coupling.stability` knows {repr(other) if other else 'none'} is stable at this step"
    )
    advice += ": take that" if other else ": take a shorter one"
    said = f"at the medians of the parameters {found.sentence}"
    windows, grown = np.ceil(length / system.schedule.step), _excess(each)
    # what is not iterated to its end has a code instead
    if found.converges and windows * grown > np.log(GARBAGE):
        until = np.ceil(np.log(GARBAGE) / grown)
        hidden = f"so that nothing is left of the solution after {until:.0f} of {windows:.0f} windows"
        return _Verdict(f"{said}, {hidden}; {advice}", True)
    return _Verdict(f"{said}; {advice}", False)


def _excess(each: list[Prediction]) -> float:
    """Mean logarithm of the growth in a window beyond that of the equations, where it is known."""
    growths = [(np.clip(one.growth, 1 / NUMBERED, NUMBERED), max(one.exact_growth, 1.0)) for one in each if one.known]
    return float(np.mean([np.log(ours) - np.log(own) for ours, own in growths]))
