"""Which few of many polynomials explain the runs, and how well they would explain runs that were not used.

The candidates are products of univariate polynomials whose degrees satisfy (sum_i degree_i^q)^(1/q) <= p: all of total
degree p for q = 1, and with fewer interactions the smaller q is (hyperbolic sets, Blatman and Sudret 2011,
doi:10.1016/j.jcp.2010.12.021). A pursuit adds them one by one, each time the one that lowers the sum of squares most
when all coefficients are fitted anew (orthogonal least squares, Chen, Billings and Luo 1989,
doi:10.1080/00207178908953472); its last step is the dense least-squares fit, so that is one of the choices.

A sample is a *block* of rows: the output, and with gradients its d derivatives. Leaving out a whole sample needs no new
fit: the residuals of its block are (I - H)^-1 e with H the block of the hat matrix. Every step changes H by one outer
product, hence the inverse by another. The mean square is corrected for few rows (Chapelle, Vapnik and Bengio 2002,
doi:10.1023/A:1013943418833).

This error chooses the number of terms but does not know that the terms were chosen by the same samples. Measured
(Borehole, 200 runs, 6435 candidates, up to 180 terms) it said 3e-12 where new points said 4e-5. So at most half as many
terms as rows are taken, the shortest expansion whose error cannot be told from the least one is preferred (paired over
samples), and the error that is reported comes from `held_out`: folds in which the terms are chosen anew. A set of
candidates that the rows can hold as a whole is followed to its end instead: an output in which many inputs act alike is
explained by none of the shorter expansions, and by the dense one at once.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

DEPENDENT = (
    1e-8  # a candidate with less than this share of its square outside of the chosen ones adds nothing but noise
)
EXACT = 1e-14  # residual over target below which only rounding is left
SATURATED = 1e-10  # 1 - leverage of a sample that nothing but itself determines
# Share of the rows that the terms may be: those chosen among many, and all of a set, where nothing is chosen.
CHOSEN_SHARE, DENSE_SHARE = 0.5, 0.8


def candidate_terms(d: int, degree: int, q_norm: float, limit: int) -> np.ndarray | None:
    """Exponents `(terms, d)` of a hyperbolic set, the constant first and lower norms before higher; None if more than
    `limit`.

    Example:
        >>> candidate_terms(2, 2, 0.5, 100).tolist()
        [[0, 0], [0, 1], [1, 0], [0, 2], [2, 0]]
    """
    # the slack keeps terms that lie on the border in spite of rounding
    powers, budget = np.arange(degree + 1.0) ** q_norm, degree**q_norm * (1 + 1e-12)
    terms, used = np.zeros((1, 0), dtype=int), np.zeros(1)
    for _ in range(d):
        total = used[:, None] + powers
        row, exponent = np.nonzero(total <= budget)
        if len(row) > limit:
            return None
        terms, used = np.column_stack([terms[row], exponent]), total[row, exponent]
    return terms[np.lexsort((*terms.T[::-1], used.round(9)))]


def design_rows(values: np.ndarray, slopes: np.ndarray | None, terms: np.ndarray) -> np.ndarray:
    """Every term, and with slopes its derivative in every input, at every sample: `(n, 1 or 1 + d, terms)`.

    Args:
        values: univariate polynomials `(n, d, degree + 1)`.
        slopes: their derivatives, or None.
        terms: exponents `(terms, d)`.
    """
    d = terms.shape[1]
    factors = [values[:, i, terms[:, i]] for i in range(d)]
    rows = [np.prod(factors, axis=0)]
    for i in range(d if slopes is not None else 0):
        others = [factors[j] for j in range(d) if j != i]
        rows.append(np.prod([slopes[:, i, terms[:, i]], *others], axis=0))
    return np.stack(rows, axis=1)


@dataclass(frozen=True, eq=False)
class Fit:
    """Least-squares coefficients of chosen terms.

    Args:
        chosen: positions of the terms among the candidates, the constant first.
        coefficients: one for each.
        loss: corrected leave-one-sample-out square `(n, rows of a sample)`, in the units of the weighted target.
        influence: how much each sample moves each coefficient, `(n, terms)`: with the sample minus without.
        own_influence: the same before correcting for leverage; summed products of the two estimate the variances of the
            coefficients without bias if the residuals are independent between samples and alike.
        operator: `(terms, n, rows of a sample)`, from targets to coefficients.
    """

    chosen: np.ndarray
    coefficients: np.ndarray
    loss: np.ndarray
    influence: np.ndarray
    own_influence: np.ndarray
    operator: np.ndarray


def pursue(rows: np.ndarray, target: np.ndarray) -> Fit:
    """Chooses terms and their number for one output.

    Args:
        rows: weighted candidates `(n, m, candidates)`, the constant first; m rows for each sample.
        target: weighted `(n, m)`.
    """
    n, m, _ = rows.shape
    order, basis, triangle, losses = _path(rows.reshape(n * m, -1), target)
    # the shortest one that is not worse than the best by more than the standard error of their difference
    scores = losses.sum(axis=-1)
    gap = scores - scores[np.argmin(scores.mean(axis=1))]
    close = gap.mean(axis=1) <= gap.std(axis=1) / np.sqrt(n)
    k = int(np.argmax(close)) + 1
    basis, triangle = basis[:k], triangle[:k, :k]
    residual = target - (basis.T @ (basis @ target.ravel())).reshape(n, m)
    blocks = np.moveaxis(basis.reshape(k, n, m), 0, 1)
    left_out = np.linalg.solve(np.eye(m) - np.einsum("nka,nkb->nab", blocks, blocks), residual[..., None])[..., 0]
    operator = solve_triangular(triangle, basis).reshape(k, n, m)
    return Fit(
        chosen=order[:k],
        coefficients=operator.reshape(k, -1) @ target.ravel(),
        loss=losses[k - 1],
        influence=np.einsum("knm,nm->nk", operator, left_out),
        own_influence=np.einsum("knm,nm->nk", operator, residual),
        operator=operator,
    )


def _path(columns: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Chosen columns, an orthonormal basis of them (steps, rows), its triangle, and losses (steps, n, m)."""
    n, m = target.shape
    size, candidates = columns.shape
    # a set that the rows can hold as a whole is followed to its end, the dense fit
    dense = candidates <= DENSE_SHARE * size
    steps = candidates if dense else max(int(CHOSEN_SHARE * size), 1)
    y = target.ravel()
    norms = np.einsum("ij,ij->j", columns, columns)
    # what is left of every candidate, and of its product with the residual, after those that were chosen
    left, product = norms.copy(), y @ columns
    basis, triangle, inverse = np.zeros((steps, size)), np.zeros((steps, steps)), np.zeros((steps, steps))
    unexplained = np.broadcast_to(np.eye(m), (n, m, m)).copy()  # (I - H)^-1 of every sample
    residual, trace = y.copy(), 0.0
    order: list[int] = []
    losses, best, since = [], np.inf, 0
    for k in range(steps):
        gain = np.where(left > DEPENDENT * norms, product**2 / np.where(left > 0, left, 1.0), -1.0)
        gain[order] = -1.0
        new = int(np.argmax(gain)) if k else 0
        if gain[new] < 0:
            break
        direction, projection = columns[:, new].copy(), np.zeros(k)
        for _ in range(2):  # once more against rounding
            part = _times(basis[:k], direction)
            direction -= _times(basis[:k].T, part)
            projection += part
        length = np.linalg.norm(direction)
        direction /= length
        block = direction.reshape(n, m)
        moved = np.einsum("nab,nb->na", unexplained, block)
        remaining = 1 - np.einsum("na,na->n", block, moved)
        if (remaining < SATURATED).any():
            break
        unexplained += moved[:, :, None] * (moved / remaining[:, None])[:, None, :]
        basis[k], triangle[:k, k], triangle[k, k] = direction, projection, length
        inverse[:k, k], inverse[k, k] = -_times(inverse[:k, :k], projection) / length, 1 / length
        trace += np.sum(inverse[: k + 1, k] ** 2)
        order.append(new)
        overlap = _times(columns.T, direction)
        product -= (direction @ y) * overlap
        left -= overlap**2
        residual -= direction * (direction @ residual)
        few_rows = (1 + trace) / (1 - (k + 1) / size)
        # what was chosen, or what was left out if that is less: in the dense fit there was no choice
        choices = min(k, candidates - 1 - k)
        correction = few_rows * (1 + 2 * choices * np.log(candidates) / size)
        losses.append(correction * np.einsum("nab,nb->na", unexplained, residual.reshape(n, m)) ** 2)
        loss = losses[-1].sum() / n
        best, since = (loss, 0) if loss < 0.999 * best else (best, since + 1)
        if (since > max(20, 0.2 * k) and not dense) or np.linalg.norm(residual) <= EXACT * np.linalg.norm(y):
            break
    return np.array(order), basis[: len(order)], triangle[: len(order), : len(order)], np.array(losses)


def _times(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """A product that stays on one thread: on busy cores BLAS lost a factor of 30 on these by waiting for another."""
    return np.einsum("ij,j->i", matrix, vector)


def held_out(rows: np.ndarray, target: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, list[Fit]]:
    """Error of every sample's output `(n,)` when its fold is left out of the choice of terms and of the fit; and the
    fits without each fold. `fold` `(n,)` holds numbers from 0 on."""
    error, fits = np.empty(len(rows)), []
    for k in range(fold.max() + 1):
        inside, outside = fold != k, fold == k
        fits.append(pursue(rows[inside], target[inside]))
        error[outside] = target[outside, 0] - rows[outside, 0][:, fits[k].chosen] @ fits[k].coefficients
    return error, fits
