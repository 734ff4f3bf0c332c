"""A restricted subset of Python that is translated into LLVM intermediate representation (IR).

A function decorated with `@native` is never run by Python. Its source is read, typed and written as the text of an LLVM
module by `translate`; `uqbench.native.library` makes machine code of it. The subset is that of C: numbers, pointers and
records of 8-byte words, loops, branches and calls.

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
    >>> @native
    ... def dot(x: Vector, y: Vector, n: int) -> float:
    ...     total = 0.0
    ...     for k in range(n):
    ...         total += x[k] * y[k]
    ...     return total
    >>> "define double @\\"dot\\"" in translate([dot])
    True
"""

import ast
import builtins
import functools
import inspect
import linecache
import math
import struct
import sys
import types
import typing
from collections.abc import Callable, Iterable, Sequence
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
    "translate",
    "wide",
    "yield_thread",
]


# Of an IEEE double.
SIGNIFICAND_BITS, EXPONENT_BIAS = 52, 1023
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


@native(inline=True)
def _fill_vector(target: Vector, value: float, n: int) -> None:
    for k in range(n):
        target[k] = value


@native(inline=True)
def _fill_indices(target: Indices, value: int, n: int) -> None:
    for k in range(n):
        target[k] = value


class _Null:
    """Type of the literal None: converts to any pointer."""


class _Mask:
    """Type of a comparison of floats in a wide function: one truth for each number."""


# LLVM intrinsics of one or two doubles by the Python function that they stand for
_INTRINSICS = {
    math.sqrt: "sqrt",
    math.exp: "exp",
    math.log: "log",
    math.sin: "sin",
    math.cos: "cos",
    math.floor: "floor",
    math.ceil: "ceil",
    math.fabs: "fabs",
    math.copysign: "copysign",
    math.pow: "pow",
    builtins.pow: "pow",
}
_C_FUNCTIONS = {
    math.nextafter: ("nextafter", 2),
    math.fmod: ("fmod", 2),
    math.tan: ("tan", 1),
    math.tanh: ("tanh", 1),
    math.expm1: ("expm1", 1),
    math.log1p: ("log1p", 1),
}
_TWO_OPERANDS = {"copysign", "pow"}
# Those that have one right result, whether of one number or of several at once.
_EXACT = {"sqrt", "floor", "ceil", "fabs", "copysign", "fmuladd"}
_CASTS = {as_vector: Vector, as_indices: Indices, as_kernel: Kernel}
_COMPARISONS = {
    ast.Lt: ("slt", "olt"),
    ast.LtE: ("sle", "ole"),
    ast.Gt: ("sgt", "ogt"),
    ast.GtE: ("sge", "oge"),
    ast.Eq: ("eq", "oeq"),
    ast.NotEq: ("ne", "une"),
}
_INTEGER_OPERATIONS = {
    ast.Add: "add nsw",
    ast.Sub: "sub nsw",
    ast.Mult: "mul nsw",
    ast.FloorDiv: "sdiv",
    ast.Mod: "srem",
    ast.BitAnd: "and",
    ast.BitOr: "or",
    ast.BitXor: "xor",
    ast.LShift: "shl",
    ast.RShift: "ashr",
}
_FLOAT_OPERATIONS = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
# One access type for each kind of word: a store of a double does not change an integer or a pointer (see the module's
# text), so lengths and pointers in records need not be read again in a loop that writes doubles.
_ALIAS_TYPES = """!0 = !{!"uqbench"}
!1 = !{!"float", !0, i64 0}
!2 = !{!"int", !0, i64 0}
!3 = !{!"pointer", !0, i64 0}
!4 = !{!1, !1, i64 0}
!5 = !{!2, !2, i64 0}
!6 = !{!3, !3, i64 0}
"""


def _is_record(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Record) and kind is not Record


def _is_pointer(kind: object) -> bool:
    return kind in (Vector, Table, Indices, Kernel) or _is_record(kind)


def _llvm_type(kind: type | None) -> str:
    return {int: "i64", float: "double", bool: "i1", type(None): "void", None: "void"}.get(kind, "ptr")


def _alias_tag(kind: type) -> str:
    return ", !tbaa " + {float: "!4", int: "!5"}.get(kind, "!6")


def _local(name: str) -> str:
    return f'%"v.{name}"'


def _float_literal(value: float) -> str:
    return "0x" + struct.pack(">d", value).hex().upper()


def _literal(value: int | float) -> str:
    return _float_literal(value) if isinstance(value, float) else str(int(value))


@dataclass(frozen=True)
class _Value:
    text: str
    type: type


@dataclass(frozen=True)
class _Signature:
    symbol: str
    parameters: dict[str, type]
    result: type  # NoneType for none


_modules: dict[str, tuple[str, ast.Module]] = {}


def _parse(filename: str) -> ast.Module:
    text = "".join(linecache.getlines(filename))
    known = _modules.get(filename)
    if known is None or known[0] != text:
        _modules[filename] = known = (text, ast.parse(text, filename))
    return known[1]


def _definition(function: types.FunctionType) -> ast.FunctionDef:
    """The function's syntax tree, with the line numbers of its file."""
    code = function.__code__
    for node in ast.walk(_parse(code.co_filename)):
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if first <= code.co_firstlineno <= node.lineno:
                return node
    raise LanguageError(f"the source of {function.__qualname__} in {code.co_filename} cannot be read")


def translate(entries: Iterable[NativeFunction]) -> str:
    """The text of one LLVM module with the entries, under their own names, and everything that they call.

    Args:
        entries: functions that the machine code must export.

    Returns:
        LLVM IR that names no target.

    Raises:
        LanguageError: something outside the language, with its file and line.
        ValueError: two entries of the same name.
    """
    return _Module(list(entries)).text()


# Instructions of a function that is not to be put into its callers, unless it asks for it: the optimiser would do so
# wherever there is only one of them, and takes twice as long over what grows so.
LONGEST_INLINED = 40


class _Module:
    """Functions, constants and external declarations of one LLVM module while it grows."""

    def __init__(self, entries: list[NativeFunction]):
        names = [entry.__name__ for entry in entries]
        if len(set(names)) < len(names):
            raise ValueError(f"entries need different names; given are {', '.join(names)}.")
        self.entries = {entry: entry.__name__ for entry in entries}
        self.signatures: dict[tuple[NativeFunction, bool], _Signature] = {}
        self.waiting: list[tuple[NativeFunction, bool]] = []
        self.declarations: dict[str, str] = {}
        self.constants: dict[str, str] = {}  # symbol by body
        self.definitions: list[str] = []
        self.symbols: set[str] = set(names)
        for entry in entries:
            self.signature(entry)

    def text(self) -> str:
        while self.waiting:
            self.definitions.append(_Function(self, *self.waiting.pop(0)).text())
        constants = (f"{symbol} = private unnamed_addr constant {body}\n" for body, symbol in self.constants.items())
        attributes = "".join(
            f"attributes #{k} = {{ nounwind {how}}}\n" for k, how in enumerate(("", "alwaysinline ", "noinline "))
        )
        return "\n".join([*constants, *self.declarations.values(), *self.definitions, attributes, _ALIAS_TYPES])

    def signature(self, function: NativeFunction, is_wide: bool = False) -> _Signature:
        """Parameter types, result type and symbol; a function that is met for the first time joins the module."""
        key = (function, is_wide)
        if key not in self.signatures:
            node = _definition(function.python)
            self.signatures[key] = self._read_signature(function, node, is_wide)
            self.waiting.append(key)
        return self.signatures[key]

    def _read_signature(self, function: NativeFunction, node: ast.FunctionDef, is_wide: bool) -> _Signature:
        def fail(where: ast.AST, message: str) -> typing.NoReturn:
            raise LanguageError(message, (function.python.__code__.co_filename, where.lineno, 1, None))

        listed = node.args
        if listed.vararg or listed.kwarg or listed.kwonlyargs or listed.defaults or listed.kw_defaults:
            fail(node, f"{node.name}: a native function has plain positional parameters without defaults")
        parameters = {}
        names = _names(function.python)
        for each in [*listed.posonlyargs, *listed.args]:
            if each.annotation is None:
                fail(each, f"{node.name}: parameter {each.arg} has no type annotation")
            kind = _annotation(each.annotation, names)
            if kind not in (int, float, bool) and not _is_pointer(kind):
                fail(each, f"{node.name}: {ast.unparse(each.annotation)} is no type of a native parameter")
            parameters[each.arg] = kind
        unknown = set(() if isinstance(function.noalias, bool) else function.noalias) - set(parameters)
        if unknown:
            fail(node, f"{node.name}: noalias names {', '.join(sorted(unknown))}, which is no parameter")
        result = type(None) if node.returns is None else _annotation(node.returns, names)
        result = type(None) if result is None else result
        if result not in (int, float, bool, type(None)) and not _is_pointer(result):
            fail(node, f"{node.name}: {ast.unparse(node.returns)} is no type of a native result")
        symbol = None if is_wide else self.entries.get(function)
        if symbol is None:
            stem = f"{function.python.__module__}.{function.python.__qualname__}"
            stem = symbol = f"{stem}.wide" if is_wide else stem
            number = 1
            while symbol in self.symbols:
                number += 1
                symbol = f"{stem}.{number}"
            self.symbols.add(symbol)
        return _Signature(f'@"{symbol}"', parameters, result)

    def declare(self, name: str, text: str) -> str:
        self.declarations.setdefault(name, text)
        return "@" + name

    def constant(self, body: str) -> str:
        """A constant array; equal ones are stored once."""
        return self.constants.setdefault(body, f"@constant.{len(self.constants)}")


def _names(function: types.FunctionType) -> dict[str, object]:
    """What names mean outside the function: builtins, the module's globals, and variables of enclosing functions."""
    closure = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    filled = {}
    for name, cell in closure.items():
        try:
            filled[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return {**vars(builtins), **function.__globals__, **filled}


def _annotation(node: ast.expr, names: dict[str, object]) -> object:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.parse(node.value, mode="eval").body
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return getattr(_annotation(node.value, names), node.attr, None)
    return None if node is None else ast.unparse(node)


class _Function:
    """One function on its way from syntax tree to IR."""

    def __init__(self, module: _Module, function: NativeFunction, is_wide: bool):
        self.module = module
        self.function = function
        self.is_wide = is_wide
        self.double = f"<{WIDTH} x double>" if is_wide else "double"
        self.comparison = _Mask if is_wide else bool
        self.filename = function.python.__code__.co_filename
        self.node = _definition(function.python)
        self.signature = module.signature(function, is_wide)
        self.names = _names(function.python)
        stored = {n.id for n in ast.walk(self.node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        self.local_names = stored | set(self.signature.parameters)
        self.locals: dict[str, type] = {}
        self.entry: list[str] = []
        self.body: list[str] = []
        self.counter = 0
        self.block = "start"
        self.open = True  # whether the current block still needs a last instruction
        self.jumped: set[str] = set()
        self.loops: list[tuple[str, str]] = []  # labels of continue and break

    def fail(self, node: ast.AST, message: str) -> typing.NoReturn:
        line = getattr(node, "lineno", self.node.lineno)
        raise LanguageError(
            f"{self.node.name}: {message}", (self.filename, line, 1, linecache.getline(self.filename, line))
        )

    # Types and numbers, which are several in a wide function

    def llvm(self, kind: type) -> str:
        return self.double if kind is float else _llvm_type(kind)

    def parameter(self, kind: type) -> str:
        return "i1 zeroext" if kind is bool else self.llvm(kind)

    def access(self, kind: type) -> str:
        """What follows the pointer of a load or store in memory: arrays begin at any word."""
        return (", align 8" if self.is_wide and kind is float else "") + _alias_tag(kind)

    def float_literal(self, value: float) -> str:
        text = _float_literal(value)
        return f"splat (double {text})" if self.is_wide else text

    def spread(self, one: str) -> str:
        """One double for all of a wide function."""
        if not self.is_wide:
            return one
        first = self.emit(f"insertelement {self.double} poison, double {one}, i64 0")
        zeros = f"<{WIDTH} x i32> zeroinitializer"
        return self.emit(f"shufflevector {self.double} {first}, {self.double} poison, {zeros}")

    def one_by_one(self, symbol: str, floats: Sequence[str]) -> str:
        """A function of doubles applied to each number."""
        if not self.is_wide:
            return self.emit(f"call double {symbol}({', '.join(f'double {each}' for each in floats)})")
        result = "poison"
        for k in range(WIDTH):
            parts = [self.emit(f"extractelement {self.double} {each}, i64 {k}") for each in floats]
            one = self.emit(f"call double {symbol}({', '.join(f'double {each}' for each in parts)})")
            result = self.emit(f"insertelement {self.double} {result}, double {one}, i64 {k}")
        return result

    # Writing

    def text(self) -> str:
        function, signature = self.function, self.signature
        parameters = []
        for name, kind in signature.parameters.items():
            restricted = _is_pointer(kind) and (
                function.noalias if isinstance(function.noalias, bool) else name in function.noalias
            )
            parameters.append(f'{self.parameter(kind)}{" noalias" if restricted else ""} %"p.{name}"')
            self.declare_local(name, kind, f'%"p.{name}"')
        self.statements(self.node.body)
        if self.open:
            if signature.result is not type(None):
                self.fail(self.node, "not every path ends with a return")
            self.body.append("  ret void")
        linkage = "" if function in self.module.entries and not self.is_wide else "internal "
        result = "zeroext i1" if signature.result is bool else self.llvm(signature.result)
        attributes = 1 if function.inline else 2 if len(self.body) > LONGEST_INLINED else 0
        head = f"define {linkage}{result} {signature.symbol}({', '.join(parameters)}) #{attributes} {{"
        return "\n".join([head, "entry:", *self.entry, "  br label %start", "start:", *self.body, "}", ""])

    def name(self) -> str:
        self.counter += 1
        return f"%t{self.counter}"

    def label(self, stem: str) -> str:
        self.counter += 1
        return f"{stem}{self.counter}"

    def emit(self, instruction: str) -> str:
        name = self.name()
        self.body.append(f"  {name} = {instruction}")
        return name

    def value(self, instruction: str, kind: type) -> _Value:
        return _Value(self.emit(instruction), kind)

    def jump(self, label: str) -> None:
        if self.open:
            self.body.append(f"  br label %{label}")
            self.jumped.add(label)
            self.open = False

    def branch(self, condition: str, yes: str, no: str) -> None:
        if self.open:
            self.body.append(f"  br i1 {condition}, label %{yes}, label %{no}")
            self.jumped |= {yes, no}
            self.open = False

    def begin(self, label: str) -> None:
        """Start a block; one to which nothing jumps is still written but counts as closed."""
        self.jump(label)
        self.body.append(f"{label}:")
        self.block = label
        self.open = label in self.jumped
        if not self.open:
            self.body.append("  unreachable")

    def declare_local(self, name: str, kind: type, initial: str | None = None) -> None:
        self.locals[name] = kind
        text = self.llvm(kind)
        zero = {int: "0", float: "zeroinitializer", bool: "false"}.get(kind, "null")
        self.entry.append(f"  {_local(name)} = alloca {text}")
        self.entry.append(f"  store {text} {initial or zero}, ptr {_local(name)}")

    # Statements

    def statements(self, nodes: Sequence[ast.stmt]) -> None:
        for node in nodes:
            if not self.open:  # after return, break or continue: checked, but unreachable
                self.body.append(f"{self.label('dead')}:")
                depth = len(self.body)
                self.open = True
                self.statement(node)
                del self.body[depth - 1 :]
                self.open = False
                continue
            self.statement(node)

    def statement(self, node: ast.stmt) -> None:
        method = getattr(self, "statement_" + type(node).__name__, None)
        if method is None:
            self.fail(node, f"{type(node).__name__} is not supported: {ast.unparse(node).splitlines()[0]}")
        method(node)

    def statement_Pass(self, node: ast.Pass) -> None:
        pass

    def statement_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return
        if not isinstance(node.value, ast.Call):
            self.fail(node, f"a statement without effect: {ast.unparse(node)}")
        self.call(node.value)

    def statement_Assign(self, node: ast.Assign) -> None:
        if len(node.targets) > 1 or isinstance(node.targets[0], ast.Tuple | ast.List):
            self.fail(node, "one target for each assignment")
        self.assign(node.targets[0], self.expression(node.value))

    def statement_AnnAssign(self, node: ast.AnnAssign) -> None:
        kind = _annotation(node.annotation, self.names)
        if kind not in (int, float, bool) and not _is_pointer(kind):
            self.fail(node, f"{ast.unparse(node.annotation)} is no type of a local")
        if not isinstance(node.target, ast.Name):
            self.fail(node, "only a local can be annotated")
        if node.target.id in self.locals and self.locals[node.target.id] is not kind:
            self.fail(node, f"{node.target.id} already is {self.locals[node.target.id].__name__}")
        if node.target.id not in self.locals:
            self.declare_local(node.target.id, kind)
        if node.value is not None:
            self.assign(node.target, self.expression(node.value))

    def statement_AugAssign(self, node: ast.AugAssign) -> None:
        pointer, kind = self.place(node.target)
        tag = "" if isinstance(node.target, ast.Name) else self.access(kind)
        old = self.value(f"load {self.llvm(kind)}, ptr {pointer}{tag}", kind)
        if isinstance(node.op, ast.Add | ast.Sub):
            new = self.sum(node, node.op, old, self.term(node.value))
        else:
            new = self.binary(node, node.op, old, self.expression(node.value), node.value)
        self.body.append(f"  store {self.llvm(kind)} {self.convert(node, new, kind)}, ptr {pointer}{tag}")

    def assign(self, target: ast.expr, value: _Value) -> None:
        if isinstance(target, ast.Name) and target.id not in self.locals:
            if value.type is _Null or value.type is type(None):
                self.fail(target, f"{target.id}: a value without a type; annotate the local")
            self.declare_local(target.id, value.type)
        pointer, kind = self.place(target)
        tag = "" if isinstance(target, ast.Name) else self.access(kind)
        self.body.append(f"  store {self.llvm(kind)} {self.convert(target, value, kind)}, ptr {pointer}{tag}")

    def place(self, target: ast.expr) -> tuple[str, type]:
        """Where a local, an element or a field lies, and the type stored there."""
        if isinstance(target, ast.Name):
            if target.id not in self.locals:
                self.fail(target, f"{target.id} is not assigned before")
            return _local(target.id), self.locals[target.id]
        if isinstance(target, ast.Subscript):
            return self.place_in(target, self.expression(target.value))
        if isinstance(target, ast.Attribute):
            record = self.expression(target.value)
            if not _is_record(record.type):
                self.fail(target, f"{ast.unparse(target.value)} has no fields: it is {record.type.__name__}")
            fields = record_fields(record.type)
            if target.attr not in fields:
                self.fail(target, f"{record.type.__name__} has no field {target.attr}; it has {', '.join(fields)}")
            kind = fields[target.attr]
            if kind not in (int, float) and not _is_pointer(kind):
                self.fail(target, f"{record.type.__name__}.{target.attr} is no 8-byte type")
            if self.is_wide and kind is float:
                self.fail(target, f"{record.type.__name__}.{target.attr} is one number, not one for each of {WIDTH}")
            place = list(fields).index(target.attr)
            return self.emit(f"getelementptr inbounds i64, ptr {record.text}, i64 {place}"), kind
        self.fail(target, f"cannot assign to {ast.unparse(target)}")

    def place_in(self, node: ast.Subscript, array: _Value) -> tuple[str, type]:
        """Where an element of an array lies that may be changed, and its type."""
        if array.type is Table:
            self.fail(node, f"{ast.unparse(node.value)} is a Table, which nobody changes")
        if array.type not in (Vector, Indices):
            self.fail(node, f"{ast.unparse(node.value)} has no elements: it is {array.type.__name__}")
        return self.element(node, array, node.slice), float if array.type is Vector else int

    def element(self, node: ast.AST, array: _Value, index: ast.expr) -> str:
        if (self.constant_integer(index) or 0) < 0:
            self.fail(node, "a negative subscript does not count from the end")
        position = self.convert(node, self.expression(index), int)
        kind = self.double if array.type is Vector else "i64"
        return self.emit(f"getelementptr inbounds {kind}, ptr {array.text}, i64 {position}")

    def statement_Return(self, node: ast.Return) -> None:
        result = self.signature.result
        if node.value is None or result is type(None):
            if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
                self.fail(node, "a function without a result type returns nothing")
            if result is not type(None):
                self.fail(node, f"a {result.__name__} must be returned")
            self.body.append("  ret void")
        else:
            value = self.convert(node, self.expression(node.value), result)
            self.body.append(f"  ret {self.llvm(result)} {value}")
        self.open = False

    def statement_If(self, node: ast.If) -> None:
        known = self.known(node.test)
        if known is not None:
            self.statements(node.body if known else node.orelse)
            return
        then, other, end = self.label("then"), self.label("else"), self.label("endif")
        self.condition(node.test, then, other if node.orelse else end)
        self.begin(then)
        self.statements(node.body)
        self.jump(end)
        if node.orelse:
            self.begin(other)
            self.statements(node.orelse)
            self.jump(end)
        self.begin(end)

    def known(self, test: ast.expr) -> bool | None:
        """What is known of a condition on `is_wide()` when the text is translated; None where that is nothing."""
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
            return False if any(self.known(each) is False for each in test.values) else None
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            inner = self.known(test.operand)
            return None if inner is None else not inner
        if isinstance(test, ast.Call) and self.static(test.func) is is_wide:
            return self.is_wide
        return None

    def statement_While(self, node: ast.While) -> None:
        if node.orelse:
            self.fail(node, "a loop has no else")
        test, body, end = self.label("while"), self.label("body"), self.label("endwhile")
        self.begin(test)
        if isinstance(node.test, ast.Constant) and node.test.value:
            self.jump(body)
        else:
            self.condition(node.test, body, end)
        self.begin(body)
        self.loop_body(node.body, test, end)
        self.jump(test)
        self.begin(end)

    def statement_For(self, node: ast.For) -> None:
        call = node.iter
        if node.orelse:
            self.fail(node, "a loop has no else")
        if not isinstance(call, ast.Call) or self.static(call.func) is not range or call.keywords:
            self.fail(node, "a for loop runs over range(...)")
        if not 1 <= len(call.args) <= 3:
            self.fail(node, "a for loop runs over range(...)")
        if not isinstance(node.target, ast.Name):
            self.fail(node, "a for loop has one variable")
        bounds = [_Value(self.convert(each, self.expression(each), int), int) for each in call.args[:2]]
        start, stop = (bounds[0].text, bounds[1].text) if len(bounds) == 2 else ("0", bounds[0].text)
        step = 1
        if len(call.args) == 3:
            step = self.constant_integer(call.args[2])
            if not step:
                self.fail(node, "the step of a range is a constant that is not zero")
        if node.target.id not in self.locals:
            self.declare_local(node.target.id, int)
        if self.locals[node.target.id] is not int:
            self.fail(node, f"{node.target.id} already is {self.locals[node.target.id].__name__}")
        count = f"%c{self.label('')}"
        self.entry.append(f"  {count} = alloca i64")
        self.body.append(f"  store i64 {start}, ptr {count}")
        test, body, again, end = (self.label(stem) for stem in ("for", "body", "again", "endfor"))
        self.begin(test)
        now = self.emit(f"load i64, ptr {count}")
        self.branch(self.emit(f"icmp {'slt' if step > 0 else 'sgt'} i64 {now}, {stop}"), body, end)
        self.begin(body)
        self.body.append(f"  store i64 {now}, ptr {_local(node.target.id)}")
        self.loop_body(node.body, again, end)
        self.begin(again)
        if self.open:
            following = self.emit(f"add nsw i64 {self.emit(f'load i64, ptr {count}')}, {step}")
            self.body.append(f"  store i64 {following}, ptr {count}")
            self.jump(test)
        self.begin(end)

    def loop_body(self, nodes: Sequence[ast.stmt], again: str, end: str) -> None:
        self.loops.append((again, end))
        self.statements(nodes)
        self.loops.pop()

    def statement_Break(self, node: ast.Break) -> None:
        self.jump(self.loops[-1][1])

    def statement_Continue(self, node: ast.Continue) -> None:
        self.jump(self.loops[-1][0])

    def constant_integer(self, node: ast.expr) -> int | None:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            value = self.constant_integer(node.operand)
            return None if value is None else -value
        value = node.value if isinstance(node, ast.Constant) else self.static(node)
        return int(value) if isinstance(value, int) and not isinstance(value, bool) else None

    # Expressions

    def expression(self, node: ast.expr) -> _Value:
        method = getattr(self, "expression_" + type(node).__name__, None)
        if method is None:
            self.fail(node, f"{type(node).__name__} is not supported: {ast.unparse(node)}")
        return method(node)

    def static(self, node: ast.expr) -> object:
        """What a name or an attribute of a module or class means when the text is translated; None for all else."""
        if isinstance(node, ast.Name) and node.id not in self.local_names:
            return self.names.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self.static(node.value)
            if isinstance(owner, types.ModuleType | type):
                return getattr(owner, node.attr, None)
        return None

    def literal(self, node: ast.AST, value: object) -> _Value:
        if isinstance(value, bool):
            return _Value("true" if value else "false", bool)
        if isinstance(value, int):
            if not -(2**63) <= value < 2**63:
                self.fail(node, f"{value} needs more than 64 bits")
            return _Value(str(int(value)), int)
        if isinstance(value, float):
            return _Value(self.float_literal(value), float)
        if value is None:
            return _Value("null", _Null)
        if isinstance(value, tuple):
            return self.table(node, value)
        self.fail(node, f"{ast.unparse(node)} is no number, tuple of numbers or native function")

    def table(self, node: ast.AST, rows: tuple) -> _Value:
        """A pointer to a constant array of the numbers of a tuple."""
        if not rows or not all(isinstance(each, int | float) for each in rows):
            self.fail(node, f"{ast.unparse(node)} is no tuple of numbers")
        kind = int if all(isinstance(each, int) for each in rows) else float
        text = _llvm_type(kind)
        elements = ", ".join(f"{text} {_literal(kind(each))}" for each in rows)
        array = self.module.constant(f"[{len(rows)} x {text}] [{elements}], align 8")
        return _Value(array, Table if kind is float else Indices)

    def expression_Constant(self, node: ast.Constant) -> _Value:
        return self.literal(node, node.value)

    def expression_Name(self, node: ast.Name) -> _Value:
        if node.id in self.local_names:
            pointer, kind = self.place(node)
            return self.value(f"load {self.llvm(kind)}, ptr {pointer}", kind)
        if node.id not in self.names:
            self.fail(node, self.undefined(node.id))
        return self.literal(node, self.names[node.id])

    def undefined(self, name: str) -> str:
        return f"{name} is not defined" + (f": import it from {__name__}" if name in __all__ else "")

    def expression_Attribute(self, node: ast.Attribute) -> _Value:
        static = self.static(node)
        if static is not None:
            return self.literal(node, static)
        pointer, kind = self.place(node)
        return self.value(f"load {self.llvm(kind)}, ptr {pointer}{self.access(kind)}", kind)

    def expression_Subscript(self, node: ast.Subscript) -> _Value:
        if isinstance(node.slice, ast.Slice):
            if node.slice.upper is not None or node.slice.step is not None or node.slice.lower is None:
                self.fail(node, "a slice is x[a:]")
            array = self.expression(node.value)
            if array.type not in (Vector, Table, Indices):
                self.fail(node, f"{ast.unparse(node.value)} has no elements: it is {array.type.__name__}")
            return _Value(self.element(node, array, node.slice.lower), array.type)
        rows = self.static(node.value)
        if isinstance(rows, tuple) and rows and all(isinstance(row, tuple) for row in rows):
            return self.row(node, rows)
        array = self.expression(node.value)
        if array.type is Table:
            one = self.emit(f"load double, ptr {self.element(node, array, node.slice)}{_alias_tag(float)}")
            return _Value(self.spread(one), float)
        pointer, kind = self.place_in(node, array)
        return self.value(f"load {self.llvm(kind)}, ptr {pointer}{self.access(kind)}", kind)

    def row(self, node: ast.Subscript, rows: tuple) -> _Value:
        """Pointer to one row of a constant matrix (a tuple of tuples)."""
        width = len(rows[0])
        if not width or any(len(row) != width for row in rows):
            self.fail(node, f"the rows of {ast.unparse(node.value)} differ in length")
        matrix = self.table(node.value, tuple(each for row in rows for each in row))
        position = self.convert(node, self.expression(node.slice), int)
        first = self.emit(f"mul nsw i64 {position}, {width}")
        return _Value(self.emit(f"getelementptr inbounds i64, ptr {matrix.text}, i64 {first}"), matrix.type)

    def expression_UnaryOp(self, node: ast.UnaryOp) -> _Value:
        if isinstance(node.op, ast.Not):
            return self.truth(node)
        operand = node.operand.value if isinstance(node.operand, ast.Constant) else None
        if isinstance(node.op, ast.USub) and isinstance(operand, int | float) and not isinstance(operand, bool):
            return self.literal(node, -operand)
        value = self.number(node, self.expression(node.operand))
        if isinstance(node.op, ast.UAdd):
            return value
        if isinstance(node.op, ast.USub):
            if value.type is int:
                return self.value(f"sub nsw i64 0, {value.text}", int)
            return self.value(f"fneg {self.double} {value.text}", float)
        if value.type is int:
            return self.value(f"xor i64 {value.text}, -1", int)
        self.fail(node, f"{ast.unparse(node)} is not supported")

    def expression_BinOp(self, node: ast.BinOp) -> _Value:
        if isinstance(node.op, ast.Add | ast.Sub):
            left = self.term(node.left)
            return self.sum(node, node.op, left, self.term(node.right))
        left = self.expression(node.left)
        return self.binary(node, node.op, left, self.expression(node.right), node.right)

    def term(self, node: ast.expr) -> _Value | tuple[str, str]:
        """What is to be added: a value, or the two factors of a product of floats."""
        if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)):
            return self.expression(node)
        left, right = self.number(node, self.expression(node.left)), self.number(node, self.expression(node.right))
        if left.type is int and right.type is int:
            return self.binary(node, node.op, left, right, node.right)
        return self.convert(node, left, float), self.convert(node, right, float)

    def sum(
        self, node: ast.AST, op: ast.operator, left: _Value | tuple[str, str], right: _Value | tuple[str, str]
    ) -> _Value:
        """A sum or difference, fused with the product that stands in it: of two with the second."""
        minus = isinstance(op, ast.Sub)
        if isinstance(left, tuple) and isinstance(right, tuple):
            left = self.value(f"fmul {self.double} {left[0]}, {left[1]}", float)
        if isinstance(right, tuple):
            other = self.convert(node, self.number(node, left), float)
            first = self.emit(f"fneg {self.double} {right[0]}") if minus else right[0]
            return self.intrinsic("fmuladd", first, right[1], other)
        if isinstance(left, tuple):
            other = self.convert(node, self.number(node, right), float)
            return self.intrinsic("fmuladd", *left, self.emit(f"fneg {self.double} {other}") if minus else other)
        return self.binary(node, op, left, right, None)

    def binary(
        self, node: ast.AST, op: ast.operator, left: _Value, right: _Value, right_node: ast.expr | None
    ) -> _Value:
        self.number(node, left)
        self.number(node, right)
        if isinstance(op, ast.Pow):
            return self.power(node, left, right, self.constant_integer(right_node))
        if left.type is int and right.type is int and not isinstance(op, ast.Div):
            if type(op) not in _INTEGER_OPERATIONS:
                self.fail(node, f"{type(op).__name__} of integers is not supported")
            return self.value(f"{_INTEGER_OPERATIONS[type(op)]} i64 {left.text}, {right.text}", int)
        a, b = self.convert(node, left, float), self.convert(node, right, float)
        if type(op) in _FLOAT_OPERATIONS:
            return self.value(f"{_FLOAT_OPERATIONS[type(op)]} {self.double} {a}, {b}", float)
        if isinstance(op, ast.Mod | ast.FloorDiv):
            return self.inlined(_float_mod if isinstance(op, ast.Mod) else _float_floor_division, a, b)
        self.fail(node, f"{type(op).__name__} of floats is not supported")

    def inlined(self, function: NativeFunction, *floats: str) -> _Value:
        return _Value(self.one_by_one(self.module.signature(function).symbol, floats), float)

    def power(self, node: ast.AST, base: _Value, exponent: _Value, constant: int | None) -> _Value:
        if constant in (2, 3):
            times = "mul nsw i64" if base.type is int else f"fmul {self.double}"
            result = base.text
            for _ in range(constant - 1):
                result = self.emit(f"{times} {result}, {base.text}")
            return _Value(result, base.type)
        if base.type is int and exponent.type is int:
            self.fail(node, "a power of integers has the exponent 2 or 3; write float(base) ** exponent")
        a, b = self.convert(node, base, float), self.convert(node, exponent, float)
        return self.intrinsic("pow", a, b)

    def intrinsic(self, name: str, *floats: str) -> _Value:
        together = self.is_wide and name in _EXACT
        kind = self.double if together else "double"
        full = f"llvm.{name}.{f'v{WIDTH}f64' if together else 'f64'}"
        declared = self.module.declare(full, f"declare {kind} @{full}({', '.join(kind for _ in floats)})")
        if not together:
            return _Value(self.one_by_one(declared, floats), float)
        return self.value(f"call {kind} {declared}({', '.join(f'{kind} {each}' for each in floats)})", float)

    def expression_Compare(self, node: ast.Compare) -> _Value:
        if len(node.ops) > 1:
            return self.truth(node)
        left = self.expression(node.left)
        return self.compare_values(node, left, node.ops[0], self.expression(node.comparators[0]))

    def expression_BoolOp(self, node: ast.BoolOp) -> _Value:
        return self.truth(node)

    def compare_values(self, node: ast.AST, a: _Value, op: ast.cmpop, b: _Value) -> _Value:
        if (_is_pointer(a.type) or a.type is _Null) and (_is_pointer(b.type) or b.type is _Null):
            same = {ast.Is: "eq", ast.Eq: "eq", ast.IsNot: "ne", ast.NotEq: "ne"}.get(type(op))
            if same is None:
                self.fail(node, "pointers are compared with is, is not, == and !=")
            return self.value(f"icmp {same} ptr {a.text}, {b.text}", bool)
        if type(op) not in _COMPARISONS:
            self.fail(node, f"{type(op).__name__} is not supported")
        integer, floating = _COMPARISONS[type(op)]
        if a.type is bool and b.type is bool and isinstance(op, ast.Eq | ast.NotEq):
            return self.value(f"icmp {integer} i1 {a.text}, {b.text}", bool)
        self.number(node, a)
        self.number(node, b)
        if a.type is int and b.type is int:
            return self.value(f"icmp {integer} i64 {a.text}, {b.text}", bool)
        first, second = self.convert(node, a, float), self.convert(node, b, float)
        return self.value(f"fcmp {floating} {self.double} {first}, {second}", self.comparison)

    def condition(self, node: ast.expr, yes: str, no: str) -> None:
        """Jump by a condition; and, or, not and chained comparisons evaluate no more than is needed."""
        if isinstance(node, ast.BoolOp):
            for each in node.values[:-1]:
                following = self.label("next")
                first, second = (following, no) if isinstance(node.op, ast.And) else (yes, following)
                self.condition(each, first, second)
                self.begin(following)
            self.condition(node.values[-1], yes, no)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.condition(node.operand, no, yes)
        elif isinstance(node, ast.Compare) and len(node.ops) > 1:
            left = self.expression(node.left)
            for place, (op, each) in enumerate(zip(node.ops, node.comparators, strict=True)):
                right = self.expression(each)
                following = yes if place == len(node.ops) - 1 else self.label("next")
                self.branch(self.compare_values(node, left, op, right).text, following, no)
                if following != yes:
                    self.begin(following)
                left = right
        else:
            value = self.expression(node)
            if value.type is int:
                value = self.value(f"icmp ne i64 {value.text}, 0", bool)
            if value.type is _Mask:
                self.fail(node, f"in a wide function {ast.unparse(node)} decides only a conditional expression")
            if value.type is not bool:
                self.fail(node, f"a condition is a comparison or an integer, not {value.type.__name__}")
            self.branch(value.text, yes, no)

    def truth(self, node: ast.expr) -> _Value:
        """A condition as a value."""
        yes, no, end = self.label("true"), self.label("false"), self.label("endtruth")
        self.condition(node, yes, no)
        self.begin(yes)
        self.jump(end)
        self.begin(no)
        self.jump(end)
        self.begin(end)
        return self.value(f"phi i1 [ true, %{yes} ], [ false, %{no} ]", bool)

    def mask(self, node: ast.expr) -> _Value:
        """A condition of a wide function: one truth for all numbers (bool), or one for each of them."""
        kind = f"<{WIDTH} x i1>"
        if isinstance(node, ast.BoolOp):
            values = [self.mask(each) for each in node.values]
            if all(value.type is bool for value in values):
                return self.truth(node)
            name = "and" if isinstance(node.op, ast.And) else "or"
            result = self.spread_truth(values[0])
            for value in values[1:]:
                result = self.emit(f"{name} {kind} {result}, {self.spread_truth(value)}")
            return _Value(result, _Mask)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            value = self.mask(node.operand)
            return self.value(f"xor {kind} {self.spread_truth(value)}, splat (i1 true)", _Mask)
        value = self.expression(node)
        return value if value.type is _Mask else self.truth(node)

    def spread_truth(self, value: _Value) -> str:
        if value.type is _Mask:
            return value.text
        first = self.emit(f"insertelement <{WIDTH} x i1> poison, i1 {value.text}, i64 0")
        zeros = f"<{WIDTH} x i32> zeroinitializer"
        return self.emit(f"shufflevector <{WIDTH} x i1> {first}, <{WIDTH} x i1> poison, {zeros}")

    def choose(self, node: ast.IfExp) -> _Value:
        """A conditional expression of a wide function: both branches, and of each number the right one."""
        mask = self.spread_truth(self.mask(node.test))
        yes, no = (self.convert(each, self.expression(each), float) for each in (node.body, node.orelse))
        text = f"select <{WIDTH} x i1> {mask}, {self.double} {yes}, {self.double} {no}"
        return self.value(text, float)

    def expression_IfExp(self, node: ast.IfExp) -> _Value:
        if self.is_wide:
            return self.choose(node)
        then, other, end = self.label("then"), self.label("else"), self.label("endif")
        self.condition(node.test, then, other)
        self.begin(then)
        first = self.expression(node.body)
        first_block, mark = self.block, len(self.body)
        self.begin(other)
        second = self.expression(node.orelse)
        kind = self.common(node, first, second)
        second_text = self.convert(node, second, kind)
        second_block = self.block
        # The conversion of the first value belongs into its own block, before the jump that `begin` wrote at `mark`.
        tail, self.body = self.body[mark:], self.body[:mark]
        first_text = self.convert(node, first, kind)
        self.body += [f"  br label %{end}", *tail[1:]]
        self.jumped.add(end)
        self.jump(end)
        self.begin(end)
        text = self.llvm(kind)
        return self.value(f"phi {text} [ {first_text}, %{first_block} ], [ {second_text}, %{second_block} ]", kind)

    def common(self, node: ast.AST, first: _Value, second: _Value) -> type:
        kinds = {first.type, second.type} - {_Null}
        if len(kinds) == 1:
            return kinds.pop()
        if kinds == {int, float}:
            return float
        self.fail(node, f"{first.type.__name__} and {second.type.__name__} have no common type")

    def number(self, node: ast.AST, value: _Value) -> _Value:
        if value.type not in (int, float):
            self.fail(node, f"a number is needed in {ast.unparse(node)}, not {value.type.__name__}")
        return value

    def convert(self, node: ast.AST, value: _Value, kind: type) -> str:
        if value.type is kind or (value.type is _Null and _is_pointer(kind)):
            return value.text
        if _is_record(kind) and _is_record(value.type) and issubclass(value.type, kind):
            return value.text
        if {value.type, kind} == {Table, Vector} and not self.is_wide:
            return value.text
        if value.type is int and kind is float:
            if value.text.lstrip("-").isdigit():
                return self.float_literal(float(int(value.text)))
            return self.spread(self.emit(f"sitofp i64 {value.text} to double"))
        hint = "; write 0.0 instead of 0 at its first assignment" if (value.type, kind) == (float, int) else ""
        self.fail(node, f"{kind.__name__} is needed in {ast.unparse(node)}, not {value.type.__name__}{hint}")

    # Calls

    def expression_Call(self, node: ast.Call) -> _Value:
        value = self.call(node)
        if value.type is type(None):
            self.fail(node, f"{ast.unparse(node.func)} returns nothing")
        return value

    def call(self, node: ast.Call) -> _Value:
        if node.keywords or any(isinstance(each, ast.Starred) for each in node.args):
            self.fail(node, "arguments are given by position")
        function = self.static(node.func)
        if isinstance(function, NativeFunction):
            return self.call_native(node, function, self.is_wide)
        if isinstance(node.func, ast.Call) and self.static(node.func.func) is wide:
            return self.call_wide(node)
        if isinstance(function, types.BuiltinFunctionType | types.FunctionType | type):
            return self.call_builtin(node, function)
        if function is not None or (isinstance(node.func, ast.Name) and node.func.id not in self.local_names):
            if isinstance(node.func, ast.Name) and function is None:
                self.fail(node, self.undefined(node.func.id))
            self.fail(node, f"{ast.unparse(node.func)} is no native function")
        kernel = self.expression(node.func)
        if kernel.type is not Kernel:
            self.fail(node, f"{ast.unparse(node.func)} is no function: it is {kernel.type.__name__}")
        x, out, scratch = self.arguments(node, Vector, Vector, Vector)
        self.body.append(f"  call void {kernel.text}(ptr {x}, ptr {out}, ptr {scratch})")
        return _Value("", type(None))

    def arguments(self, node: ast.Call, *kinds: type) -> list[str]:
        if len(node.args) != len(kinds):
            self.fail(node, f"{ast.unparse(node.func)} takes {len(kinds)} arguments, given are {len(node.args)}")
        return [self.convert(each, self.expression(each), kind) for each, kind in zip(node.args, kinds, strict=True)]

    def call_wide(self, node: ast.Call) -> _Value:
        function = self.static(node.func.args[0]) if len(node.func.args) == 1 else None
        if not isinstance(function, NativeFunction):
            self.fail(node, "wide takes a native function")
        signature = self.module.signature(function, is_wide=True)
        if not self.is_wide and float in (*signature.parameters.values(), signature.result):
            self.fail(node, f"wide({function.__name__}) has parameters or a result of several floats each")
        return self.call_native(node, function, is_wide=True)

    def call_native(self, node: ast.Call, function: NativeFunction, is_wide: bool) -> _Value:
        signature = self.module.signature(function, is_wide)
        kinds = signature.parameters.values()
        values = self.arguments(node, *kinds)
        listed = ", ".join(f"{self.parameter(kind)} {value}" for kind, value in zip(kinds, values, strict=True))
        return self.call_symbol(signature.symbol, listed, signature.result)

    def call_symbol(self, symbol: str, listed: str, result: type) -> _Value:
        if result is type(None):
            self.body.append(f"  call void {symbol}({listed})")
            return _Value("", result)
        return self.value(f"call {'zeroext i1' if result is bool else self.llvm(result)} {symbol}({listed})", result)

    def call_builtin(self, node: ast.Call, function: Callable) -> _Value:
        if function in _INTRINSICS:
            name = _INTRINSICS[function]
            kinds = [float] * (1 + (name in _TWO_OPERANDS))
            return self.intrinsic(name, *self.arguments(node, *kinds))
        if function in _C_FUNCTIONS:
            name, count = _C_FUNCTIONS[function]
            values = self.arguments(node, *[float] * count)
            declared = self.module.declare(
                name, f"declare double @{name}({', '.join(['double'] * count)}) nounwind willreturn memory(none)"
            )
            return _Value(self.one_by_one(declared, values), float)
        if function in _CASTS:
            return self.cast(node, self.operands(node, 1)[0], _CASTS[function])
        method = _METHODS.get(function)
        if method is None:
            self.fail(node, f"{ast.unparse(node.func)} is not part of the native language")
        return method(self, node)

    def operands(self, node: ast.Call, count: int) -> list[_Value]:
        if len(node.args) != count:
            self.fail(node, f"{ast.unparse(node.func)} takes {count} arguments, given are {len(node.args)}")
        return [self.expression(each) for each in node.args]

    def cast(self, node: ast.AST, value: _Value, kind: type) -> _Value:
        if value.type is int:
            return self.value(f"inttoptr i64 {value.text} to ptr", kind)
        return _Value(self.pointer(node, value), kind)

    def pointer(self, node: ast.AST, value: _Value) -> str:
        if not _is_pointer(value.type) and value.type is not _Null:
            self.fail(node, f"a pointer is needed in {ast.unparse(node)}, not {value.type.__name__}")
        return value.text

    def call_int(self, node: ast.Call) -> _Value:
        (value,) = self.operands(node, 1)
        if value.type is bool:
            return self.value(f"zext i1 {value.text} to i64", int)
        if self.number(node, value).type is int:
            return value
        if self.is_wide:
            self.fail(node, "a wide function has no integers from floats")
        name = "llvm.fptosi.sat.i64.f64"
        return self.value(
            f"call i64 {self.module.declare(name, f'declare i64 @{name}(double)')}(double {value.text})", int
        )

    def call_float(self, node: ast.Call) -> _Value:
        if len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
            try:
                return self.literal(node, float(node.args[0].value))
            except ValueError:
                self.fail(node, f"{ast.unparse(node)} is no number")
        (value,) = self.operands(node, 1)
        if value.type is bool:
            return _Value(self.spread(self.emit(f"uitofp i1 {value.text} to double")), float)
        return _Value(self.convert(node, value, float), float)

    def call_abs(self, node: ast.Call) -> _Value:
        (value,) = self.operands(node, 1)
        if self.number(node, value).type is float:
            return self.intrinsic("fabs", value.text)
        declared = self.module.declare("llvm.abs.i64", "declare i64 @llvm.abs.i64(i64, i1)")
        return self.value(f"call i64 {declared}(i64 {value.text}, i1 true)", int)

    def call_min(self, node: ast.Call) -> _Value:
        return self.extreme(node, "lt")

    def call_max(self, node: ast.Call) -> _Value:
        return self.extreme(node, "gt")

    def extreme(self, node: ast.Call, order: str) -> _Value:
        """Python's rule, also for NaN: the first argument, replaced by a later one that compares better."""
        if len(node.args) < 2:
            self.fail(node, f"{ast.unparse(node.func)} takes two arguments or more")
        values = [self.number(each, self.expression(each)) for each in node.args]
        kind = float if any(value.type is float for value in values) else int
        best, *others = (self.convert(node, value, kind) for value in values)
        text, comparison = (self.double, f"fcmp o{order}") if kind is float else ("i64", f"icmp s{order}")
        truth = f"<{WIDTH} x i1>" if kind is float and self.is_wide else "i1"
        for other in others:
            better = self.emit(f"{comparison} {text} {other}, {best}")
            best = self.emit(f"select {truth} {better}, {text} {other}, {text} {best}")
        return _Value(best, kind)

    def call_isfinite(self, node: ast.Call) -> _Value:
        (value,) = self.arguments(node, float)
        size = self.intrinsic("fabs", value)
        return self.value(f"fcmp olt {self.double} {size.text}, {self.float_literal(math.inf)}", self.comparison)

    def call_isnan(self, node: ast.Call) -> _Value:
        (value,) = self.arguments(node, float)
        return self.value(f"fcmp uno {self.double} {value}, {value}", self.comparison)

    def bits(self, instruction: str, bits: str, constant: int) -> str:
        """An operation of the 64 bits of each float with a constant."""
        text = f"<{WIDTH} x i64>" if self.is_wide else "i64"
        return self.emit(f"{instruction} {text} {bits}, {f'splat (i64 {constant})' if self.is_wide else constant}")

    def convert_bits(self, instruction: str, value: str, back: bool = False) -> str:
        """The 64 bits of each float from the float, or `back`."""
        kinds = [self.double, f"<{WIDTH} x i64>" if self.is_wide else "i64"]
        first, second = kinds[::-1] if back else kinds
        return self.emit(f"{instruction} {first} {value} to {second}")

    def call_exponent(self, node: ast.Call) -> _Value:
        (value,) = self.arguments(node, float)
        biased = self.bits("lshr", self.convert_bits("bitcast", value), SIGNIFICAND_BITS)
        return _Value(self.convert_bits("sitofp", self.bits("sub", biased, EXPONENT_BIAS), back=True), float)

    def call_significand(self, node: ast.Call) -> _Value:
        (value,) = self.arguments(node, float)
        kept = self.bits("and", self.convert_bits("bitcast", value), (1 << SIGNIFICAND_BITS) - 1)
        one = self.bits("or", kept, EXPONENT_BIAS << SIGNIFICAND_BITS)
        return _Value(self.convert_bits("bitcast", one, back=True), float)

    def call_power_of_two(self, node: ast.Call) -> _Value:
        (value,) = self.arguments(node, float)
        biased = self.bits("add", self.convert_bits("fptosi", value), EXPONENT_BIAS)
        shifted = self.bits("shl", biased, SIGNIFICAND_BITS)
        return _Value(self.convert_bits("bitcast", shifted, back=True), float)

    def call_len(self, node: ast.Call) -> _Value:
        table = self.static(node.args[0]) if len(node.args) == 1 else None
        if not isinstance(table, tuple):
            self.fail(node, "len(...) is that of a constant tuple")
        return _Value(str(len(table)), int)

    def allocation(self, count: str, kind: type) -> _Value:
        declared = self.module.declare("calloc", "declare noalias ptr @calloc(i64, i64) nounwind")
        size = 8 * WIDTH if self.is_wide and kind is Vector else 8
        return self.value(f"call noalias ptr {declared}(i64 {count}, i64 {size})", kind)

    def call_allocate(self, node: ast.Call) -> _Value:
        return self.allocation(self.arguments(node, int)[0], Vector)

    def call_allocate_indices(self, node: ast.Call) -> _Value:
        return self.allocation(self.arguments(node, int)[0], Indices)

    def record_class(self, node: ast.Call) -> type:
        record = self.static(node.args[0]) if node.args else None
        if not _is_record(record):
            self.fail(node, f"{ast.unparse(node.func)} takes a subclass of Record")
        return record

    def call_allocate_record(self, node: ast.Call) -> _Value:
        record = self.record_class(node)
        return self.allocation(str(len(record_fields(record))), record)

    def call_as_record(self, node: ast.Call) -> _Value:
        record = self.record_class(node)
        if len(node.args) != 2:
            self.fail(node, "as_record takes a subclass of Record and a pointer")
        return self.cast(node, self.expression(node.args[1]), record)

    def call_release(self, node: ast.Call) -> _Value:
        pointer = self.pointer(node, self.operands(node, 1)[0])
        return self.call_symbol(
            self.module.declare("free", "declare void @free(ptr) nounwind"), f"ptr {pointer}", type(None)
        )

    def call_copy(self, node: ast.Call) -> _Value:
        target, source, count = self.operands(node, 3)
        if target.type is not source.type or target.type not in (Vector, Indices):
            self.fail(node, "copy takes two arrays of the same type")
        word = 8 * WIDTH if self.is_wide and target.type is Vector else 8
        size = self.emit(f"mul nsw i64 {self.convert(node, count, int)}, {word}")
        name = "llvm.memcpy.p0.p0.i64"
        declared = self.module.declare(name, f"declare void @{name}(ptr, ptr, i64, i1)")
        listed = f"ptr align 8 {target.text}, ptr align 8 {source.text}, i64 {size}, i1 false"
        return self.call_symbol(declared, listed, type(None))

    def call_fill(self, node: ast.Call) -> _Value:
        target, value, count = self.operands(node, 3)
        if target.type not in (Vector, Indices):
            self.fail(node, f"fill takes a Vector or Indices, not {target.type.__name__}")
        function, kind = (_fill_vector, float) if target.type is Vector else (_fill_indices, int)
        number, length = self.convert(node, value, kind), self.convert(node, count, int)
        listed = f"ptr {target.text}, {self.llvm(kind)} {number}, i64 {length}"
        return self.call_symbol(self.module.signature(function, self.is_wide).symbol, listed, type(None))

    def call_atomic_add(self, node: ast.Call) -> _Value:
        array, position, value = self.arguments(node, Indices, int, int)
        place = self.emit(f"getelementptr inbounds i64, ptr {array}, i64 {position}")
        return self.value(f"atomicrmw add ptr {place}, i64 {value} seq_cst", int)

    def call_is_null(self, node: ast.Call) -> _Value:
        return self.value(f"icmp eq ptr {self.pointer(node, self.operands(node, 1)[0])}, null", bool)

    def call_address(self, node: ast.Call) -> _Value:
        function = self.static(node.args[0]) if len(node.args) == 1 else None
        if isinstance(function, NativeFunction):
            return self.value(f"ptrtoint ptr {self.module.signature(function).symbol} to i64", int)
        return self.value(f"ptrtoint ptr {self.pointer(node, self.operands(node, 1)[0])} to i64", int)

    def call_call_address(self, node: ast.Call) -> _Value:
        if not node.args:
            self.fail(node, "call_address takes the address of a function and its arguments")
        function, *values = [self.expression(each) for each in node.args]
        if function.type is not int:
            self.fail(node, f"the address of a function is an int, not {function.type.__name__}")
        pointer = self.emit(f"inttoptr i64 {function.text} to ptr")
        return self.value(f"call i64 {pointer}({', '.join(f'{_llvm_type(v.type)} {v.text}' for v in values)})", int)

    def call_yield_thread(self, node: ast.Call) -> _Value:
        self.operands(node, 0)
        name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
        self.emit(f"call i32 {self.module.declare(name, f'declare i32 @{name}() nounwind')}()")
        return _Value("", type(None))

    def call_is_wide(self, node: ast.Call) -> _Value:
        self.operands(node, 0)
        return _Value("true" if self.is_wide else "false", bool)


_METHODS: dict[object, Callable[[_Function, ast.Call], _Value]] = {
    builtins.int: _Function.call_int,
    builtins.float: _Function.call_float,
    builtins.abs: _Function.call_abs,
    builtins.min: _Function.call_min,
    builtins.max: _Function.call_max,
    builtins.len: _Function.call_len,
    math.isfinite: _Function.call_isfinite,
    math.isnan: _Function.call_isnan,
    allocate: _Function.call_allocate,
    allocate_indices: _Function.call_allocate_indices,
    allocate_record: _Function.call_allocate_record,
    as_record: _Function.call_as_record,
    release: _Function.call_release,
    copy: _Function.call_copy,
    fill: _Function.call_fill,
    atomic_add: _Function.call_atomic_add,
    is_null: _Function.call_is_null,
    address: _Function.call_address,
    call_address: _Function.call_call_address,
    exponent: _Function.call_exponent,
    significand: _Function.call_significand,
    power_of_two: _Function.call_power_of_two,
    yield_thread: _Function.call_yield_thread,
    is_wide: _Function.call_is_wide,
}


@native(inline=True)
def _float_mod(a: float, b: float) -> float:
    """Python's a % b, with the sign of b."""
    rest = math.fmod(a, b)
    if rest != 0.0:
        if (rest < 0.0) != (b < 0.0):
            rest += b
    else:
        rest = copysign(0.0, b)
    return rest


@native(inline=True)
def _float_floor_division(a: float, b: float) -> float:
    """Python's a // b: the quotient after the remainder is taken off, rounded to a whole number."""
    rest = math.fmod(a, b)
    quotient = (a - rest) / b
    if rest != 0.0 and (rest < 0.0) != (b < 0.0):
        quotient -= 1.0
    if quotient == 0.0:
        return copysign(0.0, a / b)
    whole = floor(quotient)
    return whole + 1.0 if quotient - whole > 0.5 else whole
