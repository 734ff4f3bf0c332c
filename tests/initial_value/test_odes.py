import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import uqbench as uq
from uqbench.initial_value import odes
from uqbench.solvers import rosenbrock, stepping, tsitouras
from uqbench.solvers.dense_inverse import DenseInverse
from uqbench.solvers.sparse_lu import structure

ROBERTSON = (0.04, 1e4, 3e7)
# eigenvalues -1e4, -10, -0.1, not normal
STIFF = np.array([[-1e4, 50.0, 0.0], [0.0, -10.0, 3.0], [0.0, 0.0, -0.1]])


def robertson(k):
    def rhs(t, y):
        a, b, c = k[0] * y[0], k[1] * y[1] * y[2], k[2] * y[1] * y[1]
        return [b - a, a - b - c, c]

    return rhs


def solve(rhs, y0, times, tolerances, linear=None):
    """States `(n, d)`, code and steps of Rodas5P on plain scalars."""
    method = rosenbrock.rodas5p(linear or structure(rhs, len(y0)))
    start = [jnp.asarray(value) for value in y0]
    rtol, atol = tolerances
    problem = stepping.Problem(rhs, jnp.zeros(()), start, jnp.asarray(times), None, None, rtol, [atol] * len(start))
    carry = stepping.integrate(method, problem, 4096)
    return jnp.stack(carry["rows"], axis=1), carry["code"], carry["steps"]


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


@pytest.mark.parametrize("method", ["rodas5p", "rodas5p, dense", "tsitouras"])
def test_order_five_and_dense_output_on_a_nonlinear_system_that_depends_on_time(method):
    def rhs(t, y):
        return [-y[0] * y[0] + jnp.cos(t), y[0] - y[1]]

    exact = solve_ivp(lambda t, y: [-y[0] ** 2 + np.cos(t), y[0] - y[1]], (0, 2), [1.0, 0.5], rtol=1e-13, atol=1e-14,
                      method="DOP853", dense_output=True).sol  # fmt: skip
    stepper = {
        "rodas5p": rosenbrock.rodas5p(structure(rhs, 2)),
        "rodas5p, dense": rosenbrock.rodas5p(DenseInverse(2, True)),
        "tsitouras": odes.EXPLICIT,
    }[method]

    @jax.jit
    def one(t, h, y):
        new, _, stages = stepper.step(rhs, t, h, y)
        coefficients = stepper.dense(h, stages)
        middle = [stepper.interpolate(0.4, a, b, c) for a, b, c in zip(y, new, coefficients, strict=True)]
        return new, middle

    def errors(n):
        h, y, between = 2.0 / n, [jnp.asarray(1.0), jnp.asarray(0.5)], 0.0
        for k in range(n):
            y, middle = one(k * h, h, y)
            between = max(between, np.abs(np.array(middle) - exact((k + 0.4) * h)).max())
        return np.array([np.abs(np.array(y) - exact(2.0)).max(), between])

    order = np.log2(errors(16) / errors(32))
    assert 4.7 < order[0] < 6.5
    assert 3.7 < order[1] < 5.5


def test_the_explicit_pair_is_consistent():
    """The interpolant ends at the weights of the solution; the error weights belong to a lower order."""
    rows = np.array([*(np.pad(row, (0, 7 - len(row))) for row in tsitouras.A)])
    np.testing.assert_allclose(rows.sum(axis=1), tsitouras.NODES, atol=1e-14)
    np.testing.assert_allclose(np.sum(tsitouras.DENSE, axis=0), rows[-1], atol=1e-13)
    powers = np.array([np.array(tsitouras.NODES) ** k for k in range(5)])
    np.testing.assert_allclose(powers @ rows[-1], 1 / np.arange(1, 6), atol=1e-14)
    np.testing.assert_allclose((powers @ tsitouras.ERROR)[:4], 0.0, atol=1e-13)
    assert abs((powers @ tsitouras.ERROR)[4]) > 1e-5


@pytest.mark.parametrize("tolerance", [1e-4, 1e-6, 1e-8])
def test_stiff_linear_follows_the_matrix_exponential(tolerance):
    times = np.array([0.0, 1e-3, 1.0, 1.0, 50.0])
    rows, code, steps = jax.jit(lambda ts: solve(linear, [1.0] * 3, ts, (tolerance, tolerance)))(times)
    exact = np.stack([expm(STIFF * t) @ np.ones(3) for t in times])
    assert int(code) == 0
    assert np.abs(np.asarray(rows) - exact).max() < 10 * tolerance
    assert int(steps) < 400


def test_robertson_agrees_with_radau_over_eleven_decades():
    times = np.array([0.4, 4e3, 4e7, 1e11])
    rows, code, _ = jax.jit(lambda ts: solve(robertson(ROBERTSON), [1.0, 0.0, 0.0], ts, (1e-8, 1e-14)))(times)
    exact = solve_ivp(lambda t, y: robertson(ROBERTSON)(t, y), (0, 1e11), [1.0, 0, 0], "Radau", times,
                      rtol=1e-11, atol=1e-18).y.T  # fmt: skip
    assert int(code) == 0
    np.testing.assert_allclose(rows, exact, rtol=1e-6, atol=1e-14)
    assert np.asarray(rows).sum(axis=1) == pytest.approx(1.0, abs=1e-10)


def test_sensitivities_agree_with_central_differences():
    def last(k):
        return solve(robertson(k), [1.0, 0.0, 0.0], [40.0], (1e-11, 1e-15))[0][0]

    k = jnp.array(ROBERTSON)
    forward = jax.jit(jax.jacfwd(last))(k)
    for index in range(3):
        step = 1e-4 * k[index]
        numeric = (last(k.at[index].add(step)) - last(k.at[index].add(-step))) / (2 * step)
        np.testing.assert_allclose(forward[:, index], numeric, rtol=1e-5, atol=1e-5 * np.abs(numeric).max())


def primitives(jaxpr):
    """Names of all operations of a traced function, those of inner functions too."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for leaf in jax.tree.leaves(equation.params, is_leaf=lambda leaf: hasattr(leaf, "jaxpr")):
            inner = getattr(leaf, "jaxpr", leaf)
            if hasattr(inner, "eqns"):
                yield from primitives(inner)


def test_a_step_is_arithmetic_of_scalars():
    """What makes a step cost its arithmetic: no scatter, no matrix product, no LAPACK call, no call of Python."""
    traced = jax.make_jaxpr(lambda ts: solve(linear, [1.0] * 3, ts, (1e-6, 1e-6))[0])(jnp.array([1.0, 2.0]))
    found = set(primitives(traced.jaxpr))
    assert {"while", "mul", "div"} <= found
    slow = ("scatter", "gather", "dynamic", "dot_general", "lu", "triangular_solve", "sort", "ffi_call", "callback")
    assert not {name for name in found if name.startswith(slow) or name.endswith(slow)}


@pytest.mark.parametrize("dense", [False, True])
def test_the_factors_solve_their_matrix_and_its_derivative(dense):
    rng = np.random.default_rng(0)
    pattern = structure(linear, 3)
    assert set(pattern.entries) == {(0, 0), (0, 1), (1, 1), (1, 2), (2, 2)}
    solver = DenseInverse(3, False) if dense else pattern
    b = [jnp.asarray(value) for value in rng.normal(size=3)]

    def x(shift):
        jacobian = solver.jacobian(linear, 0.0, [jnp.ones(())] * 3)
        factors = jax.lax.stop_gradient(solver.factorize(shift, jacobian))
        return jnp.stack(solver.substitute(factors, shift, jacobian, b))

    matrix = 2.5 * np.eye(3) - STIFF
    value, change = jax.jvp(x, (jnp.asarray(2.5),), (jnp.ones(()),))
    np.testing.assert_allclose(matrix @ value, np.array(b), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(matrix @ change, -np.array(value), rtol=1e-12, atol=1e-12)


def explode_initial(p, inputs):
    return {"x": jnp.ones(())}


def explode_rhs(t, y, p, inputs):
    return {"x": p["k"] * y["x"] ** 2}


def observe(y, p):
    return {"x": y["x"]}


@pytest.mark.parametrize("method", ["explicit", "implicit"])
def test_blow_up_is_a_code_with_advice_and_leaves_the_other_members(method):
    space = uq.Space(k=uq.epistemic(uq.LogNormal(0.0, 1.0)))
    model = uq.Model(space, uq.Ode(explode_initial, explode_rhs, method=method), observe, {"x": ""})
    run = uq.evaluate_many(model, {"k": jnp.array([0.1, 3.0, jnp.nan])}, uq.Design([0.5, 1.0]))
    codes = np.asarray(run.result)
    assert codes[0] == 0
    assert np.all(codes[1:] != 0)
    np.testing.assert_allclose(run.outputs["x"][0], 1 / (1 - 0.1 * np.array([0.5, 1.0])), rtol=1e-7)
    assert all("." in uq.RESULTS[int(code)] for code in codes[1:])


@pytest.mark.parametrize("eps", [1e-2, 1e-5])
def test_reverse_mode_is_the_gradient_of_the_same_steps(eps):
    from forward_models.receptor_tf import model

    theta = model.space.nominal() | {"eps": jnp.asarray(eps)}

    def y(theta, mode):
        return jnp.sum(uq.evaluate(model, theta, uq.Design([1.0, 5.0]), mode=mode).outputs["y"])

    forward = jax.jacfwd(lambda theta: y(theta, "forward"))(theta)
    reverse = jax.grad(lambda theta: y(theta, "reverse"))(theta)
    for name in theta:
        np.testing.assert_allclose(reverse[name], forward[name], rtol=1e-9, atol=1e-14)


@pytest.mark.slow
def test_second_derivatives_agree_with_differences_of_first():
    def last(k):
        return solve(robertson(k * jnp.array(ROBERTSON)), [1.0, 0.0, 0.0], [40.0], (1e-11, 1e-15))[0][0, 0]

    ones, step = jnp.ones(3), 1e-4
    gradient = jax.jit(jax.jacfwd(last))
    hessian = jax.jit(jax.jacfwd(jax.jacfwd(last)))(ones)
    for index in range(3):
        numeric = (gradient(ones.at[index].add(step)) - gradient(ones.at[index].add(-step))) / (2 * step)
        np.testing.assert_allclose(hessian[index], numeric, rtol=1e-5, atol=1e-7)


def test_a_batch_is_its_members_and_the_failing_ones_say_why():
    """More members than step together, of every kind, in an order that mixes them."""
    space = uq.Space(k=uq.epistemic(uq.LogNormal(0.0, 1.0)))
    model = uq.Model(space, uq.Ode(explode_initial, explode_rhs, method="implicit"), observe, {"x": ""})
    k = np.where(np.arange(150) % 7 == 3, 3.0, 0.2 + 0.001 * np.arange(150))
    k[::31] = np.nan
    run = uq.evaluate_many(model, {"k": k}, uq.Design([0.5, 1.0]))
    fine = np.isfinite(k) & (k < 1)
    np.testing.assert_array_equal(np.asarray(run.result) == 0, fine)
    exact = 1 / (1 - k[fine, None] * np.array([0.5, 1.0]))
    np.testing.assert_allclose(np.asarray(run.outputs["x"])[fine], exact, rtol=1e-6)
    assert np.all(np.isnan(np.asarray(run.outputs["x"])[~fine]))
    one = uq.evaluate(model, {"k": k[1]}, uq.Design([0.5, 1.0]))
    np.testing.assert_allclose(one.outputs["x"], run.outputs["x"][1], rtol=1e-13)
    assert int(one.steps) == int(run.steps[1])


def nowhere(p, inputs):
    return {"x": jnp.log(p["k"])}


def test_an_initial_state_that_is_not_finite_has_its_own_code():
    space = uq.Space(k=uq.epistemic(uq.LogNormal(0.0, 1.0)))
    model = uq.Model(space, uq.Ode(nowhere, explode_rhs), observe, {"x": ""})
    run = uq.evaluate_many(model, {"k": jnp.array([1.0, -1.0])}, uq.Design([0.1]))
    assert np.asarray(run.result).tolist() == [0, uq.Result.BAD_START]
    assert "initial" in uq.RESULTS[uq.Result.BAD_START]


@pytest.mark.slow
def test_kept_sensitivities_are_the_same_derivative_in_both_directions():
    from forward_models.receptor_tf import model

    theta = model.space.nominal() | {"eps": jnp.asarray(1e-3)}
    design = uq.Design([1.0, 5.0])

    def y(theta, mode):
        return uq.evaluate(model, theta, design, mode=mode).outputs["y"]

    plain = jax.jacfwd(lambda theta: y(theta, "value"))(theta)
    for transform in (jax.jacfwd, jax.jacrev):
        kept = transform(lambda theta: y(theta, "forward"))(theta)
        for name in theta:
            np.testing.assert_allclose(kept[name], plain[name], rtol=1e-9, atol=1e-13)
    second = jax.hessian(lambda d: jnp.sum(y(theta | {"delta": d}, "forward")))(theta["delta"])
    slope = jax.jacfwd(lambda d: jnp.sum(y(theta | {"delta": d}, "value")))
    step = 1e-4
    numeric = (slope(theta["delta"] + step) - slope(theta["delta"] - step)) / (2 * step)
    assert float(second) == pytest.approx(float(numeric), rel=1e-5)
