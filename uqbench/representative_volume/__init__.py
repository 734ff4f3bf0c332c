"""Averages over windows: from which size on they represent a medium, up to which, or whether none does."""

from .analysis import RevAnalysis, rev_analysis
from .closed_forms import trend_bias, variance_ratio

__all__ = ["RevAnalysis", "rev_analysis", "trend_bias", "variance_ratio"]
