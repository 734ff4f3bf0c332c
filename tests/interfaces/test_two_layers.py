"""Two layers over time: what is conserved, what a bias or an interpolated exchange makes, orders and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import uqbench as uq
from uqbench.interfaces import Ending, Exchange, Layer, TwoLayers, spurious_drift

from .differences import relative_errors

LAYERS = TwoLayers(Layer(0.0, 1.0, 20), Layer(1.0, 2.5, 33))
GIVEN = {
    "diffusivity": (1.0, 0.3),
    "partition": 2.5,
    "permeability": 0.8,
    "start": (1.0, 0.2),
    "decay": (0.1, 0.1),
    "source": (0.1, 0.02),
    "transfer": (0.5, 0.2),
    "outside": (1.0, 0.1),
}
CLOSED = {**GIVEN, "transfer": (0.0, 0.0), "source": (0.0, 0.0)}


def test_balance_closes_over_ten_thousand_steps():
    run = LAYERS.run(np.linspace(0.1, 10.0, 100), steps=100, **GIVEN)
    content = np.sum(run.content, axis=1)
    assert np.max(np.abs(run.leak) / content) < 1e-12
    assert np.max(np.abs(run.residual) / content) < 1e-12
    # not for want of traffic: more than the content flowed in or was produced, .13 in a unit of time
    assert 0.1 * np.sum(run.inflow) + 0.13 * 10.0 > content[-1]
    np.testing.assert_array_equal(run.leaving, run.entering)


@settings(max_examples=20)
@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_balance_closes_whatever_the_interface(D, K, P, step):
    run = LAYERS.run(
        [step, 3 * step], steps=5, **(GIVEN | {"diffusivity": (D, 1.0), "partition": K, "permeability": P})
    )
    exchanged = np.sum(run.content) + np.max(np.abs(run.inflow)) * step + np.max(np.abs(run.outflow)) * step
    assert np.max(np.abs(run.leak)) < 1e-12 * exchanged


def test_a_spurious_flux_drifts_as_its_closed_form():
    """SYSTEMS.md, section D: bias .05, decay .1, t = 10."""
    assert float(spurious_drift(0.05, 0.1, 10.0)) == pytest.approx(0.3160602794, abs=5e-11)
    assert float(spurious_drift(0.05, 0.1, np.inf)) == 0.5
    plain, biased = (LAYERS.run([10.0, 400.0], steps=5000, bias=bias, **CLOSED) for bias in (0.0, 0.05))
    drift = np.sum(biased.content - plain.content, axis=1)
    np.testing.assert_allclose(drift[0], 0.3160602794, atol=1e-8)
    np.testing.assert_allclose(drift[1], 0.5, atol=1e-10)
    np.testing.assert_allclose(biased.residual, 0.05, rtol=1e-10)


def test_state_jumps_in_equilibrium_and_nothing_is_lost():
    """Continuity of the state is not necessary: K = 2.5 and no loss."""
    run = LAYERS.run([1000.0], steps=100, **(CLOSED | {"decay": (0.0, 0.0)}))
    np.testing.assert_allclose(run.first[-1], 2.5 * run.second[-1, 0], rtol=1e-10)
    assert np.sum(run.content) == pytest.approx(1.0 + 0.2 * 1.5, rel=1e-13)


@pytest.mark.parametrize("D, lost", [((1.0, 0.3), (-0.7, -0.4)), ((1.0, 1.0), (1e-3, 3e-3))])
def test_interpolation_is_continuous_and_leaks(D, lost):
    """Continuity of the state is not sufficient: finer grids make it better, but not the leak of unlike layers."""
    given, leaks, jumps = CLOSED | {"diffusivity": D, "partition": 1.0, "permeability": np.inf}, [], []
    for finer in (1, 2, 4):
        layers = TwoLayers(Layer(0.0, 1.0, 20 * finer), Layer(1.0, 2.5, 33 * finer), Exchange.INTERPOLATED)
        run = layers.run([2.0], steps=200, **given)
        content = np.sum(run.content)
        leaks.append(float(run.leak[0]) / content)
        jumps.append(abs(float(run.first[0, -1] - run.second[0, 0])))
    assert lost[0] < leaks[0] < lost[1]
    np.testing.assert_allclose(np.log2(jumps[0] / np.array(jumps[1:])), [1, 2], atol=0.05)
    if D[0] == D[1]:
        np.testing.assert_allclose(np.log2(leaks[0] / np.array(leaks[1:])), [1, 2], atol=0.05)
    else:
        np.testing.assert_allclose(leaks, leaks[0], rtol=0.01)


def test_steady_flux_is_that_of_resistances_in_series():
    given = {**GIVEN, "decay": (0.0, 0.0), "source": (0.0, 0.0)}
    run = LAYERS.run([2000.0], steps=100, **given)
    K, P, (D1, D2), (a1, a2), (c1, c2) = 2.5, 0.8, GIVEN["diffusivity"], GIVEN["transfer"], GIVEN["outside"]
    expected = (c1 - K * c2) / (1 / a1 + 1.0 / D1 + 1 / P + K * 1.5 / D2 + K / a2)
    np.testing.assert_allclose([run.inflow, run.leaving, run.outflow], expected, rtol=1e-9)


def test_order_in_time_is_two():
    exact = LAYERS.run([1.0], steps=1000, **GIVEN).content
    coarse, fine = (np.max(np.abs(LAYERS.run([1.0], steps=n, **GIVEN).content - exact)) for n in (20, 40))
    assert np.log2(coarse / fine) == pytest.approx(2.0, abs=0.15)


def test_order_in_space_is_two():
    """A mode that decays in both layers: c_i = a_i cos(w_i (x - end_i)) e^(-t), with flux and K at the interface."""
    D1, w1, w2, K = 1.0, 1.0, 2.0, 2.5
    D2 = D1 * w1**2 / w2**2
    # the outer ends are closed; a1 cos w1 = K a2 cos(w2 L2) and D1 w1 a1 sin w1 = -D2 w2 a2 sin(w2 L2) fix L2 and a2
    L2 = (np.pi - np.arctan(K * D1 * w1 / (D2 * w2) * np.tan(w1))) / w2
    a2 = np.cos(w1) / (K * np.cos(w2 * L2))
    errors = []
    for n in (8, 16, 32):
        layers = TwoLayers(Layer(0.0, 1.0, n), Layer(1.0, 1.0 + L2, 3 * n // 2))
        shapes = np.cos(w1 * layers.first.middles), a2 * np.cos(w2 * (layers.second.middles - 1.0 - L2))
        run = layers.run([1.0], diffusivity=(D1, D2), partition=K, start=shapes, steps=2000)
        decay = np.exp(-D1 * w1**2)
        errors.append(
            np.sqrt(
                np.mean((run.first[0] - decay * shapes[0]) ** 2) + np.mean((run.second[0] - decay * shapes[1]) ** 2)
            )
        )
    np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 2.0, atol=0.1)


@pytest.mark.slow
def test_derivatives():
    def crossed(p):
        run = LAYERS.run(
            jnp.array([0.5, 2.0]),
            diffusivity=(p["D1"], p["D2"]),
            partition=p["K"],
            permeability=p["P"],
            decay=(p["k"], 0.1),
            start=(p["c0"], 0.0),
            bias=p["bias"],
            transfer=(p["a"], 0.2),
            steps=20,
        )
        return jnp.sum(run.content[:, 1]) + run.leaving[1] + run.leak[0]

    at = {"D1": 1.0, "D2": 0.3, "K": 2.5, "P": 0.8, "k": 0.1, "c0": 1.0, "bias": 0.05, "a": 0.5}
    assert max(relative_errors(crossed, at).values()) < 1e-6


@pytest.mark.parametrize("wrong", [{"partition": -1.0}, {"permeability": 0.0}, {"diffusivity": (1.0, -1.0)}])
def test_traced_numbers_that_cannot_be_have_a_code(wrong):
    numbers = {"diffusivity": (1.0, 0.3), "partition": 2.5, "permeability": 0.8} | wrong
    run = jax.jit(lambda numbers: LAYERS.run([1.0], steps=2, start=(1.0, 0.0), **numbers))(numbers)
    assert int(run.result) == Ending.BAD_COEFFICIENT
    assert np.all(np.isnan(run.content))


def test_what_is_known_beforehand_is_refused_with_every_finding():
    with pytest.raises(uq.InputError) as caught:
        LAYERS.run([1.0, 0.5], diffusivity=(-1.0, 0.3), partition=0.0, decay=(0.1, -0.1), steps=0)
    found = caught.value.findings
    assert len(found) == 5
    for part in ("steps", "partition", "diffusivity of the first side", "decay of the second side", "a step of time"):
        assert any(part in finding for finding in found)


def test_layers_have_to_touch_in_one_unit():
    with pytest.raises(uq.InputError) as caught:
        TwoLayers(Layer(0.0, 1.0, 4, "mm"), Layer(1.5, 2.0, 4, "um"), "glued")
    gap, unit, exchange = caught.value.findings
    assert "do not touch" in gap and "0.5" in gap
    assert "'mm' and in 'um'" in unit
    assert "'glued'" in exchange
    with pytest.raises(uq.InputError, match=r"overlap by 0\.5"):
        TwoLayers(Layer(0.0, 1.0, 4), Layer(0.5, 2.0, 4))
    with pytest.raises(uq.InputError) as caught:
        Layer(1.0, 0.0, 0, "furlong2x")
    assert len(caught.value.findings) == 3
