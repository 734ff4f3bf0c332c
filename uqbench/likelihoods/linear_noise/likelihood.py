"""The likelihood of time series of single cells: a Kalman filter whose predictions are those of linear noise."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.scipy.special import ndtri
from jaxtyping import Array, Float, Int

from ...annotations import AnyArray
from ...design import Design
from ...errors import InputError
from ...space import Theta
from ...study import Study
from ...systems.reactions.linear_noise import Fluctuations
from ..between_rows import columns_between
from ..layout import Observations, each_run, lay_out, rows_by_unit
from ..protocol import Likelihood, Moments
from ..rows import stratified
from .flows import Flows
from .kalman import Filtered, Joint, Steps, filtered, joint
from .measured import linearised, noise_findings, sees_fluctuations
from .series import TimeSeries, time_series


@dataclass(frozen=True, eq=False)
class LinearNoise(Likelihood):
    """Rows that follow single cells over time, each one path of a network under linear noise; made by `LinearNoise.of`.

    The rows of one run (an experiment and a unit, and a replicate of it where the table has the column `replicate`)
    are of one cell. Each measured output is linear in the species, with the noise Normal(mu, sigma); where sigma is a
    formula of outputs it is that at the predicted means. Fisher information and moments are those of linear noise
    around the rate equations, with which those of the restarted filter agree where fluctuations are small.

    Args:
        flows: linear noise over any interval.
        series: the rows as time series.
        restart: whether the equations are linearised anew at each observation, see `kalman`.

    Example:
        >>> import uqbench as uq
        >>> from forward_models.two_stage_expression import network, space
        >>> space = uq.Space({**space, "sigma": uq.epistemic(uq.HalfNormal(5.0))})
        >>> model = uq.Model(space, network.linear_noise(), lambda y, p: {"protein": y["P"]}, units={"protein": ""},
        ...                  noise={"protein": uq.Normal("protein", "sigma")})
        >>> study = uq.Study("cells", model, {"cell": uq.Design([1.0, 2.0])}, likelihood=LinearNoise.of)
        >>> LinearNoise.of(study).series.outputs
        ('protein',)
    """

    flows: Flows
    series: TimeSeries
    restart: bool

    kind = "a Kalman filter of time series under linear noise"
    term = "run"
    capabilities = frozenset({"terms", "gradient", "information", "moments"})

    @classmethod
    def of(cls, study: Study, restart: bool = True) -> "LinearNoise":
        """The likelihood of a study whose system is `Reactions.linear_noise()` and whose rows follow cells over time.

        Args:
            restart: whether to linearise at each observation around the filtered mean, which stays right over many
                correlation times; else around the rate equations from the start of the run.

        Raises:
            InputError: with every finding: another system; outputs that are not linear in the species, or whose noise
                is not normal or has the variance of the fluctuations in it; increments; steady states.
        """
        observations = lay_out(study)
        model, designs = observations.model, observations.design
        design = jax.tree.map(lambda leaf: leaf[0], designs)
        theta = model.space.nominal()
        fluctuations = Fluctuations.of(model.system, theta, design.inputs)
        if fluctuations is None:
            finding = f"its system is {model.dynamics.kind} without means and covariances of species; give the model "
            raise InputError(f"study {study.name!r}", [f"{finding}`Reactions.linear_noise()`."])
        findings = fluctuations.findings(theta, design.start, design.inputs)
        if model.increments:
            findings.append(f"{', '.join(map(repr, model.increments))} are increments; give the outputs themselves.")
        if design.settles:
            findings.append("a time series has no steady state; leave the time inf out.")
        findings += noise_findings(model, tuple(observations.rows), fluctuations.species, design)
        if findings:
            raise InputError(f"study {study.name!r}", findings)
        flows = Flows.of(model, fluctuations, designs)
        return cls(study, observations, flows, time_series(study, observations), bool(restart))

    def log_density(self, theta: Theta, key=None, values: Mapping[str, AnyArray] | None = None) -> Float[Array, ""]:
        return jnp.sum(self._filtered(theta, self._given(values)).terms)

    def pointwise(self, theta: Theta, key=None) -> dict[str, Float[Array, " series"]]:
        return {"series": jnp.sum(self._filtered(theta, self._given(None)).terms, axis=(1, 2))}

    def terms(self) -> dict[str, pd.DataFrame]:
        return {"series": self.series.labels}

    def simulate(self, theta: Theta, key: Array) -> dict[str, Float[Array, " rows"]]:
        """Draws from the density itself: each value given those before."""
        normal = jax.random.normal(key, self.series.present.shape, float)
        found = self._filtered(theta, normal, draw=True)
        return self.series.by_output(jnp.where((found.code == 0)[:, None, None], found.values, jnp.nan))

    def predict(
        self, thetas: Theta, design: Design, key: Array, columns: Mapping[str, Float[AnyArray, " times"]] | None = None
    ) -> dict[str, Float[Array, "draws times"]]:
        """Of another cell, whatever those of the data have done."""
        return self._predicted(thetas, design, key, dict.fromkeys(self.observations.rows, columns or {}))

    def predict_run(
        self, thetas: Theta, design: Design, key: Array, run: int
    ) -> dict[str, Float[Array, "draws times"]]:
        times = np.asarray(design.times)
        between = {output: columns_between(self.observations, output, run, times) for output in self.observations.rows}
        return self._predicted(thetas, design, key, between)

    def information(self, place, x: Float[Array, " k"]) -> Float[Array, "units k k"]:
        """dm' C^-1 dm + tr(C^-1 dC C^-1 dC) / 2 of each series, summed over those of each unit."""

        def moments(x):
            found = self._joint(place(x))
            return jnp.where((found.code == 0)[:, None], found.mean, jnp.nan), found.covariance

        _, covariance = moments(x)
        d_mean, d_covariance = jax.jacfwd(moments)(x)
        from_mean = jnp.einsum("sri,srj->sij", d_mean, jnp.linalg.solve(covariance, d_mean))
        solved = jnp.linalg.solve(covariance[:, None], jnp.moveaxis(d_covariance, -1, 1))
        each = from_mean + 0.5 * jnp.einsum("siab,sjba->sij", solved, solved)
        return jnp.zeros((self.observations.units, len(x), len(x))).at[self.series.observations.unit].add(each)

    def moments(self, theta: Theta) -> Moments:
        found, series = self._joint(theta), self.series
        # series and entry of each row, in the order of the outputs
        of, *places = (index[np.argsort(series.row[series.present])] for index in np.nonzero(series.present))
        entry = np.ravel_multi_index(places, series.present.shape[1:])
        members, there = rows_by_unit(series.observations.unit[of], self.observations.units)
        of, entry = of[members], entry[members]
        ok = (found.code == 0)[of]
        mean = jnp.where(there & ok, found.mean[of, entry], jnp.where(there, jnp.nan, 0.0))
        both = there[:, :, None] & there[:, None, :] & (of[:, :, None] == of[:, None, :])
        covariance = found.covariance[of[:, :, None], entry[:, :, None], entry[:, None, :]]
        return Moments(mean, jnp.where(both, covariance, jnp.eye(members.shape[1])))

    def results(self, theta: Theta, key=None) -> Int[Array, " runs"]:
        codes = self._filtered(theta, self._given(None)).code
        return jnp.zeros(len(self.observations.unit), codes.dtype).at[self.series.run].max(codes)

    # --- of each series

    def _given(self, values: Mapping[str, AnyArray] | None) -> Float[Array, "series times places"]:
        measured = {output: rows.value for output, rows in self.observations.rows.items()}
        return self.series.placed(measured if values is None else values)

    @cached_property
    def _steps(self) -> Steps:
        series = self.series
        return Steps(np.asarray(series.observations.design.times), series.present, series.columns)

    def _filtered(self, theta: Theta, given: Float[Array, "series times places"], draw: bool = False) -> Filtered:
        def one(theta, design, steps, given):
            measure = self._measure(theta, design)
            return filtered(self.flows, theta, design, steps, measure, given, restart=self.restart, draw=draw)

        return each_run(self.series.observations, theta, one, self._steps, given)

    def _joint(self, theta: Theta) -> Joint:
        def one(theta, design, steps):
            return joint(self.flows, theta, design, steps, self._measure(theta, design))

        return each_run(self.series.observations, theta, one, self._steps)

    def _measure(self, theta: Theta, design: Design, outputs: tuple[str, ...] | None = None) -> Callable:
        model, species = self.observations.model, self.flows.species
        outputs = self.series.outputs if outputs is None else outputs
        return lambda time, mean, columns: linearised(model, outputs, species, time, mean, theta, design, columns)

    def _predicted(self, thetas: Theta, design: Design, key: Array, columns: Mapping) -> dict[str, Array]:
        """Draws of each output whose noise names no column of the table but these: output -> column -> `(times,)`."""
        model, values = self.observations.model, {}
        outputs = tuple(
            output
            for output in self.observations.rows
            if not set(model.noise_names(output)) & set(model.columns) - set(columns.get(output, {}))
        )
        if not outputs:
            return {}
        own = tuple(dict(columns.get(output, {})) for output in outputs)
        mean, deviation = _marginals(self, outputs, thetas, design, own)
        for k, output in enumerate(outputs):
            key, now = jax.random.split(key)
            values[output] = mean[..., k] + deviation[..., k] * ndtri(stratified(now, len(mean)))[:, None]
        return values


@partial(jax.jit, static_argnames=("likelihood", "outputs"))
def _marginals(likelihood: LinearNoise, outputs: tuple[str, ...], thetas: Theta, design: Design, columns):
    """Mean and standard deviation of each output `(draws, times, outputs)` in a cell that nobody has measured."""

    def one(theta):
        start = likelihood.flows.start(theta, design)
        flow = likelihood.flows.over(theta, design, start.mean, design.start, design.times)
        covariance = flow.propagator @ start.covariance @ jnp.swapaxes(flow.propagator, -1, -2) + flow.spread
        measure = likelihood._measure(theta, design, outputs)
        mu, slope, sigma = jax.vmap(measure)(design.times, flow.mean, columns)
        deviation = jnp.sqrt(jnp.einsum("tpi,tij,tpj->tp", slope, covariance, slope) + sigma**2)
        return jnp.where(flow.code == 0, mu, jnp.nan), deviation

    return jax.vmap(one)(thetas)


def ambiguity(study: Study, observations: Observations) -> list[str]:
    """Why the table of a study of linear noise may be read in several ways, so that it has to name its likelihood.

    Empty where the system is none, or the noise has the variances of the fluctuations in it.
    """
    model = observations.model
    design = jax.tree.map(lambda leaf: leaf[0], observations.design)
    fluctuations = Fluctuations.of(model.system, model.space.nominal(), design.inputs)
    if fluctuations is None or sees_fluctuations(model, tuple(observations.rows), fluctuations.species, design):
        return []
    return [
        "its system is linear noise, and the noise of its outputs is without the variance of the fluctuations. Name "
        "what the rows are by `likelihood`, one of uqbench.likelihoods: `LinearNoise.of` for time series, in which the "
        "rows of a run follow one cell; `Independent.of` for means over so many cells that nothing fluctuates. For "
        "snapshots, in which each row is of another cell, put the variance into the noise: "
        "Normal(mu, 'sqrt(variance + sigma**2)') with an output `variance` that is y['var_...']."
    ]
