"""The symbolic form of a model, read from the jaxpr of the author's own functions."""

from ..names import TIME as TIME
from .program import Algebra as Algebra
from .program import DivisionByZero as DivisionByZero
from .program import Program as Program
from .program import Recorder as Recorder
from .program import exact as exact
from .stretches import Stretch as Stretch
from .tracing import TRACING_ERRORS as TRACING_ERRORS
from .tracing import NoFormula as NoFormula
from .tracing import operations as operations
from .tracing import trace as trace
from .tracing import trace_stretches as trace_stretches


def __getattr__(name: str):
    # solves read arrays of this room and need no algebra system, which takes long to load
    if name in ("SymbolicModel", "read"):
        from . import reading

        return getattr(reading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
