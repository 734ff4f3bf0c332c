"""Agents in a continuum: cells that move, divide and die, and take up from and secrete into a field that diffuses."""

from .codes import SENTENCES, Ending, ending
from .exchange import density, secreted, taken_up
from .field import diffused
from .kernel import gather, scatter
from .population import Population, died, divided, moved, placed

__all__ = [
    "SENTENCES",
    "Ending",
    "Population",
    "density",
    "died",
    "diffused",
    "divided",
    "ending",
    "gather",
    "moved",
    "placed",
    "scatter",
    "secreted",
    "taken_up",
]
