"""The coefficients of an input-output equation in the jets: what the outputs tell of the parameters.

The equations grow to a million terms, so the exponents stay in one numpy array: rows with the same powers of the jets
follow each other, and everything that is wanted of all coefficients at once is one operation on that array.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from flint import nmod_mpoly

from .polynomials import Ring


@dataclass(frozen=True, eq=False)
class Coefficients:
    """One equation, ordered by the powers of the jets.

    Args:
        jets: names of the jets; keys: (coefficients, jets) their powers.
        names: of parameters; exponents: (terms, names); numbers: (terms,) modulo `prime`.
        first: (coefficients + 1,) where the terms of each coefficient begin.
    """

    jets: tuple[str, ...]
    keys: list[tuple[int, ...]]
    names: tuple[str, ...]
    exponents: np.ndarray
    numbers: np.ndarray
    first: np.ndarray
    prime: int

    @classmethod
    def of(cls, f: nmod_mpoly, parameters: Sequence[str], ring: Ring) -> "Coefficients":
        """The coefficients of a polynomial in jets and parameters."""
        variables, known = f.context().names(), set(parameters)
        inner = [k for k, name in enumerate(variables) if name in known]
        outer = [k for k, name in enumerate(variables) if name not in known]
        flat = chain.from_iterable(f.monoms())
        monomials = np.fromiter(flat, dtype=np.int32, count=len(f) * len(variables)).reshape(len(f), len(variables))
        numbers = np.fromiter(map(int, f.coeffs()), dtype=np.int64, count=len(f))
        if outer + inner != sorted(outer + inner):
            order = np.lexsort(monomials[:, outer].T[::-1])
            monomials, numbers = monomials[order], numbers[order]
        # otherwise the terms, which are in lexicographical order, are sorted already
        jets = monomials[:, outer]
        new = np.flatnonzero(np.any(jets[1:] != jets[:-1], axis=1)) + 1
        first = np.concatenate([[0], new, [len(f)]])
        keys = [tuple(row) for row in jets[first[:-1]].tolist()]
        names = tuple(variables[k] for k in inner)
        return cls(tuple(variables[k] for k in outer), keys, names, monomials[:, inner], numbers, first,
                   ring.prime)  # fmt: skip

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def terms(self) -> np.ndarray:
        """The number of terms of every coefficient."""
        return np.diff(self.first)

    def values(self, point: Mapping[str, int]) -> np.ndarray:
        """All coefficients at a point."""
        return self.at_points({name: np.array([[point[name]]]) for name in self.names})[:, 0]

    def at_points(self, matrices: Mapping[str, np.ndarray]) -> np.ndarray:
        """All coefficients on finitely many points that are known by their algebra, shape (coefficients, points).

        Args:
            matrices: parameter -> (points, points) residues, its multiplication matrix (see `fibres.quotient`).
                The coefficients are their images of the first basis vector, which stands for one.
        """
        size = len(next(iter(matrices.values()))) if matrices else 1
        out = np.zeros((len(self.numbers), size), np.int64)
        out[:, 0] = self.numbers % self.prime
        for k, name in enumerate(self.names):
            powers = [np.eye(size, dtype=np.int64)]
            for _ in range(int(self.exponents[:, k].max(initial=0))):
                # residues have 31 bits: only products of two fit
                powers.append((powers[-1][:, :, None] * matrices[name][None] % self.prime).sum(axis=1) % self.prime)
            table = np.array(powers)[self.exponents[:, k]]
            out = (table * out[:, None, :] % self.prime).sum(axis=2) % self.prime
        return np.add.reduceat(out, self.first[:-1], axis=0) % self.prime

    def simplest(self) -> Iterator[int]:
        """Positions of the coefficients, those of low degree and with few terms first."""
        degrees = np.maximum.reduceat(self.exponents.sum(axis=1), self.first[:-1])
        yield from np.lexsort([self.terms, degrees]).tolist()

    def polynomial(self, k: int, position: Mapping[str, int], known: Mapping[str, int]) -> dict:
        """Coefficient k as sparse exponents -> number, with some symbols at known values."""
        out: dict[tuple, int] = {}
        rows = slice(self.first[k], self.first[k + 1])
        for powers, number in zip(self.exponents[rows].tolist(), self.numbers[rows].tolist(), strict=True):
            monomial = []
            for name, power in zip(self.names, powers, strict=True):
                if power and name in known:
                    number = number * pow(known[name], power, self.prime) % self.prime
                elif power:
                    monomial.append((position[name], power))
            key = tuple(sorted(monomial))
            out[key] = (out.get(key, 0) + number) % self.prime
        return {monomial: number for monomial, number in out.items() if number}

    def labels(self, rng: np.random.Generator) -> np.ndarray:
        """A number for every term, the same where the powers of the parameters are the same (a random hash)."""
        weights = rng.integers(1, 1 << 62, max(len(self.names), 1), dtype=np.int64)[: len(self.names)]
        with np.errstate(over="ignore"):
            hashes = (self.exponents.astype(np.int64) * weights).sum(axis=1)
        return np.unique(hashes, return_inverse=True)[1]
