"""The arguments of a family as a user gives them: numbers or names, by position or by name, all findings at once.

A number is checked where the distribution is made. A name cannot be: it stands for values that come later, some of
which may be impossible. So the domain of an argument is data: an interval, a sentence for the user, and a stand-in, a
number inside it that takes the place of values that are not. Values that come with an error may lie outside by no more
than that error; they cannot be told apart from the edge of the domain, and `Domain.nearest` puts them there.
"""

from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ..errors import InputError, nearest

if TYPE_CHECKING:
    from .base import Distribution


class Domain(NamedTuple):
    """What a single argument may be: a sentence, an interval, and a number inside it.

    Args:
        sentence: what the argument must be, for the user.
        stand_in: a number in the domain, for formulas that must not see an impossible value.
        lower, upper: the edges of the interval.
        includes_lower, includes_upper: whether an edge itself is possible (closed) or not (open).
        whole: whether only whole numbers are possible.
    """

    sentence: str
    stand_in: float
    lower: float = -np.inf
    upper: float = np.inf
    includes_lower: bool = False
    includes_upper: bool = False
    whole: bool = False

    def holds(self, value: ArrayLike) -> ArrayLike:
        """Whether a number, or each of an array, lies in the domain; NaN does not."""
        above = value >= self.lower if self.includes_lower else value > self.lower
        below = value <= self.upper if self.includes_upper else value < self.upper
        return above & below & (value % 1 == 0) if self.whole else above & below

    def nearest(self, value: ArrayLike, error: ArrayLike) -> Array:
        """`value`, put at the edge where it lies outside the domain by no more than `error`.

        At an open edge it is put `error` inside, since nothing smaller can be told apart from the edge.

        Args:
            value: any shape.
            error: by how much it may be wrong, zero or more, broadcasting with it.

        Returns:
            the common shape; what was moved has a derivative of zero, and what lies further outside is left as it is.
        """
        value, error = (jnp.asarray(each, float) for each in (value, error))
        still, error = jax.lax.stop_gradient((value, error))
        member = jnp.clip(jnp.round(still) if self.whole else still, self.lower, self.upper)
        low = self.lower if self.includes_lower else self.lower + error
        high = self.upper if self.includes_upper else self.upper - error
        moved = ~self.holds(still) & (jnp.abs(still - member) <= error)
        return jnp.where(moved, jnp.clip(member, low, high), value)


REAL = Domain("must be a finite number", 0.0)
POSITIVE = Domain("must be positive and finite", 1.0, lower=0.0)
NON_NEGATIVE = Domain("must be zero or positive, and finite", 1.0, lower=0.0, includes_lower=True)
PROBABILITY = Domain("must lie between 0 and 1", 0.5, 0.0, 1.0, includes_lower=True, includes_upper=True)
COUNT = Domain("must be a whole number, zero or more", 1.0, lower=0.0, includes_lower=True, whole=True)
# Stand-ins of bounds are 1 and 2, which any family with bounds accepts, the logarithmic ones included.
LOWER, UPPER = REAL._replace(stand_in=1.0), REAL._replace(stand_in=2.0)
POSITIVE_UPPER = POSITIVE._replace(stand_in=2.0)
LOWER_OR_NONE = Domain("must be a number or -inf", 1.0, includes_lower=True)
UPPER_OR_NONE = Domain("must be a number or inf", 2.0, includes_upper=True)


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
        return [
            f"{name} is a {type(value).__name__}; give a number, the name of a parameter or an output, or, for noise, "
            "a formula of names as text, such as 'a + b*C'"
        ]
    return [] if family.domains[name].holds(float(value)) else [f"{name}={value} {family.domains[name].sentence}"]


def impossible_arguments(dist: "Distribution", values: Mapping[str, ArrayLike]) -> list[str]:
    """Sentences about the arguments that have values outside their domains, where names have these `values`."""
    findings = []
    for name, value in dist.resolve(values).items():
        value = np.ravel(value)
        bad = value[~np.asarray(dist.domains[name].holds(value)) & ~np.isnan(value)]
        if bad.size:
            written = f", {dist.arguments[name]!r}," if isinstance(dist.arguments[name], str) else ""
            findings.append(f"{name}{written} is {bad[0]:g} and {dist.domains[name].sentence}")
    return findings
