"""The likelihood of snapshots: each row is one draw from the distribution that the system gives for its output.

Such are the copy numbers of a molecule in cells that were fixed and counted, each once, or the places of particles that
nobody has followed. Rows are independent given the parameters; data that follow one cell over time are not such rows.
Where molecules are counted with errors (the noise `Counts`) the distribution is that of the observed counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..annotations import AnyArray
from ..design import Design
from ..model import Model, method_for
from ..space import Theta
from ..study import Study
from ..systems import Density, Outcome
from .counted import Room, observed_densities, room_for
from .layout import each_run, lay_out
from .protocol import Likelihood, Moments, Scores, whole_scores
from .roots import root_of, told_directions
from .rows import moments_of_rows, stratified

# Draws that are solved for at once.
TOGETHER = 80


@dataclass(frozen=True, eq=False)
class Snapshots(Likelihood):
    """Rows that are independent draws from the system's own density; made by `Snapshots.of(study)`.

    Args:
        room: for observed counts, of the outputs that are counted with errors.
    """

    room: Room

    kind = "a product over independent snapshots"

    @classmethod
    def of(cls, study: Study) -> "Snapshots":
        """The likelihood of a study whose system has the capability "density".

        Raises:
            InputError: where no output is measured, or the system has no density.
        """
        study.model.dynamics.require("density", f"study {study.name!r}")
        observations = lay_out(study)
        return cls(study, observations, room_for(study.model, observations))

    @property
    def capabilities(self) -> frozenset[str]:
        derived = (
            () if self.study.model.gradient == "none" else ("gradient", "information", "row_information", "moments")
        )
        return frozenset({"terms", *derived})

    def log_density(self, theta: Theta, key=None, values: Mapping[str, AnyArray] | None = None) -> Float[Array, ""]:
        return sum((jnp.sum(terms) for terms in self._log_densities(theta, values).values()), jnp.zeros(()))

    def pointwise(self, theta: Theta, key=None) -> dict[str, Float[Array, " rows"]]:
        return self._log_densities(theta)

    def simulate(self, theta: Theta, key: Array) -> dict[str, Float[Array, " rows"]]:
        densities, ok = self._densities(theta)
        values = {}
        for output, (run, when, *_) in self.observations.rows.items():
            key, now = jax.random.split(key)
            support, probability = densities[output]
            values[output] = jnp.where(ok[run], _sample(now, support, probability[run, when]), jnp.nan)
        return values

    def predict(
        self, thetas: Theta, design: Design, key: Array, columns: Mapping[str, Float[AnyArray, " times"]] | None = None
    ) -> dict[str, Float[Array, "draws times"]]:
        model, values = self.study.model, {}
        densities, outcome = _densities_of_draws(model, thetas, design, method_for(model, design), self.room)
        for output in self.observations.rows:
            key, now = jax.random.split(key)
            support, probability = densities[output].values[0], densities[output].probability
            samples = _quantiles(stratified(now, len(probability)), support, probability)
            values[output] = jnp.where(outcome.result[:, None] == 0, samples, jnp.nan)
        return values

    def information(self, place, x: Float[Array, " k"]) -> Float[Array, "units k k"]:
        """The expected outer product of the score of each row: the sum over values of dp dp' / p."""
        return self._information(*self._probabilities_and_slopes(place, x)[1:])

    def scores(self, place, x: Float[Array, " k"], values: Mapping[str, AnyArray] | None = None) -> Scores:
        """All of it from the distributions and their derivatives, which are solved for once."""
        support, probability, slopes = self._probabilities_and_slopes(place, x)
        value, gradient = jnp.zeros(()), jnp.zeros(len(x))
        for output, (run, when, measured, *_) in self.observations.rows.items():
            index, inside = _index(support[output], measured if values is None else values[output])
            p = probability[output][run, when, index]
            # a failed solve is no number, and makes all of the score a failure
            possible = inside & ~(p <= 0)
            p = jnp.where(possible, p, 1.0)
            value = value + jnp.sum(jnp.where(possible, jnp.log(p), -jnp.inf))
            gradient = gradient + jnp.sum(slopes[output][run, when, index] / p[:, None], axis=0)
        root = root_of(self._information(probability, slopes).sum(axis=0))
        return whole_scores(Scores(value, gradient, jnp.linalg.lstsq(root.T, gradient)[0], root))

    def _information(self, probability: dict[str, Array], slopes: dict[str, Array]) -> Float[Array, "units k k"]:
        unit, k = self.observations.unit, next(iter(slopes.values())).shape[-1]
        total = jnp.zeros((self.observations.units, k, k))
        for output, (run, when, *_) in self.observations.rows.items():
            p, slope = probability[output], slopes[output]
            rows = np.zeros(p.shape[:2])
            np.add.at(rows, (run, when), 1.0)
            # times without a row and values that are impossible add nothing
            counted = (rows[..., None] > 0) & ~(p <= 0)
            weight = jnp.where(counted, rows[..., None] / jnp.where(counted, p, 1.0), 0.0)
            slope = jnp.where(counted[..., None], slope, 0.0)
            total = total.at[unit].add(jnp.einsum("rtvi,rtv,rtvj->rij", slope, weight, slope))
        return total

    def row_sensitivities(self, place, x: Float[Array, " k"]) -> dict[str, Float[Array, "rows terms k"]]:
        """dp / sqrt p for every value that a row can have, without directions in which all rows together have no more
        than rounding: in the tails derivatives are those of rounded sums."""
        _, probability, slopes = self._probabilities_and_slopes(place, x)
        found = {}
        for output, (run, when, *_) in self.observations.rows.items():
            p = probability[output][run, when]
            possible = ~(p <= 0)
            scaled = slopes[output][run, when] / jnp.sqrt(jnp.where(possible, p, 1.0))[..., None]
            found[output] = jnp.where(possible[..., None], scaled, 0.0)
        total = sum(jnp.einsum("rti,rtj->ij", each, each) for each in found.values())
        return {output: each @ told_directions(total) for output, each in found.items()}

    def _probabilities_and_slopes(self, place, x) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        """Output -> its values; probability `(runs, times, values)`, NaN where a solve failed; and the derivative of
        that, with a last axis of coordinates."""

        def probabilities(x):
            densities, ok = self._densities(place(x))
            found = {output: densities[output].probability for output in self.observations.rows}
            found = {output: jnp.where(ok[:, None, None], each, jnp.nan) for output, each in found.items()}
            return found, ({output: densities[output].values for output in found}, found)

        slopes, (support, found) = jax.jacfwd(probabilities, has_aux=True)(x)
        return support, found, slopes

    def moments(self, theta: Theta) -> Moments:
        densities, _ = self._densities(theta)
        mean, variance = {}, {}
        for output, (run, when, *_) in self.observations.rows.items():
            support, probability = densities[output]
            centre = probability @ support
            around = jnp.sum(probability * (support - centre[..., None]) ** 2, axis=-1)
            mean[output], variance[output] = centre[run, when], around[run, when]
        return moments_of_rows(self.observations, mean, variance)

    def results(self, theta: Theta, key=None) -> Int[Array, " runs"]:
        return self._solved(theta)[1].result

    def density_findings(self, theta: Theta, key=None) -> list[str]:
        codes, support = _results_and_supports(self, theta)
        findings = []
        for output, (_, _, value, *_) in self.observations.rows.items():
            possible = np.asarray(support[output])
            wrong = value[~np.isin(value, possible)]
            if wrong.size and not np.any(codes):
                findings.append(
                    f"{wrong.size} values of {output!r} (the first is {wrong[0]:g}) are none of those that it can "
                    f"have, {possible[0]:g} to {possible[-1]:g}; change the data, or let the model reach there (the "
                    "`bounds` of a master equation, the `background` of `Counts`)."
                )
        return findings or super().density_findings(theta, key)

    def _solved(self, theta: Theta) -> tuple[dict[str, Density], Outcome]:
        run = partial(_densities_of_run, self.study.model, plan=self.observations.plan, room=self.room)
        return each_run(self.observations, theta, run)

    def _densities(self, theta: Theta) -> tuple[dict[str, Density], Bool[Array, " runs"]]:
        """Output -> values `(values,)` and probability `(runs, times, values)`; and whether the solves succeeded.

        Where a solve failed the probabilities are 1, so that a `where` around what is computed from them keeps a
        finite gradient.
        """
        densities, outcome = self._solved(theta)
        ok = outcome.result == 0
        return {
            output: Density(values[0], jnp.where(ok[:, None, None], probability, 1.0))
            for output, (values, probability) in densities.items()
        }, ok

    def _log_densities(self, theta: Theta, values: Mapping[str, AnyArray] | None = None) -> dict[str, Array]:
        """Log probability of each row, by output; -inf where a solve failed or the value is impossible."""
        densities, ok = self._densities(theta)
        terms = {}
        for output, (run, when, measured, *_) in self.observations.rows.items():
            support, probability = densities[output]
            value = measured if values is None else values[output]
            index, inside = _index(support, value)
            p = probability[run, when, index]
            possible = ok[run] & inside & (p > 0)
            terms[output] = jnp.where(possible, jnp.log(jnp.where(possible, p, 1.0)), -jnp.inf)
        return terms


def _densities_of_run(
    model: Model, theta: Theta, design: Design, plan: str, room: Room
) -> tuple[dict[str, Density], Outcome]:
    """The distribution of what is observed of each output."""
    return observed_densities(model, theta, *model.dynamics.density(model, theta, design, plan), room)


@partial(jax.jit, static_argnames="likelihood")
def _results_and_supports(likelihood: Snapshots, theta: Theta) -> tuple[Array, dict[str, Array]]:
    """Code of each run, and output -> the values that it can have."""
    densities, outcome = likelihood._solved(theta)
    return outcome.result, {output: densities[output].values[0] for output in likelihood.observations.rows}


@partial(jax.jit, static_argnames=("model", "plan", "room"))
def _densities_of_draws(
    model: Model, thetas: Theta, design: Design, plan: str, room: Room
) -> tuple[dict[str, Density], Outcome]:
    """The same for many parameter values `(draws,)` under one design."""
    return jax.lax.map(lambda theta: _densities_of_run(model, theta, design, plan, room), thetas, batch_size=TOGETHER)


def _index(support: Float[Array, " values"], value: AnyArray) -> tuple[Array, Array]:
    """Which of the values each row has, and whether it is one of them."""
    index = jnp.clip(jnp.searchsorted(support, value), 0, len(support) - 1)
    return index, support[index] == value


def _sample(key: Array, support: Float[Array, " values"], probability: Float[Array, "*shape values"]) -> Array:
    """One of the values for each probability vector."""
    logarithm = jnp.where(probability > 0, jnp.log(jnp.where(probability > 0, probability, 1.0)), -jnp.inf)
    return support[jax.random.categorical(key, logarithm)]


def _quantiles(
    u: Float[Array, " draws"], support: Float[Array, " values"], probability: Float[Array, "draws times values"]
) -> Float[Array, "draws times"]:
    """The smallest value whose distribution function reaches `u`."""
    below = jnp.cumsum(probability, axis=-1) < u[:, None, None]
    return support[jnp.minimum(jnp.sum(below, axis=-1), len(support) - 1)]
