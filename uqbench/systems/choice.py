"""From what a modeller gives as `Model(system=)` to the kind of dynamics that it is."""

from ..errors import InputError
from ..system import Ode
from .initial_value import InitialValueProblem
from .protocol import System
from .quasi_steady import QuasiSteadyState
from .reduced import reduction


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
