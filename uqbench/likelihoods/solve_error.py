"""An output carries the error of its solve: what the noise refers to is moved inside its domain by no more than that.

An argument of a noise distribution that lies outside its domain by no more than the error of the solve (a number of
infected people of -1e-10) is at the edge of the domain, for every use of the noise: likelihood, simulated data,
predictions, information.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..design import Design
from ..model import Model
from ..space import Theta

# The error of a solve in units of its tolerance. The tolerance bounds the error of one step; those of all steps add up,
# and a solve takes of the order of a hundred, over which a stable system does not let them grow.
SOLVE_ERROR = 100.0


def output_errors(
    model: Model, theta: Theta, design: Design, outputs: dict[str, Float[Array, " times"]]
) -> dict[str, Float[Array, ""]]:
    """How far the outputs of one run may be from the exact ones, in the unit of each output.

    `SOLVE_ERROR` times the tolerance of the solve: its relative one times the largest absolute value of the output at
    the run's times and at the start, plus its absolute one where a single number is given. A model without a system
    has errors of rounding alone.

    Args:
        theta: value of every parameter, scalars.
        outputs: of the run, by name.

    Returns:
        output -> its error, without derivative; NaN where the solve failed.
    """
    values = jnp.stack([jnp.asarray(column, float) for column in outputs.values()], axis=-1)
    errors = stacked_errors(model, theta, design, values, names=tuple(outputs))
    return {name: errors[k] for k, name in enumerate(outputs)}


def stacked_errors(
    model: Model, theta: Theta, design: Design, values: Float[Array, "times outputs"], names: tuple[str, ...]
) -> Float[Array, " outputs"]:
    """The same for outputs in one array."""
    theta, design, values = jax.lax.stop_gradient((theta, design, values))
    return SOLVE_ERROR * model.dynamics.errors(model, theta, design, values, names)


def noise_values(
    model: Model,
    output: str,
    outputs: dict[str, Array],
    parameters: Theta,
    errors: dict[str, Array],
) -> dict[str, Array]:
    """What the noise of `output` refers to: its names with their values, those of outputs inside their domains.

    Args:
        outputs: output -> values, any shape. parameters: name -> values, and errors: output -> error of its values, see
            `output_errors`; both broadcasting with them.
    """
    noise = model.noise[output]
    known = {name: outputs[name] if name in outputs else parameters[name] for name in noise.names}
    return noise.moved_inside(known, {name: errors[name] for name in noise.names if name in outputs})


@partial(jax.jit, static_argnames="model")
def noise_values_of_runs(
    model: Model, thetas: Theta, design: Design, outputs: dict[str, Float[Array, "runs times"]]
) -> dict[str, dict[str, Array]]:
    """What the noise of each output refers to in many runs under one design: output -> name -> values.

    Args:
        thetas: value of every parameter, `(runs,)` each.

    Returns:
        values of outputs `(runs, times)`, those of parameters `(runs, 1)`; NaN where a solve failed.
    """
    errors = jax.vmap(partial(output_errors, model), (0, None, 0))(thetas, design, outputs)
    columns, errors = ({name: values[:, None] for name, values in each.items()} for each in (thetas, errors))
    return {output: noise_values(model, output, outputs, columns, errors) for output in model.noise}
