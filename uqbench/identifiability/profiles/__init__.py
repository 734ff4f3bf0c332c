"""Profile likelihoods of parameters."""

from .profile import profile_likelihood as profile_likelihood
