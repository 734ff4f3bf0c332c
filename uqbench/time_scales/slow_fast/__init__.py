"""Slow-fast systems: the quasi-steady state, whether it may be used, and what it errs by."""

import importlib
from typing import TYPE_CHECKING

from ...systems.reduced import quasi_steady_state as quasi_steady_state
from .scales import SMALL as SMALL
from .scales import grid_times as grid_times

__all__ = ["SMALL", "grid_times", "quasi_steady_state", "reduction_error", "separation"]

HOMES = {"reduction_error": ".error", "separation": ".diagnosis"}

if TYPE_CHECKING:
    from .diagnosis import separation as separation
    from .error import reduction_error as reduction_error


def __getattr__(name: str):
    # tables of results are loaded by those who ask for one, not by everybody who runs a model
    if name in HOMES:
        return getattr(importlib.import_module(HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
