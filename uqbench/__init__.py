"""uqbench: what can be known of a model's parameters, how well, and where the spread of a prediction comes from.

`import uqbench` itself loads nothing heavy: each public name is fetched from its room at first use, so that a command
line answers at once and a notebook pays only for what it calls.
"""

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .calibration import calibrate as calibrate
    from .calibration import predict as predict
    from .category_counts import multinomial as multinomial
    from .check import check_model as check_model
    from .correlations import correlated as correlated
    from .coupling import Coupled as Coupled
    from .coupling import Exchange as Exchange
    from .coupling import Part as Part
    from .decomposition import decompose as decompose
    from .design import Design as Design
    from .distributions import Beta as Beta
    from .distributions import Binomial as Binomial
    from .distributions import Cauchy as Cauchy
    from .distributions import Correlation as Correlation
    from .distributions import Counts as Counts
    from .distributions import Exponential as Exponential
    from .distributions import Gamma as Gamma
    from .distributions import HalfCauchy as HalfCauchy
    from .distributions import HalfNormal as HalfNormal
    from .distributions import Laplace as Laplace
    from .distributions import LogNormal as LogNormal
    from .distributions import LogUniform as LogUniform
    from .distributions import NegativeBinomial as NegativeBinomial
    from .distributions import Normal as Normal
    from .distributions import Poisson as Poisson
    from .distributions import StudentT as StudentT
    from .distributions import TruncatedNormal as TruncatedNormal
    from .distributions import Uniform as Uniform
    from .dosing_records import read_dosing_records as read_dosing_records
    from .errors import RESULTS as RESULTS
    from .errors import CouplingWarning as CouplingWarning
    from .errors import DataWarning as DataWarning
    from .errors import InputError as InputError
    from .errors import LeakWarning as LeakWarning
    from .errors import ModesWarning as ModesWarning
    from .errors import Result as Result
    from .errors import SeparationWarning as SeparationWarning
    from .identifiability import identify as identify
    from .interpolation import interpolate as interpolate
    from .model import Model as Model
    from .model import Run as Run
    from .model import evaluate as evaluate
    from .model import evaluate_many as evaluate_many
    from .reporting import report as report
    from .results import load as load
    from .results import save as save
    from .space import Parameter as Parameter
    from .space import Space as Space
    from .space import aleatory as aleatory
    from .space import covariate as covariate
    from .space import epistemic as epistemic
    from .space import fixed as fixed
    from .study import Quantity as Quantity
    from .study import Study as Study
    from .study import load_study as load_study
    from .system import Delay as Delay
    from .system import Event as Event
    from .system import Ode as Ode
    from .systems.reactions import Reactions as Reactions
    from .systems.sde import Sde as Sde
    from .workflow import run as run

_ROOMS = {
    "calibration": ("calibrate", "predict"),
    "category_counts": ("multinomial",),
    "check": ("check_model",),
    "correlations": ("correlated",),
    "coupling": ("Coupled", "Exchange", "Part"),
    "decomposition": ("decompose",),
    "design": ("Design",),
    "distributions": (
        *(
            "Beta",
            "Binomial",
            "Cauchy",
            "Correlation",
            "Counts",
            "Exponential",
            "Gamma",
            "HalfCauchy",
            "HalfNormal",
            "Laplace",
        ),
        *("LogNormal", "LogUniform", "NegativeBinomial", "Normal", "Poisson", "StudentT", "TruncatedNormal"),
        "Uniform",
    ),
    "dosing_records": ("read_dosing_records",),
    "errors": (
        "RESULTS",
        "CouplingWarning",
        "DataWarning",
        "InputError",
        "LeakWarning",
        "ModesWarning",
        "Result",
        "SeparationWarning",
    ),
    "identifiability": ("identify",),
    "interpolation": ("interpolate",),
    "model": ("Model", "Run", "evaluate", "evaluate_many"),
    "reporting": ("report",),
    "results": ("load", "save"),
    "space": ("Parameter", "Space", "aleatory", "covariate", "epistemic", "fixed"),
    "study": ("Quantity", "Study", "load_study"),
    "system": ("Delay", "Event", "Ode"),
    "systems.reactions": ("Reactions",),
    "systems.sde": ("Sde",),
    "workflow": ("run",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}
__all__ = sorted(_ROOM_OF)


def _configure_jax() -> None:
    """Double precision and a compile cache that later processes start from, set before jax is imported where possible.

    Single precision loses stiff models long before their time scales do; there is no 32-bit mode to choose.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uqbench" / "jax"
    settings = {
        "jax_enable_x64": "1",
        "jax_compilation_cache_dir": os.environ.get("JAX_COMPILATION_CACHE_DIR", str(cache)),
        # The smallest too: a study has hundreds of them, and each takes five times as long to compile as to read back.
        "jax_persistent_cache_min_compile_time_secs": os.environ.get("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0"),
    }
    # The compiler's notes about long programs are no findings of the user's; its errors are raised all the same.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "jax" not in sys.modules:
        os.environ.update({name.upper(): value for name, value in settings.items()})
        return
    jax = sys.modules["jax"]
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_compilation_cache_dir", settings["jax_compilation_cache_dir"])
    jax.config.update(
        "jax_persistent_cache_min_compile_time_secs", float(settings["jax_persistent_cache_min_compile_time_secs"])
    )


_configure_jax()


def __getattr__(name: str):
    if name in _ROOM_OF:
        value = getattr(importlib.import_module(f".{_ROOM_OF[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'uqbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
