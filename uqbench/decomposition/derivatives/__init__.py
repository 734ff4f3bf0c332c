"""What gradients at random points say: bounds on total indices, and the directions that matter."""

from .active_subspace import active_subspace as active_subspace
from .measures import dgsm as dgsm
from .measures import output_gradients as output_gradients
from .poincare import poincare_constant as poincare_constant
