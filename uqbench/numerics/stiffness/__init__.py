"""Stiffness: the method that a system needs, and a report of what holds an explicit one to small steps."""

from typing import TYPE_CHECKING

from .profile import STIFF_STEPS as STIFF_STEPS
from .profile import stability_profile as stability_profile
from .stability import largest_stable_step as largest_stable_step
from .stability import stability_function as stability_function
from .stability import stable_steps as stable_steps

if TYPE_CHECKING:
    from .report import stiffness_report as stiffness_report


def __getattr__(name: str):
    # a table of results is loaded by those who ask for one, not by everybody who runs a model
    if name == "stiffness_report":
        from .report import stiffness_report

        return stiffness_report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
