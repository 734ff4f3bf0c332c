"""Posteriors of many tables of one study: compiled once, sampled side by side.

Each is sampled as `calibrate` would sample it: from the same kind of starts, by the rule of `attempts`, which repeats a
run with care or by tempering where the draws ask for it. Draws that a calibration would keep, and say how little they
are worth, may not do here. They are made once more, `LONGER` and with the care of that rule: a table that is left out
is one less, and tables that are hard to sample are not any ones.

Only the values of the data differ, and they are arguments of what is compiled. Chains are the tasks, as many at once as
there are processors, so that no processor waits for the end of a table.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import xarray as xr

from ..errors import InputError
from ..likelihoods import Likelihood
from .attempts import CAREFUL, Attempt, Settings, first_attempt, next_attempt, quality
from .chains import beginner, finished_trace, of_chain, whole_draws
from .convergence import convergence
from .gradients import compiled_model
from .pilot import medians, piloted
from .population import Population
from .prepared import Prepared
from .pymc_model import data_of, of_expansions, pymc_model
from .starts import NoStart, few_optima, starting_points
from .tempered import tempered_chain

# By which optima of a table are looked for: a quarter of those of a calibration, whose cost is that of a half of the
# draws of a cheap table. A mode that they miss is seen in the ranks.
ASCENTS = 4
# How many times the draws of a table are when they are made once more.
LONGER = 2
# output -> values in the places of the data, `(rows,)`
Values = Mapping[str, np.ndarray]


class Sampled(NamedTuple):
    """Draws from the posterior of one table, and whether they can be trusted, as `convergence` says."""

    posterior: xr.Dataset
    convergence: xr.Dataset


@dataclass
class _Table:
    """One that is being sampled.

    Args:
        draws: of each chain.
        tried: attempts before this one.
        begin: `function(chain, note)` that begins a chain in the background.
        done: finished chains of this attempt.
        best: the best draws of the attempts before it, with their `quality`.
        population: its optima, where it is one of a population.
    """

    number: int
    values: Values
    attempt: Attempt
    draws: int
    tried: list = field(default_factory=list)
    begin: Callable | None = None
    done: dict[int, xr.DataTree] = field(default_factory=dict)
    best: tuple[tuple, Sampled] | None = None
    population: Population | None = None


def posteriors(
    likelihood: Likelihood,
    tables: Mapping[int, Values],
    settings: Settings,
    enough: Callable[[xr.Dataset], bool] = lambda convergence: True,
) -> Iterator[tuple[int, Sampled | None]]:
    """The posterior of each table, in the order in which they are done; None where chains find no density to start.

    Args:
        likelihood: of the study; what it needs, a gradient or none, the rule of sampling decides.
        tables: number -> values in the places of the data; draws depend on the number and nothing before it.
        settings: of each table; the seed is that of all.
        enough: whether draws will do, from their /convergence.
    """
    attempt = first_attempt(likelihood, settings)
    if attempt.sampler == "smc":
        for number, values in tables.items():
            yield number, _tempered(likelihood, settings, _Table(number, values, attempt, settings.draws))
        return
    if not tables:
        return
    begun = _beginner(likelihood, settings)
    coming, cores = iter(tables.items()), os.cpu_count() or 1
    waiting: deque[tuple[_Table, int]] = deque()
    running: list[tuple[_Table, int, Any]] = []
    try:
        while True:
            while len(waiting) + len(running) < cores and (following := next(coming, None)) is not None:
                number, values = following
                table = _Table(number, values, attempt, settings.draws)
                if begun(table):
                    waiting.extend((table, chain) for chain in range(settings.chains))
                else:
                    yield number, None
            while waiting and len(running) < cores:
                table, chain = waiting.popleft()
                # ready since it waits
                assert table.begin is not None
                running.append((table, chain, table.begin(chain, _ignored)))
            if not running:
                return
            for table in _done(running, likelihood, settings):
                found, again = _judged(likelihood, settings, table, enough)
                if again is None:
                    yield table.number, found
                elif again.attempt.sampler == "smc":
                    yield table.number, _tempered(likelihood, settings, again)
                elif begun(again):
                    waiting.extendleft((again, chain) for chain in range(settings.chains))
                else:
                    yield table.number, None
    finally:
        for _, _, sampler in running:
            sampler.cancel()


def _beginner(likelihood: Likelihood, settings: Settings) -> Callable[[_Table], bool]:
    """`function(table)` that makes its chains ready to begin; false where there is no density to start from."""
    # a plan without data has none to begin with
    blank = {output: np.ones(len(rows.run)) for output, rows in likelihood.observations.rows.items()}
    model, several = pymc_model(likelihood, data_of(likelihood, blank)), not likelihood.study.model.space.aleatory
    compiled = compiled_model(model)

    def begun(table: _Table) -> bool:
        seeds = _seeds(settings, table.number, len(table.tried))
        data = data_of(likelihood, table.values)
        own = compiled.with_data(**{name: jnp.asarray(each) for name, each in data.items()})
        if table.population is None:
            table.population = Population.of(likelihood, (), seeds[0], ASCENTS, table.values)
        population = table.population
        ready = Prepared(model, own, data, population=population)
        try:
            if table.best is not None and of_expansions(likelihood):
                ready = ready.expanded_at(likelihood, medians(likelihood, table.best[1].posterior), table.values)
            elif population is not None:
                ready = ready.expanded_at(likelihood, population.values_at(population.optima[0]), table.values)
            else:
                ready = piloted(likelihood, ready, [settings.seed, table.number], 1, table.values)
            if several:
                optima = few_optima(model, ready.slope, seeds[0], ASCENTS)
                starts = starting_points(model, lambda point: ready.slope(point)[0], optima, seeds)
            else:
                starts = ready.starts(likelihood, seeds)
        except NoStart:
            return False
        table.begin = beginner(ready.compiled, table.attempt, table.draws, starts, seeds)
        return True

    return begun


def _done(running: list[tuple[_Table, int, Any]], likelihood: Likelihood, settings: Settings) -> list[_Table]:
    """Takes the chains that have ended from those that run; tables all of whose chains have."""
    found = []
    for each in list(running):
        table, chain, sampler = each
        if (trace := finished_trace(sampler)) is not None:
            running.remove(each)
            table.done[chain] = of_chain(trace, likelihood.study, chain)
            if len(table.done) == settings.chains:
                found.append(table)
    return found


def _judged(
    likelihood: Likelihood, settings: Settings, table: _Table, enough: Callable[[xr.Dataset], bool]
) -> tuple[Sampled, _Table | None]:
    """The best draws of a table so far, and how they are to be made again, if they are."""
    chains = whole_draws([table.done[chain] for chain in range(settings.chains)])
    # all chains are whole
    assert chains is not None
    posterior, found = chains["posterior"].to_dataset(), convergence(likelihood.study, chains)
    tried = [*table.tried, table.attempt]
    following = next_attempt(likelihood.study, table.attempt, chains, found, settings.tune, tried)
    draws = table.draws
    if following is None and draws == settings.draws and not enough(found):
        accept = max(table.attempt.target_accept, CAREFUL)
        following = replace(table.attempt, target_accept=accept, tune=2 * settings.tune)
        draws = LONGER * draws
    this = quality(chains, found), Sampled(posterior, found)
    best = this if table.best is None or this[0] > table.best[0] else table.best
    if following is None:
        return best[1], None
    return best[1], replace(table, attempt=following, draws=draws, done={}, tried=tried, best=best)


def _tempered(likelihood: Likelihood, settings: Settings, table: _Table) -> Sampled | None:
    """The posterior of one table by tempering; what was there before, if anything, where no particle has a density."""
    done = {}
    try:
        for chain, seed in enumerate(_seeds(settings, table.number, len(table.tried))):
            found = tempered_chain(
                likelihood, table.draws, seed, particles=table.attempt.particles, values=table.values
            )
            done[chain] = found.map_over_datasets(lambda dataset, chain=chain: dataset.assign_coords(chain=[chain]))
    except InputError:
        return table.best[1] if table.best else None
    # by the rule, with more particles where these are worth little
    sampled, again = _judged(likelihood, settings, replace(table, done=done), lambda convergence: True)
    return sampled if again is None else _tempered(likelihood, settings, again)


def _seeds(settings: Settings, table: int, attempt: int) -> list[int]:
    return [
        int(np.random.SeedSequence([settings.seed, table, attempt, chain]).generate_state(1)[0])
        for chain in range(settings.chains)
    ]


def _ignored(found) -> None:
    """Progress is counted in tables."""
