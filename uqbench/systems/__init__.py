"""Kinds of dynamics: what each can do, how it is planned and run. A new kind is one file with one class."""

from .choice import in_scalars as in_scalars
from .choice import system_of as system_of
from .protocol import CAPABILITIES as CAPABILITIES
from .protocol import Density as Density
from .protocol import Outcome as Outcome
from .protocol import Run as Run
from .protocol import System as System
from .simulator import Simulator as Simulator
