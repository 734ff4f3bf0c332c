"""Calls of native code from compiled JAX, through XLA's foreign function interface (FFI).

XLA calls a handler with one argument, a call frame (`xla_interface`). One handler serves one model: it takes the
operands apart into members of a batch and calls `solve_member(model, call, b)` for each of them, on XLA's own threads
where they are free.

The last operand of a call holds the settings: its shape is `(..., settings)`, and the number of its rows is the number
of members. All other operands and all results have the same leading axes, so member `b` finds its part of operand `i`
at `operand(call, i, b)`.

Threads take members from an atomic counter. The calling thread works too and waits in the end only for members that
another thread has begun: a pool whose threads are all busy, be it with callers of this kind, delays nothing. A helper
that starts after the call has ended finds no member left; it touches nothing but the shared record, which the last one
to leave gives back. Each member is solved by the same code on its own memory, so results do not depend on the number of
threads or on the other members.
"""

import ctypes
import threading
import typing
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from .language import (
    WIDTH,
    Indices,
    NativeFunction,
    Record,
    Vector,
    address,
    allocate_indices,
    as_record,
    as_vector,
    atomic_add,
    call_address,
    is_null,
    native,
    record_fields,
    release,
    yield_thread,
)
from .library import Library, compile_library, compile_module
from .xla_interface import (
    EXECUTE,
    FLOAT64,
    INVALID_ARGUMENT,
    LOWER_HALF,
    METADATA_EXTENSION,
    NO_MEMORY,
    RESOURCE_EXHAUSTED,
    VERSION_WORD,
    WRONG_SIZE,
    WRONG_TYPE,
    Buffer,
    CallFrame,
    error_of,
    number_of_threads,
    schedule,
    supported,
)

# One counter for all models: where several threads call at once (chains of a sampler), each takes fewer helpers; they
# would only wait for one another.
CALLS_UNDER_WAY = np.zeros(1, dtype=np.int64)


class Model(Record):
    """What every model's record begins with."""

    # length of the last axis of the last operand
    settings: int
    # calls under way in this process, see `CALLS_UNDER_WAY`
    busy: Indices
    # members that are worth another thread
    share: int
    # what large batches need: a record of wide kernels and the address of a function `(model, call)` that solves
    # members side by side, 0 where there is nothing yet; address of a C function that makes both, 0 where there is none
    wide: int
    side_by_side: int
    make_wide: int


def bare_model(settings: int) -> dict[str, int | np.ndarray | None]:
    """The fields of `Model` for `library.pack`, of one that solves members one by one only."""
    head = {"settings": settings, "busy": CALLS_UNDER_WAY, "share": 1}
    return {**head, "wide": None, "side_by_side": None, "make_wide": None}


class Call(Record):
    """One call as `solve_member` sees it: addresses of buffers, and how many numbers of each belong to a member."""

    members: int
    count_operands: int
    operands: Indices
    operand_sizes: Indices
    count_results: int
    results: Indices
    result_sizes: Indices
    model: int
    # next member, members finished, references to this record
    counters: Indices


# The counters lie in cache lines of their own
NEXT, FINISHED, REFERENCES, COUNTERS = 0, 8, 16, 24
CALL_WORDS = len(record_fields(Call))


@native(inline=True)
def next_member(call: Call) -> int:
    """A member that no thread has taken yet; as many as there are, or more, where there is none."""
    return atomic_add(call.counters, NEXT, 1)


@native(inline=True)
def count_as_finished(call: Call) -> None:
    """To be called once for each member, when its results are written."""
    atomic_add(call.counters, FINISHED, 1)


@native(inline=True)
def operand(call: Call, i: int, member: int) -> Vector:
    """The part of operand `i` that belongs to a member."""
    return as_vector(call.operands[i])[member * call.operand_sizes[i] :]


@native(inline=True)
def result(call: Call, i: int, member: int) -> Vector:
    """The part of result `i` that belongs to a member."""
    return as_vector(call.results[i])[member * call.result_sizes[i] :]


@native
def _leave(call: Call) -> None:
    if atomic_add(call.counters, REFERENCES, -1) == 1:
        release(call)


@native
def _read_buffers(pointers: Indices, count: int, members: int, data: Indices, sizes: Indices) -> int:
    """Addresses and sizes by member of operands or results; 0, or which of the conditions on them does not hold."""
    for i in range(count):
        buffer = as_record(Buffer, pointers[i])
        if buffer.dtype & LOWER_HALF != FLOAT64:
            return 1
        size = 1
        for axis in range(buffer.rank):
            size *= buffer.dims[axis]
        if size % members != 0:
            return 2
        data[i] = buffer.data
        sizes[i] = size // members
    return 0


@native
def _count_members(frame: CallFrame, settings: int) -> int:
    """Rows of the last operand; -1 if it is none of settings."""
    if frame.count_operands == 0:
        return -1
    buffer = as_record(Buffer, frame.operands[frame.count_operands - 1])
    if buffer.rank == 0 or buffer.dims[buffer.rank - 1] != settings:
        return -1
    members = 1
    for axis in range(buffer.rank - 1):
        members *= buffer.dims[axis]
    return members


@native
def _new_call(frame: CallFrame, model: Model, members: int) -> Call:
    """The record of a call and its arrays in one piece of memory; null if there is none."""
    operands = frame.count_operands
    results = frame.count_results
    memory = allocate_indices(CALL_WORDS + 2 * (operands + results) + 8 + COUNTERS)
    call = as_record(Call, memory)
    if is_null(memory):
        return call
    call.members = members
    call.count_operands = operands
    call.operands = memory[CALL_WORDS:]
    call.operand_sizes = call.operands[operands:]
    call.count_results = results
    call.results = call.operand_sizes[operands:]
    call.result_sizes = call.results[results:]
    call.counters = call.result_sizes[results + 8 :]
    call.model = address(model)
    return call


def _in_groups(suits_group: NativeFunction | None, model_type: type[Record]) -> NativeFunction:
    """Native function `(call) -> bool`: whether its members are solved side by side."""

    @native
    def always_alone(call: Call) -> bool:
        return False

    if suits_group is None:
        return always_alone

    @native
    def in_groups_if_many(call: Call) -> bool:
        return call.members >= WIDTH and suits_group(as_record(model_type, call.model), call)

    return in_groups_if_many


def _worker(solve_member: NativeFunction, in_groups: NativeFunction, model_type: type[Record]) -> NativeFunction:
    """Native function `(call) -> None` that solves members until none is left."""

    @native
    def work_alone(call: Call) -> None:
        while True:
            member = next_member(call)
            if member >= call.members:
                return
            solve_member(as_record(model_type, call.model), call, member)
            count_as_finished(call)

    @native
    def work(call: Call) -> None:
        model = as_record(model_type, call.model)
        if in_groups(call) and model.wide != 0:
            call_address(model.side_by_side, model, call)
        else:
            work_alone(call)

    return work


def _executor(work: NativeFunction, in_groups: NativeFunction) -> NativeFunction:
    """Native function `(frame, model) -> error` that carries out a call, with helpers on XLA's threads."""

    @native
    def help_and_leave(call: Call) -> None:
        work(call)
        _leave(call)

    @native
    def execute(frame: CallFrame, model: Model) -> int:
        api = frame.api
        members = _count_members(frame, model.settings)
        if members < 0:
            return error_of(api, WRONG_SIZE, INVALID_ARGUMENT)
        if members == 0:
            return 0
        call = _new_call(frame, model, members)
        if is_null(call):
            return error_of(api, NO_MEMORY, RESOURCE_EXHAUSTED)
        wrong = _read_buffers(frame.operands, call.count_operands, members, call.operands, call.operand_sizes)
        if wrong == 0:
            wrong = _read_buffers(frame.results, call.count_results, members, call.results, call.result_sizes)
        if wrong != 0:
            release(call)
            return error_of(api, WRONG_TYPE if wrong == 1 else WRONG_SIZE, INVALID_ARGUMENT)
        if in_groups(call) and model.wide == 0 and model.make_wide != 0:
            call_address(model.make_wide)
        helpers = 0
        under_way = atomic_add(model.busy, 0, 1)
        if members > 1:
            threads = number_of_threads(api, frame.context) - under_way
            helpers = max(min(threads, members // model.share), 1) - 1
        # every reference is counted before the first helper can leave
        atomic_add(call.counters, REFERENCES, 1 + helpers)
        for _ in range(helpers):
            if not schedule(api, frame.context, address(help_and_leave), address(call)):
                _leave(call)
        work(call)
        while atomic_add(call.counters, FINISHED, 0) < members:
            yield_thread()
        atomic_add(model.busy, 0, -1)
        _leave(call)
        return 0

    return execute


def build(solve_member: NativeFunction, suits_group: NativeFunction | None = None) -> Library:
    """Compile the handler for one engine.

    Args:
        solve_member: native function `(model, call: Call, b: int) -> None` that solves member `b`; the record of its
            model begins with the fields of `Model`. It may run on several threads at once.
        suits_group: native function `(model, call: Call) -> bool`: whether members of a call, if they are `WIDTH` or
            more, are solved side by side by the function whose address is in the model. It takes them from
            `next_member`, and its results have to be the same. It is compiled by itself, when it is first needed.

    Returns:
        A library with the entry `handle(frame, model)`, for `register`.
    """
    (model_type, *_) = typing.get_type_hints(solve_member.python).values()
    head = list(record_fields(Model))
    if list(record_fields(model_type))[: len(head)] != head:
        raise TypeError(
            f"the first field of {model_type.__name__} is `settings: int`, the length of the last operand; it and the "
            f"following are those of Model: {', '.join(head)}."
        )

    in_groups = _in_groups(suits_group, model_type)
    execute = _executor(_worker(solve_member, in_groups, model_type), in_groups)

    @native
    def handle(frame: CallFrame, model: Model) -> int:
        extension = frame.extension
        if not is_null(extension) and extension.type & LOWER_HALF == METADATA_EXTENSION:
            extension.metadata[3] = VERSION_WORD
            return 0
        if frame.stage & LOWER_HALF == EXECUTE:
            return execute(frame, model)
        return 0

    return compile_library([handle], "engine")


def engine_runs() -> bool:
    """Whether this machine has the engine, and what is compiled here can call it."""
    return supported() and jax.default_backend() == "cpu"


_registered: set[str] = set()
_lock = threading.Lock()


def register(name: str, model_address: int, engine: Library) -> None:
    """Make a model known to XLA on CPUs; nothing happens if the name is known already.

    Args:
        name: the target's name, for `call_model`.
        model_address: address of the model's record, which must stay in memory.
        engine: what `build` returned.
    """
    with _lock:
        if name in _registered:
            return
        trampoline = compile_module(
            f"""
            define i64 @handler(i64 %frame) {{
              %function = inttoptr i64 {engine.address("handle")} to ptr
              %error = tail call i64 %function(i64 %frame, i64 {model_address})
              ret i64 %error
            }}
            """,
            0,
        )
        entry = ctypes.c_void_p(trampoline.get_function_address("handler"))
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(entry), platform="cpu")
        _registered.add(name)


def call_model(
    name: str, operands: Sequence[jax.Array], result_shapes: Sequence[tuple[int, ...]]
) -> tuple[jax.Array, ...]:
    """Call a registered model; under `jax.vmap` the whole batch is one call.

    Args:
        name: a name given to `register`.
        operands: float64 arrays of one member, the settings last.
        result_shapes: shapes of one member's results.

    Returns:
        The results, float64.

    Raises:
        TypeError: an operand is not float64 (is `jax_enable_x64` off?).
    """
    wrong = [str(each.dtype) for each in operands if each.dtype != jnp.float64]
    if wrong:
        raise TypeError(f"native models take float64 arrays, not {', '.join(wrong)}; is jax_enable_x64 off?")
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float64) for shape in result_shapes]
    return tuple(jax.ffi.ffi_call(name, shapes, vmap_method="broadcast_all")(*operands))
