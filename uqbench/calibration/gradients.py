"""The model of PyMC compiled for nutpie, with a log density that costs little beside the model itself."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import nutpie
import pymc as pm


def compiled_model(model: pm.Model) -> Any:
    """A model compiled for nutpie, in JAX.

    A sampler asks for a hundred thousand gradients, and of one that takes .1 ms a third would be what it costs to hand
    over the density and its gradient, each by itself, from JAX to NumPy. Here they are one array.

    Args:
        model: frozen but for the data that `with_data` is to replace.
    """
    compiled = nutpie.compile_pymc_model(model, backend="jax", gradient_backend="jax", freeze_model=False)
    density = compiled._raw_logp_fn
    # those of the log density are the first
    names = list(compiled._shared_data)[: len(inspect.signature(density).parameters) - 1]

    @jax.jit
    def density_and_gradient(point, *shared):
        value, gradient = jax.value_and_grad(lambda point: density(point, *shared)[0])(point)
        return jnp.append(value, gradient)

    def make_function() -> Callable:
        def function(point, **shared):
            found = np.asarray(density_and_gradient(point, *(shared[name] for name in names)))
            return found.item(0), found[1:]

        return function

    return replace(compiled, _make_logp_func=make_function)
