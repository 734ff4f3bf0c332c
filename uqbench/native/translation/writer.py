"""Instructions of one function as they are written: values, labels, blocks, locals."""

import ast
import linecache
import types
import typing
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..language import WIDTH, LanguageError, NativeFunction
from .source import definition, names_of
from .types import Mask, Value, alias_tag, float_literal, llvm_type, local

if TYPE_CHECKING:
    from .module import Module


class Writer:
    """One function on its way from syntax tree to IR."""

    def __init__(self, module: "Module", function: NativeFunction, is_wide: bool):
        self.module = module
        self.function = function
        self.is_wide = is_wide
        self.double = f"<{WIDTH} x double>" if is_wide else "double"
        self.comparison = Mask if is_wide else bool
        self.filename = function.python.__code__.co_filename
        self.node = definition(function.python)
        self.signature = module.signature(function, is_wide)
        self.names = names_of(function.python)
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

    def llvm(self, kind: type) -> str:
        return self.double if kind is float else llvm_type(kind)

    def parameter(self, kind: type) -> str:
        return "i1 zeroext" if kind is bool else self.llvm(kind)

    def access(self, kind: type) -> str:
        """What follows the pointer of a load or store in memory: arrays begin at any word."""
        return (", align 8" if self.is_wide and kind is float else "") + alias_tag(kind)

    def float_literal(self, value: float) -> str:
        text = float_literal(value)
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

    def value(self, instruction: str, kind: type) -> Value:
        return Value(self.emit(instruction), kind)

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
        self.entry.append(f"  {local(name)} = alloca {text}")
        self.entry.append(f"  store {text} {initial or zero}, ptr {local(name)}")

    def static(self, node: ast.expr) -> object:
        """What a name or an attribute of a module or class means when the text is translated; None for all else."""
        if isinstance(node, ast.Name) and node.id not in self.local_names:
            return self.names.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self.static(node.value)
            if isinstance(owner, types.ModuleType | type):
                return getattr(owner, node.attr, None)
        return None
