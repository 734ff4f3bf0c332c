"""How long an answer may take, and what is raised when there is none."""

import time

# of two terms of sparse polynomials, the sums of equal ones included (measured on the published systems)
SECONDS_PER_PRODUCT = 2e-8


class Undecided(RuntimeError):
    """A question is left open; the message says why, in the words of the report."""


class NoSolver(Undecided):
    """The program that everything rests on is missing or died: more time would not help."""


class Budget:
    """A limit of wall time that is handed down and looked at everywhere.

    Args:
        seconds: from now on.
        whole: the budget of which this is a part, whose limit holds too.

    Example:
        >>> Budget(2.0).part(5.0).left <= 2.0
        True
    """

    def __init__(self, seconds: float, whole: "Budget | None" = None):
        self.end = time.monotonic() + seconds
        if whole is not None:
            self.end = min(self.end, whole.end)

    @property
    def left(self) -> float:
        return self.end - time.monotonic()

    def part(self, seconds: float) -> "Budget":
        """At most so many seconds of what is left."""
        return Budget(seconds, self)

    def check(self, products: int = 0) -> None:
        """Raises `Undecided` where the time is over, or would be after so many products of terms.

        An operation on large polynomials cannot be stopped once it has begun, and may take all memory.
        """
        if time.monotonic() + products * SECONDS_PER_PRODUCT > self.end:
            raise Undecided("the time budget is used up")
