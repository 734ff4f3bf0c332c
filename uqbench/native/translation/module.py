"""The text of an LLVM module from native functions and all that they call."""

import ast
import typing
from collections.abc import Iterable

from ..language import LanguageError, NativeFunction
from .function import Function
from .source import annotation, definition, names_of
from .types import ALIAS_TYPES, Signature, is_pointer


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
    return Module(list(entries)).text()


class Module:
    """Functions, constants and external declarations of one LLVM module while it grows."""

    def __init__(self, entries: list[NativeFunction]):
        names = [entry.__name__ for entry in entries]
        if len(set(names)) < len(names):
            raise ValueError(f"entries need different names; given are {', '.join(names)}.")
        self.entries = {entry: entry.__name__ for entry in entries}
        self.signatures: dict[tuple[NativeFunction, bool], Signature] = {}
        self.waiting: list[tuple[NativeFunction, bool]] = []
        self.declarations: dict[str, str] = {}
        self.constants: dict[str, str] = {}  # symbol by body
        self.definitions: list[str] = []
        self.symbols: set[str] = set(names)
        for entry in entries:
            self.signature(entry)

    def text(self) -> str:
        while self.waiting:
            self.definitions.append(Function(self, *self.waiting.pop(0)).text())
        constants = (f"{symbol} = private unnamed_addr constant {body}\n" for body, symbol in self.constants.items())
        attributes = "".join(
            f"attributes #{k} = {{ nounwind {how}}}\n" for k, how in enumerate(("", "alwaysinline ", "noinline "))
        )
        return "\n".join([*constants, *self.declarations.values(), *self.definitions, attributes, ALIAS_TYPES])

    def signature(self, function: NativeFunction, is_wide: bool = False) -> Signature:
        """Parameter types, result type and symbol; a function that is met for the first time joins the module."""
        key = (function, is_wide)
        if key not in self.signatures:
            node = definition(function.python)
            self.signatures[key] = self._read_signature(function, node, is_wide)
            self.waiting.append(key)
        return self.signatures[key]

    def _read_signature(self, function: NativeFunction, node: ast.FunctionDef, is_wide: bool) -> Signature:
        def fail(where: ast.AST, message: str) -> typing.NoReturn:
            raise LanguageError(message, (function.python.__code__.co_filename, where.lineno, 1, None))

        listed = node.args
        if listed.vararg or listed.kwarg or listed.kwonlyargs or listed.defaults or listed.kw_defaults:
            fail(node, f"{node.name}: a native function has plain positional parameters without defaults")
        parameters = {}
        names = names_of(function.python)
        for each in [*listed.posonlyargs, *listed.args]:
            if each.annotation is None:
                fail(each, f"{node.name}: parameter {each.arg} has no type annotation")
            kind = annotation(each.annotation, names)
            if kind not in (int, float, bool) and not is_pointer(kind):
                fail(each, f"{node.name}: {ast.unparse(each.annotation)} is no type of a native parameter")
            parameters[each.arg] = kind
        unknown = set(() if isinstance(function.noalias, bool) else function.noalias) - set(parameters)
        if unknown:
            fail(node, f"{node.name}: noalias names {', '.join(sorted(unknown))}, which is no parameter")
        result = type(None) if node.returns is None else annotation(node.returns, names)
        result = type(None) if result is None else result
        if result not in (int, float, bool, type(None)) and not is_pointer(result):
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
        return Signature(f'@"{symbol}"', parameters, result)

    def declare(self, name: str, text: str) -> str:
        self.declarations.setdefault(name, text)
        return "@" + name

    def constant(self, body: str) -> str:
        """A constant array; equal ones are stored once."""
        return self.constants.setdefault(body, f"@constant.{len(self.constants)}")
