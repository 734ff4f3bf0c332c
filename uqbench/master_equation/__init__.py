"""The chemical master equation: the distribution of counts under reactions, over time and at stationarity."""
