"""Identifiability: which parameters can be known, and how well (the verb `identify`)."""

from .fisher import fisher_information as fisher_information
from .structural import structural_identifiability as structural_identifiability
from .verb import identify as identify
