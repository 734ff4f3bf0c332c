"""Parameters that have a value for each level of a column of the table: a scale of each blot, an sd of each batch.

Such a parameter is one of its own for each level, `scale_a` and `scale_b`, and an output whose noise names it is
measured as an output of its own for each level, `C_a` and `C_b`, which is `C` with the noise of that level. So every
verb treats levels as it treats parameters and outputs, and columns may be crossed with units and with one another.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd

from .design import Design
from .distributions import Distribution
from .distributions.expressions import expression_of
from .errors import nearest
from .measurements import rows_of, same_text
from .model import Model, copies_findings, output_findings, with_copies
from .space import Parameter, Space

# Columns that have a number for each measurement.
NUMBERS = ("time", "value")


def with_levels(
    model: Model, data: pd.DataFrame, experiments: Mapping[str, Design]
) -> tuple[Model, pd.DataFrame, list[str]]:
    """Model and table with the levels of parameters that have values by a column.

    Args:
        model: some of whose parameters have `by`. data: its table, in order. experiments: of the table.

    Returns:
        the model with a parameter for each level, `<parameter>_<level>`, in place of each such parameter, and with an
        output for each level, `<output>_<level>`, beside each output whose noise names one (for each combination of
        levels that occurs, where it names several columns); the table with these outputs; what is wrong, where
        something is, the model and the table then being those given. What is no letter, digit or underscore in a
        level is an underscore in these names.
    """
    by = {name: parameter.by for name, parameter in model.space.items() if parameter.by}
    if not by:
        return model, data, []
    findings = _findings(model, data, experiments, by)
    if findings:
        return model, data, findings
    labels = {column: _labels(data[column]) for column in dict.fromkeys(by.values())}
    levels = {column: _levels(model, data, by, column, each) for column, each in labels.items()}
    findings = _name_findings(model, by, levels)
    if findings:
        return model, data, findings
    noise, copies, outputs = dict(model.noise), dict[str, str](), data["output"].copy()
    for output in model.noise:
        columns = _columns(model, output, by)
        of = data["output"] == output
        if not columns or not any(of):
            # without measurements there is no level whose noise it could have
            noise = {name: each for name, each in noise.items() if name != output or not columns}
            continue
        own = pd.DataFrame({column: labels[column][of] for column in columns})
        del noise[output]
        for combination, rows in own.groupby(columns, sort=False):
            given = dict(zip(columns, combination, strict=True))
            copy = "_".join([output, *(_in_name(level) for level in given.values())])
            copies[copy] = output
            noise[copy] = _renamed(model.noise[output], _names(by, given))
            outputs.loc[rows.index] = copy
    if taken := [copy for copy in copies if copy in model.units or copy in model.space]:
        return model, data, [f"{copy!r} would be an output of one level and has another meaning." for copy in taken]
    space = _space(model.space, by, levels)
    nominal = {
        each: value
        for name, value in model.nominal.items()
        for each in ([_level_name(name, level) for level in levels[by[name]]] if name in by else [name])
    }
    found = with_copies(model, copies, space=space, noise=noise, nominal=nominal)
    return found, data.assign(output=outputs), []


def _columns(model: Model, output: str, by: Mapping[str, str]) -> list[str]:
    """The columns whose levels the noise of an output depends on, in the order of its names."""
    return list(dict.fromkeys(by[name] for name in model.noise_names(output) if name in by))


def _labels(column: pd.Series) -> pd.Series:
    """Levels as text; whole numbers as such, which a column with empty places holds as real ones."""

    def text(value) -> str:
        whole = isinstance(value, float | np.floating) and float(value).is_integer()
        return str(int(value)) if whole else str(value).strip()

    return column.map(text)


def _levels(model: Model, data: pd.DataFrame, by: Mapping[str, str], column: str, labels: pd.Series) -> list[str]:
    """Levels of a column in the rows whose noise depends on it."""
    measured = [output for output in model.noise if column in _columns(model, output, by)]
    return pd.unique(labels[data["output"].isin(measured)]).tolist()


def _in_name(level: str) -> str:
    # as Python reads names in formulas
    return re.sub(r"\W", "_", unicodedata.normalize("NFKC", level))


def _level_name(name: str, level: str) -> str:
    return f"{name}_{_in_name(level)}"


def _names(by: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Parameter -> that of its level, where the columns have these levels."""
    return {name: _level_name(name, given[column]) for name, column in by.items() if column in given}


def _renamed(dist: Distribution, new: Mapping[str, str]) -> Distribution:
    def renamed(value: float | str) -> float | str:
        if not isinstance(value, str):
            return value
        formula = None if value in new else expression_of(value)
        return new.get(value, value) if formula is None else formula.renamed(new).text

    return type(dist)(**{argument: renamed(value) for argument, value in dist.arguments.items()})


def _space(space: Space, by: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> Space:
    found: dict[str, Parameter] = {}
    for name, parameter in space.items():
        if name not in by:
            found[name] = parameter
            continue
        assert isinstance(parameter.dist, Distribution)  # as it is epistemic
        for level in levels[by[name]]:
            dist = _renamed(parameter.dist, _names(by, {by[name]: level}))
            doc = f"{parameter.doc} ({by[name]} {level})".strip()
            found[_level_name(name, level)] = replace(parameter, dist=dist, doc=doc, by="")
    return Space(found)


def missing_columns(model: Model, data: pd.DataFrame) -> list[str]:
    """Which parameters have values by a column that a table, whatever else is wrong with it, does not have."""
    return [
        f"{name!r} has a value for each level of the column {parameter.by!r}, which the table does not have; "
        f"{nearest(parameter.by, [*map(str, data.columns)])}"
        for name, parameter in model.space.items()
        if parameter.by and parameter.by not in data and parameter.by not in (*NUMBERS, "output")
    ]


def _findings(model: Model, data: pd.DataFrame, experiments: Mapping[str, Design], by: Mapping[str, str]) -> list[str]:
    findings = copies_findings(model) + missing_columns(model, data)
    for name, column in by.items():
        what = f"{name!r} has a value for each level of the column {column!r}"
        outputs = [output for output in model.noise if name in model.noise_names(output)]
        if column in NUMBERS or column == "output":
            findings.append(f"{what}, which tells measurements apart and no levels; give another column.")
        elif column in data:
            own = data[data["output"].isin(outputs)][column]
            if any(missing := own.isna() | (own.astype(str).str.strip() == "")):
                findings.append(
                    f"{rows_of(missing)}: {column} is missing, of which {name!r} has a value for each level."
                )
            findings += same_text(f"levels of {column}", own.dropna().tolist())
        if not outputs:
            findings.append(f"{what}, and no noise names it; name it in the noise of an output.")
        findings += [
            f"{what}, and the noise of {output!r}, {model.noise[output]!r}, disturbs draws from its distribution, "
            "which has no levels; give it a parameter of its own."
            for output in outputs
            if model.noise[output].of_draws
        ]
    first = next(iter(experiments.values()))
    # of a model that cannot be run the study says why
    used = () if output_findings(model, first) else model.dynamics.parameters_used(model, first)
    findings += [
        f"the equations read {name!r}, which has a value for each level of {column!r}; only noise may. Give "
        "experiments an input that says which level is theirs, and the equations a parameter for each."
        for name, column in by.items()
        if name in used
    ]
    for name, parameter in model.space.items():
        findings += [
            f"the distribution of {name!r} names {other!r}, which has a value for each level of {by[other]!r}; "
            f"{name!r} needs by={by[other]!r} too."
            for other in parameter.names
            if other in by and by.get(name) != by[other]
        ]
    return list(dict.fromkeys(findings))


def _name_findings(model: Model, by: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """Levels, or a level and something else, that would have one name."""
    findings, known = [], {*model.space.names, *model.units, *model.columns} - {*by}
    for column, each in levels.items():
        for first, second in pairwise(sorted(each, key=_in_name)):
            if _in_name(first) == _in_name(second):
                findings.append(f"the levels {first!r} and {second!r} of {column!r} have one name; rename one of them.")
    made: dict[str, list[str]] = {}
    for name, column in by.items():
        for level in dict.fromkeys(map(_in_name, levels[column])):
            made.setdefault(f"{name}_{level}", []).append(name)
    findings += [
        f"{name!r}, the value of {' and '.join(map(repr, of))} at a level, has another meaning as well; rename one."
        for name, of in made.items()
        if name in known or len(of) > 1
    ]
    return findings
