"""An output carries the error of its solve: what the noise refers to is moved inside its domain by no more than that.

An argument of a noise distribution that lies outside its domain by no more than the error of the solve (a number of
infected people of -1e-10) is at the edge of the domain, for every use of the noise: likelihood, simulated data,
predictions, information.
"""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
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
    counted = {name: jnp.cumsum(column) if name in model.increments else column for name, column in outputs.items()}
    values = jnp.stack([jnp.asarray(column, float) for column in counted.values()], axis=-1)
    errors = stacked_errors(model, theta, design, values, names=tuple(outputs))
    return {name: errors[k] for k, name in enumerate(outputs)}


def stacked_errors(
    model: Model, theta: Theta, design: Design, values: Float[Array, "times outputs"], names: tuple[str, ...]
) -> Float[Array, " outputs"]:
    """The same for outputs in one array, those that are increments as what is counted since the start."""
    theta, design, values = jax.lax.stop_gradient((theta, design, values))
    # a difference has the errors of two values
    ends = np.where(np.isin(names, model.increments), 2.0, 1.0)
    return SOLVE_ERROR * ends * model.dynamics.errors(model, theta, design, values, names)


def noise_values(
    model: Model,
    output: str,
    outputs: dict[str, Array],
    parameters: Theta,
    errors: dict[str, Array],
    columns: Mapping[str, Array] = MappingProxyType({}),
) -> dict[str, Array]:
    """What the noise of `output` refers to: its names with their values, those of outputs inside their domains.

    Args:
        outputs: output -> values, any shape. parameters: name -> values, and errors: output -> error of its values, see
            `output_errors`; both broadcasting with them. columns: values of those of the table, likewise.
    """
    noise, given = model.noise[output], {**parameters, **columns, **outputs}
    known, uncertain = {}, {}
    for name in noise.names:
        if name in model.noise_expressions:
            formula = model.noise_expressions[name]
            known[name], uncertain[name] = formula.with_error(given, {each: errors[each] for each in outputs})
        else:
            known[name] = given[name]
            uncertain |= {name: errors[name]} if name in outputs else {}
    return noise.moved_inside(known, uncertain)


@partial(jax.jit, static_argnames="model")
def noise_values_of_runs(
    model: Model,
    thetas: Theta,
    design: Design,
    outputs: dict[str, Float[Array, "runs times"]],
    columns: dict[str, dict[str, Float[Array, " times"]]] | None = None,
) -> dict[str, dict[str, Array]]:
    """What the noise of each output refers to in many runs under one design: output -> name -> values.

    Outputs whose noise names a column of the table are left out where `columns` has nothing of them.

    Args:
        thetas: value of every parameter, `(runs,)` each.
        columns: output -> column -> values `(times,)`.

    Returns:
        values of outputs `(runs, times)`, those of parameters `(runs, 1)`; NaN where a solve failed.
    """
    errors = jax.vmap(partial(output_errors, model), (0, None, 0))(thetas, design, outputs)
    parameters, errors = ({name: values[:, None] for name, values in each.items()} for each in (thetas, errors))
    return {
        output: noise_values(model, output, outputs, parameters, errors, (columns or {}).get(output, {}))
        for output in model.noise
        if not set(model.noise_names(output)) & set(model.columns) - set((columns or {}).get(output, {}))
    }
