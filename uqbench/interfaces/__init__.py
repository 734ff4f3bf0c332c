"""Two domains and what passes between them: conservative fluxes, mortar elements, free flow over a porous medium."""

from ..balance import imbalance
from .codes import SENTENCES, Ending
from .grids import Rectangle
from .mortar import MortarInterface, MortarSolution
from .stokes_darcy import Boundary, ChannelFlow, ChannelOverTissue
from .traces import Multipliers, inf_sup
from .two_layers import Exchange, Layer, LayersRun, TwoLayers, spurious_drift

__all__ = [
    "SENTENCES",
    "Boundary",
    "ChannelFlow",
    "ChannelOverTissue",
    "Ending",
    "Exchange",
    "Layer",
    "LayersRun",
    "MortarInterface",
    "MortarSolution",
    "Multipliers",
    "Rectangle",
    "TwoLayers",
    "imbalance",
    "inf_sup",
    "spurious_drift",
]
