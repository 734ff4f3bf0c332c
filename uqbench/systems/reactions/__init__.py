"""Reaction networks: one description from stoichiometry and propensities, and its views as kinds of dynamics."""

from .views import Reactions as Reactions
