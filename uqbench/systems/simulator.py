"""A plain simulator: any function in JAX from parameters and design to outputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..annotations import Values, ValuesOrShapes
from ..design import Design
from ..errors import FIRST_OWN, InputError, Result
from .estimates import DIFFERENCES, Estimate
from .protocol import Functions, Outcome, Run, System, finished


@dataclass(frozen=True)
class Simulator(System):
    """Outputs from a function of the author's.

    Args:
        simulate: `simulate(theta, design, key)` -> output -> `(times,)`, a scalar, or what the dims of the output say;
            or these and a code.
        stochastic: whether outputs are random, so that every run needs a key.
        results: code -> sentence, of codes that are its own (from `FIRST_OWN` on).
    """

    simulate: Callable
    stochastic: bool = False
    results: Mapping[int, str] = field(default_factory=dict, hash=False)

    kind = "a simulator without a system"

    def __post_init__(self):
        check_codes(self.results)

    @property
    def capabilities(self) -> frozenset[str]:
        return frozenset({"stochastic"} if self.stochastic else ())

    @property
    def expectation_gradients(self) -> Mapping[str, Estimate]:
        return {DIFFERENCES: Estimate.SAME_KEYS} if self.stochastic else super().expectation_gradients

    def functions(self, model, design: Design) -> Functions:
        def outputs(theta, design):
            return self.simulate(theta, design, jax.random.key(0))

        settings = ("stochastic",) if self.stochastic else ()
        return Functions({"simulate": self.simulate}, {"simulate": (outputs, (design,))}, settings)

    def output_shapes(self, model, theta: ValuesOrShapes, design: Design) -> tuple[dict, list[str]]:
        key = jax.random.key(0)
        return jax.eval_shape(lambda theta: self._outputs(model, theta, design, key)[0], theta), []

    def run(self, model, theta: Values, design: Design, key, plan: str, *, reverse: bool = False, sharper=1.0) -> Run:
        nothing = jnp.zeros((), int)
        outputs, code = self._outputs(model, theta, design, key)
        return finished(model, outputs, Outcome(code, nothing, nothing), design, Result.OUTPUT_NOT_FINITE)

    def translated(self, translate: Callable[[Callable, int], Callable]) -> "Simulator":
        return replace(self, simulate=translate(self.simulate, 0))

    def _outputs(self, model, theta: Values, design: Design, key) -> tuple[dict, Array]:
        returned = self.simulate(theta, design, key)
        outputs, code = returned if _is_pair(returned) else (returned, Result.SUCCESS)
        if not isinstance(outputs, Mapping):
            raise InputError(
                f"model {model.name!r}",
                [f"`simulate` returns {type(returned).__name__}; give outputs by name, or `(outputs, code)`."],
            )
        code = jnp.asarray(code)
        if code.shape or not jnp.issubdtype(code.dtype, jnp.integer):
            given = f"`simulate` returns a code of type {code.dtype} and shape {code.shape}"
            raise InputError(f"model {model.name!r}", [f"{given}; give one integer, 0 for success."])
        return outputs if model.observe is None else model.observe(outputs, theta), code.astype(int)


def check_codes(results: Mapping[int, str]) -> None:
    """Raises an `InputError` for codes that are not one's own."""
    wrong = [code for code in results if type(code) is not int or code < FIRST_OWN]
    if wrong:
        raise InputError(
            "results", [f"{code!r} is no code of one's own; give integers from {FIRST_OWN} on." for code in wrong]
        )


def _is_pair(returned) -> bool:
    return isinstance(returned, tuple) and len(returned) == 2
