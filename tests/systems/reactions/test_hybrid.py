"""The hybrid view, its density, the partition that is proposed and the error that it makes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import beta

import uqbench as uq
from uqbench.jump_processes.liouville import Process, cell_probabilities
from uqbench.systems.reactions import hybrid_density, hybrid_error, propose_partition

from . import networks

THETA = {"kon": 0.5, "koff": 1.0, "r": 20.0, "d": 1.0}
MODEL = uq.Model(networks.PROMOTER, networks.telegraph.hybrid(["G"]), units={"M": "", "G": ""})


@pytest.mark.slow
def test_the_view_is_a_well_formed_model():
    checked = uq.check_model(MODEL)
    assert checked.gradient == "none" and checked.failed == 0


@pytest.mark.slow
def test_a_run_is_the_same_in_any_batch():
    keys = jax.random.split(jax.random.key(3), 5)
    thetas = {name: jnp.full(5, value) for name, value in THETA.items()}
    design = uq.Design([0.5, 4.0])
    many = uq.evaluate_many(MODEL, thetas, design, keys)
    one = uq.evaluate(MODEL, THETA, design, keys[3])
    assert set(np.asarray(many.result)) == {0} and set(np.unique(many.outputs["G"])) <= {0.0, 1.0}
    for name in MODEL.outputs:
        np.testing.assert_allclose(one.outputs[name], many.outputs[name][3], rtol=1e-9)
    assert len(np.unique(many.outputs["M"][:, 1])) == 5


@pytest.mark.parametrize(
    "discrete, words",
    [
        (["GG"], "did you mean 'G'"),
        ([], "no species is discrete"),
        (["G", "M"], "all species are discrete"),
        ("Q", "'Q' is no species"),
    ],
)
def test_species_that_cannot_be_taken_apart_are_refused(discrete, words):
    with pytest.raises(uq.InputError) as raised:
        networks.telegraph.hybrid(discrete, rtol=2.0, max_events=0, max_steps=1.5)
    assert words in str(raised.value) and len(raised.value.findings) == 4


def test_only_discrete_species_start_at_whole_numbers():
    """Before a run, and by a code where it is run all the same."""

    def started(discrete):
        network = uq.Reactions(
            {"G": "g0", "M": "m0"}, networks.telegraph.stoichiometry, networks.telegraph.propensities
        )
        space = uq.Space({**networks.PROMOTER, "g0": uq.fixed(1.0), "m0": uq.fixed(2.5)})
        model = uq.Model(space, network.hybrid(discrete), units={"M": ""})
        run = uq.evaluate(model, space.nominal(), uq.Design([1.0]), jax.random.key(0))
        return model.dynamics.start_findings(model, uq.Design([1.0])), model.dynamics.sentence(int(run.result))

    assert started(["G"]) == ([], "successful")
    (finding,), sentence = started(["M"])
    assert "'M' starts at 2.5" in finding and "is no count" in sentence


def test_the_density_at_rest_is_that_of_the_closed_form():
    found = hybrid_density(networks.telegraph.hybrid("G"), THETA, uq.Design([1.0, np.inf]), cells=200)
    probability = found.density * found.width
    np.testing.assert_allclose(probability.sum(("state", "x")), 1.0, rtol=1e-10)
    # the promoter alone is a chain of two states
    on = probability.sum("x").sel(state=int(np.argmax(found.G.values)))
    np.testing.assert_allclose(on, np.array([1 - np.exp(-1.5), 1.0]) / 3, rtol=1e-3)
    rest = probability.sum("state")[1]
    exact = beta(0.5, 1.0).cdf(np.minimum((found.x + 0.5 * found.width) / 20.0, 1.0))
    assert np.max(np.abs(np.cumsum(rest) - exact)) < float(found.error[1]) < 2e-3
    mean = float((rest * found.x).sum())
    assert mean == pytest.approx(20 / 3, rel=1e-3)
    assert float((rest * (found.x - mean) ** 2).sum()) == pytest.approx(320 / 9, rel=2e-3)


def test_simulation_has_the_density_that_is_computed():
    n = 2000
    run = uq.evaluate_many(
        MODEL, {name: jnp.full(n, value) for name, value in THETA.items()}, uq.Design([1.5]), jax.random.split(
            jax.random.key(5), n)
    )  # fmt: skip
    found = hybrid_density(networks.telegraph.hybrid("G"), THETA, uq.Design([1.5]), cells=200)
    distribution = np.cumsum(found.density.sum("state")[0] * found.width)
    empirical = np.mean(np.asarray(run.outputs["M"]) <= (found.x + 0.5 * found.width).values, axis=0)
    # Kolmogorov's bound at p = 1e-3, which an atom only makes safer
    assert np.max(np.abs(empirical - distribution.values)) < 1.95 / np.sqrt(n) + float(found.error[0])


def test_finite_volumes_are_of_second_order():
    """A smooth density that is carried along by a flow towards 1, dx/dt = 1 - x."""

    def error(cells):
        faces = np.linspace(0.0, 1.0, cells + 1)
        time = 0.4

        def distribution(x):
            x = np.clip(x, 0.0, 1.0)
            return x**4 * (35 - 84 * x + 70 * x**2 - 20 * x**3)

        start = np.diff(distribution(2 * faces))[None]
        process = Process(jnp.asarray(1.0 - faces)[None], jnp.zeros((1, 1, cells)), 1.0 / cells)
        found = np.asarray(cell_probabilities(process, jnp.asarray(start), jnp.asarray([time])))[0, 0]
        exact = np.diff(distribution(2 * (1 - (1 - faces) * np.exp(time))))
        return np.sum(np.abs(found - exact))

    errors = [error(cells) for cells in (100, 200, 400)]
    assert np.log2(errors[0] / errors[1]) > 1.8 and np.log2(errors[1] / errors[2]) > 1.9


def test_densities_that_are_not_offered():
    def binding(y, p, inputs):
        return {"bind": y["P"] * (1 - y["G"]), "part": y["G"], "make": 5.0, "lose": y["P"], "grow": 1.0 * p["k"]}

    rows = {"bind": {"G": 1, "P": -1}, "part": {"G": -1, "P": 1}, "make": {"P": 1}, "lose": {"P": -1}, "grow": {"S": 1}}
    view = uq.Reactions(["G", "P", "S"], rows, binding).hybrid(["G"])
    with pytest.raises(uq.InputError) as raised:
        hybrid_density(view, {"k": 1.0}, uq.Design([1.0]), cells=33)
    assert len(raised.value.findings) == 3
    with pytest.raises(uq.InputError, match="grows beyond upper"):
        hybrid_density(networks.telegraph.hybrid("G"), THETA, uq.Design([1.0]), upper=10.0)
    with pytest.raises(uq.InputError, match="more than 32 states"):
        hybrid_density(networks.two_stage.hybrid("M"), networks.STAGES.nominal(), uq.Design([1.0]))


@pytest.mark.slow
def test_species_of_many_molecules_are_proposed_to_flow():
    design = uq.Design([20.0])
    assert propose_partition(networks.telegraph, THETA, design).continuous == ()
    many = propose_partition(networks.telegraph, {**THETA, "r": 3000.0}, design)
    assert many.discrete == ("G",) and many.continuous == ("M",) and 100 < many.counts["M"] < 1000
    with pytest.raises(uq.InputError, match="least is -1"):
        propose_partition(networks.telegraph, THETA, design, least=-1)


@pytest.mark.slow
def test_the_error_is_the_poisson_part_of_the_variance():
    """42.2222 of all molecules, 35.5556 of the promoter alone: the difference is the mean."""
    found = hybrid_error(networks.telegraph, ["G"], THETA, uq.Design([25.0]), trajectories=4000).isel(time=0)
    mrna = found.sel(species="M")
    assert not found.failed.any()
    assert abs(float(mrna.variance_error) + 20 / 3) < 3 * float(mrna.variance_error_se) < 5.0
    assert abs(float(mrna.mean_error)) < 3 * float(mrna.mean_error_se)
    assert abs(float(mrna.variance.sel(process="hybrid")) - 320 / 9) < 3 * float(mrna.variance_se.sel(process="hybrid"))
    assert abs(float(mrna["mean"].sel(process="exact")) - 20 / 3) < 3 * float(mrna.mean_se.sel(process="exact"))
    with pytest.raises(uq.InputError) as raised:
        hybrid_error(networks.telegraph, ["G"], THETA, uq.Design([1.0]), trajectories=3, seed=-1)
    assert len(raised.value.findings) == 2
