"""The Lie derivatives of the outputs: their time derivatives as functions of parameters, states and inputs.

Together with the coefficients of the input-output equations, those up to the orders of these equations generate all
identifiable functions: every further derivative is a rational function of them.
"""

from collections.abc import Mapping

import numpy as np
from flint import nmod_mpoly

from ..budget import Budget, Undecided
from .equations import Elimination
from .polynomials import times
from .series import System

LARGEST_DERIVATIVE = 50_000

Quotient = tuple[nmod_mpoly, nmod_mpoly]


def lie_derivatives(
    system: System, rng: np.random.Generator, orders: Mapping[str, int], budget: Budget
) -> list[tuple[str, Quotient]]:  # fmt: skip
    """Output and (numerator, denominator) of its derivatives from order 0, low orders first; inputs by their jets.

    Args:
        system, rng, budget: see `Elimination`.
        orders: output -> highest derivative.

    Raises:
        Undecided: there is no time, or a derivative has more than `LARGEST_DERIVATIVE` terms.
    """
    elimination = Elimination(system, rng, budget)
    current = {name: tuple(map(elimination.with_jets, pair)) for name, pair in system.observe.items()}
    out = list(current.items())
    for order in range(1, max(orders.values(), default=0) + 1):
        for name in [name for name, highest in orders.items() if highest >= order]:
            current[name] = _derivative(elimination, current[name])
            out.append((name, current[name]))
    return out


def _derivative(elimination: Elimination, pair: Quotient) -> Quotient:
    ring, check = elimination.system.ring, elimination.budget.check
    if max(map(len, pair)) > LARGEST_DERIVATIVE:
        raise Undecided(f"a derivative with more than {LARGEST_DERIVATIVE} terms")
    above, common = elimination.derivative_quotient(pair[0])
    if not pair[1].is_constant():
        other, theirs = elimination.derivative_quotient(pair[1])
        above, common, other, theirs, f, g = ring.join(above, common, other, theirs, *pair)
        # (f/g)' = (f' g - f g')/g^2
        left = times(times(above, theirs, check), g, check)
        right = times(times(other, common, check), f, check)
        above, common = left - right, times(times(common, theirs, check), times(g, g, check), check)
    else:
        above, common, g = ring.join(above, common, pair[1])
        common = common * g
    if not len(above):
        return ring.constant(0), ring.constant(1)
    divisor = above.gcd(common)
    return ring.trim(above / divisor), ring.trim(common / divisor)
