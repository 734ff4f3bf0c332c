"""Every model of time scales through the same verbs: asked, calibrated to data that it made itself, decomposed."""

import jax
import numpy as np
import pytest

import uqbench as uq
from forward_models import (
    bistable_switch,
    memory_kernel,
    michaelis_menten,
    receptor_tf,
    relaxation_oscillator,
    stiff_linear,
)
from uqbench.likelihoods import simulate_data

# model, times, inputs, and how many parameters its outputs determine (noise included)
CASES = {
    "receptor_tf": (receptor_tf.model, np.linspace(0.5, 10, 12), {}, None),
    "receptor_tf reduced": (receptor_tf.reduced, np.linspace(0.5, 10, 12), {}, 2),
    "stiff_linear": (stiff_linear.model, np.geomspace(1e-5, 30, 20), {}, 3),
    "michaelis_menten": (michaelis_menten.model, np.linspace(5, 200, 12), {"S0": 5.0}, 5),
    "michaelis_menten standard": (michaelis_menten.standard, np.linspace(5, 200, 12), {"S0": 5.0}, 1),
    "michaelis_menten total": (michaelis_menten.total, np.linspace(5, 200, 12), {"S0": 5.0}, 3),
    "bistable_switch": (bistable_switch.model, np.linspace(0.5, 8, 12), {"a": 0.2, "x0": 0.0}, 3),
    "relaxation_oscillator": (relaxation_oscillator.model, np.linspace(0.1, 2.0, 12), {}, 3),
    "memory_kernel": (memory_kernel.model, np.linspace(0.2, 5, 12), {"dose": 1.0}, 5),
    "memory_kernel embedded": (memory_kernel.embedded, np.linspace(0.2, 5, 12), {"dose": 1.0}, 5),
    "memory_kernel memoryless": (memory_kernel.memoryless, np.linspace(0.2, 5, 12), {"dose": 1.0}, 0),
}


def last(outputs, design):
    return next(iter(outputs.values()))[-1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::uqbench.errors.SeparationWarning")
@pytest.mark.parametrize("name", CASES)
def test_all_verbs(name, tmp_path):
    model, times, inputs, known = CASES[name]
    design = uq.Design(times, inputs=inputs)
    quantities = {"end": uq.Quantity(last, uq.Design(times[-1:], inputs=inputs))}
    plan = uq.Study("plan", model, {"one": design})
    table = simulate_data(plan, model.space.nominal(), jax.random.key(0))
    study = uq.Study(name, model, {"one": design}, table[["experiment", "output", "time", "value"]], quantities)
    tree = uq.identify(study)
    verdicts = tree["structure"].verdict.values
    assert "undecided" not in verdicts
    if known is not None:
        assert np.sum(verdicts != "none") == known
    tree = uq.calibrate(study, tree, draws=100, tune=150, chains=2)
    posterior = tree["posterior"].to_dataset()
    for parameter in model.space.epistemic:
        truth, draws = float(model.space.nominal()[parameter]), posterior[parameter].values
        # data made at the medians: the truth lies inside the range of the draws
        assert draws.min() < truth < draws.max(), parameter
    tree = uq.decompose(study, tree, n=64, runs=512)
    variance = tree["variance"].to_dataset()
    assert np.all(np.isfinite(variance.total)) and float(variance.epistemic_share.min()) > 0.9
    uq.report(study, tree, path=tmp_path / "page.html")
    assert ("separation" in tree.children) == (model.system.algebraic is not None)
