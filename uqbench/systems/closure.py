"""A model of a coarse scale, some of whose parameters are functions of parameters at a finer one.

What a closure costs, such as the solution of a cell problem, is paid once for each run, not at every step of its solve.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..annotations import Values, ValuesOrShapes
from ..design import Design
from ..errors import InputError, Result
from .estimates import DIFFERENCES, Estimate
from .protocol import WHOLE_RUN, Density, Functions, Outcome, Run, System
from .simulator import check_codes

# what a reader of the coarse equations would not find in the parameters of this model
NOT_CLOSED = frozenset({"symbolic", "states", "quasi_steady"})
# Closures of a batch that are computed side by side: arrays of a few of them stay in a cache.
SIDE_BY_SIDE = 8


@dataclass(frozen=True)
class Coarse:
    """All parameters of the coarse model, and a code, from those of the finer scale and a key."""

    closure: Callable
    # parameters that both scales have, and those that the coarse one keeps
    shared: tuple[str, ...]
    kept: tuple[tuple[str, float], ...]
    stochastic: bool

    def __call__(self, theta: Values, key=None) -> tuple[Values, Array]:
        returned = self.closure(theta, key) if self.stochastic else self.closure(theta)
        found, code = returned if isinstance(returned, tuple) else (returned, Result.SUCCESS)
        found = {name: jnp.asarray(value, float) for name, value in found.items()}
        kept = {name: jnp.asarray(value) for name, value in self.kept}
        return {**kept, **{name: theta[name] for name in self.shared}, **found}, jnp.asarray(code, int)


@dataclass(frozen=True)
class Closed(System):
    """The dynamics of a coarse model with parameters from a closure.

    Args:
        model: the coarse `Model`. coarse: its parameters and a code, of the parameters of the finer scale and a key.
        closure: what the modeller wrote. stochastic: whether it is random.
        own_results: code -> sentence, of the closure's own codes.
    """

    model: Any
    coarse: Callable[..., tuple[Values, Array]]
    closure: Callable
    stochastic: bool
    own_results: Mapping[int, str] = field(default_factory=dict, hash=False)

    kind = "a model closed by a finer scale"
    one_by_one = True

    def __post_init__(self):
        dynamics, random = self.model.dynamics, {"stochastic"} if self.stochastic else set()
        own = {
            "results": {**dynamics.results, **self.own_results},
            "gradient": self.model.gradient,
            "rtol": dynamics.rtol,
            "capabilities": frozenset((dynamics.capabilities - NOT_CLOSED) | {"closure"} | random),
        }
        for name, value in own.items():
            object.__setattr__(self, name, value)

    @property
    def expectation_gradients(self) -> Mapping[str, Estimate]:
        return {DIFFERENCES: Estimate.SAME_KEYS} if "stochastic" in self.capabilities else super().expectation_gradients

    def with_tolerance(self, factor: float):
        system = self.model.dynamics.with_tolerance(factor)
        return None if system is None else replace(self, model=replace(self.model, system=system))

    def functions(self, model, design: Design) -> Functions:
        inner = self.model.dynamics.functions(self.model, design)

        def composed(function: Callable) -> Callable:
            return lambda theta, *more: function(self._values(theta), *more)

        calls = {name: (composed(function), more) for name, (function, more) in inner.calls.items()}
        return Functions({**inner.written, "closure": self.closure}, calls, (*inner.settings, "closure"))

    def output_shapes(self, model, theta: ValuesOrShapes, design: Design) -> tuple[dict, list[str]]:
        shapes = jax.eval_shape(self._values, theta)
        missing = [name for name in self.model.space.names if name not in shapes]
        unknown = [name for name in shapes if name not in self.model.space.names]
        findings = [f"the closure gives no {name!r}, which is no parameter of this model either." for name in missing]
        findings += [f"the closure gives {name!r}, which the model that it closes does not have." for name in unknown]
        findings += [
            f"the closure gives {name!r} of the shape {each.shape}; give one number."
            for name, each in shapes.items()
            if each.shape != () and name not in unknown
        ]
        if findings:
            return {}, findings
        return self.model.dynamics.output_shapes(self.model, shapes, design)

    def start_findings(self, model, design: Design) -> list[str]:
        return self.model.dynamics.start_findings(self.model, design)

    def event_times(self, model, theta: Values, design: Design):
        return self.model.dynamics.event_times(self.model, self._values(theta), design)

    def doses(self, model, theta: Values, design: Design) -> tuple[Array, Array]:
        return self.model.dynamics.doses(self.model, self._values(theta), design)

    def plan(self, model, design: Design) -> str:
        return self.model.dynamics.plan(self.model, design)

    def solver(self, model, design: Design) -> tuple[str, tuple[str, ...]]:
        return self.model.dynamics.solver(self.model, design)

    def keeps_sensitivities(self, model, design: Design) -> bool:
        return self.model.dynamics.keeps_sensitivities(self.model, design)

    def run(self, model, theta: Values, design: Design, key, plan: str, *, reverse: bool = False, sharper=1.0) -> Run:
        values, code, key = self._sound(theta, key)
        run = self.model.dynamics.run(self.model, values, design, key, plan, reverse=reverse, sharper=sharper)
        outputs = {name: jnp.where(code == 0, each, jnp.nan) for name, each in run.outputs.items()}
        return Run(outputs, jnp.where(code == 0, run.result, code), run.steps, run.implicit_steps)

    def stacked(self, model, theta: Values, design: Design, plan: str) -> tuple[Array, Outcome] | None:
        if self.stochastic:
            return None
        values, code, _ = self._sound(theta, None)
        found = self.model.dynamics.stacked(self.model, values, design, plan)
        return None if found is None else _with_code(found, code)

    def run_many(self, model, thetas: Values, designs: Design, keys, plan: str, shared: bool):
        def one(given):
            return self._sound(*given)

        values, codes, keys = jax.lax.map(one, (thetas, keys), batch_size=SIDE_BY_SIDE)
        found = self.model.dynamics.run_many(self.model, values, designs, keys, plan, shared)
        return _with_code(found, codes)

    def random_outputs(self, model) -> tuple[str, ...]:
        return () if self.stochastic else self.model.dynamics.random_outputs(self.model)

    def density(self, model, theta: Values, design: Design, plan: str) -> tuple[dict[str, Density], Outcome]:
        values, code, _ = self._sound(theta, None)
        found, outcome = self.model.dynamics.density(self.model, values, design, plan)
        return found, outcome._replace(result=jnp.where(code == 0, outcome.result, code))

    def noise_sources(self) -> tuple[str, ...]:
        return (WHOLE_RUN,) if "stochastic" in self.capabilities else ()

    def errors(self, model, theta: Values, design: Design, values, names) -> Array:
        return self.model.dynamics.errors(self.model, self._values(theta), design, values, names)

    def translated(self, translate: Callable[[Callable, int], Callable]) -> "Closed":
        return replace(self, coarse=translate(self.coarse, 0))

    def _values(self, theta: Values) -> Values:
        """The coarse parameters, of one key where they are random."""
        return self.coarse(theta, jax.random.key(0))[0]

    def _sound(self, theta: Values, key):
        """Coarse parameters that a run can be made with, the code of the closure, and a key for the run.

        Where there is a code the parameters are medians, so that nothing is solved with what are no numbers.
        """
        if self.stochastic:
            own, key = jax.random.split(key)
        else:
            own = None
        found, code = self.coarse(theta, own)
        finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(value)) for value in found.values()]))
        code = jnp.where((code == 0) & ~finite, Result.CLOSURE_NOT_FINITE, code)
        medians = self.model.space.nominal()
        return {name: jnp.where(code == 0, value, medians[name]) for name, value in found.items()}, code, key


def _with_code(found: tuple[Array, Outcome], code: Array) -> tuple[Array, Outcome]:
    columns, outcome = found
    failed = (code != 0)[(...,) + (None,) * (columns.ndim - code.ndim)]
    return jnp.where(failed, jnp.nan, columns), outcome._replace(result=jnp.where(code == 0, outcome.result, code))


def closed(model, space, closure: Callable, *, stochastic: bool = False, results: Mapping[int, str]) -> Closed:
    """The dynamics of `model` with parameters from a closure, see `Model.closed_by`.

    Raises:
        InputError: parameters of both scales whose units differ.
    """
    coarse = model.space
    shared = tuple(name for name in coarse.names if name in space)
    findings = [
        f"{name!r} is in {space[name].unit!r} here and in {coarse[name].unit!r} in the model that is closed."
        for name in shared
        if space[name].unit != coarse[name].unit
    ]
    if findings:
        raise InputError(f"model {model.name!r}: closed_by", findings)
    check_codes(results)
    kept = tuple((name, float(coarse[name].dist)) for name in coarse.fixed if name not in space)
    return Closed(model.accumulated, Coarse(closure, shared, kept, stochastic), closure, stochastic, dict(results))
