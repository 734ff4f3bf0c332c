"""Numerical methods that know arrays and callables only: steps in time, linear systems, roots, reverse mode."""
