"""An `Ode` whose fast states are in their quasi-steady state (`systems.reduced`)."""

from dataclasses import dataclass

import jax.numpy as jnp

from ..annotations import Values
from ..design import Design
from ..errors import Result
from ..initial_value.compiled import Rows
from ..initial_value.odes import Solution, failure, unless_it_leaves
from ..initial_value.task import Task
from ..system import Ode
from .initial_value import InitialValueProblem
from .reduced import is_implicit


@dataclass(frozen=True)
class QuasiSteadyState(InitialValueProblem):
    """The dynamics of what `quasi_steady_state` has made; solved in JAX where the fast states have no formula."""

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

    def _gives_states(self, design: Design) -> bool:
        """Always: whether the fast states would stay where they are is asked of the states."""
        return True

    def _solution(self, task: Task, theta: Values, design: Design, rows: Rows) -> Solution:
        solution, given = super()._solution(task, theta, design, rows), (theta, design)
        last = dict(zip(task.states, rows.state, strict=True))
        code = unless_it_leaves(
            self.ode, given, solution.states, failure(self.ode, given, rows.time, last, solution.result)
        )
        states = {name: jnp.where(code == Result.SUCCESS, values, jnp.nan) for name, values in solution.states.items()}
        return Solution(states, code, solution.steps, solution.implicit_steps)
