"""How draws from a posterior are made by default: with which sampler, how it adapts, and when that was not enough.

**The rule** for what is not given. A likelihood with a gradient is sampled by the No-U-Turn sampler of nutpie, with
a mass matrix that has a low rank beside its diagonal and a step size tuned to an acceptance of `ACCEPT`; any other by
tempering (`tempered`). Where parameters have a distribution of unknown width, a short run before it (`pilot`), and in
a repetition the draws before, tell where their coordinates (`latents`) are made. Where the draws then

- diverge in more than a share `DIVERGING` of the transitions, or
- are worth less than `ESS` independent ones, and less than a share `WORTH` of their number, in a parameter, or
- hardly get into a tail of a parameter: transitions from the outermost draws are accepted less than `ENTERED`
  (`tails`), or
- where no parameter differs between units, are worth as little in its tails, or come from chains of so many draws that
  this share is `ESS` and disagree by more than `RHAT`,

the adaptation was not good enough, and the run is repeated once with a step size tuned to `CAREFUL`, or to `SHORT`
where a tail was not entered, and twice the draws for adaptation. Where the chains stay in different modes, or have
missed one that is known (`optima`, `population`), no adaptation helps: the run is repeated by tempering, if no
parameter differs between units, else in each of the known modes, and chains are put together of these (`mixture`). By
tempering it is repeated, too, where draws are worth as little after a repetition, as of modes that a chain seldom
leaves, or a tail is not entered by short steps either, and there are no more than `FEW` parameters. Tempering whose
draws are worth too little, or that has missed a mode, is repeated once with `MORE` times the particles, if that may be
enough. Kept are the draws of the best attempt, by `quality`, and what was tried, why, and what came of it. With an
adaptation, an acceptance or a sampler that is given there is one run, as it was asked for; so there is with fewer than
`JUDGED` draws in all.

A mass matrix of low rank follows correlations, such as the ridge along which a product of parameters is known: measured
over seven posteriors of two to nine parameters with 4 x 400 draws, one seed each, the smallest bulk ESS per gradient at
an acceptance of .9 is .8 times (a funnel) to 22 times (ridges) that of a diagonal matrix at .8. Between acceptances of
.8 and .95 the effort per independent draw differs by less than its noise; divergences become fewer.
"""

from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np
import xarray as xr

from ..errors import InputError, nearest
from ..likelihoods import Likelihood
from ..settings import is_number, seed_findings, whole_number_findings
from ..space import distribution_of
from .convergence import ESS, RHAT, entered
from .mixture import MOST_MODES

ADAPTATION, ACCEPT, CAREFUL, SHORT = "low_rank", 0.9, 0.95, 0.99
DIVERGING, WORTH, JUDGED = 0.005, 0.1, 400
# How many times the particles a repetition of tempering has.
MORE = 4
# Parameters up to which tempering is tried where nothing says that there are several modes.
FEW = 10
# sampler -> the package that it needs, and how to get it
SAMPLERS = {"nutpie": "nutpie", "mclmc": "nutpie", "pymc": "pymc", "numpyro": "numpyro", "smc": "jax"}
ADAPTATIONS = ("diag", "draw_diag", "low_rank", "flow")
ADAPTS = ("nutpie", "mclmc")
# Draws of a chain that its diagnostics need, and what sampling needs.
LEAST_DRAWS = 4
LEAST = {"draws": LEAST_DRAWS, "tune": 10, "chains": 1}


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
    # whether every chain is made once in each mode that is known, see `mixture`
    each_mode: bool = False


def first_attempt(likelihood: Likelihood, settings: Settings) -> Attempt:
    """How it begins by the rule, or as the settings say.

    Raises:
        InputError: no epistemic parameter; a likelihood without a gradient for a sampler that needs one.
    """
    if not likelihood.study.model.space.epistemic:
        raise InputError(
            f"calibrate {likelihood.study.name!r}",
            [
                "no parameter of its model is epistemic, so that there is nothing to calibrate; make those epistemic "
                "that are to be known, such as those of a single unit."
            ],
        )
    sampler, why = settings.sampler, "the likelihood has a gradient"
    if sampler is None:
        against = against_gradients(likelihood)
        sampler, why = ("smc", against) if against else ("nutpie", why)
    if not settings.ruled:
        why = "as given"
    if sampler != "smc":
        likelihood.require("gradient", f"calibrate {likelihood.study.name!r}")
    adaptation = settings.adaptation or (ADAPTATION if sampler in ADAPTS else "")
    return Attempt(sampler, adaptation, settings.target_accept or ACCEPT, settings.tune, why)


def against_gradients(likelihood: Likelihood) -> str:
    """Why gradients do not sample this posterior; empty where they do."""
    if "gradient" not in likelihood.capabilities:
        return f"{likelihood.described} has no gradient"
    space = likelihood.study.model.space
    discrete = [name for name in space.free if distribution_of(space, name).discrete]
    return f"{', '.join(discrete)} can have whole numbers only" if discrete else ""


def next_attempt(
    study, attempt: Attempt, chains: xr.DataTree, found: xr.Dataset, tune: int, tried: list, apart: int = 0
) -> Attempt | None:
    """The attempt after this one by the rule; None where there is none.

    Args:
        apart: in how many modes chains can be made one by one.
    """
    posterior = chains["posterior"]
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    if total < JUDGED:
        return None
    poor, worth = _poor(found, total, tails=not study.model.space.aleatory)
    if attempt.sampler == "smc":
        promising = attempt.particles == 0 and MORE * worth >= min(ESS, WORTH * total)
        why = poor or ("particles missed a mode" if found.sizes.get("missed", 0) else "")
        return replace(attempt, particles=MORE * posterior.sizes["draw"], why=why) if why and promising else None
    tempering = Attempt("smc", "", ACCEPT, tune, "chains stayed in different modes")
    why = "chains missed a mode" if found.sizes.get("missed", 0) else tempering.why
    if found.sizes.get("missed", 0) or len(np.unique(found["mode"])) > 1:
        if not study.model.space.aleatory:
            return replace(tempering, why=why)
        # of one chain there is no telling how far its shares are off
        again = 1 < apart <= MOST_MODES and posterior.sizes["chain"] > 1 and not attempt.each_mode
        return replace(attempt, each_mode=True, why=why) if again else None
    if attempt.each_mode:
        return None
    share = float(chains["sample_stats"]["diverging"].mean())
    cut = _cut(found)
    reasons = [each for each in (poor, cut) if each]
    if len(tried) > 1:
        few = not study.model.space.aleatory and len(study.model.space.free) <= FEW
        return replace(tempering, why=f"again {' and '.join(reasons)}") if reasons and few else None
    if share > DIVERGING:
        reasons = [f"{share:.1%} of the transitions diverged", *reasons]
    accept = SHORT if cut else CAREFUL
    return replace(attempt, target_accept=accept, tune=2 * tune, why=" and ".join(reasons)) if reasons else None


def quality(chains: xr.DataTree, found: xr.Dataset) -> tuple[bool, float, bool, float]:
    """By which the draws of an attempt are kept, the largest: whether they are valid, then what they are worth.

    Valid are draws that have missed no known mode and whose chains are in one, then such that agree to `RHAT` and
    entered the tails in the most parameters, then such of which no more than `DIVERGING` diverged; the smallest bulk or
    tail ESS decides between attempts that are equal in these.
    """
    one = len(np.unique(found["mode"])) == 1 and not found.sizes.get("missed", 0)
    few = bool(chains["sample_stats"]["diverging"].mean() <= DIVERGING)
    valid = float(((found["rhat"] <= RHAT) & entered(found)).mean())
    return one, valid, few, float(np.minimum(found["ess_bulk"], found["ess_tail"]).min())


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


def _cut(found: xr.Dataset) -> str:
    """Which tail was not entered, the one that was least; empty where all were, or nothing is known of them."""
    if bool(entered(found).all()):
        return ""
    worst = found.isel(parameter=int(np.nanargmin(found["tail_acceptance"].values)))
    name, share = str(worst["parameter"].values), float(worst["tail_acceptance"])
    return f"transitions from the outermost draws of {name!r} were accepted by {share:.2f} only"


def _not_installed(what: str, package: str) -> str:
    return f"the {what} needs the package {package}, which is not installed; run `pip install {package}`."
