"""Elements around the corners at which four voxels of a plane meet, made for fields that are singular there.

An element is the rectangle between the centres of the four voxels, so that each voxel belongs to four elements and all
that is singular lies at the middle of one. Its trial functions are polynomials on the half sides of the rectangle and
are continued inwards along rays: with the outline b(s) a point is exp(-t) b(s), and functions of the outline fade with
t. In the coordinates t and s the energy is the same at all t, so that all rings t0 < t < t0 + T have the same matrix.
Two rings are one of twice the length when the values between them are those of the least energy, and sixteen such
steps reach exp(-8192) of the rectangle, further in than any grid; the function is constant within. What fades as
r^alpha with a small alpha, as at corners of high contrast, is met as well as anything. Functions are piecewise
polynomials in t and s, quadrature of the matrix of a ring is exact, and so the energy of an element is that of explicit
trial functions.

That only the outline needs to be discrete is the idea of the scaled boundary finite element method (Song & Wolf 1997,
doi:10.1016/S0045-7825(97)00021-2), which continues it by powers of r; polynomials of t = -log r need no eigenvalues.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.polynomial import legendre

# Degree along rays, length in t of the first ring, and how often rings are doubled. A uniform field, whose functions
# fade as exp(-t), has an energy that is wrong by 1e-15; shorter first rings lose more to rounding.
RADIAL_DEGREE, LENGTH, DOUBLINGS = 4, 2.0**-3, 16


class CornerElement(NamedTuple):
    """The tables of an element of some degree p, with m = 8 p values on its outline, of which a period has 4 p - 1.

    Args:
        slopes: `(m - 1, 2)`, what unit gradients give as differences from the first value, on a square of edge 1.
        assembly: `(2, 2, 4 p - 1, m - 1)`, the differences of values that belong to the element itself and to those
            that follow it along the axes.
        ring: `(2, 2, 2, 2, n, n)`, the matrix of the first ring for each entry (last axes of four) of the coefficient
            of each quadrant (first two), for the unknowns of `_values_of_differences`.
    """

    slopes: np.ndarray
    assembly: np.ndarray
    ring: np.ndarray


def corner_element(degree: int) -> CornerElement:
    """The element whose trial functions have that degree on each half side."""
    half = (_lobatto(degree) + 1) / 2
    line, last = np.concatenate([half - 1, half[1:]]) / 2, 2 * degree
    outline = [(i, j) for i in range(last + 1) for j in range(last + 1) if {i, j} & {0, last}]
    owned = [place for place in outline if last not in place]
    values = np.zeros((2, 2, len(owned), len(outline)))
    for n, (i, j) in enumerate(outline):
        values[i // last, j // last, owned.index((i % last, j % last)), n] = 1.0
    points = line[np.array(outline)]
    ring = _ring(degree, {place: n for n, place in enumerate(outline)})
    return CornerElement(points[1:] - points[0], values[..., 1:] - values[..., :1], ring)


def _lobatto(degree: int) -> np.ndarray:
    """The ends of [-1, 1] and where Legendre's polynomial has its extrema, at which the basis is one or zero."""
    inner = np.real(legendre.legroots(legendre.legder([0] * degree + [1])))
    return np.concatenate([[-1.0], np.sort(inner), [1.0]])


def _basis(degree: int, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and slopes `(points, degree + 1)` of the polynomials that are one at one of the nodes, on [-1, 1]."""
    coefficients = np.linalg.inv(legendre.legvander(_lobatto(degree), degree))
    return legendre.legval(at, coefficients).T, legendre.legval(at, legendre.legder(coefficients)).T


def _ring(degree: int, index: dict[tuple[int, int], int]) -> np.ndarray:
    """`CornerElement.ring`; `index` numbers the points of the outline by their places along both axes."""
    m, radial = len(index), RADIAL_DEGREE + 1
    s, s_weights = legendre.leggauss(degree + 2)
    t, t_weights = legendre.leggauss(RADIAL_DEGREE + 1)
    weights = np.outer(t_weights * LENGTH / 2, s_weights / 2)
    along, along_slope = _basis(degree, s)
    fading, fading_slope = _basis(RADIAL_DEGREE, t)
    change = _values_of_differences(m, radial)
    total = np.zeros((2, 2, 2, 2, change.shape[1], change.shape[1]))
    for normal, end, part in np.ndindex(2, 2, 2):
        tangent, places = 1 - normal, np.arange(degree + 1) + part * degree
        nodes = [index[(end * 2 * degree, n) if normal == 0 else (n, end * 2 * degree)] for n in places]
        # x_normal = +-exp(-t), x_tangent = tau exp(-t); gradients are times exp(-t), whose square is in the area
        tau, gradient = (s - 1) / 2 + part, [np.empty(0)] * 2
        gradient[tangent] = np.einsum("tk,si->tski", fading, 2 * along_slope)
        gradient[normal] = (1 - 2 * end) * (
            np.einsum("tk,si->tski", 2 / LENGTH * fading_slope, along) + tau[:, None, None] * gradient[tangent]
        )
        field, quadrant = np.stack(gradient), (end, part) if normal == 0 else (part, end)
        entries = np.einsum("xtski,ts,ytslj->xykilj", field, weights, field).reshape(2, 2, radial * len(nodes), -1)
        local = change[(np.arange(radial)[:, None] * m + np.array(nodes)).ravel()]
        total[quadrant] += local.T @ entries @ local
    return total


def _values_of_differences(m: int, radial: int) -> np.ndarray:
    """Values on circles from the outside to the inside, `(radial m, radial m - 1)`, of the unknowns of a ring.

    These are differences from the first value on the outside (m - 1), the same on the inside, the step between the two
    first values, and values between less the first one on the inside.
    """
    values = np.zeros((radial, m, radial * m - 1))
    differences = np.eye(m)[:, 1:]
    values[0, :, : m - 1], values[-1, :, m - 1 : 2 * m - 2] = differences, differences
    values[0, :, 2 * m - 2] = 1.0
    values[1:-1, :, 2 * m - 1 :] = np.eye((radial - 2) * m).reshape(radial - 2, m, -1)
    return values.reshape(radial * m, -1)


def _inverse_lower(factor: Array) -> Array:
    """The inverse of a lower triangular matrix, from blocks of one on by products alone, which are fast in batches."""
    n = factor.shape[0]
    size = 1 << (n - 1).bit_length()
    padded = jnp.eye(size).at[:n, :n].set(factor)
    inverse = (1 / jnp.diag(padded))[:, None, None]
    while (width := inverse.shape[-1]) < size:
        pairs = jnp.diagonal(padded.reshape(-1, 2, width, size // (2 * width), 2, width), axis1=0, axis2=3)
        first, second = inverse[::2], inverse[1::2]
        below = -second @ jnp.moveaxis(pairs[1, :, 0], -1, 0) @ first
        inverse = jnp.block([[first, jnp.zeros_like(below)], [below, second]])
    return inverse[0, :n, :n]


def _eliminated(matrix: Array, inner: Array, coupling: Array) -> Array:
    """What is left of an energy where the inner values are those of the least energy."""
    half = _inverse_lower(jnp.linalg.cholesky(inner)) @ coupling
    return matrix - half.T @ half


def _joined(ring: Array) -> Array:
    """The energy of two rings, one within the other, as that of one.

    A ring knows differences alone, so that no constant costs energy by rounding: of values on its outside from their
    first (m - 1 of them), the same on its inside, and of its two first values.
    """
    n = ring.shape[0] // 2
    outer, across, outer_step = ring[:n, :n], ring[:n, n:-1], ring[:n, -1:]
    inner, inner_step, step = ring[n:-1, n:-1], ring[n:-1, -1:], ring[-1:, -1:]
    none, nothing = jnp.zeros_like(outer), jnp.zeros_like(outer_step)
    ends = [[outer, none, nothing], [none, inner, inner_step], [nothing.T, inner_step.T, step]]
    # between them: differences of values, and the step of the outer ring, which leaves the rest to the inner one
    middle = [[inner + outer, inner_step - outer_step], [(inner_step - outer_step).T, 2 * step]]
    coupling = [[across.T, across, outer_step], [outer_step.T, -inner_step.T, -step]]
    return _eliminated(jnp.block(ends), jnp.block(middle), jnp.block(coupling))


def element_stiffness(coefficients: Array, ring: Array) -> Array:
    """`(m - 1, m - 1)`: the energy of an element that lies between four voxels, of differences from the first value.

    Args:
        coefficients: `(2, 2, 2, 2)`, matrices of the four voxels, as seen where the element is a square.
        ring: of `CornerElement`.
    """
    first = jnp.einsum("abxy,abxyij->ij", coefficients, ring)
    ends = 2 * ((first.shape[0] + 1) // (RADIAL_DEGREE + 1)) - 1
    start = _eliminated(first[:ends, :ends], first[ends:, ends:], first[ends:, :ends])
    total = jax.lax.fori_loop(0, DOUBLINGS, lambda _, ring: _joined(ring), start)
    # one value within the last ring, the best one
    n = total.shape[0] // 2
    return total[:n, :n] - total[:n, -1:] * total[-1:, :n] / total[-1, -1]
