"""Linear noise against the jump process that it approximates: a particle filter, and fits to data simulated exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize
from scipy.special import logsumexp

import uqbench as uq
from uqbench.jump_processes.exact import simulate
from uqbench.jump_processes.streams import trajectory_streams
from uqbench.likelihoods import likelihood_of, log_likelihood

from . import cells

TIMES = np.array([0.3, 0.7, 1.5, 2.0, 3.0])


def particle_log_likelihood(rates, changes, times, values, sigma: float, particles: int, seed: int) -> float:
    """The bootstrap filter (Gordon, Salmond & Smith 1993, doi:10.1049/ip-f-2.1993.0015) of counts of one species that
    starts from none: an estimate whose exponential is unbiased."""
    rng, state, total, before = np.random.default_rng(seed), np.zeros((particles, 1)), 0.0, 0.0
    for number, (time, value) in enumerate(zip(times, values, strict=True)):
        streams = trajectory_streams(jax.random.key_data(jax.random.key(100 * seed + number)), particles)
        paths = simulate(rates, changes, state, np.array([time - before]), streams, max_events=100_000)
        assert not np.any(paths.code)
        state, before = np.asarray(paths.counts)[:, 0], time
        weights = stats.norm(state[:, 0], sigma).logpdf(value)
        total += logsumexp(weights) - np.log(particles)
        share = np.exp(weights - logsumexp(weights))
        # systematic resampling
        places = np.searchsorted(np.cumsum(share), (np.arange(particles) + rng.uniform()) / particles)
        state = state[np.minimum(places, particles - 1)]
    return total


@pytest.mark.slow
def test_a_particle_filter_gives_the_density_of_many_molecules():
    k, g, sigma = 1000.0, 1.0, 20.0
    data = cells.table("x", TIMES, [250.0, 530.0, 745.0, 870.0, 985.0])
    found = [
        float(log_likelihood(cells.study_of(cells.turnover, data, restart=restart))({"k": k, "g": g, "sigma": sigma}))
        for restart in (True, False)
    ]

    def rates(t, y):
        return k, g * y[0]

    estimates = [
        particle_log_likelihood(rates, [[1], [-1]], TIMES, data["value"], sigma, particles=1000, seed=seed)
        for seed in range(4)
    ]
    error = np.std(estimates, ddof=1) / np.sqrt(len(estimates))
    print(f"Kalman, restarted and not, {found}; particles {np.mean(estimates):.4f} +- {error:.4f}")
    assert error < 0.05
    assert np.all(abs(np.mean(estimates) - np.array(found)) < 4 * error)


def predation(y, p, inputs):
    return {
        "birth": p["a"] * y["X"],
        "eat": p["b"] / p["V"] * y["X"] * y["Y"],
        "die": p["d"] * y["Y"],
    }


def counts(y, p):
    return {"X": y["X"], "Y": y["Y"]}


PREY = uq.Reactions({"X": "X0", "Y": "Y0"}, {"birth": {"X": 1}, "eat": {"X": -1, "Y": 1}, "die": {"Y": -1}}, predation)
OUTPUTS, ERROR, TABLES = ("X", "Y"), 4.0, 10
SAMPLED = np.linspace(1.0, 40.0, 40)


def fits(size: float, restart: bool) -> tuple[np.ndarray, float]:
    """Errors of the logarithms of the most likely rates from data of single paths, and the mean log-likelihood there.

    A path keeps its amplitude and its phase only by chance: it leaves that of the rate equations.
    """
    rates = cells.space(a=0.5, b=0.0025, d=0.3)
    fixed = {"V": size, "X0": round(71 * size), "Y0": round(79 * size), "sigma": ERROR}
    space = uq.Space({**rates, **{name: uq.fixed(float(value)) for name, value in fixed.items()}})
    units = dict.fromkeys(OUTPUTS, "")
    names, truth = space.free, space.nominal()
    keys = jax.random.split(jax.random.key(0), TABLES)
    jumps = uq.Model(space, PREY.jumps(), counts, units)
    paths = uq.evaluate_many(jumps, {name: jnp.full(TABLES, truth[name]) for name in names}, uq.Design(SAMPLED), keys)
    noise = {output: uq.Normal(output, "sigma") for output in OUTPUTS}
    model = uq.Model(space, PREY.linear_noise(), counts, units, noise)
    likelihood = likelihood_of(cells.planned(model, OUTPUTS, SAMPLED, 1, restart=restart))

    @jax.jit
    @jax.value_and_grad
    def misfit(x, values):
        theta = {name: truth[name] * jnp.exp(each) for name, each in zip(names, x, strict=True)}
        return -likelihood.log_density(space.complete(theta), values=values)

    rng, errors, densities = np.random.default_rng(0), [], []
    for table in range(TABLES):
        values = {
            output: np.asarray(paths.outputs[output][table]) + ERROR * rng.normal(size=len(SAMPLED))
            for output in OUTPUTS
        }
        best = minimize(lambda x, v=values: [*map(np.asarray, misfit(x, v))], np.zeros(len(names)), jac=True)
        errors.append(best.x)
        densities.append(-best.fun)
    return np.array(errors), float(np.mean(densities))


@pytest.mark.slow
def test_fits_of_exact_data_are_not_biased_and_better_with_restarts():
    rms = {}
    for size in (1.0, 5.0):
        for restart in (True, False):
            errors, density = fits(size, restart)
            bias, spread = errors.mean(axis=0), errors.std(axis=0, ddof=1) / np.sqrt(TABLES)
            rms[size, restart] = np.sqrt(np.mean(errors**2))
            print(f"size {size}, restart {restart}: bias {bias} +- {spread}, rms {rms[size, restart]}, {density}")
            assert np.all(abs(bias) < 4 * spread + 0.02)
        assert rms[size, True] < rms[size, False]
    # errors go with the root of the size
    assert rms[5.0, True] < 0.8 * rms[1.0, True]
