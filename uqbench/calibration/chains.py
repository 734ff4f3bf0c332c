"""Chains of a sampler: made side by side or one by one, each written as it ends, and put together.

Every chain is a run of its own. One that was written before is read, not made again.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import nutpie
import xarray as xr

from ..study import Study
from .attempts import LEAST_DRAWS, Attempt
from .chain_files import ChainFiles
from .pymc_model import parameters

KEPT_STATS = ("diverging", "energy", "depth", "n_steps", "step_size", "mean_tree_accept", "maxdepth_reached", "logp")
COUNTS = {"depth", "n_steps"}
# Names that PyMC gives to the same.
OTHER_NAMES = {
    "tree_depth": "depth",
    "reached_max_treedepth": "maxdepth_reached",
    "acceptance_rate": "mean_tree_accept",
}
# Seconds between looks at chains that run in the background.
PAUSE = 0.02


def beginner(compiled, attempt: Attempt, draws: int, points, seeds, **more):
    """`function(chain, note)` that begins to sample a chain in the background; `more` is for nutpie."""
    own: dict[str, Any] = {"adaptation": attempt.adaptation, "target_accept": attempt.target_accept, **more}
    if attempt.sampler == "mclmc":
        own = {"adaptation": attempt.adaptation, "sampler": "mclmc"}

    def begin(chain: int, note: Callable):
        # each chain has its own start, of a model compiled once
        started = replace(compiled, _make_initial_points=lambda seed: points[chain])
        return nutpie.sample(
            started,
            draws=draws,
            tune=attempt.tune,
            chains=1,
            cores=1,
            seed=seeds[chain],
            progress_bar=False,
            progress_callback=note,
            # else Ctrl-C would return what there is, as if it were complete
            blocking=False,
            **own,
        )

    return begin


def side_by_side(begin, study: Study, chains: int, number: int, files: ChainFiles, length: int, update):
    """The chains, as many at once as there are processors, and whether they were stopped."""
    loaded = ((chain, files.load(number, chain)) for chain in range(chains))
    done: dict[int, xr.DataTree] = {chain: tree for chain, tree in loaded if tree is not None}
    waiting = deque(chain for chain in range(chains) if chain not in done)
    running: dict[int, Any] = {}
    states: dict[int, Any] = {}
    cores = os.cpu_count() or 1

    def note(chain: int) -> Callable:
        return lambda found: states.update({chain: found[0]})

    try:
        while waiting or running:
            while waiting and len(running) < cores:
                chain = waiting.popleft()
                running[chain] = begin(chain, note(chain))
            for chain, sampler in list(running.items()):
                if (trace := finished_trace(sampler)) is not None:
                    del running[chain]
                    done[chain] = of_chain(trace, study, chain)
                    files.save(number, chain, done[chain])
            finished = sum(states[chain].finished_draws for chain in states if chain in running)
            divergences = sum(state.divergences for state in list(states.values()))
            update(finished + length * len(done), f"{divergences} divergences")
        return whole_draws([done[chain] for chain in range(chains)]), False
    except KeyboardInterrupt:
        for chain, sampler in running.items():
            trace = sampler.abort()
            if "sample_stats" in trace.children:
                done[chain] = of_chain(trace, study, chain)
        return whole_draws([done[chain] for chain in sorted(done)]), True
    except BaseException:
        for sampler in running.values():
            sampler.cancel()
        raise


def finished_trace(sampler) -> xr.DataTree | None:
    """The trace of a sampler in the background, or None where it is not done within `PAUSE`."""
    try:
        return sampler.wait(timeout=PAUSE)
    except TimeoutError:
        return None


def one_by_one(run_chain: Callable[[int], xr.DataTree], chains: int, number: int, files: ChainFiles):
    """The chains of a sampler that makes one at a time, and whether it was stopped."""
    done: list[xr.DataTree] = []
    try:
        for chain in range(chains):
            found = files.load(number, chain)
            if found is None:
                found = run_chain(chain)
                found = found.map_over_datasets(lambda dataset, chain=chain: dataset.assign_coords(chain=[chain]))
                files.save(number, chain, found)
            done.append(found)
    except KeyboardInterrupt:
        return whole_draws(done), True
    return whole_draws(done), False


def of_chain(trace: xr.DataTree, study: Study, chain: int) -> xr.DataTree:
    """What is kept of the trace of one chain, under its number."""
    kept = {"posterior": parameters(trace.children["posterior"], study)}
    for group in ("sample_stats", "warmup_sample_stats"):
        if group in trace.children:
            stats = trace[group].to_dataset()
            stats = stats.rename({name: own for name, own in OTHER_NAMES.items() if name in stats})
            names = (*(KEPT_STATS if group == "sample_stats" else ["diverging"]), "divergence_energy_error")
            kept[group] = stats[[name for name in names if name in stats]]
            # PyMC counts in real numbers
            kept[group] = kept[group].assign(
                {name: kept[group][name].astype(int) for name in COUNTS & set(kept[group])}
            )
    # the notes of the sampler are of one chain, and when it was made
    return xr.DataTree.from_dict({name: each.drop_attrs().assign_coords(chain=[chain]) for name, each in kept.items()})


def whole_draws(chains: Sequence[xr.DataTree]) -> xr.DataTree | None:
    """Chains in one tree, as far as all of them have come.

    Chains of a sampler that was stopped have come differently far. Kept are the n furthest, as far as the shortest of
    them, with the n for which most draws stay: chains that have hardly begun do not shorten the others.

    Returns:
        a tree in which nothing is missing; None where no chain has `LEAST_DRAWS` draws.
    """
    # a draw that has not been made has no parameters
    reached = np.array([_reached(chain["posterior"].to_dataset()) for chain in chains], int)
    if not len(reached):
        return None
    order = np.argsort(-reached, kind="stable")
    kept = int(np.argmax(reached[order] * np.arange(1, len(order) + 1))) + 1
    draws = int(reached[order[kept - 1]])
    if draws < LEAST_DRAWS:
        return None
    parts = [chains[k] for k in np.sort(order[:kept])]
    cut = {"posterior": slice(draws), "sample_stats": slice(draws), "warmup_sample_stats": slice(None)}
    return xr.DataTree.from_dict(
        {
            # warm-ups may have been stopped in different places
            name: xr.concat(
                [part[name].to_dataset().isel(draw=chosen) for part in parts],
                "chain",
                join="outer",
                fill_value={"diverging": False},
            )
            for name, chosen in cut.items()
            if all(name in part.children for part in parts)
        }
    )


def _reached(posterior: xr.Dataset) -> int:
    there = [posterior[name].notnull().all([d for d in posterior[name].dims if d != "draw"]) for name in posterior]
    return int(np.sum(np.all([each.values for each in there], axis=0)))
