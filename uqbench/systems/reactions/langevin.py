"""The chemical Langevin equation of a network: drift and noise of every reaction from its propensity."""

from dataclasses import dataclass

import jax.numpy as jnp

from ...system import Inputs, State
from ..sde import Sde
from .network import Network


@dataclass(frozen=True)
class Langevin:
    """Each reaction moves its species by its rate and, with a Wiener process of its own, by the root of it."""

    network: Network

    def _rates(self, t, y: State, p, inputs: Inputs) -> dict:
        return {name: jnp.maximum(rate, 0.0) for name, rate in self.network.rates(t, y, p, inputs).items()}

    def drift(self, t, y: State, p, inputs: Inputs) -> State:
        return self.network.driven(self._rates(t, y, p, inputs))

    def diffusion(self, t, y: State, p, inputs: Inputs) -> dict[str, State]:
        rates = self._rates(t, y, p, inputs)
        # the root of a reaction that does not go has no slope
        roots = {
            name: jnp.where(rate > 0, jnp.sqrt(jnp.where(rate > 0, rate, 1.0)), 0.0) for name, rate in rates.items()
        }
        return {
            reaction: {name: change * roots[reaction] for name, change in row.items() if change}
            for reaction, row in self.network.stoichiometry.items()
        }


def langevin(network: Network, step: float | None, tolerance: float) -> Sde:
    """The equation of `Reactions.langevin`."""
    equation = Langevin(network)
    return Sde(network.start, equation.drift, equation.diffusion, step, tolerance)
