"""Linear models with designs that are known, and small models that fail where they are asked to."""

import jax.numpy as jnp
import numpy as np
import pandas as pd

import uqbench as uq

NAMES = "abcd"


def polynomial(theta, design, key):
    return {"y": sum(theta[name] * design.times**power for power, name in enumerate(NAMES) if name in theta)}


def polynomial_study(degree, times=(0.0,), prior=1.0, sigma=1.0):
    """y = a + b t + c t^2 + ... with normal errors."""
    space = uq.Space({name: uq.epistemic(uq.Normal(0.0, prior)) for name in NAMES[: degree + 1]})
    model = uq.Model.from_function(space, polynomial, {"y": ""}, {"y": uq.Normal("y", sigma)}, name="polynomial")
    return uq.Study("polynomial", model, {"line": uq.Design(times, start=-1.0)})


def design_matrix(times, degree):
    return np.vander(times, degree + 1, increasing=True)


def initial(p, inputs):
    return {"x": inputs["x0"]}


def explosion(t, y, p, inputs):
    return {"x": p["k"] * y["x"] ** 2}


def observe(y, p):
    return {"x": y["x"]}


def explosion_study():
    """x' = k x^2, which is infinite at the time 1 / (k x0)."""
    space = uq.Space(k=uq.epistemic(uq.LogNormal(median=1.0, sigma=0.1)))
    model = uq.Model(space, uq.Ode(initial, explosion), observe, {"x": ""}, {"x": uq.Normal("x", 0.1)})
    return uq.Study("explosion", model, {"slow": uq.Design([0.5, 1.0], inputs={"x0": 0.5})})


def root(theta, design, key):
    return {"y": jnp.sqrt(theta["k"] * design.times)}


def product(theta, design, key):
    return {"y": theta["k"] * theta["g"] * design.times, "z": theta["k"] + 0.0 * design.times}


def product_study():
    """y shows k g alone; z, which nobody has measured yet, shows k."""
    prior = uq.LogNormal(median=1.0, sigma=1.0)
    space = uq.Space(k=uq.epistemic(prior), g=uq.epistemic(prior))
    noise = {"y": uq.Normal("y", 0.1), "z": uq.Normal("z", 0.1)}
    model = uq.Model.from_function(space, product, {"y": "", "z": ""}, noise, name="product")
    rows = {"experiment": "a", "output": "y", "time": [1.0, 2.0], "value": [1.0, 2.1]}
    return uq.Study("product", model, {"a": uq.Design()}, pd.DataFrame(rows))
