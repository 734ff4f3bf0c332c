"""What the priors say by themselves, on the scale of a Fisher information: spread, and information.

The information of a prior density p(x) is that on a shift of it, E[(d log p / dx)^2] (the second term of the van Trees
inequality: Gill & Levit 1995, doi:10.2307/3318681). On the logarithmic scale p is the density of log x. Expectations
are integrals over a standard normal z with x = F^-1(Phi(z)), by the trapezoidal rule, which converges faster than any
power of the step for what is smooth in z.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr

from ..distributions import Distribution
from ..space import Space, Theta, distribution_of
from .sensitivities import Scale
from .spectrum import CANCELLED, singular_values

# Beyond the last node probabilities round to 1. None is at the median, where some densities have a corner.
NODES = np.linspace(-12.0, 8.0, 1600)
WEIGHTS = np.exp(-(NODES**2) / 2) / np.sqrt(2 * np.pi) * (NODES[1] - NODES[0])
# An integrand that has not fallen to this share of the integral at the ends has none that could be trusted.
FALLEN = 2e-4
# A density that is more than this at an end, in units of 1 / interquartile range, jumps there.
JUMP = 1e-6

INFINITE = "the information of its prior {dist!r} is infinite, or not resolved, on this scale"
JUMPS = "the density of its prior {dist!r} jumps at a bound on this scale, which is not counted"
COUNTS = "its prior {dist!r} is a distribution of counts, which has no score"


@dataclass(frozen=True)
class PriorInformation:
    """Information of each prior on the scale, and what is to be said of it.

    Args:
        information: `(k,)`, in 1 / (scale x scale); NaN where it is infinite or not resolved.
        note: `(k,)`, empty where there is nothing to say.
    """

    information: np.ndarray
    note: tuple[str, ...]


def prior_standard_deviations(space: Space, scale: Scale) -> np.ndarray:
    """`(k,)` on the scale, given the values of parameters that a prior names.

    inf where there is none, NaN where it is not resolved or the prior is impossible at these values.
    """
    found = []
    for name, logarithmic in zip(scale.names, scale.logarithmic, strict=True):
        dist = distribution_of(space, name)
        if logarithmic:
            with np.errstate(divide="ignore"):
                logs = np.log(_quantiles(dist, scale.known))
            variance = expectation((logs - expectation(logs)) ** 2)
        else:
            variance = float(dist.variance(scale.known))
            possible = np.isfinite(float(dist.ppf(0.5, scale.known)))
            variance = np.inf if possible and not np.isfinite(variance) else variance
        found.append(np.sqrt(variance))
    return np.array(found)


def prior_information(space: Space, scale: Scale) -> PriorInformation:
    """Information of every prior by itself, given the values of parameters that it names.

    1 / sigma^2 for Normal, and for LogNormal in logarithms; 0 for Uniform, and for LogUniform in logarithms, whose
    densities only jump.
    """
    each = [
        _information(distribution_of(space, name), scale.known, bool(logarithmic))
        for name, logarithmic in zip(scale.names, scale.logarithmic, strict=True)
    ]
    return PriorInformation(np.array([value for value, _ in each]), tuple(note for _, note in each))


def shrinkage(root: np.ndarray, prior_sd: np.ndarray) -> np.ndarray:
    """1 minus the ratio `(k,)` of posterior to prior variance, with normal priors of this spread.

    The variances are those of a linear model with sensitivities J: 1 where the data say all, 0 where they say nothing.

    Args:
        root: J, `(rows, k)`. prior_sd: `(k,)`; inf where there is none, NaN where it is not known, which counts as
            none for the others.
    """
    with np.errstate(invalid="ignore"):
        ratio = posterior_variance(root, np.nan_to_num(1.0 / prior_sd**2)) / prior_sd**2
    return np.clip(1.0 - ratio, 0.0, 1.0)


def posterior_variance(root: np.ndarray, information: np.ndarray) -> np.ndarray:
    """Diagonal `(k,)` of (J'J + diag(information))^-1; inf where neither says anything of a parameter.

    Args:
        root: J, `(rows, k)`. information: `(k,)` of the priors, not negative.
    """
    stacked = np.vstack([root, np.diag(np.sqrt(information))])
    effect = np.linalg.norm(stacked, axis=0)
    inverse = np.where(effect > 0, 1.0 / np.where(effect > 0, effect, 1.0), 0.0)
    singular, vectors = singular_values(stacked * inverse)
    kept = singular > CANCELLED * singular[0]
    lost = np.any(np.abs(vectors[~kept]) > CANCELLED, axis=0) | (effect == 0)
    variance = (vectors[kept] ** 2).T @ (1.0 / singular[kept] ** 2) * inverse**2
    return np.where(lost, np.inf, variance)


def expectation(values: np.ndarray) -> float:
    """Mean over a distribution of values at its quantiles of `NODES`; NaN where there is none, or none resolved."""
    terms = values * WEIGHTS
    total = float(np.sum(terms))
    ends = max(abs(terms[0]), abs(terms[-1])) / (NODES[1] - NODES[0])
    return total if np.isfinite(total) and ends <= FALLEN * np.sum(np.abs(terms)) else float("nan")


def _information(dist: Distribution, known: Theta, logarithmic: bool) -> tuple[float, str]:
    if dist.discrete:
        return float("nan"), COUNTS.format(dist=dist)
    x = _quantiles(dist, known)
    score = np.asarray(jax.vmap(jax.grad(lambda x: dist.logpdf(x, known)))(jnp.asarray(x)))
    density = np.exp(np.asarray(dist.logpdf(x, known)))
    place = x
    if logarithmic:
        with np.errstate(divide="ignore"):
            score, density, place = x * score + 1.0, x * density, np.log(x)
    value = expectation(score**2)
    if np.isnan(value):
        return value, INFINITE.format(dist=dist)
    lower, upper = np.interp([-0.6745, 0.6745], NODES, place)
    jumps = max(density[0], density[-1]) * (upper - lower) > JUMP
    return value, JUMPS.format(dist=dist) if jumps else ""


def _quantiles(dist: Distribution, known: Theta) -> np.ndarray:
    return np.asarray(dist.ppf(ndtr(jnp.asarray(NODES)), known))
