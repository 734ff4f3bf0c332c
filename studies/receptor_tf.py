"""A receptor too fast to be seen: the full model and the reduced one calibrated to the same simulated data.

Twenty measurements of the transcription factor, simulated from the full model with eps = .02, beta = 1 nM/min,
delta = .5/min and a standard deviation of .05 nM; the ligand is known, L = 2/min and Kd = 1/min. The receptor settles
within half a second, so the data tell nothing of eps, and the reduced model (`reduced`) has to predict them as well as
the full one (`study`).
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from forward_models import receptor_tf
from uqbench import Design, Quantity, Space, Study, fixed

truth = {"eps": 0.02, "L": 2.0, "Kd": 1.0, "beta": 1.0, "delta": 0.5, "sigma": 0.05}
times = np.linspace(0.5, 10.0, 20)
ligand = {"L": fixed(2.0, "1/min", "ligand binding rate"), "Kd": fixed(1.0, "1/min", "dissociation rate")}


def response(t, eps, L, Kd, beta, delta, sigma):
    """y(t) in closed form."""
    occupied, fast = L / (L + Kd), (L + Kd) / eps
    slow = -beta * occupied / delta * np.expm1(-delta * t)
    return slow - beta * occupied * (np.exp(-delta * t) - np.exp(-fast * t)) / (fast - delta)


def simulated(seed):
    noise = truth["sigma"] * np.random.default_rng(seed).standard_normal(times.size)
    return pd.DataFrame({"experiment": "step", "output": "y", "time": times, "value": response(times, **truth) + noise})


def plateau(outputs, design):
    return outputs["y"][-1]


def planned(name, model, seed=0):
    return Study(
        name=name,
        model=replace(model, space=Space({**model.space, **ligand})),
        experiments={"step": Design()},
        data=simulated(seed),
        quantities={"y(20 min)": Quantity(plateau, Design([20.0]), "nM", "after the last measurement")},
    )


study = planned("receptor_tf", receptor_tf.model)
reduced = planned("receptor_tf_reduced", receptor_tf.reduced)
