"""STAT5 dimers after Epo: two rates that the data bound on one side only, in a design from the literature.

Simulated (no cell was measured) from the published parameter values of Boehm, Adlung, Schilling, Roth, Klingmueller &
Lehmann 2014, doi:10.1021/pr5006923, at the published times and with the published standard deviations (3.9, 6.6 and 3.2
percent): three ratios at sixteen times. The published data leave k_exp_hetero open below and k_imp_homo open above:
hardly any heterodimer comes out of the nucleus, and homodimers go in faster than they can be seen. The priors are as
wide as the bounds, ten decades.
"""

from pathlib import Path

from forward_models.boehm import model
from uqbench import Design, Quantity, Study

later = Design([360.0])


def phosphorylated(outputs, design):
    return outputs["pSTAT5B_rel"][-1]


study = Study(
    name="boehm",
    model=model,
    experiments={"Epo": Design()},
    data=Path(__file__).with_suffix(".csv"),
    quantities={"pSTAT5B at 6 h": Quantity(phosphorylated, later, "percent", "two hours after the last measurement")},
)
