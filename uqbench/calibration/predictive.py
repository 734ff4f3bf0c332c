"""What prior and posterior draws say about data: predictive samples, pointwise log-likelihood, bands over time."""

import json
from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from ..compiling import LITTLE_EFFORT
from ..design import Design
from ..likelihoods import Likelihood, Observations, rows_by_output
from ..model import output_findings
from ..names import DRAWS
from ..progress import progress
from ..space import Theta
from ..study import Study

PRIOR_DRAWS = 1000
PREDICTIVE_DRAWS = 400
BAND_DRAWS = 400
BAND_TIMES = 81
# Draws that are solved side by side, and the most parts into which all of them are divided.
BATCH, BLOCKS = 64, 20
# As many of which the log density is computed as the posterior commonly has, for the same program.
TOGETHER = 4096
# Steps of a program of JAX whose length is not that of their text.
UNKNOWN_LENGTH = {"while", "scan", "pure_callback", "io_callback", "ffi_call", "custom_linear_solve"}
# How far behind a dose or switch its other side is drawn, as a part of the time that is drawn.
AFTER = 1e-6
# Chains and draws as one dimension, under a name that no parameter can have.
SAMPLE = "chain/draw"
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
    values = {output: rows["value"].to_numpy() for output, rows in study.data.groupby("output", sort=False)}
    return by_entry(values, rows_by_output(study), "row")


def pointwise(likelihood: Likelihood, posterior: xr.Dataset) -> xr.Dataset:
    """Log density of each term at each draw; the attribute `term` says what a term is."""
    shape = (posterior.sizes["chain"], posterior.sizes["draw"])
    with progress("calibrate: log likelihood of each term", shape[0] * shape[1]) as update:
        found = _terms_at(likelihood, free_parameters(likelihood.study, posterior), update)
    values = {name: each.reshape(*shape, -1) for name, each in found.items()}
    ends = {"moving_ends": json.dumps(likelihood.moving_ends)} if likelihood.moving_ends else {}
    return by_entry(values, likelihood.terms(), likelihood.term, posterior).assign_attrs(term=likelihood.term, **ends)


def log_densities(likelihood: Likelihood, thetas: Theta) -> Float[np.ndarray, " points"]:
    """Log density of all data at each of the points `(points,)`, by the program of `pointwise`."""
    count, parts = len(next(iter(thetas.values()))), []
    with progress("calibrate: looking for modes", count) as update:
        for begin in range(0, count, TOGETHER):
            some = {name: each[begin : begin + TOGETHER] for name, each in thetas.items()}
            found = _terms_at(likelihood, some, lambda done, begin=begin: update(begin + done))
            parts.append(np.sum([each.sum(axis=1) for each in found.values()], axis=0))
    return np.concatenate(parts)


def numbers_computed(likelihood: Likelihood) -> int:
    """How many numbers are computed for the log density at one point; 0 where that depends on the point.

    It does in loops, and nothing is known of what other programs compute that are called.
    """
    space = likelihood.study.model.space
    theta = dict.fromkeys(space.free, 0.5)
    return _numbers(jax.make_jaxpr(lambda theta: likelihood.pointwise(space.complete(theta)))(theta).jaxpr) or 0


def _numbers(jaxpr) -> int | None:
    """Entries of all that a program computes; None of one whose length is not known."""
    total = 0
    for step in jaxpr.eqns:
        inner = [each for value in step.params.values() for each in (value if isinstance(value, tuple) else (value,))]
        inner = [getattr(each, "jaxpr", each) for each in inner if hasattr(getattr(each, "jaxpr", each), "eqns")]
        if step.primitive.name in UNKNOWN_LENGTH or ("call" in step.primitive.name and not inner):
            return None
        found = [_numbers(each) for each in inner] or [sum(int(np.prod(out.aval.shape)) for out in step.outvars)]
        if None in found:
            return None
        total += sum(each for each in found if each is not None)
    return total


def predictive(likelihood: Likelihood, posterior: xr.Dataset, key) -> xr.Dataset:
    """Simulated measurements at the data's times, for an even selection of draws (at most `PREDICTIVE_DRAWS`)."""
    chosen = selected(posterior)
    values, _ = at_selected(likelihood, free_parameters(likelihood.study, chosen), key)
    shape = chosen.sizes["chain"], chosen.sizes["draw"], -1
    found = {output: np.asarray(each).reshape(shape) for output, each in values.items()}
    return by_entry(found, rows_by_output(likelihood.study), "row", chosen)


def selected(posterior: xr.Dataset) -> xr.Dataset:
    """An even selection of draws, at most `PREDICTIVE_DRAWS`."""
    return posterior.isel(draw=slice(None, None, step_of(posterior.sizes["draw"] * posterior.sizes["chain"])))


def step_of(draws: int) -> int:
    """Which draws of each chain are selected: each of so many."""
    return -(-draws // PREDICTIVE_DRAWS)


def free_parameters(study: Study, posterior: xr.Dataset) -> Theta:
    """The free parameters at each draw, chains one after another: `(draws,)` each, or `(draws, units)`."""
    values = {name: posterior[name].transpose("chain", "draw", ...).values for name in study.model.space.free}
    return {name: jnp.asarray(each.reshape(-1, *each.shape[2:])) for name, each in values.items()}


def at_selected(likelihood: Likelihood, thetas: Theta, key) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Simulated measurements `(draws, rows)` by output, and `Likelihood.probabilities` of the data `(draws, rows, 2)`.

    One program for draws of prior, posterior and new units alike: only their number compiles it again.
    """
    return _at_selected(likelihood, thetas, jax.random.split(key, len(next(iter(thetas.values())))))


@partial(jax.jit, static_argnames="likelihood", compiler_options=LITTLE_EFFORT)
def _at_selected(likelihood: Likelihood, thetas: Theta, keys: jax.Array):
    complete = likelihood.study.model.space.complete

    def one(each):
        theta, key = complete(each[0]), each[1]
        return likelihood.simulate(theta, key), likelihood.probabilities(theta, key)

    return jax.lax.map(one, (thetas, keys), batch_size=BATCH)


def band(likelihood: Likelihood, posterior: xr.Dataset, key) -> xr.Dataset:
    """Quantiles over time of what would be measured in each unit, on a grid fine enough to draw.

    A model that answers at the times of its data only has its quantiles there.

    Where everything is measured at one instant and one input tells the runs apart, the coordinate `setting` holds its
    value in each run: what there is to draw is a curve over that input.
    """
    study, observations = likelihood.study, likelihood.observations
    flat = posterior.stack({SAMPLE: DRAWS})
    picked = flat.isel({SAMPLE: np.linspace(0, flat.sizes[SAMPLE] - 1, BAND_DRAWS).astype(int)})
    designs = [
        jax.tree.map(lambda leaf, run=run: leaf[run], observations.design) for run in range(len(observations.unit))
    ]
    thetas = [
        {name: jnp.broadcast_to(value, (BAND_DRAWS,)) for name, value in _theta(study, picked, unit).items()}
        for unit in observations.unit
    ]
    grids = _grids([_instants(study, *each) for each in zip(thetas, designs, strict=True)])
    if output_findings(study.model, _at(designs[0], jnp.asarray(grids[0]))):
        # a function that knows the times of its data only, as a regression on columns
        grids = np.stack([np.asarray(design.times) for design in designs])
    variables = {output: [] for output in observations.rows}
    with progress("calibrate: bands over time, by run", len(grids)) as update:
        for run, (theta, design, grid) in enumerate(zip(thetas, designs, grids, strict=True)):
            samples = likelihood.predict_run(theta, _at(design, jnp.asarray(grid)), jax.random.fold_in(key, run), run)
            for output, values in samples.items():
                variables[output].append(np.nanquantile(np.asarray(values), QUANTILES, axis=0))
            update(run + 1)
    runs = list(dict.fromkeys(zip(study.data["experiment"], study.data[study.unit_column], strict=True)))
    return xr.Dataset(
        {output: (("run", "quantile", "grid"), np.stack(values)) for output, values in variables.items()},
        coords={
            "time": (("run", "grid"), grids),
            "quantile": list(QUANTILES),
            "experiment": ("run", [experiment for experiment, _ in runs]),
            "unit": ("run", [unit for _, unit in runs]),
        },
        attrs={"draws": BAND_DRAWS, "meaning": "quantiles of a new measurement in the same unit"},
    ).assign_coords(_setting(observations))


def _instants(study: Study, thetas: Theta, design: Design) -> np.ndarray:
    """Times of a run that its curves have to be drawn at, rising: both ends, observations, doses and switches.

    Just after a dose or switch there is one more, as the curve may jump there: what is observed at the time of a dose
    is the state before it. Where the time of an event depends on
    parameters, quantiles of it stand for all draws. Of observations, and of events, there are at most `BAND_TIMES`.
    """
    observed = np.unique(np.asarray(design.times))
    if len(observed) == 1:
        return observed
    observed = observed[np.isfinite(observed)]
    start, last = float(design.start), observed.max()
    dynamics, model = study.model.dynamics, study.model
    times = np.asarray(jax.vmap(lambda theta: dynamics.event_times(model, theta, design))(thetas))
    events = np.unique(np.nanquantile(times, QUANTILES, axis=0, method="nearest"))
    events = _thinned(events[(events >= start) & (events < last)])
    after = np.minimum(events + AFTER * (last - start), last)
    return np.unique(np.concatenate([[start], _thinned(observed), events, after]))


def _thinned(times: np.ndarray) -> np.ndarray:
    return times[np.unique(np.linspace(0, len(times) - 1, BAND_TIMES).astype(int))] if len(times) else times


def _grids(instants: list[np.ndarray]) -> Float[np.ndarray, "runs grid"]:
    """The instants of each run among evenly spaced times, equally many for all runs: one solve is compiled."""
    count = BAND_TIMES + max(map(len, instants))
    return np.stack(
        [np.sort(np.append(each, np.linspace(each[0], each[-1], count - len(each) + 2)[1:-1])) for each in instants]
    )


def _setting(observations: Observations) -> dict:
    """The input in which the runs differ, where time is none of their differences."""
    design = observations.design
    varying = {name: np.asarray(value) for name, value in design.inputs.items() if len(np.unique(value)) > 1}
    if len(np.unique(design.times)) > 1 or len(varying) != 1:
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
        values[name] = jnp.asarray(column.transpose(SAMPLE).values)
    return space.complete(values | {name: each[unit] for name, each in study.covariates.items()})


def _terms_at(likelihood: Likelihood, thetas: Theta, update: Callable[[int], None]) -> dict[str, np.ndarray]:
    """Log density of each term at each of the points: name -> `(points, terms)`; `update` is called with the number."""
    count = len(next(iter(thetas.values())))
    # blocks of one size, the last one filled up by its last point: one compilation, and a time left to tell
    size = BATCH * -(-count // (BATCH * BLOCKS))
    parts = []
    for begin in range(0, count, size):
        block = np.minimum(np.arange(begin, begin + size), count - 1)
        found = _terms_of_block(likelihood, {name: each[block] for name, each in thetas.items()})
        parts.append(jax.tree.map(np.asarray, found))
        update(min(begin + size, count))
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}


@partial(jax.jit, static_argnames="likelihood")
def _terms_of_block(likelihood: Likelihood, thetas: Theta) -> dict[str, jax.Array]:
    complete = likelihood.study.model.space.complete
    return jax.lax.map(lambda theta: likelihood.pointwise(complete(theta)), thetas, batch_size=BATCH)


def by_entry(values, tables: Mapping[str, pd.DataFrame], kind: str, posterior: xr.Dataset | None = None) -> xr.Dataset:
    """Values `([chain, draw,] entries)` by name, with the columns of a table for each as coordinates.

    Args:
        kind: what an entry is; the dimension of y is called y_row where it is a row.
        posterior: whose draws lead, if any do.
    """
    leading = () if posterior is None else ("chain", "draw")
    variables, coordinates = {}, {name: posterior[name] for name in leading}
    for name, table in tables.items():
        dim = f"{name}_{kind}"
        variables[name] = ((*leading, dim), values[name])
        coordinates[dim] = np.arange(len(table))
        coordinates |= {f"{name}_{column}": (dim, table[column].to_numpy()) for column in table}
    return xr.Dataset(variables, coordinates)
