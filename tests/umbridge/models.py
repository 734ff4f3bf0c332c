"""The foreign decay as a model of ours, and its closed form."""

import uqbench as uq
from uqbench.umbridge import foreign_model

from .foreign_server import TIMES

space = uq.Space(
    x0=uq.epistemic(uq.LogNormal(median=2.0, sigma=0.3), "mg/L"),
    k=uq.epistemic(uq.LogNormal(median=0.5, sigma=0.3), "1/h"),
    sigma=uq.epistemic(uq.HalfNormal(0.1), "mg/L"),
)
UNITS = {"C": "mg/L", "area": "mg*h/L"}
THETA = {"x0": 2.0, "k": 0.5, "sigma": 0.1}
DESIGN = uq.Design([1.0, 4.0])


def decay(url, name="decay", **settings):
    more = {"inputs": [["x0", "k"]], "outputs": ["C", ["area"]], "times": TIMES, "time_unit": "h"}
    noise = {"C": uq.Normal("C", "sigma")}
    return foreign_model(url, name, space=space, **{"units": UNITS, "noise": noise, "timeout": 20.0} | more | settings)
