"""Additive terms: read as they are written, and adding up to the Jacobian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.time_scales.stiffness import stiffness_report as report
from uqbench.time_scales.stiffness.additive_terms import Terms


def mixed(t, y, p, inputs):
    x, z = y["x"], y["z"]
    gathered = jnp.sum(jnp.stack([x, z]) * jnp.array([1.0, 2.0]))
    return {
        "x": p["a"] * (1 - jnp.exp(-x * z)) / (p["b"] + 2.0) - jnp.tanh(z) * x**2 + inputs["u"][0] * x ** p["n"],
        "z": gathered - (x + z) / (1 + z) - 3.0 * (-(x - p["a"]) / p["b"]) + t,
    }


def at_rest(p, inputs):
    return {"x": 0.0, "z": 0.0}


def test_terms_are_read_as_they_are_written_and_add_up_to_the_jacobian():
    theta, inputs = {"a": 1.5, "b": 2.0, "n": 1.5}, {"u": jnp.array([0.3, 0.4])}
    terms = Terms(uq.Ode(at_rest, mixed), ("x", "z"), theta, inputs)
    texts = [(term.equation, term.text) for term in terms.all]
    for expected in (("x", "-a*exp((-x)*z)/(b + 2)"), ("x", "-tanh(z)*x^2"), ("z", "-(x + z)/(1 + z)"), ("z", "3*x/b")):
        assert expected in texts
    y = jnp.array([0.7, 1.3])
    slopes = np.asarray(terms.slopes(0.5, y, theta, inputs))
    rows = np.array([np.sum([s for s, (at, _) in zip(slopes, texts, strict=True) if at == name], 0) for name in "xz"])
    step = 1e-6
    for k, unit in enumerate(np.eye(2)):
        up, down = (mixed(0.5, dict(zip("xz", y + sign * step * unit, strict=True)), theta, inputs) for sign in (1, -1))
        np.testing.assert_allclose(rows[:, k], [(up[name] - down[name]) / (2 * step) for name in "xz"], rtol=1e-8)


MATRIX = jnp.array([[-2.0, 1.0], [1.0, -3.0]])


def pair_initial(p, inputs):
    return {"a": 1.0, "b": 0.5}


def from_a_product(t, y, p, inputs):
    slopes = p["k"] * (MATRIX @ jnp.stack([y["a"], y["b"]]))
    return {"a": slopes[0], "b": slopes[1]}


def beside_a_product(t, y, p, inputs):
    slopes = p["k"] * (MATRIX @ jnp.stack([y["a"], y["b"]]))
    return {"a": slopes[0] + y["b"], "b": slopes[1]}


def from_a_row(t, y, p, inputs):
    row = jnp.array([y["b"] * p["k"], -y["a"]])
    return {"a": row[0] - y["a"], "b": row[1]}


def from_a_table(t, y, p, inputs):
    table = jnp.outer(jnp.stack([y["a"], y["b"]]), jnp.array([1.0, -p["k"]])) - y["b"]
    return {"a": table[0, 1] - table.sum() * y["a"], "b": jnp.reshape(table[1:, 1:], ()) - p["k"] * y["b"] ** 2}


@pytest.mark.parametrize(
    "rhs, texts",
    [
        (from_a_product, ["(k*dot_general(array, stack(a, b)))[0]", "(k*dot_general(array, stack(a, b)))[1]"]),
        (beside_a_product, ["(k*dot_general(array, stack(a, b)))[0]", "b", "(k*dot_general(array, stack(a, b)))[1]"]),
        (from_a_row, None),
        (from_a_table, None),
    ],
)
def test_elements_of_arrays_are_kept_whole(rhs, texts):
    theta, y = {"k": 50.0}, jnp.array([0.7, 1.3])
    terms = Terms(uq.Ode(pair_initial, rhs), ("a", "b"), theta, {})
    assert texts is None or [term.text for term in terms.all] == texts
    slopes = np.asarray(terms.slopes(0.0, y, theta, {}))
    rows = [sum(s for s, term in zip(slopes, terms.all, strict=True) if term.equation == name) for name in ("a", "b")]
    exact = jax.jacfwd(lambda y: jnp.stack([*rhs(0.0, {"a": y[0], "b": y[1]}, theta, {}).values()]))(y)
    np.testing.assert_allclose(rows, exact, rtol=1e-12)
    found = report(uq.Ode(pair_initial, rhs), theta, uq.Design([0.05]))
    assert float(found.term_share.sum()) == pytest.approx(1.0) == float(found.entry_share.sum())
