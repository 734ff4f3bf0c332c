"""Designs that are good: greedy, then by exchange; and how far the best of all designs can be from them.

Measurements are added one at a time, the one with the largest gain for its price, and then exchanged one for one as
long as the criterion improves (Fedorov 1972, Theory of Optimal Experiments; Cook & Nachtsheim 1980, Technometrics 22,
315-324). That need not be the best design. No design within the budget is better than the
bound of `least_loss`, which comes from the equivalence theorem: the derivative towards every candidate at a design with
fractions of measurements (Kiefer & Wolfowitz 1960, doi:10.4153/CJM-1960-030-4).
"""

from dataclasses import dataclass

import numpy as np

from .criteria import Criterion
from .sensitivities import Additive

# The objective has to fall by more than this to be less.
IMPROVEMENT = 1e-9
# Of the fractions of measurements: steps at most, the gap to the bound that is small enough, and after how many steps
# the bound must have risen by a tenth of that.
STEPS, CLOSE, PATIENCE = 2000, 1e-3, 50
# An E-optimal design is approached by the norm of this order of the variances along all directions.
ORDER = 8.0


@dataclass(frozen=True, eq=False)
class Limits:
    """What a design may take.

    Args:
        price: of one measurement of each candidate, `(candidates,)`; budget: for all.
        most: how often each can be measured, `(candidates,)`; 0 for those that are not usable.
    """

    price: np.ndarray
    budget: float
    most: np.ndarray

    def affordable(self, times: np.ndarray) -> np.ndarray:
        """Indices of the candidates of which a design `times` `(candidates,)` can have one more."""
        left = self.budget - times @ self.price
        return np.flatnonzero((times < self.most) & (self.price <= left * (1.0 + 1e-12)))


def chosen(criterion: Criterion, limits: Limits) -> tuple[np.ndarray, float]:
    """A good design: how often each candidate is measured, `(candidates,)`; and the least loss any could have."""
    if not isinstance(criterion.designs, Additive):
        # no bound is known where what a measurement tells depends on the others
        nothing = np.zeros(len(limits.price), int)
        return _exchanged(criterion, limits, _filled(criterion, limits, nothing)), -np.inf
    weight, bound = fractions(criterion, limits)
    rounded = np.minimum(np.floor(weight + 1e-9), limits.most).astype(int)
    designs = [
        _exchanged(criterion, limits, _filled(criterion, limits, start)) for start in (np.zeros_like(rounded), rounded)
    ]
    best = min(designs, key=lambda times: float(criterion.objective(criterion.root(times))))
    return best, max(bound, least_loss(criterion, limits, criterion.root(best)))


def _filled(criterion: Criterion, limits: Limits, times: np.ndarray) -> np.ndarray:
    """The design and what else can be afforded, each time the candidate that gains most for its price."""
    times = times.copy()
    while len(members := limits.affordable(times)):
        root = criterion.root(times)
        gain = criterion.objective(root) - criterion.with_each(times, members)
        if np.max(gain) <= IMPROVEMENT:
            break
        times[members[np.argmax(gain / limits.price[members])]] += 1
    return times


def _exchanged(criterion: Criterion, limits: Limits, times: np.ndarray) -> np.ndarray:
    """The design after all exchanges of one measurement for another that improve it."""
    times, improved = times.copy(), True
    least = float(criterion.objective(criterion.root(times)))
    while improved:
        improved = False
        for member in np.flatnonzero(times):
            fewer = times.copy()
            fewer[member] -= 1
            others = limits.affordable(fewer)
            found = criterion.with_each(fewer, others)
            if np.min(found) < least - IMPROVEMENT:
                fewer[others[np.argmin(found)]] += 1
                times = _filled(criterion, limits, fewer)
                least, improved = float(criterion.objective(criterion.root(times))), True
                break
    return times


def fractions(criterion: Criterion, limits: Limits) -> tuple[np.ndarray, float]:
    """Fractions of measurements `(candidates,)` whose loss is near the least; and the bound of the latter.

    By the multiplicative algorithm (Silvey, Titterington & Torsney 1978, Communications in Statistics A 7, 1379-1389):
    the share of the budget for each candidate grows with the derivative towards it, for its price.
    """
    usable = limits.most > 0
    weight = np.where(usable, limits.budget / (limits.price * usable.sum()), 0.0)
    power = {"D": 1.0, "A": 0.5, "c": 0.5, "E": 1.0 / (ORDER + 1.0)}[criterion.kind]
    bound = before = -np.inf
    for step in range(STEPS):
        root = criterion.root(weight)
        bound = max(bound, least_loss(criterion, limits, root))
        if criterion.loss(root) - bound < CLOSE:
            break
        if step % PATIENCE == PATIENCE - 1:
            if bound - before < CLOSE / 10.0:
                break
            before = bound
        weight = weight * (_towards_each(criterion, root) / limits.price) ** power
        weight = weight * limits.budget / (weight @ limits.price)
        # what has died out costs time in every step
        weight[weight * limits.price < 1e-9 * limits.budget] = 0.0
    return weight, bound


def least_loss(criterion: Criterion, limits: Limits, root: np.ndarray) -> float:
    """What no design within the budget has less loss than, from the derivatives at a design with this root.

    With G the gradient there, T = tr G N* of the best information N* is at most tr G N0 of what exists and the budget
    times the largest derivative for its price. Then log det N* <= log det N + r log(T / r) by the means of the
    eigenvalues; tr B N*^-1 B' >= (tr B N^-1 B')^2 / T by the Cauchy-Schwarz inequality; and 1 / T <= the largest
    variance, G being a mean over directions of unit length.
    """
    slope, designs = _gradient_root(criterion, root), _additive(criterion)
    usable = limits.most > 0
    largest = np.max(_squared(designs.each[usable] @ slope.T) / limits.price[usable])
    total = np.sum((designs.base @ slope.T) ** 2) + limits.budget * largest
    if criterion.kind == "E":
        return float(-np.log(total))
    loss = criterion.loss(root)
    if criterion.kind == "D":
        return loss - float(np.log(total / criterion.rank))
    return 2.0 * loss - float(np.log(total))


def _gradient_root(criterion: Criterion, root: np.ndarray) -> np.ndarray:
    """H with G = H'H the gradient of the criterion with respect to the information, see `least_loss`."""
    _, singular, vectors = np.linalg.svd(root, full_matrices=False)
    inverse = vectors.T / np.hypot(singular, criterion.least)
    if criterion.kind == "D":
        return inverse.T
    spread = criterion.weight @ inverse
    if criterion.kind in "Ac":
        return spread @ inverse.T
    directions, sizes, _ = np.linalg.svd(spread)
    shares = sizes**ORDER / np.linalg.norm(sizes**ORDER)
    return shares[:, None] * np.linalg.solve(criterion.weight, directions).T


def _towards_each(criterion: Criterion, root: np.ndarray) -> np.ndarray:
    """Derivative towards each candidate, `(candidates,)`, up to a factor."""
    return _squared(_additive(criterion).each @ _gradient_root(criterion, root).T)


def _additive(criterion: Criterion) -> Additive:
    assert isinstance(criterion.designs, Additive)
    return criterion.designs


def _squared(rows: np.ndarray) -> np.ndarray:
    return np.sum(rows**2, axis=(1, 2))
