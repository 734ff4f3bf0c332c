"""Theophylline in twelve subjects: what differs between them, and what we do not know about the population.

Data: Boeckmann, Sheiner & Beal (1994), NONMEM Users Guide: Part V; 132 concentrations after one oral dose each. The
predictions are for a subject who was not in the study, given 4.5 mg/kg.
"""

from pathlib import Path

import jax.numpy as jnp

from forward_models.theophylline import model
from uqbench import Design, Quantity, Study, read_dosing_records

# one oral dose each, in mg/kg, beside every measurement
records = read_dosing_records(
    Path(__file__).with_suffix(".csv"),
    output="concentration",
    covariates=["dose"],
    columns={"id": "experiment", "time": "time", "value": "value"},
)
new_subject = Design.linspace(0.0, 24.0, 193, inputs={"dose": 4.5})


def exposure(outputs, design):
    return jnp.trapezoid(outputs["concentration"], design.times)


def peak(outputs, design):
    return jnp.max(outputs["concentration"])


study = Study(
    name="theophylline",
    model=model,
    experiments=records.experiments,
    data=records.data,
    quantities={
        "AUC": Quantity(exposure, new_subject, "mg*h/L", "exposure of a new subject over 24 h after 4.5 mg/kg"),
        "Cmax": Quantity(peak, new_subject, "mg/L", "highest concentration in a new subject after 4.5 mg/kg"),
    },
    unit="subject",
)
