"""The machine code of a task: its functions as kernels, the record that the engine reads, and the engine itself."""

import ctypes
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import jax
import numpy as np

from ..kernels import ModelKernels, NotAKernel, Sources, build
from ..kernels.elimination_code import elimination_kernels
from ..native import foreign_call, xla_interface
from ..native.engine import calls, group, point, records
from ..native.engine.elimination import Elimination, eliminate
from ..native.language import record_fields
from ..native.library import PackedRecord, compile_library, pack
from ..system import Ode
from .task import INPUT, PAST, Task, state_names

# Compartments (`native.engine.compartments`) that are solved before another thread has begun with its own.
FEW = 16
DIRECTIONS = {"both": 0, "rising": 1, "falling": -1}


class Compiled(NamedTuple):
    """A task's kernels under the name by which compiled JAX calls them."""

    target: str
    record: PackedRecord
    kernels: ModelKernels
    # keeps what the record points to for large batches
    wide: object


@lru_cache(maxsize=256)
def task_of(
    system: Ode,
    observe: Callable | None,
    outputs: tuple[str, ...],
    parameters: tuple[str, ...],
    inputs: tuple[tuple[str, tuple[int, ...]], ...],
) -> Task | None:
    """The task, or None where its functions cannot become kernels or this machine has no engine for them."""
    if not foreign_call.engine_runs():
        return None
    task = Task(system, observe, parameters, inputs, state_names(system, parameters, inputs), outputs)
    task = task if outputs else task._replace(outputs=task.states)
    try:
        compiled(task, ())
    except NotAKernel:
        return None
    return task


def obstacle(task: Task) -> str:
    """Why a task is left to the solver in JAX; empty where it is not."""
    if not xla_interface.supported():
        return "this version of JAX has another interface for native code"
    if jax.default_backend() != "cpu":
        return f"JAX runs on {jax.default_backend()}"
    try:
        compiled(task, ())
    except NotAKernel as error:
        return error.reason
    return ""


@lru_cache(maxsize=512)
def compiled(task: Task, active: tuple[tuple[str, int], ...]) -> Compiled:
    """Kernels with derivatives in the `active` entries (name, flat index) of parameters and inputs.

    Raises:
        NotAKernel: some function has no formula; never for a task of `task_of`.
    """
    kernels = build(_sources(task), active)
    # everything in the record that does not follow from the kernels belongs to the name
    directions = "".join("brf"[DIRECTIONS[event.direction]] for event in task.system.events)
    target = f"uqbench_{kernels.digest}{directions and '_' + directions}"
    # XLA keeps a name for ever, and with it the first kernels under that name
    if target not in _named:
        elimination = eliminate(len(task.states), _entries(kernels))
        record = _record(task, kernels, active, elimination)
        _named[target] = Compiled(target, record, kernels, _offer_wide(record, kernels, elimination))
        foreign_call.register(target, _named[target].record.address, engine())
    return _named[target]


_named: dict[str, Compiled] = {}


def _offer_wide(record: PackedRecord, kernels: ModelKernels, elimination: Elimination) -> object:
    """Lets the engine have kernels for several members at once, compiled when a batch first asks for them.

    Returns:
        What has to stay in memory as long as the record.
    """
    fields = list(record_fields(records.Model))
    kept: list[object] = []
    lock = threading.Lock()

    def make() -> None:
        with lock:
            if not kept:
                places = [elimination.places[entry] for entry in _entries(kernels)]
                addresses, engines = kernels.compile_wide(elimination_kernels(elimination, places))
                words = record.words.copy()
                for name, address in addresses.items():
                    words[fields.index(name)] = address
                kept.extend([words, engines])
                # last what says that all of it is there
                record.words[fields.index("side_by_side")] = group_engine().address(group.solve_group.__name__)
                record.words[fields.index("wide")] = words.ctypes.data

    function = ctypes.CFUNCTYPE(None)(make)
    record.words[fields.index("make_wide")] = ctypes.cast(function, ctypes.c_void_p).value
    return function, kept


@lru_cache(maxsize=1)
def engine():
    """The integrator as machine code: compiled once for each installation, read back afterwards."""
    return foreign_call.build(calls.solve_member, group.suits_group)


@lru_cache(maxsize=1)
def group_engine():
    """The same for several members of a batch at once; compiled when the first large batch comes."""
    return compile_library([group.solve_group], "group")


@lru_cache(maxsize=1)
def point_engine():
    """The same for right-hand sides and Jacobians at single points."""
    return foreign_call.build(point.linearise_member)


def _sources(task: Task) -> Sources:
    system, names = task.system, [name for name, _ in task.inputs]

    def split(q):
        return {name: q[name] for name in task.parameters}, {name: q[INPUT + name] for name in names}

    def whole(y, q):
        return {**y, **{name: q[PAST][k] for k, name in enumerate(system.delays)}}

    def rate(t, y, q):
        return system.rhs(t, whole(y, q), *split(q))

    def outputs(observe):
        def named(t, y, q):
            found = observe(t, whole(y, q), *split(q))
            return {name: found[name] for name in task.outputs}

        return named

    def event(each):
        def root(t, y, q):
            return each.root(t, y, *split(q))

        def change(t, y, q):
            return each.change(t, y, *split(q))

        return root, None if each.change is None else change

    def delays(t, y, q):
        return {name: delay.length(*split(q)) for name, delay in system.delays.items()}

    def history(t, y, q):
        return {name: delay.before(t, y, *split(q)) for name, delay in system.delays.items()}

    shapes = dict.fromkeys(task.parameters, ()) | {INPUT + name: shape for name, shape in task.inputs}
    events = tuple(event(each) for each in system.events)
    sources = Sources(rate, task.states, shapes, None if task.observe is None else outputs(task.observe), events)
    if not system.delays:
        return sources
    delayed = tuple(delay.state for delay in system.delays.values())
    shapes = {**shapes, PAST: (2 * len(delayed),)}
    return replace(sources, q_shapes=shapes, delayed=delayed, past=PAST, delays=delays, history=history)


def _entries(kernels) -> list[tuple[int, int]]:
    """Rows and columns of the entries of the Jacobian."""
    return list(zip(kernels.jacobian_rows.tolist(), kernels.jacobian_columns.tolist(), strict=True))


def _cyclic(kernels, n: int) -> np.ndarray:
    """1 for the entries of the Jacobian whose two states depend on each other, by whatever way: a cycle of states."""
    reached = np.eye(n, dtype=np.float32)
    reached[kernels.jacobian_rows, kernels.jacobian_columns] = 1.0
    # paths of twice the length each time
    for _ in range(n.bit_length()):
        reached = np.minimum(reached @ reached, 1.0)
    return reached[kernels.jacobian_columns, kernels.jacobian_rows] > 0.0


def _record(task: Task, kernels, active, elimination: Elimination) -> PackedRecord:
    n = len(task.states)
    places = [elimination.places[entry] for entry in _entries(kernels)]
    offsets, position = {}, 0
    for name, shape in [(name, ()) for name in task.parameters] + [(INPUT + name, s) for name, s in task.inputs]:
        offsets[name] = position
        position += int(np.prod(shape, dtype=int))

    def indices(values):
        return np.ascontiguousarray(values, dtype=np.int64)

    values = {
        "settings": records.SETTINGS,
        "busy": foreign_call.CALLS_UNDER_WAY,
        "share": FEW if kernels.coefficients else 1,
        "wide": None,
        "side_by_side": None,
        "factors": None,
        "substitution": None,
        "make_wide": None,
        "states": n,
        "parameters": position + 2 * len(task.system.delays),
        "delays": len(task.system.delays),
        "delayed_states": indices([task.states.index(delay.state) for delay in task.system.delays.values()]),
        "directions": len(active),
        "outputs": len(task.outputs),
        "events": len(task.system.events),
        "conditions": kernels.conditions,
        "switches": kernels.switches,
        "uses_time": int(kernels.uses_time),
        "unlocated": int(kernels.unlocated),
        "scratch": max(1, kernels.scratch),
        "observes": int(task.observe is not None),
        "event_directions": indices([DIRECTIONS[event.direction] for event in task.system.events]),
        "direction_parameters": indices([offsets[name] + index for name, index in active]),
        "jacobian_places": indices(places),
        "jacobian_cyclic": indices(_cyclic(kernels, n)),
        "factor_size": elimination.size,
        "lower_count": len(elimination.lower_rows),
        "upper_count": len(elimination.upper_rows),
    }
    values |= {
        name: getattr(kernels, name)
        for name in (
            *("rate", "linearise", "variation", "curvature", "rounding", "observe", "observe_variation", "roots"),
            *("roots_variation", "modes", "change", "change_variation", "switch_times", "switch_variation"),
            *("delay_times", "delay_variation", "history", "history_variation"),
            *("coefficients", "coefficients_variation"),
        )
    }
    for name, rows, columns in (
        ("jacobian", kernels.jacobian_rows, kernels.jacobian_columns),
        # the engine counts directions after the states
        ("forcing", kernels.forcing_rows, kernels.forcing_columns + n),
        ("curvature", kernels.curvature_rows, kernels.curvature_columns),
        ("observe", kernels.observe_rows, kernels.observe_columns),
        ("roots", kernels.roots_rows, kernels.roots_columns),
        ("change", kernels.change_rows, kernels.change_columns),
        ("switch", kernels.switch_rows, kernels.switch_columns),
        ("delay", kernels.delay_rows, kernels.delay_columns),
        ("history", kernels.history_rows, kernels.history_columns),
        ("coefficients", kernels.coefficients_rows, kernels.coefficients_columns),
    ):
        values |= {f"{name}_count": len(rows), f"{name}_rows": indices(rows), f"{name}_columns": indices(columns)}
    values |= {
        name: getattr(elimination, name)
        for name in (
            *("order", "lower_starts", "lower_rows", "lower_sources", "upper_rows", "upper_sources"),
            *("update_starts", "updates", "update_lower", "update_upper"),
        )
    }
    return pack(records.Model, **values)
