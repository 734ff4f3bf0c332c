"""What each candidate tells: roots of its information, all from one batch of solves, and from one of finer ones.

A root J of an information J'J has all digits of the sensitivities; roots of measurements that are made together stand
one above the other.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import jax
import numpy as np

from ...annotations import Values
from ...errors import InputError
from ...likelihoods import Likelihood, likelihood_of
from ...measurements import placeholders
from ...study import Study
from ..sensitivities import FINER, Scale, input_findings
from ..spectrum import Decomposed, decomposed
from .candidates import Candidates


def design_scale(study: Study, theta: Values | None, scale: str) -> Scale:
    """The scale of a study's epistemic parameters at `theta`, where it has none at their prior medians.

    Raises:
        InputError: unknown parameters or scale, values without a place on it, parameters that differ between units
            without a column of units.
    """
    space = study.model.space
    findings = input_findings(space, theta, scale)
    if space.aleatory and study.unit is None:
        different = ", ".join(map(repr, space.aleatory))
        findings.append(
            f"{different} differ between units, and the study has no column of units in which new ones could be named; "
            "give the study its `unit`."
        )
    found = None if findings else Scale.of(space, theta, scale)
    if found is None or (findings := found.findings()):
        raise InputError(f"experiments for study {study.name!r}", findings)
    return found


@dataclass(frozen=True, eq=False)
class Roots:
    """Roots of the information of what is measured already, and of each candidate.

    Args:
        coordinates: of the parameters.
        base: `(at most k, k)`, of the measurements that are there; none of them: `(0, k)`. base_coarse: the same from
            solves at the model's own tolerance.
        each: `(candidates, terms, k)`. each_coarse: likewise.
        reason: why a candidate is left out, `(candidates,)`; "" where it is not.
    """

    coordinates: Scale
    base: np.ndarray
    base_coarse: np.ndarray
    each: np.ndarray
    each_coarse: np.ndarray
    reason: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        """`(candidates,)`: whether a candidate has an information."""
        return self.reason == ""

    def stacked(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Roots `(rows, k)` with each candidate measured `times` `(candidates,)` times in addition: from finer solves,
        and from those at the model's own tolerance."""
        fine, coarse = Additive(self.base, self.each), Additive(self.base_coarse, self.each_coarse)
        return fine.root(times), coarse.root(times)

    def stacked_singly(self, members: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """The same with one measurement of each of `members` by itself."""
        return [self.stacked(np.eye(1, len(self.reason), member)[0]) for member in members]

    def along(self, directions: np.ndarray) -> "Additive":
        """The designs on coordinates along the columns of `directions` `(k, r)`."""
        return Additive(self.base @ directions, self.each @ directions)


class AnyRoots(Protocol):
    """Roots of what is measured already and of designs, whether or not measurements add up."""

    @property
    def coordinates(self) -> Scale: ...

    @property
    def reason(self) -> np.ndarray: ...

    @property
    def usable(self) -> np.ndarray: ...

    def stacked(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...

    def stacked_singly(self, members: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]: ...

    def along(self, directions: np.ndarray) -> "Designs": ...


class Designs(Protocol):
    """Roots of the information of designs `times` `(candidates,)`, that of what is measured already in them."""

    def root(self, times: np.ndarray) -> np.ndarray:
        """`(rows, r)`."""
        ...

    def with_each(self, times: np.ndarray, members: np.ndarray) -> np.ndarray:
        """`(members, rows, r)`: of the design and one more measurement of each of `members`."""
        ...


@dataclass(frozen=True, eq=False)
class Additive:
    """Measurements that are independent given the parameters, whose information adds up.

    Args:
        base: `(rows, r)` root of the existing information. each: `(candidates, terms, r)`.
    """

    base: np.ndarray
    each: np.ndarray

    def root(self, times: np.ndarray) -> np.ndarray:
        """`(rows, r)`; `times` need not be whole numbers."""
        taken = np.flatnonzero(times)
        rows = np.sqrt(times[taken])[:, None, None] * self.each[taken]
        return np.vstack([self.base, np.zeros((1, self.base.shape[1])), *rows])

    def with_each(self, times: np.ndarray, members: np.ndarray) -> np.ndarray:
        triangle = np.linalg.qr(self.root(times), mode="r")
        stacked = np.broadcast_to(triangle, (len(members), *triangle.shape))
        return np.concatenate([stacked, self.each[members]], axis=1)


def determined(roots: AnyRoots, times: np.ndarray) -> Decomposed:
    """What is determined with each candidate measured `times` `(candidates,)` times in addition."""
    return told_by(*roots.stacked(times), roots.coordinates.size)


def told_by(fine: np.ndarray, coarse: np.ndarray, size: np.ndarray) -> Decomposed:
    """What is determined by roots from finer solves and from those at the model's own tolerance."""
    return decomposed(coarse, lambda: fine, size)


def candidate_roots(study: Study, coordinates: Scale, candidates: Candidates, *, existing: bool = True) -> Roots:
    """Roots of the information of all candidates: a few batches of solves, however many they are.

    Args:
        existing: whether the measurements of the study, or those that it plans, count.

    Raises:
        InputError: a solve of the existing measurements that fails; no candidate whose solve does not.
    """
    subject, known = f"experiments for study {study.name!r}", coordinates.known
    planned = planned_study(study, candidates)
    likelihood_of(planned).require("row_information", subject)
    findings = likelihood_of(study).information_findings(known) if existing else []
    finer = study.model.dynamics.with_tolerance(FINER)
    models = [study.model, replace(study.model, system=finer)] if finer is not None else [study.model]
    found = [_each(likelihood_of(replace(planned, model=model)), coordinates, candidates) for model in models]
    reason = found[0][1]
    for _, other in found[1:]:
        reason = np.where(reason == "", other, reason)
    if np.all(reason != ""):
        findings.append(f"no candidate can be measured; of the first: {reason[0]}")
    if findings:
        raise InputError(f"{subject} at these parameter values", findings)
    # of a candidate that is left out nothing is used
    each = [np.where((reason == "")[:, None, None], roots, 0.0) for roots, _ in found]
    base = [np.zeros((0, len(coordinates.names)))]
    if existing:
        studies = [replace(study, model=model) for model in models]
        # where finer solves fail, what is beyond rounding is taken for real, as in `fisher.decomposed`
        fine = [one for one in studies[1:] if not likelihood_of(one).information_findings(known)]
        base = [_base(likelihood_of(one), coordinates) for one in (study, *fine)]
    if not np.all(np.isfinite(base[0])):
        raise InputError(f"{subject} at these parameter values", ["the information of what is measured is not finite."])
    return Roots(coordinates, base[-1], base[0], each[-1], each[0], reason)


def planned_study(study: Study, candidates: Candidates, times: np.ndarray | None = None) -> Study:
    """A study of nothing but the candidates, each measured `times` times, by default once.

    Its values are placeholders: what can be known from measurements, or simulated, does not depend on them.
    """
    table = candidates.table.drop(columns="cost")
    table = placeholders(table.loc[np.repeat(table.index, 1 if times is None else times)])
    if study.unit is not None and candidates.unit is None:
        table = table.assign(**{study.unit: "new"})
    table = table.assign(**study.covariates_of(table[study.unit_column] if study.unit else table["experiment"]))
    used = {name: candidates.designs[name] for name in _distinct(table["experiment"])}
    return replace(study, experiments=used, data=table, quantities={})


def _distinct(column) -> list[str]:
    return list(dict.fromkeys(column))


def _base(likelihood: Likelihood, coordinates: Scale) -> np.ndarray:
    """`(at most k, k)`: as good as the rows themselves."""
    root = jax.jit(lambda vector: likelihood.sensitivities(coordinates.place, vector))(coordinates.start)
    root = np.asarray(root)
    return np.linalg.qr(root, mode="r") if np.all(np.isfinite(root)) else root


def _each(likelihood: Likelihood, coordinates: Scale, candidates: Candidates) -> tuple[np.ndarray, np.ndarray]:
    """`(candidates, terms, k)`, and why a candidate has none, `(candidates,)`.

    A slope that is not there is not seen in its root, where it may stand as zero. Outputs with fewer terms than others
    have rows of zeros.
    """
    found = jax.jit(lambda vector: likelihood.row_sensitivities(coordinates.place, vector))(coordinates.start)
    terms = max(roots.shape[1] for roots in found.values())
    padded = {output: np.pad(roots, ((0, 0), (0, terms - roots.shape[1]), (0, 0))) for output, roots in found.items()}
    roots = _by_candidate(candidates, padded)
    reason = _by_candidate(candidates, likelihood.row_findings(coordinates.known))
    finite = np.all(np.isfinite(roots), axis=(1, 2))
    return roots, np.where((reason == "") & ~finite, "its information is not finite.", reason)


def _by_candidate(candidates: Candidates, by_output) -> np.ndarray:
    """What is given for the rows of each output, in the order of the candidates."""
    order = np.concatenate([np.flatnonzero(candidates.table["output"] == output) for output in by_output])
    return np.concatenate([np.asarray(each) for each in by_output.values()])[np.argsort(order)]
