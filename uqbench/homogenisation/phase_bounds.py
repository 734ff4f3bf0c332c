"""Bounds by what is known of a medium without solving anything: the fractions of its phases."""

import jax.numpy as jnp
from jax import Array

from ..annotations import AnyArray
from ..errors import InputError
from .coefficients import checked, inverse, mean_matrix


def voigt_reuss(coefficient: AnyArray) -> tuple[Array, Array]:
    """The harmonic and the arithmetic mean `(d, d)`, `(d, d)`, between which every effective tensor lies.

    Raises:
        InputError: with everything that is wrong with the coefficient.
    """
    array, _ = checked(coefficient, None, "Voigt-Reuss bounds")
    return jnp.linalg.inv(mean_matrix(inverse(array))), mean_matrix(array)


def hashin_shtrikman(first: float, second: float, fraction: float, d: int) -> tuple[float, float]:
    """Bounds of the effective coefficient of an isotropic medium of two isotropic phases.

    Args:
        first, second: coefficients of the phases. fraction: of the volume that is `second`. d: dimensions, 2 or 3.

    Returns:
        The lower and the upper bound (Hashin & Shtrikman 1962, doi:10.1063/1.1728579).

    Raises:
        InputError: coefficients that are not positive, a fraction outside of 0 to 1, another dimension.

    Example:
        >>> lower, upper = hashin_shtrikman(1.0, 10.0, 0.5, 2)
        >>> round(lower, 4), round(upper, 4)
        (2.3846, 4.1935)
    """
    low, high, share = _phases(first, second, fraction, d, "Hashin-Shtrikman bounds")
    if low == high:
        return low, high
    lower = low + share / (1 / (high - low) + (1 - share) / (d * low))
    upper = high + (1 - share) / (1 / (low - high) + share / (d * high))
    return lower, upper


def trace_bounds(first: float, second: float, fraction: float, d: int) -> tuple[float, float]:
    """What any periodic medium of two isotropic phases fulfils, whatever its geometry and anisotropy.

    Args:
        first, second: coefficients of the phases, which differ. fraction: of the volume that is `second`, between 0 and
            1. d: dimensions, 2 or 3.

    Returns:
        The greatest values of tr (D_hom - low I)^-1 and of tr (high I - D_hom)^-1, with the lower and the higher of the
        coefficients (Lurie & Cherkaev 1984, Proc. R. Soc. Edinb. A 99, 71; Milton & Kohn 1988,
        doi:10.1016/0022-5096(88)90001-4). Layers attain both. For an isotropic tensor they are the bounds of Hashin and
        Shtrikman.

    Raises:
        InputError: as `hashin_shtrikman`, and for a single phase.

    Example:
        >>> low, high = trace_bounds(1.0, 10.0, 0.5, 2)
        >>> layers = jnp.array([20 / 11, 5.5])
        >>> bool(jnp.isclose(jnp.sum(1 / (layers - 1.0)), low)), bool(jnp.isclose(jnp.sum(1 / (10.0 - layers)), high))
        (True, True)
    """
    low, high, share = _phases(first, second, fraction, d, "trace bounds")
    if low == high or share in (0, 1):
        raise InputError("trace bounds", ["there is one phase only; give two coefficients, and a part of each."])
    step = high - low
    return d / (share * step) + (1 - share) / (share * low), d / ((1 - share) * step) - share / ((1 - share) * high)


def _phases(first: float, second: float, fraction: float, d: int, subject: str) -> tuple[float, float, float]:
    """The lower and the higher coefficient, and the fraction of the latter."""
    findings = [f"a coefficient is {value!r}; give a positive number." for value in (first, second) if not value > 0]
    findings += [] if 0 <= fraction <= 1 else [f"the fraction is {fraction!r}; give a number from 0 to 1."]
    findings += [] if d in (2, 3) else [f"the dimension is {d!r}; give 2 or 3."]
    if findings:
        raise InputError(subject, findings)
    return (first, second, fraction) if first <= second else (second, first, 1 - fraction)
