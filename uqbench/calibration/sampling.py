"""Draws from a posterior, attempt by attempt: what each sampler is asked for, and what came of it.

Every chain is a run of its own, with a seed made of that of the calibration and the numbers of the attempt and of the
chain. So chains can be made one after the other, or some of them later, and are the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import numpy as np
import pymc as pm
import xarray as xr

from ..errors import InputError
from ..likelihoods import Likelihood, findings_around
from ..progress import progress
from ..study import Study
from .attempts import ADAPTS, Attempt, Settings, against_gradients, first_attempt, next_attempt, quality
from .chain_files import ChainFiles
from .chains import beginner, of_chain, one_by_one, side_by_side
from .convergence import convergence, with_missed
from .mixture import OF_MODE, mixed
from .pilot import medians, piloted
from .prepared import Prepared, prepared
from .pymc_model import of_expansions
from .starts import DRAWS as PRIOR_DRAWS
from .starts import NoStart
from .tempered import tempered_chain


@dataclass(frozen=True)
class Drawn:
    """What came of it.

    Args:
        chains: groups "posterior", "sample_stats" and, where the sampler has a warm-up, "warmup_sample_stats".
        convergence: of these chains.
        attempts: what was tried, with what came of each in words, and `kept` where the draws are those of it.
        stopped: whether it was stopped before all draws were made.
    """

    chains: xr.DataTree
    convergence: xr.Dataset
    attempts: list[dict]
    stopped: bool


def draw(
    likelihood: Likelihood, settings: Settings, fits: Sequence[dict[str, float]], files: ChainFiles
) -> Drawn | None:
    """Draws by the rule of `attempts`, or as the settings say; None where it was stopped before there were any.

    Args:
        fits: parameters of the best fit and other optima, where they are known.
        files: of finished chains.

    Raises:
        InputError: a likelihood without a gradient for a sampler that needs one; no density where chains start.
    """
    study, attempt = likelihood.study, first_attempt(likelihood, settings)
    done: list[tuple[xr.DataTree, xr.Dataset]] = []
    tried: list[dict] = []
    runs = _Runs(likelihood, settings, fits)
    while True:
        chains, stopped = runs(attempt, len(tried), files, done[-1][0] if done else None)
        following = None
        # of an attempt that was stopped at once, or came to nothing, the one before it is left
        if chains is not None:
            found, unseen = runs.with_missed(convergence(study, chains), chains)
            stopped = stopped or unseen
            done.append((chains, found))
            tried.append({**asdict(attempt), "came": _in_words(chains, found)})
            if settings.ruled and not stopped:
                following = next_attempt(study, attempt, chains, found, settings.tune, tried, runs.apart)
        elif not done:
            return None
        if following is None:
            best = max(range(len(done)), key=lambda number: quality(*done[number]))
            tried = [{**each, "kept": number == best} for number, each in enumerate(tried)]
            return Drawn(*done[best], tried, stopped)
        attempt = following


def _in_words(chains: xr.DataTree, found: xr.Dataset) -> str:
    diverged = int(chains["sample_stats"]["diverging"].sum())
    modes, lost = len(np.unique(found["mode"])), found.sizes.get("missed", 0)
    return (
        f"smallest bulk ESS {float(found['ess_bulk'].min()):.0f}, largest R-hat {float(found['rhat'].max()):.3f}, "
        f"{diverged} divergences"
        + (f", chains in {modes} modes" if modes > 1 else "")
        + (f", {lost} mode{'s' * (lost > 1)} missed" if lost else "")
    )


class _Runs:
    """The draws of one attempt after another, with what they have in common: the compiled model and its optima.

    Args:
        likelihood, settings: of all.
        fits: parameters at optima that are known.
    """

    def __init__(self, likelihood: Likelihood, settings: Settings, fits):
        self.likelihood, self.settings, self.fits = likelihood, settings, fits
        self.prepared: Prepared | None = None

    def __call__(self, attempt: Attempt, number: int, files: ChainFiles, before: xr.DataTree | None):
        """The chains, and whether they were stopped; `before` are those of the attempt before it."""
        try:
            return self._run(attempt, number, files, before)
        except KeyboardInterrupt:
            return None, True

    def _run(self, attempt: Attempt, number: int, files: ChainFiles, before: xr.DataTree | None):
        settings, study = self.settings, self.likelihood.study
        seeds = [_seed(settings.seed, number, chain) for chain in range(settings.chains)]
        ready = self._ready(attempt, before)
        if attempt.sampler == "smc":
            return self._tempered(attempt, number, files, before, seeds)
        # only tempering does without
        assert ready is not None
        if attempt.sampler in ADAPTS:
            if attempt.each_mode:
                return self._in_each_mode(attempt, number, files)
            points = chain_starts(self.likelihood, ready, seeds)
            length = settings.draws + attempt.tune
            with _progress(attempt, settings.chains * length) as update:
                begin = beginner(ready.compiled, attempt, settings.draws, points, seeds)
                return side_by_side(begin, study, settings.chains, number, files, length, update)
        with _progress(attempt, settings.chains) as update:

            def one(chain: int) -> xr.DataTree:
                update(chain)
                return _by_pymc(ready.model, study, attempt, settings.draws, seeds[chain])

            return one_by_one(one, settings.chains, number, files)

    @property
    def apart(self) -> int:
        """In how many modes chains can be made one by one."""
        population = None if self.prepared is None else self.prepared.population
        return len(population.optima) if population is not None else 0

    def _in_each_mode(self, attempt: Attempt, number: int, files: ChainFiles):
        """Chains put together of such in each mode; none where they were stopped or the shares are not known."""
        likelihood, settings, ready = self.likelihood, self.settings, self.prepared
        assert ready is not None and ready.population is not None
        chains, each = settings.chains, ready.in_each_mode(likelihood)
        begins = []
        for mode, own in enumerate(each):
            seeds = [_seed(settings.seed, number, mode * chains + chain) for chain in range(chains)]
            points = chain_starts(likelihood, own, seeds)
            begins.append(beginner(own.compiled, attempt, settings.draws, points, seeds))

        def begin(chain: int, note):
            return begins[chain // chains](chain % chains, note)

        count, length = chains * len(each), settings.draws + attempt.tune
        with _progress(attempt, count * length) as update:
            found, stopped = side_by_side(begin, likelihood.study, count, number, files, length, update)
        if stopped or found is None:
            return None, True
        runs = [found.isel(chain=slice(chains * mode, chains * (mode + 1))) for mode in range(len(each))]
        population = ready.population
        return mixed(runs, population.places, population.densities, settings.seed), False

    def _ready(self, attempt: Attempt, before: xr.DataTree | None) -> Prepared | None:
        """What an attempt needs, if anything."""
        settings = self.settings
        if attempt.sampler == "smc":
            if settings.sampler == "smc" and not against_gradients(self.likelihood):
                self.prepared = self._prepared(attempt)
            return self.prepared
        self.prepared = self.prepared or self._prepared(attempt)
        if attempt.sampler in ADAPTS:
            self.prepared = self._located(self.prepared, before)
        return self.prepared

    def _prepared(self, attempt: Attempt) -> Prepared:
        settings = self.settings
        try:
            count = settings.draws * settings.chains
            search = attempt.sampler in (*ADAPTS, "smc")
            return prepared(self.likelihood, self.fits, settings.seed, count, search)
        except NoStart:
            raise no_start(self.likelihood, self.fits) from None

    def _located(self, ready: Prepared, before: xr.DataTree | None) -> Prepared:
        """With the log likelihood expanded where the posterior is, as far as that is known."""
        if before is not None and of_expansions(self.likelihood):
            return ready.expanded_at(self.likelihood, medians(self.likelihood, before["posterior"].to_dataset()))
        if ready.population is not None:
            return ready
        try:
            return piloted(self.likelihood, ready, [self.settings.seed])
        except NoStart:
            raise no_start(self.likelihood, ()) from None

    def _tempered(self, attempt: Attempt, number: int, files: ChainFiles, before: xr.DataTree | None, seeds):
        reference = None
        if self.prepared is not None:
            reference = self.prepared.reference(self.likelihood, before, self.settings.seed)
        with _progress(attempt, 100 * self.settings.chains) as update:

            def one(chain: int) -> xr.DataTree:
                def at(power: float) -> None:
                    update(int(100 * (chain + power)))

                return tempered_chain(
                    self.likelihood, self.settings.draws, seeds[chain], at, attempt.particles, reference=reference
                )

            return one_by_one(one, self.settings.chains, number, files)

    def with_missed(self, found: xr.Dataset, chains: xr.DataTree) -> tuple[xr.Dataset, bool]:
        """/convergence with the optima that the draws have missed, in the presence of which nothing is resolved; and
        whether it was stopped before these were known."""
        try:
            return self._with_missed(found, chains), False
        except KeyboardInterrupt:
            return found, True

    def _with_missed(self, found: xr.Dataset, chains: xr.DataTree) -> xr.Dataset:
        ready, likelihood = self.prepared, self.likelihood
        if ready is None:
            return found
        by_chains = "logp" in chains["sample_stats"] or ready.population is not None
        if "log_evidence" not in chains["sample_stats"] and by_chains and OF_MODE not in chains["sample_stats"]:
            ready = self.prepared = ready.with_modes(likelihood, chains, self.settings.seed)
        lost = ready.missed(likelihood, chains, self.settings.seed)
        return with_missed(found, [(each.share, ready.values_at(likelihood, each.optimum)) for each in lost])


@contextmanager
def _progress(attempt: Attempt, total: int) -> Iterator[Callable]:
    label = "calibrate: tempering" if attempt.sampler == "smc" else "calibrate: sampling"
    with progress(label, total) as update:
        yield update


def _seed(seed: int, attempt: int, chain: int) -> int:
    return int(np.random.SeedSequence([seed, attempt, chain]).generate_state(1)[0])


def chain_starts(likelihood: Likelihood, ready: Prepared, seeds: Sequence[int]) -> list[np.ndarray]:
    """A start for each seed, in the coordinates of the compiled model; see `starts.starting_points`.

    Raises:
        InputError: where there is no density.
    """
    try:
        return ready.starts(likelihood, seeds)
    except NoStart:
        raise no_start(likelihood, ()) from None


def no_start(likelihood: Likelihood, fits: Sequence[Mapping[str, float]]) -> InputError:
    """That there is no density, neither at the prior medians nor at draws, or at the best fit if there is one."""
    findings = findings_around(likelihood, fits[0] if fits else {})
    if not fits:
        findings.append(f"nor is there a density at any of {PRIOR_DRAWS} draws from the prior.")
    return InputError(f"calibrate {likelihood.study.name!r} at the {'best fit' if fits else 'prior medians'}", findings)


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
