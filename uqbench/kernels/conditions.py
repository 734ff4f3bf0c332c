"""Jumps of a right-hand side: which comparisons it makes, and when or where they change.

A comparison is one of three kinds. Without time and states it never changes during a solve. With time only, and affine
in it (dose times, pulses, periodic dosing by `rem` or `floor`), it changes at *switch times* that are known from the
parameters. Every other one is a *condition* with a root function, the difference of its two sides; the kernels of the
right-hand side read its truth as an input, the mode, so that they are smooth while modes are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from . import graph as g
from .graph import Graph

MOST_FORMS = 64


@dataclass(frozen=True)
class Jumps:
    """What `find` returns.

    Attributes:
        conditions: comparison nodes that the right-hand side may not decide by itself.
        roots: their root functions, in the same order.
        negated: comparisons that hold exactly where a condition does not: node -> number of the condition.
        switches: nodes `(offset, period)`: jumps at offset + k period, once where the period is the number 0.
        unlocated: roundings and remainders of what depends on states, or not linearly on time, jump at times that are
            not found; values are right by error control, derivatives are not.
        descriptions: a sentence for each condition and each switch, other than knots of measured inputs.
    """

    conditions: list[int]
    roots: list[int]
    negated: dict[int, int]
    switches: list[tuple[int, int]]
    unlocated: bool
    descriptions: list[str]


@dataclass(frozen=True)
class Form:
    """A way to write a node between jumps: slope * t + start + weight * atom.

    Attributes:
        slope, start, weight: nodes free of time and states.
        atom: a node that is a remainder or a rounding of something affine in time, or None.
    """

    slope: int
    start: int
    weight: int
    atom: int | None


def find(graph: Graph, outputs: Sequence[int], states: int, names: Sequence[str], past: Sequence[int] = ()) -> Jumps:
    """The jumps of a right-hand side.

    Args:
        graph: takes root functions and switch times up.
        outputs: nodes of the right-hand side; input 0 is time, inputs 1 ... `states` are the states.
        states: how many.
        names: of the inputs, for the descriptions.
        past: positions of inputs that move during a solve as states do.
    """
    return _Search(graph, states, names, past).run(outputs)


def split_kinks(graph: Graph, outputs: Sequence[int], states: int, past: Sequence[int] = ()) -> list[int]:
    """The outputs with `max`, `min` and `abs` of what depends on time, but not on states, written as choices.

    So their kinks are times to stop at, like those of comparisons. Kinks in states are left to the error control.
    """
    search = _Search(graph, states, (), past)
    choices = {}
    for a in graph.needed(outputs):
        search._mark(a)
        kind, *children = graph.nodes[a]
        if kind in (g.MAX, g.MIN, g.ABS) and search.moves[a] and not search.on_states[a]:
            first = children[0]
            second = graph.zero if kind == g.ABS else children[1]
            below = graph.compare(g.LT, first, second)
            if kind == g.ABS:
                choices[a] = graph.select(below, graph.neg(first), first)
            else:
                larger, smaller = graph.select(below, second, first), graph.select(below, first, second)
                choices[a] = larger if kind == g.MAX else smaller
    return graph.substitute(outputs, choices) if choices else list(outputs)


def depends_smoothly(graph: Graph, outputs: Sequence[int], positions: range) -> bool:
    """Whether some of the inputs at `positions` reach the outputs other than through jumps."""
    reached: dict[int, bool] = {}
    for a in graph.needed(outputs):
        node = graph.nodes[a]
        if node[0] == g.INPUT:
            reached[a] = node[1] in positions
        elif node[0] == g.CONST or node[0] in g.DISCRETE:
            reached[a] = False
        else:
            children = node[2:] if node[0] == g.SELECT else node[1:]
            reached[a] = any(reached[child] for child in children)
    return any(reached[output] for output in outputs)


class _Search:
    def __init__(self, graph: Graph, states: int, names: Sequence[str], past: Sequence[int]):
        self.graph = graph
        self.states = {*range(1, 1 + states), *past}
        self.names = names
        self.on_time: dict[int, bool] = {}
        self.on_states: dict[int, bool] = {}
        # without what comes through jumps only
        self.moves: dict[int, bool] = {}
        self.known_forms: dict[int, list[Form] | None] = {}
        self.switches: dict[tuple[int, int], str] = {}

    def run(self, outputs: Sequence[int]) -> Jumps:
        graph, nodes = self.graph, self.graph.nodes
        needed = graph.needed(outputs)
        for a in needed:
            self._mark(a)
        if any(nodes[a][0] in (g.LT, g.LE, g.REM, g.CURVE) or nodes[a][0] in g.STEPS for a in needed):
            # children first, so that no recursion is deep
            for a in needed:
                self.forms(a)
        conditions: list[int] = []
        negated: dict[int, int] = {}
        numbers: dict[tuple, int] = {}
        unlocated = False
        for a in needed:
            node = nodes[a]
            if node[0] in g.STEPS or node[0] == g.REM:
                if self.on_time[a] and self._atomic(a):
                    self._atom_switches(a)
                else:
                    unlocated |= self.moves[node[1]]
            elif node[0] == g.CURVE:
                self._curve_switches(node)
            elif node[0] in (g.LT, g.LE):
                # what only counts other jumps changes with them
                if not (self.moves[node[1]] or self.moves[node[2]]):
                    continue
                if self._comparison_switches(a):
                    continue
                opposite = g.LE if node[0] == g.LT else g.LT
                twin = numbers.get((opposite, node[2], node[1]))
                if twin is None:
                    numbers[node] = len(conditions)
                    conditions.append(a)
                else:
                    negated[a] = twin
        roots = [graph.sub(nodes[a][1], nodes[a][2]) for a in conditions]
        descriptions = [f"where {self.text(a)} begins or ceases to hold" for a in conditions]
        descriptions += [text for text in self.switches.values() if text]
        return Jumps(conditions, roots, negated, list(self.switches), unlocated, descriptions)

    def _mark(self, a: int) -> None:
        node = self.graph.nodes[a]
        if node[0] <= g.INPUT:
            position = node[1] if node[0] == g.INPUT else -1
            self.on_time[a], self.on_states[a] = position == 0, position in self.states
            self.moves[a] = self.on_time[a] or self.on_states[a]
            return
        children = node[1:]
        self.on_time[a] = any(self.on_time[child] for child in children)
        self.on_states[a] = any(self.on_states[child] for child in children)
        through = children[1:] if node[0] == g.SELECT else children
        self.moves[a] = node[0] not in g.DISCRETE and any(self.moves[child] for child in through)

    def _fixed(self, a: int) -> bool:
        return not (self.on_time.get(a, False) or self.on_states.get(a, False))

    # switch times

    def _comparison_switches(self, a: int) -> bool:
        """Takes up the switch times of a comparison; False if it is no matter of time alone."""
        left, right = self.graph.nodes[a][1:]
        forms = self._sums(left, right, -1)
        if forms is None:
            return False
        for form in forms:
            self._form_switch(form, self.text(a))
        return True

    def _curve_switches(self, node: tuple) -> None:
        """Takes up the knots of a measured input, where it is one of time."""
        count = len(node) // 2 - 1
        for knot in node[2 : 2 + count]:
            if self.on_time[node[1]] and not self.on_states[node[1]] and self._fixed(knot):
                for form in self._sums(node[1], knot, -1) or ():
                    self._form_switch(form, "")

    def _form_switch(self, form: Form, text: str) -> None:
        graph = self.graph
        slope, start, period = form.slope, form.start, graph.zero
        if form.atom is not None:
            node = graph.nodes[form.atom]
            inner = self._affine(node[1])
            if node[0] == g.REM:
                # atom = inner - k * divisor
                slope = graph.add(slope, graph.mul(form.weight, inner.slope))
                start = graph.add(start, graph.mul(form.weight, inner.start))
                period = graph.mul(form.weight, node[2])
            else:
                period = form.weight
        if graph.values[slope] == 0.0:
            return
        self._switch(start, slope, period, text)

    def _atom_switches(self, a: int) -> None:
        """Jumps of a remainder or a rounding."""
        graph, node = self.graph, self.graph.nodes[a]
        inner = self._affine(node[1])
        start, period = inner.start, graph.one
        if node[0] == g.REM:
            period = node[2]
        elif node[0] in (g.ROUND_EVEN, g.ROUND_AWAY):
            start = graph.sub(start, graph.const(0.5))
        elif node[0] == g.SIGN:
            period = graph.zero
        self._switch(start, inner.slope, period, self.text(a))

    def _switch(self, start: int, slope: int, period: int, text: str) -> None:
        """Takes up the times at which start + slope * t is a multiple of `period`; the number 0 stands for once."""
        graph = self.graph
        offset = graph.neg(graph.div(start, slope))
        # -0.0 is no other time
        offset = graph.zero if graph.values[offset] == 0.0 else offset
        period = graph.unary(g.ABS, graph.div(period, slope))
        shown = self.text(offset)
        times = f"at time {shown}" if period == self.graph.zero else f"at times {shown} + k * {self.text(period)}"
        sentence = f"{times}, where {text} changes" if text else ""
        self.switches[offset, period] = self.switches.get((offset, period)) or sentence

    def _atomic(self, a: int) -> bool:
        """Whether a remainder or rounding jumps at times known from the parameters."""
        node = self.graph.nodes[a]
        return self._affine(node[1]) is not None and (node[0] != g.REM or self._fixed(node[2]))

    def _affine(self, a: int) -> Form | None:
        """The only form of a node, if it has no atom and depends on time."""
        forms = self.forms(a)
        if forms is None or len(forms) != 1 or forms[0].atom is not None or self.graph.values[forms[0].slope] == 0.0:
            return None
        return forms[0]

    def forms(self, a: int) -> list[Form] | None:
        """All ways to write a node between jumps; None if it depends on states, or on time in another way."""
        if a not in self.known_forms:
            forms = self._forms(a)
            forms = None if forms is None else list(dict.fromkeys(forms))
            self.known_forms[a] = None if forms is None or len(forms) > MOST_FORMS else forms
        return self.known_forms[a]

    def _forms(self, a: int) -> list[Form] | None:
        graph, node = self.graph, self.graph.nodes[a]
        zero, kind = graph.zero, node[0]
        if self._fixed(a):
            return [Form(zero, a, zero, None)]
        if kind == g.INPUT:
            return [Form(graph.one, zero, zero, None)] if node[1] == 0 else None
        if kind in g.TRUTH:
            # between jumps one of two numbers, whatever decides
            return [Form(zero, value, zero, None) for value in (zero, graph.one)]
        if kind in (g.ADD, g.SUB):
            return self._sums(node[1], node[2], 1 if kind == g.ADD else -1)
        if kind in (g.NEG, g.STOP):
            forms = self.forms(node[1])
            return forms if forms is None or kind == g.STOP else [self._scaled(form, graph.minus_one) for form in forms]
        if kind in (g.MUL, g.DIV):
            return self._products(kind, node[1], node[2])
        if kind in (g.SELECT, g.MAX, g.MIN, g.ABS):
            return self._cases(kind, node)
        if (kind == g.REM or kind in g.STEPS) and self._atomic(a):
            return [Form(zero, zero, graph.one, a)]
        return None

    def _sums(self, left: int, right: int, sign: int) -> list[Form] | None:
        first, second = self.forms(left), self.forms(right)
        if first is None or second is None or len(first) * len(second) > MOST_FORMS:
            return None
        graph = self.graph
        join = graph.add if sign == 1 else graph.sub
        sums = []
        for one in first:
            for other in second:
                if None not in (one.atom, other.atom) and one.atom != other.atom:
                    return None
                weight = join(one.weight, other.weight)
                atom = one.atom if one.atom is not None else other.atom
                atom = None if weight == graph.zero else atom
                sums.append(Form(join(one.slope, other.slope), join(one.start, other.start), weight, atom))
        return sums

    def _products(self, kind: int, left: int, right: int) -> list[Form] | None:
        graph = self.graph
        if kind == g.MUL and self._fixed(left):
            left, right = right, left
        forms, factors = self.forms(left), [right]
        if not self._fixed(right):
            # a truth value as a factor: zero or the other factor
            second = self.forms(right)
            if kind == g.DIV or forms is None or second is None:
                return None
            if any(form.atom is not None or form.slope != graph.zero for form in second):
                forms, second = second, forms
            if any(form.atom is not None or form.slope != graph.zero for form in second):
                return None
            factors = [form.start for form in second]
        if forms is None:
            return None
        if kind == g.DIV:
            return [self._divided(form, right) for form in forms]
        return [self._scaled(form, factor) for form in forms for factor in factors]

    def _cases(self, kind: int, node: tuple) -> list[Form] | None:
        branches = [self.forms(child) for child in (node[2:] if kind == g.SELECT else node[1:])]
        if any(forms is None for forms in branches):
            return None
        if kind == g.ABS:
            branches.append([self._scaled(form, self.graph.minus_one) for form in branches[0]])
        return self._distinct([form for forms in branches for form in forms])

    def _distinct(self, forms: list[Form]) -> list[Form]:
        """Without forms that differ from another by a period of their remainder: `mod` is `rem`, or that and a period
        more, and both jump at the same times."""
        graph = self.graph
        later = set()
        for form in forms:
            if form.atom is not None and graph.nodes[form.atom][0] == g.REM:
                period = graph.mul(form.weight, graph.nodes[form.atom][2])
                later.add(Form(form.slope, graph.add(form.start, period), form.weight, form.atom))
        return [form for form in forms if form not in later]

    def _scaled(self, form: Form, factor: int) -> Form:
        mul = self.graph.mul
        weight = mul(form.weight, factor)
        atom = None if weight == self.graph.zero else form.atom
        return Form(mul(form.slope, factor), mul(form.start, factor), weight, atom)

    def _divided(self, form: Form, divisor: int) -> Form:
        div = self.graph.div
        return Form(div(form.slope, divisor), div(form.start, divisor), div(form.weight, divisor), form.atom)

    # text

    def text(self, a: int, depth: int = 5) -> str:
        """A node in the author's names, with dots where it is deep."""
        node = self.graph.nodes[a]
        kind = node[0]
        if kind == g.CONST:
            return f"{node[1]:.6g}"
        if kind == g.INPUT:
            return self.names[node[1]]
        if depth == 0:
            return "..."
        parts = [self.text(child, depth - 1) for child in node[1:]]
        if kind in _SIGNS:
            return f"({parts[0]} {_SIGNS[kind]} {parts[1]})"
        return f"-{parts[0]}" if kind == g.NEG else f"{_NAMES.get(kind, 'f')}({', '.join(parts)})"


_SIGNS = {
    g.ADD: "+", g.SUB: "-", g.MUL: "*", g.DIV: "/", g.POW: "**", g.LT: "<", g.LE: "<=", g.EQ: "==", g.LESS: "<",
    g.AND: "and", g.OR: "or", g.REM: "%",
}  # fmt: skip
_NAMES = {
    value: name.lower()
    for name, value in vars(g).items()
    if name.isupper() and isinstance(value, int) and name != "NODE_LIMIT"
}
