"""What is maximised: the log density of a study's data, with the priors or without, many points at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..errors import InputError
from ..likelihoods import Likelihood, Marginal, Scores, likelihood_of
from ..study import Study
from .coordinates import Coordinates

# Points that are solved together: a batch is padded to one of these sizes, so that no others are ever compiled.
SIZES = (2, 16)
TOGETHER = SIZES[-1]


class Score(NamedTuple):
    """The objective at one point: its value, gradient g and information R'R, of a matrix that is no larger than it.

    Args:
        value: -inf where a solve fails.
        gradient: `(k,)` by x.
        target: q `(k,)` with R'q = g, as far as the information says anything of the direction of g.
        root: R `(k, k)`.
    """

    value: float
    gradient: Float[np.ndarray, " k"]
    target: Float[np.ndarray, " k"]
    root: Float[np.ndarray, "k k"]


@dataclass(frozen=True, eq=False)
class Objective:
    """Log density of a study's data on coordinates.

    Args:
        likelihood: of the data.
        coordinates: of the parameters.
        prior: whether the log prior is added, per unit of the scale on which each prior is normal or uniform.
    """

    likelihood: Likelihood
    coordinates: Coordinates
    prior: bool = False

    @property
    def slack(self) -> float:
        """By how much values err against one another; of gradients the same is not asked."""
        return self.likelihood.slack

    def __call__(self, points: Float[np.ndarray, "n k"]) -> list[Score]:
        """Scores of these points, from few solves of many runs."""
        found: list[Score] = []
        for rows, padded in batches(points):
            arrays = [np.asarray(each) for each in _scores(self, padded)]
            found += [Score(float(arrays[0][k]), *(each[k] for each in arrays[1:])) for k in range(rows)]
        return found

    def values(self, points: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
        """The objective alone, without derivatives."""
        return np.concatenate([np.asarray(_values(self, padded))[:rows] for rows, padded in batches(points)])


def batches(points: Float[np.ndarray, "n k"]) -> Iterator[tuple[int, np.ndarray]]:
    """How many points are in each batch, and the batch, the last one repeated up to one of `SIZES`."""
    for start in range(0, len(points), TOGETHER):
        rows = points[start : start + TOGETHER]
        size = next(size for size in SIZES if len(rows) <= size)
        yield len(rows), np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)])


@partial(jax.jit, static_argnames="objective")
def _scores(objective: Objective, points: Float[Array, "n k"]) -> Score:
    return jax.vmap(partial(_score, objective))(points)


@partial(jax.jit, static_argnames="objective")
def _values(objective: Objective, points: Float[Array, "n k"]) -> Array:
    def value(x):
        data = objective.likelihood.log_density(objective.coordinates.place(x))
        return data + (jnp.sum(objective.coordinates.log_prior(x)) if objective.prior else 0.0)

    return jax.vmap(value)(points)


def _score(objective: Objective, x: Float[Array, " k"]) -> Score:
    parts = [objective.likelihood.scores(objective.coordinates.place, x)]
    if objective.prior:
        parts.append(_prior_scores(objective.coordinates, x))
    value, gradient = (sum(getattr(part, name) for part in parts) for name in ("value", "gradient"))
    root, residual = (jnp.concatenate([getattr(part, name) for part in parts]) for name in ("root", "residual"))
    short = max(len(x) - len(root), 0)
    root, residual = jnp.pad(root, ((0, short), (0, 0))), jnp.pad(residual, (0, short))
    orthogonal, triangle = jnp.linalg.qr(root)
    return Score(value, gradient, orthogonal.T @ residual, triangle)


def _prior_scores(coordinates: Coordinates, x: Float[Array, " k"]) -> Scores:
    """The log prior as rows of their own: its curvature where it has one, else what keeps a step in proportion."""
    value, gradient = jax.value_and_grad(lambda x: jnp.sum(coordinates.log_prior(x)))(x)
    curvature = -jnp.diag(jax.hessian(lambda x: jnp.sum(coordinates.log_prior(x)))(x))
    curvature = jnp.maximum(curvature, jnp.abs(gradient))
    safe = jnp.where(curvature > 0, curvature, 1.0)
    residual = jnp.where(curvature > 0, gradient / jnp.sqrt(safe), 0.0)
    return Scores(value, gradient, residual, jnp.diag(jnp.sqrt(jnp.maximum(curvature, 0.0))))


def objective_of(study: Study, prior: bool = False, tolerance: float = 1.0) -> Objective | None:
    """The objective of a study, one object for each, so that compiled functions are found again.

    Args:
        prior: whether the log prior is part of it.
        tolerance: factor of the tolerances of its solves.

    Returns:
        None where solves have no tolerance that could be another.

    Raises:
        InputError: no data, no gradient or information, parameters that differ between units.
    """
    subject = f"the best fit of study {study.name!r}"
    if study.data is None:
        raise InputError(subject, ["the study has no data; a fit needs a table."])
    return _objective(study, prior, tolerance)


@lru_cache(maxsize=16)
def _objective(study: Study, prior: bool, tolerance: float) -> Objective | None:
    model = study.model
    if tolerance != 1.0:
        system = model.dynamics.with_tolerance(tolerance)
        if system is None:
            return None
        study = replace(study, model=replace(model, system=system))
    # a finer integral over the units, too
    units = Marginal.of(study, more=2 if tolerance < 1 else 0) if model.space.aleatory else None
    likelihood = units or likelihood_of(study)
    for capability in ("gradient", "information"):
        likelihood.require(capability, f"the best fit of study {study.name!r}")
    return Objective(likelihood, Coordinates.of(model.space), prior)
