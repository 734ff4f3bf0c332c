"""What propensities become in a large volume: rates of concentrations, without combinatorial factors.

A propensity a(n; V) belongs to molecules in a volume if a(V x; V) / V comes to a limit as the volume grows: then this
is the rate of the law of mass action. The author's function is called with numbers of which only the leading power of
a growing volume is kept, so that `y * (y - 1) / V` becomes x^2. Where it uses more than arithmetic the limit is
extrapolated from volumes that are large.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from ...errors import InputError
from ...system import Inputs, State

# What stands for a size that grows without limit. Extrapolated from it, its double and its quadruple, by these weights
# over their sum, nothing is left of terms of first and second order in 1 / size.
LARGE, WEIGHTS = 2.0**20, {1.0: 1, 2.0: -6, 4.0: 8}

# numbers may be arrays or `Leading`
Rates = Callable[[Any, Any, Any], Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Leading:
    """A number that goes as `factor` times a power of the growing size; what grows more slowly is left out."""

    factor: Any
    power: Fraction = Fraction(0)

    def __add__(self, other) -> Leading:
        other = _leading(other)
        if self.power == other.power:
            return Leading(self.factor + other.factor, self.power)
        return self if self.power > other.power else other

    def __mul__(self, other) -> Leading:
        other = _leading(other)
        return Leading(self.factor * other.factor, self.power + other.power)

    def __truediv__(self, other) -> Leading:
        other = _leading(other)
        return Leading(self.factor / other.factor, self.power - other.power)

    def __pow__(self, other) -> Leading:
        other = _leading(other)
        if other.power:
            raise TypeError("an exponent that grows with the size")
        if not self.power:
            return Leading(self.factor**other.factor)
        if not isinstance(other.factor, int | float):
            raise TypeError("a power of a growing number that is not known")
        return Leading(self.factor**other.factor, self.power * Fraction(other.factor))

    def __neg__(self) -> Leading:
        return Leading(-self.factor, self.power)

    def __sub__(self, other) -> Leading:
        return self + (-_leading(other))

    def __rsub__(self, other) -> Leading:
        return _leading(other) - self

    def __rtruediv__(self, other) -> Leading:
        return _leading(other) / self

    def __rpow__(self, other) -> Leading:
        return _leading(other) ** self

    __radd__, __rmul__ = __add__, __mul__


def _leading(number) -> Leading:
    return number if isinstance(number, Leading) else Leading(number)


def large_rates(rates: Rates, x: State, p: State, inputs: Inputs, volume: str) -> dict[str, Array]:
    """Rates per volume of the concentrations `x` where the volume is large.

    Args:
        rates: `(y, p, inputs)` -> reaction -> propensity.
        volume: name of the parameter or input that is the volume.

    Raises:
        InputError: propensities that do not go with the volume.
    """
    size = (p if volume in p else inputs)[volume]
    counts = {name: Leading(value * size, Fraction(1)) for name, value in x.items()}
    leading = [{name: Leading(value, Fraction(name == volume)) for name, value in each.items()} for each in (p, inputs)]
    try:
        found = {name: _leading(rate) for name, rate in rates(counts, *leading).items()}
    except (TypeError, ValueError, AttributeError):
        return _extrapolated(rates, x, p, inputs, volume)
    findings = [
        f"the propensity of {name!r} goes with the power {rate.power} of the volume {volume!r} at given "
        "concentrations; it must go with the first: creation takes a factor V, a reaction of one molecule none, of two "
        "1 / V."
        for name, rate in found.items()
        if rate.power != 1 and not _nothing(rate)
    ]
    if findings:
        raise InputError("Reactions.ode", findings)
    return {name: rate.factor / size for name, rate in found.items()}


def _nothing(rate: Leading) -> bool:
    return isinstance(rate.factor, int | float) and rate.factor == 0


def _extrapolated(rates: Rates, x: State, p: State, inputs: Inputs, volume: str) -> dict[str, Array]:
    found: list[Mapping[str, Array]] = []
    for size in WEIGHTS:
        scale = LARGE * size * (p if volume in p else inputs)[volume]
        counts = {name: value * scale for name, value in x.items()}
        large = [{**each, volume: scale} if volume in each else each for each in (p, inputs)]
        found.append({name: rate / scale for name, rate in rates(counts, *large).items()})
    weights, total = jnp.asarray([*WEIGHTS.values()], float), sum(WEIGHTS.values())
    # divided last, so that rates which are the same in every volume are left as they are
    return {name: weights @ jnp.stack([each[name] for each in found]) / total for name in found[0]}
