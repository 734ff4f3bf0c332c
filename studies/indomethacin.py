"""Indomethacin in six subjects: a fast and a slow time scale that both show in the data.

Data: Kwan, Breault, Umbenhauer, McMahon & Duggan (1976), Kinetics of indomethacin absorption, elimination, and
enterohepatic circulation in man, Journal of Pharmacokinetics and Biopharmaceutics 4, 255-280,
doi:10.1007/BF01063617; 66 concentrations after one intravenous injection each. The prediction is for a subject who
was not in the study, given the same injection.
"""

from pathlib import Path

import jax.numpy as jnp

from forward_models.two_compartments import model
from uqbench import Design, Quantity, Study

new_subject = Design.linspace(0.0, 24.0, 193)


def exposure(outputs, design):
    return jnp.trapezoid(outputs["concentration"], design.times)


study = Study(
    name="indomethacin",
    model=model,
    experiments={f"subject_{index}": Design([]) for index in range(1, 7)},
    data=Path(__file__).with_suffix(".csv"),
    quantities={"AUC": Quantity(exposure, new_subject, "mg*h/L", "exposure of a new subject over 24 h")},
    unit="subject",
)
