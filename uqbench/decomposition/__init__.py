"""Decomposition: where the spread of a prediction comes from (the verb `decompose`, and its engines on plain
arrays)."""

from .nested import nested_variance as nested_variance
from .predictions import check_settings as check_settings
from .predictions import decompose as decompose
from .sobol import SobolPlan as SobolPlan
from .sobol import sobol_indices as sobol_indices
from .sobol import sobol_plan as sobol_plan
from .total_variance import optimal_replicates as optimal_replicates
from .total_variance import total_variance as total_variance
