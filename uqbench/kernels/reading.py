"""From what JAX lists of a function (its jaxpr) to scalar expressions.

Arrays are object arrays of node numbers, scalars are node numbers. Indexing, stacking, products of matrices, nested
calls and loops of known length dissolve; both branches of a decision are written down, and a `SELECT` chooses. Whole
numbers and truth values are doubles that hold them. What has no fixed length raises `NotAKernel`.
"""

import math
from collections.abc import Callable, Sequence
from functools import reduce

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from .. import interpolation
from ..symbols.arrays import REARRANGEMENTS, reduce_axes, scan_axis
from ..symbols.interpreter import needed_equations
from . import graph as g
from .graph import Graph, NotAKernel
from .indexing import GATHERS, pad

CALLS = {
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr", "remat2": "jaxpr",
    "remat": "jaxpr", "checkpoint": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
}  # fmt: skip
IDENTITIES = frozenset(
    ("copy", "copy_p", "reduce_precision", "device_put", "optimization_barrier", "name", "pvary", "real")
)
MOST_CHOICES = 64
MOST_PASSES = 20_000

UNARY = {
    "exp": g.EXP, "log": g.LOG, "sqrt": g.SQRT, "sin": g.SIN, "cos": g.COS, "tan": g.TAN, "sinh": g.SINH,
    "cosh": g.COSH, "tanh": g.TANH, "asin": g.ASIN, "acos": g.ACOS, "atan": g.ATAN, "asinh": g.ASINH,
    "acosh": g.ACOSH, "atanh": g.ATANH, "expm1": g.EXPM1, "log1p": g.LOG1P, "erf": g.ERF, "erfc": g.ERFC,
    "lgamma": g.LGAMMA, "cbrt": g.CBRT, "abs": g.ABS, "floor": g.FLOOR, "ceil": g.CEIL,
    "is_finite": g.ISFINITE, "neg": g.NEG, "stop_gradient": g.STOP, "logistic": g.LOGISTIC, "exp2": g.EXP2,
}  # fmt: skip
BINARY = {
    "add": g.ADD, "add_any": g.ADD, "sub": g.SUB, "mul": g.MUL, "pow": g.POW, "atan2": g.ATAN2, "rem": g.REM,
    "max": g.MAX, "min": g.MIN, "lt": g.LT, "le": g.LE, "eq": g.EQ,
}  # fmt: skip
REDUCTIONS = {
    "reduce_sum": (g.ADD, 0.0), "reduce_prod": (g.MUL, 1.0), "reduce_max": (g.MAX, -math.inf),
    "reduce_min": (g.MIN, math.inf), "reduce_and": (g.AND, 1.0), "reduce_or": (g.OR, 0.0),
}  # fmt: skip
RUNNING = {"cumsum": g.ADD, "cumprod": g.MUL, "cummax": g.MAX, "cummin": g.MIN}


def read(graph: Graph, function: Callable, *arguments):
    """What `function` returns, as nodes.

    Args:
        graph: takes the expressions up.
        function: written with JAX; its arguments and results are pytrees of arrays.
        arguments: pytrees of object arrays of node numbers.

    Returns:
        The pytree that the function returns, with object arrays of node numbers; dictionaries keep the author's order.

    Raises:
        NotAKernel: where an operation has no kernel of fixed length.
    """
    shapes = jax.tree.map(lambda array: jax.ShapeDtypeStruct(np.shape(array), np.float64), arguments)
    order: list[str] = []

    def noted(*given):
        returned = function(*given)
        # JAX sorts the names of a dictionary
        order.extend(returned if isinstance(returned, dict) else ())
        return returned

    with jax.enable_x64(True):
        closed, returned = jax.make_jaxpr(noted, return_shape=True)(*shapes)
        reader = Reader(graph)
        nodes = [int(a[()]) if np.ndim(a) == 0 else a for a in jax.tree.leaves(arguments)]
        results = [as_array(result) for result in reader.closed(closed, nodes)]
    result = jax.tree.unflatten(jax.tree.structure(returned), results)
    return {name: result[name] for name in dict.fromkeys(order)} if isinstance(result, dict) else result


def as_array(value) -> np.ndarray:
    """A node number as an object array without axes; arrays stay."""
    if isinstance(value, np.ndarray):
        return value
    out = np.empty((), dtype=object)
    out[()] = value
    return out


def _plain(value):
    """The opposite of `as_array`."""
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value


class Reader:
    """Runs jaxprs on node numbers.

    Args:
        graph: takes the expressions up.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self._unary = {name: (lambda a, o=o: graph.unary(o, a)) for name, o in UNARY.items()}
        self._binary = {name: (lambda a, b, o=o: graph.binary(o, a, b)) for name, o in BINARY.items()}
        self._binary |= {name: getattr(graph, name) for name in ("add", "sub", "mul", "pow")}
        self._unary["sign"] = self._sign
        self._rules = self._unary | self._binary | self._others()

    def closed(self, closed: ClosedJaxpr | Jaxpr, operands: Sequence) -> list:
        if isinstance(closed, ClosedJaxpr):
            return self.run(closed.jaxpr, closed.consts, operands)
        return self.run(closed, (), operands)

    def run(self, jaxpr: Jaxpr, consts: Sequence, operands: Sequence) -> list:
        """Nodes of the outputs of a jaxpr; equations that no output needs are not looked at."""
        known = {var: self.constant(value) for var, value in zip(jaxpr.constvars, consts, strict=True)}
        known |= dict(zip(jaxpr.invars, operands, strict=True))

        def look(atom):
            return self.constant(atom.val) if isinstance(atom, Literal) else known[atom]

        for equation in needed_equations(jaxpr):
            given = [look(atom) for atom in equation.invars]
            rule = self._rules.get(equation.primitive.name)
            if rule is not None:
                known[equation.outvars[0]] = elementwise(rule, given, equation.outvars[0].aval.shape)
            else:
                outputs = self._equation(equation, given)
                known |= dict(zip(equation.outvars, outputs, strict=True))
        return [look(atom) for atom in jaxpr.outvars]

    def constant(self, value):
        """A number or an array of numbers as nodes."""
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            try:
                array = array.astype(float) if array.dtype.kind == "V" else None
            except (TypeError, ValueError):
                array = None
            if array is None:
                raise NotAKernel("a number is neither real, nor whole, nor a truth value.")
        if array.ndim == 0:
            return self.graph.const(float(array))
        out = np.empty(array.size, dtype=object)
        out[:] = [self.graph.const(entry) for entry in array.ravel().tolist()]
        return out.reshape(array.shape)

    def known(self, a: int) -> float | None:
        return self.graph.values[a]

    def _equation(self, equation: JaxprEqn, operands: list) -> list:
        name, params = equation.primitive.name, equation.params
        if name in CALLS:
            return self._call(equation, operands)
        if name in IDENTITIES:
            return operands
        if name == "iota":
            return [self._iota(params)]
        if name == "platform_index":
            fits = [platforms is None or "cpu" in platforms for platforms in params["platforms"]]
            return [self.graph.const(fits.index(True))]
        if name in REARRANGEMENTS:
            outputs = REARRANGEMENTS[name](params, *map(as_array, operands))
            return [_plain(x) for x in outputs] if isinstance(outputs, list) else [_plain(outputs)]
        if name in REDUCTIONS:
            operation, neutral = REDUCTIONS[name]
            join = self._joining(operation)
            return [_plain(reduce_axes(join, self.graph.const(neutral), as_array(operands[0]), params["axes"]))]
        if name in RUNNING:
            return [scan_axis(self._joining(RUNNING[name]), operands[0], params["axis"], params["reverse"])]
        if name in GATHERS:
            return [_plain(GATHERS[name](self.graph, params, *map(as_array, operands)))]
        if name == "call_hi_primitive":
            return self._high_level(equation, operands)
        method = getattr(self, f"_{name}", None) if name in self._METHODS else None
        if method is None:
            raise NotAKernel(f"`{name}` has no kernel of fixed length.")
        return method(equation, operands)

    _METHODS = frozenset(("cond", "while", "scan", "dot_general", "conv_general_dilated", "argmax", "argmin",
                          "polynomial", "div", "round", "integer_pow", "convert_element_type", "and", "or", "xor",
                          "not", "select_n"))  # fmt: skip

    def _joining(self, operation: int) -> Callable[[int, int], int]:
        return lambda a, b: self.graph.binary(operation, a, b)

    def _sign(self, a: int) -> int:
        """As a choice, so that the jump is found as that of any other comparison."""
        graph = self.graph
        below = graph.select(graph.compare(g.LT, a, graph.zero), graph.minus_one, graph.zero)
        # not by an equality, of which no root is found, where a trajectory comes to rest
        return graph.select(graph.compare(g.LT, graph.zero, a), graph.one, below)

    def _others(self) -> dict[str, Callable]:
        graph = self.graph
        return {
            "gt": lambda a, b: graph.compare(g.LT, b, a),
            "ge": lambda a, b: graph.compare(g.LE, b, a),
            "ne": lambda a, b: graph.logical_not(graph.compare(g.EQ, a, b)),
            "square": lambda a: graph.mul(a, a),
            "one_minus_square": lambda a: graph.sub(graph.one, graph.mul(a, a)),
            "rsqrt": lambda a: graph.div(graph.one, graph.unary(g.SQRT, a)),
            "log2": lambda a: graph.div(graph.unary(g.LOG, a), graph.const(math.log(2.0))),
            "clamp": lambda low, a, high: graph.extreme(g.MIN, graph.extreme(g.MAX, a, low), high),
        }

    # calls, decisions and loops

    def _call(self, equation: JaxprEqn, operands: list) -> list:
        closed = equation.params[CALLS[equation.primitive.name]]
        inner = closed.jaxpr if isinstance(closed, ClosedJaxpr) else closed
        name = inner.debug_info.func_name if inner.debug_info else ""
        # JAX writes these by cases, for extreme numbers; their own formulas are smooth
        formula = {"logaddexp": self._log_add_exp, "hypot": self._hypotenuse}.get(name)
        if formula is not None and len(operands) == 2 and len(equation.outvars) == 1:
            return [elementwise(formula, operands, equation.outvars[0].aval.shape)]
        if name == "piecewise_linear" and inner.debug_info.func_filename == interpolation.__file__:
            t, *rows = operands
            # a derivative or a batch of points is read from its own expressions
            if len(rows) == 2 and all(row.ndim == 1 for row in rows):
                points = [node for row in rows for node in row.tolist()]
                curve = self.graph.curve
                return [elementwise(lambda t: curve(g.CURVE, t, points), [t], equation.outvars[0].aval.shape)]
        return self.closed(closed, operands)

    def _log_add_exp(self, a: int, b: int) -> int:
        graph = self.graph

        def around(large, small):
            return graph.add(large, graph.unary(g.LOG1P, graph.unary(g.EXP, graph.sub(small, large))))

        return graph.select(graph.compare(g.LESS, a, b), around(b, a), around(a, b))

    def _hypotenuse(self, a: int, b: int) -> int:
        graph = self.graph
        return graph.unary(g.SQRT, graph.add(graph.mul(a, a), graph.mul(b, b)))

    def _cond(self, equation: JaxprEqn, operands: list) -> list:
        which, branches, rest = operands[0], equation.params["branches"], operands[1:]
        value = self.known(which)
        if value is not None:
            return self.closed(branches[int(min(max(value, 0), len(branches) - 1))], rest)
        cases = [self.closed(branch, rest) for branch in branches]
        return [
            elementwise(lambda *case: self.choose(which, case), list(outputs), var.aval.shape)
            for outputs, var in zip(zip(*cases, strict=True), equation.outvars, strict=True)
        ]

    def choose(self, which: int, cases: Sequence[int]) -> int:
        """The case with the number `which`; the last one for numbers beyond."""
        graph, chosen = self.graph, cases[-1]
        for k in range(len(cases) - 2, -1, -1):
            chosen = graph.select(graph.compare(g.EQ, which, graph.const(k)), cases[k], chosen)
        return chosen

    def _select_n(self, equation: JaxprEqn, operands: list) -> list:
        if len(operands) - 1 > MOST_CHOICES:
            raise NotAKernel(f"`select_n` chooses among more than {MOST_CHOICES} cases.")
        shape = equation.outvars[0].aval.shape
        if len(operands) == 3:
            select = self.graph.select
            return [elementwise(lambda which, a, b: select(which, b, a), operands, shape)]
        return [elementwise(lambda which, *cases: self.choose(which, cases), operands, shape)]

    def _while(self, equation: JaxprEqn, operands: list) -> list:
        params = equation.params
        split, end = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
        for_test, for_body, state = operands[:split], operands[split:end], operands[end:]
        for _ in range(MOST_PASSES):
            goes_on = self.known(self.closed(params["cond_jaxpr"], [*for_test, *state])[0])
            if goes_on is None:
                raise NotAKernel("`while` ends when the values tell it to.")
            if not goes_on:
                return state
            state = self.closed(params["body_jaxpr"], [*for_body, *state])
        raise NotAKernel(f"`while` has more than {MOST_PASSES} passes.")

    def _scan(self, equation: JaxprEqn, operands: list) -> list:
        params, length = equation.params, equation.params["length"]
        fixed, carried, _ = (len(part) for part in params["ft_in"].unpack())
        consts, carry, rows = operands[:fixed], operands[fixed : fixed + carried], operands[fixed + carried :]
        if length * max(1, len(params["jaxpr"].jaxpr.eqns)) > self.graph.limit:
            raise NotAKernel(f"`scan` has {length} passes, too many to write down.")
        collected = []
        for k in range(length)[::-1] if params["reverse"] else range(length):
            outputs = self.closed(params["jaxpr"], [*consts, *carry, *(_plain(row[k, ...]) for row in rows)])
            carry = outputs[:carried]
            collected.append(outputs[carried:])
        collected = collected[::-1] if params["reverse"] else collected
        stacked = []
        for position, var in enumerate(equation.outvars[carried:]):
            out = np.empty(var.aval.shape, dtype=object)
            for k, row in enumerate(collected):
                out[k] = row[position]
            stacked.append(out)
        return [*carry, *stacked]

    # arithmetic that depends on parameters or types

    def _div(self, equation: JaxprEqn, operands: list) -> list:
        graph, var = self.graph, equation.outvars[0]
        if np.dtype(var.aval.dtype).kind == "f":
            return [elementwise(graph.div, operands, var.aval.shape)]
        return [elementwise(lambda a, b: graph.unary(g.TRUNC, graph.div(a, b)), operands, var.aval.shape)]

    def _round(self, equation: JaxprEqn, operands: list) -> list:
        operation = g.ROUND_AWAY if int(equation.params["rounding_method"]) == 0 else g.ROUND_EVEN
        return [elementwise(lambda a: self.graph.unary(operation, a), operands, equation.outvars[0].aval.shape)]

    def _integer_pow(self, equation: JaxprEqn, operands: list) -> list:
        y, power = int(equation.params["y"]), self.graph.integer_power
        return [elementwise(lambda a: power(a, y), operands, equation.outvars[0].aval.shape)]

    def _convert_element_type(self, equation: JaxprEqn, operands: list) -> list:
        graph, source, target = self.graph, equation.invars[0].aval.dtype, np.dtype(equation.params["new_dtype"])
        source = np.dtype(source)
        if target.kind not in "fiub" or source.kind not in "fiub":
            raise NotAKernel(f"`convert_element_type` to {target} is not real.")
        if target.kind == "b" and source.kind != "b":
            return [elementwise(lambda a: graph.logical_not(graph.compare(g.EQ, a, graph.zero)), operands, None)]
        if target.kind in "iu" and source.kind == "f":
            return [elementwise(lambda a: graph.unary(g.TRUNC, a), operands, None)]
        return operands

    def _logical(self, equation: JaxprEqn, operands: list, operation: Callable) -> list:
        if np.dtype(equation.outvars[0].aval.dtype) != bool:
            raise NotAKernel(f"`{equation.primitive.name}` on the bits of whole numbers has no kernel.")
        return [elementwise(operation, operands, equation.outvars[0].aval.shape)]

    def _and(self, equation: JaxprEqn, operands: list) -> list:
        return self._logical(equation, operands, self._joining(g.AND))

    def _or(self, equation: JaxprEqn, operands: list) -> list:
        return self._logical(equation, operands, self._joining(g.OR))

    def _xor(self, equation: JaxprEqn, operands: list) -> list:
        graph = self.graph
        return self._logical(equation, operands, lambda a, b: graph.logical_not(graph.compare(g.EQ, a, b)))

    def _not(self, equation: JaxprEqn, operands: list) -> list:
        return self._logical(equation, operands, self.graph.logical_not)

    # arrays

    def _iota(self, params) -> np.ndarray:
        shape, axis = params["shape"], params["dimension"]
        spread = [size if k == axis else 1 for k, size in enumerate(shape)]
        return np.broadcast_to(self.constant(np.arange(shape[axis])).reshape(spread), shape)

    def _dot_general(self, equation: JaxprEqn, operands: list) -> list:
        (sum_left, sum_right), (batch_left, batch_right) = equation.params["dimension_numbers"]

        def arrange(array, sums, batches):
            free = [axis for axis in range(array.ndim) if axis not in (*sums, *batches)]
            sizes = [math.prod(array.shape[axis] for axis in axes) for axes in (batches, free, sums)]
            return np.transpose(array, (*batches, *free, *sums)).reshape(sizes).tolist()

        left = arrange(as_array(operands[0]), sum_left, batch_left)
        right = arrange(as_array(operands[1]), sum_right, batch_right)
        zero, add, mul = self.graph.zero, self.graph.add, self.graph.mul
        out = []
        for rows, columns in zip(left, right, strict=True):
            for row in rows:
                # matrices of models are mostly zeros
                entries = [(k, a) for k, a in enumerate(row) if a != zero]
                for column in columns:
                    out.append(reduce(add, (mul(a, column[k]) for k, a in entries if column[k] != zero), zero))
        return [self._shaped(out, equation.outvars[0].aval.shape)]

    def _conv_general_dilated(self, equation: JaxprEqn, operands: list) -> list:
        params, graph = equation.params, self.graph
        if params["batch_group_count"] != 1:
            raise NotAKernel("`conv_general_dilated` with groups of batches has no kernel.")
        numbers = params["dimension_numbers"]
        # batch, feature, places; feature out, feature in, offsets
        left = np.transpose(as_array(operands[0]), numbers.lhs_spec)
        right = np.transpose(as_array(operands[1]), numbers.rhs_spec)
        gaps = [(low, high, every - 1) for (low, high), every in
                zip(params["padding"], params["lhs_dilation"], strict=True)]  # fmt: skip
        left = pad(graph, {"padding_config": [(0, 0, 0), (0, 0, 0), *gaps]}, left, as_array(graph.zero))
        shape = [equation.outvars[0].aval.shape[axis] for axis in numbers.out_spec]
        group = right.shape[0] // params["feature_group_count"]
        out = np.empty(shape, dtype=object)
        for feature, kernel in enumerate(right):
            first = feature // group * right.shape[1]
            weights = [(first + index[0], index[1:], w) for index, w in np.ndenumerate(kernel) if w != graph.zero]
            for batch, *place in np.ndindex(shape[0], *shape[2:]):
                starts = np.multiply(place, params["window_strides"])
                terms = (
                    graph.mul(w, left[(batch, source, *(starts + np.multiply(offset, params["rhs_dilation"])))])
                    for source, offset, w in weights
                )
                out[(batch, feature, *place)] = reduce(graph.add, terms, graph.zero)
        return [np.transpose(out, np.argsort(numbers.out_spec))]

    @staticmethod
    def _shaped(entries: list, shape: tuple[int, ...]):
        if shape == ():
            return entries[0]
        out = np.empty(len(entries), dtype=object)
        out[:] = entries
        return out.reshape(shape)

    def _arg(self, equation: JaxprEqn, operands: list, better: Callable, keep: int) -> list:
        """Number of the first extreme entry."""
        graph, axes = self.graph, equation.params["axes"]
        rows = np.moveaxis(operands[0], axes[0], -1)
        if len(axes) != 1 or rows.shape[-1] > MOST_CHOICES:
            raise NotAKernel(f"`{equation.primitive.name}` looks at more than {MOST_CHOICES} entries.")
        out = []
        for index in np.ndindex(rows.shape[:-1]):
            best, where = rows[index][0], graph.zero
            for k, entry in enumerate(rows[index][1:], start=1):
                where = graph.select(better(entry, best), graph.const(k), where)
                best = graph.extreme(keep, best, entry)
            out.append(where)
        return [self._shaped(out, equation.outvars[0].aval.shape)]

    def _argmax(self, equation: JaxprEqn, operands: list) -> list:
        return self._arg(equation, operands, lambda new, best: self.graph.compare(g.LT, best, new), g.MAX)

    def _argmin(self, equation: JaxprEqn, operands: list) -> list:
        return self._arg(equation, operands, lambda new, best: self.graph.compare(g.LT, new, best), g.MIN)

    def _high_level(self, equation: JaxprEqn, operands: list) -> list:
        """A primitive that JAX keeps whole until it compiles: the number of knots below a value."""
        primitive = equation.params["_prim"]
        name, params = type(primitive).__name__, primitive.params
        if name != "SearchSorted":
            raise NotAKernel(f"`{name}` has no kernel of fixed length.")
        knots = operands[0]
        if knots.ndim != 1 or knots.size > MOST_CHOICES or params.get("batch_dims"):
            raise NotAKernel(
                f"`SearchSorted` (jnp.interp, jnp.searchsorted) needs one row of at most {MOST_CHOICES} knots."
            )
        operation, compare = (g.LT if params["side"] == "left" else g.LE), self.graph.compare

        def count(value):
            return reduce(self.graph.add, (compare(operation, knot, value) for knot in knots), self.graph.zero)

        return [elementwise(count, operands[1:], equation.outvars[0].aval.shape)]

    def _polynomial(self, equation: JaxprEqn, operands: list) -> list:
        graph = self.graph

        def horner(x, *coefficients):
            return reduce(lambda total, c: graph.add(c, graph.mul(total, x)), coefficients[-2::-1], coefficients[-1])

        return [elementwise(horner, operands, equation.outvars[0].aval.shape)]


def elementwise(operation: Callable, operands: Sequence, shape: tuple[int, ...] | None):
    """`operation` on corresponding nodes; scalars are spread."""
    if not any(isinstance(operand, np.ndarray) for operand in operands):
        value = operation(*operands)
        if not shape:
            return value
        out = np.empty(shape, dtype=object)
        out[...] = value
        return out
    arrays = operands if len(operands) == 1 else np.broadcast_arrays(*(as_array(operand) for operand in operands))
    out = np.empty(arrays[0].size, dtype=object)
    out[:] = [operation(*entries) for entries in zip(*(array.ravel().tolist() for array in arrays), strict=True)]
    return out.reshape(arrays[0].shape)
