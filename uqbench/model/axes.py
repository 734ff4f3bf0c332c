"""The axes of outputs: their names, their coordinates, and runs as tables that carry both."""

from typing import TYPE_CHECKING

import numpy as np

from ..design import Design
from ..errors import nearest
from ..systems import Run

if TYPE_CHECKING:
    import xarray as xr

    from .description import Model

# Axes of an output of which nothing else is said.
SERIES = ("time",)


def dataset(model: "Model", run: Run, design: Design) -> "xr.Dataset":
    """See `Model.dataset`."""
    # a table for people: what only computes does without the import
    import xarray as xr

    batch = ("run",) * np.ndim(run.result)
    variables = {
        name: ((*batch, *dims), np.asarray(run.outputs[name]), {"units": model.units[name]})
        for name, dims in model.output_dims.items()
    }
    times = np.asarray(design.times)
    axes: dict[str, tuple] = {"time": (("run", "time")[-times.ndim :], times, {"units": model.time_unit})}
    axes |= {name: (name, np.asarray(values)) for name, values in model.coords.items()}
    return xr.Dataset({**variables, "result": (batch, np.asarray(run.result))}, coords=axes)


def dims_findings(model: "Model") -> list[str]:
    """What is wrong with the names of axes."""
    findings = [
        f"dims are given for {name!r}, which has no unit; {nearest(name, [*model.units])}"
        for name in model.dims
        if name not in model.units
    ]
    for name, dims in model.output_dims.items():
        given = model.dims.get(name, SERIES)
        if isinstance(given, str) or not all(isinstance(each, str) and each.strip() for each in given):
            findings.append(f'output {name!r} has the dims {given!r}; give a tuple of names, as in ("time", "x").')
        elif "time" in dims[1:] or len(set(dims)) < len(dims):
            findings.append(f'output {name!r} has the dims {dims}; "time" comes first and no axis twice.')
        elif name in model.measured and name not in model.series:
            findings.append(
                f"the output {name!r} is measured and has the dims {dims}; what is measured is one number at each "
                'time, ("time",), or for all, (): make the numbers that are measured outputs of their own.'
            )
    return findings


def coords_findings(model: "Model") -> list[str]:
    """What is wrong with their coordinates."""
    axes = dict.fromkeys(axis for dims in model.output_dims.values() for axis in dims if axis != "time")
    findings = [
        f"coords are given for {axis!r}, which is no axis in `dims`; {nearest(axis, [*axes])}"
        if axes and axis != "time"
        else f"coords are given for {axis!r}, which `dims` name as no axis besides that of time."
        for axis in model.coords
        if axis not in axes
    ]
    findings += [
        f"the axis {axis!r} has coords and is called like an output; rename one of them."
        for axis in model.coords
        if axis in model.units
    ]
    for axis, given in model.coords.items():
        values = np.asarray(given)
        if values.ndim != 1 or values.dtype.kind not in "iufU":
            findings.append(f"the coords of {axis!r} are {given!r}; give a row of numbers or names.")
        elif values.dtype.kind == "f" and not np.all(np.isfinite(values)):
            findings.append(f"the coords of {axis!r} are not all finite.")
        elif len(np.unique(values)) < len(values):
            findings.append(f"the coords of {axis!r} name a place twice.")
    return findings
