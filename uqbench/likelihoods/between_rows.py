"""What belongs to single rows of a table, at times between them: for curves that are drawn through a run.

An increment is over the interval between two observations, and a column of the table has a value for each row; neither
has one at other times unless something is supposed.
"""

import numpy as np
from jaxtyping import Float

from .layout import Observations


def interval_starts(
    observations: Observations, output: str, run: int, times: Float[np.ndarray, " times"]
) -> Float[np.ndarray, " times"]:
    """Where the interval starts whose increment is drawn at each time of a run.

    It is as long as the interval between observations of the output in which the time lies (the last one behind them),
    and starts no earlier than the run: at an observation it is that of the measurement itself.
    """
    start = float(observations.design.start[run])
    rows = observations.rows[output]
    seen = np.asarray(observations.design.times[run])[rows.when[rows.run == run]]
    ends = np.unique(seen[np.isfinite(seen) & (seen > start)])
    if not len(ends):
        return np.full(times.shape, start)
    edges = np.append(start, ends)
    place = np.minimum(np.searchsorted(ends, times), len(ends) - 1)
    # at an observation exactly where the one before was
    since = np.where(times == ends[place], edges[place], times - np.diff(edges)[place])
    return np.maximum(since, start)


def columns_between(
    observations: Observations, output: str, run: int, times: Float[np.ndarray, " times"]
) -> dict[str, Float[np.ndarray, " times"]]:
    """Columns of the table at other times: linear between the rows of the run, the median of all where it has none.

    What must be a whole number, as of trials, is the nearest one.
    """
    rows, found = observations.rows[output], {}
    noise = observations.model.noise[output]
    whole = {value for argument, value in noise.arguments.items() if noise.domains[argument].whole}
    own = rows.run == run
    seen = np.asarray(observations.design.times[run])[rows.when]
    own &= np.isfinite(seen)
    for name, values in observations.columns[output].items():
        if not own.any():
            found[name] = _rounded(np.full(times.shape, np.median(values)), name in whole)
            continue
        instants, place = np.unique(seen[own], return_inverse=True)
        means = np.bincount(place, values[own]) / np.bincount(place)
        found[name] = _rounded(np.interp(times, instants, means), name in whole)
    return found


def _rounded(values: np.ndarray, whole: bool) -> np.ndarray:
    return np.rint(values) if whole else values
