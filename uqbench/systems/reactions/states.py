"""The states of a network that a box has to hold: counts of the species that no conservation law binds."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ...annotations import AnyArray, Values
from ...design import Design
from ...master_equation.box import Rates
from ...master_equation.conservation import Independent, conservation_laws, independent_species
from .network import Network


@dataclass(frozen=True, eq=False)
class States:
    """The independent species of a network, and how all counts follow from theirs.

    Args:
        network: whose states they are.
        laws: `(laws, species)`, sums that no reaction changes.
        independent: None where no law leaves out a species.
    """

    network: Network
    laws: Float[np.ndarray, "laws species"]
    independent: Independent | None

    @property
    def kept(self) -> tuple[int, ...]:
        """Places of the independent species among all."""
        return tuple(range(len(self.network.names))) if self.independent is None else self.independent.kept

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.network.names[k] for k in self.kept)

    @property
    def changes(self) -> np.ndarray:
        """`(reactions, independent species)`."""
        return self.network.changes if self.independent is None else self.independent.changes

    @property
    def largest(self) -> Float[np.ndarray, " independent"]:
        """Counts that no independent species can exceed; infinite where no law says one."""
        return np.full(len(self.kept), np.inf) if self.independent is None else np.array(self.independent.largest())

    def rates_from(self, theta: Values, design: Design) -> Rates:
        """`(t, counts of the independent species)` -> propensities; zero in states that do not exist."""
        rates = self.network.rates_from(theta, design)
        return rates if self.independent is None else self.independent.rates(rates)

    def counts(self, shape: tuple[int, ...]) -> Float[np.ndarray, "states species"]:
        """Counts of all species in every state of a box; in states that do not exist those of the start."""
        grid = [axis.ravel().astype(float) for axis in np.indices(shape)]
        if self.independent is None:
            return np.stack(grid, axis=-1)
        found = self.independent.offset + np.stack(grid, axis=-1) @ self.independent.matrix.T
        start = self.independent.offset + self.independent.matrix @ self.independent.start
        exists = np.all((found >= -1e-9) & (np.abs(found - np.rint(found)) < 1e-9), axis=1)
        return np.rint(np.where(exists[:, None], found, start))

    def reached(self, start: Float[Array, " species"]) -> Bool[Array, ""]:
        """Whether the sums that no reaction changes are those for which the states were made."""
        if self.independent is None:
            return jnp.asarray(True)
        made = self.independent.offset + self.independent.matrix @ self.independent.start
        return jnp.all(jnp.abs(self.laws @ (start - made)) < 1e-9)


def states_of(network: Network, starts: Sequence[AnyArray]) -> States:
    """The states reached from any of these starts `(species,)`: fewer where all have the same conserved sums."""
    laws = _laws(network)
    starts = [np.asarray(start, float) for start in starts]
    sums = [laws @ start for start in starts]
    whole = all(np.all((start >= 0) & (start == np.rint(start))) for start in starts)
    if not len(laws) or not whole or any(np.any(each != sums[0]) for each in sums):
        return States(network, laws, None)
    return States(network, laws, independent_species(network.changes, starts[0]))


@lru_cache(maxsize=64)
def _laws(network: Network) -> Float[np.ndarray, "laws species"]:
    laws = [[float(each) for each in law] for law in conservation_laws(network.changes)]
    return np.array(laws).reshape(-1, len(network.names))
