"""Expected values of a model's outputs: how they answer to its parameters, and how sure that is."""

from ..systems.estimates import Estimate as Estimate
from .gradients import expectation_gradient as expectation_gradient
