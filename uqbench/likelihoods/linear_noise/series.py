"""The rows of a table as time series: one for each run, or for each replicate of it where the table has that column."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ...annotations import AnyArray
from ...study import Study
from ..layout import Observations

REPLICATE = "replicate"


@dataclass(frozen=True, eq=False)
class TimeSeries:
    """The rows of each series, ordered by time, in places: at each time one for each output, or several where it was
    measured repeatedly.

    Args:
        observations: with a run for each series, times `(series, times)` padded by repeating the last one.
        run: index of the run of the study that each series belongs to, `(series,)`.
        outputs: whose rows stand in each of the places.
        row: index of the row in each place among the rows of all outputs one after another, `(series, times, places)`.
        present: whether there is one, likewise.
        labels: what tells the series apart, a line for each.
    """

    observations: Observations
    run: np.ndarray
    outputs: tuple[str, ...]
    row: np.ndarray
    present: np.ndarray
    labels: pd.DataFrame

    @property
    def columns(self) -> tuple[dict[str, np.ndarray], ...]:
        """For each place column of the table -> its values `(series, times)`, that of another row where none is."""
        first, found = 0, {}
        for output, rows in self.observations.rows.items():
            found[output] = first
            first += len(rows.run)
        return tuple(
            {
                name: values[np.where(self.present[..., k], self.row[..., k] - found[output], 0)]
                for name, values in self.observations.columns[output].items()
            }
            for k, output in enumerate(self.outputs)
        )

    def placed(self, values: Mapping[str, AnyArray]) -> jax.Array:
        """Values of rows by output, in their places `(series, times, places)`."""
        return jnp.concatenate([jnp.asarray(values[output], float) for output in self.observations.rows])[self.row]

    def by_output(self, values: jax.Array) -> dict[str, jax.Array]:
        """Values in their places, by output in the order of the table."""
        flat = jnp.zeros(int(self.present.sum())).at[self.row[self.present]].set(values[self.present])
        ends = np.cumsum([len(rows.run) for rows in self.observations.rows.values()])
        return dict(zip(self.observations.rows, jnp.split(flat, ends[:-1]), strict=True))


def time_series(study: Study, observations: Observations) -> TimeSeries:
    """The measurements of a study, or those that it plans, as time series."""
    table, rows = study.table, observations.rows
    given = table[REPLICATE] if REPLICATE in table else pd.Series(0, index=table.index)
    frame = pd.concat(
        [
            pd.DataFrame(
                {
                    "run": each.run,
                    REPLICATE: given[table["output"] == output].to_numpy(),
                    "time": np.asarray(observations.design.times)[each.run, each.when],
                    "output": number,
                }
            )
            for number, (output, each) in enumerate(rows.items())
        ],
        ignore_index=True,
    )
    frame["series"] = frame.groupby(["run", REPLICATE], sort=False, dropna=False).ngroup()
    frame["when"] = frame.groupby("series")["time"].rank(method="dense").astype(int) - 1
    frame["repeat"] = frame.groupby(["series", "when", "output"]).cumcount()
    repeats = frame.groupby("output")["repeat"].max() + 1
    first = np.concatenate([[0], np.cumsum(repeats)])
    place = first[frame["output"]] + frame["repeat"].to_numpy()
    at = (frame["series"].to_numpy(), frame["when"].to_numpy(), place)
    shape = (frame["series"].max() + 1, frame["when"].max() + 1, first[-1])
    row, present = np.zeros(shape, int), np.zeros(shape, bool)
    row[at], present[at] = frame.index, True
    times = np.full(shape[:2], -np.inf)
    times[at[:2]] = frame["time"]
    times = np.maximum.accumulate(times, axis=1)
    heads = frame.drop_duplicates("series")
    run = heads["run"].to_numpy()
    design = jax.tree.map(lambda leaf: leaf[run], observations.design)
    design = eqx.tree_at(lambda each: each.times, design, jnp.asarray(times))
    whole = replace(observations, design=design, unit=observations.unit[run])
    outputs = tuple(name for name, count in zip(rows, repeats, strict=True) for _ in range(count))
    pairs = table[["experiment", study.unit_column]].loc[:, ~pd.Index(["experiment", study.unit_column]).duplicated()]
    labels = pairs.drop_duplicates().iloc[run].reset_index(drop=True)
    if REPLICATE in table:
        labels[REPLICATE] = heads[REPLICATE].to_numpy()
    return TimeSeries(whole, run, outputs, row, present, labels)
