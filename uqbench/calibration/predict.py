"""The verb `predict`: what a calibrated study says of a unit that is not measured yet, or of a known one elsewhere.

A new unit has its own values of the parameters that differ between units, drawn given those that are common to all; a
known one has those that its data allow. Both are run under a new design at posterior draws, so that what the data have
left open is in the quantiles, with measurement noise and without.
"""

import inspect
import json
import time
from collections.abc import Mapping, Sequence

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from .. import results
from ..defaults import PREDICTIONS
from ..design import Design
from ..errors import InputError, nearest
from ..likelihoods import likelihood_of
from ..model import evaluate_many, output_findings, over_time
from ..names import DRAWS
from ..settings import is_number, seed_findings, whole_number_findings
from ..space import Theta
from ..study import Study
from .predictive import QUANTILES, SAMPLE

NEW = "a new unit"


def predict(
    study: Study,
    tree: xr.DataTree | None = None,
    *,
    design: Design,
    unit: str | None = None,
    covariates: Mapping[str, float] | None = None,
    columns: Mapping[str, ArrayLike] | None = None,
    draws: int = PREDICTIONS,
    seed: int = 0,
) -> xr.DataTree:
    """Predicts the outputs of a unit under a design, at posterior draws.

    Args:
        study: that was calibrated.
        tree: with its /posterior.
        design: times and inputs of the prediction.
        unit: label of a unit of the data, whose own parameters are used; None: a new one.
        covariates: of a new unit; those left out have their references. A known unit has its own.
        columns: values of columns of the table of data that noise names, such as a standard error: a number, or
            `(times,)` of the design. Without them there are no measurements of what needs them.
        draws: posterior draws at most, evenly chosen.
        seed: of new units and noise.

    Returns:
        the tree with /predicted: by `output`, `quantile` and `time` the quantiles of outputs (`value`) and of
        measurements of them (`measured`, NaN where an output has no noise), each with its Monte Carlo standard error.
        Draws whose solve fails are left out, and `failed_runs` says how many and why.

    Raises:
        InputError: no posterior, a unit, input or covariate that is unknown, settings out of range, or every solve
            fails.

    Example:
        >>> import uqbench as uq
        >>> from studies.theophylline import study
        >>> design = uq.Design.linspace(0.0, 24.0, 49, inputs={"dose": 4.0})
        >>> tree = uq.predict(study, uq.load("results/theophylline.zarr"), design=design)  # doctest: +SKIP
    """
    tree, subject = results.check_tree(study, tree, verb="predict"), f"predict {study.name!r}"
    covariates, columns = dict(covariates or {}), dict(columns or {})
    findings = _posterior_findings(study, tree) + _unit_findings(study, unit, covariates)
    findings += _design_findings(study, design) + _column_findings(study, columns, len(design.times))
    findings += whole_number_findings({"draws": (draws, 4)}) + seed_findings(seed)
    if findings:
        raise InputError(subject, findings)
    began, key = time.monotonic(), jax.random.key(seed)
    posterior = tree["posterior"].to_dataset()
    chosen = posterior.isel(draw=slice(None, None, -(-posterior.sizes["draw"] * posterior.sizes["chain"] // draws)))
    thetas = _thetas(study, chosen, unit, covariates, jax.random.fold_in(key, 0))
    model, count = study.model, chosen.sizes["chain"] * chosen.sizes["draw"]
    keys = jax.random.split(jax.random.fold_in(key, 1), count) if model.stochastic else None
    run = evaluate_many(model, thetas, design, keys)
    failed = np.asarray(run.result) != 0
    if failed.all():
        raise InputError(subject, [f"every run fails: {reason}" for reason in model.dynamics.failures(run.result)])
    known = {name: np.broadcast_to(np.asarray(value, float), design.times.shape) for name, value in columns.items()}
    likelihood, measured = likelihood_of(study), {}
    # a likelihood of a study's own need not know of columns
    knows = "columns" in inspect.signature(likelihood.predict).parameters
    if knows or not model.columns:
        more: dict = {"columns": known} if known else {}
        measured = likelihood.predict(thetas, design, jax.random.fold_in(key, 2), **more)
    groups = {"value": over_time(model, run.outputs, design), "measured": measured}
    lacking = [name for name in model.columns if name not in known or not knows]
    dataset = _quantiles(groups, failed, chosen, design)
    dataset = dataset.assign_attrs(
        of=NEW if unit is None else str(unit),
        inputs=json.dumps({name: np.asarray(value).tolist() for name, value in design.inputs.items()}),
        covariates=json.dumps(
            {name: float(np.ravel(thetas[name])[0]) for name in model.space.covariates if name in thetas}
        ),
        draws=count,
        failed=int(failed.sum()),
        failed_runs=json.dumps(model.dynamics.failures(run.result)),
        noise=f"no noise where it names {', '.join(lacking)} of the table of data" if lacking else "",
    )
    settings = {"unit": unit, "draws": draws, "covariates": covariates}
    settings |= {"columns": {name: value.tolist() for name, value in known.items()}} if known else {}
    return results.attach(
        tree, {"predicted": dataset}, verb="predict", settings=settings, seed=seed, seconds=time.monotonic() - began
    )


def predict_text(
    study: Study,
    tree: xr.DataTree | None,
    *,
    unit: str | None,
    experiment: str | None,
    times: str | None,
    inputs: Sequence[str],
    covariates: Sequence[str],
    columns: Sequence[str],
    draws: int,
    seed: int,
) -> xr.DataTree:
    """`predict` with the design as it is written in a command: an experiment of the study, and what is changed of it.

    Args:
        experiment: to begin with; None: that of the unit, or the first one.
        times: "1,2,5", or "0:24:49" for 49 evenly spaced; None: those of the experiment.
        inputs, covariates, columns: "name=value", or "name=value,value" for a row of numbers.

    Raises:
        InputError: with everything that cannot be read, besides that of `predict`.
    """
    findings: list[str] = []
    table = study.table
    if experiment is None:
        of_unit = table.loc[table[study.unit_column] == unit, "experiment"]
        experiment = next(iter(of_unit if len(of_unit) else study.experiments))
    elif experiment not in study.experiments:
        findings.append(f"there is no experiment {experiment!r}; {nearest(experiment, [*study.experiments])}")
    base = study.experiments.get(experiment, next(iter(study.experiments.values())))
    at = np.asarray(base.times) if times is None else _times(times, findings)
    given = _named("--inputs", inputs, findings)
    for name in [name for name in given if name not in base.inputs]:
        known = f"; {nearest(name, [*base.inputs])}" if base.inputs else ", and the experiment has none."
        findings.append(f"the experiment has no input {name!r}{known}")
    changed = {name: given.get(name, np.asarray(value)) for name, value in base.inputs.items()}
    numbers = {name: np.ravel(value)[0] for name, value in _named("--covariates", covariates, findings).items()}
    of_table = _named("--columns", columns, findings)
    design = base
    try:
        design = Design(at, changed, start=float(base.start))
    except InputError as error:
        findings += error.findings
    findings += _posterior_findings(study, tree) + _unit_findings(study, unit, numbers)
    if findings:
        raise InputError(f"predict {study.name!r}", list(dict.fromkeys(findings)))
    return predict(study, tree, design=design, unit=unit, covariates=numbers, columns=of_table, draws=draws, seed=seed)


def _times(text: str, findings: list[str]) -> np.ndarray:
    try:
        if ":" in text:
            first, last, count = text.split(":")
            return np.linspace(float(first), float(last), int(count))
        return np.array([float(each) for each in text.split(",")])
    except ValueError:
        findings.append(f"times are {text!r}; write 1,2,5 or first:last:count, as in 0:24:49.")
        return np.zeros(0)


def _named(option: str, texts: Sequence[str], findings: list[str]) -> dict[str, np.ndarray]:
    """name -> a number or a row of numbers."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            numbers = np.array([float(each) for each in value.split(",")])
        except ValueError:
            numbers = np.zeros(0)
        if not equals or not numbers.size:
            findings.append(f"{option} {text!r} cannot be read; write name=value.")
        else:
            found[name] = numbers[0] if numbers.size == 1 else numbers
    return found


def _posterior_findings(study: Study, tree: xr.DataTree | None) -> list[str]:
    if tree is None or "posterior" not in tree.children:
        return [f"there is no posterior; run `uqbench calibrate {study.command}` first."]
    return []


def _unit_findings(study: Study, unit: str | None, covariates: Mapping[str, float]) -> list[str]:
    space, findings = study.model.space, []
    if unit is not None and unit not in study.units:
        findings.append(f"there is no {study.unit_column} {unit!r}; {nearest(str(unit), [*study.units])}")
    if unit is not None and covariates:
        findings.append("covariates are those of a new unit; a known one has its own. Leave one of the two out.")
    for name, value in covariates.items():
        if name not in space.covariates:
            known = nearest(name, [*space.covariates]) if space.covariates else "the model has none."
            findings.append(f"there is no covariate {name!r}; {known}")
        elif not is_number(value) or not np.isfinite(value):
            findings.append(f"the covariate {name!r} is {value!r}; give a finite number.")
    return findings


def _column_findings(study: Study, columns: Mapping[str, ArrayLike], times: int) -> list[str]:
    known, findings = study.model.columns, []
    for name, value in columns.items():
        if name not in known:
            near = nearest(name, [*known]) if known else "noise names none."
            findings.append(f"there is no column {name!r} that noise names; {near}")
            continue
        try:
            numbers = np.asarray(value, float)
        except (TypeError, ValueError):
            numbers = np.asarray(np.nan)
        if numbers.shape not in ((), (times,)) or not np.all(np.isfinite(numbers)):
            findings.append(
                f"the column {name!r} is {value!r}; give a finite number, or one for each of {times} times."
            )
    return findings


def _design_findings(study: Study, design: Design) -> list[str]:
    known = next(iter(study.experiments.values())).inputs
    findings = ["the design has no times; give some."] if not design.times.size else []
    findings += [f"the design lacks the input {name!r}." for name in known if name not in design.inputs]
    findings += [
        f"the design has an unknown input {name!r}; {nearest(name, [*known])}"
        for name in design.inputs
        if name not in known
    ]
    return findings or output_findings(study.model, design)


def _thetas(study: Study, chosen: xr.Dataset, unit: str | None, covariates: Mapping, key) -> Theta:
    """Value of every parameter at each draw, `(draws,)`; of a new unit, aleatory ones drawn given the others."""
    space = study.model.space
    flat = chosen.stack({SAMPLE: DRAWS}).transpose(SAMPLE, ...)
    count = flat.sizes[SAMPLE]
    thetas: Theta = {name: jnp.asarray(flat[name].values) for name in space.epistemic}
    if unit is not None:
        index = study.units.index(unit)
        thetas |= {name: jnp.full(count, each[index]) for name, each in study.covariates.items()}
        thetas |= {name: jnp.asarray(flat[name].values[:, index]) for name in space.aleatory}
    else:
        thetas |= {name: jnp.full(count, float(value)) for name, value in covariates.items()}
        known = {name: np.asarray(space[name].dist) for name in space.fixed} | thetas
        thetas |= space.new_units(key, known, (count,))
    return {name: jnp.broadcast_to(value, (count,)) for name, value in space.complete(thetas).items()}


def _quantiles(groups: Mapping[str, Mapping], failed: np.ndarray, chosen: xr.Dataset, design: Design) -> xr.Dataset:
    """Quantiles of each output at each time with their Monte Carlo error, over the draws whose solve succeeded."""
    shape = (1, -1) if failed.any() else (chosen.sizes["chain"], chosen.sizes["draw"])
    outputs, times = [*groups["value"]], np.asarray(design.times)
    variables: dict[str, tuple] = {}
    for name, values in groups.items():
        found = np.full((len(outputs), len(QUANTILES), len(times)), np.nan)
        errors = found.copy()
        for index, output in enumerate(outputs):
            if output in values:
                kept = np.asarray(values[output], float)[~failed]
                found[index] = np.quantile(kept, QUANTILES, axis=0)
                draws = xr.DataArray(kept.reshape(*shape, len(times)), dims=(*DRAWS, "time"))
                errors[index] = [az.mcse(draws, method="quantile", prob=each).values for each in QUANTILES]
        # all draws alike have no error; ArviZ has no effective number of such
        errors = np.where(np.isfinite(found) & ~np.isfinite(errors), 0.0, errors)
        variables |= {name: (("output", "quantile", "time"), found)}
        variables |= {f"{name}_standard_error": (("output", "quantile", "time"), errors)}
    return xr.Dataset(variables, {"output": outputs, "quantile": list(QUANTILES), "time": times})
