"""Scalar expressions with equal ones shared.

A node is a tuple: `(CONST, value)`, `(INPUT, position)` or `(operation, child, ...)`, where a child is the number of an
earlier node. Numbers are doubles; a truth value is 0.0 or 1.0. The simplifications change no finite result: the order
of evaluation stays that of the author, and known numbers are joined as the processor would join them (1/0 is inf).
"""

import math
import struct
from collections.abc import Callable, Sequence

import numpy as np

(CONST, INPUT, ADD, SUB, MUL, DIV, NEG, POW, ATAN2, REM, MAX, MIN, SELECT, LT, LE, EQ, LESS, AND, OR, NOT, ISFINITE,
 ABS, FLOOR, CEIL, ROUND_EVEN, ROUND_AWAY, TRUNC, SIGN, STOP, SQRT, CBRT, EXP, EXP2, EXPM1, LOG, LOG1P, SIN, COS, TAN,
 SINH, COSH, TANH, ASIN, ACOS, ATAN, ASINH, ACOSH, ATANH, ERF, ERFC, LGAMMA, LOGISTIC,
 CURVE, CURVE_SLOPE) = range(54)  # fmt: skip

# CURVE: `(t, *times, *values)`, piecewise linear through these points, constant outside; CURVE_SLOPE its slope in t.
# LESS compares like LT, inside formulas whose branches join smoothly (softplus, the derivative of a maximum): no jump.
TRUTH = frozenset((LT, LE, EQ, LESS, AND, OR, NOT, ISFINITE))
STEPS = frozenset((FLOOR, CEIL, ROUND_EVEN, ROUND_AWAY, TRUNC, SIGN))
# what is constant between its jumps
DISCRETE = TRUTH | STEPS
WHOLE = TRUTH | {FLOOR, CEIL, ROUND_EVEN, ROUND_AWAY, TRUNC}

CURVES = frozenset((CURVE, CURVE_SLOPE))

NODE_LIMIT = 400_000


class NotAKernel(Exception):
    """The functions cannot be written as kernels of fixed length; the caller uses JAX instead.

    Args:
        reason: what stands in the way, with the name of the primitive.
    """

    def __init__(self, reason: str):
        self.reason = reason
        super().__init__(reason)


def _guarded(function: Callable, outside: Callable | float = math.nan) -> Callable:
    """A function of `math` with the processor's answer where Python raises."""

    def evaluate(*values):
        try:
            return function(*values)
        except (ValueError, OverflowError):
            return outside(*values) if callable(outside) else outside

    return evaluate


def _round_away(x):
    return math.copysign(math.floor(abs(x) + 0.5), x) if abs(x) < 2.0**52 else x


FOLD: dict[int, Callable] = {
    ADD: lambda a, b: a + b, SUB: lambda a, b: a - b, MUL: lambda a, b: a * b, DIV: np.divide, NEG: lambda a: -a,
    POW: np.power, ATAN2: math.atan2, REM: np.fmod, MAX: np.maximum, MIN: np.minimum,
    LT: lambda a, b: a < b, LE: lambda a, b: a <= b, EQ: lambda a, b: a == b, LESS: lambda a, b: a < b,
    AND: lambda a, b: a != 0 and b != 0, OR: lambda a, b: a != 0 or b != 0, NOT: lambda a: a == 0,
    ISFINITE: math.isfinite, ABS: abs, FLOOR: np.floor, CEIL: np.ceil, ROUND_EVEN: np.rint, ROUND_AWAY: _round_away,
    TRUNC: np.trunc, SIGN: np.sign, STOP: lambda a: a, SQRT: np.sqrt, CBRT: np.cbrt, EXP: np.exp, EXP2: np.exp2,
    EXPM1: np.expm1, LOG: np.log, LOG1P: np.log1p, SIN: np.sin, COS: np.cos, TAN: np.tan, SINH: np.sinh, COSH: np.cosh,
    TANH: np.tanh, ASIN: np.arcsin, ACOS: np.arccos, ATAN: np.arctan, ASINH: np.arcsinh, ACOSH: np.arccosh,
    ATANH: np.arctanh, ERF: math.erf, ERFC: math.erfc, LGAMMA: _guarded(math.lgamma, math.inf),
    LOGISTIC: lambda a: 1.0 / (1.0 + np.exp(-np.float64(a))),
}  # fmt: skip


class Graph:
    """Nodes in the order in which they were made, children first.

    Args:
        limit: most nodes; beyond it the functions are called too long for kernels.
    """

    def __init__(self, limit: int = NODE_LIMIT):
        self.limit = limit
        self.nodes: list[tuple] = []
        self.values: list[float | None] = []
        self._index: dict[tuple, int] = {}
        self._bounds: dict[int, tuple[float, float, bool]] = {}
        self.zero, self.one, self.minus_one = self.const(0.0), self.const(1.0), self.const(-1.0)

    def _put(self, key: tuple) -> int:
        found = self._index.get(key)
        if found is None:
            found = self._index[key] = self._append(key, None)
        return found

    def _append(self, node: tuple, value: float | None) -> int:
        if len(self.nodes) >= self.limit:
            raise NotAKernel(f"the expressions and their derivatives have more than {self.limit} operations.")
        self.nodes.append(node)
        self.values.append(value)
        return len(self.nodes) - 1

    def const(self, value: float) -> int:
        value = float(value)
        # equal bits: 0.0 and -0.0 differ, and all NaN are one
        key = (CONST, struct.pack("d", value) if value == value else b"nan")
        found = self._index.get(key)
        if found is None:
            found = self._index[key] = self._append((CONST, value), value)
        return found

    def input(self, position: int) -> int:
        return self._put((INPUT, position))

    def add(self, a: int, b: int) -> int:
        va, vb = self.values[a], self.values[b]
        if va is not None:
            if va == 0.0:
                return b
            if vb is not None:
                return self.const(va + vb)
        elif vb == 0.0:
            return a
        nodes = self.nodes
        if nodes[b][0] == NEG:
            return self.sub(a, nodes[b][1])
        if nodes[a][0] == NEG:
            return self.sub(b, nodes[a][1])
        return self._put((ADD, a, b) if a < b else (ADD, b, a))

    def sub(self, a: int, b: int) -> int:
        va, vb = self.values[a], self.values[b]
        if va is not None:
            if vb is not None:
                return self.const(va - vb)
            if va == 0.0:
                return self.neg(b)
        elif vb == 0.0:
            return a
        nodes = self.nodes
        if nodes[b][0] == NEG:
            return self.add(a, nodes[b][1])
        return self._put((SUB, a, b))

    def mul(self, a: int, b: int) -> int:
        if a > b:
            a, b = b, a
        va, vb = self.values[a], self.values[b]
        if va is not None:
            if vb is not None:
                return self.const(va * vb)
            simple = self._times(va, b)
        else:
            simple = self._times(vb, a) if vb is not None else None
        if simple is not None:
            return simple
        nodes = self.nodes
        if nodes[a][0] == NEG:
            return self.neg(self.mul(nodes[a][1], b))
        if nodes[b][0] == NEG:
            return self.neg(self.mul(a, nodes[b][1]))
        return self._put((MUL, a, b))

    def _times(self, value: float, a: int) -> int | None:
        if value == 0.0:
            return self.zero
        if value == 1.0:
            return a
        return self.neg(a) if value == -1.0 else None

    def div(self, a: int, b: int) -> int:
        va, vb = self.values[a], self.values[b]
        if vb is not None:
            if va is not None:
                return self._fold(DIV, va, vb)
            if vb == 1.0:
                return a
            if vb == -1.0:
                return self.neg(a)
        elif va == 0.0:
            return self.zero
        nodes = self.nodes
        if nodes[a][0] == NEG:
            return self.neg(self.div(nodes[a][1], b))
        if nodes[b][0] == ADD and self.one in nodes[b][1:]:
            other = nodes[b][1] if nodes[b][2] == self.one else nodes[b][2]
            if nodes[other][0] == EXP:
                # 1 / (1 + e^z) by its own rule: where e^z is infinite, the quotient's has no derivative
                return self.mul(a, self.unary(LOGISTIC, self.neg(nodes[other][1])))
        return self._put((DIV, a, b))

    def neg(self, a: int) -> int:
        if self.values[a] is not None:
            return self.const(-self.values[a])
        node = self.nodes[a]
        if node[0] == NEG:
            return node[1]
        # exact, and one operation less: -(a - b) = b - a
        return self.sub(node[2], node[1]) if node[0] == SUB else self._put((NEG, a))

    def integer_power(self, a: int, exponent: int) -> int:
        if exponent < 0:
            return self.div(self.one, self.integer_power(a, -exponent))
        result, base = None, a
        while exponent:
            if exponent & 1:
                result = base if result is None else self.mul(result, base)
            exponent >>= 1
            if exponent:
                base = self.mul(base, base)
        return self.one if result is None else result

    def pow(self, a: int, b: int) -> int:
        va, vb = self.values[a], self.values[b]
        if vb is not None:
            if va is not None:
                return self._fold(POW, va, vb)
            if vb == 0.5:
                return self.unary(SQRT, a)
            if vb == int(vb) if math.isfinite(vb) and abs(vb) <= 16 else False:
                return self.integer_power(a, int(vb))
        elif va == 1.0:
            return self.one
        return self._put((POW, a, b))

    def unary(self, operation: int, a: int) -> int:
        if operation == NEG:
            return self.neg(a)
        if operation == NOT:
            return self.logical_not(a)
        if self.values[a] is not None:
            return self._fold(operation, self.values[a])
        kind = self.nodes[a][0]
        if operation in (FLOOR, CEIL, ROUND_EVEN, ROUND_AWAY, TRUNC) and kind in WHOLE:
            return a
        if operation == ABS and (kind in TRUTH or kind in (ABS, EXP, SQRT)):
            return a
        if (operation == STOP and kind in DISCRETE) or (operation == STOP and kind == STOP):
            return a
        return self._put((operation, a))

    def binary(self, operation: int, a: int, b: int) -> int:
        special = self._SPECIAL.get(operation)
        if special is not None:
            return special(self, a, b)
        va, vb = self.values[a], self.values[b]
        if va is not None and vb is not None:
            return self._fold(operation, va, vb)
        return self._put((operation, a, b))

    def extreme(self, operation: int, a: int, b: int) -> int:
        """MAX or MIN; a known number stands second, so that the derivative at a tie is its derivative, zero."""
        va, vb = self.values[a], self.values[b]
        if va is not None and vb is not None:
            return self._fold(operation, va, vb)
        if a == b:
            return a
        if self.is_truth(a) and self.is_truth(b):
            return self.logic(OR if operation == MAX else AND, a, b)
        if vb is None and (va is not None or a > b):
            a, b = b, a
        return self._put((operation, a, b))

    def compare(self, operation: int, a: int, b: int) -> int:
        va, vb = self.values[a], self.values[b]
        if va is not None and vb is not None:
            return self._fold(operation, va, vb)
        if operation == EQ:
            if self.is_truth(a) and self.is_truth(b):
                if va is not None:
                    a, b, vb = b, a, va
                if vb is not None:
                    return a if vb else self.logical_not(a)
            a, b = min(a, b), max(a, b)
        elif operation == LT and a == b:
            return self.zero
        elif self.is_truth(a) and self.is_truth(b):
            return self.logic(AND if operation != LE else OR, self.logical_not(a), b)
        decided = self._decided(operation, a, b)
        return self._put((operation, a, b)) if decided is None else decided

    def _decided(self, operation: int, a: int, b: int) -> int | None:
        """A comparison that the ranges of its two sides decide (an index that was limited before)."""
        low_a, high_a, number_a = self.bounds(a)
        low_b, high_b, number_b = self.bounds(b)
        if operation == EQ:
            return self.zero if high_a < low_b or high_b < low_a else None
        if low_a >= high_b if operation != LE else low_a > high_b:
            return self.zero
        below = high_a < low_b if operation != LE else high_a <= low_b
        return self.one if below and number_a and number_b else None

    def bounds(self, a: int, depth: int = 24) -> tuple[float, float, bool]:
        """Lowest and highest value of a node, and whether it is never NaN; what is not known is infinite."""
        value, node = self.values[a], self.nodes[a]
        if value is not None:
            return (value, value, True) if value == value else (-math.inf, math.inf, False)
        if node[0] in TRUTH:
            return 0.0, 1.0, True
        unknown = (-math.inf, math.inf, False)
        if node[0] not in (ADD, SUB, MAX, MIN, SELECT) or depth == 0:
            return unknown
        if a not in self._bounds:
            children = [self.bounds(child, depth - 1) for child in node[1:]]
            self._bounds[a] = self._joined(node[0], children)
        return self._bounds[a]

    @staticmethod
    def _joined(operation: int, children: list[tuple[float, float, bool]]) -> tuple[float, float, bool]:
        lows, highs, numbers = zip(*children, strict=True)
        number = all(numbers)
        if operation == MAX:
            return max(lows), max(highs), number
        if operation == MIN:
            return min(lows), min(highs), number
        if operation == SELECT:
            return min(lows[1:]), max(highs[1:]), all(numbers[1:])
        low, high = (
            (lows[0] + lows[1], highs[0] + highs[1]) if operation == ADD else (lows[0] - highs[1], highs[0] - lows[1])
        )
        low, high = (-math.inf if low != low else low), (math.inf if high != high else high)
        return low, high, number and math.isfinite(low) and math.isfinite(high)

    def is_truth(self, a: int) -> bool:
        """Whether a node is 0 or 1."""
        value = self.values[a]
        return self.nodes[a][0] in TRUTH if value is None else value in (0.0, 1.0)

    def logic(self, operation: int, a: int, b: int) -> int:
        for known, other in ((a, b), (b, a)):
            value = self.values[known]
            if value is not None:
                decides = bool(value) == (operation == OR)
                return self.const(operation == OR) if decides else other
        if a == b:
            return a
        return self._put((operation, min(a, b), max(a, b)))

    def logical_not(self, a: int) -> int:
        if self.values[a] is not None:
            return self.const(self.values[a] == 0)
        node = self.nodes[a]
        return node[1] if node[0] == NOT and self.is_truth(node[1]) else self._put((NOT, a))

    def select(self, condition: int, a: int, b: int) -> int:
        """`a` where the condition holds, `b` elsewhere."""
        if a == b:
            return a
        if self.values[condition] is not None:
            return a if self.values[condition] != 0 else b
        node = self.nodes[condition]
        if node[0] == NOT:
            return self.select(node[1], b, a)
        if self.values[a] == 1.0 and self.values[b] == 0.0 and node[0] in TRUTH:
            return condition
        if self.values[a] == 0.0 and self.values[b] == 1.0 and node[0] in TRUTH:
            return self.logical_not(condition)
        return self._put((SELECT, condition, a, b))

    def curve(self, operation: int, t: int, points: Sequence[int]) -> int:
        """CURVE or CURVE_SLOPE through `points`, times first; these are not decreasing, and at a jump the right value
        counts."""
        count = len(points) // 2
        if count == 1 or len(set(points[count:])) == 1:
            return points[count] if operation == CURVE else self.zero
        return self._put((operation, t, *points))

    def op(self, operation: int, *children: int) -> int:
        """The node of any operation."""
        if operation in CURVES:
            return self.curve(operation, children[0], children[1:])
        if len(children) == 1:
            return self.unary(operation, *children)
        return self.select(*children) if len(children) == 3 else self.binary(operation, *children)

    def _fold(self, operation: int, *values: float) -> int:
        with np.errstate(all="ignore"):
            return self.const(FOLD[operation](*(np.float64(value) for value in values)))

    _SPECIAL = {  # noqa: RUF012
        ADD: add, SUB: sub, MUL: mul, DIV: div, POW: pow,
        **{o: (lambda g, a, b, o=o: g.extreme(o, a, b)) for o in (MAX, MIN)},
        **{o: (lambda g, a, b, o=o: g.compare(o, a, b)) for o in (LT, LE, EQ, LESS)},
        **{o: (lambda g, a, b, o=o: g.logic(o, a, b)) for o in (AND, OR)},
    }  # fmt: skip

    def children(self, a: int) -> tuple[int, ...]:
        node = self.nodes[a]
        return () if node[0] <= INPUT else node[1:]

    def needed(self, outputs: Sequence[int]) -> list[int]:
        """Numbers of all nodes under the outputs, children first."""
        nodes, visited, stack = self.nodes, set(), list(outputs)
        while stack:
            a = stack.pop()
            if a not in visited:
                visited.add(a)
                node = nodes[a]
                if node[0] > INPUT:
                    stack += node[1:]
        return sorted(visited)

    def substitute(self, outputs: Sequence[int], replacement: dict[int, int]) -> list[int]:
        """The outputs with some nodes replaced by others."""
        if not replacement:
            return list(outputs)
        new: dict[int, int] = {}
        for a in self.needed(outputs):
            if a in replacement:
                new[a] = replacement[a]
                continue
            old = self.children(a)
            children = tuple(new[child] for child in old)
            new[a] = a if children == old else self.op(self.nodes[a][0], *children)
        return [new[a] for a in outputs]
