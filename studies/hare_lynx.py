"""Hares and lynxes of Hudson's Bay: twenty years of pelts, and a posterior that has been published.

Data: Elton & Nicholson (1942), The ten-year cycle in numbers of the lynx in Canada, Journal of Animal Ecology 11,
215-244, doi:10.2307/1358; pelts in thousands, 1900 to 1920, as numbers of both populations. The model, its priors and
its posterior are those of Carpenter (2018), Predator-prey population dynamics: the Lotka-Volterra model in Stan:
alpha = .547 (.063), beta = .0277 (.0042), gamma = .800 (.089), delta = .0241 (.0035) per year. The prediction is the
largest number of lynxes in the decade after the data, of a hare population that goes on as before.
"""

from pathlib import Path

import jax.numpy as jnp

from forward_models.lotka_volterra import model
from uqbench import Design, Quantity, Study

decade = Design.linspace(20.0, 30.0, 121)


def peak(outputs, design):
    return jnp.max(outputs["predator"])


study = Study(
    name="hare_lynx",
    model=model,
    experiments={"hudson_bay": Design([])},
    data=Path(__file__).with_suffix(".csv"),
    quantities={"peak": Quantity(peak, decade, "", "most lynxes between 1920 and 1930, thousands")},
)
