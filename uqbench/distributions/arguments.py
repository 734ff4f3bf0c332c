"""The arguments of a family as a user gives them: numbers or names, by position or by name, all findings at once.

A number is judged where the distribution is made. A name cannot be: it stands for values that come later, some of
which may be impossible. So the domain of an argument is a sentence for the user, a test that also works on arrays,
and a stand-in: a number that passes the test and takes the place of values that do not.
"""

from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from ..errors import InputError, nearest

if TYPE_CHECKING:
    from .base import Distribution


class Domain(NamedTuple):
    """What a single argument may be: a sentence, a test, and a number that passes the test."""

    sentence: str
    holds: Callable[[ArrayLike], ArrayLike]
    stand_in: float


REAL = Domain("must be a finite number", lambda value: abs(value) < np.inf, 0.0)
POSITIVE = Domain("must be positive and finite", lambda value: (value > 0) & (value < np.inf), 1.0)
NON_NEGATIVE = Domain("must be zero or positive, and finite", lambda value: (value >= 0) & (value < np.inf), 1.0)
PROBABILITY = Domain("must lie between 0 and 1", lambda value: (value >= 0) & (value <= 1), 0.5)
COUNT = Domain(
    "must be a whole number, zero or more", lambda value: (value >= 0) & (value < np.inf) & (value % 1 == 0), 1.0
)
# Stand-ins of bounds are 1 and 2, which any family with bounds accepts, the logarithmic ones included.
LOWER, UPPER = REAL._replace(stand_in=1.0), REAL._replace(stand_in=2.0)
POSITIVE_UPPER = POSITIVE._replace(stand_in=2.0)
LOWER_OR_NONE = Domain("must be a number or -inf", lambda value: value < np.inf, 1.0)
UPPER_OR_NONE = Domain("must be a number or inf", lambda value: value > -np.inf, 2.0)


def checked_arguments(family: "type[Distribution]", positional: tuple, keyword: dict) -> tuple:
    """The arguments of `family` as (name, number or name) pairs in order, or every finding at once."""
    first, findings = family.parametrisations[0], []
    if len(positional) > len(first):
        findings.append(f"{len(positional)} arguments were given by position; allowed: {', '.join(first)}")
    given = dict(zip(first, positional, strict=False))
    for name, value in keyword.items():
        if name not in family.domains:
            findings.append(f"{name!r} is no argument; {nearest(name, list(family.domains))}")
        elif name in given:
            findings.append(f"{name!r} was given twice, by position and by name")
        else:
            given[name] = value
    choices = " or ".join(f"({', '.join(names)})" for names in family.parametrisations)
    fitting = [names for names in family.parametrisations if set(given) <= set(names)]
    # Of several that fit, the one that needs the least.
    fitting.sort(key=lambda names: len(set(names) - set(given)))
    if not fitting:
        findings.append(f"{', '.join(given)} cannot be given together; give {choices}")
    elif missing := [name for name in fitting[0] if name not in given and name not in family.defaults]:
        findings.append(f"{', '.join(map(repr, missing))} is missing; give {choices}")
    findings += [finding for name, value in given.items() for finding in _value_findings(family, name, value)]
    given = family.defaults | given
    if _is_number(given.get("lower")) and _is_number(given.get("upper")) and given["lower"] >= given["upper"]:
        findings.append(f"lower={given['lower']} must be less than upper={given['upper']}")
    if findings:
        shown = ", ".join([*map(repr, positional), *(f"{name}={value!r}" for name, value in keyword.items())])
        raise InputError(f"{family.__name__}({shown})", findings)
    return tuple((name, given[name] if isinstance(given[name], str) else float(given[name])) for name in fitting[0])


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _value_findings(family: "type[Distribution]", name: str, value: object) -> list[str]:
    if isinstance(value, str):
        return [] if value else [f"{name} is an empty name; give the name of a parameter or an output, or a number"]
    if not _is_number(value):
        return [f"{name} is a {type(value).__name__}; give a number, or the name of a parameter or an output"]
    return [] if family.domains[name].holds(float(value)) else [f"{name}={value} {family.domains[name].sentence}"]
