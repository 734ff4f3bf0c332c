"""Kernels of right-hand sides in many styles against JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from uqbench.kernels import NotAKernel, Sources, build

from .harness import Case, Model, assert_outputs_agree, assert_rates_agree

STATES = ("a", "b", "c")
SHAPES = {"k": (), "w": (3,), "m": (3, 3)}


def named(f):
    return dict(zip(STATES, f, strict=True))


def stack(y):
    return jnp.stack([y[name] for name in STATES])


def scalars(t, y, q):
    flux = q["k"] * y["a"] * y["b"] / (1.0 + y["c"])
    return {"a": -flux, "b": -flux + jnp.exp(-y["a"]), "c": flux - q["w"][0] * jnp.sqrt(y["c"]) + jnp.tanh(y["b"]) ** 3}


def matrices(t, y, q):
    f = q["m"] @ jnp.tanh(q["m"].T @ stack(y)) + q["w"] * stack(y) ** 2
    return named(f - jnp.sum(stack(y)) * q["k"])


def scanned(t, y, q):
    def body(carry, w):
        return carry * w + y["a"], carry

    last, rows = lax.scan(body, y["b"], q["w"])
    back, _ = lax.scan(body, q["k"], q["w"], reverse=True)
    return {"a": last, "b": rows[1] + rows[2] * y["c"], "c": lax.fori_loop(0, 4, lambda i, s: s * q["k"] + i, back)}


def switched(t, y, q):
    growth = jnp.where(y["a"] > 0.4, q["k"] * y["a"] ** 2, y["b"])
    return {
        "a": growth - jnp.maximum(y["b"] - 0.3, 0.0),
        "b": jnp.clip(y["c"], 0.0, q["w"][1]) + jnp.abs(y["a"] - y["b"]),
        "c": jnp.minimum(y["a"], q["w"][2]) * jnp.sign(y["b"]) + (y["a"] <= 0.4) * y["c"],
    }


def conditional(t, y, q):
    up = lax.cond(y["b"] > q["w"][0], lambda z: z**2, lambda z: jnp.sin(z), y["a"])
    many = lax.switch(
        jnp.floor(3 * y["a"]).astype(int), [lambda z: z, lambda z: 2 * z * q["k"], lambda z: z**3], y["c"]
    )
    return {"a": up, "b": many, "c": jnp.select([y["a"] < 0.1, y["b"] < 2.0], [y["b"], y["c"] * q["k"]], y["a"])}


def hill(t, y, q):
    n = q["w"][0] + 1.5

    def response(z):
        return z**n / (q["k"] ** n + z**n)

    return {
        "a": response(y["b"]) - y["a"],
        "b": response(y["c"]) - y["b"] ** 2.7,
        "c": 1 / (1 + y["a"] ** 3.3) - y["c"],
    }


def pulses(t, y, q):
    rate = jnp.where((t >= q["w"][0]) & (t < q["w"][0] + q["w"][1]), q["k"], 0.0)
    return {
        "a": rate - y["a"],
        "b": jnp.sin(t) * y["a"] - y["b"],
        "c": (jnp.abs(t - 2.0) < q["w"][2]) * y["b"] - y["c"],
    }


def periodic(t, y, q):
    dose = jnp.where(jnp.mod(t - q["w"][0], q["w"][1] + 2.0) < q["w"][2], q["k"], 0.0)
    saw = (t // 1.5) + t % 0.7
    return {"a": dose - y["a"], "b": y["a"] * saw - y["b"], "c": y["b"] - jnp.floor(t / 3.0) * y["c"]}


def interpolated(t, y, q):
    knots = jnp.array([0.0, 1.0, 2.0, 4.0])
    forcing = jnp.interp(t, knots, jnp.array([0.0, 2.0, 1.0, 3.0]) * q["k"])
    return {"a": forcing - y["a"], "b": jnp.interp(y["a"], knots, jnp.concatenate([q["w"], q["w"][:1]])) - y["b"],
            "c": jnp.interp(y["b"], q["w"].cumsum(), knots[:3]) - y["c"]}  # fmt: skip


def networks(t, y, q):
    hidden = jax.nn.relu(q["m"] @ stack(y)) + jax.nn.softplus(q["w"] * stack(y)) + jax.nn.sigmoid(stack(y))
    f = jax.nn.softmax(hidden) - jax.nn.elu(stack(y) - q["w"])
    return named(f + jax.nn.gelu(stack(y)) + jax.nn.silu(q["k"] * stack(y)))


def arrays(t, y, q):
    v = stack(y)
    left = jnp.roll(v, 1) + jnp.pad(v[1:], (0, 1)) - jnp.flip(v) * q["k"]
    put = jnp.zeros(4).at[jnp.array([1, 1, 3])].add(v).at[0].set(v[2]) * jnp.arange(4.0)
    sums = jnp.cumsum(v) * jnp.cumprod(q["w"]) + jnp.einsum("ij,j->i", q["m"], v) + put[:3] + put[jnp.array([3, 1, 0])]
    chosen = q["w"][jnp.clip(jnp.floor(2 * y["a"]).astype(int), 0, 2)] + jnp.take(v, jnp.array([2, 0])).prod()
    pick = v[jnp.argmax(v)] + jnp.max(v) - jnp.min(q["w"]) + jnp.linalg.norm(v) + jnp.diag(q["m"]).sum()
    rows = q["m"][jnp.array([0, 2]), :] @ v + jax.vmap(lambda r, i: r[i])(q["m"], jnp.array([2, 1, 0]))[:2]
    return named(left + sums + chosen + pick + jnp.outer(v, q["w"])[1] + rows.sum() + jnp.triu(q["m"]) @ v)


def convolutions(t, y, q):
    v = stack(y)
    line = jnp.convolve(jnp.pad(v, 1, mode="edge"), q["w"], mode="valid")
    wide = lax.conv_general_dilated(
        jnp.stack([jnp.outer(v, v), q["m"]])[None],
        jnp.stack([q["m"], q["m"].T])[:, None, :2],
        (1, 2),
        [(1, 1), (2, 0)],
        (1, 2),
        (2, 1),
        feature_group_count=2,
    )
    return named(line + wide[0].sum((0, 2)) + wide[0, 0, 0, 0])


def functions(t, y, q):
    a, b, c = (y[name] for name in STATES)
    f = jnp.log1p(a) + jnp.expm1(b) + jnp.cbrt(c) + jnp.arctan2(a, b) + jax.scipy.special.erf(c) + jnp.exp2(b)
    g = jnp.sinh(a) * jnp.cosh(b) - jnp.arcsin(0.3 * c) + jnp.arccos(0.3 * a) * jnp.arctan(b) + jnp.hypot(a, b)
    h = jnp.arcsinh(a) + jnp.arccosh(2 + b) + jnp.arctanh(0.3 * c) + jnp.log10(a) - jnp.tan(b) + jnp.log2(c)
    h = h + lax.erfc(a) + lax.rsqrt(b) + jnp.logaddexp(a, b) + jnp.polyval(q["w"], a) + lax.stop_gradient(c) * b
    return {"a": f, "b": g * q["k"] + jnp.sinc(a) + lax.logistic(c), "c": h + jnp.fmod(a, q["w"][0]) + jnp.square(t)}


def nested(t, y, q):
    inner = jax.checkpoint(lambda z: jnp.sin(z) * q["k"])
    slope = jax.grad(lambda z: jnp.sum(q["w"] * z**3) * z[0])(stack(y))
    state = lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * q["k"] + y["a"]), (0, 1.0))[1]
    return {"a": inner(y["a"]), "b": jax.jit(jnp.dot)(slope, q["w"]), "c": state * y["c"] / 7 + jnp.int32(7) // 2}


RATES = [scalars, matrices, scanned, switched, conditional, hill, pulses, periodic, interpolated, networks, arrays,
         convolutions, functions, nested]  # fmt: skip


def points(count: int):
    rng = np.random.default_rng(11)
    for _ in range(count):
        q = {"k": rng.uniform(0.2, 2), "w": rng.uniform(0.2, 1.5, 3), "m": rng.normal(size=(3, 3))}
        yield dict(zip(STATES, rng.uniform(0.05, 1.5, 3), strict=True)), q, rng.uniform(0, 6)


def observe(t, y, q):
    return {"z": stack(y) * q["k"], "first": jnp.where(y["a"] > 0.5, y["a"], q["w"][0]) + t}


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: rate.__name__)
def test_kernels_agree_with_jax(rate):
    model = Model(Sources(rate, STATES, SHAPES))
    for y, q, t in points(8):
        assert_rates_agree(Case(model, q, y, t))


@pytest.mark.parametrize(
    "rate", [matrices, switched, pytest.param(networks, marks=pytest.mark.slow)], ids=lambda rate: rate.__name__
)
@pytest.mark.parametrize("chunk", [1, 7])
def test_parts_of_few_operations_give_the_same(rate, chunk):
    whole, cut = Model(Sources(rate, STATES, SHAPES)), Model(Sources(rate, STATES, SHAPES), chunk=chunk)
    for y, q, t in points(2):
        one, other = Case(whole, q, y, t), Case(cut, q, y, t)
        for name, size in (
            ("rate", 3),
            ("linearise", 3 + one.count("jacobian")),
            ("curvature", one.count("curvature")),
        ):
            np.testing.assert_allclose(other.call(name, size), one.call(name, size), rtol=1e-12, atol=1e-12)
    assert cut.kernels.scratch > whole.kernels.scratch


def test_outputs():
    model = Model(Sources(scalars, STATES, SHAPES, observe))
    assert model.kernels.output_names == (("z", (3,)), ("first", ()))
    for y, q, t in points(3):
        assert_outputs_agree(
            Case(model, q, y, t), "observe", lambda *given: list(observe(*given).values()), 4, time_first=False
        )


@pytest.mark.parametrize("active", [[("w", 1), ("k", 0)], [("m", 5)], []])
def test_some_directions(active):
    model = Model(Sources(matrices, STATES, SHAPES), active)
    for y, q, t in points(2):
        assert_rates_agree(Case(model, q, y, t))


def test_powers_at_zero():
    def rate(t, y, q):
        return {"a": y["a"] ** q["n"] / (1 + y["a"] ** q["n"]) + y["a"] ** 2.5}

    case = Case(Model(Sources(rate, ("a",), {"n": ()})), {"n": 2.5}, {"a": 0.0}, 0.0)
    for name, size in (("rate", 1), ("linearise", 2), ("variation", 1 + case.count("forcing"))):
        np.testing.assert_array_equal(case.call(name, size), 0.0)
    assert np.all(np.isfinite(case.call("curvature", case.count("curvature"))))


@pytest.mark.parametrize(
    ("rate", "primitive"),
    [
        (lambda t, y, q: {"a": lax.while_loop(lambda s: s < y["a"], lambda s: s + 0.1, 0.0)}, "while"),
        (lambda t, y, q: {"a": jax.pure_callback(np.sin, jax.ShapeDtypeStruct((), float), y["a"])}, "pure_callback"),
        (lambda t, y, q: {"a": jnp.sort(jnp.stack([y["a"], t]))[0]}, "sort"),
        (lambda t, y, q: {"a": jnp.linalg.solve(jnp.eye(2) * y["a"], jnp.ones(2))[0]}, "lu"),
        (lambda t, y, q: {"a": jnp.real(y["a"] * 1j)}, "not real"),
        (lambda t, y, q: {"a": jax.random.normal(jax.random.key(0)) * y["a"]}, "random|number"),
        (lambda t, y, q: {"b": y["a"]}, "states by name"),
    ],
)  # fmt: skip
def test_what_is_no_kernel(rate, primitive):
    with pytest.raises(NotAKernel, match=primitive):
        build(Sources(rate, ("a",), {}))
