"""Settings of the verbs: numbers of a kind and range, and seeds. What is wrong is a sentence, never a traceback."""

from collections.abc import Mapping
from numbers import Integral, Real

# Seeds are kept in signed integers of 64 bits.
SEEDS = 2**63


def whole_number_findings(settings: Mapping[str, tuple[object, int]]) -> list[str]:
    """What is wrong with settings that are whole numbers.

    Args:
        settings: name -> (what was given, the least that is allowed).

    Example:
        >>> whole_number_findings({"draws": (100, 4), "chains": (2.0, 1), "tune": (3, 10)})
        ['chains is 2.0; give a whole number, 1 or more.', 'tune is 3; it must be at least 10.']
    """
    findings = []
    for name, (given, least) in settings.items():
        # a bool is an int to Python
        if not isinstance(given, Integral) or isinstance(given, bool):
            findings.append(f"{name} is {given!r}; give a whole number, {least} or more.")
        elif given < least:
            findings.append(f"{name} is {given}; it must be at least {least}.")
    return findings


def seed_findings(seed: int) -> list[str]:
    """What is wrong with a seed: whole numbers from 0 on are seeds, None is none, because a result must be repeatable.

    Example:
        >>> seed_findings(0), seed_findings(-1)
        ([], ['seed is -1; it must be at least 0.'])
    """
    findings = whole_number_findings({"seed": (seed, 0)})
    return findings or ([] if seed < SEEDS else [f"seed is {seed}; it must be less than 2^63."])


def is_number(given: object) -> bool:
    """Whether a setting is a number, which a bool is only to Python."""
    return isinstance(given, Real) and not isinstance(given, bool)
