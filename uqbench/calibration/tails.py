"""Whether a sampler of fixed step size got into the tails of what it draws from.

The leapfrog integrator of Hamiltonian Monte Carlo is stable only where the step is short against the narrowest
direction of the density (Leimkuhler & Reich 2004, doi:10.1017/CBO9780511614118; Betancourt, Byrne & Girolami 2014,
arXiv:1411.6669). A step tuned to the mean acceptance of all draws is too long in a tail that is narrower across than
the bulk, as that of a bent ridge or the neck of a funnel: hardly any trajectory into it is accepted, the tail is cut
short, and neither R-hat nor the ESS of the draws that there are can tell, nor need a transition diverge. What tells is
the acceptance of the transitions that begin at the outermost draws, which is that of all others where the tail is as
wide as the bulk.
"""

import numpy as np
from jaxtyping import Float

# Where transitions from there are accepted less often the tail is taken to be cut short. Measured with 4 x 1000 draws
# tuned to .9 to .99: .05 to .66 in bent ridges, a funnel and spreads between units that may be zero, .73 to .98 of all
# other parameters in eight posteriors.
ENTERED = 0.7
# The outermost draws on either side of a parameter, as a share; and how many they are at least, for a mean of their
# acceptance that errs by about .05.
OUTERMOST, LEAST = 0.01, 20


def tail_acceptance(values: Float[np.ndarray, "chains draws"], acceptance: Float[np.ndarray, "chains draws"]) -> float:
    """The mean acceptance of transitions from the outermost draws of a parameter, on the side where it is lower.

    Args:
        values: of the parameter.
        acceptance: mean over the trajectory that has led to each draw, from the one before it.

    Returns:
        in [0, 1]; nan with fewer draws than `LEAST` of the outermost would be a tenth of.
    """
    left, accepted = values[:, :-1].ravel(), acceptance[:, 1:].ravel()
    count = max(LEAST, int(OUTERMOST * left.size))
    if left.size < 10 * count:
        return np.nan
    order = np.argsort(left, kind="stable")
    return float(min(accepted[order[:count]].mean(), accepted[order[-count:]].mean()))
