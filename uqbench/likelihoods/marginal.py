"""The likelihood of what all units have in common, the parameters of each unit integrated out.

For each unit the integral over its standardised latents z is that of adaptive Gauss-Hermite quadrature: nodes around
the mode, scaled by the curvature there (Pinheiro & Bates 1995, doi:10.1080/10618600.1995.10474663), and with many
latents that of points on spheres (Genz & Monahan 1998, doi:10.1137/S1064827595286803). As the integral does not depend
on where the nodes are, they are constants to its gradient, which is then the mean of those at the nodes, weighted by
how probable each is given the data (Fisher's identity); the information follows likewise (Louis 1982,
doi:10.1111/j.2517-6161.1982.tb01203.x), with the expected information in place of the second derivatives. First
derivatives of the model are enough for both.
"""

from dataclasses import dataclass
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float
from scipy.special import roots_genlaguerre

from ..errors import InputError
from ..space import Space, Theta
from ..study import Study
from .choice import likelihood_of
from .independent import Independent
from .latents import with_units
from .protocol import Likelihood, Scores, whole_scores
from .roots import root_of_difference

# Nodes for each latent, by how many latents there are, and how many more there are in a finer integral.
NODES, MORE = {1: 9, 2: 5, 3: 3, 4: 3}, 2
# Beyond, spheres and rotations of the points on them; of a finer integral.
SPHERES, FINER_SPHERES = (2, 2), (3, 6)
# Least share of the information given the units' own parameters that is left without them, see there.
LEAST = 1e-3
# Steps to the modes, how close they come, and the first damping of a step.
STEPS, CLOSE, DAMPING = 30, 1e-4, 1e-2


@dataclass(frozen=True, eq=False)
class Marginal(Likelihood):
    """The density of a table given the epistemic parameters alone; made by `Marginal.of(study)`.

    Args:
        conditional: the likelihood given the parameters of every unit, too.
        finer: whether with more nodes than usual.
    """

    conditional: Independent
    finer: bool = False

    kind = "an integral over the parameters of each unit"
    term = "unit"
    # of the quadrature, which the gradient does not share
    slack = 0.02
    capabilities = frozenset({"gradient", "information"})

    @classmethod
    def of(cls, study: Study, finer: bool = False) -> "Marginal":
        """That of a study whose rows are independent given the parameters of the units.

        Args:
            finer: with more nodes than usual, to see what they change.

        Raises:
            InputError: where rows depend on one another otherwise, or the model has no gradient.
        """
        conditional = likelihood_of(study)
        conditional.require("information", f"the likelihood of study {study.name!r} without its units' parameters")
        if not isinstance(conditional, Independent):
            raise InputError(
                f"study {study.name!r}",
                [f"parameters of units cannot be integrated out of {conditional.kind}; make them epistemic."],
            )
        return cls(study, conditional.observations, conditional, finer)

    def log_density(self, theta: Theta, key=None, values=None) -> Float[Array, ""]:
        return jnp.sum(self.by_unit(theta, values))

    def by_unit(self, theta: Theta, values=None) -> Float[Array, " units"]:
        """Log density of each unit's data."""
        z, weights = self._nodes(jax.lax.stop_gradient(theta), values)
        space = self.study.model.space
        rows = jax.vmap(lambda z: self.conditional.row_densities(with_units(space, theta, z), values))(z)
        return logsumexp(weights + self._of_units(rows), axis=0)

    def scores(self, place, x: Float[Array, " k"], values=None) -> Scores:
        theta = jax.lax.stop_gradient(place(x))
        z, weights = self._nodes(theta, values)
        # (nodes, rows, ...) each
        rows = jax.vmap(lambda z: self._given(theta, z, x, place, values))(z)
        terms = weights + self._of_units(rows.density)
        density = logsumexp(terms, axis=0)
        share = jnp.exp(terms - density)
        gradients = self._of_units(rows.gradient)
        gradient = jnp.einsum("nu,nuk->uk", share, gradients)
        whole = jnp.einsum("nr,nrak,nral->kl", share[:, self.conditional.unit_of_rows], rows.root, rows.root)
        apart = gradients - gradient
        lost = jnp.einsum("nu,nuk,nul->kl", share, apart, apart)
        root, total = root_of_difference(whole, lost, LEAST), gradient.sum(axis=0)
        residual = jnp.linalg.lstsq(root.T, total, rcond=1e-10)[0]
        return whole_scores(Scores(jnp.sum(density), total, residual, root))

    def information(self, place, x: Float[Array, " k"]) -> Float[Array, "units k k"]:
        root = self.scores(place, x).root
        return (root.T @ root)[None]

    def results(self, theta: Theta, key=None):
        return self.conditional.results(with_units(self.study.model.space, theta, self._centre))

    def density_findings(self, theta: Theta, key=None) -> list[str]:
        return self.conditional.density_findings(with_units(self.study.model.space, theta, self._centre))

    def information_findings(self, theta: Theta) -> list[str]:
        return self.conditional.information_findings(with_units(self.study.model.space, theta, self._centre))

    @property
    def _centre(self) -> Float[Array, "units aleatory"]:
        return jnp.zeros((self.observations.units, len(self.study.model.space.aleatory)))

    def _given(self, theta: Theta, z, x, place, values):
        """Row scores by x at latents z `(units, aleatory)`; `place` gives the epistemic parameters at x."""
        space = self.study.model.space

        def placed(x):
            return with_units(space, theta | _epistemic(space, place(x)), z)

        return self.conditional.row_scores(placed, x, values)

    def _of_units(self, values: Float[Array, "nodes rows ..."]) -> Float[Array, "nodes units ..."]:
        """Sums over the rows of each unit."""
        unit, units = jnp.asarray(self.conditional.unit_of_rows), self.observations.units
        return jax.vmap(lambda each: jax.ops.segment_sum(each, unit, units))(values)

    def _nodes(self, theta: Theta, values) -> tuple[Float[Array, "nodes units aleatory"], Float[Array, "nodes units"]]:
        """Where the latents of each unit are taken, and the logarithms of their weights, the prior of z in them."""
        mode, curvature = self._modes(theta, values)
        points, weights = grid(mode.shape[-1], self.finer)
        lower = jnp.linalg.cholesky(curvature)
        # z = mode + L^-T u, so that u has unit covariance where the integrand is normal
        spread = jax.vmap(lambda lower: jax.scipy.linalg.solve_triangular(lower.T, points.T, lower=False).T)(lower)
        z = mode + jnp.swapaxes(spread, 0, 1)
        volume = -jnp.sum(jnp.log(jnp.diagonal(lower, axis1=-2, axis2=-1)), axis=-1)
        return z, jnp.asarray(weights)[:, None] + volume + 0.5 * jnp.sum(points**2, -1)[:, None] - 0.5 * jnp.sum(
            z**2, axis=-1
        )

    def _modes(
        self, theta: Theta, values
    ) -> tuple[Float[Array, "units aleatory"], Float[Array, "units aleatory aleatory"]]:
        """Most probable latents of each unit given its data, and the curvature of the log density there."""
        space, count = self.study.model.space, len(self.study.model.space.aleatory)

        def joint(z):
            """Log density of each unit's data and latents, its gradient and its curvature by the latents."""
            # one shift for all units: each row sees that of its own
            rows = self.conditional.row_scores(
                lambda shift: with_units(space, theta, z + shift), jnp.zeros(count), values
            )
            density, gradient = (self._of_units(each[None])[0] for each in (rows.density, rows.gradient))
            told = self._of_units(jnp.einsum("rak,ral->rkl", rows.root, rows.root)[None])[0]
            return density - 0.5 * jnp.sum(z**2, axis=-1), gradient - z, told + jnp.eye(count)

        def step(state):
            z, (value, gradient, curvature), damping, _, number = state
            change = jnp.linalg.solve(curvature + damping[:, None, None] * jnp.eye(count), gradient[..., None])[..., 0]
            tried = z + change
            found = joint(tried)
            better = found[0] >= value - 1e-9 * jnp.abs(value)
            chosen = jax.tree.map(
                lambda new, old: jnp.where(better.reshape(-1, *(1,) * (new.ndim - 1)), new, old), found, state[1]
            )
            # a step that was refused says nothing of how far the mode is, unless it was as short
            moved = jnp.max(jnp.abs(change))
            return (
                jnp.where(better[:, None], tried, z),
                chosen,
                jnp.where(better, 0.1 * damping, 10.0 * jnp.maximum(damping, DAMPING)),
                moved,
                number + 1,
            )

        centre = self._centre
        state = (centre, joint(centre), jnp.full(len(centre), DAMPING), jnp.inf, 0)
        state = jax.lax.while_loop(lambda state: (state[3] > CLOSE) & (state[4] < STEPS), step, state)
        return state[0], state[1][2]


def grid(dimensions: int, finer: bool = False) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, " n"]]:
    """Nodes for the standard normal distribution in `dimensions`, and logarithms of their weights.

    Whatever the dimensions, mean and covariance are exact.
    """
    if dimensions not in NODES:
        return spheres(dimensions, *(FINER_SPHERES if finer else SPHERES))
    nodes = NODES[dimensions] + (MORE if finer else 0)
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    every = np.array(list(product(range(nodes), repeat=dimensions)))
    return points[every], np.sum(np.log(weights / weights.sum())[every], axis=1)


def spheres(dimensions: int, radii: int, rotations: int) -> tuple[np.ndarray, np.ndarray]:
    """The same from both ends of orthogonal axes, in several rotations, on spheres of a Gauss rule for the radius."""
    half_squares, weights = roots_genlaguerre(radii, dimensions / 2 - 1)
    rng = np.random.default_rng(0)
    axes = [np.eye(dimensions)]
    axes += [np.linalg.qr(rng.standard_normal((dimensions, dimensions)))[0] for _ in range(rotations - 1)]
    directions = np.concatenate([sign * each for each in axes for sign in (1.0, -1.0)])
    points = np.sqrt(2 * half_squares)[:, None, None] * directions
    share = np.repeat(np.log(weights / weights.sum() / len(directions)), len(directions))
    return points.reshape(-1, dimensions), share


def _epistemic(space: Space, theta: Theta) -> Theta:
    return {name: theta[name] for name in space.epistemic}
