"""What is left of a network in a large volume, and of a gene whose promoter alone is random."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import uqbench as uq
from forward_models import hybrid_gene, thermodynamic_limit
from uqbench.systems.reactions import hybrid_density

TIME, K, X0 = 1.0, 0.5, 2.0
VOLUMES = np.array([16.0, 32.0, 64.0, 128.0])


def mass_action(time):
    return X0 / (1 + 2 * K * X0 * time)


def law(volume):
    """Concentrations and their probabilities, from the master equation: pairs go one by one."""
    left = np.arange(int(volume * X0), -1, -2)
    rate = K / volume * left * (left - 1)
    return left / volume, expm(TIME * (np.diag(rate[:-1], -1) - np.diag(rate)))[:, 0]


def paths(volume, n):
    theta = {name: jnp.full(n, value) for name, value in {"k": K, "V": volume, "x0": X0}.items()}
    keys = jax.random.split(jax.random.key(int(volume)), n)
    run = uq.evaluate_many(thermodynamic_limit.trajectory, theta, uq.Design([TIME]), keys)
    assert not np.any(run.result)
    return np.asarray(run.outputs["A"])[:, 0]


def slope(values):
    return np.polyfit(np.log(VOLUMES), np.log(values), 1)[0]


def test_mass_action_is_the_closed_form():
    run = uq.evaluate(thermodynamic_limit.model, {"k": K, "V": 7.0, "x0": X0}, uq.Design([0.3, TIME]))
    np.testing.assert_allclose(run.outputs["A"], mass_action(np.array([0.3, TIME])), rtol=1e-5)


def test_paths_approach_mass_action_as_the_root_of_the_volume():
    n = 2000
    found = [paths(volume, n) for volume in VOLUMES]
    assert slope([np.sqrt(np.mean((x - mass_action(TIME)) ** 2)) for x in found]) == pytest.approx(-0.5, abs=0.05)
    for volume, x in zip(VOLUMES, found, strict=True):
        values, probability = law(volume)
        assert abs(x.mean() - values @ probability) < 3.5 * x.std() / np.sqrt(n)


def test_the_mean_approaches_mass_action_as_the_volume():
    bias = [abs(values @ probability - mass_action(TIME)) for values, probability in map(law, VOLUMES)]
    assert slope(bias) == pytest.approx(-1.0, abs=0.1)


@pytest.mark.slow
def test_mrna_that_switches_its_promoter_off():
    """Against finite volumes, at rest and on the way there."""
    theta, n = {"k_on": 0.5, "k_off": 1.0, "r": 20.0, "d": 1.0, "feedback": 0.2}, 3000
    times = [1.0, 20.0]
    thetas = {name: jnp.full(n, value) for name, value in theta.items()}
    run = uq.evaluate_many(hybrid_gene.model, thetas, uq.Design(times), jax.random.split(jax.random.key(1), n))
    found = hybrid_density(hybrid_gene.network.hybrid(["G"]), theta, uq.Design([1.0, np.inf]), cells=300)
    probability, edges = found.density.sum("state") * found.width, found.x + 0.5 * found.width
    for place in range(2):
        m = np.asarray(run.outputs["mRNA"])[:, place]
        empirical = np.mean(m[:, None] <= edges.values, axis=0)
        bound = 1.95 / np.sqrt(n) + float(found.error[place])
        assert np.max(np.abs(empirical - np.cumsum(probability[place].values))) < bound
    # without feedback it would be 20 / 3
    assert float((probability[1] * found.x).sum()) < 4.0
