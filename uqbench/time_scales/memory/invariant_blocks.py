"""Invariant blocks: the fewest directions of a linear system that have to stay together.

x' = D x falls apart into exponentials e^(r t) where the rates r of D are distinct; each is then a block of its own, a
complex pair one of two. Where rates coincide, as in a chain of equal steps, there may be no exponentials but only
t^k e^(r t); where they nearly do, there are, with coefficients that cancel and take the digits along. So directions are
separated only as far as their bases are well conditioned together (in the spirit of Bavely & Stewart 1979);
the others share a block with an orthonormal basis.

A `Block` also says what its part of a memory kernel weighs, and what it costs to let it act at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg

# Bases worse conditioned than this cost more digits than the 1e-10 that an embedding is good to.
LARGEST_CONDITION = 1e4


@dataclass(frozen=True, eq=False)
class Block:
    """Fast directions z that stay together: z' = matrix z + inward y + source, and y' gains outward z.

    One direction is an exponential, two may be a complex pair; more belong to rates too close to be distinguished.

    Args:
        matrix: `(size, size)`. outward: `(slow, size)`. inward: `(size, slow)`. source, start: `(size,)`.
    """

    matrix: np.ndarray
    outward: np.ndarray
    inward: np.ndarray
    source: np.ndarray
    start: np.ndarray

    @property
    def size(self) -> int:
        """Auxiliary states that it takes."""
        return len(self.start)

    def weight(self) -> float:
        """Integral over all lags of the norm of its part of the kernel."""
        return self._integral(self.inward)

    def lag(self) -> float:
        """Integral over all lags of what of the kernel is still to come: the price of acting at once, for each unit
        of y'."""
        return self._integral(np.linalg.solve(self.matrix, self.inward))

    def slip(self, start_slow) -> float:
        """Integral of what its distance from the quasi-steady state at the start adds to y'."""
        rest = self.start + np.linalg.solve(self.matrix, self.inward @ start_slow + self.source)
        return self._integral(rest[:, None])

    def _integral(self, right) -> float:
        """Integral of the norm (largest row sum) of outward e^(matrix s) right, by quadrature."""
        if not self.size:
            return 0.0
        lags, weights = _quadrature(np.linalg.eigvals(self.matrix))
        values = self.outward @ scipy.linalg.expm(self.matrix * lags[:, None, None]) @ right
        return float(weights @ np.abs(values).sum(axis=-1).max(axis=-1))


def joined(blocks: Sequence[Block], slow: int) -> Block:
    """Blocks side by side as one; `slow` is the number of slow states, for where there is no block."""
    if not blocks:
        return Block(np.zeros((0, 0)), np.zeros((slow, 0)), np.zeros((0, slow)), np.zeros(0), np.zeros(0))
    return Block(
        scipy.linalg.block_diag(*(block.matrix for block in blocks)),
        np.concatenate([block.outward for block in blocks], axis=1),
        *(np.concatenate([getattr(block, part) for block in blocks]) for part in ("inward", "source", "start")),
    )


def invariant_bases(matrix: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Bases `(n, size)` of invariant subspaces and their dual rows `(size, n)`, as many as keep the digits.

    Each eigenvalue, or complex pair, begins alone, with an orthonormal basis from a sorted Schur form. As long as the
    bases together are ill-conditioned, the two nearest groups become one; one group of all has an orthonormal basis,
    so this ends.
    """
    # units of the states are no reason to join anything
    balanced, scale = scipy.linalg.matrix_balance(matrix, permute=False)
    eigenvalues = np.linalg.eigvals(balanced)
    points = np.unique(np.stack([eigenvalues.real, np.abs(eigenvalues.imag)], axis=1), axis=0)
    groups = [[k] for k in range(len(points))]
    while True:
        bases = [_basis_of(balanced, points, group) for group in groups]
        whole = np.concatenate(bases, axis=1)
        if len(groups) == 1 or (whole.shape[0] == whole.shape[1] and np.linalg.cond(whole) <= LARGEST_CONDITION):
            break
        pairs = [(i, j) for j in range(len(groups)) for i in range(j)]
        i, j = min(
            pairs,
            key=lambda pair: min(np.hypot(*(points[a] - points[b])) for a in groups[pair[0]] for b in groups[pair[1]]),
        )
        groups[i] += groups.pop(j)
    dual, ends = np.linalg.inv(whole) @ np.linalg.inv(scale), np.cumsum([basis.shape[1] for basis in bases])
    return list(zip([scale @ basis for basis in bases], np.split(dual, ends[:-1]), strict=True))


def _basis_of(matrix, points, group) -> np.ndarray:
    """Orthonormal basis of the eigenvalues nearest to the points of the group; empty where these cannot be sorted."""

    def chosen(real, imaginary):
        return int(np.argmin(np.hypot(points[:, 0] - real, points[:, 1] - abs(imaginary)))) in group

    try:
        _, basis, size = scipy.linalg.schur(matrix, output="real", sort=chosen)
    except np.linalg.LinAlgError:
        # so close together that sorting mixes them: not a basis, and the group is joined to the next
        return np.zeros((len(matrix), 0))
    return basis[:, :size]


def _quadrature(rates) -> tuple[np.ndarray, np.ndarray]:
    """Lags and weights `(n,)` for what decays and turns with the rates: panels that grow, none above an eighth turn."""
    end, turn = 40.0 / -rates.real.max(), np.pi / 4 / np.maximum(np.abs(rates.imag).max(), 1e-300)
    edges = [0.0, 0.1 / np.abs(rates).max()]
    while edges[-1] < end:
        edges.append(edges[-1] + min(0.5 * edges[-1], turn))
    nodes, weights = np.polynomial.legendre.leggauss(8)
    left, length = np.array(edges[:-1])[:, None], np.diff(edges)[:, None]
    return (left + length * (nodes + 1) / 2).ravel(), (length * weights / 2).ravel()
