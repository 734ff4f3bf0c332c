"""A plain simulator: any function in JAX from parameters and design to outputs."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ..design import Design
from ..solvers.stepping import BLOW_UP
from ..space import Theta
from .protocol import Functions, Outcome, Run, System, finished


@dataclass(frozen=True)
class Simulator(System):
    """Outputs from a function of the author's.

    Args:
        simulate: `simulate(theta, design, key)` -> output -> `(times,)` or a scalar.
        stochastic: whether outputs are random, so that every run needs a key.
    """

    simulate: Callable
    stochastic: bool = False

    kind = "a simulator without a system"

    @property
    def capabilities(self) -> frozenset[str]:
        return frozenset({"stochastic"} if self.stochastic else ())

    def functions(self, model, design: Design) -> Functions:
        def outputs(theta, design):
            return self.simulate(theta, design, jax.random.key(0))

        return Functions({"simulate": self.simulate}, {"simulate": (outputs, (design,))})

    def output_shapes(self, model, theta: Theta, design: Design) -> tuple[dict, list[str]]:
        key = jax.random.key(0)
        return jax.eval_shape(lambda theta: self._outputs(model, theta, design, key), theta), []

    def run(self, model, theta: Theta, design: Design, key, plan: str, *, reverse: bool = False, sharper=1.0) -> Run:
        nothing = jnp.zeros((), int)
        outputs = self._outputs(model, theta, design, key)
        return finished(model, outputs, Outcome(nothing, nothing, nothing), design.times.shape, BLOW_UP)

    def translated(self, translate: Callable[[Callable, int], Callable]) -> "Simulator":
        return Simulator(translate(self.simulate, 0), self.stochastic)

    def _outputs(self, model, theta: Theta, design: Design, key) -> dict:
        outputs = self.simulate(theta, design, key)
        return outputs if model.observe is None else model.observe(outputs, theta)
