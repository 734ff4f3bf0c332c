"""Calls kernels through ctypes, and what JAX says they should give."""

import ctypes

import jax
import jax.numpy as jnp
import numpy as np

from uqbench.kernels import ModelKernels, Sources, build
from uqbench.native.language import WIDTH

SIGNATURE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


def call(kernels: ModelKernels, name: str, x: np.ndarray, size: int) -> np.ndarray:
    """The first `size` results of a kernel; a value beyond them that was overwritten fails the test."""
    address = getattr(kernels, name)
    assert address != 0, name
    out = np.full(size + 1, np.nan)
    out[size] = 12345.0
    scratch = np.full(kernels.scratch + 1, np.nan)
    SIGNATURE(address)(x.ctypes.data, out.ctypes.data, scratch.ctypes.data)
    assert out[size] == 12345.0
    return out[:size]


class Model:
    """Kernels on the one side, on the other JAX functions of (t, y, theta, q): states `(n,)`, active entries `(p,)`."""

    def __init__(self, sources: Sources, active=None, chunk: int = 400):
        self.sources = sources
        if active is None:
            sizes = {name: int(np.prod(shape, dtype=int)) for name, shape in sources.q_shapes.items()}
            active = [(name, k) for name, size in sizes.items() for k in range(size)]
        self.active = tuple(active)
        self.kernels = build(sources, self.active, chunk)
        self.n, self.p = len(sources.states), len(self.active)
        self.f = self.flat(lambda t, y, q: [sources.rate(t, y, q)[name] for name in sources.states])
        self.known = jax.jit(self._known)

    def _known(self, t, y, theta, q, u, ut):
        def along(t, y, theta, q):
            given = (ut, u, jnp.zeros_like(theta))
            return jax.jvp(lambda *point: self.f(*point, q), (t, y, theta), given)[1]

        point = (t, y, theta, q)
        return self.f(*point), *derivatives(self.f, *point), derivatives(along, *point)[1]

    def flat(self, function):
        """`function(t, y, q)`, a list of arrays, as one row."""

        def flat(t, y, theta, q):
            q = dict(q)
            for k, (name, index) in enumerate(self.active):
                q[name] = jnp.ravel(q[name]).at[index].set(theta[k]).reshape(q[name].shape)
            out = function(t, dict(zip(self.sources.states, y, strict=True)), q)
            return jnp.concatenate([jnp.ravel(jnp.asarray(value, float)) for value in out]) if out else jnp.zeros(0)

        return flat


def derivatives(function, t, y, theta, q):
    """d/dt and d/d(states, active entries)."""
    by_t, by_y, by_theta = jax.jacfwd(function, argnums=(0, 1, 2))(t, y, theta, q)
    return by_t, jnp.concatenate([by_y, by_theta], axis=-1)


class Case:
    """A model at one point.

    Args:
        modes: truth of the conditions; what holds at the point if None.
    """

    def __init__(self, model: Model, q: dict, y: dict, t: float, modes=None):
        sources = model.sources
        self.model, self.kernels, self.n, self.p = model, model.kernels, model.n, model.p
        self.q = {name: np.asarray(q[name], float) for name in sources.q_shapes}
        self.y = np.array([y[name] for name in sources.states], float)
        self.t = float(t)
        parameters = np.concatenate([value.ravel() for value in self.q.values()]) if self.q else np.zeros(0)
        rng = np.random.default_rng(3)
        self.u, self.ut = rng.normal(size=self.n), rng.normal() if self.kernels.uses_time else 0.0
        unknown = np.full(self.kernels.conditions, np.nan)
        self.x = np.concatenate([[self.t], self.y, parameters, unknown, self.u, [self.ut]])
        if self.kernels.conditions:
            first = 1 + self.n + len(parameters)
            modes = self.call("modes", self.kernels.conditions) if modes is None else modes
            self.x[first : first + self.kernels.conditions] = modes

    def point(self):
        theta = np.array([self.q[name].ravel()[index] for name, index in self.model.active])
        return self.t, self.y, theta, self.q

    def call(self, name: str, size: int) -> np.ndarray:
        return call(self.kernels, name, self.x, size)

    def dense(self, label: str, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        out = np.zeros(shape)
        rows, columns = getattr(self.kernels, f"{label}_rows"), getattr(self.kernels, f"{label}_columns")
        assert len(rows) == len(values) == len(set(zip(rows.tolist(), columns.tolist(), strict=True)))
        out[rows, columns] = values
        return out

    def count(self, label: str) -> int:
        return len(getattr(self.kernels, f"{label}_rows"))


def assert_wide_kernels_agree(case: Case) -> None:
    """Wide kernels at several points, one of them without numbers, against the others: to the same bits."""
    kernels = case.kernels
    sizes = {"rate": case.n, "linearise": case.n + case.count("jacobian") + (case.n if kernels.uses_time else 0)}
    sizes["rounding"] = case.n
    addresses, _engines = kernels.compile_wide()
    assert set(addresses) == set(sizes)
    points = np.tile(case.x, (WIDTH, 1))
    rng = np.random.default_rng(4)
    states_and_parameters = slice(1, 1 + case.n + kernels.parameters)
    points[1:, states_and_parameters] *= rng.uniform(0.3, 2.0, points[1:, states_and_parameters].shape)
    points[1:, 0] += rng.uniform(0.0, 3.0, WIDTH - 1)
    points[-1, 1] = np.nan
    for name, size in sizes.items():
        x, out = np.ascontiguousarray(points.T), np.zeros((size, WIDTH))
        scratch = np.full((kernels.scratch + 1, WIDTH), np.nan)
        SIGNATURE(addresses[name])(x.ctypes.data, out.ctypes.data, scratch.ctypes.data)
        for k, point in enumerate(points):
            np.testing.assert_array_equal(out[:, k], call(kernels, name, point.copy(), size))


def close(found, expected, rtol: float = 1e-10) -> None:
    size = np.max(np.abs(expected), initial=1.0)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * size)


def assert_rates_agree(case: Case) -> None:
    """Every kernel of the right-hand side against JAX."""
    assert_wide_kernels_agree(case)
    n, p, kernels = case.n, case.p, case.kernels
    f, by_t, slopes, second = map(np.asarray, case.model.known(*case.point(), case.u, case.ut))
    close(case.call("rate", n), f)
    nnz = case.count("jacobian")
    out = case.call("linearise", n + nnz + (n if kernels.uses_time else 0))
    close(out[:n], f)
    close(case.dense("jacobian", out[n : n + nnz], (n, n)), slopes[:, :n])
    close(out[n + nnz :] if kernels.uses_time else np.zeros(n), by_t)
    pairs = list(zip(kernels.jacobian_rows.tolist(), kernels.jacobian_columns.tolist(), strict=True))
    assert pairs == sorted(pairs)
    assert np.all(case.call("rounding", n) >= np.abs(f) * (1 - 1e-12))
    if not p:
        assert kernels.variation == kernels.curvature == 0
        return
    out = case.call("variation", nnz + case.count("forcing"))
    close(case.dense("jacobian", out[:nnz], (n, n)), slopes[:, :n])
    close(case.dense("forcing", out[nnz:], (n, p)), slopes[:, n:])
    count = case.count("curvature")
    out = case.call("curvature", count) if count else np.zeros(0)
    close(case.dense("curvature", out, (n, n + p)), second)


def assert_outputs_agree(case: Case, label: str, function, size: int, time_first: bool) -> None:
    """A kernel of outputs and its variation against JAX; `function(t, y, q)` lists arrays."""
    flat, point = case.model.flat(function), case.point()
    close(case.call(label, size), flat(*point))
    if not case.p:
        return
    out = case.call(f"{label}_variation", case.count(label) + size)
    by_time, values = (out[:size], out[size:]) if time_first else (out[-size:], out[:-size])
    expected_by_time, slopes = jax.jit(lambda *point: derivatives(flat, *point))(*point)
    close(by_time, expected_by_time)
    close(case.dense(label, values, (size, case.n + case.p)), slopes)
