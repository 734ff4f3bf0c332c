"""The models of coupling in space: values of SYSTEMS.md, section D, derivatives, and what a study of flow tells."""

import jax
import numpy as np
import pytest

import uqbench as uq
from forward_models import interface_flux, mortar_interface, stokes_darcy
from studies import vessel_tissue
from uqbench.interfaces import Exchange

NOW = uq.Design([0.0])
STRAIGHT = {"k": 1e-9, "alpha": 0.1, "mu": 1e-3, "cv": 0.03}


def slopes(model, theta, design, outputs):
    """Derivatives of sums of outputs by parameters relative to their values, and their central differences."""
    names = model.space.free

    def values(theta):
        run = uq.evaluate(model, theta, design, mode="forward")
        return {name: run.outputs[name].sum() for name in outputs}

    exact, h = jax.jacfwd(values)(theta), 1e-4
    for name in names:
        up, down = (values({**theta, name: theta[name] * (1 + sign * h)}) for sign in (1, -1))
        for output in outputs:
            size = float(abs(up[output]) / theta[name])
            yield float(exact[output][name]) / size, float(up[output] - down[output]) / (2 * h * theta[name]) / size


def test_flow_over_tissue_is_the_closed_form():
    out = uq.evaluate(stokes_darcy.model, STRAIGHT, uq.Design([1.0], inputs={"reading": 100.0})).outputs
    assert float(out["slip"][0]) == pytest.approx(0.0120886284, abs=5e-11)
    assert float(out["darcy"][0]) == pytest.approx(1e-4, rel=1e-12)
    assert float(out["Phi"][0]) == pytest.approx(0.7253177016, abs=5e-11)
    # what the channel carries is the integral of the profile, by Gauss's rule, which is exact for it
    nodes, weights = np.polynomial.legendre.leggauss(3)
    heights, flow = 1e-3 * (nodes + 1) / 2, (1e-9, 0.1, 1e-3, 100.0, 1e-3)
    carried = 1e-3 / 2 * weights @ np.array([float(stokes_darcy.velocity(y, *flow)) for y in heights])
    assert float(out["carried"][0]) == pytest.approx(carried, rel=1e-12)
    assert float(stokes_darcy.velocity(1e-3, *flow)) == pytest.approx(0.0, abs=1e-16)


def test_derivatives_of_the_closed_form():
    theta, design = stokes_darcy.space.nominal() | STRAIGHT, uq.Design([1.0], inputs={"reading": 100.0})
    pairs = list(slopes(stokes_darcy.model, theta, design, ["slip", "Phi", "darcy", "wall_stress"]))
    np.testing.assert_allclose(*np.transpose(pairs), atol=1e-6)


def test_flow_in_the_plane_declines_by_what_drains():
    theta = {"k": 1e-9, "alpha": 0.1, "mu": 1e-3, "drainage": 1e-5}
    run = uq.evaluate(stokes_darcy.plane, theta, NOW)
    out = run.outputs
    assert int(run.result) == 0
    carried = np.mean(out["u"], axis=1) * 1e-3
    assert carried[0] > carried[-1]
    # the interface passes what the base drains, but for what the tissue takes up or gives at its ends
    assert float(np.mean(out["normal"])) == pytest.approx(-1e-5, rel=0.02)
    assert carried[0] - carried[-1] == pytest.approx(-4e-3 * float(np.mean(out["normal"])), rel=1e-9)
    assert float(np.mean(out["slip"])) == pytest.approx(0.0120886284, rel=1e-3)
    assert float(out["balance"]) == float(out["normal_residual"]) == 1e-12
    assert float(out["traction_residual"]) < 1e-5


def test_a_drug_leaves_the_gel_and_enters_the_tissue():
    theta, design = interface_flux.space.nominal(), uq.Design([100.0, 1000.0, 10000.0])
    out = uq.evaluate(interface_flux.model, theta, design).outputs
    np.testing.assert_array_equal(out["imbalance"], 1e-12)
    assert out["c_gel"][0, -1] > 2 * out["c_tissue"][0, 0]
    # the gel has lost what the tissue holds or has lost in its turn
    assert np.all(np.diff(out["gel_content"]) < 0) and np.all(1e4 - out["gel_content"] > out["tissue_content"])
    leaking = uq.evaluate(interface_flux.joined(Exchange.INTERPOLATED), theta, design).outputs
    assert np.all(leaking["imbalance"] > 0.5)


def test_a_bias_is_an_imbalance():
    theta = interface_flux.space.nominal() | {"bias": 0.05}
    out = uq.evaluate(interface_flux.model, theta, uq.Design([100.0, 1000.0])).outputs
    content = out["gel_content"] + out["tissue_content"]
    np.testing.assert_allclose(out["imbalance"], np.array([5.0, 50.0]) / content, rtol=1e-9)


def test_derivatives_of_the_drug_in_the_tissue():
    theta = interface_flux.space.nominal()
    pairs = list(slopes(interface_flux.model, theta, uq.Design([300.0, 2000.0]), ["tissue_content", "flux"]))
    np.testing.assert_allclose(*np.transpose(pairs), atol=1e-6)


def test_what_the_epithelium_secretes_is_washed_off_or_crosses():
    theta = mortar_interface.space.nominal()
    run = uq.evaluate(mortar_interface.model, theta, NOW)
    out = run.outputs
    assert int(run.result) == 0
    # the integral of what is linear between points: mean over x, trapezoids over y
    along = np.asarray(mortar_interface.secretion(theta["q"]))[0]
    secreted = 100.0 * float(np.sum(along[1:] + along[:-1]) / 2 * 200.0 / 16)
    assert float(out["crossing"] + out["washed_off"]) == pytest.approx(secreted, rel=1e-11)
    assert float(out["mismatch"]) == float(out["balance"]) == 1e-12
    # the middle of the tissue is where the stripe is
    np.testing.assert_allclose(out["flux"], out["flux"][::-1], rtol=1e-9)
    assert out["flux"][8] == np.max(out["flux"]) > 3 * out["flux"][0]


def test_derivatives_of_what_crosses():
    pairs = list(slopes(mortar_interface.model, mortar_interface.space.nominal(), NOW, ["crossing", "stroma"]))
    np.testing.assert_allclose(*np.transpose(pairs), atol=1e-6)


# Which parameters each study can know by its equations, and by its data.
KNOWN = {
    "velocities": (set(), {"cv"}),
    "study": ({"k", "alpha"}, {"k", "alpha", "cv"}),
    "with_stress": ({"k", "alpha", "mu", "gain"}, {"k", "alpha", "mu", "gain", "cv"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_what_flow_over_tissue_tells(name):
    tree = uq.identify(getattr(vessel_tissue, name))
    by_equations, by_data = KNOWN[name]
    structure, practical, fisher = tree["structure"], tree["practical"], tree["fisher"]
    verdicts = dict(zip(structure["parameter"].values, structure["verdict"].values, strict=True))
    assert {each for each in ("k", "alpha", "mu", "gain") if verdicts[each] == "global"} == by_equations
    known = practical["verdict"].values == "identifiable"
    assert {*practical["parameter"].values[known]} == by_data
    flat = {str(each) for each in fisher["combination"].values[fisher["kind"].values == "flat"]}
    # the product is what data say nothing of, where the ratio is what they tell
    assert ("mu*gain" in flat) == (name != "with_stress")
    for parameter, lower, upper in zip(
        practical["parameter"].values[known], practical["lower"].values[known], practical["upper"].values[known],
        strict=True,
    ):  # fmt: skip
        # within the interval of 95 % widened by half, which one in three hundred misses
        slack = (upper - lower) / 4
        assert lower - slack < vessel_tissue.truth[parameter] < upper + slack


def test_data_of_the_study_are_those_that_its_function_makes():
    made, kept = vessel_tissue.simulated(vessel_tissue.SEED), vessel_tissue.table
    np.testing.assert_allclose(made["value"], kept["value"], rtol=1e-6)
    assert [*made["output"]] == [*kept["output"]]
