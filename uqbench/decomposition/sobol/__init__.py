"""Sobol indices by pick-freeze: how much of an output's variance each input explains, alone (S1) or at all (ST).

Draw two independent samples A and B of all inputs, and copies of A in which one input i is taken from B (and, for
second order, copies of B in which it is taken from A). Two runs that share only input i agree through that input
alone, so their covariance is the variance that i explains by itself; two runs that share everything but i differ
through i alone, so half their mean squared difference is all the variance in which i takes part.
"""

from .indices import sobol_indices as sobol_indices
from .plan import CubeSpace as CubeSpace
from .plan import SobolPlan as SobolPlan
from .plan import sobol_plan as sobol_plan
