"""What a calibration costs beside other tools: hare and lynx, from data to draws, compilation included.

The figure is processor time per effective draw, the smallest bulk ESS of the parameters. numpyro solves the same
equations by diffrax and samples by its own No-U-Turn sampler, both as they are. What is not installed is left out.
"""

import time

import arviz as az
import numpy as np
import pytest

from studies.hare_lynx import study
from uqbench.calibration.chain_files import ChainFiles
from uqbench.calibration.sampling import Settings, draw
from uqbench.likelihoods import likelihood_of

pytestmark = pytest.mark.bench
CHAINS, DRAWS, TUNE = 4, 300, 300
BEST = {"alpha": 0.543, "beta": 0.0273, "gamma": 0.793, "delta": 0.0237, "u0": 34.3, "v0": 5.87}
BEST |= {"sigma_u": 0.221, "sigma_v": 0.223}


def smallest_ess(draws):
    """Of name -> (chain, draw)."""
    return min(float(az.ess(np.asarray(values))) for values in draws.values())


def ours():
    settings = Settings(DRAWS, TUNE, CHAINS)
    posterior = draw(likelihood_of(study), settings, [BEST], ChainFiles(None, {})).chains["posterior"]
    return {name: posterior[name].values for name in BEST}


def by_numpyro():
    numpyro = pytest.importorskip("numpyro")
    diffrax = pytest.importorskip("diffrax")
    import jax
    import jax.numpy as jnp
    from numpyro import distributions as dist
    from numpyro.infer import MCMC, NUTS, init_to_value

    rows = study.table.pivot(index="time", columns="output", values="value")
    times = jnp.asarray(rows.index.to_numpy(float))

    def rhs(t, y, p):
        u, v = y
        return (p["alpha"] - p["beta"] * v) * u, (p["delta"] * u - p["gamma"]) * v

    def model():
        rate = {"alpha": (1.0, 0.5), "gamma": (1.0, 0.5), "beta": (0.05, 0.05), "delta": (0.05, 0.05)}
        p = {name: numpyro.sample(name, dist.TruncatedNormal(*each, low=0.0)) for name, each in rate.items()}
        start = [numpyro.sample(name, dist.LogNormal(np.log(10.0), 1.0)) for name in ("u0", "v0")]
        sigma = [numpyro.sample(name, dist.LogNormal(-1.0, 1.0)) for name in ("sigma_u", "sigma_v")]
        solved = diffrax.diffeqsolve(
            diffrax.ODETerm(rhs),
            diffrax.Tsit5(),
            0.0,
            times[-1],
            0.1,
            tuple(start),
            p,
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-6),
            # a solve that fails is no number, and its point is rejected
            throw=False,
        )
        for output, state, width in zip(("prey", "predator"), solved.ys, sigma, strict=True):
            numpyro.sample(output, dist.LogNormal(jnp.log(state), width), obs=rows[output].to_numpy())

    numpyro.enable_x64()
    sampler = MCMC(
        NUTS(model, init_strategy=init_to_value(values=BEST)),
        num_warmup=TUNE,
        num_samples=DRAWS,
        num_chains=CHAINS,
        chain_method="sequential",
        progress_bar=False,
    )
    sampler.run(jax.random.key(0))
    return sampler.get_samples(group_by_chain=True)


def seconds_per_draw(sample):
    began = time.process_time()
    draws = sample()
    return (time.process_time() - began) / smallest_ess(draws), float(np.mean(draws["alpha"]))


def test_an_effective_draw_costs_less_than_with_numpyro_and_diffrax(capsys):
    (other, alpha), (own, mean) = seconds_per_draw(by_numpyro), seconds_per_draw(ours)
    with capsys.disabled():
        print(f"\nms per effective draw: ours {1e3 * own:.1f}, numpyro with diffrax {1e3 * other:.1f}")
    assert mean == pytest.approx(alpha, abs=0.015)
    assert own < other / 2
