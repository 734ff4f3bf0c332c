"""How the solution of a problem with an interface ended; what only it knows has numbers above those of `Result`."""

from ..errors import FIRST_OWN, Code


class Ending(Code):
    """How a solution ended."""

    SUCCESS = 0, "successful"
    BAD_COEFFICIENT = (
        FIRST_OWN + 61,
        "a diffusivity, permeability, partition coefficient, slip coefficient or viscosity is not positive and finite, "
        "or a rate of decay is negative. Check the priors and functions that it is made of.",
    )
    SINGULAR = (
        FIRST_OWN + 62,
        "the equations of the two sides and their interface have no unique solution within rounding: the multipliers "
        "do not fit the traces, nothing fixes the level of a side, or coefficients differ by too many orders of "
        "magnitude. Take the multipliers of one side, and check the boundary conditions.",
    )


SENTENCES = {int(ending): ending.sentence for ending in Ending if ending}
