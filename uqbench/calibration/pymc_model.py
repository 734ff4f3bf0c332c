"""The PyMC model of a study: the same priors, hierarchy and noise, with the simulator inside as one operation.

An aleatory parameter becomes one latent per unit. How far a latent is centred decides whether the sampler sees a
funnel: with little data on a unit the standardised deviation is the better coordinate (non-centred), with much data
the parameter itself (centred). Between the two lies a family (Papaspiliopoulos, Roberts & Skold 2007,
doi:10.1214/088342307000000014) whose weight is taken here from the Fisher information that each unit's data carry at
the prior medians.
"""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from jax.scipy.special import ndtr

from ..distributions import Distribution, LogNormal, LogUniform, Normal
from ..errors import InputError
from ..observation import Observations, at_rows, latent_information
from ..study import Study

# Families whose units are an affine map of a standard normal, after a logarithm where named.
AFFINE = {Normal: False, LogNormal: True}
# Marks the values of an output, which may be replaced by others once the model is compiled.
DATA = "_data"


def pymc_model(study: Study, seen: Observations) -> pm.Model:
    """The study as a `pymc.Model`: free variables, one latent per unit, and the data observed.

    The potential `rejected` is -inf where a solve failed, so that a failed solve is a rejected point.

    Raises:
        InputError: naming each family that cannot stand where it does.
    """
    _check_families(study)
    space = study.model.space
    weights = centering(study, seen)
    with pm.Model(coords={study.unit_column: list(study.units)}) as model:
        variables = {}
        for name in space.names:
            parameter = space[name]
            if parameter.role == "fixed":
                variables[name] = pt.as_tensor_variable(float(parameter.dist))
            elif parameter.role == "epistemic":
                variables[name] = _epistemic(name, parameter.dist, variables)
            else:
                variables[name] = _aleatory(name, parameter.dist, variables, weights[name], study.unit_column)
        _observe(study, seen, variables)
    return model


def centering(study: Study, seen: Observations) -> dict[str, np.ndarray]:
    """Weight of each latent between non-centred (0) and centred (1), `(units,)` per aleatory parameter.

    It is the share of a latent's prior variance that its unit's data remove: 1 - diag (I + F)^-1, with F the
    information on the standardised latents at the prior medians.
    """
    names = study.model.space.aleatory
    if not names:
        return {}
    information = np.asarray(latent_information(study, seen))
    finite = np.all(np.isfinite(information), axis=(1, 2), keepdims=True)
    information = np.where(finite, information, 0.0)
    left = np.linalg.inv(np.eye(len(names)) + information)
    return {name: 1.0 - left[:, index, index] for index, name in enumerate(names)}


def _check_families(study: Study) -> None:
    findings = [
        f"the prior of {name!r} is discrete ({parameter.dist!r}); gradient sampling needs continuous parameters."
        for name, parameter in study.model.space.items()
        if isinstance(parameter.dist, Distribution) and parameter.dist.discrete
    ]
    findings += [
        f"the noise of {output!r} cannot be LogUniform; give a density that follows the output."
        for output, dist in study.model.noise.items()
        if isinstance(dist, LogUniform)
    ]
    if findings:
        raise InputError(f"study {study.name!r}: calibrate", findings)


def _epistemic(name: str, dist: Distribution, variables: dict):
    if isinstance(dist, LogUniform):
        bounds = dist.arguments
        log = pm.Uniform(f"{name}_log", np.log(bounds["lower"]), np.log(bounds["upper"]))
        return pm.Deterministic(name, pt.exp(log))
    return _family(dist)(name, **_arguments(dist, variables))


def _aleatory(name: str, dist: Distribution, variables: dict, weight: np.ndarray, dim: str):
    if type(dist) not in AFFINE:
        return _by_quantile(name, dist, variables, dim)
    arguments = _arguments(dist, variables)
    mu, sigma = arguments["mu"], arguments["sigma"]
    latent = pm.Normal(f"{name}_latent", weight * mu, sigma**weight, dims=dim)
    value = mu + sigma ** (1 - weight) * (latent - weight * mu)
    return pm.Deterministic(name, pt.exp(value) if AFFINE[type(dist)] else value, dims=dim)


def _by_quantile(name: str, dist: Distribution, variables: dict, dim: str):
    """Any other family: a standard normal latent through the quantile function."""
    latent = pm.Normal(f"{name}_latent", 0.0, 1.0, dims=dim)

    @pytensor.wrap_jax
    def quantile(values):
        return dist.ppf(ndtr(values[name]), values)

    known = {other: variables[other] for other in dist.names}
    return pm.Deterministic(name, quantile({name: latent, **known}), dims=dim)


def _observe(study: Study, seen: Observations, variables: dict) -> None:
    space, noise = study.model.space, study.model.noise

    @pytensor.wrap_jax
    def simulator(theta):
        known, ok = at_rows(study, seen, space.complete(theta))
        failed = ~jnp.all(jnp.stack([jnp.all(rows) for rows in ok.values()]))
        arguments = {
            f"{output}:{name}": values
            for output, names in known.items()
            for name, values in names.items()
            if name in study.model.units
        }
        return {"failed": jnp.where(failed, 1.0, 0.0), **arguments}

    result = simulator({name: variables[name] for name in space.free})
    pm.Potential("rejected", pt.switch(result["failed"] > 0, -np.inf, 0.0))
    for output, (run, _, values) in seen.rows.items():
        known = {}
        for name in noise[output].names:
            if name in study.model.units:
                known[name] = result[f"{output}:{name}"]
            else:
                known[name] = variables[name][seen.unit[run]] if name in space.aleatory else variables[name]
        data = pm.Data(f"{output}{DATA}", values)
        if noise[output].discrete:
            pm.Potential(output, _log_probability(noise[output], data, known))
        else:
            _family(noise[output])(output, **_arguments(noise[output], known), observed=data)


def _log_probability(dist: Distribution, data, known: dict):
    """Log-probability of counts by the family's own formula.

    Theirs are the arguments that may lie on the edge (an expected number of zero, as at the start of an epidemic),
    where PyMC has the value but its derivative, that of 0 log 0, is not a number.
    """

    @pytensor.wrap_jax
    def function(data, known):
        return jnp.sum(dist.logpdf(data, known))

    return function(data, known)


def _family(dist: Distribution):
    return getattr(pm, type(dist).__name__)


def _arguments(dist: Distribution, variables: dict) -> dict:
    """Arguments in PyMC's own parametrisation, names replaced by variables."""
    arguments = {key: variables[value] if isinstance(value, str) else value for key, value in dist.arguments.items()}
    if isinstance(dist, LogNormal) and "median" in arguments:
        arguments["mu"] = pt.log(arguments.pop("median"))
    return arguments
