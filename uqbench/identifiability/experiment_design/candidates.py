"""What could be measured: output x time x setting of the inputs, with a price each.

A candidate is one measurement; a design takes each of them any number of times. Measurements of one setting do not
have to be made in one run of the experiment: given the parameters they are independent.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd

from ...annotations import Numbers
from ...design import Design
from ...errors import InputError, nearest
from ...settings import is_number
from ...study import Quantity, Study

COLUMNS = ("experiment", "output", "time", "cost")
# Of the grid of times that is proposed: how many are spaced evenly, how many by a factor, and how far before the first
# measurement the latter begin, as a part of its time.
EVENLY, BY_FACTOR, BEFORE = 12, 24, 1e-2

# Units that could be measured besides those of a study.
NEW_UNITS = ("new 1", "new 2")

Cost = float | Mapping[str, float] | Callable[[pd.Series], float]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Measurements that could be made of a study's model.

    Args:
        designs: experiment -> `Design`, whose inputs and start are those of the experiment.
        table: by candidate: `experiment`, `output`, `time` (in the model's unit of time), `cost` of one measurement,
            and the columns that the noise names.
        unit: the column that says which unit is measured; None where units are alike, or there are none.

    Raises:
        InputError: no rows, or rows that no measurement can have; all findings at once.
    """

    designs: Mapping[str, Design]
    table: pd.DataFrame
    unit: str | None = None

    def __post_init__(self):
        table = self.table
        missing = [name for name in (*COLUMNS, *([] if self.unit is None else [self.unit])) if name not in table]
        findings = [f"no column {name!r} in the table." for name in missing]
        if not missing:
            unknown = [name for name in pd.unique(table["experiment"]) if name not in self.designs]
            findings += [f"experiment {name!r} has no design." for name in unknown]
            findings += (
                [] if len(table) else ["there are no candidates; give times, inputs or outputs that leave some."]
            )
            cost = pd.to_numeric(table["cost"], errors="coerce")
            if not np.all(np.isfinite(cost) & (cost > 0)):
                findings.append("a cost is not a number above 0; give each measurement its price.")
        if findings:
            raise InputError("candidates", findings)
        object.__setattr__(self, "table", table.reset_index(drop=True))

    def only(self, keep: np.ndarray | pd.Series) -> "Candidates":
        """Those for which `keep` `(candidates,)` is true."""
        return replace(self, table=self.table[np.asarray(keep, bool)])

    @property
    def labels(self) -> list[str]:
        """Each candidate in words, such as "C at 2 in low dose"."""
        rows = zip(self.table["output"], self.table["time"], self.table["experiment"], strict=True)
        words = [f"{output} at {time:.3g} in {experiment}" for output, time, experiment in rows]
        if self.unit is None:
            return words
        return [f"{each} of {self.unit} {unit}" for each, unit in zip(words, self.table[self.unit], strict=True)]


def candidate_measurements(
    study: Study,
    times: Sequence[float] | np.ndarray | None = None,
    inputs: Mapping[str, Sequence[float]] | None = None,
    outputs: Sequence[str] | None = None,
    cost: Cost | None = None,
    columns: Mapping[str, float] | None = None,
    units: Sequence | None = None,
) -> Candidates:
    """Every output at every time under every setting of the inputs.

    Args:
        study: whose model could be measured.
        times: in the model's unit of time; None: a grid over the span of the study's experiments, evenly spaced and by
            a constant factor from a hundredth of the first time on, and the times of the study itself.
        inputs: name -> values that the experimenter could set; all combinations, other inputs as in the study's
            experiments. None: the experiments of the study as they are, and the conditions of its quantities.
        outputs: that could be measured; None: all that have noise.
        cost: of one measurement: a number, output -> number, or a function of a row of the table; None: 1 each.
        columns: value of each column that the noise names, such as the standard error of a new measurement.
        units: that could be measured, where units differ: those of the study, each under its own experiments unless
            `inputs` are given, or new ones by any other name; None: those of the study and `NEW_UNITS`.

    Raises:
        InputError: unknown names, times before the start, costs that are no numbers above 0, measurements as
            increments (what they tell depends on those before them).

    Example:
        >>> from studies.two_scale_cascade import late
        >>> float(candidate_measurements(late).table["time"].min())
        0.02
    """
    measured = tuple(study.model.measured)
    outputs = measured if outputs is None else tuple(outputs)
    findings = [f"unknown output {name!r}; {nearest(name, measured)}" for name in outputs if name not in measured]
    findings += _setting_findings(study, inputs or {}, outputs, cost, columns or {})
    findings += _unit_findings(study, units)
    if findings:
        raise InputError(f"candidates of study {study.name!r}", findings)
    grid = proposed_times(study) if times is None else np.unique(np.asarray(times, float))
    designs = {name: design.at(grid) for name, design in _settings(study, inputs or {}).items()}
    rows = [(name, output, float(time)) for name in designs for output in outputs for time in grid]
    table = pd.DataFrame(rows, columns=["experiment", "output", "time"]).assign(**(columns or {}))
    unit = study.unit if study.model.space.aleatory else None
    if unit is not None:
        settings = _settings_of_units(study, designs, (*study.units, *NEW_UNITS) if units is None else units, inputs)
        table = pd.concat(
            [table[table["experiment"].isin(own)].assign(**{unit: each}) for each, own in settings.items()],
            ignore_index=True,
        )
    return Candidates(designs, table.assign(cost=_costs(table, cost)), unit)


def _unit_findings(study: Study, units: Sequence | None) -> list[str]:
    if units is None:
        return []
    if not study.model.space.aleatory or study.unit is None:
        return ["units are named, but in this study they are alike or have no column; leave `units` out."]
    if isinstance(units, str) or not len(units) or len(set(units)) < len(units):
        return [f"units is {units!r}; give a list of labels, each once."]
    return []


def _settings_of_units(study: Study, designs: Mapping[str, Design], units: Sequence, inputs) -> dict[object, list[str]]:
    """Unit -> experiments under which it could be measured; of those that are alike new units have the first."""
    different: dict[tuple, str] = {}
    for name, design in designs.items():
        different.setdefault((setting_of(design), float(design.start)), name)
    table = study.table
    own = {unit: list(pd.unique(table["experiment"][table[study.unit_column] == unit])) for unit in study.units}
    return {unit: list(different.values()) if inputs or unit not in own else own[unit] for unit in units}


def _setting_findings(study: Study, inputs: Mapping, outputs: Sequence[str], cost, columns: Mapping) -> list[str]:
    known = [*next(iter(study.experiments.values())).inputs]
    findings = [f"unknown input {name!r}; {nearest(name, known)}" for name in inputs if name not in known]
    findings += [
        f"the input {name!r} has no values; give those that could be set."
        for name, levels in inputs.items()
        if not len(levels)
    ]
    if study.model.increments:
        findings.append("what an increment tells depends on when was measured before; candidates must stand alone.")
    findings += [
        f"the noise names the column {name!r}; give its value in `columns`."
        for name in study.model.columns
        if name not in columns
    ]
    if isinstance(cost, Mapping):
        findings += [f"the output {name!r} has no cost." for name in outputs if name not in cost]
    elif not (cost is None or callable(cost) or is_number(cost)):
        findings.append(f"cost is {cost!r}; give a number, output -> number, or a function of a row.")
    return findings


def proposed_times(study: Study) -> np.ndarray:
    """Times `(times,)` at which measurements of a study could be made, rising."""
    designs = study.experiments.values()
    start = max(float(design.start) for design in designs)
    known = np.unique(np.concatenate([np.asarray(design.times) for design in designs]))
    later = known[(known > start) & np.isfinite(known)]
    if not len(later):
        return known[known >= start]
    first, last = later[0] - start, later[-1] - start
    grid = [np.linspace(0.0, last, EVENLY + 1)[1:], np.geomspace(BEFORE * first, last, BY_FACTOR)]
    return np.unique(np.concatenate([known[known >= start], start + np.concatenate(grid)]))


def _settings(study: Study, levels: Mapping[str, Sequence[Numbers]]) -> dict[str, Design]:
    """Name -> design, of all settings of the inputs."""
    if not levels:
        return {**study.experiments, **_predicted(study)}
    found, known = {}, set()
    for design in study.experiments.values():
        others = {name: value for name, value in design.inputs.items() if name not in levels}
        key = (tuple((name, np.asarray(value).tobytes()) for name, value in others.items()), float(design.start))
        if key in known:
            continue
        known.add(key)
        for values in product(*levels.values()):
            setting = dict(zip(levels, values, strict=True))
            name = ", ".join(f"{each} = {value:g}" for each, value in setting.items())
            name = name if len(known) == 1 else f"{name} ({len(known)})"
            found[name] = Design(design.times, {**others, **setting}, start=float(design.start))
    return found


def _predicted(study: Study) -> dict[str, Design]:
    """Settings of the quantities that no experiment has, of which the model will be asked anyway."""
    known = {setting_of(design) for design in study.experiments.values()}
    found = {}
    for name, quantity in study.quantities.items():
        # a study has made quantities of plain functions
        assert isinstance(quantity, Quantity)
        if (now := setting_of(quantity.design)) not in known:
            known.add(now)
            found[f"the conditions of {name}"] = quantity.design
    return found


def setting_of(design: Design) -> tuple:
    """What tells settings of the inputs apart."""
    return tuple((name, np.asarray(design.inputs[name]).tobytes()) for name in sorted(design.inputs))


def _costs(table: pd.DataFrame, cost: Cost | None) -> np.ndarray:
    if cost is None:
        return np.ones(len(table))
    if isinstance(cost, Mapping):
        return table["output"].map(cost).to_numpy(float)
    if callable(cost):
        return np.array([cost(row) for _, row in table.iterrows()])
    return np.full(len(table), float(cost))
