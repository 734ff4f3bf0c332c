"""Coupled models as a kind of dynamics: parts, exchanges between them, and a schedule."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from ..annotations import Values, ValuesOrShapes
from ..design import Design
from ..errors import InputError, Result
from ..solvers.implicit import moving
from ..system import Ode
from ..systems.estimates import DIFFERENCES, Estimate
from ..systems.protocol import Functions, Outcome, System, finished
from ..systems.protocol import Run as Outputs
from .balance import accounts
from .divergence import check_schedule
from .equations import Coupling, Equations, Given, flattened
from .findings import description_findings, function_findings
from .joint import Joint
from .linearisation import MANY, count_states
from .parts import Exchange, Part
from .schedules import CODES, NOT_RESOLVED, Monolithic, Schedule, Strong, standard_schedules
from .windows import Run, run_through

# Of chance, where a reference solution needs some.
STREAM = np.zeros(2, np.uint32)
# Points of a reference solution at which schedules are looked at.
POINTS, FEW_POINTS = 24, 4
# Windows of the reference in one of the schedule, where parts are solved by themselves.
FINER = 2
# States, with what is counted beside them, up to which equations are read.
MOST_READ = 60


@dataclass(frozen=True, eq=False)
class Coupled(System):
    """A system made of parts that exchange what is conserved.

    `observe(y, p)` gets the states of all parts by name, and of every run its balance: `content_<quantity>` and
    `content_<part>_<quantity>`; `crossed_<exchange>`, the amount since the start; `residual_<part>_<quantity>`, what
    the content has changed by since the start less what came in, plus what went out, less what declared sources made;
    and `residual_<quantity>` of all parts together, where exchanges cancel. `imbalance_` of the same is
    its size relative to the largest amount, not below the 1e-12 of rounding; `supplied_` what sources made. A residual
    beyond rounding is what something makes or loses without saying so. Without `observe`, outputs are those of these
    that have units.

    Args:
        parts: name -> `Part`, in the order in which a sequential schedule solves them.
        exchanges: name -> `Exchange`.
        schedule: `Weak`, `Strong`, `WaveformRelaxation`, `Monolithic` or `Splitting`.
        time_unit: of the rates of exchanges, as in the model; "" where that has none.
        tolerance: the largest difference between a run and the same one with windows and steps of half the length, as a
            share of the largest size of each state; beyond it a run has a code. With methods of first order errors are
            about twice the difference, with others less. None: runs are made once, at a third of the price, and nothing
            is known of their errors.

    Raises:
        InputError: with everything that is wrong at once: parts or quantities that an exchange names and that are
            not there, units that do not fit, reads of states that no part has. With the first run: states of the same
            name, an exchanged state that the content does not depend on or is not linear in.

    Example:
        >>> import uqbench as uq
        >>> from uqbench.coupling import Permeation, Weak
        >>> def left(p, inputs): return {"A": 1.0}
        >>> def right(p, inputs): return {"C": 0.0}
        >>> def still_A(t, y, p, inputs): return {"A": 0.0}
        >>> def still_C(t, y, p, inputs): return {"C": 0.0}
        >>> def amount_A(y, p): return {"drug": y["A"]}
        >>> def amount_C(y, p): return {"drug": 2.0 * y["C"]}
        >>> parts = {
        ...     "blood": uq.Part(left, still_A, content=amount_A, units={"drug": "mg"}),
        ...     "tissue": uq.Part(right, still_C, content=amount_C, units={"drug": "mg"}),
        ... }
        >>> uptake = uq.Exchange("drug", "mg/h", "blood.A", "tissue.C", Permeation("A", "C", conductance="P"))
        >>> system = uq.Coupled(parts, {"uptake": uptake}, Weak(0.1), time_unit="h")
        >>> space = uq.Space(P=uq.epistemic(uq.LogNormal(0.0, 1.0), "L/h"))
        >>> units = {"A": "mg/L", "C": "mg/L", "residual_drug": "mg"}
        >>> run = uq.evaluate(uq.Model(space, system, units=units, time_unit="h"), {"P": 1.0}, uq.Design([20.0]))
        >>> round(float(run.outputs["A"][0]), 6), abs(float(run.outputs["residual_drug"][0])) < 1e-13
        (0.333333, True)
    """

    parts: Mapping[str, Part]
    exchanges: Mapping[str, Exchange]
    schedule: Schedule
    time_unit: str = ""
    tolerance: float | None = 0.05
    # what else is the author's: sentences of codes
    results: Mapping[int, str] = field(default=MappingProxyType(CODES), init=False)

    kind = "a coupled system"
    capabilities = frozenset({"balance"})

    def __post_init__(self):
        object.__setattr__(self, "parts", MappingProxyType(dict(self.parts)))
        object.__setattr__(self, "exchanges", MappingProxyType(dict(self.exchanges)))
        findings = description_findings(self.parts, self.exchanges, self.schedule, self.time_unit)
        if self.tolerance is not None and not self.tolerance > 0:
            findings.append(f"tolerance is {self.tolerance!r}; it must be positive, or None.")
        if findings:
            raise InputError("Coupled", findings)
        random = frozenset({"stochastic"}) if self.is_random else frozenset()
        object.__setattr__(self, "capabilities", type(self).capabilities | random)

    def __reduce__(self):
        # read-only mappings cannot be pickled
        return Coupled, (dict(self.parts), dict(self.exchanges), self.schedule, self.time_unit, self.tolerance)

    @property
    def is_random(self) -> bool:
        """Whether a run needs a key: whether a part leaps."""
        return any(part.leap is not None for part in self.parts.values())

    @property
    def expectation_gradients(self) -> Mapping[str, Estimate]:
        return {DIFFERENCES: Estimate.SAME_KEYS} if self.is_random else super().expectation_gradients

    def with_schedule(self, schedule: Schedule) -> "Coupled":
        """The same parts and exchanges under another schedule."""
        return replace(self, schedule=schedule)

    def halved(self) -> "Coupled":
        """The same with windows and steps of half the length."""
        parts = {
            name: part if part.step is None else replace(part, step=part.step / 2) for name, part in self.parts.items()
        }
        return replace(self, parts=parts, schedule=replace(self.schedule, step=self.schedule.step / 2))

    # --- what the modeller wrote

    def functions(self, model, design: Design) -> Functions:
        written = {
            f"{role} of {name}": function
            for name, part in self.parts.items()
            for role in ("initial", "rhs", "content", "sources", "shows", "leap", "radius")
            if (function := getattr(part, role)) is not None
        }
        written |= {
            f"{role} of {name}": function
            for name, exchange in self.exchanges.items()
            for role in ("rate", "onto_source", "onto_target")
            if (function := getattr(exchange, role)) is not None
        }
        if model.observe is not None:
            written["observe"] = model.observe

        def everything(theta, design):
            given, t = Given(dict(theta), design.inputs), design.start
            equations = self.equations(given, t)
            z = equations.start(given, t)
            rates: Any = equations.joint((*self.parts,), (*self.exchanges,))(t, z, given)
            if self.is_random:
                rates = rates, equations.leaps(t, jnp.asarray(self.schedule.step), z, given, jax.random.key(0))
            return z, rates, self._observed(model, equations, t, z, z, given)

        settings = [repr(self.schedule), f"tolerance {self.tolerance!r}"]
        settings += [f"{name}: {part.integrator} {part.step} {part.reads}" for name, part in self.parts.items()]
        settings += [f"{name}: {e.quantity} {e.source} {e.target}" for name, e in self.exchanges.items()]
        return Functions(written, {"equations": (everything, (design,))}, tuple(settings))

    def translated(self, translate: Callable[[Callable, int], Callable]) -> "Coupled":
        parts = {name: part.translated(translate) for name, part in self.parts.items()}
        exchanges = {name: exchange.translated(translate) for name, exchange in self.exchanges.items()}
        return replace(self, parts=parts, exchanges=exchanges)

    def output_shapes(self, model, theta: ValuesOrShapes, design: Design) -> tuple[dict, list[str]]:
        findings = function_findings(self.parts, self.exchanges, model.space.nominal(), design)
        if design.settles:
            findings.append("windows of a coupled system do not reach the time inf; give the last time as a number.")
        if model.time_unit and model.time_unit != self.time_unit:
            findings.append(f"time is in {model.time_unit!r} in the model and in {self.time_unit!r} in the system.")
        if findings:
            return {}, findings
        key = jax.random.key(0) if self.is_random else None
        return jax.eval_shape(lambda theta: self._outputs(model, theta, design, key)[0], theta), []

    def complete(self, t, y, p, inputs):
        """The states that `observe` gets."""
        return y

    def written_out(self, model, design: Design | None):
        """All parts as one `Ode`, as windows of no length have it; None for too many states or for chance."""
        inputs = {} if design is None else design.inputs
        given = Given(_arrays(model.space.nominal()), inputs)
        if self.is_random or function_findings(
            self.parts, self.exchanges, model.space.nominal(), Design([1.0], inputs=inputs)
        ):
            return None
        start = self.equations(given, jnp.zeros(())).start(given, jnp.zeros(()))
        if sum(leaf.size for leaf in jax.tree.leaves(start)) > MOST_READ:
            return None
        joint = Joint(self.parts, self.exchanges, partial(self._observed, model), inputs)
        return replace(model, system=Ode(joint.initial, joint.rhs), observe=joint.observe)

    # --- runs

    def keeps_sensitivities(self, model, design: Design) -> bool:
        return not self.is_random

    def run(
        self, model, theta: Values, design: Design, key, plan: str, *, reverse: bool = False, sharper=1.0
    ) -> Outputs:
        outputs, code, solves = self._outputs(model, theta, design, key, reverse)
        return finished(model, outputs, Outcome(code, solves, jnp.zeros((), int)), design, Result.OUTPUT_NOT_FINITE)

    def plan(self, model, design: Design) -> str:
        """Nothing is decided; where the schedule is known to diverge that is said, see `CouplingWarning`.

        Raises:
            InputError: errors would outgrow the solution in this design.
        """
        if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(design)):
            check_schedule(
                self, model, design if design.times.ndim == 1 else jax.tree.map(lambda leaf: leaf[0], design)
            )
        return ""

    def points(self, model, design: Design, theta: Values | None = None) -> tuple[Given, Array, Array]:
        """What rates are given, times `(points,)` and states `(points, n)` of a solution with all parts as one."""
        values = model.space.nominal() if theta is None else model.space.complete(theta)
        with jax.ensure_compile_time_eval():
            given = Given(_arrays(values), dict(design.inputs))
            times = jnp.linspace(design.start, design.times[-1], POINTS)
            many = self.has_many_states(given, design.start)
            # no matrix is had of many states
            whole = Strong(self.schedule.step / FINER) if many else Monolithic(self.schedule.step)
            rows, code, _ = _reference(self, whole, (given, design.start, times, STREAM))
            sound = np.all(np.isfinite(np.asarray(rows)), axis=1) & (int(code) == 0)
            # of a solution that is lost, the start; of many states fewer points, each of which takes as many products
            kept = np.where(sound, np.arange(POINTS), 0)[:: POINTS // FEW_POINTS if many else 1]
            return given, times[kept], rows[kept]

    def has_many_states(self, given: Given, t) -> bool:
        """Whether all parts as one are too many for matrices."""
        return count_states(self, given, t) > MANY

    def schedules(self, given: Given, t, step: float | None = None) -> Mapping[str, Schedule]:
        """Those to choose from at a step, default its own; of many states those that solve each part by itself."""
        return standard_schedules(step or self.schedule.step, alone=self.has_many_states(given, t))

    def equations(self, given: Given, t) -> Equations:
        return Equations.of(self.parts, self.exchanges, given, t)

    def _outputs(self, model, theta: Values, design: Design, key, reverse=False) -> tuple[dict, Array, Array]:
        """Outputs at the times of the design, the code, and how often the parts were solved."""
        given = Given(_arrays(theta), design.inputs)
        stream = jax.random.key_data(key) if self.is_random else None
        known = (given, design.start, design.times, stream)
        rows, code, solves = (_reversible if reverse else trajectory)(self, known)
        equations = self.equations(given, design.start)
        start = equations.start(given, design.start)
        unravel = ravel_pytree(start)[1]

        def observed(t, row):
            return self._observed(model, equations, t, unravel(row), start, given)

        return jax.vmap(observed)(design.times, rows), code, solves

    def resolved(self, known, run: Run, finer: Run) -> Array:
        """The code of a run, also where states are not those of half as long windows and steps."""
        (given, start, *_), tolerance = known, self.tolerance or np.inf
        first = self.equations(given, start).start(given, start)
        unravel = ravel_pytree(first)[1]
        ours, theirs = (jax.vmap(unravel)(each)["states"] for each in (run.rows, finer.rows))

        def near(one, other, begun):
            size = jnp.maximum(jnp.max(jnp.abs(other), initial=0.0), jnp.max(jnp.abs(begun), initial=0.0))
            return jnp.all(jnp.abs(one - other) <= tolerance * size)

        all_near = [jnp.asarray(True), *jax.tree.leaves(jax.tree.map(near, ours, theirs, first["states"]))]
        same = jnp.all(jnp.stack(all_near)) & (finer.code == 0)
        return jnp.where((run.code == 0) & ~same, NOT_RESOLVED, run.code)

    def _observed(self, model, equations: Equations, t, z: Coupling, start: Coupling, given: Given) -> dict:
        y = {**flattened(z["states"]), **accounts(equations, z, start, given)}
        if model.observe is None:
            found = {name: y[name] for name in model.units if name in y}
        else:
            found = model.observed(t, y, *given)
        return {name: jnp.asarray(value, float) for name, value in found.items()}


@partial(jax.jit, static_argnames=("system", "schedule"))
def _reference(system: Coupled, schedule: Schedule, known) -> Run:
    return run_through((system.with_schedule(schedule),), known)[0]


def _arrays(values: Values) -> dict[str, Array]:
    return {name: jnp.asarray(value, float) for name, value in values.items()}


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def trajectory(system: Coupled, known) -> Run:
    """A coupled run, with a code also where it is not resolved.

    Args:
        known: what it depends on: parameters and inputs, the start, the times, and data of a key or None.

    Sensitivities are carried forward, one for each number that moves, so that derivatives exist in both modes though
    the number of windows depends on values.
    """
    if system.tolerance is None:
        return run_through((system,), known)[0]
    run, finer = run_through((system, system.halved()), known)
    return run._replace(code=system.resolved(known, run, finer))


@partial(trajectory.defjvp, symbolic_zeros=True)
def _(system, primals, tangents):
    (known,), (change,) = primals, tangents
    values, changes, rebuilt = moving(known, change)
    found = trajectory(system, known)
    at, unravel = ravel_pytree(values)
    direction, _ = ravel_pytree(changes)

    def push(unit):
        return jax.jvp(lambda at: run_through((system,), rebuilt(unravel(at)))[0].rows, (at,), (unit,))[1]

    slopes = jax.vmap(push, out_axes=-1)(jnp.eye(at.size))
    # whole numbers do not move
    none: Any = np.zeros((), jax.dtypes.float0)
    return found, Run(slopes @ direction, none, none)


def _reversible(system: Coupled, known) -> Run:
    """The same with derivatives in reverse mode alone."""
    run = run_through((system,), known, "checkpointed")[0]
    still = lax.stop_gradient(known)
    if system.tolerance is None:
        return run
    if system.is_random:
        # halves get what chance does to the windows, so that these have to run beside them
        return run._replace(code=trajectory(system, still).code)
    finer = run_through((system.halved(),), still, first=2)[0]
    return run._replace(code=system.resolved(still, lax.stop_gradient(run), finer))
