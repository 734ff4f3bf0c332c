"""The command line: the verbs, on studies by name.

Nothing heavy is imported before a verb runs, so that help and a misspelt study answer at once.
"""

import gc
import os
import shlex
import shutil
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import cyclopts

from .defaults import (
    CHAINS,
    DRAWS,
    PREDICTIONS,
    RANKS,
    REPETITIONS,
    STARTS,
    TABLE_CHAINS,
    TABLE_DRAWS,
    TABLE_TUNE,
    TUNE,
)
from .errors import CouplingWarning, InputError, Interrupted

RESULTS = Path("results")
# Objects between looks for garbage, of the youngest and by how many times less often those of older ones: tracing makes
# millions that stay, and to look at all of them again and again is a twentieth of a short run.
COLLECTED = (50_000, 20, 10)
app = cyclopts.App(
    name="uqbench",
    help="What can be known of a model's parameters, how well, and where the spread of a prediction comes from.",
    # `main` knows what stopped a command
    suppress_keyboard_interrupt=False,
)
Name = Annotated[
    str,
    cyclopts.Parameter(
        help="Name of a study, or the path of a Python file that exports `study`; `file.py:name` for another name."
    ),
]
StudyOrModel = Annotated[
    str,
    cyclopts.Parameter(help="As in other commands; `file.py:name` may also be a model."),
]
Seed = Annotated[int, cyclopts.Parameter(help="Seed of everything random.")]
Results = Annotated[Path, cyclopts.Parameter(help="Folder of the store of results and the report.")]
Draws = Annotated[int, cyclopts.Parameter(help="Posterior draws kept of each chain.")]
Tune = Annotated[int, cyclopts.Parameter(help="Draws of each chain for adaptation, thrown away.")]
Chains = Annotated[int, cyclopts.Parameter(help="Independent chains.")]
Accept = Annotated[
    float | None, cyclopts.Parameter(help="Acceptance that the step size is tuned to; by the rule if not given.")
]
Adaptation = Annotated[
    str | None,
    cyclopts.Parameter(help="Of the mass matrix: diag, draw_diag, low_rank or flow; by the rule if not given."),
]
Sampler = Annotated[
    str | None, cyclopts.Parameter(help="nutpie, mclmc, pymc, numpyro or smc; by the rule if not given.")
]
Resume = Annotated[
    bool,
    cyclopts.Parameter(help="Go on with a calibration that was stopped: its finished chains are taken.", negative=""),
]
ResumeTables = Annotated[
    bool, cyclopts.Parameter(help="Go on with a run that was stopped: its finished tables are taken.", negative="")
]
Base = Annotated[int, cyclopts.Parameter(help="Base samples of the Sobol indices.")]
Starts = Annotated[int, cyclopts.Parameter(help="Ascents of the best fit; 0 leaves out fit and profiles.")]
Runs = Annotated[int, cyclopts.Parameter(help="Runs of the model for the law of total variance.")]


@app.command
def run(
    study: Name,
    *,
    draws: Draws = DRAWS,
    tune: Tune = TUNE,
    chains: Chains = CHAINS,
    target_accept: Accept = None,
    adaptation: Adaptation = None,
    sampler: Sampler = None,
    resume: Resume = False,
    n: Base = 512,
    runs: Runs = 8192,
    starts: Starts = STARTS,
    seed: Seed = 0,
    results: Results = RESULTS,
) -> None:
    """Identify, calibrate, decompose and report."""
    from .workflow import run as run_all

    with _opened(study, results) as (loaded, store):
        earlier = _earlier(loaded, store)
        page = results / f"{loaded.name}.html"
        with _stored_on_interrupt(store, earlier), _finished_of(store, "chains", "a calibration", resume) as folder:
            run_all(
                loaded,
                draws=draws,
                tune=tune,
                chains=chains,
                target_accept=target_accept,
                adaptation=adaptation,
                sampler=sampler,
                resume=folder,
                n=n,
                runs=runs,
                starts=starts,
                seed=seed,
                path=page,
                keep=lambda tree, verb: _store(store, tree, earlier, verb),
            )
    print(f"report: {page}")


@app.command
def identify(study: Name, *, starts: Starts = STARTS, seed: Seed = 0, results: Results = RESULTS) -> None:
    """Structural identifiability, best fit, Fisher information and profiles."""
    from .identifiability import identify as verb

    _add("identify", study, results, lambda loaded, tree: verb(loaded, tree, starts=starts, seed=seed))


@app.command
def calibrate(
    study: Name,
    *,
    draws: Draws = DRAWS,
    tune: Tune = TUNE,
    chains: Chains = CHAINS,
    target_accept: Accept = None,
    adaptation: Adaptation = None,
    sampler: Sampler = None,
    resume: Resume = False,
    seed: Seed = 0,
    results: Results = RESULTS,
) -> None:
    """Sample the posterior."""
    from .calibration import calibrate as verb

    with _opened(study, results) as (loaded, store), _finished_of(store, "chains", "a calibration", resume) as folder:

        def sample(loaded, tree):
            return verb(
                loaded,
                tree,
                draws=draws,
                tune=tune,
                chains=chains,
                target_accept=target_accept,
                adaptation=adaptation,
                sampler=sampler,
                seed=seed,
                resume=folder,
            )

        _add_to(store, loaded, "calibrate", sample)


@app.command
def decompose(study: Name, *, n: Base = 512, runs: Runs = 8192, seed: Seed = 0, results: Results = RESULTS) -> None:
    """Sobol indices and the law of total variance."""
    from .decomposition import decompose as verb

    _add("decompose", study, results, lambda loaded, tree: verb(loaded, tree, n=n, runs=runs, seed=seed))


@app.command
def predict(
    study: Name,
    *,
    unit: Annotated[str | None, cyclopts.Parameter(help="Label of a unit of the data; without it, a new one.")] = None,
    experiment: Annotated[
        str | None, cyclopts.Parameter(help="Experiment to begin with; else that of the unit, or the first.")
    ] = None,
    times: Annotated[str | None, cyclopts.Parameter(help="Such as 1,2,5 or 0:24:49, first:last:count.")] = None,
    inputs: Annotated[
        tuple[str, ...], cyclopts.Parameter(help="What is changed, as dose=300.", consume_multiple=True)
    ] = (),
    covariates: Annotated[
        tuple[str, ...], cyclopts.Parameter(help="Of a new unit, as weight=80.", consume_multiple=True)
    ] = (),
    columns: Annotated[
        tuple[str, ...],
        cyclopts.Parameter(help="Of the table, which noise names, as error=.3.", consume_multiple=True),
    ] = (),
    draws: Annotated[int, cyclopts.Parameter(help="Posterior draws at most.")] = PREDICTIONS,
    seed: Seed = 0,
    results: Results = RESULTS,
) -> None:
    """Predict the outputs of a new unit, or of a known one, under a design of your own."""
    from .calibration import predict_text as verb

    def work(loaded, tree):
        return verb(
            loaded,
            tree,
            unit=unit,
            experiment=experiment,
            times=times,
            inputs=inputs,
            covariates=covariates,
            columns=columns,
            draws=draws,
            seed=seed,
        )

    _add("predict", study, results, work)


@app.command
def sbc(
    study: Name,
    *,
    repetitions: Annotated[int, cyclopts.Parameter(help="Simulated tables.")] = REPETITIONS,
    draws: Draws = TABLE_DRAWS,
    tune: Tune = TABLE_TUNE,
    chains: Chains = TABLE_CHAINS,
    ranks: Annotated[int, cyclopts.Parameter(help="Posterior draws among which a true value is ranked.")] = RANKS,
    resume: ResumeTables = False,
    seed: Seed = 0,
    results: Results = RESULTS,
) -> None:
    """Simulation-based calibration: does `calibrate` give back what data were simulated with?

    The study needs no data, only a plan: experiments with times, and noise of what is measured. Stopped, it keeps the
    tables that were done, and says what they show.
    """
    from .calibration import sbc as verb

    with _opened(study, results) as (loaded, store), _finished_of(store, "tables", "a run", resume) as folder:

        def repeat(loaded, tree):
            return verb(
                loaded,
                tree,
                repetitions=repetitions,
                draws=draws,
                tune=tune,
                chains=chains,
                ranks=ranks,
                seed=seed,
                resume=folder,
            )

        _add_to(store, loaded, "sbc", repeat)


@app.command
def report(study: Name, *, results: Results = RESULTS) -> None:
    """Write the page from stored results."""
    from .reporting import report as verb
    from .results import load

    # another verb may go on meanwhile: what is stored is whole at any time
    loaded, place = _open(study, results)
    page = results / f"{loaded.name}.html"
    verb(loaded, load(place), path=page)
    print(f"report: {page}")


@app.command
def check(study: Name) -> None:
    """Check a study's model: outputs, units, gradients against finite differences, symbols against numbers."""
    from .check import check_model
    from .study import load_study

    loaded = load_study(study)
    print(check_model(loaded.model, next(iter(loaded.experiments.values()))))


@app.command
def serve(
    study: StudyOrModel,
    *,
    port: Annotated[int, cyclopts.Parameter(help="Port to listen at; 0 for one that is free.")] = 4242,
    host: Annotated[
        str, cyclopts.Parameter(help="Address to listen at; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
) -> None:
    """Serve the experiments of a study, or a model, to other codes by the protocol of UM-Bridge."""
    from .study import load_study_or_model
    from .umbridge import serve as listen

    with listen(load_study_or_model(study), host=host, port=port) as server:
        print(f"serving {', '.join(server.models)} at {server.url}", flush=True)
        server.serve_forever()


@app.command
def studies() -> None:
    """List the studies that can be run by name: those that come with uqbench and those in the folder `studies` of the
    working folder. Where both have a name it means the first; your own is then run by its path, as it is listed."""
    from .study import known_studies

    print("\n".join(known_studies()))


def _open(name: str, folder: Path):
    """The study and the place of its results; a folder that cannot be written is an error before any work."""
    from .study import in_commands, load_study

    study = load_study(name)
    if folder != RESULTS:
        study = in_commands(study, f"{study.command} --results {shlex.quote(str(folder))}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("results", [f"the folder {str(folder)!r} cannot be made: {error.strerror}."]) from error
    if not os.access(folder, os.W_OK):
        raise InputError("results", [f"the folder {str(folder)!r} cannot be written to."])
    return study, folder / f"{study.name}.zarr"


@contextmanager
def _opened(name: str, folder: Path) -> Iterator[tuple]:
    """The study and the store of its results, which no other process can write meanwhile."""
    from .results import Store

    study, place = _open(name, folder)
    with Store(place) as store:
        yield study, store


def _add(verb: str, name: str, folder: Path, work: Callable) -> None:
    """Adds what a verb finds to the stored results: `work(study, tree)` -> tree."""
    with _opened(name, folder) as (study, store):
        _add_to(store, study, verb, work)


def _add_to(store, study, verb: str, work: Callable) -> None:
    """The same with an open store."""
    from .results import check_tree

    earlier = store.load()
    tree = None if earlier is None else check_tree(study, earlier, verb=verb)
    with _stored_on_interrupt(store, earlier):
        _store(store, work(study, tree), earlier, verb)


@contextmanager
def _finished_of(store, what: str, of: str, resume: bool) -> Iterator[Path]:
    """The folder in which a verb keeps what is finished, chains or tables, until its results are stored."""
    folder = store.path.with_name(f"{store.path.name}.{what}")
    if folder.is_dir() and not resume:
        print(f"finished {what} of {of} that was stopped are removed; `--resume` would have gone on with them")
        shutil.rmtree(folder)
    yield folder
    # not after an exception: then they are still wanted
    shutil.rmtree(folder, ignore_errors=True)


def _earlier(study, store):
    """Stored results of this study, whose groups stay until their verb has been run again.

    Those of another model or other data make way, as whoever starts again wants it, and are not thrown away.
    """
    from .results import check_tree, save

    earlier = store.load()
    try:
        # `run` makes anew what is of other quantities
        return earlier if earlier is None else check_tree(study, earlier, verb="decompose")
    except InputError:
        place = store.path.with_name(f"{store.path.stem}.previous.zarr")
        print(f"results of another model or other data are kept: {save(earlier, place)}")
        return None


@contextmanager
def _stored_on_interrupt(store, earlier) -> Iterator[None]:
    """What a verb had reached when it was stopped is stored, marked as partial; what is whole stays."""
    try:
        yield
    except Interrupted as stopped:
        partial = {child.attrs["partial"] for child in stopped.tree.children.values() if "partial" in child.attrs}
        if not partial:
            raise
        merged = _save(store, stopped.tree, earlier)
        kept = any(child.attrs.get("partial") in partial for child in merged.children.values())
        what = f"kept in {store.path}, marked as partial" if kept else "not kept: what is stored from before is whole"
        print(f"{'; '.join(partial)}; {what}", flush=True)
        meanings = [child.attrs["meaning"] for child in stopped.tree.children.values() if "meaning" in child.attrs]
        print("".join(f"{meaning}\n" for meaning in meanings), end="", flush=True)
        raise


def _store(store, tree, earlier, verb: str) -> None:
    """Stores a tree, then says which groups the verb has made: what has been said is stored."""
    _save(store, tree, earlier)
    groups = [name for name, child in tree.children.items() if child.attrs.get("verb") == verb]
    print(f"{verb}: {', '.join(f'/{name}' for name in groups)} in {store.path}", flush=True)
    if verb == "calibrate":
        _say_checks(tree)
    if verb == "sbc":
        print(tree["simulation_based_calibration"].attrs["meaning"], flush=True)


def _say_checks(tree) -> None:
    """What is wrong with a calibration and what to try, or that nothing is."""
    from .results import attribute

    if summary := attribute(tree, "checks", "summary"):
        findings = attribute(tree, "checks", "findings")
        print("\n".join([summary, *(f"  - {finding}" for finding in findings)]), flush=True)


def _save(store, tree, earlier):
    """Stores a tree together with what it does not replace of an earlier one; returns both in one."""
    from .results import merge

    merged = tree if earlier is None else merge(tree, earlier)
    store.save(merged)
    return merged


def main() -> None:
    """Runs a command; a user's mistake ends with a message and status 2, Ctrl-C with 130 and SIGTERM with 143."""
    gc.set_threshold(*COLLECTED)
    # studies beside the working folder can be run by name as well
    sys.path.insert(0, "")
    stopped_by = signal.SIGINT

    def terminated(number, frame):
        nonlocal stopped_by
        stopped_by = signal.SIGTERM
        raise KeyboardInterrupt

    def again(ignored):
        """An exception in a destructor or a callback goes no further, and the command would go on as if unasked."""
        if issubclass(ignored.exc_type, KeyboardInterrupt):
            threading.Timer(0.05, os.kill, [os.getpid(), stopped_by]).start()
        else:
            sys.__unraisablehook__(ignored)

    signal.signal(signal.SIGTERM, terminated)
    sys.unraisablehook = again
    try:
        with warnings.catch_warnings():
            # each verb meets it in several places
            warnings.filterwarnings("once", category=CouplingWarning, append=True)
            app(sys.argv[1:], exit_on_error=False)
    except (InputError, cyclopts.CycloptsError) as error:
        if isinstance(error, InputError):
            print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(128 + stopped_by)
