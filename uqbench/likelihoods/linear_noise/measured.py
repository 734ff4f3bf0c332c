"""Measurements that are linear in the species, with normal errors: their means and slopes, and standard deviations."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...annotations import Values
from ...design import Design
from ...distributions import Normal
from ...model import Model
from ...systems.protocol import names_used
from ...systems.reactions.moments import moment_pairs


def arguments(
    model: Model, output: str, t, y: Values, theta: Values, design: Design, columns: Values
) -> dict[str, Array]:
    """`mu` and `sigma` of a measurement of an output at the states `y`.

    Args:
        y: means and covariances by name.
        theta: value of every parameter, scalars.
        columns: column of the table -> its value at the row.
    """
    noise, formulas = model.noise[output], model.noise_expressions
    given = {**theta, **columns, **model.observed(t, y, theta, design.inputs)}
    known = {name: formulas[name](given) if name in formulas else given[name] for name in noise.names}
    return noise.resolve(known)


def linearised(
    model: Model,
    outputs: Sequence[str],
    species: Sequence[str],
    t,
    mean: Float[Array, " n"],
    theta: Values,
    design: Design,
    columns: Sequence[Values],
) -> tuple[Float[Array, " places"], Float[Array, "places n"], Float[Array, " places"]]:
    """What would be measured at these means: its mean, the slope of it by the species, and its standard deviation.

    Args:
        outputs: in each place. columns: of each of them.
    """

    def at(x):
        y = {**dict(zip(species, x, strict=True)), **dict.fromkeys(moment_pairs(species), jnp.zeros(()))}
        found = [
            arguments(model, output, t, y, theta, design, own) for output, own in zip(outputs, columns, strict=True)
        ]
        mu, sigma = (jnp.stack([each[name] for each in found]) for name in ("mu", "sigma"))
        return mu, (mu, sigma)

    slope, (mu, sigma) = jax.jacfwd(at, has_aux=True)(mean)
    return mu, slope, sigma


def noise_findings(model: Model, outputs: Sequence[str], species: Sequence[str], design: Design) -> list[str]:
    """What of the measurements is not linear in the species with a normal error."""
    findings, theta = [], model.space.nominal()
    y = {name: jnp.ones(()) for name in (*species, *moment_pairs(species))}
    columns = dict.fromkeys(model.columns, jnp.ones(()))

    def dependence(function) -> set[str]:
        return set(names_used(jax.make_jaxpr(function)(y), tuple(y)))

    for output in outputs:
        noise = model.noise[output]
        if not isinstance(noise, Normal):
            findings.append(f"{output!r} has the noise {noise!r}; a Kalman filter needs Normal(mu, sigma).")
            continue

        def argument(y, name, output=output):
            return arguments(model, output, design.start, y, theta, design, columns)[name]

        moments = {name for each in ("mu", "sigma") for name in dependence(lambda y, each=each: argument(y, each))}
        if moments := moments - {*species}:
            findings.append(
                f"the measurement of {output!r} depends on {', '.join(sorted(moments))}; the filter adds the variance "
                "of the fluctuations itself, so leave it out (it belongs to snapshots)."
            )
        if curved := dependence(jax.jacfwd(lambda y: argument(y, "mu"))) & {*species}:
            findings.append(
                f"the mean of {output!r} is not linear in {', '.join(sorted(curved))}; a Kalman filter needs outputs "
                "that are sums of multiples of the species."
            )
    return findings


def sees_fluctuations(model: Model, outputs: Sequence[str], species: Sequence[str], design: Design) -> bool:
    """Whether the noise of every output has the variances of the species in it, as that of snapshots has."""
    theta, pairs = model.space.nominal(), moment_pairs(species)
    y: Mapping = {name: jnp.ones(()) for name in (*species, *pairs)}
    columns = dict.fromkeys(model.columns, jnp.ones(()))

    def used(output):
        closed = jax.make_jaxpr(lambda y: arguments(model, output, design.start, y, theta, design, columns))(y)
        return set(names_used(closed, tuple(y)))

    return all(used(output) & {*pairs} for output in outputs)
