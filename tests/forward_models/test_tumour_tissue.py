"""Tissue against closed forms of diffusion in a layer, cells against bounds, and what profiles tell of the cells."""

import jax
import numpy as np
import pytest

import uqbench as uq
from forward_models.tumour_tissue import DEPTHS, measured_outputs, model, regular, sample, tissue
from studies.tumour_diffusion import samples, simulated, study
from uqbench.homogenisation import Ending
from uqbench.identifiability import fisher_information

LENGTH, C0 = 200.0, 10.0


def series(depth, time, D, k, terms=400):
    """The concentration by eigenfunctions of the layer (Crank 1975, The Mathematics of Diffusion, chapter 14)."""
    waves = (np.arange(terms) + 0.5) * np.pi / LENGTH
    rates = D * waves**2 + k
    steady = np.cosh((LENGTH - depth) * np.sqrt(k / D)) / np.cosh(LENGTH * np.sqrt(k / D))
    transient = 2 / LENGTH * np.sum(D * waves / rates * np.sin(waves * depth) * np.exp(-rates * time))
    return C0 * (steady - transient)


@pytest.mark.parametrize(("D", "k"), [(80.0, 2e-3), (200.0, 1e-2)])
def test_the_profile_is_that_of_a_layer(D, k):
    times = (30.0, 120.0, 1500.0)
    run = uq.evaluate(tissue, {"D_eff": D, "k_eff": k, "cv": 0.1}, uq.Design(times))
    for name, depth in zip(measured_outputs, DEPTHS, strict=True):
        expected = [series(depth, time, D, k) for time in times]
        # layers of 8 um where the front is 50 um wide, and linear interpolation between them
        np.testing.assert_allclose(run.outputs[name], expected, atol=0.02)


def test_cells_hinder_as_much_as_their_membranes_let():
    theta = {**model.space.nominal(), "phi": 0.55}
    found = [float(regular({**theta, "P": P})[0]["D_eff"]) for P in (1e-3, 1.0, 30.0)]
    assert found == sorted(found)
    # hexagons that nothing enters are within a few percent of Maxwell's disks
    assert found[0] == pytest.approx(300.0 * 0.45 / 1.55, rel=0.05)
    # with a membrane that hinders nothing they would conduct 100 in a matrix of 300
    ratio = (100.0 - 300.0) / (100.0 + 300.0)
    assert found[-1] < 300.0 * (1 + 0.55 * ratio) / (1 - 0.55 * ratio)


def test_gradients_against_finite_differences():
    design, theta = uq.Design([120.0]), {name: model.space.nominal()[name] for name in model.space.free}

    def deep(theta):
        return uq.evaluate(model, theta, design, mode="forward").outputs["c_130um"][0]

    gradient = jax.grad(deep)(theta)
    for name in ("phi", "P", "D_ext", "k"):
        step = 1e-3 * float(theta[name])
        ahead, behind = (deep({**theta, name: theta[name] + sign * step}) for sign in (1, -1))
        # the tolerance of the solve over the step
        assert float(gradient[name]) == pytest.approx(float(ahead - behind) / (2 * step), rel=2e-3, abs=1e-6)


@pytest.mark.slow
def test_samples_differ_with_their_cells_and_agree_in_the_mean():
    irregular = sample(3)
    theta = {**irregular.space.nominal(), "phi": 0.55}
    keys = jax.random.split(jax.random.key(0), 6)
    thetas = {name: np.full(6, float(theta[name])) for name in irregular.space.free}
    runs = uq.evaluate_many(irregular, thetas, uq.Design([120.0]), keys)
    assert runs.result.tolist() == [0] * 6
    deep = np.asarray(runs.outputs["c_130um"])[:, 0]
    even = float(
        uq.evaluate(model, {name: theta[name] for name in model.space.free}, uq.Design([120.0])).outputs["c_130um"][0]
    )
    assert 0.0 < deep.std() < 0.2 * even
    assert deep.mean() == pytest.approx(even, rel=0.1)


def test_cells_too_dense_for_the_grid_have_a_code():
    run = uq.evaluate(model, {**model.space.nominal(), "phi": 0.95}, uq.Design([120.0]))
    assert int(run.result) == Ending.MEMBRANES_CLOSE
    assert "membranes" in model.dynamics.sentence(int(run.result))
    assert np.isnan(run.outputs["c_10um"]).all()


@pytest.mark.slow
def test_four_properties_of_cells_make_two_numbers_of_the_tissue():
    information = fisher_information(study)
    assert information.attrs["rank"] == 3  # D_eff, k_eff and the noise
    macro = fisher_information(uq.Study("tissue", tissue, study.experiments, study.data))
    assert macro.attrs["rank"] == 3
    # what is not known of the cells changes D_eff and k_eff by nothing
    assert float(macro["cramer_rao"].sel(parameter="D_eff")) < 0.06


@pytest.mark.slow
def test_the_table_is_what_was_simulated():
    simulation = simulated(0)
    assert len(study.data) == len(simulation) == 80
    # rounded to three digits, and solved to a tolerance elsewhere
    np.testing.assert_allclose(study.data["value"], simulation["value"], atol=3e-3)


def test_new_samples_are_a_study_too():
    assert samples(2).model.stochastic
    assert samples(2).model.space.aleatory == ("phi",)
