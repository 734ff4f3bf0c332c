"""A user's mistake, reported once and completely.

Whoever checks input collects every finding first and raises one `InputError` with all of them; the command line prints
it without a traceback and exits with status 2.
"""

from collections.abc import Sequence


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


class SeparationWarning(UserWarning):
    """A model was reduced to its slow states though its time scales do not allow it: its curves may be wrong."""


def nearest(name: str, known: Sequence[str]) -> str:
    """The tail of a message about an unknown name: the nearest known one, or the list of them."""
    import difflib

    known = [str(each) for each in known]
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known are {', '.join(map(repr, known))}." if known else "none is defined."
