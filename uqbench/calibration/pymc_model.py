"""The PyMC model of a study: the same priors and hierarchy, with the likelihood as one operation.

Aleatory parameters become latents, one of each unit; so does an epistemic one whose prior has an unknown width, as the
effect of a batch has. Their coordinates are those of `calibration.latents`, in which there is no funnel.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import xarray as xr

from ..distributions import Cauchy, Correlation, Distribution, LogNormal, LogUniform, Normal, StudentT
from ..distributions.expressions import expression_of
from ..errors import InputError
from ..likelihoods import Expansion, Likelihood, LinearEffects, of_shared, of_units
from ..space import Parameter, Space, Theta, distribution_of
from ..study import Study
from .latents import coordinate, moved, placed
from .stretched import Stretched

# The dimension of what differs between units. No variable is called so: names of parameters end in a dot here.
UNITS = "units"
# Standard normal latents of the parameters that are integrated out, see `LinearEffects`.
EFFECTS = "effects"
# Families whose tails fall as a power, on both sides.
HEAVY = (Cauchy, StudentT)
# Coordinates of what differs between units, and the expansion of its log likelihood, see `calibration.latents`.
LATENTS, INFORMATION, PULL = "unit_latents", "unit_information", "unit_pull"
# Families that are an affine map of a standard normal, after a logarithm where named.
AFFINE = {Normal: False, LogNormal: True}


def pymc_model(likelihood: Likelihood, data: Mapping[str, np.ndarray] | None = None) -> pm.Model:
    """The study as a `pymc.Model`: free variables, latents, and the data.

    A parameter k is the variable "k.", whatever PyMC and its sampler call their own things (`k._log__`, `energy`);
    `parameters` gives draws their names back. The potential `log_likelihood` is -inf where a solve failed, so that a
    failed solve is a rejected point. Parameters that can be integrated out exactly (`LinearEffects`) are: the potential
    is then that of the data without them, and they are computed from latents of their own, of which it does not
    depend, as draws given the data and all others.

    Args:
        likelihood: of the data, differentiable.
        data: as `data_of` gives it, the default.

    Raises:
        InputError: naming each family that cannot stand where it does.
    """
    study = likelihood.study
    _check_families(study)
    space = study.model.space
    effects = LinearEffects.of(likelihood)
    integrated, drawn = effects.names if effects else (), _of_unknown_width(likelihood)
    with pm.Model(coords={UNITS: list(study.units)}) as model:
        known = {name: pm.Data(name, column) for name, column in (data or data_of(likelihood)).items()}
        variables: dict = {}
        for name in space.names:
            parameter = space[name]
            if name in study.covariates:
                variables[name] = pt.as_tensor_variable(study.covariates[name])
            elif parameter.role == "fixed":
                variables[name] = pt.as_tensor_variable(float(parameter.dist))
            elif name in drawn:
                expansion = known[_information(name)], known[_pull(name)]
                (value,) = _placed_at(space, (name,), _latent(name), 1, variables, expansion)
                variables[name] = pm.Deterministic(variable_name(name), value[0])
            elif parameter.role == "epistemic" and name not in integrated:
                variables[name] = _epistemic(name, parameter.dist, variables)
        if space.aleatory:
            expansion = known[INFORMATION], known[PULL]
            found = _placed_at(space, space.aleatory, LATENTS, len(study.units), variables, expansion)
            for name, value in zip(space.aleatory, found, strict=True):
                variables[name] = pm.Deterministic(variable_name(name), value, dims=UNITS)
        theta = {name: variables[name] for name in space.free if name not in integrated}
        values = {output: known[_data(output)] for output in likelihood.observations.rows}
        pm.Potential("log_likelihood", _log_density(effects or likelihood, space)(theta, values))
        if effects:
            latents = pm.Normal(EFFECTS, 0.0, 1.0, shape=len(integrated))
            for name, value in _placed(effects, space)(theta, latents, values).items():
                pm.Deterministic(variable_name(name), value)
    return model


def data_of(
    likelihood: Likelihood, values: Mapping[str, np.ndarray] | None = None, at: Mapping[str, float] | None = None
) -> dict[str, np.ndarray]:
    """What of the model depends on the values of the data, and may be replaced by that of others once it is compiled.

    Args:
        values: output -> values that stand for the measured ones, `(rows,)`.
        at: values of epistemic parameters, at which the log likelihood of latents is expanded; default the prior
            medians. No density depends on it.
    """
    space = likelihood.study.model.space
    if values is None:
        values = {output: rows.value for output, rows in likelihood.observations.rows.items()}
    found = {_data(output): column for output, column in values.items()}
    theta = space.nominal() | dict(at or {})
    if drawn := _of_unknown_width(likelihood):
        information, pull = of_shared(likelihood, drawn, theta, values)
        for index, name in enumerate(drawn):
            found |= {_information(name): information[[index]], _pull(name): pull[[index]]}
    if space.aleatory:
        found[INFORMATION], found[PULL] = of_units(likelihood, theta, values)
    return found


def variable_name(parameter: str) -> str:
    """The variable that is a parameter of the study."""
    return f"{parameter}."


def of_expansions(likelihood: Likelihood) -> tuple[str, ...]:
    """What of `data_of` depends on where the log likelihood is expanded; empty where it is not."""
    if "information" not in likelihood.capabilities:
        return ()
    found = [make(name) for name in _of_unknown_width(likelihood) for make in (_information, _pull)]
    return (*found, *((INFORMATION, PULL) if likelihood.study.model.space.aleatory else ()))


def start_values(
    model: pm.Model, likelihood: Likelihood, theta: Mapping[str, float], data: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Variable -> value, of epistemic parameters that take these values; of those that are not integrated out.

    What differs between units is where their data and these values have it, by the normal density of both.

    Args:
        data: as `data_of` gave it to the model.
    """
    values, space = {}, likelihood.study.model.space
    drawn, known = _of_unknown_width(likelihood), space.nominal() | theta
    for name, value in theta.items():
        if name in drawn:
            dist = distribution_of(space, name)
            mu, sigma = (float(dist.canonical(known)[argument]) for argument in ("mu", "sigma"))
            natural = float(np.log(value)) if AFFINE[type(dist)] else value
            z = coordinate(natural, mu, sigma, data[_information(name)][0], data[_pull(name)][0])
            values[_latent(name)] = np.full((1, 1), z)
        elif isinstance(space[name].dist, LogUniform):
            values[_log(name)] = np.asarray(np.log(value))
        elif isinstance(space[name].dist, Correlation):
            values[_share(name)] = np.asarray((1 + value) / 2)
        else:
            values[variable_name(name)] = np.asarray(value)
    if space.aleatory:
        measured = {output: data[_data(output)] for output in likelihood.observations.rows}
        own, taken = of_units(likelihood, known, measured), Expansion(data[INFORMATION], data[PULL])
        values[LATENTS] = np.asarray(_moved(likelihood, known, own, taken))
    free = {variable.name for variable in model.free_RVs}
    return {name: value for name, value in values.items() if name in free}


@partial(jax.jit, static_argnames="likelihood")
def _moved(likelihood: Likelihood, theta: Theta, before: Expansion, after: Expansion):
    space = likelihood.study.model.space
    return moved(space, likelihood.observations.of_units(theta), before, after, space.aleatory)


def parameters(draws: xr.DataTree, study: Study) -> xr.Dataset:
    """The free parameters among a sampler's draws, under the names of the study."""
    names = {variable_name(name): name for name in study.model.space.free}
    dataset = draws.to_dataset()[list(names)]
    return dataset.rename(names | ({UNITS: study.unit_column} if UNITS in dataset.dims else {}))


def of_unknown_width(space: Space) -> tuple[str, ...]:
    """Epistemic parameters, affine maps of a standard normal latent, of a width that other parameters give."""
    return tuple(
        name
        for name in space.epistemic
        if type(space[name].dist) in AFFINE and isinstance(distribution_of(space, name).arguments["sigma"], str)
    )


# asked for each of many points
@lru_cache(maxsize=16)
def _of_unknown_width(likelihood: Likelihood) -> tuple[str, ...]:
    """The same, without those that are integrated out."""
    effects = LinearEffects.of(likelihood)
    return tuple(
        name for name in of_unknown_width(likelihood.study.model.space) if not (effects and name in effects.names)
    )


def _check_families(study: Study) -> None:
    findings = [
        f"the prior of {name!r} is discrete ({parameter.dist!r}); gradient sampling needs continuous parameters."
        for name, parameter in study.model.space.items()
        if isinstance(parameter.dist, Distribution) and parameter.dist.discrete
    ]
    if findings:
        raise InputError(f"study {study.name!r}: calibrate", findings)


def _epistemic(name: str, dist: Distribution, variables: dict):
    if isinstance(dist, LogUniform):
        # a bound may be another parameter
        bounds = {key: pt.log(value) for key, value in _arguments(dist, variables).items()}
        return pm.Deterministic(variable_name(name), pt.exp(pm.Uniform(_log(name), **bounds)))
    if isinstance(dist, Correlation):
        share = pm.Beta(_share(name), *[_arguments(dist, variables)["eta"]] * 2)
        return pm.Deterministic(variable_name(name), 2 * share - 1)
    # around a scale that is not known it would be a deviation, which is no coordinate for what data tell of
    heavy = {"transform": Stretched()} if isinstance(dist, HEAVY) and not Parameter(dist).names else {}
    return _family(dist)(variable_name(name), **_arguments(dist, variables), **heavy)


def _placed_at(space: Space, names: tuple[str, ...], latents: str, units: int, variables: dict, expansion: tuple):
    """Values `(units,)` of the parameters, at coordinates that are a variable of this name."""
    z = pm.Normal(latents, 0.0, 1.0, shape=(units, len(names)))

    @pytensor.wrap_jax
    def function(theta, z, information, pull):
        return placed(space, theta, z, Expansion(information, pull), names)

    needed = {other for name in names for other in Parameter(distribution_of(space, name)).names} - set(names)
    values, log_density = function({name: variables[name] for name in sorted(needed)}, z, *expansion)
    pm.Potential(f"{latents}_density", log_density)
    return [values[name] for name in names]


def _log(name: str) -> str:
    return f"{name}_log"


def _share(name: str) -> str:
    return f"{name}_share"


def _latent(name: str) -> str:
    return f"{name}_latent"


def _data(output: str) -> str:
    return f"{output}_data"


def _information(name: str) -> str:
    return f"{name}.information"


def _pull(name: str) -> str:
    return f"{name}.pull"


def _log_density(likelihood: Likelihood | LinearEffects, space: Space) -> Callable:
    """`function(theta, values)` of variables: the log density of values of the outputs given the parameters."""

    @pytensor.wrap_jax
    def function(theta, values):
        return likelihood.log_density(_complete(space, theta), values=values)

    return function


def _placed(effects: LinearEffects, space: Space) -> Callable:
    """`function(theta, latents, values)` of variables: the parameters that are integrated out."""

    @pytensor.wrap_jax
    def function(theta, latents, values):
        return effects.placed(_complete(space, theta), latents, values)

    return function


def _complete(space: Space, theta: dict) -> Theta:
    """With the fixed parameters."""
    return {name: jnp.asarray(theta.get(name, space[name].dist), float) for name in (*theta, *space.fixed)}


def _named(text: str, variables: dict):
    """The variable of that name, or what a formula makes of some."""
    formula = expression_of(text)
    if formula is None:
        return variables[text]

    @pytensor.wrap_jax
    def computed(values):
        return formula(values)

    return computed({name: variables[name] for name in formula.names})


def _family(dist: Distribution):
    return getattr(pm, type(dist).__name__)


def _arguments(dist: Distribution, variables: dict) -> dict:
    """Arguments in PyMC's own parametrisation, names replaced by variables."""
    # PyTensor makes single precision of a float of Python that has few digits
    arguments = {
        key: _named(value, variables) if isinstance(value, str) else np.float64(value)
        for key, value in dist.arguments.items()
    }
    if isinstance(dist, LogNormal) and "median" in arguments:
        arguments["mu"] = pt.log(arguments.pop("median"))
    return arguments
