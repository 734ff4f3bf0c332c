"""A slow species with a memory, measured where the memory shows: what is lost by forgetting it.

Simulated from the full system at eps = .5, k = 2/h, r1 = 1/h, r2 = .5/h, w = 2/h, delta = .3/h with a standard
deviation of .02 nM. `study` has the memory, `forgetful` reads the same table with the memoryless model. The area under
the curve is the same function of the parameters in both; the concentration after half an hour is not: forgetting puts
it .14 nM, or seven standard deviations, too high at the true parameters. No value of the one rate that is left fits the
table: the least sum of squares is 120, of 20 measurements in units of their standard deviation.
"""

import jax.numpy as jnp
import numpy as np
import pandas as pd

from forward_models.memory_kernel import memoryless, model
from uqbench import Design, Quantity, Study

truth = {"delta": 0.3, "k": 2.0, "r1": 1.0, "r2": 0.5, "w": 2.0}
times = np.linspace(0.25, 5.0, 20)
half_hour = Design([0.5], inputs={"dose": 1.0})
day = Design.linspace(0.0, 24.0, 481, inputs={"dose": 1.0})


def response(times, delta, k, r1, r2, w, eps=0.5):
    """The slow species `(times,)` from a dose of 1, by the eigenvectors of the full system."""
    matrix = np.array([[-delta, -k, 0.0], [1 / eps, -r1 / eps, -w / eps], [0.0, w / eps, -r2 / eps]])
    rates, vectors = np.linalg.eig(matrix)
    weights = np.linalg.solve(vectors, np.array([1.0, 0.0, 0.0]))
    return (np.exp(np.multiply.outer(times, rates)) @ (vectors[0] * weights)).real


def simulated(seed):
    noise = 0.02 * np.random.default_rng(seed).standard_normal(times.size)
    return pd.DataFrame({"experiment": "dose", "output": "concentration", "time": times,
                         "value": response(times, **truth) + noise})  # fmt: skip


def concentration(outputs, design):
    return outputs["concentration"][-1]


def exposure(outputs, design):
    return jnp.trapezoid(outputs["concentration"], design.times)


def read_by(model, name):
    return Study(
        name=name,
        model=model,
        experiments={"dose": Design(inputs={"dose": 1.0})},
        data=simulated(seed=0),
        quantities={
            "y(.5 h)": Quantity(concentration, half_hour, "nM", "concentration half an hour after the dose"),
            "AUC": Quantity(exposure, day, "nM*h", "exposure over 24 h, which needs no memory"),
        },
    )


study = read_by(model, "memory_kernel")
forgetful = read_by(memoryless, "memory_kernel without memory")
