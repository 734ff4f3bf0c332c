"""Stochastic differential equations dy = drift dt + diffusion dW in the sense of Itô, integrated by diffrax.

Noise that does not depend on the state is additive, and the method is then SRA1 of strong order 1.5 (Rößler 2010,
doi:10.1137/09076636X); any other noise takes Euler and Maruyama's, of strong order 0.5 and weak order 1, which is right
for noise of every kind. The paths of the Wiener processes are functions of the key alone
(`brownian`, or a virtual Brownian tree where noise is additive), so that every run is made twice, with steps of half
the length the second time: the finer run is the answer, and the difference between the two is the error that is left
in it, or more. Where it is too large the run has a code.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from ..annotations import Values, ValuesOrShapes
from ..design import Design
from ..errors import FIRST_OWN, InputError, Result
from .brownian import WienerPath
from .estimates import DIFFERENCES, PATHWISE, Estimate
from .protocol import Functions, Outcome, Run, System, finished

TOO_LONG = FIRST_OWN
# How many there are where their length is not given.
STEPS = 1000
# The Brownian tree is resolved to this share of the time from the start to the last time of the design.
RESOLUTION = 2.0**-24


@dataclass(frozen=True)
class Sde(System):
    """Random paths of states.

    Outputs are those of the model's `observe(y, p)`, or the states themselves where it is None. A run needs a key, and
    is differentiable along its path: `evaluate` in its mode "value" by `jax.jacfwd`, in "reverse" by `jax.grad`.

    Args:
        initial: `initial(p, inputs)` -> state -> its value, a number or an array.
        drift: `drift(t, y, p, inputs)` -> state -> its rate, of the shape of the state.
        diffusion: `diffusion(t, y, p, inputs)` -> source of noise -> state -> coefficient, of the shape of the
            state, in its unit per square root of the time unit. Each source is one Wiener process of its own; states
            that it does not move are left out.
        step: the longest step, in the time unit; None: a thousandth of the time from the start to the last time. Steps
            end at the times of the design.
        tolerance: the largest difference between a path and the same one in steps of twice the length, as a share of
            the largest size of each output along the path. At noise of strong order 0.5 a quarter of the step halves
            it; means and variances over many paths are nearer than that.
        max_steps: between two times of the design.

    Example:
        >>> import uqbench as uq
        >>> def noise(t, y, p, inputs):
        ...     return {"heat": {"x": p["s"]}}
        >>> system = Sde(lambda p, _: {"x": 1.0}, lambda t, y, p, _: {"x": -y["x"]}, noise, step=0.01)
        >>> model = uq.Model(uq.Space(s=uq.epistemic(uq.HalfNormal(1.0))), system, units={"x": ""})
        >>> run = uq.evaluate(model, {"s": 0.0}, uq.Design([1.0]), key=jax.random.key(0))
        >>> round(float(run.outputs["x"][0]), 5)
        0.36788
    """

    initial: Callable
    drift: Callable
    diffusion: Callable
    step: float | None = None
    tolerance: float = 0.05
    max_steps: int = 100_000

    kind = "a system of stochastic differential equations"
    capabilities = frozenset({"stochastic"})
    expectation_gradients = MappingProxyType({PATHWISE: Estimate.PATHWISE, DIFFERENCES: Estimate.SAME_KEYS})
    results = MappingProxyType(
        {
            TOO_LONG: "the steps are too long for this path: with half the length it is another one. Take a shorter "
            "`step`, or allow more by `tolerance`."
        }
    )

    def __post_init__(self):
        findings = [
            f"{name} is {value!r}; it must be positive and finite."
            for name, value in (("step", self.step), ("tolerance", self.tolerance), ("max_steps", self.max_steps))
            if value is not None and not 0 < value < float("inf")
        ]
        if findings:
            raise InputError("Sde", findings)

    def functions(self, model, design: Design) -> Functions:
        def outputs(theta, design):
            y = self.initial(theta, design.inputs)
            found = y, *(f(design.start, y, theta, design.inputs) for f in (self.drift, self.diffusion))
            return (*found, self._observed(model, design.start, y, theta, design.inputs))

        written = {"initial": self.initial, "drift": self.drift, "diffusion": self.diffusion}
        settings = ("Ito", f"step {self.step!r}", f"tolerance {self.tolerance!r}", f"max_steps {self.max_steps!r}")
        return Functions(written, {"equations": (outputs, (design,))}, settings)

    def output_shapes(self, model, theta: ValuesOrShapes, design: Design) -> tuple[dict, list[str]]:
        def equations(theta):
            y, t, inputs = self.initial(theta, design.inputs), design.start, design.inputs
            return y, self.drift(t, y, theta, inputs), self.diffusion(t, y, theta, inputs)

        start, rates, noise = jax.eval_shape(equations, theta)
        findings = _state_findings(start, rates, noise)
        if design.settles:
            findings.append("a path of an Sde does not come to rest; leave the time inf out.")
        if findings:
            return {}, findings
        key = jax.random.key(0)
        return jax.eval_shape(
            lambda theta: self._outputs(
                model, theta, design, self._noise(theta, design, key, self._step(design)), self._step(design),
                diffrax.ForwardMode(),
            )[0],
            theta,
        ), []  # fmt: skip

    def complete(self, t, y, p, inputs):
        """The states that `observe` gets."""
        return y

    def run(self, model, theta: Values, design: Design, key, plan: str, *, reverse: bool = False, sharper=1.0) -> Run:
        # diffrax differentiates a solve in one of the two modes
        adjoint = diffrax.RecursiveCheckpointAdjoint() if reverse else diffrax.ForwardMode()

        step = self._step(design)
        noise = self._noise(theta, design, key, _shortest(design, step / 2))

        def path(step):
            return self._outputs(model, theta, design, noise, step, adjoint)

        # both at once, which is half as much to compile
        both, within, steps = jax.vmap(path)(step * jnp.array([1.0, 0.5]))
        outputs, steps = {name: values[1] for name, values in both.items()}, jnp.sum(steps)

        def differs(coarse, fine):
            return jnp.any(jnp.abs(fine - coarse) > self.tolerance * jnp.max(jnp.abs(fine), axis=0))

        too_long = jnp.any(jnp.stack([differs(*both[name]) for name in model.outputs]))
        code = jnp.where(too_long, TOO_LONG, Result.SUCCESS)
        code = jnp.where(jnp.all(within), code, Result.STEP_LIMIT)
        return finished(model, outputs, Outcome(code, steps, jnp.zeros((), int)), design, Result.BLOW_UP)

    def translated(self, translate: Callable[[Callable, int], Callable]) -> "Sde":
        return replace(
            self,
            initial=translate(self.initial, 0),
            drift=translate(self.drift, 2),
            diffusion=translate(self.diffusion, 2),
        )

    def _step(self, design: Design) -> Array:
        """The longest step; any where nothing is run."""
        span = design.times[-1] - design.start
        return jnp.asarray(self.step or jnp.where(span > 0, span, 1.0) / STEPS, float)

    def _observed(self, model, t, y, theta, inputs) -> Mapping:
        found = y if model.observe is None else model.observed(t, y, theta, inputs)
        # what is true or false has no differences
        return {name: jnp.asarray(value, float) for name, value in found.items()}

    def _outputs(self, model, theta: Values, design: Design, noise: "_Noise", step, adjoint):
        """Outputs at the times of the design, whether no limit of steps was met, and the steps."""
        y, unravel = self._start(theta, design)
        states, within, steps = self._path(theta, design, noise, step, adjoint, y, unravel)

        def observed(t, y):
            return self._observed(model, t, unravel(y), theta, design.inputs)

        return jax.vmap(observed)(design.times, states), within, steps

    def _start(self, theta: Values, design: Design):
        return ravel_pytree(jax.tree.map(lambda x: jnp.asarray(x, float), self.initial(theta, design.inputs)))

    def _path(self, theta, design: Design, noise: "_Noise", step, adjoint, start, unravel):
        """States `(times, n)`, whether no limit of steps was met, and the steps."""

        def drift(t, y, _):
            return ravel_pytree(self.drift(t, unravel(y), theta, design.inputs))[0]

        def matrix(t, y, _):
            return self._matrix(theta, design, unravel, t, y)

        terms: diffrax.AbstractTerm = diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(matrix, noise.path))
        solver = diffrax.SRA1() if noise.additive else diffrax.Euler()

        def onward(state, until):
            t, y = state
            h = _equal_step(until - t, step)
            solution = diffrax.diffeqsolve(
                terms, solver, t, until, h, y, max_steps=self.max_steps, throw=False, adjoint=adjoint,
                saveat=diffrax.SaveAt(t1=True),
            )  # fmt: skip
            y = jnp.where(until > t, solution.ys[0], y)
            within = solution.result == diffrax.RESULTS.successful
            return (until, y), (y, within, solution.stats["num_steps"])

        _, (states, within, steps) = jax.lax.scan(onward, (design.start, start), design.times)
        return states, jnp.all(within), jnp.sum(steps)

    def _matrix(self, theta, design: Design, unravel, t, y) -> Array:
        """Coefficients of the noise `(n, sources)`."""
        nothing = jax.tree.map(jnp.zeros_like, unravel(y))
        sources = self.diffusion(t, unravel(y), theta, design.inputs)
        columns = [
            jax.tree.map(lambda zero, part: zero + part, nothing, {**nothing, **moved}) for moved in sources.values()
        ]
        return jnp.stack([ravel_pytree(column)[0] for column in columns], axis=-1)

    def _noise(self, theta, design: Design, key, shortest) -> "_Noise":
        """The Wiener processes, and whether their coefficients do not depend on the state."""
        start, unravel = self._start(theta, design)

        def matrix(t, y):
            return self._matrix(theta, design, unravel, t, y)

        additive = _independent(matrix, start)
        count = jax.eval_shape(matrix, design.start, start).shape[1]
        last = design.times[-1]
        end = jnp.where(last > design.start, last, design.start + 1.0)
        if not additive:
            return _Noise(WienerPath.of(key, design.start, end, count, shortest), additive)
        # the method of order 1.5 needs areas of the path too
        path = diffrax.VirtualBrownianTree(
            design.start, end, tol=RESOLUTION * (end - design.start), shape=(count,), key=key,
            levy_area=diffrax.SpaceTimeLevyArea,
        )  # fmt: skip
        return _Noise(path, additive)


class _Noise(NamedTuple):
    path: diffrax.AbstractBrownianPath
    additive: bool


def _equal_step(length, step):
    """Equal steps that end where the output is wanted: between them a path has no values."""
    return length / jnp.maximum(jnp.ceil(length / step), 1.0)


def _shortest(design: Design, step) -> Array:
    """The shortest of all steps."""
    gaps = jnp.diff(design.times, prepend=design.start)
    return jnp.min(jnp.where(gaps > 0, _equal_step(gaps, step), jnp.inf))


def _independent(matrix, start) -> bool:
    """Whether no entry of the matrix is computed from the state."""
    closed = jax.make_jaxpr(lambda y: matrix(jnp.zeros(()), y))(jax.lax.stop_gradient(start))
    reached = {id(closed.jaxpr.invars[0])}
    for equation in closed.jaxpr.eqns:
        # zeros of the shape of a state hold nothing of it
        if any(id(v) in reached for v in equation.invars):
            reached |= {id(v) for v in equation.outvars}
    return not any(id(v) in reached for v in closed.jaxpr.outvars)


def _state_findings(start, rates, noise) -> list[str]:
    """What does not fit the states: names and shapes of their rates and of the coefficients of their noise."""
    shapes = {name: jnp.shape(value) for name, value in start.items()}
    findings = [f"`drift` has no rate for {name!r}." for name in shapes if name not in rates]
    findings += [] if noise else ["`diffusion` names no source of noise; without any, describe the model as an Ode."]
    rows = {"`drift`": rates, **{f"the source {source!r}": moved for source, moved in noise.items()}}
    for what, moved in rows.items():
        for name, value in moved.items():
            if name not in shapes:
                findings.append(f"{what} moves {name!r}, which is no state.")
            elif jnp.shape(value) != shapes[name] and (what == "`drift`" or jnp.shape(value)):
                findings.append(f"{what} has the shape {jnp.shape(value)} for {name!r}, which has {shapes[name]}.")
    return findings
