"""Which species of a network may flow, by their copy numbers, and what is lost when they do."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ...annotations import Values
from ...design import Design
from ...errors import RESULTS, InputError
from ...initial_value.odes import solve
from ...jump_processes import exact, hybrid
from ...jump_processes.streams import trajectory_streams
from ...settings import is_number, seed_findings, whole_number_findings
from .hybrid import hybrid_view
from .network import Network
from .rate_equations import rate_equations

# Times, evenly spread, at which copy numbers are looked at.
TIMES = 201
# Part of them in which a count may lie below the one that it is given: most species start from nothing.
START = 0.1
LEAST_TRAJECTORIES = 100


@dataclass(frozen=True)
class Partition:
    """Species by what they do in a hybrid.

    Args:
        discrete: those that are to jump; none: rate equations do (`ode`); all: nothing flows (`jumps`).
        continuous: those that are to flow.
        counts: species -> copy number, by rate equations, which is exceeded in nine tenths of the time.
    """

    discrete: tuple[str, ...]
    continuous: tuple[str, ...]
    counts: dict[str, float]


def propose_partition(network: Network, theta: Values, design: Design, *, least: float = 100.0) -> Partition:
    """Which species are many enough to flow.

    The noise of a species of n molecules with reactions one at a time is about n^(-1/2) of it: 10 % at a hundred. It is
    a proposal: rate equations do not know of promoters that are mostly off, or of counts that fluctuate to zero.
    `hybrid_error` measures what it costs.

    Args:
        network: of reactions.
        theta: parameters.
        design: times up to which it is asked.
        least: copy number from which a species flows.

    Raises:
        InputError: `least` is no positive number, or the rate equations have no solution.

    Example:
        >>> import uqbench as uq
        >>> from forward_models.hybrid_gene import network
        >>> theta = {"k_on": 0.5, "k_off": 1.0, "r": 2000.0, "d": 1.0, "feedback": 0.0}
        >>> propose_partition(network, theta, uq.Design([20.0])).discrete
        ('G',)
    """
    if not is_number(least) or not 0 < least < np.inf:
        raise InputError("propose_partition", [f"least is {least!r}; give a positive number of molecules."])
    times = jnp.linspace(design.start, design.times[-1], TIMES)
    theta = {name: jnp.asarray(value, float) for name, value in theta.items()}
    solution = solve(rate_equations(network, None), theta, Design(times, design.inputs), method="implicit")
    if code := int(solution.result):
        raise InputError("propose_partition", [f"the rate equations have no solution: {RESULTS[code]}"])
    counts = {name: float(np.quantile(solution.states[name], START)) for name in network.names}
    continuous = tuple(name for name, count in counts.items() if count >= least)
    return Partition(tuple(name for name in network.names if name not in continuous), continuous, counts)


def hybrid_error(
    network: Network, discrete: Sequence[str] | str, theta: Values, design: Design, *,
    trajectories: int = 2000, seed: int = 0, max_events: int = 10_000_000,
) -> xr.Dataset:  # fmt: skip
    """What a hybrid gets wrong: means and variances of all species beside those of the exact process.

    Args:
        network: of reactions.
        discrete: the species that jump in the hybrid.
        theta: parameters.
        design: times at which to compare.
        trajectories: of each of the two, from streams of their own.
        seed: of both.
        max_events: of one trajectory.

    Returns:
        `mean` and `variance` (process, species, time) with processes "exact" and "hybrid"; `mean_error` and
        `variance_error` (species, time), the hybrid's less the exact one's; each with its standard error `..._se`; and
        `failed` (process,), the number of trajectories with a code. If there are any, the numbers of that process are
        NaN.

    Raises:
        InputError: a view that `Reactions.hybrid` refuses, or settings out of range.
    """
    findings = whole_number_findings({"trajectories": (trajectories, LEAST_TRAJECTORIES)}) + seed_findings(seed)
    if findings:
        raise InputError("hybrid_error", findings)
    view = hybrid_view(network, discrete, max_events, 100_000, 1e-6)
    theta = {name: jnp.asarray(value, float) for name, value in theta.items()}
    start = jnp.tile(view.start(theta, design), (trajectories, 1))
    times, rates = design.times - design.start, network.rates_from(theta, design)
    keys = [jax.random.key_data(key) for key in jax.random.split(jax.random.key(seed))]
    streams = [trajectory_streams(key, trajectories) for key in keys]
    full = exact.simulate(rates, network.changes, start, times, streams[0], max_events=max_events)
    pieces, _ = hybrid.simulate(
        rates, network.changes, view.flags, start, times, streams[1],
        max_events=max_events, max_steps=view.max_steps, rtol=view.rtol,
    )  # fmt: skip
    failed = np.array([int(jnp.sum(paths.code != 0)) for paths in (full, pieces)])
    found = np.stack([_moments(np.asarray(paths.counts)) for paths in (full, pieces)])
    found[failed > 0] = np.nan
    return _compared(network, design, found, failed)


def _moments(counts: np.ndarray) -> np.ndarray:
    """Mean, its standard error, variance, its standard error (4, species, times), of counts (trajectories, times,
    species)."""
    n, mean = len(counts), counts.mean(0)
    variance, fourth = counts.var(0, ddof=1), ((counts - mean) ** 4).mean(0)
    errors = np.sqrt(variance / n), np.sqrt(np.maximum(fourth - variance**2, 0.0) / n)
    return np.stack([mean, errors[0], variance, errors[1]]).transpose(0, 2, 1)


def _compared(network: Network, design: Design, found: np.ndarray, failed: np.ndarray) -> xr.Dataset:
    dims = ("species", "time")
    variables: dict[str, tuple] = {"failed": ("process", failed)}
    for place, name in ((0, "mean"), (2, "variance")):
        for suffix, values in (("", found[:, place]), ("_se", found[:, place + 1])):
            variables[f"{name}{suffix}"] = (("process", *dims), values)
        variables[f"{name}_error"] = (dims, found[1, place] - found[0, place])
        variables[f"{name}_error_se"] = (dims, np.hypot(*found[:, place + 1]))
    coords = {"process": ["exact", "hybrid"], "species": list(network.names), "time": np.asarray(design.times)}
    return xr.Dataset(variables, coords)
