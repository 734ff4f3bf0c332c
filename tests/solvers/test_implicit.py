"""The derivative rule of roots: of formulas, of loops, in both modes and twice, with parts that hold still."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import uqbench  # noqa: F401  (double precision)
from uqbench.solvers.implicit import by_jvp, by_matrix, implicit
from uqbench.solvers.roots import solve


def square(x, given):
    """x^2 = a b."""
    return x**2 - given["a"] * given["b"]


def square_in_a_loop(x, given):
    """The same, as a loop that reverse mode cannot walk back."""
    _, power = lax.while_loop(lambda s: s[0] < 2, lambda s: (s[0] + 1, s[1] * x), (0, jnp.ones(1)))
    return power - given["a"] * given["b"]


@pytest.mark.parametrize("linearised", [by_jvp(square), by_matrix(square), by_matrix(square_in_a_loop)])
def test_derivatives_of_a_square_root(linearised):
    def root(a):
        given = {"a": a, "b": 2.0, "count": jnp.asarray(3)}
        return implicit(linearised, solve, given, lax.stop_gradient(jnp.sqrt(2.0 * a))[None])[0]

    a = 1.7
    slope = 2.0 / (2 * np.sqrt(2 * a))
    assert float(jax.grad(root)(a)) == pytest.approx(slope, rel=1e-14)
    assert float(jax.jacfwd(root)(a)) == pytest.approx(slope, rel=1e-14)
    assert float(jax.jacfwd(jax.jacfwd(root))(a)) == pytest.approx(-slope / (2 * a), rel=1e-13)
    batch = jnp.array([1.0, a])
    np.testing.assert_allclose(jax.vmap(jax.grad(root))(batch)[1], slope, rtol=1e-14)


def test_what_has_its_gradient_stopped_holds_still():
    def root(a, b):
        given = {"a": a, "b": lax.stop_gradient(b)}
        return implicit(by_jvp(square), solve, given, lax.stop_gradient(jnp.sqrt(a * b))[None])[0]

    by_a, by_b = jax.jit(jax.grad(root, (0, 1)))(2.0, 3.0)
    assert float(by_a) == pytest.approx(3.0 / (2 * np.sqrt(6.0)), rel=1e-14)
    assert float(by_b) == 0.0
