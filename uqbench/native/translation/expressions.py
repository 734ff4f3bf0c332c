"""Expressions of a native function."""

import ast

from .. import language
from ..language import WIDTH, Indices, NativeFunction, Table, Vector, record_fields
from .replacements import float_floor_division, float_mod
from .types import Mask, Null, Value, alias_tag, is_pointer, is_record, literal, llvm_type, local
from .writer import Writer

# Those that have one right result, whether of one number or of several at once.
EXACT = {"sqrt", "floor", "ceil", "fabs", "copysign", "fmuladd"}
COMPARISONS = {
    ast.Lt: ("slt", "olt"),
    ast.LtE: ("sle", "ole"),
    ast.Gt: ("sgt", "ogt"),
    ast.GtE: ("sge", "oge"),
    ast.Eq: ("eq", "oeq"),
    ast.NotEq: ("ne", "une"),
}
INTEGER_OPERATIONS = {
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
FLOAT_OPERATIONS = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}


class Expressions(Writer):
    """Values of expressions; calls are those of `Calls`."""

    def place(self, target: ast.expr) -> tuple[str, type]:
        """Where a local, an element or a field lies, and the type stored there."""
        if isinstance(target, ast.Name):
            if target.id not in self.locals:
                self.fail(target, f"{target.id} is not assigned before")
            return local(target.id), self.locals[target.id]
        if isinstance(target, ast.Subscript):
            return self.place_in(target, self.expression(target.value))
        if isinstance(target, ast.Attribute):
            record = self.expression(target.value)
            if not is_record(record.type):
                self.fail(target, f"{ast.unparse(target.value)} has no fields: it is {record.type.__name__}")
            fields = record_fields(record.type)
            if target.attr not in fields:
                self.fail(target, f"{record.type.__name__} has no field {target.attr}; it has {', '.join(fields)}")
            kind = fields[target.attr]
            if kind not in (int, float) and not is_pointer(kind):
                self.fail(target, f"{record.type.__name__}.{target.attr} is no 8-byte type")
            if self.is_wide and kind is float:
                self.fail(target, f"{record.type.__name__}.{target.attr} is one number, not one for each of {WIDTH}")
            place = list(fields).index(target.attr)
            return self.emit(f"getelementptr inbounds i64, ptr {record.text}, i64 {place}"), kind
        self.fail(target, f"cannot assign to {ast.unparse(target)}")

    def place_in(self, node: ast.Subscript, array: Value) -> tuple[str, type]:
        """Where an element of an array lies that may be changed, and its type."""
        if array.type is Table:
            self.fail(node, f"{ast.unparse(node.value)} is a Table, which nobody changes")
        if array.type not in (Vector, Indices):
            self.fail(node, f"{ast.unparse(node.value)} has no elements: it is {array.type.__name__}")
        return self.element(node, array, node.slice), float if array.type is Vector else int

    def element(self, node: ast.AST, array: Value, index: ast.expr) -> str:
        if (self.constant_integer(index) or 0) < 0:
            self.fail(node, "a negative subscript does not count from the end")
        position = self.convert(node, self.expression(index), int)
        kind = self.double if array.type is Vector else "i64"
        return self.emit(f"getelementptr inbounds {kind}, ptr {array.text}, i64 {position}")

    def constant_integer(self, node: ast.expr) -> int | None:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            value = self.constant_integer(node.operand)
            return None if value is None else -value
        value = node.value if isinstance(node, ast.Constant) else self.static(node)
        return int(value) if isinstance(value, int) and not isinstance(value, bool) else None

    def expression(self, node: ast.expr) -> Value:
        method = getattr(self, "expression_" + type(node).__name__, None)
        if method is None:
            self.fail(node, f"{type(node).__name__} is not supported: {ast.unparse(node)}")
        return method(node)

    def literal(self, node: ast.AST, value: object) -> Value:
        if isinstance(value, bool):
            return Value("true" if value else "false", bool)
        if isinstance(value, int):
            if not -(2**63) <= value < 2**63:
                self.fail(node, f"{value} needs more than 64 bits")
            return Value(str(int(value)), int)
        if isinstance(value, float):
            return Value(self.float_literal(value), float)
        if value is None:
            return Value("null", Null)
        if isinstance(value, tuple):
            return self.table(node, value)
        self.fail(node, f"{ast.unparse(node)} is no number, tuple of numbers or native function")

    def table(self, node: ast.AST, rows: tuple) -> Value:
        """A pointer to a constant array of the numbers of a tuple."""
        if not rows or not all(isinstance(each, int | float) for each in rows):
            self.fail(node, f"{ast.unparse(node)} is no tuple of numbers")
        kind = int if all(isinstance(each, int) for each in rows) else float
        text = llvm_type(kind)
        elements = ", ".join(f"{text} {literal(kind(each))}" for each in rows)
        array = self.module.constant(f"[{len(rows)} x {text}] [{elements}], align 8")
        return Value(array, Table if kind is float else Indices)

    def expression_Constant(self, node: ast.Constant) -> Value:
        return self.literal(node, node.value)

    def expression_Name(self, node: ast.Name) -> Value:
        if node.id in self.local_names:
            pointer, kind = self.place(node)
            return self.value(f"load {self.llvm(kind)}, ptr {pointer}", kind)
        if node.id not in self.names:
            self.fail(node, self.undefined(node.id))
        return self.literal(node, self.names[node.id])

    def undefined(self, name: str) -> str:
        return f"{name} is not defined" + (f": import it from {language.__name__}" if name in language.__all__ else "")

    def expression_Attribute(self, node: ast.Attribute) -> Value:
        static = self.static(node)
        if static is not None:
            return self.literal(node, static)
        pointer, kind = self.place(node)
        return self.value(f"load {self.llvm(kind)}, ptr {pointer}{self.access(kind)}", kind)

    def expression_Subscript(self, node: ast.Subscript) -> Value:
        if isinstance(node.slice, ast.Slice):
            if node.slice.upper is not None or node.slice.step is not None or node.slice.lower is None:
                self.fail(node, "a slice is x[a:]")
            array = self.expression(node.value)
            if array.type not in (Vector, Table, Indices):
                self.fail(node, f"{ast.unparse(node.value)} has no elements: it is {array.type.__name__}")
            return Value(self.element(node, array, node.slice.lower), array.type)
        rows = self.static(node.value)
        if isinstance(rows, tuple) and rows and all(isinstance(row, tuple) for row in rows):
            return self.row(node, rows)
        array = self.expression(node.value)
        if array.type is Table:
            one = self.emit(f"load double, ptr {self.element(node, array, node.slice)}{alias_tag(float)}")
            return Value(self.spread(one), float)
        pointer, kind = self.place_in(node, array)
        return self.value(f"load {self.llvm(kind)}, ptr {pointer}{self.access(kind)}", kind)

    def row(self, node: ast.Subscript, rows: tuple) -> Value:
        """Pointer to one row of a constant matrix (a tuple of tuples)."""
        width = len(rows[0])
        if not width or any(len(row) != width for row in rows):
            self.fail(node, f"the rows of {ast.unparse(node.value)} differ in length")
        matrix = self.table(node.value, tuple(each for row in rows for each in row))
        position = self.convert(node, self.expression(node.slice), int)
        first = self.emit(f"mul nsw i64 {position}, {width}")
        return Value(self.emit(f"getelementptr inbounds i64, ptr {matrix.text}, i64 {first}"), matrix.type)

    def expression_UnaryOp(self, node: ast.UnaryOp) -> Value:
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

    def expression_BinOp(self, node: ast.BinOp) -> Value:
        if isinstance(node.op, ast.Add | ast.Sub):
            left = self.term(node.left)
            return self.sum(node, node.op, left, self.term(node.right))
        left = self.expression(node.left)
        return self.binary(node, node.op, left, self.expression(node.right), node.right)

    def term(self, node: ast.expr) -> Value | tuple[str, str]:
        """What is to be added: a value, or the two factors of a product of floats."""
        if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)):
            return self.expression(node)
        left, right = self.number(node, self.expression(node.left)), self.number(node, self.expression(node.right))
        if left.type is int and right.type is int:
            return self.binary(node, node.op, left, right, node.right)
        return self.convert(node, left, float), self.convert(node, right, float)

    def sum(
        self, node: ast.AST, op: ast.operator, left: Value | tuple[str, str], right: Value | tuple[str, str]
    ) -> Value:
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

    def binary(self, node: ast.AST, op: ast.operator, left: Value, right: Value, right_node: ast.expr | None) -> Value:
        self.number(node, left)
        self.number(node, right)
        if isinstance(op, ast.Pow):
            return self.power(node, left, right, self.constant_integer(right_node))
        if left.type is int and right.type is int and not isinstance(op, ast.Div):
            if type(op) not in INTEGER_OPERATIONS:
                self.fail(node, f"{type(op).__name__} of integers is not supported")
            return self.value(f"{INTEGER_OPERATIONS[type(op)]} i64 {left.text}, {right.text}", int)
        a, b = self.convert(node, left, float), self.convert(node, right, float)
        if type(op) in FLOAT_OPERATIONS:
            return self.value(f"{FLOAT_OPERATIONS[type(op)]} {self.double} {a}, {b}", float)
        if isinstance(op, ast.Mod | ast.FloorDiv):
            return self.inlined(float_mod if isinstance(op, ast.Mod) else float_floor_division, a, b)
        self.fail(node, f"{type(op).__name__} of floats is not supported")

    def inlined(self, function: NativeFunction, *floats: str) -> Value:
        return Value(self.one_by_one(self.module.signature(function).symbol, floats), float)

    def power(self, node: ast.AST, base: Value, exponent: Value, constant: int | None) -> Value:
        if constant in (2, 3):
            times = "mul nsw i64" if base.type is int else f"fmul {self.double}"
            result = base.text
            for _ in range(constant - 1):
                result = self.emit(f"{times} {result}, {base.text}")
            return Value(result, base.type)
        if base.type is int and exponent.type is int:
            self.fail(node, "a power of integers has the exponent 2 or 3; write float(base) ** exponent")
        a, b = self.convert(node, base, float), self.convert(node, exponent, float)
        return self.intrinsic("pow", a, b)

    def intrinsic(self, name: str, *floats: str) -> Value:
        together = self.is_wide and name in EXACT
        kind = self.double if together else "double"
        full = f"llvm.{name}.{f'v{WIDTH}f64' if together else 'f64'}"
        declared = self.module.declare(full, f"declare {kind} @{full}({', '.join(kind for _ in floats)})")
        if not together:
            return Value(self.one_by_one(declared, floats), float)
        return self.value(f"call {kind} {declared}({', '.join(f'{kind} {each}' for each in floats)})", float)

    def expression_Compare(self, node: ast.Compare) -> Value:
        if len(node.ops) > 1:
            return self.truth(node)
        left = self.expression(node.left)
        return self.compare_values(node, left, node.ops[0], self.expression(node.comparators[0]))

    def expression_BoolOp(self, node: ast.BoolOp) -> Value:
        return self.truth(node)

    def compare_values(self, node: ast.AST, a: Value, op: ast.cmpop, b: Value) -> Value:
        if (is_pointer(a.type) or a.type is Null) and (is_pointer(b.type) or b.type is Null):
            same = {ast.Is: "eq", ast.Eq: "eq", ast.IsNot: "ne", ast.NotEq: "ne"}.get(type(op))
            if same is None:
                self.fail(node, "pointers are compared with is, is not, == and !=")
            return self.value(f"icmp {same} ptr {a.text}, {b.text}", bool)
        if type(op) not in COMPARISONS:
            self.fail(node, f"{type(op).__name__} is not supported")
        integer, floating = COMPARISONS[type(op)]
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
            if value.type is Mask:
                self.fail(node, f"in a wide function {ast.unparse(node)} decides only a conditional expression")
            if value.type is not bool:
                self.fail(node, f"a condition is a comparison or an integer, not {value.type.__name__}")
            self.branch(value.text, yes, no)

    def truth(self, node: ast.expr) -> Value:
        """A condition as a value."""
        yes, no, end = self.label("true"), self.label("false"), self.label("endtruth")
        self.condition(node, yes, no)
        self.begin(yes)
        self.jump(end)
        self.begin(no)
        self.jump(end)
        self.begin(end)
        return self.value(f"phi i1 [ true, %{yes} ], [ false, %{no} ]", bool)

    def mask(self, node: ast.expr) -> Value:
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
            return Value(result, Mask)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            value = self.mask(node.operand)
            return self.value(f"xor {kind} {self.spread_truth(value)}, splat (i1 true)", Mask)
        value = self.expression(node)
        return value if value.type is Mask else self.truth(node)

    def spread_truth(self, value: Value) -> str:
        if value.type is Mask:
            return value.text
        first = self.emit(f"insertelement <{WIDTH} x i1> poison, i1 {value.text}, i64 0")
        zeros = f"<{WIDTH} x i32> zeroinitializer"
        return self.emit(f"shufflevector <{WIDTH} x i1> {first}, <{WIDTH} x i1> poison, {zeros}")

    def choose(self, node: ast.IfExp) -> Value:
        """A conditional expression of a wide function: both branches, and of each number the right one."""
        mask = self.spread_truth(self.mask(node.test))
        yes, no = (self.convert(each, self.expression(each), float) for each in (node.body, node.orelse))
        text = f"select <{WIDTH} x i1> {mask}, {self.double} {yes}, {self.double} {no}"
        return self.value(text, float)

    def expression_IfExp(self, node: ast.IfExp) -> Value:
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

    def common(self, node: ast.AST, first: Value, second: Value) -> type:
        kinds = {first.type, second.type} - {Null}
        if len(kinds) == 1:
            return kinds.pop()
        if kinds == {int, float}:
            return float
        self.fail(node, f"{first.type.__name__} and {second.type.__name__} have no common type")

    def number(self, node: ast.AST, value: Value) -> Value:
        if value.type not in (int, float):
            self.fail(node, f"a number is needed in {ast.unparse(node)}, not {value.type.__name__}")
        return value

    def convert(self, node: ast.AST, value: Value, kind: type) -> str:
        if value.type is kind or (value.type is Null and is_pointer(kind)):
            return value.text
        if is_record(kind) and is_record(value.type) and issubclass(value.type, kind):
            return value.text
        if {value.type, kind} == {Table, Vector} and not self.is_wide:
            return value.text
        if value.type is int and kind is float:
            if value.text.lstrip("-").isdigit():
                return self.float_literal(float(int(value.text)))
            return self.spread(self.emit(f"sitofp i64 {value.text} to double"))
        hint = "; write 0.0 instead of 0 at its first assignment" if (value.type, kind) == (float, int) else ""
        self.fail(node, f"{kind.__name__} is needed in {ast.unparse(node)}, not {value.type.__name__}{hint}")
