"""Published problems with their published log-likelihoods, at default settings.

The data lie beside the project (`../shared/data/petab`, see the README there); libsbml is in the dependency group
bench. Nothing is said about methods, tolerances or switching times.
"""

from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import uqbench as uq
from uqbench.calibration import log_likelihood
from uqbench.observation import observations, run_all

pytest.importorskip("libsbml", reason="python-libsbml is in the dependency group bench")
petab = pytest.importorskip("tests.solves.petab_problems")

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "petab"
# Log-likelihood at the nominal values, and how many digits of it are known: those of Crauste are of a tight solve, what
# was published is good to 1e-3.
PUBLISHED = {
    "Boehm_JProteomeRes2014": (-138.22199693517703, 1e-6),
    "Brannmark_JBC2010": (-141.88911, 1e-5),
    "Crauste_CellSystems2017": (-190.96398, 1e-5),
    "Fujita_SciSignal2010": (53.08378, 1e-5),
    "Lucarelli_CellSystems2018": (-1681.60599, 1e-5),
    "Sneyd_PNAS2002": (319.79178, 1e-5),
    "Zheng_PNAS2012": (278.33353, 1e-5),
}
every_problem = pytest.mark.parametrize("name", PUBLISHED)


@cache
def problem(name: str, **settings):
    folder = FOLDER / name
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}")
    return petab.PetabProblem(folder, **settings)


def codes(study: uq.Study, theta) -> dict[str, str]:
    """Experiment -> why its run failed."""
    runs = run_all(study, observations(study), study.model.space.complete(theta))
    return {
        name: uq.RESULTS[int(code)]
        for name, code in zip(study.experiments, np.asarray(runs.result), strict=False)
        if int(code)
    }


@every_problem
def test_the_log_likelihood_is_the_published_one(name):
    given = problem(name)
    found = float(log_likelihood(given.study)(given.nominal)) + given.offset
    exact, digits = PUBLISHED[name]
    assert np.isfinite(found), codes(given.study, given.nominal)
    # the published figures are rounded to five decimals
    assert abs(found - exact) <= digits + 1e-6 * abs(exact)


def test_the_log_likelihood_of_raia_is_that_of_the_published_simulation():
    """Of this one no figure is given; its tables contain the simulated values, to about six digits."""
    given = problem("Raia_CancerResearch2011")
    (path,) = (FOLDER / given.name).glob("simulatedData_*.tsv")
    simulated = pd.read_csv(path, sep="\t")
    simulated = {
        (row.observableId.removeprefix("observable_"), row.simulationCondition, row.time): row.simulation
        for row in simulated.itertuples()
    }
    exact = 0.0
    for row in given.rows.itertuples():
        absolute, relative = (given.nominal[name] for name in row.noiseParameters.split(";"))
        key = (row.observableId.removeprefix("observable_"), row.simulationConditionId, row.time)
        spread = absolute + relative * simulated[key]
        exact += -0.5 * ((row.measurement - simulated[key]) / spread) ** 2 - np.log(spread * np.sqrt(2 * np.pi))
    found = float(log_likelihood(given.study)(given.nominal))
    assert np.isfinite(found), codes(given.study, given.nominal)
    assert abs(found - exact) < 1e-2


@pytest.mark.parametrize("name", ["Boehm_JProteomeRes2014", "Fujita_SciSignal2010"])
def test_the_gradient_of_the_log_likelihood_is_that_of_differences(name):
    """By the logarithms of the parameters, a step away from the optimum; differences of solves at 1e-10."""
    given, tight = problem(name), problem(name, rtol=1e-10, max_steps=100_000)
    names = tuple(given.nominal)
    rng = np.random.default_rng(0)
    at = np.log([*given.nominal.values()]) + 0.1 * rng.normal(size=len(names))

    def of(study):
        function = log_likelihood(study)
        return jax.jit(lambda logarithms: function(dict(zip(names, jnp.exp(logarithms), strict=True))))

    gradient = np.asarray(jax.grad(of(given.study))(jnp.asarray(at)))
    value, differences = of(tight.study), []
    for index in range(len(names)):

        def along(step, index=index):
            moved = at + step * (np.arange(len(at)) == index)
            return float(value(jnp.asarray(moved)))

        far, near = ((along(step) - along(-step)) / (2 * step) for step in (2e-3, 1e-3))
        differences.append((4 * near - far) / 3)
    assert np.all(np.isfinite(gradient))
    assert np.max(np.abs(gradient - differences)) < 1e-4 * np.max(np.abs(differences))


@pytest.mark.parametrize("name", ["Boehm_JProteomeRes2014", "Sneyd_PNAS2002", "Crauste_CellSystems2017"])
def test_solves_over_the_whole_prior_end_with_a_value_or_a_code(name):
    """Draws from between the bounds: no draw may be NaN, and few may be refused."""
    given = problem(name)
    function = jax.jit(log_likelihood(given.study))
    draws = given.space.sample(jax.random.key(0), (50,))
    values = np.array([float(function({name: draws[name][k] for name in given.nominal})) for k in range(50)])
    assert not np.any(np.isnan(values))
    assert np.mean(np.isneginf(values)) <= 0.02
