"""Independent rows: the information and the moments of each unit's data, and the errors of predictions."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .censoring import Limits
from .layout import Observations, rows_by_unit
from .protocol import Moments


def information_by_unit(
    observations: Observations,
    run: np.ndarray,
    slopes: Float[Array, "rows arguments k"],
    weights: Float[Array, "rows arguments arguments"],
) -> Float[Array, "units k k"]:
    """The sum of J' I J over the rows of each unit.

    Args:
        run: of each row, `(rows,)`.
        slopes: derivatives J of the arguments of each row's distribution.
        weights: information I of each row on its arguments.
    """
    members, present = rows_by_unit(observations.unit[run], observations.units)
    slopes = jnp.where(present[..., None, None], slopes[members], 0.0)
    return jnp.einsum("urki,urkl,urlj->uij", slopes, weights[members], slopes)


def moments_of_rows(
    observations: Observations, mean: dict[str, Float[Array, " rows"]], variance: dict[str, Float[Array, " rows"]]
) -> Moments:
    """Moments of each unit's data from those of its rows, by output.

    Censored rows are left out: a little of what they tell is lost, and none of it is made up.
    """
    every = [*observations.rows.values()]
    run = np.concatenate([rows.run for rows in every])
    censored = np.concatenate([Limits(rows.lower, rows.upper).censor(rows.value) for rows in every])
    members, present = rows_by_unit(observations.unit[run], observations.units)
    present = present & ~censored[members]

    def of_units(each, absent):
        columns = [jnp.broadcast_to(each[name], rows.run.shape) for name, rows in observations.rows.items()]
        return jnp.where(present, jnp.concatenate(columns)[members], absent)

    return Moments(of_units(mean, 0.0), jax.vmap(jnp.diag)(of_units(variance, 1.0)))


def stratified(key: Array, count: int) -> Float[Array, " count"]:
    """Probabilities, one from each of `count` equal intervals, in random order: quantiles of few draws vary less."""
    order, within = jax.random.split(key)
    places = jax.random.permutation(order, count)
    # half a step of the generator's grid keeps off 0, where quantiles are infinite
    return (places + jax.random.uniform(within, (count,), float) + jnp.finfo(float).eps / 2) / count
