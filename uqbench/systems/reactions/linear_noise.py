"""Linear noise over an interval from any state: what a filter needs between two observations.

With the rate equations m' = f(t, m), their Jacobian A and the covariance D of what reactions change per time unit, the
fluctuations around m(t) follow a linear stochastic differential equation. From a state x near m at the start of an
interval it leads to m + F (x - m_start) + e at the end, with e of mean 0 and covariance V, where

    F' = A F from F = 1,    V' = A V + V A' + D from V = 0

(Komorowski, Finkenstaedt, Harper & Rand 2009, doi:10.1186/1471-2105-10-343). f, A and D are read from the equations of
means and covariances themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...annotations import Values
from ...system import Inputs, Ode, State
from ..protocol import names_used
from .moments import moment_pairs

# What an `Ode` may have that changes its states elsewhere than in the right-hand side.
OTHERS = ("events", "delays", "algebraic", "doses", "start")


@dataclass(frozen=True)
class Fluctuations:
    """Means and covariances of species as an `Ode`.

    Args:
        ode: its states are called as those of `Reactions.linear_noise`.
        species: in the order of the states.
    """

    ode: Ode
    species: tuple[str, ...]

    @classmethod
    def of(cls, system, theta: Values, inputs: Inputs) -> "Fluctuations | None":
        """Those of a system; None where its states are anything else."""
        if not isinstance(system, Ode):
            return None
        states = tuple(system.initial(theta, inputs))
        species = tuple(name for name in states if f"var_{name}" in states)
        return cls(system, species) if species and {*states} == {*species, *moment_pairs(species)} else None

    def findings(self, theta: Values, t, inputs: Inputs) -> list[str]:
        """Why the equations are not those of linear noise; empty where they are."""
        findings = [
            f"its Ode has {name}, which the filter does not follow." for name in OTHERS if getattr(self.ode, name)
        ]
        y = {name: jnp.ones(()) for name in (*self.species, *moment_pairs(self.species))}

        def means(y):
            rates = self.ode.rhs(t, y, theta, inputs)
            return [rates[name] for name in self.species]

        if moving := set(names_used(jax.make_jaxpr(means)(y), tuple(y))) - {*self.species}:
            findings.append(
                f"the means move with {', '.join(sorted(moving))}, as in a closure of moments; "
                "give the model `Reactions.linear_noise()`."
            )
        return findings


@dataclass(frozen=True)
class Interval:
    """Mean, F and V over an interval as an `Ode` whose start is a set of parameters.

    Args:
        fluctuations: whose they are.
        prefix: with which no name of a parameter begins; states and starts do.
    """

    fluctuations: Fluctuations
    prefix: str

    @classmethod
    def of(cls, fluctuations: Fluctuations, taken: Sequence[str]) -> "Interval":
        """One whose names are none of those `taken`."""
        prefix = "interval_"
        while any(name.startswith(prefix) for name in taken):
            prefix = f"x{prefix}"
        return cls(fluctuations, prefix)

    @property
    def ode(self) -> Ode:
        return self.fluctuations.ode

    @property
    def species(self) -> tuple[str, ...]:
        return self.fluctuations.species

    @property
    def starts(self) -> tuple[str, ...]:
        """Names of the parameters at which the means start."""
        return tuple(f"{self.prefix}start_{k}" for k in range(len(self.species)))

    @property
    def states(self) -> tuple[str, ...]:
        """In the order of `unpacked`."""
        return (*self._means, *self._spread, *self._propagator)

    @property
    def _means(self) -> tuple[str, ...]:
        return tuple(f"{self.prefix}mean_{k}" for k in range(len(self.species)))

    @property
    def _spread(self) -> dict[str, tuple[int, int]]:
        return {f"{self.prefix}spread_{i}_{j}": (i, j) for i, j in moment_pairs(self.species).values()}

    @property
    def _propagator(self) -> dict[str, tuple[int, int]]:
        places = range(len(self.species))
        return {f"{self.prefix}propagator_{i}_{j}": (i, j) for i in places for j in places}

    @property
    def equations(self) -> Ode:
        """To the tolerance of the equations that they are read from."""
        atol = None if isinstance(self.ode.atol, Mapping) else self.ode.atol
        return replace(self.ode, initial=self.initial, rhs=self.rhs, atol=atol)

    def initial(self, p, inputs: Inputs) -> State:
        start = dict(zip(self._means, (p[name] for name in self.starts), strict=True))
        unit = {name: jnp.asarray(float(i == j)) for name, (i, j) in self._propagator.items()}
        return {**start, **dict.fromkeys(self._spread, jnp.zeros(())), **unit}

    def rhs(self, t, y: State, p, inputs: Inputs) -> State:
        mean, spread, propagator = self.unpacked(jnp.stack([jnp.asarray(y[name]) for name in self.states]))
        pairs = moment_pairs(self.species)

        def rates(mean):
            y = {**dict(zip(self.species, mean, strict=True)), **dict.fromkeys(pairs, jnp.zeros(()))}
            return self.ode.rhs(t, y, p, inputs)

        def drift(mean):
            found = rates(mean)
            return jnp.stack([found[name] for name in self.species])

        # without covariances theirs move at the rate D
        now, jacobian = rates(mean), jax.jacfwd(drift)(mean)
        moved, carried = jacobian @ spread, jacobian @ propagator
        return {
            **{name: now[species] for name, species in zip(self._means, self.species, strict=True)},
            **{
                name: moved[i, j] + moved[j, i] + now[pair]
                for (name, (i, j)), pair in zip(self._spread.items(), pairs, strict=True)
            },
            **{name: carried[i, j] for name, (i, j) in self._propagator.items()},
        }

    def observe(self, y: State, p) -> State:
        return y

    def unpacked(
        self, values: Float[Array, "*batch states"]
    ) -> tuple[Float[Array, "*batch n"], Float[Array, "*batch n n"], Float[Array, "*batch n n"]]:
        """Mean, V and F from the values of `states`."""
        n, batch = len(self.species), values.shape[:-1]
        spread = jnp.zeros((*batch, n, n))
        for k, (i, j) in enumerate(self._spread.values(), start=n):
            spread = spread.at[..., i, j].set(values[..., k]).at[..., j, i].set(values[..., k])
        return values[..., :n], spread, values[..., n + len(self._spread) :].reshape(*batch, n, n)
