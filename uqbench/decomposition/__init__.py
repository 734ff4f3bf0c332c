"""Decomposition: where the spread of a prediction comes from (the verb `decompose`, and its engines on plain
arrays)."""

from ..interop import to_chaospy as to_chaospy
from ..interop import to_salib as to_salib
from .chaos import chaos_predict as chaos_predict
from .chaos import polynomial_chaos as polynomial_chaos
from .decompose import check_settings as check_settings
from .decompose import decompose as decompose
from .derivatives import active_subspace as active_subspace
from .derivatives import dgsm as dgsm
from .derivatives import output_gradients as output_gradients
from .derivatives import poincare_constant as poincare_constant
from .nested import nested_variance as nested_variance
from .pushforward import pushforward as pushforward
from .pushforward import pushforward_density as pushforward_density
from .salib import salib_analysis as salib_analysis
from .salib import salib_sample as salib_sample
from .salib import salib_table as salib_table
from .shapley import grouped_variance as grouped_variance
from .shapley import shapley_effects as shapley_effects
from .sobol import SobolPlan as SobolPlan
from .sobol import sobol_indices as sobol_indices
from .sobol import sobol_plan as sobol_plan
from .sources import source_indices as source_indices
from .total_variance import optimal_replicates as optimal_replicates
from .total_variance import total_variance as total_variance
