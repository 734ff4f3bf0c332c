"""What is maximised: the log density of a study's data, with the priors or without, many points at a time."""

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..annotations import AnyArray
from ..compiling import LITTLE_EFFORT
from ..errors import InputError
from ..likelihoods import Likelihood, Marginal, Scores, likelihood_of
from ..measurements import values_of
from ..model import over_cores
from ..study import Study
from .coordinates import Coordinates

# Points that are solved together: every batch is padded to as many, so that no other size is ever compiled. A few for
# each core, because a search alone pays for all of them, unless each point occupies all cores (`Target.singly`).
TOGETHER = max(4, os.cpu_count() or 1)

# The largest root of an information: its fourth power is still a number.
LARGEST_ROOT = 1e75


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

    @property
    def beyond(self) -> Float[np.ndarray, " k"]:
        """The part of the gradient of which the information says nothing."""
        return self.gradient - self.root.T @ self.target

    @property
    def density(self) -> float:
        """The log density that a profile is of; an ascent may climb a `value` that has more in it."""
        return self.value

    def along(self, index: int) -> float:
        """How the log density of a profile changes with the coordinate that is held, the others following."""
        return float(self.gradient[index])


def _within_numbers(score: Score) -> Score:
    """The same, or none where squares overflow, as where a standard deviation goes to zero."""
    if np.max(np.abs(score.root)) < LARGEST_ROOT:
        return score
    return Score(-np.inf, *(np.zeros_like(each) for each in score[1:]))


@dataclass(frozen=True, eq=False)
class Target:
    """What is compiled: a log density on coordinates, of whatever values stand in the table, with the prior or without.

    Args:
        likelihood: of the data.
        coordinates: of the parameters.
        finer: whether it is asked for a few points only, to certify others; then it is compiled with less effort.
    """

    likelihood: Likelihood
    coordinates: Coordinates
    finer: bool = False

    @property
    def singly(self) -> bool:
        """Whether points of a batch are solved one after the other, being many solves each that cores share out."""
        model = self.likelihood.study.model
        design = next(iter(self.likelihood.study.experiments.values()))
        return isinstance(self.likelihood, Marginal) and model.dynamics.keeps_sensitivities(model, design)


@dataclass(frozen=True, eq=False)
class Objective:
    """Log density of a study's data on coordinates.

    Args:
        study: whose data these are.
        target: as a function of parameters and data.
        data: output -> what was measured.
        prior: whether the log prior is added, per unit of the scale on which each prior is normal or uniform.
        per_x: whether it is added per unit of the coordinates instead, so that the whole is a density of these.
    """

    study: Study
    target: Target
    data: Mapping[str, Float[AnyArray, " rows"]]
    prior: bool
    per_x: bool = False

    @property
    def likelihood(self) -> Likelihood:
        return self.target.likelihood

    @property
    def coordinates(self) -> Coordinates:
        return self.target.coordinates

    @property
    def slack(self) -> float:
        """By how much values err against one another; of gradients the same is not asked."""
        return self.likelihood.slack

    def findings(self, x: Float[np.ndarray, " k"]) -> list[str]:
        """Why there is no score at x, of this study and not of the one that its target was compiled for."""
        found = _likelihood(self.study).density_findings(self.coordinates.place(x))
        return found or ["the gradient of the log density is not finite; give other values."]

    def __call__(self, points: Float[np.ndarray, "n k"]) -> list[Score]:
        """Scores of these points, from few solves of many runs."""
        scores = _few_scores if self.target.finer else _scores
        arrays = in_batches(
            lambda points, count: scores(self.target, points, count, self.data, float(self.prior), float(self.per_x)),
            points,
            self.study.model.dynamics.one_by_one,
            (self.target, self.prior),
        )
        return [_within_numbers(Score(float(value), *more)) for value, *more in zip(*arrays, strict=True)]


def in_batches(
    solve: Callable[[np.ndarray, int], Sequence[Array]],
    points: Float[np.ndarray, "n k"],
    one_by_one: bool,
    compiled: Hashable,
) -> list[np.ndarray]:
    """The arrays that `solve` gives for batches of points, put together.

    Args:
        solve: is given points `(m, k)`, and how many of them count: of the others it may give anything.
        one_by_one: see `System.one_by_one`; each point is a batch then, and cores share them out.
        compiled: for what `solve` is compiled.
    """
    size = 1 if one_by_one else TOGETHER

    def of(start: int) -> list[np.ndarray]:
        rows = points[start : start + size]
        padded = np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)])
        return [np.asarray(each)[: len(rows)] for each in solve(padded, len(rows))]

    starts = range(0, len(points), size)
    found = over_cores(of, starts, compiled) if one_by_one else [of(start) for start in starts]
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def _scores_of(
    target: Target, points: Float[Array, "n k"], count: int, data: dict[str, Array], prior: float, per_x: float
) -> tuple[Array, ...]:
    """Arrays of `Score`; zero beyond the first `count` where points are solved one by one."""
    if not target.singly:
        return jax.vmap(lambda x: _score(target, x, data, prior, per_x))(points)

    def solved(state):
        place, found = state
        score = _score(target, points[place], data, prior, per_x)
        return place + 1, tuple(each.at[place].set(part) for each, part in zip(found, score, strict=True))

    n, k = points.shape
    nothing = tuple(jnp.zeros(shape) for shape in ((n,), (n, k), (n, k), (n, k, k)))
    return jax.lax.while_loop(lambda state: state[0] < count, solved, (0, nothing))[1]


_scores = jax.jit(_scores_of, static_argnames="target")
# Of a population, compiling for speed takes half as long again, and then spares a twentieth of each score.
_few_scores = jax.jit(_scores_of, static_argnames="target", compiler_options=LITTLE_EFFORT)


def _score(
    target: Target, x: Float[Array, " k"], data: dict[str, Array], prior: float, per_x: float
) -> tuple[Array, ...]:
    """Value, gradient, target and root of a `Score`."""
    rows = _prior_scores(target.coordinates, x, per_x)
    counted = Scores(*(jnp.where(prior > 0, each, 0.0) for each in rows))
    parts = [target.likelihood.scores(target.coordinates.place, x, data), counted]
    value, gradient = (sum(getattr(part, name) for part in parts) for name in ("value", "gradient"))
    root, residual = (jnp.concatenate([getattr(part, name) for part in parts]) for name in ("root", "residual"))
    short = max(len(x) - len(root), 0)
    root, residual = jnp.pad(root, ((0, short), (0, 0))), jnp.pad(residual, (0, short))
    orthogonal, triangle = jnp.linalg.qr(root)
    return value, gradient, orthogonal.T @ residual, triangle


def _prior_scores(coordinates: Coordinates, x: Float[Array, " k"], per_x: float) -> Scores:
    """The log prior as rows of their own: its curvature where it has one, else what keeps a step in proportion."""

    def log_prior(x):
        return jnp.sum(coordinates.log_prior(x, per_x))

    value, gradient = jax.value_and_grad(log_prior)(x)
    curvature = -jnp.diag(jax.hessian(log_prior)(x))
    curvature = jnp.maximum(curvature, jnp.abs(gradient))
    safe = jnp.where(curvature > 0, curvature, 1.0)
    residual = jnp.where(curvature > 0, gradient / jnp.sqrt(safe), 0.0)
    return Scores(value, gradient, residual, jnp.diag(jnp.sqrt(jnp.maximum(curvature, 0.0))))


def objective_of(
    study: Study,
    prior: bool = False,
    *,
    per_x: bool = False,
    values: Mapping[str, Float[AnyArray, " rows"]] | None = None,
) -> Objective:
    """The objective of a study; what is compiled for it serves every study that differs in the measured values alone.

    Args:
        prior, per_x: whether the log prior is part of it, and per unit of which scale, see `Objective`.
        values: output -> what stands for its measured values; default these.

    Raises:
        InputError: no data, no gradient or information, nothing to be fitted.
    """
    findings = [] if study.data is not None or values is not None else ["the study has no data; a fit needs a table."]
    if not study.model.space.epistemic:
        findings.append("no parameter of its model is epistemic; there is nothing to be fitted.")
    if findings:
        raise InputError(f"the best fit of study {study.name!r}", findings)
    target = _target(_SameRows(study))
    return Objective(study, target, values_of(study.table) if values is None else values, prior, per_x)


def finer_objective_of(study: Study, prior: bool, tolerance: float) -> Objective | None:
    """The same with the tolerances of its solves times `tolerance`, and finer integrals over the units.

    Returns:
        None where neither solves nor integrals have an accuracy that could be another.
    """
    target = _finer_target(_SameRows(study), tolerance)
    return None if target is None else Objective(study, target, values_of(study.table), prior)


class _SameRows:
    """A study as a key that does not see what was measured."""

    def __init__(self, study: Study):
        self.study = study
        self.key = (study.model, study.likelihood, study.plan_digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SameRows) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=16)
def _target(rows: _SameRows) -> Target:
    study = rows.study
    likelihood = _likelihood(study)
    for capability in ("gradient", "information"):
        likelihood.require(capability, f"the best fit of study {study.name!r}")
    return Target(likelihood, Coordinates.of(study.model.space))


@lru_cache(maxsize=16)
def _finer_target(rows: _SameRows, tolerance: float) -> Target | None:
    study = rows.study
    finer = study.model.dynamics.with_tolerance(tolerance)
    if finer is None and not study.model.space.aleatory:
        return None
    if finer is not None:
        study = replace(study, model=replace(study.model, system=finer))
    return Target(_likelihood(study, finer=True), Coordinates.of(study.model.space), finer=True)


def _likelihood(study: Study, finer: bool = False) -> Likelihood:
    """The likelihood of the epistemic parameters of a study."""
    return Marginal.of(study, finer) if study.model.space.aleatory else likelihood_of(study)
