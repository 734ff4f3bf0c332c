"""What every likelihood is asked for, and what one says that cannot do it.

A likelihood is the density of a study's table given parameters. A kind of it is a subclass of `Likelihood` that
overrides what it can do and names it in `capabilities`; calibration, Fisher information, simulation-based calibration
and model comparison ask for a capability, never for a type. All methods but those that return findings can be traced;
where a method takes `theta`, it is the value of every parameter: a number, or `(units,)` for each unit its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Int

from ..annotations import AnyArray
from ..capabilities import Capable
from ..design import Design
from ..measurements import CENSORED
from ..space import Theta
from ..study import Study
from .layout import Observations
from .roots import root_of

# capability -> what is missing without it, and what to do instead
CAPABILITIES = {
    "gradient": (
        "gradient with respect to the parameters",
        "give a model whose outputs can be differentiated, or the study a `likelihood` that can be",
    ),
    "terms": ("terms that can be left out one by one", "compare models by predictions of data that were kept back"),
    "information": (
        "Fisher information",
        "give a model whose outputs can be differentiated, or the study a `likelihood` that has one",
    ),
    "row_information": (
        "Fisher information of single measurements",
        "give the study a `likelihood` whose measurements are independent of one another given the parameters",
    ),
    "moments": (
        "mean and covariance of a unit's data",
        "make the parameters that differ between units epistemic, or give the study a `likelihood` that has them",
    ),
    "pseudo_marginal": ("noise of its own", "it needs no key"),
}


class Moments(NamedTuple):
    """Mean and covariance of the data of each unit, whose rows are padded to the most that a unit has.

    Args:
        mean: in the order of the outputs, then of the table; 0 where there is no row.
        covariance: that of the identity where there is no row.
    """

    mean: Float[Array, "units most"]
    covariance: Float[Array, "units most most"]


class Scores(NamedTuple):
    """A log density with what an ascent needs of it: gradient g and, as a root J, the Fisher information J'J.

    Args:
        value: log density; -inf where a solve fails, the others are zero then.
        gradient: g, in units of 1 / coordinate.
        residual: r with J'r = g, as far as the information says anything of the direction of g.
        root: J.
    """

    value: Float[Array, ""]
    gradient: Float[Array, " k"]
    residual: Float[Array, " terms"]
    root: Float[Array, "terms k"]


@dataclass(frozen=True, eq=False)
class Likelihood(Capable):
    """The density of one study's table; what is not overridden is refused.

    The capability "pseudo_marginal" says that `log_density` is the logarithm of an unbiased estimate of the density:
    it then takes a key, and another key gives another value.

    Args:
        study: whose data these are.
        observations: the table as one batch of runs.
    """

    study: Study
    observations: Observations

    kind = "a likelihood"
    known_capabilities = CAPABILITIES
    # by how much values of the log density at different parameters err against one another
    slack = 1e-6
    # what one term of `pointwise` is: "row", "run" or "unit"
    term = "row"

    @property
    def described(self) -> str:
        """How it is called in a sentence."""
        return f"the likelihood, {self.kind},"

    def log_density(
        self, theta: Theta, key: Array | None = None, values: Mapping[str, Float[AnyArray, " rows"]] | None = None
    ) -> Float[Array, ""]:
        """Logarithm of the density of all data, in the units of the data.

        Args:
            key: a JAX key, where the likelihood is pseudo-marginal.
            values: output -> other values in the same places; default those of the study.

        Returns:
            -inf, with a zero gradient, where a solve fails or the data are impossible.
        """
        raise NotImplementedError

    def pointwise(self, theta: Theta, key: Array | None = None) -> dict[str, Float[Array, " terms"]]:
        """Log densities that add up to `log_density`, one for each `term` (capability "terms").

        Terms are independent given the parameters, so that one of them can be left out: rows, under the names of
        their outputs, or the data of a run or a unit, whose rows depend on one another, under one name.
        """
        raise NotImplementedError

    @property
    def moving_ends(self) -> tuple[str, ...]:
        """Terms of `pointwise`, by name, whose possible values end where parameters say: without one of them parameters
        may have values that all data together exclude."""
        return ()

    def terms(self) -> dict[str, pd.DataFrame]:
        """What tells the terms of `pointwise` apart: name -> a table with a line for each; here of the rows."""
        return rows_by_output(self.study)

    def simulate(self, theta: Theta, key: Array) -> dict[str, Float[Array, " rows"]]:
        """Draws a value for every row: output -> values in the order of the table, NaN where a solve fails."""
        raise NotImplementedError

    def probabilities(self, theta: Theta, key: Array) -> dict[str, Float[Array, "rows 2"]]:
        """Probabilities of less than each value, and of at most as much: the same where values are continuous.

        Of a censored value they are those of the ends of what is possible. Here by one simulated value for each row,
        so that they are 0 or 1, and their mean over draws of `theta` is what they are asked for.

        Returns:
            output -> in the order of the table; NaN where a solve fails.
        """
        found = {}
        for output, drawn in self.simulate(theta, key).items():
            value = self.observations.rows[output].value
            each = jnp.stack([drawn < value, drawn <= value], axis=-1)
            found[output] = jnp.where(jnp.isnan(drawn)[:, None], jnp.nan, each)
        return found

    def predict(
        self, thetas: Theta, design: Design, key: Array, columns: Mapping[str, Float[AnyArray, " times"]] | None = None
    ) -> dict[str, Float[Array, "draws times"]]:
        """What would be measured in one unit under another design, at each time by itself.

        What is asked of it is the distribution at each time: where times depend on one another only through the
        parameters, a draw has the same probability in the distribution of its error at all times (`stratified`), so
        that quantiles over time are as smooth as the outputs.

        Args:
            thetas: value of every parameter, `(draws,)` each.
            columns: of the table of data, which noise names; default none.

        Returns:
            measured output whose columns are known -> one draw for each `theta`, NaN where a solve fails.
        """
        raise NotImplementedError

    def predict_run(
        self, thetas: Theta, design: Design, key: Array, run: int
    ) -> dict[str, Float[Array, "draws times"]]:
        """The same at other times of a run of the data, where what belongs to its rows counts.

        Args:
            design: that of the run, at other times.
            run: which of the runs of `observations`.
        """
        return self.predict(thetas, design, key)

    def information(self, place: Callable[[Array], Theta], x: Float[Array, " k"]) -> Float[Array, "units k k"]:
        """Fisher information of each unit's data on coordinates of its parameters (capability "information").

        Args:
            place: from coordinates to `theta`.
            x: where to evaluate.

        Returns:
            in units of 1 / (coordinate x coordinate); the sum over units is the information of all data.
        """
        raise NotImplementedError

    def sensitivities(self, place: Callable[[Array], Theta], x: Float[Array, " k"]) -> Float[Array, "terms k"]:
        """J with J'J the `information` of all data, `place` and `x` as there; here from the information itself.

        A likelihood that has J before it has the information gives it with twice as many digits.
        """
        return root_of(self.information(place, x).sum(axis=0))

    def scores(
        self,
        place: Callable[[Array], Theta],
        x: Float[Array, " k"],
        values: Mapping[str, Float[AnyArray, " rows"]] | None = None,
    ) -> Scores:
        """Log density of the data with its gradient and information on coordinates, `place` and `x` as for
        `information`, `values` as for `log_density`.

        The information is the expected one, which is never negative, so that an ascent can rely on it.
        """
        value, gradient = jax.value_and_grad(lambda x: self.log_density(place(x), values=values))(x)
        root = root_of(self.information(place, x).sum(axis=0))
        residual = jnp.linalg.lstsq(root.T, gradient)[0]
        return whole_scores(Scores(value, gradient, residual, root))

    def row_sensitivities(
        self, place: Callable[[Array], Theta], x: Float[Array, " k"]
    ) -> dict[str, Float[Array, "rows terms k"]]:
        """J of each measurement by itself, with J'J its information (capability "row_information").

        Measurements are independent given the parameters, so that the information of any of them, however often
        repeated, is the sum; `place` and `x` as in `information`.

        Returns:
            output -> J of its rows, in the order of the table.
        """
        raise NotImplementedError

    def row_findings(self, theta: Theta) -> dict[str, list[str]]:
        """Why a row has no information at `theta`, "" where it has one: output -> a sentence for each of its rows."""
        codes = np.asarray(_results(self, theta))
        sentences = [self.study.model.dynamics.sentence(code) if code else "" for code in codes]
        return {output: [sentences[run] for run in rows.run] for output, rows in self.observations.rows.items()}

    def moments(self, theta: Theta) -> Moments:
        """Mean and covariance of each unit's data given its parameters (capability "moments")."""
        raise NotImplementedError

    def log_densities(
        self, thetas: Theta, values: Mapping[str, Float[AnyArray, "tables rows"]]
    ) -> Float[Array, "draws tables"]:
        """`log_density` of many tables at many parameter values; here solved anew for each pair.

        Args:
            thetas: value of every parameter, `(draws,)` each.
            values: output -> values in the places of its rows, for each table.
        """
        by_table = jax.vmap(lambda theta, values: self.log_density(theta, values=values), (None, 0))
        return jax.vmap(by_table, (0, None))(thetas, values)

    def results(self, theta: Theta, key: Array | None = None) -> Int[Array, " runs"]:
        """How each solve behind the density went: a code of `RESULTS`."""
        raise NotImplementedError

    def density_findings(self, theta: Theta, key: Array | None = None) -> list[str]:
        """Why the data have no density at `theta`; empty where they have one."""
        codes, density = _results_and_density(self, theta, key)
        findings = failures(self.study, codes)
        if not findings and not np.isfinite(float(density)):
            findings.append(f"the data have no density under {self.kind}; change the model, the prior or the data.")
        return findings

    def information_findings(self, theta: Theta) -> list[str]:
        """Why there is no information at `theta`; empty where there is one."""
        return failures(self.study, _results(self, theta))


@partial(jax.jit, static_argnames="likelihood")
def _results_and_density(likelihood: Likelihood, theta: Theta, key: Array | None) -> tuple[Array, Array]:
    return likelihood.results(theta, key), likelihood.log_density(theta, key)


@partial(jax.jit, static_argnames="likelihood")
def _results(likelihood: Likelihood, theta: Theta) -> Array:
    return likelihood.results(theta)


def whole_scores(scores: Scores) -> Scores:
    """The same where all of it are numbers; else a failure."""
    ok = jnp.all(jnp.stack([jnp.all(jnp.isfinite(each)) for each in scores]))
    return Scores(jnp.where(ok, scores.value, -jnp.inf), *(jnp.where(ok, each, 0.0) for each in scores[1:]))


def failures(study: Study, codes: Int[AnyArray, " runs"]) -> list[str]:
    """How many runs fail, for each reason."""
    reasons = study.model.dynamics.failures(codes)
    return [f"{count} of {len(codes)} runs fail: {reason}" for reason, count in reasons.items()]


def rows_by_output(study: Study) -> dict[str, pd.DataFrame]:
    """The rows of each output, in the order of the table, with the columns that tell them apart."""
    censored = (CENSORED,) if CENSORED in study.table else ()
    columns = list(dict.fromkeys(("experiment", study.unit_column, "time", *censored)))
    return {str(output): rows[columns] for output, rows in study.table.groupby("output", sort=False)}
