"""Profiles of a drug in layers of tumour tissue: which properties of the cells a measurement at their scale tells of.

Simulated (nothing was measured): four samples of irregular cells, each with a volume fraction and a microstructure of
its own; concentrations at five depths and four times with 8 % of noise and .02 c0. `study` reads them as one tissue of
regular cells. The tissue tells D_eff and k_eff, two numbers, and they are made of four: permeability, volume fraction
and extracellular diffusivity are known as far as they make D_eff, each by itself hardly better than beforehand.

`samples(window)` is a study without data, of new samples of which `window` x `window` cells matter: what a new sample
differs by from the mean of all (aleatory: its cells) and what is not known of all (epistemic).
"""

from pathlib import Path

import jax
import numpy as np
import pandas as pd

from forward_models.tumour_tissue import measured_outputs, model, regular, sample
from uqbench import Design, Quantity, Study, evaluate

truth = {"P": 0.7, "D_ext": 330.0, "k": 5e-3, "cv": 0.08}
volume_fractions = (0.52, 0.55, 0.57, 0.54)
times = (30.0, 120.0, 400.0, 1500.0)
later = Design([120.0])
CELLS = 8


def simulated(seed: int) -> pd.DataFrame:
    """Profiles of samples of their own, with noise."""
    rng, rows = np.random.default_rng(seed), []
    irregular = sample(CELLS)
    for number, phi in enumerate(volume_fractions, start=1):
        run = evaluate(irregular, {**truth, "phi": phi}, Design(times), jax.random.key(seed + number))
        for output in measured_outputs:
            exact = np.asarray(run.outputs[output])
            noisy = exact + (truth["cv"] * exact + 0.2) * rng.standard_normal(len(times))
            rows += [
                {"experiment": "layer", "output": output, "time": time, "value": round(float(value), 3)}
                for time, value in zip(times, noisy, strict=True)
            ]
    return pd.DataFrame(rows)


def diffusivity(outputs, design, p):
    return regular(p)[0]["D_eff"]


def deepest(outputs, design):
    return outputs[measured_outputs[-1]][-1]


def samples(window: int) -> Study:
    """New samples, without data."""
    return Study(
        name=f"tumour_diffusion of {window} x {window} cells",
        model=sample(window),
        experiments={"sample": later},
        quantities={"c at 180 um": Quantity(deepest, later, "uM", "concentration at a depth of 180 um after 2 min")},
    )


study = Study(
    name="tumour_diffusion",
    model=model,
    experiments={"layer": Design()},
    data=Path(__file__).with_suffix(".csv"),
    quantities={
        "D_eff": Quantity(diffusivity, later, "um^2/s", "effective diffusivity of the tissue"),
        "c at 180 um": Quantity(deepest, later, "uM", "concentration at a depth of 180 um after 2 min"),
    },
)
