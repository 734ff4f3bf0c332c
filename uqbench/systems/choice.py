"""From what a modeller gives as `Model(system=)` to the kind of dynamics that it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import InputError
from ..initial_value import array_states
from ..system import Ode
from .initial_value import InitialValueProblem
from .protocol import System
from .quasi_steady import QuasiSteadyState
from .reduced import reduction


@dataclass(frozen=True)
class States:
    """The states of these names as outputs."""

    names: tuple[str, ...]

    def __call__(self, y, p):
        return {name: y[name] for name in self.names if name in y}


def in_scalars(given, observe: Callable | None, parameters: Sequence[str], outputs: Sequence[str]) -> tuple:
    """A description with states that are arrays as one of scalars, with `observe` for that; others as they are.

    Args:
        outputs: names of the states that are observed where `observe` is None.
    """
    if not isinstance(given, Ode):
        return given, observe
    scalars = array_states.in_scalars(given, parameters)
    return scalars, array_states.observe_arrays(observe or States(tuple(outputs)), scalars)


def system_of(given) -> System:
    """The dynamics behind a description.

    Args:
        given: an `Ode`, or any `System`.

    Raises:
        InputError: neither.
    """
    if isinstance(given, System):
        return given
    if isinstance(given, Ode):
        return InitialValueProblem(given) if reduction(given) is None else QuasiSteadyState(given)
    raise InputError(
        "Model",
        [f"the system is {given!r}; give an Ode, a System of your own, or use Model.from_function for a simulator."],
    )
