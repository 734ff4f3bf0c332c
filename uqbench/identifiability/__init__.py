"""Identifiability: which parameters can be known, and how well (the verb `identify`)."""

from ..model.reparametrisation import reparametrised as reparametrised
from .fisher import fisher_information as fisher_information
from .identify import check_settings as check_settings
from .identify import identify as identify
from .linear import linear_identifiability as linear_identifiability
from .linear import transfer_function as transfer_function
from .structural import structural_identifiability as structural_identifiability
from .profiles import profile_likelihood as profile_likelihood
