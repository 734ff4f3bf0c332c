"""Optimality criteria D, A, E and c on roots of the information, where it may be singular.

Some directions of the parameters may be determined by no candidate at all. All criteria are of the others: with the
nonzero eigenvalues l of the information that existing measurements and all candidates would give, D is the sum of
log l, A the sum of 1/l, E the largest 1/l, and c the variance of one combination of parameters (Kiefer 1974,
doi:10.1214/aos/1176342810; Atkinson, Donev & Tobias 2007, Optimum Experimental Designs). With W the determined
directions of parameters that are scaled by their own effect, the information of a design is W' N W with N = R'R, and

    D: log det N + constant,    A: tr B N^-1 B',    E: largest eigenvalue of B N^-1 B',    c: b' N^-1 b.

While a design determines fewer directions its missing ones count with the least singular value that can be told from
error. So the number of directions comes first, and then the criterion of those.
"""

from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from ..spectrum import CANCELLED, decomposed
from .sensitivities import AnyRoots, Designs

# A part of the target outside of what is determined that is no larger is error.
LOST = 1e-6
# Weight of D among designs that are the same by E.
BETWEEN_EQUALS = 1e-6
CRITERIA = {
    "D": "volume of the confidence ellipsoid",
    "A": "sum of the variances",
    "E": "largest variance along any direction",
    "c": "variance of the target",
}


@dataclass(frozen=True, eq=False)
class Criterion:
    """A criterion on designs, in coordinates of the r directions that can be determined.

    Args:
        kind: "D", "A", "E" or "c".
        designs: roots of the information of any design.
        weight: B `(l, r)`: what the variances are of; of D the transformation whose determinant is its constant.
        least: singular value that cannot be told from error.
    """

    kind: str
    designs: Designs
    weight: np.ndarray
    least: float

    @classmethod
    def of(cls, kind: str, roots: AnyRoots, target: np.ndarray | None) -> "Criterion":
        """The criterion of what the usable candidates and the existing measurements can determine.

        Args:
            target: of c, the coefficients `(k,)` of the combination of parameters; of the others None.

        Raises:
            InputError: nothing is determined by any of them; a target that is not.
        """
        size = roots.coordinates.size
        fine, coarse = roots.stacked(roots.usable.astype(int))
        effect = np.linalg.norm(fine, axis=0)
        scale = np.where(effect > 0, 1.0 / np.where(effect > 0, effect, 1.0), 0.0)
        everything = decomposed(coarse * scale, lambda: fine * scale, np.where(effect > 0, size * effect, 0.0))
        directions = everything.direction[: everything.rank].T
        if not everything.rank:
            raise InputError("optimal design", ["no candidate tells anything of any parameter."])
        # parameters = inverse scale times directions, so that rows of the information lie in the span of these columns
        orthogonal, triangle = np.linalg.qr(effect[:, None] * directions)
        weight = np.linalg.inv(triangle).T
        if target is not None:
            within = orthogonal.T @ target
            if np.linalg.norm(target - orthogonal @ within) > LOST * np.linalg.norm(target):
                raise InputError("optimal design", ["the target is not determined by all candidates together."])
            weight = (within @ weight)[None, :]
        error = np.linalg.norm((fine - coarse) * scale @ directions, 2)
        designs = roots.along(scale[:, None] * directions)
        return cls(kind, designs, weight, max(CANCELLED * np.sqrt(len(fine)), error))

    @property
    def rank(self) -> int:
        """How many directions can be determined."""
        return self.weight.shape[-1]

    def root(self, times: np.ndarray) -> np.ndarray:
        """Root `(r, r)` of the information of a design `times` `(candidates,)`, not all of them whole numbers."""
        return np.linalg.qr(np.vstack([self.designs.root(times), np.zeros((self.rank, self.rank))]), mode="r")

    def with_each(self, times: np.ndarray, members: np.ndarray) -> np.ndarray:
        """`objective` `(members,)` of the design `times` and one more measurement of each of them."""
        return self.objective(self.designs.with_each(times, members))

    def objective(self, root: np.ndarray) -> np.ndarray:
        """What is made small `(...)`, of roots `(..., rows, r)`: the loss, and in E what decides between equals.

        Where two directions are equally bad, a measurement of either alone shows in the volume only.
        """
        loss, volume = self._loss_and_volume(root)
        return loss + BETWEEN_EQUALS * volume if self.kind == "E" else loss

    def loss(self, root: np.ndarray) -> float:
        """The logarithm of the criterion of one design, of D by direction: less by log 2 if variances are halved."""
        return float(self._loss_and_volume(root)[0])

    def _loss_and_volume(self, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        _, singular, vectors = np.linalg.svd(root, full_matrices=False)
        singular = np.hypot(singular, self.least)
        volume = -2.0 * np.mean(np.log(singular), axis=-1)
        if self.kind == "D":
            return volume, volume
        spread = self.weight @ (np.swapaxes(vectors, -1, -2) / singular[..., None, :])
        if self.kind == "E":
            return 2.0 * np.log(np.linalg.norm(spread, 2, axis=(-2, -1))), volume
        return np.log(np.sum(spread**2, axis=(-2, -1))), volume

    def value(self, root: np.ndarray) -> float:
        """The criterion itself, as in the literature, of a root `(rows, r)`: of D log det, of the others a variance.

        inf (D: -inf) where the design does not determine what can be determined.
        """
        _, singular, vectors = np.linalg.svd(root, full_matrices=False)
        missing = singular <= self.least
        along = self.weight @ vectors.T
        if np.any(missing) and (self.kind != "c" or np.any(np.abs(along[:, missing]) > LOST * np.linalg.norm(along))):
            return -np.inf if self.kind == "D" else np.inf
        if self.kind == "D":
            return float(2.0 * np.sum(np.log(singular)) - 2.0 * np.linalg.slogdet(self.weight)[1])
        spread = along / np.hypot(singular, self.least)
        return float(np.linalg.norm(spread, 2) ** 2 if self.kind == "E" else np.sum(spread**2))
