"""Where tempering begins when modes are known: a mixture of the prior and of a normal density for each of them.

Of particles from the prior few or none may lie in a narrow mode, and how much belongs to it is decided by those few.
From a mixture as many begin in each mode, and the powers lead from it to the posterior: what the mixture has too much
of is weighed down (a defensive mixture, Hesterberg 1995, doi:10.1080/00401706.1995.10484303). A half is the prior, so
that modes that are not known are found as often as from it, and no weight is larger than twice that from the prior.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float
from scipy.special import ndtri_exp

from ..annotations import AnyArray
from ..likelihoods import Likelihood
from ..space import distribution_of

# The share of the prior, and how much larger the variances are than those of a mode.
OF_PRIOR, WIDER = 0.5, 1.5
# Coordinates further out are none of a number in double precision.
OUTERMOST = 8.0
# Least variance, of the prior's, for the square root of a covariance.
LEAST = 1e-14


class Reference(NamedTuple):
    """The mixture, in coordinates that are standard normal by the prior.

    Args:
        mean, root: of each mode, and the lower root of its covariance.
    """

    mean: Float[AnyArray, "modes size"]
    root: Float[AnyArray, "modes size size"]

    def sample(self, count: int, rng: np.random.Generator) -> Float[np.ndarray, "count size"]:
        """Independent draws."""
        z = rng.standard_normal((count, self.mean.shape[1]))
        of_mode = rng.uniform(size=count) >= OF_PRIOR
        mode = rng.integers(0, len(self.mean), count)
        moved = self.mean[mode] + np.einsum("nij,nj->ni", self.root[mode], z)
        return np.where(of_mode[:, None], moved, z)

    def log_ratio(self, z: Float[Array, "n size"]) -> Float[Array, " n"]:
        """Logarithm of its density, divided by that of the prior."""

        def of_mode(mean, root):
            away = solve_triangular(root, (z - mean).T, lower=True).T
            height = -0.5 * jnp.sum(away**2, axis=1) - jnp.sum(jnp.log(jnp.diagonal(root)))
            return height + 0.5 * jnp.sum(z**2, axis=1)

        each = jax.vmap(of_mode)(jnp.asarray(self.mean), jnp.asarray(self.root))
        mixed = jax.nn.logsumexp(each, axis=0) - jnp.log(len(self.mean))
        return jnp.logaddexp(jnp.log(OF_PRIOR), jnp.log(1 - OF_PRIOR) + mixed)


def reference_of(modes: Sequence[Float[np.ndarray, "n size"]]) -> Reference:
    """The mixture for draws of each mode, in its coordinates."""
    means, roots = [], []
    for draws in modes:
        size = draws.shape[1]
        covariance = WIDER * np.cov(draws.T).reshape(size, size)
        values, vectors = np.linalg.eigh(covariance)
        covariance = (vectors * np.maximum(values, LEAST)) @ vectors.T
        means.append(draws.mean(axis=0))
        roots.append(np.linalg.cholesky(covariance + LEAST * np.eye(size)))
    return Reference(np.stack(means), np.stack(roots))


def standard_normal(
    likelihood: Likelihood, theta: Mapping[str, Float[np.ndarray, " n"]]
) -> Float[np.ndarray, "n size"]:
    """Epistemic parameters in coordinates that are standard normal by the prior, in the order of the space."""
    space = likelihood.study.model.space
    count = len(next(iter(theta.values())))
    known = {name: np.broadcast_to(value, (count,)) for name, value in (space.nominal() | dict(theta)).items()}
    columns = []
    for name in space.epistemic:
        dist = distribution_of(space, name)
        below = np.asarray(dist.logcdf(known[name], known), float)
        above = np.asarray(dist.logsf(known[name], known), float)
        columns.append(np.where(below < above, ndtri_exp(np.minimum(below, 0.0)), -ndtri_exp(np.minimum(above, 0.0))))
    return np.clip(np.nan_to_num(np.stack(columns, axis=1)), -OUTERMOST, OUTERMOST)
