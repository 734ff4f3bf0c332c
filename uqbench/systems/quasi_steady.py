"""An `Ode` whose fast states are in their quasi-steady state (`systems.reduced`)."""

from dataclasses import dataclass

from ..design import Design
from ..initial_value.compiled import Task
from ..system import Ode
from .initial_value import InitialValueProblem
from .reduced import is_implicit


@dataclass(frozen=True)
class QuasiSteadyState(InitialValueProblem):
    """The dynamics of what `quasi_steady_state` has made; always solved in JAX, as it chooses among equilibria."""

    kind = "a reduced Ode"
    capabilities = InitialValueProblem.capabilities | {"quasi_steady"}

    @property
    def full(self) -> Ode:
        """The system before its reduction."""
        return self.ode.algebraic.full

    @property
    def fast(self) -> tuple[str, ...]:
        """The states that are no longer there."""
        return self.ode.algebraic.fast

    def is_implicit(self, model, design: Design) -> bool:
        """Whether the fast states are known only as the root of an equation, so that no formula can be read."""
        return is_implicit(self.ode, model.space.nominal(), design)

    def task(self, model, design: Design) -> Task | None:
        return None
