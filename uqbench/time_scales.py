"""What a study on a reduced model rests on: whether the time scales of its full system are far enough apart.

A model made by `Model.reduced` has its fast states in their quasi-steady state. That is right where the separation of
time scales is strong (`numerics.slow_fast`), and nothing in the reduced curves themselves tells when it is not. So
every verb looks at the full system first, at the medians of the parameters and at draws of them, and the group
/separation of the tree keeps what it finds; where it is not strong a `SeparationWarning` is issued as well.
"""

import json
import warnings
from collections.abc import Mapping

import jax
import numpy as np
import xarray as xr

from .errors import SeparationWarning
from .numerics.slow_fast import reduction, separation
from .numerics.slow_fast.diagnosis import MEANING
from .study import Study

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
        by `experiment`, at the medians: `verdict`, `reason`, `epsilon`, `layer`, `error`, see
        `numerics.slow_fast.separation`; by `draw`, each under one experiment: `verdict_of_draw`, `epsilon_of_draw`,
        `error_of_draw`. Attributes: `fast` (JSON), `verdict`, the worst at the medians, `share_strong` of the draws,
        `warning`, empty where all is well.
    """
    model = study.model
    reduced = reduction(model.system)
    full, fast = reduced.full, reduced.fast
    designs = list(study.experiments.values())
    medians = model.space.nominal()
    if draws is not None:
        medians = medians | {name: np.median(values) for name, values in draws.items()}
    rows = [separation(full, fast, medians, design, seed=seed).attrs for design in designs]
    sample = model.space.sample(jax.random.key(seed), (DRAWS,))
    sample = {name: np.broadcast_to(np.asarray(value), (DRAWS,)) for name, value in sample.items()}
    if draws is not None:
        some = np.linspace(0, len(next(iter(draws.values()))) - 1, DRAWS).astype(int)
        sample |= {name: np.asarray(values)[some] for name, values in draws.items()}
    thetas = [{name: values[k] for name, values in sample.items()} for k in range(DRAWS)]
    drawn = [
        separation(full, fast, theta, designs[k % len(designs)], seed=seed).attrs for k, theta in enumerate(thetas)
    ]
    verdicts = [row["verdict"] for row in rows]
    worst = next(verdict for verdict in WORST_FIRST if verdict in verdicts)
    share = float(np.mean([row["verdict"] == "strong" for row in drawn]))
    keys = ("verdict", "reason", "epsilon", "layer", "error")
    return xr.Dataset(
        {
            **{key: ("experiment", [row[key] for row in rows]) for key in keys},
            **{f"{key}_of_draw": ("draw", [row[key] for row in drawn]) for key in ("verdict", "epsilon", "error")},
        },
        coords={"experiment": list(study.experiments), "draw": np.arange(DRAWS)},
        attrs={
            "fast": json.dumps(fast),
            "meaning": MEANING,
            "verdict": worst,
            "share_strong": share,
            "drawn_from": "prior" if draws is None else "posterior",
            "warning": rows[verdicts.index(worst)]["warning"],
        },
    )


def warn(study: Study, dataset: xr.Dataset) -> None:
    """Says aloud what stands in the tree, where the separation is not strong."""
    if dataset.attrs["warning"]:
        warnings.warn(f"study {study.name!r}: {dataset.attrs['warning']}", SeparationWarning, stacklevel=4)
