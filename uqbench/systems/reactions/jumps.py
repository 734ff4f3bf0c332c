"""Trajectories of single molecules, reaction by reaction."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from ...annotations import Values
from ...design import Design
from ...errors import InputError, Result
from ...jump_processes.exact import simulate
from ...jump_processes.streams import trajectory_streams
from ...settings import whole_number_findings
from ..protocol import CAPABILITIES, Outcome, Run, finished
from .counts import Counts

LIKELIHOODS = (
    "calibrate another view of the same network: `master_equation()`, with outputs without noise, for snapshots, in "
    "which each row is of another cell, or `linear_noise()` with `likelihood=uqbench.likelihoods.LinearNoise.of` for "
    "time series, in which the rows of a run follow one cell; or give the study a `likelihood` of its own"
)


@dataclass(frozen=True)
class Jumps(Counts):
    """Exact simulation (Gillespie 1977): every run is one trajectory and needs a key.

    Args:
        max_events: of one trajectory.
    """

    max_events: int = 10_000_000

    kind = "a jump process"
    capabilities = frozenset({"stochastic"})
    known_capabilities: ClassVar = {**CAPABILITIES, "density": ("density of its outputs", LIKELIHOODS)}
    # counts do not move when a parameter does
    gradient = "none"

    def __post_init__(self):
        if findings := whole_number_findings({"max_events": (self.max_events, 1)}):
            raise InputError("Reactions.jumps", findings)

    @property
    def settings(self) -> tuple[str, ...]:
        return (f"max_events {self.max_events}",)

    def run(self, model, theta: Values, design: Design, key, plan: str, *, reverse: bool = False, sharper=1.0) -> Run:
        streams = trajectory_streams(jax.random.key_data(key), 1)
        start, (grid, place) = self.start(theta, design)[None], self.grid(theta, design)
        rates = self.network.rates_from(theta, design)
        paths = simulate(rates, self.network.changes, start, grid, streams, max_events=self.max_events)
        outputs = jax.vmap(lambda t, counts: self.observed(model, t, counts, theta, design))(
            design.times, paths.counts[0, place]
        )
        code = jnp.where(self.start_code(start) == 0, paths.code[0], self.start_code(start))
        outcome = Outcome(code.astype(int), paths.events[0].astype(int), jnp.zeros((), int))
        return finished(model, outputs, outcome, design, Result.OUTPUT_NOT_FINITE)
