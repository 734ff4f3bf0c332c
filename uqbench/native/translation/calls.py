"""Calls of a native function: other native functions, kernels, and what stands for an instruction or a C function."""

import ast
import builtins
import math
import sys
import types
from collections.abc import Callable

from ..language import (
    WIDTH,
    Indices,
    Kernel,
    NativeFunction,
    Vector,
    address,
    allocate,
    allocate_indices,
    allocate_record,
    as_indices,
    as_kernel,
    as_record,
    as_vector,
    atomic_add,
    call_address,
    copy,
    exponent,
    fill,
    is_null,
    is_wide,
    power_of_two,
    record_fields,
    release,
    significand,
    wide,
    yield_thread,
)
from .expressions import Expressions
from .replacements import fill_indices, fill_vector
from .types import Null, Value, is_pointer, is_record, llvm_type

# Of a double.
SIGNIFICAND_BITS, EXPONENT_BIAS = 52, 1023
# LLVM intrinsics of one or two doubles by the Python function that they stand for
INTRINSICS = {
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
C_FUNCTIONS = {
    math.nextafter: ("nextafter", 2),
    math.fmod: ("fmod", 2),
    math.tan: ("tan", 1),
    math.tanh: ("tanh", 1),
    math.expm1: ("expm1", 1),
    math.log1p: ("log1p", 1),
}
TWO_OPERANDS = {"copysign", "pow"}
CASTS = {as_vector: Vector, as_indices: Indices, as_kernel: Kernel}


class Calls(Expressions):
    """What calls give."""

    def expression_Call(self, node: ast.Call) -> Value:
        value = self.call(node)
        if value.type is type(None):
            self.fail(node, f"{ast.unparse(node.func)} returns nothing")
        return value

    def call(self, node: ast.Call) -> Value:
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
        return Value("", type(None))

    def arguments(self, node: ast.Call, *kinds: type) -> list[str]:
        if len(node.args) != len(kinds):
            self.fail(node, f"{ast.unparse(node.func)} takes {len(kinds)} arguments, given are {len(node.args)}")
        return [self.convert(each, self.expression(each), kind) for each, kind in zip(node.args, kinds, strict=True)]

    def call_wide(self, node: ast.Call) -> Value:
        function = self.static(node.func.args[0]) if len(node.func.args) == 1 else None
        if not isinstance(function, NativeFunction):
            self.fail(node, "wide takes a native function")
        signature = self.module.signature(function, is_wide=True)
        if not self.is_wide and float in (*signature.parameters.values(), signature.result):
            self.fail(node, f"wide({function.__name__}) has parameters or a result of several floats each")
        return self.call_native(node, function, is_wide=True)

    def call_native(self, node: ast.Call, function: NativeFunction, is_wide: bool) -> Value:
        signature = self.module.signature(function, is_wide)
        kinds = signature.parameters.values()
        values = self.arguments(node, *kinds)
        listed = ", ".join(f"{self.parameter(kind)} {value}" for kind, value in zip(kinds, values, strict=True))
        return self.call_symbol(signature.symbol, listed, signature.result)

    def call_symbol(self, symbol: str, listed: str, result: type) -> Value:
        if result is type(None):
            self.body.append(f"  call void {symbol}({listed})")
            return Value("", result)
        return self.value(f"call {'zeroext i1' if result is bool else self.llvm(result)} {symbol}({listed})", result)

    def call_builtin(self, node: ast.Call, function: Callable) -> Value:
        if function in INTRINSICS:
            name = INTRINSICS[function]
            kinds = [float] * (1 + (name in TWO_OPERANDS))
            return self.intrinsic(name, *self.arguments(node, *kinds))
        if function in C_FUNCTIONS:
            name, count = C_FUNCTIONS[function]
            values = self.arguments(node, *[float] * count)
            declared = self.module.declare(
                name, f"declare double @{name}({', '.join(['double'] * count)}) nounwind willreturn memory(none)"
            )
            return Value(self.one_by_one(declared, values), float)
        if function in CASTS:
            return self.cast(node, self.operands(node, 1)[0], CASTS[function])
        method = METHODS.get(function)
        if method is None:
            self.fail(node, f"{ast.unparse(node.func)} is not part of the native language")
        return method(self, node)

    def operands(self, node: ast.Call, count: int) -> list[Value]:
        if len(node.args) != count:
            self.fail(node, f"{ast.unparse(node.func)} takes {count} arguments, given are {len(node.args)}")
        return [self.expression(each) for each in node.args]

    def cast(self, node: ast.AST, value: Value, kind: type) -> Value:
        if value.type is int:
            return self.value(f"inttoptr i64 {value.text} to ptr", kind)
        return Value(self.pointer(node, value), kind)

    def pointer(self, node: ast.AST, value: Value) -> str:
        if not is_pointer(value.type) and value.type is not Null:
            self.fail(node, f"a pointer is needed in {ast.unparse(node)}, not {value.type.__name__}")
        return value.text

    def call_int(self, node: ast.Call) -> Value:
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

    def call_float(self, node: ast.Call) -> Value:
        if len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
            try:
                return self.literal(node, float(node.args[0].value))
            except ValueError:
                self.fail(node, f"{ast.unparse(node)} is no number")
        (value,) = self.operands(node, 1)
        if value.type is bool:
            return Value(self.spread(self.emit(f"uitofp i1 {value.text} to double")), float)
        return Value(self.convert(node, value, float), float)

    def call_abs(self, node: ast.Call) -> Value:
        (value,) = self.operands(node, 1)
        if self.number(node, value).type is float:
            return self.intrinsic("fabs", value.text)
        declared = self.module.declare("llvm.abs.i64", "declare i64 @llvm.abs.i64(i64, i1)")
        return self.value(f"call i64 {declared}(i64 {value.text}, i1 true)", int)

    def call_min(self, node: ast.Call) -> Value:
        return self.extreme(node, "lt")

    def call_max(self, node: ast.Call) -> Value:
        return self.extreme(node, "gt")

    def extreme(self, node: ast.Call, order: str) -> Value:
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
        return Value(best, kind)

    def call_isfinite(self, node: ast.Call) -> Value:
        (value,) = self.arguments(node, float)
        size = self.intrinsic("fabs", value)
        return self.value(f"fcmp olt {self.double} {size.text}, {self.float_literal(math.inf)}", self.comparison)

    def call_isnan(self, node: ast.Call) -> Value:
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

    def call_exponent(self, node: ast.Call) -> Value:
        (value,) = self.arguments(node, float)
        biased = self.bits("lshr", self.convert_bits("bitcast", value), SIGNIFICAND_BITS)
        return Value(self.convert_bits("sitofp", self.bits("sub", biased, EXPONENT_BIAS), back=True), float)

    def call_significand(self, node: ast.Call) -> Value:
        (value,) = self.arguments(node, float)
        kept = self.bits("and", self.convert_bits("bitcast", value), (1 << SIGNIFICAND_BITS) - 1)
        one = self.bits("or", kept, EXPONENT_BIAS << SIGNIFICAND_BITS)
        return Value(self.convert_bits("bitcast", one, back=True), float)

    def call_power_of_two(self, node: ast.Call) -> Value:
        (value,) = self.arguments(node, float)
        biased = self.bits("add", self.convert_bits("fptosi", value), EXPONENT_BIAS)
        shifted = self.bits("shl", biased, SIGNIFICAND_BITS)
        return Value(self.convert_bits("bitcast", shifted, back=True), float)

    def call_len(self, node: ast.Call) -> Value:
        table = self.static(node.args[0]) if len(node.args) == 1 else None
        if not isinstance(table, tuple):
            self.fail(node, "len(...) is that of a constant tuple")
        return Value(str(len(table)), int)

    def allocation(self, count: str, kind: type) -> Value:
        declared = self.module.declare("calloc", "declare noalias ptr @calloc(i64, i64) nounwind")
        size = 8 * WIDTH if self.is_wide and kind is Vector else 8
        return self.value(f"call noalias ptr {declared}(i64 {count}, i64 {size})", kind)

    def call_allocate(self, node: ast.Call) -> Value:
        return self.allocation(self.arguments(node, int)[0], Vector)

    def call_allocate_indices(self, node: ast.Call) -> Value:
        return self.allocation(self.arguments(node, int)[0], Indices)

    def record_class(self, node: ast.Call) -> type:
        record = self.static(node.args[0]) if node.args else None
        if not is_record(record):
            self.fail(node, f"{ast.unparse(node.func)} takes a subclass of Record")
        return record

    def call_allocate_record(self, node: ast.Call) -> Value:
        record = self.record_class(node)
        return self.allocation(str(len(record_fields(record))), record)

    def call_as_record(self, node: ast.Call) -> Value:
        record = self.record_class(node)
        if len(node.args) != 2:
            self.fail(node, "as_record takes a subclass of Record and a pointer")
        return self.cast(node, self.expression(node.args[1]), record)

    def call_release(self, node: ast.Call) -> Value:
        pointer = self.pointer(node, self.operands(node, 1)[0])
        return self.call_symbol(
            self.module.declare("free", "declare void @free(ptr) nounwind"), f"ptr {pointer}", type(None)
        )

    def call_copy(self, node: ast.Call) -> Value:
        target, source, count = self.operands(node, 3)
        if target.type is not source.type or target.type not in (Vector, Indices):
            self.fail(node, "copy takes two arrays of the same type")
        word = 8 * WIDTH if self.is_wide and target.type is Vector else 8
        size = self.emit(f"mul nsw i64 {self.convert(node, count, int)}, {word}")
        name = "llvm.memcpy.p0.p0.i64"
        declared = self.module.declare(name, f"declare void @{name}(ptr, ptr, i64, i1)")
        listed = f"ptr align 8 {target.text}, ptr align 8 {source.text}, i64 {size}, i1 false"
        return self.call_symbol(declared, listed, type(None))

    def call_fill(self, node: ast.Call) -> Value:
        target, value, count = self.operands(node, 3)
        if target.type not in (Vector, Indices):
            self.fail(node, f"fill takes a Vector or Indices, not {target.type.__name__}")
        function, kind = (fill_vector, float) if target.type is Vector else (fill_indices, int)
        number, length = self.convert(node, value, kind), self.convert(node, count, int)
        listed = f"ptr {target.text}, {self.llvm(kind)} {number}, i64 {length}"
        return self.call_symbol(self.module.signature(function, self.is_wide).symbol, listed, type(None))

    def call_atomic_add(self, node: ast.Call) -> Value:
        array, position, value = self.arguments(node, Indices, int, int)
        place = self.emit(f"getelementptr inbounds i64, ptr {array}, i64 {position}")
        return self.value(f"atomicrmw add ptr {place}, i64 {value} seq_cst", int)

    def call_is_null(self, node: ast.Call) -> Value:
        return self.value(f"icmp eq ptr {self.pointer(node, self.operands(node, 1)[0])}, null", bool)

    def call_address(self, node: ast.Call) -> Value:
        function = self.static(node.args[0]) if len(node.args) == 1 else None
        if isinstance(function, NativeFunction):
            return self.value(f"ptrtoint ptr {self.module.signature(function).symbol} to i64", int)
        return self.value(f"ptrtoint ptr {self.pointer(node, self.operands(node, 1)[0])} to i64", int)

    def call_call_address(self, node: ast.Call) -> Value:
        if not node.args:
            self.fail(node, "call_address takes the address of a function and its arguments")
        function, *values = [self.expression(each) for each in node.args]
        if function.type is not int:
            self.fail(node, f"the address of a function is an int, not {function.type.__name__}")
        pointer = self.emit(f"inttoptr i64 {function.text} to ptr")
        return self.value(f"call i64 {pointer}({', '.join(f'{llvm_type(v.type)} {v.text}' for v in values)})", int)

    def call_yield_thread(self, node: ast.Call) -> Value:
        self.operands(node, 0)
        name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
        self.emit(f"call i32 {self.module.declare(name, f'declare i32 @{name}() nounwind')}()")
        return Value("", type(None))

    def call_is_wide(self, node: ast.Call) -> Value:
        self.operands(node, 0)
        return Value("true" if self.is_wide else "false", bool)


METHODS: dict[object, Callable[[Calls, ast.Call], Value]] = {
    builtins.int: Calls.call_int,
    builtins.float: Calls.call_float,
    builtins.abs: Calls.call_abs,
    builtins.min: Calls.call_min,
    builtins.max: Calls.call_max,
    builtins.len: Calls.call_len,
    math.isfinite: Calls.call_isfinite,
    math.isnan: Calls.call_isnan,
    allocate: Calls.call_allocate,
    allocate_indices: Calls.call_allocate_indices,
    allocate_record: Calls.call_allocate_record,
    as_record: Calls.call_as_record,
    release: Calls.call_release,
    copy: Calls.call_copy,
    fill: Calls.call_fill,
    atomic_add: Calls.call_atomic_add,
    is_null: Calls.call_is_null,
    address: Calls.call_address,
    call_address: Calls.call_call_address,
    exponent: Calls.call_exponent,
    significand: Calls.call_significand,
    power_of_two: Calls.call_power_of_two,
    yield_thread: Calls.call_yield_thread,
    is_wide: Calls.call_is_wide,
}
