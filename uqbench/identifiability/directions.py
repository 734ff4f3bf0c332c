"""Names of what data determine and what they leave open: products and ratios, sums and differences.

In logarithms of the parameters a direction is a product of powers, k*g or s/k, and on the natural scale a sum. Data
that do not determine all directions have a flat space, whose directions change nothing, and its orthogonal complement,
whose functions they determine. Of both the sparsest basis is named. Exponents are written as integers only where they
are such within the error of the direction and the same at two points nearby: at one point by itself k/g cannot be
told from k - g. All others are rounded, and hold at that one point, to first order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .sensitivities import Sensitivities
from .sparse_bases import EXACT, Vector, integers, span, sparsest_basis, supported
from .spectrum import ROUNDING, Spectrum, singular_values
from .symmetries import linear, monomial

# The other points are away by a share of this order, at random but the same every time; two, since at one of them two
# parameters may happen to have moved alike.
STEP, POINTS = 0.1, 2
# There a direction holds if it does up to so many times the error of the solve at the first one.
NEARBY = 16.0
# Rounded weights: those below a share of the largest are left out, and the rest after the first few.
SMALL, MOST = 0.1, 6


@dataclass(frozen=True)
class Named:
    """A direction, or a function of the parameters.

    Args:
        text: how it is called. exact: whether it holds nearby as well, with these integers.
        weights: `(k,)` on the scale: of a change in the parameters, or the gradient of a function.
    """

    text: str
    exact: bool
    weights: np.ndarray


@dataclass(frozen=True, eq=False)
class Directions:
    """What the sensitivities of a study determine and leave open, by name."""

    sensitivities: Sensitivities
    spectrum: Spectrum

    @cached_property
    def flat(self) -> list[Named]:
        """A sparsest basis of the changes that move no measurement, as many as the rank is less than k.

        Fewer where the errors of the solves leave some of them open.
        """
        found, names = self.spectrum, self.sensitivities.names
        alone = [self._single(k) for k, felt in enumerate(found.felt) if not felt]
        null = span(np.where(found.felt, found.vectors[~found.kept], 0.0))
        together = [vector.scaled(found.inverse) for vector in sparsest_basis(null, found.entry_error)]
        return (alone + [self._named(vector, is_flat=True) for vector in together])[: len(names) - found.rank]

    @cached_property
    def determined(self) -> list[Named]:
        """A sparsest basis of the functions of the parameters that are determined, as many as the rank.

        Fewer where two of them differ in nothing but powers too small to be written.
        """
        found = self.spectrum
        basis = sparsest_basis(found.vectors[found.kept], found.entry_error)
        named = [self._named(vector.scaled(found.effect), is_flat=False) for vector in basis]
        return list({each.text: each for each in reversed(named)}.values())[::-1]

    def mode(self, direction: np.ndarray) -> Named:
        """An eigenvector `(k,)`, of length one: a named function, or else in rounded weights, the largest 1."""
        for named in self.determined:
            across = named.weights - (named.weights @ direction) * direction
            if named.exact and np.linalg.norm(across) < EXACT * np.linalg.norm(named.weights):
                return named
        weights = direction / direction[np.argmax(np.abs(direction))]
        scale = self.sensitivities.scale
        return Named(rounded_name(weights, scale.names, scale.logarithmic), False, weights)

    def standard_error(self, weights: np.ndarray) -> float:
        """Least standard error of a determined function with the gradient `weights` `(k,)` on the scale."""
        found = self.spectrum
        parts = found.vectors[found.kept] @ (weights * found.inverse) / found.singular[found.kept]
        return float(np.linalg.norm(parts))

    def _single(self, k: int) -> Named:
        weights = (np.arange(len(self.sensitivities.names)) == k).astype(float)
        exact = all(there is not None and there.effect[k] == 0 for there in self._nearby)
        return Named(self.sensitivities.names[k], exact, weights)

    def _named(self, vector: Vector, *, is_flat: bool) -> Named:
        """The first of product and sum whose integers fit here and nearby, else rounded weights."""
        scale = self.sensitivities.scale
        for logarithms in (True, False):
            here = self._to_form(scale.start, logarithms, is_flat)
            whole = integers(vector.scaled(1.0 / here))
            if whole is not None and self._holds(whole, logarithms, is_flat):
                shown = scale.logarithmic & logarithms
                return Named(exact_name(whole, scale.names, shown), True, whole * here)
        return Named(rounded_name(vector.entries, scale.names, scale.logarithmic), False, vector.entries)

    def _holds(self, whole: np.ndarray, logarithms: bool, is_flat: bool) -> bool:
        """Whether a change moves nothing at the other points too, or a function is determined there."""
        if not is_flat and self.spectrum.rank == len(self.sensitivities.names):
            return True
        return all(
            there is not None and there.has(whole * self._to_form(there.point, logarithms, is_flat), is_flat=is_flat)
            for there in self._nearby
        )

    def _to_form(self, point: np.ndarray, logarithms: bool, is_flat: bool) -> np.ndarray:
        """`(k,)` by which weights in logarithms, or else in the parameters themselves, are those on the scale."""
        logarithmic = self.sensitivities.scale.logarithmic
        if logarithms:
            return np.ones(len(point))
        value = np.where(logarithmic, np.exp(np.where(logarithmic, point, 0.0)), 1.0)
        return 1.0 / value if is_flat else value

    @cached_property
    def _nearby(self) -> "list[Nearby | None]":
        """The other points, from as fine a solve as the first; None where there is no solve."""
        found = self.sensitivities
        finer = self.spectrum.root is not found.root
        size = np.where(found.size > 0, found.size, 1.0)
        rng = np.random.default_rng(0)
        points = []
        for _ in range(POINTS):
            away = rng.uniform(0.5, 1.0, len(size)) * rng.choice([-1.0, 1.0], len(size))
            point = found.scale.start + STEP * size * away
            root = (found.finer_at if finer else found.at)(point)
            points.append(None if root is None else Nearby.of(point, root, found.size, self.spectrum))
        return points


@dataclass(frozen=True)
class Nearby:
    """What is flat and what is determined at another point.

    Args:
        point: its coordinates, `(k,)`.
        flat, determined: orthonormal rows, of J with its columns scaled to length one.
        effect: `(k,)` the lengths of the columns, 0 where they are rounding. error: `(k,)` of the entries of the rows.
    """

    point: np.ndarray
    flat: np.ndarray
    determined: np.ndarray
    effect: np.ndarray
    error: np.ndarray

    @classmethod
    def of(cls, point: np.ndarray, root: np.ndarray, size: np.ndarray, first: Spectrum) -> "Nearby":
        """The same number of directions as at the first point."""
        effect = np.linalg.norm(root, axis=0)
        felt = effect * size > ROUNDING * np.max(effect * size, initial=0.0)
        effect = np.where(felt, effect, 0.0)
        _, vectors = singular_values(root * _reciprocal(effect))
        flat = span(np.where(felt, vectors[first.rank :], 0.0))
        return cls(point, flat, vectors[: first.rank], effect, first.entry_error)

    def has(self, weights: np.ndarray, *, is_flat: bool) -> bool:
        """Whether the change, or the function, with these weights `(k,)` on the scale is one of them."""
        basis, factor = (self.flat, _reciprocal(self.effect)) if is_flat else (self.determined, self.effect)
        found = supported(basis, self.error, weights != 0)
        if found is None or not np.all(factor[weights != 0] > 0):
            return False
        # entry by entry, since all angles are small with what counts for little
        found = found.scaled(factor)
        expected = weights / weights[np.argmax(np.abs(weights))]
        expected *= np.sign(expected @ found.entries)
        limit = np.clip(NEARBY * found.error, EXACT**2, EXACT)
        return bool(np.max(found.error) < EXACT and np.all(np.abs(found.entries - expected) <= limit))


def _reciprocal(effect: np.ndarray) -> np.ndarray:
    """0 of 0."""
    return np.where(effect > 0, 1.0 / np.where(effect > 0, effect, 1.0), 0.0)


def exact_name(whole: np.ndarray, names: Sequence[str], logarithmic: np.ndarray) -> str:
    """A product of powers where the integers `(k,)` are exponents, a sum where they are factors.

    Example:
        >>> exact_name(np.array([1, -2]), ["k", "g"], np.array([True, True]))
        'k/g**2'
        >>> exact_name(np.array([1, -2]), ["k", "g"], np.array([True, False]))
        'log(k) - 2*g'
    """
    involved = whole != 0
    if np.all(logarithmic[involved]):
        return monomial(whole.tolist(), names)
    return linear(whole.tolist(), _terms(names, logarithmic))


def rounded_name(weights: np.ndarray, names: Sequence[str], logarithmic: np.ndarray) -> str:
    """The same with weights that are no integers: rounded, the largest 1, small ones left out.

    Example:
        >>> rounded_name(np.array([0.4, -0.8, 0.01]), ["k", "g", "q"], np.array([True] * 3))
        'about g/k**0.5'
    """
    largest = weights[np.argmax(np.abs(weights))]
    shares = weights / largest
    order = np.argsort(-np.abs(shares), kind="stable")
    kept = [k for k in order if abs(shares[k]) >= SMALL][:MOST]
    about = "" if np.all(np.abs(np.delete(shares, kept[0])) < EXACT) else "about "
    more = " and others" if np.sum(np.abs(shares) >= SMALL) > MOST else ""
    if np.all(logarithmic[kept]):
        above, below = ([_power(names[k], abs(shares[k])) for k in kept if sign * shares[k] > 0] for sign in (1, -1))
        divisor = below[0] if len(below) == 1 else f"({'*'.join(below)})"
        return f"{about}{'*'.join(above)}{f'/{divisor}' if below else ''}{more}"
    terms = _terms(names, logarithmic)
    text = terms[kept[0]]
    for k in kept[1:]:
        text += f" {'+' if shares[k] > 0 else '-'} {abs(shares[k]):.2g}*{terms[k]}"
    return f"{about}{text}{more}"


def _terms(names: Sequence[str], logarithmic: np.ndarray) -> list[str]:
    return [f"log({name})" if log else name for name, log in zip(names, logarithmic, strict=True)]


def _power(name: str, exponent: float) -> str:
    return name if round(exponent, 2) == 1 else f"{name}**{exponent:.2g}"
