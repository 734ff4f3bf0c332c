"""What a study on a reduced model rests on: whether the time scales of its full system are far enough apart.

A model made by `Model.reduced` has its fast states in their quasi-steady state. That is right where the separation of
time scales is strong (`time_scales.slow_fast`), and nothing in the reduced curves themselves tells when it is not. So
every verb looks at the full system first, at the medians of the parameters and at draws of them, and the group
/separation of the tree keeps what it finds; where it is not strong a `SeparationWarning` is issued as well.
"""

import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import xarray as xr

from .. import results
from ..design import Design
from ..errors import SeparationWarning
from ..model import Model, method_for, simulate
from ..progress import progress
from ..study import Study
from .slow_fast import SMALL, separation
from .slow_fast.verdict import MEANING

DRAWS = 16
WORST_FIRST = ("weak", "unknown", "absent", "strong")


def separation_of_study(study: Study, draws: Mapping[str, np.ndarray] | None = None, *, seed: int = 0) -> xr.Dataset:
    """Separation of the time scales behind a study on a reduced model.

    Args:
        study: on a model made by `Model.reduced`.
        draws: name -> `(draws,)` of parameters, such as posterior draws; default `DRAWS` from the prior. Aleatory
            parameters that are missing are drawn.
        seed: of the draws, and of the starts from which equilibria are sought.

    Returns:
        by `experiment` (and quantity, where that has a design of its own), at the medians: `verdict`, `reason`,
        `epsilon`, `layer`, `error`, see `time_scales.slow_fast.separation`, and `output_error`, the largest difference
        of a measured output from that of the full model, relative to its largest value; by `draw`, each under one
        of these: `verdict_of_draw`, `epsilon_of_draw`, `error_of_draw`. Attributes: `fast` (JSON), `verdict`, the worst
        at the medians, `share_strong` of the draws, `warning`, empty where all is well.
    """
    model, reduced = study.model, study.model.dynamics
    whole = replace(model, system=reduced.full, name=f"{model.name}, full")
    designs = _designs(study)
    medians = model.space.nominal()
    if draws is not None:
        medians = medians | {name: np.median(values) for name, values in draws.items()}
    rows = []
    for design in designs.values():
        found = separation(reduced.full, reduced.fast, medians, design, seed=seed).attrs
        rows.append({**found, "output_error": _output_error(whole, model, medians, design)})
    sample = model.space.sample(jax.random.key(seed), (DRAWS,))
    sample = {name: np.broadcast_to(np.asarray(value), (DRAWS,)) for name, value in sample.items()}
    if draws is not None:
        some = np.linspace(0, len(next(iter(draws.values()))) - 1, DRAWS).astype(int)
        sample |= {name: np.asarray(values)[some] for name, values in draws.items()}
    thetas = [{name: values[k] for name, values in sample.items()} for k in range(DRAWS)]
    under = [list(designs.values())[k % len(designs)] for k in range(DRAWS)]
    drawn = []
    with progress("separation of time scales: draws", DRAWS) as update:
        for theta, design in zip(thetas, under, strict=True):
            drawn.append(separation(reduced.full, reduced.fast, theta, design, seed=seed).attrs)
            update(len(drawn))
    source = "prior" if draws is None else "posterior"
    keys = ("verdict", "reason", "epsilon", "layer", "error", "output_error")
    return xr.Dataset(
        {
            **{key: ("experiment", [row[key] for row in rows]) for key in keys},
            **{f"{key}_of_draw": ("draw", [row[key] for row in drawn]) for key in ("verdict", "epsilon", "error")},
        },
        coords={"experiment": list(designs), "draw": np.arange(DRAWS)},
        attrs={
            "fast": json.dumps(reduced.fast),
            "meaning": MEANING,
            "verdict": next(verdict for verdict in WORST_FIRST if verdict in [*map(_with_outputs, rows)]),
            "share_strong": float(np.mean([row["verdict"] == "strong" for row in drawn])),
            "drawn_from": source,
            "quantities_digest": study.quantities_digest,
            "warning": _warning(rows, drawn, source),
        },
    )


def _with_outputs(row: dict) -> str:
    """The verdict, which cannot be strong where an output errs."""
    return "absent" if row["verdict"] == "strong" and row["output_error"] > SMALL else row["verdict"]


def _designs(study: Study) -> dict[str, Design]:
    """Designs of the experiments, and those of quantities that go beyond them."""
    designs = dict(study.experiments)

    def known(design):
        inputs = tuple(np.asarray(value).tobytes() for value in design.inputs.values())
        return any(
            tuple(np.asarray(value).tobytes() for value in other.inputs.values()) == inputs
            and float(design.times.max()) <= float(other.times.max())
            for other in designs.values()
        )

    for name, quantity in study.quantities.items():
        if not known(quantity.design):
            designs[f"quantity {name}"] = quantity.design
    return designs


def _output_error(whole: Model, model: Model, theta, design: Design) -> float:
    method = method_for(whole, design)
    full, short = (_outputs(each, theta, design, method) for each in (whole, model))
    # what is measured, or, where nothing is, all outputs
    names = [*model.noise] or model.outputs
    pairs = [(np.asarray(full[name]), np.asarray(short[name])) for name in names]
    return max(float(np.max(np.abs(one - other)) / max(np.max(np.abs(one)), 1e-300)) for one, other in pairs)


@partial(jax.jit, static_argnames=("model", "method"))
def _outputs(model: Model, theta, design: Design, method: str) -> dict:
    return simulate(model, theta, design, method=method).outputs


def _warning(rows: list[dict], drawn: list[dict], source: str) -> str:
    """The worst that is to be said of the medians, else of outputs, else of draws."""
    verdicts = [row["verdict"] for row in rows]
    worst = next(verdict for verdict in WORST_FIRST if verdict in verdicts)
    if worst != "strong":
        return rows[verdicts.index(worst)]["warning"]
    if (error := max(row["output_error"] for row in rows)) > SMALL:
        return f"an output errs by {error:.2g} of its size, though the slow states do not. Keep the fast states."
    doubtful = [row for row in drawn if row["verdict"] != "strong"]
    if not doubtful:
        return ""
    return (
        f"the separation of time scales is not strong at {len(doubtful)} of {len(drawn)} draws from the {source}, "
        f"for example {doubtful[0]['verdict']}: {doubtful[0]['reason'].rstrip('.')}."
    )


def with_separation(study: Study, tree: xr.DataTree) -> xr.DataTree:
    """The tree with /separation where the model is a reduced one; what is found there is said aloud as well.

    Every verb begins so; what the tree has already is not looked at again, unless the quantities are others now.
    """
    if "quasi_steady" not in study.model.dynamics.capabilities:
        return tree
    if "separation" in tree.children and tree["separation"].attrs.get("quantities_digest") == study.quantities_digest:
        return tree
    began, draws = time.monotonic(), None
    if "posterior" in tree.children:
        posterior = tree["posterior"].to_dataset()
        draws = {name: posterior[name].values.ravel() for name in study.model.space.epistemic}
    dataset = separation_of_study(study, draws)
    warn(study, dataset)
    groups = {"separation": dataset}
    return results.attach(tree, groups, verb="reduced", settings={}, seed=0, seconds=time.monotonic() - began)


def warn(study: Study, dataset: xr.Dataset) -> None:
    """Says aloud what stands in the tree, where the separation is not strong."""
    if dataset.attrs["warning"]:
        warnings.warn(f"study {study.name!r}: {dataset.attrs['warning']}", SeparationWarning, stacklevel=4)
