"""The likelihood of measurements with independent errors: the product over rows of the densities of their noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..annotations import AnyArray
from ..design import Design
from ..distributions import Distribution, impossible_arguments
from ..model import evaluate_many, over_time, simulate, simulate_stacked
from ..space import Theta
from ..study import Study
from .between_rows import columns_between, interval_starts
from .censoring import Limits, information, log_density, probabilities
from .layout import each_run, lay_out, of_runs, per_run, rows_by_unit
from .noise_groups import NoiseGroup, noise_groups
from .protocol import Likelihood, Moments, Scores, failures, rows_by_output
from .roots import whitened
from .row_scores import RowScores, joined, of_rows, row_scores
from .rows import information_by_unit, moments_of_rows, stratified
from .solve_error import noise_values_of_runs, stacked_errors

NOT_FINITE = "(a root or a power of zero?); give other values of `theta`."


class Solved(NamedTuple):
    """The runs of a table at some parameter values.

    Args:
        values: of the `series` of the model; 1 where a solve failed.
        ok: whether it succeeded.
        errors: of the values, where any noise needs them.
    """

    values: Float[Array, "runs times series"]
    ok: Bool[Array, " runs"]
    errors: Float[Array, "runs series"] | None


@dataclass(frozen=True, eq=False)
class Independent(Likelihood):
    """Each row is an output of a deterministic run with noise of its own; made by `Independent.of(study)`.

    Args:
        groups: the rows that are evaluated together.
    """

    groups: tuple[NoiseGroup, ...]

    kind = "a product over independent measurements"

    @classmethod
    def of(cls, study: Study) -> "Independent":
        """The likelihood of a study whose model is deterministic and has noise.

        Raises:
            InputError: where no output is measured.
        """
        observations = lay_out(study)
        return cls(study, observations, noise_groups(observations))

    @property
    def capabilities(self) -> frozenset[str]:
        derived = (
            () if self.study.model.gradient == "none" else ("gradient", "information", "row_information", "moments")
        )
        return frozenset({"terms", *derived})

    def log_density(self, theta: Theta, key=None, values: Mapping[str, AnyArray] | None = None) -> Float[Array, ""]:
        terms = self._log_densities(theta, values)
        return sum((jnp.sum(each) for each in terms), jnp.zeros(()))

    def pointwise(self, theta: Theta, key=None) -> dict[str, Float[Array, " rows"]]:
        return self._by_output(self._log_densities(theta))

    @property
    def moving_ends(self) -> tuple[str, ...]:
        model = self.observations.model
        known = {*model.columns, *model.space.fixed}

        def moves(argument: float | str) -> bool:
            formula = model.noise_expressions.get(argument) if isinstance(argument, str) else None
            return isinstance(argument, str) and not {*(formula.names if formula else (argument,))} <= known

        noise = {output: model.noise[output] for output in self.observations.rows}
        return tuple(name for name, each in noise.items() if any(moves(each.arguments[end]) for end in each.ends))

    def row_densities(
        self, theta: Theta, values: Mapping[str, AnyArray] | None = None
    ) -> tuple[Float[Array, " rows"], Bool[Array, " rows"]]:
        """Log density of each row, and whether its solve succeeded; in the order of `row_scores`."""
        found = self._evaluated(theta)
        return jnp.concatenate(self.terms_of(found, values)), jnp.concatenate([ok for _, ok in found])

    def simulate(self, theta: Theta, key: Array) -> dict[str, Float[Array, " rows"]]:
        values = {}
        for output, (known, ok) in self.known(theta).items():
            key, now = jax.random.split(key)
            values[output] = jnp.where(ok, self.observations.model.noise[output].sample(now, (), known), jnp.nan)
        return values

    def probabilities(self, theta: Theta, key: Array) -> dict[str, Float[Array, "rows 2"]]:
        """From the distribution functions of the noise, without chance."""
        found = {}
        for output, (known, ok) in self.known(theta).items():
            ends = probabilities(
                self.observations.model.noise[output],
                self.observations.rows[output].value,
                known,
                self._limits(output),
            )
            found[output] = jnp.where(ok[:, None], ends, jnp.nan)
        return found

    def predict(
        self, thetas: Theta, design: Design, key: Array, columns: Mapping[str, Float[AnyArray, " times"]] | None = None
    ) -> dict[str, Float[Array, "draws times"]]:
        model, measured = self.observations.model, self.observations.rows
        outputs = over_time(model, evaluate_many(model, thetas, design).outputs, design)
        known = {output: dict(columns or {}) for output in measured}
        return self._predicted(thetas, design, key, dict.fromkeys(measured, outputs), known)

    def predict_run(
        self, thetas: Theta, design: Design, key: Array, run: int
    ) -> dict[str, Float[Array, "draws times"]]:
        model, observations = self.observations.model, self.observations
        if not (model.increments or model.columns):
            return self.predict(thetas, design, key)
        grid = np.asarray(design.times)
        since = {output: interval_starts(observations, output, run, grid) for output in observations.before}
        columns = {output: columns_between(observations, output, run, grid) for output in observations.rows}
        times = np.unique(np.concatenate([grid, *since.values()]))
        whole = eqx.tree_at(lambda each: each.times, design, jnp.asarray(times))
        values = over_time(model, evaluate_many(model.accumulated, thetas, whole).outputs, whole)
        now, outputs = np.searchsorted(times, grid), {}
        for output in observations.rows:
            outputs[output] = {name: each[:, now] for name, each in values.items()}
            if output in since:
                before = np.searchsorted(times, since[output])
                counted = {name: values[name] for name in model.increments}
                outputs[output] |= {name: each[:, now] - each[:, before] for name, each in counted.items()}
        return self._predicted(thetas, design, key, outputs, columns)

    def _predicted(self, thetas, design: Design, key, outputs_of: Mapping, columns) -> dict[str, Array]:
        """Draws of each measured output given, for each of them, all outputs `(draws, times)`; of those whose columns
        are there."""
        model, values = self.observations.model, {}
        for output in self.observations.rows:
            key, now = jax.random.split(key)
            outputs = outputs_of[output]
            known = noise_values_of_runs(model, thetas, design, outputs, columns).get(output)
            if known is None:
                continue
            samples = _quantiles(model.noise[output], stratified(now, len(outputs[output]))[:, None], known)
            values[output] = jnp.where(jnp.isfinite(outputs[output]), samples, jnp.nan)
        return values

    def information(self, place, x: Float[Array, " k"]) -> Float[Array, "units k k"]:
        """J' I J, with J the derivatives of all arguments of the noise and I the information of its family.

        From the mean alone a noise parameter would look unknown.
        """
        parts = zip(self.groups, *self._slopes_and_weights(place, x), strict=True)
        return sum(information_by_unit(self.observations, group.run, slope, weight) for group, slope, weight in parts)

    def sensitivities(self, place, x: Float[Array, " k"]) -> Float[Array, "terms k"]:
        rows = map(whitened, *self._slopes_and_weights(place, x))
        return jnp.concatenate([each.reshape(-1, len(x)) for each in rows])

    def row_sensitivities(self, place, x: Float[Array, " k"]) -> dict[str, Float[Array, "rows terms k"]]:
        return self._by_output([*map(whitened, *self._slopes_and_weights(place, x))])

    def scores(self, place, x: Float[Array, " k"], values: Mapping[str, AnyArray] | None = None) -> Scores:
        return of_rows(self.row_scores(place, x, values))

    def row_scores(self, place, x: Float[Array, " k"], values: Mapping[str, AnyArray] | None = None) -> RowScores:
        """What each row adds to the scores, from one solve with sensitivities.

        The derivatives of the density by the arguments of its noise follow from the family alone.

        Args:
            x: coordinates; if those of one unit, `place` may give every unit its own values of them.
        """
        slopes, found = jax.jacfwd(lambda x: self._safe_arguments(place(x)), has_aux=True)(x)
        given = [self.values_of(group, values) for group in self.groups]
        return joined([row_scores(*each) for each in zip(self.groups, given, found, slopes, strict=True)])

    @property
    def unit_of_rows(self) -> Int[np.ndarray, " rows"]:
        """Index of the unit of each row, in the order of `row_scores`."""
        return self.observations.unit[np.concatenate([group.run for group in self.groups])]

    def sums_by_unit(self, rows: Float[Array, "rows ..."]) -> Float[Array, "units ..."]:
        """Sums over the rows of each unit, in the order of `row_scores`; not by scattering, which takes as long as the
        solves."""
        members, present = rows_by_unit(self.unit_of_rows, self.observations.units)
        present = present.reshape(*present.shape, *(1,) * (rows.ndim - 1))
        return jnp.sum(jnp.where(present, rows[members], 0.0), axis=1)

    def _slopes_and_weights(self, place, x) -> tuple[list[Array], list[Array]]:
        """J `(rows, arguments, k)` and I `(rows, arguments, arguments)` of each group, see `information`."""
        return jax.jacfwd(lambda x: self._arguments(place(x)))(x), self._noise_information(place(x))

    def moments(self, theta: Theta) -> Moments:
        noise, known = self.observations.model.noise, self.known(theta)
        mean = {output: noise[output].mean(values) for output, (values, _) in known.items()}
        variance = {output: noise[output].variance(values) for output, (values, _) in known.items()}
        return moments_of_rows(self.observations, mean, variance)

    def results(self, theta: Theta, key=None) -> Int[Array, " runs"]:
        run = partial(simulate, self.observations.model.accumulated, method=self.observations.plan)
        return each_run(self.observations, theta, run).result

    def density_findings(self, theta: Theta, key=None) -> list[str]:
        codes, terms, known = _results_and_terms(self, theta)
        findings = failures(self.study, codes)
        for output, each in terms.items():
            bad = np.flatnonzero(~np.isfinite(np.asarray(each)))
            if len(bad) and not np.any(codes):
                first, noise = self.observations.rows[output].value[bad[0]], self.observations.model.noise[output]
                row = rows_by_output(self.study)[output].iloc[bad[0]]
                findings.append(
                    f"{len(bad)} values of {output!r} (the first is {first:g}, of experiment {row['experiment']!r} at "
                    f"time {row['time']:g}) have no density under {noise!r}"
                    f"{''.join(f', whose {each}' for each in impossible_arguments(noise, known[output]))}; "
                    "change the noise, the prior or the data."
                )
        return findings

    def information_findings(self, theta: Theta) -> list[str]:
        """Failed solves, and slopes that are not finite.

        The derivative of a likelihood cannot be asked: where a slope is not finite it may have been replaced, so that
        a sampler can go on.
        """
        codes, lost = self._lost(theta)
        findings = failures(self.study, codes)
        for output, by_parameter in lost.items():
            findings += [
                f"{self._not_finite(name, output)} at {rows.sum()} of {len(rows)} measurements {NOT_FINITE}"
                for name, rows in by_parameter.items()
                if rows.any()
            ]
        return findings

    def row_findings(self, theta: Theta) -> dict[str, list[str]]:
        codes, lost = self._lost(theta)
        sentences = [self.study.model.dynamics.sentence(code) if code else "" for code in codes]
        found = {output: [sentences[run] for run in rows.run] for output, rows in self.observations.rows.items()}
        for output, by_parameter in lost.items():
            for name, rows in by_parameter.items():
                for index in np.flatnonzero(rows):
                    found[output][index] = f"{self._not_finite(name, output)} {NOT_FINITE}"
        return found

    def _lost(self, theta: Theta) -> tuple[np.ndarray, dict[str, dict[str, np.ndarray]]]:
        """Code of each run; output -> parameter -> which of its rows have a slope that is not finite, `(rows,)`."""
        codes, slopes = (jax.tree.map(np.asarray, each) for each in _results_and_slopes(self, theta))
        lost: dict[str, dict[str, np.ndarray]] = {}
        for output, (run, when, *_) in self.observations.rows.items():
            named = [other for other in self.observations.model.noise_names(output) if other in slopes]
            lost[output] = {}
            for name in self.observations.active if named else ():
                rows = np.stack([slopes[other][name][run, when] for other in named])
                lost[output][name] = ~np.all(np.isfinite(rows), axis=0) & (codes[run] == 0)
        return codes, lost

    @staticmethod
    def _not_finite(name: str, output: str) -> str:
        return f"the derivative with respect to {name!r} of what the noise of {output!r} refers to is not finite"

    def log_densities(
        self, thetas: Theta, values: Mapping[str, Float[AnyArray, "tables rows"]]
    ) -> Float[Array, "draws tables"]:
        """Solved once at each of the parameter values, whatever the number of tables."""
        noise, total = self.observations.model.noise, jnp.zeros(())
        for output, (known, ok) in jax.vmap(self.known)(thetas).items():
            by_draw = {name: jnp.broadcast_to(each, ok.shape)[:, None] for name, each in known.items()}
            terms = log_density(noise[output], jnp.asarray(values[output], float), by_draw, self._limits(output))
            total = total + jnp.sum(jnp.where(ok[:, None], terms, -jnp.inf), axis=-1)
        return total

    # --- rows of a group, and of an output

    def known(self, theta: Theta) -> dict[str, tuple[dict[str, Float[Array, " rows"]], Array]]:
        """What the noise of each row refers to, name -> values, and whether its solve succeeded; by output.

        Where a solve failed the values are 1, so that a `where` around what is computed from them keeps a finite
        gradient. Outputs outside the domain of an argument by no more than the error of the solve are at its edge.
        """
        found = {}
        for group, (values, ok) in zip(self.groups, self._evaluated(theta), strict=True):
            for output, rows in group.rows.items():
                named = {name: values[alias][rows] for name, alias in group.aliases[output].items()}
                found[output] = named, ok[rows]
        return {output: found[output] for output in self.observations.rows}

    def _evaluated(self, theta: Theta) -> list[tuple[dict[str, Array], Array]]:
        """For each group what its noise refers to, name -> `(rows,)`, and whether the solves succeeded; see `known`."""
        return self.referred(theta, self.solved(theta))

    def solved(self, theta: Theta) -> Solved:
        """The runs of the data."""
        observations, model = self.observations, self.observations.model
        theta = observations.of_units(theta)
        run = partial(simulate_stacked, model.accumulated, method=observations.plan, active=observations.active)
        values = each_run(observations, theta, run)
        ok = jnp.all(jnp.isfinite(values), axis=(1, 2))
        safe, errors = jnp.where(ok[:, None, None], values, 1.0), None
        if any(group.bounded for group in self.groups):
            errors = each_run(observations, theta, partial(stacked_errors, model, names=model.series), safe)
        return Solved(safe, ok, errors)

    def referred(self, theta: Theta, solved: Solved) -> list[tuple[dict[str, Array], Array]]:
        """What the noise of each group refers to, given the runs: these do not depend on parameters of the noise."""
        observations, (safe, ok, errors), found = self.observations, solved, []
        theta = observations.of_units(theta)
        for group in self.groups:
            known = {name: self._series(group, safe, slice(None), index) for name, index in group.outputs.items()}
            for name, (parameters, index) in group.parameters.items():
                columns = [jnp.asarray(theta[parameter], float) for parameter in parameters]
                if any(jnp.ndim(column) for column in columns):
                    known[name] = jnp.stack([of_runs(observations, column) for column in columns])[index, group.run]
                else:
                    known[name] = jnp.stack(columns)[index]
            known |= {name: jnp.asarray(numbers) for name, numbers in group.constants.items()}
            uncertain = {
                name: errors[group.run, group.outputs[name]] for name in group.bounded if name in group.outputs
            }
            for name in group.formulas:
                known[name], error = self._formula(group, name, theta, safe, errors)
                uncertain |= {name: error} if name in group.bounded else {}
            found.append((group.noise.moved_inside(known, uncertain), ok[group.run]))
        return found

    def _series(self, group: NoiseGroup, values: Array, rows: slice, index: np.ndarray) -> Float[Array, " rows"]:
        """Values of the `series` of these indices at rows of a group; of increments, since the time before."""
        run, when, model = group.run[rows], group.when[rows], self.observations.model
        counted = np.isin(model.series, model.increments)[index]
        found = values[run, when, index]
        if not counted.any():
            return found
        of = [
            self.observations.before.get(output, np.zeros(part.stop - part.start, int))
            for output, part in group.rows.items()
        ]
        return found - jnp.where(counted, values[run, np.concatenate(of)[rows], index], 0.0)

    def _formula(self, group: NoiseGroup, name: str, theta: Theta, values: Array, errors) -> tuple[Array, Array]:
        """An argument of the noise that is a formula, and its error, at each row of a group."""
        observations, model, found = self.observations, self.observations.model, []
        for output, expression in group.formulas[name].items():
            rows = group.rows[output]
            run, known, uncertain = group.run[rows], {}, {}
            for each in expression.names:
                if each in model.series:
                    index = np.full(len(run), model.series.index(each))
                    known[each] = self._series(group, values, rows, index)
                    uncertain |= {} if errors is None else {each: errors[run, index]}
                elif each in model.columns:
                    known[each] = observations.columns[output][each]
                else:
                    known[each] = of_runs(observations, jnp.asarray(theta[each], float))[run]
            both = expression.with_error(known, uncertain)
            found.append([jnp.broadcast_to(part, run.shape) for part in both])
        value, error = (jnp.concatenate(parts) for parts in zip(*found, strict=True))
        return value, error

    def _log_densities(self, theta: Theta, values: Mapping[str, AnyArray] | None = None) -> list[Float[Array, " rows"]]:
        """Log density of each row of each group."""
        return self.terms_of(self._evaluated(theta), values)

    def terms_of(self, found: list[tuple[dict[str, Array], Array]], values) -> list[Float[Array, " rows"]]:
        """The same from what the noise of each group refers to, see `_evaluated`."""
        terms = []
        for group, (known, ok) in zip(self.groups, found, strict=True):
            terms.append(
                jnp.where(ok, log_density(group.noise, self.values_of(group, values), known, group.limits), -jnp.inf)
            )
        return terms

    @staticmethod
    def values_of(group: NoiseGroup, values: Mapping[str, AnyArray] | None) -> AnyArray:
        """What was measured in the rows of a group, or these `values` in their places."""
        return group.value if values is None else jnp.concatenate([values[output] for output in group.rows])

    def _arguments(self, theta: Theta) -> list[Float[Array, "rows arguments"]]:
        """Arguments of the noise at each row of each group; NaN where a solve failed."""
        stacked = []
        for group, (known, ok) in zip(self.groups, self._evaluated(theta), strict=True):
            columns = [jnp.broadcast_to(value, (len(group.run),)) for value in group.noise.resolve(known).values()]
            stacked.append(jnp.where(ok[:, None], jnp.stack(columns, axis=1), jnp.nan))
        return stacked

    def _safe_arguments(self, theta: Theta) -> tuple[list[Array], list[tuple[dict[str, Array], Array]]]:
        """The same with the numbers that `_evaluated` gives where a solve failed; then those themselves."""
        found, stacked = self._evaluated(theta), []
        for group, (known, _) in zip(self.groups, found, strict=True):
            columns = [jnp.broadcast_to(value, (len(group.run),)) for value in group.noise.resolve(known).values()]
            stacked.append(jnp.stack(columns, axis=1))
        return stacked, found

    def _noise_information(self, theta: Theta) -> list[Float[Array, "rows arguments arguments"]]:
        """Information of one measurement on the arguments of its noise; zero where it is not defined."""
        found = zip(self.groups, self._evaluated(theta), strict=True)
        matrices = [information(group.noise, group.value, known, group.limits) for group, (known, _) in found]
        return [jnp.where(jnp.isfinite(matrix), matrix, 0.0) for matrix in matrices]

    def _limits(self, output: str) -> Limits | None:
        """Of the rows of an output."""
        rows = self.observations.rows[output]
        return Limits(rows.lower, rows.upper) if rows.limited else None

    def _by_output(self, each: list[Array]) -> dict[str, Array]:
        """Arrays `(rows, ...)` of the groups by output, in the order of the table."""
        found = {
            output: values[rows]
            for group, values in zip(self.groups, each, strict=True)
            for output, rows in group.rows.items()
        }
        return {output: found[output] for output in self.observations.rows}


@partial(jax.jit, static_argnames="noise")
def _quantiles(noise: Distribution, probability: Array, known: dict[str, Array]) -> Array:
    return noise.ppf(probability, known)


@partial(jax.jit, static_argnames="likelihood")
def _results_and_terms(likelihood: Independent, theta: Theta) -> tuple[Array, dict[str, Array], dict]:
    known = {output: values for output, (values, _) in likelihood.known(theta).items()}
    return likelihood.results(theta), likelihood.pointwise(theta), known


@partial(jax.jit, static_argnames="likelihood")
def _results_and_slopes(likelihood: Independent, theta: Theta):
    """Result code of each run `(runs,)`, and output -> active parameter -> slope `(runs, times)` as solved for."""
    model, observations = likelihood.observations.model.accumulated, likelihood.observations

    def one(theta, design):
        def outputs(moving):
            run = simulate(model, {**theta, **moving}, design, method=observations.plan)
            return over_time(model, run.outputs, design), run.result

        slopes, result = jax.jacfwd(outputs, has_aux=True)({name: theta[name] for name in observations.active})
        return result, slopes

    return jax.vmap(one)(per_run(observations, theta), observations.design)
