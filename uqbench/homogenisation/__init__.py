"""Effective properties of periodic media: the cell problem by FFT, with correctors, gradients and guaranteed bounds."""

from .brackets import Bracket, effective_bounds
from .codes import SENTENCES, Ending
from .effective import EffectiveTensor, effective_tensor
from .percolation import percolates
from .phase_bounds import hashin_shtrikman, trace_bounds, voigt_reuss

__all__ = [
    "SENTENCES",
    "Bracket",
    "EffectiveTensor",
    "Ending",
    "effective_bounds",
    "effective_tensor",
    "hashin_shtrikman",
    "percolates",
    "trace_bounds",
    "voigt_reuss",
]
