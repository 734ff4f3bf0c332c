"""Expressions as LLVM text: kernels `void name(x, out, scratch)` without branches.

Long kernels are cut into functions of a few hundred operations, because the effort of a compiler grows faster than the
length of a function; what a later part needs again goes through `scratch`. Additions and products may be fused
(`contract`), nothing else is rearranged.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from . import graph as g
from .graph import Graph

CHUNK = 400
# beyond so many operations a kernel is compiled without optimisation passes
LONG = 2000

_ARITHMETIC = {g.ADD: "fadd contract", g.SUB: "fsub contract", g.MUL: "fmul contract", g.DIV: "fdiv contract"}
_INTRINSICS = {
    g.ABS: "fabs", g.FLOOR: "floor", g.CEIL: "ceil", g.ROUND_EVEN: "roundeven", g.ROUND_AWAY: "round",
    g.TRUNC: "trunc", g.SQRT: "sqrt", g.EXP: "exp", g.EXP2: "exp2", g.LOG: "log", g.SIN: "sin", g.COS: "cos",
}  # fmt: skip
_LIBRARY = {
    g.CBRT: "cbrt", g.EXPM1: "expm1", g.LOG1P: "log1p", g.TAN: "tan", g.SINH: "sinh", g.COSH: "cosh", g.TANH: "tanh",
    g.ASIN: "asin", g.ACOS: "acos", g.ATAN: "atan", g.ASINH: "asinh", g.ACOSH: "acosh", g.ATANH: "atanh",
    g.ERF: "erf", g.ERFC: "erfc", g.LGAMMA: "lgamma",
}  # fmt: skip
_CALLS = {**{o: f"@llvm.{name}.f64" for o, name in _INTRINSICS.items()}, **{o: f"@{n}" for o, n in _LIBRARY.items()}}
_PAIR_CALLS = {g.POW: "@llvm.pow.f64", g.MAX: "@llvm.maximum.f64", g.MIN: "@llvm.minimum.f64", g.ATAN2: "@atan2"}
_COMPARISONS = {g.LT: "olt", g.LE: "ole", g.EQ: "oeq", g.LESS: "olt"}

DECLARATIONS = "\n".join(
    [
        *(f"declare double {name}(double) #0" for name in _CALLS.values()),
        *(f"declare double {name}(double, double) #0" for name in _PAIR_CALLS.values()),
        "declare double @llvm.copysign.f64(double, double) #0",
        "attributes #0 = { nounwind willreturn memory(none) }",
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


def emit(graph: Graph, name: str, outputs: Sequence[int], chunk: int = CHUNK) -> Kernel:
    """Writes the kernel that computes `outputs` in order.

    Args:
        graph: holds the nodes.
        name: of the function.
        outputs: nodes; positions of inputs are positions in `x`.
        chunk: most operations in one function.
    """
    order = _ordered(graph, outputs)
    places: dict[int, list[int]] = {}
    for place, output in enumerate(outputs):
        places.setdefault(output, []).append(place)
    parts = [order[start : start + chunk] for start in range(0, len(order), chunk)] or [[]]
    slots = _slots(graph, parts)
    writer = _Writer(graph, places, slots)
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
    return Kernel(name, "\n".join(texts), len(order), len(slots))


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


class _Writer:
    """Writes the parts of one kernel."""

    def __init__(self, graph: Graph, places: dict[int, list[int]], slots: dict[int, int]):
        self.graph = graph
        self.places = places
        self.slots = slots
        self.lines: list[str] = []
        self.names: dict[int, str] = {}
        self.truths: dict[int, str] = {}

    def part(self, operations: list[int], loose: list[int]) -> list[str]:
        self.lines, self.names, self.truths = [], {}, {}
        nodes, names, lines, places, slots = self.graph.nodes, self.names, self.lines, self.places, self.slots
        value = self.value
        for a in operations:
            node = nodes[a]
            arithmetic = _ARITHMETIC.get(node[0])
            if arithmetic is not None:
                left, right = value(node[1]), value(node[2])
                lines.append(f"%v{a} = {arithmetic} double {left}, {right}")
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

    def _store(self, array: str, place: int, name: str) -> None:
        pointer = f"%{array}.{place}"
        self.lines.append(f"{pointer} = getelementptr double, ptr %{array}, i64 {place}")
        self.lines.append(f"store double {name}, ptr {pointer}")

    def value(self, a: int) -> str:
        """The name of a node's value as a double."""
        name = self.names.get(a)
        if name is not None:
            return name
        node = self.graph.nodes[a]
        if node[0] == g.CONST:
            name = number(node[1])
        elif a in self.truths:
            name = f"%v{a}"
            self.lines.append(f"{name} = uitofp i1 {self.truths[a]} to double")
        else:
            name = f"%v{a}"
            array, place = ("x", node[1]) if node[0] == g.INPUT else ("s", self.slots[a])
            self.lines.append(f"%p{a} = getelementptr double, ptr %{array}, i64 {place}")
            self.lines.append(f"{name} = load double, ptr %p{a}")
        self.names[a] = name
        return name

    def truth(self, a: int) -> str:
        """The name of a node's value as a truth value."""
        name = self.truths.get(a)
        if name is None:
            known = self.value(a)
            name = self.truths[a] = f"%t{a}"
            self.lines.append(f"{name} = fcmp une double {known}, 0.0")
        return name

    def _operation(self, a: int, node: tuple) -> None:
        kind, lines = node[0], self.lines
        if kind in g.TRUTH:
            self._truth_operation(a, node)
            return
        if kind == g.STOP:
            self.names[a] = self.value(node[1])
            return
        if kind == g.SELECT:
            condition = self.truth(node[1])
            text = f"select i1 {condition}, double {self.value(node[2])}, double {self.value(node[3])}"
        elif kind in _CALLS:
            text = f"call double {_CALLS[kind]}(double {self.value(node[1])})"
        elif kind in _PAIR_CALLS:
            text = f"call double {_PAIR_CALLS[kind]}(double {self.value(node[1])}, double {self.value(node[2])})"
        elif kind == g.NEG:
            text = f"fneg double {self.value(node[1])}"
        elif kind == g.REM:
            text = f"frem double {self.value(node[1])}, {self.value(node[2])}"
        elif kind == g.SIGN:
            argument = self.value(node[1])
            lines.append(f"%a{a} = call double @llvm.copysign.f64(double 1.0, double {argument})")
            lines.append(f"%b{a} = fcmp one double {argument}, 0.0")
            text = f"select i1 %b{a}, double %a{a}, double {argument}"
        else:  # LOGISTIC
            lines.append(f"%a{a} = fneg double {self.value(node[1])}")
            lines.append(f"%b{a} = call double @llvm.exp.f64(double %a{a})")
            lines.append(f"%c{a} = fadd double 1.0, %b{a}")
            text = f"fdiv double 1.0, %c{a}"
        lines.append(f"%v{a} = {text}")
        self.names[a] = f"%v{a}"

    def _truth_operation(self, a: int, node: tuple) -> None:
        kind, lines = node[0], self.lines
        if kind in _COMPARISONS:
            text = f"fcmp {_COMPARISONS[kind]} double {self.value(node[1])}, {self.value(node[2])}"
        elif kind == g.NOT:
            text = f"xor i1 {self.truth(node[1])}, true"
        elif kind == g.ISFINITE:
            lines.append(f"%a{a} = call double @llvm.fabs.f64(double {self.value(node[1])})")
            text = f"fcmp one double %a{a}, {number(float('inf'))}"
        else:
            text = f"{'and' if kind == g.AND else 'or'} i1 {self.truth(node[1])}, {self.truth(node[2])}"
        lines.append(f"%t{a} = {text}")
        self.truths[a] = f"%t{a}"
