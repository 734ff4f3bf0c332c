"""A density from runs, with an interval around it: a kernel on a scale that keeps to the support.

The bandwidth solves the fixed point of the improved Sheather-Jones rule (Botev, Grotowski and Kroese 2010,
doi:10.1214/10-AOS799), which does not believe that data are normal and so keeps two modes apart. A kernel would leak
over a bound of the support; positive values are therefore smoothed as logarithms and values between two bounds as
log-odds. A density from runs is biased where it bends, and an interval around it would be wrong there however many runs
it has; the intervals here are those of the estimate less its own estimated bias (Calonico, Cattaneo and Farrell 2018,
doi:10.1080/01621459.2017.1285776).
"""

import numpy as np
from scipy import fft, optimize, stats
from scipy.special import expit

BINS = 2048
STAGES = 7  # of the bandwidth, as in Botev, Grotowski and Kroese
WINDOW = 30.0  # spreads beside the quartiles
TINY = np.finfo(float).tiny


def kernel_density(x, mass, ends, points: int, confidence: float) -> dict[str, np.ndarray]:
    """Kernel density on a grid that is even on the scale where the output has no bounds.

    The interval is that of a count: the kernel of order four (the estimate less its bias) adds up masses whose
    variance is proportional to the density itself, as in a Poisson law, so it does not vanish between the last runs.
    """
    low, high = ends
    mirrored = (x == low).any() or (x == high).any()
    forward, backward, slope = _scale(*((-np.inf, np.inf) if mirrored else ends))
    z, n = forward(x), 1 / (mass**2).sum()
    quartiles = np.quantile(z, (0.25, 0.75), weights=mass, method="inverted_cdf")
    spread = np.sqrt((mass * (z - mass @ z) ** 2).sum())
    robust = min(spread, np.ptp(quartiles) / 1.34) or spread
    rule = 1.06 * robust * n**-0.2
    # Beyond this window only the tails of the heaviest laws have runs; `density_mass` tells what is lost.
    first = max(z.min(), quartiles[0] - WINDOW * robust) - 5 * rule
    last = min(z.max(), quartiles[1] + WINDOW * robust) + 5 * rule
    if mirrored:
        first, last = max(first, low), min(last, high)
    nodes, step = np.linspace(first, last, BINS, retstep=True)
    inside = (z >= first) & (z <= last)
    binned, squared = (_binned((z[inside] - first) / step, each[inside]) for each in (mass, mass**2))
    _, index = np.unique(x, return_inverse=True)
    ties = np.bincount(index, mass)
    different = ties.size
    width = _bandwidth(binned / binned.sum(), last - first, min(n, different)) or rule
    # Rounded runs count once for the rule, lest it sees every step of the rounding as a mode; but they are more.
    width = max(min(width, rule) if different < z.size else width, step)
    grid = np.linspace(first, last, points)
    u = (grid[:, None] - nodes) / width
    kernel, corrected = _kernels(u)
    if mirrored:
        for end in (e for e in ends if np.isfinite(e)):
            more = _kernels((grid[:, None] + nodes - 2 * end) / width)
            kernel, corrected = kernel + more[0], corrected + more[1]
    kernel, corrected = kernel / width, corrected / width
    estimate, centre = kernel @ binned, np.maximum(corrected @ binned, 0.0)
    # variance = density times (integral of the squared kernel) times the mass of a run thereabouts
    local = np.divide(kernel @ squared, estimate, out=np.full(points, 1 / n), where=estimate > 1e-12 * estimate.max())
    c = stats.norm.isf((1 - confidence) / 2) ** 2 * local * (corrected**2).sum(axis=1) * step
    reach = np.sqrt(c * centre + c**2 / 4)
    y = backward(grid)
    lines = {"": estimate, "_lower": np.maximum(centre + c / 2 - reach, 0.0), "_upper": centre + c / 2 + reach}
    data = {"y": y} | {f"density{suffix}": line * slope(y) for suffix, line in lines.items()}
    return data | {
        "bandwidth": np.array(width),
        "density_mass": np.trapezoid(estimate, grid),
        "largest_tie": ties.max(),
    }


def _scale(low: float, high: float):
    """The map from the support to the line, its inverse, and its derivative."""
    if np.isinf(low) and np.isinf(high):
        return (lambda y: y), (lambda z: z), np.ones_like
    if np.isinf(high):
        return (lambda y: np.log(y - low)), (lambda z: low + np.exp(z)), (lambda y: 1 / (y - low))
    if np.isinf(low):
        return (lambda y: -np.log(high - y)), (lambda z: high - np.exp(-z)), (lambda y: 1 / (high - y))
    width = high - low
    return (
        lambda y: np.log((y - low) / (high - y)),
        lambda z: low + width * expit(z),
        lambda y: width / ((y - low) * (high - y)),
    )


def _kernels(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The Gaussian kernel, and the same less its estimated bias, which is of order four."""
    kernel = np.exp(-0.5 * u**2) / np.sqrt(2 * np.pi)
    return kernel, kernel * (3 - u**2) / 2


def _binned(place: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Masses shared between the two nodes beside each place."""
    left = np.minimum(place.astype(int), BINS - 2)
    right = place - left
    return np.bincount(left, mass * (1 - right), BINS) + np.bincount(left + 1, mass * right, BINS)


def _bandwidth(binned: np.ndarray, length: float, n: float) -> float | None:
    """Bandwidth of Botev, Grotowski and Kroese (2010, algorithm 1); None where the fixed point does not exist."""
    squares = np.arange(1.0, BINS) ** 2 * np.pi**2
    # of the derivative of order s: pi^2s k^2s times the squared coefficient of the cosine k
    terms = squares ** np.arange(STAGES + 1)[:, None] * (fft.dct(binned)[1:] / 2) ** 2

    def excess(t: float) -> float:
        """t less the best t for the roughness that is itself estimated with the best bandwidths, stage by stage."""
        rough = 2 * terms[STAGES] @ np.exp(-squares * t)
        for s in range(STAGES - 1, 1, -1):
            odd = np.prod(np.arange(1.0, 2 * s, 2)) / np.sqrt(2 * np.pi)
            best = (2 * (1 + 0.5 ** (s + 0.5)) / 3 * odd / (n * max(rough, TINY))) ** (2 / (3 + 2 * s))
            rough = 2 * terms[s] @ np.exp(-squares * best)
        return t - (2 * n * np.sqrt(np.pi) * max(rough, TINY)) ** -0.4

    trials = np.geomspace(1e-8, 0.1, 30)
    values = np.array([excess(t) for t in trials])
    rising = np.flatnonzero((values[:-1] < 0) & (values[1:] >= 0))
    if not rising.size:
        return None
    return length * np.sqrt(optimize.brentq(excess, trials[rising[0]], trials[rising[0] + 1], rtol=1e-6))
