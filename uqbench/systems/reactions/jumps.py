"""Trajectories of single molecules, reaction by reaction or by leaps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ...annotations import AnyArray, Values
from ...design import Design
from ...errors import InputError, Result
from ...jump_processes import exact, leaping
from ...jump_processes.channels import numbered_streams, simulate_channels
from ...jump_processes.coupling import coupled
from ...jump_processes.likelihood_ratio import simulate_with_score
from ...jump_processes.paths import Paths, Rates
from ...jump_processes.streams import Streams, trajectory_streams
from ...settings import is_number, whole_number_findings
from ..estimates import DIFFERENCES, LIKELIHOOD_RATIO, Estimate
from ..protocol import CAPABILITIES, Outcome, Run, finished, in_columns, names_used
from .counts import Counts

LIKELIHOODS = (
    "calibrate another view of the same network: `master_equation()`, with outputs without noise, for snapshots, in "
    "which each row is of another cell, or `linear_noise()` with `likelihood=uqbench.likelihoods.LinearNoise.of` for "
    "time series, in which the rows of a run follow one cell; or give the study a `likelihood` of its own"
)
# The family of streams of which sources of randomness are members by their numbers.
CHANNELS = np.array([0, 1], np.uint32)


@dataclass(frozen=True)
class Jumps(Counts):
    """Simulation of every molecule: every run is one trajectory and needs a key.

    Args:
        max_events: of one trajectory.
        leap: None for exact simulation (Gillespie 1977), or the share by which a propensity may change in a leap.
    """

    max_events: int = 10_000_000
    leap: float | None = None

    kind = "a jump process"
    capabilities = frozenset({"stochastic"})
    known_capabilities: ClassVar = {**CAPABILITIES, "density": ("density of its outputs", LIKELIHOODS)}
    # counts do not move when a parameter does
    gradient = "none"

    def __post_init__(self):
        findings = whole_number_findings({"max_events": (self.max_events, 1)})
        if self.leap is not None and not (is_number(self.leap) and 0 < self.leap < 1):
            findings.append(f"leap is {self.leap!r}; give a number between 0 and 1, such as 0.03, or None.")
        if self.leap is not None and self.network.timed:
            findings.append("propensities are functions of time, which leaps take no account of; simulate exactly.")
        if findings:
            raise InputError("Reactions.jumps", findings)

    @property
    def settings(self) -> tuple[str, ...]:
        return (f"max_events {self.max_events}", *([] if self.leap is None else [f"leap {self.leap!r}"]))

    @property
    def expectation_gradients(self) -> Mapping[str, Estimate]:
        if self.leap is not None:
            return {DIFFERENCES: Estimate.SAME_KEYS}
        return {DIFFERENCES: Estimate.SPLIT_COUPLING, LIKELIHOOD_RATIO: Estimate.LIKELIHOOD_RATIO}

    def run(self, model, theta: Values, design: Design, key, plan: str, *, reverse: bool = False, sharper=1.0) -> Run:
        streams = trajectory_streams(jax.random.key_data(key), 1)
        start, (grid, place) = self.start(theta, design), self.grid(theta, design)
        paths = self._simulated(self.network.rates_from(theta, design), start[None], grid, streams)
        return self._run(model, theta, design, start, jax.tree.map(lambda each: each[0], paths), place)

    def run_many(self, model, thetas: Values, designs: Design, keys, plan: str, shared: bool):
        if self.leap is not None or self.network.timed or not shared:
            return super().run_many(model, thetas, designs, keys, plan, shared)
        # one call for all: no trajectory waits for the others
        start = jax.vmap(lambda theta: self.start(theta, designs))(thetas)
        own, rates = self._own(thetas, designs)
        paths = exact.simulate(
            *(rates, self.network.changes, start, designs.times - designs.start, streams_of(keys)),
            max_events=self.max_events,
            own=(own,),
        )
        place = jnp.arange(len(designs.times))

        def one(theta, start, path):
            return in_columns(model, designs, self._run(model, theta, designs, start, path, place))

        return jax.vmap(one)(thetas, start, paths)

    def coupled_runs(self, model, low: Values, high: Values, design: Design, keys) -> tuple[Run, Run] | None:
        """Pairs in the split coupling; None for leaps."""
        if self.leap is not None:
            return None
        both = low, high
        starts, (grid, place) = [self.start(theta, design) for theta in both], self.grid(low, design)
        one, other = (self.network.rates_from(theta, design) for theta in both)
        pair, changes = coupled(one, other, self.network.changes)
        start = jnp.broadcast_to(jnp.concatenate(starts), (len(keys), changes.shape[1]))
        paths = exact.simulate(pair, changes, start, grid, streams_of(keys), max_events=self.max_events)
        counts = jnp.split(paths.counts, 2, axis=-1)
        first, second = (
            jax.vmap(lambda path, theta=theta, start=start: self._run(model, theta, design, start, path, place))(
                paths._replace(counts=own)
            )
            for theta, start, own in zip(both, starts, counts, strict=True)
        )
        return first, second

    def noise_sources(self) -> tuple[str, ...]:
        """The reactions, each of which fires when its propensity has passed the next point of a process of its own."""
        # only exact simulation at rates that do not vary with time is split
        return super().noise_sources() if self.network.timed or self.leap is not None else self.network.reactions

    def runs_by_source(self, model, thetas: Values, design: Design, numbers: Int[AnyArray, "batch sources"]) -> Run:
        start = jax.vmap(lambda theta: self.start(theta, design))(thetas)
        own, rates = self._own(thetas, design)
        paths = simulate_channels(
            *(rates, self.network.changes, start, design.times - design.start, numbered_streams(CHANNELS, numbers)),
            max_events=self.max_events,
            own=(own,),
        )
        place = jnp.arange(len(design.times))
        return jax.vmap(lambda theta, start, path: self._run(model, theta, design, start, path, place))(
            thetas, start, paths
        )

    def score_findings(self, model, theta: Values, names: Sequence[str], design: Design) -> list[str]:
        findings = []
        if self.network.timed:
            findings.append("propensities are functions of time, which scores take no account of; take differences.")
        traced = jax.make_jaxpr(lambda theta: self.start(theta, design))(dict(theta))
        if moved := [name for name in names_used(traced, tuple(theta)) if name in names]:
            findings.append(f"the start depends on {', '.join(map(repr, moved))}, of which there is no score.")
        return findings

    def scored_runs(
        self, model, theta: Values, names: Sequence[str], design: Design, keys
    ) -> tuple[Run, Float[Array, "batch times names"], dict[str, Array]]:
        def with_values(values):
            return {**theta, **dict(zip(names, values, strict=True))}

        def rates(t, counts, values):
            return self.network.rates_from(with_values(values), design)(t, counts)

        values, start = jnp.stack([jnp.asarray(theta[name], float) for name in names]), self.start(theta, design)
        paths, scores = simulate_with_score(
            *(rates, values, self.network.changes, jnp.broadcast_to(start, (len(keys), len(start)))),
            *(design.times - design.start, streams_of(keys)),
            max_events=self.max_events,
        )

        def slopes(t, counts):
            def outputs(values):
                found = self.observed(model, t, counts, with_values(values), design)
                return {name: jnp.asarray(value, float) for name, value in found.items()}

            return jax.jacfwd(outputs)(values)

        place = jnp.arange(len(design.times))
        runs = jax.vmap(lambda path: self._run(model, theta, design, start, path, place))(paths)
        direct = jax.vmap(lambda counts: jax.vmap(slopes)(design.times, counts))(paths.counts)
        return runs, scores, direct

    def _own(self, thetas: Values, design: Design) -> tuple[dict[str, Array], Rates]:
        """Parameters (batch,) that differ between trajectories and matter to propensities, and these as functions of
        them.

        What is no array that is traced is known, and the same for all.
        """
        known = {name: float(values[0]) for name, values in thetas.items() if isinstance(values, np.ndarray)}
        first = {name: jnp.asarray(values)[0] for name, values in thetas.items() if name not in known}

        def rates(t, counts, own):
            return self.network.rates_from({**first, **known, **own}, design)(t, counts)

        counts = (jnp.ones(()),) * len(self.network.names)
        used = names_used(jax.make_jaxpr(lambda own: rates(0.0, counts, own))(first), tuple(first))
        return {name: jnp.asarray(thetas[name]) for name in used}, rates

    def _simulated(self, rates: Rates, start: Array, grid: Array, streams: Streams) -> Paths:
        arguments = rates, self.network.changes, start, grid, streams
        if self.leap is None:
            return exact.simulate(*arguments, max_events=self.max_events)
        return leaping.simulate(*arguments, max_events=self.max_events, epsilon=self.leap)

    def _run(self, model, theta: Values, design: Design, start: Array, path: Paths, place: Array) -> Run:
        """A run from one path, whose counts at `place` are those at the times of the design."""
        outputs = jax.vmap(lambda t, counts: self.observed(model, t, counts, theta, design))(
            design.times, path.counts[place]
        )
        begins = self.start_code(start)
        code = jnp.where(begins == 0, path.code, begins)
        outcome = Outcome(code.astype(int), path.events.astype(int), jnp.zeros((), int))
        return finished(model, outputs, outcome, design, Result.OUTPUT_NOT_FINITE)


def streams_of(keys: Array) -> Streams:
    """The stream of the only trajectory of each key, (batch,)."""

    def of_one(key):
        return jax.tree.map(lambda words: words[0], trajectory_streams(jax.random.key_data(key), 1))

    return jax.vmap(of_one)(keys)
