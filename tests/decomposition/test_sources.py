"""The variance of single runs by parameters, new units and the noise of each reaction, in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import uqbench as uq
from forward_models import birth_death, toggle_switch
from uqbench import results
from uqbench.decomposition import source_indices
from uqbench.model import evaluate_by_source
from uqbench.reporting import sections

BIRTHS, DEATHS = "noise of birth", "noise of death"
# of the variance at t = 1 without differences of parameters: what births explain alone, and what is left for deaths
BIRTHS_ALONE = 0.5 * (1 - np.exp(-2.0)) / (1 - np.exp(-1.0))


def study(space, hours=1.0, species=None):
    model = uq.Model(space, birth_death.network.jumps(), species, {"X": ""})
    return uq.Study("cells", model, {"film": uq.Design([hours])})


FIXED = uq.Space(k=uq.fixed(10.0), g=uq.fixed(1.0))


def within(dataset, index, source, truth, errors):
    """Whether an index is within so many standard errors, of which an interval of 95 % is four long."""
    one = dataset.isel(quantity=0).sel(source=source)
    error = float(one[f"{index}_upper"] - one[f"{index}_lower"]) / 3.92
    return error, abs(float(one[index]) - truth) < errors * error


def test_birth_and_death_alone():
    found = source_indices(study(FIXED), n=4096, resamples=200)
    assert found.source.values.tolist() == [BIRTHS, DEATHS] and set(found.kind.values) == {"noise"}
    for index, source, truth in (("S1", BIRTHS, BIRTHS_ALONE), ("ST", DEATHS, 1 - BIRTHS_ALONE)):
        error, near = within(found, index, source, truth, 3)
        assert near and error < 0.02
    assert float(found.variance[0]) == pytest.approx(10 * (1 - np.exp(-1.0)), rel=0.06)


@pytest.mark.slow
def test_birth_and_death_alone_to_three_digits():
    found = source_indices(study(FIXED), n=2**17, resamples=50).isel(quantity=0)
    assert abs(float(found.S1.sel(source=BIRTHS)) - 0.6839) < 0.005
    assert abs(float(found.ST.sel(source=DEATHS)) - 0.3161) < 0.005


@pytest.mark.slow
def test_noise_stands_beside_parameters_and_cells():
    """The mean of a Poisson number is k m: Var = m^2 Var(k) + m E(k), with k of a cell around a common median."""
    space = uq.Space(
        k0=uq.epistemic(uq.LogNormal(median=10.0, sigma=0.3)),
        k=uq.aleatory(uq.LogNormal(median="k0", sigma=0.2)),
        g=uq.fixed(1.0),
    )
    tree = uq.decompose(study(space), n=1024, runs=512)
    found = tree["sources"].to_dataset()
    assert found.source.values.tolist() == ["k0", "k", BIRTHS, DEATHS]
    assert found.kind.values.tolist() == ["epistemic", "aleatory", "noise", "noise"]
    m = 1 - np.exp(-1.0)
    mean = 10 * np.exp((0.3**2 + 0.2**2) / 2)
    total = m**2 * mean**2 * np.expm1(0.3**2 + 0.2**2) + m * mean
    common = m**2 * mean**2 * np.expm1(0.3**2)
    for index, source, truth in (("S1", "k0", common / total), ("ST", DEATHS, m * mean * (1 - BIRTHS_ALONE) / total)):
        error, near = within(found, index, source, truth, 3.5)
        assert near and error < 0.06
    # the page has all of them in one table
    text = str(sections.sections(tree, "cells"))
    for part in (BIRTHS, DEATHS, "noise of a run", "differs between units"):
        assert part in text


def test_after_calibration_the_posterior_is_one_source():
    space = uq.Space(k=uq.epistemic(uq.LogNormal(median=10.0, sigma=0.3)), g=uq.fixed(1.0))
    cells = study(space)
    draws = np.random.default_rng(0).lognormal(np.log(10.0), 0.1, size=(2, 50))
    posterior = xr.Dataset({"k": (("chain", "draw"), draws)})
    tree = xr.DataTree.from_dict(results.start(cells).to_dict() | {"/posterior": posterior})
    found = source_indices(cells, tree, n=1024, resamples=100)
    assert found.source.values.tolist() == ["epistemic", BIRTHS, DEATHS]
    m = 1 - np.exp(-1.0)
    share = m**2 * draws.var() / (m**2 * draws.var() + m * draws.mean())
    _, near = within(found, "S1", "epistemic", share, 3)
    assert near


def test_all_that_is_random_may_be_the_reactions():
    tree = uq.decompose(study(FIXED), n=64, runs=512)
    assert "sobol" not in tree.children
    assert float(tree["variance"]["aleatory_share"][0]) > 0.95
    assert tree["sources"].source.values.tolist() == [BIRTHS, DEATHS]


def test_runs_that_share_all_numbers_are_the_same():
    model, numbers = toggle_switch.trajectory, np.arange(12).reshape(3, 4)
    numbers[2] = numbers[0]
    run = evaluate_by_source(model, model.space.nominal(), uq.Design([0.5, 1.0]), numbers, chunk=2)
    u = np.asarray(run.outputs["U"])
    assert u.shape == (3, 2) and np.array_equal(u[0], u[2]) and not np.array_equal(u[0], u[1])


def noisy(theta, design, key):
    return {"y": jnp.broadcast_to(theta["a"] + theta["b"] + 2.0 * jax.random.normal(key), design.times.shape)}


def test_noise_that_is_not_split_is_one_source():
    """A sum of three independent normal numbers, of which the noise has four parts of six of the variance."""
    space = uq.Space(a=uq.epistemic(uq.Normal(0.0, 1.0)), b=uq.aleatory(uq.Normal(0.0, 1.0)))
    model = uq.Model.from_function(space, noisy, {"y": ""}, stochastic=True)
    found = source_indices(uq.Study("sum", model, {"once": uq.Design([1.0])}), n=4096)
    assert found.source.values.tolist() == ["a", "b", "noise of a single run"]
    assert found.kind.values.tolist() == ["epistemic", "aleatory", "noise"]
    for index in ("S1", "ST"):
        low, high = found[f"{index}_lower"].values.ravel(), found[f"{index}_upper"].values.ravel()
        # intervals of 95 %: three standard errors are one and a half of them
        error = 1.5 * (high - low) / 2
        assert np.all(np.abs(found[index].values.ravel() - np.array([1, 1, 4]) / 6) < error)


def test_what_cannot_be_split_is_refused():
    model = uq.Model(FIXED, birth_death.network.ode(), units={"X": ""})
    means = uq.Study("cells", model, {"film": uq.Design([1.0])})
    with pytest.raises(uq.InputError, match=r"n is 2(.|\n)*is not random"):
        source_indices(means, n=2)
    with pytest.raises(uq.InputError, match="no randomness"):
        evaluate_by_source(model, {}, uq.Design([1.0]), np.zeros((2, 2)))
    clash = uq.Space({**FIXED, BIRTHS: uq.fixed(1.0)})
    with pytest.raises(uq.InputError, match="'noise of birth' is the name of a parameter"):
        source_indices(study(clash))
