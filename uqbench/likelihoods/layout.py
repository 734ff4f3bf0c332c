"""A table of measurements as one batch of runs: one for each unit under each experiment, with padded times.

A likelihood is then a single vectorised solve, however the table is laid out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ..design import Design
from ..errors import InputError
from ..measurements import bounds
from ..model import Model, method_for, with_equal_schedules
from ..space import Theta
from ..study import Study


class Rows(NamedTuple):
    """The measurements of one output, `(rows,)` each, in the order of the table.

    Args:
        run: index of the run that a measurement belongs to.
        when: index of its time among those of the run.
        value: what was measured, in the unit of the output; NaN where it is only planned.
        lower, upper: limits outside of which a value is only known to be so; infinite where there are none.
    """

    run: np.ndarray
    when: np.ndarray
    value: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    @property
    def limited(self) -> bool:
        """Whether any has a limit."""
        return bool(np.isfinite([self.lower, self.upper]).any())


@dataclass(frozen=True, eq=False)
class Observations:
    """The data of a study as arrays.

    Args:
        model: that of the study with the outputs that the measurements need: another that is not finite fails no run.
        design: stacked, times `(runs, times)` padded by repeating the last one, schedules of doses by doses that never
            happen. Where something is measured as an increment the first time is the start.
        unit: `(runs,)` index of each run's unit.
        units: how many there are.
        rows: output -> its measurements.
        plan: of the solves, made on the host before a likelihood is traced, see `System.plan`.
        active: the parameters that a run depends on.
        columns: output -> column of the table that its noise names -> value at each of its rows, `(rows,)`.
        before: output -> index of the time of each row's last observation before, that of the start for the first
            ones, `(rows,)`; of the outputs that are increments or whose noise names one.
        covariates: name -> value of each unit, `(units,)`.
    """

    model: Model
    design: Design
    unit: np.ndarray
    units: int
    rows: dict[str, Rows]
    plan: str
    active: tuple[str, ...]
    columns: dict[str, dict[str, np.ndarray]]
    before: dict[str, np.ndarray]
    covariates: dict[str, np.ndarray]

    def of_units(self, theta: Theta) -> Theta:
        """`theta` with the covariates of the units in place of what it has for them."""
        return {**theta, **{name: jnp.asarray(each) for name, each in self.covariates.items()}}


def lay_out(study: Study) -> Observations:
    """The measurements of a study, or those that it plans, as one batch of runs.

    Raises:
        InputError: where no output is measured.
    """
    data = study.table
    if not len(data):
        output = next(iter(study.model.units), "y")
        raise InputError(
            f"study {study.name!r}",
            [
                "no output has noise, so nothing is measured; give the model `noise`, such as "
                f"noise={{{output!r}: Normal({output!r}, 0.1)}}."
            ],
        )
    units = {label: index for index, label in enumerate(study.units)}
    pairs = list(dict.fromkeys(zip(data["experiment"], data[study.unit_column], strict=True)))
    run_of = {pair: index for index, pair in enumerate(pairs)}
    run = np.array([run_of[pair] for pair in zip(data["experiment"], data[study.unit_column], strict=True)])
    model = study.model.only(tuple(pd.unique(data["output"])))
    given = [study.experiments[experiment] for experiment, _ in pairs]
    times = [np.unique(data["time"][run == index]) for index in range(len(pairs))]
    if model.increments:
        times = [np.union1d(float(design.start), row) for design, row in zip(given, times, strict=True)]
    longest = max(len(row) for row in times)
    padded = np.stack([np.append(row, np.full(longest - len(row), row[-1])) for row in times])
    when = np.array([np.searchsorted(times[r], t) for r, t in zip(run, data["time"], strict=True)])
    designs = [design.at(row) for design, row in zip(given, padded, strict=True)]
    designs = with_equal_schedules(model, designs)
    rows, columns, before = {}, {}, {}
    for output in pd.unique(data["output"]):
        of = np.asarray(data["output"] == output)
        rows[output] = Rows(run[of], when[of], *bounds(data[of]))
        named = model.noise_names(output) if output in model.noise else ()
        columns[output] = {name: data[name].to_numpy(float)[of] for name in named if name in model.columns}
        if set(model.increments) & {output, *named}:
            before[output] = _before(run[of], when[of])
    # one that is followed to rest makes all of a batch be followed there, or they would be of different kinds
    kind = jax.tree.structure(max(designs, key=lambda design: design.settles))
    designs = [jax.tree.unflatten(kind, jax.tree.leaves(design)) for design in designs]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *designs)
    index = np.array([units[unit] for _, unit in pairs])
    # the longest span decides, so that no run of the batch is too stiff for its method
    plan, active = method_for(model, stacked), model.dynamics.parameters_used(model, designs[0])
    return Observations(model, stacked, index, len(units), rows, plan, active, columns, before, study.covariates)


def _before(run: np.ndarray, when: np.ndarray) -> np.ndarray:
    """For each row of an output the index of the largest time before it in the same run; 0, the start, if none is."""
    found = np.zeros(len(when), int)
    for each in np.unique(run):
        of = run == each
        seen = np.unique(np.append(0, when[of]))
        found[of] = seen[np.maximum(np.searchsorted(seen, when[of]) - 1, 0)]
    return found


def per_run(observations: Observations, theta: Theta) -> Theta:
    """Parameters of each run, `(runs,)`: its unit's aleatory values `(units,)`, the shared ones repeated."""
    check_shapes(observations, theta)
    return {name: of_runs(observations, value) for name, value in observations.of_units(theta).items()}


def of_runs(observations: Observations, value) -> jax.Array:
    """The value of one parameter in each run, `(runs,)`."""
    return value[observations.unit] if jnp.ndim(value) else jnp.broadcast_to(value, (len(observations.unit),))


def each_run(observations: Observations, theta: Theta, function: Callable, *more):
    """`function(theta, design, *more)` for every run, `more` having a leading axis of runs.

    Shared parameters are not repeated for each run: that would be an operation, and its derivative, for each of them.
    """
    check_shapes(observations, theta)
    theta = observations.of_units(theta)
    by_run = {name: value[observations.unit] if jnp.ndim(value) else value for name, value in theta.items()}
    axes = {name: 0 if jnp.ndim(value) else None for name, value in by_run.items()}
    run = jax.vmap(function, in_axes=(axes, *(0 for _ in (observations.design, *more))))
    return run(by_run, observations.design, *more)


def check_shapes(observations: Observations, theta: Theta) -> None:
    """Raises InputError where a parameter is neither a number nor one for each unit."""
    units = observations.units
    wrong = [
        f"{name} has shape {jnp.shape(value)}; it must be a number or one for each of the {units} units."
        for name, value in theta.items()
        if jnp.shape(value) not in ((), (units,))
    ]
    if wrong:
        raise InputError("theta", wrong)


def rows_by_unit(unit: np.ndarray, units: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of each unit's rows `(units, most)`, padded by zeros, and which of them are there.

    Args:
        unit: of each row, `(rows,)`.
    """
    lists = [np.flatnonzero(unit == index) for index in range(units)]
    most = max(map(len, lists))
    members = np.stack([np.append(rows, np.zeros(most - len(rows), int)) for rows in lists])
    return members, np.stack([np.arange(most) < len(rows) for rows in lists])
