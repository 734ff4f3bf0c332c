"""The best fit of a study, and the ascents that profiles are made of."""

from .best_fit import find_map as find_map
