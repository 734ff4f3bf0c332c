"""How the solution of a master equation ended; what only it knows has numbers above those of `Result`."""

from ..errors import FIRST_OWN, Code, Result


class Ending(Code):
    """How a solution ended."""

    SUCCESS = 0, "successful"
    # that of simulations, in the same words
    BAD_RATE = int(Result.BAD_PROPENSITY), Result.BAD_PROPENSITY.sentence
    OUTSIDE = (
        FIRST_OWN + 21,
        "the initial counts are not in the box of states. Let the bounds include them.",
    )
    PRODUCTS = (
        FIRST_OWN + 22,
        "the fastest reaction fires too often for the limit of products with the generator. Choose lower bounds, give "
        "more `max_products`, leave the fast species out by a quasi-steady state, or, with few states, take the "
        'method "dense".',
    )
    STEPS = (
        FIRST_OWN + 23,
        "the step limit was reached: the rates change too fast with time. Name the times at which they jump "
        "(`breaks`), or give more `max_steps` or a looser tolerance.",
    )
    NOT_UNIQUE = (
        FIRST_OWN + 24,
        "no stationary distribution was resolved: there is more than one (absorbing states, parts of the states that "
        "do not communicate), or the slowest change is slower than rounding. Solve over a finite time.",
    )


SENTENCES = {int(ending): ending.sentence for ending in Ending}
