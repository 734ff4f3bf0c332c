"""How often 95 % profile intervals hold the truth, on simulated tables of a plain study and of a population."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from studies.theophylline import study as population
from studies.two_scale_cascade import study as cascade
from studies.two_scale_cascade import truth
from uqbench.identifiability.profiles import profile_likelihood
from uqbench.likelihoods import simulate_data, with_units
from uqbench.optimization import find_map


def covered(study, truth, tables):
    """Parameter -> share of tables whose interval holds the true value; an open side holds all that is there."""
    space, inside = study.model.space, {name: [] for name in study.model.space.epistemic}
    for seed in range(tables):
        latents = np.random.default_rng(seed).standard_normal((len(study.units), len(space.aleatory)))
        theta = with_units(space, truth, latents) if space.aleatory else truth
        table = simulate_data(study, theta, jax.random.key(seed))
        # no side is to be stopped by the clock of a busy machine
        found = profile_likelihood(replace(study, data=table), truth, budget=3600.0)
        for name in inside:
            one = found.sel(parameter=name)
            assert not {"unsolved", "unresolved", "stopped", "better fit"} & {
                str(one.verdict_lower.values), str(one.verdict_upper.values)
            }  # fmt: skip
            inside[name].append(not one.lower > truth[name] and not one.upper < truth[name])
    return {name: float(np.mean(each)) for name, each in inside.items()}


@pytest.mark.slow
@pytest.mark.parametrize("tables", [60, 400])
def test_intervals_of_the_cascade_hold_the_truth(tables):
    found = covered(cascade, truth, tables)
    error = np.sqrt(0.95 * 0.05 / tables)
    assert all(abs(share - 0.95) < 4 * error for share in found.values()), found


@pytest.mark.slow
def test_intervals_of_a_population_hold_the_truth():
    """Of twelve subjects' spreads asymptotic intervals are a little short, as maximum likelihood is."""
    fit = find_map(population, starts=4, prior=False)
    tables, best = 40, dict(zip(fit.parameter.values.tolist(), fit.value.values.tolist(), strict=True))
    found = covered(population, best, tables)
    print(found)
    assert all(share > 0.92 - 4 * np.sqrt(0.92 * 0.08 / tables) for share in found.values()), found
