"""XLA's foreign function interface (FFI) as records, and what a handler asks of XLA: errors, threads, tasks.

The layout is that of `xla/ffi/api/c_api.h` in `jax.ffi.include_dir()`, version 0.5, word by word.
"""

import functools
import re
import sys
from pathlib import Path

import jax
import numpy as np

from .language import Indices, Record, address, allocate_indices, call_address, is_null, native, release

API_VERSION = (0, 5)
# XLA_FFI_API_MAJOR and XLA_FFI_API_MINOR as two 32-bit fields in one word
VERSION_WORD = API_VERSION[0] | API_VERSION[1] << 32
LOWER_HALF = 0xFFFFFFFF
METADATA_EXTENSION = 1
EXECUTE = 3
FLOAT64 = 12
INVALID_ARGUMENT, RESOURCE_EXHAUSTED = 3, 8
# Sizes in bytes of the structures that a handler passes to XLA
ERROR_CREATE_SIZE, ERROR_DESTROY_SIZE, SCHEDULE_SIZE, NUMBER_OF_THREADS_SIZE = 28, 24, 40, 32


def _text_words(text: str) -> tuple[int, ...]:
    """A zero-terminated C string as 8-byte words."""
    data = text.encode() + b"\0"
    data += b"\0" * (-len(data) % 8)
    return tuple(np.frombuffer(data, dtype="<i8").tolist())


WRONG_TYPE = _text_words("uqbench: every operand and result of a native model is a float64 array.")
WRONG_SIZE = _text_words("uqbench: the operands of a native model do not have the same leading axes.")
NO_MEMORY = _text_words("uqbench: no memory for a call of a native model.")


class Extension(Record):
    """XLA_FFI_Metadata_Extension, or the head of another extension."""

    struct_size: int
    type: int
    next: int
    metadata: Indices


class Api(Record):
    """XLA_FFI_Api: functions by address."""

    struct_size: int
    extension: int
    version_struct_size: int
    version_extension: int
    version: int
    internal: int
    error_create: int
    error_get_details: int
    error_destroy: int
    handler_register: int
    stream_get: int
    type_register: int
    context_get: int
    state_set: int
    state_get: int
    memory_allocate: int
    memory_free: int
    pool_schedule: int
    pool_number_of_threads: int


class CallFrame(Record):
    """XLA_FFI_CallFrame up to the results."""

    struct_size: int
    extension: Extension
    api: Api
    context: int
    stage: int
    operands_struct_size: int
    operands_extension: int
    count_operands: int
    operand_types: int
    operands: Indices
    results_struct_size: int
    results_extension: int
    count_results: int
    result_types: int
    results: Indices


class Buffer(Record):
    """XLA_FFI_Buffer: a dense row-major array; `data` may be null where there are no elements."""

    struct_size: int
    extension: int
    dtype: int
    data: int
    rank: int
    dims: Indices


@native
def error_of(api: Api, message: Indices, code: int) -> int:
    """The address of a new error; 0, which is none, where there is no memory for it."""
    arguments = allocate_indices(4)
    if is_null(arguments):
        return 0
    arguments[0] = ERROR_CREATE_SIZE
    arguments[2] = address(message)
    arguments[3] = code
    error = call_address(api.error_create, arguments)
    release(arguments)
    return error


@native
def _discard(api: Api, error: int) -> None:
    """Give back an error that is not passed on."""
    arguments = allocate_indices(3)
    if not is_null(arguments):
        arguments[0] = ERROR_DESTROY_SIZE
        arguments[2] = error
        call_address(api.error_destroy, arguments)
        release(arguments)


@native
def number_of_threads(api: Api, context: int) -> int:
    """Threads of XLA's pool; 1 where there is none."""
    arguments = allocate_indices(5)
    if is_null(arguments):
        return 1
    arguments[0] = NUMBER_OF_THREADS_SIZE
    arguments[2] = context
    arguments[3] = address(arguments[4:])
    arguments[4] = 1
    error = call_address(api.pool_number_of_threads, arguments)
    threads = arguments[4]
    release(arguments)
    if error != 0:
        _discard(api, error)
        return 1
    return threads


@native
def schedule(api: Api, context: int, task: int, argument: int) -> bool:
    """Ask XLA's pool to run `task(argument)`; False if it does not."""
    arguments = allocate_indices(5)
    if is_null(arguments):
        return False
    arguments[0] = SCHEDULE_SIZE
    arguments[2] = context
    arguments[3] = task
    arguments[4] = argument
    error = call_address(api.pool_schedule, arguments)
    release(arguments)
    if error != 0:
        _discard(api, error)
        return False
    return True


@functools.cache
def supported() -> bool:
    """Whether this machine and this jaxlib have the memory layout for which the handler is written."""
    header = Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api" / "c_api.h"
    try:
        text = header.read_text()
    except OSError:
        return False
    version = tuple(
        int(found[1]) if (found := re.search(rf"#define XLA_FFI_API_{part} (\d+)", text)) else -1
        for part in ("MAJOR", "MINOR")
    )
    return version == API_VERSION and sys.maxsize == 2**63 - 1 and sys.byteorder == "little"
