"""The PyMC model of a study: the same priors and hierarchy, with the likelihood as one operation.

An aleatory parameter becomes one latent per unit; an epistemic one whose prior has an unknown width, as the effect of a
batch has, one latent. How far a latent is centred decides whether the sampler sees a funnel: with little data on it the
standardised deviation is the better coordinate (non-centred), with much data the parameter itself (centred). Between
the two lies a family (Papaspiliopoulos, Roberts & Skold 2007, doi:10.1214/088342307000000014) whose weight is taken
here from the Fisher information at the prior medians: of a unit's latents that of the unit's data, else of all data.
"""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import xarray as xr
from jax.scipy.special import ndtr
from jaxtyping import Float

from ..distributions import Cauchy, Correlation, Distribution, LogNormal, LogUniform, Normal, StudentT
from ..distributions.expressions import expression_of
from ..errors import InputError
from ..likelihoods import Likelihood, LinearEffects, with_units
from ..space import Parameter, Space, Theta, distribution_of
from ..study import Study
from .stretched import Stretched

# The dimension of what differs between units. No variable is called so: names of parameters end in a dot here.
UNITS = "units"
# Standard normal latents of the parameters that are integrated out, see `LinearEffects`.
EFFECTS = "effects"
# Families whose tails fall as a power, on both sides.
HEAVY = (Cauchy, StudentT)
# Families whose units are an affine map of a standard normal, after a logarithm where named.
AFFINE = {Normal: False, LogNormal: True}


def pymc_model(likelihood: Likelihood, values: Mapping[str, np.ndarray] | None = None) -> pm.Model:
    """The study as a `pymc.Model`: free variables, one latent per unit, and the data.

    A parameter k is the variable "k.", whatever PyMC and its sampler call their own things (`k._log__`, `energy`);
    `parameters` gives draws their names back. The potential `log_likelihood` is -inf where a solve failed, so that a
    failed solve is a rejected point. Parameters that can be integrated out exactly (`LinearEffects`) are: the potential
    is then that of the data without them, and they are computed from latents of their own, of which it does not
    depend, as draws given the data and all others.

    Args:
        likelihood: of the data, differentiable.
        values: output -> values that stand for the measured ones, `(rows,)`.

    Raises:
        InputError: naming each family that cannot stand where it does.
    """
    study = likelihood.study
    _check_families(study)
    space = study.model.space
    weights, effects = centering(likelihood), LinearEffects.of(likelihood)
    integrated = effects.names if effects else ()
    if values is None:
        values = {output: rows.value for output, rows in likelihood.observations.rows.items()}
    with pm.Model(coords={UNITS: list(study.units)}) as model:
        variables = {}
        for name in space.names:
            parameter = space[name]
            if name in integrated:
                continue
            if name in study.covariates:
                variables[name] = pt.as_tensor_variable(study.covariates[name])
            elif parameter.role == "fixed":
                variables[name] = pt.as_tensor_variable(float(parameter.dist))
            elif parameter.role == "epistemic":
                variables[name] = _epistemic(name, parameter.dist, variables, weights.get(name))
            else:
                variables[name] = _aleatory(name, parameter.dist, variables, weights[name])
        data = {output: pm.Data(data_name(output), column) for output, column in values.items()}
        known = {name: variables[name] for name in space.free if name not in integrated}
        pm.Potential("log_likelihood", _log_density(effects or likelihood, space)(known, data))
        if effects:
            latents = pm.Normal(EFFECTS, 0.0, 1.0, shape=len(integrated))
            for name, value in _placed(effects, space)(known, latents, data).items():
                pm.Deterministic(variable_name(name), value)
    return model


def variable_name(parameter: str) -> str:
    """The variable that is a parameter of the study."""
    return f"{parameter}."


def data_name(output: str) -> str:
    """The variable with the values of an output, which may be replaced by others once the model is compiled."""
    return f"{output}_data"


def start_values(
    model: pm.Model,
    likelihood: Likelihood,
    theta: Mapping[str, float],
    weights: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Variable -> value, of epistemic parameters that take these values; of those that are not integrated out.

    Args:
        weights: as `centering` gives them; None computes them.
    """
    values, space = {}, likelihood.study.model.space
    weights = centering(likelihood) if weights is None else weights
    known = space.nominal() | theta
    for name, value in theta.items():
        if name in weights:
            dist, weight = distribution_of(space, name), weights[name]
            mu, sigma = (float(dist.canonical(known)[argument]) for argument in ("mu", "sigma"))
            away = (np.log(value) if AFFINE[type(dist)] else value) - mu
            values[_latent(name)] = np.asarray(away / sigma ** (1 - weight) + weight * mu)
            continue
        if isinstance(space[name].dist, LogUniform):
            values[_log(name)] = np.asarray(np.log(value))
        elif isinstance(space[name].dist, Correlation):
            values[_share(name)] = np.asarray((1 + value) / 2)
        else:
            values[variable_name(name)] = np.asarray(value)
    free = {variable.name for variable in model.free_RVs}
    return {name: value for name, value in values.items() if name in free}


def parameters(draws: xr.DataTree, study: Study) -> xr.Dataset:
    """The free parameters among a sampler's draws, under the names of the study."""
    names = {variable_name(name): name for name in study.model.space.free}
    dataset = draws.to_dataset()[list(names)]
    return dataset.rename(names | ({UNITS: study.unit_column} if UNITS in dataset.dims else {}))


def centering(likelihood: Likelihood) -> dict[str, np.ndarray]:
    """Weight of each latent between non-centred (0) and centred (1): `(units,)` per aleatory parameter, and a number
    per epistemic one whose prior has an unknown width.

    It is the share of a latent's prior variance that the data remove, of a unit's latents those of the unit: 1 - diag
    (I + F)^-1, with F the information on the standardised latents at the prior medians. Non-centred where the
    likelihood has no information.
    """
    space = likelihood.study.model.space
    names, drawn = space.aleatory, _of_unknown_width(space)
    if "information" not in likelihood.capabilities:
        return {**{name: np.zeros(len(likelihood.study.units)) for name in names}, **dict.fromkeys(drawn, np.zeros(()))}
    found: dict[str, np.ndarray] = {}
    if names:
        shares = _shares_removed(np.asarray(_latent_information(likelihood, space.nominal())))
        found |= {name: shares[:, index] for index, name in enumerate(names)}
    if drawn:
        whole = np.sum(np.asarray(_drawn_information(likelihood, drawn, space.nominal())), axis=0)
        found |= dict(zip(drawn, _shares_removed(whole[None])[0], strict=True))
    return found


def _of_unknown_width(space: Space) -> tuple[str, ...]:
    """Epistemic parameters, affine maps of a standard normal latent, of a width that other parameters give."""
    return tuple(
        name
        for name in space.epistemic
        if type(space[name].dist) in AFFINE and isinstance(distribution_of(space, name).arguments["sigma"], str)
    )


def _shares_removed(information: Float[np.ndarray, "n k k"]) -> Float[np.ndarray, "n k"]:
    """Of the prior variances of standardised latents; none where the information is not finite."""
    finite = np.all(np.isfinite(information), axis=(1, 2), keepdims=True)
    left = np.linalg.inv(np.eye(information.shape[-1]) + np.where(finite, information, 0.0))
    return 1.0 - np.diagonal(left, axis1=1, axis2=2)


@partial(jax.jit, static_argnames="likelihood")
def _latent_information(likelihood: Likelihood, theta: Theta):
    """Information of each unit's data on its latents z, with x = ppf(Phi(z)) for each aleatory parameter x."""
    space = likelihood.study.model.space

    theta = likelihood.observations.of_units(theta)
    return likelihood.information(lambda z: with_units(space, theta, z), jnp.zeros(len(space.aleatory)))


@partial(jax.jit, static_argnames=("likelihood", "names"))
def _drawn_information(likelihood: Likelihood, names: tuple[str, ...], theta: Theta):
    """Information of the data on the latents of these epistemic parameters, each unit being at its median."""
    space = likelihood.study.model.space
    centre = jnp.zeros((likelihood.observations.units, len(space.aleatory)))

    def place(z):
        values = dict(theta)
        for index, name in enumerate(names):
            dist = distribution_of(space, name)
            arguments = dist.canonical(values)
            value = arguments["mu"] + arguments["sigma"] * z[index]
            values[name] = jnp.exp(value) if AFFINE[type(dist)] else value
        return with_units(space, likelihood.observations.of_units(values), centre)

    return likelihood.information(place, jnp.zeros(len(names)))


def _check_families(study: Study) -> None:
    findings = [
        f"the prior of {name!r} is discrete ({parameter.dist!r}); gradient sampling needs continuous parameters."
        for name, parameter in study.model.space.items()
        if isinstance(parameter.dist, Distribution) and parameter.dist.discrete
    ]
    if findings:
        raise InputError(f"study {study.name!r}: calibrate", findings)


def _epistemic(name: str, dist: Distribution, variables: dict, weight: np.ndarray | None):
    if weight is not None:
        return _partly_centred(name, dist, variables, weight)
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


def _aleatory(name: str, dist: Distribution, variables: dict, weight: np.ndarray):
    if type(dist) not in AFFINE:
        return _by_quantile(name, dist, variables)
    return _partly_centred(name, dist, variables, weight, UNITS)


def _partly_centred(name: str, dist: Distribution, variables: dict, weight: np.ndarray, dims: str | None = None):
    arguments = _arguments(dist, variables)
    mu, sigma = arguments["mu"], arguments["sigma"]
    latent = pm.Normal(_latent(name), weight * mu, sigma**weight, dims=dims)
    value = mu + sigma ** (1 - weight) * (latent - weight * mu)
    return pm.Deterministic(variable_name(name), pt.exp(value) if AFFINE[type(dist)] else value, dims=dims)


def _by_quantile(name: str, dist: Distribution, variables: dict):
    """Any other family: a standard normal latent through the quantile function."""
    latent = pm.Normal(_latent(name), 0.0, 1.0, dims=UNITS)

    @pytensor.wrap_jax
    def quantile(values):
        return dist.ppf(ndtr(values[name]), values)

    known = {other: variables[other] for other in Parameter(dist).names}
    return pm.Deterministic(variable_name(name), quantile({name: latent, **known}), dims=UNITS)


def _log(name: str) -> str:
    return f"{name}_log"


def _share(name: str) -> str:
    return f"{name}_share"


def _latent(name: str) -> str:
    return f"{name}_latent"


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
