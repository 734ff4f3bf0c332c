"""Identifiability: which parameters can be known, and how well (the verb `identify`)."""

from ..model.reparametrisation import reparametrised as reparametrised
from .collinearity import best_subsets as best_subsets
from .collinearity import collinearity_index as collinearity_index
from .collinearity import collinearity_indices as collinearity_indices
from .collinearity import condition_indices as condition_indices
from .collinearity import variance_decomposition as variance_decomposition
from .experiment_design import Candidates as Candidates
from .experiment_design import candidate_measurements as candidate_measurements
from .experiment_design import expected_information_gain as expected_information_gain
from .experiment_design import optimal_design as optimal_design
from .experiment_design import predicted_drops as predicted_drops
from .experiment_design import prescribe as prescribe
from .experiment_design import with_measurements as with_measurements
from .fisher import fisher_information as fisher_information
from .identify import check_settings as check_settings
from .identify import identify as identify
from .information import bayesian_information as bayesian_information
from .information import expected_information as expected_information
from .information import unit_information as unit_information
from .linear import linear_identifiability as linear_identifiability
from .linear import transfer_function as transfer_function
from .profiles import profile_likelihood as profile_likelihood
from .profiles import profile_quantities as profile_quantities
from .profiles import profile_surface as profile_surface
from .structural import structural_identifiability as structural_identifiability
