"""Ascents by themselves: quadratics in boxes, a curved valley, and the edges of what can be solved."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from uqbench.optimization.ascent import Box, ascend, predicted_gain, within
from uqbench.optimization.objective import Score
from uqbench.optimization.rounds import in_rounds


def box(k, lower=-np.inf, upper=np.inf):
    return Box(np.full(k, lower), np.full(k, upper), np.ones(k, bool), np.ones(k))


def of_residuals(residual, jacobian):
    """Scores of minus half a sum of squares."""

    def score(x):
        q, root = np.linalg.qr(jacobian(x))
        # r = y - f(x), so that the gradient of -|r|^2/2 is J'r
        value = -0.5 * float(residual(x) @ residual(x))
        target = q.T @ residual(x)
        short = len(x) - len(root)
        return Score(value, jacobian(x).T @ residual(x), np.pad(target, (0, short)), np.pad(root, ((0, short), (0, 0))))

    return lambda points: [score(x) for x in points]


def climbed(evaluate, x, box, **settings):
    (peak,), _ = in_rounds([ascend(np.asarray(x, float), box, **settings)], evaluate, 1)
    return peak


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_quadratics_in_boxes_end_where_scipy_ends(seed, k):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(k + 2, k)) * 10.0 ** rng.uniform(-1, 1, k)
    y, lower, upper = rng.normal(size=k + 2), -rng.uniform(0.05, 2, k), rng.uniform(0.05, 2, k)
    start = rng.uniform(lower, upper)
    peak = climbed(
        of_residuals(lambda x: y - matrix @ x, lambda x: matrix), start, Box(lower, upper, np.ones(k, bool), np.ones(k))
    )
    best = lsq_linear(matrix, y, (lower, upper), tol=1e-14)
    assert peak.verdict == "converged"
    assert -peak.score.value <= best.cost + 1e-5
    assert np.all((lower <= peak.x) & (peak.x <= upper))


@pytest.mark.parametrize("upper", [np.inf, 0.5])
def test_a_curved_valley(upper):
    """Rosenbrock 1960: the best is at (1, 1), and on the bound x <= 1/2 at (1/2, 1/4)."""
    rosenbrock = of_residuals(
        lambda x: np.array([1 - x[0], -10 * (x[1] - x[0] ** 2)]),
        lambda x: np.array([[1.0, 0.0], [-20 * x[0], 10.0]]),
    )
    peak = climbed(rosenbrock, [-1.2, 0.4], box(2, upper=upper))
    assert peak.verdict == "converged"
    np.testing.assert_allclose(peak.x, [min(1.0, upper), min(1.0, upper) ** 2], atol=5e-3)


def test_large_residuals_need_what_the_information_misses():
    """f = (x, x^2 / 2) at y = (0, -4): the best is x = 0, whose curvature is 1 + 4, not the expected 1."""
    evaluate = of_residuals(lambda x: np.array([0 - x[0], -4 - x[0] ** 2 / 2]), lambda x: np.array([[1.0], [x[0]]]))
    peak = climbed(evaluate, [2.0], box(1), gain=1e-12)
    assert peak.verdict == "converged" and peak.scores < 25
    assert abs(peak.x[0]) < 1e-5


@pytest.mark.parametrize("factor", [1.0, -1.0, 0.0, 1e6])
def test_a_curvature_from_elsewhere_helps_and_never_misleads(factor):
    """The same with another start: the right curvature saves steps, and a wrong one does not end an ascent early."""
    evaluate = of_residuals(lambda x: np.array([0 - x[0], -4 - x[0] ** 2 / 2]), lambda x: np.array([[1.0], [x[0]]]))
    found = climbed(evaluate, [2.0], box(1), gain=1e-12).missing
    assert found is not None and abs(found[0, 0] - 4.0) < 1.0
    alone = climbed(evaluate, [0.2], box(1), gain=1e-9)
    helped = climbed(evaluate, [0.2], box(1), gain=1e-9, missing=factor * found)
    assert helped.verdict == "converged" and abs(helped.x[0]) < 1e-4
    if factor == 1.0:
        assert helped.scores < alone.scores


def test_a_direction_without_information_is_climbed_all_the_same():
    """A gradient of which the information says nothing: the steps are as long as they may be, up to the bound."""

    def evaluate(points):
        return [Score(3 * x[0], np.array([3.0]), np.zeros(1), np.zeros((1, 1))) for x in points]

    peak = climbed(evaluate, [0.0], box(1, -9.0, 9.0))
    assert peak.verdict == "converged" and peak.x[0] == 9.0


def test_the_edge_of_what_can_be_solved_is_no_optimum():
    def evaluate(points):
        value = [-((x[0] - 3.0) ** 2) / 2 if x[0] < 1 else -np.inf for x in points]
        return [
            Score(each, 3.0 - x, 3.0 - x, np.eye(1))
            if np.isfinite(each)
            else Score(each, 0 * x, 0 * x, np.zeros((1, 1)))
            for each, x in zip(value, points, strict=True)
        ]

    peak = climbed(evaluate, [0.0], box(1))
    assert peak.verdict == "stalled"
    assert 0.99 < peak.x[0] < 1.0 and peak.gain > 0.5


def test_a_start_without_a_density_fails_and_few_scores_stop():
    nowhere = climbed(lambda points: [Score(-np.inf, x, x, np.eye(1)) for x in points], [0.0], box(1))
    assert nowhere.verdict == "failed"
    evaluate = of_residuals(lambda x: np.array([1.0 - np.exp(x[0])]), lambda x: np.array([[np.exp(x[0])]]))
    assert climbed(evaluate, [-9.0], box(1), most=2).verdict == "stopped"


def test_held_coordinates_stay():
    evaluate = of_residuals(lambda x: 2.0 - x, lambda x: np.eye(2))
    peak = climbed(evaluate, [0.0, 0.0], box(2).holding(1))
    np.testing.assert_allclose(peak.x, [2.0, 0.0], atol=2e-3)


def test_the_gain_of_a_quadratic_is_known():
    """From x = 0 to the best at 1/2 a value of -(x - 1/2)^2 rises by 1/4; bounded by 1/4 it rises by 3/16."""
    (score,) = of_residuals(lambda x: np.sqrt(2) * (0.5 - x), lambda x: np.sqrt(2) * np.eye(1))([np.zeros(1)])
    assert predicted_gain(score, np.zeros(1), box(1)) == pytest.approx(0.25)
    assert predicted_gain(score, np.zeros(1), box(1, upper=0.25)) == pytest.approx(3 / 16)


@given(st.integers(0, 10_000))
def test_steps_in_a_ball_are_the_best_there(seed):
    """No point of the ball is better by the quadratic, whose curvature may have any sign."""
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(3, 3))
    curvature, gradient, radius = half + half.T, rng.normal(size=3), rng.uniform(0.1, 3)
    step = within(curvature, gradient, radius)
    assert np.linalg.norm(step) <= radius * (1 + 1e-9)
    others = rng.normal(size=(500, 3))
    others *= radius * rng.uniform(0, 1, (500, 1)) / np.linalg.norm(others, axis=1, keepdims=True)
    gains = others @ gradient - 0.5 * np.einsum("ni,ij,nj->n", others, curvature, others)
    gain = gradient @ step - 0.5 * step @ curvature @ step
    # a radius within five per cent is near enough
    assert gain >= gains.max() - 0.1 * abs(gains.max())
