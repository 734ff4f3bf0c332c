"""What types, numbers and names of the language are in LLVM IR."""

import struct
from dataclasses import dataclass

from ..language import Indices, Kernel, Record, Table, Vector

# One access type for each kind of word: a store of a double does not change an integer or a pointer (see
# `language`), so lengths and pointers in records need not be read again in a loop that writes doubles.
ALIAS_TYPES = """!0 = !{!"uqbench"}
!1 = !{!"float", !0, i64 0}
!2 = !{!"int", !0, i64 0}
!3 = !{!"pointer", !0, i64 0}
!4 = !{!1, !1, i64 0}
!5 = !{!2, !2, i64 0}
!6 = !{!3, !3, i64 0}
"""


class Null:
    """Type of the literal None: converts to any pointer."""


class Mask:
    """Type of a comparison of floats in a wide function: one truth for each number."""


def is_record(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Record) and kind is not Record


def is_pointer(kind: object) -> bool:
    return kind in (Vector, Table, Indices, Kernel) or is_record(kind)


def llvm_type(kind: type | None) -> str:
    return {int: "i64", float: "double", bool: "i1", type(None): "void", None: "void"}.get(kind, "ptr")


def alias_tag(kind: type) -> str:
    return ", !tbaa " + {float: "!4", int: "!5"}.get(kind, "!6")


def local(name: str) -> str:
    return f'%"v.{name}"'


def float_literal(value: float) -> str:
    return "0x" + struct.pack(">d", value).hex().upper()


def literal(value: int | float) -> str:
    return float_literal(value) if isinstance(value, float) else str(int(value))


@dataclass(frozen=True)
class Value:
    text: str
    type: type


@dataclass(frozen=True)
class Signature:
    symbol: str
    parameters: dict[str, type]
    result: type  # NoneType for none
