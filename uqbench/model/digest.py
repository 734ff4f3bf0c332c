"""A name for what a model computes, so that results are not mixed with those of another."""

import re
from hashlib import sha256

import jax
import numpy as np

from ..design import Design
from .description import Model


def digest(model: Model, design: Design) -> str:
    """Hash of what the model computes: its parameters, units, noise and traced functions, not its source text."""
    theta = model.space.nominal()
    if model.system is None:
        functions = [jax.make_jaxpr(lambda theta: model.simulate(theta, design, jax.random.key(0)))(theta)]
    else:
        state = model.system.initial(theta, design.inputs)
        functions = [
            jax.make_jaxpr(lambda theta: model.system.initial(theta, design.inputs))(theta),
            jax.make_jaxpr(lambda y, theta: model.system.rhs(design.start, y, theta, design.inputs))(state, theta),
            jax.make_jaxpr(lambda y, theta: model.observed(design.start, y, theta, design.inputs))(
                state, theta
            ),
            *(jax.make_jaxpr(lambda theta, f=f: f(theta, design.inputs))(theta) for f in model.system.stops),
        ]
    text = [repr(model.space), repr(dict(model.units)), repr(dict(model.noise)), model.time_unit]
    if model.system is not None:
        text.append(repr((model.system.rtol, model.system.atol, model.system.method, model.system.max_steps)))
    hasher = sha256()
    for function in functions:
        # addresses of Python objects are not content
        text.append(re.sub(r"0x[0-9a-f]+", "", str(function)))
        for constant in function.consts:
            hasher.update(np.asarray(constant).tobytes())
    hasher.update("\n".join(text).encode())
    return hasher.hexdigest()[:16]
