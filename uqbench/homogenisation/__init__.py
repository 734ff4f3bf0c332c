"""Effective properties of periodic media: the cell problem by FFT, with correctors, gradients and guaranteed bounds."""

from .brackets import Bracket, effective_bounds
from .codes import SENTENCES, Ending
from .effective import EffectiveTensor, effective_tensor
from .membranes import MembraneTensor, membrane_tensor
from .percolation import percolates
from .phase_bounds import hashin_shtrikman, trace_bounds, voigt_reuss
from .steps import at_fraction

__all__ = [
    "SENTENCES",
    "Bracket",
    "EffectiveTensor",
    "Ending",
    "MembraneTensor",
    "at_fraction",
    "effective_bounds",
    "effective_tensor",
    "hashin_shtrikman",
    "membrane_tensor",
    "percolates",
    "trace_bounds",
    "voigt_reuss",
]
