"""The symbolic form of a model, read from the jaxpr of the author's own functions."""

from .program import TIME as TIME
from .program import Algebra as Algebra
from .program import DivisionByZero as DivisionByZero
from .program import Program as Program
from .program import Recorder as Recorder
from .program import exact as exact
from .reading import SymbolicModel as SymbolicModel
from .reading import read as read
from .tracing import trace as trace
