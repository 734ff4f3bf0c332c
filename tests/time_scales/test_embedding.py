"""Embeddings: against the full system, bounds of what is left out, and the orders of the reductions beside them."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import uqbench as uq
from uqbench.initial_value import odes
from uqbench.time_scales.memory import compare, embedding, embedding_error, memory_kernel

from .linear_systems import CHAIN, CHAIN_AT, CHAIN_FAST, DRIVE, TWO, TWO_AT, affine_of, random_kernel, slow_part

DESIGN = uq.Design([0.0, 0.3, 1.0, 2.5, 6.0])


@pytest.mark.parametrize("seed", range(6))
def test_the_embedding_is_the_full_system(seed):
    kernel = random_kernel(seed)
    times, system = np.linspace(0.0, 6.0, 13), embedding(kernel)
    assert [*system.initial({}, {})] == ["y1", "y2", "z1", "z2", "z3", "z4"]
    embedded = slow_part(kernel, affine_of(system, kernel.slow), times)
    np.testing.assert_allclose(embedded, slow_part(kernel, kernel.full(), times), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "kernel", [random_kernel(1), memory_kernel(CHAIN, CHAIN_FAST, CHAIN_AT, {})], ids=["modes", "chain"]
)
def test_the_embedding_solves_like_any_other_system(kernel):
    system = pickle.loads(pickle.dumps(embedding(kernel)))
    found = jax.jit(lambda: odes.solve(system, {}, DESIGN, method="implicit"))()
    assert int(found.result) == 0
    full = slow_part(kernel, kernel.full(), DESIGN.times)
    np.testing.assert_allclose(np.stack([found.states[name] for name in kernel.slow], axis=1), full, rtol=0, atol=1e-10)


def test_without_modes_the_embedding_is_the_memoryless_system():
    kernel = random_kernel(4)
    affine, plain = affine_of(embedding(kernel, 0), kernel.slow), kernel.quasi_steady()
    np.testing.assert_allclose(affine.matrix, kernel.memoryless, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(affine.source, plain.source, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_the_bound_of_what_is_left_out_holds(seed):
    kernel, times = random_kernel(seed), np.linspace(0.0, 6.0, 513)
    full = slow_part(kernel, kernel.full(), times)
    counts = np.cumsum([0] + [block.size for block in kernel.blocks])
    for modes in counts.tolist():
        error = np.abs(slow_part(kernel, affine_of(embedding(kernel, modes), kernel.slow), times) - full).max()
        found = embedding_error(kernel, modes, 6.0)
        assert error <= 1.001 * found.bound + 1e-12
        # and says something: it is 2 to 16 times the error here
        assert found.bound <= 20 * error
        assert found.lag <= sum(block.lag() for block in kernel.blocks[np.searchsorted(counts, modes) :]) * (1 + 1e-6)
    assert (found.weight, found.lag, found.bound) == (0.0, 0.0, 0.0)


def test_the_weight_that_is_left_out_is_the_integral_of_the_kernel():
    """For one exponential b c / d, for the price of its delay b c / d^2."""
    found = embedding_error(memory_kernel(TWO, ["x"], TWO_AT, DRIVE), 0, 4.0)
    assert (found.weight, found.lag) == (pytest.approx(3.0 / 8, rel=1e-6), pytest.approx(3.0 / 64, rel=1e-6))


def test_a_pair_is_not_cut():
    kernel = next(kernel for kernel in map(random_kernel, range(6)) if kernel.blocks[0].size == 2)
    with pytest.raises(uq.InputError, match=r"1 auxiliary states cannot be kept: complex pairs.*possible are 0, 2"):
        embedding(kernel, 1)


@pytest.mark.parametrize("end", [-1.0, 0.0, np.inf, np.nan, [1.0, 2.0], "1"])
def test_a_bound_needs_an_end(end):
    with pytest.raises(uq.InputError, match=r"the end is .*; it must be one positive, finite time"):
        embedding_error(memory_kernel(TWO, ["x"], TWO_AT, DRIVE), 0, end)


def test_auxiliary_states_take_names_that_are_free():
    def initial(p, inputs):
        return {"z1": jnp.ones(()), "x": jnp.ones(())}

    def rhs(t, y, p, inputs):
        return {"z1": -y["z1"] + y["x"], "x": y["z1"] - 9 * y["x"]}

    assert [*embedding(memory_kernel(uq.Ode(initial, rhs), ["x"], {}, {})).initial({}, {})] == ["z1", "zz1"]


# beside the memoryless system -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [memory_kernel(TWO, ["x"], TWO_AT, DRIVE), random_kernel(3)], ids=["two", "random"])
def test_reductions_err_by_their_order_in_eps(kernel):
    found = compare(kernel, uq.Design([1.0, 2.0, 4.0]), eps=(1e-3, 1e-4))
    assert float(found.slope.sel(reduction="memoryless")) == pytest.approx(1.0, abs=0.01)
    assert float(found.slope.sel(reduction="first order")) == pytest.approx(2.0, abs=0.02)
    assert float(np.abs(found.error.sel(reduction="embedded")).max()) < 1e-10
    assert np.isnan(found.slope.sel(reduction="embedded"))
    exact = scipy.linalg.expm(
        np.block(
            [
                [np.asarray(kernel.full().matrix), np.asarray(kernel.full().source)[:, None]],
                [np.zeros((1, len(kernel.full().start) + 1))],
            ]
        )
        * 2.0
    )
    exact = (exact @ np.append(kernel.full().start, 1.0))[: len(kernel.slow)]
    np.testing.assert_allclose(found.full.sel(time=2.0), exact, atol=1e-12)


@pytest.mark.slow
def test_a_comparison_needs_times_and_factors():
    kernel = memory_kernel(TWO, ["x"], TWO_AT, DRIVE)
    with pytest.raises(uq.InputError) as error:
        compare(kernel, uq.Design([np.inf]), eps=(0.1,))
    assert "finite" in error.value.findings[0] and "two positive factors" in error.value.findings[1]
