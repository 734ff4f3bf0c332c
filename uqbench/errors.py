"""How anything fails: a user's mistake is an `InputError`, a run that fails is data with a code of `RESULTS`.

Whoever checks input collects every finding first and raises one `InputError` with all of them; the command line prints
it without a traceback and exits with status 2. What is found only while running (a solve, a steady state, a fold)
cannot raise, because it is compiled and stands in a batch beside others: its numbers are NaN, and a `Result` says why.
"""

from collections.abc import Sequence
from enum import IntEnum


class InputError(ValueError):
    """What was given cannot be used; `findings` says everything that is wrong and what to do.

    Args:
        subject: what was looked at, e.g. "study 'theophylline'".
        findings: one sentence per thing that is wrong.

    Example:
        >>> str(InputError("data", ["no column 'time'"]))
        "data:\\n  - no column 'time'"
    """

    def __init__(self, subject: str, findings: Sequence[str]):
        self.subject = subject
        self.findings = tuple(findings)
        super().__init__(subject, self.findings)

    def __str__(self) -> str:
        return "\n".join([f"{self.subject}:", *(f"  - {finding}" for finding in self.findings)])


class Interrupted(KeyboardInterrupt):
    """A verb was stopped, by Ctrl-C or SIGTERM, after it had reached something.

    Args:
        tree: results so far, an `xarray.DataTree`; groups of the verb that was stopped have the attribute `partial`,
            which says what there is of them.
    """

    def __init__(self, tree):
        self.tree = tree
        super().__init__("interrupted; `tree` of this exception has what was reached")


class Code(IntEnum):
    """How something ended; a member is a number that arrays can hold, and carries the sentence that a user reads."""

    sentence: str

    def __new__(cls, code: int, sentence: str):
        member = int.__new__(cls, code)
        member._value_, member.sentence = code, sentence
        return member

    def __str__(self) -> str:
        return self.sentence


class Result(Code):
    """How a run ended."""

    SUCCESS = 0, "successful"
    STEP_LIMIT = (
        1,
        "the step limit was reached between two events or observations: the solution moves fast there all the time, by "
        "oscillation or by jumps. Try more max_steps, looser tolerances, or a narrower prior.",
    )
    BLOW_UP = (
        2,
        "the solution left the finite numbers (it grew beyond all scales, or met the logarithm or power of a negative "
        "value). Check the signs of the rates and the range of the prior.",
    )
    BAD_START = (
        3,
        "the initial state is not finite at these values, or the time of a dose or a switch is not a number. Check "
        "`initial`, `doses` and `switches` (logarithms, divisions by zero) and the values themselves.",
    )
    NO_STEADY_STATE = (
        4,
        "no steady state was reached: the trajectory oscillates, grows without bound, leaves the range where its rates "
        "are numbers, starts on the border between two basins, or still moves on a time scale too slow to follow. "
        "Solve over a finite time to see which, and check that every production has a loss.",
    )
    NO_EQUILIBRIUM = (
        5,
        "what follows from the states at once (a quasi-steady state) has no value there: the fast equations have no "
        "stable equilibrium any more. `separation` says where it is lost; keep those states instead.",
    )
    NOT_DIFFERENTIABLE = (
        6,
        "the solution has no derivative here: a slope of the right-hand side, of an event or of an output is not "
        "finite (a fractional power or root at zero), or a crossing is tangential or slides along a condition. The "
        "values themselves may be sound: ask for them without derivatives, or keep away from that point.",
    )
    ENDLESS_EVENTS = (
        7,
        "an event fires for ever at one instant: what it changes leads straight back to it. Let its change move away "
        "from the root, or end the dynamics there.",
    )
    NO_STEP = (
        8,
        "no step is short enough at these values: the right-hand side jumps or oscillates without end, or its terms "
        "cancel to within rounding. Name jumps as `switches` or `events`, or loosen rtol and atol.",
    )
    BAD_DELAY = (
        9,
        "a delay is negative, zero or not finite at these values, or longer than the history given (no finite number "
        "at the start less the delay). Check `delays` and the range of the prior.",
    )
    UNRESOLVED = (
        10,
        "the sensitivities are not resolved: the dynamics magnify the errors of the steps to the size of the "
        "sensitivities themselves (chaos, or jumps from a state that is lost), and finer tolerances did not help. The "
        "values may be sound: ask for them without derivatives, or for shorter times.",
    )
    AT_REST = (
        11,
        "the trajectory came to rest, so there is no cycle. Check that there is an oscillation at these values; where "
        "the start itself is a steady state, pass a `guess`.",
    )
    NO_RETURN = (
        12,
        "no return within `longest`: the period is longer than that, or after `transient` the trajectory was not near "
        "the cycle yet, or it never repeats itself. Give more of both.",
    )
    NO_CYCLE = (
        13,
        "Newton's method did not converge near the first return: after `transient` the trajectory was not near the "
        "cycle yet (give more of it), or it never repeats itself, or, in a conservative oscillation, each start has a "
        "cycle of its own.",
    )
    UNSTABLE_CYCLE = (
        14,
        "what returns is no stable cycle: disturbances stay, as in a conservative oscillation, or grow. Where a cycle "
        "of several turns has them close together, one of them may have been taken for the whole.",
    )
    NO_TIME = 15, "`transient` and `longest` must be positive."
    NO_FOLD = (
        16,
        "there is no fold near the guess: the two equilibria that would meet there do not exist at these values, or "
        "they meet in a cusp or a branch point. Look at `equilibrium_branch`, or narrow the prior.",
    )
    UNDETERMINED = (
        18,
        "the values are not resolved: the dynamics magnify the errors of the steps to the size of the solution (chaos, "
        "or jumps from a state that is lost), and solves at finer tolerances differ from one another. Ask for shorter "
        "times, or for what does not depend on the phase (averages, a period).",
    )
    UNSTABLE_BRANCH = (
        17,
        "the solution stays on a fast equilibrium that has lost its stability on the way (a slow passage through a "
        "bifurcation): rounding decides when it leaves, so what comes after is not determined. End the solve before, "
        "or put into the model what disturbs the equilibrium.",
    )
    OUTPUT_NOT_FINITE = (
        19,
        "an output has no finite value (the logarithm of zero, a division by zero), though the solve itself succeeded; "
        "the other outputs are sound. Check `observe` or `simulate` at these values, or leave that output out.",
    )
    BAD_PROPENSITY = (
        20,
        "a count or a propensity became negative or not finite at a state that was reached. Check that each propensity "
        "vanishes where its reaction would take more than there is, and the range of the prior.",
    )
    EVENT_LIMIT = (
        21,
        "more events than `max_events`. The network explodes at these values, or its reactions are too frequent to be "
        "simulated one by one. Try more max_events, a narrower prior, or the network's hybrid or rate equations.",
    )
    NOT_COUNTED = (
        22,
        "what is counted of an output has no distribution there: the detection probability of its noise is outside 0 "
        "to 1, or its background is negative, or so large that counts matter which are above any in the data and the "
        "prior. Check the priors of both.",
    )
    CLOSURE_NOT_FINITE = (
        23,
        "a parameter that the closure gives is not finite. Check the closure at these values, or return a code of its "
        "own with `(parameters, code)`.",
    )
    SERVER_GONE = (
        24,
        "the server of a foreign model could not be reached, or closed the connection before it had answered. See that "
        "it runs; `uqbench.umbridge.recent_failures()` has what happened.",
    )
    SERVER_LATE = (
        25,
        "the server of a foreign model had not answered within the `timeout`, or had failed to do so often in a row. "
        "Give it more time, or see that it still works.",
    )
    SERVER_ERROR = (
        26,
        "the server of a foreign model answered with an error. `uqbench.umbridge.recent_failures()` has its words, and "
        "the inputs.",
    )
    BAD_ANSWER = (
        27,
        "the server of a foreign model answered with something else than vectors of numbers of the sizes that it had "
        "named. `uqbench.umbridge.recent_failures()` has what was wrong.",
    )
    TIME_NOT_SERVED = (
        28,
        "a time of the design is not among those at which the foreign model gives its series. Observe at its `times`.",
    )


# code -> sentence. Numbers from `FIRST_OWN` on are for systems that have codes of their own.
RESULTS = {int(result): result.sentence for result in Result}
FIRST_OWN = 100


class DataWarning(UserWarning):
    """Something in a table of data that need not be wrong: rows without a value, or rows that are repeated."""


class SeparationWarning(UserWarning):
    """A model was reduced to its slow states though its time scales do not allow it: its curves may be wrong."""


class CouplingWarning(UserWarning):
    """A coupled model has a schedule that is known to diverge: its errors grow, or its iterations do not converge."""


class ModesWarning(UserWarning):
    """Chains have stayed in different modes of a posterior, or missed one: the weights of these are not known."""


class LeakWarning(UserWarning):
    """The balance of a coupled model does not close: something makes or loses what it should conserve."""


def nearest(name: str, known: Sequence[str]) -> str:
    """The tail of a message about an unknown name: the nearest known one, or the list of them."""
    import difflib

    known = [str(each) for each in known]
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known are {', '.join(map(repr, known))}." if known else "none is defined."
