"""Counting with errors: what is observed of a number of molecules that is itself a draw from a distribution."""

from typing import ClassVar

from ..errors import InputError
from .arguments import NON_NEGATIVE, PROBABILITY
from .base import Distribution


class Counts(Distribution):
    """Counts(detection, background): an output is counted molecule by molecule.

    Each molecule is detected with the probability `detection`, independently of the others, and a Poisson number of
    others, `background` of them expected, is counted by mistake. The true number is a draw from the distribution of the
    output, which its system has to give (the `master_equation` of a network does): `Counts` is noise, and has neither
    density nor draws without it. Its arguments are numbers, or names or formulas of parameters.

    Args:
        detection: probability that a molecule is counted.
        background: mean number of counts that are none of the molecules.

    Example:
        >>> from uqbench import Counts
        >>> Counts(detection="p")
        Counts(detection='p', background=0)
    """

    discrete = True
    of_draws = True
    parametrisations = (("detection", "background"),)
    domains: ClassVar = {"detection": PROBABILITY, "background": NON_NEGATIVE}
    defaults: ClassVar = {"detection": 1.0, "background": 0.0}

    def _prepare(self, values, *others):
        raise InputError(
            repr(self),
            [
                "it has no density and no draws of its own: it is what counting does to the distribution of an output. "
                "Give it as the `noise` of an output of a network's `master_equation()`."
            ],
        )
