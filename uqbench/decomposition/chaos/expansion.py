"""Expansions of many outputs in the same inputs: which candidates each is given, and rows that deserve equal weight.

Candidate sets grow in degree, in several families (`candidate_terms`), as long as the error of the fits falls; every
output keeps the best it has met. Outputs that failed in the same samples share each table of candidates.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...space import Space
from .bases import OrthonormalBasis, basis_of
from .pursuit import Fit, candidate_terms, design_rows, pursue

# Numbers in the table of candidates. There are up to 10 candidates for each row (with more, chance finds terms that fit
# anything) while that is quick, and up to 2 beyond.
COMFORTABLE, LARGEST = 400_000, 8_000_000
PATIENCE = 3  # sets of growing degree without an improvement, after which a family of sets is left
ROUNDING = 1e-26  # squared error, in units of the variance, of an expansion that is exact


class Table(NamedTuple):
    """What the fits share: germs, columns of outputs in units of their spread, and which samples may be used."""

    bases: tuple[OrthonormalBasis, ...]
    germs: np.ndarray  # (n, d)
    target: np.ndarray  # (n, 1 or 1 + d, outputs): outputs, then derivatives in the germs
    noise: np.ndarray  # (n, outputs): variance of each output's mean over replicates
    valid: np.ndarray  # (n, outputs)


class Choice(NamedTuple):
    """The best set of candidates so far for one output."""

    loss: np.ndarray  # per sample
    fit: Fit
    degree: int
    terms: np.ndarray


def bases_of(space: Space) -> tuple[OrthonormalBasis, ...]:
    return tuple(basis_of(space[name].dist, space) for name in space.free)


def univariate(bases, germs: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Polynomials and derivatives of every input, each `(n, d, degree + 1)`."""
    pairs = [basis.evaluate(germs[:, i], degree) for i, basis in enumerate(bases)]
    values, slopes = (np.stack(parts, axis=1) for parts in zip(*pairs, strict=True))
    return values, slopes


def weighted_rows(table: Table, used: np.ndarray, degree: int, terms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Candidates `(samples used, m, terms)` and the weights `(m,)` that their rows were multiplied with.

    A missed term enters a derivative larger than the output, by the root of its slope norm; dividing by the mean over
    the candidates gives all rows errors of similar size, which is what least squares wants.
    """
    values, slopes = univariate(table.bases, table.germs[used], degree)
    if table.target.shape[1] == 1:
        return design_rows(values, None, terms), np.ones(1)
    norms = [basis.slope_norms(degree)[terms[:, i]].mean() for i, basis in enumerate(table.bases)]
    weights = np.concatenate([[1.0], 1 / np.sqrt(norms)])
    return design_rows(values, slopes, terms) * weights[:, None], weights


def best_choices(table: Table, max_degree: int, q_norms: Sequence[float]) -> list[Choice]:
    """The best candidates and terms for every output; outputs with the same valid samples share the candidates."""
    best: dict[int, Choice] = {}
    patterns = np.unique(table.valid, axis=1)
    for pattern in patterns.T:
        outputs = np.flatnonzero((table.valid == pattern[:, None]).all(axis=0))
        for q_norm in q_norms:
            least, misses = dict.fromkeys(outputs, np.inf), dict.fromkeys(outputs, 0)
            for degree in range(1, max_degree + 1):
                open_ones = [k for k, missed in misses.items() if missed < PATIENCE]
                terms = _candidates(table, int(pattern.sum()), degree, q_norm) if open_ones else None
                if terms is None:
                    break
                rows, weights = weighted_rows(table, pattern, degree, terms)
                # fits in different sets have different weights, so they are compared in those of degree 1
                common = np.concatenate([[1.0], [basis.slope_norms(1)[1] ** -0.5 for basis in table.bases]])
                common = common[: len(weights)] / weights
                for k in open_ones:
                    fit = pursue(rows, table.target[pattern][..., k] * weights)
                    loss = fit.loss @ common**2
                    misses[k] = 0 if loss.mean() < least[k] else misses[k] + 1
                    least[k] = min(least[k], loss.mean())
                    gain = best[k].loss - loss if k in best else None
                    if gain is None or gain.mean() > gain.std() / np.sqrt(len(gain)):
                        best[k] = Choice(loss, fit, degree, terms)
                    if best[k].loss.mean() < ROUNDING:
                        misses[k] = PATIENCE
    return [best[k] for k in range(table.valid.shape[1])]


def _candidates(table: Table, n: int, degree: int, q_norm: float) -> np.ndarray | None:
    d, rows = table.germs.shape[1], n * table.target.shape[1]
    most = max(2 * rows, min(10 * rows, COMFORTABLE // rows))
    limit = max(d + 1, min(most, LARGEST // rows))
    return candidate_terms(d, degree, q_norm, limit)


def joint_terms(choices: list[Choice]) -> tuple[np.ndarray, np.ndarray]:
    """Exponents (terms, d) that any output uses, the constant first, and coefficients (terms, outputs)."""
    chosen = [choice.terms[choice.fit.chosen] for choice in choices]
    exponents, where = np.unique(np.concatenate(chosen), axis=0, return_inverse=True)
    order = np.lexsort((*exponents.T[::-1], exponents.sum(axis=1)))
    rank = np.argsort(order)[where.ravel()]
    coefficients, start = np.zeros((len(exponents), len(choices))), 0
    for k, choice in enumerate(choices):
        stop = start + len(choice.fit.coefficients)
        coefficients[rank[start:stop], k] = choice.fit.coefficients
        start = stop
    return exponents[order], coefficients
