"""Cells of voxels whose effective tensor is known, and random ones."""

import numpy as np
from hypothesis import strategies as st


def layers(n: int, first: float, second: float) -> np.ndarray:
    """Two halves across the first axis."""
    return np.where(np.arange(n)[:, None] < n // 2, first, second) * np.ones((n, n))


def checkerboard(n: int, contrast: float) -> np.ndarray:
    side = np.arange(n) < n // 2
    return np.where(side[:, None] == side, 1.0, contrast)


def square_inclusion(n: int, contrast: float) -> np.ndarray:
    """A square of a quarter of the area in a matrix of 1."""
    side = np.arange(n) < n // 2
    return np.where(side[:, None] & side, contrast, 1.0)


def obnosov(contrast: float) -> float:
    """The effective coefficient of `square_inclusion` (Obnosov 1999, SIAM J. Appl. Math. 59, 1267)."""
    return np.sqrt((1 + 3 * contrast) / (3 + contrast))


def two_phases(seed: int, shape: tuple[int, ...], contrast: float, fraction: float = 0.5) -> np.ndarray:
    """A level cut of noise that is smoothed over neighbours: 1 and, in that fraction of the voxels, `contrast`."""
    noise = np.random.default_rng(seed).normal(size=shape)
    for axis in range(noise.ndim):
        noise = noise + np.roll(noise, 1, axis)
    return np.where(noise < np.quantile(noise, fraction), contrast, 1.0)


def matrices(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Random symmetric positive definite matrices, `(*shape, d, d)`."""
    factors = np.random.default_rng(seed).normal(size=(*shape, len(shape), len(shape)))
    return factors @ np.swapaxes(factors, -1, -2) + 0.3 * np.eye(len(shape))


def is_below(lower, upper, slack=1e-10):
    """lower <= upper as quadratic forms, to rounding."""
    return np.linalg.eigvalsh(np.asarray(upper - lower)).min() > -slack * np.linalg.norm(upper)


# A few shapes only, since each is compiled; an odd one too.
shapes = st.sampled_from([(8, 8), (7, 6), (4, 5, 4)])
seeds = st.integers(0, 10_000)
contrasts = st.sampled_from([0.01, 0.3, 5.0, 100.0])
fractions = st.floats(0.1, 0.9)
