"""Studies of single cells that several tests ask about."""

from functools import partial

import numpy as np
import pandas as pd

import uqbench as uq
from uqbench.likelihoods import LinearNoise

from ...systems.reactions.networks import birth_death, dimerisation, two_stage

SIGMA = uq.epistemic(uq.LogNormal(median=4.0, sigma=0.3))


def space(**medians) -> uq.Space:
    found = {name: uq.epistemic(uq.LogNormal(median=value, sigma=0.3)) for name, value in medians.items()}
    return uq.Space({**found, "sigma": SIGMA})


def molecules(y, p):
    return {"x": y["X"]}


def pairs(y, p):
    return {"a": y["A"], "all": y["A"] + 2 * y["B"]}


def light(y, p):
    return {"light": 2.0 * y["P"] + p["dark"]}


NOISE = {"x": uq.Normal("x", "sigma")}
RATES = space(k=80.0, g=0.7)
turnover = uq.Model(RATES, birth_death.linear_noise(), molecules, {"x": ""}, NOISE)
# with a measurement error that is known
counted = uq.Model(uq.Space({**RATES, "sigma": uq.fixed(4.0)}), birth_death.linear_noise(), molecules, {"x": ""}, NOISE)
reporter = uq.Model(
    space(km=2.0, gm=0.2, kp=1.0, gp=0.05, dark=30.0), two_stage.linear_noise(), light, {"light": ""},
    {"light": uq.Normal("light", "sigma + 0.05*light")},
)  # fmt: skip
dimers = uq.Model(
    uq.Space({**space(c=1.0, u=1.0), "V": uq.fixed(30.0), "A0": uq.fixed(60.0)}), dimerisation.linear_noise(), pairs,
    {"a": "", "all": ""}, {"a": uq.Normal("a", "sigma"), "all": uq.Normal("all", 2.0)},
)  # fmt: skip


def table(output: str, times, values, cell: str = "c0") -> pd.DataFrame:
    return pd.DataFrame({"experiment": "e", "cell": cell, "output": output, "time": times, "value": values})


def study_of(model: uq.Model, data: pd.DataFrame, *, restart: bool, start: float = 0.0) -> uq.Study:
    likelihood = partial(LinearNoise.of, restart=restart)
    return uq.Study("cells", model, {"e": uq.Design(start=start)}, data, unit="cell", likelihood=likelihood)


def planned(model: uq.Model, outputs, times, cells: int, **settings) -> uq.Study:
    """A study whose values are without meaning."""
    blank = np.ones(len(times))
    tables = [table(output, times, blank, f"c{cell}") for cell in range(cells) for output in outputs]
    return study_of(model, pd.concat(tables, ignore_index=True), **settings)
