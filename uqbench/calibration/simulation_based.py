"""Does calibration give back what it is given? Parameters drawn from the prior, data simulated, posteriors sampled.

Over many such repetitions the rank of the true value among posterior draws is uniform, whatever the model, if prior,
simulator, likelihood and sampler fit together (Cook, Gelman & Rubin 2006, doi:10.1198/106186006X136976; Talts et al.
2018). Ranks of the log-likelihood see what those of parameters miss, such as data that are not used (Modrak et al.
2023). Data simulated from *another* model, such as the full one of a reduction, show what the simplification costs.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import jax
import numpy as np
import xarray as xr

from .. import results
from ..defaults import RANKS, REPETITIONS, TABLE_CHAINS, TABLE_DRAWS, TABLE_TUNE
from ..errors import InputError, Interrupted
from ..likelihoods import likelihood_of, simulate_data
from ..measurements import values_of
from ..progress import progress
from ..space import Theta
from ..study import Study
from .attempts import Settings
from .chain_files import made_from
from .rank_statistics import FAILED, LIKELIHOOD, NOT_CONVERGED, Outcome, Ranked, ranked, summary
from .table_files import TableFiles
from .table_posteriors import posteriors

SUBJECT = GROUP = "simulation_based_calibration"
# Draws beyond this R-hat are not taken for draws from the posterior; nor are those that are worth less independent ones
# than are ranked among.
CONVERGED = 1.05


def simulation_based_calibration(
    study: Study,
    *,
    simulator: Study | None = None,
    repetitions: int = 50,
    draws: int = TABLE_DRAWS,
    tune: int = TABLE_TUNE,
    chains: int = TABLE_CHAINS,
    ranks: int = RANKS,
    seed: int = 0,
    resume: str | Path | None = None,
) -> xr.Dataset:
    """Ranks of true values among posterior draws, over data simulated from the prior.

    Each table is sampled by the rule by which `calibrate` samples, without a gradient too; what is compiled is compiled
    once, and as many chains run at a time as there are processors.

    Args:
        study: whose calibration is tested. Its data serve as a plan of measurements only; a study without data plans
            every output with noise at every time of its experiments.
        simulator: a study with the same experiments and measurements whose model makes the data; it must have all
            free parameters of `study`. Default `study` itself.
        repetitions: simulated tables.
        draws, tune, chains: as for `calibrate`, for each table.
        ranks: posterior draws, evenly thinned, among which the truth is ranked.
        seed: of truths, data and chains.
        resume: a folder for what comes of each table, written at once; tables that are there already are taken from it.

    Returns:
        by `repetition` and `quantity` (the epistemic parameters and the log-likelihood): `rank` (0 to `ranks`),
        `truth`, `mean` and `sd` of the posterior; by `quantity`: `p_value` of a test that ranks are uniform (see
        `uniformity`), the curve of it with its band (`difference`, `lower`, `upper` by `point`), `coverage` (level,
        quantity) of central intervals with `coverage_standard_error` where it is right, `contraction`, the share of
        the prior variance that the data remove. Attributes: `failed`, tables whose simulation failed, and
        `not_converged`, whose chains disagreed, were worth fewer draws than `ranks`, or found no density (both left
        out: what is left is uniform still where calibration is right, as it is the data that decide); `uniform`,
        whether no p-value is below .05 over the number of quantities; `needed`, how many tables would show a posterior
        standard deviation that is too small by a fifth; `resolved`, whether there are so many or ranks are not uniform;
        `meaning`, a sentence; `seconds`.

    Raises:
        InputError: settings out of range; nothing is measured; a simulator that lacks parameters or plans other
            measurements; fewer than two tables whose chains converged; tables in `resume` of other settings.
        Interrupted: where it is stopped (Ctrl-C); its `tree` has the group of the tables that there are, if there are
            two.
    """
    simulator = simulator or study
    settings = Settings(draws, tune, chains, seed)
    _check(study, simulator, repetitions, settings, ranks)
    began = time.monotonic()
    asked = {"draws": draws, "tune": tune, "chains": chains, "ranks": ranks, "seed": seed}
    origin = made_from(study, asked | {"simulator": [simulator.model_digest, simulator.plan_digest]}, plan=True)
    files = TableFiles(None if resume is None else Path(resume), origin)
    files.check()
    loaded = {number: files.load(number) for number in range(repetitions)}
    outcomes = {number: outcome for number, outcome in loaded.items() if outcome is not None}
    left = [number for number in loaded if number not in outcomes]

    def found() -> xr.Dataset:
        quantities = (*study.model.space.epistemic, LIKELIHOOD)
        dataset = summary(outcomes, quantities, ranks, _prior_variance(study, seed), seed)
        return dataset.assign_attrs(seed=seed, seconds=time.monotonic() - began)

    try:
        with (
            closing(_outcomes(study, simulator, left, settings, ranks)) as coming,
            progress("simulation-based calibration", len(left)) as update,
        ):
            for number, outcome in coming:
                files.save(number, outcome)
                outcomes[number] = outcome
                lost = sum(isinstance(each, str) for each in outcomes.values())
                update(len(outcomes) + len(left) - repetitions, f"{lost} left out" if lost else "")
    except KeyboardInterrupt:
        there = f"stopped with {len(outcomes)} of {repetitions} tables"
        groups = {GROUP: found().assign_attrs(partial=there)} if _ranked_tables(outcomes) >= 2 else {}
        raise Interrupted(xr.DataTree.from_dict(groups)) from None
    if _ranked_tables(outcomes) < 2:
        raise InputError(SUBJECT, _why_none(list(outcomes.values())))
    return found()


def sbc(
    study: Study,
    tree: xr.DataTree | None = None,
    *,
    repetitions: int = REPETITIONS,
    draws: int = TABLE_DRAWS,
    tune: int = TABLE_TUNE,
    chains: int = TABLE_CHAINS,
    ranks: int = RANKS,
    seed: int = 0,
    resume: str | Path | None = None,
) -> xr.DataTree:
    """The verb: `simulation_based_calibration` of a study, added to its results.

    Returns:
        the tree with /simulation_based_calibration.

    Raises:
        InputError: as of `simulation_based_calibration`; a tree of another study.
        Interrupted: where it is stopped; its `tree` has the tables that there are, marked as partial.
    """
    tree = results.check_tree(study, tree, verb="sbc")
    settings = {"repetitions": repetitions, "draws": draws, "tune": tune, "chains": chains, "ranks": ranks}

    def attached(found: xr.Dataset) -> xr.DataTree:
        partial = found.attrs.pop("partial", "")
        seconds = found.attrs["seconds"]
        return results.attach(
            tree, {GROUP: found}, verb="sbc", settings=settings, seed=seed, seconds=seconds, partial=partial
        )

    try:
        return attached(simulation_based_calibration(study, **settings, seed=seed, resume=resume))
    except Interrupted as stopped:
        if GROUP not in stopped.tree.children:
            raise Interrupted(tree) from None
        raise Interrupted(attached(stopped.tree[GROUP].to_dataset())) from None


def _check(study: Study, simulator: Study, repetitions: int, settings: Settings, ranks: int) -> None:
    findings = settings.findings()
    if repetitions < 2:
        findings.append(f"repetitions is {repetitions}; it must be at least 2.")
    total = settings.draws * settings.chains
    if not 1 <= ranks <= total:
        findings.append(f"ranks is {ranks}; it must lie between 1 and the {total} draws.")
    own, other = study.model.space, simulator.model.space
    findings += [f"the simulator has no parameter {name!r}." for name in own.free if name not in other.free]
    columns = ["experiment", "output", "time"]
    plans = [each.table[columns].reset_index(drop=True) for each in (study, simulator)]
    if not plans[0].equals(plans[1]):
        findings.append("the simulator plans other measurements; give both studies the same experiments and times.")
    if findings:
        raise InputError(SUBJECT, findings)


def _outcomes(
    study: Study, simulator: Study, numbers: Sequence[int], settings: Settings, ranks: int
) -> Iterator[tuple[int, Outcome]]:
    """What comes of each table, as soon as it is known."""
    likelihood, seed = likelihood_of(study), settings.seed
    truths: dict[int, Theta] = {}
    tables: dict[int, dict[str, np.ndarray]] = {}
    for number in numbers:
        # keys that are split from one and folded into it are the same: those of truth and data are split
        of_truth, of_data = jax.random.split(jax.random.fold_in(jax.random.key(seed), number))
        truth = _truth(simulator, of_truth)
        values = values_of(simulate_data(simulator, truth, of_data))
        if all(np.all(np.isfinite(column)) for column in values.values()):
            truths[number], tables[number] = truth, values
        else:
            yield number, FAILED

    def enough(found: xr.Dataset) -> bool:
        return bool(np.all((found.rhat <= CONVERGED) & (found.ess_bulk >= ranks)))

    for number, sampled in posteriors(likelihood, tables, settings, enough):
        outcome: Outcome = NOT_CONVERGED
        if sampled is not None and enough(sampled.convergence):
            outcome = ranked(likelihood, sampled.posterior, truths[number], tables[number], ranks, [seed, number])
        yield number, outcome


def _ranked_tables(outcomes: dict[int, Outcome]) -> int:
    return sum(isinstance(each, Ranked) for each in outcomes.values())


def _why_none(outcomes: list[Outcome]) -> list[str]:
    findings = []
    if failed := outcomes.count(FAILED):
        findings.append(f"the simulation of {failed} of {len(outcomes)} tables failed; narrow the prior.")
    if lost := outcomes.count(NOT_CONVERGED):
        findings.append(
            f"the chains of {lost} of {len(outcomes)} tables did not converge; take more draws, or narrower priors."
        )
    return findings


def _truth(study: Study, key) -> Theta:
    """One draw from the prior, aleatory parameters `(units,)`."""
    space = study.model.space
    shared, own = jax.random.split(key)
    theta = space.sample(shared, ()) | study.covariates
    return theta | space.new_units(own, theta, (len(study.units),))


def _prior_variance(study: Study, seed: int) -> np.ndarray:
    theta = study.model.space.sample(jax.random.key(seed), (4096,))
    return np.array([np.var(theta[name]) for name in study.model.space.epistemic] + [np.nan])
