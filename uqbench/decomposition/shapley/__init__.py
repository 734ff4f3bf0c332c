"""Shares of the variance from given runs, whatever the dependence of their inputs."""

from .effects import grouped_variance as grouped_variance
from .effects import shapley_effects as shapley_effects
from .given_data import least_runs as least_runs
