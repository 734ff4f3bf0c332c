"""The verbs in the order in which a modeller would use them."""

from pathlib import Path
from typing import Any

import xarray as xr

from .defaults import CHAINS, DRAWS, STARTS, TUNE
from .errors import InputError, Interrupted
from .study import Study


def run(
    study: Study,
    tree: xr.DataTree | None = None,
    *,
    draws: int = DRAWS,
    tune: int = TUNE,
    chains: int = CHAINS,
    target_accept: float | None = None,
    adaptation: str | None = None,
    sampler: str | None = None,
    n: int = 512,
    runs: int = 8192,
    starts: int = STARTS,
    seed: int = 0,
    path: str | Path | None = None,
    resume: str | Path | None = None,
    keep=None,
) -> xr.DataTree:
    """identify, calibrate (where there are data), decompose, report.

    Args:
        study: what to run.
        tree: results to add to; None starts new ones.
        draws, tune, chains, target_accept, adaptation, sampler, resume: of `calibrate`.
        n, runs: of `decompose`.
        starts: of `identify`: ascents of the best fit; 0 leaves it and the profiles out.
        seed: of every verb.
        path: of the report; default results/<study>.html.
        keep: called with the tree and the verb's name after each verb, e.g. to store what has been reached.

    Returns:
        the tree with the groups of all verbs.

    Raises:
        InputError: from any verb, naming every finding.
        Interrupted: where it is stopped (Ctrl-C); its `tree` has what was reached.
    """
    from .calibration import calibrate
    from .calibration import check_settings as check_calibrate
    from .decomposition import check_settings as check_decompose
    from .decomposition import decompose
    from .identifiability import check_settings as check_identify
    from .identifiability import identify
    from .reporting import report

    # before the first of the long verbs; a seed that is none is one finding, not one of each verb
    findings = check_decompose(n=n, runs=runs, seed=seed) + check_identify(starts=starts)
    sampling: dict[str, Any] = {
        "draws": draws,
        "tune": tune,
        "chains": chains,
        "target_accept": target_accept,
        "adaptation": adaptation,
        "sampler": sampler,
    }
    if study.data is not None:
        findings += check_calibrate(**sampling)
    if findings:
        raise InputError(f"run {study.name!r}", findings)
    steps = {"identify": lambda tree: identify(study, tree, starts=starts, seed=seed)}
    if study.data is not None:
        steps["calibrate"] = lambda tree: calibrate(study, tree, **sampling, seed=seed, resume=resume)
    steps["decompose"] = lambda tree: decompose(study, tree, n=n, runs=runs, seed=seed)
    for verb, step in steps.items():
        try:
            tree = step(tree)
        except Interrupted:
            raise
        except KeyboardInterrupt:
            if tree is None:
                raise
            raise Interrupted(tree) from None
        if keep is not None:
            keep(tree, verb)
    return report(study, tree, path=path)
