"""Blood that leaves a tissue of signalling cells: what it tells of the cells, of the tissue and of the wall between.

Simulated (nothing was measured): a dose of the ligand passes through the vessel for 30 min; its concentration in the
blood that leaves is read 14 times, with 5 % of noise. `study` fits the model without chance. `cells` has no data: where
the spread of the concentration in the tissue comes from, genes that jump (aleatory) beside what is not known
(epistemic).
"""

from pathlib import Path

import numpy as np
import pandas as pd

from forward_models.tissue_signalling import model, random
from uqbench import Design, Quantity, Study, evaluate

truth = {
    "phi": 0.62, "P": 70.0, "D_ext": 5500.0, "k_int": 0.035, "b_half": 900.0, "k_tx": 1.6, "k_sec": 0.12,
    "k_deg": 0.022, "P_w": 16.0, "cv": 0.05,
}  # fmt: skip
times = (5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 33.0, 36.0, 40.0, 50.0, 60.0, 75.0, 90.0, 120.0)
later = Design([60.0])


def simulated(seed: int, of=model) -> pd.DataFrame:
    """Blood that leaves, with noise."""
    rng = np.random.default_rng(seed)
    exact = np.asarray(evaluate(of, truth, Design(times), None).outputs["v_out"])
    noisy = exact + (truth["cv"] * exact + 0.001) * rng.standard_normal(len(times))
    rows = zip(times, noisy, strict=True)
    return pd.DataFrame(
        [
            {"experiment": "dose", "output": "v_out", "time": time, "value": round(float(value), 5)}
            for time, value in rows
        ]
    )


def in_tissue(outputs, design):
    return outputs["c_mean"][-1]


def far(outputs, design):
    return outputs["c_far"][-1]


quantities = {
    "c": Quantity(in_tissue, later, "1/um^3", "mean concentration in the tissue after an hour"),
    "c far": Quantity(far, later, "1/um^3", "concentration far from the vessel after an hour"),
}
study = Study("tissue_signalling", model, {"dose": Design()}, Path(__file__).with_suffix(".csv"), quantities)
cells = Study(
    name="tissue_signalling of genes that jump", model=random, experiments={"dose": later}, quantities=quantities
)
