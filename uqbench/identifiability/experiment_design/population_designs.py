"""Designs for populations: what measurements of units that differ tell together, to first order.

Measurements of one unit share its parameters, so that what one adds depends on the others of that unit; units are
independent. The information of a design is the sum over units of that of all rows of a unit (Retout & Mentre 2003,
doi:10.1081/BIP-120019267), see `population`.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ...errors import InputError
from ...likelihoods import likelihood_of, root_of
from ...study import Study
from ..population import PopulationRows, information_by_unit, median_unit, population_rows
from ..sensitivities import FINER, Scale
from .candidates import Candidates
from .sensitivities import AnyRoots, candidate_roots, planned_study

# Rows are padded to a multiple of so many, as every number of rows is compiled anew.
PADDED = 8


def roots_of(study: Study, coordinates: Scale, candidates: Candidates, *, existing: bool = True) -> AnyRoots:
    """What candidates tell of a study's parameters, whose units differ or not; as `candidate_roots`."""
    if not study.model.space.aleatory:
        return candidate_roots(study, coordinates, candidates, existing=existing)
    subject = f"experiments for study {study.name!r}"
    if candidates.unit is None:
        raise InputError(subject, ["units differ, and the candidates name none; give each its unit."])
    known, single = median_unit(study.model.space, coordinates.known), planned_study(study, candidates)
    # all candidates as rows of one median unit: which unit is measured only says what is measured of it besides
    single = replace(single, data=single.table.assign(**{candidates.unit: "median"}))
    likelihood_of(single).require("row_information", subject)
    finer = study.model.dynamics.with_tolerance(FINER)
    models = [study.model, replace(study.model, system=finer)] if finer is not None else [study.model]
    findings = likelihood_of(study).information_findings(known) if existing else []
    reason = _by_row(single, likelihood_of(single).row_findings(known))
    if np.all(reason != ""):
        findings.append(f"no candidate can be measured; of the first: {reason[0]}")
    if findings:
        raise InputError(f"{subject} at these parameter values", findings)
    units = list(dict.fromkeys([*study.units, *candidates.table[candidates.unit]]))
    found = []
    for model in models:
        new, order = _rows(replace(single, model=model), coordinates)
        new = jax.tree.map(lambda each, order=order: each[0, order], _with_diagonals(new))
        there, _ = _rows(replace(study, model=model), coordinates)
        finite = np.array([np.all(np.isfinite(each.reshape(len(each), -1)), axis=1) for each in new]).all(axis=0)
        reason = np.where((reason == "") & ~finite, "its information is not finite.", reason)
        found.append((new, _padded(there, len(units), existing)))
    if not all(np.all(np.isfinite(each)) for _, there in found[:1] for each in there):
        raise InputError(f"{subject} at these parameter values", ["the information of what is measured is not finite."])
    usable = reason == ""
    designs = [PopulationDesigns(_only(new, usable), there, _unit_of(candidates, units)) for new, there in found]
    return PopulationRoots(coordinates, designs[-1], designs[0], reason)


@dataclass(frozen=True, eq=False)
class PopulationDesigns:
    """Roots of the information of designs, see `sensitivities.Designs`.

    Args:
        rows: the candidates, `(candidates, ...)`, of `noise` and `d_noise` the diagonals. there: what is measured
            already, `(units, most, ...)`.
        unit: index of the unit that each candidate measures, `(candidates,)`.
        directions: columns `(k, r)` along which the information is asked for; None: the coordinates.
    """

    rows: PopulationRows
    there: PopulationRows
    unit: np.ndarray
    directions: np.ndarray | None = None

    def root(self, times: np.ndarray) -> np.ndarray:
        return self._triangles(
            self._by_unit(self._members(times), np.arange(len(self.there.slopes))).sum(axis=0)[None]
        )[0]

    def with_each(self, times: np.ndarray, members: np.ndarray) -> np.ndarray:
        taken = self._members(times)
        before = self._by_unit(taken, np.arange(len(taken)))
        unit = self.unit[members]
        after = self._by_unit([[*taken[u], each] for u, each in zip(unit, members, strict=True)], unit)
        return self._triangles(before.sum(axis=0) - before[unit] + after)

    def _members(self, times: np.ndarray) -> list[list[int]]:
        """The measurements of each unit, those that are repeated several times."""
        every = np.repeat(np.arange(len(times)), np.asarray(times, int))
        return [every[self.unit[every] == unit].tolist() for unit in range(len(self.there.slopes))]

    def _by_unit(self, members: list[list[int]], unit: np.ndarray) -> Float[np.ndarray, "n k k"]:
        """Information of what is there of these units and of these measurements of each."""
        most = PADDED * -(-max(1, *map(len, members)) // PADDED)
        index = np.full((len(members), most), -1)
        for row, each in enumerate(members):
            index[row, : len(each)] = each
        return np.asarray(_information(self.rows, self.there, index, unit))

    def _triangles(self, information: Float[np.ndarray, "n k k"]) -> np.ndarray:
        """Roots that are alike where the information is: triangles with a diagonal that is not negative."""
        roots = np.asarray(_roots(information))
        roots = roots if self.directions is None else roots @ self.directions
        triangle = np.linalg.qr(roots, mode="r")
        return triangle * np.where(np.diagonal(triangle, axis1=1, axis2=2) < 0, -1.0, 1.0)[..., None]


@dataclass(frozen=True, eq=False)
class PopulationRoots:
    """What is measured already and what candidates tell, see `sensitivities.AnyRoots`.

    Args:
        fine, coarse: from finer solves, and from those at the model's own tolerance.
        reason: why a candidate is left out, `(candidates,)`; "" where it is not.
    """

    coordinates: Scale
    fine: PopulationDesigns
    coarse: PopulationDesigns
    reason: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        return self.reason == ""

    def stacked(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.fine.root(times), self.coarse.root(times)

    def stacked_singly(self, members: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        nothing = np.zeros(len(self.reason), int)
        return list(zip(*(each.with_each(nothing, members) for each in (self.fine, self.coarse)), strict=True))

    def along(self, directions: np.ndarray) -> PopulationDesigns:
        return replace(self.fine, directions=directions)


_roots = jax.jit(jax.vmap(root_of))


@jax.jit
def _information(rows: PopulationRows, there: PopulationRows, index: np.ndarray, unit: np.ndarray):
    """Information `(n, k, k)` of the rows `index` `(n, most)`, -1 for none, with what is there of `unit` `(n,)`."""
    present = index >= 0

    def taken(each, absent=0.0):
        each = jnp.asarray(each)[jnp.maximum(index, 0)]
        return jnp.where(present.reshape(*present.shape, *(1,) * (each.ndim - 2)), each, absent)

    def joined(old, new):
        return jnp.concatenate([jnp.asarray(old)[unit], taken(new)], axis=1)

    blocks = jax.vmap(lambda old, new: jax.scipy.linalg.block_diag(old, jnp.diag(new)))
    # by coordinate, then by unit
    d_noise = jax.vmap(blocks, in_axes=-1, out_axes=-1)(jnp.asarray(there.d_noise)[unit], taken(rows.d_noise))
    return information_by_unit(
        PopulationRows(
            joined(there.slopes, rows.slopes),
            joined(there.spread, rows.spread),
            joined(there.d_spread, rows.d_spread),
            blocks(jnp.asarray(there.noise)[unit], taken(rows.noise, 1.0)),
            d_noise,
        )
    )


def _rows(study: Study, coordinates: Scale) -> tuple[PopulationRows, np.ndarray]:
    """The rows of a study, and where each row of its table is among those of one unit."""
    found = population_rows(likelihood_of(study), coordinates.place)(jnp.asarray(coordinates.start))
    outputs = study.table["output"].to_numpy()
    by_output = np.concatenate([np.flatnonzero(outputs == name) for name in likelihood_of(study).observations.rows])
    return jax.tree.map(np.asarray, found), np.argsort(by_output)


def _with_diagonals(rows: PopulationRows) -> PopulationRows:
    """Of `noise` and `d_noise` the diagonals, of rows that are independent given the latents."""
    d_noise = np.moveaxis(np.diagonal(rows.d_noise, axis1=1, axis2=2), -1, 1)
    return rows._replace(noise=np.diagonal(rows.noise, axis1=1, axis2=2), d_noise=d_noise)


def _padded(rows: PopulationRows, units: int, existing: bool) -> PopulationRows:
    """With units of which nothing is measured; without `existing` that are all."""
    known = len(rows.slopes) if existing else 0

    def padded(each):
        return np.concatenate([each[:known], np.zeros((units - known, *each.shape[1:]))])

    found = jax.tree.map(padded, rows)
    found.noise[known:] = np.eye(rows.noise.shape[-1])
    return found


def _only(rows: PopulationRows, usable: np.ndarray) -> PopulationRows:
    """Of a candidate that is left out nothing is used."""
    kept = jax.tree.map(lambda each: np.where(usable.reshape(-1, *(1,) * (each.ndim - 1)), each, 0.0), rows)
    return kept._replace(noise=np.where(usable, rows.noise, 1.0))


def _by_row(study: Study, by_output) -> np.ndarray:
    """What is given for the rows of each output, in the order of the table."""
    outputs = study.table["output"].to_numpy()
    order = np.concatenate([np.flatnonzero(outputs == name) for name in by_output])
    return np.concatenate([np.asarray(each) for each in by_output.values()])[np.argsort(order)]


def _unit_of(candidates: Candidates, units: list) -> np.ndarray:
    position = {unit: index for index, unit in enumerate(units)}
    return candidates.table[candidates.unit].map(position).to_numpy(int)
