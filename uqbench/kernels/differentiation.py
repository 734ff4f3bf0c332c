"""Symbolic derivatives: sparse Jacobians and one direction.

A Jacobian is accumulated forward (each node carries its derivatives with respect to the inputs it depends on), so that
what is structurally zero never appears. Where a function has a kink or a jump the derivative is that of the branch at
the point: `SELECT` keeps its condition, and rounding, signs and comparisons have derivative zero.
"""

import math
from collections.abc import Sequence

from . import graph as g
from .graph import Graph, NotAKernel

# operations whose derivative is zero
FLAT = g.DISCRETE | {g.STOP}


def jacobian(graph: Graph, outputs: Sequence[int], inputs: Sequence[int]) -> dict[tuple[int, int], int]:
    """The structurally nonzero derivatives.

    Args:
        graph: takes the derivatives up.
        outputs: nodes.
        inputs: positions of inputs (not nodes).

    Returns:
        (row, input position) -> node, sorted by row, then by the order of `inputs`.
    """
    order = {position: k for k, position in enumerate(inputs)}
    nodes, add, mul, values = graph.nodes, graph.add, graph.mul, graph.values
    derivatives: dict[int, dict[int, int]] = {}
    nothing: dict[int, int] = {}
    one, minus_one = graph.one, graph.minus_one
    for a in graph.needed(outputs):
        node = nodes[a]
        kind = node[0]
        if kind == g.INPUT:
            derivatives[a] = {order[node[1]]: one} if node[1] in order else nothing
            continue
        if kind == g.CONST or kind in FLAT:
            derivatives[a] = nothing
            continue
        if kind in _BRANCHED:
            derivatives[a] = _of_branches(graph, a, derivatives)
            continue
        children = node[1:]
        if not any(derivatives[child] for child in children):
            derivatives[a] = nothing
            continue
        total: dict[int, int] = {}
        for child, part in partials(graph, a, lambda child: bool(derivatives[child])):
            if part == one:
                terms = derivatives[child].items()
            elif part == minus_one:
                terms = [(j, graph.neg(v)) for j, v in derivatives[child].items()]
            else:
                terms = [(j, mul(part, v)) for j, v in derivatives[child].items()]
            for j, term in terms:
                total[j] = add(total[j], term) if j in total else term
        derivatives[a] = {j: v for j, v in total.items() if values[v] != 0.0}
    positions = list(inputs)
    return {
        (row, positions[j]): derivatives[output][j]
        for row, output in enumerate(outputs)
        for j in sorted(derivatives[output])
    }


def directional(graph: Graph, outputs: Sequence[int], direction: dict[int, int]) -> list[int]:
    """Derivatives of the outputs along one direction, which shares what the outputs share.

    Args:
        graph: takes the derivatives up.
        outputs: nodes.
        direction: input position -> node of its component.
    """
    zero = graph.zero
    tangents: dict[int, int] = {}
    for a in graph.needed(outputs):
        node = graph.nodes[a]
        kind = node[0]
        if kind == g.INPUT:
            tangents[a] = direction.get(node[1], zero)
        elif kind == g.CONST or kind in FLAT or all(tangents[child] == zero for child in node[1:]):
            tangents[a] = zero
        elif kind in _BRANCHED:
            first, second, decide = _branches(graph, a)
            one, other = tangents[first], tangents[second]
            tangents[a] = graph.select(decide(), one, other) if one != other else one
        else:
            total = zero
            for child, part in partials(graph, a, lambda child: tangents[child] != zero):
                total = graph.add(total, graph.mul(part, tangents[child]))
            tangents[a] = total
    return [tangents[output] for output in outputs]


_BRANCHED = frozenset((g.SELECT, g.MAX, g.MIN))


def _branches(graph: Graph, a: int):
    """Two branches of a node, and the condition that chooses the first."""
    node = graph.nodes[a]
    if node[0] == g.SELECT:
        return node[2], node[3], lambda: node[1]
    first, second = node[1:]
    small, large = (second, first) if node[0] == g.MAX else (first, second)
    return first, second, lambda: graph.compare(g.LESS, small, large)


def _of_branches(graph: Graph, a: int, derivatives: dict[int, dict[int, int]]) -> dict[int, int]:
    first, second, decide = _branches(graph, a)
    one, other = derivatives[first], derivatives[second]
    if not one and not other:
        return {}
    condition, zero = decide(), graph.zero
    joined = {j: graph.select(condition, one.get(j, zero), other.get(j, zero)) for j in (one | other)}
    return {j: v for j, v in joined.items() if graph.values[v] != 0.0}


def partials(graph: Graph, a: int, wanted) -> list[tuple[int, int]]:
    """(child, d node / d child) of the wanted children of a node."""
    node = graph.nodes[a]
    kind, first = node[0], node[1]
    rule = _RULES.get(kind)
    if rule is not None:
        return [(first, rule(graph, a, first))]
    if kind in g.CURVES:
        return _curve_partials(graph, a, wanted)
    second = node[2]
    rules = _PAIRS.get(kind)
    if rules is None:
        raise NotAKernel("no rule for the derivative of an operation is known.")
    return [
        (child, rule(graph, a, first, second))
        for child, rule in zip((first, second), rules, strict=True)
        if wanted(child)
    ]


def _curve_partials(graph: Graph, a: int, wanted) -> list[tuple[int, int]]:
    """With the hat function w_j of knot j, 1 there and 0 at its neighbours: du/dv_j = w_j, du/dt_j = -u' w_j; and the
    same of the slope u', with w_j' for w_j."""
    kind, t, *points = graph.nodes[a]
    count = len(points) // 2
    slope = graph.curve(g.CURVE_SLOPE, t, points)
    found = [(t, slope if kind == g.CURVE else graph.zero)] if wanted(t) else []
    for j in range(count):
        by_time, by_value = wanted(points[j]), wanted(points[count + j])
        if by_time or by_value:
            hat = _hat(graph, kind == g.CURVE_SLOPE, t, points[:count], j)
            found += [(points[count + j], hat)] if by_value else []
            found += [(points[j], graph.neg(graph.mul(slope, hat)))] if by_time else []
    return found


def _hat(graph: Graph, slope: bool, t: int, times: Sequence[int], j: int) -> int:
    """The hat function of knot `j`, or its slope."""

    def side(other: int) -> int:
        length = graph.sub(times[j], times[other])
        return graph.div(graph.one if slope else graph.sub(t, times[other]), length)

    outside = graph.zero if slope else graph.one
    left = right = outside
    if j > 0:
        left = graph.select(graph.compare(g.LESS, t, times[j - 1]), graph.zero, side(j - 1))
    if j < len(times) - 1:
        right = graph.select(graph.compare(g.LESS, t, times[j + 1]), side(j + 1), graph.zero)
    return graph.select(graph.compare(g.LESS, t, times[j]), left, right)


def _one_plus(graph: Graph, a: int) -> int:
    return graph.add(graph.one, a)


def _one_minus(graph: Graph, a: int) -> int:
    return graph.sub(graph.one, a)


def _square(graph: Graph, a: int) -> int:
    return graph.mul(a, a)


def _inverse(build):
    return lambda graph, i, a: graph.div(graph.one, build(graph, i, a))


def _bell(graph: Graph, a: int) -> int:
    """2 / sqrt(pi) exp(-a^2), the derivative of erf."""
    return graph.mul(graph.const(2.0 / math.sqrt(math.pi)), graph.unary(g.EXP, graph.neg(_square(graph, a))))


def _cube_root(graph: Graph, i: int, a: int) -> int:
    return graph.div(graph.one, graph.mul(graph.const(3.0), _square(graph, i)))


def _no_digamma(graph: Graph, i: int, a: int) -> int:
    raise NotAKernel("the derivative of `lgamma` (digamma) has no kernel.")


# operation -> (graph, node, child) -> d node / d child
_RULES = {
    g.NEG: lambda graph, i, a: graph.minus_one,
    g.ABS: lambda graph, i, a: graph.unary(g.SIGN, a),
    g.SQRT: lambda graph, i, a: graph.div(graph.const(0.5), i),
    g.CBRT: _cube_root,
    g.EXP: lambda graph, i, a: i,
    g.EXP2: lambda graph, i, a: graph.mul(graph.const(math.log(2.0)), i),
    g.EXPM1: lambda graph, i, a: _one_plus(graph, i),
    g.LOG: _inverse(lambda graph, i, a: a),
    g.LOG1P: _inverse(lambda graph, i, a: _one_plus(graph, a)),
    g.SIN: lambda graph, i, a: graph.unary(g.COS, a),
    g.COS: lambda graph, i, a: graph.neg(graph.unary(g.SIN, a)),
    g.TAN: lambda graph, i, a: _one_plus(graph, _square(graph, i)),
    g.SINH: lambda graph, i, a: graph.unary(g.COSH, a),
    g.COSH: lambda graph, i, a: graph.unary(g.SINH, a),
    g.TANH: lambda graph, i, a: _one_minus(graph, _square(graph, i)),
    g.ASIN: _inverse(lambda graph, i, a: graph.unary(g.SQRT, _one_minus(graph, _square(graph, a)))),
    g.ACOS: lambda graph, i, a: graph.neg(_RULES[g.ASIN](graph, i, a)),
    g.ATAN: _inverse(lambda graph, i, a: _one_plus(graph, _square(graph, a))),
    g.ASINH: _inverse(lambda graph, i, a: graph.unary(g.SQRT, _one_plus(graph, _square(graph, a)))),
    g.ACOSH: _inverse(
        # the product of roots keeps digits near 1
        lambda graph, i, a: graph.mul(
            graph.unary(g.SQRT, graph.sub(a, graph.one)), graph.unary(g.SQRT, _one_plus(graph, a))
        )
    ),
    g.ATANH: _inverse(lambda graph, i, a: _one_minus(graph, _square(graph, a))),
    g.ERF: lambda graph, i, a: _bell(graph, a),
    g.ERFC: lambda graph, i, a: graph.neg(_bell(graph, a)),
    g.LGAMMA: _no_digamma,
    g.LOGISTIC: lambda graph, i, a: graph.mul(i, _one_minus(graph, i)),
}


def _power_base(graph: Graph, i: int, a: int, b: int) -> int:
    # an exponent that is zero has no slope, even where a is: 0 * 0^-1 is no number
    slope = graph.mul(b, graph.pow(a, graph.sub(b, graph.one)))
    return graph.select(graph.compare(g.EQ, b, graph.zero), graph.zero, slope)


def _power_exponent(graph: Graph, i: int, a: int, b: int) -> int:
    # a^b log(a) tends to 0 with a, for the positive exponents of a rate law
    slope = graph.mul(i, graph.unary(g.LOG, a))
    return graph.select(graph.compare(g.EQ, a, graph.zero), graph.zero, slope)


def _angle(numerator):
    def rule(graph: Graph, i: int, y: int, x: int) -> int:
        return graph.div(numerator(graph, y, x), graph.add(_square(graph, x), _square(graph, y)))

    return rule


# operation -> rules for the first and the second child
_PAIRS = {
    g.ADD: (lambda graph, i, a, b: graph.one, lambda graph, i, a, b: graph.one),
    g.SUB: (lambda graph, i, a, b: graph.one, lambda graph, i, a, b: graph.minus_one),
    g.MUL: (lambda graph, i, a, b: b, lambda graph, i, a, b: a),
    g.DIV: (
        lambda graph, i, a, b: graph.div(graph.one, b),
        lambda graph, i, a, b: graph.neg(graph.mul(i, graph.div(graph.one, b))),
    ),
    g.POW: (_power_base, _power_exponent),
    g.ATAN2: (_angle(lambda graph, y, x: x), _angle(lambda graph, y, x: graph.neg(y))),
    g.REM: (
        lambda graph, i, a, b: graph.one,
        lambda graph, i, a, b: graph.neg(graph.unary(g.TRUNC, graph.div(a, b))),
    ),
}
