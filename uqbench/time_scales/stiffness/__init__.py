"""Stiffness: a report of what holds an explicit method to small steps, and the stability of methods."""

from typing import TYPE_CHECKING

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
