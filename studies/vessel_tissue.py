"""Flow in a vessel over tissue: which measurements tell permeability, slip coefficient and viscosity apart.

Simulated (nothing was measured): velocities at six heights as of particle images, the velocity in the tissue and the
stress on the wall, each three times at three readings of the pressure gauge, with 3 % of noise. The gain of the gauge
is not known: `truth`. `velocities` has those in the vessel alone: a parabola that vanishes at the wall is two numbers,
mu/gain from its curvature and the slip on the tissue, which is one combination of alpha and k, about alpha/sqrt(k).
`study` has the velocity in the tissue too, k gain/mu, so that alpha and k are known, but mu and gain by their ratio
alone. `with_stress` adds the stress on the wall, which viscosity has no part in: all four are known.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from forward_models.stokes_darcy import increase, measured, model, profile
from uqbench import Design, LogNormal, Quantity, Space, Study, epistemic, evaluate

truth = {"k": 1.6e-9, "alpha": 0.14, "mu": 1.3e-3, "gain": 0.9, "cv": 0.03}
readings = (40.0, 80.0, 160.0)
REPLICATES = 3
space = Space({**model.space, "gain": epistemic(LogNormal(median=1.0, sigma=0.3), "", "gain of the gauge")})
gauged = replace(model, space=space)
table = pd.read_csv(Path(__file__).with_suffix(".csv"))
# Of the noise in the table.
SEED = 1


def simulated(seed: int) -> pd.DataFrame:
    """All measurements, with noise."""
    rng, rows = np.random.default_rng(seed), []
    for reading in readings:
        run = evaluate(gauged, truth, Design([1.0], inputs={"reading": reading}))
        for output in measured:
            values = float(run.outputs[output][0]) * (1 + truth["cv"] * rng.standard_normal(REPLICATES))
            experiment = {"experiment": f"{reading:g} Pa/m", "output": output, "time": 1.0}
            rows += [{**experiment, "value": float(f"{value:.4g}")} for value in values]
    return pd.DataFrame(rows)


def phi(outputs, design, p):
    return increase(p["k"], p["alpha"], p["h"])


def with_outputs(name: str, outputs) -> Study:
    """The measurements of some outputs."""
    return Study(
        name=name,
        model=gauged.only([*outputs]),
        experiments={f"{reading:g} Pa/m": Design(inputs={"reading": reading}) for reading in readings},
        data=table[table["output"].isin(outputs)],
        quantities={
            "Phi": Quantity(phi, Design([1.0], inputs={"reading": 80.0}), "", "flow gained by the porous wall"),
        },
    )


velocities = with_outputs("vessel_velocities", profile)
study = with_outputs("vessel_tissue", [*profile, "darcy"])
with_stress = with_outputs("vessel_stress", measured)
