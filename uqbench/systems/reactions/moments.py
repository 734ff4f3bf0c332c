"""Means and covariances of copy numbers as ordinary differential equations.

With m the means, C the covariances, S the stoichiometry and a the propensities, exactly

    dm/dt = S E[a],    dC/dt = S Cov(a, x) + its transpose + S diag(E[a]) S',

and of a propensity of second degree, with gradient g and Hessian H at the means and third central moments T,

    E[a] = a(m) + H:C / 2,    Cov(a, x) = C g + H:T / 2.

Linear noise leaves H and T out (van Kampen 1961, doi:10.1139/p61-056; Elf & Ehrenberg 2003, doi:10.1101/gr.1196503);
the closures of T are those of Schnoerr, Sanguinetti & Grima (2015, doi:10.1063/1.4934990).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...errors import InputError
from ...system import Inputs, Ode, State
from .network import Network
from .rate_equations import Approximation, rate_equations

Third = Callable[[Float[Array, " n"], Float[Array, "n n"]], Float[Array, "n n n"]]


def _normal(m, c):
    return jnp.zeros((len(m),) * 3)


def _lognormal(m, c):
    # of jointly lognormal numbers E[xyz] = E[xy] E[xz] E[yz] / (E[x] E[y] E[z])
    second = c + m[:, None] * m
    product = m[:, None, None] * m[:, None] * m
    raw = second[:, :, None] * second[:, None, :] * second[None, :, :] / jnp.where(product != 0, product, 1.0)
    mixed = m[:, None, None] * c + m[:, None] * c[:, None, :] + m * c[:, :, None]
    return raw - mixed - m[:, None, None] * m[:, None] * m


def _poisson(m, c):
    return jnp.zeros((len(m),) * 3).at[(jnp.arange(len(m)),) * 3].set(m)


CLOSURES: dict[str, Third] = {"normal": _normal, "lognormal": _lognormal, "poisson": _poisson}


@dataclass(frozen=True)
class SecondOrder:
    """Means and covariances as an `Ode`.

    Args:
        network: whose copy numbers these are.
        third: closure of the third central moments; None for linear noise, which leaves out what is beyond the
            gradients of the propensities.
    """

    network: Network
    third: Third | None

    @property
    def pairs(self) -> dict[str, tuple[int, int]]:
        """Name of a variance or covariance -> whose it is."""
        return moment_pairs(self.network.names)

    def initial(self, p, inputs: Inputs) -> State:
        return {**self.network.start(p, inputs), **{name: jnp.zeros(()) for name in self.pairs}}

    def rhs(self, t, y: State, p, inputs: Inputs) -> State:
        names, changes = self.network.names, self.network.changes
        m = jnp.stack([jnp.asarray(y[name]) for name in names])
        c = jnp.zeros((len(names),) * 2)
        for name, (i, j) in self.pairs.items():
            c = c.at[i, j].set(y[name]).at[j, i].set(y[name])

        def rates(counts):
            found = self.network.rates(t, dict(zip(names, counts, strict=True)), p, inputs)
            return jnp.stack([found[name] for name in self.network.reactions])

        mean, across = self._moved(rates, m, c)
        drift, spread = changes.T @ mean, changes.T @ across
        spread = spread + spread.T + (changes.T * mean) @ changes
        return {
            **{name: drift[k] for k, name in enumerate(names)},
            **{name: spread[i, j] for name, (i, j) in self.pairs.items()},
        }

    def _moved(self, rates: Callable, m: Float[Array, " n"], c: Float[Array, "n n"]):
        """E[a] `(reactions,)` and Cov(a, x) `(reactions, n)`."""
        across = jax.jacfwd(rates)(m) @ c
        if self.third is None:
            return rates(m), across
        hessian = jax.hessian(rates)(m)
        mean = rates(m) + 0.5 * jnp.einsum("rij,ij->r", hessian, c)
        return mean, across + 0.5 * jnp.einsum("rij,ijk->rk", hessian, self.third(m, c))


def moment_equations(network: Network, order: int, closure: str) -> Ode:
    """The equations of `Reactions.moments`."""
    findings = [] if order in (1, 2) else [f"order is {order!r}; moments of order 1 and 2 are there."]
    if closure not in CLOSURES:
        findings.append(f"closure is {closure!r}; give {', '.join(map(repr, CLOSURES))}.")
    findings += name_findings(network) if order == 2 else []
    if findings:
        raise InputError("Reactions.moments", findings)
    if order == 1:
        return rate_equations(network, None)
    equations = SecondOrder(network, CLOSURES[closure])
    return Approximation(equations.initial, equations.rhs)


def linear_noise(network: Network) -> Ode:
    """The equations of `Reactions.linear_noise`."""
    if findings := name_findings(network):
        raise InputError("Reactions.linear_noise", findings)
    equations = SecondOrder(network, None)
    return Approximation(equations.initial, equations.rhs)


def moment_pairs(names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Name of a variance or covariance -> the places of its species among `names`."""
    chosen = combinations_with_replacement(range(len(names)), 2)
    return {moment_name(names[i], names[j]): (i, j) for i, j in chosen}


def moment_name(first: str, second: str) -> str:
    """Of a variance or a covariance, the species in the order of the network."""
    return f"var_{first}" if first == second else f"cov_{first}_{second}"


def name_findings(network: Network) -> list[str]:
    """Names of moments that would be those of others."""
    pairs = [moment_name(*pair) for pair in combinations_with_replacement(network.names, 2)]
    doubled = {name for name in pairs if name in network.names or pairs.count(name) > 1}
    return [f"{name!r} would be the name of two moments or species; rename a species." for name in sorted(doubled)]
