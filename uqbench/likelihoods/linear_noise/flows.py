"""Linear noise between the observations of a study: solves over intervals, traceable and differentiable."""

from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ...design import Design
from ...distributions import LogNormal
from ...model import Model, method_for
from ...model.running import with_sensitivities
from ...space import Space, Theta, epistemic
from ...systems.protocol import in_columns
from ...systems.reactions.linear_noise import Fluctuations, Interval
from ...systems.reactions.moments import moment_pairs


class Flow(NamedTuple):
    """Over an interval: mean, F and V at its end, with a leading axis where there are several ends, and the code.

    Where a solve failed these are finite all the same, so that gradients of what is rejected stay finite.
    """

    mean: Float[Array, "*times n"]
    propagator: Float[Array, "*times n n"]
    spread: Float[Array, "*times n n"]
    code: Int[Array, ""]


class State(NamedTuple):
    """Mean and covariance of the species."""

    mean: Float[Array, " n"]
    covariance: Float[Array, "n n"]


@dataclass(frozen=True, eq=False)
class Flows:
    """The fluctuations of a model over any interval; made by `Flows.of`.

    Args:
        interval: its equations.
        model: that solves them, with the parameters of the study and those of the start.
        plan, active: of its solves.
    """

    interval: Interval
    model: Model
    plan: str
    active: tuple[str, ...]

    @classmethod
    def of(cls, model: Model, fluctuations: Fluctuations, designs: Design) -> "Flows":
        """Those of a model whose system is linear noise.

        Args:
            designs: of all runs, stacked.
        """
        interval = Interval.of(fluctuations, model.space.names)
        inputs = {name: value[0] for name, value in designs.inputs.items()}
        nominal = fluctuations.ode.initial(model.space.nominal(), inputs)
        starts = {
            start: epistemic(LogNormal(median=max(float(np.asarray(nominal[name])), 1.0), sigma=1.0))
            for start, name in zip(interval.starts, fluctuations.species, strict=True)
        }
        space = Space({**model.space, **starts})
        units = dict.fromkeys(interval.states, "")
        solved = Model(space, interval.equations, interval.observe, units, time_unit=model.time_unit)
        one = Design([0.0], inputs)
        return cls(interval, solved, method_for(solved, one), solved.dynamics.parameters_used(solved, one))

    @property
    def species(self) -> tuple[str, ...]:
        return self.interval.species

    def start(self, theta: Theta, design: Design) -> State:
        """Where a run starts, as the equations of means and covariances say."""
        y = self.interval.ode.initial(theta, design.inputs)
        covariance = jnp.zeros((len(self.species),) * 2)
        for name, (i, j) in moment_pairs(self.species).items():
            covariance = covariance.at[i, j].set(y[name]).at[j, i].set(y[name])
        return State(jnp.stack([jnp.asarray(y[name], float) for name in self.species]), covariance)

    def over(
        self, theta: Theta, design: Design, mean: Float[Array, " n"], since, until: Float[Array, " times"]
    ) -> Flow:
        """From these means at the time `since` to the times `until`.

        Args:
            design: whose inputs hold.
        """
        theta = {**theta, **dict(zip(self.interval.starts, mean, strict=True))}
        design = eqx.tree_at(lambda each: (each.start, each.times), design, (since, until))
        found = self.model.dynamics.stacked(self.model, theta, design, self.plan)
        if found is None:
            run = with_sensitivities(self.model, self.plan, self.active)(theta, design)
            found = in_columns(self.model, design, run)
        values, outcome = found
        n, solved = len(mean), outcome.result == 0
        ends, spread, propagator = self.interval.unpacked(jnp.where(solved, values, 0.0))
        return Flow(jnp.where(solved, ends, mean), jnp.where(solved, propagator, jnp.eye(n)), spread, outcome.result)
