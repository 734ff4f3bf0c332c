"""Poincare constants: how much variance a unit of squared slope can make under a distribution.

The best C in Var(f) <= C E[f'^2] is one over the first eigenvalue of -(rho f')' = lambda rho f with free ends
(Roustant, Barthe and Iooss 2017, doi:10.1214/17-EJS1310): (b-a)^2/pi^2 for Uniform, sigma^2 for Normal, sigma^2/2 for
HalfNormal, 4/rate^2 for Exponential; for others the eigenvalue is computed. A tail heavier than exponential has no C at
all. There the slope is taken in another coordinate: in log x where x is log-normal or log-uniform, and else in the
normal score z, with x = F^-1(Phi(z)) and C = 1.
"""

from functools import lru_cache

import jax
import numpy as np
from scipy.linalg import eigh_tridiagonal

from ...distributions import Distribution
from ...errors import InputError

# Family -> coordinate of the slope, and C there from the arguments as PyMC takes them.
CONSTANTS = {
    "Uniform": ("natural", lambda lower, upper: ((upper - lower) / np.pi) ** 2),
    "Normal": ("natural", lambda mu, sigma: sigma**2),
    "HalfNormal": ("natural", lambda sigma: sigma**2 / 2),
    "Exponential": ("natural", lambda lam: 4 / lam**2),
    "LogNormal": ("log", lambda mu, sigma: sigma**2),
    "LogUniform": ("log", lambda lower, upper: (np.log(upper / lower) / np.pi) ** 2),
}
COMPUTED = ("TruncatedNormal", "Beta", "Gamma")
NORMAL = ("Normal", "LogNormal")  # normal in the coordinate of CONSTANTS
CELLS = 2000
DROP = 400.0  # of the log-density, where a tail is cut


def poincare_constant(distribution: Distribution) -> tuple[float, float, str]:
    """The best constant C in Var(f(X)) <= C E[f'(X)^2], and the coordinate in which it holds.

    Args:
        distribution: continuous, all arguments numbers.

    Returns:
        C, in squared units of the coordinate; its numerical error (0 for a closed form); "natural" (slopes in x), "log"
        (slopes in log x) or "normal score" (slopes in z, where C is 1).

    Raises:
        InputError: for counts, or arguments that are names.

    Example:
        >>> from uqbench import Normal
        >>> poincare_constant(Normal(0, 2))
        (4.0, 0.0, 'natural')
    """
    findings = []
    if distribution.discrete:
        findings.append(f"{distribution!r} is discrete; there is no derivative with respect to a count.")
    if distribution.names:
        findings.append(f"{distribution!r} names {', '.join(map(repr, distribution.names))}; give numbers.")
    if findings:
        raise InputError("poincare_constant", findings)
    family = type(distribution).__name__
    if family in CONSTANTS:
        coordinate, formula = CONSTANTS[family]
        return (
            float(formula(**{name: float(value) for name, value in distribution.canonical().items()})),
            0.0,
            coordinate,
        )
    if family not in COMPUTED:
        return 1.0, 0.0, "normal score"
    return *_computed(distribution), "natural"


@lru_cache
def _computed(distribution: Distribution) -> tuple[float, float]:
    """Constant and error, extrapolated: errors of the mesh fall with its square, those of a cut exponential tail with
    the square of its length."""
    compiled = jax.jit(distribution.logpdf)
    quantiles = np.asarray(distribution.ppf(np.linspace(0.01, 0.99, 99)))
    support = tuple(float(bound) for bound in distribution.support())

    def log_density(x):
        # of one length, so that it is compiled once
        return np.asarray(compiled(np.pad(x, (0, CELLS - len(x)), mode="edge")))[: len(x)]

    coarse, fine, short = (
        _eigenvalue(log_density, quantiles, support, *at) for at in ((CELLS // 2, 1.0), (CELLS, 1.0), (CELLS, 0.5))
    )
    mesh, tail = (1 / fine - 1 / coarse) / 3, (1 / fine - 1 / short) / 3
    return 1 / fine + mesh + tail, 2 * abs(mesh) + abs(tail)


def _eigenvalue(log_density, quantiles, support: tuple[float, float], cells: int, reach: float) -> float:
    """First eigenvalue above 0 of the density with free ends, by finite volumes in a coordinate that tames the ends.

    The matrix is scaled by the root of the density on both sides, which needs ratios of densities only, so tails as
    thin as exp(-400) are as good as any.
    """
    (lower, upper), middle = support, float(quantiles[49])
    below, above = np.isfinite(lower), np.isfinite(upper)
    highest = log_density(quantiles).max()

    def end(sign: float) -> float:
        """Distance from the median at which the log-density has dropped."""
        distances = abs(quantiles[89 if sign > 0 else 9] - middle) * 1.05 ** np.arange(400)
        drop = highest - log_density(middle + sign * distances)
        return float(distances[np.argmax(drop >= DROP * reach)])

    if below and above:
        faces = np.linspace(0.0, np.pi, cells + 1)
    elif below or above:
        sign, start = (1.0, lower) if below else (-1.0, upper)
        faces = np.linspace(0.0, np.sqrt(end(sign) + abs(middle - start)), cells + 1)
    else:
        faces = np.linspace(middle - end(-1.0), middle + end(1.0), cells + 1)

    def place(s):
        """The value at s, and its derivative."""
        if below and above:
            return lower + (upper - lower) * np.sin(s / 2) ** 2, (upper - lower) * np.sin(s) / 2
        return (start + sign * s**2, 2 * s) if below or above else (s, np.ones_like(s))

    width = faces[1] - faces[0]
    centres, inner = faces[:-1] + width / 2, faces[1:-1]
    at, slope = place(centres)
    mass = log_density(at) + np.log(slope)
    at, slope = place(inner)
    flux = log_density(at) - np.log(slope)
    # K = B'B: the singular values of the bidiagonal B are the upper half of the spectrum of a tridiagonal matrix with a
    # zero diagonal, and come out as accurate as its roots, where K would lose all digits to its largest eigenvalue.
    roots = np.exp(np.stack([flux - mass[:-1], flux - mass[1:]], axis=1) / 2).ravel() / width
    found = eigh_tridiagonal(np.zeros(2 * cells - 1), roots, True, select="i", select_range=(cells, cells))
    return float(found[0] ** 2)
