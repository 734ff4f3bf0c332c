"""Rate equations of a network: mass action, as if there were no fluctuations."""

from dataclasses import dataclass

from ...errors import InputError
from ...system import Inputs, Ode, State
from .large_volume import large_rates
from .network import Network


@dataclass(frozen=True)
class RateEquations:
    """Copy numbers that change at the propensities as they are written."""

    network: Network

    def rhs(self, t, y: State, p, inputs: Inputs) -> State:
        return self.network.driven(self.network.rates(t, y, p, inputs))


@dataclass(frozen=True)
class MassAction:
    """Concentrations in a large volume."""

    network: Network
    volume: str

    def initial(self, p, inputs: Inputs) -> State:
        if self.volume not in p and self.volume not in inputs:
            known = ", ".join(map(repr, (*p, *inputs)))
            finding = f"volume={self.volume!r} is neither a parameter nor an input; known are {known}."
            raise InputError("Reactions.ode", [finding])
        size = (p if self.volume in p else inputs)[self.volume]
        return {name: count / size for name, count in self.network.start(p, inputs).items()}

    def rhs(self, t, x: State, p, inputs: Inputs) -> State:
        def rates(y, p, inputs):
            found = self.network.written(t, y, p, inputs)
            return {name: found[name] for name in self.network.reactions}

        return self.network.driven(large_rates(rates, x, p, inputs, self.volume))


@dataclass(frozen=True)
class Approximation(Ode):
    """Equations that stand for the expected values of a network."""

    approximates = True


def rate_equations(network: Network, volume: str | None) -> Ode:
    """The equations of `Reactions.ode`."""
    if volume is None:
        return Approximation(network.start, RateEquations(network).rhs)
    mass_action = MassAction(network, volume)
    return Approximation(mass_action.initial, mass_action.rhs)
