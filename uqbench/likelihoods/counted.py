"""What is observed of outputs that are counted with errors, from the distributions that the system gives for them."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..distributions import Distribution
from ..errors import InputError, Result
from ..master_equation import detected
from ..model import Model
from ..space import Theta
from ..systems import Density, Outcome
from .layout import Observations

# Background in the prior for which there is room: this share of so many draws.
DRAWS, SHARE = 10_000, 0.9999
# Counts that a Poisson background may add to those expected, in its standard deviations and beside them: beyond is
# less than rounding.
DEVIATIONS, MORE = 8.0, 20.0
# True counts, and those that a background adds, at most: a table of one by the other is gone through.
MOST = 20_000
# Probability of observed counts above those there is room for that is let go.
LOST = 1e-6

# output -> how many observed counts there is room for beyond the true ones, and at least; hashable
Room = tuple[tuple[str, int, int], ...]


def room_for(model: Model, observations: Observations) -> Room:
    """Room for what a background adds: as much as the prior lets expect, and for twice the largest count in the data.

    A background for which there is no room then makes the data impossible to within rounding.
    """
    room = []
    for output, rows in observations.rows.items():
        noise = model.noise.get(output)
        if noise is not None and noise.of_draws:
            background = _background(model, noise)
            more = np.ceil(background + DEVIATIONS * np.sqrt(background) + MORE) if background > 0 else 0.0
            largest = np.max(rows.value[np.isfinite(rows.value)], initial=0.0)
            least = 2 * largest + MORE if background > 0 else 0.0
            room.append((output, int(min(more, MOST)), int(min(least, MOST))))
    return tuple(room)


def _background(model: Model, noise: Distribution) -> float:
    """As large as it becomes in the prior."""
    drawn, nominal = model.space.sample(jax.random.key(0), (DRAWS,)), model.space.nominal()
    found = [np.ravel(arguments_of(model, noise, theta)["background"]) for theta in (drawn, nominal)]
    return max(float(np.quantile(found[0], SHARE)), float(found[1][0]))


def arguments_of(model: Model, noise: Distribution, theta: Theta) -> dict[str, Array]:
    """The arguments of the noise, from parameters alone."""
    formulas = {text: model.noise_expressions[text](theta) for text in noise.names if text in model.noise_expressions}
    return noise.resolve({**theta, **formulas})


def observed_densities(
    model: Model, theta: Theta, densities: dict[str, Density], outcome: Outcome, room: Room
) -> tuple[dict[str, Density], Outcome]:
    """The distributions of what is observed at one `theta`, traceable, and the code of what has none."""
    code, found = outcome.result, dict(densities)
    for output, more, least in room:
        noise = model.noise[output]
        arguments = arguments_of(model, noise, theta)
        possible = jnp.all(jnp.stack([noise.domains[name].holds(value) for name, value in arguments.items()]))
        safe = {name: jnp.where(possible, value, noise.domains[name].stand_in) for name, value in arguments.items()}
        true = _over_counts(output, noise, densities[output])
        # a solve that failed must not make a derivative of the arguments fail
        true = jnp.where(outcome.result == 0, true, 0.0)
        size = max(true.shape[-1] + more, least + 1)
        probability = detected(true, safe["detection"], safe["background"], observed=size)
        lost = jnp.max(jnp.sum(true, axis=-1) - jnp.sum(probability, axis=-1))
        code = jnp.where((code == 0) & ~(possible & (lost <= LOST)), int(Result.NOT_COUNTED), code)
        found[output] = Density(np.arange(float(size)), probability)
    return found, outcome._replace(result=code)


def _over_counts(output: str, noise: Distribution, density: Density) -> Array:
    """Probabilities `(times, counts)` of 0, 1, ... up to the largest value."""
    finding = f"{output!r} is counted, by its noise {noise!r}, but "
    if isinstance(density.values, jax.core.Tracer):
        raise InputError("counts", [finding + "its values are not known before a run; give them as a NumPy array."])
    values = np.asarray(density.values)
    wrong = values[(values < 0) | (values != np.round(values))]
    if len(wrong):
        raise InputError("counts", [finding + f"has values such as {wrong[0]:g}; counts are whole numbers from 0 on."])
    if values.max() > MOST:
        raise InputError("counts", [finding + f"reaches {values.max():g}; counts up to {MOST} can be."])
    places = values.astype(int)
    if len(places) == places[-1] + 1:
        return density.probability
    return jnp.zeros((*density.probability.shape[:-1], places[-1] + 1)).at[..., places].set(density.probability)
