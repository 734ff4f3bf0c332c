"""Profile likelihoods of parameters, of predictions and of two parameters at once."""

from .profile import profile_likelihood as profile_likelihood
from .quantities import profile_quantities as profile_quantities
from .surface import profile_surface as profile_surface
