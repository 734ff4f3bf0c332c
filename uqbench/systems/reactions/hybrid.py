"""Trajectories of a network some of whose species are single molecules, the others real numbers that flow."""

from dataclasses import dataclass
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np

from ...annotations import Values
from ...design import Design
from ...errors import InputError, Result, nearest
from ...jump_processes import hybrid
from ...jump_processes.streams import trajectory_streams
from ...settings import is_number, whole_number_findings
from ..estimates import DIFFERENCES, Estimate
from ..protocol import Outcome, Run, finished
from .counts import Counts
from .network import Network


@dataclass(frozen=True)
class Hybrid(Counts):
    """A piecewise deterministic Markov process: every run is one trajectory and needs a key.

    Args:
        discrete: the species that jump.
        max_events: jumps of one trajectory.
        max_steps: between two jumps or times of the design.
        rtol: local error of a step.
    """

    discrete: tuple[str, ...]
    max_events: int
    max_steps: int
    rtol: float

    kind = "a hybrid of jumps and rate equations"
    capabilities = frozenset({"stochastic"})
    # jumps come at random times, and a path leaps where a parameter makes one reaction of another
    gradient = "none"
    expectation_gradients = MappingProxyType({DIFFERENCES: Estimate.SAME_KEYS})

    def __post_init__(self):
        if findings := _findings(self):
            raise InputError("Reactions.hybrid", findings)

    @property
    def flags(self) -> np.ndarray:
        """(species,), whether each is discrete."""
        return np.array([name in self.discrete for name in self.network.names])

    @property
    def settings(self) -> tuple[str, ...]:
        limits = f"max_events {self.max_events}", f"max_steps {self.max_steps}"
        return (f"discrete {sorted(self.discrete)}", *limits, f"rtol {self.rtol!r}")

    def run(self, model, theta: Values, design: Design, key, plan: str, *, reverse: bool = False, sharper=1.0) -> Run:
        streams = trajectory_streams(jax.random.key_data(key), 1)
        start, (grid, place) = self.start(theta, design)[None], self.grid(theta, design)
        paths, steps = hybrid.simulate(
            self.network.rates_from(theta, design), self.network.changes, self.flags, start, grid, streams,
            max_events=self.max_events, max_steps=self.max_steps, rtol=self.rtol,
        )  # fmt: skip
        outputs = jax.vmap(lambda t, counts: self.observed(model, t, counts, theta, design))(
            design.times, paths.counts[0, place]
        )
        # the others start at any number
        begins = self.start_code(start[:, self.flags])
        code, taken = jnp.where(begins == 0, paths.code[0], begins), steps[0].astype(int)
        outcome = Outcome(code.astype(int), taken, taken)
        return finished(model, outputs, outcome, design, Result.OUTPUT_NOT_FINITE)

    def start_findings(self, model, design: Design) -> list[str]:
        return self.network.count_findings(model.space.nominal(), design, self.discrete)


def _findings(view: Hybrid) -> list[str]:
    names = view.network.names
    findings = [
        f"discrete={name!r} is no species; {nearest(name, names)}" for name in view.discrete if name not in names
    ]
    if not view.discrete:
        findings.append("no species is discrete; then it is a matter of rate equations: take `ode`.")
    elif set(names) <= set(view.discrete):
        findings.append("all species are discrete, so that nothing flows: take `jumps`.")
    if not is_number(view.rtol) or not hybrid.LEAST_RTOL <= view.rtol <= hybrid.MOST_RTOL:
        findings.append(f"rtol is {view.rtol!r}; give a number from {hybrid.LEAST_RTOL:g} to {hybrid.MOST_RTOL:g}.")
    return findings + whole_number_findings({"max_events": (view.max_events, 1), "max_steps": (view.max_steps, 1)})


def hybrid_view(network: Network, discrete, max_events: int, max_steps: int, rtol: float) -> Hybrid:
    """The system of `Reactions.hybrid`."""
    names = (discrete,) if isinstance(discrete, str) else tuple(discrete)
    return Hybrid(network, names, max_events, max_steps, rtol)
