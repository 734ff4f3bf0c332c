"""Does choosing each latent's centring by information pay? Against the non-centred model, same study, same sampler.

The figure is effective draws per gradient evaluation, which no other process on the machine can disturb.
"""

import arviz as az
import numpy as np
import pytest

import uqbench as uq
from studies.theophylline import study
from uqbench.calibration import pymc_model

pytestmark = pytest.mark.bench


def efficiency(tree):
    """Smallest bulk ESS of a population parameter per thousand leapfrog steps."""
    chosen = tree["posterior"].to_dataset()[list(study.model.space.epistemic)]
    smallest = min(float(value) for value in az.ess(chosen, method="bulk").data_vars.values())
    return 1e3 * smallest / float(tree["sample_stats"]["n_steps"].sum())


def test_centring_by_information_beats_non_centred(monkeypatch, capsys):
    chosen = efficiency(uq.calibrate(study, draws=500, tune=400, seed=0))
    chosen_weights = pymc_model.centering
    monkeypatch.setattr(
        pymc_model, "centering", lambda *of: {name: 0 * weight for name, weight in chosen_weights(*of).items()}
    )
    non_centred = efficiency(uq.calibrate(study, draws=500, tune=400, seed=0))
    with capsys.disabled():
        print(f"\nESS per 1000 gradients: by information {chosen:.1f}, non-centred {non_centred:.1f}, "
              f"ratio {chosen / non_centred:.1f}")  # fmt: skip
    assert np.isfinite(chosen)
    assert chosen > 2 * non_centred
