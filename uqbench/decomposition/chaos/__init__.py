"""Polynomial chaos: an output as a sum of orthonormal polynomials of its inputs, and what follows for its variance."""

from .polynomial import chaos_predict as chaos_predict
from .polynomial import polynomial_chaos as polynomial_chaos
