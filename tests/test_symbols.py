"""The symbolic reading against the numbers of the very same functions, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from forward_models import receptor_tf, secretion, theophylline
from uqbench import Design, InputError, LogNormal, Model, Ode, Space, epistemic
from uqbench.symbols import exact, read

PARAMETERS = ("a", "b", "n")
SPACE = Space({name: epistemic(LogNormal(0.0, 1.0)) for name in PARAMETERS})


def start(p, inputs):
    return {"x": p["a"], "z": 0.25}


def see(y, p):
    return {"o": y["x"] / p["b"] + y["z"]}


def make(rhs, initial=start, observe=see, name=""):
    return Model(SPACE, Ode(initial, rhs), observe, {"o": ""}, name=name)


def of_vector(function):
    """A system whose right-hand side is a function of the vector (x, a, b)."""

    def rhs(t, y, p, inputs):
        return {"x": function(jnp.stack([y["x"], p["a"], p["b"]])), "z": -y["z"]}

    return make(rhs)


def of_scalars(function):
    def rhs(t, y, p, inputs):
        return {"x": function(y["x"], p["a"], p["n"]), "z": t * y["z"]}

    return make(rhs)


STOICHIOMETRY = jnp.array([[1.0, 0.0, 1.0], [0.0, 2.0, 1.0]])
VECTOR_SYSTEMS = {
    "matrix product": lambda v: (STOICHIOMETRY @ v)[0] + (STOICHIOMETRY @ v)[-1],
    "dot and outer": lambda v: jnp.dot(v, v) + jnp.outer(v, v)[0, 2] + jnp.einsum("ij,j->", STOICHIOMETRY, v),
    "products of nothing": lambda v: v[0] + (jnp.zeros((1, 0)) @ v[:0])[0] + (v[:0, None] @ v[None, 1:]).sum(),
    "batched matmul": lambda v: jnp.matmul(jnp.stack([STOICHIOMETRY, 2 * STOICHIOMETRY]), v).sum(),
    "sums and products": lambda v: jnp.sum(v) + jnp.prod(v) + jnp.mean(v) + jnp.cumsum(v)[1] + jnp.cumprod(v)[2],
    "reversed scan": lambda v: jax.lax.cumsum(v, reverse=True)[0],
    "fancy indexing": lambda v: v[jnp.array([0, -1])].sum() + jnp.take(v, 1) + v[::-1][0] + v[1:].sum(),
    "dynamic slice": lambda v: jax.lax.dynamic_slice(v, (1,), (2,)).sum() + jax.lax.dynamic_index_in_dim(v, 2)[0],
    "update": lambda v: v.at[1].set(3.0).sum() + jax.lax.dynamic_update_slice(v, v[:1], (2,)).sum(),
    "shapes": lambda v: jnp.reshape(jnp.concatenate([v, v]), (2, 3)).T[2, 1] + jnp.expand_dims(v, 0)[0, 1],
    "roll, pad, split": lambda v: jnp.roll(v, 1)[0] + jnp.pad(v, 1)[1] + jnp.split(v, 3)[2][0] + jnp.repeat(v, 2)[3],
    "stack and unstack": lambda v: sum(jnp.unstack(jnp.stack([v, v * v])))[1],
    "diagonal": lambda v: jnp.diag(v).sum() + jnp.trace(jnp.outer(v, v)) + jnp.eye(3)[0] @ v,
    "powers of a vector": lambda v: jnp.power(v, jnp.array([1.0, 2.0, 0.5])).sum(),
    "constants": lambda v: jnp.arange(3) @ v + jnp.linspace(0.0, 1.0, 3) @ v + np.array([0.1, 0.2, 0.3]) @ v,
    "norm": lambda v: jnp.linalg.norm(v),
    "tiles": lambda v: jnp.tile(v, 2).sum() + jnp.broadcast_to(v[0], (4,)).sum() + jnp.zeros(3) @ v + jnp.ones(3) @ v,
    "scatter": lambda v: v.at[jnp.array([0, 2, 0])].add(v)[0] + jnp.outer(v, v).at[1].add(v).sum(),
    "stencil": lambda v: jnp.convolve(v, jnp.array([1.0, 2.0, 0.5]), mode="same").sum() + jnp.convolve(v, v)[2],
    "vmap": lambda v: jax.vmap(lambda s: s * s + 1)(v).sum(),
    "two-dimensional transport": lambda v: (jnp.roll(jnp.outer(v, v), 1, axis=0) + jnp.outer(v, v))[1, 1],
    "nested calls": lambda v: jax.jit(lambda w: jax.checkpoint(lambda u: u * u)(w).sum())(v),
    "chosen by known numbers": lambda v: jnp.where(jnp.array([True, False, True]), v, 2 * v).sum(),
}
SCALAR_SYSTEMS = {
    "Hill with real exponent": lambda x, a, n: x**n / (a**n + x**n),
    "integer powers": lambda x, a, n: x**3 + a**-2 + jnp.square(x) + jnp.reciprocal(a) + jnp.float_power(x, 2.0),
    "fractional powers": lambda x, a, n: x**0.5 + a**1.3 + jnp.sqrt(x) + jnp.cbrt(a) + jax.lax.rsqrt(x) + x ** (2 / 3),
    "exponentials": lambda x, a, n: jnp.exp(-x) + jnp.exp2(a) + jnp.expm1(x) + 2**n,
    "logarithms": lambda x, a, n: jnp.log(1 + x) + jnp.log1p(a) + jnp.log2(1 + n) + jnp.log10(1 + x),
    "sigmoids": lambda x, a, n: jax.nn.sigmoid(x) + jnp.tanh(a) + jax.nn.softplus(n) + jax.nn.silu(x),
    "trigonometry": lambda x, a, n: 2 + jnp.sin(x) + jnp.cos(a / 8) + jnp.tan(x / 8),
    "hyperbolic": lambda x, a, n: jnp.sinh(x) + jnp.cosh(a) + jnp.arcsinh(n),
    "inverse": lambda x, a, n: jnp.arctan(x) + jnp.arcsin(a / 8) + jnp.arccos(a / 8) + jnp.arctanh(x / 8) + 1,
    "error function": lambda x, a, n: jax.scipy.special.erf(x) + jax.scipy.special.erfc(a / 8),
    "log of a sum": lambda x, a, n: jnp.logaddexp(x, a) + 1,
    "polynomial": lambda x, a, n: jnp.polyval(jnp.array([1.0, 2.0, 0.1]), x),
    "own derivative": lambda x, a, n: jax.grad(lambda s: jnp.tanh(s) * s + jax.nn.softplus(s))(x),
    "guards against nan": lambda x, a, n: jnp.nan_to_num(x * a),
    "known switch": lambda x, a, n: x * jnp.maximum(0.1, 0.2) + a * jax.lax.cond(True, lambda s: s, jnp.negative, n),
    "Arrhenius": lambda x, a, n: a * jnp.exp(-n / (8.314 * 0.3)) * x,
    "stopped gradient": lambda x, a, n: jax.lax.stop_gradient(x) * a,
}
MODELS = {
    **{name: of_vector(function) for name, function in VECTOR_SYSTEMS.items()},
    **{name: of_scalars(function) for name, function in SCALAR_SYSTEMS.items()},
    **{module.__name__: module.model for module in (secretion, theophylline, receptor_tf)},
}


def distance(symbolic, numeric):
    """The largest relative difference of equally named values."""
    assert list(symbolic) == list(numeric)
    pairs = [(symbolic[name], float(numeric[name])) for name in symbolic]
    return max(abs(s - v) / max(abs(v), 1e-300) if s != v else 0.0 for s, v in pairs)


@pytest.mark.parametrize("name", MODELS)
def test_symbols_equal_numbers(name):
    model, rng = MODELS[name], np.random.default_rng(1)
    symbolic = read(model)
    for _ in range(3):
        # dyadic rationals away from 0 are the same number for floats and for SymPy
        values = {symbol: int(rng.integers(32, 96)) / 64 for symbol in (*symbolic.symbols, "t")}
        arrays = {symbol: jnp.asarray(value) for symbol, value in values.items()}
        p, y, inputs = (
            {n: arrays[n] for n in names} for names in (symbolic.parameters, symbolic.states, symbolic.inputs)
        )
        assert distance(symbolic.evaluate("initial", values), model.system.initial(p, inputs)) <= 1e-14
        assert distance(symbolic.evaluate("rhs", values), model.system.rhs(arrays["t"], y, p, inputs)) <= 1e-14
        assert distance(symbolic.evaluate("observe", values), model.observe(y, p)) <= 1e-14


POSITIVE = st.recursive(
    st.sampled_from(["x", "a", "n"]) | st.sampled_from([0.1, 2.0, 1.5, 7]),
    lambda tree: st.tuples(
        st.sampled_from(["+", "*", "/", "sqrt", "log1p", "tanh", "sigmoid", "square", "stack"]), tree, tree
    ),
    max_leaves=8,
)


def grow(tree, leaves):
    if not isinstance(tree, tuple):
        return leaves.get(tree, tree)
    kind, left, right = tree[0], grow(tree[1], leaves), grow(tree[2], leaves)
    match kind:
        case "+":
            return left + right
        case "*":
            return left * right
        case "/":
            return left / (1 + right)
        case "stack":
            return jnp.stack([left, jnp.asarray(right, float)]).sum()
        case "square":
            return left**2
    return {"sqrt": jnp.sqrt, "log1p": jnp.log1p, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}[kind](left + right)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(tree=POSITIVE, point=st.tuples(*[st.integers(8, 128)] * 3))
def test_random_expressions(tree, point):
    values = dict(zip(("x", "a", "n"), (k / 64 for k in point), strict=True))
    model = of_scalars(lambda x, a, n: grow(tree, {"x": x, "a": a, "n": n}))
    numeric = grow(tree, {name: jnp.asarray(value) for name, value in values.items()})
    symbolic = read(model).evaluate("rhs", {**values, "t": 1.0, "z": 1.0})["x"]
    assert symbolic == pytest.approx(float(numeric), rel=1e-13)


def test_numbers_are_exact():
    def rhs(t, y, p, inputs):
        return {"x": 0.1 * y["x"] + y["x"] * (1 / 3) + 1e-6 * p["a"] + 30.0 * p["b"], "z": 2 * y["z"]}

    symbolic = read(make(rhs))
    x, a, b, z = (symbolic.symbols[name] for name in ("x", "a", "b", "z"))
    tenth, third = sympy.Rational(1, 10), sympy.Rational(1, 3)
    assert sympy.expand(symbolic.rhs["x"] - (tenth + third) * x - a / 10**6 - 30 * b) == 0
    assert symbolic.rhs["z"] == 2 * z
    assert symbolic.initial == {"x": a, "z": sympy.Rational(1, 4)}
    assert exact(0.1).denominator == 10


def test_names_keep_the_authors_order_and_unused_ones():
    symbolic = read(theophylline.model)
    assert symbolic.states == ("gut", "C")
    assert symbolic.parameters == theophylline.model.space.names
    assert symbolic.inputs == ("dose",)
    assert symbolic.outputs == ("concentration",)
    assert "sigma" in symbolic.symbols
    assert not any(symbolic.symbols["sigma"] in right.free_symbols for right in symbolic.rhs.values())


def test_input_arrays_are_indexed():
    def rhs(t, y, p, inputs):
        return {"x": -inputs["rate"][1] * y["x"] + inputs["feed"], "z": jnp.zeros(())}

    symbolic = read(make(rhs), Design([1.0], inputs={"rate": [1.0, 2.0], "feed": 1.0}))
    assert symbolic.inputs == ("rate_0", "rate_1", "feed")
    x, rate, feed = sympy.symbols("x rate_1 feed")
    assert symbolic.rhs["x"] == feed - rate * x


def test_equations_for_a_report():
    equations = read(theophylline.model).equations()
    assert len(equations) == 5
    text = [sympy.latex(equation) for equation in equations]
    assert text[0] == r"\frac{d}{d t} gut = - gut ka"
    assert any(line.startswith("concentration =") for line in text)
    # an output that is the state of the same name needs no equation of its own
    assert len(read(secretion.model).equations()) == 2


def refused(rhs, **more):
    with pytest.raises(InputError) as caught:
        read(make(rhs, **more))
    return caught.value.findings


REFUSALS = {
    "select_n": lambda x: jnp.where(x > 0, x, 0.0),
    "abs": jnp.abs,
    "max": lambda x: jnp.maximum(x, 1.0),
    "min": lambda x: jnp.minimum(x, 1.0),
    "floor": jnp.floor,
    "sign": jnp.sign,
    "round": jnp.round,
    "rem": lambda x: x % 2.0,
    "gt": lambda x: (x > 1.0) * 1.0,
    "reduce_max": lambda x: jnp.stack([x, 2 * x]).max(),
    "while": lambda x: jax.lax.while_loop(lambda s: s < 3.0, lambda s: s * s + 1.0, x),
    "scan": lambda x: jax.lax.fori_loop(0, 3, lambda i, s: s * s, x),
    "cond": lambda x: jax.lax.cond(x > 0.0, lambda s: s, lambda s: 2 * s, x),
    "lu": lambda x: jnp.linalg.solve(jnp.eye(2) * x, jnp.ones(2))[0],
    "random_seed": lambda x: x * jax.random.normal(jax.random.key(0)),
    "convert_element_type": lambda x: jnp.real(x * (1 + 2j)),
    "lgamma": jax.scipy.special.gammaln,
}


@pytest.mark.parametrize("primitive", REFUSALS)
def test_refused_by_name(primitive):
    findings = refused(lambda t, y, p, inputs: {"x": REFUSALS[primitive](y["x"]), "z": y["z"]})
    assert any(finding.startswith(f"rhs uses `{primitive}`") for finding in findings)
    assert all("write" in finding or "use " in finding for finding in findings)


def test_where_says_what_to_do_instead():
    (finding,) = refused(lambda t, y, p, inputs: {"x": REFUSALS["select_n"](y["x"]), "z": y["z"]})
    assert "jnp.where" in finding and "jax.nn.sigmoid" in finding and "split the experiment" in finding


def test_all_findings_at_once():
    def initial(p, inputs):
        return {"x": jnp.abs(p["a"]), "z": jnp.zeros(())}

    def rhs(t, y, p, inputs):
        return {"x": sum(function(y["x"]) for function in REFUSALS.values()), "z": y["z"]}

    def observe(y, p):
        return {"o": jnp.floor(y["x"])}

    findings = refused(rhs, initial=initial, observe=observe)
    assert any(finding.startswith("initial uses `abs`") for finding in findings)
    assert any(finding.startswith("observe uses `floor`") for finding in findings)
    for primitive in REFUSALS:
        assert any(finding.startswith(f"rhs uses `{primitive}`") for finding in findings)
    assert len(set(findings)) == len(findings)


def test_operations_that_nothing_needs_are_not_refused():
    def rhs(t, y, p, inputs):
        jnp.floor(y["x"])
        return {"x": -y["x"], "z": y["z"]}

    assert read(make(rhs)).rhs["x"] == -sympy.Symbol("x")


def branching(t, y, p, inputs):
    return {"x": y["x"] if y["x"] > 0 else -y["x"], "z": y["z"]}


def to_numpy(t, y, p, inputs):
    return {"x": np.exp(y["x"]), "z": y["z"]}


def unknown_name(t, y, p, inputs):
    return {"x": p["aa"] * y["x"], "z": y["z"]}


def other_states(t, y, p, inputs):
    return {"x": y["x"], "w": y["z"]}


def zero_divisor(t, y, p, inputs):
    return {"x": y["x"] / jnp.zeros(()), "z": y["z"]}


def not_a_number(t, y, p, inputs):
    return {"x": y["x"] * jnp.inf, "z": y["z"]}


def a_vector(t, y, p, inputs):
    return {"x": jnp.stack([y["x"], y["z"]]), "z": y["z"]}


@pytest.mark.parametrize(
    ("rhs", "words"),
    [
        (branching, "branches in Python"),
        (to_numpy, "use jax.numpy"),
        (unknown_name, "reads 'aa'"),
        (other_states, "no derivative for the state 'z'"),
        (zero_divisor, "divides by zero"),
        (not_a_number, "nan or inf"),
        (a_vector, "must be a scalar"),
    ],
)
def test_unusable_functions(rhs, words):
    assert any(words in finding for finding in refused(rhs))


def test_one_name_for_two_things():
    def initial(p, inputs):
        return {"a": jnp.ones(()), "t": jnp.ones(())}

    def rhs(t, y, p, inputs):
        return {"a": -y["a"], "t": y["t"]}

    findings = refused(rhs, initial=initial, observe=lambda y, p: {"o": y["a"]})
    assert any("'a' is a parameter and a state" in finding for finding in findings)
    assert any("'t' is the time and a state" in finding for finding in findings)


def test_a_simulator_has_no_equations():
    with pytest.raises(InputError, match="a simulator without a system has no equations to read"):
        read(secretion.steady)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_logic_of_what_is_known(first, second):
    """Each branch is another formula, so the truth is seen in what is read."""

    def rhs(t, y, p, inputs):
        a, b = (jnp.asarray(truth, float) > 0.5 for truth in (first, second))
        return {"y": sum(jnp.where(c, n, 0) * p["k"] for c, n in ((a & b, 1), (a | b, 10), (~a, 100)))}

    space = Space(k=epistemic(LogNormal(0.0, 1.0)))
    model = Model(space, Ode(lambda p, inputs: {"y": jnp.ones(())}, rhs), lambda y, p: {"y": y["y"]}, {"y": ""})
    expected = (first and second) + 10 * (first or second) + 100 * (not first)
    assert read(model).rhs["y"] == expected * sympy.Symbol("k")
