"""Trilinear (bilinear) finite elements on the voxels of a periodic cell, and their exact inverse for one constant
coefficient by FFT.

With s the place in a voxel from -1/2 to 1/2 along each axis, a function that is linear along each axis is a sum over
sets S of axes of c_S prod_{j in S} s_j, where c_S takes differences of the values at the corners along the axes of S
and means along the others. Its gradient along i is 1/h_i times the sum over sets R without i of c_{R + i} prod_{j in R}
s_j, and these products are orthogonal with squared norm 12^-|R|. So the energy in a voxel is exactly

    sum_R w^|R| sum_{i, j not in R} D_ij c_{R+i} c_{R+j} / (h_i h_j),        w = 1/12.

With w = 0 only the mean gradient in each voxel counts: elements with one point of integration, which are the rotated
scheme of Willot (2015, doi:10.1016/j.crme.2014.12.005).
"""

from itertools import chain, combinations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .coefficients import mean_matrix, times

# The weight w of exact integration, and of integration at one point.
EXACT, ONE_POINT = 1 / 12, 0.0


def _sets(axes) -> list[tuple[int, ...]]:
    return list(chain.from_iterable(combinations(axes, size) for size in range(len(axes) + 1)))


def _counted(d: int, weight: float) -> list[tuple[tuple[int, ...], list[int], float]]:
    """Sets R, the axes without them, and w^|R|, of those that count."""
    sets = [(R, [i for i in range(d) if i not in R], weight ** len(R)) for R in _sets(range(d))]
    return [(R, rest, power) for R, rest, power in sets if rest and power]


def _with(R: tuple[int, ...], i: int) -> tuple[int, ...]:
    return tuple(sorted((*R, i)))


def extended(values: Array, d: int, *, before: bool = False, after: bool = False) -> Array:
    """A periodic array continued by one along its last d axes, at the start, the end or both.

    What follows then works on slices, which the compiler makes one loop of, as it does not of shifted copies.
    """
    for axis in range(values.ndim - d, values.ndim):
        first, last = (jax.lax.slice_in_dim(values, at, at + 1, axis=axis) for at in (0, values.shape[axis] - 1))
        values = jnp.concatenate([last] * before + [values] + [first] * after, axis=axis)
    return values


def _ends(values: Array, axis: int) -> tuple[Array, Array]:
    """All but the last, and all but the first along an axis."""
    n = values.shape[axis]
    return jax.lax.slice_in_dim(values, 0, n - 1, axis=axis), jax.lax.slice_in_dim(values, 1, n, axis=axis)


def differences(values: Array, wanted: set[tuple[int, ...]]) -> dict[tuple[int, ...], Array]:
    """Set S of axes -> c_S in each voxel, from values at all corners, one more along each axis than voxels."""
    parts: dict[tuple[int, ...], Array] = {(): values}
    for axis in range(values.ndim):
        needed = {tuple(a for a in S if a <= axis) for S in wanted}
        finer = {}
        for S, part in parts.items():
            here, after = _ends(part, axis)
            if S in needed:
                finer[S] = (here + after) / 2
            if (*S, axis) in needed:
                finer[(*S, axis)] = after - here
        parts = finer
    return parts


def differences_transposed(parts: dict[tuple[int, ...], Array]) -> Array:
    """The transpose of `differences`, on the corners that have voxels all around them."""
    for axis in reversed(range(next(iter(parts.values())).ndim)):
        coarser = {}
        for S in {tuple(a for a in S if a < axis) for S in parts}:
            terms = []
            if S in parts:
                before, here = _ends(parts[S], axis)
                terms.append((before + here) / 2)
            if (*S, axis) in parts:
                before, here = _ends(parts[(*S, axis)], axis)
                terms.append(before - here)
            coarser[S] = sum(terms[1:], terms[0])
        parts = coarser
    return parts[()]


def gradients(values: Array, edges: tuple[float, ...], weight: float) -> list[tuple[float, list[int], list[Array]]]:
    """For each set R that counts: w^|R|, the axes i without it, and c_{R+i} / h_i, from values at all corners."""
    counted = _counted(values.ndim, weight)
    parts = differences(values, {_with(R, i) for R, rest, _ in counted for i in rest})
    return [(power, rest, [parts[_with(R, i)] / edges[i] for i in rest]) for R, rest, power in counted]


def block(coefficient: Array, axes: list[int], d: int) -> Array:
    """Rows and columns `axes` of a coefficient, matrices first; one of numbers as it is."""
    if coefficient.ndim == d or len(axes) == d:
        return coefficient
    return coefficient[np.ix_(axes, axes)]


def divergence(fluxes: list[list[Array]], edges: tuple[float, ...], weight: float, d: int) -> Array:
    """The transpose of `gradients` with its weights: minus the divergence of fluxes, as a load on inner corners."""
    parts: dict[tuple[int, ...], Array] = {}
    for (R, rest, power), flux in zip(_counted(d, weight), fluxes, strict=True):
        for i, component in zip(rest, flux, strict=True):
            S, part = _with(R, i), component * (power / edges[i])
            parts[S] = parts[S] + part if S in parts else part
    return differences_transposed(parts)


def stiffness(coefficient: Array, values: Array, edges: tuple[float, ...], weight: float) -> Array:
    """The operator of the elements applied to values at the first corners of the voxels of a period.

    The coefficient has its matrices first and is extended `before`.
    """
    return forces(coefficient, extended(values, values.ndim, before=True, after=True), edges, weight)


def forces(coefficient: Array, values: Array, edges: tuple[float, ...], weight: float) -> Array:
    """The operator of the elements on the inner corners, from values at all corners of the voxels given.

    The coefficient has its matrices first.
    """
    d = values.ndim
    parts = gradients(values, edges, weight)
    fluxes = [times(block(coefficient, rest, d), gradient) for _, rest, gradient in parts]
    return divergence(fluxes, edges, weight, d)


def frequencies(shape: tuple[int, ...]) -> list[Array]:
    """Along each axis exp(i q) - 1 of the real FFT, in a shape that broadcasts over the others."""
    d, factors = len(shape), []
    for axis, n in enumerate(shape):
        count = n // 2 + 1 if axis == d - 1 else n
        # exactly -1 at the highest frequency, so that what vanishes there is zero and not its rounding
        step = np.where(2 * np.arange(count) == n, -1.0, np.exp(2j * np.pi * np.arange(count) / n)) - 1
        factors.append(jnp.asarray(step.reshape([-1 if a == axis else 1 for a in range(d)])))
    return factors


def symbol(mean: Array, steps: list[Array], edges: tuple[float, ...], weight: float) -> Array:
    """What the operator for a constant matrix multiplies each wave with, whose steps exp(i q) - 1 are given by axis."""
    total = jnp.zeros(())
    for R, rest, power in _counted(len(edges), weight):
        hat = []
        for i in rest:
            factor = jnp.asarray(1 / edges[i])
            for axis, step in enumerate(steps):
                factor = factor * (step if axis in R or axis == i else (step + 2) / 2)
            hat.append(factor)
        total = total + power * sum(
            mean[i, j] * jnp.real(jnp.conj(hat[a]) * hat[b]) for a, i in enumerate(rest) for b, j in enumerate(rest)
        )
    return total


def reference_inverse(coefficient: Array, edges: tuple[float, ...], weight: float):
    """The inverse of the operator for the mean of a coefficient `(*grid[, d, d])`, on loads without a mean.

    Modes that the operator does not feel (the constant; with one point of integration those that alternate from corner
    to corner along two axes) are left out.
    """
    d, shape = len(edges), coefficient.shape[: len(edges)]
    feels = symbol(mean_matrix(coefficient), frequencies(shape), edges, weight)
    inverse = jnp.where(feels > 0, 1 / jnp.where(feels > 0, feels, 1.0), 0.0)
    axes = tuple(range(d))

    def precondition(load: Array) -> Array:
        return jnp.fft.irfftn(inverse * jnp.fft.rfftn(load, axes=axes), s=shape, axes=axes)

    return precondition
