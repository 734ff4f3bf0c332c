"""Expressions as LLVM text: kernels `void name(x, out, scratch)` without branches.

Long kernels are cut into functions of a few hundred operations, because the effort of a compiler grows faster than the
length of a function; what a later part needs again goes through `scratch`. A product that is used once, in a sum, is
fused with it where the processor can; nothing else is rearranged.

A wide kernel does the same for `WIDTH` problems at once, in vector registers, to the same bits: where a kernel has a
double in its arguments there are `WIDTH` of them, one after the other. Functions of the mathematical library are called
for one number after the other.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..native.language import WIDTH
from . import graph as g
from .graph import Graph

CHUNK = 400
# beyond so many operations a kernel is compiled without optimisation passes
LONG = 8_000

_ARITHMETIC = {g.ADD: "fadd", g.SUB: "fsub", g.MUL: "fmul", g.DIV: "fdiv"}
_INTRINSICS = {
    g.ABS: "fabs", g.FLOOR: "floor", g.CEIL: "ceil", g.ROUND_EVEN: "roundeven", g.ROUND_AWAY: "round",
    g.TRUNC: "trunc", g.SQRT: "sqrt", g.EXP: "exp", g.EXP2: "exp2", g.LOG: "log", g.SIN: "sin", g.COS: "cos",
}  # fmt: skip
_LIBRARY = {
    g.CBRT: "cbrt", g.EXPM1: "expm1", g.LOG1P: "log1p", g.TAN: "tan", g.SINH: "sinh", g.COSH: "cosh", g.TANH: "tanh",
    g.ASIN: "asin", g.ACOS: "acos", g.ATAN: "atan", g.ASINH: "asinh", g.ACOSH: "acosh", g.ATANH: "atanh",
    g.ERF: "erf", g.ERFC: "erfc", g.LGAMMA: "lgamma",
}  # fmt: skip
# Those that have one right result, whether of one number or of several at once.
_EXACT = {g.ABS, g.FLOOR, g.CEIL, g.ROUND_EVEN, g.ROUND_AWAY, g.TRUNC, g.SQRT, g.MAX, g.MIN}
_CALLS = {**{o: f"@llvm.{name}.f64" for o, name in _INTRINSICS.items()}, **{o: f"@{n}" for o, n in _LIBRARY.items()}}
_PAIR_CALLS = {g.POW: "@llvm.pow.f64", g.MAX: "@llvm.maximum.f64", g.MIN: "@llvm.minimum.f64", g.ATAN2: "@atan2"}
_COMPARISONS = {g.LT: "olt", g.LE: "ole", g.EQ: "oeq", g.LESS: "olt"}

# The curve through `count` points: a binary search for the last knot that is not after t, then a line.
CURVE_FUNCTION = """
define internal double @curve(double %t, ptr %times, ptr %values, i64 %count, i1 %slope) noinline nounwind {
  br label %search
search:
  %low = phi i64 [ 0, %0 ], [ %low.next, %search ]
  %high = phi i64 [ %count, %0 ], [ %high.next, %search ]
  %sum = add i64 %low, %high
  %middle = lshr i64 %sum, 1
  %knot.pointer = getelementptr double, ptr %times, i64 %middle
  %knot = load double, ptr %knot.pointer
  %after = fcmp ult double %t, %knot
  %next = add i64 %middle, 1
  %low.next = select i1 %after, i64 %low, i64 %next
  %high.next = select i1 %after, i64 %middle, i64 %high
  %more = icmp ult i64 %low.next, %high.next
  br i1 %more, label %search, label %found
found:
  %first = icmp eq i64 %low.next, 0
  %last = icmp eq i64 %low.next, %count
  %outside = or i1 %first, %last
  %below = sub i64 %low.next, 1
  %i = select i1 %first, i64 0, i64 %below
  %v0.pointer = getelementptr double, ptr %values, i64 %i
  %v0 = load double, ptr %v0.pointer
  br i1 %outside, label %constant, label %line
constant:
  %level = select i1 %slope, double 0.0, double %v0
  ret double %level
line:
  %t0.pointer = getelementptr double, ptr %times, i64 %i
  %t0 = load double, ptr %t0.pointer
  %t1.pointer = getelementptr double, ptr %times, i64 %low.next
  %t1 = load double, ptr %t1.pointer
  %v1.pointer = getelementptr double, ptr %values, i64 %low.next
  %v1 = load double, ptr %v1.pointer
  %length = fsub double %t1, %t0
  %rise = fsub double %v1, %v0
  %rate = fdiv double %rise, %length
  %passed = fsub double %t, %t0
  %share = fdiv double %passed, %length
  %more.value = fmul double %share, %rise
  %value = fadd double %v0, %more.value
  %result = select i1 %slope, double %rate, double %value
  ret double %result
}"""

WIDE_NUMBERS = f"<{WIDTH} x double>"


def _wide_name(name: str) -> str:
    return name.replace(".f64", f".v{WIDTH}f64")


def _declaration(name: str, operands: int, wide: bool = False) -> str:
    kind = WIDE_NUMBERS if wide else "double"
    return f"declare {kind} {_wide_name(name) if wide else name}({', '.join([kind] * operands)}) #0"


_FUNCTIONS = [
    *((name, 1, operation in _EXACT) for operation, name in _CALLS.items()),
    *((name, 2, operation in _EXACT) for operation, name in _PAIR_CALLS.items()),
    ("@llvm.copysign.f64", 2, True),
    ("@llvm.fmuladd.f64", 3, True),
]
DECLARATIONS = "\n".join(
    [
        *(_declaration(name, operands) for name, operands, _ in _FUNCTIONS),
        *(_declaration(name, operands, wide=True) for name, operands, exact in _FUNCTIONS if exact),
        "attributes #0 = { nounwind willreturn memory(none) }",
        CURVE_FUNCTION,
        "attributes #1 = { noinline nounwind }",
    ]
)


@dataclass(frozen=True)
class Kernel:
    """The text of one kernel.

    Attributes:
        name: of its function.
        text: LLVM functions, without declarations.
        operations: how many it computes.
        scratch: how many doubles of scratch it uses.
    """

    name: str
    text: str
    operations: int
    scratch: int


def number(value: float) -> str:
    """A double in LLVM's exact notation."""
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def module(kernels: Iterable[Kernel]) -> str:
    """The text of a module with some kernels."""
    return "\n".join([DECLARATIONS, *(kernel.text for kernel in kernels)])


def emit(graph: Graph, name: str, outputs: Sequence[int], chunk: int = CHUNK, wide: bool = False) -> Kernel:
    """Writes the kernel that computes `outputs` in order.

    Args:
        graph: holds the nodes.
        name: of the function.
        outputs: nodes; positions of inputs are positions in `x`.
        chunk: most operations in one function.
        wide: whether for `WIDTH` problems at once.
    """
    order = _ordered(graph, outputs)
    places: dict[int, list[int]] = {}
    for place, output in enumerate(outputs):
        places.setdefault(output, []).append(place)
    parts = [order[start : start + chunk] for start in range(0, len(order), chunk)] or [[]]
    slots = _slots(graph, parts)
    fused = _fused(graph, parts, places, slots)
    writer = _Writer(graph, places, slots, name, fused, wide)
    texts, calls = [], []
    loose = [output for output in places if graph.nodes[output][0] <= g.INPUT]
    for number_, part in enumerate(parts):
        body = writer.part(part, loose if number_ == len(parts) - 1 else [])
        single = len(parts) == 1
        own = name if single else f"{name}.{number_}"
        linkage = "" if single else "internal "
        texts.append(f"define {linkage}void @{own}(ptr noalias readonly %x, ptr noalias %out, ptr noalias %s) #1 {{")
        texts += [*body, "ret void", "}"]
        calls.append(f"call void @{own}(ptr %x, ptr %out, ptr %s)")
    if len(parts) > 1:
        texts += [f"define void @{name}(ptr %x, ptr %out, ptr %s) nounwind {{", *calls, "ret void", "}"]
    return Kernel(name, "\n".join([*writer.tables, *texts]), len(order), len(slots))


def _ordered(graph: Graph, outputs: Sequence[int]) -> list[int]:
    """Operations under the outputs, children first, one output after the other: values are used soon after they are
    made, so that few have to be kept."""
    nodes, done, order = graph.nodes, set(), []
    for output in outputs:
        stack = [output]
        while stack:
            a = stack[-1]
            if a in done:
                stack.pop()
                continue
            node = nodes[a]
            if node[0] <= g.INPUT:
                done.add(a)
                stack.pop()
                continue
            waiting = [child for child in node[1:] if child not in done]
            if waiting:
                stack += waiting[::-1]
            else:
                done.add(a)
                order.append(a)
                stack.pop()
    return order


def _slots(graph: Graph, parts: list[list[int]]) -> dict[int, int]:
    """Places in scratch of the values that a later part needs."""
    home = {a: number_ for number_, part in enumerate(parts) for a in part}
    slots: dict[int, int] = {}
    if len(parts) > 1:
        for number_, part in enumerate(parts):
            for a in part:
                for child in graph.nodes[a][1:]:
                    if home.get(child, number_) != number_ and child not in slots:
                        slots[child] = len(slots)
    return slots


def _fused(graph: Graph, parts: list[list[int]], places: dict[int, list[int]], slots: dict[int, int]) -> dict[int, int]:
    """Sum -> its operand that is a product of no other use, written with the sum; of two the second.

    A product that is used twice stays as it is: what one rate loses is what another gains, to the last bit.
    """
    nodes = graph.nodes
    uses: dict[int, int] = {}
    for part in parts:
        for a in part:
            for child in nodes[a][1:]:
                uses[child] = uses.get(child, 0) + 1
    fused = {}
    for part in parts:
        here = set(part)
        for a in part:
            if nodes[a][0] in (g.ADD, g.SUB):
                for child in nodes[a][:0:-1]:
                    alone = uses[child] == 1 and child in here and child not in places and child not in slots
                    if nodes[child][0] == g.MUL and alone:
                        fused[a] = child
                        break
    return fused


class _Writer:
    """Writes the parts of one kernel."""

    def __init__(
        self,
        graph: Graph,
        places: dict[int, list[int]],
        slots: dict[int, int],
        kernel: str,
        fused: dict[int, int],
        wide: bool,
    ):
        self.graph = graph
        self.places = places
        self.slots = slots
        self.kernel = kernel
        self.fused = fused
        self.products = set(fused.values())
        self.wide = wide
        self.double = WIDE_NUMBERS if wide else "double"
        self.bit = f"<{WIDTH} x i1>" if wide else "i1"
        # definitions of arrays of known numbers
        self.tables: list[str] = []
        self.rows: dict[tuple[int, ...], str] = {}
        self.lines: list[str] = []
        self.names: dict[int, str] = {}
        self.truths: dict[int, str] = {}

    def part(self, operations: list[int], loose: list[int]) -> list[str]:
        self.lines, self.names, self.truths, self.rows = [], {}, {}, {}
        nodes, names, lines, places, slots = self.graph.nodes, self.names, self.lines, self.places, self.slots
        value = self.value
        for a in operations:
            node = nodes[a]
            arithmetic = _ARITHMETIC.get(node[0])
            if a in self.products:
                continue
            if a in self.fused:
                self._fused_sum(a, node)
            elif arithmetic is not None:
                left, right = value(node[1]), value(node[2])
                lines.append(f"%v{a} = {arithmetic} {self.double} {left}, {right}")
                names[a] = f"%v{a}"
            else:
                self._operation(a, node)
            if a in slots:
                self._store("s", slots[a], value(a))
            if a in places:
                for place in places[a]:
                    self._store("out", place, value(a))
        for a in loose:
            for place in places[a]:
                self._store("out", place, value(a))
        return lines

    def _fused_sum(self, a: int, node: tuple) -> None:
        product = self.fused[a]
        first, second = (self.value(child) for child in self.graph.nodes[product][1:])
        other = self.value(node[2] if product == node[1] else node[1])
        if node[0] == g.SUB:
            negated = f"%n{a}"
            self.lines.append(f"{negated} = fneg {self.double} {first if product == node[2] else other}")
            first, other = (negated, other) if product == node[2] else (first, negated)
        self.lines.append(f"%v{a} = {self._call('@llvm.fmuladd.f64', first, second, other)}")
        self.names[a] = f"%v{a}"

    def _call(self, name: str, *values: str) -> str:
        """A function with one right result."""
        name = _wide_name(name) if self.wide else name
        return f"call {self.double} {name}({', '.join(f'{self.double} {each}' for each in values)})"

    def _one_by_one(self, a: int, instruction: str, *values: str) -> str:
        """An instruction for doubles, with places {0}, {1}, {k} for them and for which one it is, as `%v{a}`.

        Returns:
            The text of the last instruction.
        """
        if not self.wide:
            return instruction.format(*values, k="")
        result = "poison"
        for k in range(WIDTH):
            parts = []
            for j, each in enumerate(values):
                parts.append(f"%e{a}.{j}.{k}")
                self.lines.append(f"{parts[-1]} = extractelement {WIDE_NUMBERS} {each}, i64 {k}")
            self.lines.append(f"%o{a}.{k} = {instruction.format(*parts, k=f'.{k}')}")
            text = f"insertelement {WIDE_NUMBERS} {result}, double %o{a}.{k}, i64 {k}"
            result = f"%i{a}.{k}"
            if k < WIDTH - 1:
                self.lines.append(f"{result} = {text}")
        return text

    def _number(self, value: float) -> str:
        return f"splat (double {number(value)})" if self.wide else number(value)

    def _store(self, array: str, place: int, name: str) -> None:
        pointer = f"%{array}.{place}"
        self.lines.append(f"{pointer} = getelementptr {self.double}, ptr %{array}, i64 {place}")
        self.lines.append(f"store {self.double} {name}, ptr {pointer}, align 8")

    def value(self, a: int) -> str:
        """The name of a node's value as a double."""
        name = self.names.get(a)
        if name is not None:
            return name
        node = self.graph.nodes[a]
        if node[0] == g.CONST:
            name = self._number(node[1])
        elif a in self.truths:
            name = f"%v{a}"
            self.lines.append(f"{name} = uitofp {self.bit} {self.truths[a]} to {self.double}")
        else:
            name = f"%v{a}"
            array, place = ("x", node[1]) if node[0] == g.INPUT else ("s", self.slots[a])
            self.lines.append(f"%p{a} = getelementptr {self.double}, ptr %{array}, i64 {place}")
            self.lines.append(f"{name} = load {self.double}, ptr %p{a}, align 8")
        self.names[a] = name
        return name

    def truth(self, a: int) -> str:
        """The name of a node's value as a truth value."""
        name = self.truths.get(a)
        if name is None:
            known = self.value(a)
            name = self.truths[a] = f"%t{a}"
            self.lines.append(f"{name} = fcmp une {self.double} {known}, zeroinitializer")
        return name

    def _row(self, entries: tuple[int, ...]) -> str:
        """The name of a pointer to the values of nodes in one row: where they already are, if they are in one row.

        In a wide kernel there are `WIDTH` such pointers, with `{k}` for the place of a number in the name.
        """
        if entries not in self.rows:
            self.rows[entries] = self._new_row(entries)
        return self.rows[entries]

    def _new_row(self, entries: tuple[int, ...]) -> str:
        nodes = [self.graph.nodes[a] for a in entries]
        if all(node[0] == g.CONST for node in nodes):
            name = f"@{self.kernel}.row{len(self.tables)}"
            numbers = ", ".join(f"double {number(value)}" for _, value in nodes)
            self.tables.append(f"{name} = internal constant [{len(nodes)} x double] [{numbers}]")
            return name
        name = f"%row{len(self.rows)}"
        if self.wide:
            return self._wide_row(name, entries)
        if all(node == (g.INPUT, nodes[0][1] + k) for k, node in enumerate(nodes)):
            self.lines.append(f"{name} = getelementptr double, ptr %x, i64 {nodes[0][1]}")
            return name
        values = [self.value(a) for a in entries]
        self.lines.append(f"{name} = alloca double, i64 {len(entries)}")
        for k, value in enumerate(values):
            self.lines.append(f"{name}.{k} = getelementptr double, ptr {name}, i64 {k}")
            self.lines.append(f"store double {value}, ptr {name}.{k}")
        return name

    def _wide_row(self, name: str, entries: tuple[int, ...]) -> str:
        values = [self.value(a) for a in entries]
        for lane in range(WIDTH):
            row = f"{name}.{lane}"
            self.lines.append(f"{row} = alloca double, i64 {len(entries)}")
            for k, value in enumerate(values):
                self.lines.append(f"{row}.{k}.value = extractelement {WIDE_NUMBERS} {value}, i64 {lane}")
                self.lines.append(f"{row}.{k} = getelementptr double, ptr {row}, i64 {k}")
                self.lines.append(f"store double {row}.{k}.value, ptr {row}.{k}")
        return name + "{k}"

    def _operation(self, a: int, node: tuple) -> None:
        kind, lines = node[0], self.lines
        if kind in g.TRUTH:
            self._truth_operation(a, node)
            return
        if kind == g.STOP:
            self.names[a] = self.value(node[1])
            return
        arguments = [self.value(child) for child in node[1:]] if kind != g.SELECT and kind not in g.CURVES else []
        if kind == g.SELECT:
            condition = self.truth(node[1])
            yes, no = self.value(node[2]), self.value(node[3])
            text = f"select {self.bit} {condition}, {self.double} {yes}, {self.double} {no}"
        elif kind in _EXACT:
            text = self._call(_CALLS.get(kind) or _PAIR_CALLS[kind], *arguments)
        elif kind in _CALLS:
            text = self._one_by_one(a, f"call double {_CALLS[kind]}(double {{0}})", *arguments)
        elif kind in _PAIR_CALLS:
            text = self._one_by_one(a, f"call double {_PAIR_CALLS[kind]}(double {{0}}, double {{1}})", *arguments)
        elif kind == g.NEG:
            text = f"fneg {self.double} {arguments[0]}"
        elif kind in g.CURVES:
            count = len(node) // 2 - 1
            times, values = self._row(node[2 : 2 + count]), self._row(node[2 + count :])
            which = "true" if kind == g.CURVE_SLOPE else "false"
            call = f"call double @curve(double {{0}}, ptr {times}, ptr {values}, i64 {count}, i1 {which})"
            text = self._one_by_one(a, call, self.value(node[1]))
        elif kind == g.REM:
            text = self._one_by_one(a, "frem double {0}, {1}", *arguments)
        elif kind == g.SIGN:
            lines.append(f"%a{a} = {self._call('@llvm.copysign.f64', self._number(1.0), *arguments)}")
            lines.append(f"%b{a} = fcmp one {self.double} {arguments[0]}, zeroinitializer")
            text = f"select {self.bit} %b{a}, {self.double} %a{a}, {self.double} {arguments[0]}"
        else:  # LOGISTIC
            lines.append(f"%a{a} = fneg {self.double} {arguments[0]}")
            lines.append(f"%b{a} = {self._one_by_one(a, 'call double @llvm.exp.f64(double {0})', f'%a{a}')}")
            lines.append(f"%c{a} = fadd {self.double} {self._number(1.0)}, %b{a}")
            text = f"fdiv {self.double} {self._number(1.0)}, %c{a}"
        lines.append(f"%v{a} = {text}")
        self.names[a] = f"%v{a}"

    def _truth_operation(self, a: int, node: tuple) -> None:
        kind, lines = node[0], self.lines
        if kind in _COMPARISONS:
            text = f"fcmp {_COMPARISONS[kind]} {self.double} {self.value(node[1])}, {self.value(node[2])}"
        elif kind == g.NOT:
            text = f"xor {self.bit} {self.truth(node[1])}, {'splat (i1 true)' if self.wide else 'true'}"
        elif kind == g.ISFINITE:
            lines.append(f"%a{a} = {self._call('@llvm.fabs.f64', self.value(node[1]))}")
            text = f"fcmp one {self.double} %a{a}, {self._number(float('inf'))}"
        else:
            text = f"{'and' if kind == g.AND else 'or'} {self.bit} {self.truth(node[1])}, {self.truth(node[2])}"
        lines.append(f"%t{a} = {text}")
        self.truths[a] = f"%t{a}"
