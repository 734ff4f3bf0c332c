"""Conservation laws of a network, exactly, and the independent species with which its states are counted.

Where promoter on + off = 1, a box of both holds four states of which two are impossible. Here the laws are the left
null space of the changes, in whole numbers and fractions; a species that a law binds is left out of the box and
computed from the others.
"""

from dataclasses import dataclass
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..annotations import AnyArray
from ..errors import InputError
from .box import Rates


def conservation_laws(changes: AnyArray) -> list[list[Fraction]]:
    """Rows w `(laws, species)` with w . change = 0 for every reaction, in reduced echelon form.

    The last species that can be is bound in each: its coefficient is one, and it is in no other law.

    Args:
        changes: `(reactions, species)` integers.

    Example:
        >>> [[int(each) for each in law] for law in conservation_laws([[-1, 1, 0], [1, -1, 0], [0, 0, 1]])]
        [[1, 1, 0]]
    """
    species = np.shape(changes)[1]
    # of a null space in echelon form with the free variables last, each vector has its one at a free variable
    reduced, pivots = _echelon([[Fraction(int(each)) for each in row] for row in np.asarray(changes)])
    laws = []
    for free in range(species):
        if free not in pivots:
            law = [Fraction(0)] * species
            law[free] = Fraction(1)
            for row, pivot in zip(reduced, pivots, strict=True):
                law[pivot] = -row[free]
            laws.append(law)
    return laws


def _echelon(rows: list[list[Fraction]]) -> tuple[list[list[Fraction]], list[int]]:
    """Reduced row echelon form without zero rows, and its pivots."""
    pivots: list[int] = []
    for column in range(len(rows[0]) if rows else 0):
        at = next((k for k in range(len(pivots), len(rows)) if rows[k][column]), None)
        if at is None:
            continue
        here = len(pivots)
        rows[here], rows[at] = rows[at], rows[here]
        rows[here] = [each / rows[here][column] for each in rows[here]]
        for k in range(len(rows)):
            if k != here and rows[k][column]:
                factor = rows[k][column]
                rows[k] = [a - factor * b for a, b in zip(rows[k], rows[here], strict=True)]
        pivots.append(column)
    return rows[: len(pivots)], pivots


@dataclass(frozen=True, eq=False)
class Independent:
    """The independent species of a network that started from given counts; made by `independent_species`.

    Args:
        kept: places of the independent species among all.
        changes: `(reactions, kept)`.
        start: `(kept,)`.
        matrix, offset: all counts are `offset + matrix @ counts of the kept`, `(species, kept)` and `(species,)`.
    """

    kept: tuple[int, ...]
    changes: np.ndarray
    start: np.ndarray
    matrix: np.ndarray
    offset: np.ndarray

    def counts(self, kept: tuple) -> tuple:
        """Counts of all species from those of the independent ones, numbers or arrays of any shape."""
        return tuple(
            sum((c * y for c, y in zip(row, kept, strict=True) if c), jnp.asarray(offset))
            for row, offset in zip(self.matrix, self.offset, strict=True)
        )

    def possible(self, kept: tuple) -> Array:
        """Whether no count is negative or broken there."""
        counts = self.counts(kept)
        return jnp.all(
            jnp.stack([(each >= -1e-9) & (jnp.abs(each - jnp.round(each)) < 1e-9) for each in counts]), axis=0
        )

    def rates(self, rates: Rates) -> Rates:
        """The same rates as functions of the independent counts, zero in states that do not exist."""

        def of_kept(t, kept):
            possible = self.possible(kept)
            # what does not exist is replaced by the start, so that no derivative is taken there
            safe = tuple(jnp.where(possible, y, y0) for y, y0 in zip(kept, self.start, strict=True))
            return tuple(jnp.where(possible, rate, 0.0) for rate in rates(t, self.counts(safe)))

        return of_kept

    def largest(self) -> tuple[float, ...]:
        """Upper limits of the independent counts that follow from the laws, infinite where none does."""
        bounds = np.full(len(self.kept), np.inf)
        # a limit of one species may limit another; each pass carries that one law further
        for _ in range(len(self.offset)):
            for row, offset in zip(self.matrix, self.offset, strict=True):
                total = offset + np.sum(row[row > 0] * bounds[row > 0])
                for k in np.flatnonzero(row < 0):
                    bounds[k] = min(bounds[k], np.floor(total / -row[k] + 1e-9))
        return tuple(bounds.tolist())

    def marginal(self, probability: Float[Array, "*box"], species: int, states: int) -> Float[Array, "*values"]:
        """The distribution `(..., states)` of the counts 0 to states - 1 of any species, from one over the box.

        Args:
            probability: `(..., *shape)` with an axis for each independent species, last.
            species: its place among all.
        """
        axes = len(self.kept)
        grid = np.indices(probability.shape[-axes:]).reshape(axes, -1)
        values = np.rint(self.offset[species] + self.matrix[species] @ grid).astype(int)
        counted = (values >= 0) & (values < states)
        flat = jnp.where(counted, probability.reshape(*probability.shape[:-axes], -1), 0.0)
        out = jnp.zeros((*flat.shape[:-1], states), flat.dtype)
        return out.at[..., np.where(counted, values, 0)].add(flat)


def independent_species(changes: AnyArray, start: AnyArray) -> Independent:
    """Leave out of a network the species that its conservation laws bind.

    Args:
        changes: `(reactions, species)` integers.
        start: `(species,)` counts, which give the totals of the laws.

    Raises:
        InputError: counts or changes that are no whole numbers, or negative counts.

    Example:
        >>> telegraph = independent_species([[-1, 1, 0], [1, -1, 0], [0, 0, 1], [0, 0, -1]], [1, 0, 0])
        >>> telegraph.kept, telegraph.largest()
        ((0, 2), (1.0, inf))
    """
    changes, start = np.asarray(changes, float), np.asarray(start, float)
    findings = []
    if not np.all(changes == np.rint(changes)):
        findings.append("`changes` are not whole numbers; molecules are counted")
    if not np.all((start == np.rint(start)) & (start >= 0)):
        findings.append("`start` has counts that are negative or no whole numbers")
    if findings:
        raise InputError("conservation laws", findings)
    laws = np.array([[float(each) for each in law] for law in conservation_laws(changes)]).reshape(-1, len(start))
    bound = _bound(laws)
    kept = tuple(k for k in range(len(start)) if k not in bound)
    matrix, offset = np.zeros((len(start), len(kept))), np.zeros(len(start))
    matrix[list(kept), range(len(kept))] = 1.0
    if bound:
        inverse = np.linalg.inv(laws[:, bound])
        matrix[bound] = -inverse @ laws[:, kept]
        offset[bound] = inverse @ (laws @ start)
    whole = changes[:, kept].astype(int).reshape(-1, len(kept))
    return Independent(kept, whole, start[list(kept)].astype(int), np.round(matrix, 12), np.round(offset, 9))


def _bound(laws: np.ndarray) -> list[int]:
    """The species that each law leaves out, the last one whose count is whole whatever the others are, if there is one:
    of A + 2 B it is A. Else that of its echelon form."""
    bound: list[int] = []
    for law in laws:
        mine = [k for k in np.flatnonzero(law) if np.count_nonzero(laws[:, k]) == 1]
        whole = [k for k in mine if np.all(np.abs(law / law[k] - np.rint(law / law[k])) < 1e-12)]
        bound.append(int((whole or [k for k in mine if law[k] == 1.0])[-1]))
    return bound
