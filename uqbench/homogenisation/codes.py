"""How the solution of a cell problem ended; what only it knows has numbers above those of `Result`."""

from ..errors import FIRST_OWN, Code


class Ending(Code):
    """How a solution ended."""

    SUCCESS = 0, "successful"
    BAD_COEFFICIENT = (
        FIRST_OWN + 41,
        "the coefficient is not finite, symmetric and positive definite in every voxel. Check the fields and "
        "parameters that it is made of.",
    )
    ITERATIONS = (
        FIRST_OWN + 42,
        "the conjugate gradients did not reach the tolerance: their number grows with the square root of the contrast "
        "of the coefficient. Give more `max_iterations`, a looser `tolerance`, or a lower contrast.",
    )
    MEMBRANES_CLOSE = (
        FIRST_OWN + 43,
        "two membranes are less than two and a half voxels apart, so that the grid does not tell the cells from one "
        "another. Give more voxels, a smaller volume fraction of the cells, or apart=False where cells overlap.",
    )


SENTENCES = {int(ending): ending.sentence for ending in Ending if ending}
