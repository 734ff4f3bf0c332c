"""Calls kernels through ctypes, and what JAX says they should give."""

import ctypes

import jax
import jax.numpy as jnp
import numpy as np

from uqbench.kernels import ModelKernels, Sources, build

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


class Case:
    """A model at one point: kernels on the one side, JAX functions of flat arrays on the other."""

    def __init__(self, sources: Sources, q: dict, y, t: float, active=None, chunk: int = 400):
        self.sources, self.t = sources, float(t)
        self.q = {name: np.asarray(q[name], float) for name in sources.q_shapes}
        self.y = np.array([y[name] for name in sources.states], float)
        if active is None:
            active = [(name, k) for name, value in self.q.items() for k in range(value.size)]
        self.active = tuple(active)
        self.kernels = build(sources, self.active, chunk)
        self.n, self.p = len(self.y), len(self.active)
        flat = np.concatenate([value.ravel() for value in self.q.values()]) if self.q else np.zeros(0)
        rng = np.random.default_rng(3)
        self.u, self.ut = rng.normal(size=self.n), rng.normal()
        modes = np.full(self.kernels.conditions, np.nan)
        self.x = np.concatenate([[self.t], self.y, flat, modes, self.u, [self.ut]])
        if self.kernels.conditions:
            first = 1 + self.n + len(flat)
            self.x[first : first + self.kernels.conditions] = call(
                self.kernels, "modes", self.x, self.kernels.conditions
            )

    def call(self, name: str, size: int) -> np.ndarray:
        return call(self.kernels, name, self.x, size)

    def jax(self, function):
        """`function(t, y, q)` as a function of time, states `(n,)` and active entries `(p,)`, returning one row."""

        def flat(t, y, theta):
            q = {name: jnp.asarray(value) for name, value in self.q.items()}
            for k, (name, index) in enumerate(self.active):
                q[name] = jnp.ravel(q[name]).at[index].set(theta[k]).reshape(q[name].shape)
            out = function(t, dict(zip(self.sources.states, y, strict=True)), q)
            return jnp.concatenate([jnp.ravel(value) for value in out]) if out else jnp.zeros(0)

        return flat

    def point(self):
        theta = np.array([self.q[name].ravel()[index] for name, index in self.active])
        return jnp.asarray(self.t), jnp.asarray(self.y), jnp.asarray(theta)

    def rate(self):
        return self.jax(lambda t, y, q: [self.sources.rate(t, y, q)[name] for name in self.sources.states])

    def dense(self, label: str, values: np.ndarray, shape: tuple[int, int], shift: int = 0) -> np.ndarray:
        out = np.zeros(shape)
        rows = getattr(self.kernels, f"{label}_rows")
        columns = getattr(self.kernels, f"{label}_columns") - shift
        assert len(rows) == len(values) == len(set(zip(rows.tolist(), columns.tolist(), strict=True)))
        out[rows, columns] = values
        return out

    def count(self, label: str) -> int:
        return len(getattr(self.kernels, f"{label}_rows"))


def columns(function, t, y, theta) -> np.ndarray:
    """d function / d(states, active entries)."""
    by_y, by_theta = jax.jacfwd(function, argnums=(1, 2))(t, y, theta)
    return np.concatenate([by_y, by_theta], axis=-1)


def check_rates(case: Case, rtol: float = 1e-10) -> None:
    """Every kernel of the right-hand side against JAX."""
    n, p, kernels = case.n, case.p, case.kernels
    f, point = case.rate(), case.point()
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * max(1.0, np.max(np.abs(b), initial=0)))
    expected = np.asarray(f(*point))
    close(case.call("rate", n), expected)
    by_t = np.asarray(jax.jacfwd(f)(*point))
    slopes = columns(f, *point)
    nnz = case.count("jacobian")
    out = case.call("linearise", n + nnz + (n if kernels.uses_time else 0))
    close(out[:n], expected)
    close(case.dense("jacobian", out[n : n + nnz], (n, n)), slopes[:, :n])
    close(out[n + nnz :] if kernels.uses_time else np.zeros(n), by_t)
    pairs = list(zip(kernels.jacobian_rows.tolist(), kernels.jacobian_columns.tolist(), strict=True))
    assert pairs == sorted(pairs)
    sizes = case.call("rounding", n)
    assert np.all(sizes >= np.abs(expected) * (1 - 1e-12))
    if not p:
        assert kernels.variation == kernels.curvature == 0
        return
    out = case.call("variation", nnz + case.count("forcing"))
    close(case.dense("jacobian", out[:nnz], (n, n)), slopes[:, :n])
    close(case.dense("forcing", out[nnz:], (n, p)), slopes[:, n:])
    ut = case.ut if kernels.uses_time else 0.0

    def along(t, y, theta):
        zero = jnp.zeros_like(theta)
        return jax.jvp(f, (t, y, theta), (jnp.asarray(ut), jnp.asarray(case.u), zero))[1]

    if kernels.curvature:
        out = case.call("curvature", case.count("curvature"))
    else:
        out = np.zeros(0)
    close(case.dense("curvature", out, (n, n + p)), columns(along, *point))


def check_outputs(case: Case, label: str, function, size: int, time_first: bool, rtol: float = 1e-10) -> None:
    """A kernel of outputs and its variation against JAX; `function(t, y, q)` lists arrays."""
    flat, point = case.jax(function), case.point()
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
    close(case.call(label, size), flat(*point))
    if not case.p:
        return
    out = case.call(f"{label}_variation", case.count(label) + size)
    by_time, values = (out[:size], out[size:]) if time_first else (out[-size:], out[:-size])
    close(by_time, jax.jacfwd(flat)(*point))
    close(case.dense(label, values, (size, case.n + case.p)), columns(flat, *point))
