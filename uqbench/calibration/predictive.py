"""What prior and posterior draws say about data: predictive samples, pointwise log-likelihood, bands over time."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ..model import evaluate_many
from ..observation import Observations, at_rows, noise_values, output_errors, pointwise_log_likelihood
from ..space import Theta
from ..study import Study

PRIOR_DRAWS = 1000
PREDICTIVE_DRAWS = 400
BAND_DRAWS = 400
BAND_TIMES = 81
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def prior(study: Study, key) -> xr.Dataset:
    """Independent draws from the prior of the epistemic parameters, as one chain."""
    theta = study.model.space.sample(key, (1, PRIOR_DRAWS))
    names = study.model.space.epistemic
    return xr.Dataset(
        {name: (("chain", "draw"), np.asarray(theta[name])) for name in names},
        coords={"chain": [0], "draw": np.arange(PRIOR_DRAWS)},
    )


def observed(study: Study) -> xr.Dataset:
    """The table in the ArviZ schema: one variable per output, its rows with experiment, unit and time."""
    variables, coordinates = {}, {}
    for output, rows in study.data.groupby("output", sort=False):
        variables[output] = (_dim(output), rows["value"].to_numpy())
        coordinates |= _row_coordinates(study, output, rows)
    return xr.Dataset(variables, coordinates)


def pointwise(study: Study, seen: Observations, posterior: xr.Dataset) -> xr.Dataset:
    """Log density of each row at each draw."""
    return _per_row(study, posterior, partial(pointwise_log_likelihood, study, seen))


def predictive(study: Study, seen: Observations, posterior: xr.Dataset, key) -> xr.Dataset:
    """Simulated measurements at the data's times, for an even selection of draws (at most `PREDICTIVE_DRAWS`)."""
    step = -(-posterior.sizes["draw"] * posterior.sizes["chain"] // PREDICTIVE_DRAWS)
    chosen = posterior.isel(draw=slice(None, None, step))

    def simulate(theta, key):
        known, ok = at_rows(study, seen, theta)
        keys = dict(zip(known, jax.random.split(key, len(known)), strict=True))
        noise = study.model.noise
        return {
            output: jnp.where(ok[output], noise[output].sample(keys[output], (), known[output]), jnp.nan)
            for output in known
        }

    keys = jax.random.split(key, chosen.sizes["chain"] * chosen.sizes["draw"])
    return _per_row(study, chosen, simulate, keys)


def band(study: Study, seen: Observations, posterior: xr.Dataset, key) -> xr.Dataset:
    """Quantiles over time of what would be measured in each unit, on a grid fine enough to draw.

    Where everything is measured at one instant and one input tells the runs apart, the coordinate `setting` holds its
    value in each run: what there is to draw is a curve over that input.
    """
    flat = posterior.stack(sample=("chain", "draw"))
    picked = flat.isel(sample=np.linspace(0, flat.sizes["sample"] - 1, BAND_DRAWS).astype(int))
    noise = study.model.noise
    variables = {output: [] for output in seen.rows}
    grids = []
    for run, unit in enumerate(seen.unit):
        design = jax.tree.map(lambda leaf, run=run: leaf[run], seen.design)
        grid = _grid(design)
        theta = {name: jnp.broadcast_to(value, (BAND_DRAWS,)) for name, value in _theta(study, picked, unit).items()}
        design = _at(design, grid)
        outputs = evaluate_many(study.model, theta, design).outputs
        errors = jax.vmap(partial(output_errors, study.model), (0, None, 0))(theta, design, outputs)
        columns, errors = ({name: values[:, None] for name, values in each.items()} for each in (theta, errors))
        grids.append(np.asarray(grid))
        for output in seen.rows:
            key, now = jax.random.split(key)
            known = noise_values(study.model, output, outputs, columns, errors)
            samples = noise[output].sample(now, (), known)
            samples = jnp.where(jnp.isfinite(outputs[output]), samples, jnp.nan)
            variables[output].append(np.nanquantile(np.asarray(samples), QUANTILES, axis=0))
    runs = list(dict.fromkeys(zip(study.data["experiment"], study.data[study.unit_column], strict=True)))
    return xr.Dataset(
        {output: (("run", "quantile", "grid"), np.stack(values)) for output, values in variables.items()},
        coords={
            "time": (("run", "grid"), np.stack(grids)),
            "quantile": list(QUANTILES),
            "experiment": ("run", [experiment for experiment, _ in runs]),
            "unit": ("run", [unit for _, unit in runs]),
        },
        attrs={"draws": BAND_DRAWS, "meaning": "quantiles of a new measurement in the same unit"},
    ).assign_coords(_setting(seen))


def _grid(design):
    """Times to draw at: from the start to the last finite time, or the one instant at which all is measured."""
    times = np.asarray(design.times)
    if times.min() == times.max():
        return jnp.full(BAND_TIMES, times[0])
    return jnp.linspace(design.start, times[np.isfinite(times)].max(), BAND_TIMES)


def _setting(seen: Observations) -> dict:
    """The input in which the runs differ, where time is none of their differences."""
    varying = {name: np.asarray(value) for name, value in seen.design.inputs.items() if len(np.unique(value)) > 1}
    if len(np.unique(seen.design.times)) > 1 or len(varying) != 1:
        return {}
    ((name, values),) = varying.items()
    return {"setting": ("run", values, {"name": name})} if values.ndim == 1 else {}


def _at(design, times):
    """`design` at other times, without the host-side checks of its constructor."""
    return jax.tree_util.tree_unflatten(
        jax.tree_util.tree_structure(design), [times, *jax.tree_util.tree_leaves(design)[1:]]
    )


def _theta(study: Study, flat: xr.Dataset, unit: int) -> Theta:
    space = study.model.space
    values = {}
    for name in space.free:
        column = flat[name].isel({study.unit_column: unit}) if name in space.aleatory else flat[name]
        values[name] = jnp.asarray(column.transpose("sample").values)
    return space.complete(values)


def _per_row(study: Study, posterior: xr.Dataset, function, keys=None) -> xr.Dataset:
    """Applies `function(theta[, key])` -> output -> `(rows,)` to every draw, vectorised over draws."""
    space = study.model.space
    shape = (posterior.sizes["chain"], posterior.sizes["draw"])
    thetas = {
        name: jnp.asarray(posterior[name].transpose("chain", "draw", ...).values).reshape(
            -1, *posterior[name].shape[2:]
        )
        for name in space.free
    }
    arguments = (thetas,) if keys is None else (thetas, keys)
    values = _map(lambda theta, *key: function(space.complete(theta), *key), arguments)
    variables, coordinates = {}, {}
    for output, rows in study.data.groupby("output", sort=False):
        variables[output] = (("chain", "draw", _dim(output)), np.asarray(values[output]).reshape(*shape, -1))
        coordinates |= _row_coordinates(study, output, rows)
    return xr.Dataset(variables, {"chain": posterior["chain"], "draw": posterior["draw"], **coordinates})


def _map(function, arguments):
    return jax.jit(lambda args: jax.lax.map(lambda each: function(*each), args, batch_size=64))(arguments)


def _dim(output: str) -> str:
    return f"{output}_row"


def _row_coordinates(study: Study, output: str, rows) -> dict:
    dim = _dim(output)
    return {dim: np.arange(len(rows))} | {
        f"{output}_{column}": (dim, rows[column].to_numpy())
        for column in dict.fromkeys(("experiment", study.unit_column, "time"))
    }
