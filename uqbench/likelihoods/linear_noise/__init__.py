"""The likelihood of time series of single cells under linear noise."""

from .likelihood import LinearNoise as LinearNoise
from .likelihood import ambiguity as ambiguity
