"""How draws from a posterior are made: with which sampler, how it adapts, and from where.

**The rule** for what is not given. A likelihood with a gradient is sampled by the No-U-Turn sampler of nutpie, with
a mass matrix that has a low rank beside its diagonal and a step size tuned to an acceptance of `ACCEPT`; any other by
tempering (`tempered`). Where the draws then

- diverge in more than a share `DIVERGING` of the transitions, or
- are worth less than `ESS` independent ones, and less than a share `WORTH` of their number, in a parameter, or
- where no parameter differs between units, are worth as little in its tails, or come from chains of so many draws that
  this share is `ESS` and disagree by more than `RHAT`,

the adaptation was not good enough, and the run is repeated once with a step size tuned to `CAREFUL` and twice the draws
for adaptation. Where the chains stay in different modes no adaptation helps: the run is repeated by tempering, if no
parameter differs between units; so it is where draws are worth as little after a repetition, as of modes that a chain
seldom leaves, and there are no more than `FEW` parameters. Tempering whose draws are worth too little is repeated once
with `MORE` times the particles, if that may be enough. What was tried, what came of it and why it was repeated is
kept with the draws. With an adaptation, an acceptance or a sampler that is given there is one run, as it was asked for;
so there is with fewer than `JUDGED` draws in all.

A mass matrix of low rank follows correlations, such as the ridge along which a product of parameters is known: measured
over seven posteriors of two to nine parameters with 4 x 400 draws, one seed each, the smallest bulk ESS per gradient at
an acceptance of .9 is .8 times (a funnel) to 22 times (ridges) that of a diagonal matrix at .8. Between acceptances of
.8 and .95 the effort per independent draw differs by less than its noise; divergences become fewer.

Every chain is a run of its own, with a seed made of that of the calibration and the numbers of the attempt and of the
chain. So chains can be made one after the other, or some of them later, and are the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import nutpie
import pymc as pm
import xarray as xr
from pymc.model.transform.optimization import freeze_dims_and_data

from ..errors import InputError, nearest
from ..likelihoods import Likelihood
from ..progress import progress
from ..settings import is_number, seed_findings, whole_number_findings
from ..space import distribution_of
from ..study import Study
from .chain_files import ChainFiles
from .chains import LEAST_DRAWS, of_chain, one_by_one, side_by_side
from .convergence import ESS, RHAT, convergence
from .pymc_model import pymc_model, start_values
from .starts import DRAWS as PRIOR_DRAWS
from .starts import INSIDE, NoStart, starting_points
from .tempered import tempered_chain

ADAPTATION, ACCEPT, CAREFUL = "low_rank", 0.9, 0.95
DIVERGING, WORTH, JUDGED = 0.005, 0.1, 400
# How many times the particles a repetition of tempering has.
MORE = 4
# Parameters up to which tempering is tried where nothing says that there are several modes.
FEW = 10
# sampler -> the package that it needs, and how to get it
SAMPLERS = {"nutpie": "nutpie", "mclmc": "nutpie", "pymc": "pymc", "numpyro": "numpyro", "smc": "jax"}
ADAPTATIONS = ("diag", "draw_diag", "low_rank", "flow")
ADAPTS = ("nutpie", "mclmc")
# What sampling and its diagnostics need.
LEAST = {"draws": LEAST_DRAWS, "tune": 10, "chains": 1}
# By how much lower than the best fit an optimum may be for chains to start there.
NEGLIGIBLE = 20.0


@dataclass(frozen=True)
class Settings:
    """What was asked for.

    Args:
        draws, tune, chains: per chain, kept and for adaptation; independent chains.
        seed: of all chains.
        target_accept, adaptation, sampler: None leaves it to the rule.
    """

    draws: int
    tune: int
    chains: int
    seed: int = 0
    target_accept: float | None = None
    adaptation: str | None = None
    sampler: str | None = None

    def findings(self) -> list[str]:
        """What is wrong with them."""
        given = {"draws": self.draws, "tune": self.tune, "chains": self.chains}
        findings = whole_number_findings({name: (value, LEAST[name]) for name, value in given.items()})
        findings += seed_findings(self.seed)
        accept = self.target_accept
        if accept is not None and (not is_number(accept) or not 0.5 <= accept < 1):
            findings.append(f"target_accept is {accept!r}; it must lie in [0.5, 1).")
        for name, value, known in (("adaptation", self.adaptation, ADAPTATIONS), ("sampler", self.sampler, SAMPLERS)):
            if value is not None and value not in known:
                findings.append(f"{name} is {value!r}; {nearest(str(value), list(known))}")
        if self.adaptation in ADAPTATIONS and self.sampler in SAMPLERS and self.sampler not in ADAPTS:
            findings.append(f"adaptation is {self.adaptation!r}, which the sampler {self.sampler!r} does not have.")
        if self.sampler in SAMPLERS and find_spec(SAMPLERS[self.sampler]) is None:
            findings.append(_not_installed(f"sampler {self.sampler!r}", SAMPLERS[self.sampler]))
        if self.adaptation == "flow" and find_spec("flowjax") is None:
            findings.append(_not_installed("adaptation 'flow'", "flowjax"))
        return findings

    @property
    def ruled(self) -> bool:
        """Whether the rule decides."""
        return self.target_accept is None and self.adaptation is None and self.sampler is None


@dataclass(frozen=True)
class Attempt:
    """One run of all chains: how, and why so."""

    sampler: str
    adaptation: str
    target_accept: float
    tune: int
    why: str
    # of tempering; 0 is as many as there are draws
    particles: int = 0


@dataclass(frozen=True)
class Drawn:
    """What came of it.

    Args:
        chains: groups "posterior", "sample_stats" and, where the sampler has a warm-up, "warmup_sample_stats".
        attempts: what was tried, the last being that of the draws; with what came of each in words.
        stopped: whether it was stopped before all draws were made.
    """

    chains: xr.DataTree
    attempts: list[dict]
    stopped: bool


def draw(
    likelihood: Likelihood, settings: Settings, optima: Sequence[dict[str, float]], files: ChainFiles
) -> Drawn | None:
    """Draws by the rule above, or as the settings say; None where it was stopped before there were any.

    Args:
        optima: parameters of the best fit and other optima, where they are known: where chains start.
        files: of finished chains.

    Raises:
        InputError: a likelihood without a gradient for a sampler that needs one; no density where chains start.
    """
    study, attempt = likelihood.study, first_attempt(likelihood, settings)
    tried: list[dict] = []
    run_chains = _runner(likelihood, settings, optima)
    while True:
        chains, stopped = run_chains(attempt, len(tried), files)
        if chains is None:
            return None
        found = convergence(study, chains)
        tried.append({**asdict(attempt), "came": _in_words(chains, found)})
        following = (
            None if stopped or not settings.ruled else next_attempt(study, attempt, chains, found, settings.tune, tried)
        )
        if following is None:
            return Drawn(chains, tried, stopped)
        attempt = following


def first_attempt(likelihood: Likelihood, settings: Settings) -> Attempt:
    """How it begins by the rule, or as the settings say.

    Raises:
        InputError: a likelihood without a gradient for a sampler that needs one.
    """
    sampler, why = settings.sampler, "the likelihood has a gradient"
    if sampler is None:
        against = _against_gradients(likelihood)
        sampler, why = ("smc", against) if against else ("nutpie", why)
    if not settings.ruled:
        why = "as given"
    if sampler != "smc":
        likelihood.require("gradient", f"calibrate {likelihood.study.name!r}")
    adaptation = settings.adaptation or (ADAPTATION if sampler in ADAPTS else "")
    return Attempt(sampler, adaptation, settings.target_accept or ACCEPT, settings.tune, why)


def _against_gradients(likelihood: Likelihood) -> str:
    """Why gradients do not sample this posterior; empty where they do."""
    if "gradient" not in likelihood.capabilities:
        return f"{likelihood.described} has no gradient"
    space = likelihood.study.model.space
    discrete = [name for name in space.free if distribution_of(space, name).discrete]
    return f"{', '.join(discrete)} can have whole numbers only" if discrete else ""


def next_attempt(
    study, attempt: Attempt, chains: xr.DataTree, found: xr.Dataset, tune: int, tried: list
) -> Attempt | None:
    """The attempt after this one by the rule; None where there is none."""
    posterior = chains["posterior"]
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    if total < JUDGED:
        return None
    poor, worth = _poor(found, total, tails=not study.model.space.aleatory)
    if attempt.sampler == "smc":
        promising = attempt.particles == 0 and MORE * worth >= min(ESS, WORTH * total)
        return replace(attempt, particles=MORE * posterior.sizes["draw"], why=poor) if poor and promising else None
    tempering = Attempt("smc", "", ACCEPT, tune, "chains stayed in different modes")
    if len(np.unique(found["mode"])) > 1:
        return None if study.model.space.aleatory else tempering
    share = float(chains["sample_stats"]["diverging"].mean())
    if len(tried) > 1:
        few = not study.model.space.aleatory and len(study.model.space.free) <= FEW
        return replace(tempering, why=f"again {poor}") if poor and few else None
    reasons = [f"{share:.1%} of the transitions diverged"] if share > DIVERGING else []
    reasons += [poor] if poor else []
    return replace(attempt, target_accept=CAREFUL, tune=2 * tune, why=" and ".join(reasons)) if reasons else None


def _poor(found: xr.Dataset, total: int, *, tails: bool) -> tuple[str, float]:
    """What is wrong with draws, empty where nothing is, and how many independent ones they are worth.

    Tails and agreement count where tempering may follow: shorter steps alone do not mend these.
    """
    worth, rhat = float(found["ess_bulk"].min()), float(found["rhat"].max())
    if tails:
        worth = min(worth, float(found["ess_tail"].min()))
    if not worth >= min(ESS, WORTH * total):
        return f"{total} draws were worth {worth:.0f} independent ones", worth
    # fewer draws cannot be expected to agree so well
    if tails and WORTH * total >= ESS and not rhat <= RHAT:
        return f"chains agreed to an R-hat of {rhat:.3f} only", worth
    return "", worth


def _in_words(chains: xr.DataTree, found: xr.Dataset) -> str:
    diverged = int(chains["sample_stats"]["diverging"].sum())
    modes = len(np.unique(found["mode"]))
    return (
        f"smallest bulk ESS {float(found['ess_bulk'].min()):.0f}, largest R-hat {float(found['rhat'].max()):.3f}, "
        f"{diverged} divergences" + (f", chains in {modes} modes" if modes > 1 else "")
    )


def _runner(likelihood: Likelihood, settings: Settings, optima):
    """`function(attempt, number, files)` -> the draws of one attempt, and whether it was stopped."""
    model, compiled = None, None

    def run(attempt: Attempt, number: int, files: ChainFiles):
        nonlocal model, compiled
        seeds = [_seed(settings.seed, number, chain) for chain in range(settings.chains)]
        if attempt.sampler == "smc":
            with _progress(attempt, 100 * settings.chains) as update:

                def one(chain: int) -> xr.DataTree:
                    def at(power: float) -> None:
                        update(int(100 * (chain + power)))

                    return tempered_chain(likelihood, settings.draws, seeds[chain], at, attempt.particles)

                return one_by_one(one, settings.chains, number, files)
        if model is None:
            model, compiled = compiled_model(likelihood)
        study, length = likelihood.study, settings.draws + attempt.tune
        if attempt.sampler in ADAPTS:
            points = chain_starts(likelihood, model, compiled, optima, seeds)
            with _progress(attempt, settings.chains * length) as update:
                begin = beginner(compiled, attempt, settings.draws, points, seeds)
                return side_by_side(begin, study, settings.chains, number, files, length, update)
        with _progress(attempt, settings.chains) as update:

            def one(chain: int) -> xr.DataTree:
                update(chain)
                return _by_pymc(model, study, attempt, settings.draws, seeds[chain])

            return one_by_one(one, settings.chains, number, files)

    return run


def compiled_model(likelihood: Likelihood) -> tuple[pm.Model, Any]:
    """The model of PyMC, and the same compiled for nutpie, with its variables in the same order."""
    # freezing changes the order
    model = freeze_dims_and_data(pymc_model(likelihood))
    return model, nutpie.compile_pymc_model(model, backend="jax", gradient_backend="jax", freeze_model=False)


@contextmanager
def _progress(attempt: Attempt, total: int) -> Iterator[Callable]:
    label = "calibrate: tempering" if attempt.sampler == "smc" else "calibrate: sampling"
    with progress(label, total) as update:
        yield update


def _seed(seed: int, attempt: int, chain: int) -> int:
    return int(np.random.SeedSequence([seed, attempt, chain]).generate_state(1)[0])


def chain_starts(
    likelihood: Likelihood, model: pm.Model, compiled, optima, seeds, ascents: int | None = None
) -> list[np.ndarray]:
    """A start for each seed, in the coordinates of the compiled model; see `starts.starting_points`.

    Raises:
        InputError: where there is no density.
    """
    study, logp = likelihood.study, compiled._make_logp_func()

    def slope(point: np.ndarray) -> tuple[float, np.ndarray]:
        return logp(point, **compiled._shared_data)

    try:
        starts = [start_values(model, likelihood, each) for each in optima]
        return starting_points(model, study.model.space, slope, starts, seeds, ascents)
    except NoStart:
        where = "best fit" if optima else "prior medians"
        findings = density_findings(likelihood, optima[0] if optima else {})
        if not optima:
            findings.append(f"nor is there a density at any of {PRIOR_DRAWS} draws from the prior.")
        raise InputError(f"calibrate {study.name!r} at the {where}", findings) from None


def density_findings(likelihood: Likelihood, values: Mapping[str, float]) -> list[str]:
    """Why the data have no density at the prior medians, or at other values of some parameters."""
    study, space = likelihood.study, likelihood.study.model.space
    theta = space.nominal() | {name: np.asarray(value) for name, value in values.items()}
    theta |= {name: np.full(len(study.units), theta[name]) for name in space.aleatory}
    return likelihood.density_findings(theta)


def beginner(compiled, attempt: Attempt, draws: int, points, seeds):
    """`function(chain, note)` that begins to sample a chain in the background."""
    own: dict[str, Any] = {"adaptation": attempt.adaptation, "target_accept": attempt.target_accept}
    if attempt.sampler == "mclmc":
        own = {"adaptation": attempt.adaptation, "sampler": "mclmc"}

    def begin(chain: int, note: Callable):
        # each chain has its own start, of a model compiled once
        started = replace(compiled, _make_initial_points=lambda seed: points[chain])
        return nutpie.sample(
            started,
            draws=draws,
            tune=attempt.tune,
            chains=1,
            cores=1,
            seed=seeds[chain],
            progress_bar=False,
            progress_callback=note,
            # else Ctrl-C would return what there is, as if it were complete
            blocking=False,
            **own,
        )

    return begin


def _by_pymc(model: pm.Model, study: Study, attempt: Attempt, draws: int, seed: int) -> xr.DataTree:
    """A chain by PyMC's own sampler or by numpyro's."""
    with model:
        trace = pm.sample(
            draws=draws,
            tune=attempt.tune,
            chains=1,
            cores=1,
            random_seed=seed,
            target_accept=attempt.target_accept,
            nuts_sampler=attempt.sampler,
            progressbar=False,
            # the likelihood is an operation of JAX
            compile_kwargs={"mode": "JAX"},
            compute_convergence_checks=False,
        )
    return of_chain(trace, study, 0)


def best_fits(study: Study, tree: xr.DataTree) -> list[dict[str, float]]:
    """The best fit and other optima in `tree`, the best first, if there are such of all that is sampled; empty if not.

    An optimum whose log density is lower by more than `NEGLIGIBLE` has no share in the posterior that counts. One
    on a bound of its prior is put inside, where a sampler's own coordinate of it is finite.
    """
    space = study.model.space
    if "fit" not in tree.children or space.aleatory:
        return []
    fit = tree["fit"].to_dataset()
    lower, upper = (space.from_cube(np.full(len(space.free), u)) for u in (INSIDE, 1 - INSIDE))

    def inside(value) -> dict[str, float]:
        return {name: float(np.clip(value[name], lower[name], upper[name])) for name in space.epistemic}

    found = [inside(fit["value"].to_series())]
    for optimum in range(1, int(fit["optimum"].max()) + 1):
        start = int(np.argmax(fit["optimum"].values == optimum))
        if fit["log_density"].values[start] >= fit.attrs["log_density"] - NEGLIGIBLE:
            found.append(inside(fit["ended"].isel(start=start).to_series()))
    return found


def _not_installed(what: str, package: str) -> str:
    return f"the {what} needs the package {package}, which is not installed; run `pip install {package}`."
