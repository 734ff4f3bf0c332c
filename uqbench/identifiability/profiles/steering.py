"""A function of the parameters as one more coordinate, so that it has a profile as a parameter has one.

With c held, what is maximised over the parameters x is F = L(x) - ((phi(h(x)) - c) / delta)^2 / 2. At its maximum no x
with the same h has a larger L, so that this is a point of the profile of h, exactly, whatever c, delta and the rising
function phi are: they only steer. The slope of the profile there is dL/dphi = (phi - c) / delta^2. F is the validation
profile of Kreutz, Raue & Timmer (2012, doi:10.1186/1752-0509-6-120), whose measurement at c has the error delta.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...compiling import LITTLE_EFFORT
from ...design import Design
from ...model import method_for, with_sensitivities
from ...optimization.ascent import NOWHERE, Box
from ...optimization.objective import Objective, Score, Target, in_batches
from ...optimization.rounds import Stopped
from ...study import Quantity
from ..population import median_unit
from .path import Point, Side

# delta, as a part of the standard error of phi, but no more than a part of its unit, should the error be overestimated.
SHARE, LEAST = 0.25, 0.02


class Value(NamedTuple):
    """A quantity at one point: h and its gradient `(k,)` by x, not numbers where its run fails."""

    value: float
    gradient: Float[np.ndarray, " k"]


@dataclass(frozen=True, eq=False)
class Predicted:
    """A quantity as a function of the coordinates, in a study with aleatory parameters that of the median unit.

    Args:
        target: of the objective, whose coordinates and tolerances these are.
        quantity: what is predicted.
        solved: whether it depends on outputs.
    """

    target: Target
    quantity: Quantity
    solved: bool

    @classmethod
    def of(cls, target: Target, quantity: Quantity) -> "Predicted":
        return cls(target, quantity, bool(quantity.outputs_used(target.likelihood.study.model)))

    def __call__(self, points: Float[np.ndarray, "n k"]) -> list[Value]:
        model, design = self.target.likelihood.study.model, self.quantity.design
        method = method_for(model, design) if self.solved else None
        predictions = _few_predictions if self.target.finer else _predictions
        values, gradients = in_batches(
            lambda points, count: predictions(self.target, self.quantity.function, design, method, points),
            points,
            model.dynamics.one_by_one,
            (self, method),
        )
        return [Value(float(value), gradient) for value, gradient in zip(values, gradients, strict=True)]


def _predictions_of(target: Target, function, design: Design, method: str | None, points: Float[Array, "n k"]):
    """Values `(n,)` and gradients `(n, k)`; without a method nothing is solved."""
    model, quantity = target.likelihood.study.model, Quantity(function, design)

    def value(x):
        theta = median_unit(model.space, target.coordinates.place(x))
        if method is None:
            shapes = quantity.arguments(model)[0]
            outputs = {name: jnp.zeros(shape.shape) for name, shape in shapes.items()}
        else:
            outputs = with_sensitivities(model, method)(theta, design).outputs
        found = jnp.asarray(quantity.value(outputs, theta), float)
        return found, found

    gradients, values = jax.vmap(jax.jacfwd(value, has_aux=True))(points)
    return values, gradients


_predictions = jax.jit(_predictions_of, static_argnames=("target", "function", "method"))
_few_predictions = jax.jit(
    _predictions_of, static_argnames=("target", "function", "method"), compiler_options=LITTLE_EFFORT
)


class Steering(NamedTuple):
    """The scale phi on which a quantity is steered, and the width delta.

    Args:
        sign: of quantities that have one sign, whose phi is the logarithm of their size, falling where they are
            negative; 0: phi is the quantity itself.
        delta: in units of phi.
    """

    sign: int
    delta: float

    def phi(self, h: float) -> float:
        """phi at h, not a number where it has none."""
        if not self.sign:
            return h
        return self.sign * float(np.log(self.sign * h)) if self.sign * h > 0 else np.nan

    def slope(self, h: float) -> float:
        """dphi/dh."""
        return 1.0 / abs(h) if self.sign else 1.0

    def natural(self, phi: float) -> float:
        """h at phi."""
        return self.sign * float(np.exp(self.sign * phi)) if self.sign else float(phi)


class SteeredScore(NamedTuple):
    """F at one point (x, c), as a `Score` of k + 1 coordinates; and what is known of the profile there.

    Args:
        value, gradient, target, root: of F.
        score: of L.
        phi: of the quantity.
        rise: dL/dphi.
        answer: dphi/dc, to first order, as x follows.
    """

    value: float
    gradient: Float[np.ndarray, " k1"]
    target: Float[np.ndarray, " k1"]
    root: Float[np.ndarray, "k1 k1"]
    score: Score
    phi: float
    rise: float
    answer: float

    @property
    def density(self) -> float:
        """L, which the profile is of."""
        return self.score.value

    @property
    def beyond(self) -> Float[np.ndarray, " k1"]:
        """The part of the gradient of F of which the information says nothing."""
        return self.gradient - self.root.T @ self.target

    def along(self, index: int) -> float:
        """dL/dc: the coordinate that is held is c."""
        return self.rise * self.answer


def steered(score: Score, found: Value, x: Float[np.ndarray, " k1"], steering: Steering, box: Box) -> SteeredScore:
    """F at x, whose last entry is c, from the score of the data and the quantity there."""
    k, phi = len(x) - 1, steering.phi(found.value)
    if not np.isfinite([score.value, phi, *found.gradient]).all():
        zero = np.zeros(k + 1)
        return SteeredScore(-np.inf, zero, zero, np.zeros((k + 1, k + 1)), NOWHERE, np.nan, 0.0, 0.0)
    away = (phi - x[-1]) / steering.delta
    row = np.append(found.gradient * steering.slope(found.value), -1.0) / steering.delta
    root = np.zeros((k + 1, k + 1))
    root[:k, :k], root[k] = score.root, row
    moving = np.flatnonzero((x > box.lower) & (x < box.upper))[:-1]
    answer = 0.0
    if len(moving):
        unit = box.scale[moving]
        step = np.linalg.lstsq(root[:, moving] * unit, -root[:, k], rcond=1e-12)[0]
        answer = float(np.clip(steering.delta * (row[moving] * unit) @ step, 0.0, 1.0))
    return SteeredScore(
        score.value - 0.5 * away**2,
        np.append(score.gradient, 0.0) - away * row,
        np.append(score.target, -away),
        root,
        score,
        phi,
        away / steering.delta,
        answer,
    )


def score_at(point: Point) -> SteeredScore:
    """The score at a point of a quantity's path."""
    return cast(SteeredScore, point.score)


def searched(
    search: Generator[Float[np.ndarray, " k1"], Score, Side], number: int, steering: Steering, box: Box
) -> Generator[Float[np.ndarray, " k1"], tuple[Score, Value], Side]:
    """A search in (x, c) for `in_rounds`, which is asked for x and the number of the quantity."""
    try:
        x = next(search)
        while True:
            try:
                score, found = yield np.append(x[:-1], number)
            except Stopped as stop:
                x = search.throw(stop)
            else:
                # it asks for no more than both kinds of scores have
                x = search.send(cast(Score, steered(score, found, x, steering, box)))
    except StopIteration as ended:
        return ended.value


def answers(objective: Objective, quantities: Sequence[Predicted], points: Float[np.ndarray, "n k1"]):
    """What `searched` asks for: the score of the data at each point, and the quantity whose number it has."""
    scores, number = objective(points[:, :-1]), points[:, -1].astype(int)
    found: list[Value | None] = [None] * len(points)
    for each in np.unique(number):
        rows = np.flatnonzero(number == each)
        for row, value in zip(rows, quantities[each](points[rows, :-1]), strict=True):
            found[row] = value
    return list(zip(scores, found, strict=True))
