"""Which monomials an identifiable function of a system may be a sum of.

The coefficients of the input-output equations generate the identifiable functions of the parameters, and the Lie
derivatives of the outputs those of parameters and states. They are long, but their monomials are what shorter
generators consist of, so each list of monomials is one small search.
"""

from collections.abc import Iterable, Iterator, Sequence

from flint import nmod_mpoly

from .coefficients import Coefficients
from .derivatives import Quotient

# A longer sum is no formula that somebody would read.
LONGEST, MOST = 60, 60

Exponents = tuple[int, ...]


def coefficient_shapes(tables: Sequence[Coefficients], names: Sequence[str]) -> Iterator[list[Exponents]]:
    """The monomials of every coefficient over the simplest one of its equation, short ones first.

    Args:
        tables: of the equations; those whose simplest coefficient is no monomial are passed over.
        names: of the exponents that are given back.
    """
    found = []
    for table in tables:
        simplest, *others = table.simplest()
        if table.terms[simplest] > 1:
            continue
        place = [names.index(name) if name in names else None for name in table.names]
        below = table.exponents[table.first[simplest]]
        for k in others:
            if table.terms[k] <= LONGEST:
                rows = table.exponents[table.first[k] : table.first[k + 1]] - below
                found.append(sorted({_placed(row, place, len(names)) for row in rows.tolist()}))
    yield from sorted(found, key=lambda shape: (len(shape), shape))[:MOST]


def derivative_shapes(derivatives: Iterable[Quotient], names: Sequence[str]) -> Iterator[list[Exponents]]:
    """The monomials of polynomial Lie derivatives, apart for each product of derivatives of the inputs."""
    for above, below in derivatives:
        if below.is_constant():
            yield from (shape for shape in _by_jets(above, names) if len(shape) <= LONGEST)


def _by_jets(f: nmod_mpoly, names: Sequence[str]) -> list[list[Exponents]]:
    variables = f.context().names()
    place = [names.index(name) if name in names else None for name in variables]
    groups: dict[Exponents, set[Exponents]] = {}
    for monomial in f.monoms():
        key = tuple(power for power, k in zip(monomial, place, strict=True) if k is None)
        groups.setdefault(key, set()).add(_placed(monomial, place, len(names)))
    return sorted(map(sorted, groups.values()), key=len)


def _placed(powers: Sequence[int], place: Sequence[int | None], size: int) -> Exponents:
    out = [0] * size
    for power, k in zip(powers, place, strict=True):
        if k is not None:
            out[k] = power
    return tuple(out)
