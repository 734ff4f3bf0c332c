"""How a macroscopic problem ended; codes of the cell problem go on from `homogenisation`."""

from jax import Array
from jax import numpy as jnp

from ..errors import FIRST_OWN, Code
from ..homogenisation import SENTENCES as CELL_SENTENCES
from ..homogenisation import Ending as CellEnding


class Ending(Code):
    """How a solution ended, beside `homogenisation.Ending`."""

    SUCCESS = 0, "successful"
    BAD_PARAMETER = (
        FIRST_OWN + 51,
        "the consumption is negative or not finite, or a source, wall value, shift or wave number is not finite. Check "
        "the parameters that they are made of.",
    )
    BOUNDARY_LAYERS = (
        FIRST_OWN + 52,
        "the boundary layers of the two walls meet: they have not decayed in the middle of the strip. Give more "
        "`cells`; where the cell is wide across the slab or its contrast is high, layers are long.",
    )


SENTENCES = CELL_SENTENCES | {int(ending): ending.sentence for ending in Ending if ending}


def first_failure(*endings: tuple[Array, Code]) -> Array:
    """The code of the first condition that does not hold, or zero."""
    conditions = [jnp.logical_not(holds) for holds, _ in endings]
    return jnp.select(conditions, [jnp.asarray(int(code)) for _, code in endings], jnp.asarray(0))


def solution_result(sound: Array, finite: Array, converged: Array) -> Array:
    """The code of one linear solve."""
    return first_failure(
        (sound, CellEnding.BAD_COEFFICIENT), (finite, Ending.BAD_PARAMETER), (converged, CellEnding.ITERATIONS)
    )
