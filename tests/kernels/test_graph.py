"""Expressions: simplification keeps every value, derivatives are JAX's, code computes what the graph says."""

import ctypes
import math
from functools import partial

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from uqbench.kernels import graph as g
from uqbench.kernels.code import emit, module
from uqbench.kernels.differentiation import directional, jacobian
from uqbench.kernels.graph import FOLD, Graph, NotAKernel
from uqbench.native.library import compile_module

from .harness import SIGNATURE

UNARY = {
    g.NEG: jnp.negative, g.EXP: jnp.exp, g.SIN: jnp.sin, g.TANH: jnp.tanh, g.ATAN: jnp.arctan,
    g.LOGISTIC: jax.nn.sigmoid, g.ABS: jnp.abs, g.ERF: jax.scipy.special.erf, g.ASINH: jnp.arcsinh, g.FLOOR: jnp.floor,
}  # fmt: skip
BINARY = {g.ADD: jnp.add, g.SUB: jnp.subtract, g.MUL: jnp.multiply, g.MAX: jnp.maximum, g.MIN: jnp.minimum}
PAIRS = {*BINARY, g.DIV, g.POW, g.ATAN2, g.REM, g.LT, g.LE, g.EQ, g.LESS, g.AND, g.OR}
CONSTANTS = st.sampled_from([0.0, 1.0, -1.0, 0.5, -2.0, 3.0])
LEAVES = st.one_of(st.tuples(st.just("x"), st.integers(0, 2)), st.tuples(st.just("c"), CONSTANTS))


def _grow(children):
    return st.one_of(
        st.tuples(st.sampled_from(list(UNARY)), children),
        st.tuples(st.sampled_from(list(BINARY)), children, children),
        st.tuples(st.just(g.DIV), children, children),
        st.tuples(st.just(g.SELECT), children, children, children),
    )


EXPRESSIONS = st.recursive(LEAVES, _grow, max_leaves=12)


def as_node(graph, tree):
    kind, *rest = tree
    if kind == "x":
        return graph.input(rest[0])
    if kind == "c":
        return graph.const(rest[0])
    children = [as_node(graph, child) for child in rest]
    if kind == g.SELECT:
        return graph.select(graph.compare(g.LT, children[0], graph.const(0.1)), *children[1:])
    if kind == g.DIV:
        children[1] = graph.add(graph.const(2.0), graph.mul(children[1], children[1]))
    return graph.op(kind, *children)


def in_jax(tree, x):
    kind, *rest = tree
    if kind == "x":
        return x[rest[0]]
    if kind == "c":
        return jnp.asarray(rest[0], float)
    children = [in_jax(child, x) for child in rest]
    if kind == g.SELECT:
        return jnp.where(children[0] < 0.1, children[1], children[2])
    if kind == g.DIV:
        return children[0] / (2.0 + children[1] * children[1])
    return {**UNARY, **BINARY}[kind](*children)


def run(graph, outputs, x, chunk=400):
    kernel = emit(graph, "f", outputs, chunk)
    engine = compile_module(module([kernel]), 0)
    out, scratch, x = np.empty(len(outputs) + 1), np.empty(kernel.scratch + 1), np.append(np.asarray(x, float), 0.0)
    SIGNATURE(engine.get_function_address("f"))(*(array.ctypes.data_as(ctypes.c_void_p) for array in (x, out, scratch)))
    return out[:-1]


@given(tree=EXPRESSIONS, x=st.tuples(*[st.floats(-2, 2)] * 3), chunk=st.sampled_from([2, 400]))
def test_values_and_derivatives_of_random_expressions(tree, x, chunk):
    # away from round numbers, where kinks and jumps lie
    x = np.array(x) + np.array([0.0123, 0.0234, 0.0345])
    graph = Graph()
    node = as_node(graph, tree)
    slopes = jacobian(graph, [node], [0, 1, 2])
    along = directional(graph, [node], {k: graph.const(k - 0.5) for k in range(3)})
    second = jacobian(graph, along, [0, 1, 2])
    found = run(graph, [node, *slopes.values(), *along, *second.values()], x, chunk)
    with jax.disable_jit():
        function = partial(in_jax, tree)
        value, gradient = function(jnp.asarray(x)), jax.jacfwd(function)(jnp.asarray(x))
        if not np.isfinite(value) or np.max(np.abs(gradient)) > 1e8 or abs(value) > 1e8:
            return
        direction = jnp.arange(3.0) - 0.5
        bent = jax.jacfwd(lambda z: jax.jvp(function, (z,), (direction,))[1])(jnp.asarray(x))
    if _near_a_kink(tree, x):
        return
    dense, curved = np.zeros(3), np.zeros(3)
    for (_, k), v in zip(slopes, found[1:], strict=False):
        dense[k] = v
    for (_, k), v in zip(second, found[2 + len(slopes) :], strict=True):
        curved[k] = v
    np.testing.assert_allclose(found[0], value, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(dense, gradient, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found[1 + len(slopes)], gradient @ direction, rtol=1e-8, atol=1e-7)
    np.testing.assert_allclose(curved, bent, rtol=1e-7, atol=1e-6 * max(1.0, np.max(np.abs(bent))))


def _near_a_kink(tree, x) -> bool:
    """Whether the point is within rounding of a kink or a jump, where both sides are right."""
    kind, *rest = tree
    if kind in ("x", "c"):
        return False

    def near(a, b):
        return bool(abs(a - b) < 1e-6)

    values = [in_jax(child, jnp.asarray(x)) for child in rest]
    here = (
        (kind in (g.MAX, g.MIN) and near(*values))
        or (kind == g.ABS and near(values[0], 0))
        or (kind == g.SELECT and near(values[0], 0.1))
        or (kind == g.FLOOR and near(values[0], jnp.round(values[0])))
    )
    return here or any(_near_a_kink(child, x) for child in rest)


def test_every_operation_compiles_to_what_it_folds_to():
    points = [0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 0.3, 1e300, -1e300, math.inf, -math.inf, math.nan]
    for operation in FOLD:
        count = 2 if operation in PAIRS else 1
        given = [(a,) for a in points] if count == 1 else [(a, b) for a in points for b in points]
        if operation == g.POW:
            # a square root, which has no value there
            given.remove((-math.inf, 0.5))
        graph = Graph()
        if operation in (g.AND, g.OR, g.NOT):
            given = [tuple(float(a != 0) for a in values) for values in given]
        node = graph._put((operation, *(graph.input(k) for k in range(count))))
        known = [graph.values[graph._fold(operation, *values)] for values in given]
        kernel = emit(graph, "f", [node])
        engine = compile_module(module([kernel]), 0)
        function = SIGNATURE(engine.get_function_address("f"))
        for values, expected in zip(given, known, strict=True):
            x, out = np.array(values), np.empty(1)
            function(x.ctypes.data, out.ctypes.data, x.ctypes.data)
            np.testing.assert_allclose(out[0], expected, rtol=1e-14, err_msg=f"{operation} {values}")


def test_known_numbers_are_joined_as_the_processor_does():
    graph = Graph()
    value = graph.values.__getitem__
    zero, one, minus = graph.zero, graph.one, graph.minus_one
    assert value(graph.div(one, zero)) == math.inf
    assert math.isnan(value(graph.unary(g.LOG, minus)))
    assert math.isnan(value(graph.div(zero, zero)))
    assert value(graph.unary(g.EXP, graph.const(1000.0))) == math.inf
    assert value(graph.unary(g.LGAMMA, zero)) == math.inf
    assert value(graph.mul(graph.const(1e300), graph.const(1e300))) == math.inf
    assert value(graph.pow(zero, minus)) == math.inf
    assert graph.const(0.0) != graph.const(-0.0)
    assert graph.const(math.nan) == graph.const(float("nan"))


def test_simplification():
    graph = Graph()
    x, y = graph.input(0), graph.input(1)
    assert graph.add(x, y) == graph.add(y, x)
    assert graph.mul(x, graph.zero) == graph.zero
    assert graph.add(x, graph.zero) == graph.mul(graph.one, x) == graph.neg(graph.neg(x)) == x
    assert graph.add(x, graph.neg(y)) == graph.sub(x, y)
    assert graph.mul(graph.neg(x), graph.neg(y)) == graph.mul(x, y)
    assert graph.select(graph.logical_not(graph.compare(g.LT, x, y)), x, y) == graph.select(
        graph.compare(g.LT, x, y), y, x
    )
    # NaN: x == x and x <= x are not always true
    assert graph.values[graph.compare(g.EQ, x, x)] is None
    assert graph.values[graph.compare(g.LE, x, x)] is None
    limited = graph.extreme(g.MAX, x, graph.one)
    assert graph.compare(g.LT, limited, graph.zero) == graph.zero


def test_too_many_nodes():
    graph = Graph(limit=100)
    with pytest.raises(NotAKernel, match="100 operations"):
        node = graph.input(0)
        for _ in range(200):
            node = graph.unary(g.SIN, node)


def test_nothing_but_inputs_and_numbers():
    graph = Graph()
    np.testing.assert_array_equal(run(graph, [graph.input(1), graph.const(3.0), graph.input(1)], [1.0, 2.0]), [2, 3, 2])


def test_derivative_of_lgamma_is_refused():
    graph = Graph()
    with pytest.raises(NotAKernel, match="lgamma"):
        jacobian(graph, [graph.unary(g.LGAMMA, graph.input(0))], [0])
