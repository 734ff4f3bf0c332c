"""A coordinate in which tails that fall as a power fall exponentially."""

import numpy as np
import pytensor.tensor as pt
from pymc.logprob.transforms import Transform


class Stretched(Transform):
    """z with x = location + scale sinh z: tails that fall as a power of x fall exponentially in z.

    Of such tails trajectories of bounded length come back too seldom (geometric ergodicity, Livingstone et al. 2019,
    doi:10.3150/18-BEJ1083). Positive parameters have it from their logarithm.
    """

    name = "sinh"

    def forward(self, value, *inputs):
        """z of x; the last two inputs of a variable are its location and scale."""
        location, scale = inputs[-2:]
        return pt.arcsinh((value - location) / scale)

    def backward(self, value, *inputs):
        """x of z."""
        location, scale = inputs[-2:]
        return location + scale * pt.sinh(value)

    def log_jac_det(self, value, *inputs):
        """log dx/dz."""
        return pt.log(inputs[-1]) + pt.softplus(-2 * pt.abs(value)) + pt.abs(value) - np.log(2)
