"""The posterior of the Hudson's Bay pelts against the reference draws of posteriordb.

Magnusson et al. (2025), posteriordb: Testing, Benchmarking and Developing Bayesian Inference Algorithms,
arXiv:2407.04967, posterior `hudson_lynx_hare-lotka_volterra`: means and mean squares of 10 000 draws that were checked.
The solver behind them had tolerances of 1e-5 and 1e-3.
"""

import arviz as az
import numpy as np
import pytest

import uqbench as uq
from studies.hare_lynx import study
from uqbench import results
from uqbench.calibration import find_map

# parameter -> mean and mean square
REFERENCE = {
    "alpha": (0.546864499783931, 0.3030362900),
    "beta": (0.0277472877678081, 0.0007871719),
    "gamma": (0.800095360233122, 0.6481388153),
    "delta": (0.0240859152534545, 0.0005925775),
    "u0": (34.0352224770469, 1166.9038171313),
    "v0": (5.93589713368062, 35.5163321009),
    "sigma_u": (0.24805686320252, 0.0634036795),
    "sigma_v": (0.251016914583618, 0.0649094189),
}


@pytest.mark.slow
def test_the_posterior_is_the_published_one():
    fit = find_map(study, starts=4)
    tree = results.attach(results.start(study), {"fit": fit}, verb="identify", settings={}, seed=0, seconds=0.0)
    tree = uq.calibrate(study, tree, draws=2000, seed=0)
    assert bool(tree["convergence"]["resolved"].all())
    posterior = tree["posterior"].to_dataset()
    errors = {method: az.mcse(posterior, method=method) for method in ("mean", "sd")}
    for name, (mean, square) in REFERENCE.items():
        draws, sd = posterior[name], np.sqrt(square - mean**2)
        # 5 % of a standard deviation, and three standard errors of these draws
        assert abs(float(draws.mean()) - mean) < 0.05 * sd + 3 * float(errors["mean"][name]), name
        assert abs(float(draws.std()) - sd) < 0.05 * sd + 3 * float(errors["sd"][name]), name
