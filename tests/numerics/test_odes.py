import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import uqbench as uq
from uqbench.numerics import odes, rosenbrock
from uqbench.numerics.sparse_lu import factorize, structure, substitute

ROBERTSON = (0.04, 1e4, 3e7)
# eigenvalues -1e4, -10, -0.1, not normal
STIFF = np.array([[-1e4, 50.0, 0.0], [0.0, -10.0, 3.0], [0.0, 0.0, -0.1]])


def robertson(k):
    def rhs(t, y):
        a, b, c = k[0] * y[0], k[1] * y[1] * y[2], k[2] * y[1] * y[1]
        return [b - a, a - b - c, c]

    return rhs


def linear(t, y):
    return [sum(STIFF[i, j] * y[j] for j in range(3) if STIFF[i, j]) for i in range(3)]


def test_stages_are_consistent():
    """Row sums of A in the transformed variables against the published nodes, by one linear solve each."""
    lower = np.zeros((8, 8))
    for i, row in enumerate(rosenbrock.C):
        lower[i, : len(row)] = row
    gamma_matrix = np.linalg.inv(np.eye(8) / rosenbrock.GAMMA - lower)
    np.testing.assert_allclose(gamma_matrix.sum(axis=1), rosenbrock.GAMMA_SUMS, atol=1e-12)
    for i, row in enumerate(rosenbrock.A):
        assert sum(np.array(row) @ gamma_matrix[: len(row)] if row else [0.0]) == pytest.approx(rosenbrock.ALPHA[i])


def test_order_five_on_a_nonlinear_system_that_depends_on_time():
    def rhs(t, y):
        return [-y[0] * y[0] + jnp.cos(t), y[0] - y[1]]

    exact = solve_ivp(lambda t, y: [-y[0] ** 2 + np.cos(t), y[0] - y[1]], (0, 2), [1.0, 0.5], rtol=1e-13, atol=1e-14,
                      method="DOP853").y[:, -1]  # fmt: skip
    pattern = structure(rhs, 2)

    def error(n):
        def body(k, y):
            return rosenbrock.step(rhs, pattern, 2.0 * k / n, 2.0 / n, y)[0]

        end = jax.jit(lambda: jax.lax.fori_loop(0, n, body, [jnp.asarray(1.0), jnp.asarray(0.5)]))()
        return np.abs(np.array(end) - exact).max()

    order = np.log2(error(16) / error(32))
    assert 4.7 < order < 6.0


@pytest.mark.parametrize("tolerance", [1e-4, 1e-6, 1e-8])
def test_stiff_linear_follows_the_matrix_exponential(tolerance):
    times = np.array([0.0, 1e-3, 1.0, 1.0, 50.0])
    rows, code, steps = jax.jit(
        lambda ts: rosenbrock.solve(linear, 0.0, [1.0, 1.0, 1.0], ts, rtol=tolerance, atol=tolerance)
    )(times)
    exact = np.stack([expm(STIFF * t) @ np.ones(3) for t in times])
    assert int(code) == 0
    assert np.abs(np.asarray(rows) - exact).max() < 10 * tolerance
    assert int(steps) < 400


def test_robertson_agrees_with_radau_over_eleven_decades():
    times = np.array([0.4, 4e3, 4e7, 1e11])
    rows, code, _ = jax.jit(
        lambda ts: rosenbrock.solve(robertson(ROBERTSON), 0.0, [1.0, 0.0, 0.0], ts, rtol=1e-8, atol=1e-14)
    )(times)
    exact = solve_ivp(lambda t, y: robertson(ROBERTSON)(t, y), (0, 1e11), [1.0, 0, 0], "Radau", times,
                      rtol=1e-11, atol=1e-18).y.T  # fmt: skip
    assert int(code) == 0
    np.testing.assert_allclose(rows, exact, rtol=1e-6, atol=1e-14)
    assert np.asarray(rows).sum(axis=1) == pytest.approx(1.0, abs=1e-10)


def test_sensitivities_agree_with_central_differences():
    def last(k):
        return rosenbrock.solve(robertson(k), 0.0, [1.0, 0.0, 0.0], jnp.array([40.0]), rtol=1e-11, atol=1e-15)[0][0]

    k = jnp.array(ROBERTSON)
    forward = jax.jit(jax.jacfwd(last))(k)
    for index in range(3):
        step = 1e-4 * k[index]
        numeric = (last(k.at[index].add(step)) - last(k.at[index].add(-step))) / (2 * step)
        np.testing.assert_allclose(forward[:, index], numeric, rtol=1e-5, atol=1e-5 * np.abs(numeric).max())


def test_the_loop_is_one_native_function():
    """What makes a step cost its arithmetic; a scatter or a LAPACK call inside the loop would undo it."""
    solve = jax.jit(lambda ts: rosenbrock.solve(linear, 0.0, [1.0, 1.0, 1.0], ts, rtol=1e-6, atol=1e-6)[0])
    text = solve.lower(jnp.array([1.0, 2.0])).compile().as_text()
    if jax.default_backend() != "cpu":
        pytest.skip("a property of the CPU backend")
    assert 'xla_cpu_small_call="true"' in text


def test_the_factors_solve_their_matrix():
    rng = np.random.default_rng(0)
    pattern = structure(linear, 3)
    assert set(pattern.entries) == {(0, 0), (0, 1), (1, 1), (1, 2), (2, 2)}
    entries = [jnp.asarray(STIFF[entry]) for entry in pattern.entries]
    b = rng.normal(size=3)
    shift = jnp.asarray(2.5)
    x = substitute(pattern, factorize(pattern, shift, entries), shift, entries, list(map(jnp.asarray, b)))
    np.testing.assert_allclose((2.5 * np.eye(3) - STIFF) @ np.array(x), b, rtol=1e-12, atol=1e-12)


def explode_initial(p, inputs):
    return {"x": jnp.ones(())}


def explode_rhs(t, y, p, inputs):
    return {"x": p["k"] * y["x"] ** 2}


def observe(y, p):
    return {"x": y["x"]}


@pytest.mark.parametrize("method", ["explicit", "implicit"])
def test_blow_up_is_a_code_with_advice_and_leaves_the_other_lanes(method):
    space = uq.Space(k=uq.epistemic(uq.LogNormal(0.0, 1.0)))
    model = uq.Model(space, uq.Ode(explode_initial, explode_rhs, method=method), observe, {"x": ""})
    run = uq.evaluate_many(model, {"k": jnp.array([0.1, 3.0, jnp.nan])}, uq.Design([0.5, 1.0]))
    codes = np.asarray(run.result)
    assert codes[0] == 0
    assert np.all(codes[1:] != 0)
    np.testing.assert_allclose(run.outputs["x"][0], 1 / (1 - 0.1 * np.array([0.5, 1.0])), rtol=1e-7)
    assert all("." in odes.RESULTS[int(code)] for code in codes[1:])


def test_reverse_mode_agrees_with_forward_mode():
    from forward_models.receptor_tf import model

    theta = model.space.nominal()

    def y(eps, mode):
        return uq.evaluate(model, {**theta, "eps": eps}, uq.Design([5.0]), mode=mode).outputs["y"][0]

    forward = jax.jacfwd(lambda e: y(e, "forward"))(jnp.asarray(1e-2))
    reverse = jax.grad(lambda e: y(e, "reverse"))(jnp.asarray(1e-2))
    assert float(forward) == pytest.approx(float(reverse), rel=1e-5)
