"""A name for what a model computes, so that results are not mixed with those of another."""

import re
from hashlib import sha256

import jax
import numpy as np

from ..design import Design
from .description import Model


def digest(model: Model, design: Design) -> str:
    """Hash of what the model computes: its parameters, units, noise and traced functions, not its source text."""
    theta, functions = model.space.nominal(), model.dynamics.functions(model, design)
    text = [repr(model.space), repr(dict(model.units)), repr(dict(model.noise)), model.time_unit, *functions.settings]
    traced = [jax.make_jaxpr(call)(theta, *more) for call, more in functions.calls.values()]
    hasher = sha256()
    for function in traced:
        # addresses of Python objects are not content
        text.append(re.sub(r"0x[0-9a-f]+", "", str(function)))
        for constant in function.consts:
            hasher.update(np.asarray(constant).tobytes())
    hasher.update("\n".join(text).encode())
    return hasher.hexdigest()[:16]
