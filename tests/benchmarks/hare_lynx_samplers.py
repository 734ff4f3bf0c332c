"""Hare and lynx by several packages: the same data, priors, equations and start, each as its users would write it.

`python -m tests.benchmarks.hare_lynx_samplers ROUTE` samples by one of `ROUTES` in a process of its own and prints, in
JSON, the processor seconds from the model to the draws (children and compilation included, imports not), the smallest
bulk ESS of the parameters, and the mean of each.
"""

import json
import resource
import sys
from collections.abc import Callable, Mapping

import arviz as az
import numpy as np
from scipy.integrate import odeint

from studies.hare_lynx import study

CHAINS, DRAWS, TUNE = 4, 300, 300
BEST = {"alpha": 0.543, "beta": 0.0273, "gamma": 0.793, "delta": 0.0237, "u0": 34.3, "v0": 5.87}
BEST |= {"sigma_u": 0.221, "sigma_v": 0.223}
# name -> mean and standard deviation of a normal prior, truncated at 0; and of the logarithm of a lognormal one
TRUNCATED = {"alpha": (1.0, 0.5), "beta": (0.05, 0.05), "gamma": (1.0, 0.5), "delta": (0.05, 0.05)}
LOGNORMAL = {"u0": (np.log(10.0), 1.0), "v0": (np.log(10.0), 1.0), "sigma_u": (-1.0, 1.0), "sigma_v": (-1.0, 1.0)}
# Steps of the method of Runge and Kutta in a year; errors are below 1e-4 of the populations.
STEPS = 10

Draws = Mapping[str, np.ndarray]
ROWS = study.table.pivot(index="time", columns="output", values="value")
TIMES, PELTS = ROWS.index.to_numpy(float), ROWS[["prey", "predator"]].to_numpy(float)


def slope(y, t, alpha, beta, gamma, delta):
    u, v = y
    return [(alpha - beta * v) * u, (delta * u - gamma) * v]


def by_uqbench() -> Callable[[], Draws]:
    from uqbench.calibration.attempts import Settings
    from uqbench.calibration.chain_files import ChainFiles
    from uqbench.calibration.sampling import draw
    from uqbench.likelihoods import likelihood_of

    def sample():
        settings = Settings(DRAWS, TUNE, CHAINS)
        posterior = draw(likelihood_of(study), settings, [BEST], ChainFiles(None, {})).chains["posterior"]
        return {name: posterior[name].values for name in BEST}

    return sample


def by_numpyro() -> Callable[[], Draws]:
    """Its No-U-Turn sampler through the solver of diffrax."""
    import diffrax
    import jax
    import jax.numpy as jnp
    import numpyro
    from numpyro import distributions as dist
    from numpyro.infer import MCMC, NUTS, init_to_value

    numpyro.enable_x64()

    def model():
        p = {name: numpyro.sample(name, dist.TruncatedNormal(*each, low=0.0)) for name, each in TRUNCATED.items()}
        p |= {name: numpyro.sample(name, dist.LogNormal(*each)) for name, each in LOGNORMAL.items()}
        solved = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, args: jnp.stack(slope(y, t, *args))),
            diffrax.Tsit5(),
            0.0,
            TIMES[-1],
            0.1,
            jnp.stack([p["u0"], p["v0"]]),
            [p[name] for name in TRUNCATED],
            saveat=diffrax.SaveAt(ts=TIMES),
            stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-6),
            # a solve that fails is no number, and its point is rejected
            throw=False,
        )
        sigma = jnp.stack([p["sigma_u"], p["sigma_v"]])
        numpyro.sample("pelts", dist.LogNormal(jnp.log(solved.ys), sigma), obs=PELTS)

    def sample():
        kernel = NUTS(model, init_strategy=init_to_value(values=BEST))
        sampler = MCMC(
            kernel,
            num_warmup=TUNE,
            num_samples=DRAWS,
            num_chains=CHAINS,
            chain_method="sequential",
            progress_bar=False,
        )
        sampler.run(jax.random.key(0))
        return {name: np.asarray(values) for name, values in sampler.get_samples(group_by_chain=True).items()}

    return sample


def pymc_model(pm, pt, solution):
    with pm.Model() as model:
        p = {name: pm.TruncatedNormal(name, *each, lower=0.0) for name, each in TRUNCATED.items()}
        p |= {name: pm.LogNormal(name, *each) for name, each in LOGNORMAL.items()}
        solved = solution([p[name] for name in ("u0", "v0", *TRUNCATED)])
        pm.LogNormal("pelts", pt.log(solved), pt.stack([p["sigma_u"], p["sigma_v"]]), observed=PELTS)
    return model


def by_pymc_scan(sampler: str) -> Callable[[], Draws]:
    """PyMC with its own means only: a scan of Runge-Kutta steps, which it differentiates."""
    import pymc as pm
    import pytensor
    import pytensor.tensor as pt

    def solution(arguments):
        y0, rates, h = pt.stack(arguments[:2]), arguments[2:], 1 / STEPS

        def step(y, *rates):
            def f(y):
                return pt.stack(slope((y[0], y[1]), None, *rates))

            first = f(y)
            second = f(y + h / 2 * first)
            third = f(y + h / 2 * second)
            return y + h / 6 * (first + 2 * second + 2 * third + f(y + h * third))

        length = int(TIMES[-1]) * STEPS
        path = pytensor.scan(step, outputs_info=y0, non_sequences=rates, n_steps=length, return_updates=False)
        return pt.concatenate([y0[None], path[STEPS - 1 :: STEPS]])

    def sample():
        with pymc_model(pm, pt, solution):
            trace = pm.sample(
                DRAWS,
                tune=TUNE,
                chains=CHAINS,
                cores=2,
                nuts_sampler=sampler,
                initvals=BEST,
                random_seed=0,
                progressbar=False,
                compute_convergence_checks=False,
            )
        return {name: trace["posterior"][name].values for name in BEST}

    return sample


def by_pymc_scipy() -> Callable[[], Draws]:
    """PyMC with the solver of SciPy, which has no gradient, by differential evolution from past draws.

    Its sequential Monte Carlo (`pm.sample_smc`) had not ended after three times the processor time, and is left out.
    """
    import pymc as pm
    import pytensor.tensor as pt
    from pytensor.compile.ops import as_op

    @as_op(itypes=[pt.dvector], otypes=[pt.dmatrix])
    def solved(arguments):
        return np.maximum(odeint(slope, arguments[:2], TIMES, tuple(arguments[2:]), rtol=1e-6, atol=1e-6), 1e-9)

    def sample():
        with pymc_model(pm, pt, lambda arguments: solved(pt.stack(arguments))):
            trace = pm.sample(
                4000,
                tune=4000,
                chains=CHAINS,
                cores=2,
                step=pm.DEMetropolisZ(),
                initvals=BEST,
                random_seed=0,
                progressbar=False,
                compute_convergence_checks=False,
            )
        return {name: trace["posterior"][name].values for name in BEST}

    return sample


def by_pints(method: str) -> Callable[[], Draws]:
    """PINTS in the logarithms of the parameters, with the solver of SciPy."""
    import pints

    class LotkaVolterra(pints.ForwardModel):
        def n_parameters(self):
            return 6

        def n_outputs(self):
            return 2

        def simulate(self, parameters, times):
            solved = odeint(slope, parameters[4:], times, tuple(parameters[:4]), rtol=1e-6, atol=1e-6)
            return np.maximum(solved, 1e-9)

    def sample():
        names = list(BEST)
        prior = pints.ComposedLogPrior(
            *[pints.TruncatedGaussianLogPrior(*each, 0.0, np.inf) for each in TRUNCATED.values()],
            *[pints.LogNormalLogPrior(*each) for each in LOGNORMAL.values()],
        )
        problem = pints.MultiOutputProblem(LotkaVolterra(), TIMES, PELTS)
        posterior = pints.LogPosterior(pints.LogNormalLogLikelihood(problem), prior)
        rng, best = np.random.default_rng(0), np.array([BEST[name] for name in names])
        np.random.seed(0)
        starts = best * np.exp(0.05 * rng.standard_normal((CHAINS, len(best))))
        transformation = pints.LogTransformation(len(best))
        controller = pints.MCMCController(
            posterior, CHAINS, starts, transformation=transformation, method=getattr(pints, method)
        )
        controller.set_max_iterations(6000)
        controller.set_log_to_screen(False)
        chains = controller.run()[:, 2000:]
        return {name: chains[:, :, k] for k, name in enumerate(names)}

    return sample


ROUTES = {
    "uqbench": by_uqbench,
    "numpyro": by_numpyro,
    "pymc scan nutpie": lambda: by_pymc_scan("nutpie"),
    "pymc scan pymc": lambda: by_pymc_scan("pymc"),
    "pymc scipy": by_pymc_scipy,
    "pints adaptive": lambda: by_pints("HaarioBardenetACMC"),
    "pints dream": lambda: by_pints("DreamMCMC"),
}


def processor_seconds() -> float:
    """Of this process and of its children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def measured(route: str) -> dict:
    sample = ROUTES[route]()
    began = processor_seconds()
    draws = sample()
    seconds = processor_seconds() - began
    ess = min(float(az.ess(np.asarray(values), method="bulk")) for values in draws.values())
    return {"seconds": seconds, "ess": ess, "means": {name: float(np.mean(values)) for name, values in draws.items()}}


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1])))
