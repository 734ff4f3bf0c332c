"""Stationary Gaussian fields on regular grids by circulant embedding, exact in law and differentiable by their lengths.

The covariance matrix of a grid is part of that of a larger torus, which the Fourier transform diagonalises; with its
eigenvalues s and white noise W on the torus

    g = F^-1 sqrt(s) F W,    restricted to the grid,

has exactly the correlation asked for, provided that no s is negative (Dietrich & Newsam 1997, doi:10.1137/
S1064827592240555). If some are, the torus is enlarged; what is still negative is left out, and the correlation then
errs at every lag by no more than their sum over the number of cells. W is the only randomness: with W kept, g is a
differentiable function of the correlation lengths, and the same key is the same medium.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.fft import next_fast_len

from ..annotations import AnyArray
from ..errors import InputError
from .covariance import Correlation, scaled_distance

# Cells in a correlation length, at least: with fewer, neighbours of an exponential correlation have less than 78 % in
# common and what lies between them is not on the grid.
CELLS_PER_LENGTH = 4.0
# Lengths of the torus along each axis that are tried, in correlation lengths; never less than twice the grid, which
# holds all lags. Smooth correlations take 8 to 16, the exponential one 12 in three dimensions.
TORUS_LENGTHS = (0.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0)
# Eigenvalues below this share of the largest are rounding, whose square roots have slopes of no meaning.
ROUNDING = 1e-15


@dataclass(frozen=True)
class Embedding:
    """A torus on which a Gaussian field is drawn; made by `embed`.

    Args:
        correlation: of the field. shape: cells of the grid along each axis. spacing: size of a cell along each axis.
        size: cells of the torus, multiples of `shape` where the field is periodic.
        periodic: whether the grid itself is a torus, of the correlation summed over images.
        error: most by which the correlation errs at any lag and any of the lengths given to `embed`.
        tolerance: the most that is allowed.
    """

    correlation: Correlation
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    size: tuple[int, ...]
    periodic: bool
    error: float
    tolerance: float

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Shape of the standard normals that a field is made of."""
        return self.shape if self.periodic else self.size

    def noise(self, key: PRNGKeyArray) -> Float[Array, "*torus"]:
        """The standard normals of one realisation."""
        return jax.random.normal(key, self.noise_shape)

    def field(self, noise: Float[Array, "*torus"], lengths: Float[Array, " axes"]) -> Float[Array, "*grid"]:
        """A field of mean 0 and variance 1.

        Args:
            noise: standard normals of the shape `noise_shape`.
            lengths: correlation length of each axis, in the unit of the spacing; may be traced.

        Returns:
            the field on the grid, differentiable by `lengths` and `noise`; all NaN where at these lengths the
            correlation would err by more than `tolerance`, or where a length is not positive.

        Raises:
            InputError: noise or lengths of another shape.
        """
        lengths = jnp.asarray(lengths, float)
        if noise.shape != self.noise_shape or lengths.shape != (len(self.shape),):
            raise InputError(
                "Gaussian field",
                [
                    f"the noise has the shape {noise.shape} and the lengths {lengths.shape}; give {self.noise_shape}, "
                    f"as `noise(key)` does, and {(len(self.shape),)}."
                ],
            )
        values, error = self.spectrum(lengths)
        kept = values > ROUNDING * jnp.max(values)
        root = jnp.where(kept, jnp.sqrt(jnp.where(kept, values, 1.0)), 0.0)
        whole = jnp.fft.irfftn(root * jnp.fft.rfftn(noise), s=self.noise_shape)
        field = whole[tuple(slice(cells) for cells in self.shape)]
        return jnp.where((error <= self.tolerance) & jnp.all(lengths > 0), field, jnp.nan)

    def spectrum(self, lengths: Float[Array, " axes"]) -> tuple[Float[Array, "*half"], Float[Array, ""]]:
        """Eigenvalues of the torus (the last axis has one half of them), and the error of leaving out those below 0."""
        lags = [
            spacing * np.minimum(np.arange(cells), cells - np.arange(cells))
            for cells, spacing in zip(self.size, self.spacing, strict=True)
        ]
        correlation = self.correlation(scaled_distance(np.ix_(*lags), lengths))
        if self.periodic:
            correlation = _folded(correlation, self.shape)
        values = jnp.fft.rfftn(correlation).real
        # all but the first and, of an even number, the last of the half axis stand for two
        twice = np.full(values.shape[-1], 2.0)
        twice[0] = 1.0
        if self.noise_shape[-1] % 2 == 0:
            twice[-1] = 1.0
        return values, jnp.sum(jnp.maximum(-values, 0.0) * twice) / int(np.prod(self.noise_shape))


def embed(
    shape: Sequence[int],
    spacing: Sequence[float],
    correlation: Correlation,
    lengths: AnyArray | Sequence,
    *,
    periodic: bool = False,
    tolerance: float = 1e-10,
    largest: int = 2**24,
) -> Embedding:
    """The smallest torus on which the field can be drawn.

    Args:
        shape: cells along each of one to three axes. spacing: size of a cell along each, in any unit of length.
        correlation: of the field.
        lengths: correlation length along each axis, in the same unit: (axes,), or (sets, axes) where the lengths will
            vary, such as corners of a prior; the torus is one for all of them.
        periodic: whether opposite faces of the grid meet, as in a cell problem: the correlation is then summed over
            the images that a torus of a few times the grid holds, and scaled to variance 1.
        tolerance: largest error of the correlation at any lag.
        largest: most cells of the torus.

    Raises:
        InputError: with every finding: shapes that do not match, numbers that are not positive, a grid too coarse for
            the correlation length, no torus of the size allowed that is accurate enough (and how accurate the best is).

    Example:
        >>> embedding = embed((64,), (10.0,), Correlation("exponential"), (200.0,))
        >>> embedding.field(embedding.noise(jax.random.key(0)), jnp.array([200.0])).shape
        (64,)
    """
    if np.ndim(shape) != 1 or np.ndim(spacing) != 1:
        raise InputError(
            "Gaussian field", [f"the shape is {shape!r} and the spacing {spacing!r}; give a number for each axis."]
        )
    rows = np.atleast_2d(np.asarray(lengths, float))
    findings = _findings(shape, spacing, rows, tolerance, largest)
    if not isinstance(correlation, Correlation):
        findings.append(f"the correlation is {correlation!r}; give a Correlation(family).")
    if findings:
        raise InputError("Gaussian field", findings)
    shape, spacing = tuple(int(cells) for cells in shape), tuple(float(size) for size in spacing)
    best = np.inf
    for size in _sizes(shape, rows.max(axis=0) / spacing, periodic, largest):
        tried = Embedding(correlation, shape, spacing, size, periodic, 0.0, float(tolerance))
        # the torus is made of numbers, also where a function that is being traced asks for it
        with jax.ensure_compile_time_eval():
            error = max(float(tried.spectrum(jnp.asarray(row))[1]) for row in rows)
        best = min(best, error)
        if error <= tolerance:
            return replace(tried, error=error)
    reached = f"the best errs by {best:.2g}" if np.isfinite(best) else "twice the grid has more"
    raise InputError(
        "Gaussian field",
        [
            f"no torus of at most {largest} cells holds the correlation to {tolerance:g}; {reached}. Take a sample of "
            "fewer cells, a rougher correlation, a larger `largest`, or a tolerance that is met."
        ],
    )


def _sizes(shape: tuple[int, ...], longest: np.ndarray, periodic: bool, largest: int) -> Iterator[tuple[int, ...]]:
    """Sizes of the torus, from the smallest on; `longest` are correlation lengths in cells."""
    last = None
    for wanted in TORUS_LENGTHS:
        least = [max(2 * cells, int(np.ceil(wanted * cell))) for cells, cell in zip(shape, longest, strict=True)]
        if periodic:
            size = tuple(cells * -(-each // cells) for cells, each in zip(shape, least, strict=True))
        else:
            size = tuple(next_fast_len(each) for each in least)
        if size != last and np.prod([float(cells) for cells in size]) <= largest:
            yield size
        last = size


def _folded(correlation: Array, shape: tuple[int, ...]) -> Array:
    """The sum over all images of a smaller torus, scaled to 1 at lag 0."""
    axes = range(len(shape))
    pairs = [part for axis in axes for part in (correlation.shape[axis] // shape[axis], shape[axis])]
    total = jnp.sum(correlation.reshape(pairs), axis=tuple(2 * axis for axis in axes))
    return total / total[(0,) * len(shape)]


def _findings(shape, spacing, rows: np.ndarray, tolerance: float, largest: int) -> list[str]:
    findings = []
    axes = len(shape)
    if not 1 <= axes <= 3:
        findings.append(f"the shape {tuple(shape)} has {axes} axes; give one to three.")
    if any(int(cells) != cells or cells < 1 for cells in shape):
        findings.append(f"the shape is {tuple(shape)}; give whole numbers of cells, 1 or more.")
    if len(spacing) != axes or rows.ndim != 2 or rows.shape[1] != axes:
        findings.append(
            f"the shape has {axes} axes, the spacing {len(spacing)}, the lengths {rows.shape[-1]}; give one for each."
        )
    if not all(0 < size < np.inf for size in spacing):
        findings.append(f"the spacing is {tuple(spacing)}; give positive numbers.")
    if not np.all((rows > 0) & (rows < np.inf)):
        findings.append(f"the correlation lengths are {rows.tolist()}; give positive numbers.")
    if not 0 < tolerance < 1:
        findings.append(f"the tolerance is {tolerance!r}; give a number between 0 and 1.")
    if largest < 1:
        findings.append(f"largest is {largest!r}; give a number of cells.")
    if not findings:
        for axis, (size, length) in enumerate(zip(spacing, rows.min(axis=0), strict=True)):
            # one cell along an axis has no neighbour that it could miss
            if shape[axis] > 1 and size * CELLS_PER_LENGTH > length * (1 + 1e-12):
                findings.append(
                    f"the grid is too coarse for the correlation length along axis {axis}: cells of {size:g} for a "
                    f"length of {length:g}; give cells of {length / CELLS_PER_LENGTH:g} or less."
                )
    return findings
