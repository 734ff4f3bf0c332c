"""Guaranteed bounds of an effective tensor, whatever the grid and however singular the fields.

The medium is what the voxels say, with sharp edges and corners, and its effective tensor that of the continuum. Any
periodic temperature gives an upper bound by its energy (Dirichlet's principle), any flux without divergence a lower one
(Thomson's). Both are sought among finite elements on the voxels with exact integration, so that the bounds hold to
rounding, also where the iteration has not converged: then they only lie further apart. At corners of high contrast
fields are nearly as singular as finite energy allows, and the bounds approach each other slowly as the grid is refined,
which the residual of a discrete equation does not tell.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..annotations import AnyArray
from ..errors import InputError
from .codes import Ending
from .coefficients import checked, inverse, is_sound, mean_matrix
from .effective import energies, solve_correctors
from .elements import EXACT
from .fluxes import flux_energies, solve_fluxes

# What sums of energies may lose to rounding, relative; the bounds are moved apart by it.
ROUNDING = 1e-12


class Bracket(NamedTuple):
    """What `effective_bounds` finds: lower <= D_hom <= upper as quadratic forms, in the unit of the coefficient.

    Args:
        lower: `(d, d)`. upper: `(d, d)`.
        estimate: `(d, d)`, their geometric mean, which lies between them. In two dimensions it treats a medium and its
            dual alike and is far more accurate than either bound.
        iterations: `(2, d)`, of the temperatures and of the fluxes.
        result: 0, or a code of `SENTENCES`. Where the iteration did not end the bounds hold, and more iterations bring
            them closer; where the coefficient is bad they are NaN.
    """

    lower: Array
    upper: Array
    estimate: Array
    iterations: Array
    result: Array

    @property
    def entries(self) -> tuple[Array, Array]:
        """Bounds `(d, d)`, `(d, d)` of each entry of the tensor."""
        gap = self.upper - self.lower
        # 0 <= X <= gap implies |X_ij - gap_ij / 2| <= sqrt(gap_ii gap_jj) / 2
        half = jnp.sqrt(jnp.outer(jnp.diag(gap), jnp.diag(gap))) / 2
        middle = (self.upper + self.lower) / 2
        return middle - half, middle + half

    @property
    def width(self) -> Array:
        """`(d,)`: upper less lower bound along each axis, relative to the estimate."""
        return jnp.diag(self.upper - self.lower) / jnp.diag(self.estimate)


def effective_bounds(
    coefficient: AnyArray, *, spacing=None, refine: int = 1, tolerance: float = 1e-10, max_iterations: int = 2000
) -> Bracket:
    """Guaranteed bounds of the effective tensor of the continuum with a constant coefficient in each voxel, traceable.

    Args:
        coefficient, spacing: as in `effective_tensor`.
        refine: elements along each edge of a voxel; 2 halves the grid and brings the bounds closer.
        tolerance: of the squared residuals, relative to those at the start. Bounds hold whatever it is.
        max_iterations: of each of the conjugate gradients.

    Raises:
        InputError: with everything that is wrong with the coefficient, the spacing and `refine`.

    Example:
        >>> side = jnp.arange(8) < 4
        >>> checkerboard = jnp.where(side[:, None] == side, 1.0, 4.0)
        >>> bracket = effective_bounds(checkerboard)
        >>> bool(bracket.lower[0, 0] < 2.0 < bracket.upper[0, 0])
        True
        >>> round(float(bracket.estimate[0, 0]), 8)
        2.0
    """
    array, edges = checked(coefficient, spacing, "effective bounds")
    if not (isinstance(refine, int | np.integer) and refine >= 1):
        raise InputError("effective bounds", [f"refine is {refine!r}; give a whole number from 1 on."])
    for axis in range(len(edges)):
        array = jnp.repeat(array, refine, axis)
    return _effective_bounds(array, tuple(edge / refine for edge in edges), tolerance, max_iterations)


@partial(jax.jit, static_argnames=("edges", "max_iterations"))
def _effective_bounds(coefficient, edges, tolerance, max_iterations) -> Bracket:
    resistivity = inverse(coefficient)
    temperatures = solve_correctors(coefficient, edges, tolerance, max_iterations, EXACT, relative=True)
    fluxes = solve_fluxes(resistivity, edges, tolerance, max_iterations)
    upper = energies(coefficient, temperatures.values, edges, EXACT) * (1 + ROUNDING)
    lower = jnp.linalg.inv(flux_energies(resistivity, fluxes.solution)) * (1 - ROUNDING)
    lower = (lower + lower.T) / 2
    iterations = jnp.stack([temperatures.iterations, fluxes.steps])
    unfinished = jnp.where(jnp.all(iterations < max_iterations), Ending.SUCCESS, Ending.ITERATIONS)
    sound = is_sound(coefficient)
    lower, upper = (jnp.where(sound, bound, jnp.nan) for bound in (lower, upper))
    result = jnp.where(sound, unfinished, Ending.BAD_COEFFICIENT)
    return Bracket(lower, upper, geometric_mean(lower, upper), iterations, result)


def _power(matrix: Array, power: float) -> Array:
    values, vectors = jnp.linalg.eigh(matrix)
    return (vectors * values**power) @ vectors.T


def geometric_mean(first: Array, second: Array) -> Array:
    """Of two symmetric positive definite matrices: A^1/2 (A^-1/2 B A^-1/2)^1/2 A^1/2, which lies between them."""
    root, inverse_root = _power(first, 0.5), _power(first, -0.5)
    return root @ _power(inverse_root @ second @ inverse_root, 0.5) @ root


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
    findings = [f"a coefficient is {value!r}; give a positive number." for value in (first, second) if not value > 0]
    findings += [] if 0 <= fraction <= 1 else [f"the fraction is {fraction!r}; give a number from 0 to 1."]
    findings += [] if d in (2, 3) else [f"the dimension is {d!r}; give 2 or 3."]
    if findings:
        raise InputError("Hashin-Shtrikman bounds", findings)
    low, high, share = (first, second, fraction) if first <= second else (second, first, 1 - fraction)
    if low == high:
        return low, high
    lower = low + share / (1 / (high - low) + (1 - share) / (d * low))
    upper = high + (1 - share) / (1 / (low - high) + share / (d * high))
    return lower, upper
