"""Which schedules of a coupled model can work, before any is run, and which one to take."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..annotations import Values
from ..design import Design
from ..errors import InputError
from .acceleration import Relaxation
from .coupled import Coupled
from .linearisation import Prediction, predict
from .schedules import Schedule, Strong


@dataclass(frozen=True)
class Advice:
    """Predictions by the name of the schedule, and the one to take: the first that is stable.

    Args:
        recommended: its name; "" where none is.
    """

    predictions: dict[str, Prediction]
    recommended: str

    @property
    def schedule(self) -> Schedule | None:
        """The schedule to take."""
        return self.predictions[self.recommended].schedule if self.recommended else None

    def __str__(self) -> str:
        lines = [f"{name}: {each.sentence}" for name, each in self.predictions.items()]
        return "\n".join([*lines, f"recommended: {self.recommended or 'none; take a shorter step'}"])


def stability(
    model,
    design: Design,
    theta: Values | None = None,
    *,
    schedules: Mapping[str, Schedule] | None = None,
    step: float | None = None,
) -> Advice:
    """Which schedules of a coupled model are stable and converge, at which rates, and which one to take.

    For linear parts the answers are exact; for others they are those at a few points of a reference solution, in which
    all parts are stepped as one.

    Args:
        model: whose system is `Coupled`. design: whose start and times are looked at.
        theta: values of the parameters; default prior medians.
        schedules: to choose from, those that cost least first; default one of each kind, at the step of the model's
            own, and relaxation by the factor that converges fastest; of several hundred states only those that solve
            each part by itself.

    Raises:
        InputError: a model that is not coupled, a step that is not positive.

    Example:
        >>> import uqbench as uq
        >>> from forward_models.coupling_schedules import model, schedules
        >>> some = {name: schedules[name] for name in ("plain", "Aitken")}
        >>> advice = stability(model, uq.Design([1.0]), schedules=some)
        >>> round(advice.predictions["plain"].rate, 7), advice.recommended
        (3.3057851, 'Aitken')
    """
    system = model.dynamics
    if not isinstance(system, Coupled):
        raise InputError("stability", [f"the model has no parts: its dynamics are {system.kind}; give a Coupled one."])
    given, times, states = system.points(model, design, theta)
    points = (given, times, states)
    chosen = schedules or system.schedules(given, times[0], step)
    found = {name: predict(system, each, *points) for name, each in chosen.items()}
    if schedules is None:
        relaxed = Strong(step or system.schedule.step, Relaxation(found["strong, plain"].relaxation))
        found["strong, relaxed"] = predict(system, relaxed, *points)
    return Advice(found, next((name for name, each in found.items() if each.stable), ""))
