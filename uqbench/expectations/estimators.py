"""Derivatives of expected outputs by each of the ways that a system may offer.

Each estimator gives arrays (outputs, times, parameters), and a sentence where there is no number: a run that fails
takes all of them with it, because those that are left would be of another distribution.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..annotations import Values
from ..design import Design
from ..model import Model, Run, evaluate, evaluate_many, over_time
from ..systems.estimates import DERIVATIVE, DIFFERENCES, LIKELIHOOD_RATIO, PATHWISE

CONSTANT = "not resolved: the output is the same in all runs. Take more of them, or another method."
JUMPS = (
    "derivatives along paths contradict finite differences on the same paths: the output or a rate jumps where a state "
    "crosses a value. Take method='differences'."
)
NOT_FINITE = "a slope is not finite where a run came. Look for roots, fractional powers or logarithms at zero."
# Beyond so many standard errors, and this share of the difference, the two ways contradict each other.
ERRORS, SHARE = 4.0, 0.05


class Problem(NamedTuple):
    """What is asked for; `theta` is complete, `steps` are those of finite differences."""

    model: Model
    theta: Values
    design: Design
    names: tuple[str, ...]
    steps: Mapping[str, float]
    keys: Array

    def at(self, name: str, change: float) -> Values:
        """The parameters with one of them changed."""
        return {**self.theta, name: jnp.asarray(self.theta[name] + change, float)}


class Found(NamedTuple):
    """Derivatives and standard errors (outputs, times, parameters); `reason` is "" where there is a number."""

    value: Float[np.ndarray, "outputs times names"]
    error: Float[np.ndarray, "outputs times names"]
    reason: np.ndarray


def by_derivative(problem: Problem) -> Found:
    """Of deterministic outputs, which are expected values themselves."""
    model, design = problem.model, problem.design

    def outputs(values):
        theta = {**problem.theta, **dict(zip(problem.names, values, strict=True))}
        run = evaluate(model, theta, design, mode="forward")
        return _stacked(model, run, design), run.result

    # what is decided before a solve is decided outside the trace
    evaluate(model, problem.theta, design)
    values = jnp.array([problem.theta[name] for name in problem.names])
    slopes, code = jax.jacfwd(outputs, has_aux=True)(values)
    slopes = np.asarray(slopes)
    sentence = model.dynamics.sentence(int(code)) if int(code) else ""
    reason = np.where(np.isfinite(slopes), "", sentence or NOT_FINITE)
    return Found(np.where(reason == "", slopes, np.nan), np.where(reason == "", 0.0, np.nan), reason)


def by_differences(problem: Problem) -> Found:
    """Central differences of pairs of runs."""
    columns = []
    for name in problem.names:
        low, high = _pairs(problem, name)
        columns.append(_found(problem.model, (high[0] - low[0]) / problem.steps[name], [low, high]))
    return _side_by_side(columns)


def by_paths(problem: Problem) -> Found:
    """Derivatives along paths of a stochastic differential equation, compared with differences on the same paths."""
    model, design, columns = problem.model, problem.design, []
    for name in problem.names:

        def outputs(value, name=name):
            run = _many(problem, {**problem.theta, name: value})
            return _stacked(model, run, design), run.result

        value = jnp.asarray(problem.theta[name], float)
        values, slopes, codes = jax.jvp(outputs, (value,), (jnp.ones(()),), has_aux=True)
        low, high = _pairs(problem, name)
        found = _found(model, slopes, [(values, codes), low, high])
        apart = np.asarray((high[0] - low[0]) / problem.steps[name] - slopes)
        size = np.abs(np.mean(np.asarray(slopes) + apart, axis=0))
        limit = ERRORS * apart.std(axis=0) / np.sqrt(len(apart)) + SHARE * size
        # where no path has a slope, one pair that differs is enough
        flat = np.all(np.asarray(slopes) == 0.0, axis=0) & np.any(apart != 0.0, axis=0)
        wrong = (found.reason == "") & ((np.abs(apart.mean(axis=0)) > limit) | flat)
        columns.append(_without(found, wrong, JUMPS))
    return _side_by_side(columns)


def by_likelihood_ratio(problem: Problem) -> Found:
    """Covariance of outputs with the score, and what they depend on parameters otherwise."""
    model, design, names = problem.model, problem.design, problem.names
    runs, scores, direct = _scored(model, problem.theta, names, design, problem.keys)
    values = np.asarray(_stacked(model, runs, design))
    # a score has mean 0; as a covariance the estimate does not depend on the level of the output
    products = (values - values.mean(axis=0))[..., None] * np.asarray(scores - scores.mean(axis=0))[:, None]
    count = len(values)
    slopes = np.stack([np.asarray(direct[name]) for name in model.series], axis=1) + products * count / (count - 1)
    constant = np.all(values == values[0], axis=0) & ~np.any(np.isnan(values), axis=0)
    pairs = [(values, np.asarray(runs.result))]
    columns = [_found(model, slopes[..., k], pairs) for k in range(len(names))]
    return _side_by_side([_without(each, (each.reason == "") & constant, CONSTANT) for each in columns])


ESTIMATORS: dict[str, Callable[[Problem], Found]] = {
    DERIVATIVE: by_derivative,
    PATHWISE: by_paths,
    DIFFERENCES: by_differences,
    LIKELIHOOD_RATIO: by_likelihood_ratio,
}


def _stacked(model: Model, run: Run, design: Design) -> Float[Array, "*batch outputs times"]:
    return jnp.stack([*over_time(model, run.outputs, design).values()], axis=-2)


def _many(problem: Problem, theta: Values) -> Run:
    thetas = {name: jnp.broadcast_to(value, problem.keys.shape) for name, value in theta.items()}
    return evaluate_many(problem.model, thetas, problem.design, problem.keys)


def _pairs(problem: Problem, name: str) -> list[tuple[Array, np.ndarray]]:
    """Outputs (runs, outputs, times) and codes of runs half a step below and above."""
    half = 0.5 * problem.steps[name]
    low, high = problem.at(name, -half), problem.at(name, half)
    runs = _coupled(problem.model, low, high, problem.design, problem.keys)
    runs = (_many(problem, low), _many(problem, high)) if runs is None else runs
    return [(_stacked(problem.model, run, problem.design), np.asarray(run.result)) for run in runs]


@partial(jax.jit, static_argnames="model")
def _coupled(model: Model, low, high, design, keys):
    return model.dynamics.coupled_runs(model, low, high, design, keys)


@partial(jax.jit, static_argnames=("model", "names"))
def _scored(model: Model, theta, names: tuple[str, ...], design, keys):
    return model.dynamics.scored_runs(model, theta, names, design, keys)


def _found(model: Model, slopes, runs: Sequence[tuple]) -> Found:
    """Mean and standard error of slopes (runs, outputs, times), and the reason where there are none."""
    slopes = np.asarray(slopes)
    codes = np.concatenate([np.asarray(codes) for _, codes in runs])
    failures = [f"{count} runs: {sentence}" for sentence, count in model.dynamics.failures(codes).items()]
    value, error = slopes.mean(axis=0), slopes.std(axis=0) / np.sqrt(len(slopes))
    constant = np.all(np.stack([np.ptp(np.asarray(values), axis=0) == 0.0 for values, _ in runs]), axis=0)
    same = constant & (value == 0.0) & np.isfinite(value)
    reason = np.where(np.isfinite(value), np.where(same, CONSTANT, ""), " ".join(failures) or NOT_FINITE)
    return _without(Found(value, error, reason.astype(object)), reason != "", reason)


def _without(found: Found, where: np.ndarray, reason) -> Found:
    return Found(
        np.where(where, np.nan, found.value),
        np.where(where, np.nan, found.error),
        np.where(where, reason, found.reason).astype(object),
    )


def _side_by_side(columns: Sequence[Found]) -> Found:
    return Found(*(np.stack(parts, axis=-1) for parts in zip(*columns, strict=True)))
