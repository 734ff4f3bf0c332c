"""The likelihood of what all units have in common, the parameters of each unit integrated out.

For each unit the integral over its standardised latents z is that of adaptive Gauss-Hermite quadrature: nodes around
the mode, scaled by the curvature there (Pinheiro & Bates 1995, doi:10.1080/10618600.1995.10474663), and with many
latents that of points on spheres (Genz & Monahan 1998, doi:10.1137/S1064827595286803). They give the mean and the
covariance of the latents given the data, and around these more nodes, along the axes of that covariance, give the
density (Naylor & Smith 1982, doi:10.2307/2347995): solves without sensitivities cost little, and the profiles of a
density need it far more exactly than its gradient, whose errors move a maximum to second order only.

As the integral does not depend on where the nodes are, they are constants to its gradient, which is then the mean of
those at the nodes, weighted by how probable each is given the data (Fisher's identity). The information follows
likewise (Louis 1982, doi:10.1111/j.2517-6161.1982.tb01203.x), with the expected information in place of the second
derivatives. First derivatives of the model are enough for both.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

from ..errors import InputError
from ..space import Space, Theta
from ..study import Study
from .choice import likelihood_of
from .independent import Independent
from .latents import with_units
from .modes import modes_of_units
from .protocol import Likelihood, Scores, whole_scores
from .quadrature import Nodes, Placement, grid, shares
from .roots import root_of_difference

# Where solves fail the density is taken as zero. As the nodes of one unit where they do may have this weight, by the
# normal distribution that they are nodes of, the integral is then off by about so much, and otherwise has failed.
NEGLIGIBLE = 1e-3
# Of the information given the units' own parameters at least this share is left in every direction of the root by
# which an ascent steps: this damps its steps where nothing is known, and is no information.
DAMPED = 1e-3


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
        """Log density of each unit's data; -inf where too many solves fail, see `unsolved`."""
        return self._by_unit(theta, values)[0]

    def unsolved(self, theta: Theta, values=None) -> Float[Array, " units"]:
        """The weight of the nodes of each unit at which a solve fails."""
        return self._by_unit(theta, values)[1]

    def _by_unit(self, theta: Theta, values) -> tuple[Float[Array, " units"], Float[Array, " units"]]:
        return self._integral(theta, values, self._around(jax.lax.stop_gradient(theta), values))

    def scores(self, place, x: Float[Array, " k"], values=None) -> Scores:
        theta = jax.lax.stop_gradient(place(x))
        around = self._around(theta, values)
        gradient, whole, lost = self._louis(theta, around, place, x, values)
        density, _ = self._integral(theta, values, around)
        root, total = root_of_difference(whole, lost, DAMPED), gradient.sum(axis=0)
        residual = jnp.linalg.lstsq(root.T, total, rcond=1e-10)[0]
        return whole_scores(Scores(jnp.sum(density), total, residual, root))

    def information(self, place, x: Float[Array, " k"]) -> Float[Array, "units k k"]:
        """That of all units together: what is left of the one given their latents, nothing where nothing is."""
        theta = jax.lax.stop_gradient(place(x))
        _, whole, lost = self._louis(theta, self._around(theta, None), place, x, None)
        root = root_of_difference(whole, lost, 0.0)
        return (root.T @ root)[None]

    def results(self, theta: Theta, key=None):
        return self.conditional.results(self._with(theta, self._centre))

    def density_findings(self, theta: Theta, key=None) -> list[str]:
        found = self.conditional.density_findings(self._with(theta, self._centre))
        if found:
            return found
        unsolved = np.asarray(_unsolved(self, theta))
        return [
            f"of the parameters that unit {unit!r} may have given its data {share:.1%} cannot be integrated over: the "
            "solves fail there; narrow the variability, or give the solver more steps."
            for unit, share in zip(self.study.units, unsolved, strict=True)
            if share > NEGLIGIBLE
        ]

    def information_findings(self, theta: Theta) -> list[str]:
        return self.conditional.information_findings(self._with(theta, self._centre))

    @property
    def _centre(self) -> Float[Array, "units aleatory"]:
        return jnp.zeros((self.observations.units, len(self.study.model.space.aleatory)))

    def _given(self, theta: Theta, z, x, place, values):
        """Row scores by x at latents z `(units, aleatory)`; `place` gives the epistemic parameters at x."""
        space = self.study.model.space

        def placed(x):
            return with_units(space, self.observations.of_units(theta | _epistemic(space, place(x))), z)

        return self.conditional.row_scores(placed, x, values)

    def _of_units(self, values: Float[Array, "nodes rows ..."]) -> Float[Array, "nodes units ..."]:
        """Sums over the rows of each unit."""
        return jax.vmap(self.conditional.sums_by_unit)(values)

    def _with(self, theta: Theta, z: Float[Array, "units aleatory"]) -> Theta:
        return with_units(self.study.model.space, self.observations.of_units(theta), z)

    def _louis(self, theta: Theta, around: Placement, place, x, values):
        """The gradient of each unit `(units, k)`, the information given the latents, and what of it is lost without
        them, `(k, k)` each."""
        nodes = Nodes.at(*around, *grid(around[0].shape[-1], self.finer))
        # (nodes, rows, ...) each
        rows = jax.vmap(lambda z: self._given(theta, z, x, place, values))(nodes.z)
        share = shares(nodes.log_weight + self._of_units(rows.density))
        gradients = self._of_units(rows.gradient)
        gradient = jnp.einsum("nu,nuk->uk", share, gradients)
        whole = jnp.einsum("nr,nrak,nral->kl", share[:, self.conditional.unit_of_rows], rows.root, rows.root)
        apart = gradients - gradient
        return gradient, whole, jnp.einsum("nu,nuk,nul->kl", share, apart, apart)

    def _around(self, theta: Theta, values) -> Placement:
        """Where nodes go: by the moments of the latents given the data, from nodes around the mode."""
        found = modes_of_units(self.conditional, theta, values)
        mode = found.z
        lower = jnp.linalg.cholesky(found.information + jnp.eye(mode.shape[-1]))
        # z = mode + L^-T u, so that u has unit covariance where the integrand is normal
        identity = jnp.eye(mode.shape[-1])
        factor = jax.vmap(lambda lower: jax.scipy.linalg.solve_triangular(lower.T, identity, lower=False))(lower)
        nodes = Nodes.at(mode, factor, *grid(mode.shape[-1], self.finer))
        rows = jax.vmap(lambda z: self.conditional.row_densities(self._with(theta, z), values)[0])(nodes.z)
        return nodes.around(nodes.log_weight + self._of_units(rows))

    def _integral(
        self, theta: Theta, values, around: Placement
    ) -> tuple[Float[Array, " units"], Float[Array, " units"]]:
        """Log density of each unit's data, and the weight of the nodes at which a solve fails."""
        points, weights = grid(around[0].shape[-1], self.finer, density=True)
        nodes = Nodes.at(*around, points, weights)
        rows, solved = jax.vmap(lambda z: self.conditional.row_densities(self._with(theta, z), values))(nodes.z)
        fails = self._of_units(jnp.where(solved, 0.0, 1.0)) > 0
        lost = jnp.sum(jnp.where(fails, jnp.exp(weights)[:, None], 0.0), axis=0)
        density = logsumexp(nodes.log_weight + self._of_units(rows), axis=0)
        return jnp.where(lost > NEGLIGIBLE, -jnp.inf, density), lost


def _epistemic(space: Space, theta: Theta) -> Theta:
    return {name: theta[name] for name in space.epistemic}


@partial(jax.jit, static_argnames="likelihood")
def _unsolved(likelihood: Marginal, theta: Theta) -> Float[Array, " units"]:
    return likelihood.unsolved(theta)
