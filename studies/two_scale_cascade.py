"""The cascade under two designs of twenty measurements each: from .1 h on, and from 2 h on, when the fast step is over.

Simulated from kf = 5/h, ks = .2/h, g = 2 with a standard deviation of .05 nM. The equations allow all three to be
known from either; but first-order standard errors of the logarithms (g, kf, ks) are .027, .088, .036 with the early
design (`study`) and 3.2, 78, .050 with the late one (`late`): the fast rate, and the gain with it, are lost by design.
"""

import numpy as np
import pandas as pd

from forward_models.two_scale_cascade import model
from uqbench import Design, Quantity, Study

truth = {"g": 2.0, "kf": 5.0, "ks": 0.2}
early, late_times = np.linspace(0.1, 20.0, 20), np.linspace(2.0, 20.0, 20)
half_hour = Design([0.5], inputs={"impulse": 1.0})


def response(times, g, kf, ks):
    """Impulse response g kf (e^{-ks t} - e^{-kf t}) / (kf - ks), the inverse of the transfer function."""
    return g * kf * (np.exp(-ks * times) - np.exp(-kf * times)) / (kf - ks)


def simulated(times, seed):
    noise = 0.05 * np.random.default_rng(seed).standard_normal(times.size)
    return pd.DataFrame({"experiment": "impulse", "output": "y", "time": times,
                         "value": response(times, **truth) + noise})  # fmt: skip


def concentration(outputs, design):
    return outputs["y"][-1]


def planned(name, times, seed):
    return Study(
        name=name,
        model=model,
        experiments={"impulse": Design(inputs={"impulse": 1.0})},
        data=simulated(times, seed),
        quantities={"y(.5 h)": Quantity(concentration, half_hour, "nM", "response half an hour after the impulse")},
    )


study = planned("two_scale_cascade", early, seed=0)
late = planned("two_scale_cascade from 2 h on", late_times, seed=2)
