"""Guaranteed bounds of an effective tensor, whatever the grid and however singular the fields.

The medium is what the voxels say, with sharp edges and corners, and its effective tensor that of the continuum. Any
periodic temperature gives an upper bound by its energy (Dirichlet's principle), any flux without divergence a lower one
(Thomson's). Both are sought among finite elements with exact integration, so that the bounds hold to rounding, which is
allowed for, also where the iteration has not converged: then they only lie further apart.

At corners of high contrast fields are nearly as singular as finite energy allows, and on a uniform grid the bounds
approach each other slowly, which the residual of a discrete equation does not tell. In the plane there are elements for
such corners (see `corner_elements`); fluxes are turned gradients of stream functions there, and the lower bound of a
medium the upper one of its dual. In space, and for many voxels, temperatures are trilinear (see `elements`) and fluxes
those of Raviart and Thomas (see `fluxes`).
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
from .coefficients import checked, grid_shape, inverse, is_scalar, is_sound
from .corner_grid import Corners, corners_of, least_energies, prepared
from .effective import energies, solve_correctors
from .elements import EXACT
from .fluxes import flux_energies, solve_fluxes

# What sums of energies may lose to rounding, relative; the bounds are moved apart by it.
ROUNDING = 1e-12
# Elements for corners where nothing else is said: their degree, and up to how many of them.
DEFAULT_CORNER_DEGREE, MANY_CORNERS = 4, 64 * 64


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
    coefficient: AnyArray,
    *,
    spacing=None,
    refine: int = 1,
    corner_degree: int | None = None,
    tolerance: float = 1e-10,
    max_iterations: int = 2000,
) -> Bracket:
    """Guaranteed bounds of the effective tensor of the continuum with a constant coefficient in each voxel, traceable.

    Args:
        coefficient, spacing: as in `effective_tensor`.
        refine: elements along each edge of a voxel; 2 halves the grid and brings the bounds closer.
        corner_degree: of elements in the plane that are made for corners of any contrast. Each degree more brings the
            bounds about ten times closer, down to what rounding is allowed (1e-9, and some percent at a contrast of
            1e6). An element has 4 degree - 1 unknowns and a matrix of (8 degree - 1)^2 numbers. 0 stands for bilinear
            elements and Raviart-Thomas fluxes, which are all there is in space. Default 4 for a plane of at most
            64 x 64 elements, 0 for a larger one.
        tolerance: of the squared residuals, relative to those at the start. Bounds hold whatever it is.
        max_iterations: of each of the conjugate gradients.

    Raises:
        InputError: with everything that is wrong with the coefficient, the spacing, `refine` and `corner_degree`.

    Example:
        >>> side = jnp.arange(2) < 1
        >>> checkerboard = jnp.where(side[:, None] == side, 1.0, 1024.0)
        >>> bracket = effective_bounds(checkerboard)
        >>> bool(bracket.lower[0, 0] < 32.0 < bracket.upper[0, 0])
        True
        >>> bool(bracket.width[0] < 1e-5)
        True
    """
    array, edges = checked(coefficient, spacing, "effective bounds")
    _check_elements(len(edges), refine, corner_degree)
    for axis in range(len(edges)):
        array = jnp.repeat(array, refine, axis)
    edges = tuple(edge / refine for edge in edges)
    if corner_degree is None:
        corner_degree = DEFAULT_CORNER_DEGREE if len(edges) == 2 and np.prod(grid_shape(array)) <= MANY_CORNERS else 0
    if corner_degree == 0:
        return _effective_bounds(array, edges, tolerance, max_iterations)
    matrices = array[..., None, None] * jnp.eye(2) if is_scalar(array) else array
    # in coordinates in which voxels are squares
    scale = np.prod(edges) / np.outer(edges, edges)
    return _corner_bounds(corners_of(matrices * scale), scale, corner_degree, tolerance, max_iterations)


def _check_elements(d: int, refine, corner_degree) -> None:
    findings = []
    if not (isinstance(refine, int | np.integer) and refine >= 1):
        findings.append(f"refine is {refine!r}; give a whole number from 1 on.")
    if corner_degree is not None and not (isinstance(corner_degree, int | np.integer) and corner_degree >= 0):
        findings.append(f"corner_degree is {corner_degree!r}; give a whole number from 0 on, or None.")
    elif corner_degree and d == 3:
        findings.append(f"corner_degree is {corner_degree!r}; elements for corners are of the plane. Leave it out.")
    if findings:
        raise InputError("effective bounds", findings)


@partial(jax.jit, static_argnames=("edges", "max_iterations"))
def _effective_bounds(coefficient, edges, tolerance, max_iterations) -> Bracket:
    resistivity = inverse(coefficient)
    temperatures = solve_correctors(coefficient, edges, tolerance, max_iterations, EXACT, relative=True)
    fluxes = solve_fluxes(resistivity, edges, tolerance, max_iterations)
    upper = energies(coefficient, temperatures.values, edges, EXACT) * (1 + ROUNDING)
    lower = jnp.linalg.inv(flux_energies(resistivity, fluxes.solution)) * (1 - ROUNDING)
    iterations = jnp.stack([temperatures.iterations, fluxes.steps])
    return _bracket((lower + lower.T) / 2, upper, iterations, max_iterations, is_sound(coefficient))


def _corner_bounds(corners: Corners, scale, degree, tolerance, max_iterations) -> Bracket:
    elements = prepared(jnp.stack([corners.kinds, _dual(corners.kinds)]), corners.share, degree)
    (upper, dual_upper), iterations = least_energies(elements, corners.labels, degree, tolerance, max_iterations)
    sound = is_sound(corners.kinds[:, :1, 0])
    return _bracket(_dual(dual_upper) / scale, upper / scale, iterations, max_iterations, sound)


def _dual(matrix: Array) -> Array:
    """A quarter turn of the inverse of a symmetric matrix of the plane.

    A flux is a turned gradient of a stream function, whose medium has this coefficient and this effective tensor
    (Keller 1964, J. Math. Phys. 5, 548; Mendelson 1975, J. Appl. Phys. 46, 917).
    """
    return matrix / jnp.linalg.det(matrix)[..., None, None]


@partial(jax.jit, static_argnames="max_iterations")
def _bracket(lower, upper, iterations, max_iterations, sound) -> Bracket:
    unfinished = jnp.where(jnp.all(iterations < max_iterations), Ending.SUCCESS, Ending.ITERATIONS)
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
