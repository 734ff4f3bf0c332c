"""Do coordinates by what data say of units pay? Against the non-centred model, same studies, same sampler.

The figure is effective draws per gradient evaluation, which no other process on the machine can disturb.
"""

import arviz as az
import numpy as np
import pytest

import uqbench as uq
from studies import indomethacin, theophylline
from uqbench.calibration import pymc_model
from uqbench.likelihoods import Expansion, of_units

pytestmark = pytest.mark.bench


def efficiency(study):
    """Smallest bulk ESS of a population parameter per thousand leapfrog steps, and the smallest tail acceptance."""
    tree = uq.calibrate(study, draws=500, tune=400, target_accept=0.9)
    chosen = tree["posterior"].to_dataset()[list(study.model.space.epistemic)]
    smallest = min(float(value) for value in az.ess(chosen, method="bulk").data_vars.values())
    return 1e3 * smallest / float(tree["sample_stats"]["n_steps"].sum()), float(
        tree["convergence"]["tail_acceptance"].min()
    )


def silent(*args):
    """That data say nothing of units: their deviations are the coordinates."""
    return Expansion(*map(np.zeros_like, of_units(*args)))


@pytest.mark.parametrize("study", [theophylline.study, indomethacin.study], ids=lambda study: study.name)
def test_coordinates_by_what_data_say_beat_non_centred(monkeypatch, capsys, study):
    chosen, entered = efficiency(study)
    monkeypatch.setattr(pymc_model, "of_units", silent)
    non_centred, _ = efficiency(study)
    with capsys.disabled():
        print(f"\n{study.name}: ESS per 1000 gradients: by what data say {chosen:.1f}, non-centred {non_centred:.1f}, "
              f"ratio {chosen / non_centred:.1f}; smallest tail acceptance {entered:.2f}")  # fmt: skip
    assert np.isfinite(chosen)
    assert chosen > 2 * non_centred
