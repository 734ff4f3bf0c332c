"""The command line: the verbs, on studies by name.

Nothing heavy is imported before a verb runs, so that help and a misspelt study answer at once.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import cyclopts

from .defaults import CHAINS, DRAWS, TUNE
from .errors import InputError

app = cyclopts.App(
    name="uqbench",
    help="What can be known of a model's parameters, how well, and where the spread of a prediction comes from.",
)
Name = Annotated[str, cyclopts.Parameter(help="Name of a study, or the path of a Python file that exports `study`.")]
Seed = Annotated[int, cyclopts.Parameter(help="Seed of everything random.")]
Results = Annotated[Path, cyclopts.Parameter(help="Folder of the store of results and the report.")]
Draws = Annotated[int, cyclopts.Parameter(help="Posterior draws kept of each chain.")]
Tune = Annotated[int, cyclopts.Parameter(help="Draws of each chain for adaptation, thrown away.")]
Base = Annotated[int, cyclopts.Parameter(help="Base samples of the Sobol indices.")]
Runs = Annotated[int, cyclopts.Parameter(help="Runs of the model for the law of total variance.")]


@app.command
def run(
    study: Name,
    *,
    draws: Draws = DRAWS,
    tune: Tune = TUNE,
    n: Base = 512,
    runs: Runs = 8192,
    seed: Seed = 0,
    results: Results = Path("results"),
) -> None:
    """Identify, calibrate, decompose and report."""
    from .workflow import run as run_all

    loaded, place = _open(study, results)
    partial = place.with_name(f"{loaded.name}.partial.zarr")
    reached: list = []
    try:
        tree = run_all(
            loaded,
            draws=draws,
            tune=tune,
            n=n,
            runs=runs,
            seed=seed,
            path=results / f"{loaded.name}.html",
            keep=lambda tree, verb: reached.append(_say(tree, verb)),
        )
    except BaseException:
        if reached:
            _store(reached[-1], partial, "what was reached")
        raise
    _store(tree, place, "results")
    shutil.rmtree(partial, ignore_errors=True)
    print(f"report: {results / f'{loaded.name}.html'}")


@app.command
def identify(study: Name, *, seed: Seed = 0, results: Results = Path("results")) -> None:
    """Structural identifiability and Fisher information."""
    from .identifiability import identify as verb

    loaded, place = _open(study, results)
    _store(_say(verb(loaded, _stored(loaded, place), seed=seed), "identify"), place, "results")


@app.command
def calibrate(
    study: Name,
    *,
    draws: Draws = DRAWS,
    tune: Tune = TUNE,
    chains: int = CHAINS,
    target_accept: float = 0.8,
    seed: Seed = 0,
    results: Results = Path("results"),
) -> None:
    """Sample the posterior."""
    from .calibration import calibrate as verb

    loaded, place = _open(study, results)
    tree = verb(
        loaded, _stored(loaded, place), draws=draws, tune=tune, chains=chains, target_accept=target_accept, seed=seed
    )
    _store(_say(tree, "calibrate"), place, "results")


@app.command
def decompose(
    study: Name, *, n: Base = 512, runs: Runs = 8192, seed: Seed = 0, results: Results = Path("results")
) -> None:
    """Sobol indices and the law of total variance."""
    from .decomposition import decompose as verb

    loaded, place = _open(study, results)
    _store(_say(verb(loaded, _stored(loaded, place), n=n, runs=runs, seed=seed), "decompose"), place, "results")


@app.command
def report(study: Name, *, results: Results = Path("results")) -> None:
    """Write the page from stored results."""
    from .reporting import report as verb
    from .results import load

    loaded, place = _open(study, results)
    verb(loaded, load(place), path=results / f"{loaded.name}.html")
    print(f"report: {results / f'{loaded.name}.html'}")


@app.command
def check(study: Name) -> None:
    """Check a study's model: outputs, units, gradients against finite differences, symbols against numbers."""
    from .check import check_model
    from .study import load_study

    loaded = load_study(study)
    print(check_model(loaded.model, next(iter(loaded.experiments.values()))))


@app.command
def studies() -> None:
    """List the studies that can be run by name: those that come with uqbench and those in the folder `studies` of the
    working folder. Where both have a name it means the first; your own is then run by its path, as it is listed."""
    from .study import known_studies

    print("\n".join(known_studies()))


def _open(name: str, folder: Path):
    """The study and the place of its results; a folder that cannot be written is an error before any work."""
    from .study import load_study

    study = load_study(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("results", [f"the folder {str(folder)!r} cannot be made: {error.strerror}."]) from error
    if not os.access(folder, os.W_OK):
        raise InputError("results", [f"the folder {str(folder)!r} cannot be written to."])
    return study, folder / f"{study.name}.zarr"


def _stored(study, place: Path):
    """Results so far, if there are any that belong to this model and these data."""
    from .results import check_tree, load

    return check_tree(study, load(place)) if place.is_dir() else None


def _store(tree, place: Path, what: str) -> None:
    from .results import save

    print(f"{what}: {save(tree, place)}")


def _say(tree, verb: str):
    """One line with the groups that a verb has made."""
    groups = [name for name, child in tree.children.items() if child.attrs.get("verb") == verb]
    print(f"{verb}: " + ", ".join(f"/{name}" for name in groups), flush=True)
    return tree


def main() -> None:
    """Runs a command; a user's mistake ends with a message and status 2."""
    # studies beside the working folder can be run by name as well
    sys.path.insert(0, "")
    try:
        app(exit_on_error=False)
    except (InputError, cyclopts.CycloptsError) as error:
        if isinstance(error, InputError):
            print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
