"""The runs that Sobol indices need: two independent samples, and their mixtures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.stats import qmc

from ...annotations import AnyArray
from ...errors import InputError, nearest
from ..runs import MINIMUM_BASE_SAMPLES, members_of


class CubeSpace(Protocol):
    """What a plan needs of a parameter space: the free names and the map from the unit cube to values."""

    @property
    def free(self) -> tuple[str, ...]: ...

    def from_cube(self, u: np.ndarray) -> Mapping[str, AnyArray]: ...


@dataclass(frozen=True, eq=False)
class SobolPlan:
    """The runs that Sobol indices need, and how they are arranged.

    `inputs` and `cube` hold the blocks one below the other, each of `n` rows: A, B, then A with the columns of one
    group from B for every group, then (second order) B with the columns of one group from A. The groups are single
    parameters unless asked otherwise.

    Args:
        names: the free parameters, in the order of the columns.
        groups: label -> parameters that are varied together.
        n: base samples (a power of 2); `n_requested` is what was asked for.
        second_order: whether the fourth kind of block is there.
        replicates: runs of a stochastic model at every row.
        seed: of the scrambling.
        cube: `(evaluations, d)` independent coordinates in (0, 1).
        values: every parameter, fixed ones included, `(evaluations,)`.
    """

    names: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]
    n: int
    n_requested: int
    second_order: bool
    replicates: int
    seed: int
    cube: np.ndarray
    values: dict[str, np.ndarray]

    @property
    def inputs(self) -> np.ndarray:
        """Parameter values `(evaluations, d)`, one column per name."""
        return np.stack([self.values[name] for name in self.names], axis=-1)

    @property
    def thetas(self) -> dict[str, np.ndarray]:
        """All parameters `(evaluations * replicates,)` for `evaluate_many`; the replicates of a row follow each
        other."""
        return {name: np.repeat(value, self.replicates) for name, value in self.values.items()}

    @property
    def evaluations(self) -> int:
        """Rows of `inputs`; the number of runs is this times `replicates`."""
        return len(self.cube)

    @property
    def blocks(self) -> tuple[str, ...]:
        """What each run of `n` rows is: "A", "B", "A, x from B", ..."""
        partners = [f"A, {label} from B" for label in self.groups]
        partners += [f"B, {label} from A" for label in self.groups if self.second_order]
        return ("A", "B", *partners)


def sobol_plan(
    space: CubeSpace,
    n: int,
    *,
    second_order: bool = False,
    replicates: int = 1,
    groups: Mapping[str, Sequence[str]] | None = None,
    seed: int = 0,
) -> SobolPlan:
    """The input values at which a model must be run for its Sobol indices.

    The base samples are scrambled Sobol points of 2 d dimensions. They keep their balance only in powers of two, so
    `n` is rounded up to the next one (`plan.n`; `plan.n_requested` is what was asked for). There are `n (g + 2)`
    rows for g groups, `n (2 g + 2)` with second order.

    A parameter whose distribution names other parameters is mapped from its own coordinate of the cube by its quantile
    *given* those others (Rosenblatt). Its index is therefore that of the independent coordinate: of what it adds once
    the named ones are known, not of its marginal spread.

    Args:
        space: a `Space`, or anything with `free` (or `names`) and `from_cube`.
        n: base samples.
        second_order: adds the blocks for pairs; S1 and ST become much sharper too.
        replicates: runs per row, for a stochastic model.
        groups: label -> names of parameters varied together; every free parameter in exactly one. Default: each alone.
        seed: of the scrambling; 0 is a seed.

    Returns:
        a `SobolPlan`.

    Raises:
        InputError: with every finding.

    Example:
        >>> from uqbench import Space, Uniform, epistemic
        >>> space = Space(a=epistemic(Uniform(0.0, 1.0)), b=epistemic(Uniform(0.0, 1.0)))
        >>> sobol_plan(space, 60).inputs.shape
        (256, 2)
    """
    free = getattr(space, "free", None)
    names = tuple(space.names if free is None else free)
    findings = []
    if int(n) != n or n < MINIMUM_BASE_SAMPLES:
        findings.append(f"n is {n}; give a whole number of base samples, at least {MINIMUM_BASE_SAMPLES}.")
    if int(replicates) != replicates or replicates < 1:
        findings.append(f"replicates is {replicates}; give a whole number, at least 1.")
    if not names:
        findings.append("the space has no free parameter, so there is nothing to vary.")
    groups = {name: (name,) for name in names} if groups is None else {k: members_of(v) for k, v in groups.items()}
    findings += group_findings(groups, names)
    if findings:
        raise InputError("sobol_plan", findings)
    rounded = 1 << (int(n) - 1).bit_length()
    d = len(names)
    # The points are multiples of 2^-30 and may be 0; the centre of the cell keeps every quantile finite.
    points = qmc.Sobol(2 * d, scramble=True, bits=30, rng=np.random.default_rng(seed)).random(rounded) + 2.0**-31
    # The two columns of an input stand beside each other: an index lives on that pair, and Sobol points are the better
    # balanced the closer and lower their dimensions are.
    a, b = points[:, 0::2], points[:, 1::2]
    cube = [a, b]
    for base, donor in ((a, b), (b, a))[: 1 + second_order]:
        for members in groups.values():
            block, columns = base.copy(), [names.index(name) for name in members]
            block[:, columns] = donor[:, columns]
            cube.append(block)
    cube = np.concatenate(cube)
    values = {name: np.asarray(value, dtype=float) for name, value in space.from_cube(cube).items()}
    infinite = [name for name in names if not np.isfinite(values[name]).all()]
    if infinite:
        raise InputError(
            "sobol_plan", [f"{name!r} has values that are not finite; bound its prior." for name in infinite]
        )
    return SobolPlan(names, groups, rounded, int(n), bool(second_order), int(replicates), seed, cube, values)


def group_findings(groups: Mapping[str, tuple[str, ...]], names: tuple[str, ...]) -> list[str]:
    findings = [f"group {label!r} is empty; remove it or name its parameters." for label, m in groups.items() if not m]
    for label, members in groups.items():
        findings += [f"group {label!r} has {m!r}: {nearest(m, names)}" for m in members if m not in names]
    for name in names:
        holders = [label for label, members in groups.items() for member in members if member == name]
        if not holders:
            findings.append(f"parameter {name!r} is in no group; put it into one, or fix it in the space.")
        if len(holders) > 1:
            findings.append(f"parameter {name!r} is in groups {', '.join(map(repr, holders))}; keep it in one.")
    return findings
