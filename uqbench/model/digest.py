"""A name for what a model computes, so that results are not mixed with those of another."""

import re
from collections.abc import Mapping
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
        system = model.system
        known = system.at_rest(state)
        functions = [
            jax.make_jaxpr(lambda theta: model.system.initial(theta, design.inputs))(theta),
            jax.make_jaxpr(lambda y, theta: model.system.rhs(design.start, y, theta, design.inputs))(known, theta),
            jax.make_jaxpr(lambda y, theta: model.observed(design.start, y, theta, design.inputs))(known, theta),
            *(jax.make_jaxpr(lambda theta, f=f: f(theta, design.inputs))(theta) for f in system.stops),
            *(
                []
                if system.start is None
                else [jax.make_jaxpr(lambda theta: system.start(theta, design.inputs))(theta)]
            ),
        ]
        for function in (system.algebraic, *(part for event in system.events for part in (event.root, event.change))):
            if function is not None:
                functions.append(
                    jax.make_jaxpr(lambda y, theta, f=function: f(design.start, y, theta, design.inputs))(known, theta)
                )
        for delay in system.delays.values():
            functions.append(jax.make_jaxpr(lambda theta, d=delay: d.length(theta, design.inputs))(theta))
            functions.append(
                jax.make_jaxpr(lambda y, theta, d=delay: d.before(design.start, y, theta, design.inputs))(state, theta)
            )
    text = [repr(model.space), repr(dict(model.units)), repr(dict(model.noise)), model.time_unit]
    if model.system is not None:
        atol = sorted(system.atol.items()) if isinstance(system.atol, Mapping) else system.atol
        text.append(repr((system.rtol, atol, system.method, system.max_steps)))
        # what a function is for: two that read the same are told apart, and so are events by their directions
        roles = {"switches": system.switches, "doses": system.doses, "start": system.start,
                 "algebraic": system.algebraic}  # fmt: skip
        text += [name for name, function in roles.items() if function is not None]
        text += [f"event {event.direction} {event.change is None}" for event in system.events]
        text += [f"delay {name} {delay.state}" for name, delay in system.delays.items()]
        text += [] if system.max_step is None else [f"max_step {system.max_step}"]
    hasher = sha256()
    for function in functions:
        # addresses of Python objects are not content
        text.append(re.sub(r"0x[0-9a-f]+", "", str(function)))
        for constant in function.consts:
            hasher.update(np.asarray(constant).tobytes())
    hasher.update("\n".join(text).encode())
    return hasher.hexdigest()[:16]
