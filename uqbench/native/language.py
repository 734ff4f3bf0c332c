"""A restricted subset of Python that is translated into LLVM intermediate representation (IR).

A function decorated with `@native` is never run by Python. Its source is read, typed and written as the text of an LLVM
module by `translation`; `library` makes machine code of it. The subset is that of C: numbers, pointers and records of
8-byte words, loops, branches and calls.

Types are written as annotations of parameters, results and record fields:

| annotation          | meaning                                                        |
|---------------------|----------------------------------------------------------------|
| `int`               | signed, 64 bits; overflow is undefined                         |
| `float`             | IEEE double                                                    |
| `bool`              | condition (parameters, results and locals, not record fields)  |
| `Vector`            | pointer to doubles                                             |
| `Table`             | pointer to doubles that nobody changes, such as a tuple        |
| `Indices`           | pointer to 64-bit integers                                     |
| `Kernel`            | pointer to a function `void(x, out, scratch)` of three Vectors |
| subclass of `Record`| pointer to consecutive 8-byte fields                           |

A local has the type of its first assignment in the text (or of `name: float = ...`), and is zero until it is assigned.
An `int` becomes a `float` where a float is wanted; nothing else is converted silently. A product that stands in a sum
(`a * b + c`) is fused with it where the processor can, nothing else is contracted or reordered, and NaN and infinities
are respected. Three assumptions are the author's duty: operands of the integer `//` and `%` are
non-negative, subscripts lie within the array, and a word in memory is read as the type (float, int or pointer) as which
it was last written.

Functions of `math` and `min`, `max`, `abs`, `pow` mean what they mean in Python, except that `floor` and `ceil` return
a float, that division by zero, `sqrt(-1.0)` and overflow give infinities and NaN instead of exceptions, and that
`int(x)` saturates (NaN becomes 0).

A function may be translated a second time as `wide(function)`: then a `float` is `WIDTH` numbers in vector registers,
an element of a `Vector` is `WIDTH` doubles one after the other, and all else stays as it is. Each of the numbers is
what the function itself would make of it, to the last bit. Wide functions compare floats only in conditional
expressions, where both branches are evaluated; they reach no `float` of a record. One called by a function not wide
has no parameter and no result of type `float`. What stands under an `if` that `is_wide()` excludes is not translated.

Example:
    >>> from uqbench.native.translation import translate
    >>> @native
    ... def dot(x: Vector, y: Vector, n: int) -> float:
    ...     total = 0.0
    ...     for k in range(n):
    ...         total += x[k] * y[k]
    ...     return total
    >>> "define double @\\"dot\\"" in translate([dot])
    True
"""

import functools
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, copysign, cos, exp, floor, isfinite, isnan, log, nextafter, sin, sqrt

__all__ = [
    "WIDTH",
    "Indices",
    "Kernel",
    "LanguageError",
    "NativeFunction",
    "Record",
    "Table",
    "Vector",
    "address",
    "allocate",
    "allocate_indices",
    "allocate_record",
    "as_indices",
    "as_kernel",
    "as_record",
    "as_vector",
    "atomic_add",
    "call_address",
    "ceil",
    "copy",
    "copysign",
    "cos",
    "exp",
    "exponent",
    "fill",
    "floor",
    "is_null",
    "is_wide",
    "isfinite",
    "isnan",
    "log",
    "native",
    "nextafter",
    "power_of_two",
    "record_fields",
    "release",
    "significand",
    "sin",
    "sqrt",
    "wide",
    "yield_thread",
]


# Numbers that a wide function works on at once: those of one register of AVX-512, of two of AVX2.
WIDTH = 8


class LanguageError(SyntaxError):
    """A native function uses what the restricted language does not have; file and line say where."""


class Vector:
    """Annotation: pointer to doubles."""


class Table:
    """Annotation: pointer to doubles that stay as they are; each of them is one number also in a wide function."""


class Indices:
    """Annotation: pointer to 64-bit integers."""


class Kernel:
    """Annotation: pointer to a compiled function `void(double* x, double* out, double* scratch)`."""


class Record:
    """Base of records: a subclass declares its 8-byte fields, in order, as class annotations.

    A value of such a type is a pointer to the first field. Fields of a base class come first.
    """


@dataclass(frozen=True, eq=False)
class NativeFunction:
    """A function of the restricted language, kept for translation (see `native`)."""

    python: types.FunctionType
    inline: bool
    noalias: bool | tuple[str, ...]

    @property
    def __name__(self) -> str:
        return self.python.__name__

    def __call__(self, *arguments: object) -> typing.NoReturn:
        raise TypeError(f"{self.__name__} is a native function: compile it with uqbench.native.library.compile_library")


@typing.overload
def native(function: Callable) -> NativeFunction: ...
@typing.overload
def native(*, inline: bool = False, noalias: bool | Sequence[str] = False) -> Callable[[Callable], NativeFunction]: ...
def native(
    function: Callable | None = None, *, inline: bool = False, noalias: bool | Sequence[str] = False
) -> NativeFunction | Callable[[Callable], NativeFunction]:
    """Decorator: keep a function of the restricted language for translation.

    Args:
        function: the function; its source must be readable.
        inline: always substitute the body for a call.
        noalias: names of pointer parameters (or True for all) through which alone the function reaches the memory
            behind them. A false promise gives wrong numbers.

    Returns:
        A `NativeFunction`, to be called by other native functions or given to `compile_library`.
    """
    if function is None:
        return lambda each: native(each, inline=inline, noalias=noalias)
    return NativeFunction(inspect.unwrap(function), inline, noalias if isinstance(noalias, bool) else tuple(noalias))


@functools.cache
def record_fields(record: type[Record]) -> dict[str, type]:
    """Names and types of a record's fields, in the order in which they lie in memory."""
    return {name: kind for name, kind in typing.get_type_hints(record).items() if not name.startswith("__")}


def _only_native(name: str) -> typing.NoReturn:
    raise TypeError(f"{name} has a meaning only inside a native function")


def allocate(n: int) -> Vector:
    """Memory for `n` doubles, set to zero; null if there is none. To be given back with `release`."""
    _only_native("allocate")


def allocate_indices(n: int) -> Indices:
    """Memory for `n` integers, set to zero; null if there is none."""
    _only_native("allocate_indices")


def allocate_record(record: type[Record]) -> Record:
    """Memory for one record, set to zero; null if there is none."""
    _only_native("allocate_record")


def release(pointer: Vector | Indices | Record) -> None:
    """Give allocated memory back; nothing for a null pointer."""
    _only_native("release")


def copy(target: Vector, source: Vector, n: int) -> None:
    """Copy `n` >= 0 words between arrays of the same type that do not overlap."""
    _only_native("copy")


def fill(target: Vector, value: float, n: int) -> None:
    """Set the first `n` elements of a Vector or of Indices to `value`."""
    _only_native("fill")


def atomic_add(target: Indices, index: int, value: int) -> int:
    """Add to an element in one sequentially consistent step and return what it was before (`value` 0: read)."""
    _only_native("atomic_add")


def is_null(pointer: Vector | Indices | Kernel | Record) -> bool:
    """Whether a pointer is null; `pointer is None` means the same."""
    _only_native("is_null")


def as_record(record: type[Record], pointer: Vector | Indices | Record | int) -> Record:
    """The pointer (or the address, an int) taken as pointer to a record."""
    _only_native("as_record")


def as_vector(pointer: Vector | Indices | Record | int) -> Vector:
    """The pointer (or the address, an int) taken as Vector."""
    _only_native("as_vector")


def as_indices(pointer: Vector | Indices | Record | int) -> Indices:
    """The pointer (or the address, an int) taken as Indices."""
    _only_native("as_indices")


def as_kernel(pointer: int) -> Kernel:
    """The address taken as Kernel."""
    _only_native("as_kernel")


def address(pointer: Vector | Indices | Kernel | Record | NativeFunction) -> int:
    """The address of what a pointer points to, or of a native function."""
    _only_native("address")


def call_address(function: int, *arguments: int | float | Vector | Indices | Record) -> int:
    """Call a C function at an address; its result is read as a 64-bit integer (meaningless if it returns none)."""
    _only_native("call_address")


def wide(function: NativeFunction) -> Callable:
    """The function for `WIDTH` problems at once; to be called at once, as in `wide(f)(x, n)`."""
    _only_native("wide")


def is_wide() -> bool:
    """Whether the function is translated as a wide one; known then, alone or in a condition with `and`."""
    _only_native("is_wide")


def exponent(x: float) -> float:
    """The whole number e in x = m 2^e with 1 <= m < 2, of a normal x > 0."""
    _only_native("exponent")


def significand(x: float) -> float:
    """The number m in x = m 2^e with 1 <= m < 2, of a normal x > 0."""
    _only_native("significand")


def power_of_two(e: float) -> float:
    """2^e of a whole number -1022 <= e <= 1023."""
    _only_native("power_of_two")


def yield_thread() -> None:
    """Let another thread of the operating system run."""
    _only_native("yield_thread")
