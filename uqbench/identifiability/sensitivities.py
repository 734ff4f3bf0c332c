"""Sensitivities of a study's measurements at one value of its parameters, in units of what one measurement tells.

J with J'J the Fisher information is what everything to first order starts from: spectrum, directions, collinearity,
condition indices. Its singular values have twice as many digits as the eigenvalues of the information itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..annotations import AnyArray, Values
from ..errors import InputError, nearest
from ..likelihoods import likelihood_of, root_of
from ..space import Space, Theta, distribution_of
from ..study import Study
from .population import median_unit, population_information

SCALES = ("log", "natural")
# A solve is confirmed by one of a tolerance so much smaller.
FINER = 1e-2

RootAt = Callable[[Float[AnyArray, " k"]], np.ndarray | None]


@dataclass(frozen=True, eq=False)
class Scale:
    """Coordinates of parameters: logarithms, or the values themselves.

    Args:
        names: of the k parameters. known: value of every parameter, where those of `names` are replaced.
        logarithmic: `(k,)`, whose coordinate is the logarithm.
    """

    names: tuple[str, ...]
    known: Theta
    logarithmic: np.ndarray

    @classmethod
    def of(cls, space: Space, theta: Values | None, scale: str, names: Sequence[str] | None = None) -> "Scale":
        """Logarithms, if `scale` is "log", of those that are positive by their distribution; medians of what is
        missing from `theta`; of the epistemic parameters unless others are named."""
        known = space.nominal() | {name: jnp.asarray(value, float) for name, value in (theta or {}).items()}
        names = tuple(space.epistemic if names is None else names)
        logarithmic = [scale == "log" and float(distribution_of(space, name).support(known)[0]) >= 0 for name in names]
        return cls(names, known, np.array(logarithmic, dtype=bool))

    @property
    def value(self) -> np.ndarray:
        """Values of the parameters `(k,)`, each in its unit."""
        return np.array([float(self.known[name]) for name in self.names])

    @property
    def start(self) -> np.ndarray:
        """The coordinates of `value`, `(k,)`."""
        return self.coordinates(self.value)

    def coordinates(self, value: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.logarithmic, np.log(np.where(self.logarithmic, value, 1.0)), value)

    @property
    def size(self) -> np.ndarray:
        """By how much a parameter may be changed `(k,)`, to tell a sensitivity that is rounding from a real one."""
        return np.where(self.logarithmic, 1.0, np.abs(self.value))

    @property
    def unit(self) -> np.ndarray:
        """Factors `(k,)` from this scale to the units of the parameters, of small differences."""
        return np.where(self.logarithmic, np.abs(self.value), 1.0)

    def findings(self) -> list[str]:
        """Which parameters have no place on the scale."""
        if not self.names:
            return ["there are no parameters to have an information on; make one of them epistemic."]
        return [
            f"parameter {name!r} is {value:g}; give a finite value"
            f"{', which has a logarithm, or take the natural scale' if logarithmic else ''}."
            for name, value, logarithmic, start in zip(
                self.names, self.value, self.logarithmic, self.start, strict=True
            )
            if not np.isfinite(start)
        ]

    def place(self, vector: Float[AnyArray, " k"]) -> Theta:
        """Values of all parameters, from coordinates `(k,)`."""
        natural = jnp.where(self.logarithmic, jnp.exp(jnp.where(self.logarithmic, vector, 0.0)), vector)
        return {**self.known, **dict(zip(self.names, natural, strict=True))}


@dataclass(frozen=True, eq=False)
class Sensitivities:
    """J and where it is.

    Args:
        scale: the coordinates. root: J at their `start`, `(rows, k)`.
        at: J at other coordinates; None where it is not finite. finer_at: the same from solves with a smaller
            tolerance; None where there are none, or they fail.
    """

    scale: Scale
    root: np.ndarray
    at: RootAt
    finer_at: RootAt

    @property
    def names(self) -> tuple[str, ...]:
        return self.scale.names

    @property
    def size(self) -> np.ndarray:
        """See `Scale.size`."""
        return self.scale.size


def input_findings(space: Space, theta: Values | None, scale: str) -> list[str]:
    """What is wrong with a point, and with the scale."""
    findings = []
    for name, value in (theta or {}).items():
        if name not in space:
            findings.append(f"unknown parameter {name!r}; {nearest(name, space.names)}")
        elif name in space.epistemic and (np.ndim(value) or not np.isfinite(float(np.asarray(value)))):
            findings.append(f"parameter {name!r} is {value!r}; give one finite number.")
    if scale not in SCALES:
        findings.append(f"scale {scale!r}; known are {', '.join(SCALES)}.")
    return findings


def sensitivities_of(
    study: Study, theta: Values | None, scale: str, *, asker: str, findings: Sequence[str] = ()
) -> Sensitivities:
    """J of a study at `theta`.

    Args:
        asker: the function that the user has called, for messages. findings: what is wrong with its other settings.

    Raises:
        InputError: an unknown parameter or scale, a value that is not finite; a solve that fails at `theta`, or an
            output whose derivative is not finite there.
    """
    if findings := [*input_findings(study.model.space, theta, scale), *findings]:
        raise InputError(asker, findings)
    coordinates = Scale.of(study.model.space, theta, scale)
    if findings := coordinates.findings():
        raise InputError(asker, findings)
    likelihood = likelihood_of(study)
    likelihood.require("moments" if study.model.space.aleatory else "information", f"{asker} of study {study.name!r}")
    findings = likelihood.information_findings(median_unit(study.model.space, coordinates.known))
    at = root_function(study, coordinates)
    root = None if findings else at(coordinates.start)
    if root is None:
        findings = findings or ["the information is not finite; give other values of `theta`."]
        raise InputError(f"{asker} of study {study.name!r} at these parameter values", findings)
    return Sensitivities(coordinates, root, at, finer_function(study, coordinates))


def root_function(study: Study, scale: Scale) -> RootAt:
    """J `(rows, k)` as a function of coordinates `(k,)`, over units, they being alike or not; compiled once."""
    likelihood = likelihood_of(study)
    if study.model.space.aleatory:
        information = population_information(likelihood, scale.place)
        return _if_finite(jax.jit(lambda vector: root_of(information(vector))))
    return _if_finite(jax.jit(lambda vector: likelihood.sensitivities(scale.place, vector)))


def finer_function(study: Study, scale: Scale) -> RootAt:
    """The same from solves with a smaller tolerance, made when it is first asked for."""

    @cache
    def function() -> RootAt:
        finer = study.model.dynamics.with_tolerance(FINER)
        if finer is None:
            return lambda vector: None
        return root_function(replace(study, model=replace(study.model, system=finer)), scale)

    return lambda vector: function()(vector)


def _if_finite(function: Callable[[Array], Array]) -> RootAt:
    def at(vector):
        root = np.asarray(function(jnp.asarray(vector, float)))
        return root if np.all(np.isfinite(root)) else None

    return at
