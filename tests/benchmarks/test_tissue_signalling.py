"""A coupled tissue: its cost against one stiff solver for all parts, that of gradients, and how both grow.

Times are of the processor, and the fastest of several after the first; models are compared for an hour of the tissue.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp
from scipy.sparse import csr_matrix

import uqbench as uq
from forward_models.tissue_signalling import signalling
from uqbench.coupling.joint import Joint

from .test_coupling import fastest

pytestmark = pytest.mark.bench

HOUR = uq.Design([60.0])
MOVED = ("Kx", "Ky", "eps", "k_int", "b_half", "k_tx", "k_sec", "k_deg", "P_w", "cv")


def costs(grid: int, cells: int) -> tuple[float, float]:
    """Of a run, and of the gradient of the mean concentration by ten parameters in reverse mode."""
    model = signalling(grid, cells, chance="mean")
    theta = model.space.nominal()
    assert set(MOVED) == set(model.space.free)

    def mean(moved):
        return uq.evaluate(model, {**theta, **moved}, HOUR, mode="reverse").outputs["c_mean"][0]

    gradient = jax.jit(jax.grad(mean))
    moved = {name: theta[name] for name in MOVED}
    assert all(np.isfinite(each) for each in gradient(moved).values())
    return fastest(lambda: uq.evaluate(model, theta, HOUR).outputs, 10), fastest(lambda: gradient(moved), 10)


def test_a_gradient_in_values_and_their_growth():
    print("\nvoxels  cells  value s  gradient s  in values")
    ratios = {}
    for grid, cells in ((16, 100), (32, 100), (64, 100), (64, 10), (64, 1000)):
        value, gradient = costs(grid, cells)
        ratios[grid, cells] = gradient / value
        print(f"{grid**2:6d}  {cells:5d}  {value:7.3f}  {gradient:10.3f}  {gradient / value:9.1f}")
    assert ratios[64, 100] < 5


def test_against_one_stiff_solver():
    """Backward differentiation with sparse matrices (SciPy) for all parts as one system."""
    model = signalling(64, 100, chance="mean")
    theta = model.space.nominal()
    joint = Joint(model.system.parts, model.system.exchanges, None, {})
    everything = joint.initial(theta, {})
    # what has crossed and been supplied would fill the matrices
    start, unravel = ravel_pytree({name: everything[name] for name in ("g", "m", "L", "b", "c", "v")})

    @jax.jit
    def rates(t, y):
        states = unravel(y)
        found = joint.rhs(t, {**everything, **states}, theta, {})
        return ravel_pytree({name: found[name] for name in states})[0]

    somewhere = jnp.asarray(np.random.default_rng(0).uniform(0.5, 1.5, len(start)))
    pattern = csr_matrix(np.asarray(jax.jacfwd(rates, argnums=1)(1.0, somewhere)) != 0)

    def by_bdf(rtol):
        settings = {"method": "BDF", "jac_sparsity": pattern, "rtol": rtol, "atol": 1e-9}
        found = solve_ivp(lambda t, y: np.asarray(rates(t, y)), (0.0, 60.0), start, **settings)
        assert found.success
        return float(np.mean(unravel(jnp.asarray(found.y[:, -1]))["c"]))

    def by_parts():
        return uq.evaluate(model, theta, HOUR).outputs["c_mean"]

    exact = by_bdf(1e-8)
    errors = [abs(value / exact - 1) for value in (float(by_parts()[0]), by_bdf(1e-2))]
    ours, theirs = fastest(by_parts), fastest(lambda: by_bdf(1e-2), repeats=1)
    print(f"\n64^2 voxels, 100 cells: parts {ours:.3f} s, error {errors[0]:.1e}; BDF {theirs:.2f} s, {errors[1]:.1e}")
    assert ours < theirs
