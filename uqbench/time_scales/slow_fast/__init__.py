"""Slow-fast systems: the quasi-steady state, whether it may be used, and what it errs by."""

from typing import TYPE_CHECKING

from ...systems.reduced import quasi_steady_state as quasi_steady_state
from .scales import SMALL as SMALL
from .scales import grid_times as grid_times

__all__ = ["SMALL", "grid_times", "quasi_steady_state", "reduction_error", "separation"]

if TYPE_CHECKING:
    from .diagnosis import separation as separation
    from .error import reduction_error as reduction_error


def __getattr__(name: str):
    # tables of results are loaded by those who ask for one, not by everybody who runs a model
    if name == "separation":
        from .diagnosis import separation as found
    elif name == "reduction_error":
        from .error import reduction_error as found
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found
