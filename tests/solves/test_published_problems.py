"""Published problems with their published log-likelihoods, at default settings.

The data lie beside the project (`../shared/data/petab`, see the README there); libsbml is in the dependency group
bench. Nothing is said about methods, tolerances or switching times.
"""

import re
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp

import uqbench as uq
from uqbench.calibration import log_likelihood
from uqbench.identifiability import fisher_information
from uqbench.likelihoods import likelihood_of

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
# two to three seconds of compiling each
LARGE = {"Brannmark_JBC2010", "Lucarelli_CellSystems2018", "Zheng_PNAS2012"}
every_problem = pytest.mark.parametrize("name", PUBLISHED)


@cache
def problem(name: str, **settings):
    folder = FOLDER / name
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}")
    return petab.PetabProblem(folder, **settings)


def codes(study: uq.Study, theta) -> dict[str, str]:
    """Experiment -> why its run failed."""
    results = likelihood_of(study).results(study.model.space.complete(theta))
    return {
        name: uq.RESULTS[int(code)]
        for name, code in zip(study.experiments, np.asarray(results), strict=False)
        if int(code)
    }


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LARGE)) for n in PUBLISHED])
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


def by_radau(given):
    """`f(theta)`: the log-likelihood from solves by Radau at 1e-10, of a problem whose noise is normal."""
    model, study = given.model, given.study
    names = given.sbml.states

    @jax.jit
    def slope(t, y, theta, inputs):
        change = model.system.rhs(t, dict(zip(names, y, strict=True)), theta, inputs)
        return jnp.stack([change[name] for name in names])

    jacobian = jax.jit(jax.jacfwd(slope, argnums=1))

    @jax.jit
    def start(theta, inputs):
        state = model.system.initial(theta, inputs)
        return jnp.stack([state[name] for name in names])

    @jax.jit
    def observe(times, states, theta, inputs):
        rows = dict(zip(names, states, strict=True))
        return jax.vmap(lambda t, y: model.observe(y, theta, t, inputs))(times, rows)

    def function(theta):
        theta, total = model.space.complete(theta), 0.0
        for name, rows in study.data.groupby("experiment"):
            inputs, times = study.experiments[name].inputs, np.unique(rows["time"])
            first = np.asarray(start(theta, inputs))
            solution = solve_ivp(
                lambda t, y, inputs=inputs: np.asarray(slope(t, y, theta, inputs)),
                (0.0, times[-1]),
                first,
                "Radau",
                times,
                jac=lambda t, y, inputs=inputs: np.asarray(jacobian(t, y, theta, inputs)),
                rtol=1e-10,
                atol=1e-13 * np.abs(first).max(),
            )
            assert solution.success, solution.message
            outputs = observe(times, solution.y, theta, inputs)
            for output, of in rows.groupby("output"):
                at = np.searchsorted(times, of["time"])
                known = {**theta, **{key: np.asarray(value)[at] for key, value in outputs.items()}}
                total += float(jnp.sum(model.noise[output].logpdf(of["value"].to_numpy(), known)))
        return total

    return function


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Boehm_JProteomeRes2014", "Sneyd_PNAS2002"])
def test_the_log_likelihood_is_right_all_over_the_prior(name):
    """Draws from between the bounds, eight and more decades wide in each parameter: as a sampler would travel."""
    given = problem(name)
    function, exactly = jax.jit(log_likelihood(given.study)), by_radau(given)
    np.testing.assert_allclose(exactly(given.nominal), PUBLISHED[name][0], rtol=1e-6)
    draws, wrong, refused = given.space.sample(jax.random.key(0), (20,)), [], 0
    for index in range(20):
        theta = {name: float(draws[name][index]) for name in given.nominal}
        found, exact = float(function(theta)), exactly(theta)
        refused += found == -np.inf
        if np.isnan(found) or (np.isfinite(found) and abs(found - exact) > 1e-5 * (1 + abs(exact))):
            wrong.append((found, exact, theta))
    assert not wrong
    assert refused == 0


@pytest.mark.slow
def test_the_fisher_information_of_crauste_determines_all_twelve_parameters():
    """Eigenvalues from 4e11 to 9e-13; the reference is the inverse of the scaled matrix of a very tight solve."""
    given = problem("Crauste_CellSystems2017")
    found = fisher_information(given.study, given.nominal)
    tight = problem("Crauste_CellSystems2017", rtol=1e-12, max_steps=1_000_000)
    matrix = fisher_information(tight.study, tight.nominal).matrix.values
    size = np.sqrt(np.diag(matrix))
    expected = np.sqrt(np.diag(np.linalg.inv(matrix / np.outer(size, size)))) / size
    assert found.attrs["rank"] == 12
    np.testing.assert_allclose(found.cramer_rao, expected, rtol=2e-2)
    assert sorted(found.parameter.values[found.cramer_rao < 1.0]) == ["delta_EL", "delta_LM", "mu_LL", "mu_N"]


@pytest.mark.slow
def test_the_least_eigenvalue_of_boehm_is_that_of_a_tight_solve():
    """At the tolerance at which differences in place of derivatives were wrong by a factor of ten."""
    rough = problem("Boehm_JProteomeRes2014", rtol=1e-6)
    tight = problem("Boehm_JProteomeRes2014", rtol=1e-12, max_steps=1_000_000)
    found, exact = (fisher_information(given.study, given.nominal) for given in (rough, tight))
    assert found.attrs["rank"] == exact.attrs["rank"] == 9
    np.testing.assert_allclose(found.eigenvalue, exact.eigenvalue, rtol=1e-2)
    # open on one side each in the publication
    assert found.kind.values.tolist() == ["determined"] * 7 + ["sloppy"] * 2
    assert [name.removeprefix("about ") for name in found.combination.values[7:]] == ["k_exp_hetero", "k_imp_homo"]


@pytest.mark.parametrize(
    "name, lost",
    [
        ("Crauste_CellSystems2017", {"mu_LE", "mu_P", "mu_PE"}),
        pytest.param(
            "Fujita_SciSignal2010",
            {"reaction_2_k1", "reaction_2_k2", "reaction_6_k1", "scaling_pS6_tot"},
            marks=pytest.mark.slow,
        ),
        ("Sneyd_PNAS2002", {"k2", "k4", "k_4", "l6", "l_6"}),
    ],
)
def test_every_direction_that_is_not_determined_has_a_name(name, lost):
    given = problem(name)
    found = fisher_information(given.study, given.nominal)
    kinds = found.kind.values
    assert "open" not in kinds and (kinds == "flat").sum() == len(given.nominal) - found.attrs["rank"]
    weak = found.combination.values[kinds != "determined"]
    named = {part for text in weak for part in re.findall(r"[A-Za-z]\w*", text)}
    # one of the few that the measurements say least of
    assert np.all(found.cramer_rao.sel(parameter=sorted(lost)) > 10 * found.prior_sd.sel(parameter=sorted(lost)))
    assert lost <= named
