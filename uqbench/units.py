"""Units are text that must parse; nothing is converted behind the author's back."""

from functools import cache


@cache
def _registry():
    import pint

    registry: pint.UnitRegistry = pint.UnitRegistry(cache_folder=None)
    # what counting experiments and uncalibrated instruments report
    for unit, alias in (("molecule", "molecules"), ("cell", "cells"), ("arbitrary_unit", "AU")):
        registry.define(f"{unit} = [{unit}] = _ = {alias}")
    return registry


@cache
def unit_finding(unit: str) -> str | None:
    """Why `unit` does not parse, or None when it does. An empty text is dimensionless.

    Example:
        >>> unit_finding("mg/L") is None
        True
        >>> unit_finding("mg/furlong2x")
        "unit 'mg/furlong2x' does not parse: 'furlong2x' is not defined in the unit registry"
    """
    if not isinstance(unit, str):
        return f"unit {unit!r} is not text; write it like 'mg/L', and '' for dimensionless."
    if "//" in unit:
        return f"unit {unit!r} does not parse: '//' is no division of units"
    try:
        _registry().parse_units(unit)
    # pint raises its own errors as well as those of the tokenizer and of the arithmetic below it
    except Exception as error:
        return f"unit {unit!r} does not parse: {error}"
    return None


def dimension_of(unit: str) -> dict[str, float]:
    """Powers of the base dimensions of a unit that parses.

    Example:
        >>> dimension_of("mg/L") == {"[mass]": 1, "[length]": -3}
        True
    """
    return dict(_registry().parse_units(unit).dimensionality)


def unit_factor(unit: str, other: str) -> float | None:
    """How many of the `other` are in one `unit`, both of which parse; None where they measure different things.

    Example:
        >>> round(unit_factor("h", "min")), unit_factor("h", "mg")
        (60, None)
    """
    if dimension_of(unit) != dimension_of(other):
        return None
    return float(_registry().Quantity(1.0, unit).to(other).magnitude)
