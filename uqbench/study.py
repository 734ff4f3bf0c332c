"""A study: one model, the experiments that were done, their data, and the quantities one wants to predict."""

import importlib
import importlib.util
import inspect
import re
import shlex
import sys
import sysconfig
import traceback
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import jax
import numpy as np
import pandas as pd

from . import shipped
from .csv_files import read_csv
from .design import Design
from .errors import InputError, nearest
from .levels import missing_columns, with_levels
from .measurements import CENSORED, COLUMNS, covariates_of, prepared, same_text
from .model import Model, content, digest, names_used, output_findings, schedule_findings
from .names import DRAWS, POSTERIOR_AS_INPUT, symbol_findings, variable_findings
from .shipped import STUDIES, shipped_studies, study_names
from .units import unit_finding


@dataclass(frozen=True)
class Quantity:
    """A prediction: a number computed from the outputs of a new unit under `design`, from its parameters, or from both.

    One that is true or false is an event, such as a threshold that is exceeded; its mean is the probability of the
    event.

    Args:
        function: `function(outputs, design)` -> scalar, in JAX; outputs name -> `(times,)` or what
            their `dims` in the model say. With an argument named `p`, `function(outputs, design, p)`, it gets the
            parameters too, name -> scalar.
        design: the conditions for which the prediction is made.
        unit: its unit.
        doc: one sentence for the report.

    Example:
        >>> from uqbench import Design
        >>> ratio = Quantity(lambda outputs, design, p: p["beta"] / p["gamma"], Design([1.0]))
        >>> ratio.value({}, {"beta": 3.0, "gamma": 2.0})
        1.5
    """

    function: Callable
    design: Design
    unit: str = ""
    doc: str = ""

    def value(self, outputs: Mapping, theta: Mapping):
        """The quantity of one run, a scalar, traceable: of its outputs and all its parameters."""
        more = {"p": theta} if "p" in inspect.signature(self.function).parameters else {}
        return self.function(outputs, self.design, **more)

    def arguments(self, model: Model) -> tuple[dict, dict]:
        """Shapes of what `value` is given: outputs, and parameters."""
        times, shapes = self.design.times.shape, model.entry_shapes(self.design)
        outputs = {
            output: jax.ShapeDtypeStruct((times if dims[:1] == ("time",) else ()) + shapes[output], float)
            for output, dims in model.output_dims.items()
        }
        return outputs, dict.fromkeys(model.space.names, jax.ShapeDtypeStruct((), float))

    def parameters_used(self, model: Model) -> tuple[str, ...]:
        """The parameters that it is given and depends on, beside those that act through the outputs."""
        outputs, theta = self.arguments(model)
        return names_used(jax.make_jaxpr(lambda p, o: self.value(o, p))(theta, outputs), model.space.names)

    def outputs_used(self, model: Model) -> tuple[str, ...]:
        """The outputs that it depends on; where one of them has no value, it has none."""
        outputs, theta = self.arguments(model)
        return names_used(jax.make_jaxpr(self.value)(outputs, theta), tuple(outputs))


@dataclass(frozen=True, eq=False)
class Study:
    """Model, experiments, data and quantities, checked against each other when made.

    Args:
        name: of the study; results are stored under it.
        model: the forward model. Where parameters of it have values by a column of the table, the study has the model
            with a parameter for each level in their place, see `levels.with_levels`.
        experiments: name -> `Design`. Where data are given, the times of an experiment are those in the data.
        data: long table with columns experiment, output, time, value[, replicate][, unit], or the path of a CSV file;
            a relative one starts at the folder of the file that makes the study, or else at the working folder. None
            for a study without data. A value may be text like "<0.5" or ">10", or the column `censored` say "below" or
            "above": then it is only known to lie there. Columns `lower_limit` and `upper_limit` say between what
            values a measurement can tell anything; `units`, in which units the values are. Rows without a value are
            left out.
        quantities: name -> `Quantity`; a plain function stands for one under the first experiment.
        unit: the column that says which unit (subject, cell) a row belongs to; aleatory parameters have one value for
            each. Without it every experiment is a unit of its own.
        likelihood: `likelihood(study)` -> `likelihoods.Likelihood`, such as `Independent.of`; None: the one that
            follows from what the system can do.

    Raises:
        InputError: with everything that is wrong in the table and between the parts.

    Warns:
        DataWarning: rows without a value, and rows that are repeated.
    """

    name: str
    model: Model
    experiments: Mapping[str, Design]
    data: pd.DataFrame | str | Path | None = None
    quantities: Mapping[str, Quantity | Callable] = field(default_factory=dict)
    unit: str | None = None
    likelihood: Callable | None = None
    # what stands after the verb in commands, where that is not the name: `mine.py --results out`
    arguments: str = field(default="", init=False)

    def __post_init__(self):
        subject = f"study {self.name!r}"
        experiments = {str(name): design for name, design in dict(self.experiments).items()}
        data = self.data
        if data is not None:
            data = _read(Path(data), subject, _folder_of_caller()) if isinstance(data, str | Path) else data.copy()
            data, findings = prepared(data, self.model, experiments, self.unit)
            if findings:
                raise InputError(f"{subject}: data", findings + missing_columns(self.model, data))
            _, findings = covariates_of(data, self.unit or "experiment", experiments, self.model.space.covariates)
            if findings:
                raise InputError(f"{subject}: data", findings)
            for name, rows in data.groupby("experiment", sort=False):
                experiments[name] = experiments[name].at(np.unique(rows["time"]))
            model, data, findings = with_levels(self.model, data, experiments)
            if findings:
                raise InputError(f"{subject}: data", findings)
            object.__setattr__(self, "model", model)
        elif levels := dict.fromkeys(each.by for each in self.model.space.values() if each.by):
            raise InputError(
                subject,
                [f"parameters have values for each {', '.join(levels)} of the table of data; give the study data."],
            )
        elif self.model.columns:
            known = ", ".join(map(repr, self.model.columns))
            raise InputError(subject, [f"the noise names {known} of the table of data; give the study data."])
        quantities = {
            name: Quantity(quantity, next(iter(experiments.values()))) if _plain(quantity) and experiments else quantity
            for name, quantity in (self.quantities or {}).items()
        }
        findings = _name_findings(self.name, self.model, self.unit, self.experiments, quantities)
        findings += _study_findings(self.model, experiments, quantities)
        if self.likelihood is not None and not callable(self.likelihood):
            findings.append(f"the likelihood is {self.likelihood!r}; give a function from the study to a Likelihood.")
        if findings:
            raise InputError(subject, findings)
        object.__setattr__(self, "experiments", experiments)
        object.__setattr__(self, "quantities", quantities)
        object.__setattr__(self, "data", data)

    @property
    def command(self) -> str:
        """What stands for this study in commands, after `uqbench run`."""
        return self.arguments or shlex.quote(self.name)

    @property
    def unit_column(self) -> str:
        """The column whose values are the units: `unit`, or the experiment itself."""
        return self.unit or "experiment"

    @property
    def units(self) -> tuple[str, ...]:
        """Labels of the units in the table, in the order of their first row."""
        return tuple(pd.unique(self.table[self.unit_column]).tolist())

    @cached_property
    def table(self) -> pd.DataFrame:
        """The data, or without data the planned measurements: every noisy output at every time, with no values."""
        if self.data is not None:
            return self.data
        rows = [
            (experiment, output, float(time), np.nan)
            for experiment, design in self.experiments.items()
            for output in self.model.measured
            for time in design.times
        ]
        table = pd.DataFrame(rows, columns=COLUMNS)
        return table.assign(**{self.unit_column: table["experiment"]})

    @cached_property
    def covariates(self) -> dict[str, np.ndarray]:
        """Those of each unit, `(units,)`; without data, where experiments do not say, references."""
        space, table = self.model.space, self.table
        found, _ = covariates_of(table, self.unit_column, self.experiments, space.covariates)
        return {
            name: np.where(np.isfinite(values), values, float(np.asarray(space[name].dist)))
            for name, values in found.items()
        }

    def covariates_of(self, labels: pd.Series) -> dict[str, np.ndarray]:
        """Covariates of the units that rows belong to, `(rows,)`: those of the study's own, of others the reference."""
        space = self.model.space
        return {
            name: labels.map(dict(zip(self.units, values, strict=True))).fillna(float(np.asarray(space[name].dist)))
            for name, values in self.covariates.items()
        }

    @property
    def model_digest(self) -> str:
        """Hash of what the model computes under the study's first design."""
        return digest(self.model, next(iter(self.experiments.values())))

    @property
    def data_digest(self) -> str:
        """Hash of the table, what a unit is in it, the designs and the likelihood that the study names."""
        return self._digest_with(self.data)

    @property
    def plan_digest(self) -> str:
        """The same of measurements that have been made or are to be, whatever their values are."""
        return self._digest_with(self.table.drop(columns=["value", CENSORED], errors="ignore"))

    def _digest_with(self, table: pd.DataFrame | None) -> str:
        hasher = sha256(repr(self.unit_column).encode())
        for name, design in self.experiments.items():
            hasher.update(name.encode())
            hasher.update(_conditions(design))
        if table is not None:
            hasher.update(table.to_csv(index=False).encode())
        if self.likelihood is not None:
            # addresses of Python objects are not content
            hasher.update(re.sub(r"0x[0-9a-f]+", "", repr(self.likelihood)).encode())
        return hasher.hexdigest()[:16]

    @property
    def quantities_digest(self) -> str:
        """Hash of what is predicted: names, units, designs and what the functions do, not their source text."""
        hasher = sha256()
        for name, quantity in self.quantities.items():
            outputs, theta = quantity.arguments(self.model)
            hasher.update(repr((name, quantity.unit)).encode())
            hasher.update(_conditions(quantity.design))
            hasher.update(content(lambda p, o, quantity=quantity: quantity.value(o, p), theta, outputs))
        return hasher.hexdigest()[:16]


def _conditions(design: Design) -> bytes:
    """What a digest sees of a design."""
    leaves = (design.start, design.times, *(design.inputs[key] for key in sorted(design.inputs)))
    return b"".join([*(np.asarray(leaf).tobytes() for leaf in leaves), repr(sorted(design.inputs)).encode()])


def _plain(quantity) -> bool:
    return callable(quantity) and not isinstance(quantity, Quantity)


def _folder_of_caller() -> Path:
    """The folder of the file whose code makes the study, or the working folder where no file does (a notebook)."""
    frame = sys._getframe()
    while frame is not None and frame.f_globals is globals():
        frame = frame.f_back
    file = frame.f_globals.get("__file__") if frame is not None else None
    return Path(file).parent if file else Path.cwd()


def _read(path: Path, subject: str, folder: Path) -> pd.DataFrame:
    places = list(dict.fromkeys(each.resolve() for each in (folder / path, path)))
    found = next((each for each in places if each.is_file()), None)
    if found is None:
        where = " or ".join(repr(str(place.parent)) for place in places)
        raise InputError(f"{subject}: data", [f"there is no file {path.name!r} in {where}."])
    try:
        # findings name lines as an editor counts
        return read_csv(found)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{subject}: data", [f"{found.name} is not a CSV table: {error}"]) from error


def _study_findings(model: Model, experiments: Mapping, quantities: Mapping) -> list[str]:
    findings = [] if experiments else ["there is no experiment; give at least one Design."]
    findings += [
        f"experiment {name!r} has no times, and no data to take them from."
        for name, design in experiments.items()
        if design.times.size == 0
    ]
    designs = [*experiments.values(), *(q.design for q in quantities.values() if isinstance(q, Quantity))]
    for design in designs:
        findings += [f for f in output_findings(model, design) if f not in findings] if design.times.size else []
    if designs and not findings:
        findings += schedule_findings(model, [*experiments.values()]) if len(experiments) > 1 else []
        findings += _symbol_findings(model, designs[0])
    for name, quantity in quantities.items():
        if not isinstance(quantity, Quantity):
            findings.append(f"quantity {name!r} is {type(quantity).__name__}; give Quantity(function, design, unit).")
            continue
        if finding := unit_finding(quantity.unit):
            findings.append(f"quantity {name!r}: {finding}")
        findings += _quantity_findings(model, name, quantity)
    return findings


def _symbol_findings(model: Model, design: Design) -> list[str]:
    """Names that would be one symbol of the equations and mean two things."""
    if "symbolic" not in model.dynamics.capabilities:
        return []
    number = jax.ShapeDtypeStruct((), float)
    theta = dict.fromkeys(model.space.names, number)
    states = jax.eval_shape(lambda p: dict(model.system.initial(p, design.inputs)), theta)
    # a covariate may be an input as well: it is the same number
    inputs = [name for name in design.inputs if name not in model.space.covariates]
    return symbol_findings({"a parameter": theta, "a state": states, "an input": inputs})


def _name_findings(name, model: Model, unit: str | None, experiments: Mapping, quantities: Mapping) -> list[str]:
    """Names that would be lost in the results, or be those of something else there."""
    findings = []
    if not isinstance(name, str) or not name.strip() or any(each in name for each in "/\\\0") or name.startswith("."):
        findings.append(
            f"the name {name!r} cannot be that of a file, under which results are stored; give text without slashes "
            "that starts with no dot."
        )
    for kind, names in (("experiments", experiments), ("quantities", quantities)):
        findings += same_text(f"names of {kind}", names)
        findings += [
            f"{each!r}, among the names of {kind}, is empty; give a name." for each in names if not str(each).strip()
        ]
    space = model.space
    if POSTERIOR_AS_INPUT in space:
        findings.append(
            f"{POSTERIOR_AS_INPUT!r}, the name of a parameter, is that of the posterior among the inputs of /sobol; "
            "rename it."
        )
    if unit is None:
        # the experiments are the units, of which parameters that differ between them have one value each
        column = "experiment"
        clash = column in space and bool(space.aleatory)
    else:
        column, clash = unit, unit in space
        findings += variable_findings("the column of units", [unit], (*DRAWS, "output", "row", "time", "value"))
    if clash:
        findings.append(f"{column!r} is both a parameter and the column of units; rename one of them.")
    return findings + [
        f"the output {made!r} is called like a coordinate of the output {output!r}, made of the column of units "
        f"{column!r}; rename one of them."
        for output in model.outputs
        if (made := f"{output}_{column}") in model.outputs
    ]


def _quantity_findings(model: Model, name: str, quantity: Quantity) -> list[str]:
    try:
        value = jax.eval_shape(quantity.value, *quantity.arguments(model))
    except KeyError as error:
        known = [*model.outputs, *model.space]
        return [
            f"quantity {name!r} reads {error.args[0]!r}, which is no output and no parameter; "
            f"{nearest(str(error.args[0]), known)}"
        ]
    except (TypeError, AttributeError, IndexError, ValueError) as error:
        return [f"quantity {name!r} cannot be computed as function(outputs, design[, p]): {error}"]
    shape = getattr(value, "shape", None)
    return [] if shape == () else [f"quantity {name!r} has shape {shape}; it must be one number."]


# Before the names of modules that are study files.
FILE_PREFIX = "uqbench_study_"
# The folder of a user's own studies, in the working folder.
OWN = "studies"


def load_study(name: str) -> Study:
    """The study of that name, or in the Python file of that path.

    Names are those of the studies that come with uqbench, and of the files in the folder `studies` of the working
    folder. Where both have a name it means the shipped study; one's own is `studies/<name>.py`. Of a module with
    several studies, `mine.py:second` means the one that it calls `second`; without this, the one called `study`.

    Raises:
        InputError: with the nearest known name where there is none, or where the module has no such study.
    """
    module, attribute, place = _module(name)
    study = getattr(module, attribute, None)
    if not isinstance(study, Study):
        others = [each for each, value in vars(module).items() if isinstance(value, Study)]
        also = f"; it has {', '.join(f'`{place}:{each}`' for each in others)}" if others else ""
        raise InputError(f"study {name!r}", [f"the module exports no `{attribute}` made by uqbench.Study(...){also}."])
    return in_commands(study, shlex.quote(name))


def load_study_or_model(name: str) -> Study | Model:
    """The same, where the Python file may also have a model of that name, `mine.py:model`.

    Raises:
        InputError: as of `load_study`.
    """
    module, attribute, _ = _module(name)
    found = getattr(module, attribute, None)
    return found if isinstance(found, Model) else load_study(name)


def _module(name: str) -> tuple[ModuleType, str, str]:
    """The module that is meant, what of it, and the name of the module as it was given."""
    place, colon, attribute = name.rpartition(":")
    place, attribute = (place, attribute) if colon and attribute.isidentifier() else (name, "study")
    path = Path(place)
    if path.suffix == ".py":
        if not path.is_file():
            raise InputError(f"study {name!r}", ["there is no such file."])
        module = _from_file(path, name)
    elif place in shipped_studies():
        module = importlib.import_module(f"{shipped.__name__}.studies.{place}")
    elif place in (known := known_studies()):
        module = _from_working_folder(place)
    else:
        raise InputError(f"study {name!r}", [f"there is no such study; {nearest(place, known)}"])
    return module, attribute, place


def in_commands(study: Study, arguments: str) -> Study:
    """The same study, which stands as `arguments` in the commands that are suggested for it."""
    named = copy(study)
    object.__setattr__(named, "arguments", arguments)
    return named


def _from_file(path: Path, name: str) -> ModuleType:
    # registered, so that its functions can be pickled, under a name that is nobody else's: a study may be queue.py
    own = f"{FILE_PREFIX}{path.stem}"
    loader = SourceFileLoader(own, str(path))
    specification = importlib.util.spec_from_file_location(own, path, loader=loader)
    assert specification is not None  # a loader was given
    module = importlib.util.module_from_spec(specification)
    sys.modules[own] = module
    try:
        _execute(lambda: loader.exec_module(module), name)
    except InputError:
        del sys.modules[own]
        raise
    return module


def _from_working_folder(name: str) -> ModuleType:
    """The module `studies.<name>` where Python finds the working folder's, which other processes can import as well;
    where another package has the name `studies`, the file."""
    folder = Path.cwd() / OWN
    package = importlib.util.find_spec(OWN)
    found = package.submodule_search_locations if package else None
    if folder.resolve() in [Path(place).resolve() for place in found or ()]:
        return _execute(lambda: importlib.import_module(f"{OWN}.{name}"), name)
    return _from_file(folder / f"{name}.py", name)


def _execute[T](load: Callable[[], T], name: str) -> T:
    try:
        return load()
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"study {name!r}", [f"{type(error).__name__} in {_place(error)}: {_message(error)}"]
        ) from error


def _place(error: Exception) -> str:
    """Where the user's own code went wrong: not in Python, in an installed package or in uqbench."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}"
    others = [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    others += [str(Path(__file__).parent), "<"]
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(tuple(others))]
    where = (own or frames)[-1]
    return f"{Path(where.filename).name}, line {where.lineno}"


def _message(error: Exception) -> str:
    # the text of a SyntaxError repeats the place
    return error.msg if isinstance(error, SyntaxError) else str(error)


def known_studies() -> tuple[str, ...]:
    """The studies that `load_study` knows by name, without importing them, in alphabetical order.

    One of the working folder whose name a shipped study has is listed by its path.
    """
    folder, known = Path.cwd() / OWN, shipped_studies()
    if folder.resolve() == STUDIES.resolve():
        return known
    own = (f"{OWN}/{name}.py" if name in known else name for name in study_names(folder))
    return tuple(sorted((*known, *own)))
