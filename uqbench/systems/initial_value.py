"""Ordinary differential equations as a kind of dynamics: the engine where it can, the solver in JAX elsewhere."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..annotations import Values, ValuesOrShapes
from ..design import Design
from ..dynamics.steady_state import steady_state
from ..errors import Result
from ..initial_value.array_states import Arrays, as_written
from ..initial_value.compiled import Rows, solve_adjoint, solve_compiled
from ..initial_value.machine_code import compiled, obstacle, task_of
from ..initial_value.odes import Solution, solve, solve_many
from ..initial_value.schedule import schedule
from ..initial_value.task import Task, state_names, used_names
from ..system import Ode
from .estimates import DERIVATIVE, Estimate
from .initial_value_findings import findings, observe_findings
from .protocol import (
    DOSE_AMOUNTS,
    DOSE_TIMES,
    Functions,
    Outcome,
    Run,
    System,
    finished,
    from_columns,
    in_columns,
)

# Rounding does not let a step meet a smaller one.
LEAST_RTOL = 1e-13


@dataclass(frozen=True)
class InitialValueProblem(System):
    """The dynamics of an `Ode`."""

    ode: Ode

    kind = "an Ode"
    capabilities = frozenset({"symbolic", "states", "tolerance", "schedule"})

    @property
    def scheduled_events(self) -> tuple[Callable, ...]:
        return self.ode.scheduled_events

    @property
    def rtol(self) -> float:
        return self.ode.rtol

    def with_tolerance(self, factor: float) -> Ode:
        atol = self.ode.atol
        if isinstance(atol, Mapping):
            atol = {name: factor * value for name, value in atol.items()}
        elif atol is not None:
            atol = factor * atol
        rtol, steps = max(factor * self.ode.rtol, LEAST_RTOL), math.ceil(self.ode.max_steps * max(1.0, factor**-0.5))
        return dataclasses.replace(self.ode, rtol=rtol, atol=atol, max_steps=steps)

    @property
    def expectation_gradients(self) -> Mapping[str, Estimate]:
        return {DERIVATIVE: Estimate.APPROXIMATION if self.ode.approximates else Estimate.EQUATIONS}

    # --- what the modeller wrote

    def functions(self, model, design: Design) -> Functions:
        ode, inputs, start = self.ode, design.inputs, design.start
        state = ode.initial(model.space.nominal(), inputs)
        known = ode.at_rest(state)

        def at_start(function, state=known):
            return lambda theta, y, t, inputs: function(t, y, theta, inputs), (state, start, inputs)

        def of_parameters(function):
            return function, (inputs,)

        written = {"initial": ode.initial, "rhs": ode.rhs, "observe": model.observe}
        calls = {
            "initial": of_parameters(ode.initial),
            "rhs": at_start(ode.rhs),
            "observe": at_start(model.observed),
        }
        for role in ("switches", "doses", "start"):
            if (function := getattr(ode, role)) is not None:
                written[role], calls[role] = function, of_parameters(function)
        if ode.algebraic is not None:
            written["algebraic"], calls["algebraic"] = ode.algebraic, at_start(ode.algebraic)
        for number, event in enumerate(ode.events):
            for part, function in (("root", event.root), ("change", event.change)):
                if function is not None:
                    role = f"{part} of event {number}"
                    written[role], calls[role] = function, at_start(function)
        for name, delay in ode.delays.items():
            parts = {f"delay of {name}": delay.delay, f"history of {name}": delay.history}
            written |= {role: function for role, function in parts.items() if callable(function)}
            calls[f"delay of {name}"] = of_parameters(delay.length)
            calls[f"history of {name}"] = at_start(delay.before, state)
        atol = sorted(ode.atol.items()) if isinstance(ode.atol, Mapping) else ode.atol
        settings = [repr((ode.rtol, atol, ode.method, ode.max_steps))]
        # what a function is for: two that read the same are distinguished, and so are events by their directions
        settings += [role for role in ("switches", "doses", "start", "algebraic") if getattr(ode, role) is not None]
        settings += [f"event {event.direction} {event.change is None}" for event in ode.events]
        settings += [f"delay {name} {delay.state}" for name, delay in ode.delays.items()]
        settings += [] if ode.max_step is None else [f"max_step {ode.max_step}"]
        return Functions(written, calls, tuple(settings))

    def translated(self, translate: Callable[[Callable, int], Callable]) -> Ode:
        ode = self.ode
        of_parameters = dict.fromkeys(("initial", "switches", "doses", "start"), 0)
        of_all = dict.fromkeys(("rhs", "algebraic"), 2)
        changed = {
            name: translate(getattr(ode, name), place)
            for name, place in (of_parameters | of_all).items()
            if getattr(ode, name) is not None
        }
        events = tuple(
            dataclasses.replace(
                event,
                root=translate(event.root, 2),
                change=None if event.change is None else translate(event.change, 2),
            )
            for event in ode.events
        )
        delays = {
            name: dataclasses.replace(
                delay,
                delay=translate(delay.delay, 0) if callable(delay.delay) else delay.delay,
                history=None if delay.history is None else translate(delay.history, 1),
            )
            for name, delay in ode.delays.items()
        }
        return dataclasses.replace(ode, **changed, events=events, delays=delays)

    # --- what is wrong with it

    def output_shapes(self, model, theta: ValuesOrShapes, design: Design) -> tuple[dict, list[str]]:
        # first the arrays that the author knows of, then the scalars that are solved
        for ode in dict.fromkeys((as_written(self.ode), self.ode)):
            state = jax.eval_shape(lambda theta, ode=ode: ode.initial(theta, design.inputs), theta)
            if wrong := findings(ode, theta, design, state, observe_findings(model.observe)):
                return {}, wrong
        outputs = jax.eval_shape(
            lambda y, theta: model.observed(design.start, self.ode.at_rest(y), theta, design.inputs), state, theta
        )
        # the entries of an output are solved, and read as symbols, under names of their own
        shapes = {name: jnp.shape(value) for name, value in outputs.items()}
        entries = {name: () if name in model.series else shape for name, shape in shapes.items()}
        if wrong := Arrays(tuple(entries.items())).name_findings():
            return {}, wrong
        count = design.times.shape
        return {name: jax.ShapeDtypeStruct(count + shape, float) for name, shape in shapes.items()}, []

    def start_findings(self, model, design: Design) -> list[str]:
        with jax.ensure_compile_time_eval():
            start = self.ode.initial(model.space.nominal(), design.inputs)
        return [
            f"the initial state {name!r} is {float(value):g} at the medians of the parameters; it must be finite."
            for name, value in start.items()
            if not np.isfinite(float(value))
        ]

    # --- runs

    def task(self, model, design: Design) -> Task | None:
        """What the engine solves; None where the solver in JAX has to (see `initial_value.compiled`)."""
        shapes = tuple((name, value.shape) for name, value in design.inputs.items())
        observe, outputs = None, ()
        if not self._gives_states(design):
            observe, outputs = model.observed_entries, self._columns(model, design)
        return task_of(self.ode, observe, outputs, model.space.names, shapes)

    def _columns(self, model, design: Design) -> tuple[str, ...]:
        """Names of the scalars that the outputs consist of, in the order of `from_columns`."""
        arrays = Arrays(tuple(model.entry_shapes(design).items()))
        return tuple(entry for name in model.outputs for entry in arrays.entries(name))

    def _gives_states(self, design: Design) -> bool:
        """Whether the engine solves for the states, which are observed afterwards: with a steady state among them."""
        return design.settles

    def _solution(self, task: Task, theta: Values, design: Design, rows: Rows) -> Solution:
        """What the engine has found for a task whose outputs are the states."""
        states = dict(zip(task.outputs, rows.values.T, strict=True))
        return Solution(states, rows.result, rows.steps, rows.implicit_steps)

    def event_times(self, model, theta: Values, design: Design) -> Array:
        states = tuple(self.ode.initial(theta, design.inputs))
        return schedule(self.ode, states, theta, design.inputs)[0]

    def doses(self, model, theta: Values, design: Design) -> tuple[Array, Array]:
        shapes = tuple((name, value.shape) for name, value in design.inputs.items())
        return schedule(self.ode, state_names(self.ode, model.space.names, shapes), theta, design.inputs)

    def dose_functions(self) -> dict[str, Callable]:
        doses = self.ode.doses
        if doses is None:
            return {}

        def part(place):
            return lambda theta, inputs: [row[place] for row in doses(theta, inputs).values()]

        return {DOSE_TIMES: part(0), DOSE_AMOUNTS: part(1)}

    def plan(self, model, design: Design) -> str:
        if self.task(model, _one(design)) is not None:
            return self.ode.method
        # the solver in JAX has to be chosen before it starts, and this one is right wherever it has a step
        return "implicit" if self.ode.method == "auto" else self.ode.method

    def solver(self, model, design: Design) -> tuple[str, tuple[str, ...]]:
        task = self.task(model, design)
        if task is not None:
            return "native engine", compiled(task, ()).kernels.jumps
        shapes = tuple((name, value.shape) for name, value in design.inputs.items())
        states = state_names(self.ode, model.space.names, shapes)
        outputs = self._columns(model, design)
        task = Task(self.ode, model.observed_entries, model.space.names, shapes, states, outputs)
        return f"JAX: {obstacle(task)}", ()

    def keeps_sensitivities(self, model, design: Design) -> bool:
        return self.task(model, design) is not None

    def run(self, model, theta: Values, design: Design, key, plan: str, *, reverse: bool = False, sharper=1.0) -> Run:
        task = self.task(model, design)
        if task is None:
            solution = solve(self.ode, theta, _finite_times(design), method=plan, reverse=reverse, sharper=sharper)
            return self._observed(model, theta, design, self._with_steady_state(theta, design, solution))
        if self._gives_states(design):
            rows = (solve_adjoint if reverse else solve_compiled)(task, theta, _finite_times(design), plan)
            solution = self._solution(task, theta, _finite_times(design), rows)
            return self._observed(model, theta, design, self._with_steady_state(theta, design, solution))
        values, outcome = self._rows(task, theta, design, plan, reverse)
        return Run(from_columns(model, design, values), *outcome)

    def stacked(self, model, theta: Values, design: Design, plan: str) -> tuple[Array, Outcome] | None:
        task = self.task(model, design)
        return None if task is None or self._gives_states(design) else self._rows(task, theta, design, plan)

    def run_many(self, model, thetas: Values, designs: Design, keys, plan: str, shared: bool):
        if shared:
            count = len(next(iter(thetas.values())))
            designs = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), designs)
        if self.task(model, _one(designs)) is not None:

            def one(theta, design):
                rows = self.stacked(model, theta, design, plan)
                return rows or in_columns(model, design, self.run(model, theta, design, None, plan))

            return jax.vmap(one)(thetas, designs)
        solutions = solve_many(self.ode, thetas, _finite_times(designs), method=plan)
        solutions = jax.vmap(self._with_steady_state)(thetas, designs, solutions)

        def observed(theta, design, solution):
            return in_columns(model, design, self._observed(model, theta, design, solution))

        return jax.vmap(observed)(thetas, designs, solutions)

    def parameters_used(self, model, design: Design) -> tuple[str, ...]:
        task = None if self._gives_states(design) else self.task(model, design)
        if task is None:
            return super().parameters_used(model, design)
        # the engine has found them already
        return tuple(name for name in model.space.names if name in used_names(task))

    def errors(self, model, theta: Values, design: Design, values, names) -> Array:
        size = jnp.max(jnp.abs(values), axis=0)
        # What decays from the start on is solved to an error in proportion to the start, even if observed only later.
        state = self.ode.initial(theta, design.inputs)
        observed = model.observed(design.start, state, theta, design.inputs)
        start = jnp.abs(jnp.stack([jnp.asarray(observed[name], float) for name in names]))
        first = jnp.where(jnp.isfinite(start), start, 0.0)
        absolute = self.ode.atol if isinstance(self.ode.atol, int | float) else 0.0
        return self.ode.rtol * jnp.maximum(size, first) + absolute

    @property
    def _not_finite(self) -> int:
        # what follows from the states at once may have no value
        return Result.OUTPUT_NOT_FINITE if self.ode.algebraic is None else Result.NO_EQUILIBRIUM

    def _rows(self, task: Task, theta: Values, design: Design, plan: str, reverse: bool = False):
        """Outputs `(times, outputs)` in one array, since each operation on each of them would be compiled apart."""
        rows = (solve_adjoint if reverse else solve_compiled)(task, theta, design, plan)
        solved, finite = rows.result == 0, jnp.isfinite(rows.values)
        result = jnp.where(solved & ~jnp.all(finite), self._not_finite, rows.result)
        return jnp.where(solved & finite, rows.values, jnp.nan), Outcome(result, rows.steps, rows.implicit_steps)

    def _with_steady_state(self, theta: Values, design: Design, solution: Solution) -> Solution:
        """The solution with the steady state at its infinite times."""
        if not design.settles:
            return solution
        rest = steady_state(self.ode, theta, design.inputs)
        result = jnp.where(solution.result == 0, rest.result, solution.result)
        states = {
            name: jnp.where(result == 0, jnp.where(jnp.isinf(design.times), rest.states[name], values), jnp.nan)
            for name, values in solution.states.items()
        }
        return Solution(states, result, solution.steps + rest.steps, solution.implicit_steps)

    def _observed(self, model, theta: Values, design: Design, solution: Solution) -> Run:
        def observed(time, states):
            return model.observed(time, states, theta, design.inputs)

        outputs = jax.vmap(observed)(design.times, solution.states)
        outcome = Outcome(solution.result, solution.steps, solution.implicit_steps)
        return finished(model, outputs, outcome, design, self._not_finite)


def _one(design: Design) -> Design:
    """The first of stacked designs, or the only one."""
    return design if design.times.ndim == 1 else jax.tree.map(lambda leaf: leaf[0], design)


def _finite_times(design: Design) -> Design:
    """The design with the steady state's time replaced by the last finite one: what is integrated."""
    if not design.settles:
        return design
    times = jnp.where(jnp.isfinite(design.times), design.times, -jnp.inf)
    last = jnp.maximum(times.max(axis=-1, keepdims=True), design.start[..., None])
    times = jnp.where(jnp.isfinite(design.times), design.times, last)
    return eqx.tree_at(lambda design: design.times, design, times)
