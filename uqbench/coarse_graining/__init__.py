"""Coarse-graining: potentials of mean force, coarse potentials on a basis and what they lose, and reweighting."""

from .averages import Average as Average
from .averages import mean_with_error as mean_with_error
from .fits import Divergence as Divergence
from .fits import Fit as Fit
from .fits import divergence as divergence
from .fits import match_forces as match_forces
from .fits import minimise_relative_entropy as minimise_relative_entropy
from .langevin import Draws as Draws
from .langevin import langevin as langevin
from .mean_force import MeanForce as MeanForce
from .mean_force import SampledMeanForce as SampledMeanForce
from .mean_force import potential_of_mean_force as potential_of_mean_force
from .mean_force import sampled_mean_force as sampled_mean_force
from .quadrature import Box as Box
from .quadrature import box as box
from .reweighting import Gradient as Gradient
from .reweighting import Reweighted as Reweighted
from .reweighting import reweighted as reweighted
from .reweighting import reweighted_gradient as reweighted_gradient
